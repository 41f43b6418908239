"""Scorers declared, traffic sampled, judges calibrated, in the whole gateway."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import SYSTEM, World, inside, settle, until

from ostinato import datasets, scorers
from ostinato.core.errors import Conflict, Invalid, NotFound
from ostinato.scorers import NewRule, Spec, calibrating
from ostinato.signals import Filter


async def signals(world: World, **wanted: Any) -> list[Any]:
    """Signals of the first project, once everything that was drawn is scored and written."""
    await world.app.sampler.drain()
    await asyncio.to_thread(world.app.signals.flush)
    project = await world.first_project()
    found = await world.app.signals.query(Filter(project=project, **wanted), limit=1000)
    return list(found.signals)


async def sample(world: World, share: float = 1.0, *specs: Spec, **more: Any) -> None:
    """A rule over scorers, declared for the first project."""
    project = await world.first_project()
    declared = specs or (Spec(kind="length", config={"good": 1000}),)
    for spec in declared:
        await world.app.scorers.declare(SYSTEM, spec, project=project)
    names = tuple(scorers.name_of(spec) for spec in declared)
    wish = NewRule(name="rule", share=share, scorers=names, **more)
    await world.app.scorers.put_rule(SYSTEM, wish, project=project)


# --- declaring ------------------------------------------------------------------------------------------------------


async def test_a_scorer_has_versions_and_the_same_again_is_none() -> None:
    async with inside() as world:
        project, door = await world.first_project(), world.app.scorers
        first = await door.declare(SYSTEM, Spec(kind="numeric", name="sum"), project=project)
        same = await door.declare(SYSTEM, Spec(kind="numeric", name="sum"), project=project)
        second = await door.declare(
            SYSTEM, Spec(kind="numeric", name="sum", config={"absolute": 1}), project=project, version=1
        )
        assert same == first
        assert (second.number, second.version != first.version) == (2, True)
        assert [one.number for one in await door.versions(SYSTEM, "sum", project=project)] == [2, 1]
        assert [one.number for one in await door.list(SYSTEM, project=project)] == [2]
        with pytest.raises(Conflict):
            await door.declare(SYSTEM, Spec(kind="exact", name="sum"), project=project, version=1)
        await door.remove(SYSTEM, "sum", project=project)
        with pytest.raises(NotFound):
            await door.show(SYSTEM, "sum", project=project)
        again = await door.declare(SYSTEM, Spec(kind="numeric", name="sum"), project=project)
        assert again.number == 3


async def test_what_cannot_work_is_not_declared() -> None:
    async with inside() as world:
        project, door = await world.first_project(), world.app.scorers
        with pytest.raises(Invalid):
            await door.declare(SYSTEM, Spec(kind="regex", config={"pattern": "("}), project=project)
        with pytest.raises(Invalid):
            await door.declare(SYSTEM, Spec(kind="python", config={"function": "os:system"}), project=project)
        with pytest.raises(NotFound):
            await door.put_rule(SYSTEM, NewRule(name="r", share=1, scorers=("none",)), project=project)
        await door.declare(SYSTEM, Spec(kind="exact"), project=project)
        for wish in (
            NewRule(name="r", share=1.5, scorers=("exact",)),
            NewRule(name="r", share=float("nan"), scorers=("exact",)),
            NewRule(name="r", share=1, scorers=()),
            NewRule(name="r", share=1, scorers=("exact", "exact")),
            NewRule(name="a b", share=1, scorers=("exact",)),
            NewRule(name="r", share=1, scorers=("exact",), quarantine=2),
        ):
            with pytest.raises(Invalid):
                await door.put_rule(SYSTEM, wish, project=project)
        await door.put_rule(SYSTEM, NewRule(name="r", share=1, scorers=("exact",)), project=project)
        with pytest.raises(Conflict, match="r"):
            await door.remove(SYSTEM, "exact", project=project)


# --- sampling -------------------------------------------------------------------------------------------------------


async def test_misses_and_both_kinds_of_hits_are_scored_with_what_they_are_about() -> None:
    async with inside() as world:
        await sample(world)
        miss = await world.chat("hello")
        raw = await world.chat("hello")
        raw = await world.chat("hello")
        slow = await world.chat("hello", raw=False)
        assert [miss.cache, raw.cache, slow.cache] == ["miss", "hit-exact", "hit-exact"]
        found = await signals(world)
        rows = await world.rows(4)
        assert {one.request_id for one in found} == {row.request_id for row in rows}
        assert len(found) == 4
        assert {one.scorer.partition("@")[0] for one in found} == {"length"}
        assert {(one.value, one.weight, one.source, one.comment) for one in found} == {(1.0, 1.0, "scorer", None)}
        fingerprints = {row.fingerprint for row in rows}
        assert {one.entry for one in found} == fingerprints
        assert {one.origin for one in found} == {"", next(row.request_id for row in rows if row.cache == "miss")}


async def test_streams_are_scored_when_they_are_over() -> None:
    async with inside() as world:
        await sample(world)
        await world.chat("hello", stream=True)
        assert len(await signals(world)) == 1


async def test_a_rule_is_about_its_project_intent_and_share() -> None:
    async with inside("[intents.sums]\nstakes = 'low'\n") as world:
        other = await world.new_key(await world.new_project("other"))
        await sample(world, 1.0, intent="sums")
        await world.chat("one")
        await world.chat("two", key=other)
        assert await signals(world) == []
        await world.chat("three", {"ostinato-intent": "sums"})
        (only,) = await signals(world)
        assert only.intent == "sums"
        await sample(world, 0.0)
        await until(lambda: world.app.sampler.bar == 0)
        drawn = world.app.sampler.drawn
        await world.chat("four", {"ostinato-intent": "sums"})
        assert world.app.sampler.drawn == drawn


async def test_a_share_is_drawn_by_the_request_and_weighted_back() -> None:
    async with inside() as world:
        await sample(world, 0.25)
        for _ in range(400):
            await world.chat("hello")
        found = await signals(world)
        # Binomial(400, 0.25): 100, give or take 5 standard deviations.
        assert 56 <= len(found) <= 144
        assert {one.weight for one in found} == {4.0}
        assert all(int(one.request_id[24:], 16) < (1 << 30) for one in found)


async def test_rules_draw_by_the_same_bits_so_the_widest_gives_the_weight() -> None:
    async with inside() as world:
        project = await world.first_project()
        await sample(world, 0.5)
        await world.app.scorers.put_rule(SYSTEM, NewRule(name="all", share=1, scorers=("length",)), project=project)
        for at in range(20):
            await world.chat(f"q{at}")
        found = await signals(world)
        assert len(found) == 20
        assert {one.weight for one in found} == {1.0}


async def test_what_does_not_fit_is_dropped_and_counted_and_nobody_waits() -> None:
    async with inside("[scorers]\nqueue = 2\n") as world:
        await sample(world)
        for worker in world.app.sampler._workers:
            worker.cancel()
        await settle()
        for at in range(5):
            assert (await world.chat(f"q{at}")).status == 200
        assert (world.app.sampler.drawn, world.app.sampler.dropped, world.app.sampler.depth) == (5, 3, 2)


async def test_a_scorer_that_fails_costs_no_request_and_no_other_score() -> None:
    async with inside() as world:
        await sample(world, 1.0, Spec(kind="exact"), Spec(kind="length", config={"good": 1000}))
        assert (await world.chat("hello")).status == 200
        assert [one.name for one in await signals(world)] == ["length"]
        assert world.app.sampler.unscored == 1


# --- quality of entries ---------------------------------------------------------------------------------------------


async def test_an_entry_carries_its_quality() -> None:
    async with inside() as world:
        await sample(world, 1.0, Spec(kind="contains", config={"terms": ["zzz"], "mode": "none"}))
        await world.chat("hello")
        await world.chat("hello")
        await signals(world)
        organization = (await world.app.access.list_organizations(SYSTEM))[0].id
        from ostinato.cache import Selector

        (entry,) = (await world.app.cache.list(Selector(org=organization))).items
        assert entry.meta.quality == {"value": 1.0, "n": 2}
        assert (await world.chat("hello")).cache == "hit-exact"


async def test_a_bad_answer_is_withdrawn_where_the_rule_says_so_and_a_leaf_tells() -> None:
    async with inside() as world:
        await sample(world, 1.0, Spec(kind="contains", config={"terms": ["zzz"]}), quarantine=0.5)
        await world.chat("hello")
        await signals(world)
        assert world.app.sampler.quarantined == 1
        assert (await world.chat("hello")).cache == "miss"
        await signals(world)
        leaves = await world.app.audit.page(_of("cache:quarantine"), limit=10)
        assert len(leaves) == 2


def _of(action: str) -> Any:
    from ostinato import audit

    return audit.Filter(action=action)


# --- judges ---------------------------------------------------------------------------------------------------------


async def test_a_judge_of_traffic_is_paid_once_for_one_answer_and_leaves_no_text() -> None:
    async with inside() as world:
        judge = Spec(kind="judge", config={"model": "plain", "rubric": "Is it good?", "structured": False})
        await sample(world, 1.0, judge)
        before = world.app.calls.paid
        await world.chat("hello")
        await signals(world)
        assert world.app.calls.paid == before + 1
        # The fake says nothing that could be believed.
        assert world.app.sampler.unscored == 1
        texts = await asyncio.to_thread(
            world.app.work.transact,
            lambda c: list(c.exec_driver_sql("SELECT answer FROM paid_call WHERE answer IS NOT NULL")),
        )
        assert texts == []
        kept = world.app.work.query(lambda c: c.exec_driver_sql("SELECT namespace FROM paid_call").all())
        assert [name.startswith("sample-") for (name,) in kept] == [True], "what it cost is known"


async def test_what_a_judge_says_too_late_is_not_kept_either() -> None:
    async with inside("[scorers]\ntimeout = 0.05\n") as world:
        judge = Spec(kind="judge", config={"model": "plain", "rubric": "Is it good?", "structured": False})
        await sample(world, 1.0, judge)
        await world.chat("hello")
        await world.app.sampler.drain()
        await world.app.calls.stop()
        texts = world.app.work.query(
            lambda c: list(c.exec_driver_sql("SELECT answer FROM paid_call WHERE answer IS NOT NULL"))
        )
        assert texts == []


async def test_a_days_judging_is_bounded() -> None:
    async with inside("[scorers]\njudge_calls = 2\n") as world:
        judge = Spec(kind="judge", config={"model": "plain", "rubric": "Is it good?", "structured": False})
        await sample(world, 1.0, judge)
        for at in range(5):
            await world.chat(f"q{at}")
        await signals(world)
        assert world.app.calls.paid == 2


# --- calibration ----------------------------------------------------------------------------------------------------


async def test_a_scorer_is_held_against_people_and_the_figure_is_of_its_version() -> None:
    async with inside() as world:
        project = await world.first_project()
        examples = [
            datasets.NewExample(
                inputs={"n": str(n)}, reference=float(n % 2), metadata={"answer": "good" if n % 2 else "bad"}
            )
            for n in range(200)
        ]
        await world.app.datasets.create(SYSTEM, "judged", project=project, examples=examples)
        spec = Spec(kind="contains", name="words", config={"terms": ["good"]})
        declared = await world.app.scorers.declare(SYSTEM, spec, project=project)
        made = await calibrating.run(
            world.app.scorers, world.app.datasets, SYSTEM, "words", dataset="judged", project=project
        )
        assert made.result.passed
        assert made.result.kappa == pytest.approx(1)
        assert made.result.n >= 100  # the sealed holdout takes no part
        assert await world.app.scorers.calibrated(project, "words", declared.version) == made
        assert await world.app.scorers.calibrated(project, "words", "00000000") is None
        assert list(await world.app.scorers.calibrations(SYSTEM, "words", project=project)) == [made]
        await world.app.datasets.create(
            SYSTEM, "bare", project=project, examples=[datasets.NewExample(inputs={"n": "1"}, reference="x")] * 1
        )
        with pytest.raises(Invalid, match="can be used"):
            await calibrating.run(
                world.app.scorers, world.app.datasets, SYSTEM, "words", dataset="bare", project=project
            )
