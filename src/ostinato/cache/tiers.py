"""All tiers as one cache."""

import heapq
from collections.abc import Callable

import msgspec
from blake3 import blake3

from ostinato.cache.heeding import Heeding, Telling
from ostinato.cache.invalidation import Matcher, Report, Withdrawals, check, scan, unnamed
from ostinato.cache.memory import Entry, MemoryTier, traits_of
from ostinato.cache.model import EntryMeta, Selector
from ostinato.cache.raw import RawIndex
from ostinato.cache.settings import Settings
from ostinato.cache.shared import SharedTier, read
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.storage import Notices
from ostinato.storage.records import Query, Record, RecordStore
from ostinato.wire.model import Json

_MOST_LISTED = 10_000


class Described(msgspec.Struct, frozen=True):
    """An entry as reports show it. Neither its key nor its answer is told."""

    entry: str
    """Its opaque name, as in ``ostinato-entry``."""
    meta: EntryMeta
    hits: int
    last_hit: int
    """UTC microseconds; 0: never."""
    size: int
    """Bytes of the answer."""


class Page(msgspec.Struct, frozen=True):
    items: tuple[Described, ...]
    more: bool


class ResponseCache:
    """Raw-body index, in-process tier and shared tier. Trouble below the in-process tier is a miss.

    ``secret`` is the installation's: it keys entry names and the digests of end users. With ``notices`` withdrawals
    reach other processes at once; where they share a store, within a second in any case.
    """

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        store: RecordStore | None = None,
        *,
        secret: bytes,
        notices: Notices | None = None,
    ) -> None:
        self._clock = clock
        self._secret = secret
        self._name_key = blake3(b"ostinato cache entry names" + secret).digest()
        self._memory = MemoryTier(settings.memory_bytes)
        self._withdrawals = Withdrawals()
        self._scans = 0
        self._shared = None if store is None else SharedTier(store, self._memory, clock, settings)
        self._others: Heeding | Telling | None = None
        if self._shared is not None and self._shared.store.shared:
            self._others = Heeding(self._shared.store, clock, self._withdraw_all, self._withdraw_here, notices)
            self._shared.tend = self._others.heed
        elif notices is not None:
            self._others = Telling(self._withdraw_all, self._withdraw_here, notices)
        self.raw = RawIndex(settings.raw_bytes)
        """The first look-up, by raw body."""
        self.epoch = settings.epoch
        """What the operator set; part of every generation."""
        self.get_now: Callable[[bytes, int], Entry | None] = self._memory.get
        """``get_now(key, now)``: the in-process tier alone; fresh or stale, see ``Entry.expires``. Counts no hit."""
        self.withdrawn = self.refused = 0

    @property
    def withdrawals(self) -> int:
        """A count that every withdrawal raises: note it as a call begins, give it to :meth:`put` as ``begun``."""
        return self._withdrawals.count

    @property
    def shared(self) -> SharedTier | None:
        return self._shared

    async def start(self) -> None:
        """Open the shared tier and begin to write behind. Does not fail because a store is away."""
        if self._others is not None:
            self._others.start()
        if self._shared is not None:
            await self._shared.start()

    async def stop(self) -> None:
        """Write down what waits, tell the last hits, close the store."""
        if self._others is not None:
            self._others.stop()
        if self._shared is not None:
            await self._shared.stop()

    async def get(self, key: bytes, scope: bytes, now: int) -> Entry | None:
        """The entry from memory, else from the shared tier, and then into memory. Fresh or stale; counts no hit."""
        entry = self.get_now(key, now)
        if entry is not None or self._shared is None or self._shared.lacks(key):
            return entry
        begun = self._withdrawals.count
        record = await self._shared.get(key, scope)
        # Memory again: a flight may have landed meanwhile, and a caller who now misses starts another.
        entry = self.get_now(key, now)
        if entry is not None or record is None:
            return entry
        return await self._promote(self._shared, record, begun)

    async def _promote(self, shared: SharedTier, record: Record, begun: int) -> Entry | None:
        try:
            meta, answer = read(record)
        except (msgspec.MsgspecError, ValueError):
            await shared.discard(record)
            return None
        if self._withdrawals.refuses(begun, record.key, traits_of(record.scope, meta)):
            return None
        entry = self._memory.put(record.key, record.scope, meta, answer)
        if entry is None:
            return None
        if shared.owes(record.key, entry):
            self._memory.withdraw(entry)
            return None
        if not shared.waits(record.key):
            self._memory.stored(entry)
        return entry

    def put(
        self, key: bytes, scope: bytes, meta: EntryMeta, answer: bytes, *, begun: int, name: str = ""
    ) -> Entry | None:
        """Keep an answer: in memory now, in the shared tier soon.

        ``begun`` is :attr:`withdrawals` as it was when the call began (``Flight.begun``). ``None`` if it is not kept:
        withdrawn since, or larger than the tier. ``name``: :meth:`entry_name`, where it is known.
        """
        if begun != self._withdrawals.count and self._withdrawals.refuses(begun, key, traits_of(scope, meta)):
            self.refused += 1
            return None
        entry = self._memory.put(key, scope, meta, answer)
        if entry is not None and self._shared is not None:
            self._shared.offer(entry, name or self.entry_name(key, scope), meta)
        return entry

    def grade(self, entry: Entry, quality: Json) -> bool:
        """Write down what is known of an answer's quality, in memory now, in the shared tier soon.

        False, and nothing happens, where the entry has left memory meanwhile.
        """
        if entry.withdrawn:
            return False
        meta = msgspec.structs.replace(entry.meta(), quality=quality)
        self._memory.regrade(entry, meta)
        if self._shared is not None:
            self._shared.offer(entry, self.entry_name(entry.key, entry.scope), meta)
        return True

    def entry_name(self, key: bytes, scope: bytes) -> str:
        """The opaque name of an entry, 16 characters, keyed with the installation's secret: it hides the key."""
        return blake3(scope + key, key=self._name_key).hexdigest(length=8)

    def describe(self, entry: Entry) -> Described:
        """What may be told of an entry in memory; ``hits`` since it came there. :meth:`list` tells all."""
        return Described(
            self.entry_name(entry.key, entry.scope), entry.meta(), entry.hits, entry.last_hit, len(entry.answer)
        )

    async def invalidate(self, selector: Selector, *, dry_run: bool = True) -> Report:
        """Withdraw what the selector says, of every generation, from every tier, every process, and what is on its way.

        Tells how many entries that are, or with ``dry_run`` would be. Raises ``Invalid`` where the selector says too
        little, ``Unavailable`` where the shared tier cannot be reached. Then a tier of this process alone gives out
        nothing that was withdrawn, and the removal is repeated; with a tier of many processes nothing has happened.
        """
        check(selector)
        selector = unnamed(selector, self._secret)
        if dry_run:
            matcher = self._matcher(selector)
            shared = 0
            if self._shared is not None:
                await self._shared.flush()  # what is on its way would be counted in neither place, or in both
                shared = await self._shared.count(self._query(matcher))
            memory, alone = await self._scan(matcher, lambda entry: None)
            return Report(memory, shared, shared + alone, dry_run=True)
        if self._others is not None:
            await self._others.announce(selector)
        return await self._withdraw_all(selector)

    async def list(self, selector: Selector, *, limit: int = 50, offset: int = 0) -> Page:
        """Entries that match, newest first; here a selector may name no more than the organization."""
        if not selector.org:
            raise Invalid("A list must name the organization.", code="org_missing", param="org")
        if limit < 1 or offset < 0 or limit + offset > _MOST_LISTED:
            raise Invalid(
                f"Lists reach down to entry {_MOST_LISTED:,}.", param="offset", hint="Narrow the selection instead."
            )
        matcher = self._matcher(selector)
        last = offset + limit + 1
        if self._shared is None:
            entries: list[Entry] = []
            await self._scan(matcher, entries.append)
            newest = heapq.nlargest(last, entries, key=lambda entry: entry.created)
            found = [self.describe(entry) for entry in newest[offset:]]
        else:
            await self._shared.flush()
            records = await self._shared.store.find(self._query(matcher), last)
            found = [self._describe_record(record) for record in records[offset:]]
        return Page(tuple(item for item in found[:limit] if item is not None), len(found) > limit)

    def stats(self) -> dict[str, int]:
        """Numbers of all tiers, for metrics and ``cache show``."""
        memory, raw, shared = self._memory, self.raw, self._shared
        numbers = {
            "memory_entries": memory.entries,
            "memory_bytes": memory.size,
            "memory_max_bytes": memory.max_bytes,
            "memory_evicted": memory.evicted,
            "raw_entries": raw.count,
            "raw_bytes": raw.size,
            "raw_evicted": raw.evicted,
            "withdrawn": self.withdrawn,
            "refused": self.refused,
        }
        if shared is not None:
            numbers |= {
                "shared_hits": shared.hits,
                "shared_misses": shared.misses,
                "shared_filtered": shared.filtered,
                "shared_errors": shared.errors,
                "shared_damaged": shared.damaged,
                "shared_written": shared.written,
                "shared_dropped": shared.dropped,
                "shared_swept": shared.swept,
                "shared_queued": shared.queued,
                "shared_owed": shared.owed,
            }
        return numbers

    def _matcher(self, selector: Selector) -> Matcher:
        return Matcher(selector, self._secret, self.entry_name)

    @staticmethod
    def _query(matcher: Matcher) -> Query:
        return Query(labels=matcher.labels(), tag=matcher.selector.tag, name=matcher.selector.entry)

    async def _scan(self, matcher: Matcher, found: Callable[[Entry], object]) -> tuple[int, int]:
        """Visit what matches in memory; how many there are, and how many of them are in memory alone."""
        alone = 0

        def visit(entry: Entry) -> None:
            nonlocal alone
            alone += not entry.shared
            found(entry)

        self._scans += 1
        return await scan(self._memory, matcher, self._clock, self._scans, visit), alone

    async def _withdraw_all(self, selector: Selector) -> Report:
        matcher = self._matcher(selector)
        self._withdrawals.add(matcher)
        try:
            keys: set[bytes] = set()

            def withdraw(entry: Entry) -> None:
                keys.add(entry.key)
                self._memory.withdraw(entry)

            memory, _ = await self._scan(matcher, withdraw)
            self.withdrawn += memory
            if self._shared is None:
                return Report(memory, 0, memory, dry_run=False)
            removed = await self._shared.withdraw(matcher, self._query(matcher))
            # An entry that was being written is in both.
            return Report(memory, len(removed), len(keys.union(removed)), dry_run=False)
        finally:
            # Again, for look-ups that began after the first time and read the shared tier before it was clean.
            self._withdrawals.add(matcher)

    async def _withdraw_here(self) -> None:
        """Empty this process's memory: it may have missed withdrawals of others."""
        self._withdrawals.refuse_all()
        for entries in self._memory.slices():
            for entry in entries:
                self._memory.withdraw(entry)
            await self._clock.sleep(0)

    def _describe_record(self, record: Record) -> Described | None:
        """``None`` of a record that cannot be read: a look-up will set it aside."""
        try:
            meta, answer = read(record)
        except (msgspec.MsgspecError, ValueError):
            return None
        return Described(record.name, meta, record.hits, record.last_hit, len(answer))
