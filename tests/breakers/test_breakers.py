"""Trips on both engines: who may, what they become, that trials close them or not, and that nothing flaps."""

import asyncio
import itertools
import random

import pytest
from breaker_kit import ANN, OTHER, PROJECT, READER, ROOT, STRANGER, SYSTEM, Process

from ostinato.breakers import Trip
from ostinato.breakers.breakers import ACTOR
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound


async def test_a_trip_is_one_row_one_leaf_and_in_every_snapshot(one: Process, other: Process) -> None:
    await one.breakers.start()
    await other.breakers.start()
    trip = await one.trip(reason="users complain", held=True)
    assert one.breakers.snapshot.value.tripped(PROJECT, "soft") == trip
    await other.breakers.snapshot.reload()
    assert other.breakers.snapshot.value.tripped(PROJECT, "soft") == trip
    assert await other.trip() == trip, "what is tripped stays tripped"
    closed = await other.breakers.close(ANN, trip.id, "looked into")
    assert closed.state == "closed" and closed.closed_why == "looked into"
    assert (await other.breakers.close(ANN, trip.id)).version == closed.version
    await one.breakers.snapshot.reload()
    assert one.breakers.snapshot.value.tripped(PROJECT, "soft") is None
    assert one.leaves() == ["breakers:trip", "breakers:close"]
    await one.breakers.stop()
    await other.breakers.stop()


async def test_two_processes_trip_once(one: Process, other: Process) -> None:
    got = await asyncio.gather(*(process.trip() for process in (one, other) for _ in range(4)), return_exceptions=True)
    ids = {trip.id for trip in got if not isinstance(trip, BaseException)}
    assert len(ids) == 1 and all(isinstance(error, Conflict) for error in got if isinstance(error, BaseException))
    assert one.leaves() == ["breakers:trip"]


async def test_who_may_and_what(one: Process) -> None:
    with pytest.raises(Denied):
        await one.trip(READER)
    with pytest.raises(NotFound):
        await one.breakers.trip(STRANGER, PROJECT, "soft", code="x")
    with pytest.raises(NotFound, match="no intent"):
        await one.breakers.trip(ANN, PROJECT, "nowhere", code="x")
    for code in ("Two words", "", "x\r\ny", "-" * 3, "a" * 65):
        with pytest.raises(Invalid, match="header"):
            await one.trip(code=code)
    trip = await one.trip()
    for call in (one.breakers.show(STRANGER, trip.id), one.breakers.close(STRANGER, trip.id)):
        with pytest.raises(NotFound):
            await call
    with pytest.raises(Denied):
        await one.breakers.close(READER, trip.id)
    assert await one.breakers.list(STRANGER) == [] and len(await one.breakers.list(READER)) == 1
    assert one.leaves() == ["breakers:trip"]


async def test_a_target_is_held_by_who_may_act_everywhere(one: Process) -> None:
    await one.breakers.start()
    with pytest.raises(Denied, match="everybody's"):
        await one.breakers.hold_target(ANN, "fake/plain", code="slow")
    with pytest.raises(NotFound):
        await one.breakers.hold_target(ROOT, "fake/nothing", code="slow")
    trip = await one.breakers.hold_target(ROOT, "fake/plain", code="slow", reason="of the tenant next door")
    assert one.breakers.snapshot.value.targets == {"fake/plain"} and trip.held
    assert [one.target for one in await one.breakers.list(ANN)] == ["fake/plain"]
    for seen in (await one.breakers.show(ANN, trip.id), *await one.breakers.list(ANN)):
        assert (seen.reason, seen.by, seen.code) == ("", "", "slow"), "whose words these are is nobody else's matter"
    with pytest.raises(Denied):
        await one.breakers.close(ANN, trip.id)
    assert await one.look(10_000) == trip, "until it is released"
    await one.breakers.close(ROOT, trip.id)
    assert one.breakers.snapshot.value.targets == frozenset()
    await one.breakers.stop()


@pytest.mark.parametrize(
    ("figure", "value", "cause"),
    [("quality", (0.6, 50), "quality"), ("", (None, 0), "budget"), ("violations", (6.0, 9), "policy")],
)
async def test_each_budget_trips(one: Process, figure: str, value: tuple[float | None, int], cause: str) -> None:
    assert await one.look(10) is None
    one.figures = {"quality": (0.9, 50), "violations": (5.0, 9)}
    assert await one.look(10) is None
    if figure:
        one.figures[figure] = value
    else:
        one.spent = "It has cost $10.5 today."
    trip = await one.look(10)
    assert trip is not None and (trip.cause, trip.state, trip.by) == (cause, "tripped", "system:breakers")
    assert trip.code in ("quality-floor", "over-budget", "violations") and trip.reason
    assert one.told == [("trip", "tripped")]


async def test_too_few_scores_and_missing_figures_trip_nothing(one: Process) -> None:
    one.figures = {"quality": (0.1, 19), "violations": (None, 0)}
    assert await one.look(10) is None


async def test_a_budget_is_no_trial(one: Process) -> None:
    """Trials would spend what is spent already: it closes with the day."""
    one.spent = "It has cost $11 today."
    assert (await one.look(10)) is not None
    for _ in range(3):
        trip = await one.look(130)
        assert trip is not None and trip.state == "tripped"
    one.spent = ""
    assert await one.look(130) is None
    assert one.leaves() == ["breakers:trip", "breakers:close"]


async def test_trials_of_all_processes_are_added(one: Process, other: Process) -> None:
    await one.trip()
    half = await one.look(121)
    assert half is not None and half.state == "half-open"
    for number in range(12):
        for process in (one, other):
            process.watcher.report(half, f"request-{number}", one.clock.now(), True)
    await other.look()
    counted = await one.look()
    assert counted is not None and (counted.good, counted.bad) == (24, 0)
    assert await one.look(61) is None
    assert one.leaves() == ["breakers:trip", "breakers:try", "breakers:close"]


