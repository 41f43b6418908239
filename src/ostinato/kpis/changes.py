"""Figures of changes: how long an improvement takes from its cause to being in force, and how well releases go."""

import math
import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from ostinato.access import SystemActor
from ostinato.kpis.kpis import Marking, Source
from ostinato.kpis.measuring import none, share
from ostinato.kpis.model import Marker, Reading, Scope
from ostinato.releases import Release
from ostinato.traces import Window
from ostinato.traces.rollup import FINEST, SECOND

_SYSTEM = SystemActor("kpis")
_PAGE, _MOST = 500, 5_000
_AFTER = 600 * SECOND
"""How long after a decision to roll back answers of the release are looked for."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How a release came about, UTC microseconds each; ``None``: it is not known, or there was no such thing."""

    detected: int | None = None
    """When the case was opened that began the run."""
    begun: int | None = None
    """When the run began that proposed the release."""
    searched: int | None = None
    """When that run had its candidates, and began to prove the best one."""
    active: int | None = None
    """When the release came into force with all of its traffic."""


Ways: TypeAlias = Callable[[Sequence[str]], Awaitable[Mapping[str, Way]]]
"""Ids of releases -> how each came about."""
Answered: TypeAlias = Callable[[Release, int], Awaitable[int | None]]
"""``answered(release, until)``: start of the newest ten seconds before ``until`` in which it answered."""


class Releases(Protocol):
    async def list(
        self, actor: SystemActor, *, project: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Release]: ...


async def _begun(releases: Releases, scope: Scope, window: Window) -> list[Release]:
    """Releases of the scope that began before the window's end."""
    found: list[Release] = []
    after = ""
    for _ in range(_MOST // _PAGE):
        page = await releases.list(_SYSTEM, project=scope.project or None, after=after, limit=_PAGE)
        found += page
        if len(page) < _PAGE:
            break
        after = page[-1].id
    return [
        one
        for one in found
        if one.org == scope.org
        and one.started_at is not None
        and one.started_at < window.until
        and scope.intent in ("", one.intent)
        and scope.prompt in ("", one.prompt)
        and scope.release in ("", one.id)
    ]


async def _started(releases: Releases, scope: Scope, window: Window) -> list[Release]:
    """Releases of the scope that began in the window."""
    found = await _begun(releases, scope, window)
    return [one for one in found if one.started_at is not None and one.started_at >= window.since]


def marking(releases: Releases) -> Marking:
    """Where releases began to answer and ceased to, oldest first."""

    async def read(scope: Scope, window: Window) -> list[Marker]:
        found: list[Marker] = []
        for one in await _begun(releases, scope, window):
            for at, what, why in ((one.started_at, "started", one.reason), (one.ended_at, one.state, one.ended_why)):
                if at is None or not window.since <= at < window.until:
                    continue
                found.append(
                    Marker(
                        at=at,
                        what=what,
                        release=one.id,
                        project=one.project,
                        prompt=one.prompt,
                        label=one.label,
                        number=one.number,
                        why=why,
                    )
                )
        return sorted(found, key=lambda one: (one.at, one.release))

    return read


def failures(releases: Releases) -> Source:
    """Releases rolled back, of those that were started."""

    async def read(scope: Scope, window: Window) -> Reading:
        found = await _started(releases, scope, window)
        back = sum(one.state == "rolled_back" for one in found)
        return share(back, len(found), 0.95, "no release was started in this window")

    return read


def rollback_times(releases: Releases, answered: Answered) -> Source:
    """From the decision to roll back to the last answer of that release by any process, in seconds: at most, as
    answers are counted by ten seconds. How long the releases had stood is told beside it."""

    async def read(scope: Scope, window: Window) -> Reading:
        took: list[float] = []
        stood: list[float] = []
        for one in await _started(releases, scope, window):
            if one.state != "rolled_back" or one.ended_at is None or one.started_at is None:
                continue
            stood.append((one.ended_at - one.started_at) / SECOND)
            last = await answered(one, one.ended_at + _AFTER)
            if last is not None and last >= one.ended_at - _AFTER:  # else nobody asked it any more
                took.append(max(0, last + FINEST - one.ended_at) / SECOND)
        detail: dict[str, Any] = {"rolled_back": len(stood), "within": FINEST / SECOND}
        if stood:
            detail["stood"] = statistics.median(stood)
        if stood and not took:
            return none("the releases that were rolled back have answered nothing, or too long ago to tell", detail)
        return _median(sorted(took), "no release of this window was rolled back", detail)

    return read


def cycle_times(releases: Releases, ways: Ways) -> Source:
    """From what was found to be wrong to an improvement in force; from the run's start or the proposal where nothing
    was found before it, which is told."""

    async def read(scope: Scope, window: Window) -> Reading:
        started = await _started(releases, scope, window)
        came = await ways([one.id for one in started])
        whole: list[float] = []
        parts: dict[str, list[float]] = {}
        for one in started:
            way = came.get(one.id, Way())
            active = way.active
            if active is None or one.started_at is None or one.state not in ("active", "superseded"):
                continue
            first = next(at for at in (way.detected, way.begun, one.proposed_at) if at is not None)
            whole.append((active - first) / SECOND)
            marks = {
                "detect": (way.detected, way.begun),
                "propose": (way.begun, way.searched),
                "evaluate": (way.searched, one.proposed_at if way.begun is not None else None),
                "approve": (one.proposed_at, one.started_at),
                "roll_out": (one.started_at, active),
            }
            for name, (begin, end) in marks.items():
                if begin is not None and end is not None:
                    parts.setdefault(name, []).append(max(0, end - begin) / SECOND)
        detail: dict[str, Any] = {name: statistics.median(found) for name, found in parts.items()}
        for name, why in (("detect", "no case began it"), ("propose", "no run proposed it")):
            if lacking := len(whole) - len(parts.get(name, ())):
                detail[f"{name}_missing"] = f"of {lacking} of {len(whole)} releases: {why}"
        return _median(sorted(whole), "no release of this window came into force", detail)

    return read


def _median(values: Sequence[float], why: str, detail: Mapping[str, Any] | None = None) -> Reading:
    """A median of few values: the interval is between order statistics, where there are enough."""
    if not values:
        return none(why)
    n = len(values)
    # Ranks of the 95 % interval of a median, by the normal approximation of the binomial; below 6 there is none.
    spread = 1.96 * math.sqrt(n)
    low, high = round((n - spread) / 2), round(1 + (n + spread) / 2)
    bounded = n >= 6
    return Reading(
        value=statistics.median(values),
        n=n,
        low=values[max(low, 1) - 1] if bounded else None,
        high=values[min(high, n) - 1] if bounded else None,
        detail={**(detail or {}), "longest": values[-1]},
    )
