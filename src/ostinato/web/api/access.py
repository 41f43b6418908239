"""``/organizations``, ``/projects``, ``/keys``, ``/whoami``."""

from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get, patch, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato.access import Binding, Grant, KeyChanges, MoneyBudget, ProjectChanges, RateLimit, Rule, principal_of
from ostinato.access.leases import BudgetState
from ostinato.access.model import ApiKey, Organization, Project
from ostinato.access.permissions import ROLES, of_role
from ostinato.core.errors import Invalid
from ostinato.web.api.guarding import ANY_KEY, PERMISSION, caller_of
from ostinato.web.api.idempotency import SECRET
from ostinato.web.api.paging import After, Limit, Page, page
from ostinato.web.api.plane import ControlPlane

Req = Request[Any, Any, Any]

Version = Annotated[int | None, QueryParameter(description="The version that you saw; 409 if it moved on.")]


class NewOrganization(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    name: str


class NewProject(msgspec.Struct, forbid_unknown_fields=True):
    key: str
    name: str
    organization: str | None = None
    store_text: bool = False
    budget: MoneyBudget | None = None


class NewKey(msgspec.Struct, forbid_unknown_fields=True):
    """Left out, a limit is as wide as the creator's own."""

    name: str
    project: str | None = None
    role: str | None = None
    """A name of `GET /roles`; or list ``permissions``. Neither: a service's, as far as the creator has them."""
    permissions: frozenset[str] | None = None
    allowed_models: frozenset[str] | None = None
    end_user_required: bool = False
    may_act_for_users: bool = True
    rate: RateLimit | None = None
    budget: MoneyBudget | None = None
    expires_at: int | None = None
    """UTC microseconds."""
    allowed_intents: frozenset[str] | None = None
    """Intents whose prompts it may use."""
    principal: str | None = None
    """Whom it is issued for, by id or short name: in another's name only with ``principals:write``. Left out: whoever
    stands behind the creator."""


class NewSecret(msgspec.Struct):
    """A key with its secret, which is shown this once."""

    key: ApiKey
    secret: str


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    grace_seconds: float = 0.0
    """How long the old secret goes on working."""


class Identity(msgspec.Struct):
    key_id: str
    prefix: str
    name: str
    org: str
    project: str
    permissions: list[str]
    """What it may do now, at least on some resources."""
    principal: str
    """Who stands behind it: ``principal:ID``, or the first key of its line where nobody is registered for it."""
    roles: list[str]
    """Seed roles that it has whole, the largest first."""
    rules: list[Rule]
    """Where a permission is limited to some resources, or denied on them."""
    bindings: list[Binding]
    """What is bound to its principal."""
    allowed_models: frozenset[str] | None
    allowed_intents: frozenset[str] | None
    expires_at: int | None
    breakglass_until: int | None
    """Until when it has every right of the organization, UTC microseconds; ``null``: it has its own only."""


def plane_of(request: Req) -> ControlPlane:
    """The process that the request came to."""
    plane: ControlPlane = request.app.state.plane
    return plane


@get("/whoami", opt={PERMISSION: ANY_KEY})
async def whoami(request: Req) -> Identity:
    """The key that asks, as the server knows it."""
    caller = caller_of(request)
    held = [name for name, role in ROLES.items() if role <= caller.permissions]
    return Identity(
        key_id=caller.key_id,
        prefix=caller.key_prefix,
        name=caller.name,
        org=caller.org,
        project=caller.project,
        permissions=sorted(caller.permissions),
        principal=principal_of(caller),
        roles=sorted(held, key=lambda name: (-len(ROLES[name]), name)),
        rules=list(caller.rules),
        bindings=plane_of(request).access.bound(caller),
        allowed_models=caller.allowed_models,
        allowed_intents=caller.allowed_intents,
        expires_at=caller.expires_at,
        breakglass_until=None if caller.glass is None else caller.glass.ends_at,
    )


@get("/organizations", opt={PERMISSION: "projects:read"})
async def list_organizations(request: Req) -> list[Organization]:
    """The organizations that the key reaches."""
    return await plane_of(request).access.list_organizations(caller_of(request))


@post("/organizations", opt={PERMISSION: "organizations:write"})
async def create_organization(request: Req, data: JSONBody[NewOrganization]) -> Organization:
    """A new organization."""
    return await plane_of(request).access.create_organization(caller_of(request), data.key, data.name)


@get("/projects", opt={PERMISSION: "projects:read"})
async def list_projects(request: Req, organization: FromQuery[str | None] = None) -> list[Project]:
    """The projects that the key reaches."""
    return await plane_of(request).access.list_projects(caller_of(request), organization)


@post("/projects", opt={PERMISSION: "projects:write"})
async def create_project(request: Req, data: JSONBody[NewProject]) -> Project:
    """A new project."""
    return await plane_of(request).access.create_project(
        caller_of(request),
        data.key,
        data.name,
        organization=data.organization,
        store_text=data.store_text,
        budget=data.budget,
    )


@get("/projects/{ref:str}", opt={PERMISSION: "projects:read"})
async def show_project(request: Req, ref: FromPath[str]) -> Project:
    """One project, by id or short name."""
    return await plane_of(request).access.show_project(caller_of(request), ref)


@patch("/projects/{ref:str}", opt={PERMISSION: "projects:write"})
async def update_project(
    request: Req, ref: FromPath[str], data: JSONBody[ProjectChanges], version: Version = None
) -> Project:
    """Change a project; what is left out stays."""
    return await plane_of(request).access.update_project(caller_of(request), ref, data, version)


@get("/projects/{ref:str}/budget", opt={PERMISSION: "projects:read"})
async def project_budget(request: Req, ref: FromPath[str]) -> BudgetState:
    """What a project has spent of its budget."""
    return await plane_of(request).access.project_budget(caller_of(request), ref)


@get("/keys", opt={PERMISSION: "keys:read"})
async def list_keys(
    request: Req,
    project: FromQuery[str | None] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[ApiKey]:
    """The keys that the key reaches, oldest first, a page at a time."""
    items = await plane_of(request).access.list_keys(caller_of(request), project=project, after=after, limit=limit)
    return page(items, limit, lambda key: key.id)


@post("/keys", opt={PERMISSION: "keys:write", SECRET: True})
async def create_key(request: Req, data: JSONBody[NewKey]) -> NewSecret:
    """A new key, which can do no more than its creator. Its secret is in the answer, and nowhere afterwards."""
    if data.role is not None and data.permissions is not None:
        raise Invalid("A key takes a role or permissions, not both.", param="permissions")
    permissions = of_role(data.role) if data.role is not None else data.permissions
    grant = Grant(
        permissions=permissions,
        allowed_models=data.allowed_models,
        end_user_required=data.end_user_required,
        may_act_for_users=data.may_act_for_users,
        rate=data.rate,
        budget=data.budget,
        expires_at=data.expires_at,
        allowed_intents=data.allowed_intents,
    )
    key, secret = await plane_of(request).access.create_key(
        caller_of(request), data.name, grant, data.project, data.principal
    )
    return NewSecret(key, secret)


@get("/keys/{ref:str}", opt={PERMISSION: "keys:read"})
async def show_key(request: Req, ref: FromPath[str]) -> ApiKey:
    """One key, by id or prefix."""
    return await plane_of(request).access.show_key(caller_of(request), ref)


@patch("/keys/{ref:str}", opt={PERMISSION: "keys:write"})
async def update_key(request: Req, ref: FromPath[str], data: JSONBody[KeyChanges], version: Version = None) -> ApiKey:
    """Change a key; what is left out stays."""
    return await plane_of(request).access.update_key(caller_of(request), ref, data, version)


@delete("/keys/{ref:str}", opt={PERMISSION: "keys:write"}, status_code=200)
async def revoke_key(request: Req, ref: FromPath[str]) -> ApiKey:
    """Revoke a key: at once here, within two seconds in every other process."""
    return await plane_of(request).access.revoke_key(caller_of(request), ref)


@post("/keys/{ref:str}/rotate", opt={PERMISSION: "keys:write", SECRET: True})
async def rotate_key(request: Req, ref: FromPath[str], data: JSONBody[Rotation | None] = None) -> NewSecret:
    """A new secret in place of a key's old one."""
    grace = data.grace_seconds if data is not None else 0.0
    key, secret = await plane_of(request).access.rotate_key(caller_of(request), ref, grace)
    return NewSecret(key, secret)


@get("/keys/{ref:str}/budget", opt={PERMISSION: "keys:read"})
async def key_budget(request: Req, ref: FromPath[str]) -> BudgetState:
    """What a key has spent of its budget."""
    return await plane_of(request).access.key_budget(caller_of(request), ref)


HANDLERS = (
    whoami,
    list_organizations,
    create_organization,
    list_projects,
    create_project,
    show_project,
    update_project,
    project_budget,
    list_keys,
    create_key,
    show_key,
    update_key,
    revoke_key,
    rotate_key,
    key_budget,
)
