"""Two processes on one database, on each engine."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from breaker_kit import Process, seed

from ostinato import storage
from ostinato.core.clock import ManualClock


@pytest.fixture
def one(database_url: str, clock: ManualClock) -> Iterator[Process]:
    process = Process(database_url, clock)
    storage.migrate(process.database)
    process.database.transact(seed)
    yield process
    process.database.close()


@pytest.fixture
def other(database_url: str, clock: ManualClock, one: Process) -> Iterator[Process]:
    process = Process(database_url, clock)
    yield process
    process.database.close()
