"""The in-process tier: entries as bytes and a few numbers, bounded by the memory they really take.

A million entries must neither exceed two gibibytes nor be seen by the garbage collector, so an entry holds no list
and no dictionary: the answer stays packed, what is rarely asked (usage, input digest, quality) is packed beside it,
and what many entries share (scope, alias, target, generation ...) is one interned :class:`Kind`.
"""

import sys

import msgspec

from ostinato.cache.model import EntryMeta
from ostinato.cache.shards import SHARDS, Item, Shards
from ostinato.wire.model import Json, Usage

_KIND_TABLES = 64
_ENTRY_OVERHEAD = 664
"""Bytes of an entry beside its answer and packed head: struct, numbers, key, origin, share of the dictionary, allocator
rounding. Calibrated: ``test_memory.py`` compares the sum of weights with resident memory."""
_KIND_OVERHEAD = 400
_MOST_UNREPORTED = 10_000
"""Entries evicted between two reports whose hits are still told to the shared tier."""


class Traits(msgspec.Struct, frozen=True, gc=False):
    """What many entries have in common, and what they can be withdrawn by."""

    scope: bytes
    """Digest of the whole scope."""
    org: str
    project: str
    user_digest: str
    context: str
    alias: str
    target: str
    release: str
    generation: str
    tags: tuple[str, ...]
    fingerprint_version: int


class Kind(msgspec.Struct, gc=False, eq=False):
    """One per distinct :class:`Traits` in memory. ``seen`` and ``verdict`` are notes of the scan that last came by."""

    traits: Traits
    weight: int
    entries: int = 0
    seen: int = 0
    verdict: bool = False
    labels: dict[str, str] | None = None
    """As the shared tier's records carry them: made once, shared by all, changed by nobody."""


