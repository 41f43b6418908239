"""The ledger's rows as OpenTelemetry spans and metrics, after the GenAI conventions. Off by default; extra ``otel``.

Both are views of the ledger, and none is made on the hot path: rows that the writer has taken are turned into spans in
a thread of their own, and sent by OTLP over HTTP. A collector that is slow or away costs spans, which are counted, and
nothing else. No prompt, answer, key or end user goes out. All names are in ``semconv``.
"""

import secrets
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.types import AttributeValue

from ostinato import __version__
from ostinato.core import hashing, ids
from ostinato.core.clock import Clock, SystemClock
from ostinato.traces import semconv
from ostinato.traces.export_metrics import Instruments
from ostinato.traces.export_outage import Heard, Outage
from ostinato.traces.metrics import View
from ostinato.traces.model import HIT_KINDS, CallRow, HitRow
from ostinato.traces.rollup import UNKNOWN, Cells, Origin
from ostinato.traces.settings import Otel

_SENT = 512
"""Spans in one request to the collector."""
_PAUSE = 1.0
"""Seconds between two looks at the queue."""
_SCOPE = InstrumentationScope("ostinato", __version__, semconv.SCHEMA_URL)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)

Attributes = dict[str, AttributeValue]


class _Sending(Protocol):
    """What we use of the exporter of metrics, whose own types are open."""

    def export(self, metrics_data: MetricsData) -> MetricExportResult: ...

    def shutdown(self) -> None: ...


