"""Places beyond this server's reach where checkpoints are left: a file, a git repository, another instance.

An anchor is worth as much as it is out of the operator's hands: a file on a disk that can only be appended to, a
repository that others clone, an instance that somebody else runs.
"""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import quote

import msgspec

from ostinato import outbound, verify
from ostinato.audit.checkpoints import Checkpoint
from ostinato.audit.log import Log
from ostinato.audit.settings import Anchor as AnchorSettings
from ostinato.audit.settings import Settings
from ostinato.core.errors import Conflict, OstinatoError, Unavailable
from ostinato.verify.anchors import CHECKPOINT_FILE

_TAIL = 65_536
_GIT_SECONDS = 60
_CALL_SECONDS = 20.0


class Anchor(Protocol):
    """Keeps checkpoints."""

    name: str

    async def keep(self, log: Log, checkpoint: Checkpoint) -> dict[str, Any]:
        """Leave a checkpoint there; gives the receipt, JSON. May be told the same twice.

        Raises ``Unavailable`` where it cannot be reached, ``Conflict`` where it holds what contradicts the log.
        """
        ...


def build(settings: Settings, client: outbound.Client) -> list[Anchor]:
    """The anchors of a configuration."""
    made: list[Anchor] = []
    for one in settings.anchors:
        if one.kind == "file":
            made.append(FileAnchor(one))
        elif one.kind == "git":
            made.append(GitAnchor(one))
        else:
            made.append(InstanceAnchor(one, client))
    return made


class FileAnchor:
    """A file that every checkpoint is appended to."""

    def __init__(self, settings: AnchorSettings) -> None:
        self.name = settings.name
        self._path = Path(settings.path).expanduser()

    async def keep(self, log: Log, checkpoint: Checkpoint) -> dict[str, Any]:
        held = await asyncio.to_thread(self._newest, log.signer.name)
        if held is not None:
            if held.size == checkpoint.size and held.root.hex() == checkpoint.root:
                return {"path": str(self._path)}
            await _refuse_fork(log, checkpoint, held, self.name)
        await asyncio.to_thread(self._append, checkpoint.note)
        return {"path": str(self._path)}

    def _newest(self, origin: str) -> verify.Checkpoint | None:
        with _told(self.name), _opened(self._path, os.O_RDONLY) as descriptor:
            if descriptor < 0:
                return None
            size = os.fstat(descriptor).st_size
            tail = os.pread(descriptor, _TAIL, max(0, size - _TAIL)).decode("utf-8", "replace")
        if size > _TAIL:
            # From the first checkpoint that is whole.
            tail = tail[tail.find("\n\n", tail.find("\n\u2014 ")) + 2 :]
        try:
            return next((one for one in reversed(list(verify.read_notes(tail))) if one.origin == origin), None)
        except verify.Broken as error:
            raise Conflict(
                f"The anchor {self.name} holds something else than checkpoints: {error}.",
                code="anchor_damaged",
                hint="Move the file away, and keep it: a new one is begun.",
            ) from None

    def _append(self, note: str) -> None:
        with _told(self.name), _opened(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT) as descriptor:
            os.write(descriptor, f"{note}\n".encode())
            os.fsync(descriptor)


