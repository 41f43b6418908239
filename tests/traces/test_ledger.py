"""Reading: rows in order, one row by either id, and sums that agree with the rows."""

import random

import msgspec
import pytest

from ostinato import storage
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Invalid
from ostinato.traces import Filter, Ledger, Recorder, Settings, Window, ledger, rollup
from ostinato.traces.model import AttemptRow
from ostinato.wire.model import Usage

SECOND = 1_000_000
HOUR = 3_600 * SECOND
EVER = Window(0, 2**62)


@pytest.fixture
def reader(traces: storage.Database, clock: ManualClock) -> Ledger:
    return Ledger(traces, clock)


async def test_a_hit_is_told_with_what_its_call_knew(recorder: Recorder, reader: Ledger, clock, rows) -> None:
    first = rows.call(
        clock,
        attempts=(AttemptRow("openai/gpt-x", 5, "server", 500), AttemptRow("openai/gpt-x", 9, "ok")),
        extra={"traceparent": "00-a"},
        finish="stop",
        generation="g1",
        client_request_id="mine",
    )
    recorder.call(first)
    clock.advance(1)
    again = rows.hit(clock, first.request_id, user_digest="u", session="s", stream=True, kind=2)
    recorder.hit(again)
    recorder.flush()
    (told,) = await reader.show(again.request_id)
    assert (told.cache, told.kind, told.origin, told.age_s) == ("hit-exact", "shared", first.request_id, 7)
    assert (told.alias, told.provider, told.model, told.target) == ("small", "openai", "gpt-x", "openai/gpt-x")
    assert (told.org, told.project, told.key_id, told.wire, told.finish) == (
        "acme",
        "support",
        "key1",
        "openai.chat",
        "stop",
    )
    assert (told.input, told.cache_read, told.cache_write, told.output, told.reasoning) == (100, 20, 5, 40, 10)
    assert (told.cost, told.saved, told.counterfactual, told.status, told.stream) == (0, 1_000, 1_000, 200, True)
    assert (told.user_digest, told.session, told.generation, told.stored) == ("u", "s", "g1", False)
    (call,) = await reader.show(first.request_id)
    assert call.attempts == first.attempts
    assert call.extra == {"traceparent": "00-a"}
    assert call.usage_raw == first.usage.raw
    assert (call.cost, call.stored, call.kind, call.origin, call.age_s) == (1_000, True, "", "", None)


async def test_a_row_is_found_by_the_callers_own_id(recorder: Recorder, reader: Ledger, traces, clock, rows) -> None:
    first = rows.call(clock, client_request_id="abc")
    recorder.call(first)
    clock.advance(1)
    again = rows.hit(clock, first.request_id, client_request_id="abc")
    recorder.hit(again)
    recorder.hit(rows.hit(clock, first.request_id))
    recorder.flush()
    assert [row.request_id for row in await reader.show("abc")] == [again.request_id, first.request_id]
    assert await reader.show("") == ()
    assert await reader.show("nobody") == ()
    if traces.dialect == "sqlite":
        statement = "EXPLAIN QUERY PLAN SELECT * FROM hit WHERE client_request_id = 'abc' AND client_request_id <> ''"
        plan = traces.query(lambda c: c.exec_driver_sql(statement).all())
        assert "ix_hit_client_request_id" in str(plan)


async def test_rows_of_others_are_not_shown(recorder: Recorder, reader: Ledger, clock, rows) -> None:
    first = rows.call(clock, client_request_id="abc")
    recorder.call(first)
    again = rows.hit(clock, first.request_id)
    recorder.hit(again)
    recorder.flush()
    for filters in (Filter(project="other"), Filter(org="other"), Filter(key_id="key2")):
        assert await reader.show(first.request_id, filters) == ()
        assert await reader.show("abc", filters) == ()
        assert await reader.show(again.request_id, filters) == ()
        assert (await reader.tail(filters=filters)).rows == ()
        assert (await reader.stats(EVER, filters)).requests == 0
    assert len(await reader.show("abc", Filter(org="acme", project="support", key_id="key1"))) == 1


async def test_tail_gives_the_newest_and_goes_on_from_there(recorder: Recorder, reader: Ledger, clock, rows) -> None:
    assert (await reader.tail()).rows == ()
    written: list[str] = []

    def record(count: int) -> None:
        for number in range(count):
            clock.advance(0.01)
            row = rows.call(clock, alias=f"a{number % 2}")
            recorder.call(row)
            written.append(row.request_id)
            clock.advance(0.01)
            hit = rows.hit(clock, row.request_id)
            recorder.hit(hit)
            written.append(hit.request_id)
        recorder.flush()

    record(20)
    page = await reader.tail(limit=7)
    assert [row.request_id for row in page.rows] == written[-7:]
    assert (await reader.tail(page.after)).rows == ()
    record(5)
    following = await reader.tail(page.after)
    assert [row.request_id for row in following.rows] == written[-10:]
    seen: list[str] = []
    cursor = page.after
    while (some := await reader.tail(cursor, limit=2)).rows:
        seen += [row.request_id for row in some.rows]
        cursor = some.after
    assert sorted(seen) == sorted(written[-10:])
    assert {row.alias for row in (await reader.tail(filters=Filter(alias="a1"))).rows} == {"a1"}
    late = rows.call(clock, at=clock.now() - 60 * SECOND, total_us=60 * SECOND)
    recorder.call(late)
    recorder.flush()
    assert [row.request_id for row in (await reader.tail(cursor)).rows] == [late.request_id]


