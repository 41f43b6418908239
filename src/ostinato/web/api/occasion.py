"""The edge of the control plane: which request this is and why it is made, who was refused, what was answered.

Everything that is the same for every route and that only a view of the whole exchange can do, as an ASGI application
around the framework's: it sets ``audit.occasion()`` for the request's task, puts ``x-request-id`` on every answer,
writes refusals down, and keeps answers that may be asked for again.
"""

from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from ostinato import audit
from ostinato.access import Caller
from ostinato.core import ids
from ostinato.core.errors import Invalid
from ostinato.gateway import controls
from ostinato.web.api import denials, idempotency
from ostinato.web.api.plane import ControlPlane
from ostinato.web.problems import CONTENT_TYPE, problem
from ostinato.web.server import Asgi, Receive, Scope, Send

REASON = b"ostinato-reason"
BREAKGLASS = b"ostinato-breakglass"
"""On every answer to a key that has broken the glass: its id, and until when (UTC microseconds)."""
LONGEST_REASON = 512
"""Characters."""
_LARGEST_ANSWER = 256 * 1024
"""Bytes of an answer that is kept for repetitions."""


def read(headers: Iterable[tuple[bytes, bytes]], now: int) -> tuple[audit.Occasion, Invalid | None]:
    """Which request this is, and why it is made, by its headers; with what is wrong about them.

    The caller's ``x-request-id`` is taken if it is well-formed, else one is made. The reason is UTF-8, percent-encoded
    where the client cannot send it plainly.
    """
    request_id = controls.read(headers).client_request_id.decode() or ids.new(now)
    sent = next((value for name, value in headers if name == REASON), b"")
    try:
        return audit.Occasion(request_id, _reason(sent)), None
    except Invalid as error:
        return audit.Occasion(request_id), error


def _reason(sent: bytes) -> str:
    try:
        reason = unquote_to_bytes(sent).decode().strip()
    except UnicodeDecodeError:
        raise Invalid(
            "The header ostinato-reason is not UTF-8.", code="invalid_reason", hint="Percent-encode its UTF-8 bytes."
        ) from None
    if len(reason) > LONGEST_REASON or not reason.isprintable():
        raise Invalid(
            f"The header ostinato-reason has at most {LONGEST_REASON} printable characters, on one line.",
            code="invalid_reason",
            hint="Say it in a sentence, and put the rest where the sentence points to.",
        )
    return reason


class Edge:
    """The control plane's outermost application."""

    def __init__(self, app: Asgi, plane: ControlPlane) -> None:
        self._app = app
        self._plane = plane

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        occasion, fault = read(scope["headers"], self._plane.clock.now())
        audit.set_occasion(occasion)
        exchange = _Exchange(self._plane, scope, occasion.request_id, send)
        try:
            if fault is None:
                await self._app(scope, receive, exchange.send)
            else:
                await _refuse(exchange.send, fault)
        finally:
            audit.set_occasion(audit.Occasion())


class _Exchange:
    """One request, on its way back."""

    def __init__(self, plane: ControlPlane, scope: Scope, request_id: str, send: Send) -> None:
        self._desk = plane.desk
        self._scope = scope
        self._request_id = request_id.encode()
        self._send = send
        self._start: MutableMapping[str, Any] | None = None
        """The beginning of an answer that is held until all of it is there and kept."""
        self._body = bytearray()

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            headers = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"x-request-id"]
            headers.append((b"x-request-id", self._request_id))
            caller = self._scope.get("user")
            if isinstance(caller, Caller) and caller.glass is not None:
                headers.append((BREAKGLASS, b"%s; until=%d" % (caller.glass.id.encode(), caller.glass.ends_at)))
            if not any(name.lower() == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"no-store"))
            message["headers"] = headers
            await self._note_refusal(message["status"])
            if idempotency.claim_of(self._scope) is not None:
                self._start = message
                return
        elif self._start is not None:
            self._body += message.get("body", b"")
            if message.get("more_body") and len(self._body) <= _LARGEST_ANSWER:
                return
            await self._keep(self._start, message)
            message = {**message, "body": bytes(self._body)}
            start, self._start = self._start, None
            await self._send(start)
        await self._send(message)

    async def _note_refusal(self, status: int) -> None:
        if status == 401:
            self._desk.denials.unknown()
        elif status == 403 and isinstance(caller := self._scope.get("user"), Caller):
            await self._desk.denials.denied(caller, denials.action_of(self._scope), self._scope["path"])

    async def _keep(self, start: MutableMapping[str, Any], last: MutableMapping[str, Any]) -> None:
        claim = idempotency.claim_of(self._scope)
        assert claim is not None
        whole = not last.get("more_body") and len(self._body) <= _LARGEST_ANSWER
        body = bytes(self._body) if whole else None
        await idempotency.settle(self._desk.answers, claim, start["status"], start["headers"], body)


async def _refuse(send: Send, error: Invalid) -> None:
    body = problem(error, error.status)
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
