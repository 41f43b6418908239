"""The shared tier: written behind, failing soft, warm after a restart; and the filter before it."""

import asyncio
import os
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.cache import EntryMeta, ResponseCache, Selector, Settings
from ostinato.cache.filter import KeyFilter
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Invalid, Unavailable
from ostinato.storage.records import Query, Record
from ostinato.storage.records_sqlite import SqliteRecordStore
from ostinato.wire.model import Usage

SCOPE = b"s" * 32


def meta(now: int, life: int = 10**12, **fields) -> EntryMeta:
    standing = {
        "fingerprint_version": 1,
        "alias": "a",
        "target": "p/m",
        "release": "r",
        "generation": "g",
        "org": "acme",
        "project": "shop",
        "user_digest": "u" * 32,
        "context": "c",
        "tags": ("t",),
        "created": now,
        "expires": now + life,
        "stale_until": now + life,
        "input_digest": "ab",
        "usage": Usage(1, 2, 3, 4, 5, {"x": 1}),
        "cost": 5,
        "origin": "f" * 32,
        "quality": {"score": 0.5},
    }
    return EntryMeta(**(standing | fields))


class Faulty:
    """A real store whose failures and pace a test decides."""

    def __init__(self, store: SqliteRecordStore) -> None:
        self.store = store
        self.error: Exception | None = None
        self.slow = 0.0
        self.calls: list[str] = []
        self.shared = False
        self.healthy = True

    def __getattr__(self, name: str):
        found = getattr(self.store, name)
        if name not in ("get", "put_many", "touch_many", "sweep", "remove_keys", "count", "find", "remove"):
            return found

        async def call(*arguments):
            self.calls.append(name)
            if self.slow:
                await asyncio.sleep(self.slow)
            if self.error is not None:
                raise self.error
            return await found(*arguments)

        return call


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Faulty:
    return Faulty(SqliteRecordStore(tmp_path / "cache.db", clock=clock))


@pytest.fixture
async def cache(store: Faulty, clock: ManualClock):
    cache = ResponseCache(Settings(shared_timeout=0.05), clock, store, secret=b"x")
    await cache.start()
    await filled(cache)
    yield cache
    store.error, store.slow = None, 0.0
    await cache.stop()


async def filled(cache: ResponseCache) -> None:
    """Wait until the filter has been filled."""
    assert cache.shared is not None
    async with asyncio.timeout(5):
        while cache.shared.may_hold(os.urandom(32)):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.001)


def put(cache: ResponseCache, now: int, answer: bytes = b"answer", **fields) -> bytes:
    key = os.urandom(32)
    cache.put(key, SCOPE, meta(now, **fields), answer, begun=cache.withdrawals)
    return key


def forget(cache: ResponseCache) -> None:
    """Empty the in-process tier, as a restart would."""
    for entries in cache._memory.slices():
        for entry in entries:
            cache._memory.withdraw(entry)


async def test_a_restart_is_warm(tmp_path: Path, clock: ManualClock) -> None:
    path = tmp_path / "cache.db"
    now = clock.now()
    first = ResponseCache(Settings(), clock, SqliteRecordStore(path, clock=clock), secret=b"x")
    await first.start()
    keys = [put(first, now, b"answer %d" % n, origin=str(n)) for n in range(600)]
    for _ in range(3):
        entry = first.get_now(keys[7], now)
        assert entry is not None
        entry.served(now + 9)
    await first.stop()
    assert first.stats()["shared_dropped"] == 0

    second = ResponseCache(Settings(), clock, SqliteRecordStore(path, clock=clock), secret=b"x")
    await second.start()
    for number, key in enumerate(keys):
        assert second.get_now(key, now) is None
        entry = await second.get(key, SCOPE, now)
        assert entry is not None, "nothing of a clean stop is lost"
        assert (entry.answer, entry.meta()) == (b"answer %d" % number, meta(now, origin=str(number)))
        assert second.get_now(key, now) is entry
    told = next(item for item in (await second.list(Selector("acme"), limit=600)).items if item.meta.origin == "7")
    assert (told.hits, told.last_hit) == (3, now + 9), "hits are remembered too"
    assert await second.get(keys[0], b"other scope", now) is second.get_now(keys[0], now)
    forget(second)
    assert await second.get(keys[0], b"other scope", now) is None, "the store is asked with the scope"
    await second.stop()


