"""``/targets``, and the declarations: ``/models``, ``/prices``, ``/policies``, ``/rules``.

A declaration is versioned and keeps its history. What the configuration file declares is read-only here.
"""

from typing import Annotated, Any, cast

import msgspec
from litestar import delete, get, put
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.params import Parameter

from ostinato.access.permissions import allows
from ostinato.core.errors import Denied, Invalid
from ostinato.routing import TargetState
from ostinato.storage import Change, Declared
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of

Expect = Annotated[int | None, Parameter(description="The version that you saw; 0: none yet.")]


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


async def _own_project(request: Req, body: dict[str, Any]) -> dict[str, Any]:
    """The body with its project as an id. What holds for everybody takes a key that may act everywhere."""
    caller = caller_of(request)
    named = body.get("project")
    if named:
        project = await plane_of(request).access.show_project(caller, str(named))
        return {**body, "project": project.id}
    if not allows(caller, "organizations:write"):
        raise Denied(
            "A declaration without a project holds for every organization; this key may not make one.",
            hint="Name a `project`, or use a key with organizations:write.",
        )
    return body


def _handlers(kind: str, permission: str) -> list[HTTPRouteHandler]:
    """List, show, history, put and remove for one kind of declaration."""
    path = f"/{kind}"

    @get(path, opt={PERMISSION: f"{permission}:read"}, operation_id=f"list_{kind}")
    async def list_all(request: Req) -> list[Declared]:
        """Everything of this kind that stands."""
        return await plane_of(request).declarations.entries(kind)

    @get(f"{path}/{{name:path}}", opt={PERMISSION: f"{permission}:read"}, operation_id=f"show_{kind}")
    async def show(request: Req, name: str, history: bool = False) -> Declared | list[Change]:
        """One declaration, or with ``history=true`` every version of it."""
        declarations = plane_of(request).declarations
        name = name.strip("/")
        return await declarations.history(kind, name) if history else await declarations.show(kind, name)

    @put(f"{path}/{{name:path}}", opt={PERMISSION: f"{permission}:write"}, operation_id=f"put_{kind}")
    async def declare(request: Req, name: str, data: dict[str, Any], version: Expect = None) -> Declared:
        """Declare one, or change it. It is judged together with all others before it stands."""
        plane = plane_of(request)
        name = name.strip("/")
        body = await _own_project(request, data)
        plane.judge(kind, {**await plane.declarations.load(kind), name: body})
        await plane.declarations.put(kind, name, body, f"key:{caller_of(request).key_id}", expect=version)
        return await plane.declarations.show(kind, name)

    @delete(f"{path}/{{name:path}}", opt={PERMISSION: f"{permission}:write"}, operation_id=f"remove_{kind}")
    async def remove(request: Req, name: str) -> None:
        """Withdraw one; its history stays."""
        plane = plane_of(request)
        name = name.strip("/")
        standing = await plane.declarations.show(kind, name)
        await _own_project(request, cast("dict[str, Any]", standing.body) if isinstance(standing.body, dict) else {})
        left = {key: body for key, body in (await plane.declarations.load(kind)).items() if key != name}
        try:
            plane.judge(kind, left)
        except Invalid as error:
            raise Invalid(f"{name!r} is still needed: {error.message}", hint=error.hint) from None
        await plane.declarations.remove(kind, name, f"key:{caller_of(request).key_id}")

    return [list_all, show, declare, remove]


HANDLERS = (
    list_targets,
    *_handlers("models", "targets"),
    *_handlers("prices", "prices"),
    *_handlers("policies", "policies"),
    *_handlers("rules", "policies"),
)
