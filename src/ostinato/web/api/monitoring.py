"""``/detectors``: what watches for drift, what it knows, and the alarms that it has raised."""

from typing import Annotated

import msgspec
from litestar import delete, get, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato import monitoring
from ostinato.cases.model import Alarm
from ostinato.monitoring import Declaration, Declared, Watched
from ostinato.web.api.access import Req, Version, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page
from ostinato.web.api.slashes import slashed

Project = Annotated[
    str | None,
    QueryParameter(max_length=200, description="Id, short name or organization/project; left out: the key's own."),
]
Reason = Annotated[str, QueryParameter(max_length=2000, description="Why; kept beside the audit leaf.")]
Intent = Annotated[
    str | None,
    QueryParameter(max_length=255, description="Its key; empty: requests of no intent; left out: of all."),
]


class DetectorKind(msgspec.Struct):
    name: str
    title: str
    feed: str
    """What it is fed with."""
    options: list[str]
    """Names of its configuration."""


class NewDetector(Declaration, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A detector as it is to be declared. What it has learnt is forgotten, even where nothing else changes."""

    reason: str = ""


class DriftIndex(msgspec.Struct):
    """The largest statistic over its threshold."""

    intent: str | None
    index: float | None
    """At least 1 for a day after an alarm; ``null``: nothing is known well enough yet."""


@get("/detectors/kinds", opt={PERMISSION: "monitoring:read"}, sync_to_thread=False)
def list_detector_kinds() -> list[DetectorKind]:
    """The kinds of detectors that there are, with what each can be told."""
    return [DetectorKind(*one) for one in monitoring.kinds_of()]


@get("/detectors", opt={PERMISSION: "monitoring:read"})
async def list_detectors(
    request: Req, project: Project = None, intent: Intent = None, after: After = None, limit: Limit = 100
) -> Page[Declared]:
    """The detectors of a project by name: those that stakes bring along, and those that are declared."""
    room = plane_of(request).governing.monitoring
    found = await room.list(caller_of(request), project=project, intent=intent, after=after or "", limit=limit)
    return page(found, limit, lambda one: one.name)


@get("/detectors/state", opt={PERMISSION: "monitoring:read"})
async def list_detector_states(
    request: Req,
    project: Project = None,
    intent: Intent = None,
    detector: FromQuery[str] = "",
    after: After = None,
    limit: Limit = 100,
) -> Page[Watched]:
    """What each detector knows of each series that it watches: statistic, threshold, and what is usual."""
    room = plane_of(request).governing.monitoring
    found = await room.state(
        caller_of(request), project=project, intent=intent, detector=detector, after=after or "", limit=limit
    )
    return Page([one for _, one in found], found[-1][0] if found and len(found) >= limit else None)


@get("/detectors/index", opt={PERMISSION: "monitoring:read"})
async def show_drift_index(request: Req, project: Project = None, intent: Intent = None) -> DriftIndex:
    """The drift index of a project, or of one of its intents."""
    room = plane_of(request).governing.monitoring
    home = await room.registry.find(caller_of(request), project)
    return DriftIndex(intent, await room.index(home.id, intent))


@get("/detectors/alarms", opt={PERMISSION: "monitoring:read"})
async def list_detector_alarms(
    request: Req, project: Project = None, after: After = None, limit: Limit = 100
) -> Page[Alarm]:
    """The alarms that detectors have raised, newest first. Each has opened a case, or joined one."""
    room = plane_of(request).governing.monitoring
    found = await room.alarms(caller_of(request), project=project, after=after or "", limit=limit)
    return page(found, limit, lambda one: one.id)


@get("/detectors/{ref:str}", opt={PERMISSION: "monitoring:read"})
async def show_detector(request: Req, ref: FromPath[str], project: Project = None) -> Declared:
    """One detector, declared or brought along by stakes."""
    return await plane_of(request).governing.monitoring.show(caller_of(request), slashed(ref), project=project)


@put("/detectors/{ref:str}", opt={PERMISSION: "monitoring:write"})
async def put_detector(
    request: Req,
    ref: FromPath[str],
    data: JSONBody[NewDetector],
    project: Project = None,
    version: Version = None,
) -> Declared:
    """Declare a detector, or change it; by the name of a default one it takes its place. It begins to learn anew."""
    told = msgspec.structs.asdict(data)
    reason = told.pop("reason")
    return await plane_of(request).governing.monitoring.declare(
        caller_of(request), slashed(ref), Declaration(**told), project=project, version=version, reason=reason
    )


@delete("/detectors/{ref:str}", opt={PERMISSION: "monitoring:write"}, status_code=200)
async def remove_detector(request: Req, ref: FromPath[str], project: Project = None, reason: Reason = "") -> Declared:
    """Watch by this declaration no more; the default that it took the place of comes back."""
    return await plane_of(request).governing.monitoring.remove(
        caller_of(request), slashed(ref), project=project, reason=reason
    )


HANDLERS = (
    list_detector_kinds,
    list_detectors,
    list_detector_states,
    show_drift_index,
    list_detector_alarms,
    show_detector,
    put_detector,
    remove_detector,
)
