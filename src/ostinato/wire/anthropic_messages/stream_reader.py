"""A Messages stream, read into events: one event of theirs is one or two of ours."""

from ostinato.wire.anthropic_messages.answer import TOP, finish_event, read_block
from ostinato.wire.anthropic_messages.request_reader import NAME
from ostinato.wire.errors import ErrorInStream, Malformed
from ostinato.wire.failures import refuse_body, reported
from ostinato.wire.jsons import DECODE_ERRORS, decode, is_integer, is_object, string, without
from ostinato.wire.model import BlockStop, Delta, Event, Json, Note, Start
from ostinato.wire.sse import Parser
from ostinato.wire.usage import read_anthropic

_TEXT_FIELDS = {"text_delta": "text", "input_json_delta": "partial_json", "thinking_delta": "thinking"}
_DELTA = frozenset({"stop_reason", "stop_sequence"})
_MESSAGE_DELTA = frozenset({"type", "delta", "usage"})
_BLOCK_DELTA = frozenset({"type", "index", "delta"})


class Reader:
    """``StreamReader`` of this wire."""

    def __init__(self) -> None:
        self._sse = Parser()
        self._done = False
        self._started = False
        self._answered = False
        self._usage: Json = {}
        self._kinds: dict[int, str] = {}

    @property
    def finished(self) -> bool:
        """Whether ``message_stop`` was seen."""
        return self._done

    @property
    def answered(self) -> bool:
        """Whether a stop reason was seen."""
        return self._answered

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        try:
            for name, payload in self._sse.feed(data):
                self._take(name, payload, events)
            if self._sse.untouched:
                refuse_body(self._sse.pending)
        except (Malformed, ErrorInStream) as error:
            error.events = tuple(events)
            raise
        return events

    def _take(self, name: bytes, payload: bytes, events: list[Event]) -> None:
        if self._done or not payload.strip():
            return
        try:
            value: object = decode(payload)
        except DECODE_ERRORS as error:
            raise Malformed("The provider's stream holds an event that is no JSON.") from error
        if not is_object(value):
            raise Malformed("The provider's stream holds an event that is no object.")
        kind: object = value.get("type")
        if kind == "content_block_delta":
            events.append(self._delta(value))
        elif kind == "content_block_start":
            self._block(value, events)
        elif kind == "content_block_stop":
            events.append(BlockStop(self._index(value)))
        elif kind == "message_start":
            self._start(value, events)
        elif kind == "message_delta":
            self._end(value, events)
        elif kind == "message_stop":
            if not self._answered:
                raise Malformed("The provider's stream ended without a stop reason.")
            self._done = True
        elif kind == "ping":
            events.append(Note("ping", None if len(value) == 1 else {"event": value}))
        elif kind == "error" or name == b"error" or value.get("error") is not None:
            raise reported(value)
        elif not self._started or not isinstance(kind, str):
            raise Malformed("The provider's stream holds an event that is none of this wire.")
        else:
            events.append(Note("event", {"name": kind, "event": value}))

    def _index(self, value: Json) -> int:
        index: object = value.get("index")
        if not is_integer(index) or index not in self._kinds:
            raise Malformed("The provider's stream names a content block that it did not begin.")
        return index

    def _delta(self, value: Json) -> Delta:
        delta: object = value.get("delta")
        index: object = value.get("index")
        if not is_object(delta):
            raise Malformed("The provider's stream holds a delta that is no object.")
        kind = self._kinds.get(index) if is_integer(index) else None
        if kind is None:
            index = self._index(value)
        assert is_integer(index)
        word: object = delta.get("type")
        field = _TEXT_FIELDS.get(word) if isinstance(word, str) else None
        if field is not None:
            text: object = delta.get(field)
            if not isinstance(text, str):
                raise Malformed("The provider's stream holds a fragment that is no text.")
            if len(delta) == 2 and kind != "opaque":
                return Delta(index, text)
            rest = {key: item for key, item in delta.items() if key != field}
            return Delta(index, text, {"delta": rest, "field": field})
        if word == "signature_delta" and len(delta) == 2 and isinstance(delta.get("signature"), str):
            return Delta(index, "", {"signature": delta["signature"]})
        return Delta(index, "", {"delta": delta})

    def _block(self, value: Json, events: list[Event]) -> None:
        index: object = value.get("index")
        if not self._started or not is_integer(index) or index in self._kinds:
            raise Malformed("The provider's stream begins a content block out of place.")
        start, text = read_block(value.get("content_block"), index)
        self._kinds[index] = start.kind
        events.append(start)
        if text:
            events.append(Delta(index, text))

    def _start(self, value: Json, events: list[Event]) -> None:
        message: object = value.get("message")
        if not is_object(message) or self._started:
            raise Malformed("The provider's stream begins out of place.")
        self._started = True
        top = without(message, TOP)
        events.append(Start(string(message.get("model")), {"top": top} if top else None, NAME))
        usage: object = message.get("usage")
        if is_object(usage):
            self._usage = usage
            events.append(read_anthropic(usage))

    def _end(self, value: Json, events: list[Event]) -> None:
        delta: object = value.get("delta")
        if not is_object(delta) or not self._started:
            raise Malformed("The provider's stream ends out of place.")
        usage: object = value.get("usage")
        reported_usage: Json = usage if is_object(usage) else {}
        # Later counts are totals and replace earlier ones; what is left out still holds.
        self._usage = {**self._usage, **{key: item for key, item in reported_usage.items() if item is not None}}
        if delta.get("stop_reason") is None:
            events.append(Note("event", {"name": "message_delta", "event": value}))
            return
        extra: Json = {"usage": list(reported_usage)}
        if rest := without(delta, _DELTA):
            extra["delta"] = rest
        if rest := without(value, _MESSAGE_DELTA):
            extra["event"] = rest
        if nulls := [key for key, item in reported_usage.items() if item is None]:
            extra["nulls"] = nulls
        self._answered = True
        events.append(finish_event(delta["stop_reason"], delta.get("stop_sequence"), extra))
        events.append(read_anthropic(self._usage))
