"""Examples whose texts go: of somebody in every dataset of a project, and those that are old. Tombstones stay."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from ostinato.core import ids
from ostinato.datasets import tables
from ostinato.wire.model import Json

_MANY = 500


class Old(msgspec.Struct, frozen=True):
    """An example, as far as rules and holds ask about it."""

    id: str
    at: int
    project: str
    subject: str


def old(connection: sa.Connection, since: str, before: int, limit: int) -> list[Old]:
    """Living examples with ids above ``since`` that were made before ``before``, oldest first."""
    one, of = tables.example, tables.dataset
    query = (
        sa.select(one.c.id, one.c.created_at, of.c.project, one.c.subject)
        .join(of, of.c.id == one.c.dataset_id)
        .where(one.c.id > since, one.c.id < f"{max(0, before) // 1000:012x}", one.c.erased_at.is_(None))
    )
    return [Old(*row) for row in connection.execute(query.order_by(one.c.id).limit(limit))]


def of_subject(
    connection: sa.Connection, project: str, subjects: Sequence[str], sources: Sequence[str]
) -> list[tuple[str, int]]:
    """(Id, time made) of living examples of a project: by whose they are, or by what they were made of."""
    one, of = tables.example, tables.dataset
    living = sa.select(one.c.id, one.c.created_at).join(of, of.c.id == one.c.dataset_id)
    living = living.where(of.c.project == project, one.c.erased_at.is_(None))
    found: dict[str, int] = {}
    if subjects:
        found |= {str(row[0]): int(row[1]) for row in connection.execute(living.where(one.c.subject.in_(subjects)))}
    for begin in range(0, len(sources), _MANY):
        query = living.where(one.c.source.in_(sources[begin : begin + _MANY]))
        found |= {str(row[0]): int(row[1]) for row in connection.execute(query)}
    return sorted(found.items())


def bodies(connection: sa.Connection, examples: Sequence[str]) -> list[Json]:
    """What examples say: to look for it elsewhere before it goes."""
    one = tables.example
    found: list[Json] = []
    for begin in range(0, len(examples), _MANY):
        query = sa.select(one.c.body).where(one.c.id.in_(examples[begin : begin + _MANY]), one.c.body.is_not(None))
        found += connection.scalars(query)
    return found


def erase(connection: sa.Connection, examples: Sequence[str], now: int) -> int:
    """Texts go, in every version; digests and splits stay. Gives how many had any."""
    one, gone = tables.example, 0
    for begin in range(0, len(examples), _MANY):
        gone += connection.execute(
            sa.update(one)
            .where(one.c.id.in_([each for each in examples[begin : begin + _MANY] if ids.is_id(each)]))
            .where(one.c.erased_at.is_(None))
            .values(body=None, stratum="", subject="", source="", erased_at=now)
        ).rowcount
    return gone


def lately(connection: sa.Connection, since: int) -> list[tuple[str, str]]:
    """(Example, project) of tombstones that were made since then."""
    one, of = tables.example, tables.dataset
    query = sa.select(one.c.id, of.c.project).join(of, of.c.id == one.c.dataset_id).where(one.c.erased_at >= since)
    return [(str(row[0]), str(row[1])) for row in connection.execute(query.limit(20_000))]
