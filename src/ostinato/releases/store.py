"""Rows to structs and back; every change of a release goes through :func:`change`, which notices who was quicker."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.core import ids
from ostinato.core.errors import Conflict, NotFound
from ostinato.releases import tables
from ostinato.releases.model import ACTIVE, OPEN, Event, Evidence, Plan, Release

EVIDENCE = 200
"""Pieces of evidence that one release may gather."""


def insert(connection: sa.Connection, release: Release) -> None:
    """Write a new release. Raises ``Conflict`` telling of the one that is open where there is one already."""
    standing = open_at(connection, release.slot)
    if standing is not None:
        raise frozen(standing)
    connection.execute(tables.release.insert(), _row(release))


def change(connection: sa.Connection, release: Release, **changes: Any) -> Release:
    """``release`` with ``changes``, one version further. Raises ``Conflict`` if it is not the one that stands."""
    table = tables.release
    changed = msgspec.structs.replace(release, **changes, version=release.version + 1)
    result = connection.execute(
        table.update().where(table.c.id == release.id, table.c.version == release.version).values(**_row(changed))
    )
    if result.rowcount != 1:
        raise Conflict(
            f"Somebody changed the release {release.id} at the same moment.",
            code="version_moved",
            hint="Look again, then repeat.",
        )
    return changed


def find(connection: sa.Connection, release_id: str, *, lock: bool = False) -> Release:
    """One release. ``lock``: nobody else changes it until this transaction ends. Raises ``NotFound``."""
    query = sa.select(tables.release).where(tables.release.c.id == release_id)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first() if _id(release_id) else None
    if row is None:
        raise unknown(release_id)
    return _release(row)


def open_at(connection: sa.Connection, slot: str) -> Release | None:
    """The open release of a prompt's label, where there is one."""
    return _one(connection, tables.release.c.open_slot == slot)


def active_at(connection: sa.Connection, slot: str) -> Release | None:
    """The active release of a prompt's label, where there is one."""
    return _one(connection, tables.release.c.active_slot == slot)


def running(connection: sa.Connection) -> list[Release]:
    """Releases in canary."""
    query = sa.select(tables.release).where(tables.release.c.state == "canary").order_by(tables.release.c.id)
    return [_release(row) for row in connection.execute(query).mappings()]


def page(
    connection: sa.Connection,
    *,
    reach: sa.ColumnElement[bool],
    project: str = "",
    prompt: str = "",
    label: str = "",
    state: str = "",
    after: str = "",
    limit: int = 100,
) -> list[Release]:
    """Releases within ``reach``, oldest first, from behind ``after``."""
    table = tables.release
    query = sa.select(table).where(reach)
    pairs = ((table.c.project, project), (table.c.prompt, prompt), (table.c.label, label), (table.c.state, state))
    for column, wanted in pairs:
        if wanted:
            query = query.where(column == wanted)
    if after:
        query = query.where(table.c.id > after)
    return [_release(row) for row in connection.execute(query.order_by(table.c.id).limit(limit)).mappings()]


def evidence(connection: sa.Connection, release_id: str) -> tuple[Evidence, ...]:
    """What was attached, oldest first."""
    table = tables.release_evidence
    query = sa.select(table).where(table.c.release_id == release_id).order_by(table.c.number)
    return tuple(
        Evidence(**{name: row[name] for name in Evidence.__struct_fields__})
        for row in connection.execute(query).mappings()
    )


def add_evidence(connection: sa.Connection, release_id: str, one: Evidence) -> None:
    """Attach a piece of evidence."""
    connection.execute(tables.release_evidence.insert(), {**msgspec.structs.asdict(one), "release_id": release_id})


def came_into_force(connection: sa.Connection, releases: Sequence[str]) -> dict[str, int]:
    """When each of these releases was active for the first time, UTC microseconds; without those that never were."""
    table = tables.release_event
    query = sa.select(table.c.release_id, sa.func.min(table.c.at).label("at"))
    query = query.where(table.c.release_id.in_(releases), table.c.state == ACTIVE).group_by(table.c.release_id)
    return {row.release_id: row.at for row in connection.execute(query)}


def history(connection: sa.Connection, release_id: str) -> tuple[Event, ...]:
    """What happened, oldest first."""
    table = tables.release_event
    query = sa.select(table).where(table.c.release_id == release_id).order_by(table.c.number)
    return tuple(
        Event(**{name: row[name] for name in Event.__struct_fields__}) for row in connection.execute(query).mappings()
    )


def add_event(connection: sa.Connection, release_id: str, event: Event) -> None:
    """Write down what happened; its ``number`` is set here."""
    table = tables.release_event
    query = sa.select(sa.func.max(table.c.number)).where(table.c.release_id == release_id)
    last = connection.execute(query).scalar() or 0
    row = {**msgspec.structs.asdict(event), "number": last + 1, "release_id": release_id}
    connection.execute(table.insert(), row)


def frozen(standing: Release) -> Conflict:
    """A second release of the same prompt and label: told what the first one is doing."""
    at = f", step {standing.step + 1} of {len(standing.plan.steps)}" if standing.share else ""
    return Conflict(
        f"The label {standing.label!r} of {standing.prompt!r} is held by the release {standing.id} "
        f"(version {standing.number}, {standing.state}{at}).",
        code="release_open",
        hint="Promote, roll back, reject or withdraw that one first.",
    )


def unknown(release_id: str) -> NotFound:
    """The same words for what is not there and what is out of reach."""
    return NotFound(f"There is no release {release_id[:80]!r}.", code="release_not_found")


def _one(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Release | None:
    row = connection.execute(sa.select(tables.release).where(condition)).mappings().first()
    return None if row is None else _release(row)


def _id(text: str) -> bool:
    return ids.is_id(text)


def _row(release: Release) -> dict[str, object]:
    return {
        **msgspec.structs.asdict(release),
        "plan": msgspec.to_builtins(release.plan),
        "gates": list(release.gates),
        "open_slot": release.slot if release.state in OPEN else None,
        "active_slot": release.slot if release.state == ACTIVE else None,
    }


def _release(row: Mapping[Any, Any]) -> Release:
    values = {name: row[name] for name in Release.__struct_fields__}
    values["plan"] = msgspec.convert(values["plan"], Plan)
    values["gates"] = tuple(values["gates"])
    return Release(**values)
