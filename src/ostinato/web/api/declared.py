"""``/targets``, and the declarations: ``/models``, ``/prices``, ``/policies``, ``/rules``.

A declaration is versioned and keeps its history. What the configuration file declares is read-only here. What holds for
everybody is seen by every key with the permission and changed by those that may act everywhere; what holds for one
project is seen and changed by those that reach the project, and does not exist for others.
"""

from collections.abc import Mapping
from typing import Annotated, Any, cast

import msgspec
from litestar import delete, get, put
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato.access import SystemActor
from ostinato.access.permissions import allows
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound
from ostinato.routing import TargetState
from ostinato.storage import Change, Declared
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.plane import ControlPlane

_EVERYWHERE = "organizations:write"
_LONGEST_NAME = 255

Expect = Annotated[int | None, QueryParameter(description="The version that you saw; 0: none yet.")]


class Alias(msgspec.Struct):
    alias: str
    kind: str
    strategy: str
    project: str
    targets: list[str]


class Targets(msgspec.Struct):
    providers: dict[str, str]
    """Name -> kind."""
    models: list[Alias]
    states: list[TargetState]


@get("/targets", opt={PERMISSION: "targets:read"})
async def list_targets(request: Req) -> Targets:
    """Providers, the models that they serve under which alias, and the state of every target's breaker."""
    plane, caller = plane_of(request), caller_of(request)
    catalog = plane.catalog.value
    everywhere = allows(caller, "organizations:read")
    routes = [route for route in catalog.routes() if everywhere or route.project in ("", caller.project)]
    targets = {target.name: target for route in routes for target in route.targets}
    return Targets(
        dict(sorted(plane.provider_kinds.items())),
        [
            Alias(route.alias, route.kind, route.strategy, route.project, [target.name for target in route.targets])
            for route in routes
        ],
        [state for state in plane.router.states(targets.values()) if state.target in targets],
    )


async def own_project(request: Req, body: dict[str, Any]) -> dict[str, Any]:
    """The body with its project as an id. What holds for everybody takes a key that may act everywhere."""
    named = body.get("project")
    if named and named != "*":
        project = await plane_of(request).access.show_project(caller_of(request), str(named))
        return {**body, "project": project.id}
    require_everywhere(request)
    return body


def require_everywhere(request: Req) -> None:
    if not allows(caller_of(request), _EVERYWHERE):
        raise Denied(
            "A declaration without a project holds for every organization; this key may not make or change one.",
            hint=f"Name a `project` (and another name, where this one is taken), or use a key with {_EVERYWHERE}.",
        )


async def reach_of(request: Req) -> frozenset[str] | None:
    """Ids of the projects whose declarations the caller may see and change; ``None``: all of them."""
    caller = caller_of(request)
    if allows(caller, _EVERYWHERE):
        return None
    if not allows(caller, "projects:write"):
        return frozenset((caller.project,))
    # As `list_projects` by the caller, who may lack projects:read.
    found = await plane_of(request).access.list_projects(SystemActor("api"), caller.org)
    return frozenset(project.id for project in found)


def owner_of(body: object) -> str:
    """The project of a placed body; empty: it holds for everybody."""
    project = cast("dict[str, object]", body).get("project") if isinstance(body, dict) else None
    return "" if project is None or project == "*" else str(project)


def within(body: object, reach: frozenset[str] | None) -> bool:
    return reach is None or owner_of(body) == "" or owner_of(body) in reach


async def standing_of(request: Req, kind: str) -> dict[str, tuple[Declared, object]]:
    """Everything of a kind that stands, by name, with its placed body: the caller's and others'."""
    plane = plane_of(request)
    found = await plane.declarations.entries(kind)
    return {one.name: (one, body) for one, body in zip(found, await plane.standing.place(found), strict=True)}


async def history_of(request: Req, kind: str, name: str) -> list[Change]:
    """The changes of one name that the caller may see; a removal is seen by whom the removed could be."""
    plane, reach = plane_of(request), await reach_of(request)
    changes = await plane.declarations.history(kind, name)
    seen: list[Change] = []
    visible = False
    for change, body in zip(changes, await plane.standing.place(changes), strict=True):
        if change.action == "put":
            visible = within(body, reach)
        if visible:
            seen.append(change)
    if not seen:
        raise unknown(kind, name)
    return seen


def named(path: str) -> str:
    """The name in a path."""
    name = path.strip("/")
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise Invalid(f"{name[:80]!r} cannot name a declaration.", hint=f"Allowed: 1 to {_LONGEST_NAME} characters.")
    return name


