"""Recording: every accepted row is written once, or counted as missing; nothing ever blocks or raises."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from ostinato import storage
from ostinato.core import ids
from ostinato.core.clock import ManualClock, SystemClock
from ostinato.core.errors import Unavailable
from ostinato.traces import Filter, Ledger, Recorder, Settings, Window, tables
from ostinato.traces.model import HitRow
from ostinato.wire.model import Usage

Count = Callable[[str], int]
DAY = 86_400_000_000


def query(database: storage.Database, statement: str) -> list[tuple]:
    return [tuple(row) for row in database.query(lambda c: c.exec_driver_sql(statement).all())]


def test_the_revision_makes_what_the_tables_declare(traces: storage.Database, schema_drift) -> None:
    assert schema_drift(traces, tables.metadata) == []
    columns = traces.query(lambda c: [column["name"] for column in sa.inspect(c).get_columns("request_event")])
    assert tuple(columns) == tables.EVENT_COLUMNS


def test_the_revision_can_be_undone_and_done_again(traces: storage.Database) -> None:
    storage.downgrade(traces, "base")
    assert not traces.query(lambda c: sa.inspect(c).has_table("hit"))
    storage.migrate(traces)
    assert traces.query(lambda c: sa.inspect(c).has_table("rollup"))


def test_the_columns_of_a_hit_are_the_fields_of_its_row() -> None:
    assert tuple(column.name for column in tables.hit.columns)[1:] == HitRow.__struct_fields__


def test_what_is_recorded_is_written(recorder: Recorder, clock: ManualClock, rows, count: Count) -> None:
    first = rows.call(clock)
    recorder.call(first)
    for _ in range(20):
        clock.advance(0.001)
        recorder.hit(rows.hit(clock, first.request_id))
    assert recorder.depth == 21
    assert recorder.flush()
    assert recorder.depth == 0
    assert (count("call"), count("hit")) == (1, 20)
    assert recorder.flush()
    assert (count("call"), count("hit")) == (1, 20)


def test_a_clean_stop_loses_nothing(traces: storage.Database, clock: ManualClock, rows, count: Count) -> None:
    recorder = Recorder(traces, clock, Settings(batch_seconds=60.0, batch_rows=100))
    recorder.start()
    first = rows.call(clock)
    recorder.call(first)
    for _ in range(1_234):
        recorder.hit(rows.hit(clock, first.request_id))
    assert recorder.stop() == 0
    assert count("hit") == 1_234
    recorder.hit(rows.hit(clock, first.request_id))
    assert recorder.dropped == 1


def test_the_thread_writes_by_itself(traces: storage.Database, rows, clock: ManualClock, count: Count) -> None:
    recorder = Recorder(traces, SystemClock(), Settings(batch_seconds=0.01))
    recorder.start()
    recorder.call(rows.call(clock))
    while recorder.depth:
        signal.sigtimedwait([], 0.01)
    recorder.stop()
    assert count("call") == 1


def test_beyond_the_bound_the_newest_are_shed_and_counted_exactly(
    traces: storage.Database, clock: ManualClock, rows, count: Count
) -> None:
    recorder = Recorder(traces, clock, Settings(batch_seconds=60.0, queue_rows=100))
    recorder.start()
    calls = [rows.call(clock, client_request_id=str(n)) for n in range(130)]
    for row in calls:
        recorder.call(row)
    assert recorder.dropped == 30
    recorder.flush()
    for _ in range(50):
        recorder.hit(rows.hit(clock, calls[0].request_id))
    recorder.stop()
    assert (count("call"), count("hit")) == (100, 50)
    kept = {int(name) for (name,) in query(traces, "SELECT client_request_id FROM call")}
    assert kept == set(range(100))
    assert query(traces, "SELECT kind, sum(rows) FROM ledger_loss GROUP BY kind") == [("dropped", 30)]


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


def test_rows_wait_while_the_database_is_away(traces: storage.Database, clock: ManualClock, rows, count: Count) -> None:
    database = Broken(traces)
    recorder = Recorder(database, clock, Settings(batch_seconds=60.0, queue_rows=50, batch_rows=20, stop_seconds=0.0))
    recorder.start()
    database.fail = "before"
    for _ in range(30):
        recorder.call(rows.call(clock))
    assert not recorder.flush()
    assert not recorder.flush()
    assert "full" in recorder.failing
    assert recorder.failures == 2
    assert recorder.depth == 30
    for _ in range(30):
        recorder.call(rows.call(clock))
    assert recorder.depth == 50
    assert recorder.dropped == 10
    database.fail = ""
    assert recorder.flush()
    assert recorder.failing == ""
    assert count("call") == 50
    recorder.stop()
    assert query(traces, "SELECT kind, rows FROM ledger_loss") == [("dropped", 10)]


def test_a_commit_whose_answer_was_lost_is_not_repeated(
    traces: storage.Database, clock: ManualClock, rows, count: Count
) -> None:
    database = Broken(traces)
    recorder = Recorder(database, clock, Settings(batch_seconds=60.0))
    recorder.start()
    recorder.call(rows.call(clock))
    recorder.flush()
    database.fail = "after"
    first = rows.call(clock)
    recorder.call(first)
    recorder.hit(rows.hit(clock, first.request_id))
    assert not recorder.flush()
    assert not recorder.flush()
    database.fail = ""
    recorder.hit(rows.hit(clock, first.request_id))
    assert recorder.flush()
    recorder.stop()
    assert (count("call"), count("hit")) == (2, 2)
    for grain in (10, 60, 3600, 86400):
        assert query(traces, f"SELECT sum(requests), sum(cost) FROM rollup WHERE grain = {grain}") == [(4, 2_000)]
    assert query(traces, "SELECT accounted FROM ledger_writer") == [(4,)]


def test_a_stop_without_a_database_counts_what_it_leaves(
    traces: storage.Database, clock: ManualClock, rows, count: Count, tmp_path: Path
) -> None:
    database = Broken(traces)
    recorder = Recorder(database, clock, Settings(batch_seconds=60.0, stop_seconds=0.0), directory=tmp_path)
    recorder.start()
    database.fail = "before"
    for _ in range(7):
        recorder.call(rows.call(clock))
    assert recorder.stop() == 7
    following = Recorder(traces, clock, Settings(batch_seconds=60.0), directory=tmp_path)
    following.start()
    assert following.lost_before == 7
    following.stop()
    assert query(traces, "SELECT kind, rows FROM ledger_loss") == [("crash", 7)]


def test_one_bad_row_does_not_hold_up_the_others(
    recorder: Recorder, clock: ManualClock, rows, traces, count: Count
) -> None:
    first = rows.call(clock)
    recorder.call(first)
    recorder.call(rows.call(clock, alias="a\x00b\ud800", usage=Usage(2**70)))
    recorder.call(rows.call(clock, extra={"x": object()}))
    recorder.call(first)
    recorder.call(rows.call(clock, status=None))
    recorder.hit(rows.hit(clock, first.request_id, session="\ud800"))
    recorder.call(rows.call(clock))
    assert recorder.flush(), recorder.failing
    assert count("call") + count("hit") + query(traces, "SELECT sum(rows) FROM ledger_loss")[0][0] == 7
    assert count("hit") == 1
    assert recorder.flush()
    assert recorder.depth == 0
    recorder.call(rows.call(clock))
    assert recorder.flush(), recorder.failing


def test_a_hit_that_comes_before_its_call_waits_for_it(recorder: Recorder, clock: ManualClock, rows, traces) -> None:
    leader = rows.call(clock)
    recorder.hit(rows.hit(clock, leader.request_id, kind=3))
    recorder._attempt(recorder._cycle)  # as the thread would: not the last batch
    assert recorder.depth == 1
    recorder.call(leader)
    recorder._attempt(recorder._cycle)
    assert recorder.depth == 0
    assert query(traces, "SELECT hit_joined, unattributed, avoided FROM rollup WHERE grain = 10") == [(1, 0, 175)]


def test_a_hit_whose_call_never_comes_is_written_all_the_same(
    recorder: Recorder, clock: ManualClock, rows, traces
) -> None:
    recorder.hit(rows.hit(clock, ids.new(clock.now())))
    for _ in range(3):
        recorder._attempt(recorder._cycle)
    assert recorder.depth == 0
    recorder.hit(rows.hit(clock, ids.new(clock.now() - DAY)))
    recorder.hit(rows.hit(clock, "no id at all"))
    recorder._attempt(recorder._cycle)
    assert query(traces, "SELECT sum(requests), sum(unattributed) FROM rollup WHERE grain = 60") == [(3, 3)]


def test_a_call_of_an_earlier_process_is_found_in_the_ledger(traces, clock: ManualClock, rows) -> None:
    first = rows.call(clock)
    for row in (first, rows.hit(clock, first.request_id)):
        recorder = Recorder(traces, clock, Settings(batch_seconds=60.0))
        recorder.start()
        (recorder.call if row is first else recorder.hit)(row)
        recorder.stop()
    statement = (
        "SELECT alias, sum(requests), sum(avoided), sum(unattributed) FROM rollup WHERE grain = 10 GROUP BY alias"
    )
    assert query(traces, statement) == [("small", 2, 175, 0)]


def test_texts_are_redacted_and_cut(traces, clock: ManualClock, rows) -> None:
    recorder = Recorder(traces, clock, Settings(batch_seconds=60.0, text_chars=40))
    recorder.start()
    mail = "bob" + "@example.com"
    recorder.call(rows.call(clock, input_text=f"I am {mail}", output_text="x" * 35 + " " + mail))
    recorder.call(rows.call(clock))
    recorder.stop()
    told = query(traces, "SELECT input_text, output_text FROM call ORDER BY seq")
    assert told == [("I am [EMAIL]", "x" * 35 + " [EMA"), (None, None)]


def test_many_batches_and_restarts_add_up(traces, clock: ManualClock, rows) -> None:
    expected = 0
    for _ in range(3):
        recorder = Recorder(traces, clock, Settings(batch_seconds=60.0, batch_rows=7))
        recorder.start()
        for number in range(40):
            clock.advance(1.7)
            call = rows.call(clock, alias=f"a{number % 3}")
            recorder.call(call)
            recorder.hit(rows.hit(clock, call.request_id))
            expected += 2
            if number % 5 == 0:
                recorder.flush()
        clock.jump(-3_600)  # somebody sets the clock
        recorder.stop()
    for grain in (10, 60, 3600, 86400):
        assert query(traces, f"SELECT sum(requests), sum(saved) FROM rollup WHERE grain = {grain}") == [
            (expected, expected // 2 * 1_000)
        ]


def test_old_fine_rollups_are_pruned_and_hours_stay(traces, clock: ManualClock, rows) -> None:
    recorder = Recorder(traces, clock, Settings(batch_seconds=60.0, keep_10s_hours=1, keep_1m_days=1))
    recorder.start()
    recorder.call(rows.call(clock))
    recorder.flush()
    clock.advance(7_200)
    recorder.flush()
    assert {grain for (grain,) in query(traces, "SELECT grain FROM rollup")} == {60, 3600, 86400}
    clock.advance(90_000)
    recorder.flush()
    assert {grain for (grain,) in query(traces, "SELECT grain FROM rollup")} == {3600, 86400}
    recorder.stop()


# --- kill -9 ----------------------------------------------------------------------------------------------------


_LIFE = """
import os, signal, sys
from pathlib import Path
from ostinato import storage
from ostinato.core import ids
from ostinato.core.clock import SystemClock
from ostinato.traces import HitRow, Recorder, Settings

