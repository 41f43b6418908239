"""Rows to structs and back; every change of a case goes through :func:`change`, which notices who was quicker."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.access import Actor, SystemActor, permissions
from ostinato.cases import tables
from ostinato.cases.model import OPEN, Action, Case, Event, Handled
from ostinato.core import ids
from ostinato.core.errors import Conflict, NotFound


def digest(key: str) -> str:
    """What stands for an alarm's key in the tables."""
    return hashlib.sha256(key.encode()).hexdigest()


def insert(connection: sa.Connection, case: Case) -> None:
    """Write a new case. The database raises ``Conflict`` where one of the same key is open."""
    connection.execute(tables.case.insert(), _row(case))


def change(connection: sa.Connection, case: Case, **changes: Any) -> Case:
    """``case`` with ``changes``, one version further. Raises ``Conflict`` if it is not the one that stands."""
    table = tables.case
    changed = msgspec.structs.replace(case, **changes, version=case.version + 1)
    result = connection.execute(
        table.update().where(table.c.id == case.id, table.c.version == case.version).values(**_row(changed))
    )
    if result.rowcount != 1:
        raise Conflict(
            f"Somebody changed the case {case.id} at the same moment.",
            code="version_moved",
            hint="Look again, then repeat.",
        )
    return changed


def join(connection: sa.Connection, case: Case, at: int, latest: Mapping[str, object]) -> None:
    """Count one more alarm. No change of state, so no new version."""
    table = tables.case
    connection.execute(
        table.update()
        .where(table.c.id == case.id)
        .values(
            alarms=table.c.alarms + 1,
            last_at=sa.case((table.c.last_at < at, at), else_=table.c.last_at),
            latest=dict(latest),
        )
    )


def find(connection: sa.Connection, case_id: str, *, lock: bool = False) -> Case:
    """One case. Raises ``NotFound``."""
    query = sa.select(tables.case).where(tables.case.c.id == case_id)
    found = _one(connection, query.with_for_update() if lock else query) if ids.is_id(case_id) else None
    if found is None:
        raise unknown(case_id)
    return found


def open_at(connection: sa.Connection, key: str) -> Case | None:
    """The open case of a key, held until the end of this transaction."""
    return _one(connection, sa.select(tables.case).where(tables.case.c.open_key == key).with_for_update())


def last_at(connection: sa.Connection, key: str) -> Case | None:
    """The newest case of a key, held until the end of this transaction."""
    table = tables.case
    query = sa.select(table).where(table.c.key == key).order_by(table.c.opened_at.desc(), table.c.id.desc()).limit(1)
    return _one(connection, query.with_for_update())


def count_open(connection: sa.Connection, org: str, project: str) -> int:
    """How many cases a project has open."""
    table = tables.case
    query = sa.select(sa.func.count()).where(
        table.c.open_key.is_not(None), table.c.org == org, table.c.project == project
    )
    return connection.execute(query).scalar() or 0


def standing(connection: sa.Connection, states: Iterable[str]) -> list[Case]:
    """Cases in these states, the oldest first."""
    table = tables.case
    query = sa.select(table).where(table.c.state.in_(list(states))).order_by(table.c.id).limit(5_000)
    return [_case(row) for row in connection.execute(query).mappings()]


def began_runs(connection: sa.Connection, runs: Collection[str]) -> dict[str, int]:
    """When the cases were opened (UTC microseconds) whose actions began these optimization runs."""
    action, case = tables.action, tables.case
    query = sa.select(action.c.facts, case.c.opened_at).select_from(action.join(case, action.c.case == case.c.id))
    query = query.where(action.c.name == "start-optimization", action.c.executed_at.is_not(None))
    found: dict[str, int] = {}
    for facts, opened_at in connection.execute(query):
        run = facts.get("run")
        if run in runs and not facts.get("already"):
            found[run] = min(opened_at, found.get(run, opened_at))
    return found


def handled(
    connection: sa.Connection, org: str, project: str, intent: str, since: int, until: int, kinds: Collection[str]
) -> list[Handled]:
    """The newest 5,000 cases of these kinds that were opened from ``since`` to before ``until``; what is empty is not
    asked for."""
    case, action = tables.case, tables.action
    done = sa.select(sa.func.min(action.c.executed_at)).where(action.c.case == case.c.id, action.c.state == "done")
    query = sa.select(
        case.c.detector, case.c.first_at, case.c.opened_at, done.scalar_subquery().label("contained"), case.c.state
    )
    query = query.where(case.c.org == org, case.c.kind.in_(list(kinds)))
    query = query.where(case.c.opened_at >= since, case.c.opened_at < until)
    for column, wanted in ((case.c.project, project), (case.c.intent, intent)):
        query = query.where(column == wanted) if wanted else query
    return [
        Handled(detector=detector, began=min(began, opened), opened=opened, contained=contained, state=state)
        for detector, began, opened, contained, state in connection.execute(
            query.order_by(case.c.id.desc()).limit(5_000)
        )
    ]


