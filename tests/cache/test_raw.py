"""The first look-up by raw body: its key, its bound, and that it never decides otherwise than the tier behind it."""

import os
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from ostinato.cache import Entry, EntryMeta, RawIndex, ResponseCache, Selector, Settings, raw_key
from ostinato.cache.memory import MemoryTier
from ostinato.core.clock import ManualClock
from ostinato.wire.model import Usage

NOW = 1_760_000_000_000_000


def meta(now: int, life: int = 1_000_000, **fields) -> EntryMeta:
    standing = {
        "fingerprint_version": 1,
        "alias": "a",
        "target": "p/m",
        "release": "",
        "generation": "g",
        "org": "acme",
        "project": "shop",
        "user_digest": "",
        "context": "",
        "tags": (),
        "created": now,
        "expires": now + life,
        "stale_until": now + life,
        "input_digest": "",
        "usage": Usage(),
        "cost": 5,
        "origin": "",
    }
    return EntryMeta(**(standing | fields))


def entry_of(tier: MemoryTier, life: int = 1_000_000, size: int = 10, **fields) -> Entry:
    entry = tier.put(os.urandom(32), b"s" * 32, meta(NOW, life, **fields), b"x" * size)
    assert entry is not None
    return entry


PARTS = st.tuples(st.binary(max_size=40), st.integers(0, 10**6), st.binary(max_size=80), st.binary(max_size=80))


@given(PARTS, PARTS)
def test_different_parts_have_different_keys(one: tuple, other: tuple) -> None:
    assert (raw_key(*one) == raw_key(*other)) == (one == other)


@given(st.binary(min_size=2, max_size=60), st.data())
def test_no_two_ways_of_cutting_the_same_bytes_share_a_key(text: bytes, data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, len(text))), data.draw(st.integers(0, len(text)))
    same = raw_key(b"c", 1, text[:a], text[a:]) == raw_key(b"c", 1, text[:b], text[b:])
    assert same == (a == b)
    same = raw_key(text[:a], 1, text[a:], b"") == raw_key(text[:b], 1, text[b:], b"")
    assert same == (a == b)


def test_a_hit_gives_what_was_rendered_and_keeps_the_entry_alive_behind_it() -> None:
    tier, raw = MemoryTier(1 << 20), RawIndex(1 << 20)
    entry = entry_of(tier)
    key = os.urandom(32)
    assert raw.get(key, NOW) is None
    raw.put(key, entry, b"rendered", 8)
    entry.referenced = False
    hit = raw.get(key, NOW)
    assert hit is not None
    assert hit.rendered == b"rendered"
    assert hit.entry is entry
    assert entry.referenced, "the tier behind must see that the entry is used"
    assert entry.hits == 0


def test_a_reference_dies_with_its_entry() -> None:
    tier, raw = MemoryTier(1 << 20), RawIndex(1 << 20)
    entry = entry_of(tier)
    key = os.urandom(32)
    raw.put(key, entry, b"rendered", 8)
    hit = raw.get(key, NOW)
    assert hit is not None
    tier.withdraw(entry)
    assert raw.get(key, NOW) is None
    assert (raw.count, raw.size) == (0, 0)
    assert hit.rendered is None, "what was rendered is let go of too"
    raw.put(key, entry, b"rendered", 8)
    assert raw.count == 0, "a dead entry is not indexed"


def test_a_reference_ends_when_its_entry_is_no_longer_fresh_or_sooner() -> None:
    tier, raw = MemoryTier(1 << 20), RawIndex(1 << 20)
    entry = entry_of(tier, life=100, stale_until=NOW + 500)
    one, other = os.urandom(32), os.urandom(32)
    raw.put(one, entry, b"", 0, until=NOW + 10_000)
    raw.put(other, entry, b"", 0, until=NOW + 50)
    assert raw.get(one, NOW + 99) is not None
    assert raw.get(one, NOW + 100) is None
    assert raw.get(other, NOW + 49) is not None
    assert raw.get(other, NOW + 50) is None


def test_the_index_is_bounded_by_what_was_rendered() -> None:
    tier, raw = MemoryTier(1 << 24), RawIndex(100_000)
    entry = entry_of(tier)
    for _ in range(1_000):
        raw.put(os.urandom(32), entry, None, 5_000)
        assert raw.size <= 100_000
    assert 0 < raw.count <= 20
    assert raw.evicted >= 980
    raw.put(os.urandom(32), entry, None, 200_000)
    raw.clear()
    assert (raw.count, raw.size) == (0, 0)


