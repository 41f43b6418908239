"""Counters as Prometheus reads them."""

from prometheus_client.parser import text_string_to_metric_families

from ostinato import storage
from ostinato.core.clock import ManualClock
from ostinato.traces import Metrics, Recorder, Settings
from ostinato.traces.metrics import BOUNDS_US


def read(metrics: Metrics) -> dict[tuple[str, frozenset], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return read(metrics).get((f"ostinato_{name}", frozenset(labels.items())))


def test_a_hit_falls_into_its_bucket(clock: ManualClock, rows) -> None:
    metrics = Metrics()
    metrics.observe_batch([rows.hit(clock, "x", total_us=us) for us in (10, 501, 10**12)], [], {}, {})
    metrics.observe_call(rows.call(clock, cache="hit-exact", total_us=500))
    assert BOUNDS_US[0] == 500
    assert value(metrics, "request_duration_seconds_bucket", cache="hit", le="0.0005") == 2
    assert value(metrics, "request_duration_seconds_bucket", cache="hit", le="0.001") == 3
    assert value(metrics, "request_duration_seconds_bucket", cache="hit", le="120.0") == 3
    assert value(metrics, "request_duration_seconds_bucket", cache="hit", le="+Inf") == 4
    assert value(metrics, "request_duration_seconds_count", cache="hit") == 4
    assert value(metrics, "request_duration_seconds_count", cache="miss") == 0


def test_what_the_recorder_takes_is_counted(traces: storage.Database, clock: ManualClock, rows) -> None:
    metrics = Metrics()
    recorder = Recorder(traces, clock, Settings(batch_seconds=60.0), watchers=[metrics])
    metrics.gauge("ledger_queue_rows", "Rows that wait.", lambda: recorder.depth)
    metrics.counter("ledger_dropped_rows", "Rows shed.", lambda: recorder.dropped)
    recorder.start()
    call = rows.call(clock, cost=1_500_000_000, stream=True, first_token_us=80_000)
    recorder.call(call)
    recorder.call(rows.call(clock, status=429, error="rate_limit_exceeded", usage=None, cost=None, target=""))
    # Of an answer that is not streamed the "first token" is the whole of it: that is told as its duration.
    recorder.call(rows.call(clock, cost=None, wire="anthropic.messages", first_token_us=90_000))
    recorder.hit(rows.hit(clock, call.request_id, saved=500_000_000))
    recorder.hit(rows.hit(clock, call.request_id, saved=500_000_000, kind=4))
    assert value(metrics, "ledger_queue_rows") == 5
    recorder.stop()
    assert value(metrics, "ledger_queue_rows") == 0
    assert value(metrics, "ledger_dropped_rows_total") == 0
    assert value(metrics, "requests_total", cache="miss", status="200", wire="openai.chat") == 1
    assert value(metrics, "requests_total", cache="miss", status="200", wire="anthropic.messages") == 1
    assert value(metrics, "requests_total", cache="miss", status="429", wire="openai.chat") == 1
    assert value(metrics, "requests_total", cache="hit-exact", status="200", wire="openai.chat") == 1
    assert value(metrics, "requests_total", cache="stale", status="200", wire="openai.chat") == 1
    assert value(metrics, "hits_total", kind="raw") == 1
    assert value(metrics, "request_duration_seconds_count", cache="hit") == 2
    assert value(metrics, "errors_total", error="rate_limit_exceeded") == 1
    assert value(metrics, "tokens_total", alias="small", bucket="output") == 80
    assert value(metrics, "tokens_avoided_total", alias="small") == 350
    assert value(metrics, "tokens_unpriced_total") == 175
    assert value(metrics, "cost_usd_total", alias="small") == 1.5
    assert value(metrics, "saved_usd_total", alias="small") == 1.0
    assert value(metrics, "request_duration_seconds_count", cache="miss") == 2
    assert value(metrics, "first_token_seconds_sum") == 0.08
    assert value(metrics, "first_token_seconds_count") == 1
    assert value(metrics, "overhead_seconds_bucket", le="0.001") == 2


def test_requests_are_told_apart_by_intent_and_our_own_calls_left_out(
    traces: storage.Database, clock: ManualClock, rows
) -> None:
    metrics = Metrics()
    recorder = Recorder(traces, clock, Settings(batch_seconds=60.0), watchers=[metrics])
    recorder.start()
    call = rows.call(clock, intent="refunds")
    recorder.call(call)
    recorder.call(rows.call(clock))
    recorder.call(rows.call(clock, intent="refunds", cache="bypass", reason="loop"))
    recorder.hit(rows.hit(clock, call.request_id))
    recorder.hit(rows.hit(clock, call.request_id))
    recorder.stop()
    assert value(metrics, "intent_requests_total", intent="refunds", cache="hit-exact") == 2
    assert value(metrics, "intent_requests_total", intent="refunds", cache="miss") == 1
    assert value(metrics, "intent_requests_total", intent="none", cache="miss") == 1
    assert value(metrics, "intent_requests_total", intent="refunds", cache="bypass") is None


def test_labels_have_a_bound(clock: ManualClock, rows) -> None:
    metrics = Metrics()
    for number in range(500):
        metrics.observe_call(rows.call(clock, alias=f"alias-{number}"))
        metrics.observe_call(
            rows.call(clock, alias=f"no-such-model-{number}", status=404, error=f"e{number}", target="")
        )
    names = read(metrics)
    assert len({labels for name, labels in names if name == "ostinato_cost_usd_total"}) <= 101
    assert len({labels for name, labels in names if name == "ostinato_errors_total"}) <= 101
    assert "no-such-model" not in metrics.render().decode()
    assert value(metrics, "tokens_total", alias="other", bucket="input") == 401 * 100
    assert value(metrics, "errors_total", error="other") == 400


def test_states_and_values_of_others_are_shown() -> None:
    metrics = Metrics()
    metrics.states("breaker_state", "Breakers.", lambda: {"openai/gpt": "half-open"})
    metrics.gauge("cache_bytes", "Bytes.", lambda: {"memory": 5, "raw": 6}, label="tier")
    assert value(metrics, "breaker_state", target="openai/gpt", state="half-open") == 1
    assert value(metrics, "breaker_state", target="openai/gpt", state="open") == 0
    assert value(metrics, "cache_bytes", tier="raw") == 6


def test_a_value_that_cannot_be_read_hides_no_other() -> None:
    metrics = Metrics()
    metrics.gauge("broken", "Broken.", lambda: 1 / 0)
    metrics.gauge("whole", "Whole.", lambda: 1)
    assert value(metrics, "whole") == 1
    assert value(metrics, "broken") is None


def test_odd_names_are_escaped(clock: ManualClock, rows) -> None:
    metrics = Metrics()
    metrics.observe_call(rows.call(clock, alias='a"b\\c\nd'))
    assert value(metrics, "cost_usd_total", alias='a"b\\c\nd') == 1e-6