path, rows_after = sys.argv[1], int(sys.argv[2])
clock = SystemClock()
recorder = Recorder(storage.open_database("traces", Path(path)), clock, Settings(batch_seconds=0.01))
recorder.start()

def record(count):
    for _ in range(count):
        now = clock.now()
        recorder.hit(HitRow(ids.new(now), now, "k", "old", 10, 0, 0, 0, False))

record(250)
while recorder.depth:
    signal.sigtimedwait([], 0.005)
record(250)
recorder._lock.acquire()  # from here on the writer is stuck, as on a slow disk
record(rows_after)
print(500 + rows_after, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
"""A server's life: rows are written every 10 ms, some more are accepted, and the process is killed."""


@pytest.mark.parametrize("rows_after", [0, 37])
def test_a_killed_process_is_told_by_what_is_missing(tmp_path: Path, rows_after: int) -> None:
    path = tmp_path / "traces.db"
    database = storage.open_database("traces", path)
    storage.migrate(database)
    database.close()
    ended = subprocess.run([sys.executable, "-c", _LIFE, str(path), str(rows_after)], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    accepted = int(ended.stdout)
    database = storage.open_database("traces", path)
    written = query(database, "SELECT count(*) FROM hit")[0][0]
    recorder = Recorder(database, SystemClock(), Settings(batch_seconds=60.0))
    recorder.start()
    assert written + recorder.lost_before == accepted
    assert recorder.lost_before >= rows_after
    recorder.stop()
    assert sum(rows for (rows,) in query(database, "SELECT rows FROM ledger_loss")) == accepted - written
    again = Recorder(database, SystemClock(), Settings(batch_seconds=60.0))
    again.start()
    assert again.lost_before == 0
    again.stop()
    database.close()


def test_a_replaced_database_is_not_told_of_losses(tmp_path: Path, clock: ManualClock, rows) -> None:
    for name in ("one.db", "two.db"):
        database = storage.open_database("traces", tmp_path / name)
        storage.migrate(database)
        recorder = Recorder(database, clock, Settings(batch_seconds=60.0))
        recorder.start()
        assert recorder.lost_before == 0
        recorder.call(rows.call(clock))
        assert recorder.stop() == 0
        assert query(database, "SELECT count(*), (SELECT count(*) FROM ledger_loss) FROM call") == [(1, 0)]
        database.close()


def test_processes_that_share_a_directory_have_marks_of_their_own(
    traces, tmp_path: Path, clock: ManualClock, rows
) -> None:
    first, second = (Recorder(traces, clock, Settings(batch_seconds=60.0), directory=tmp_path) for _ in range(2))
    first.start()
    second.start()
    for _ in range(3):
        first.call(rows.call(clock))
    second.call(rows.call(clock))
    # The first is "killed": its mark is let go without a write.
    first._journal.close()
    third = Recorder(traces, clock, Settings(batch_seconds=60.0), directory=tmp_path)
    third.start()
    assert third.lost_before == 3
    third.stop()
    second.stop()
    assert len(list(tmp_path.glob("*.mark"))) == 2
    first._stopping = True
    first._hits.clear()
    first._calls.clear()
    first._wake.set()


def test_without_a_place_for_the_mark_rows_are_written_all_the_same(
    traces, clock: ManualClock, rows, count: Count
) -> None:
    recorder = Recorder(traces, clock, Settings(batch_seconds=60.0), directory=Path("/proc/nowhere"))
    recorder.start()
    recorder.call(rows.call(clock))
    assert recorder.stop() == 0
    assert count("call") == 1


async def test_losses_show_in_the_stats(traces, clock: ManualClock, rows) -> None:
    recorder = Recorder(traces, clock, Settings(batch_seconds=60.0, queue_rows=2))
    recorder.start()
    for _ in range(5):
        recorder.call(rows.call(clock))
    recorder.stop()
    stats = await Ledger(traces, clock).stats(Window(clock.now() - DAY, clock.now() + 1), Filter(project="support"))
    assert (stats.requests, stats.rows_dropped, stats.rows_lost) == (2, 3, 0)


def test_on_postgresql_rows_wait_while_nobody_is_let_in(postgres_server, postgres_url: str, clock, rows) -> None:
    name = sa.make_url(postgres_url).database
    database = storage.open_database("traces", postgres_url)
    storage.migrate(database)
    recorder = Recorder(database, clock, Settings(batch_seconds=60.0))
    recorder.start()
    recorder.call(rows.call(clock))
    assert recorder.flush()
    postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    postgres_server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
    for _ in range(10):
        recorder.call(rows.call(clock))
    assert not recorder.flush()
    assert recorder.depth == 10
    postgres_server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert recorder.flush(), recorder.failing
    assert recorder.stop() == 0
    assert query(database, "SELECT count(*) FROM call") == [(11,)]
    assert query(database, "SELECT sum(requests) FROM rollup WHERE grain = 10") == [(11,)]
    database.close()


def test_on_a_full_disk_rows_wait_and_the_file_stays_whole(tmp_path: Path, clock: ManualClock, rows) -> None:
    database = storage.open_database("traces", tmp_path / "traces.db")
    storage.migrate(database)
    pages = query(database, "PRAGMA page_count")[0][0]
    database.transact(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}").all())
    recorder = Recorder(database, clock, Settings(batch_seconds=60.0, queue_rows=500))
    recorder.start()
    for _ in range(600):
        recorder.call(rows.call(clock))
    assert not recorder.flush()
    assert "full" in recorder.failing
    assert (recorder.depth, recorder.dropped) == (500, 100)
    database.transact(lambda c: c.exec_driver_sql("PRAGMA max_page_count = 1000000").all())
    assert recorder.stop() == 0
    assert query(database, "SELECT count(*) FROM call") == [(500,)]
    assert query(database, "PRAGMA integrity_check") == [("ok",)]
    database.close()
