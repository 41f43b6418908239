"""The tier below memory: a record store on disk or on a server, written behind and never waited for in vain.

New answers wait a moment for company and are written in batches; hits are told in batches too. A store that fails
or is slow is a miss and a number in ``stats``; what cannot be kept in the bounded queue is dropped and counted. A
withdrawal is the exception: it must reach the store, so it is repeated until it has.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine

import msgspec

from ostinato.cache.filter import KeyFilter
from ostinato.cache.invalidation import Matcher
from ostinato.cache.memory import Entry, MemoryTier
from ostinato.cache.model import EntryMeta
from ostinato.cache.settings import Settings
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError, Unavailable
from ostinato.storage.records import Query, Record, RecordStore

_log = logging.getLogger(__name__)

_QUEUE_BYTES = 64 * 1_048_576
_REST_SECONDS = 1.0
"""How long a store that failed is not asked again."""
_MOST_SLOW = 3
"""Look-ups that time out in a row before the store is let rest."""
_TEND_SECONDS = 0.5
_REPORT_SHARDS = 8
"""Of 256: hits are told to the store about every quarter of a minute."""
_MOST_OWED = 256
_FILL_SLICE = 1024


class _Stored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a record's blob holds."""

    meta: EntryMeta
    answer: bytes


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Stored).decode


def record_of(entry: Entry, name: str, meta: EntryMeta) -> Record:
    """An entry as the store keeps it. ``meta`` is what it was made of."""
    kind = entry.kind
    labels = kind.labels
    if labels is None:
        labels = kind.labels = _labels(meta)
    blob = _pack(_Stored(meta, entry.answer))
    return Record(entry.key, kind.traits.scope, name, labels, meta.tags, meta.stale_until, blob)


def _labels(meta: EntryMeta) -> dict[str, str]:
    labels = {
        "org": meta.org,
        "project": meta.project,
        "user": meta.user_digest,
        "target": meta.target,
        "alias": meta.alias,
        "context": meta.context,
        "generation": meta.generation,
    }
    return {label: value for label, value in labels.items() if value}


def read(record: Record) -> tuple[EntryMeta, bytes]:
    """Metadata and answer of a record. Raises ``msgspec.MsgspecError`` or ``ValueError`` if it is damaged."""
    stored = _unpack(record.blob)
    return stored.meta, stored.answer


