"""The drift index; and how soon what drifts is found, how soon it is contained, how often it was nothing."""

import statistics
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeAlias

from ostinato.kpis.kpis import Source
from ostinato.kpis.measuring import MICROS, none, share
from ostinato.kpis.model import Reading, Scope
from ostinato.kpis.told import Projects, places
from ostinato.traces import Window

KINDS = frozenset(
    {"quality", "errors", "refusals", "format", "latency", "cost", "mix", "cache", "model", "judge", "missing-data"}
)
"""Cases of these kinds are opened by detectors."""
_BY_OTHERS = ("alert:", "people:")
_CONFIDENCE = 0.95

Index: TypeAlias = Callable[[str, str | None], Awaitable[float | None]]


class Handled(Protocol):
    """A case: UTC microseconds."""

    @property
    def detector(self) -> str: ...
    @property
    def began(self) -> int: ...
    @property
    def opened(self) -> int: ...
    @property
    def contained(self) -> int | None: ...
    @property
    def state(self) -> str: ...


class Cases(Protocol):
    """Who knows the cases of a window: organization, project, intent (empty: all), since, until, kinds."""

    async def __call__(
        self, org: str, project: str, intent: str, since: int, until: int, kinds: frozenset[str], /
    ) -> Sequence[Handled]: ...


def drift(index: Index, projects: Projects, cases: Cases) -> Source:
    """The largest statistic of a detector over its threshold, as it stands; of all projects, where none is named. The
    cases that detectors opened are those of the window."""

    async def read(scope: Scope, window: Window) -> Reading:
        opened = await cases(scope.org, scope.project, scope.intent, window.since, window.until, KINDS)
        told = _told([one for one in opened if not one.detector.startswith(_BY_OTHERS)])
        found: dict[str, float] = {}
        for place, named in await places(scope, projects):
            one = await index(place, scope.intent or None)
            if one is not None:
                found[named.rstrip("/")] = one
        if not found:
            return none("no detector knows yet what is usual", told)
        worst = max(found, key=lambda name: found[name])
        detail = told if scope.project else {"project": worst, "all": found, **told}
        return Reading(value=found[worst], n=len(found), detail=detail)

    return read


def _told(opened: Sequence[Handled]) -> dict[str, object]:
    """Medians in seconds; a false alarm is a case that somebody dismissed, of those that have ended."""
    if not opened:
        return {"cases": 0}
    ended = [one for one in opened if one.state in ("closed", "dismissed")]
    false = share(sum(one.state == "dismissed" for one in ended), len(ended), _CONFIDENCE)
    return {
        "cases": len(opened),
        "time_to_detect": _seconds([one.opened - one.began for one in opened]),
        "time_to_contain": _seconds([one.contained - one.opened for one in opened if one.contained is not None]),
        "contained": sum(one.contained is not None for one in opened),
        "false_alarms": {"value": false.value, "n": len(ended), "low": false.low, "high": false.high},
    }


def _seconds(spans: Sequence[int]) -> float | None:
    return statistics.median(max(0, span) for span in spans) / MICROS if spans else None
