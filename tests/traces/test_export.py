"""Spans as a collector receives them: a real HTTP server that decodes the protobuf."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("opentelemetry.proto")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ostinato import storage
from ostinato import traces as traces_room
from ostinato.core.clock import ManualClock
from ostinato.traces import Recorder, Settings
from ostinato.traces.model import AttemptRow
from ostinato.traces.settings import Otel


class Collector:
    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.arrived = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
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
    from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

    from ostinato.traces import export

    known = {
        value
        for name, value in vars(gen_ai_attributes).items()
        if name.startswith("GEN_AI_") and isinstance(value, str)
    }
    used = {
        name
        for constant in (export.Exporter._call_span.__code__.co_consts, export.Exporter._hit_span.__code__.co_consts)
        for part in constant
        for name in (part if isinstance(part, tuple) else (part,))
        if isinstance(name, str) and name.startswith("gen_ai.")
    }
    assert len(used) >= 10
    assert used <= known


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


def test_settings_hide_the_headers() -> None:
    assert "secret" not in repr(Settings(otel=Otel(headers={"authorization": "secret"})))
