"""Withdrawal: what a selector reaches, in which tier, and what it beats on its way."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from ostinato import storage
from ostinato.cache import EntryMeta, Report, ResponseCache, Selector, Settings
from ostinato.cache import scope as scopes
from ostinato.cache.invalidation import Withdrawals
from ostinato.cache.model import Scope
from ostinato.core.clock import ManualClock, SystemClock
from ostinato.core.errors import Invalid, Unavailable
from ostinato.storage.records import Query, Record
from ostinato.storage.records_sqlite import SqliteRecordStore
from ostinato.wire.model import Usage

SECRET = b"installation"


def user(name: str, project: str = "shop") -> str:
    return scopes.user_digest(Scope("acme", project, name), SECRET)


def meta(now: int, **fields) -> EntryMeta:
    standing = {
        "fingerprint_version": 1,
        "alias": "small",
        "target": "openai/one",
        "release": "",
        "generation": "g1",
        "org": "acme",
        "project": "shop",
        "user_digest": "",
        "context": "",
        "tags": (),
        "created": now,
        "expires": now + 10**9,
        "stale_until": now + 10**9,
        "input_digest": "",
        "usage": Usage(),
        "cost": 5,
        "origin": "",
    }
    return EntryMeta(**(standing | fields))


ENTRIES = {
    "plain": {},
    "ann": {"user_digest": user("ann")},
    "ann elsewhere": {"user_digest": user("ann", "desk"), "project": "desk"},
    "other org": {"org": "umbrella"},
    "other target": {"target": "openai/two"},
    "other alias": {"alias": "large"},
    "tagged": {"tags": ("faq", "de")},
    "in context": {"context": "docs-7"},
    "dormant": {"generation": "g0"},
}
SELECTORS = [
    (Selector("acme", everything=True), set(ENTRIES) - {"other org"}),
    (Selector("acme", "desk", everything=True), {"ann elsewhere"}),
    (Selector("acme", "shop", user="ann"), {"ann"}),
    (Selector("acme", target="openai/two"), {"other target"}),
    (Selector("acme", alias="large"), {"other alias"}),
    (Selector("acme", tag="de"), {"tagged"}),
    (Selector("acme", context="docs-7"), {"in context"}),
    (Selector("acme", generation="g0"), {"dormant"}),
    (Selector("acme", alias="small", target="openai/two"), {"other target"}),
    (Selector("acme", alias="large", target="openai/two"), set()),
]


def fill(cache: ResponseCache, now: int) -> dict[str, tuple[bytes, bytes]]:
    keys: dict[str, tuple[bytes, bytes]] = {}
    for name, fields in ENTRIES.items():
        key, scope = os.urandom(32), os.urandom(32)
        assert cache.put(key, scope, meta(now, **fields), name.encode(), begun=cache.withdrawals) is not None
        keys[name] = key, scope
    return keys


@pytest.fixture(params=["memory", "sqlite", "valkey"])
async def cache(request: pytest.FixtureRequest, tmp_path: Path):
    """A cache in each arrangement of tiers."""
    store = None
    if request.param == "sqlite":
        store = SqliteRecordStore(tmp_path / "cache.db")
    elif request.param == "valkey":
        valkey = pytest.importorskip("ostinato.storage.records_valkey")
        store = valkey.ValkeyRecordStore(request.getfixturevalue("valkey_url"))
    cache = ResponseCache(Settings(shared_timeout=5.0), SystemClock(), store, secret=SECRET)
    await cache.start()
    yield cache
    await cache.stop()


@pytest.mark.parametrize(
    ("selector", "wanted"), SELECTORS, ids=[", ".join(sorted(wanted)) or "nothing" for _, wanted in SELECTORS]
)
async def test_a_selector_reaches_what_it_names_and_nothing_else(
    cache: ResponseCache, selector: Selector, wanted: set[str]
) -> None:
    now = SystemClock().now()
    keys = fill(cache, now)
    shared = len(wanted) if cache.shared is not None else 0
    assert await cache.invalidate(selector) == Report(len(wanted), shared, len(wanted), dry_run=True)
    assert {name for name, (key, _) in keys.items() if cache.get_now(key, now)} == set(keys), "a dry run takes nothing"
    assert await cache.invalidate(selector, dry_run=False) == Report(len(wanted), shared, len(wanted), dry_run=False)
    left = {name for name, (key, scope) in keys.items() if await cache.get(key, scope, now)}
    assert left == set(keys) - wanted


async def test_one_entry_is_withdrawn_by_the_name_that_its_owner_was_shown(cache: ResponseCache) -> None:
    now = SystemClock().now()
    keys = fill(cache, now)
    key, scope = keys["plain"]
    name = cache.entry_name(key, scope)
    assert len(name) == 16
    assert key.hex().find(name) < 0
    assert name != cache.entry_name(key, os.urandom(32)), "the same key has another name in another scope"
    assert (await cache.invalidate(Selector("umbrella", entry=name), dry_run=False)).total == 0
    assert (await cache.invalidate(Selector("acme", entry=name), dry_run=False)).total == 1
    assert await cache.get(key, scope, now) is None


async def test_names_are_keyed_with_the_installations_secret() -> None:
    one, other = (ResponseCache(Settings(), ManualClock(), secret=secret) for secret in (b"a", b"b"))
    assert one.entry_name(b"k" * 32, b"s") != other.entry_name(b"k" * 32, b"s")


async def test_listing_pages_through_what_matches(cache: ResponseCache) -> None:
    now = SystemClock().now()
    for number in range(7):
        cache.put(
            os.urandom(32), b"s" * 32, meta(now + number, origin=str(number)), b"x" * number, begun=cache.withdrawals
        )
    cache.put(os.urandom(32), b"s" * 32, meta(now, org="umbrella"), b"", begun=cache.withdrawals)
    first = await cache.list(Selector("acme"), limit=4)
    rest = await cache.list(Selector("acme"), limit=4, offset=4)
    assert (len(first.items), first.more, len(rest.items), rest.more) == (4, True, 3, False)
    assert {item.meta.origin for item in first.items + rest.items} == set("0123456")
    assert {item.size for item in first.items + rest.items} == set(range(7))
    with pytest.raises(Invalid):
        await cache.list(Selector(""))
    with pytest.raises(Invalid):
        await cache.list(Selector("acme"), offset=1_000_000)


@pytest.mark.parametrize(
    "selector", [Selector(""), Selector("acme"), Selector("acme", "shop"), Selector("", alias="a")]
)
async def test_a_selector_that_says_too_little_is_refused(selector: Selector) -> None:
    cache = ResponseCache(Settings(), ManualClock(), secret=SECRET)
    with pytest.raises(Invalid):
        await cache.invalidate(selector)


async def test_a_user_is_named_with_a_project() -> None:
    cache = ResponseCache(Settings(), ManualClock(), secret=SECRET)
    with pytest.raises(Invalid, match="project"):
        await cache.invalidate(Selector("acme", user="ann"), dry_run=False)


async def test_an_answer_whose_call_began_before_the_withdrawal_does_not_land_after_it(cache: ResponseCache) -> None:
    now = SystemClock().now()
    key, scope = os.urandom(32), os.urandom(32)
    begun = cache.withdrawals
    await cache.invalidate(Selector("acme", alias="small"), dry_run=False)
    assert cache.put(key, scope, meta(now), b"old", begun=begun) is None
    assert await cache.get(key, scope, now) is None
    assert cache.put(key, scope, meta(now, alias="large"), b"unconcerned", begun=begun) is not None
    assert cache.put(key, scope, meta(now), b"new", begun=cache.withdrawals) is not None


async def test_a_put_in_the_middle_of_a_long_scan_does_not_survive_it() -> None:
    clock = SystemClock()
    cache = ResponseCache(Settings(), clock, secret=SECRET)
    now = clock.now()
    for _ in range(20_000):
        cache.put(os.urandom(32), b"s" * 32, meta(now), b"", begun=0)
    begun = cache.withdrawals
    work = asyncio.create_task(cache.invalidate(Selector("acme", alias="small"), dry_run=False))
    turns = 0
    while not work.done():
        await asyncio.sleep(0)
        turns += 1
        assert cache.put(os.urandom(32), b"s" * 32, meta(now), b"", begun=begun) is None
    assert turns > 3, "the scan let others work"
    assert (await work).memory == 20_000
    assert cache.stats()["memory_entries"] == 0


class Gate:
    """A store that can be held, and that can fail, around a real one."""

    def __init__(self, store: SqliteRecordStore) -> None:
        self._store = store
        self.writing = asyncio.Event()
        self.write = asyncio.Event()
        self.write.set()
        self.reading = asyncio.Event()
        self.read = asyncio.Event()
        self.read.set()
        self.broken = False

    def __getattr__(self, name: str):
        if self.broken and name in ("get", "put_many", "remove", "count", "find", "sweep", "touch_many"):
            raise Unavailable("The store is away.")
        return getattr(self._store, name)

    async def put_many(self, records) -> None:
        self.writing.set()
        await self.write.wait()
        if self.broken:
            raise Unavailable("The store is away.")
        await self._store.put_many(records)

    async def get(self, key: bytes, scope: bytes) -> Record | None:
        if self.broken:
            raise Unavailable("The store is away.")
        found = await self._store.get(key, scope)
        self.reading.set()
        await self.read.wait()
        return found


@pytest.fixture
async def gate(tmp_path: Path):
    return Gate(SqliteRecordStore(tmp_path / "cache.db"))


@pytest.mark.parametrize("held", ["written", "failing"])
async def test_a_batch_on_its_way_to_the_store_is_withdrawn_too(gate: Gate, held: str) -> None:
    clock = ManualClock()
    cache = ResponseCache(Settings(), clock, gate, secret=SECRET)
    await cache.start()
    now = clock.now()
    key, scope = os.urandom(32), os.urandom(32)
    gate.write.clear()
    cache.put(key, scope, meta(now), b"old", begun=cache.withdrawals)
    assert cache.shared is not None
    flushing = asyncio.create_task(cache.shared.flush())
    await gate.writing.wait()
    work = asyncio.create_task(cache.invalidate(Selector("acme", alias="small"), dry_run=False))
    await asyncio.sleep(0.01)
    assert not work.done(), "it waits for what is being written"
    assert await cache.get(key, scope, now) is None, "and gives out nothing of it meanwhile"
    gate.broken = held == "failing"
    gate.write.set()
    if held == "failing":
        with pytest.raises(Unavailable):
            await work
        assert cache.shared.queued == 0, "nor does the batch come back that could not be written"
        gate.broken = False
        clock.advance(2)
        await asyncio.sleep(0.05)
        assert cache.shared.owed == 0, "what was owed has been done"
    else:
        await work
    await flushing
    await cache.shared.flush()
    assert await gate.count(Query(everything=True)) == 0
    assert await cache.get(key, scope, now) is None
    await cache.stop()


async def test_a_record_read_before_the_withdrawal_is_not_brought_into_memory_after_it(gate: Gate) -> None:
    clock = ManualClock()
    cache = ResponseCache(Settings(memory_bytes=1_500, shared_timeout=60), clock, gate, secret=SECRET)
    await cache.start()
    now = clock.now()
    key, scope = os.urandom(32), os.urandom(32)
    cache.put(key, scope, meta(now), b"old", begun=cache.withdrawals)
    cache.put(os.urandom(32), scope, meta(now, alias="large"), b"x" * 100, begun=cache.withdrawals)  # evicts the first
    assert cache.get_now(key, now) is None
    assert cache.shared is not None
    await cache.shared.flush()
    gate.read.clear()
    before = asyncio.create_task(cache.get(key, scope, now))
    await gate.reading.wait()
    await cache.invalidate(Selector("acme", alias="small"), dry_run=False)
    gate.read.set()
    assert await before is None
    assert cache.get_now(key, now) is None
    await cache.stop()


async def test_a_look_up_that_begins_while_the_store_is_being_cleaned_promotes_nothing(gate: Gate) -> None:
    clock = ManualClock()
    cache = ResponseCache(Settings(memory_bytes=1_500, shared_timeout=60), clock, gate, secret=SECRET)
    await cache.start()
    now = clock.now()
    key, scope = os.urandom(32), os.urandom(32)
    cache.put(key, scope, meta(now), b"old", begun=cache.withdrawals)
    cache.put(os.urandom(32), scope, meta(now, alias="large"), b"x" * 100, begun=cache.withdrawals)
    assert cache.shared is not None
    await cache.shared.flush()
    gate.read.clear()
    work = asyncio.create_task(cache.invalidate(Selector("acme", alias="small"), dry_run=False))
    await asyncio.sleep(0)  # counted and scanned; the store is not clean yet
    during = asyncio.create_task(cache.get(key, scope, now))
    await work
    gate.read.set()
    assert await during is None
    assert cache.get_now(key, now) is None
    await cache.stop()


async def test_a_store_that_is_away_owes_the_withdrawal_and_gives_out_nothing_withdrawn(gate: Gate) -> None:
    clock = ManualClock()
    cache = ResponseCache(Settings(), clock, gate, secret=SECRET)
    await cache.start()
    now = clock.now()
    key, scope = os.urandom(32), os.urandom(32)
    cache.put(key, scope, meta(now), b"old", begun=cache.withdrawals)
    assert cache.shared is not None
    await cache.shared.flush()
    gate.broken = True
    with pytest.raises(Unavailable):
        await cache.invalidate(Selector("acme", alias="small"), dry_run=False)
    assert cache.get_now(key, now) is None
    gate.broken = False
    assert cache.shared.owed == 1
    assert await cache.get(key, scope, now) is None, "the store answers again, but has not been cleaned yet"
    await cache.stop()
    assert cache.shared.owed == 0
    await gate.start()
    assert await gate.count(Query(everything=True)) == 0
    await gate.close()


def test_what_began_before_more_withdrawals_than_are_remembered_is_refused() -> None:
    from ostinato.cache.invalidation import Matcher
    from ostinato.cache.memory import traits_of

    withdrawals = Withdrawals()
    traits = traits_of(b"s", meta(0))
    other = Matcher(Selector("umbrella", everything=True), SECRET, lambda key, scope: "")
    for _ in range(200):
        withdrawals.add(other)
    assert not withdrawals.refuses(0, b"k", traits)
    for _ in range(200):
        withdrawals.add(other)
    assert withdrawals.refuses(0, b"k", traits)
    assert not withdrawals.refuses(200, b"k", traits)
    withdrawals.refuse_all()
    assert withdrawals.refuses(200, b"k", traits)
    assert not withdrawals.refuses(withdrawals.count, b"k", traits)


@pytest.fixture
async def two(valkey_url: str):
    """Two processes' caches on one Valkey; they hear of each other within half a second."""
    valkey = pytest.importorskip("ostinato.storage.records_valkey")
    clock = SystemClock()
    caches = [
        ResponseCache(Settings(shared_timeout=5.0), clock, valkey.ValkeyRecordStore(valkey_url), secret=SECRET)
        for _ in range(2)
    ]
    for cache in caches:
        await cache.start()
    yield caches
    for cache in caches:
        await cache.stop()


