"""Authentication and permission, once for every route of the control plane."""

from collections.abc import Iterable
from typing import Any, cast

import msgspec
from litestar.connection import ASGIConnection, Request
from litestar.handlers.base import BaseRouteHandler
from litestar.handlers.http_handlers import HTTPRouteHandler

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


def guard(connection: "ASGIConnection[Any, Any, Any, Any]", handler: BaseRouteHandler) -> None:
    """Let the request in if its key lives, is within its rate, and has the route's permission."""
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
