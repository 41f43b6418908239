"""Rows to structs and back; every change of state goes through :func:`change`, which notices who was quicker."""

from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.access import Actor, SystemActor, permissions
from ostinato.breakers import tables
from ostinato.breakers.model import Trip
from ostinato.core import ids
from ostinato.core.errors import Conflict, NotFound


def insert(connection: sa.Connection, trip: Trip) -> None:
    """Write a new trip. The database raises ``Conflict`` where its slot is taken."""
    connection.execute(tables.trip.insert(), _row(trip))


def change(connection: sa.Connection, trip: Trip, **changes: Any) -> Trip:
    """``trip`` with ``changes``, one version further. Raises ``Conflict`` if it is not the one that stands."""
    table = tables.trip
    changed = msgspec.structs.replace(trip, **changes, version=trip.version + 1)
    result = connection.execute(
        table.update().where(table.c.id == trip.id, table.c.version == trip.version).values(**_row(changed))
    )
    if result.rowcount != 1:
        raise Conflict(
            f"Somebody changed the breaker of {trip.slot} at the same moment.",
            code="version_moved",
            hint="Look again, then repeat.",
        )
    return changed


def count(connection: sa.Connection, trip: Trip, good: float, bad: float) -> None:
    """Add trials to those of the same half-open time; those of an earlier one are dropped."""
    table = tables.trip
    connection.execute(
        table.update()
        .where(table.c.id == trip.id, table.c.state == "half-open", table.c.changed_at == trip.changed_at)
        .values(good=table.c.good + good, bad=table.c.bad + bad)
    )


def find(connection: sa.Connection, trip_id: str, *, lock: bool = False) -> Trip:
    """One trip. Raises ``NotFound``."""
    query = sa.select(tables.trip).where(tables.trip.c.id == trip_id)
    found = _one(connection, query.with_for_update() if lock else query) if ids.is_id(trip_id) else None
    if found is None:
        raise unknown(trip_id)
    return found


def open_at(connection: sa.Connection, slot: str, *, lock: bool = False) -> Trip | None:
    """The open trip of an intent or a target."""
    query = sa.select(tables.trip).where(tables.trip.c.open_slot == slot)
    return _one(connection, query.with_for_update() if lock else query)


def last_change(connection: sa.Connection, project: str, intent: str, target: str) -> int:
    """When a breaker last changed its state; 0: it never did."""
    table = tables.trip
    where = (table.c.project == project, table.c.intent == intent, table.c.target == target)
    return connection.execute(sa.select(sa.func.max(table.c.changed_at)).where(*where)).scalar() or 0


def closed_since(connection: sa.Connection, since: int) -> dict[tuple[str, str], int]:
    """When intents' breakers were closed last, by project and intent, of those that were since then."""
    table = tables.trip
    query = sa.select(table.c.project, table.c.intent, sa.func.max(table.c.closed_at)).where(table.c.closed_at >= since)
    rows = connection.execute(query.group_by(table.c.project, table.c.intent))
    return {(str(project), str(intent)): int(at) for project, intent, at in rows}


def standing(connection: sa.Connection) -> tuple[Trip, ...]:
    """All that are open."""
    query = sa.select(tables.trip).where(tables.trip.c.open_slot.is_not(None)).order_by(tables.trip.c.id)
    return tuple(_trip(row) for row in connection.execute(query).mappings())


def page(
    connection: sa.Connection,
    actor: Actor,
    *,
    project: str = "",
    intent: str = "",
    state: str = "",
    after: str = "",
    limit: int = 100,
) -> list[Trip]:
    """Trips within the actor's reach, the newest first, from behind ``after``."""
    table = tables.trip
    query = sa.select(table).where(_reach(actor))
    if state:
        query = query.where(table.c.open_slot.is_not(None) if state == "open" else table.c.state == state)
    for column, wanted in ((table.c.project, project), (table.c.intent, intent)):
        if wanted:
            query = query.where(column == wanted)
    if after:
        query = query.where(table.c.id < after)
    return [_trip(row) for row in connection.execute(query.order_by(table.c.id.desc()).limit(limit)).mappings()]


def reaches(actor: Actor, trip: Trip) -> bool:
    """Whether the trip exists for the actor at all. Targets are everybody's to see."""
    if isinstance(actor, SystemActor) or trip.target or permissions.allows(actor, "organizations:write"):
        return True
    if trip.org != actor.org:
        return False
    return trip.project == actor.project or permissions.allows(actor, "projects:write")


def _reach(actor: Actor) -> sa.ColumnElement[bool]:
    """The same as a condition on the table."""
    table = tables.trip
    if isinstance(actor, SystemActor) or permissions.allows(actor, "organizations:write"):
        return sa.true()
    own = table.c.org == actor.org
    if not permissions.allows(actor, "projects:write"):
        own = sa.and_(own, table.c.project == actor.project)
    return sa.or_(own, table.c.target != "")


def unknown(trip_id: str) -> NotFound:
    """The same words for what is not there and what is out of reach."""
    return NotFound(
        f"There is no trip {trip_id[:80]!r}.", code="trip_not_found", hint="`ostinato breakers list` shows all."
    )


def _one(connection: sa.Connection, query: sa.Select[Any]) -> Trip | None:
    row = connection.execute(query).mappings().first()
    return None if row is None else _trip(row)


def _row(trip: Trip) -> dict[str, object]:
    return {
        **msgspec.structs.asdict(trip),
        "safety": msgspec.to_builtins(trip.safety),
        "open_slot": trip.slot if trip.state != "closed" else None,
    }


def _trip(row: Mapping[Any, Any]) -> Trip:
    return msgspec.convert({name: row[name] for name in Trip.__struct_fields__}, Trip)
