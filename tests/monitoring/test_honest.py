"""What detectors must not do: take a release for drift, let one alarm keep others waiting, pay twice for a night."""

import math
import random
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from feeding import DAY, Alarms, call_row, hit_row, insert, room, signal_row
from inside import SYSTEM, inside

from ostinato import monitoring
from ostinato.cases.model import Alarm
from ostinato.core.errors import NotFound
from ostinato.monitoring import kinds, store
from ostinato.monitoring.feeds import Candidate
from ostinato.monitoring.model import DAY as MICROS
from ostinato.monitoring.model import Batch, Observation, Series
from ostinato.signals.tables import signal
from ostinato.statistics import sequential
from ostinato.traces.tables import call, hit

ONE_ENGINE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def look(watched: Any, clock: Any, times: int = 2) -> None:
    for _ in range(times):
        clock.advance(10)
        await watched.watch.look()


@ONE_ENGINE
async def test_a_new_release_is_no_other_mix_of_questions(control, traces, clock) -> None:
    alarms = Alarms()
    watched = room(control, traces, clock, alarms)
    await watched.start()
    draw = random.Random(1)
    for day in range(10):
        version = 1 if day < 7 else 2
        rows = []
        for _ in range(400):
            prompt = draw.choice(["support", "support", "billing"])
            family = {"family": f"{prompt}@{version}", "prompt": prompt, "intent": "help"}
            rows.append(call_row(clock.now() + draw.randrange(MICROS - 10**8), **family))
        clock.advance(DAY)
        insert(traces, call, sorted(rows, key=lambda row: row["at"]))
        await look(watched, clock)
    assert [one.kind for one in alarms.taken if one.kind == "mix"] == []
    (mix,) = [one for one in watched.watch.kept.values() if one.kind == "mix"]
    assert mix.state.windows >= 2
    assert set(mix.state.usual) == {"support", "billing"}


@pytest.mark.parametrize("page", [5_000, 40])
async def test_what_is_asked_is_counted_whether_the_cache_answers_or_not(
    control, traces, clock, monkeypatch, page
) -> None:
    """One of two questions comes to be answered from the cache: people ask what they asked before. Then only it."""
    monkeypatch.setattr("ostinato.monitoring.feeds.PAGE", page)
    alarms = Alarms()
    watched = room(control, traces, clock, alarms)
    await watched.start()
    draw, kept = random.Random(1), ""
    for day in range(13):
        calls, hits = [], []
        for _ in range(400):
            prompt = "support" if day >= 11 else draw.choice(["support", "billing"])
            at = clock.now() + draw.randrange(MICROS - 10**8)
            if prompt == "support" and day >= 5:
                hits.append(hit_row(at, kept))
            else:
                calls.append(call_row(at, family=f"{prompt}@1", prompt=prompt, intent="help"))
                kept = calls[-1]["request_id"] if prompt == "support" else kept
        clock.advance(DAY)
        for table, rows in ((call, calls), (hit, hits)):
            insert(traces, table, sorted(rows, key=lambda row: row["at"]))
        await look(watched, clock)
        if day == 10:
            assert [one.kind for one in alarms.taken if one.kind == "mix"] == []
    assert [one.kind for one in alarms.taken if one.kind == "mix"] == ["mix"]
    (mix,) = [one for one in watched.watch.kept.values() if one.kind == "mix"]
    assert mix.state.n == pytest.approx(13 * 400, rel=0.05)


@ONE_ENGINE
@pytest.mark.parametrize("error", [NotFound("There is no such project."), KeyError("x")])
async def test_an_alarm_that_nobody_can_take_keeps_no_other_waiting(control, traces, clock, error) -> None:
    taken: list[Alarm] = []

    async def take(alarm: Alarm) -> None:
        if alarm.project == "gone":
            raise error
        taken.append(alarm)

    watched = room(control, traces, clock, Alarms())
    watched.watch.raise_alarm = take
    await watched.start()
    for project in ("gone", "support"):
        end, draw = clock.now(), random.Random(1)
        rows = [
            signal_row(end - (3_000 - n) * 10**7, float(draw.random() < (0.9 if n < 2_500 else 0.2)), project=project)
            for n in range(3_000)
        ]
        insert(traces, signal, rows)
        await look(watched, clock, 3)
    assert {one.project for one in taken} == {"support"}
    assert "handed on" in watched.watch.failing


async def test_a_nightly_detector_that_breaks_has_had_its_night() -> None:
    async with inside() as world:
        watched = world.app.governing.monitoring
        await watched.watch.stop()
        await world.declare("models", "probed", {"targets": ["fake/plain"]})
        home = await world.first_project()
        wish = monitoring.Declaration(kind="probes", config={"model": "probed"})
        await watched.declare(SYSTEM, "same-model", wish, project=home)
        tries = 0

        async def broken(*_: object) -> None:
            nonlocal tries
            tries += 1
            raise ValueError("what no one thought of")

        watched.nights._probe = broken
        world.clock.advance(DAY - world.clock.now() / 1e6 % DAY + 4 * 3_600)
        assert await watched.watch.look()
        for _ in range(5):
            await watched.nights.look()
        assert tries == 1
        assert list(watched.nights.failed.values()) == ["ValueError"]


