"""The ledger's rows as OpenTelemetry spans, after the GenAI conventions. Off by default; extra ``otel``.

No span is made on the hot path: rows that the writer has taken are turned into spans in a thread of their own, and sent
by OTLP over HTTP. A collector that is slow or away costs spans, which are counted, and nothing else. No prompt, answer,
key or end user goes into a span.
"""

import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode
from opentelemetry.util.types import AttributeValue

from ostinato import __version__
from ostinato.core import hashing, ids
from ostinato.traces.model import HIT_KINDS, CallRow, HitRow
from ostinato.traces.rollup import UNKNOWN, Cells, Origin
from ostinato.traces.settings import Otel

_LOG = logging.getLogger(__name__)

_SENT = 512
"""Spans in one request to the collector."""
_PAUSE = 1.0
"""Seconds between two looks at the queue."""
_OPERATIONS = {"openai.embeddings": "embeddings", "anthropic.count_tokens": "count_tokens"}
_SCOPE = InstrumentationScope("ostinato", __version__)
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)

Attributes = dict[str, AttributeValue]


class Exporter:
    """Sends rows to a collector. A ``traces.Watcher``; ``start`` and ``stop`` it."""

    def __init__(self, settings: Otel) -> None:
        self._settings = settings
        self._queue: deque[CallRow | tuple[HitRow, Origin]] = deque()
        self._resource = Resource.create({"service.name": settings.service_name})
        self._exporter: OTLPSpanExporter | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.sent = 0
        """Spans that the collector has taken."""
        self.dropped = 0
        """Spans that were shed because the queue was full or the collector did not take them."""

    def start(self) -> None:
        """Begin to send."""
        self._exporter = OTLPSpanExporter(
            endpoint=self._settings.endpoint, headers=self._settings.headers, timeout=self._settings.timeout
        )
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
        while not self._stopping.wait(_PAUSE):
            self._send()
        self._send()

    def _send(self) -> None:
        while self._queue and self._exporter is not None:
            rows = [self._queue.popleft() for _ in range(min(len(self._queue), _SENT))]
            try:
                spans = [self._call_span(row) if isinstance(row, CallRow) else self._hit_span(*row) for row in rows]
                taken = self._exporter.export(spans) is SpanExportResult.SUCCESS
            except Exception as error:  # an exporter is somebody else's code: it must not end the thread
                _LOG.warning("Spans could not be exported: %s", type(error).__name__)
                taken = False
            if taken:
                self.sent += len(rows)
            else:
                self.dropped += len(rows)
                return

    def _call_span(self, row: CallRow) -> ReadableSpan:
        operation = _OPERATIONS.get(row.wire, "chat")
        attributes: Attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": row.provider or "ostinato",
            "gen_ai.request.model": row.alias,
            "gen_ai.request.stream": row.stream,
            "http.response.status_code": row.status,
            "ostinato.cache": row.cache,
            "ostinato.saved_usd": row.saved / 1e9,
        }
        optional: Attributes = {
            "gen_ai.response.model": row.model,
            "gen_ai.conversation.id": row.session,
            "error.type": row.error or (str(row.status) if row.status >= 400 else ""),
            "ostinato.reason": row.reason,
            "ostinato.target": row.target,
            "ostinato.org": row.org,
            "ostinato.project": row.project,
            "ostinato.intent": row.intent,
            "ostinato.prompt": row.prompt,
            "ostinato.release": row.release,
            "ostinato.arm": row.arm,
        }
        attributes.update({name: value for name, value in optional.items() if value})
        if row.finish:
            attributes["gen_ai.response.finish_reasons"] = (row.finish,)
        if row.first_token_us:
            attributes["gen_ai.response.time_to_first_chunk"] = row.first_token_us / 1e6
        if row.cost is not None:
            attributes["ostinato.cost_usd"] = row.cost / 1e9
        usage = row.usage
        if usage is not None:
            # The conventions count cached tokens within the input, and reasoning within the output.
            attributes["gen_ai.usage.input_tokens"] = usage.input + usage.cache_read + usage.cache_write
            attributes["gen_ai.usage.output_tokens"] = usage.output + usage.reasoning
            attributes["gen_ai.usage.cache_read.input_tokens"] = usage.cache_read
            attributes["gen_ai.usage.cache_creation.input_tokens"] = usage.cache_write
            attributes["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning
        events: list[Event] = []
        for attempt in row.attempts:
            detail: Attributes = {"ostinato.target": attempt.target, "ostinato.outcome": attempt.outcome}
            if attempt.status is not None:
                detail["http.response.status_code"] = attempt.status
            detail["ostinato.duration_s"] = attempt.us / 1e6
            events.append(Event("ostinato.attempt", detail, row.at * 1_000))
        failed = Status(StatusCode.ERROR, row.error) if row.status >= 500 or row.error else Status()
        traceparent = str((row.extra or {}).get("traceparent", ""))
        name = f"{operation} {row.alias}".strip()
        return self._span(row, name, attributes, events=events, status=failed, traceparent=traceparent)

    def _hit_span(self, row: HitRow, origin: Origin) -> ReadableSpan:
        operation = _OPERATIONS.get(origin.wire, "chat")
        attributes: Attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": origin.provider or "ostinato",
            "gen_ai.request.model": origin.alias,
            "gen_ai.request.stream": row.stream,
            "http.response.status_code": 200,
            "ostinato.cache": "stale" if row.kind == 4 else "hit-exact",
            "ostinato.hit_kind": HIT_KINDS[row.kind] if 0 <= row.kind < len(HIT_KINDS) else "",
            "ostinato.origin": row.origin,
            "ostinato.saved_usd": row.saved / 1e9,
            "ostinato.cost_usd": 0.0,
            "gen_ai.usage.input_tokens": origin.input,
            "gen_ai.usage.output_tokens": origin.output,
        }
        optional: Attributes = {
            "gen_ai.response.model": origin.model,
            "gen_ai.conversation.id": row.session,
            "ostinato.org": origin.org,
            "ostinato.project": origin.project,
            "ostinato.intent": origin.intent,
            "ostinato.prompt": origin.prompt,
            "ostinato.release": origin.release,
            "ostinato.arm": row.arm,
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
