"""A plan told before anything is spent, held against what the run then took."""

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from run_kit import PROMPT, Kit, opened

from ostinato import releases
from ostinato.calls.model import Limits
from ostinato.core import ids
from ostinato.prompts.model import Turn
from ostinato.signals import Signal

LONG = "Look at the thing that is named below. Think of how it looks. Say the colour. Say it in one word. " * 4


async def reworded(kit: Kit, said: str) -> None:
    """Another incumbent, whose instruction is ``said``."""
    from inside import SYSTEM
    from run_kit import PROMPT, place

    from ostinato.prompts import Draft

    turns = (Turn("system", said), Turn("user", "{{thing}}"))
    draft = Draft(messages=turns, params={"model": "plain", "max_tokens": 8})
    await kit.world.app.prompts.add_version(SYSTEM, kit.project, PROMPT, draft)
    await place(kit, 2)


@pytest.mark.parametrize(
    ("said", "count", "more"),
    [
        pytest.param("", 300, {}, marks=pytest.mark.soak),
        (LONG, 300, {}),
        pytest.param(LONG, 600, {"polish": False}, marks=pytest.mark.soak),
        ("", 450, {"review": True, "samples": 3}),
        pytest.param("", 300, {"limits": Limits(calls=1_500)}, marks=pytest.mark.soak),
    ],
    ids=["short", "long", "unpolished", "reviewed", "large"],
)
async def test_a_run_takes_about_what_was_planned(said: str, count: int, more: dict[str, Any]) -> None:
    async with opened(count, people=True) as kit:
        kit.painter.around = 4
        ann = await kit.caller()
        if said:
            await reworded(kit, said)
        plan = await kit.runs.plan(ann, kit.wish(**more), kit.project)
        assert not plan.errors, plan.errors
        run = await kit.finished(ann, **more)
        assert run.state in ("proposed", "reviewing", "refused"), run.sentence
        spent = (await kit.runs.show(ann, run.id)).spent
        about = {"calls": (spent.calls, plan.about), "tokens": (spent.tokens, plan.tokens)}
        assert spent.calls <= plan.calls, about
        for taken, planned in about.values():
            assert 0.6 * taken <= planned <= 1.4 * taken, about


async def test_a_larger_limit_makes_a_larger_search() -> None:
    """What somebody allows is used: the leaders have children until the plan is spent, or nothing is left to try."""
    found: dict[int, tuple[int, int]] = {}
    for calls in (0, 1_200):
        async with opened(300, settings={"calls": 300}) as kit:
            ann = await kit.caller()
            limits = Limits(calls=calls) if calls else Limits()
            run = await kit.finished(ann, limits=limits)
            detail = await kit.runs.detail(ann, run.id)
            searched = [one for one in detail.records if one.stage == "search"]
            found[calls] = (len(searched), len(detail.candidates))
            assert detail.spent.calls <= (calls or run.plan.calls)
    assert found[0][0] <= 300 < 450 <= found[1_200][0], found
    assert found[1_200][1] > found[0][1], "more is tried, not the same more often"


async def test_a_canary_that_would_wait_for_quality_in_vain_is_told_of() -> None:
    async with opened() as kit:
        app, ann = kit.world.app, await kit.caller()
        kit.runs._rooms = msgspec.structs.replace(kit.runs._rooms, heard=app.improving._heard)

        async def codes(**more: Any) -> set[str]:
            return {one.code for one in (await kit.runs.plan(ann, kit.wish(**more), kit.project)).notices}

        assert "no_quality_signals" in await codes()
        blind = releases.Plan(
            steps=(releases.Step(0.5, 10),), control=0.5, guardrails=releases.Guardrails(watch=("error",))
        )
        assert "no_quality_signals" not in await codes(rollout=blind)
        assert "no_quality_signals" not in await codes(rollout=releases.Plan())
        now = app.clock.now()
        told = Signal(
            id=ids.new(now), request_id=ids.new(now), at=now, org="o", project=kit.project, source="scorer",
            name="exact", value=0.0, prompt=PROMPT,
        )  # fmt: skip
        app.signals.record([told])
        assert "no_quality_signals" not in await codes()
