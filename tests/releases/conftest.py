"""One process, and another on the same database, on each engine."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from release_kit import Opener, Process, Shared, installation, point

from ostinato.core.clock import ManualClock


@pytest_asyncio.fixture
async def shared() -> Shared:
    return Shared()


@pytest_asyncio.fixture
async def open_process(database_url: str, clock: ManualClock, shared: Shared) -> AsyncIterator[Opener]:
    """A function that starts a process; its database is seeded, once on each engine."""
    async with installation(database_url, clock, shared) as make:
        yield make


@pytest_asyncio.fixture
async def one(open_process: Opener) -> Process:
    """A process; ``production`` of ``greeting`` points at version 1."""
    process = await open_process()
    point(process, 1)
    await process.prompts.reload()
    return process


@pytest_asyncio.fixture
async def other(open_process: Opener, one: Process) -> Process:
    """Another process on the same database."""
    return await open_process()
