"""Organizations and projects: create, list, show, change. Each function runs inside a transaction that is open.

The actor needs the permission and must reach the object; what it does not reach does not exist for it.
"""

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from ostinato.access import authority, fields, permissions, store, tables
from ostinato.access.change import Change
from ostinato.access.model import Actor, MoneyBudget, Organization, Project, SystemActor, actor_name
from ostinato.core import ids
from ostinato.core.errors import Conflict, Invalid, NotFound


class ProjectChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a project; what is left unset stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    store_text: bool | msgspec.UnsetType = msgspec.UNSET
    budget: MoneyBudget | msgspec.UnsetType | None = msgspec.UNSET


def create_organization(change: Change, key: str, name: str) -> Organization:
    """A new organization. Raises :class:`Conflict` where the short name is taken."""
    connection, actor, now = change.connection, change.actor, change.now
    permissions.require(actor, "organizations:write")
    value = Organization(
        id=ids.new(now),
        key=fields.short_name(key),
        name=fields.name(name),
        created_at=now,
        created_by=actor_name(actor),
        version=1,
    )
    taken = sa.select(tables.organization.c.id).where(tables.organization.c.key == key)
    if connection.execute(taken).first() is not None:
        raise _taken("an organization", key)
    connection.execute(tables.organization.insert(), msgspec.structs.asdict(value))
    change.note("organizations:create", f"organization:{value.id}", org=value.id, after=value, facts={"version": 1})
    return value


def list_organizations(connection: sa.Connection, actor: Actor) -> list[Organization]:
    """The organizations that the actor reaches, oldest first."""
    permissions.require(actor, "projects:read")
    query = sa.select(tables.organization).where(authority.visible_organizations(actor))
    rows = connection.execute(query.order_by(tables.organization.c.id)).mappings()
    return [store.organization(row) for row in rows]


def show_organization(connection: sa.Connection, actor: Actor, ref: str) -> Organization:
    """The organization with this id or short name."""
    permissions.require(actor, "projects:read")
    return _organization(connection, actor, ref)


def rename_organization(change: Change, ref: str, name: str, version: int | None = None) -> Organization:
    """The organization under another name; its short name stays."""
    connection, actor = change.connection, change.actor
    permissions.require(actor, "organizations:write")
    old = _organization(connection, actor, ref)
    expect(old.version, version, "organization")
    value = msgspec.structs.replace(old, name=fields.name(name), version=old.version + 1)
    table = tables.organization
    _updated(
        connection.execute(
            table.update()
            .where(table.c.id == value.id, table.c.version == value.version - 1)
            .values(name=value.name, version=value.version)
        ),
        "organization",
    )
    change.note(
        "organizations:update",
        f"organization:{value.id}",
        org=value.id,
        before=old,
        after=value,
        facts={"version": value.version},
    )
    return value


def create_project(
    change: Change,
    key: str,
    name: str,
    *,
    organization: str | None = None,
    store_text: bool = False,
    budget: MoneyBudget | None = None,
) -> Project:
    """A new project in the actor's organization, or in the one named. Raises :class:`Conflict` where taken."""
    connection, actor, now = change.connection, change.actor, change.now
    permissions.require(actor, "projects:write")
    org = home_organization(connection, actor, organization)
    value = Project(
        id=ids.new(now),
        org_id=org.id,
        key=fields.short_name(key),
        name=fields.name(name),
        store_text=store_text,
        budget=fields.budget(budget),
        created_at=now,
        created_by=actor_name(actor),
        version=1,
    )
    taken = sa.select(tables.project.c.id).where(tables.project.c.org_id == org.id, tables.project.c.key == key)
    if connection.execute(taken).first() is not None:
        raise _taken("a project", key)
    connection.execute(tables.project.insert(), store.project_row(value))
    change.note(
        "projects:create",
        f"project:{value.id}",
        org=value.org_id,
        project=value.id,
        after=value,
        facts={"version": 1, "store_text": int(store_text)},
    )
    return value


def home_organization(connection: sa.Connection, actor: Actor, ref: str | None) -> Organization:
    """The organization that the actor means and may act in; ``None``: its own. No permission is asked for here."""
    return _organization(connection, actor, _home(actor, "organization") if ref is None else ref, changing=True)


def list_projects(connection: sa.Connection, actor: Actor, organization: str | None = None) -> list[Project]:
    """The projects that the actor reaches, oldest first."""
    permissions.require(actor, "projects:read")
    query = sa.select(tables.project).where(authority.visible_projects(actor))
    if organization is not None:
        query = query.where(tables.project.c.org_id == _organization(connection, actor, organization).id)
    return [store.project(row) for row in connection.execute(query.order_by(tables.project.c.id)).mappings()]


