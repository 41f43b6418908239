"""Roles bound to principals, or denied to them. Each function runs inside a transaction that is open.

Nobody binds what they do not have themselves, nor frees anybody of a denial that would bind themselves: what a key may
do is at no time decided by a weaker one.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec
import sqlalchemy as sa

from ostinato.access import authority, fields, manage, permissions, principals, scoping, store, tables
from ostinato.access.change import Change
from ostinato.access.model import Actor, Binding, Principal, Resource, actor_name
from ostinato.core import ids
from ostinato.core.errors import Conflict, Invalid, LimitReached, NotFound

PAGE = 500
MOST = 200
"""Bindings that one principal may have."""

_NAME = 200


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A binding to be made: ``role`` or ``permissions``, on the organization or on what else is named."""

    principal: str
    """Id or short name."""
    role: str = ""
    permissions: frozenset[str] = frozenset()
    effect: Literal["allow", "deny"] = "allow"
    project: str = ""
    """Id or short name."""
    label: str = ""
    """A label, or the beginning of some with a ``*`` after it."""
    intent: str = ""
    prompt: str = ""
    expires_at: int | None = None
    """UTC microseconds."""


def bind(change: Change, wanted: Wanted) -> Binding:
    """A new binding. Raises :class:`Denied` where the actor has less than it would bind, :class:`Invalid` where a
    permission cannot be limited so, :class:`Conflict` where there is such a binding."""
    permissions.require(change.actor, "roles:write")
    principal = principals.enabled(principals.find(change.connection, change.actor, wanted.principal))
    on = _resource(change, principal, wanted)
    named = _named(wanted, on)
    authority.holds(change.actor, named, on)
    value = Binding(
        id=ids.new(change.now),
        org_id=principal.org_id,
        principal_id=principal.id,
        effect=wanted.effect,
        role=wanted.role,
        permissions=wanted.permissions,
        on=on,
        expires_at=fields.expiry(wanted.expires_at, change.now, "binding"),
        created_at=change.now,
        created_by=actor_name(change.actor),
    )
    _refuse_doubles(change, value)
    change.connection.execute(tables.role_binding.insert(), store.binding_row(value))
    if value.effect == "allow" and not principal.governed:
        principals.save(
            change.connection, msgspec.structs.replace(principal, governed=True, version=principal.version + 1)
        )
    _note(change, "roles:bind", None, value)
    return value


def unbind(change: Change, ref: str) -> Binding:
    """Take a binding away; the principal stays bound to the others, and to nothing if this was the last."""
    permissions.require(change.actor, "roles:write")
    value = _find(change.connection, change.actor, ref)
    authority.holds(change.actor, scoping.reached(value), value.on)
    change.connection.execute(tables.role_binding.delete().where(tables.role_binding.c.id == value.id))
    _note(change, "roles:unbind", value, None)
    return value


def list_all(
    connection: sa.Connection, actor: Actor, *, principal: str | None = None, after: str | None = None, limit: int = 100
) -> list[Binding]:
    """The bindings that the actor reaches, oldest first, ended ones too."""
    permissions.require(actor, "roles:read")
    fields.page(after, limit, PAGE)
    table = tables.role_binding
    query = sa.select(table).where(authority.visible_bindings(actor)).order_by(table.c.id).limit(limit)
    if principal is not None:
        query = query.where(table.c.principal_id == principals.find(connection, actor, principal).id)
    if after is not None:
        query = query.where(table.c.id > after)
    return [store.binding(row) for row in connection.execute(query).mappings()]


def show(connection: sa.Connection, actor: Actor, ref: str) -> Binding:
    """The binding with this id."""
    permissions.require(actor, "roles:read")
    return _find(connection, actor, ref)


def _find(connection: sa.Connection, actor: Actor, ref: str) -> Binding:
    table = tables.role_binding
    row = None
    if ids.is_id(ref):
        query = sa.select(table).where(authority.visible_bindings(actor)).where(table.c.id == ref)
        row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(f"There is no binding {ref[:70]!r}.", code="binding_not_found", param="binding")
    return store.binding(row)


def _resource(change: Change, principal: Principal, wanted: Wanted) -> Resource:
    project = ""
    if wanted.project:
        found = manage.find_project(change.connection, change.actor, wanted.project)
        if found.org_id != principal.org_id:
            raise Invalid(
                "The project and the principal belong to different organizations.",
                code="foreign_principal",
                param="project",
            )
        project = found.id
    return Resource(project, *(_pattern(wanted, name) for name in ("label", "intent", "prompt")))


def _pattern(wanted: Wanted, field: str) -> str:
    text: str = getattr(wanted, field)
    if text and (len(text) > _NAME or not text.isprintable() or "*" in text[:-1] or text != text.strip()):
        raise Invalid(
            f"The {field} must be a name of at most {_NAME} characters; a * may only stand at its end.",
            code="invalid_pattern",
            param=field,
        )
    return text


def _named(wanted: Wanted, on: Resource) -> frozenset[str]:
    """What is bound, all of which can be limited to ``on``."""
    if bool(wanted.role) == bool(wanted.permissions):
        raise Invalid("Bind either a role or a list of permissions.", code="invalid_binding", param="role")
    if wanted.role:
        named = scoping.within(permissions.of_role(wanted.role), on, wanted.effect)
        if not named:
            raise Invalid(
                f"Nothing of the role {wanted.role!r} can be limited to {permissions.described(on)}.",
                code="invalid_binding",
                param="role",
                hint="Bind it to a project or to the whole organization.",
            )
        return named
    listed = permissions.known(wanted.permissions)
    beyond = listed - scoping.within(listed, on, wanted.effect)
    if beyond:
        raise Invalid(
            f"This cannot be limited to {permissions.described(on)}: {', '.join(_some(beyond))}.",
            code="invalid_binding",
            param="permissions",
            hint="Bind it to a project or to the whole organization.",
        )
    return listed


def _some(names: Iterable[str]) -> list[str]:
    return sorted(names)[:5]


def _refuse_doubles(change: Change, value: Binding) -> None:
    table = tables.role_binding
    query = sa.select(table).where(table.c.principal_id == value.principal_id).limit(MOST + 1)
    standing = [store.binding(row) for row in change.connection.execute(query).mappings()]
    for one in standing:
        same = (one.effect, one.role, one.permissions, one.on) == (
            value.effect,
            value.role,
            value.permissions,
            value.on,
        )
        if same and one.live(change.now):
            raise Conflict(
                f"There is such a binding already: {one.id}.",
                code="already_bound",
                hint="Unbind it first to give it another end.",
            )
    if len(standing) >= MOST:
        raise LimitReached(
            f"This principal has {MOST} bindings, as many as one may.", code="too_many_bindings", hint="Unbind some."
        )


def _note(change: Change, action: str, before: Binding | None, after: Binding | None) -> None:
    value = after or before
    assert value is not None
    on = {f"on_{name}": text for name, text in msgspec.structs.asdict(value.on).items() if text}
    facts: dict[str, str | int] = {"binding": value.id, "effect": value.effect, **on}
    if value.role:
        facts["role"] = value.role
    else:
        facts["permissions"] = " ".join(sorted(value.permissions))
    if value.expires_at is not None:
        facts["expires_at"] = value.expires_at
    change.note(
        action,
        f"principal:{value.principal_id}",
        org=value.org_id,
        project=value.on.project,
        before=before,
        after=after,
        facts=facts,
        subject=f"principal:{value.principal_id}",
    )
