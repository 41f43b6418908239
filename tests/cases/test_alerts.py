"""Thresholds: declared, looked at by one process at a time, raised when they last, and quiet where data say nothing."""

import asyncio
import math
from typing import Any

import pytest
from case_kit import ALICE, PROJECT, READER, STRANGER, SYSTEM, Process

from ostinato.cases import Alert, Case, Standing
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound


async def declared(one: Process, **more: Any) -> Standing:
    alert = Alert(**{"metric": "errors_now", "threshold": 0.05, "intent": "usual", **more})
    one.figures.setdefault("errors_now", (0.0, 100))
    return await one.alerts.declare(ALICE, PROJECT, "errors", alert)


async def looked(one: Process, figure: tuple[float | None, int], seconds: float = 15) -> Standing:
    one.clock.advance(seconds)
    one.figures["errors_now"] = figure
    await one.watcher.look()
    assert one.watcher.failing == ""
    return (await one.alerts.list(READER))[0]


async def cases(one: Process) -> list[Case]:
    return list(await one.cases.list(SYSTEM))


async def test_it_is_raised_when_it_has_lasted_and_again_after_the_cool_down(one: Process) -> None:
    await declared(one, for_seconds=30, cool_down_seconds=60)
    assert (await looked(one, (0.04, 100))).state == "ok"
    assert (await looked(one, (0.06, 100))).state == "pending" and not await cases(one)
    assert (await looked(one, (0.04, 100))).state == "ok", "a break begins it anew"
    for _ in range(2):
        assert (await looked(one, (0.06, 100))).state == "pending"
    found = await looked(one, (0.07, 100))
    assert (found.state, found.alarms, found.value) == ("alarm", 1, 0.07)
    (case,) = await cases(one)
    assert (case.detector, case.intent, case.owner, case.alarms) == ("alert:errors", "usual", "ann", 1)
    assert case.evidence["value"] == 0.07 and case.evidence["threshold"] == 0.05
    for _ in range(3):
        await looked(one, (0.07, 100))
    assert (await cases(one))[0].alarms == 1
    await looked(one, (0.07, 100))
    (case,) = await cases(one)
    assert case.alarms == 2, "joined after the cool-down"


@pytest.mark.parametrize(("missing", "raised"), [("ok", False), ("alarm", True)])
@pytest.mark.parametrize("figure", [(None, 0), (0.9, 3), (math.nan, 100)])
async def test_missing_data_are_an_alarm_where_it_says_so(
    one: Process, missing: str, raised: bool, figure: tuple[float | None, int]
) -> None:
    await declared(one, missing=missing, min_samples=10)
    found = await looked(one, figure)
    if not raised:
        assert found.state == "missing" and not await cases(one)
        return
    (case,) = await cases(one)
    assert found.state == "alarm" and case.kind == "missing-data" and case.evidence["missing"] is True


async def test_of_two_processes_one_looks(one: Process, other: Process) -> None:
    await declared(one, cool_down_seconds=0)
    for process in (one, other):
        process.figures["errors_now"] = (0.5, 100)
    for number in range(1, 4):
        one.clock.advance(15)
        await asyncio.gather(one.watcher.look(), other.watcher.look())
        (case,) = await cases(one)
        assert case.alarms == number


async def test_the_figure_since_the_action_says_whether_it_helped(one: Process) -> None:
    """Its window still holds what was before: the case is closed when the alert is calm, too."""
    await declared(one, window_seconds=3_600, cool_down_seconds=300)
    await looked(one, (0.5, 100))
    (case,) = await cases(one)
    await one.cases.propose(ALICE, case.id, "notify")
    await one.cases.approve(ALICE, case.id)

    async def figure(_name: str, _scope: Any, since: int, until: int) -> tuple[float | None, int]:
        return (0.5, 900) if until - since == 3_600_000_000 else (0.01, 90)

    one.alerts._figure = figure
    for _ in range(3):
        one.clock.advance(301)
        await one.watcher.look()
    (case,) = await cases(one)
    assert case.state == "verified" and case.alarms > 1
    one.alerts._figure = one._figure
    await looked(one, (0.01, 100))
    await one.watcher.look()
    (case,) = await cases(one)
    assert case.state == "closed"


async def test_where_no_figure_tells_somebody_is_asked(one: Process) -> None:
    await declared(one)
    await looked(one, (0.5, 100))
    (case,) = await cases(one)
    await one.cases.propose(ALICE, case.id, "notify")
    await one.cases.approve(ALICE, case.id)
    await looked(one, (None, 0), 1_000)
    assert (await cases(one))[0].state == "executed"
    await looked(one, (None, 0), 3_000)
    (case,) = await cases(one)
    assert case.state == "triaged" and case.escalated == 1


async def test_declaring_again_forgets_what_was_seen(one: Process) -> None:
    first = await declared(one)
    await looked(one, (0.5, 100))
    again = await declared(one, threshold=0.9)
    assert (again.id, again.version, again.state, again.raised_at) == (first.id, 2, "ok", None)
    with pytest.raises(Conflict):
        await one.alerts.declare(ALICE, PROJECT, "errors", again.alert, version=1)
    assert one.leaves("alerts:") == ["alerts:declare"] * 2
    await one.alerts.remove(ALICE, first.id)
    assert await one.alerts.list(READER) == [] and len(await cases(one)) == 1
    assert one.leaves("alerts:")[-1] == "alerts:remove"


async def test_what_cannot_be_is_refused(one: Process) -> None:
    made = await declared(one)
    for wrong in ({"threshold": math.inf}, {"window_seconds": 1.0}, {"for_seconds": -1.0}, {"metric": "x" * 300}):
        with pytest.raises(Invalid):
            await declared(one, **wrong)
    with pytest.raises(Denied):
        await one.alerts.declare(READER, PROJECT, "errors", made.alert)
    with pytest.raises(NotFound):
        await one.alerts.show(STRANGER, made.id)
    with pytest.raises(NotFound):
        await one.alerts.remove(STRANGER, made.id)
    assert await one.alerts.list(STRANGER) == []
    with pytest.raises(Invalid):
        await one.alerts.declare(ALICE, PROJECT, "No Such Name", made.alert)


async def test_a_clock_that_was_ahead_leaves_no_alert_blind(one: Process) -> None:
    await declared(one, cool_down_seconds=3_600)
    one.clock.jump(400 * 86_400)
    assert (await looked(one, (0.07, 100))).alarms == 1
    one.clock.jump(-400 * 86_400)
    assert (await looked(one, (0.04, 100))).state == "ok", "looked at again, not in a year"
    found = await looked(one, (0.07, 100))
    assert (found.state, found.alarms) == ("alarm", 2)
    (case,) = await cases(one)
    assert case.alarms == 2
