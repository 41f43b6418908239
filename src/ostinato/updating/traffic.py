"""What the ledger knows of an alias: who used it lately, and what the arms of a canary have answered."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
import sqlalchemy as sa

from ostinato.traces import tables
from ostinato.traces.adding import LOOP
from ostinato.traces.arms import ArmCall, beginning
from ostinato.updating.model import Traffic

_SCANNED = 100_000
_AT_ONCE = 500
_MEASURED = "loop:experiment,"
"""How tags of our own calls begin that an experiment has made."""


class Page(msgspec.Struct, frozen=True):
    """Calls of both arms in the order of the ledger, and the place behind them."""

    calls: tuple[ArmCall, ...]
    after: int
    more: bool


def used(
    connection: sa.Connection, project: str, alias: str, since: int, rows: int, *, own: bool = False
) -> list[Traffic]:
    """Calls by an alias, by intent and prompt, of the newest ``rows`` calls of all from ``since`` on. ``own``: instead
    of traffic, what our own experiments have asked: it tells how long answers are where nobody asks yet."""
    call = tables.call
    head = int(connection.scalar(sa.select(sa.func.coalesce(sa.func.max(call.c.seq), 0))) or 0)
    query = (
        sa.select(
            call.c.intent,
            call.c.prompt,
            sa.func.count(),
            sa.func.sum(call.c.cost),
            sa.func.coalesce(sa.func.sum(call.c.input), 0),
            sa.func.coalesce(sa.func.sum(call.c.output), 0),
        )
        .where(call.c.seq > head - rows, call.c.at >= since, call.c.project == project, call.c.alias == alias)
        .where(call.c.status == 200)
        .where(sa.and_(call.c.reason == LOOP, call.c.tags.startswith(_MEASURED)) if own else call.c.reason != LOOP)
        .group_by(call.c.intent, call.c.prompt)
        .order_by(sa.func.count().desc(), call.c.intent, call.c.prompt)
    )
    return [
        Traffic(
            intent=row[0] or "",
            prompt=row[1] or "",
            calls=int(row[2]),
            cost=None if row[3] is None else int(row[3]),
            input=int(row[4]),
            output=int(row[5]),
        )
        for row in connection.execute(query)
    ]


def arms(
    connection: sa.Connection, update: str, intent: str, project: str, alias: str, since: int, after: int | None
) -> Page:
    """Calls of both arms behind ``after`` (``None``: from ``since`` on)."""
    call = tables.call
    low = beginning(connection, since) if after is None else after
    head = int(connection.scalar(sa.select(sa.func.coalesce(sa.func.max(call.c.seq), 0))) or 0)
    high = min(head, low + _SCANNED)
    names = [name for name in ArmCall.__struct_fields__ if name != "arm"]
    query = (
        sa.select(*(call.c[name] for name in names), call.c.extra)
        .where(
            call.c.seq > low,
            call.c.seq <= high,
            call.c.project == project,
            call.c.alias == alias,
            call.c.intent == intent,
            call.c.at >= since,
            call.c.extra.is_not(None),
        )
        .order_by(call.c.seq)
    )
    found: list[ArmCall] = []
    for row in connection.execute(query).mappings():
        arm = arm_of(row["extra"], update)
        if arm:
            found.append(_call(row, names, arm))
    return Page(tuple(found), high, high < head)


def marks(connection: sa.Connection, update: str, requests: Sequence[str]) -> dict[str, str]:
    """Call -> its arm, of those that were of an arm of this update."""
    call, found = tables.call, dict[str, str]()
    for at in range(0, len(requests), _AT_ONCE):
        query = sa.select(call.c.request_id, call.c.extra).where(
            call.c.request_id.in_(requests[at : at + _AT_ONCE]), call.c.extra.is_not(None)
        )
        for request_id, extra in connection.execute(query):
            arm = arm_of(extra, update)
            if arm:
                found[request_id] = arm
    return found


def arm_of(extra: str, update: str) -> str:
    """``canary``, ``control`` or nothing."""
    try:
        told: Any = json.loads(extra)
    except ValueError:
        return ""
    mark: Any = cast("dict[str, Any]", told).get("update", "") if isinstance(told, dict) else ""
    arm, _, of = str(mark).partition(":")
    return arm if of == update else ""


def _call(row: Mapping[Any, Any], names: Sequence[str], arm: str) -> ArmCall:
    values: dict[str, Any] = {name: row[name] for name in names}
    values["tags"] = tuple(values["tags"].split(",")) if values["tags"] else ()
    return ArmCall(**values, arm=arm)
