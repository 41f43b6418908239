"""Answers that calls of our own have paid for, and that go because they are old. What they cost stays."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from ostinato.calls.tables import paid_call
from ostinato.core import ids


class Old(msgspec.Struct, frozen=True):
    """A paid call, as far as rules and holds ask about it."""

    key: str
    at: int
    project: str


def old(connection: sa.Connection, since: tuple[int, str], before: int, limit: int) -> list[Old]:
    """Calls with answers, made before ``before``, behind ``since`` (time, key), oldest first."""
    at, key = since
    later = sa.or_(paid_call.c.at > at, sa.and_(paid_call.c.at == at, paid_call.c.key > key))
    query = sa.select(paid_call.c.key, paid_call.c.at, paid_call.c.project).where(
        paid_call.c.answer.is_not(None), paid_call.c.at < before, later
    )
    rows = connection.execute(query.order_by(paid_call.c.at, paid_call.c.key).limit(limit))
    return [Old(*row) for row in rows]


def empty(connection: sa.Connection, keys: Sequence[str], now: int) -> int:
    """Answers go; the rows get other keys, so that the same call can be made and kept again. Gives how many."""
    gone = 0
    for key in keys:
        values = {"key": ids.new(now), "answer": None}
        gone += connection.execute(sa.update(paid_call).where(paid_call.c.key == key).values(values)).rowcount
    return gone


def answered(connection: sa.Connection, examples: Sequence[str]) -> set[str]:
    """Those of these examples about which there are answers."""
    found: set[str] = set()
    for begin in range(0, len(examples), 500):
        mine = paid_call.c.example.in_(examples[begin : begin + 500])
        found.update(connection.scalars(sa.select(paid_call.c.example).where(mine, paid_call.c.answer.is_not(None))))
    return found
