"""People and services: create, list, show, rename, disable. Each function runs inside a transaction that is open."""

from collections.abc import Sequence
from typing import Literal

import msgspec
import sqlalchemy as sa

from ostinato.access import authority, fields, manage, permissions, store, tables
from ostinato.access.change import Change
from ostinato.access.model import Actor, Principal, SystemActor, actor_name, principal_of
from ostinato.core import ids
from ostinato.core.errors import Conflict, Invalid, NotFound

KINDS: tuple[Literal["person", "service"], ...] = ("person", "service")
PAGE = 500


class PrincipalChanges(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a principal; what is left unset stays."""

    name: str | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET


def create(change: Change, key: str, name: str, kind: str, organization: str | None = None) -> Principal:
    """A new person or service. Raises :class:`Conflict` where the short name is taken."""
    permissions.require(change.actor, "principals:write")
    org = manage.home_organization(change.connection, change.actor, organization)
    value = Principal(
        id=ids.new(change.now),
        org_id=org.id,
        key=fields.short_name(key),
        kind=_kind(kind),
        name=fields.name(name),
        created_at=change.now,
        created_by=actor_name(change.actor),
    )
    table = tables.principal
    taken = sa.select(table.c.id).where(table.c.org_id == org.id, table.c.key == key)
    if change.connection.execute(taken).first() is not None:
        raise Conflict(f"There is already a principal {key!r}.", code="name_taken", hint="Choose another short name.")
    change.connection.execute(table.insert(), msgspec.structs.asdict(value))
    _note(change, "principals:create", None, value)
    return value


def list_all(
    connection: sa.Connection, actor: Actor, *, kind: str | None = None, after: str | None = None, limit: int = 100
) -> list[Principal]:
    """The principals that the actor reaches, oldest first; ``after``: id of the last one seen so far."""
    permissions.require(actor, "principals:read")
    fields.page(after, limit, PAGE)
    table = tables.principal
    query = sa.select(table).where(authority.visible_principals(actor)).order_by(table.c.id).limit(limit)
    if kind is not None:
        query = query.where(table.c.kind == _kind(kind))
    if after is not None:
        query = query.where(table.c.id > after)
    return [store.principal(row) for row in connection.execute(query).mappings()]


def show(connection: sa.Connection, actor: Actor, ref: str) -> Principal:
    """The principal with this id or short name."""
    permissions.require(actor, "principals:read")
    return find(connection, actor, ref)


def update(change: Change, ref: str, changes: PrincipalChanges, version: int | None = None) -> Principal:
    """The principal after ``changes``. A disabled one's keys are refused; what was made in other names goes on.

    With ``version``, raises :class:`Conflict` if somebody changed it meanwhile; also for who would disable themselves.
    """
    permissions.require(change.actor, "principals:write")
    old = find(change.connection, change.actor, ref)
    manage.expect(old.version, version, "principal")
    new = old
    if changes.name is not msgspec.UNSET:
        new = msgspec.structs.replace(new, name=fields.name(changes.name))
    if changes.disabled is not msgspec.UNSET and changes.disabled != (old.disabled_at is not None):
        if changes.disabled and principal_of(change.actor) == f"principal:{old.id}":
            raise Conflict(
                "This is who your own key stands for: disabling it would lock you out.",
                code="own_principal",
                hint="Let somebody else do it.",
            )
        new = msgspec.structs.replace(new, disabled_at=change.now if changes.disabled else None)
    if new == old:
        return old
    new = msgspec.structs.replace(new, version=old.version + 1)
    save(change.connection, new)
    action = "principals:update"
    if (new.disabled_at is None) != (old.disabled_at is None):
        action = "principals:enable" if new.disabled_at is None else "principals:disable"
    _note(change, action, old, new)
    return new


def find(connection: sa.Connection, actor: Actor, ref: str) -> Principal:
    """The principal that the actor means and reaches. No permission is asked for here."""
    ref = ref.removeprefix("principal:")
    table = tables.principal
    query = sa.select(table).where(authority.visible_principals(actor))
    if ids.is_id(ref):
        query = query.where(table.c.id == ref)
    else:
        query = query.where(table.c.key == ref)
        if not isinstance(actor, SystemActor):
            query = query.where(table.c.org_id == actor.org)
    rows: Sequence[sa.RowMapping] = ()
    if fields.could_be_a_name(ref):
        rows = connection.execute(query.limit(2)).mappings().all()
    if len(rows) > 1:
        raise Invalid(
            f"Several organizations have a principal {ref!r}.",
            code="ambiguous_principal",
            param="principal",
            hint="Name it by its id.",
        )
    if not rows:
        raise NotFound(
            f"There is no principal {ref[:70]!r}.",
            code="principal_not_found",
            param="principal",
            hint="`ostinato principals list` shows those there are; `ostinato principals create` registers one.",
        )
    return store.principal(rows[0])


def enabled(value: Principal) -> Principal:
    """The principal. Raises :class:`Conflict` where it is disabled."""
    if value.disabled_at is not None:
        raise Conflict(
            f"{value.name!r} is disabled.", code="principal_disabled", hint="Enable the principal before, if it should."
        )
    return value


def save(connection: sa.Connection, value: Principal) -> None:
    """Write a principal whose ``version`` was counted up; raises :class:`Conflict` if somebody was quicker."""
    table = tables.principal
    result = connection.execute(
        table.update()
        .where(table.c.id == value.id, table.c.version == value.version - 1)
        .values(**msgspec.structs.asdict(value))
    )
    if result.rowcount != 1:
        raise Conflict(
            "Somebody changed this principal since you looked.", code="version_moved", hint="Look, then repeat."
        )


def _kind(text: str) -> Literal["person", "service"]:
    for kind in KINDS:
        if kind == text:
            return kind
    raise Invalid(f"A principal is one of: {', '.join(KINDS)}; not {text[:40]!r}.", code="invalid_kind", param="kind")


def _note(change: Change, action: str, before: Principal | None, after: Principal) -> None:
    resource = f"principal:{after.id}"
    change.note(
        action,
        resource,
        org=after.org_id,
        before=before,
        after=after,
        facts={"kind": after.kind, "version": after.version},
        subject=resource,
    )
