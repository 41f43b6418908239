"""Decisions and the inventory on a connection, inside the transaction of whoever changes them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.core import ids
from ostinato.core.errors import Conflict, NotFound
from ostinato.triage import tables
from ostinato.triage.model import Decision, Item

_FIELDS = Decision.__struct_fields__
_ITEM = Item.__struct_fields__


def insert(connection: sa.Connection, decision: Decision) -> None:
    """Write a new decision."""
    connection.execute(tables.triage_decision.insert(), _row(decision))


def change(connection: sa.Connection, decision: Decision, **changes: Any) -> Decision:
    """``decision`` with ``changes``, one version further. Raises ``Conflict`` if it is not the one that stands."""
    table = tables.triage_decision
    changed = msgspec.structs.replace(decision, **changes, version=decision.version + 1)
    where = (table.c.id == decision.id, table.c.version == decision.version)
    if connection.execute(table.update().where(*where).values(**_row(changed))).rowcount != 1:
        raise Conflict(
            "Somebody decided on this at the same moment.", code="version_moved", hint="Look again, then repeat."
        )
    return changed


def find(connection: sa.Connection, decision_id: str, *, lock: bool = False) -> Decision:
    """One decision. Raises ``NotFound``."""
    query = sa.select(tables.triage_decision).where(tables.triage_decision.c.id == decision_id)
    row = None
    if ids.is_id(decision_id):
        row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise unknown(decision_id)
    return _decision(row)


def newest(connection: sa.Connection, project: str) -> dict[str, Decision]:
    """The newest decision of each family of a project."""
    table = tables.triage_decision
    last = sa.select(table.c.family, sa.func.max(table.c.number).label("number"))
    last = last.where(table.c.project == project).group_by(table.c.family).subquery()
    both = sa.and_(table.c.family == last.c.family, table.c.number == last.c.number)
    query = sa.select(table).select_from(table.join(last, both)).where(table.c.project == project)
    return {row["family"]: _decision(row) for row in connection.execute(query).mappings()}


def waiting(connection: sa.Connection, project: str = "") -> list[Decision]:
    """Decisions that wait for others, of a project or of all."""
    table = tables.triage_decision
    query = sa.select(table).where(table.c.state == "waiting")
    if project:
        query = query.where(table.c.project == project)
    return [_decision(row) for row in connection.execute(query).mappings()]


def history(connection: sa.Connection, project: str, family: str, limit: int = 100) -> list[Decision]:
    """All decisions on a family, the newest first."""
    table = tables.triage_decision
    query = sa.select(table).where(table.c.project == project, table.c.family == family)
    rows = connection.execute(query.order_by(table.c.number.desc()).limit(limit)).mappings()
    return [_decision(row) for row in rows]


def unknown(what: str) -> NotFound:
    return NotFound(
        f"There is no decision or family {what[:80]!r}.",
        code="triage_not_found",
        hint="`ostinato triage list` shows what there is.",
    )


# -- the inventory -------------------------------------------------------------------------------------------------


def items(connection: sa.Connection, project: str) -> list[Item]:
    """The inventory of a project, by prompt."""
    table = tables.triage_inventory
    rows = connection.execute(sa.select(table).where(table.c.project == project).order_by(table.c.prompt)).mappings()
    return [_item(row) for row in rows]


def item(connection: sa.Connection, project: str, prompt: str, *, lock: bool = False) -> Item | None:
    """One prompt in the inventory."""
    table = tables.triage_inventory
    query = sa.select(table).where(table.c.project == project, table.c.prompt == prompt)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return None if row is None else _item(row)


def put_item(connection: sa.Connection, value: Item) -> None:
    """Write an item, new or changed."""
    table = tables.triage_inventory
    row = msgspec.to_builtins(value, builtin_types=())
    where = (table.c.project == value.project, table.c.prompt == value.prompt)
    if connection.execute(table.update().where(*where).values(**row)).rowcount != 1:
        connection.execute(table.insert(), row)


def drop_items(connection: sa.Connection, project: str, gone: Sequence[str]) -> None:
    """Take prompts out that are not there any more."""
    table = tables.triage_inventory
    if gone:
        connection.execute(table.delete().where(table.c.project == project, table.c.prompt.in_(gone)))


# -- rounds --------------------------------------------------------------------------------------------------------


def begin(connection: sa.Connection, name: str, now: int, pause: int) -> bool:
    """Whether a round is due and this process makes it: the last one began ``pause`` microseconds ago, or more.

    Or so much later than now: then a clock was set back."""
    table = tables.triage_round
    # One that began after now did so by a clock that was wrong: until it is right again none would begin.
    due = sa.or_(table.c.at <= now - pause, table.c.at > now + pause)
    where = (table.c.name == name, due)
    if connection.execute(table.update().where(*where).values(at=now)).rowcount == 1:
        return True
    if connection.execute(sa.select(table.c.at).where(table.c.name == name)).first() is not None:
        return False
    connection.execute(table.insert(), {"name": name, "at": now})
    return True


def _row(decision: Decision) -> dict[str, Any]:
    return msgspec.to_builtins(decision, builtin_types=())


def _decision(row: Mapping[Any, Any]) -> Decision:
    return msgspec.convert({name: row[name] for name in _FIELDS}, Decision)


def _item(row: Mapping[Any, Any]) -> Item:
    return msgspec.convert({name: row[name] for name in _ITEM}, Item)
