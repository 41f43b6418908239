"""``server``: a small one whose answers a test decides. ``both``: a client of each kind behind one interface."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from small_server import Both, Small

from ostinato.core.clock import ManualClock


@pytest.fixture
def server() -> Iterator[Small]:
    running = Small()
    yield running
    running.stop()


@pytest.fixture(params=["blocking", "asynchronous"])
def both(request: pytest.FixtureRequest, server: Small, clock: ManualClock) -> Iterator[Both]:
    made = Both(request.param, server.url, clock)
    yield made
    made.close()