@pytest.mark.parametrize("cursor", ["x", "1", "1.x", "-1.2", "1.2.3", "9" * 50 + ".1"])
async def test_a_cursor_that_is_none_is_refused(reader: Ledger, cursor: str) -> None:
    with pytest.raises(Invalid):
        await reader.tail(cursor)


async def test_nothing_is_missing_not_zero(reader: Ledger) -> None:
    stats = await reader.stats(EVER)
    assert stats.requests == 0
    assert stats.hit_rate is None
    assert stats.token_hit_rate is None
    assert stats.pricing_coverage is None
    assert stats.latency["hit"].p50 is None


async def test_stats_tell_hits_from_misses(recorder: Recorder, reader: Ledger, clock: ManualClock, rows) -> None:
    first = rows.call(clock, stream=True, first_token_us=80_000)
    recorder.call(first)
    for number in range(8):
        recorder.hit(rows.hit(clock, first.request_id, kind=number % 5, total_us=40))
    recorder.call(rows.call(clock, cost=None, reason="temperature", cache="bypass", usage=Usage(50, 0, 0, 25)))
    recorder.call(rows.call(clock, cache="stale", usage=rows.usage, cost=0, saved=500, upstream_us=0, total_us=60))
    recorder.call(
        rows.call(clock, status=401, error="invalid_api_key", usage=None, cost=None, target="", upstream_us=0)
    )
    failed = (AttemptRow("openai/gpt-x", 5, "server", 500),)
    recorder.call(rows.call(clock, status=502, error="upstream_server", usage=None, cost=None, attempts=failed))
    recorder.flush()
    stats = await reader.stats(Window(clock.now() - HOUR, clock.now() + 1))
    assert stats.requests == 13
    assert stats.hits_by_kind == {"raw": 2, "memory": 2, "shared": 2, "joined": 1, "stale": 2}
    assert (stats.hits, stats.misses, stats.bypasses, stats.refused, stats.errors) == (9, 2, 1, 1, 2)
    assert stats.hit_rate == 9 / 11
    assert stats.tokens == {"input": 150, "cache_read": 20, "cache_write": 5, "output": 65, "reasoning": 10}
    assert stats.tokens_avoided == 9 * 175
    assert stats.token_hit_rate == 9 * 175 / (9 * 175 + 250)
    assert (stats.cost, stats.saved, stats.counterfactual) == (1_000, 8_500, 9_500)
    assert stats.pricing_coverage == (10 * 175) / (10 * 175 + 75)
    assert stats.errors_by_class == {"invalid_api_key": 1, "upstream_server": 1}
    assert stats.reasons == {"temperature": 1}
    assert stats.latency["hit"].count == 9
    assert stats.latency["miss"].count == 2
    assert stats.latency["hit"].p99 == pytest.approx(60, rel=0.03)
    assert stats.latency["miss"].p50 == pytest.approx(301_000, rel=0.03)
    assert stats.latency["first_token"].p50 == pytest.approx(80_000, rel=0.03)
    assert stats.latency["overhead"].p50 == pytest.approx(1_000, rel=0.03)


