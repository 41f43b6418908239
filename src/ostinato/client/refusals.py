"""What the server refuses, as the errors of ``core.errors``: the same kinds that the server itself raises."""

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from ostinato.core.errors import (
    Conflict,
    Denied,
    Invalid,
    LimitReached,
    NotFound,
    OstinatoError,
    Unavailable,
    UpstreamFailed,
)

_KINDS: dict[int, type[OstinatoError]] = {
    404: NotFound,
    409: Conflict,
    429: LimitReached,
    502: UpstreamFailed,
    504: UpstreamFailed,
    529: UpstreamFailed,
}
_MOST = 2_000
"""Characters of a refusal that are repeated."""


class InvalidVariables(Invalid):
    """A variable is missing or wrong; ``param`` names it."""

    status = 422
    default_code = "invalid_variable"


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> OstinatoError:
    """The error that a reply with ``status`` >= 400 stands for; problem documents and both wires' shapes are read.

    A note on it (PEP 678) tells the request's id.
    """
    told = _told(body)
    message = str(told.get("detail") or told.get("message") or told.get("title") or f"The server answered {status}.")
    code = str(told.get("code") or told.get("type") or "") or None
    hint = str(told.get("hint") or "")[:_MOST]
    param = told.get("param")
    error: OstinatoError
    if status in (401, 403):
        error = Denied(message[:_MOST], authenticated=status == 403, code=code, hint=hint)
    else:
        kind = _KINDS.get(status) or (InvalidVariables if status == 422 else Unavailable if status >= 500 else Invalid)
        error = kind(
            message[:_MOST],
            code=code,
            hint=hint,
            param=param if isinstance(param, str) else None,
            retry_after=_seconds(headers.get("retry-after")),
        )
    if identifier := headers.get("x-request-id"):
        error.add_note(f"Request {identifier}, status {status}.")
    return error


HELD = 202
"""The status of an answer that nobody may see before somebody has looked at it."""


def held(headers: Mapping[str, str]) -> Unavailable:
    """The answer is there, and waits for a person."""
    name = headers.get("ostinato-held", "")
    return Unavailable(
        f"The answer is held until somebody has looked at it: {name}.",
        code="answer_held",
        hint=f"Ask GET /v1/held/{name} with the same key: 202 while it waits, then 200 with the answer, or 410.",
        retry_after=_seconds(headers.get("retry-after")),
    )


def unreachable(address: str, error: Exception) -> Unavailable:
    """The server did not answer."""
    said = str(error) or type(error).__name__
    return Unavailable(
        f"No answer from {address}: {said.rstrip('.')}.",
        code="unreachable",
        hint="Is the gateway running, and is the address right?",
    )


def malformed(address: str) -> Unavailable:
    """The server answered, but not as an Ostinato of this version does."""
    return Unavailable(
        f"What {address} answered cannot be understood.",
        code="unreadable_answer",
        hint="Is this the address of an Ostinato server, of this version or a later one?",
    )


def _told(body: bytes) -> dict[str, Any]:
    try:
        found: object = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    told = cast("dict[str, Any]", found)
    inner = told.get("error")
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else told


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value else None
    except ValueError:
        return None
