"""Who is in which arm: the same answer every time, in shares that are what was said, growing without throwing out."""

import math

import msgspec
import pytest
from release_kit import CAROL, Process, Shared
from release_kit import LOW as _LOW

from ostinato.releases import Plan, Step

SESSIONS = [f"session {index}".encode() for index in range(20_000)]
GROWING = Plan(steps=tuple(Step(share) for share in (0.01, 0.05, 0.25, 0.6, 1.0)))


def drawn(process: Process) -> list[str]:
    return [process.resolve(seed=seed).arm for seed in SESSIONS]


async def test_nobody_leaves_a_growing_canary_and_shares_are_what_was_said(one: Process, shared: Shared) -> None:
    shared.requirements[""] = msgspec.structs.replace(_LOW)
    release = await one.started(plan=GROWING)
    before: list[str] = []
    while True:
        arms = drawn(one)
        assert arms == drawn(one), "the same session, the same arm"
        share = GROWING.steps[release.step].share
        found, deviation = arms.count("canary") / len(arms), math.sqrt(share * (1 - share) / len(arms))
        assert abs(found - share) <= 5 * deviation, f"{found} is not {share}"
        flips = [(was, now) for was, now in zip(before, arms, strict=False) if was == "canary" and now != "canary"]
        assert not flips
        before = arms
        if release.step + 1 == len(GROWING.steps):
            break
        release = await one.releases.advance(CAROL, release.id)


async def test_the_control_keeps_its_members_while_the_canary_grows(one: Process) -> None:
    plan = Plan(steps=(Step(0.1), Step(0.5)), control=0.1)
    release = await one.started(plan=plan)
    before = drawn(one)
    assert 0.09 < before.count("control") / len(before) < 0.11
    await one.releases.advance(CAROL, release.id)
    after = drawn(one)
    assert [arm == "control" for arm in before] == [arm == "control" for arm in after]
    control = SESSIONS[before.index("control")]
    found = one.resolve(seed=control)
    assert (found.number, found.release) == (1, ""), "the control is answered by the stable version"


async def test_every_release_draws_anew(one: Process) -> None:
    plan = Plan(steps=(Step(0.5),))
    first = await one.started(plan=plan)
    before = drawn(one)
    await one.releases.rollback(CAROL, first.id)
    await one.started(plan=plan)
    same = sum(was == now for was, now in zip(before, drawn(one), strict=True)) / len(before)
    assert same == pytest.approx(0.5, abs=0.03)


async def test_both_processes_draw_alike(one: Process, other: Process) -> None:
    await one.started(plan=Plan(steps=(Step(0.3),)))
    await one.agree_on(other, SESSIONS[:500])
