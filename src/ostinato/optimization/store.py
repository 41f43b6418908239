"""Runs: rows to structs and back; every change goes through :func:`change`, which notices who was quicker."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.access import Actor, Resource, SystemActor, permissions
from ostinato.core import ids
from ostinato.core.errors import Conflict, NotFound
from ostinato.optimization import tables
from ostinato.optimization.run import OPEN, Run, RunPlan, Wish


def insert(connection: sa.Connection, run: Run) -> None:
    """Write a new run. Raises ``Conflict`` telling of the one that is open on the same prompt."""
    refuse_second(connection, run.slot)
    connection.execute(tables.run.insert(), _row(run))


def refuse_second(connection: sa.Connection, slot: str) -> None:
    """Raise ``Conflict`` where a run on the same prompt is open."""
    standing = _one(connection, tables.run.c.open_slot == slot)
    if standing is not None:
        raise Conflict(
            f"A run on {standing.prompt!r} is open already: {standing.sentence}",
            code="run_open",
            hint=f"Wait for it, or end it: ostinato optimize cancel {standing.id}",
        )


def change(connection: sa.Connection, run: Run, **changes: Any) -> Run:
    """``run`` with ``changes``, one version further. Raises ``Conflict`` if it is not the one that stands."""
    table = tables.run
    changed = msgspec.structs.replace(run, **changes, version=run.version + 1)
    result = connection.execute(
        table.update().where(table.c.id == run.id, table.c.version == run.version).values(**_row(changed))
    )
    if result.rowcount != 1:
        raise Conflict(
            f"Somebody changed the run {run.id} at the same moment.",
            code="version_moved",
            hint="Look again, then repeat.",
        )
    return changed


def find(connection: sa.Connection, run_id: str, *, lock: bool = False) -> Run:
    """One run. ``lock``: nobody else changes it until this transaction ends. Raises ``NotFound``."""
    query = sa.select(tables.run).where(tables.run.c.id == run_id)
    row = None
    if ids.is_id(run_id):
        row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    if row is None:
        raise unknown(run_id)
    return _run(row)


def page(
    connection: sa.Connection,
    *,
    reach: sa.ColumnElement[bool],
    project: str = "",
    prompt: str = "",
    state: str = "",
    after: str = "",
    limit: int = 100,
) -> Sequence[Run]:
    """Runs, oldest first, from behind ``after``."""
    table = tables.run
    query = sa.select(table).where(reach)
    for column, value in ((table.c.project, project), (table.c.prompt, prompt), (table.c.state, state)):
        if value:
            query = query.where(column == value)
    if after:
        query = query.where(table.c.id > after)
    return [_run(row) for row in connection.execute(query.order_by(table.c.id).limit(limit)).mappings()]


def versions(connection: sa.Connection, project: str, states: Sequence[str], since: int) -> set[tuple[str, int]]:
    """Prompts and versions that runs of these states were made on since a moment."""
    table = tables.run
    query = sa.select(table.c.prompt, table.c.base_number).distinct()
    query = query.where(table.c.project == project, table.c.state.in_(states), table.c.created_at >= since)
    return {(row.prompt, row.base_number) for row in connection.execute(query)}


def behind(connection: sa.Connection, releases: Sequence[str]) -> dict[str, tuple[str, int]]:
    """The run that proposed each of these releases, and when it began (UTC microseconds)."""
    table = tables.run
    query = sa.select(table.c.release, table.c.id, table.c.created_at).where(table.c.release.in_(releases))
    return {row.release: (row.id, row.created_at) for row in connection.execute(query)}


def unknown(run_id: str) -> NotFound:
    """The same words for what is not there and what is out of reach."""
    return NotFound(
        f"There is no optimization run {run_id[:80]!r}.",
        code="run_not_found",
        hint="`ostinato optimize list` shows those that the key reaches.",
    )


def resource(run: Run) -> Resource:
    """What rules of permissions are matched against."""
    return Resource(project=run.project, prompt=run.prompt, label=run.label, intent=run.intent)


def reaches(actor: Actor, run: Run) -> bool:
    """Whether the run exists for the actor at all."""
    if isinstance(actor, SystemActor) or permissions.allows(actor, "organizations:write"):
        return True
    if run.org != actor.org:
        return False
    return run.project == actor.project or permissions.allows(actor, "projects:write")


def reach(actor: Actor) -> sa.ColumnElement[bool]:
    """The same as a condition on the table."""
    table = tables.run
    if isinstance(actor, SystemActor) or permissions.allows(actor, "organizations:write"):
        return sa.true()
    if permissions.allows(actor, "projects:write"):
        return table.c.org == actor.org
    return sa.and_(table.c.org == actor.org, table.c.project == actor.project)


def _one(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> Run | None:
    row = connection.execute(sa.select(tables.run).where(condition)).mappings().first()
    return None if row is None else _run(row)


def _row(run: Run) -> dict[str, object]:
    return {
        **msgspec.structs.asdict(run),
        "wish": msgspec.to_builtins(run.wish),
        "plan": msgspec.to_builtins(run.plan),
        "open_slot": run.slot if run.state in OPEN else None,
    }


def _run(row: Mapping[Any, Any]) -> Run:
    values = {name: row[name] for name in Run.__struct_fields__}
    values["wish"] = msgspec.convert(values["wish"], Wish)
    values["plan"] = msgspec.convert(values["plan"], RunPlan)
    return Run(**values)