async def test_a_true_miss_asks_no_disk(cache: ResponseCache, store: Faulty, clock: ManualClock) -> None:
    store.calls.clear()
    for _ in range(100):
        assert await cache.get(os.urandom(32), SCOPE, clock.now()) is None
    assert store.calls.count("get") <= 2
    key = put(cache, clock.now())
    assert cache.shared is not None
    assert cache.shared.may_hold(key)


async def test_until_the_filter_is_full_every_miss_asks(store: Faulty, clock: ManualClock) -> None:
    await store.store.start()
    key = os.urandom(32)
    filler = ResponseCache(Settings(), clock, store, secret=b"x")
    filler.put(key, SCOPE, meta(clock.now()), b"answer", begun=0)
    await filler.stop()
    store.slow = 0.02
    cache = ResponseCache(Settings(), clock, store, secret=b"x")
    await cache.start()
    assert cache.shared is not None
    assert cache.shared.may_hold(os.urandom(32))
    entry = await cache.get(key, SCOPE, clock.now())
    assert entry is not None
    store.slow = 0.0
    await filled(cache)
    assert cache.shared.may_hold(key)
    await cache.stop()


async def test_what_waits_to_be_written_is_found(cache: ResponseCache, clock: ManualClock) -> None:
    key = put(cache, clock.now())
    forget(cache)
    assert cache.stats()["shared_written"] == 0
    entry = await cache.get(key, SCOPE, clock.now())
    assert entry is not None
    assert entry.answer == b"answer"
    assert await cache.get(os.urandom(32), SCOPE, clock.now()) is None


async def test_entries_wait_for_company(cache: ResponseCache, store: Faulty, clock: ManualClock) -> None:
    for _ in range(100):
        put(cache, clock.now())
    await asyncio.sleep(0.01)
    assert "put_many" not in store.calls
    clock.advance(Settings().write_delay)
    await asyncio.sleep(0.05)
    assert store.calls.count("put_many") == 1
    assert cache.stats()["shared_written"] == 100


@pytest.mark.parametrize("trouble", ["error", "slow"])
async def test_a_store_in_trouble_is_a_miss_and_a_number(
    cache: ResponseCache, store: Faulty, clock: ManualClock, trouble: str
) -> None:
    now = clock.now()
    key = put(cache, now)
    assert cache.shared is not None
    await cache.shared.flush()
    forget(cache)
    if trouble == "error":
        store.error = Unavailable("The disk is gone.")
    else:
        store.slow = 0.5
    for _ in range(10):
        assert await cache.get(key, SCOPE, now) is None
    asked = store.calls.count("get")
    assert asked <= 3, "it is let rest"
    assert cache.stats()["shared_errors"] == asked
    store.error, store.slow = None, 0.0
    clock.advance(2)
    assert await cache.get(key, SCOPE, now) is not None


async def test_what_cannot_be_written_waits_within_bounds_and_is_counted(store: Faulty, clock: ManualClock) -> None:
    cache = ResponseCache(Settings(write_queue=50), clock, store, secret=b"x")
    await cache.start()
    store.error = Unavailable("The disk is full.")
    keys = [put(cache, clock.now()) for _ in range(80)]
    assert cache.shared is not None
    await cache.shared.flush()
    numbers = cache.stats()
    assert (numbers["shared_queued"], numbers["shared_dropped"], numbers["memory_entries"]) == (50, 30, 80)
    store.error = None
    clock.advance(3)
    await cache.shared.flush()
    assert cache.stats()["shared_written"] == 50
    await cache.stop()
    await store.store.start()
    assert await store.count(Query(everything=True)) == 50
    assert await store.store.get(keys[49], SCOPE) is not None
    await store.store.close()


async def test_a_batch_that_is_refused_for_what_it_is_blocks_nobody(
    cache: ResponseCache, store: Faulty, clock: ManualClock
) -> None:
    put(cache, clock.now())
    store.error = Invalid("No such record.")
    assert cache.shared is not None
    await cache.shared.flush()
    store.error = None
    put(cache, clock.now())
    await cache.shared.flush()
    numbers = cache.stats()
    assert (numbers["shared_dropped"], numbers["shared_written"], numbers["shared_queued"]) == (1, 1, 0)


