"""A run from its plan to a proposed release, and everything that keeps one from beginning or from ending well."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from run_kit import opened

from ostinato.access import SystemActor

SYSTEM = SystemActor("test")


async def test_a_run_ends_in_a_proposed_release() -> None:
    async with opened() as kit:
        ann = await kit.caller()
        plan = await kit.runs.plan(ann, kit.wish(), kit.project)
        assert not plan.errors, plan.errors
        run = await kit.finished(ann)
        assert run.state == "proposed", run
        progress = await kit.runs.show(ann, run.id)
        assert progress.spent.calls == len(kit.painter.asked)
        release = (await kit.world.app.releases.show(SYSTEM, run.release)).release
        assert release.plan.guardrails is not None, "nobody wished for a rollout: it is watched for harm all the same"
        assert [one.share for one in release.plan.steps] == [0.25, 0.5] and release.plan.control == 0.5
