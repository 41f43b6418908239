"""``/healthz``, ``/readyz`` and ``/metrics``; everything else below ``/api/v1`` is the control plane's.

``/healthz`` says that the process lives, ``/readyz`` whether it should be sent work. Neither asks for a key.
``/metrics`` asks for one with ``metrics:read`` unless the server listens on loopback only.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import msgspec

from ostinato.access import Access
from ostinato.access.permissions import require
from ostinato.core.clock import Clock
from ostinato.core.errors import Denied, OstinatoError
from ostinato.gateway import controls
from ostinato.web.problems import problem
from ostinato.web.server import Asgi, Health

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_encode = msgspec.json.Encoder().encode


class Watched(Protocol):
    """What the operational pages tell of."""

    access: Access
    clock: Clock

    def health(self) -> Health: ...

    def metrics_page(self) -> bytes: ...


class Operations:
    """An ASGI application for the operational pages, in front of the control plane."""

    def __init__(self, watched: Watched, control: Asgi, *, loopback: bool) -> None:
        self._watched = watched
        self._control = control
        self._loopback = loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._control(scope, receive, send)
            return
        path: str = scope["path"]
        if path not in ("/healthz", "/readyz", "/metrics"):
            await self._control(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD"):
            await _answer(send, 405, b"text/plain", b"Use GET.\n", (b"allow", b"GET, HEAD"))
        elif path == "/healthz":
            await _answer(send, 200, b"application/json", b'{"alive":true}')
        elif path == "/readyz":
            health = self._watched.health()
            await _answer(send, 200 if health.ready else 503, b"application/json", _encode(health))
        else:
            await self._metrics(scope, send)

    async def _metrics(self, scope: Scope, send: Send) -> None:
        try:
            if not self._loopback:
                self._authorize(scope)
        except OstinatoError as error:
            status = 401 if isinstance(error, Denied) and not error.authenticated else error.status
            await _answer(send, status, b"application/problem+json", problem(error, status))
            return
        page = self._watched.metrics_page()
        await _answer(send, 200, b"text/plain; version=0.0.4; charset=utf-8", page)

    def _authorize(self, scope: Scope) -> None:
        watched = self._watched
        token = controls.read(scope["headers"]).token.decode("latin-1")
        now = watched.clock.now()
        caller = watched.access.authenticate(token, now)
        watched.access.admit(caller, now)
        require(caller, "metrics:read")


async def _answer(send: Send, status: int, content_type: bytes, body: bytes, *more: tuple[bytes, bytes]) -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        *more,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
