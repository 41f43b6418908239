"""Snapshots: swapped whole, never lost, as new as the last notice."""

import asyncio

import pytest

from ostinato import storage
from ostinato.core.errors import Unavailable
from ostinato.storage import Notices, Snapshot


class Source:
    """Something that can be loaded, fails on demand, and can be held up."""

    def __init__(self) -> None:
        self.value: object = 1
        self.error: Exception | None = None
        self.loads = 0
        self.gate: asyncio.Event | None = None

    async def load(self) -> object:
        self.loads += 1
        value = self.value
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return value


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def notices() -> Notices:
    return Notices()


@pytest.fixture
async def snapshot(source, notices, clock):
    made = Snapshot(source.load, notices, "routes", clock)
    yield made
    await made.close()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_before_the_start_there_is_nothing(snapshot):
    assert snapshot.epoch == 0
    with pytest.raises(Unavailable):
        _ = snapshot.value


async def test_a_first_load_that_fails_is_told(snapshot, source):
    source.error = Unavailable("away")
    with pytest.raises(Unavailable, match="away"):
        await snapshot.start()
    source.error = RuntimeError("a bug")
    with pytest.raises(Unavailable, match="RuntimeError"):
        await snapshot.start()
    source.error = None
    await snapshot.start()
    assert (snapshot.value, snapshot.epoch, snapshot.failing) == (1, 1, "")


async def test_a_notice_swaps(snapshot, source, notices):
    swapped: list[object] = []
    snapshot.on_swap(swapped.append)
    await snapshot.start()
    source.value = 2
    notices.publish("access")
    await settled()
    assert snapshot.value == 1
    notices.publish("routes")
    await settled()
    assert (snapshot.value, snapshot.epoch) == (2, 2)
    assert swapped == [1, 2]


async def test_none_is_a_value(snapshot, source):
    source.value = None
    await snapshot.start()
    assert snapshot.value is None


async def test_the_last_good_value_is_kept_and_loading_goes_on(snapshot, source, notices, clock):
    await snapshot.start()
    source.value, source.error = 2, Unavailable("away")
    await snapshot.reload()
    assert (snapshot.value, snapshot.epoch) == (1, 1)
    assert "away" in snapshot.failing
    for _ in range(5):
        await settled()
        clock.advance(5)
    await settled()
    assert snapshot.value == 1
    tried = source.loads
    assert tried >= 4
    source.error = None
    clock.advance(5)
    await settled()
    assert (snapshot.value, snapshot.epoch, snapshot.failing) == (2, 2, "")
    clock.advance(60)
    await settled()
    assert source.loads == tried + 1


async def test_many_notices_share_loads(snapshot, source, notices):
    await snapshot.start()
    source.gate = asyncio.Event()
    for _ in range(100):
        notices.publish("routes")
    await settled()
    source.value = 3
    notices.publish("routes")
    source.gate.set()
    await settled()
    assert snapshot.value == 3
    assert source.loads <= 4


async def test_a_reload_is_never_older_than_its_call(snapshot, source):
    """Someone who changes and then reloads must see the change, even if a load was already under way."""
    await snapshot.start()
    source.gate = asyncio.Event()
    first = asyncio.ensure_future(snapshot.reload())
    await settled()
    source.value = 2
    others = [asyncio.ensure_future(snapshot.reload()) for _ in range(10)]
    await settled()
    source.gate.set()
    await first
    await asyncio.gather(*others)
    assert snapshot.value == 2
    assert source.loads == 3


async def test_a_follower_that_fails_does_not_stop_the_swap(snapshot, source):
    seen: list[object] = []
    snapshot.on_swap(lambda _: 1 / 0)
    snapshot.on_swap(seen.append)
    await snapshot.start()
    assert seen == [1]


async def test_after_closing_nothing_follows(snapshot, source, notices):
    await snapshot.start()
    await snapshot.close()
    await snapshot.close()
    source.value = 2
    notices.publish("routes")
    await settled()
    assert snapshot.value == 1


async def test_closing_while_it_tries_again(snapshot, source):
    await snapshot.start()
    source.error = Unavailable("away")
    await snapshot.reload()
    await snapshot.close()
    assert snapshot.value == 1


async def test_another_process_swaps_within_two_seconds(postgres_url, clock):
    """A change here is served there: declarations, their notice, and a snapshot of another process."""
    databases = [storage.open_database("control", postgres_url) for _ in range(2)]
    storage.migrate(databases[0])
    here, there = Notices(databases[0]), Notices(databases[1])
    await here.start()
    await there.start()
    declarations = storage.Declarations(databases[0], clock, here, {"route": "routes"})
    other = storage.Declarations(databases[1], clock)
    snapshot = Snapshot(lambda: other.load("route"), there, "routes")
    await snapshot.start()
    swapped = asyncio.Event()
    snapshot.on_swap(lambda value: swapped.set() if value else None)
    await declarations.put("route", "fast", {"targets": ["a"]}, "ada")
    await asyncio.wait_for(swapped.wait(), 10)
    assert snapshot.value == {"fast": {"targets": ["a"]}}
    for closing in (snapshot, here, there):
        await closing.close()
    for database in databases:
        database.close()
