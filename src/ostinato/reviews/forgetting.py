"""Review items of somebody, and those that have ended long ago: texts go, decisions and figures stay."""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from ostinato.reviews import tables

_MANY = 500


class Old(msgspec.Struct, frozen=True):
    """An item, as far as rules and holds ask about it."""

    id: str
    at: int
    """When it ended."""
    project: str
    intent: str
    subject: str


def old(connection: sa.Connection, since: str, before: int, limit: int) -> list[Old]:
    """Items with ids above ``since`` that ended before ``before`` and still have texts, oldest first."""
    item = tables.item
    query = sa.select(item.c.id, item.c.done_at, item.c.project, item.c.intent, item.c.subject).where(
        item.c.id > since, item.c.state != "open", item.c.done_at < before, item.c.erased.is_(False)
    )
    return [Old(*row) for row in connection.execute(query.order_by(item.c.id).limit(limit))]


def of_subject(
    connection: sa.Connection, project: str, subjects: Sequence[str], requests: Sequence[str], groups: Sequence[str]
) -> list[tuple[str, str]]:
    """(Id, intent) of items of a project that still have texts: by whose they are, by request or conversation; where a
    user is named, what another user said in the same conversation is not theirs."""
    item = tables.item
    telling = sa.or_(item.c.erased.is_(False), item.c.subject != "", item.c.group != "")
    query = sa.select(item.c.id, item.c.intent).where(item.c.project == project, telling)
    found: dict[str, str] = {}
    for column, values in ((item.c.subject, subjects), (item.c.request_id, requests), (item.c.group, groups)):
        for begin in range(0, len(values), _MANY):
            part = values[begin : begin + _MANY]
            within = column.in_(part)
            if subjects and column is item.c.group:
                within &= item.c.subject.in_(("", *subjects))
            found |= {str(row[0]): str(row[1]) for row in connection.execute(query.where(within))}
    return sorted(found.items())


def forget(connection: sa.Connection, ids: Sequence[str]) -> int:
    """Texts go for good, and what tells whose they were; gives how many items that were."""
    item, verdict, held = tables.item, tables.verdict, tables.held
    gone = 0
    for begin in range(0, len(ids), _MANY):
        part = ids[begin : begin + _MANY]
        bare = {"sealed": None, "erased": True, "subject": "", "group": "", "version": item.c.version + 1}
        gone += connection.execute(sa.update(item).where(item.c.id.in_(part)).values(bare)).rowcount
        connection.execute(sa.update(verdict).where(verdict.c.item_id.in_(part)).values(sealed=None))
        answer = {"sealed": None, "admit": None, "echo": None, "format": None}
        connection.execute(sa.update(held).where(held.c.item.in_(part)).values(answer))
    return gone