class GitAnchor:
    """A git repository that gets a commit for every checkpoint."""

    def __init__(self, settings: AnchorSettings) -> None:
        self.name = settings.name
        self._path = Path(settings.path).expanduser()
        self._push = settings.push

    async def keep(self, log: Log, checkpoint: Checkpoint) -> dict[str, Any]:
        path = self._path / CHECKPOINT_FILE
        if await asyncio.to_thread(path.exists):
            held = await asyncio.to_thread(self._held, path)
            if held.origin != log.signer.name:
                raise Conflict(
                    f"The anchor {self.name} keeps the checkpoints of another log, {held.origin}.",
                    code="anchor_taken",
                    hint="Give each log a repository of its own.",
                )
            await _refuse_fork(log, checkpoint, held, self.name)
        return {"commit": await asyncio.to_thread(self._commit, path, checkpoint)}

    def _held(self, path: Path) -> verify.Checkpoint:
        try:
            return verify.read_note(path.read_text(encoding="utf-8"))
        except (verify.Broken, OSError, UnicodeDecodeError) as error:
            raise Conflict(
                f"The anchor {self.name} holds something else than a checkpoint: {error}.", code="anchor_damaged"
            ) from None

    def _commit(self, path: Path, checkpoint: Checkpoint) -> str:
        self._git("rev-parse", "--git-dir")
        with _told(self.name):
            path.write_text(checkpoint.note, encoding="utf-8")
        self._git("add", "--", CHECKPOINT_FILE)
        if self._git("status", "--porcelain", "--", CHECKPOINT_FILE):
            message = f"Checkpoint of {checkpoint.size} leaves"
            self._git("commit", "--quiet", "--message", message, "--only", "--", CHECKPOINT_FILE)
        if self._push:
            self._git("push", "--quiet", self._push, "HEAD")
        return self._git("log", "-1", "--format=%H", "--", CHECKPOINT_FILE)

    def _git(self, *arguments: str) -> str:
        who = {"NAME": "Ostinato audit log", "EMAIL": "audit@ostinato.invalid"}
        roles = ("AUTHOR", "COMMITTER")
        environment = {f"GIT_{role}_{name}": value for role in roles for name, value in who.items()}
        environment |= {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
        try:
            ran = subprocess.run(  # noqa: S603 - no shell; the arguments are ours
                ["git", "-C", str(self._path), *arguments],  # noqa: S607 - wherever git is
                capture_output=True,
                text=True,
                check=False,
                timeout=_GIT_SECONDS,
                env=environment,
                stdin=subprocess.DEVNULL,
            )
        except FileNotFoundError:
            raise Unavailable(
                f"The anchor {self.name} needs git, which is not installed.", code="anchor_failed", hint="Install git."
            ) from None
        except subprocess.TimeoutExpired:
            raise Unavailable(
                f"The anchor {self.name} did not answer: git {arguments[0]} took too long.", code="anchor_failed"
            ) from None
        if ran.returncode:
            lines = (ran.stderr or ran.stdout).strip().splitlines()
            reason = lines[-1][:200] if lines else "no reason given"
            raise Unavailable(
                f"The anchor {self.name} refused git {arguments[0]}: {reason}.",
                code="anchor_failed",
                hint=f"Look at the repository; a new one: git init {self._path}",
            )
        return ran.stdout.strip()


class InstanceAnchor:
    """Another installation of Ostinato, which judges each checkpoint by the one before."""

    def __init__(self, settings: AnchorSettings, client: outbound.Client) -> None:
        self.name = settings.name
        self._url = settings.url.rstrip("/") + "/api/v1/audit/witnesses"
        key = settings.api_key.reveal() if settings.api_key is not None else ""
        self._headers = {
            "authorization": f"Bearer {key}",
            "content-type": "application/json",
            "accept": "application/json",
        }
        self._private = settings.allow_private
        self._client = client

    async def keep(self, log: Log, checkpoint: Checkpoint) -> dict[str, Any]:
        signer = log.signer
        known = await self._call("GET", f"{self._url}?origin={quote(signer.name, safe='')}&limit=1", b"")
        items = cast("list[dict[str, Any]]", known["items"])
        old = int(items[0]["size"]) if items else 0
        proof: list[str] = []
        if old:
            if old > checkpoint.size:
                raise _older(self.name, old, checkpoint.size)
            proof = (await log.consistency(old, checkpoint.size)).path
        offer = {"note": checkpoint.note, "key": signer.verifier, "proof": proof}
        kept = await self._call("POST", self._url, msgspec.json.encode(offer))
        return {"note": str(kept["note"]), "leaf": int(kept["leaf"])} if "leaf" in kept else {"note": str(kept["note"])}

    async def _call(self, method: str, url: str, body: bytes) -> dict[str, Any]:
        try:
            answer = await self._client.request(
                method, url, body, self._headers, _CALL_SECONDS, allow_private=self._private
            )
        except outbound.OutboundError as error:
            raise Unavailable(f"The anchor {self.name} cannot be reached: {error}", code="anchor_failed") from None
        try:
            told = msgspec.json.decode(answer.body, type=dict[str, Any])
        except msgspec.DecodeError:
            told = {}
        if answer.status >= 400:
            kind = Conflict if answer.status == 409 else Unavailable
            raise kind(
                f"The anchor {self.name} refused the checkpoint: {told.get('detail', answer.status)}",
                code="anchor_refused",
                hint=str(told.get("hint", "")),
            )
        return told


@contextlib.contextmanager
def _told(name: str) -> Generator[None]:
    """What the file system refuses, as ours."""
    try:
        yield
    except OSError as error:
        raise Unavailable(
            f"The anchor {name} cannot be used: {error.strerror or type(error).__name__}.", code="anchor_failed"
        ) from None


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Generator[int]:
    """A descriptor; -1 where a file to be read is not there."""
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        if flags != os.O_RDONLY:
            raise
        yield -1
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def _refuse_fork(log: Log, checkpoint: Checkpoint, held: verify.Checkpoint, name: str) -> None:
    """Raise ``Conflict`` where the log is not a continuation of what an anchor holds."""
    if held.size > checkpoint.size:
        raise _older(name, held.size, checkpoint.size)
    proven = await log.consistency(held.size, checkpoint.size)
    if proven.old_root != held.root.hex():
        raise Conflict(
            f"The anchor {name} holds another root for {held.size} leaves: history was rewritten or split.",
            code="anchor_contradicts",
            hint="Do not go on: compare a bundle of this log with the anchor (`ostinato audit verify`).",
        )


def _older(name: str, held: int, size: int) -> OstinatoError:
    return Conflict(
        f"The anchor {name} holds a checkpoint of {held} leaves; this log has {size}.",
        code="anchor_newer",
        hint="This log was cut off or restored from an older backup. Give it a new `origin` and a new anchor.",
    )