def test_a_clock_that_was_ahead_leaves_no_detector_blind() -> None:
    kind = kinds.find("mix")
    config, state = kinds.configured(kind, {}), kind.state()
    draw, found = random.Random(1), []

    def feed(at: int, bad: bool) -> None:
        good = draw.random() < (0.2 if bad else 0.9)
        one = Observation(at, float(good), label="a" if good else "b")
        told = kind.take(config, state, Batch(at, (one,), 0.0), 30.0)
        if told is not None:
            found.append(told)

    at = 1_790_000_000_000_000
    for _ in range(5_000):
        at += MICROS // 1_000
        feed(at, bad=False)
    feed(at + 400 * MICROS, bad=False)  # for a moment, a year ahead
    found.clear()
    for _ in range(3_000):
        at += MICROS // 1_000
        feed(at, bad=True)
    assert found


@ONE_ENGINE
async def test_a_judge_that_fails_is_known_among_any_number_of_series(control, traces, clock, monkeypatch) -> None:
    monkeypatch.setattr("ostinato.monitoring.monitoring._MOST", 3)
    watched = room(control, traces, clock, Alarms())
    await watched.start()
    rows = [signal_row(clock.now(), 1.0, project="p" * 32, name=f"a{n}") for n in range(9)]
    insert(traces, signal, rows)
    await look(watched, clock, 3)
    kind = kinds.find("judge")
    state = msgspec.structs.replace(kind.state(), learning=False, statistic=0.9, threshold=0.4)
    watched._current = lambda _: True
    series = Series("acme", "p" * 32, part="strict")
    kept = {"z": store.Kept("zz-gold", "judge", 1, series, state)}
    lease = watched.watch.lease
    assert lease is not None
    traces.transact(lambda connection: store.write(connection, lease, {}, kept, ()))
    assert "kappa of 0.10" in await watched.judge_failing("p" * 32)


@ONE_ENGINE
async def test_another_snapshot_behind_a_name_is_told_of_without_any_fingerprint(control, traces, clock) -> None:
    alarms = Alarms()
    watched = room(control, traces, clock, alarms)
    await watched.start()
    insert(traces, call, [call_row(clock.now() - 1000 + at, answered_by="plain-2026-05-13") for at in range(300)])
    await look(watched, clock)
    insert(traces, call, [call_row(clock.now() + at, answered_by="plain-2026-08-06") for at in range(60)])
    await look(watched, clock, 3)
    (alarm,) = [one for one in alarms.taken if one.kind == "model"]
    assert (alarm.target, alarm.evidence["new"]) == ("fake/plain", "plain-2026-08-06")


async def test_the_ledger_keeps_what_the_provider_says_has_answered() -> None:
    async with inside() as world:
        await world.chat("hello")
        await world.rows(1)
        query = sa.select(call.c.answered_by, call.c.model)
        ((answered_by, model),) = await world.app.ledger_database.read(lambda c: c.execute(query).all())
        assert answered_by and model


@ONE_ENGINE
async def test_what_watches_a_series_is_asked_once_for_all_questions(control, traces, clock, monkeypatch) -> None:
    watched = room(control, traces, clock, Alarms())
    await watched.start()
    watched.vectors._embedder = object()
    times = 0
    effective = watched.registry.effective

    def counted(*of: str) -> Any:
        nonlocal times
        times += 1
        return effective(*of)

    monkeypatch.setattr(watched.registry, "effective", counted)
    some = [Candidate(f"{n:032x}", 1, Series("acme", "p", f"i{n % 3}"), "") for n in range(3_000)]
    await watched.vectors.take(some)
    assert times == 3


def test_what_is_learnt_is_bet_against_nearly_as_sharply_as_what_is_known() -> None:
    """The limit that is bet against lies below what was seen; a drop of five points must not be half hidden by it."""

    def growth(base: float) -> float:
        """Of the bet on five points, for each sample after the drop."""
        stake = sequential.bets(base)[0].stake
        return 0.75 * math.log1p(stake * (base - 1)) + 0.25 * math.log1p(stake * base)

    config = kinds.configured(kinds.find("quality"), {})
    learnt = sequential.bound(0.8, 5_000, "down", config.confidence)
    assert growth(learnt) >= 0.88 * growth(0.8)
    large = sequential.bets(0.8)[2]
    assert large.weight <= 0.1, "what finds a large drop within dozens of samples takes little from the others"
