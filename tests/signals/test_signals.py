"""Signals: taken without waiting, written once, read back with what they are about."""

from typing import Any

import pytest

from ostinato import storage
from ostinato.core import ids
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Invalid, Unavailable
from ostinato.signals import Filter, Settings, Signal, Signals, tables


def signal(clock: ManualClock, **fields: Any) -> Signal:
    values = {
        "id": ids.new(clock.now()),
        "request_id": "r1",
        "at": clock.now(),
        "org": "acme",
        "project": "support",
        "source": "feedback",
        "name": "feedback",
        "value": 1.0,
        "actor": "key:1",
    }
    return Signal(**{**values, **fields})


class Broken(storage.Database):
    """Wraps a database that can be told to fail, before or after the commit."""

    def __init__(self, real: storage.Database) -> None:
        self.__dict__.update(real.__dict__)
        self.real = real
        self.fail = ""

    def transact(self, work):
        if self.fail == "before":
            raise Unavailable("The disk is full.", code="storage_full")
        result = self.real.transact(work)
        if self.fail == "after":
            raise Unavailable("The answer never came.", code="storage_unreachable")
        return result


def test_the_revision_makes_what_the_tables_declare(traces: storage.Database, schema_drift) -> None:
    assert schema_drift(traces, tables.metadata) == []
    assert tuple(column.name for column in tables.signal.columns)[1:] == Signal.__struct_fields__


def test_the_revision_can_be_undone_and_done_again(traces: storage.Database) -> None:
    storage.downgrade(traces, "0002_release")
    assert not traces.query(lambda c: c.dialect.has_table(c, "signal"))
    storage.migrate(traces)
    assert traces.query(lambda c: c.dialect.has_table(c, "signal"))


async def test_what_is_recorded_is_read(traces: storage.Database, clock: ManualClock) -> None:
    room = Signals(traces, clock)
    told = signal(
        clock,
        label="billing",
        comment="Zwei\x00mal \U0001f600",
        weight=20.0,
        value=None,
        scorer="judge@0a1b2c3d",
        prompt="support/answer",
        prompt_version=3,
        release="rel",
        arm="canary",
        intent="support",
        entry="ff",
        origin="r0",
    )
    assert room.record([told, signal(clock, request_id="r2")]) == 2
    (found,) = await room.of("r1")
    assert found == Signal(
        **{name: getattr(told, name) for name in told.__struct_fields__} | {"comment": "Zwei\ufffdmal 😀"}
    )
    assert await room.of("r3") == ()
    assert await room.of("r1", Filter(project="other")) == ()
    assert room.counts["feedback"] == 2
    assert (room.depth, room.stop()) == (0, 0)


async def test_pages_and_filters(traces: storage.Database, clock: ManualClock) -> None:
    room = Signals(traces, clock)
    start = clock.now()
    for number in range(10):
        room.record([signal(clock, request_id=f"r{number}", value=number / 10, prompt="a" if number % 2 else "b")])
        clock.advance(1)
    first = await room.query(Filter(org="acme"), limit=4)
    rest = await room.query(Filter(org="acme"), first.after)
    assert [one.request_id for one in (*first.signals, *rest.signals)] == [f"r{number}" for number in range(10)]
    assert (await room.query(Filter(), rest.after)).after == rest.after

    async def ids_of(**fields: Any) -> list[str]:
        return [one.request_id for one in (await room.query(Filter(**fields))).signals]

    assert await ids_of(prompt="a", least=0.5) == ["r5", "r7", "r9"]
    assert await ids_of(most=0.1) == ["r0", "r1"]
    assert await ids_of(since=start + 8_000_000) == ["r8", "r9"]
    assert await ids_of(until=start + 1_000_000) == ["r0"]
    assert await ids_of(source="review") == []
    assert len(await ids_of(since=-(10**30), until=10**30)) == 10
    for wrong in ("x", "-1", "1.0", "9" * 30):
        with pytest.raises(Invalid, match="cursor"):
            await room.query(Filter(), wrong)


