"""Cases of the whole gateway: what opens them by itself, and what their actions do to the traffic."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import SYSTEM, World, inside

from ostinato import prompts, releases
from ostinato.cases import Alarm, Alert, Case
from ostinato.core import ids

TOML = """
[models.dear]
targets = ["other/dear"]
[prices."other/dear"]
input = 100000.0
output = 400000.0
[intents.soft]
owner = "ann"
stakes = "low"
safety = { on_trip = "fail-safe", text = "A colleague will answer.", violations_per_hour = 2.0 }
budgets = { dollars_per_day = 0.5 }
checks = ["secret-word"]
[rules.secret-word]
kind = "banned"
terms = ["xyzzy"]
action = "block"
"""


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with inside(TOML) as world:
        yield world


async def raised(world: World, **more: Any) -> Case:
    home = await world.first_project()
    (org,) = {one.org_id for one in await world.app.access.list_projects(SYSTEM) if one.id == home}
    now = world.clock.now()
    fields = {"org": org, "project": home, "kind": "quality", "detector": "test", "intent": "soft"}
    alarm = Alarm(id=ids.new(now), at=now, **{**fields, **more})
    return (await world.app.governing.cases.show(SYSTEM, await world.app.governing.cases.on_alarm(alarm))).case


async def acted(world: World, case: Case, action: Any, **params: Any) -> Any:
    """The action, after it was carried out."""
    room = world.app.governing.cases
    await room.propose(SYSTEM, case.id, action, params)
    await room.approve(SYSTEM, case.id)
    found = await room.show(SYSTEM, case.id)
    return next(one for one in found.actions if one.id == found.case.action)


async def cases(world: World) -> dict[str, Case]:
    """Open cases by who found them."""
    return {one.detector: one for one in await world.app.governing.cases.list(SYSTEM, state="open")}


async def found_by(world: World, detector: str) -> Case:
    """The case, as soon as it is there: the server's own watcher may have been a moment quicker than the test's."""
    for _ in range(500):
        case = (await cases(world)).get(detector)
        if case is not None:
            return case
        await asyncio.sleep(0.01)
    raise AssertionError(f"no case of {detector} was ever opened")


async def test_a_flush_takes_what_is_kept(world: World) -> None:
    await world.chat("hello")
    assert (await world.chat("hello")).cache == "hit-exact"
    action = await acted(world, await raised(world), "flush-scope")
    assert action.state == "done" and action.facts["total"] == 1
    assert (await world.chat("hello")).cache == "miss"


async def test_an_open_breaker_answers_safely_and_tells_its_case(world: World) -> None:
    case = await raised(world)
    action = await acted(world, case, "open-breaker")
    got = await world.chat("hello", {"ostinato-intent": "soft"})
    assert got.text == "A colleague will answer." and "reason=case-quality" in got.headers["ostinato-breaker"]
    (trip,) = await world.app.governing.breakers.standing()
    assert (trip.id, trip.case, trip.held) == (action.facts["trip"], case.id, False)
    again = await world.app.governing.cases.carry_out({"case": case.id, "action": action.id})
    assert again == {"repeated": 1}


async def test_a_target_that_is_held_open_is_not_asked(world: World) -> None:
    action = await acted(world, await raised(world), "open-breaker", target="fake/plain")
    assert action.state == "done"
    got = await world.chat("hello")
    assert got.status == 503 and world.fake.calls == 0
    (trip,) = await world.app.governing.breakers.standing()
    await world.app.governing.breakers.close(SYSTEM, trip.id)
    assert (await world.chat("hello")).status == 200


async def test_what_is_not_there_is_refused_with_the_reason(world: World) -> None:
    case = await raised(world)
    found = {}
    for action in ("close-semantic", "raise-sampling", "start-optimization", "roll-back"):
        done = await acted(world, case, action)
        assert done.state == "failed"
        found[action] = done.facts["code"]
    assert found == {
        "close-semantic": "semantic_not_available",
        "raise-sampling": "nothing_sampled",
        "start-optimization": "no_prompt",
        "roll-back": "no_release",
    }


async def test_more_is_sampled(world: World) -> None:
    from ostinato import scorers

    home = await world.first_project()
    await world.app.scorers.declare(SYSTEM, scorers.Spec(kind="exact", name="long"), project=home)
    rule = scorers.NewRule(name="some", share=0.01, scorers=("long",))
    await world.app.scorers.put_rule(SYSTEM, rule, project=home)
    action = await acted(world, await raised(world), "raise-sampling")
    assert action.state == "done", action.facts
    rules = {one.name: one for one in await world.app.scorers.rules(SYSTEM, project=home)}
    made = rules[str(action.facts["rule"])]
    assert made.share == pytest.approx(0.05) and made.intent == "soft" and made.scorers == ("long",)

    async def left() -> set[str]:
        await world.app.governing.case_watcher.look()
        return {one.name for one in await world.app.scorers.rules(SYSTEM, project=home)}

    assert await left() == {"some", made.name}
    timed = await acted(world, await raised(world, detector="another"), "raise-sampling", hours=2)
    assert await left() == {"some", made.name, str(timed.facts["rule"])}
    world.clock.advance(2 * 3_600)
    assert await left() == {"some", made.name}, "the hours are over"
    for _ in range(3):  # verified, closed
        names = await left()
    assert names == {"some"}, "the case has ended"


async def test_blocked_requests_trip_the_intent_and_open_a_case(world: World) -> None:
    for number in range(3):
        got = await world.chat(f"xyzzy {number}", {"ostinato-intent": "soft"})
        assert got.json()["error"]["code"] == "content_blocked"
    await world.rows(3)
    world.clock.advance(11)
    await world.app.governing.trials.look()
    case = await found_by(world, "breaker:policy")
    assert (await world.chat("hello", {"ostinato-intent": "soft"})).text == "A colleague will answer."
    assert (case.kind, case.intent, case.owner) == ("policy", "soft", "ann")
    assert case.evidence["code"] == "violations"


async def test_a_cost_budget_holds_for_its_day(world: World) -> None:
    await world.chat("hello", {"ostinato-intent": "soft"}, model="dear")
    await world.rows(1)
    world.clock.advance(11)
    await world.app.governing.keeping.round()
    await world.app.governing.trials.look()
    await found_by(world, "breaker:budget")
    (trip,) = await world.app.governing.breakers.standing()
    assert (trip.cause, trip.code) == ("budget", "over-budget")
    assert "It has cost $" in trip.reason
    world.clock.advance(86_400)
    for _ in range(500):
        await world.app.governing.keeping.round()
        await world.app.governing.trials.look()
        if not await world.app.governing.breakers.standing():
            break
        await asyncio.sleep(0.01)
    assert await world.app.governing.breakers.standing() == ()


async def test_an_alert_on_the_ledger_opens_a_case(world: World) -> None:
    home = await world.first_project()
    alert = Alert(metric="blocked_rate", operator=">=", threshold=0.5, intent="soft", kind="policy")
    await world.app.governing.alerts.declare(SYSTEM, home, "blocked", alert)
    await world.chat("hello", {"ostinato-intent": "soft"})
    await world.rows(1)
    world.clock.advance(15)
    await world.app.governing.case_watcher.look()
    assert await cases(world) == {}
    await world.chat("xyzzy", {"ostinato-intent": "soft"})
    await world.rows(2)
    world.clock.advance(15)
    await world.app.governing.case_watcher.look()
    case = await found_by(world, "alert:blocked")
    assert case.evidence["value"] == 0.5 and case.evidence["samples"] == 2
    assert world.app.governing.case_watcher.failing == ""


async def test_broken_glass_opens_a_case(world: World) -> None:
    caller = world.app.access.authenticate(world.key, world.clock.now())
    glass = await world.app.access.break_glass(caller, "The house is on fire.", 5)
    for _ in range(3):
        await world.app.governing.case_watcher.look()
        world.clock.advance(20)
    case = await found_by(world, f"breakglass:{glass.id}")
    assert (case.kind, case.severity, case.alarms, case.owner) == ("breakglass", "high", 1, "operator")
    assert case.evidence["principal"] and "fire" not in str(msgspec.to_builtins(case)), "no texts of people"


async def test_a_release_that_went_back_by_itself_opens_a_case(world: World) -> None:
    """A canary that nobody sees data of is taken back by the watcher of releases; the case tells of it."""
    home, room = await world.first_project(), world.app.releases
    draft = {"messages": [{"role": "user", "template": "Say {{word}}."}], "params": {"model": "plain"}}
    await world.app.prompts.create(SYSTEM, home, "p", draft=msgspec.convert(draft, prompts.Draft))
    other = {"messages": [{"role": "user", "template": "Say {{word}}!"}], "params": {"model": "plain"}}
    await world.app.prompts.add_version(SYSTEM, home, "p", msgspec.convert(other, prompts.Draft))
    await world.app.prompts.declare_label(SYSTEM, home, "here")
    await world.app.prompts.move_label(SYSTEM, home, "p", "here", 1)
    plan = releases.Plan(steps=(releases.Step(0.5),), auto=True, no_data_minutes=1)
    wish = releases.Proposal(prompt="p", number=2, label="here", plan=plan, reason="better")
    release = await room.propose(SYSTEM, wish, home)
    approver = world.app.access.authenticate(world.key, world.clock.now())
    await room.approve(approver, release.id, release.digest)
    await room.start(SYSTEM, release.id)
    world.clock.advance(120)
    await world.app.watcher.look()
    for _ in range(500):
        if (await room.show(SYSTEM, release.id)).release.state == "rolled_back":
            break
        await asyncio.sleep(0.01)
    assert (await room.show(SYSTEM, release.id)).release.state == "rolled_back"
    await world.app.governing.case_watcher.look()
    case = await found_by(world, "release:rolled-back")
    assert (case.kind, case.release, case.prompt, case.project) == ("release", release.id, "p", home)
    await world.app.governing.cases.dismiss(SYSTEM, case.id, reason="we know")
    world.clock.advance(30)
    await world.app.governing.case_watcher.look()
    assert await cases(world) == {}
