"""A run from its plan to a proposed release, and everything that keeps one from beginning or from ending well."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from run_kit import PROMPT, opened

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


async def test_prompts_that_quote_an_example_are_told_when_it_is_erased() -> None:
    async with opened() as kit:
        ann = await kit.caller()
        run = await kit.finished(ann)
        detail = await kit.runs.detail(ann, run.id)
        champion = next(one for one in detail.candidates if one.id == run.champion)
        assert champion.shots, "this model is helped by examples"
        told = await kit.runs.quoting(ann, kit.project, champion.shots[:1])
        assert (told[0].prompt, told[0].number, told[0].candidate) == (PROMPT, run.number, champion.id)
        assert all(one.examples == champion.shots[:1] for one in told)
        with_it = [one for one in detail.candidates if champion.shots[0] in one.shots]
        assert {one.candidate for one in told} == {one.id for one in with_it}
        assert await kit.runs.quoting(ann, kit.project, ["e" * 32]) == ()
