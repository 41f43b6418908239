"""The shared tier in one SQLite file, for one process: what makes a restart warm.

Laid out for a million records of a kilobyte. The wide table is only ever appended to and read by one index; what
changes with every hit (counters) or is scanned whole (expiry, the size bound) lies in a narrow table beside it. Labels,
tags and scope are not indexed per record: their distinct combinations (*facets*) are few, so a record carries the
number of its facet and an index on that one number answers every query.
"""

import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ostinato.core.clock import Clock, SystemClock
from ostinato.core.errors import OstinatoError, Unavailable
from ostinato.storage import failures, records_sql
from ostinato.storage.records import Query, Record
from ostinato.storage.threads import Lane

_log = logging.getLogger(__name__)

T = TypeVar("T")

READERS = 2
WAITING = 20_000
"""Calls that may wait for a thread; beyond it a caller is told at once."""
CHUNK = 5_000
"""Records that one job removes: writers behind it wait some 50 ms at most."""
LEASES = 100_000
_PREFIXES = 20_000
_REOPEN_SECONDS = 1.0


class SqliteRecordStore:
    """Records in the file ``path``, at most about ``max_bytes`` of them (the least recently hit go first).

    A damaged file is set aside (``<name>.damaged-<time>``, see ``set_aside``), said in the log, and rebuilt empty: a
    cache may forget. A full or read-only disk makes writes fail with ``Unavailable`` while reads go on.
    """

    shared = False

    def __init__(self, path: Path | str, *, max_bytes: int = 8 * 1024**3, clock: Clock | None = None) -> None:
        self.path = Path(path)
        self.set_aside: Path | None = None
        """Where a damaged file was put, if one was found."""
        self.evicted = 0
        """Records dropped to stay within ``max_bytes``."""
        self._max_bytes = max_bytes
        self._clock = clock or SystemClock()
        self._leases: dict[bytes, tuple[str, float]] = {}
        self._state = records_sql.State()
        self._failing: OstinatoError | None = None
        self._opened = False
        self._epoch: int = 0
        self._damaged = False
        self._tried = float("-inf")
        self._writer: Lane[records_sql.Connection] | None = None
        self._readers: Lane[records_sql.Connection] | None = None

    @property
    def healthy(self) -> bool:
        """Whether the file is open and the last write succeeded."""
        return self._opened and not self._failing

    @property
    def bytes_used(self) -> int:
        """Bytes of all records with what they cost beside their blobs; what ``max_bytes`` bounds."""
        return self._state.bytes_used

    async def start(self) -> None:
        """Open the file, or make it. Does not fail on a bad disk: calls do, until it is better."""
        if self._writer is not None:
            return
        self._writer = Lane("ostinato-cache-write", 1, self._open_writer, records_sql.Connection.close, waiting=WAITING)
        self._readers = Lane(
            "ostinato-cache-read", READERS, self._open_reader, records_sql.Connection.close, waiting=WAITING
        )
        with suppress(Unavailable):
            await self._write(records_sql.touch_nothing)

    async def close(self) -> None:
        """Finish what is queued and close the file; may be called twice."""
        readers, writer = self._readers, self._writer
        self._readers = self._writer = None
        # The writer last: the last connection to close folds the log into the file.
        for lane in (readers, writer):
            if lane is not None:
                await lane.close()
        self._opened = False

    async def get(self, key: bytes, scope: bytes) -> Record | None:
        """One look-up by key and scope, some 0.02-0.2 ms on a thread of the store."""
        readers = self._readers
        if readers is None or not self._opened:
            raise self._unavailable()
        epoch = self._epoch
        try:
            return await readers.call(records_sql.get, key, scope)
        except sqlite3.Error as error:
            raise await self._failed(error, epoch) from error

    async def put_many(self, records: Sequence[Record]) -> None:
        """One transaction. Later records of a batch replace earlier ones of the same key."""
        if not records:
            return
        await self._write(records_sql.put_many, self._state, tuple(records), self._clock.now())
        if self._state.bytes_used > self._max_bytes:
            self.evicted += await self._write(records_sql.evict, self._state, self._max_bytes, CHUNK)

    async def find(self, query: Query, limit: int = 100) -> list[Record]:
        """Newest first."""
        return await self._read(records_sql.find, query.checked(), limit)

    async def count(self, query: Query) -> int:
        """Counted by index."""
        return await self._read(records_sql.count, query.checked())

    async def remove(self, query: Query) -> list[bytes]:
        """All that match now, in one job of the writer: nothing that was put before survives it."""
        return await self._write(records_sql.remove, self._state, query.checked(), CHUNK)

    async def scrub(self) -> None:
        """Drop labels and tags that no record has, fold the log into the file and cut it to nothing.

        What was removed is nowhere on the disk then.
        """
        await self._write(records_sql.fold, self._state)

    async def remove_keys(self, keys: Sequence[bytes]) -> int:
        """In one job of the writer."""
        return await self._write(records_sql.remove_keys, self._state, tuple(keys), CHUNK) if keys else 0

    async def touch_many(self, touches: Sequence[tuple[bytes, int, int]]) -> None:
        """One transaction."""
        if touches:
            await self._write(records_sql.touch_many, tuple(touches))

    async def sweep(self, now: int) -> int:
        """Chunk by chunk, so that writers get their turn in between."""
        removed = 0
        while True:
            part = await self._write(records_sql.sweep, self._state, now, CHUNK)
            removed += part
            if part < CHUNK:
                break
        while self._state.bytes_used > self._max_bytes:
            part = await self._write(records_sql.evict, self._state, self._max_bytes, CHUNK)
            self.evicted += part
            removed += part
            if not part:
                break
        if removed:
            await self._write(records_sql.forget_facets, self._state)
        return removed

    async def key_prefixes(self) -> AsyncIterator[list[bytes]]:
        """In the order of keys, 20,000 at a time; a million take about a second."""
        last = b""
        while True:
            prefixes, last = await self._read(records_sql.prefixes, last, _PREFIXES)
            if not prefixes:
                return
            yield prefixes

    async def acquire_lease(self, key: bytes, owner: str, seconds: float) -> bool:
        """Held in memory: the file has one process."""
        now = self._clock.monotonic()
        held = self._leases.get(key)
        if held is not None and held[0] != owner and held[1] > now:
            return False
        if len(self._leases) >= LEASES:
            self._leases = {name: lease for name, lease in self._leases.items() if lease[1] > now}
        self._leases[key] = (owner, now + seconds)
        return True

    async def release_lease(self, key: bytes, owner: str) -> None:
        """Nothing happens if another holds it by now."""
        held = self._leases.get(key)
        if held is not None and held[0] == owner:
            del self._leases[key]

    async def _read(self, job: Callable[..., T], *arguments: object) -> T:
        readers = self._readers
        if readers is None or not self._opened:
            raise self._unavailable()
        epoch = self._epoch
        try:
            return await readers.call(job, *arguments)
        except sqlite3.Error as error:
            raise await self._failed(error, epoch) from error

    async def _write(self, job: Callable[..., T], *arguments: object) -> T:
        if self._writer is None:
            raise self._unavailable()
        epoch = self._epoch
        try:
            result = await self._writer.call(job, *arguments)
        except sqlite3.Error as error:
            raise await self._failed(error, epoch, writing=True) from error
        if self._failing:
            _log.warning("The cache file is written again.")
            self._failing = None
        return result

    async def _failed(self, error: sqlite3.Error, epoch: int, *, writing: bool = False) -> OstinatoError:
        # Whatever SQLite makes of a file that was moved away under it: what the caller meets is the damage.
        told = failures.from_sqlite(error, "cache") if epoch == self._epoch else failures.damaged("cache")
        if failures.is_corrupt(error) and self._writer is not None and epoch == self._epoch:
            # Found in flight: the next job of the writer, and then of every reader, finds a new and empty file.
            self._epoch += 1
            self._opened = False
            self._damaged = True
            self._tried = float("-inf")
            self._writer.renew()
            with suppress(sqlite3.Error, OstinatoError):
                await self._writer.call(records_sql.touch_nothing)
            told.hint = "It is set aside and begun anew."
        elif writing and not self._failing:
            _log.warning("%s", told.sentence)
            self._failing = told
        return told

    def _unavailable(self) -> Unavailable:
        told = self._failing
        if told is None or self._writer is None:
            return Unavailable("The cache file is not open.", code="storage_closed")
        return Unavailable(told.message, code=told.code, hint=told.hint)

    def _open_writer(self) -> records_sql.Connection:
        """On the writer's thread: open, and set aside what cannot be opened because it is damaged."""
        now = self._clock.monotonic()
        if now - self._tried < _REOPEN_SECONDS and self._failing:
            raise self._unavailable()
        self._tried = now
        if self._damaged:
            self._put_aside()
        try:
            connection = self._prepared()
        except sqlite3.Error as error:
            if not failures.is_corrupt(error):
                raise
            self._put_aside()
            connection = self._prepared()
        if self._readers is not None:
            # Only now: a reader that came too early would find a file without tables.
            self._readers.renew()
        self._opened = True
        return connection

    def _prepared(self) -> records_sql.Connection:
        connection = records_sql.connect(self.path, write=True)
        try:
            if not records_sql.fits(connection):
                connection.close()
                self._put_aside("old")
                connection = records_sql.connect(self.path, write=True)
                records_sql.fits(connection)
            self._state.load(connection)
        except BaseException:
            connection.close()
            raise
        with suppress(OSError):
            self.path.chmod(0o600)
        return connection

    def _open_reader(self) -> records_sql.Connection:
        return records_sql.connect(self.path, write=False)

    def _put_aside(self, why: str = "damaged") -> None:
        """Rename the file with its log, keeping one such file at most: a cache is not worth more of the disk."""
        for older in self.path.parent.glob(f"{self.path.name}.{why}-*"):
            with suppress(OSError):
                older.unlink()
        target = self.path.with_name(f"{self.path.name}.{why}-{self._clock.now() // 1_000_000}")
        for suffix in ("-wal", "-shm", "-journal"):
            with suppress(OSError):
                self.path.with_name(self.path.name + suffix).unlink()
        with suppress(FileNotFoundError):
            self.path.replace(target)
        self.set_aside = target
        self._damaged = False
        _log.warning("The cache file %s is %s; it was set aside as %s and begun anew.", self.path, why, target.name)
