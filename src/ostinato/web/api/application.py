"""Builds the Litestar application of the control plane."""

import logging
from typing import Any, cast

from litestar import Litestar, Request, Response, Router
from litestar.datastructures import State
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.config import OpenAPIConfig

from ostinato import __version__
from ostinato.core.errors import Denied, Invalid, OstinatoError, Unavailable
from ostinato.web.api import (
    access,
    allowed,
    audit,
    breakers,
    cache,
    cases,
    clients,
    datasets,
    declared,
    evals,
    explain,
    guarding,
    idempotency,
    intents,
    kpis,
    monitoring,
    optimizations,
    principals,
    prompts,
    releases,
    retention,
    reviews,
    savings,
    scorers,
    signals,
    traces,
    triage,
    updates,
    webhooks,
    what_if,
)
from ostinato.web.api.document import Document
from ostinato.web.api.occasion import Edge
from ostinato.web.api.plane import ControlPlane
from ostinato.web.api.slashes import Slashes
from ostinato.web.problems import CONTENT_TYPE, problem
from ostinato.web.server import Asgi

_log = logging.getLogger("ostinato.web")

HANDLERS = (
    *access.HANDLERS,
    *audit.HANDLERS,
    *breakers.HANDLERS,
    *cache.HANDLERS,
    *cases.HANDLERS,
    *declared.HANDLERS,
    *evals.HANDLERS,
    *explain.HANDLERS,
    *intents.HANDLERS,
    *kpis.HANDLERS,
    *what_if.HANDLERS,
    *monitoring.HANDLERS,
    *optimizations.HANDLERS,
    *principals.HANDLERS,
    *clients.HANDLERS,
    *datasets.HANDLERS,
    *prompts.HANDLERS,
    *releases.HANDLERS,
    *retention.HANDLERS,
    *reviews.HANDLERS,
    *savings.HANDLERS,
    *scorers.HANDLERS,
    *signals.HANDLERS,
    *traces.HANDLERS,
    *triage.HANDLERS,
    *updates.HANDLERS,
    *webhooks.HANDLERS,
)


SCHEMA = "/api/v1/schema"
"""Where the OpenAPI document is, for everybody."""


def build(plane: ControlPlane) -> Asgi:
    """The application for ``/api/v1``. Raises if a route has no permission."""
    guarding.refuse_unguarded(HANDLERS)
    application = Litestar(
        [Router("/api/v1", route_handlers=HANDLERS, guards=[guarding.guard], before_request=idempotency.before)],
        state=State({"plane": plane}),
        exception_handlers={
            OstinatoError: _ours,
            HTTPException: _framework,
            RecursionError: _too_deep,
            UnicodeDecodeError: _not_utf8,
            Exception: _unexpected,
        },
        openapi_config=OpenAPIConfig(
            title="Ostinato control plane",
            version=__version__,
            path=SCHEMA,
            render_plugins=[Document(HANDLERS)],
            use_handler_docstrings=True,
        ),
        logging_config=None,
        request_max_body_size=1_048_576,
        debug=False,
    )
    guarding.refuse_open(application.routes, SCHEMA)
    return Slashes(Edge(cast("Asgi", application), plane))


def _reply(error: OstinatoError, status: int, allow: str = "") -> Response[bytes]:
    headers = {"cache-control": "no-store"}
    if allow:
        headers["allow"] = allow
    if error.retry_after is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after)))
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="ostinato"'
    return Response(problem(error, status), status_code=status, media_type=CONTENT_TYPE, headers=headers)


def _ours(_: Request[Any, Any, Any], error: OstinatoError) -> Response[bytes]:
    return _reply(error, 401 if isinstance(error, Denied) and not error.authenticated else error.status)


def _fault(request: Request[Any, Any, Any], item: dict[str, Any]) -> str:
    """What is wrong with one place of a request, and what may stand there where that is a list of words."""
    place, message = str(item.get("key", "body")), str(item.get("message", ""))
    allowed_ = allowed.hint(request.route_handler, place) if message.startswith("Invalid enum value") else ""
    return f"{place}: {message}{allowed_}"


def _framework(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What the framework refuses: unknown paths, wrong methods, bodies and parameters of the wrong shape."""
    hint = ""
    if isinstance(error, ValidationException) and isinstance(error.extra, list):
        hint = "; ".join(_fault(request, item) for item in cast("list[dict[str, Any]]", error.extra))
    code = {404: "not_found", 405: "method_not_allowed", 413: "request_too_large"}.get(
        error.status_code, "invalid_request"
    )
    allow = (error.headers or {}).get("allow", "")
    message = error.detail or "The request cannot be used."
    if code == "not_found":
        message = "There is nothing at this path."
        hint = "All paths: /api/v1/schema/openapi.json. A name with slashes is one part of a path: `a~b`, or `a%2Fb`."
    told = Invalid(message, code=code, hint=hint)
    return _reply(told, error.status_code, allow)


def _too_deep(_: Request[Any, Any, Any], error: RecursionError) -> Response[bytes]:
    return _reply(Invalid("The body is nested too deeply.", code="too_deep"), 400)


def _not_utf8(_: Request[Any, Any, Any], error: UnicodeDecodeError) -> Response[bytes]:
    return _reply(Invalid("The body is not UTF-8.", code="not_utf8"), 400)


def _unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    _log.error("A request to %s failed", request.url.path, exc_info=error)
    return _reply(
        Unavailable("Ostinato failed on this request.", code="internal_error", hint="The server's log says why."), 500
    )