def show_project(connection: sa.Connection, actor: Actor, ref: str) -> Project:
    """The project with this id, short name, or ``organization/project``."""
    permissions.require(actor, "projects:read")
    return find_project(connection, actor, ref)


def update_project(change: Change, ref: str, changes: ProjectChanges, version: int | None = None) -> Project:
    """The project after ``changes``. With ``version``, raises :class:`Conflict` if somebody changed it meanwhile."""
    connection, actor = change.connection, change.actor
    permissions.require(actor, "projects:write")
    old = find_project(connection, actor, ref)
    expect(old.version, version, "project")
    wanted = {k: v for k, v in msgspec.structs.asdict(changes).items() if v is not msgspec.UNSET}
    value = msgspec.structs.replace(old, **wanted, version=old.version + 1)
    value = msgspec.structs.replace(value, name=fields.name(value.name), budget=fields.budget(value.budget))
    table = tables.project
    _updated(
        connection.execute(
            table.update()
            .where(table.c.id == value.id, table.c.version == value.version - 1)
            .values(**store.project_row(value))
        ),
        "project",
    )
    change.note(
        "projects:update",
        f"project:{value.id}",
        org=value.org_id,
        project=value.id,
        before=old,
        after=value,
        facts={"version": value.version, "store_text": int(value.store_text)},
    )
    return value


def find_project(connection: sa.Connection, actor: Actor, ref: str | None) -> Project:
    """The project that the actor means and reaches; ``None``: its own. No permission is asked for here."""
    if ref is None:
        ref = _home(actor, "project")
    table = tables.project
    query = sa.select(table).where(authority.visible_projects(actor))
    if ids.is_id(ref):
        query = query.where(table.c.id == ref)
    elif "/" in ref:
        org, _, key = ref.partition("/")
        query = query.join(tables.organization).where(tables.organization.c.key == org, table.c.key == key)
    elif isinstance(actor, SystemActor):
        query = query.where(table.c.key == ref)
    else:
        query = query.where(table.c.key == ref, table.c.org_id == actor.org)
    rows: Sequence[sa.RowMapping] = ()
    if fields.could_be_a_name(ref):
        rows = connection.execute(query.limit(2)).mappings().all()
    if len(rows) > 1:
        raise Invalid(
            f"Several organizations have a project {ref!r}.",
            code="ambiguous_project",
            param="project",
            hint="Name it as organization/project.",
        )
    if not rows:
        raise NotFound(
            f"There is no project {ref[:130]!r}.",
            code="project_not_found",
            param="project",
            hint="`ostinato projects list` shows those that the key reaches.",
        )
    return store.project(rows[0])


def expect(actual: int, expected: int | None, what: str) -> None:
    """Raise :class:`Conflict` if the caller looked at another version of the object."""
    if expected is not None and expected != actual:
        raise _moved(what)


def _organization(connection: sa.Connection, actor: Actor, ref: str, *, changing: bool = False) -> Organization:
    table = tables.organization
    query = sa.select(table).where(table.c.id == ref if ids.is_id(ref) else table.c.key == ref)
    query = query.where(authority.visible_organizations(actor))
    row = connection.execute(query).mappings().first() if fields.could_be_a_name(ref) else None
    # Seeing all organizations is not acting in them.
    elsewhere = row is not None and not isinstance(actor, SystemActor) and row["id"] != actor.org
    if row is None or (changing and elsewhere and not permissions.allows(actor, "organizations:write")):
        raise NotFound(f"There is no organization {ref[:70]!r}.", code="organization_not_found", param="organization")
    return store.organization(row)


def _home(actor: Actor, what: str) -> str:
    if isinstance(actor, SystemActor):
        raise Invalid(f"Name the {what}.", code="missing_field", param=what)
    return actor.org if what == "organization" else actor.project


def _taken(what: str, key: str) -> Conflict:
    return Conflict(f"There is already {what} {key!r}.", code="name_taken", hint="Choose another short name.")


def _moved(what: str) -> Conflict:
    return Conflict(
        f"Somebody changed this {what} since you looked.", code="version_moved", hint="Look again, then repeat."
    )


def _updated(result: sa.CursorResult[tuple[object, ...]], what: str) -> None:
    if result.rowcount != 1:
        raise _moved(what)
