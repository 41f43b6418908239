"""A ledger with signals and KPIs over it, on either engine, and requests to put into it."""

from collections.abc import Iterator
from typing import Any

import pytest

from ostinato import storage
from ostinato.core import ids
from ostinato.core.clock import ManualClock
from ostinato.kpis import Kpis, Scope
from ostinato.signals import Signal, Signals
from ostinato.traces import CallRow, HitRow, Ledger, Recorder, Settings, Window
from ostinato.wire.model import Usage

MINUTE = 60_000_000
HOUR = 60 * MINUTE


class House:
    """Everything that figures are made of, driven by hand."""

    def __init__(self, database: storage.Database, clock: ManualClock) -> None:
        self.database, self.clock = database, clock
        self.recorder = Recorder(database, clock, Settings(batch_seconds=60.0))
        self.recorder.start()
        self.ledger = Ledger(database, clock, Settings(), catch_up=self.recorder.catch_up)
        self.signals = Signals(database, clock)
        self.kpis = Kpis(self.ledger, self.signals, clock)
        self.scope = Scope(org="acme", project="support")

    @property
    def window(self) -> Window:
        return Window(self.clock.now() - 24 * HOUR, self.clock.now() + 1)

    def call(self, question: str = "q", **fields: Any) -> str:
        values = {
            "request_id": ids.new(self.clock.now()),
            "at": self.clock.now(),
            "org": "acme",
            "project": "support",
            "key_id": "key1",
            "wire": "openai.chat",
            "alias": "small",
            "target": "openai/gpt-x",
            "attempts": (),
            "fingerprint": f"{abs(hash(question)):016x}{'0' * 16}"[:32],
            "usage": Usage(100, 0, 0, 40, 0),
            "cost": 1_000_000,
            "intent": "help",
            "upstream_us": 900_000,
            "total_us": 1_000_000,
        }
        row = CallRow(**{**values, **fields})
        self.recorder.call(row)
        return row.request_id

    def hit(self, origin: str, **fields: Any) -> str:
        values = {
            "request_id": ids.new(self.clock.now()),
            "at": self.clock.now(),
            "key_id": "key1",
            "origin": origin,
            "total_us": 100,
            "saved": 1_000_000,
            "age_s": 7,
            "kind": 0,
            "stream": False,
        }
        row = HitRow(**{**values, **fields})
        self.recorder.hit(row)
        return row.request_id

    def signal(self, request: str, source: str, name: str, value: float | None = 1.0, **fields: Any) -> Signal:
        values = {
            "id": ids.new(self.clock.now()),
            "request_id": request,
            "at": self.clock.now(),
            "org": "acme",
            "project": "support",
            "intent": "help",
            "actor": "key:1",
        }
        return Signal(source=source, name=name, value=value, **{**values, **fields})  # type: ignore[arg-type]

    def tell(self, request: str, name: str, value: float | None = 1.0, **fields: Any) -> None:
        """An outcome, written."""
        self.recorder.flush()
        source = "feedback" if name == "feedback" else "outcome"
        self.signals.record([self.signal(request, source, name, value, **fields)])
        assert self.signals.flush()

    async def figure(self, name: str, **scope: str) -> Any:
        whole = Scope(org="acme", project="support", **scope)  # type: ignore[arg-type]
        page = await self.kpis.figures(whole, self.window, names=[name])
        return next(one for one in page.figures if one.name == name)


@pytest.fixture
def house(traces: storage.Database, clock: ManualClock) -> Iterator[House]:
    """Once on each engine."""
    made = House(traces, clock)
    yield made
    made.recorder.stop()
    made.signals.stop()
