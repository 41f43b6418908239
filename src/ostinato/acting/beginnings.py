"""How releases came about: the case that began the run that proposed them, and when each of these was."""

from collections.abc import Mapping, Sequence

from ostinato import cases, optimization, releases, traces
from ostinato.core.clock import Clock
from ostinato.kpis import Way, changes
from ostinato.traces.cubes import TRAFFIC

_HOUR = 3_600_000_000


async def ways(
    registry: releases.Releases, runs: optimization.Optimizations, room: cases.Cases, ids: Sequence[str]
) -> Mapping[str, Way]:
    """The way of each release, as far as it is known."""
    if not ids:
        return {}
    active = await registry.came_into_force(ids)
    behind = await runs.behind(ids)
    detected = await room.began_runs([run for run, _, _ in behind.values()])
    found: dict[str, Way] = {}
    for one in ids:
        run, begun, searched = behind.get(one, ("", None, None))
        found[one] = Way(detected=detected.get(run), begun=begun, searched=searched, active=active.get(one))
    return found


def answered(ledger: traces.Ledger, clock: Clock, keep_hours: float) -> changes.Answered:
    """When a release answered last, from sums; ``keep_hours``: as long as those of ten seconds are there."""

    async def find(one: releases.Release, until: int) -> int | None:
        if until < clock.now() - (keep_hours - 1) * _HOUR:
            return None
        return await ledger.newest(TRAFFIC, {"org": one.org, "project": one.project, "release": one.id}, until)

    return find
