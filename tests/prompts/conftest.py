"""An open registry on each engine, and more processes on the same database."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from registry_kit import Opener, Process

from ostinato import storage
from ostinato.core.clock import ManualClock


@pytest_asyncio.fixture
async def open_process(control: storage.Database, database_url: str, clock: ManualClock) -> AsyncIterator[Opener]:
    """A function that starts a process on the database; each test runs once on each engine."""
    opened: list[Process] = []

    async def make() -> Process:
        process = Process(storage.open_database("control", database_url, readers=2), clock)
        await process.start()
        opened.append(process)
        return process

    yield make
    for process in opened:
        await process.stop()


@pytest_asyncio.fixture
async def here(open_process: Opener) -> Process:
    """A process on each engine."""
    return await open_process()
