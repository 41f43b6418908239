"""Receivers and rooms."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from notifying_kit import House, Receiver, files, house, urls

from ostinato.core.clock import ManualClock


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    await made.start()
    yield made
    await made.stop()


@pytest_asyncio.fixture
async def home(tmp_path: Path, clock: ManualClock) -> AsyncIterator[House]:
    """Rooms on SQLite."""
    async with house(*files(tmp_path), clock) as made:
        yield made


@pytest_asyncio.fixture
async def both(database_url: str, clock: ManualClock) -> AsyncIterator[House]:
    """Rooms, once on each engine."""
    async with house(*urls(database_url), clock) as made:
        yield made