def test_evicted_entries_are_not_kept_alive_by_references_to_them() -> None:
    tier, raw = MemoryTier(100_000), RawIndex(1 << 20)
    entries = [entry_of(tier, size=5_000) for _ in range(100)]
    for entry in entries:
        raw.put(os.urandom(32), entry, b"", 0)
    assert sum(len(entry.answer) for entry in entries) <= 100_000


class Asked(NamedTuple):
    """A request in the smallest terms: its fingerprint and how it is written (two bodies may mean the same)."""

    meaning: int
    spelling: int


class Side:
    """A gateway in small: with or without the raw-body index, everything else equal."""

    def __init__(self, clock: ManualClock, use_raw: bool, memory_bytes: int) -> None:
        self.clock = clock
        self.cache = ResponseCache(Settings(memory_bytes=memory_bytes, raw_bytes=8_000), clock, secret=b"x")
        self.use_raw = use_raw
        self.epoch = 0
        self.generation = 0

    def key(self, asked: Asked) -> bytes:
        return raw_key(b"key", 0, b"%d" % self.generation, b"%d" % asked.meaning)

    def ask(self, asked: Asked) -> str:
        now = self.clock.now()
        raw = raw_key(b"caller", self.epoch, b"/v1", repr(asked).encode())
        if self.use_raw:
            hit = self.cache.raw.get(raw, now)
            if hit is not None:
                return f"fresh {hit.rendered}"
        entry = self.cache.get_now(self.key(asked), now)
        if entry is None:
            return "miss"
        if entry.expires <= now:
            return f"stale {entry.origin}"
        if self.use_raw:
            self.cache.raw.put(raw, entry, entry.origin, 100)
        return f"fresh {entry.origin}"

    def store(self, asked: Asked, origin: str, life: int, stale: int, size: int) -> None:
        now = self.clock.now()
        told = meta(
            now, life, stale_until=now + life + stale, origin=origin, alias=f"a{asked.meaning % 3}",
            generation=f"g{self.generation}",
        )  # fmt: skip
        self.cache.put(self.key(asked), b"s" * 32, told, b"x" * size, begun=self.cache.withdrawals)


ASKED = st.builds(Asked, st.integers(0, 5), st.integers(0, 2))


class WithAndWithout(RuleBasedStateMachine):
    """Every decision is the same with the raw-body index and without it.

    Eviction is left out by giving the tier room: the index may change *which* unused entry is evicted first.
    """

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.sides = [Side(self.clock, use_raw, 1 << 20) for use_raw in (True, False)]
        self.stored = 0

    @rule(asked=ASKED)
    def ask(self, asked: Asked) -> None:
        one, other = (side.ask(asked) for side in self.sides)
        assert one == other

    @rule(asked=ASKED, life=st.integers(1, 2_000_000), stale=st.sampled_from([0, 500_000]), size=st.integers(0, 50))
    def store(self, asked: Asked, life: int, stale: int, size: int) -> None:
        self.stored += 1
        for side in self.sides:
            side.store(asked, str(self.stored), life, stale, size)

    @rule(seconds=st.floats(0, 1.5))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.floats(-1, 1))
    def jump(self, seconds: float) -> None:
        self.clock.jump(seconds)

    @rule()
    def swap(self) -> None:
        for side in self.sides:
            side.epoch += 1

    @rule(generation=st.integers(0, 2))
    def promote_or_roll_back(self, generation: int) -> None:
        for side in self.sides:
            side.epoch += 1
            side.generation = generation

    @rule(alias=st.sampled_from(["a0", "a1", ""]), generation=st.sampled_from(["g0", "g1", ""]))
    def withdraw(self, alias: str, generation: str) -> None:
        selector = Selector("acme", alias=alias, generation=generation, everything=not (alias or generation))
        for side in self.sides:
            # Nothing in it waits for anything but the event loop's next turn.
            work = side.cache.invalidate(selector, dry_run=False)
            try:
                while True:
                    work.send(None)
            except StopIteration:
                pass


WithAndWithout.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestWithAndWithout = WithAndWithout.TestCase
