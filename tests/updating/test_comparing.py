"""Who gains and who loses: an experiment for each prompt with a dataset, the sealed part left alone."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "evals"))

from experiment_kit import EXACT, Lab, Model, right
from inside import SYSTEM, inside
from updating_kit import MODELS, QUICK, planned, room

from ostinato import evals, prompts, updating
from ostinato.core.clock import SystemClock
from ostinato.core.errors import Conflict
from ostinato.updating import reporting

Say = Callable[[str], str]


async def compared(old: Say, new: Say, look: Callable[[Lab, updating.Update], object]) -> None:
    """Plan, compare, and hand over what came of it."""
    async with inside(base=MODELS, clock=SystemClock()) as world:
        models = Model(), Model()
        for name, model, say in zip(("fake", "other"), models, (old, new), strict=True):
            model.say = say
            world.provider(name).chat = model.chat  # pyright: ignore
        lab, project = Lab(world, models[0]), await world.first_project()
        await lab.dataset(200)
        for name in ("judged", "unjudged"):
            draft = prompts.Draft(text="Good: {{text}}", params={"model": "used"})
            await world.app.prompts.create(SYSTEM, project, name, kind="text", draft=draft)
        wish = evals.Wish(
            dataset="topics", splits=("train",), scorers=(EXACT,), variants=(evals.Contender(prompt="judged@1"),)
        )
        first = await world.app.experiments.create(SYSTEM, wish, project=project)
        await lab.ended(first.id)
        await asyncio.to_thread(world.app.recorder.flush)
        made = await planned(world)
        done = look(lab, made)
        assert asyncio.iscoroutine(done)
        await done


def bad(prompt: str) -> str:
    return right(2)(prompt.replace("Good", "Bad"))


async def test_the_loser_is_found_and_keeps_the_change_from_beginning() -> None:
    async def look(lab: Lab, made: updating.Update) -> None:
        door, world = room(lab.world), lab.world
        uses = {one.prompt: one for one in made.uses}
        assert (uses["judged"].dataset, uses["judged"].unknown) == ("topics", "")
        assert uses["judged"].calls_needed == 2 * uses["judged"].examples > 0
        assert uses["unjudged"].unknown
        # What the experiment has asked is no traffic of anybody's; it tells how long questions and answers are.
        assert made.traffic == () and uses["judged"].calls == 0 and uses["judged"].cost is None
        assert (uses["judged"].cost_estimated or 0) > 0
        wish = updating.Start(rollout=QUICK)
        with pytest.raises(Conflict, match="not known yet"):
            await door.start(SYSTEM, made.id, wish)
        ran = await door.run(SYSTEM, made.id, updating.Wish())
        (trial,) = ran.trials
        ended = await lab.ended(trial.experiment)
        assert (ended.experiment.state, ended.experiment.splits) == ("done", ("dev",))
        report = await door.report(SYSTEM, made.id)
        lines = {one.prompt: one for one in report.lines}
        lost = lines["judged"]
        assert (lost.verdict, lines["unjudged"].verdict) == ("loses", "unknown")
        assert lost.losses > lost.wins == 0 and lost.difference is not None and lost.difference.high < 0
        assert lost.losses + lost.ties == lost.pairs == ended.experiment.examples
        with pytest.raises(Conflict, match="judged loses"):
            await door.start(SYSTEM, made.id, wish)
        page = reporting.page(report)
        assert "judged@1" in page and "loses" in page and "sealed holdout takes no part" in page
        wanted = updating.Start(rollout=QUICK, accept="The owner of judged knows.")
        begun = await door.start(SYSTEM, made.id, wanted)
        assert (begun.state, begun.accepted) == ("canary", "The owner of judged knows.")
        assert (await world.app.datasets.looks(SYSTEM, "topics", project=made.project)) in ([], ())

    await compared(right(10_000), bad, look)


async def test_the_same_model_under_another_name_loses_nothing() -> None:
    async def look(lab: Lab, made: updating.Update) -> None:
        ran = await room(lab.world).run(SYSTEM, made.id, updating.Wish(examples=20))
        await lab.ended(ran.trials[0].experiment)
        report = await room(lab.world).report(SYSTEM, made.id)
        (line,) = report.of("no difference shown")
        assert (line.pairs, line.ties) == (20, 20)
        assert (await room(lab.world).start(SYSTEM, made.id, updating.Start(rollout=QUICK))).state == "canary"

    await compared(right(3), right(3), look)


async def test_a_silent_change_is_held_against_the_answers_from_before() -> None:
    async def look(lab: Lab, made: updating.Update) -> None:
        door, project = room(lab.world), made.project
        before = evals.Wish(
            dataset="topics", splits=("dev",), scorers=(EXACT,), variants=(evals.Contender(prompt="judged@1"),)
        )
        await lab.ended((await lab.door.create(SYSTEM, before, project=project)).id)
        await door.abandon(SYSTEM, made.id)
        lab.model.say = bad
        found = await door.suspect("fake/plain", {"statistic": 4.0}, project=project)
        (opened,) = [one for one in found if one.alias == "used"]
        ran = await door.run(SYSTEM, opened.id, updating.Wish())
        await lab.ended(ran.trials[0].experiment)
        (line,) = (await door.report(SYSTEM, opened.id)).of("loses")
        assert line.losses > 0 and line.wins == 0

    await compared(right(10_000), right(10_000), look)


def test_holm_is_over_all_prompts() -> None:
    """Twenty prompts of which none is worse: one p of 0.03 among them is no loss."""
    from ostinato.statistics import Interval

    def measured(p: float) -> reporting.Measured:
        pair = evals.Comparison(
            base="old",
            variant="new",
            pairs=50,
            unpaired=0,
            wins=1,
            losses=8,
            ties=41,
            difference=Interval(-0.3, -0.01, -0.14),
            p=p,
            test="mcnemar",
            cost=None,
        )
        return reporting.Measured("done", None, None, pair)

    trials = tuple(updating.model.Trial(prompt=f"p{n}", number=1, experiment=f"e{n}") for n in range(20))
    update = updating.Update(
        id="u",
        org="o",
        project="p",
        alias="a",
        old=("x/y",),
        targets=("x/z",),
        trials=trials,
        created_at=0,
        created_by="me",
    )
    found = {f"e{n}": measured(0.03 if n == 0 else 0.9) for n in range(20)}
    assert {one.verdict for one in reporting.lines(update, found)} == {"no difference shown"}
    found["e0"] = measured(0.001)
    assert [one.prompt for one in reporting.lines(update, found) if one.verdict == "loses"] == ["p0"]
