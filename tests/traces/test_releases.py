"""Which prompt, version, release and arm: on rows, through the view, in the rollup, and over the revision."""

from collections.abc import Iterator

import pytest

from ostinato import storage
from ostinato.core.clock import ManualClock
from ostinato.storage import migrating
from ostinato.traces import Filter, Ledger, Recorder, Settings, Window, rollup

SECOND = 1_000_000
HOUR = 3_600 * SECOND


@pytest.fixture
def reader(traces: storage.Database, clock: ManualClock) -> Ledger:
    return Ledger(traces, clock)


@pytest.fixture
def new_traces(database_url: str) -> Iterator[storage.Database]:
    """An empty database; once on each engine."""
    database = storage.open_database("traces", database_url)
    yield database
    database.close()


def asked(rows, clock, **fields):
    return rows.call(clock, prompt="triage", prompt_version=3, release="r1", intent="support", **fields)


async def test_a_hit_has_an_arm_of_its_own_and_the_release_of_its_call(recorder: Recorder, reader, clock, rows) -> None:
    first = asked(rows, clock, arm="canary")
    again = rows.hit(clock, first.request_id, arm="stable")
    plain = rows.call(clock)
    recorder.call(first)
    recorder.hit(again)
    recorder.call(plain)
    recorder.flush()
    (told,) = await reader.show(again.request_id)
    assert (told.prompt, told.prompt_version, told.release, told.arm) == ("triage", 3, "r1", "stable")
    (told,) = await reader.show(first.request_id)
    assert (told.prompt, told.prompt_version, told.release, told.arm) == ("triage", 3, "r1", "canary")
    (told,) = await reader.show(plain.request_id)
    assert (told.prompt, told.prompt_version, told.release, told.arm) == ("", 0, "", "")


async def test_a_hit_whose_call_is_gone_is_told_without_a_prompt(recorder: Recorder, reader, clock, rows) -> None:
    lonely = rows.hit(clock, "0" * 32, arm="canary")
    recorder.hit(lonely)
    recorder.flush()
    (told,) = await reader.show(lonely.request_id)
    assert (told.prompt, told.prompt_version, told.release, told.arm) == ("", 0, "", "canary")


async def test_rows_and_sums_are_chosen_by_prompt_release_and_arm(recorder: Recorder, reader, clock, rows) -> None:
    first = asked(rows, clock, arm="canary")
    recorder.call(first)
    recorder.hit(rows.hit(clock, first.request_id, arm="stable"))
    recorder.call(rows.call(clock, prompt="other", release="r2"))
    recorder.flush()
    for filters, count in (
        (Filter(prompt="triage"), 2),
        (Filter(release="r1"), 2),
        (Filter(release="r1", arm="stable"), 1),
        (Filter(arm="canary"), 1),
        (Filter(intent="support"), 2),
        (Filter(prompt="other"), 1),
        (Filter(release="r3"), 0),
    ):
        assert len((await reader.tail(filters=filters)).rows) == count, filters
        assert (await reader.stats(Window(0, clock.now() + SECOND), filters)).requests == count, filters


async def test_samples_are_counted_by_arm_and_never_from_before(recorder: Recorder, reader, clock, rows) -> None:
    recorder.call(asked(rows, clock, arm="canary"))
    clock.advance(25)
    since = clock.now()
    assert since % (10 * SECOND), "the test must begin within a bucket"
    clock.advance(10)
    first = asked(rows, clock, arm="canary")
    recorder.call(first)
    recorder.call(asked(rows, clock, arm="control"))
    recorder.call(asked(rows, clock, arm="canary", status=403, error="permission_denied"))
    for _ in range(3):
        recorder.hit(rows.hit(clock, first.request_id, arm="canary"))
    recorder.call(rows.call(clock, release="r2", arm="canary"))
    recorder.flush()
    assert await reader.samples("r1", since) == {"canary": 4, "control": 1}
    assert await reader.samples("r1", 0) == {"canary": 5, "control": 1}
    assert await reader.samples("r2", since) == {"canary": 1}
    assert await reader.samples("r3", since) == {}
    assert await reader.samples("r1", clock.now() + HOUR) == {}


async def test_samples_of_a_release_that_runs_for_days(traces, clock, rows) -> None:
    recorder = Recorder(traces, clock, Settings(batch_seconds=60.0, keep_10s_hours=2))
    recorder.start()
    reader = Ledger(traces, clock, Settings(keep_10s_hours=2))
    clock.advance(1_800)
    since = clock.now()
    for _ in range(80):
        clock.advance(3_600)
        recorder.call(asked(rows, clock, arm="canary"))
        recorder.flush()
    recorder.stop()
    assert await reader.samples("r1", since) == {"canary": 80}


async def test_what_was_recorded_before_the_revision_is_still_told(new_traces, clock, rows) -> None:
    database = new_traces
    migrating.migrate(database, "0001_ledger")
    old = (
        "INSERT INTO rollup VALUES (3600, 0, 'w', 'acme', 'support', 'k', 'small', 't', '', "
        f"{', '.join(['1'] * 21)}, {'X' if database.dialect == 'sqlite' else ''}'{_detail(database)}')"
    )
    database.transact(lambda c: c.exec_driver_sql(old))
    database.transact(
        lambda c: c.exec_driver_sql(
            "INSERT INTO hit (request_id, at, key_id, origin, total_us, saved, age_s, kind, stream, user_digest, "
            "session, client_request_id) VALUES ('r', 1, 'k', 'o', 1, 1, 1, 0, false, '', '', '')"
        )
    )
    storage.migrate(database)
    reader = Ledger(database, clock)
    (told,) = await reader.show("r")
    assert (told.release, told.arm) == ("", "")
    assert (await reader.stats(Window(0, 10 * SECOND))).requests == 1
    storage.downgrade(database, "0001_ledger")
    assert database.query(lambda c: c.exec_driver_sql("SELECT count(*) FROM request_event").scalar()) == 1
    assert database.query(lambda c: c.exec_driver_sql("SELECT sum(requests) FROM rollup").scalar()) == 1
    storage.migrate(database)
    assert (await reader.stats(Window(0, 10 * SECOND))).requests == 1


def _detail(database: storage.Database) -> str:
    blob = rollup.encode(rollup.Detail()).hex()
    return blob if database.dialect == "sqlite" else f"\\x{blob}"