class SharedTier:
    """A :class:`~ostinato.storage.records.RecordStore` as the cache uses it."""

    def __init__(self, store: RecordStore, memory: MemoryTier, clock: Clock, settings: Settings) -> None:
        self.store = store
        self._memory = memory
        self._clock = clock
        self._settings = settings
        self._pending: dict[bytes, tuple[Record, Entry]] = {}
        self._pending_bytes = 0
        self._writing: dict[bytes, tuple[Record, Entry]] = {}
        self._lock = asyncio.Lock()
        self._news = asyncio.Event()
        self._filter: KeyFilter | None = None
        self._filling: KeyFilter | None = None
        self._owed: deque[tuple[Matcher, Query]] = deque()
        self._rest_until = float("-inf")
        self._slow = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.tend: Callable[[], Coroutine[None, None, None]] | None = None
        """More to do every half second; errors of the store are expected there."""
        self.hits = self.misses = self.filtered = self.errors = self.damaged = 0
        self.written = self.dropped = self.swept = 0

    @property
    def queued(self) -> int:
        """Entries not yet written."""
        return len(self._pending) + len(self._writing)

    @property
    def owed(self) -> int:
        """Withdrawals that have not reached the store yet."""
        return len(self._owed)

    async def start(self) -> None:
        """Open the store and begin to write. Entries can be looked up at once; the filter fills meanwhile."""
        try:
            await self.store.start()
        except OstinatoError as error:
            self._failed(error)
        self._tasks = [asyncio.create_task(self._write_behind()), asyncio.create_task(self._tend())]
        if not self.store.shared:
            self._tasks.append(asyncio.create_task(self._fill_filter()))

    async def stop(self) -> None:
        """Write what is waiting and close the store. What cannot be written now is dropped and counted."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._rest_until = float("-inf")
        await self.flush()
        try:
            await self._settle_owed()
            await self._tell_hits(self._memory.report_hits())
        except OstinatoError as error:
            self._failed(error)
        self.dropped += len(self._pending)
        self._pending.clear()
        await self.store.close()

    def offer(self, entry: Entry, name: str, meta: EntryMeta) -> bool:
        """Queue an entry for writing. False, and counted, if the queue is full."""
        record = record_of(entry, name, meta)
        key, weight, pending = record.key, len(record.blob), self._pending
        old = pending.pop(key, None)
        if old is not None:
            self._pending_bytes -= len(old[0].blob)
        if len(pending) >= self._settings.write_queue or self._pending_bytes + weight > _QUEUE_BYTES:
            self.dropped += 1
            return False
        pending[key] = (record, entry)
        self._pending_bytes += weight
        if self._filter is not None:
            self._filter.add(key)
        if self._filling is not None:
            self._filling.add(key)
        self._news.set()
        return True

    def may_hold(self, key: bytes) -> bool:
        """False where a look-up would be in vain."""
        return self._filter is None or self._filter.maybe(key)

    def lacks(self, key: bytes) -> bool:
        """Whether a look-up would be in vain; it counts as one then."""
        if self.may_hold(key) or self.waits(key):
            return False
        self.filtered += 1
        return True

    def waits(self, key: bytes) -> bool:
        """Whether it is still to be written."""
        return key in self._pending or key in self._writing

    async def get(self, key: bytes, scope: bytes) -> Record | None:
        """The record, not past its use; ``None`` also where the store fails, rests or takes too long."""
        waiting = self._pending.get(key) or self._writing.get(key)
        if waiting is not None and waiting[0].scope == scope:
            return waiting[0]
        if not self.may_hold(key):
            self.filtered += 1
            return None
        if self._clock.monotonic() < self._rest_until:
            return None
        try:
            async with asyncio.timeout(self._settings.shared_timeout):
                record = await self.store.get(key, scope)
        except TimeoutError as error:
            self._slow += 1
            self._failed(error, rest=self._slow >= _MOST_SLOW)
            return None
        except OstinatoError as error:
            self._failed(error)
            return None
        self._slow = 0
        if record is None or record.expires <= self._clock.now():
            self.misses += 1
            return None
        self.hits += 1
        return record

    async def discard(self, record: Record) -> None:
        """Remove a record that cannot be read."""
        self.damaged += 1
        try:
            await self.store.remove_keys([record.key])
        except OstinatoError as error:
            self._failed(error)

    def owes(self, key: bytes, entry: Entry) -> bool:
        """Whether a record that the store still gave should have been withdrawn, but the store was away then."""
        return any(matcher.entry(key, entry.kind.traits) for matcher, _ in self._owed)

    async def count(self, query: Query) -> int:
        """How many records match, those waiting to be written included."""
        await self.flush()
        return await self.store.count(query)

    async def withdraw(self, matcher: Matcher, query: Query) -> list[bytes]:
        """Remove what matches, also what is on its way; gives the keys removed from the store.

        Raises ``Unavailable`` if the store cannot be reached: then it is owed, not given out any more, and repeated.
        """
        if len(self._owed) >= _MOST_OWED:
            raise Unavailable("Too many withdrawals wait for the shared tier.", retry_after=60.0)
        owed = (matcher, query)
        self._owed.append(owed)
        self._prune(matcher)
        removed = await self._remove(matcher, query)
        if owed in self._owed:
            self._owed.remove(owed)
        return removed

    async def _remove(self, matcher: Matcher, query: Query) -> list[bytes]:
        async with self._lock:  # a batch being written now may hold what is to be withdrawn: let it land, or come back
            self._prune(matcher)
            return await self.store.remove(query)

    def _prune(self, matcher: Matcher) -> None:
        for key, (record, entry) in list(self._pending.items()):
            if matcher.entry(key, entry.kind.traits):
                del self._pending[key]
                self._pending_bytes -= len(record.blob)

    async def flush(self) -> None:
        """Write all that waits now. A store that fails keeps it waiting."""
        while self._pending and self._clock.monotonic() >= self._rest_until:
            async with self._lock:
                await self._write_batch()

    async def _write_batch(self) -> None:
        keys = list(self._pending)[: self._settings.write_batch]
        self._writing = {key: self._pending.pop(key) for key in keys}
        self._pending_bytes -= sum(len(record.blob) for record, _ in self._writing.values())
        try:
            await self.store.put_many([record for record, _ in self._writing.values()])
        except Unavailable as error:
            self._failed(error)
            self._put_back()
        except Exception as error:
            # Refused for what it is, not for when: trying again would block all that follow.
            self.dropped += len(self._writing)
            self._failed(error, rest=False)
            _log.warning("The shared cache tier refused %d entries: %s", len(self._writing), type(error).__name__)
        except asyncio.CancelledError:
            self._put_back()
            raise
        else:
            self.written += len(self._writing)
            for _, entry in self._writing.values():
                self._memory.stored(entry)
        finally:
            self._writing = {}

    def _put_back(self) -> None:
        newer, self._pending = self._pending, {}
        for key, (record, entry) in self._writing.items():
            if key not in newer:
                self._pending[key] = (record, entry)
                self._pending_bytes += len(record.blob)
        self._pending.update(newer)

    async def _write_behind(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            if not self.store.shared:  # where other processes wait for it, it goes out at once
                await self._clock.sleep(self._settings.write_delay)
            await self.flush()
            if self._pending:
                await self._clock.sleep(_REST_SECONDS)
                self._news.set()

    async def _tend(self) -> None:
        sweep_at = self._clock.monotonic() + self._settings.sweep_every
        while True:
            await self._clock.sleep(_TEND_SECONDS)
            if self._clock.monotonic() < self._rest_until:
                continue
            try:
                await self._settle_owed()
                await self._tell_hits(self._memory.report_hits(_REPORT_SHARDS))
                if self.tend is not None:
                    await self.tend()
                if self._clock.monotonic() >= sweep_at:
                    sweep_at = self._clock.monotonic() + self._settings.sweep_every
                    await self._sweep()
            except OstinatoError as error:
                self._failed(error)
            except Exception as error:
                self._failed(error)
                _log.exception("Tending the shared cache tier failed; it goes on.")

    async def _sweep(self) -> None:
        self.swept += await self.store.sweep(self._clock.now())
        keys = self._filter
        full = keys is None or keys.added > keys.capacity
        if full and self._filling is None and not self.store.shared:
            await self._fill_filter()

    async def _settle_owed(self) -> None:
        while self._owed:
            matcher, query = self._owed[0]
            await self._remove(matcher, query)
            if self._owed and self._owed[0][0] is matcher:
                self._owed.popleft()

    async def _tell_hits(self, report: list[tuple[bytes, int, int]]) -> None:
        size = self._settings.write_batch
        for begin in range(0, len(report), size):
            await self.store.touch_many(report[begin : begin + size])

    async def _fill_filter(self) -> None:
        """Read all keys, in the background: until the first time is done every look-up asks the store."""
        try:
            count = await self.store.count(Query(everything=True))
            keys = self._filling = KeyFilter(2 * count)
            for key in [*self._pending, *self._writing]:
                keys.add(key)
            async for prefixes in self.store.key_prefixes():
                for begin in range(0, len(prefixes), _FILL_SLICE):
                    for prefix in prefixes[begin : begin + _FILL_SLICE]:
                        keys.add(prefix)
                    await asyncio.sleep(0)
            self._filter = keys
        except OstinatoError as error:
            self._failed(error)
        finally:
            self._filling = None

    def _failed(self, error: BaseException, *, rest: bool = True) -> None:
        self.errors += 1
        if rest:
            if self._clock.monotonic() >= self._rest_until + 60 * _REST_SECONDS:
                _log.warning("The shared cache tier does not answer; misses go on without it: %s", type(error).__name__)
            self._rest_until = self._clock.monotonic() + _REST_SECONDS