async def test_trials_of_an_earlier_time_are_not_counted(one: Process) -> None:
    await one.trip()
    first = await one.look(121)
    assert first is not None
    for _ in range(8):
        one.watcher.report(first, "r", one.clock.now(), False)
    back = await one.look(61)
    assert back is not None and (back.state, back.reopened) == ("tripped", 1)
    second = await one.look(241)
    assert second is not None and second.state == "half-open"
    for _ in range(50):
        one.watcher.report(first, "r", one.clock.now(), True)
    counted = await one.look(61)
    assert counted is not None and (counted.good, counted.bad, counted.state) == (0, 0, "half-open")


async def test_quality_waits_for_scores(one: Process) -> None:
    one.figures["quality"] = (0.5, 50)
    await one.look(10)
    half = await one.look(121)
    assert half is not None and half.state == "half-open"
    for number in range(40):
        one.watcher.report(half, f"r{number}", one.clock.now(), True)
    counted = await one.look()
    assert counted is not None and counted.good == 0, "an answer that nobody scored proves nothing"
    one.scored = {f"r{number}": 0.97 for number in range(35)}
    counted = await one.look()
    assert counted is not None and counted.good == pytest.approx(35 * 0.97)
    one.figures["quality"] = (0.9, 50)
    assert await one.look(61) is None
    assert await one.look(3_601) is None
    assert one.watcher.dropped == 5, "they waited for an hour"


async def test_people_end_trials_and_hold(one: Process) -> None:
    await one.trip()
    half = await one.look(121)
    assert half is not None and half.state == "half-open"
    held = await one.trip(held=True)
    assert (held.id, held.state, held.held) == (half.id, "tripped", True)
    assert (await one.look(100_000)) == held


async def test_by_itself_it_changes_once_a_minute_at_most(one: Process) -> None:
    """Whatever figures and trials say, at every second of four hours."""
    rng = random.Random(5)
    changes: list[int] = []

    async def note(_verb: str, _trip: object) -> None:
        changes.append(one.clock.now())

    one.breakers.told.append(note)
    for _ in range(1_200):
        bad = rng.random() < 0.5
        one.figures = {"quality": (0.1 if bad else 0.9, 50), "violations": (9.0 if rng.random() < 0.2 else 0.0, 9)}
        trip = await one.look(rng.choice([1, 5, 25]))
        if trip is not None and trip.state == "half-open":
            for number in range(30):
                one.scored[f"{one.clock.now()}-{number}"] = 1.0 if bad else 0.0
                one.watcher.report(trip, f"{one.clock.now()}-{number}", one.clock.now(), bad)
    gaps = [later - before for before, later in itertools.pairwise(changes)]
    assert len(changes) > 10 and min(gaps) >= 60_000_000
    with pytest.raises(Conflict, match="a moment ago"):
        trip = (await one.breakers.standing() or (None,))[0]
        if trip is not None:
            await one.breakers.close(SYSTEM, trip.id)
        else:
            await one.trip()
            await one.breakers.close(SYSTEM, (await one.breakers.standing())[0].id)
        await one.breakers.trip(ACTOR, PROJECT, "soft", cause="quality", code="again")


async def test_what_was_judged_does_not_trip_it_again(one: Process) -> None:
    """The hour that tripped it is not over when its trials have closed it, or somebody has."""
    now = one.clock.now()
    one.violations = [now + at for at in range(10)]
    tripped = await one.look(1)
    assert tripped is not None and tripped.cause == "policy"
    again = await one.look(121)
    assert again is not None and again.state == "half-open"
    for at in range(60):
        one.watcher.report(again, f"{at}", one.clock.now(), ok=True)
    assert await one.look(61) is None
    for _ in range(20):
        assert await one.look(100) is None, "nothing new has happened"
    one.violations += [one.clock.now() + at for at in range(6)]
    fresh = await one.look(1)
    assert fresh is not None and fresh.id != tripped.id
    await one.breakers.close(ANN, fresh.id)
    assert await one.look(100) is None, "whoever closed it knew"


async def test_lists_of_the_open_ones_are_of_the_project_and_intent_that_were_asked_for(one: Process) -> None:
    trip = await one.trip()
    assert await one.breakers.list(ROOT, state="open", intent="other") == []
    assert await one.breakers.list(ROOT, state="open", project=OTHER) == []
    assert await one.breakers.list(ROOT, state="open", project=PROJECT, intent="soft") == [trip]


async def test_a_listener_that_fails_does_not_undo_what_was_changed(one: Process) -> None:
    async def broken(verb: str, trip: Trip) -> None:
        raise RuntimeError(verb, trip)

    one.breakers.told.insert(0, broken)
    trip = await one.trip()
    assert trip.state == "tripped" and one.told == [("trip", "tripped")], "others are told all the same"


async def test_a_clock_that_was_ahead_keeps_nothing_tripped_and_hides_nothing(one: Process) -> None:
    year = 400 * 86_400
    one.clock.jump(year)
    trip = await one.trip()
    one.clock.jump(-year)
    await one.watcher.look()
    assert (await one.breakers.show(SYSTEM, trip.id)).state == "half-open", "trials begin, not in a year"
    one.clock.jump(year)
    await one.breakers.close(SYSTEM, trip.id)
    one.clock.jump(-year)
    one.figures["quality"] = (0.5, 1_000)
    await one.watcher.look()
    assert [found.cause for found in await one.breakers.standing()] == ["quality"]
