"""``/traces`` and ``/stats``: what the ledger tells."""

import msgspec
from litestar import get
from litestar.params import FromPath, FromQuery

from ostinato.access.permissions import allows
from ostinato.core.errors import NotFound
from ostinato.traces import Filter, RequestEvent, Stats, Window
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.cache import project_within_reach
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page

_DAY = 86_400_000_000


def _without_text(event: RequestEvent) -> RequestEvent:
    extra = {name: value for name, value in (event.extra or {}).items() if name != "variables"} or None
    return msgspec.structs.replace(event, input_text=None, output_text=None, extra=extra)


async def _reach(request: Req, project: str, **more: str) -> Filter:
    """What the caller may see: never beyond its organization."""
    return Filter(org=caller_of(request).org, project=await project_within_reach(request, project), **more)


@get("/traces", opt={PERMISSION: "traces:read"})
async def tail(
    request: Req,
    after: After = None,
    limit: Limit = 50,
    project: FromQuery[str] = "",
    alias: FromQuery[str] = "",
    target: FromQuery[str] = "",
    key: FromQuery[str] = "",
    intent: FromQuery[str] = "",
    prompt: FromQuery[str] = "",
    release: FromQuery[str] = "",
    arm: FromQuery[str] = "",
) -> Page[RequestEvent]:
    """Requests, oldest first; with ``after``, those since that cursor. Texts only with ``traces:text``.

    Here ``next`` is there on the last page too: what comes later follows it.
    """
    chosen = {"intent": intent, "prompt": prompt, "release": release, "arm": arm}
    filters = await _reach(request, project, alias=alias, target=target, key_id=key, **chosen)
    page = await plane_of(request).ledger.tail(after or "", limit, filters)
    if allows(caller_of(request), "traces:text"):
        return Page(list(page.rows), page.after)
    return Page([_without_text(row) for row in page.rows], page.after)


@get("/traces/{request_id:str}", opt={PERMISSION: "traces:read"})
async def show(request: Req, request_id: FromPath[str]) -> list[RequestEvent]:
    """One request by its id, or by the ``x-request-id`` that the client gave; newest first where that is not unique."""
    rows = await plane_of(request).ledger.show(request_id, await _reach(request, ""))
    if not rows:
        raise NotFound(
            f"There is no request {request_id[:80]!r}.",
            code="trace_not_found",
            hint="Rows of other processes are there within a second; a refused key leaves none that you can see.",
        )
    keep = allows(caller_of(request), "traces:text")
    return [row if keep else _without_text(row) for row in rows]


@get("/stats", opt={PERMISSION: "stats:read"})
async def stats(
    request: Req,
    since: FromQuery[int | None] = None,
    until: FromQuery[int | None] = None,
    project: FromQuery[str] = "",
    alias: FromQuery[str] = "",
    target: FromQuery[str] = "",
    intent: FromQuery[str] = "",
    prompt: FromQuery[str] = "",
    release: FromQuery[str] = "",
    arm: FromQuery[str] = "",
) -> Stats:
    """Hit rates, latency, tokens, cost and savings of a window (UTC microseconds; the last day by default)."""
    plane = plane_of(request)
    end = until if until is not None else plane.clock.now()
    window = Window(since if since is not None else end - _DAY, end)
    chosen = {"intent": intent, "prompt": prompt, "release": release, "arm": arm}
    return await plane.ledger.stats(window, await _reach(request, project, alias=alias, target=target, **chosen))


HANDLERS = (tail, show, stats)