async def test_a_withdrawal_reaches_the_memory_and_the_calls_of_other_processes(two: list[ResponseCache]) -> None:
    one, other = two
    now = SystemClock().now()
    key, late, scope = os.urandom(32), os.urandom(32), os.urandom(32)
    one.put(key, scope, meta(now), b"old", begun=one.withdrawals)
    assert one.shared is not None
    await one.shared.flush()
    entry = await other.get(key, scope, now)
    assert entry is not None
    begun = other.withdrawals
    report = await one.invalidate(Selector("acme", alias="small"), dry_run=False)
    assert report == Report(1, 1, 1, dry_run=False)
    # Lands in the shared tier after it was cleaned, before the other process has heard.
    assert other.put(late, scope, meta(now), b"too late", begun=begun) is not None
    for _ in range(200):
        await asyncio.sleep(0.02)
        if entry.withdrawn and await one.get(late, scope, now) is None and other.get_now(late, now) is None:
            break
    assert other.get_now(key, now) is None
    assert await other.get(late, scope, now) is None
    assert other.put(late, scope, meta(now), b"too late", begun=begun) is None
    assert one.shared is not None
    assert await one.shared.store.count(Query(labels={"org": "acme"})) == 0


async def test_notices_carry_a_withdrawal_at_once(valkey_url: str) -> None:
    valkey = pytest.importorskip("ostinato.storage.records_valkey")
    notices = [storage.Notices(), storage.Notices()]
    clock = ManualClock(SystemClock().now())  # no half seconds pass here; the server has a clock of its own
    caches = [
        ResponseCache(
            Settings(shared_timeout=5.0), clock, valkey.ValkeyRecordStore(valkey_url), secret=SECRET, notices=each
        )
        for each in notices
    ]
    notices[0].subscribe("cache", lambda detail: notices[1].publish("cache") if not detail else None)
    for cache in caches:
        await cache.start()
    now = clock.now()
    key, scope = os.urandom(32), os.urandom(32)
    entry = caches[1].put(key, scope, meta(now), b"", begun=0)
    assert entry is not None
    await caches[0].invalidate(Selector("acme", alias="small"), dry_run=False)
    async with asyncio.timeout(5):
        while not entry.withdrawn:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
    for cache in caches:
        await cache.stop()


