"""Vectors per input: what is fetched, what is known, what is shared."""

import asyncio
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.cache import EmbeddingCache, EntryMeta, Fetched, ResponseCache, Selector, Settings
from ostinato.core.clock import ManualClock
from ostinato.core.errors import UpstreamFailed
from ostinato.wire.model import Usage

SCOPE = b"s" * 32


def meta(now: int) -> EntryMeta:
    return EntryMeta(
        1, "e", "p/m", "", "g", "acme", "shop", "", "", (), now, now + 10**9, now + 10**9, "", Usage(3), 7, "o"
    )


def vector(key: bytes) -> bytes:
    return key * 4


class Upstream:
    def __init__(self, keys: list[bytes], clock: ManualClock, keep: bool = True) -> None:
        self.keys = keys
        self.clock = clock
        self.keep = keep
        self.asked: list[list[int]] = []
        self.go = asyncio.Event()
        self.go.set()
        self.error: Exception | None = None

    async def fetch(self, indexes: list[int]) -> Fetched:
        self.asked.append(indexes)
        await self.go.wait()
        if self.error is not None:
            raise self.error
        found = [vector(self.keys[index]) for index in indexes]
        return Fetched(found, [meta(self.clock.now())] * len(found) if self.keep else ())


def build(clock: ManualClock) -> tuple[EmbeddingCache, ResponseCache]:
    cache = ResponseCache(Settings(), clock, secret=b"x")
    return EmbeddingCache(cache, clock), cache


async def test_a_batch_of_ten_with_seven_known_costs_three(clock: ManualClock) -> None:
    embeddings, _ = build(clock)
    keys = [os.urandom(32) for _ in range(10)]
    await embeddings.embed(keys[:7], SCOPE, Upstream(keys[:7], clock).fetch)
    upstream = Upstream(keys, clock)
    found = await embeddings.embed(keys, SCOPE, upstream.fetch)
    assert upstream.asked == [[7, 8, 9]]
    assert found.vectors == tuple(map(vector, keys))
    assert (found.known, len(found.entries)) == (7, 7)
    assert [entry.hits for entry in found.entries] == [1] * 7
    again = await embeddings.embed(keys, SCOPE, upstream.fetch)
    assert again.known == 10
    assert len(upstream.asked) == 1


async def test_an_input_repeated_in_a_batch_costs_one(clock: ManualClock) -> None:
    embeddings, _ = build(clock)
    one, two = os.urandom(32), os.urandom(32)
    keys = [one, two, one, one]
    upstream = Upstream(keys, clock)
    found = await embeddings.embed(keys, SCOPE, upstream.fetch)
    assert upstream.asked == [[0, 1]]
    assert found.vectors == tuple(map(vector, keys))
    assert found.known == 2


async def test_batches_at_the_same_time_share_what_is_under_way(clock: ManualClock) -> None:
    embeddings, _ = build(clock)
    keys = [os.urandom(32) for _ in range(6)]
    first, second = Upstream(keys[:4], clock), Upstream(keys[2:], clock)
    first.go.clear()
    one = asyncio.create_task(embeddings.embed(keys[:4], SCOPE, first.fetch))
    await asyncio.sleep(0)
    two = asyncio.create_task(embeddings.embed(keys[2:], SCOPE, second.fetch))
    await asyncio.sleep(0.005)
    first.go.set()
    assert (await one).vectors == tuple(map(vector, keys[:4]))
    assert (await two).vectors == tuple(map(vector, keys[2:]))
    assert second.asked == [[2, 3]]
    assert (await two).known == 2


