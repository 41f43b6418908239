"""A few answers of a window, evenly over its time, in the same time however many rows it has."""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from ostinato.traces import tables
from ostinato.traces.model import Window

_NEAR = 200
"""Rows looked at in each part of the window."""


def request_ids(
    connection: sa.Connection,
    window: Window,
    conditions: Mapping[str, Sequence[str]],
    values: Mapping[str, str],
    n: int,
) -> list[str]:
    """Ids of up to ``n`` answered questions of each of hits and calls: the first that fits in each ``n``-th of the
    time. ``conditions``: by table, with ``values`` bound."""
    since = min((at for at in (_first(connection, table) for table in conditions) if at is not None), default=None)
    if since is None:
        return []
    since = max(since, window.since // 1000)
    step = max(1, -(-(window.until // 1000 + 1 - since) // n))
    found: list[str] = []
    for number in range(n):
        low = since + number * step
        # A request's id begins with its time in milliseconds, and is what there is an index on.
        bound = {"low": f"{max(0, low):012x}", "high": f"{max(0, low + step):012x}", **values}
        for table, wanted in conditions.items():
            near = (
                f"SELECT request_id FROM {table} WHERE request_id >= :low AND request_id < :high "  # noqa: S608 - a constant
                f"ORDER BY request_id LIMIT {_NEAR}"
            )
            join = "hit JOIN call ON call.request_id = hit.origin" if table == "hit" else "call"
            where = " AND ".join(
                (
                    f"{table}.request_id IN (SELECT request_id FROM ({near}) AS near)",  # noqa: S608 - as above
                    f"{table}.key_id <> ''",
                    "call.status < 400",
                    "call.wire IN ('openai.chat', 'openai.responses', 'anthropic.messages')",
                    *wanted,
                )
            )
            statement = f"SELECT {table}.request_id FROM {join} WHERE {where} ORDER BY 1 LIMIT 1"  # noqa: S608 - as above
            one = connection.execute(sa.text(statement), bound).scalar()
            if one is not None:
                found.append(str(one))
    return found


def _first(connection: sa.Connection, name: str) -> int | None:
    """When the oldest row of a table came, in milliseconds."""
    table = tables.hit if name == "hit" else tables.call
    oldest = connection.execute(sa.select(sa.func.min(table.c.request_id))).scalar()
    return None if oldest is None else int(str(oldest)[:12], 16)