async def test_without_a_shared_store_the_notice_carries_the_selector() -> None:
    clock = ManualClock()
    notices = storage.Notices()  # one for both stands for the wire between them
    caches = [ResponseCache(Settings(), clock, secret=SECRET, notices=notices) for _ in range(2)]
    for cache in caches:
        await cache.start()
    keys = [fill(cache, clock.now()) for cache in caches]
    report = await caches[0].invalidate(Selector("acme", alias="large"), dry_run=False)
    assert report == Report(1, 0, 1, dry_run=False)
    await asyncio.sleep(0.01)
    assert caches[0].stats()["withdrawn"] == 1, "our own notice is not done twice"
    assert caches[1].get_now(keys[1]["other alias"][0], clock.now()) is None
    assert caches[1].get_now(keys[1]["plain"][0], clock.now()) is not None
    begun = caches[1].withdrawals
    notices.publish("cache")  # "look for yourself": there is nowhere to look
    await asyncio.sleep(0.05)
    assert caches[1].stats()["memory_entries"] == 0
    assert caches[1].put(os.urandom(32), b"s", meta(clock.now()), b"", begun=begun) is None
    for cache in caches:
        await cache.stop()


async def test_a_process_that_heard_nothing_for_long_forgets_what_it_holds(valkey_url: str) -> None:
    valkey = pytest.importorskip("ostinato.storage.records_valkey")
    clock = ManualClock(SystemClock().now())
    cache = ResponseCache(Settings(shared_timeout=5.0), clock, valkey.ValkeyRecordStore(valkey_url), secret=SECRET)
    await cache.start()
    key = os.urandom(32)
    cache.put(key, b"s" * 32, meta(clock.now()), b"", begun=0)
    clock.advance(0.6)
    await asyncio.sleep(0.05)
    assert cache.get_now(key, clock.now()) is not None
    clock.advance(400)
    async with asyncio.timeout(5):
        while cache.get_now(key, clock.now()) is not None:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
    await cache.stop()


@pytest.mark.soak
async def test_a_million_entries_are_scanned_without_holding_up_the_loop() -> None:
    clock = SystemClock()
    cache = ResponseCache(Settings(memory_bytes=2 << 30), clock, secret=SECRET)
    now = clock.now()
    for number in range(1_000_000):
        cache.put(os.urandom(32), b"s" * 32, meta(now, alias=f"a{number % 100}"), b"", begun=0)
    for selector in (Selector("acme", alias="a7"), Selector("acme", entry="0" * 16), Selector("acme", everything=True)):
        worst, began = 0.0, time.thread_time()
        work = asyncio.create_task(cache.invalidate(selector, dry_run=False))
        while not work.done():
            turn = time.thread_time()  # of this thread alone: what others do on the machine is not counted
            await asyncio.sleep(0)
            worst = max(worst, time.thread_time() - turn)
        print(f"{(await work).memory:,} withdrawn in {time.thread_time() - began:.2f} s, longest {worst * 1e3:.1f} ms")
        # Two milliseconds a turn; but with the last entries all arenas become free, and 400 MB are unmapped at once.
        assert worst < 0.05
    assert cache.stats()["memory_entries"] == 0
