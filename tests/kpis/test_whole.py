"""The figures of the whole gateway, as they are bound: every one of them is told for an organization."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import SYSTEM, inside

from ostinato import kpis, traces


async def test_every_figure_is_told_of_an_organization() -> None:
    """No source stumbles: what is missing is so for want of data."""
    async with inside("") as world:
        (org,) = {one.org_id for one in await world.app.access.list_projects(SYSTEM)}
        window = traces.Window(world.clock.now() - 3_600_000_000, world.clock.now() + 1)
        room = world.app.governing.kpis
        page = await room.figures(kpis.Scope(org=org), window, names=list(kpis.CATALOGUE))
        told = {one.name: one.missing for one in page.figures}
    assert set(told) == set(kpis.CATALOGUE)
    assert told["drift_index"] == "no detector knows yet what is usual"
    assert told["judge_reliability"] == "no judge has been held against people"
    assert told["auditability"] == "no answer of this window was found"
    assert told["improvement_cycle_time"] == "no release of this window came into force"
    assert not [name for name, why in told.items() if "not in use" in why]
