"""Sampled answers before reviewers, and a judge held against what they said."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import SYSTEM, World, inside

from ostinato import reviews
from ostinato.access import ProjectChanges
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.gateway import referring
from ostinato.reviews import Declaration, NewItem, NewVerdict, Sampling, selecting
from ostinato.scorers import Active, NewRule, Rule, Score, Spec

ALL = Declaration(sampling=Sampling(random=1.0, least_confident=0.0))


async def prepared(world: World, *, store_text: bool = True, queue: Declaration = ALL, **rule: Any) -> str:
    """A project with a queue, and a rule that scores everything; gives the scorer's full name."""
    app, project = world.app, await world.first_project()
    if store_text:
        await app.access.update_project(SYSTEM, project, ProjectChanges(store_text=True))
    await app.reviews.declare(SYSTEM, "online", queue, project=project)
    made = await app.scorers.declare(SYSTEM, Spec(kind="length", name="short", config={"good": 1000}), project=project)
    wish = NewRule(**{"name": "rule", "share": 1.0, "scorers": ("short",), "review": "online", **rule})
    await app.scorers.put_rule(SYSTEM, wish, project=project)
    return f"{made.name}@{made.version}"


async def items(world: World) -> list[reviews.Item]:
    await world.app.sampler.drain()
    return list(await world.app.reviews.list(SYSTEM, project=await world.first_project()))


async def test_an_answer_goes_before_reviewers_once_redacted_with_its_figures() -> None:
    async with inside() as world:
        scorer = await prepared(world)
        first = await world.chat("Write to jane.roe@example.com")
        for _ in range(3):
            assert (await world.chat("Write to jane.roe@example.com")).cache == "hit-exact"
        (item,) = await items(world)
        assert (item.origin, item.origin_ref, item.weight, item.why) == ("online", "rule", 1.0, ("random",))
        assert item.entry == first.headers["ostinato-entry"] and item.evidence == {scorer: 1.0}
        task = await world.app.reviews.show(SYSTEM, item.id)
        assert task.content is not None and task.content.outputs[0].text
        assert "jane.roe" not in str(task.content) and "[EMAIL]" in task.content.input_text
        assert world.app.sampler.referrer is not None and world.app.sampler.referrer.referred == 1


async def test_no_text_is_kept_of_a_project_that_keeps_none() -> None:
    async with inside() as world:
        await prepared(world, store_text=False)
        await world.chat("hello")
        assert await items(world) == []


async def test_what_a_queue_does_not_take_is_counted_and_harms_nobody() -> None:
    async with inside("[reviews]\nopen_items = 1\n") as world:
        await prepared(world)
        for text in ("one", "two", "three"):
            assert (await world.chat(text)).status == 200
        assert len(await items(world)) == 1
        referrer = world.app.sampler.referrer
        assert referrer is not None and (referrer.referred, referrer.refused) == (1, 2)


async def test_a_rejected_one_is_withdrawn_from_the_cache_and_verdicts_calibrate() -> None:
    async with inside() as world:
        scorer = await prepared(world)
        for number in range(4):
            await world.chat(f"question {number}")
        found = await items(world)
        assert len(found) == 4
        for number, item in enumerate(found):
            await world.app.reviews.decide(SYSTEM, item.id, NewVerdict(decision="reject" if number else "approve"))
        project = await world.first_project()
        # Somebody's own figures do not count: the judge was never asked.
        content = reviews.Content(outputs=(reviews.Output(text="x"),))
        (forged,) = await world.app.reviews.put(
            SYSTEM, "online", [NewItem(content=content, evidence={scorer: 1.0})], project=project
        )
        await world.app.reviews.decide(SYSTEM, forged.id, NewVerdict(decision="approve"))
        said = await world.app.reviews.calibration(SYSTEM, "online", scorer, project=project, measured=True)
        assert sorted(one.human for one in said) == [0.0, 0.0, 0.0, 1.0] and {one.judge for one in said} == {1.0}
        kept = sum([(await world.chat(f"question {number}")).cache == "hit-exact" for number in range(4)])
        assert kept == 1


