"""Rows of the ledger and signals as they are written, for the tests of this folder."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from ostinato import storage
from ostinato.audit import Log
from ostinato.cases.model import Alarm
from ostinato.core import ids
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Unavailable
from ostinato.intents import Intents
from ostinato.monitoring import Monitoring, Settings
from ostinato.signals.tables import signal
from ostinato.traces.tables import SUMS, call, hit, rollup

DAY = 86_400.0


def call_row(at: int, **fields: Any) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for column in call.columns:
        if column.name == "seq":
            continue
        text = isinstance(column.type, sa.Text)
        row[column.name] = "" if text else None if column.nullable else 0
    row |= {
        "request_id": ids.new(at),
        "at": at,
        "org": "acme",
        "project": "support",
        "key_id": "k",
        "wire": "openai.chat",
        "target": "fake/plain",
        "model": "plain",
        "attempts": '[{"target":"fake/plain"}]',
        "cache": "miss",
        "status": 200,
        "finish": "stop",
        "upstream_us": 900_000,
        "total_us": 1_000_000,
        "cost": 1_000,
        "stream": False,
        "stored": True,
        "usage_raw": None,
        "extra": None,
        "input_text": None,
        "output_text": None,
    }
    return row | fields


def hit_row(at: int, origin: str, **fields: Any) -> dict[str, Any]:
    row = {column.name: "" if isinstance(column.type, sa.Text) else 0 for column in hit.columns if column.name != "seq"}
    row |= {"request_id": ids.new(at), "at": at, "key_id": "k", "origin": origin, "kind": 1, "stream": False}
    return row | fields


def signal_row(at: int, value: float | None, **fields: Any) -> dict[str, Any]:
    row = {column.name: "" for column in signal.columns if column.name != "seq"}
    row |= {
        "id": ids.new(at),
        "request_id": ids.new(at),
        "at": at,
        "org": "acme",
        "project": "support",
        "source": "scorer",
        "name": "exact",
        "value": value,
        "weight": 1.0,
        "prompt_version": 0,
        "comment": None,
    }
    return row | fields


def minute_row(bucket: int, requests: int, **fields: Any) -> dict[str, Any]:
    row: dict[str, Any] = {column.name: "" for column in rollup.columns} | dict.fromkeys(SUMS, 0)
    row |= {"grain": 60, "bucket": bucket, "writer": "w", "org": "acme", "project": "support", "key_id": "k"}
    return row | {"requests": requests, "detail": b""} | fields


def insert(database: storage.Database, table: sa.Table, rows: Iterable[dict[str, Any]]) -> None:
    some = list(rows)
    if some:
        database.transact(lambda connection: connection.execute(table.insert(), some))


class Alarms:
    """Takes alarms; refuses while ``broken``."""

    def __init__(self) -> None:
        self.taken: list[Alarm] = []
        self.broken = False

    async def __call__(self, alarm: Alarm) -> None:
        if self.broken:
            raise Unavailable("The database is away.")
        self.taken.append(alarm)


class Held:
    """What intents stand, for a registry."""

    def __init__(self, intents: Intents | None = None) -> None:
        self.value = intents or Intents((), {})

    epoch = 1
    failing = ""


def room(
    control: storage.Database, traces: storage.Database, clock: ManualClock, alarms: Alarms, **settings: Any
) -> Monitoring:
    notices = storage.Notices(None, "")
    return Monitoring(
        control,
        traces,
        clock,
        notices,
        Log(control, clock, notices, secret=b"s" * 32),
        intents=Held(),  # pyright: ignore[reportArgumentType]
        settings=Settings(**settings),
        raise_alarm=alarms,
    )
