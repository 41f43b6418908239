"""The data plane: a raw ASGI application for ``/v1``.

It matches the path, reads the body within its bound, calls the gateway, writes what comes back, and turns errors into
the caller's wire. It holds no rule of caching or routing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping
from contextlib import aclosing, contextmanager
from typing import Any, Final

from ostinato import gateway
from ostinato.core.errors import Invalid, NotFound, OstinatoError
from ostinato.gateway import Gateway, Header, Reply, StreamReply
from ostinato.web.shortcut import LEFT, TRIED

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

OPERATIONS: Final[dict[str, tuple[str, gateway.Operation]]] = {
    "/v1/chat/completions": ("POST", "openai.chat"),
    "/v1/messages": ("POST", "anthropic.messages"),
    "/v1/messages/count_tokens": ("POST", "anthropic.count_tokens"),
    "/v1/responses": ("POST", "openai.responses"),
    "/v1/embeddings": ("POST", "openai.embeddings"),
    "/v1/models": ("GET", "models"),
    "/v1/feedback": ("POST", "feedback"),
}

DIRECT: Final[dict[bytes, gateway.Operation]] = {
    b"/v1/chat/completions": "openai.chat",
    b"/v1/messages": "anthropic.messages",
    b"/v1/messages?beta=true": "anthropic.messages",
    b"/v1/responses": "openai.responses",
}
"""Paths, as sent, whose requests are answered without ASGI."""

_TEXTS: Final = {path: path.partition(b"?")[0].decode() for path in DIRECT}


class TooLarge(Invalid):
    """The body exceeds the limit."""

    status = 413
    default_code = "request_too_large"


class Proxy:
    """``/v1`` as an ASGI application."""

    def __init__(self, gateway: Gateway, *, max_body_bytes: int, slow: float) -> None:
        """``max_body_bytes``: the largest body; ``slow``: seconds that a body may take to arrive."""
        self._gateway = gateway
        self._max_body = max_body_bytes
        self._slow = slow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        method, operation = OPERATIONS.get(path.rstrip("/") or "/", ("", None))
        try:
            with cancelled_when_left(scope):
                reply = await self._reply(method, operation, scope, receive)
                await _send(reply, send)
        except CallerLeft:
            return

    async def _reply(
        self, method: str, operation: gateway.Operation | None, scope: Scope, receive: Receive
    ) -> Reply | StreamReply:
        path: str = scope["path"]
        headers: list[Header] = scope["headers"]
        try:
            if operation is None and path.startswith("/v1/models/"):
                method, operation = "GET", "models"
            if operation is None and path.startswith("/v1/held/"):
                method, operation = "GET", "held"
            if operation is None:
                raise NotFound(f"There is no {path} here.", hint="The paths are " + ", ".join(OPERATIONS) + ".")
            if scope["method"] != method:
                raise WrongMethod(f"{path} takes {method}, not {scope['method']}.")
            body = await self._body(scope, receive) if method == "POST" else b""
            return await self._gateway.handle(operation, path, headers, body, scope.get(TRIED))
        except OstinatoError as error:
            return self._gateway.refuse(operation or _guess(path), headers, error)

    def direct(
        self, path: bytes, headers: list[Header], body: bytes, tried: Any
    ) -> Coroutine[Any, Any, Reply | StreamReply]:
        """Answer a request of :data:`DIRECT` whose body is whole. Awaiting it raises nothing."""
        operation = DIRECT[path]
        if len(body) > self._max_body:
            return self._refuse(operation, headers, _too_large(self._max_body))
        return self._gateway.handle(operation, _TEXTS[path], headers, body, tried)

    async def _refuse(self, operation: gateway.Operation, headers: list[Header], error: OstinatoError) -> Reply:
        return self._gateway.refuse(operation, headers, error)

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        limit = self._max_body
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit() and int(value) > limit:
                raise _too_large(limit)
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            try:
                async with asyncio.timeout(self._slow):
                    body = await self._rest(body, receive)
            except TimeoutError:
                raise TooSlow(f"The body had not arrived after {self._slow:g} seconds.") from None
        if len(body) > limit:
            raise _too_large(limit)
        return body

    async def _rest(self, first: bytes, receive: Receive) -> bytes:
        parts = [first]
        size = len(first)
        more = True
        while more:
            message = await receive()
            part: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            parts.append(part)
            size += len(part)
            if size > self._max_body:
                raise _too_large(self._max_body)
        return b"".join(parts)


class CallerLeft(Exception):
    """The connection was lost while the gateway worked for it."""


@contextmanager
def cancelled_when_left(scope: Scope) -> Generator[None]:
    """Cancel what runs inside when the caller's connection is lost, and end as :class:`CallerLeft`."""
    left: list[Callable[[], object]] = scope[LEFT]
    task = asyncio.current_task()
    assert task is not None
    gone = False

    def leave() -> None:
        nonlocal gone
        gone = True
        task.cancel()

    left.append(leave)
    try:
        yield
    except asyncio.CancelledError:
        if not gone:
            raise
        task.uncancel()
        raise CallerLeft from None
    finally:
        if leave in left:
            left.remove(leave)


async def _send(reply: Reply | StreamReply, send: Send) -> None:
    if isinstance(reply, Reply):
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.body})
        return
    try:
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        async with aclosing(reply.chunks) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        reply.release()


class TooSlow(Invalid):
    """The body did not arrive in time."""

    status = 408
    default_code = "request_timeout"


class WrongMethod(Invalid):
    """The path exists, the method does not."""

    status = 405
    default_code = "method_not_allowed"


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The request body is larger than {limit} bytes.",
        hint="Raise [server] max_body_bytes if you need larger requests.",
    )


def _guess(path: str) -> gateway.Operation:
    """The operation whose wire an error on an unknown path is told in."""
    return "anthropic.messages" if path.startswith("/v1/messages") else "openai.chat"