async def test_a_summary_counts_the_last_word(traces: storage.Database, clock: ManualClock) -> None:
    room = Signals(traces, clock)
    room.record(
        [
            signal(clock, value=1.0, arm="canary"),
            signal(clock, value=0.0, arm="canary"),  # the same actor has thought again
            signal(clock, value=1.0, arm="canary", actor="key:2"),
            signal(clock, request_id="r2", value=1.0, arm="stable", weight=3.0),
            signal(clock, request_id="r3", value=None, label="spam", arm="stable"),
            signal(clock, source="scorer", name="polite", value=None, scorer="polite@1"),
            signal(clock, source="scorer", name="polite", value=0.5, scorer="polite@2"),
        ]
    )
    feedback, polite = await room.summary(Filter(org="acme"))
    assert (feedback.name, feedback.count, feedback.valued, feedback.labels) == ("feedback", 4, 3, {"spam": 1})
    assert feedback.mean == pytest.approx((0 + 1 + 3) / 5)
    assert (polite.count, polite.valued, polite.mean) == (2, 1, 0.5)
    canary, stable = (one for one in await room.summary(Filter(source="feedback"), by=["arm"]))
    assert (canary.arm, canary.mean, stable.arm, stable.mean) == ("canary", 0.5, "stable", 1.0)
    (empty,) = await room.summary(Filter(most=-1.0)) or (None,)
    assert empty is None
    with pytest.raises(Invalid, match="told apart"):
        await room.summary(Filter(), by=["comment"])


def test_beyond_the_bound_nothing_is_taken_and_it_is_counted(traces: storage.Database, clock: ManualClock) -> None:
    room = Signals(traces, clock, Settings(queue=3))
    assert room.record([signal(clock), signal(clock)]) == 2
    assert room.record([signal(clock), signal(clock)]) == 0
    assert (room.dropped, room.depth) == (2, 2)
    assert room.flush()
    assert room.record([signal(clock), signal(clock)]) == 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_signals_wait_while_the_database_is_away_and_are_written_once(
    traces: storage.Database, clock: ManualClock, when: str
) -> None:
    database = Broken(traces)
    room = Signals(database, clock)
    room.record([signal(clock) for _ in range(3)])
    database.fail = when
    assert not room.flush()
    assert room.failing
    assert room.depth == 3
    database.fail = ""
    room.record([signal(clock)])
    assert room.stop() == 0
    count = traces.query(lambda c: c.exec_driver_sql("SELECT count(*) FROM signal").scalar())
    assert (count, room.failing, room.dropped) == (4, "", 0)


def test_one_that_no_database_takes_does_not_keep_the_others(traces: storage.Database, clock: ManualClock) -> None:
    room = Signals(traces, clock)
    wrong = signal(clock, prompt_version=10**30)
    room.record([signal(clock), wrong, signal(clock)])
    assert room.flush()
    assert room.dropped == 1
    assert traces.query(lambda c: c.exec_driver_sql("SELECT count(*) FROM signal").scalar()) == 2


def test_the_thread_writes_by_itself_and_a_clean_stop_loses_nothing(
    traces: storage.Database, clock: ManualClock
) -> None:
    room = Signals(traces, clock, Settings(batch_seconds=0.01))
    room.start()
    room.record([signal(clock) for _ in range(1_200)])
    assert room.stop() == 0
    assert traces.query(lambda c: c.exec_driver_sql("SELECT count(*) FROM signal").scalar()) == 1_200
    assert room.record([signal(clock)]) == 0


async def test_a_score_that_is_no_number_could_not_be_told_and_spoils_no_sum(
    traces: storage.Database, clock: ManualClock
) -> None:
    room = Signals(traces, clock)
    some = [(1.0, 1.0), (float("nan"), 1.0), (float("inf"), 1.0), (0.5, float("inf")), (0.0, float("nan")), (0.5, -1.0)]
    for number, (value, weight) in enumerate(some):
        room.record([signal(clock, request_id=f"r{number}", value=value, weight=weight)])
    assert room.flush()
    assert room.dropped == 0
    sums = traces.query(
        lambda c: c.exec_driver_sql("SELECT n, valued, w, wv FROM signal_rollup WHERE grain = 86400").all()
    )
    assert [tuple(row) for row in sums] == [(6, 4, 4.0, 2.0)]