def unknown(kind: str, name: str) -> NotFound:
    return NotFound(f"There is no {kind} {name!r}.", code="declaration_unknown")


async def _declare(request: Req, kind: str, name: str, data: dict[str, Any], version: int | None) -> Declared:
    plane, caller = plane_of(request), caller_of(request)
    standing = await standing_of(request, kind)
    old = standing.get(name)
    if old is not None:
        if not within(old[1], await reach_of(request)):
            raise Conflict(
                f"The name {name!r} is taken.",
                code="name_taken",
                hint="Choose another name; the `alias` in the body may be the same, as each project has its own.",
            )
        if owner_of(old[1]) == "":
            require_everywhere(request)
    body = await own_project(request, data)
    await plane.standing.judge(kind, {**{key: placed for key, (_, placed) in standing.items()}, name: body})
    seen = old[0].version if old is not None else 0
    # What was judged is what is replaced. Who saw another version is told so by the store: there is no version -1.
    expect = seen if version in (None, seen) else -1
    await plane.declarations.put(kind, name, body, f"key:{caller.key_id}", expect=expect)
    return await plane.declarations.show(kind, name)


async def _remove(request: Req, kind: str, name: str) -> None:
    plane, caller = plane_of(request), caller_of(request)
    bodies = {key: placed for key, (_, placed) in (await standing_of(request, kind)).items()}
    if name not in bodies or not within(bodies[name], await reach_of(request)):
        raise unknown(kind, name)
    if owner_of(bodies[name]) == "":
        require_everywhere(request)
    try:
        await plane.standing.judge(kind, {key: body for key, body in bodies.items() if key != name})
    except Invalid as error:
        if await holds_together(plane, kind, bodies):
            raise Invalid(f"{name!r} is still needed: {error.message}", hint=error.hint) from None
        # They exclude one another already, by two processes or a changed configuration: taking one away is the way out.
    await plane.declarations.remove(kind, name, f"key:{caller.key_id}")


async def holds_together(plane: ControlPlane, kind: str, bodies: Mapping[str, object]) -> bool:
    try:
        await plane.standing.judge(kind, bodies)
    except Invalid:
        return False
    return True


def _handlers(kind: str, permission: str) -> list[HTTPRouteHandler]:
    """List, show, history, put and remove for one kind of declaration."""
    path = f"/{kind}"

    @get(path, opt={PERMISSION: f"{permission}:read"}, operation_id=f"list_{kind}")
    async def list_all(request: Req) -> list[Declared]:
        """Everything of this kind that stands, for everybody or for a project that the key reaches."""
        reach = await reach_of(request)
        return [one for one, body in (await standing_of(request, kind)).values() if within(body, reach)]

    @get(f"{path}/{{name:path}}", opt={PERMISSION: f"{permission}:read"}, operation_id=f"show_{kind}")
    async def show(request: Req, name: FromPath[str], history: FromQuery[bool] = False) -> Declared | list[Change]:
        """One declaration, or with ``history=true`` every version of it."""
        name = named(name)
        if history:
            return await history_of(request, kind, name)
        found = (await standing_of(request, kind)).get(name)
        if found is None or not within(found[1], await reach_of(request)):
            raise unknown(kind, name)
        return found[0]

    @put(f"{path}/{{name:path}}", opt={PERMISSION: f"{permission}:write"}, operation_id=f"put_{kind}")
    async def declare(
        request: Req, name: FromPath[str], data: JSONBody[dict[str, Any]], version: Expect = None
    ) -> Declared:
        """Declare one, or change it. It is judged together with all others before it stands."""
        async with plane_of(request).standing.declaring:
            declared = await _declare(request, kind, named(name), data, version)
            await plane_of(request).standing.follow(kind)
        return declared

    @delete(f"{path}/{{name:path}}", opt={PERMISSION: f"{permission}:write"}, operation_id=f"remove_{kind}")
    async def remove(request: Req, name: FromPath[str]) -> None:
        """Withdraw one; its history stays."""
        async with plane_of(request).standing.declaring:
            await _remove(request, kind, named(name))
            await plane_of(request).standing.follow(kind)

    return [list_all, show, declare, remove]


HANDLERS = (
    list_targets,
    *_handlers("models", "targets"),
    *_handlers("prices", "prices"),
    *_handlers("policies", "policies"),
    *_handlers("rules", "policies"),
)
