"""Spans as a collector receives them: a real HTTP server that decodes the protobuf."""

import logging
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("opentelemetry.proto")

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ostinato import storage
from ostinato import traces as traces_room
from ostinato.core.clock import ManualClock
from ostinato.traces import Recorder, Settings
from ostinato.traces.model import AttemptRow
from ostinato.traces.settings import Otel

_EXPORTERS = "opentelemetry.exporter.otlp.proto.http.metric_exporter"


class Collector:
    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.measured: list[ExportMetricsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.arrived = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.path == "/v1/metrics":
                    collector.measured.append(ExportMetricsServiceRequest.FromString(body))
                else:
                    collector.requests.append(ExportTraceServiceRequest.FromString(body))
                collector.headers.append(dict(self.headers))
                self.send_response(collector.status)
                self.send_header("content-length", "0")
                self.end_headers()
                collector.arrived.set()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/traces"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def spans(self) -> list:
        return [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metrics(self) -> dict[str, list]:
        """The points of every metric, as they were told last."""
        (resource,) = self.measured[-1].resource_metrics
        (scope,) = resource.scope_metrics
        return {one.name: list(getattr(one, one.WhichOneof("data")).data_points) for one in scope.metrics}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def attributes(span) -> dict:
    plain = {}
    for item in span.attributes:
        kind = item.value.WhichOneof("value")
        value = getattr(item.value, kind)
        plain[item.key] = [v.string_value for v in value.values] if kind == "array_value" else value
    return plain


def exporting(database: storage.Database, clock: ManualClock, **otel: object):
    settings = Settings(batch_seconds=60.0, otel=Otel(enabled=True, **otel))
    exporter = traces_room.exporter(settings)
    assert exporter is not None
    exporter.start()
    recorder = Recorder(database, clock, settings, watchers=[exporter])
    recorder.start()
    return recorder, exporter


@pytest.fixture
def database(tmp_path) -> Iterator[storage.Database]:
    made = storage.open_database("traces", tmp_path / "traces.db")
    storage.migrate(made)
    yield made
    made.close()


def test_it_is_off_unless_asked_for() -> None:
    assert traces_room.exporter(Settings()) is None


def test_rows_arrive_as_spans(database, clock: ManualClock, rows, collector: Collector) -> None:
    recorder, exporter = exporting(database, clock, endpoint=collector.url, headers={"x-token": "t"}, service_name="gw")
    parent = "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"
    mail = "bob" + "@example.com"
    call = rows.call(
        clock,
        attempts=(AttemptRow("openai/gpt-x", 5, "server", 500), AttemptRow("openai/gpt-x", 9, "ok")),
        finish="stop",
        session="s1",
        first_token_us=80_000,
        input_text=mail,
        output_text=mail,
        user_digest="u1",
        extra={"traceparent": parent},
    )
    failed = rows.call(clock, status=502, error="upstream_server", usage=None, cost=None)
    embedded = rows.call(clock, wire="openai.embeddings")
    hit = rows.hit(clock, call.request_id, kind=1)
    for row in (call, failed, embedded):
        recorder.call(row)
    recorder.hit(hit)
    recorder.stop()
    exporter.stop()
    assert (exporter.sent, exporter.dropped) == (4, 0)
    assert collector.headers[0]["x-token"] == "t"
    resource = collector.requests[0].resource_spans[0].resource
    assert attributes(resource)["service.name"] == "gw"
    spans = {span.span_id: span for span in collector.spans()}
    one = spans[int(call.request_id[16:], 16).to_bytes(8)]
    assert one.name == "chat small"
    assert one.trace_id == bytes.fromhex("ab" * 16)
    assert one.parent_span_id == bytes.fromhex("cd" * 8)
    assert one.kind == one.SPAN_KIND_CLIENT
    assert one.start_time_unix_nano == call.at * 1_000
    assert one.end_time_unix_nano - one.start_time_unix_nano == call.total_us * 1_000
    told = attributes(one)
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "small",
        "gen_ai.response.model": "gpt-x",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.conversation.id": "s1",
        "gen_ai.usage.input_tokens": 125,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 20,
        "gen_ai.response.time_to_first_chunk": 0.08,
        "ostinato.cache": "miss",
        "ostinato.cost_usd": 1e-6,
    }
    assert {name: told.get(name) for name in expected} == expected
    assert [attributes(event)["ostinato.outcome"] for event in one.events] == ["server", "ok"]
    bad = spans[int(failed.request_id[16:], 16).to_bytes(8)]
    assert bad.status.code == bad.status.STATUS_CODE_ERROR
    assert attributes(bad)["error.type"] == "upstream_server"
    assert bad.trace_id == bytes.fromhex(failed.request_id)
    assert spans[int(embedded.request_id[16:], 16).to_bytes(8)].name == "embeddings small"
    again = attributes(spans[int(hit.request_id[16:], 16).to_bytes(8)])
    assert (again["ostinato.cache"], again["ostinato.origin"]) == ("hit-exact", call.request_id)
    assert (again["gen_ai.response.model"], again["gen_ai.usage.input_tokens"]) == ("gpt-x", 125)
    everything = b"".join(request.SerializeToString() for request in collector.requests)
    for private in (mail.encode(), b"u1", b"key1"):
        assert private not in everything


def test_the_conventions_names_are_those_of_the_library() -> None:
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, openai_attributes
    from opentelemetry.semconv._incubating.metrics import gen_ai_metrics

    from ostinato.traces import semconv

    def names(module: object) -> set[str]:
        return {value for name, value in vars(module).items() if name.isupper() and isinstance(value, str)}

    known = names(gen_ai_attributes) | names(openai_attributes) | names(gen_ai_metrics)
    used = {value for value in names(semconv) if value.startswith(("gen_ai.", "openai."))}
    assert len(used) >= 20
    assert used <= known
    assert names(gen_ai_metrics) & used <= set(semconv.HISTOGRAMS)


def test_names_are_in_one_file_only() -> None:
    from ostinato.traces import semconv

    room = Path(semconv.__file__).parent
    for path in room.glob("export*.py"):
        found = re.findall(r'"(?:gen_ai|openai|ostinato|error|http|service)\.[a-z_.]+"', path.read_text())
        assert not found, f"{path.name} names {found}: say it in semconv.py"


def test_rows_are_added_up_as_metrics(database, clock: ManualClock, rows, collector: Collector) -> None:
    recorder, exporter = exporting(database, clock, endpoint=collector.url, service_name="gw", headers={"x-token": "t"})
    call = rows.call(clock, stream=True, first_token_us=80_000, saved=0, cost=2_000_000_000)
    failed = rows.call(clock, status=502, error="upstream_server", usage=None, cost=None)
    refused = rows.call(clock, status=404, error="unknown_model", alias="x" * 50, target="", provider="", upstream_us=0)
    refused = msgspec.structs.replace(refused, usage=None, cost=None)
    for row in (call, failed, refused):
        recorder.call(row)
    for _ in range(3):
        recorder.hit(rows.hit(clock, call.request_id, saved=1_000_000_000))
    recorder.stop()
    exporter.stop()
    assert (exporter.measured, exporter.unmeasured) == (1, 0)
    found = collector.metrics()
    (resource,) = collector.measured[-1].resource_metrics
    told = attributes(resource.resource)
    assert told["service.name"] == "gw" and told["service.version"] and len(told["service.instance.id"]) == 32
    assert resource.schema_url.startswith("https://opentelemetry.io/schemas/")
    by_cache = {
        attributes(point)["ostinato.cache"] + attributes(point).get("error.type", ""): point
        for point in found["gen_ai.server.request.duration"]
    }
    assert set(by_cache) == {"miss", "missupstream_server", "missunknown_model", "hit-exact"}
    assert by_cache["hit-exact"].count == 3 and by_cache["hit-exact"].sum == pytest.approx(150e-6)
    assert by_cache["hit-exact"].bucket_counts[0] == 3 and sum(by_cache["hit-exact"].bucket_counts) == 3
    assert "gen_ai.request.model" not in attributes(by_cache["missunknown_model"]), "not every text is told apart"
    durations = found["gen_ai.client.operation.duration"]
    assert [one.count for one in durations] == [1, 1], "hits call no provider"
    assert {attributes(one).get("error.type", "") for one in durations} == {"", "upstream_server"}
    assert attributes(durations[0])["gen_ai.request.model"] == "gpt-x"
    tokens = {attributes(one)["gen_ai.token.type"]: one.sum for one in found["gen_ai.client.token.usage"]}
    assert tokens == {"input": 125, "output": 50}
    (first,) = found["gen_ai.client.operation.time_to_first_chunk"]
    assert first.count == 1 and first.sum == pytest.approx(0.08)
    assert found["ostinato.cost"][0].as_double == pytest.approx(2.0)
    assert found["ostinato.saved"][0].as_double == pytest.approx(3.0)
    assert found["ostinato.tokens_avoided"][0].as_double == 3 * 175
    everything = b"".join(request.SerializeToString() for request in collector.measured)
    for private in (b"key1", b"acme", call.request_id.encode()):
        assert private not in everything


def test_sums_grow_from_one_time_to_the_next(database, clock: ManualClock, rows, collector: Collector) -> None:
    from ostinato.traces.export import Exporter

    exporter = Exporter(Otel(enabled=True, endpoint=collector.url, metrics_seconds=60.0), clock)
    exporter.start()
    for number in range(1, 4):
        exporter.observe_batch([], [rows.call(clock)], {}, {})
        clock.advance(61)
        for _ in range(300):
            if len(collector.measured) == number:
                break
            time.sleep(0.01)
        (point,) = collector.metrics()["gen_ai.server.request.duration"]
        assert point.count == number
        assert point.start_time_unix_nano < point.time_unix_nano == clock.now() * 1_000
    exporter.stop()


def test_what_other_rooms_count_is_told_too(clock: ManualClock, collector: Collector) -> None:
    from ostinato.traces import Metrics, semconv
    from ostinato.traces.export import Exporter

    def broken() -> dict[tuple[str, ...], float]:
        raise ValueError

    shown = Metrics()
    shown.view(semconv.CASES_OPEN, lambda: {("high",): 2.0})
    shown.view(semconv.DRIFT_ALARMS, lambda: {(): 7.0})
    shown.view(semconv.HOLDOUT_SAVED, dict)
    shown.view(semconv.KPI, broken)
    exporter = Exporter(Otel(enabled=True, endpoint=collector.url), clock)
    exporter.views = shown.views
    exporter.start()
    exporter.stop()
    found = collector.metrics()
    (cases,) = found["ostinato.cases.open"]
    assert attributes(cases) == {"severity": "high"} and cases.as_double == 2.0
    assert found["ostinato.detectors.alarms"][0].as_double == 7.0
    assert set(found) == {"ostinato.cases.open", "ostinato.detectors.alarms"}, "what has nothing to tell is left out"


def test_attributes_are_bounded(clock: ManualClock, rows) -> None:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from ostinato.traces import export_metrics

    made = export_metrics.Instruments(Resource.get_empty(), InstrumentationScope("t"), 0)
    calls = [rows.call(clock, alias=f"alias-{number}", model=f"model-{number}") for number in range(1_500)]
    made.observe([], calls, {}, export_metrics.Origin())
    ((resource),) = made.read(1).resource_metrics
    for metric in resource.scope_metrics[0].metrics:
        points = metric.data.data_points
        assert len(points) <= 1_001
        if metric.name == "gen_ai.server.request.duration":
            assert sum(point.count for point in points) == 1_500
            assert any(point.attributes == {"otel.metric.overflow": "true"} for point in points)


def test_metrics_can_be_left_out(database, clock: ManualClock, rows, collector: Collector) -> None:
    recorder, exporter = exporting(database, clock, endpoint=collector.url, metrics=False)
    recorder.call(rows.call(clock))
    recorder.stop()
    exporter.stop()
    assert collector.measured == [] and len(collector.spans()) == 1


def test_where_metrics_go() -> None:
    assert Otel(endpoint="http://c:4318/v1/traces").metrics_url == "http://c:4318/v1/metrics"
    assert Otel(endpoint="http://c:4318/otlp/v1/traces").metrics_url == "http://c:4318/otlp/v1/metrics"
    assert Otel(metrics_endpoint="http://m/x").metrics_url == "http://m/x"


def test_hits_can_be_left_out(database, clock: ManualClock, rows, collector: Collector) -> None:
    recorder, exporter = exporting(database, clock, endpoint=collector.url, hits=False)
    call = rows.call(clock)
    recorder.call(call)
    recorder.hit(rows.hit(clock, call.request_id))
    recorder.stop()
    exporter.stop()
    assert len(collector.spans()) == 1


def test_a_collector_that_refuses_costs_spans_and_nothing_else(database, clock, rows, collector: Collector) -> None:
    collector.status = 400
    recorder, exporter = exporting(database, clock, endpoint=collector.url, queue_rows=10)
    for _ in range(25):
        recorder.call(rows.call(clock))
    assert recorder.stop() == 0
    exporter.stop()
    assert (exporter.sent, exporter.dropped) == (0, 25)
    assert database.query(lambda c: c.exec_driver_sql("SELECT count(*) FROM call").scalar()) == 25


def test_a_collector_that_is_away_holds_up_nothing(database, clock: ManualClock, rows) -> None:
    recorder, exporter = exporting(database, clock, endpoint="http://127.0.0.1:9/v1/traces", timeout=0.2)
    recorder.call(rows.call(clock, request_id="odd id", extra={"traceparent": "00-zz-zz-01"}))
    recorder.call(rows.call(clock, extra={"traceparent": "00-" + "z" * 32 + "-" + "0" * 16 + "-01"}))
    assert recorder.stop() == 0
    exporter.stop()
    assert (exporter.sent, exporter.dropped) == (0, 2)


def test_an_outage_is_told_once_and_its_end_with_counts(
    clock: ManualClock, rows, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """Each try is told by the exporters themselves, and at length: 60 lines an hour for metrics alone."""
    exporter = traces_room.exporter(Settings(otel=Otel(enabled=True, endpoint=collector.url)))
    assert exporter is not None
    heard: list[list[str]] = []

    def told() -> None:
        heard.append([f"{one.name}: {one.getMessage()}" for one in caplog.records])
        caplog.clear()

    def send(status: int, times: int) -> None:
        collector.status = status
        for _ in range(times):
            exporter.observe_batch([], [rows.call(clock)], {}, {})
            exporter._send()
            exporter._measure()

    exporter.start()
    assert exporter._thread is not None
    exporter._stopping.set()
    exporter._thread.join()
    exporter._heard.begin()  # this thread is the one that sends, from now on
    try:
        send(200, 1)
        told()
        send(400, 3)
        told()
        send(200, 2)
        told()
        logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter").error("said to us")
        other = threading.Thread(target=logging.getLogger(_EXPORTERS).error, args=("said to others",))
        other.start()
        other.join()
        told()
    finally:
        exporter._heard.end()
        exporter.stop()
    before, outage, after, others = heard
    assert before == []
    assert len(outage) == 2 and "does not take spans" in outage[0] and "does not take metrics" in outage[1]
    assert all("400" in one for one in outage), "with the reason"
    assert [one.partition(": ")[2] for one in after] == [
        "The collector takes spans again; tries that failed: 3, lost with them: 3.",
        "The collector takes metrics again; tries that failed: 3, lost with them: 0.",
    ]
    assert others == [f"{_EXPORTERS}: said to others"]


def test_settings_hide_the_headers() -> None:
    assert "secret" not in repr(Settings(otel=Otel(headers={"authorization": "secret"})))
