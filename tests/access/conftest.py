"""An open door on each engine, and more doors on the same database."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest_asyncio

from ostinato import storage
from ostinato.access import Access, Caller, Settings
from ostinato.core.clock import ManualClock

Opener = Callable[..., Awaitable[Access]]


@pytest_asyncio.fixture
async def open_door(control: storage.Database, database_url: str, clock: ManualClock) -> AsyncIterator[Opener]:
    """A function that starts an ``Access`` as a process of its own would: own connections, own notices."""
    opened: list[tuple[Access, storage.Notices, storage.Database]] = []

    async def make(**settings: object) -> Access:
        database = storage.open_database("control", database_url, readers=2)
        notices = storage.Notices(database, poll_seconds=0.2)
        await notices.start()
        door = Access(database, notices, clock, Settings(**settings))
        await door.start()
        opened.append((door, notices, database))
        return door

    yield make
    for door, notices, database in opened:
        await door.stop()
        await notices.close()
        database.close()


@pytest_asyncio.fixture
async def door(open_door: Opener) -> Access:
    """A door on each engine."""
    return await open_door()


@pytest_asyncio.fixture
async def owner(door: Access, clock: ManualClock) -> Caller:
    """The first administrator."""
    _, _, secret = await door.first_start()
    return door.authenticate(secret, clock.now())
