"""Authentication and permission, once for every route of the control plane."""

from collections.abc import Callable, Iterable
from typing import Any, cast

import msgspec
from litestar.connection import ASGIConnection, Request
from litestar.handlers.base import BaseRouteHandler
from litestar.handlers.http_handlers import HTTPRouteHandler
from litestar.routes import BaseRoute, HTTPRoute

from ostinato import audit
from ostinato.access import Caller, principal_of
from ostinato.access.permissions import ALL, require
from ostinato.core.errors import Denied
from ostinato.gateway import controls
from ostinato.web.api.plane import ControlPlane

PERMISSION = "permission"
"""Name of the route's option that holds its permission."""

ANY_KEY = "any-key"
"""Instead of a permission: whoever has a living key."""


async def guard(connection: "ASGIConnection[Any, Any, Any, Any]", handler: BaseRouteHandler) -> None:
    """Let the request in if its key lives, is within its rate, and has the route's permission.

    Asynchronous although it never waits: a plain function would run in another thread, and what it sets for the
    request's task (the audit log's occasion) would be lost there.
    """
    plane = cast("ControlPlane", connection.app.state.plane)
    read = controls.read(connection.scope["headers"])
    now = plane.clock.now()
    caller = plane.access.authenticate(read.token.decode("latin-1"), now)
    # From here on it is known who is refused, or does something: for the audit log.
    connection.scope["user"] = caller
    facts: dict[str, str | int] = {} if caller.glass is None else {"breakglass": caller.glass.id}
    audit.set_occasion(
        msgspec.structs.replace(audit.occasion(), principal=principal_of(caller), org=caller.org, facts=facts)
    )
    plane.access.admit(caller, now)
    needed = handler.opt.get(PERMISSION)
    if needed is None:
        raise Denied("This route has no permission.", hint="It must not have started: report this.")
    if needed != ANY_KEY:
        require(caller, needed)


def caller_of(request: "Request[Any, Any, Any]") -> Caller:
    """Whose key came with the request."""
    return cast("Caller", request.user)


def refuse_unguarded(handlers: Iterable[HTTPRouteHandler]) -> None:
    """Raise ``RuntimeError`` if a route has no permission, or one that does not exist: such a server does not start."""
    for handler in handlers:
        needed = handler.opt.get(PERMISSION)
        if needed != ANY_KEY and needed not in ALL:
            raise RuntimeError(f"The route {sorted(handler.paths)} names no known permission: {needed!r}.")
        if getattr(handler, "before_request", None) is not None:
            raise RuntimeError(
                f"The route {sorted(handler.paths)} has a hook of its own in the place of every route's."
            )


def refuse_open(routes: Iterable[BaseRoute], open_below: str) -> None:
    """Raise ``RuntimeError`` if anything is served without the guard, by whatever way it came in.

    ``open_below``: the path whose pages are for everybody. Methods that only tell which others there are (OPTIONS) are
    left out.
    """
    for route in routes:
        if route.path == open_below or route.path.startswith(f"{open_below}/"):
            continue
        if not isinstance(route, HTTPRoute):
            raise RuntimeError(f"The route {route.path} is no plain HTTP route, and cannot be guarded.")
        for method, (handler, _) in route.route_handler_map.items():
            guards = cast("Callable[[], list[object]]", getattr(handler, "resolve_guards"))()  # noqa: B009 - untyped
            if str(method) != "OPTIONS" and guard not in guards:
                raise RuntimeError(f"The route {method} {route.path} is served without the guard.")
            if str(method) != "OPTIONS":
                refuse_unguarded([handler])
