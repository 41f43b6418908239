"""The watch: from new rows of the ledger, signals and the rollup to alarms, on both engines; crashes, two processes."""

import random
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent))

from feeding import DAY, Alarms, call_row, insert, minute_row, room, signal_row

from ostinato import storage
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Unavailable
from ostinato.monitoring import tables, watching
from ostinato.signals.tables import signal
from ostinato.traces.tables import call, rollup

ONE_ENGINE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""Where it is the detectors that are tried, not the statements."""


def scores(clock: ManualClock, n: int, share: float, seed: int, days: float = 1.0, **fields) -> list:
    draw, end = random.Random(seed), clock.now()
    step = int(days * DAY * 1e6 / n)
    return [
        signal_row(end - (n - at) * step, float(draw.random() < share), **{"intent": "billing", **fields})
        for at in range(n)
    ]


async def look(watched, clock: ManualClock, times: int = 2) -> None:
    for _ in range(times):
        clock.advance(10)
        assert await watched.watch.look(), watched.watch.failing


def test_the_revisions_make_what_the_tables_declare(control, traces, schema_drift) -> None:
    assert schema_drift(control, tables.governed) == []
    assert schema_drift(traces, tables.machine) == []


def test_the_revisions_can_be_undone_and_done_again(control, traces) -> None:
    for database, before, table in (
        (control, "0015_triage", "detector"),
        (traces, "0007_triage", "detector_state"),
    ):
        storage.downgrade(database, before)
        assert not database.query(lambda c, table=table: c.dialect.has_table(c, table))
        storage.migrate(database)
        assert database.query(lambda c, table=table: c.dialect.has_table(c, table))


async def test_a_drop_of_ten_points_is_found_and_handed_on_once(control, traces, clock) -> None:
    alarms = Alarms()
    watched = room(control, traces, clock, alarms)
    await watched.start()
    insert(traces, signal, scores(clock, 3_000, 0.8, 1, days=3))
    await look(watched, clock, 3)
    assert alarms.taken == []
    clock.advance(DAY)
    insert(traces, signal, scores(clock, 500, 0.7, 2, days=0.5))
    await look(watched, clock, 3)
    quality = [one for one in alarms.taken if one.kind == "quality"]
    assert len(quality) == 1, alarms.taken
    (alarm,) = quality
    assert (alarm.project, alarm.intent, alarm.detector) == ("support", "billing", "quality:scorer:exact")
    assert alarm.statistic is not None and alarm.threshold is not None and alarm.statistic >= alarm.threshold
    assert alarm.evidence["now"] < alarm.evidence["usual"]
    assert await watched.index("support", "billing") >= 1
    assert await watched.index("support", "other") is None
    await look(watched, clock)
    assert [one for one in alarms.taken if one.kind == "quality"] == quality


async def test_a_restart_loses_nothing_and_counts_nothing_twice(control, traces, clock) -> None:
    first, second = Alarms(), Alarms()
    watched = room(control, traces, clock, first)
    await watched.start()
    insert(traces, signal, scores(clock, 1_000, 0.8, 1))
    await look(watched, clock)
    await watched.stop()
    clock.advance(3_600)
    insert(traces, signal, scores(clock, 50, 0.8, 2, days=0.01))
    after = room(control, traces, clock, second)
    await after.start()
    await look(after, clock, 3)
    (kept,) = [one for one in after.watch.kept.values() if one.kind == "quality"]
    assert kept.state.n == 1_050


async def test_what_was_not_written_is_read_again(control, traces, clock, monkeypatch) -> None:
    """A crash between feeding and writing: the same rows are fed again, to the states as they were."""
    watched = room(control, traces, clock, Alarms())
    await watched.start()
    insert(traces, signal, scores(clock, 500, 0.8, 1))
    await look(watched, clock, 1)
    real = traces.transact

    def broken(work):
        raise Unavailable("The disk is full.", code="storage_full")

    monkeypatch.setattr(traces, "transact", broken)
    assert not await watched.watch.look()
    assert "disk is full" in watched.watch.failing
    monkeypatch.setattr(traces, "transact", real)
    await look(watched, clock, 3)
    (kept,) = [one for one in watched.watch.kept.values() if one.kind == "quality"]
    assert kept.state.n == 500
    assert watched.watch.failing == ""


async def test_an_alarm_waits_until_it_has_arrived(control, traces, clock) -> None:
    alarms = Alarms()
    watched = room(control, traces, clock, alarms)
    await watched.start()
    insert(traces, signal, scores(clock, 3_000, 0.8, 1, days=3))
    await look(watched, clock)
    alarms.broken = True
    clock.advance(DAY)
    insert(traces, signal, scores(clock, 400, 0.5, 2, days=0.4))
    clock.advance(10)
    for _ in range(3):
        await watched.watch.look()
    assert alarms.taken == []
    assert "handed on" in watched.watch.failing
    await watched.stop()
    alarms.broken = False
    again = room(control, traces, clock, alarms)
    await again.start()
    await look(again, clock)
    assert [one.kind for one in alarms.taken].count("quality") >= 1
    count = len(alarms.taken)
    await look(again, clock)
    assert len(alarms.taken) == count


async def test_of_two_processes_one_watches(control, traces, clock) -> None:
    one, two = (room(control, traces, clock, Alarms()) for _ in range(2))
    for each in (one, two):
        await each.start()
    insert(traces, signal, scores(clock, 300, 0.8, 1))
    assert await one.watch.look()
    assert not await two.watch.look()
    clock.advance(20)
    assert await one.watch.look()
    clock.advance(20)
    assert not await two.watch.look()  # it has beaten since
    clock.advance(31)
    assert await two.watch.look()  # it stood still for longer than a lease
    clock.advance(10)
    assert not await one.watch.look()  # its fence is old: it writes nothing
    clock.advance(10)
    assert await two.watch.look()
    rows = traces.query(lambda c: c.execute(sa.select(tables.state.c.detector)).all())
    assert len([row for row in rows if row[0] == "quality"]) == 1


@ONE_ENGINE
async def test_errors_refusals_format_latency_and_cost_are_found(control, traces, clock) -> None:
    draw = random.Random(3)
    alarms = Alarms()
    watched = room(control, traces, clock, alarms)
    await watched.start()

    def rows(n: int, worse: float) -> list:
        found = []
        for at in range(n):
            bad = draw.random() < 0.02 + worse
            found.append(
                call_row(
                    clock.now() - (n - at) * 40_000_000,
                    status=502 if bad and at % 3 == 0 else 200,
                    finish="refusal" if bad and at % 3 == 1 else "stop",
                    reason="schema" if bad and at % 3 == 2 else "",
                    total_us=int(draw.lognormvariate(13.8, 0.4) * (1 + 9 * worse)),
                    cost=int(draw.lognormvariate(8, 0.4) * (1 + 9 * worse)),
                )
            )
        return found

    insert(traces, call, rows(3_000, 0.0))
    await look(watched, clock, 3)
    assert alarms.taken == []
    clock.advance(DAY / 2)
    insert(traces, call, rows(900, 0.2))
    await look(watched, clock, 3)
    assert {one.kind for one in alarms.taken} == {"errors", "refusals", "format", "latency", "cost"}


@ONE_ENGINE
async def test_callers_mistakes_and_our_own_calls_are_not_counted(control, traces, clock) -> None:
    watched = room(control, traces, clock, Alarms())
    await watched.start()
    at = clock.now()
    insert(
        traces,
        call,
        [
            call_row(at, status=400),
            call_row(at, status=499, error="caller_left"),
            call_row(at, status=502, key_id=""),
            call_row(at, status=503, attempts="[]"),
            call_row(at, status=502),
            call_row(at),
        ],
    )
    await look(watched, clock)
    (kept,) = [one for one in watched.watch.kept.values() if one.kind == "errors"]
    assert kept.state.n == 2


@ONE_ENGINE
async def test_a_new_fingerprint_of_a_model_is_told_once(control, traces, clock) -> None:
    alarms = Alarms()
    watched = room(control, traces, clock, alarms)
    await watched.start()
    insert(traces, call, [call_row(clock.now() - 1000 + at, system_fingerprint="fp_1") for at in range(300)])
    await look(watched, clock)
    insert(traces, call, [call_row(clock.now() + at, system_fingerprint="fp_2") for at in range(60)])
    await look(watched, clock, 3)
    (alarm,) = [one for one in alarms.taken if one.kind == "model"]
    assert alarm.target == "fake/plain"
    assert alarm.evidence["new"] == "plain fp_2"
    insert(traces, call, [call_row(clock.now() + at, system_fingerprint="fp_2") for at in range(60)])
    await look(watched, clock, 3)
    assert len([one for one in alarms.taken if one.kind == "model"]) == 1


@ONE_ENGINE
async def test_a_series_that_falls_silent_is_an_alarm(control, traces, clock) -> None:
    alarms = Alarms()
    watched = room(control, traces, clock, alarms, every_seconds=3_600)
    await watched.start()
    minute = 60_000_000

    async def hour(requests: int) -> None:
        clock.advance(3_600)
        if requests:
            insert(traces, rollup, [minute_row(clock.now() - clock.now() % minute - 5 * minute, requests)])
        assert await watched.watch.look(), watched.watch.failing

    await watched.watch.look()
    for _ in range(8 * 24):
        await hour(30)
    assert alarms.taken == []
    for _ in range(3):
        await hour(0)
    (alarm,) = alarms.taken
    assert alarm.kind == "missing-data"
    assert alarm.evidence["silent_minutes"] >= 60
    for _ in range(20):
        await hour(0)
    assert len(alarms.taken) == 1  # told once
    await hour(30)
    assert len(alarms.taken) == 1


@ONE_ENGINE
async def test_a_process_that_stood_still_has_seen_no_silence(control, traces, clock) -> None:
    alarms = Alarms()
    watched = room(control, traces, clock, alarms, every_seconds=3_600)
    await watched.start()
    minute = 60_000_000
    await watched.watch.look()
    for _ in range(8 * 24):
        clock.advance(3_600)
        insert(traces, rollup, [minute_row(clock.now() - clock.now() % minute - 5 * minute, 30)])
        await watched.watch.look()
    clock.advance(7 * DAY)  # nobody watched
    await watched.watch.look()
    clock.jump(3 * DAY)  # the clock was put forward
    clock.advance(60)
    await watched.watch.look()
    (kept,) = watched.watch.kept.values()
    assert sum(kept.state.hours) < 8 * 24 + 1
    clock.jump(-3 * DAY)
    clock.advance(60)
    await watched.watch.look()
    assert alarms.taken == []
    assert watched.watch.failing == ""


@ONE_ENGINE
async def test_what_falls_silent_is_not_written_at_every_look_and_loses_nothing(
    control, traces, clock, monkeypatch
) -> None:
    """Some kilobytes for each series, every ten seconds, were 8 GB a day for two hundred series."""
    written: list[int] = []
    real = watching.store.write

    def write(connection, lease, positions, changed, alarms, gone=()) -> None:
        written.append(sum(one.ticks for one in changed.values()))
        real(connection, lease, positions, changed, alarms, gone)

    monkeypatch.setattr(watching.store, "write", write)
    watched = room(control, traces, clock, Alarms())
    await watched.start()
    insert(traces, signal, [signal_row(clock.now(), 1.0)])
    for at in range(180):
        if at % 6 == 0:
            insert(traces, signal, [signal_row(clock.now(), 1.0)])
        await look(watched, clock, 1)
    assert sum(written) <= 4, "half an hour: when it is new, then every ten minutes"
    (kept,) = [one for one in watched.watch.kept.values() if one.ticks]
    assert kept.state.n == 31
    assert sum(kept.state.hours) * 3_600 == pytest.approx(1_780, abs=70)
    await watched.stop()
    other = room(control, traces, clock, Alarms())
    await other.start()
    await look(other, clock, 1)
    (after,) = [one for one in other.watch.kept.values() if one.ticks]
    assert (after.state.n, after.state.counts) == (kept.state.n, kept.state.counts), "what ends in order loses nothing"


@ONE_ENGINE
async def test_no_more_series_than_there_is_room_for(control, traces, clock) -> None:
    watched = room(control, traces, clock, Alarms(), series=10)
    await watched.start()
    insert(traces, signal, [signal_row(clock.now(), 1.0, name=f"n{at}") for at in range(50)])
    await look(watched, clock)
    assert len(watched.watch.kept) <= 10
    assert watched.watch.unwatched > 0


@ONE_ENGINE
@pytest.mark.parametrize("value", [None, 7.5, -1.0])
async def test_values_that_mean_nothing_are_counted(control, traces, clock, value) -> None:
    watched = room(control, traces, clock, Alarms())
    await watched.start()
    insert(traces, signal, [signal_row(clock.now(), value), signal_row(clock.now(), 1.0)])
    await look(watched, clock)
    (kept,) = [one for one in watched.watch.kept.values() if one.kind == "quality"]
    assert (kept.state.n, kept.state.ignored) == (1, 1)


async def test_what_is_long_idle_is_forgotten(control, traces, clock, monkeypatch) -> None:
    monkeypatch.setattr(watching, "_FORGET_EVERY", 3)
    alarms = Alarms()
    watched = room(control, traces, clock, alarms, idle_days=30, keep_days=60)
    await watched.start()
    insert(traces, call, [call_row(clock.now() - 1000 + at, system_fingerprint="fp_1") for at in range(300)])
    await look(watched, clock)
    insert(traces, call, [call_row(clock.now() + at, system_fingerprint="fp_2") for at in range(60)])
    await look(watched, clock, 3)
    assert len(alarms.taken) == 1
    assert watched.watch.kept
    clock.advance(61 * DAY)
    await look(watched, clock, 4)
    assert watched.watch.kept == {}
    for table in (tables.state, tables.alarm):
        assert traces.query(lambda c, table=table: c.execute(sa.select(table)).all()) == []


@ONE_ENGINE
async def test_of_many_observations_an_even_part_is_taken_and_a_drop_is_still_found(control, traces, clock) -> None:
    alarms = Alarms()
    watched = room(control, traces, clock, alarms, observations_per_look=700)
    await watched.start()
    insert(traces, signal, scores(clock, 3_000, 0.9, 1, days=3))
    await look(watched, clock, 3)
    assert alarms.taken == []
    (kept,) = [one for one in watched.watch.kept.values() if one.kind == "quality"]
    assert 400 <= kept.state.n <= 700, kept.state
    clock.advance(DAY)
    insert(traces, signal, scores(clock, 2_000, 0.5, 2, days=0.5))
    await look(watched, clock, 3)
    assert [one.kind for one in alarms.taken if one.kind == "quality"] == ["quality"]
