"""The data directory of an embedded server: which files there are, and whose they are."""

import contextlib
import errno
import fcntl
import os
import socket
import time
from collections.abc import Generator
from pathlib import Path

import msgspec

from ostinato.core.clock import Clock, SystemClock
from ostinato.core.errors import Conflict, OstinatoError, Unavailable

_OWN_DIRECTORY = 0o700
_OWN_FILE = 0o600
_LOOKS = 5
_LOOK_SECONDS = 0.02


class Owner(msgspec.Struct, frozen=True):
    """Which server owns a data directory, as its lock file says."""

    pid: int
    host: str
    started: int
    """UTC microseconds."""


class DataDirectory:
    """The directory ``path`` and its files; ``acquire`` it before writing there, ``release`` it at the end."""

    def __init__(self, path: Path | str = "./.ostinato", clock: Clock | None = None) -> None:
        self.path = Path(path).expanduser().absolute()
        self._clock = clock or SystemClock()
        self._lock: int | None = None

    @property
    def control(self) -> Path:
        """The registry: access, declarations. Synced on every commit; back it up."""
        return self.path / "control.db"

    @property
    def traces(self) -> Path:
        """The ledger."""
        return self.path / "traces.db"

    @property
    def cache(self) -> Path:
        """Cached answers; may be deleted while the server is down."""
        return self.path / "cache.db"

    @property
    def work(self) -> Path:
        """What experiments and optimization runs have paid for and found; back it up."""
        return self.path / "work.db"

    @property
    def jobs(self) -> Path:
        """Durable work: which jobs there are, and how far each has come."""
        return self.path / "jobs.db"

    @property
    def keys(self) -> Path:
        """Key files, readable by the owner alone; back them up apart from the databases."""
        return self.path / "keys"

    @property
    def lock(self) -> Path:
        """Held by the server that owns the directory; says which one it is."""
        return self.path / "lock"

    def prepare(self) -> None:
        """Make the directory and ``keys/``, for the owner alone. Raises ``Unavailable`` where that is not possible."""
        with self._told():
            self.path.mkdir(mode=_OWN_DIRECTORY, parents=True, exist_ok=True)
            self.keys.mkdir(mode=_OWN_DIRECTORY, exist_ok=True)
            self.keys.chmod(_OWN_DIRECTORY)

    def acquire(self) -> None:
        """Become the one owner of this directory.

        Raises ``Conflict`` (code ``data_directory_in_use``) telling by whom it is held, ``Unavailable`` where it cannot
        be written. A lock left by a killed server is no obstacle: the system releases it with the process.
        """
        if self._lock is not None:
            return
        self.prepare()
        with self._told():
            descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWN_FILE)
        try:
            with self._told():
                try:
                    _lock(descriptor)
                except BlockingIOError:
                    raise _in_use(self.path, _read(descriptor)) from None
                owner = Owner(pid=os.getpid(), host=socket.gethostname(), started=self._clock.now())
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, msgspec.json.encode(owner) + b"\n", 0)
                os.fsync(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
        self._lock = descriptor

    def release(self) -> None:
        """Give the directory up; may be called twice. The lock file stays, empty."""
        if self._lock is None:
            return
        descriptor, self._lock = self._lock, None
        # Not unlinked: another process may already wait on this very file, and would then lock a ghost.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
        os.close(descriptor)

    def owner(self) -> Owner | None:
        """Who holds the directory now; ``None`` when nobody does."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(descriptor) or Owner(pid=0, host="", started=0)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return None

    def require_free(self) -> None:
        """Raise ``Conflict`` (code ``data_directory_in_use``) while another server holds the directory."""
        owner = self.owner()
        if owner is not None and self._lock is None:
            raise _in_use(self.path, owner)

    def read_key(self, name: str) -> bytes | None:
        """The bytes of key file ``name``; ``None`` when there is none."""
        with self._told():
            try:
                return (self.keys / name).read_bytes()
            except FileNotFoundError:
                return None

    def write_key(self, name: str, secret: bytes) -> None:
        """Keep a new key file, mode 0600, synced. Raises ``Conflict`` when there is one: keys are never overwritten."""
        self.prepare()
        with self._told():
            try:
                descriptor = os.open(self.keys / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWN_FILE)
            except FileExistsError:
                raise Conflict(f"There is a key file {name!r} already.", code="key_exists") from None
            try:
                os.write(descriptor, secret)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    @contextlib.contextmanager
    def _told(self) -> Generator[None]:
        try:
            yield
        except OSError as error:
            raise _refused(self.path, error) from error


def _lock(descriptor: int) -> None:
    """Take the lock. Who merely looks (``owner``) holds it for a moment: an empty file is worth a second try."""
    for _ in range(_LOOKS):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if os.fstat(descriptor).st_size:
            break
        time.sleep(_LOOK_SECONDS)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _read(descriptor: int) -> Owner | None:
    try:
        return msgspec.json.decode(os.pread(descriptor, 4096, 0), type=Owner)
    except (OSError, msgspec.MsgspecError):
        return None


def _in_use(path: Path, owner: Owner | None) -> Conflict:
    by = f"process {owner.pid} on host {owner.host}" if owner else "another process"
    return Conflict(
        f"The data directory {path} is in use by {by}.",
        code="data_directory_in_use",
        hint="Stop that server first, or give this one a directory of its own.",
    )


def _refused(path: Path, error: OSError) -> OstinatoError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(
            f"The disk that holds the data directory {path} is full.", code="storage_full", hint="Free some space."
        )
    return Unavailable(
        f"The data directory {path} cannot be written: {error.strerror or type(error).__name__}.",
        code="storage_read_only",
        hint="Check that it is on a writable disk and belongs to the user of the server, or name another one.",
    )
