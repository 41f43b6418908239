"""Events, written as a Messages stream."""

from ostinato.core.errors import OstinatoError
from ostinato.wire.anthropic_messages.answer import PREFIX, finish_word, first_block, usage_object
from ostinato.wire.anthropic_messages.request_reader import NAME
from ostinato.wire.failures import anthropic_body
from ostinato.wire.jsons import encode, is_array, part, string
from ostinato.wire.model import BlockStart, BlockStop, Delta, Event, Finish, Identity, Json, Note, Start, Usage
from ostinato.wire.sequence import Sequence
from ostinato.wire.sse import event as sse_event
from ostinato.wire.usage import write_anthropic

_DELTA_OF_KIND = {
    "text": (b"text_delta", b"text"),
    "refusal": (b"text_delta", b"text"),
    "thinking": (b"thinking_delta", b"thinking"),
    "tool_use": (b"input_json_delta", b"partial_json"),
}
_PING = sse_event(b"ping", b'{"type":"ping"}')
_STOP = sse_event(b"message_stop", b'{"type":"message_stop"}')


class Writer:
    """``StreamWriter`` of this wire."""

    def __init__(self, identity: Identity, *, include_usage: bool) -> None:
        del include_usage  # This wire always tells its usage.
        self._identity = identity
        self._native = False
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self._numbers: dict[int, int] = {}
        """Block -> its number in this stream, where it may have fewer blocks."""
        self._prefixes: dict[int, bytes] = {}
        """Block -> the bytes before a fragment's text."""
        self._sequence = Sequence()

    def write(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        for event in self._sequence.arrange(events):
            if type(event) is Delta:
                prefix = self._prefixes.get(event.index)
                if event.extra is not None and self._native:
                    self._odd_delta(event, out)
                elif prefix is not None and (event.text or self._native):
                    out += (prefix, encode(event.text), b"}}\n\n")
            elif isinstance(event, BlockStart):
                self._block(event, out)
            elif isinstance(event, BlockStop):
                self._stop(event.index, out)
            elif isinstance(event, Start):
                self._start(event, events, out)
            elif isinstance(event, Usage):
                self._usage = event
                self._send_finish(out)
            elif isinstance(event, Finish):
                self._finish = event
            elif isinstance(event, Note):
                self._note(event, out)
        return b"".join(out)

    def end(self) -> bytes:
        out: list[bytes] = []
        self._send_finish(out)
        out.append(_STOP)
        return b"".join(out)

    def fail(self, error: OstinatoError) -> bytes:
        return sse_event(b"error", anthropic_body(error))

    def ping(self) -> bytes:
        return _PING

    # --- the parts -------------------------------------------------------------------------------------------

    def _start(self, event: Start, following: list[Event], out: list[bytes]) -> None:
        self._native = event.wire == NAME
        top = part(event.extra, "top") if self._native else {}
        # A replay knows the counts from the beginning; a live stream of another wire tells them at its end.
        usage = next((item for item in following if isinstance(item, Usage)), None)
        if self._native:
            counts = usage_object(usage, True)
        else:
            counts = write_anthropic(usage or Usage())
            counts["output_tokens"] = 0
        message: Json = {
            "id": PREFIX + self._identity.id,
            "type": "message",
            "role": "assistant",
            "model": self._identity.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": counts,
            **top,
        }
        out.append(sse_event(b"message_start", encode({"type": "message_start", "message": message})))

    def _block(self, event: BlockStart, out: list[bytes]) -> None:
        block = first_block(event, self._identity, self._native)
        if block is None:
            return
        number = len(self._numbers)
        self._numbers[event.index] = number
        given: object = block.get("citations")
        citations = given if is_array(given) else []
        if citations:
            block["citations"] = []
        signature = string(block.get("signature"))
        if signature:
            block["signature"] = ""
        start = {"type": "content_block_start", "index": number, "content_block": block}
        out.append(sse_event(b"content_block_start", encode(start)))
        words = _DELTA_OF_KIND.get(event.kind)
        if words is not None:
            self._prefixes[event.index] = (
                b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,'
                b'"delta":{"type":"%b","%b":' % (number, *words)
            )
        for citation in citations:
            self._send_delta(number, {"type": "citations_delta", "citation": citation}, out)
        if signature:
            self._send_delta(number, {"type": "signature_delta", "signature": signature}, out)

    def _send_delta(self, number: int, delta: Json, out: list[bytes]) -> None:
        value = {"type": "content_block_delta", "index": number, "delta": delta}
        out.append(sse_event(b"content_block_delta", encode(value)))

    def _odd_delta(self, event: Delta, out: list[bytes]) -> None:
        """A signature, a citation, or what we do not know."""
        number = self._numbers.get(event.index)
        extra = event.extra or {}
        if number is None:
            return
        if "signature" in extra:
            self._send_delta(number, {"type": "signature_delta", "signature": extra["signature"]}, out)
        elif "field" in extra:
            self._send_delta(number, {**extra["delta"], extra["field"]: event.text}, out)
        elif "delta" in extra:
            self._send_delta(number, extra["delta"], out)

    def _stop(self, index: int, out: list[bytes]) -> None:
        number = self._numbers.get(index)
        if number is not None:
            out.append(sse_event(b"content_block_stop", b'{"type":"content_block_stop","index":%d}' % number))

    def _send_finish(self, out: list[bytes]) -> None:
        finish = self._finish
        if finish is None:
            return
        self._finish = None
        extra = (finish.extra or {}) if self._native else {}
        usage = usage_object(self._usage, self._native)
        if "usage" in extra:
            nulls = extra.get("nulls", ())
            usage = {key: None if key in nulls else usage.get(key) for key in extra["usage"]}
        delta: Json = {
            "stop_reason": finish_word(finish, self._native),
            "stop_sequence": finish.stop_sequence,
            **part(extra, "delta"),
        }
        value: Json = {"type": "message_delta", "delta": delta, "usage": usage, **part(extra, "event")}
        out.append(sse_event(b"message_delta", encode(value)))

    def _note(self, event: Note, out: list[bytes]) -> None:
        if event.kind == "ping":
            out.append(_PING)
        elif self._native and event.extra is not None and "event" in event.extra:
            out.append(sse_event(event.extra["name"].encode(), encode(event.extra["event"])))