def page(
    connection: sa.Connection,
    actor: Actor,
    *,
    project: str = "",
    state: str = "",
    kind: str = "",
    intent: str = "",
    severity: str = "",
    overdue: bool | None = None,
    after: str = "",
    limit: int = 100,
) -> list[Case]:
    """Cases within the actor's reach, the newest first, from behind ``after``. ``state``: ``open`` for all of those."""
    table = tables.case
    query = sa.select(table).where(reach(actor, table))
    if state:
        query = query.where(table.c.open_key.is_not(None) if state == "open" else table.c.state == state)
    if overdue is not None:
        query = query.where(table.c.overdue == overdue)
    for column, wanted in (
        (table.c.project, project),
        (table.c.kind, kind),
        (table.c.intent, intent),
        (table.c.severity, severity),
    ):
        if wanted:
            query = query.where(column == wanted)
    if after:
        query = query.where(table.c.id < after)
    return [_case(row) for row in connection.execute(query.order_by(table.c.id.desc()).limit(limit)).mappings()]


def add_action(connection: sa.Connection, action: Action) -> None:
    """Write a new action."""
    connection.execute(tables.action.insert(), msgspec.structs.asdict(action))


def change_action(connection: sa.Connection, action: Action, **changes: Any) -> Action:
    """``action`` with ``changes``. Its case is held meanwhile."""
    changed = msgspec.structs.replace(action, **changes)
    table = tables.action
    connection.execute(table.update().where(table.c.id == action.id).values(**msgspec.structs.asdict(changed)))
    return changed


def find_action(connection: sa.Connection, action_id: str) -> Action | None:
    """One action."""
    row = connection.execute(sa.select(tables.action).where(tables.action.c.id == action_id)).mappings().first()
    return None if row is None else _action(row)


def actions(connection: sa.Connection, case_id: str) -> tuple[Action, ...]:
    """What was proposed in a case, oldest first."""
    table = tables.action
    query = sa.select(table).where(table.c.case == case_id).order_by(table.c.proposed_at, table.c.id)
    return tuple(_action(row) for row in connection.execute(query).mappings())


def add_event(connection: sa.Connection, case_id: str, event: Event) -> None:
    """Write down what happened; its ``number`` is set here."""
    table = tables.event
    last = connection.execute(sa.select(sa.func.max(table.c.number)).where(table.c.case == case_id)).scalar() or 0
    row = {**msgspec.structs.asdict(event), "number": last + 1, "case": case_id, "untold": True}
    connection.execute(table.insert(), row)


def events(connection: sa.Connection, case_id: str) -> tuple[Event, ...]:
    """What happened to a case, oldest first."""
    query = sa.select(tables.event).where(tables.event.c.case == case_id).order_by(tables.event.c.number)
    return tuple(_event(row) for row in connection.execute(query).mappings())


def untold(connection: sa.Connection, limit: int = 200) -> list[tuple[Case, Event]]:
    """Events that nobody has been told of, the oldest first."""
    table = tables.event
    query = sa.select(table).where(table.c.untold.is_(True)).order_by(table.c.at, table.c.case, table.c.number)
    rows = connection.execute(query.limit(limit)).mappings().all()
    known = {case_id: find(connection, case_id) for case_id in {row["case"] for row in rows}}
    return [(known[row["case"]], _event(row)) for row in rows]


def told(connection: sa.Connection, done: Sequence[tuple[str, int]]) -> None:
    """Note that events were told: case and number of each."""
    table = tables.event
    for case_id, number in done:
        connection.execute(table.update().where(table.c.case == case_id, table.c.number == number).values(untold=None))


def reaches(actor: Actor, org: str, project: str) -> bool:
    """Whether something of this project exists for the actor at all; no project: the organization's, or everybody's."""
    if isinstance(actor, SystemActor) or permissions.allows(actor, "organizations:write"):
        return True
    if not org or org != actor.org:
        return False
    return project == actor.project or permissions.allows(actor, "projects:write")


def reach(actor: Actor, table: sa.Table) -> sa.ColumnElement[bool]:
    """The same as a condition on a table."""
    if isinstance(actor, SystemActor) or permissions.allows(actor, "organizations:write"):
        return sa.true()
    if permissions.allows(actor, "projects:write"):
        return table.c.org == actor.org
    return sa.and_(table.c.org == actor.org, table.c.project == actor.project)


def unknown(case_id: str) -> NotFound:
    """The same words for what is not there and what is out of reach."""
    return NotFound(
        f"There is no case {case_id[:80]!r}.", code="case_not_found", hint="`ostinato cases list` shows all."
    )


def _one(connection: sa.Connection, query: sa.Select[Any]) -> Case | None:
    row = connection.execute(query).mappings().first()
    return None if row is None else _case(row)


def _row(case: Case) -> dict[str, object]:
    return {**msgspec.structs.asdict(case), "open_key": case.key if case.state in OPEN else None}


def _case(row: Mapping[Any, Any]) -> Case:
    return msgspec.convert({name: row[name] for name in Case.__struct_fields__}, Case)


def _action(row: Mapping[Any, Any]) -> Action:
    return msgspec.convert({name: row[name] for name in Action.__struct_fields__}, Action)


def _event(row: Mapping[Any, Any]) -> Event:
    return msgspec.convert({name: row[name] for name in Event.__struct_fields__}, Event)
