"""Idempotency keys: a change that is sent twice is made once, and its answer is told again.

A client that may have to repeat a change sends ``idempotency-key`` with it. The same key with the same request, from
the same API key and within a day, gives the first answer again, marked ``idempotency-replayed: true``. Only what was
done is remembered: a refused request has changed nothing, and may be tried again with the same key. Answers that hold
a secret are never kept; a repetition is told so.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any, cast

import msgspec
from litestar import Request, Response

from ostinato import audit
from ostinato.access import Caller, actor_name
from ostinato.access.keys import MARK
from ostinato.core import hashing
from ostinato.core.errors import Conflict, Invalid, OstinatoError
from ostinato.storage import Answers, Begun, Kept
from ostinato.web.api.plane import ControlPlane
from ostinato.web.server import Scope

_log = logging.getLogger("ostinato.web")

HEADER = "idempotency-key"
REPLAYED = "idempotency-replayed"
SECRET = "secret"  # noqa: S105 - the name of an option
"""Name of the route's option that says: the answer holds a secret."""
CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})

_CLAIM = "ostinato.claim"
_FORM = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")
_KEPT_HEADERS = frozenset({"content-type", "location", "etag"})
_MAY_HOLD_SECRET = re.compile(rb"%s[0-9A-Za-z]{8}_[0-9A-Za-z]{40,}" % MARK.encode())


class Claim(msgspec.Struct, frozen=True):
    """A request that is carried out under an idempotency key."""

    begun: Begun
    secret: bool


def claim_of(scope: Scope) -> Claim | None:
    """The claim that a request holds."""
    return scope.get(_CLAIM)


async def before(request: "Request[Any, Any, Any]") -> Response[bytes] | None:
    """Claim the key of a request before it is carried out, or answer as before. After the guard, for every route."""
    key = request.headers.get(HEADER)
    if key is None or request.method not in CHANGING:
        return None
    if not _FORM.fullmatch(key):
        raise Invalid(
            "An idempotency key has 1 to 255 printable ASCII characters.",
            code="invalid_idempotency_key",
            param=HEADER,
            hint="A UUID is a good one.",
        )
    plane = cast("ControlPlane", request.app.state.plane)
    # Not by principal: who makes a key for others stands behind it too, and they must not be told its maker's answers.
    asker = actor_name(cast("Caller", request.user))
    scope = cast("Scope", request.scope)
    got = await plane.desk.answers.begin(asker, key, await _digest(request), audit.occasion().request_id)
    if isinstance(got, Kept):
        return _again(got)
    scope[_CLAIM] = Claim(got, bool(request.route_handler.opt.get(SECRET)))
    return None


async def _digest(request: "Request[Any, Any, Any]") -> bytes:
    """Of all that says what is to be done."""
    plane = cast("ControlPlane", request.app.state.plane)
    scope = request.scope
    return hashing.digest(
        plane.desk.secret,
        scope["method"].encode(),
        scope["path"].encode("utf-8", "surrogateescape"),
        scope["query_string"],
        await request.body(),
    )


def _again(kept: Kept) -> Response[bytes]:
    if kept.body is None:
        secret = kept.omitted == SECRET
        raise Conflict(
            f"The request with this idempotency key was carried out as {kept.request_id}; its answer"
            + (" held a secret, which is told once." if secret else " was too large to be kept."),
            code="secret_not_repeated" if secret else "answer_not_kept",
            hint="Revoke or rotate the key that it made, and use a new idempotency key."
            if secret
            else "Look at what there is now.",
        )
    headers = {name: value for name, value in kept.headers.items() if name != "content-type"}
    return Response(
        kept.body,
        status_code=kept.status,
        media_type=kept.headers.get("content-type", ""),
        headers={**headers, REPLAYED: "true"},
    )


async def settle(
    answers: Answers, claim: Claim, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes | None
) -> None:
    """Keep the answer of what was done; give the key back after what was refused. ``body`` ``None``: too large.

    Never raises because that cannot be written: the change stands, and so does its answer.
    """
    try:
        if status >= 400:
            await answers.release(claim.begun)
            return
        found = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
        told = {name: value for name, value in found.items() if name in _KEPT_HEADERS}
        if claim.secret or (body is not None and _MAY_HOLD_SECRET.search(body)):
            await answers.finish(claim.begun, status, told, None, SECRET)
        elif body is None:
            await answers.finish(claim.begun, status, told, None, "large")
        else:
            await answers.finish(claim.begun, status, told, body)
    except OstinatoError as error:
        _log.warning("The answer to an idempotency key could not be kept: %s", error.sentence)
