"""Rows to record, and a recorder that is started and stopped."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest

from ostinato import storage
from ostinato.core import ids
from ostinato.core.clock import ManualClock
from ostinato.traces import CallRow, HitRow, Recorder, Settings
from ostinato.wire.model import Usage

USAGE = Usage(100, 20, 5, 40, 10, {"prompt_tokens": 120})


def call(clock: ManualClock, **fields: object) -> CallRow:
    values = {
        "request_id": ids.new(clock.now()),
        "at": clock.now(),
        "org": "acme",
        "project": "support",
        "key_id": "key1",
        "wire": "openai.chat",
        "alias": "small",
        "provider": "openai",
        "model": "gpt-x",
        "target": "openai/gpt-x",
        "usage": USAGE,
        "cost": 1_000,
        "stored": True,
        "upstream_us": 300_000,
        "total_us": 301_000,
    }
    return CallRow(**{**values, **fields})


def hit(clock: ManualClock, origin: str, **fields: object) -> HitRow:
    values = {
        "request_id": ids.new(clock.now()),
        "at": clock.now(),
        "key_id": "key1",
        "origin": origin,
        "total_us": 50,
        "saved": 1_000,
        "age_s": 7,
        "kind": 0,
        "stream": False,
    }
    return HitRow(**{**values, **fields})


@pytest.fixture(scope="session")
def rows() -> SimpleNamespace:
    """``call(clock, **fields)`` and ``hit(clock, origin, **fields)``."""
    return SimpleNamespace(call=call, hit=hit, usage=USAGE)


@pytest.fixture
def recorder(traces: storage.Database, clock: ManualClock) -> Iterator[Recorder]:
    """A recorder whose thread hardly ever wakes: the tests ``flush`` it. Once on each engine."""
    made = Recorder(traces, clock, Settings(batch_seconds=60.0))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def count(traces: storage.Database) -> Callable[[str], int]:
    """How many rows a table has."""
    return lambda table: traces.query(lambda c: c.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())
