"""The in-process tier: what it holds, what leaves, what it weighs."""

import gc
import os
import random
import subprocess
import sys
import time
from collections import OrderedDict

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.cache.memory import Entry, MemoryTier
from ostinato.cache.model import EntryMeta
from ostinato.cache.shards import Item, Shards
from ostinato.wire.model import Usage

NOW = 1_760_000_000_000_000
DAY = 86_400_000_000
SCOPE = b"s" * 32


def meta(**fields) -> EntryMeta:
    standing = {
        "fingerprint_version": 1,
        "alias": "support-small",
        "target": "openai/gpt-small",
        "release": "",
        "generation": "9" * 32,
        "org": "acme",
        "project": "shop",
        "user_digest": "",
        "context": "",
        "tags": (),
        "created": NOW,
        "expires": NOW + DAY,
        "stale_until": NOW + DAY,
        "input_digest": "ab" * 16,
        "usage": Usage(10, 1, 2, 20, 3, {"prompt_tokens": 13}),
        "cost": 1500,
        "origin": "f" * 32,
    }
    return EntryMeta(**(standing | fields))


def put(tier: MemoryTier, key: bytes, answer: bytes = b"answer", **fields) -> Entry | None:
    return tier.put(key, SCOPE, meta(**fields), answer)


def test_an_entry_comes_back_with_all_of_its_metadata() -> None:
    tier = MemoryTier(1 << 20)
    told = meta(
        tags=("a", "b"), user_digest="u" * 32, context="de", stale_until=NOW + 2 * DAY, quality={"score": 1}, cost=None
    )
    key = os.urandom(32)
    entry = tier.put(key, SCOPE, told, b"answer")
    assert entry is not None
    assert tier.get(key, NOW) is entry
    assert entry.meta() == told
    assert (entry.answer, entry.scope, entry.target, entry.generation) == (
        b"answer",
        SCOPE,
        told.target,
        told.generation,
    )
    assert entry.hits == 0, "looking up is not serving"
    entry.served(NOW + 5)
    assert (entry.hits, entry.last_hit) == (1, NOW + 5)


def test_a_stale_entry_is_given_out_until_its_last_use() -> None:
    tier = MemoryTier(1 << 20)
    key = os.urandom(32)
    entry = put(tier, key, expires=NOW + 10, stale_until=NOW + 20)
    assert entry is not None
    assert tier.get(key, NOW + 19) is entry
    assert entry.expires <= NOW + 19
    assert tier.get(key, NOW + 20) is None
    assert entry.withdrawn
    assert (tier.entries, tier.size, tier.kinds) == (0, 0, 0)


def test_whatever_leaves_is_withdrawn_and_gives_up_its_bytes() -> None:
    tier = MemoryTier(1 << 20)
    key = os.urandom(32)
    first = put(tier, key)
    second = put(tier, key, b"newer")
    assert first is not None
    assert second is not None
    assert first.withdrawn
    assert (first.answer, first.head) == (b"", b"")
    assert first.meta().origin == "f" * 32, "what little is left of it can still be read"
    assert tier.get(key, NOW) is second
    assert tier.withdraw(second)
    assert not tier.withdraw(second)
    assert second.withdrawn
    assert tier.get(key, NOW) is None
    assert (tier.entries, tier.size) == (0, 0)


def test_what_is_larger_than_the_tier_is_not_kept_and_pushes_nothing_out() -> None:
    tier = MemoryTier(10_000)
    small = os.urandom(32)
    put(tier, small)
    assert put(tier, os.urandom(32), b"x" * 20_000) is None
    assert tier.get(small, NOW) is not None


def test_the_bound_holds_and_what_is_used_stays() -> None:
    tier = MemoryTier(200_000)
    hot = os.urandom(32)
    kept = put(tier, hot)
    for _ in range(5_000):
        put(tier, os.urandom(32), os.urandom(random.randrange(2_000)))
        assert tier.get(hot, NOW) is kept
        assert tier.size <= 200_000
    assert tier.evicted > 1_000
    assert tier.entries == sum(len(part) for part in tier.slices())


