"""``/signals``: what is known of answers: feedback, outcomes, scores, verdicts. They are told at ``/v1/feedback``."""

from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from litestar import get
from litestar.params import FromPath, FromQuery, QueryParameter

from ostinato import traces
from ostinato.access.permissions import allows
from ostinato.core.errors import NotFound
from ostinato.signals import LONGEST_CLASS, Filter, Signal, Summary
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.cache import project_within_reach
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page

SourceOf = Annotated[
    Literal["feedback", "outcome", "scorer", "review"] | None,
    QueryParameter(name="source", description="Of this only."),
]
Since = Annotated[int | None, QueryParameter(description="UTC microseconds, included.")]
Until = Annotated[int | None, QueryParameter(description="UTC microseconds, excluded.")]
By = Annotated[
    str,
    QueryParameter(max_length=100, description="`prompt`, `release`, `arm`, with commas: told apart by these, too."),
]


async def _filter(
    request: Req,
    project: str,
    chosen: Mapping[str, str | None] | None = None,
    since: int | None = None,
    until: int | None = None,
) -> Filter:
    """What the caller may see: never beyond its organization. ``chosen``: fields that must be equal."""
    within = await project_within_reach(request, project)
    given = {name: value for name, value in (chosen or {}).items() if value}
    found = Filter(org=caller_of(request).org, project=within, since=since, until=until)
    return msgspec.structs.replace(found, **given)


def _told(request: Req, one: Signal) -> Signal:
    """Free text only for who may read texts."""
    if allows(caller_of(request), "traces:text"):
        return one
    return msgspec.structs.replace(one, comment=None, label=one.label if len(one.label) <= LONGEST_CLASS else "")


@get("/signals", opt={PERMISSION: "signals:read"})
async def list_signals(
    request: Req,
    after: After = None,
    limit: Limit = 100,
    project: FromQuery[str] = "",
    origin: SourceOf = None,
    name: FromQuery[str] = "",
    prompt: FromQuery[str] = "",
    release: FromQuery[str] = "",
    arm: FromQuery[str] = "",
    intent: FromQuery[str] = "",
    since: Since = None,
    until: Until = None,
    newest: FromQuery[bool] = False,
) -> Page[Signal]:
    """Signals in the order of writing, or the ``newest`` first. Comments, and labels that are texts, only with
    ``traces:text``."""
    chosen = {"source": origin, "name": name, "prompt": prompt, "release": release, "arm": arm, "intent": intent}
    filters = await _filter(request, project, chosen, since, until)
    found = await plane_of(request).signals.query(filters, after or "", limit, newest=newest)
    told = [_told(request, one) for one in found.signals]
    return Page(told, found.after if len(told) == limit else None)


@get("/signals/summary", opt={PERMISSION: "signals:read"})
async def summarize_signals(
    request: Req,
    project: FromQuery[str] = "",
    origin: SourceOf = None,
    name: FromQuery[str] = "",
    prompt: FromQuery[str] = "",
    release: FromQuery[str] = "",
    arm: FromQuery[str] = "",
    intent: FromQuery[str] = "",
    since: Since = None,
    until: Until = None,
    by: By = "",
) -> list[Summary]:
    """What signals come to by source and name: counts, the weighted mean, labels."""
    chosen = {"source": origin, "name": name, "prompt": prompt, "release": release, "arm": arm, "intent": intent}
    filters = await _filter(request, project, chosen, since, until)
    slices = [part.strip() for part in by.split(",") if part.strip()]
    found = await plane_of(request).signals.summary(filters, slices)
    if allows(caller_of(request), "traces:text"):
        return list(found)
    classes = ({label: n for label, n in one.labels.items() if len(label) <= LONGEST_CLASS} for one in found)
    return [msgspec.structs.replace(one, labels=labels) for one, labels in zip(found, classes, strict=True)]


@get("/signals/{request_id:str}", opt={PERMISSION: "signals:read"})
async def signals_of_request(request: Req, request_id: FromPath[str]) -> list[Signal]:
    """All that is known of one request, oldest first."""
    filters = await _filter(request, "")
    found = await plane_of(request).signals.of(request_id, filters)
    if not found:
        within = traces.Filter(org=filters.org, project=filters.project)
        if not await plane_of(request).ledger.show(request_id, within):
            raise NotFound(f"There is no request {request_id[:80]!r}.", code="trace_not_found")
    return [_told(request, one) for one in found]


HANDLERS = (list_signals, summarize_signals, signals_of_request)