class Exporter:
    """Sends rows to a collector. A ``traces.Watcher``; ``start`` and ``stop`` it."""

    def __init__(self, settings: Otel, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._queue: deque[CallRow | tuple[HitRow, Origin]] = deque()
        self._resource = Resource.create(
            {
                semconv.SERVICE_NAME: settings.service_name,
                semconv.SERVICE_VERSION: __version__,
                # Of several processes each counts for itself.
                semconv.SERVICE_INSTANCE: secrets.token_hex(16),
            },
            semconv.SCHEMA_URL,
        )
        started = self._clock.now() * 1_000
        self._instruments = Instruments(self._resource, _SCOPE, started) if settings.metrics else None
        self._metrics: _Sending | None = None
        self._measured = 0.0
        self._exporter: OTLPSpanExporter | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._heard = Heard()
        self._no_spans, self._no_metrics = Outage("spans"), Outage("metrics")
        self.views: Mapping[str, View] = {}
        """What other rooms show, by name; see ``traces.Metrics.views``."""
        self.sent = 0
        """Spans that the collector has taken."""
        self.measured = 0
        """Times that the collector has taken the metrics."""
        self.unmeasured = 0
        """Times that it has not; the next time tells what this one would have."""
        self.dropped = 0
        """Spans that were shed because the queue was full or the collector did not take them."""

    def start(self) -> None:
        """Begin to send."""
        self._exporter = OTLPSpanExporter(
            endpoint=self._settings.endpoint, headers=self._settings.headers, timeout=self._settings.timeout
        )
        if self._instruments is not None:
            made = OTLPMetricExporter(
                endpoint=self._settings.metrics_url, headers=self._settings.headers, timeout=self._settings.timeout
            )
            self._metrics = cast("_Sending", made)
        self._measured = self._clock.monotonic()
        self._thread = threading.Thread(target=self._run, name="ostinato-otel", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send what is left, once, and end. Stop the recorder first. Blocking, at most two time-outs long."""
        self._stopping.set()
        if self._thread is not None:
            # An export that is under way repeats by itself; closing its exporter ends that.
            self._thread.join(self._settings.timeout)
        if self._exporter is not None:
            self._exporter.shutdown()
        if self._metrics is not None:
            self._metrics.shutdown()
        if self._thread is not None:
            self._thread.join(self._settings.timeout)
        self.dropped += len(self._queue)
        self._queue.clear()

    # --- taking -------------------------------------------------------------------------------------------------

    def observe_call(self, row: CallRow) -> None:
        """Nothing: calls come with their batch."""

    def observe_batch(
        self, hits: list[HitRow], calls: list[CallRow], origins: Mapping[str, Origin], cells: Cells
    ) -> None:
        """Queue what the writer has taken. ``Recorder`` calls this."""
        del cells
        if self._instruments is not None:
            self._instruments.observe(hits, calls, origins, UNKNOWN)
        room = self._settings.queue_rows - len(self._queue)
        self._queue.extend(calls[: max(0, room)])
        self.dropped += max(0, len(calls) - max(0, room))
        if not self._settings.hits:
            return
        room = max(0, self._settings.queue_rows - len(self._queue))
        self._queue.extend((row, origins.get(row.origin, UNKNOWN)) for row in hits[:room])
        self.dropped += max(0, len(hits) - room)

    # --- sending ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._heard.begin()
        try:
            while not self._stopping.wait(_PAUSE):
                self._send()
                if self._clock.monotonic() - self._measured >= self._settings.metrics_seconds:
                    self._measure()
            self._send()
            self._measure()
        finally:
            self._heard.end()

    def _measure(self) -> None:
        """Send the metrics as they stand."""
        if self._instruments is None or self._metrics is None:
            return
        self._measured = self._clock.monotonic()
        self._heard.said = ""
        try:
            taken = self._metrics.export(self._instruments.read(self._clock.now() * 1_000, self.views))
        except Exception as error:  # somebody else's code: it must not end the thread
            self._heard.said = type(error).__name__
            taken = MetricExportResult.FAILURE
        if taken is MetricExportResult.SUCCESS:
            self.measured += 1
            self._no_metrics.worked()
        else:
            self.unmeasured += 1
            self._no_metrics.failed(self._heard.said or "it gives no reason", 0)

    def _send(self) -> None:
        while self._queue and self._exporter is not None:
            rows = [self._queue.popleft() for _ in range(min(len(self._queue), _SENT))]
            self._heard.said = ""
            try:
                spans = [self._call_span(row) if isinstance(row, CallRow) else self._hit_span(*row) for row in rows]
                taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
            except Exception as error:  # an exporter is somebody else's code: it must not end the thread
                self._heard.said = type(error).__name__
                taken = False
            if taken:
                self.sent += len(rows)
                self._no_spans.worked()
            else:
                self.dropped += len(rows)
                self._no_spans.failed(self._heard.said or "it gives no reason", len(rows))
                return

    def _call_span(self, row: CallRow) -> ReadableSpan:
        operation = semconv.OPERATIONS.get(row.wire, semconv.CHAT)
        attributes: Attributes = {
            semconv.OPERATION: operation,
            semconv.PROVIDER: row.provider or semconv.OURSELVES,
            semconv.REQUEST_MODEL: row.alias,
            semconv.REQUEST_STREAM: row.stream,
            semconv.STATUS: row.status,
            semconv.CACHE: row.cache,
            semconv.SAVED: row.saved / 1e9,
        }
        optional: Attributes = {
            semconv.RESPONSE_MODEL: row.model,
            semconv.CONVERSATION: row.session,
            semconv.ERROR_TYPE: row.error or (str(row.status) if row.status >= 400 else ""),
            semconv.REASON: row.reason,
            semconv.TARGET: row.target,
            semconv.ORGANIZATION: row.org,
            semconv.PROJECT: row.project,
            semconv.INTENT: row.intent,
            semconv.PROMPT: row.prompt,
            semconv.PROMPT_NAME: row.prompt,
            semconv.FAMILY: row.family,
            semconv.TRIAL: row.trial,
            semconv.RELEASE: row.release,
            semconv.ARM: row.arm,
        }
        attributes.update({name: value for name, value in optional.items() if value})
        if row.prompt_version:
            attributes[semconv.PROMPT_VERSION] = row.prompt_version
        if row.provider == "openai":
            # The conventions keep these to the provider of this name.
            theirs = {
                semconv.OPENAI_API: semconv.OPENAI_APIS.get(row.wire, ""),
                semconv.OPENAI_FINGERPRINT: row.system_fingerprint,
            }
            attributes.update({name: value for name, value in theirs.items() if value})
        if row.finish:
            attributes[semconv.FINISH_REASONS] = (row.finish,)
        if row.first_token_us:
            attributes[semconv.FIRST_CHUNK] = row.first_token_us / 1e6
        if row.cost is not None:
            attributes[semconv.COST] = row.cost / 1e9
        usage = row.usage
        if usage is not None:
            # The conventions count cached tokens within the input, and reasoning within the output.
            attributes[semconv.INPUT_TOKENS] = usage.input + usage.cache_read + usage.cache_write
            attributes[semconv.OUTPUT_TOKENS] = usage.output + usage.reasoning
            attributes[semconv.CACHE_READ_TOKENS] = usage.cache_read
            attributes[semconv.CACHE_WRITE_TOKENS] = usage.cache_write
            attributes[semconv.REASONING_TOKENS] = usage.reasoning
        events: list[Event] = []
        for attempt in row.attempts:
            detail: Attributes = {semconv.TARGET: attempt.target, semconv.OUTCOME: attempt.outcome}
            if attempt.status is not None:
                detail[semconv.STATUS] = attempt.status
            detail[semconv.DURATION] = attempt.us / 1e6
            events.append(Event(semconv.ATTEMPT, detail, row.at * 1_000))
        failed = Status(StatusCode.ERROR, row.error) if row.status >= 500 or row.error else Status()
        traceparent = str((row.extra or {}).get("traceparent", ""))
        name = f"{operation} {row.alias}".strip()
        return self._span(row, name, attributes, events=events, status=failed, traceparent=traceparent)

    def _hit_span(self, row: HitRow, origin: Origin) -> ReadableSpan:
        operation = semconv.OPERATIONS.get(origin.wire, semconv.CHAT)
        attributes: Attributes = {
            semconv.OPERATION: operation,
            semconv.PROVIDER: origin.provider or semconv.OURSELVES,
            semconv.REQUEST_MODEL: origin.alias,
            semconv.REQUEST_STREAM: row.stream,
            semconv.STATUS: 200,
            semconv.CACHE: "stale" if row.kind == 4 else "hit-exact",
            semconv.HIT_KIND: HIT_KINDS[row.kind] if 0 <= row.kind < len(HIT_KINDS) else "",
            semconv.ORIGIN: row.origin,
            semconv.SAVED: row.saved / 1e9,
            semconv.COST: 0.0,
            semconv.INPUT_TOKENS: origin.input,
            semconv.OUTPUT_TOKENS: origin.output,
        }
        optional: Attributes = {
            semconv.RESPONSE_MODEL: origin.model,
            semconv.CONVERSATION: row.session,
            semconv.ORGANIZATION: origin.org,
            semconv.PROJECT: origin.project,
            semconv.INTENT: origin.intent,
            semconv.PROMPT: origin.prompt,
            semconv.PROMPT_NAME: origin.prompt,
            semconv.FAMILY: origin.family,
            semconv.RELEASE: origin.release,
            semconv.ARM: row.arm,
        }
        attributes.update({name: value for name, value in optional.items() if value})
        name = f"{operation} {origin.alias}".strip()
        return self._span(row, name, attributes)

    def _span(
        self,
        row: CallRow | HitRow,
        name: str,
        attributes: Attributes,
        *,
        events: Sequence[Event] = (),
        status: Status | None = None,
        traceparent: str = "",
    ) -> ReadableSpan:
        context, parent = _contexts(row.request_id, traceparent)
        return ReadableSpan(
            name=name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=attributes,
            events=events,
            kind=SpanKind.CLIENT,
            status=status or Status(),
            start_time=row.at * 1_000,
            end_time=(row.at + max(0, row.total_us)) * 1_000,
            instrumentation_scope=_SCOPE,
        )


def _contexts(request_id: str, traceparent: str) -> tuple[SpanContext, SpanContext | None]:
    """The trace that the caller began, or one named like the request: our ids have the length of trace ids."""
    number = int(request_id, 16) if ids.is_id(request_id) else int.from_bytes(hashing.digest(request_id.encode())[:16])
    # The second half of a request id is random but for two bits.
    span_id = number & 0xFFFF_FFFF_FFFF_FFFF or 1
    parts = traceparent.split("-")
    if len(parts) >= 4 and len(parts[1]) == 32 and len(parts[2]) == 16:
        try:
            trace_id, parent_id = int(parts[1], 16), int(parts[2], 16)
        except ValueError:
            trace_id = parent_id = 0
        if trace_id and parent_id:
            parent = SpanContext(trace_id, parent_id, is_remote=True, trace_flags=_SAMPLED)
            return SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED), parent
    return SpanContext(number or 1, span_id, is_remote=False, trace_flags=_SAMPLED), None
