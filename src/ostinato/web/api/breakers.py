"""``/breakers``: intents that answer by their safe behaviour, and targets that are not asked."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato.breakers import Trip
from ostinato.core.errors import Invalid
from ostinato.web.api.access import Req, Version, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page

State = Annotated[
    str, QueryParameter(name="state", description="`open` (all but closed), `tripped`, `half-open` or `closed`.")
]


class NewTrip(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What shall not answer as usual: an intent, or a target."""

    intent: str = ""
    target: str = ""
    """``provider/model``; for every organization, so it takes ``organizations:write``."""
    project: str | None = None
    """The intent's: id or short name; the key's own if left out."""
    code: str = "by-hand"
    """Why, in one word of a-z, 0-9 and dash: callers of the data plane see it."""
    reason: str = ""
    """Why, in words; they do not see it."""
    held: bool = True
    """Whether it stays tripped until somebody closes it; else trials begin after the cool-down."""


class Word(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


@get("/breakers", opt={PERMISSION: "breakers:read"})
async def list_breakers(
    request: Req,
    project: FromQuery[str] = "",
    intent: FromQuery[str] = "",
    standing: State = "",
    after: After = None,
    limit: Limit = 100,
) -> Page[Trip]:
    """Trips that the key reaches, the newest first; targets are everybody's to see."""
    found = await plane_of(request).governing.breakers.list(
        caller_of(request), project=project or None, intent=intent, state=standing, after=after or "", limit=limit
    )
    return page(found, limit, lambda one: one.id)


@post("/breakers", opt={PERMISSION: "breakers:operate"})
async def trip_breaker(request: Req, data: JSONBody[NewTrip]) -> Trip:
    """Trip an intent: from its next request on it answers by what it declares as `safety`. What is tripped stays so."""
    if bool(data.intent) == bool(data.target):
        raise Invalid("Name an intent, or a target.", code="invalid_request", param="intent")
    room, caller = plane_of(request).governing.breakers, caller_of(request)
    if data.target:
        return await room.hold_target(caller, data.target, code=data.code, reason=data.reason)
    return await room.trip(caller, data.project, data.intent, code=data.code, reason=data.reason, held=data.held)


@get("/breakers/{ref:str}", opt={PERMISSION: "breakers:read"})
async def show_breaker(request: Req, ref: FromPath[str]) -> Trip:
    """One trip."""
    return await plane_of(request).governing.breakers.show(caller_of(request), ref)


@post("/breakers/{ref:str}/close", opt={PERMISSION: "breakers:operate"}, status_code=200)
async def close_breaker(
    request: Req, ref: FromPath[str], data: JSONBody[Word | None] = None, version: Version = None
) -> Trip:
    """Let an intent or a target go on as usual."""
    reason = data.reason if data is not None else ""
    return await plane_of(request).governing.breakers.close(caller_of(request), ref, reason, version)


HANDLERS = (list_breakers, trip_breaker, show_breaker, close_breaker)
