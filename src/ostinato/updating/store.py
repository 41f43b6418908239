"""Rows to structs and back."""

from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.core import ids
from ostinato.core.errors import Conflict, NotFound
from ostinato.routing import Candidate
from ostinato.updating import tables
from ostinato.updating.model import OPEN, Update


def insert(connection: sa.Connection, made: Update) -> None:
    """Write a new update down. Raises ``Conflict`` where one of its alias is open."""
    standing = open_at(connection, made.slot)
    if standing is not None and standing.kind != made.kind:
        # Written when a suspicion still took the place of a change.
        table = tables.update
        connection.execute(table.update().where(table.c.id == standing.id).values(open_slot=standing.slot))
    elif standing is not None:
        raise Conflict(
            f"The models behind {made.alias!r} are being changed already, by the update {standing.id}.",
            code="update_open",
            hint="Finish or abandon that one first.",
        )
    connection.execute(tables.update.insert(), _row(made))


def change(connection: sa.Connection, found: Update, **changes: Any) -> Update:
    """The update with ``changes``, one version further. Raises ``Conflict`` if it is not the one that stands."""
    table = tables.update
    changed = msgspec.structs.replace(found, **changes, version=found.version + 1)
    statement = table.update().where(table.c.id == found.id, table.c.version == found.version).values(**_row(changed))
    if connection.execute(statement).rowcount != 1:
        raise Conflict(
            "Somebody changed the update at the same moment.", code="version_moved", hint="Look again, then repeat."
        )
    return changed


def find(connection: sa.Connection, update_id: str, *, lock: bool = False) -> Update:
    """One update. Raises ``NotFound``."""
    query = sa.select(tables.update.c.body).where(tables.update.c.id == update_id)
    body = connection.scalar(query.with_for_update() if lock else query) if ids.is_id(update_id) else None
    if body is None:
        raise unknown(update_id)
    return msgspec.convert(body, Update)


def open_at(connection: sa.Connection, slot: str) -> Update | None:
    """The open update of a project's alias."""
    body = connection.scalar(sa.select(tables.update.c.body).where(tables.update.c.open_slot == slot))
    return None if body is None else msgspec.convert(body, Update)


def page(
    connection: sa.Connection, project: str, *, state: str = "", after: str = "", limit: int = 100
) -> list[Update]:
    """A project's updates, the newest first, from behind ``after``."""
    table = tables.update
    query = sa.select(table.c.body).where(table.c.project == project)
    if state:
        query = query.where(table.c.state == state)
    if after:
        query = query.where(table.c.id < after)
    rows = connection.scalars(query.order_by(table.c.id.desc()).limit(limit))
    return [msgspec.convert(body, Update) for body in rows]


def running(connection: sa.Connection) -> list[Update]:
    """Every update in canary."""
    rows = connection.scalars(sa.select(tables.update.c.body).where(tables.update.c.state == "canary"))
    return [msgspec.convert(body, Update) for body in rows]


def candidates(connection: sa.Connection) -> list[Candidate]:
    """What routing must know: open changes, and those that stand beside the declaration. Oldest first."""
    table = tables.update
    wanted = sa.or_(table.c.open_slot.is_not(None), table.c.state == "done")
    found = connection.scalars(sa.select(table.c.body).where(wanted).order_by(table.c.id))
    updates = [msgspec.convert(body, Update) for body in found]
    return [one.candidate for one in updates if one.kind == "change" and (one.state in OPEN or one.candidate.shares)]


def unknown(update_id: str) -> NotFound:
    """The same words for what is not there and what is out of reach."""
    return NotFound(
        f"There is no update {update_id[:80]!r}.", code="update_not_found", hint="`ostinato updates list` shows all."
    )


def _row(one: Update) -> dict[str, object]:
    return {
        "id": one.id,
        "org": one.org,
        "project": one.project,
        "alias": one.alias,
        "state": one.state,
        "body": msgspec.to_builtins(one),
        "version": one.version,
        "open_slot": one.slot if one.state in OPEN else None,
    }