async def test_the_rollup_agrees_with_the_rows(traces, reader: Ledger, clock: ManualClock, rows) -> None:
    """A day of traffic by several keys; any window of whole tens of seconds adds up to its rows."""
    rng = random.Random(5)
    recorder = Recorder(traces, clock, Settings(batch_seconds=60.0, batch_rows=50))
    recorder.start()
    begin = clock.now()
    written: list[tuple[int, str, int, bool, int]] = []
    for _ in range(400):
        clock.advance(rng.uniform(0.1, 400))
        key, us = rng.choice(["k1", "k2"]), int(rng.lognormvariate(9, 2)) + 1
        call = rows.call(clock, key_id=key, total_us=us, upstream_us=max(1, us - 50), cost=rng.randrange(10_000))
        recorder.call(call)
        written.append((call.at + us, key, call.cost or 0, False, us))
        for _ in range(rng.randrange(3)):
            hit = rows.hit(
                clock, call.request_id, key_id=key, total_us=rng.randrange(20, 5_000), saved=rng.randrange(100)
            )
            recorder.hit(hit)
            written.append((hit.at + hit.total_us, key, hit.saved, True, hit.total_us))
    recorder.stop()
    clock.advance(600)
    for _ in range(25):
        since = begin + rng.randrange(20 * HOUR)
        window = Window(since, since + rng.choice([20 * SECOND, 90 * SECOND, HOUR, 5 * HOUR, 30 * HOUR]))
        key = rng.choice(["", "k1"])
        stats = await reader.stats(window, Filter(key_id=key))
        low, high = stats.window.since, stats.window.until
        assert low <= window.since
        assert high >= min(window.until, clock.now())
        edge = 10 if window.until - window.since <= 12 * HOUR else 60
        assert window.since - low < edge * SECOND
        inside = [row for row in written if low <= row[0] < high and key in ("", row[1])]
        hits = sorted(row[4] for row in inside if row[3])
        assert stats.requests == len(inside)
        assert stats.hits == len(hits)
        assert stats.cost == sum(row[2] for row in inside if not row[3])
        assert stats.saved == sum(row[2] for row in inside if row[3])
        assert stats.latency["hit"].count == len(hits)
        if hits:
            exact = hits[max(0, -(-len(hits) * 95 // 100) - 1)]
            assert stats.latency["hit"].p95 == pytest.approx(exact, rel=0.03, abs=1)


async def test_a_window_past_what_is_kept_is_widened_and_says_so(reader: Ledger, clock: ManualClock) -> None:
    clock.advance(40 * 86_400)
    now = clock.now()
    recent = (await reader.stats(Window(now - HOUR, now))).window
    assert now - HOUR - recent.since < 10 * SECOND
    week = (await reader.stats(Window(now - 7 * 24 * HOUR + 1, now))).window
    assert 0 <= now - 7 * 24 * HOUR + 1 - week.since < 60 * SECOND
    old = (await reader.stats(Window(now - 35 * 24 * HOUR + 1, now - 34 * 24 * HOUR))).window
    assert old.since % HOUR == 0
    assert old.until % HOUR == 0


def test_buckets_cover_a_window_exactly_and_are_few() -> None:
    rng = random.Random(0)
    for _ in range(2_000):
        since = rng.randrange(10**9) * 10 * SECOND
        until = since + rng.randrange(1, 10**6) * 10 * SECOND
        segments = list(ledger._cover(since, until))
        at = since
        for grain, start, end in segments:
            assert start == at
            assert end > start
            assert start % (grain * SECOND) == end % (grain * SECOND) == 0
            at = end
        assert at == until
        narrow = sum((end - start) // (grain * SECOND) for grain, start, end in segments if grain < 3_600)
        assert narrow <= 2 * (6 + 60)
        assert len(segments) <= 7


def test_histograms_are_right_within_their_width() -> None:
    rng = random.Random(1)
    for us in [1, 2, 3, 8_191, 8_192, 8_193, 10**9, *(int(rng.lognormvariate(8, 3)) + 1 for _ in range(3_000))]:
        assert abs(rollup.value_of(rollup.bucket_of(us)) - us) <= 0.025 * us + 0.5
    assert rollup.bucket_of(0) == rollup.bucket_of(-5) == 0
    values = sorted(int(rng.lognormvariate(8, 2)) + 1 for _ in range(5_000))
    whole: dict[int, int] = {}
    halves: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for place, us in enumerate(values):
        for histogram in (whole, halves[place % 2]):
            bucket = rollup.bucket_of(us)
            histogram[bucket] = histogram.get(bucket, 0) + 1
    rollup.merge(halves[0], halves[1])
    assert halves[0] == whole
    told = rollup.percentiles(whole)
    assert told.p99 == pytest.approx(values[4_949], rel=0.026)


async def test_a_reader_sees_what_this_process_has_just_recorded(
    recorder: Recorder, traces: storage.Database, clock: ManualClock, rows
) -> None:
    reader = Ledger(traces, clock, catch_up=recorder.catch_up)
    call = rows.call(clock)
    clock.advance(1)
    hit = rows.hit(clock, call.request_id)
    recorder.call(call)
    recorder.hit(hit)
    assert [row.request_id for row in (await reader.tail()).rows] == [call.request_id, hit.request_id]
    recorder.hit(last := rows.hit(clock, call.request_id))
    assert await reader.show(last.request_id)
    assert (await reader.stats(EVER)).hits == 2


async def test_our_own_calls_are_beside_the_figures_of_traffic_and_in_none(
    recorder: Recorder, reader: Ledger, clock: ManualClock, rows
) -> None:
    asked = rows.call(clock)
    recorder.call(asked)
    recorder.hit(rows.hit(clock, asked.request_id))
    # Refused before anybody was known: traffic, and of no key.
    recorder.call(rows.call(clock, key_id="", alias="", target="", usage=None, cost=None, status=401, upstream_us=0))
    recorder.flush()
    before = await reader.stats(EVER)
    assert (before.requests, before.hits, before.misses, before.refused) == (3, 1, 1, 1)
    assert (before.hit_rate, before.token_hit_rate, before.own.calls) == (0.5, 0.5, 0)
    for _ in range(50):
        own = {"key_id": "", "cache": "bypass", "reason": "loop", "tags": "loop:search,run:r", "total_us": 9_000_000}
        recorder.call(rows.call(clock, **own))
    recorder.flush()
    after = await reader.stats(EVER)
    assert (after.own.calls, after.own.cost, after.own.tokens) == (50, 50_000, 50 * rows.usage.total)
    assert msgspec.structs.replace(after, own=before.own, window=before.window) == before
