"""``/principals``, ``/roles``, ``/bindings``, ``/breakglass``: who there is, what they may do, and who took it all."""

import msgspec
from litestar import delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody

from ostinato.access import Binding, BreakGlass, Principal, PrincipalChanges, Wanted, permissions
from ostinato.web.api.access import Req, Version, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page


class NewPrincipal(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    """Short name, unique in the organization."""
    name: str
    kind: str = "person"
    """``person`` or ``service``."""
    organization: str | None = None


class Role(msgspec.Struct):
    """A named set of permissions. There are these and no others; what fits none is bound as a list."""

    name: str
    permissions: list[str]


class Roles(msgspec.Struct):
    """The page that says what there is to be allowed."""

    roles: list[Role]
    permissions: dict[str, str]
    """Every permission, and what it is for."""
    judged: dict[str, list[str]]
    """By what a permission can be limited beside the project; those that are not here, by nothing else."""


class Breaking(msgspec.Struct, forbid_unknown_fields=True):
    reason: str
    """At least ten characters; everybody will see it."""
    minutes: int = 15
    """1 to 60."""


@get("/principals", opt={PERMISSION: "principals:read"})
async def list_principals(
    request: Req, kind: FromQuery[str | None] = None, after: After = None, limit: Limit = 100
) -> Page[Principal]:
    """People and services of the organization, oldest first."""
    found = await plane_of(request).access.list_principals(caller_of(request), kind=kind, after=after, limit=limit)
    return page(found, limit, lambda one: one.id)


@post("/principals", opt={PERMISSION: "principals:write"})
async def create_principal(request: Req, data: JSONBody[NewPrincipal]) -> Principal:
    """A new person or service. It can do nothing until a key is issued for it."""
    return await plane_of(request).access.create_principal(
        caller_of(request), data.key, data.name, data.kind, data.organization
    )


@get("/principals/{ref:str}", opt={PERMISSION: "principals:read"})
async def show_principal(request: Req, ref: FromPath[str]) -> Principal:
    """One person or service, by id or short name."""
    return await plane_of(request).access.show_principal(caller_of(request), ref)


@patch("/principals/{ref:str}", opt={PERMISSION: "principals:write"})
async def update_principal(
    request: Req, ref: FromPath[str], data: JSONBody[PrincipalChanges], version: Version = None
) -> Principal:
    """Rename, disable or enable one. The keys of a disabled one stop within two seconds everywhere."""
    return await plane_of(request).access.update_principal(caller_of(request), ref, data, version)


@get("/roles", opt={PERMISSION: "roles:read"})
async def list_roles(request: Req) -> Roles:
    """All roles and permissions there are."""
    return Roles(
        [Role(name, sorted(held)) for name, held in permissions.ROLES.items()],
        permissions.DESCRIPTIONS,
        {name: sorted(fields - {"project"}) for name, fields in permissions.JUDGED.items() if fields - {"project"}},
    )


@get("/bindings", opt={PERMISSION: "roles:read"})
async def list_bindings(
    request: Req, principal: FromQuery[str | None] = None, after: After = None, limit: Limit = 100
) -> Page[Binding]:
    """What is bound to whom, oldest first; ended ones too, until they are removed."""
    found = await plane_of(request).access.list_bindings(
        caller_of(request), principal=principal, after=after, limit=limit
    )
    return page(found, limit, lambda one: one.id)


@post("/bindings", opt={PERMISSION: "roles:write"})
async def bind(request: Req, data: JSONBody[Wanted]) -> Binding:
    """Bind a role or permissions to a principal, or deny them; nothing that the key does not have itself."""
    return await plane_of(request).access.bind(caller_of(request), data)


@get("/bindings/{ref:str}", opt={PERMISSION: "roles:read"})
async def show_binding(request: Req, ref: FromPath[str]) -> Binding:
    """One binding, by id."""
    return await plane_of(request).access.show_binding(caller_of(request), ref)


@delete("/bindings/{ref:str}", opt={PERMISSION: "roles:write"}, status_code=200)
async def unbind(request: Req, ref: FromPath[str]) -> Binding:
    """Take a binding away. A principal that was ever allowed something by one is then left with the others."""
    return await plane_of(request).access.unbind(caller_of(request), ref)


@get("/breakglass", opt={PERMISSION: "principals:read"})
async def list_breakglass(request: Req, after: After = None, limit: Limit = 100) -> Page[BreakGlass]:
    """Every time that the glass was broken, oldest first."""
    found = await plane_of(request).access.list_glasses(caller_of(request), after=after, limit=limit)
    return page(found, limit, lambda one: one.id)


@post("/breakglass", opt={PERMISSION: "breakglass:use"})
async def break_glass(request: Req, data: JSONBody[Breaking]) -> BreakGlass:
    """Take every right of the organization for this key, for an hour at most. It cannot be given on, approves none of
    one's own requests, and everybody is told."""
    return await plane_of(request).access.break_glass(caller_of(request), data.reason, data.minutes)


@delete("/breakglass/{ref:str}", opt={PERMISSION: "breakglass:use"}, status_code=200)
async def end_breakglass(request: Req, ref: FromPath[str]) -> BreakGlass:
    """End it before its time."""
    return await plane_of(request).access.end_glass(caller_of(request), ref)


HANDLERS = (
    list_principals,
    create_principal,
    show_principal,
    update_principal,
    list_roles,
    list_bindings,
    bind,
    show_binding,
    unbind,
    list_breakglass,
    break_glass,
    end_breakglass,
)