class _Head(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The part of an entry's metadata that only reports ask for."""

    input_digest: str
    usage: Usage
    quality: Json | None


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(_Head).decode

NOT_SHARED = -1
"""``Entry.written`` of an entry that the shared tier does not hold."""


class Entry(Item, gc=False, eq=False, kw_only=True):
    """One answer in memory.

    Take what you need before you await: afterwards look at ``withdrawn`` again, since an entry that has been evicted,
    replaced or withdrawn gives up its answer (``answer`` is then empty).
    """

    kind: Kind
    answer: bytes
    """As given to ``put``."""
    head: bytes
    created: int
    """UTC microseconds, as are ``expires``, ``stale_until`` and ``last_hit``."""
    expires: int
    """Fresh while ``now < expires``."""
    stale_until: int
    cost: int | None
    """Nano-dollars that producing it cost; ``None``: unknown price."""
    origin: str
    """Request id of the call that produced it."""
    hits: int = 0
    """Since it came into memory. Whoever serves it adds one: see :meth:`served`."""
    written: int = NOT_SHARED
    """How many of ``hits`` the shared tier has been told; ``NOT_SHARED``: it does not hold the entry."""
    last_hit: int = 0

    @property
    def scope(self) -> bytes:
        return self.kind.traits.scope

    @property
    def target(self) -> str:
        """``provider/model`` that answered."""
        return self.kind.traits.target

    @property
    def generation(self) -> str:
        return self.kind.traits.generation

    @property
    def shared(self) -> bool:
        """Whether the shared tier holds it."""
        return self.written != NOT_SHARED

    def served(self, now: int) -> None:
        """Count a hit."""
        self.hits += 1
        self.last_hit = now

    def meta(self) -> EntryMeta:
        """Everything that is told of it. Of a withdrawn entry, usage and digest are gone and stand empty."""
        traits = self.kind.traits
        head = _unpack(self.head) if self.head else _Head("", Usage(), None)
        return EntryMeta(
            fingerprint_version=traits.fingerprint_version,
            alias=traits.alias,
            target=traits.target,
            release=traits.release,
            generation=traits.generation,
            org=traits.org,
            project=traits.project,
            user_digest=traits.user_digest,
            context=traits.context,
            tags=traits.tags,
            created=self.created,
            expires=self.expires,
            stale_until=self.stale_until,
            input_digest=head.input_digest,
            usage=head.usage,
            cost=self.cost,
            origin=self.origin,
            quality=head.quality,
        )

    def drop(self) -> None:
        """Mark withdrawn and give up the bytes, which references elsewhere would otherwise keep alive uncounted."""
        self.withdrawn = True
        self.answer = b""
        self.head = b""


def traits_of(scope: bytes, meta: EntryMeta) -> Traits:
    """The traits of an entry; short strings that recur are interned."""
    intern = sys.intern
    return Traits(
        scope,
        intern(meta.org),
        intern(meta.project),
        meta.user_digest,
        meta.context,
        intern(meta.alias),
        intern(meta.target),
        intern(meta.release),
        intern(meta.generation),
        meta.tags,
        meta.fingerprint_version,
    )


class MemoryTier:
    """Entries by full scoped key, at most ``max_bytes`` of resident memory."""

    def __init__(self, max_bytes: int) -> None:
        self._shards: Shards[Entry] = Shards(max_bytes)
        self._tables = self._shards.tables
        self._kinds: tuple[dict[Traits, Kind], ...] = tuple({} for _ in range(_KIND_TABLES))
        self._unreported: list[tuple[bytes, int, int]] = []
        self._reported = -1
        self.slices = self._shards.slices

    @property
    def size(self) -> int:
        """Bytes in use."""
        return self._shards.size

    @property
    def max_bytes(self) -> int:
        return self._shards.max_bytes

    @property
    def entries(self) -> int:
        return self._shards.count

    @property
    def evicted(self) -> int:
        return self._shards.evicted

    @property
    def kinds(self) -> int:
        return sum(map(len, self._kinds))

    def get(self, key: bytes, now: int) -> Entry | None:
        """The entry, fresh or stale (the caller compares ``expires``); ``None`` past ``stale_until``. Counts no hit."""
        entry = self._tables[key[0]].get(key)
        if entry is None:
            return None
        if entry.stale_until <= now:
            self.withdraw(entry)
            return None
        entry.referenced = True
        return entry

    def put(self, key: bytes, scope: bytes, meta: EntryMeta, answer: bytes) -> Entry | None:
        """Keep an answer in place of what had its key; ``None`` if it is heavier than the whole tier."""
        kind = self._kind(traits_of(scope, meta))
        kind.entries += 1
        head = _pack(_Head(meta.input_digest, meta.usage, meta.quality))
        expires = meta.expires
        entry = Entry(
            key=key,
            weight=_ENTRY_OVERHEAD + len(answer) + len(head),
            kind=kind,
            answer=answer,
            head=head,
            created=meta.created,
            expires=expires,
            # One number object instead of two where no rule allows stale answers.
            stale_until=expires if meta.stale_until <= expires else meta.stale_until,
            cost=meta.cost,
            origin=meta.origin,
        )
        for left in self._shards.put(entry):
            self._leave(left)
        return None if entry.withdrawn else entry

    def regrade(self, entry: Entry, meta: EntryMeta) -> None:
        """Pack what reports ask for anew, of an entry that is in memory."""
        head = _pack(_Head(meta.input_digest, meta.usage, meta.quality))
        more = len(head) - len(entry.head)
        entry.head = head
        entry.weight += more
        self._shards.size += more

    def withdraw(self, entry: Entry) -> bool:
        """Take an entry out; every reference to it is dead at once. False if it had left before."""
        if self._shards.remove(entry):
            self._leave(entry)
            return True
        return False

    def stored(self, entry: Entry) -> None:
        """The shared tier holds the entry now: from here on its hits are told."""
        if entry.written == NOT_SHARED:
            entry.written = 0

    def report_hits(self, shards: int = SHARDS) -> list[tuple[bytes, int, int]]:
        """``(key, hits added, last hit)`` of entries that the shared tier holds and that were served since last told.

        Looks at the next ``shards`` of the 256 parts, so that a look at a million entries is spread over many calls and
        a hit pays nothing for being counted.
        """
        report, self._unreported = self._unreported, []
        for _ in range(shards):
            self._reported = (self._reported + 1) % SHARDS
            for entry in self._tables[self._reported].values():
                if entry.hits != entry.written != NOT_SHARED:
                    report.append((entry.key, entry.hits - entry.written, entry.last_hit))
                    entry.written = entry.hits
        return report

    def _kind(self, traits: Traits) -> Kind:
        table = self._kinds[hash(traits) % _KIND_TABLES]
        kind = table.get(traits)
        if kind is None:
            own = len(traits.user_digest) + len(traits.context) + sum(map(len, traits.tags)) + 64 * len(traits.tags)
            kind = table[traits] = Kind(traits, _KIND_OVERHEAD + own)
            self._shards.size += kind.weight
        return kind

    def _leave(self, entry: Entry) -> None:
        kind = entry.kind
        kind.entries -= 1
        if entry.hits > entry.written > NOT_SHARED and len(self._unreported) < _MOST_UNREPORTED:
            self._unreported.append((entry.key, entry.hits - entry.written, entry.last_hit))
        if not kind.entries:
            self._shards.size -= kind.weight
            del self._kinds[hash(kind.traits) % _KIND_TABLES][kind.traits]
