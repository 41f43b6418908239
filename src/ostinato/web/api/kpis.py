"""``/kpis`` and ``/outcomes``: figures of a window, their course, and what became of interactions."""

from typing import Annotated, Literal

import msgspec
from litestar import get, post
from litestar.params import FromQuery, JSONBody, QueryParameter

from ostinato import audit, kpis
from ostinato.access import actor_name, principal_of
from ostinato.core.errors import Invalid
from ostinato.kpis import Scope
from ostinato.kpis.outcomes import MOST, Outcome, Taken
from ostinato.traces import Window
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.cache import project_within_reach
from ostinato.web.api.guarding import PERMISSION, caller_of

_DAY = 86_400_000_000

Since = Annotated[int | None, QueryParameter(description="UTC microseconds, included; left out: a day before `until`.")]
Until = Annotated[int | None, QueryParameter(description="UTC microseconds, excluded; left out: now.")]
By = Annotated[
    str, QueryParameter(max_length=100, description="`intent`, `prompt`, `release`, `arm`, `tier`, with commas.")
]
Names = Annotated[str, QueryParameter(max_length=2_000, description="These figures only, with commas.")]
Preset = Annotated[
    Literal["support", "developer", "search", "compliance"] | None,
    QueryParameter(description="What a use case looks at daily."),
]
Tier = Annotated[Literal["hit", "miss"] | None, QueryParameter(description="Answered from cache, or not.")]
Step = Annotated[int, QueryParameter(description="Seconds of a bucket: 10, 60, 3600 or 86400.")]


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of the catalogue."""

    name: str
    group: str
    title: str
    formula: str
    unit: str
    better: str
    """``higher``, ``lower``, or empty."""
    pairs: tuple[str, ...]
    """Shown beside it."""
    cuts: tuple[str, ...]
    """What it can be told apart by."""
    presets: tuple[str, ...]


class Told(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Outcomes, at most a thousand."""

    outcomes: tuple[Outcome, ...]
    project: str = ""
    """Id or short name; the key's own if left out."""
    dry_run: bool = False
    """Only say what would become of them."""


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


async def _scope(request: Req, project: str, tier: Literal["hit", "miss"] | None, **chosen: str) -> Scope:
    """What the caller may see: never beyond its organization."""
    within = await project_within_reach(request, project)
    return Scope(org=caller_of(request).org, project=within, tier=tier or "", **chosen)


def _window(request: Req, since: int | None, until: int | None) -> Window:
    end = plane_of(request).clock.now() if until is None else until
    begin = end - _DAY if since is None else since
    if not 0 <= begin < end < 2**53:
        raise Invalid("A window begins before it ends.", code="invalid_window", param="since")
    return Window(begin, end)


@get("/kpis", opt={PERMISSION: "kpis:read"})
async def figures(
    request: Req,
    since: Since = None,
    until: Until = None,
    project: FromQuery[str] = "",
    intent: FromQuery[str] = "",
    prompt: FromQuery[str] = "",
    release: FromQuery[str] = "",
    arm: FromQuery[str] = "",
    tier: Tier = None,
    by: By = "",
    names: Names = "",
    preset: Preset = None,
) -> kpis.Page:
    """Figures of a window, each with its n and interval; missing data as missing. Paired ones come together."""
    scope = await _scope(request, project, tier, intent=intent, prompt=prompt, release=release, arm=arm)
    window = _window(request, since, until)
    return await plane_of(request).governing.kpis.figures(
        scope, window, by=_words(by), names=_words(names), preset=preset or ""
    )


@get("/kpis/catalogue", opt={PERMISSION: "kpis:read"})
async def catalogue() -> list[Described]:
    """Every figure that there is, and how it is made."""
    return [
        Described(
            name=one.name,
            group=one.group,
            title=one.title,
            formula=one.formula,
            unit=one.unit,
            better=one.better,
            pairs=one.pairs,
            cuts=one.cuts,
            presets=tuple(name for name, members in kpis.PRESETS.items() if one.name in members),
        )
        for one in kpis.CATALOGUE.values()
    ]


@get("/kpis/series", opt={PERMISSION: "kpis:read"})
async def series(
    request: Req,
    name: FromQuery[str] = "first_pass_success",
    since: Since = None,
    until: Until = None,
    step: Step = 3_600,
    project: FromQuery[str] = "",
    intent: FromQuery[str] = "",
    prompt: FromQuery[str] = "",
    release: FromQuery[str] = "",
    arm: FromQuery[str] = "",
    tier: Tier = None,
    by: By = "",
) -> list[kpis.Point]:
    """The course of one figure, oldest bucket first; buckets without data are left out."""
    scope = await _scope(request, project, tier, intent=intent, prompt=prompt, release=release, arm=arm)
    window = _window(request, since, until)
    return list(await plane_of(request).governing.kpis.series(name, scope, window, step=step, by=_words(by)))


@get("/kpis/markers", opt={PERMISSION: "kpis:read"})
async def markers(
    request: Req,
    since: Since = None,
    until: Until = None,
    project: FromQuery[str] = "",
    intent: FromQuery[str] = "",
    prompt: FromQuery[str] = "",
    release: FromQuery[str] = "",
) -> list[kpis.Marker]:
    """Where releases began to answer and ceased to, oldest first: what stands beside a figure's course."""
    scope = await _scope(request, project, None, intent=intent, prompt=prompt, release=release)
    return list(await plane_of(request).governing.kpis.markers(scope, _window(request, since, until)))


@post("/outcomes", opt={PERMISSION: "feedback:write"}, status_code=200)
async def take_outcomes(request: Req, data: JSONBody[Told]) -> Taken:
    """Tell what became of requests and conversations, many at once; what cannot be used is told by its place."""
    caller, plane = caller_of(request), plane_of(request)
    # A service tells what it has seen: its own project it may name without being able to look at projects.
    own = data.project in ("", caller.project)
    project = caller.project if own else await project_within_reach(request, data.project)
    if not 0 < len(data.outcomes) <= MOST:
        raise Invalid(f"From 1 to {MOST:,} outcomes at once.", code="invalid_outcomes", param="outcomes")
    outcomes = plane.governing.outcomes
    prepared = await outcomes.prepare(caller.org, project, actor_name(caller), data.outcomes)
    taken = prepared.taken
    facts: dict[str, str | int] = {
        "accepted": taken.accepted,
        "duplicates": taken.duplicates,
        "refused": len(taken.refused),
        "dry_run": int(data.dry_run),
    }
    deed = audit.Deed(
        actor=actor_name(caller),
        principal=principal_of(caller),
        action="outcomes:write",
        resource=f"project:{project}",
        org=caller.org,
        project=project,
        reason=audit.occasion().reason,
        facts=facts,
    )
    await plane.audit.record(deed)  # first: without its leaf nothing is written
    if not data.dry_run:
        outcomes.write(prepared)
    return taken


HANDLERS = (figures, catalogue, series, markers, take_outcomes)
