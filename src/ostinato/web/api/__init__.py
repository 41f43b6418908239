"""The control plane, ``/api/v1``: keys, projects, targets, cache, traces, statistics.

Each endpoint names its permission; a route without one does not start. Errors are problem documents (RFC 9457).
"""

from typing import Any

from ostinato.core.errors import NotFound
from ostinato.web.problems import problem


def build(app: Any) -> Any:
    async def control(scope: Any, receive: Any, send: Any) -> None:
        body = problem(NotFound("There is nothing here."), 404)
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    return control