async def test_a_newer_answer_is_not_overwritten_by_one_that_failed_to_be_written(
    cache: ResponseCache, store: Faulty, clock: ManualClock
) -> None:
    key = os.urandom(32)
    assert cache.shared is not None
    cache.put(key, SCOPE, meta(clock.now()), b"old", begun=0)
    store.error, store.slow = Unavailable("away"), 0.02
    flushing = asyncio.create_task(cache.shared.flush())
    await asyncio.sleep(0.005)
    cache.put(key, SCOPE, meta(clock.now()), b"new", begun=0)
    await flushing
    store.error, store.slow = None, 0.0
    clock.advance(2)
    await cache.shared.flush()
    forget(cache)
    entry = await cache.get(key, SCOPE, clock.now())
    assert entry is not None
    assert entry.answer == b"new"


async def test_a_damaged_record_is_a_miss_and_is_removed(
    cache: ResponseCache, store: Faulty, clock: ManualClock
) -> None:
    now = clock.now()
    key = put(cache, now)
    assert cache.shared is not None
    await cache.shared.flush()
    record = await store.store.get(key, SCOPE)
    assert record is not None
    await store.put_many(
        [Record(key, SCOPE, record.name, record.labels, record.tags, record.expires, record.blob[:-9])]
    )
    forget(cache)
    assert (await cache.list(Selector("acme"))).items == ()
    assert await cache.get(key, SCOPE, now) is None
    assert cache.stats()["shared_damaged"] == 1
    assert await store.store.get(key, SCOPE) is None


async def test_expired_records_are_misses_and_are_swept(
    cache: ResponseCache, store: Faulty, clock: ManualClock
) -> None:
    key = put(cache, clock.now(), life=5_000_000)
    put(cache, clock.now())
    assert cache.shared is not None
    await cache.shared.flush()
    clock.advance(6)
    assert await cache.get(key, SCOPE, clock.now()) is None
    for _ in range(150):
        clock.advance(0.5)
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        while not cache.stats()["shared_swept"]:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.005)
    assert await store.store.count(Query(everything=True)) == 1


async def test_hits_are_told_to_the_store(cache: ResponseCache, store: Faulty, clock: ManualClock) -> None:
    key = put(cache, clock.now())
    assert cache.shared is not None
    await cache.shared.flush()
    entry = cache.get_now(key, clock.now())
    assert entry is not None
    for hit in range(5):
        entry.served(clock.now() + hit)
    async with asyncio.timeout(10):
        while (await cache.list(Selector("acme"))).items[0].hits != 5:
            clock.advance(0.5)
            await asyncio.sleep(0.002)
    assert (await cache.list(Selector("acme"))).items[0].last_hit == clock.now() or entry.last_hit


async def test_a_landing_while_the_store_was_asked_is_seen(
    cache: ResponseCache, store: Faulty, clock: ManualClock
) -> None:
    key = put(cache, clock.now())
    assert cache.shared is not None
    await cache.shared.flush()
    await store.store.remove_keys([key])
    forget(cache)
    store.slow = 0.02
    asking = asyncio.create_task(cache.get(key, SCOPE, clock.now()))
    await asyncio.sleep(0.005)
    landed = cache.put(key, SCOPE, meta(clock.now()), b"landed", begun=0)
    assert await asking is landed


@given(st.lists(st.binary(min_size=8, max_size=32), max_size=200), st.lists(st.binary(min_size=8, max_size=8)))
def test_the_filter_never_forgets(added: list[bytes], others: list[bytes]) -> None:
    keys = KeyFilter(100)
    for key in added:
        keys.add(key)
    assert all(keys.maybe(key) for key in added)
    assert all(keys.maybe(key[:8]) for key in added)
    assert keys.added == len(added)
    empty = KeyFilter(100)
    assert not any(empty.maybe(key) for key in others)


def test_the_filter_is_seldom_wrong_at_its_capacity() -> None:
    rng = random.Random(3)
    keys = KeyFilter(1)
    for _ in range(keys.capacity):
        keys.add(rng.randbytes(8))
    wrong = sum(keys.maybe(rng.randbytes(8)) for _ in range(20_000))
    assert wrong < 20_000 * 0.006