def test_the_clock_bit_hits_nearly_as_often_as_a_true_recency_list() -> None:
    rng = random.Random(7)
    keys = [rng.randbytes(32) for _ in range(10_000)]
    weights = [1 / (rank + 1) ** 0.9 for rank in range(len(keys))]
    shards: Shards[Item] = Shards(1_000)
    recent: OrderedDict[bytes, None] = OrderedDict()
    hits = lru_hits = 0
    for key in rng.choices(keys, weights, k=100_000):
        found = shards.tables[key[0]].get(key)
        if found is None:
            shards.put(Item(key, 1))
        else:
            found.referenced = True
            hits += 1
        if key in recent:
            lru_hits += 1
            recent.move_to_end(key)
        else:
            recent[key] = None
            if len(recent) > 1_000:
                recent.popitem(last=False)
    assert hits > 0.97 * lru_hits


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("pgwe"), st.integers(0, 15), st.integers(0, 3_000)), max_size=60))
def test_weights_and_counts_agree_with_what_is_held(steps: list[tuple[str, int, int]]) -> None:
    tier = MemoryTier(12_000)
    held: dict[int, Entry] = {}
    now = NOW
    for step, number, size in steps:
        key = bytes([number * 17]) * 32
        if step == "p":
            entry = tier.put(
                key, SCOPE, meta(user_digest=str(number % 3), stale_until=now + 50, expires=now + 50), b"x" * size
            )
            held.pop(number, None)
            if entry is not None:
                held[number] = entry
        elif step == "g":
            tier.get(key, now)
        elif step == "w" and number in held:
            tier.withdraw(held[number])
        else:
            now += size % 30
        held = {number: entry for number, entry in held.items() if not entry.withdrawn}
        kinds = {id(entry.kind): entry.kind for entry in held.values()}
        assert tier.entries == len(held)
        assert tier.kinds == len(kinds)
        assert tier.size == sum(e.weight for e in held.values()) + sum(k.weight for k in kinds.values())
        assert all(kind.entries == sum(e.kind is kind for e in held.values()) for kind in kinds.values())
        assert tier.size <= 12_000


def test_hits_are_reported_once_also_of_what_was_evicted() -> None:
    tier = MemoryTier(1 << 20)
    stored, alone, gone = (put(tier, os.urandom(32)) for _ in range(3))
    assert stored is not None
    assert alone is not None
    assert gone is not None
    tier.stored(stored)
    tier.stored(gone)
    for entry in (stored, stored, alone, gone):
        entry.served(NOW + 3)
    tier.withdraw(gone)
    assert sorted(tier.report_hits()) == sorted([(stored.key, 2, NOW + 3), (gone.key, 1, NOW + 3)])
    assert tier.report_hits() == []
    stored.served(NOW + 4)
    found = [hit for _ in range(64) for hit in tier.report_hits(4)]
    assert found == [(stored.key, 1, NOW + 4)]


def fill(tier: MemoryTier, count: int, size: int, users: int) -> None:
    for number in range(count):
        tier.put(
            os.urandom(32),
            b"%032d" % (number % users),
            meta(
                created=NOW + number,
                expires=NOW + DAY + number,
                stale_until=NOW + DAY + number,
                cost=1_000_000 + number,
                origin=os.urandom(16).hex(),
                input_digest=os.urandom(16).hex(),
                user_digest=f"{number % users:032x}",
            ),
            os.urandom(size),
        )


def weighed_and_measured() -> list[float]:
    """Sum of weights over growth of resident memory: all in one scope, and a scope for every entry."""
    gc.collect()
    process = psutil.Process()
    ratios: list[float] = []
    kept: list[MemoryTier] = []  # else the second would be given the memory of the first
    for users in (1, 1_000_000):
        tier = MemoryTier(1 << 30)
        kept.append(tier)
        fill(tier, 10_000, 1_024, users)  # the allocator's pools and free lists first
        before, weighed = process.memory_info().rss, tier.size
        fill(tier, 25_000, 1_024, users)
        ratios.append((tier.size - weighed) / (process.memory_info().rss - before))
    return ratios


def test_weight_is_the_memory_that_an_entry_really_takes() -> None:
    # In a process of its own: memory that other tests have freed would be used first, and hide what is taken.
    code = "import runpy, sys; print(*runpy.run_path(sys.argv[1])['weighed_and_measured']())"
    done = subprocess.run([sys.executable, "-c", code, __file__], capture_output=True, text=True, check=True)
    for ratio in map(float, done.stdout.split()):
        assert 0.9 < ratio < 1.15


@pytest.mark.soak
def test_a_million_entries_fit_two_gibibytes_and_do_not_stop_the_process() -> None:
    gc.collect()
    gc.freeze()  # as the server does when it has started
    pauses: list[float] = []
    began = 0.0

    def watch(phase: str, _info: dict) -> None:
        nonlocal began
        if phase == "start":
            began = time.perf_counter()
        else:
            pauses.append(time.perf_counter() - began)

    gc.callbacks.append(watch)
    try:
        tier = MemoryTier(2 << 30)
        fill(tier, 1_000_000, 1_024, 1)
        gc.collect()
    finally:
        gc.callbacks.remove(watch)
        gc.unfreeze()
    resident = psutil.Process().memory_info().rss
    print(f"{tier.entries:,} entries, {resident / 2**30:.2f} GiB resident, longest pause {max(pauses) * 1e3:.1f} ms")
    assert tier.entries == 1_000_000
    assert resident < 2 << 30
    assert max(pauses) < 0.020