@pytest.mark.parametrize("how", ["fails", "hangs up"])
async def test_who_waited_for_a_call_that_came_to_nothing_makes_it(clock: ManualClock, how: str) -> None:
    embeddings, _ = build(clock)
    keys = [os.urandom(32) for _ in range(3)]
    first, second = Upstream(keys, clock), Upstream(keys, clock)
    first.go.clear()
    first.error = UpstreamFailed("It broke.")
    one = asyncio.create_task(embeddings.embed(keys, SCOPE, first.fetch))
    await asyncio.sleep(0)
    others = [asyncio.create_task(embeddings.embed(keys, SCOPE, second.fetch)) for _ in range(5)]
    await asyncio.sleep(0.005)
    if how == "fails":
        first.go.set()
        with pytest.raises(UpstreamFailed):
            await one
    else:
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one
    for other in others:
        assert (await other).vectors == tuple(map(vector, keys))
    assert second.asked == [[0, 1, 2]], "one of them, for all"


async def test_a_follower_who_hangs_up_takes_nothing_from_the_others(clock: ManualClock) -> None:
    embeddings, _ = build(clock)
    keys = [os.urandom(32)]
    upstream = Upstream(keys, clock)
    upstream.go.clear()
    first, second, third = (asyncio.create_task(embeddings.embed(keys, SCOPE, upstream.fetch)) for _ in range(3))
    await asyncio.sleep(0.005)
    second.cancel()
    await asyncio.sleep(0)
    upstream.go.set()
    assert (await first).vectors == (await third).vectors == (vector(keys[0]),)
    assert len(upstream.asked) == 1


async def test_vectors_that_are_not_to_be_kept_are_not(clock: ManualClock) -> None:
    embeddings, cache = build(clock)
    keys = [os.urandom(32)]
    upstream = Upstream(keys, clock, keep=False)
    for _ in range(2):
        assert (await embeddings.embed(keys, SCOPE, upstream.fetch)).known == 0
    assert len(upstream.asked) == 2
    assert cache.stats()["memory_entries"] == 0


async def test_a_withdrawal_reaches_vectors_known_and_under_way(clock: ManualClock) -> None:
    embeddings, cache = build(clock)
    keys = [os.urandom(32)]
    upstream, fresh = Upstream(keys, clock), Upstream(keys, clock)
    upstream.go.clear()
    before = asyncio.create_task(embeddings.embed(keys, SCOPE, upstream.fetch))
    await asyncio.sleep(0)
    await cache.invalidate(Selector("acme", alias="e"), dry_run=False)
    after = asyncio.create_task(embeddings.embed(keys, SCOPE, fresh.fetch))
    assert (await after).known == 0
    kept = cache.get_now(keys[0], clock.now())
    upstream.go.set()
    await before
    assert len(fresh.asked) == 1
    assert cache.get_now(keys[0], clock.now()) is kept is not None, "the older call has not replaced it"
    await cache.invalidate(Selector("acme", target="p/m"), dry_run=False)
    assert (await embeddings.embed(keys, SCOPE, fresh.fetch)).known == 0


async def test_stale_vectors_are_fetched_again(clock: ManualClock) -> None:
    embeddings, _ = build(clock)
    keys = [os.urandom(32)]
    upstream = Upstream(keys, clock)
    await embeddings.embed(keys, SCOPE, upstream.fetch)
    clock.advance(1_001)
    assert (await embeddings.embed(keys, SCOPE, upstream.fetch)).known == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), max_size=8), min_size=1, max_size=6))
def test_every_batch_gets_its_vectors_and_each_input_is_fetched_once(batches: list[list[int]]) -> None:
    async def play() -> None:
        clock = ManualClock()
        embeddings, _ = build(clock)
        keys = [bytes([number]) * 32 for number in range(7)]
        upstreams = [Upstream([keys[number] for number in batch], clock) for batch in batches]
        found = await asyncio.gather(
            *(embeddings.embed(upstream.keys, SCOPE, upstream.fetch) for upstream in upstreams)
        )
        for batch, got in zip(batches, found, strict=True):
            assert got.vectors == tuple(vector(keys[number]) for number in batch)
        fetched = [upstream.keys[index] for upstream in upstreams for asked in upstream.asked for index in asked]
        assert sorted(fetched) == sorted({keys[number] for batch in batches for number in batch})
        assert sum(len(got.vectors) - got.known for got in found) == len(fetched)

    asyncio.run(play())