async def test_what_nobody_looks_at_is_not_kept_for_ever() -> None:
    async with inside("[reviews]\nretention_days = 1\n") as world:
        await prepared(world)
        await world.chat("one")
        (item,) = await items(world)
        world.clock.advance(86_000)
        await world.chat("two")
        await items(world)
        await world.app.reviews.sweep()
        assert {one.state for one in await items(world)} == {"open"}
        world.clock.advance(1_000)
        await world.app.reviews.sweep()
        found = {one.id: (one.state, one.erased) for one in await items(world)}
        assert found.pop(item.id) == ("withdrawn", True) and list(found.values()) == [("open", False)]


async def test_nobody_but_the_system_says_that_an_item_is_of_a_run() -> None:
    async with inside() as world:
        await prepared(world)
        who = world.app.access.authenticate(world.key, world.clock.now())
        content = reviews.Content(outputs=(reviews.Output(text="x"),))
        for origin in ("run", "online", "hold"):
            with pytest.raises(Invalid):
                item = NewItem(content=content, origin=origin, origin_ref="a-run")  # pyright: ignore
                await world.app.reviews.put(who, "online", [item])
        # What is put under a run's id by somebody else does not count for the run.
        ours = NewItem(content=content, origin="run", origin_ref="a-run", mark="ours")
        other = NewItem(content=content, origin="experiment", origin_ref="a-run", mark="other")
        project = await world.first_project()
        await world.app.reviews.put(SYSTEM, "online", [ours], project=project)
        (forged,) = await world.app.reviews.put(who, "online", [other])
        await world.app.reviews.decide(SYSTEM, forged.id, NewVerdict(decision="approve"))
        told = await world.app.reviews.summary(SYSTEM, "online", origin_ref="a-run", project=project)
        assert (told.items, told.open) == (0, 1)


def test_drawn_one_by_one_as_drawn_together() -> None:
    rule = Sampling(random=0.3, least_confident=0.0, judge_disagreement=0.5, most=100_000)
    many = [reviews.Observed(id=f"r{n}", judges_disagree=n % 3 == 0) for n in range(500)]
    together = selecting.select(many, rule, "s")
    apart = [selecting.draw(one, rule, "s", least=False) for one in many]
    assert [one for one in apart if one is not None] == list(together)


def test_low_confidence_is_told_by_the_last_ones() -> None:
    referrer = referring.Referrer(None, None)  # pyright: ignore[reportArgumentType]: neither is asked
    low = [referrer._is_low("p", "r", (n * 7 % 100) / 100, 0.2) for n in range(1000)]
    assert not any(low[:20]) and 170 <= sum(low) <= 220
    assert not any(referrer._is_low("p", "even", 1.0, 0.2) for _ in range(100))
    assert not referrer._is_low("p", "r", None, 0.2)


@pytest.mark.parametrize(
    ("values", "expected"),
    [({"a": 1.0, "b": 0.0}, True), ({"a": 1.0, "b": 0.9}, False), ({"a": 1.0, "b": 1.0, "c": 0.0}, True)],
)
def test_judges_disagree_across_the_cut(values: dict[str, float], expected: bool) -> None:
    kinds = {"a": "judge", "b": "judge", "c": "exact"}
    specs = tuple(Spec(kind=kinds[name], name=name) for name in values)
    rule = Rule(
        name="r", share=1.0, scorers=tuple(values), id="i", org="o", project="p", version=1, created_at=0, created_by=""
    )
    scores = [Score(scorer=f"{name}@1", value=value) for name, value in values.items()]
    assert referring._disagree(Active(rule, 1, specs), scores) is expected


async def test_over_the_api_a_rule_with_a_queue_takes_a_right_to_put_items() -> None:
    async with inside() as world:
        await prepared(world)
        secret = await world.new_key(permissions=frozenset({"scorers:write", "scorers:read"}))
        who = world.app.access.authenticate(secret, world.clock.now())
        with pytest.raises(OstinatoError):
            await world.app.reviews.must_take(who, "online")
