"""Events, written as a Chat Completions stream.

The constant part of every chunk (id, created, model and the provider's constants) is encoded once; a fragment costs one
encoded string between two pieces of bytes.
"""

from ostinato.core.errors import OstinatoError
from ostinato.wire.failures import openai_body
from ostinato.wire.jsons import encode, is_array, part
from ostinato.wire.model import BlockStart, Delta, Event, Finish, Identity, Json, Note, Start, Usage
from ostinato.wire.openai_chat.answer import KNOWN_DELTA, PREFIX, call_id, finish_word, usage_object
from ostinato.wire.openai_chat.request_reader import NAME
from ostinato.wire.openai_chat.shapes import (
    Group,
    filled,
    finish_shape,
    fragment_shape,
    start_shape,
    tool_fragment_shape,
    tool_start_shape,
)

_HOLE = "\x00text\x00"
_HOLE_BYTES = encode(_HOLE)
_FIELD_OF_KIND = {"text": "content", "thinking": "reasoning_content", "refusal": "refusal"}


class Writer:
    """``StreamWriter`` of this wire."""

    def __init__(self, identity: Identity, *, include_usage: bool) -> None:
        self._identity = identity
        self._include_usage = include_usage
        self._prefix = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,' % (
            encode(PREFIX + identity.id),
            identity.created,
            encode(identity.model),
        )
        self._native = False
        self._top: Json = {}
        self._usage: Usage | None = None
        self._usage_top: Json | None = None
        self._fields: dict[int, str] = {}
        """Block -> field of its fragments."""
        self._numbers: dict[int, int] = {}
        """Block -> number of its tool call."""
        self._cuts: dict[int, list[bytes]] = {}
        """Block -> the bytes around a fragment's text."""
        self._group: Group | None = None
        self._nulls: Json = {}

    def write(self, events: list[Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            if type(event) is Delta:
                if self._group is not None or event.extra is not None:
                    self._delta(event, out)
                    continue
                cut = self._cuts.get(event.index) or self._cut(event.index)
                if cut is not None and (event.text or self._native):
                    out.append(encode(event.text).join(cut))
            elif isinstance(event, Usage):
                self._usage = event
            else:
                self._other(event, out)
        # A chunk that carries several events came with all of them, unless somebody held some back.
        self._flush(out)
        return b"".join(out)

    def end(self) -> bytes:
        usage = usage_object(self._usage, self._native) if self._include_usage else None
        if usage is None:
            return b"data: [DONE]\n\n"
        top = self._top if self._usage_top is None else self._usage_top
        return self._chunk({**top, "choices": [], "usage": usage}) + b"data: [DONE]\n\n"

    def fail(self, error: OstinatoError) -> bytes:
        return b"data: " + openai_body(error) + b"\n\n"

    def ping(self) -> bytes:
        return b": ping\n\n"

    # --- all but plain fragments -----------------------------------------------------------------------------

    def _chunk(self, rest: Json) -> bytes:
        return self._prefix + encode(rest)[1:] + b"\n\n"

    def _delta(self, event: Delta, out: list[bytes]) -> None:
        extra = event.extra if self._native else None
        if self._joins(event, extra, out):
            return
        if extra is not None and "shape" in extra:
            self._cuts[event.index] = self._cut_shape(extra["shape"])
        cut = self._cuts.get(event.index) or self._cut(event.index)
        if cut is None or not (event.text or self._native):
            return
        chunk = encode(event.text).join(cut)
        if extra is not None and ("logprobs" in extra or "obfuscation" in extra):
            chunk = self._enriched(chunk, extra)
        out.append(chunk)

    def _enriched(self, chunk: bytes, extra: Json) -> bytes:
        """A fragment with what changes from chunk to chunk beside its text."""
        end = len(chunk) - 2
        if "logprobs" in extra:
            at = chunk.rfind(b'"logprobs":null')
            logprobs = b'"logprobs":' + encode(extra["logprobs"])
            if at >= 0:
                chunk = chunk[:at] + logprobs + chunk[at + 15 :]
                end = len(chunk) - 2
        if "obfuscation" in extra:
            chunk = chunk[: end - 1] + b',"obfuscation":' + encode(extra["obfuscation"]) + b"}\n\n"
        return chunk

    def _joins(self, event: Delta | Start | BlockStart | Finish, extra: Json | None, out: list[bytes]) -> bool:
        """Whether the event belongs to a chunk that carries several; the last one sends it."""
        group = self._group
        if group is not None and not group.take(event):
            self._flush(out)
            group = None
        if group is None:
            if extra is None or "span" not in extra:
                return False
            group = self._group = Group(extra)
            group.take(event)
        if group.complete:
            self._flush(out)
        return True

    def _flush(self, out: list[bytes]) -> None:
        if self._group is not None:
            shape, texts = self._group.shape, self._group.texts
            self._group = None
            out.append(self._fill(shape, texts))

    def _fill(self, shape: Json, texts: list[str]) -> bytes:
        choice = {"index": 0, "delta": filled(shape, texts), **shape["choice"]}
        return self._chunk({**shape["top"], "choices": [choice], **self._nulls})

    def _cut_shape(self, shape: Json) -> list[bytes]:
        choice = {"index": 0, "delta": filled(shape, [_HOLE] * len(shape["holes"])), **shape["choice"]}
        return self._chunk({**shape["top"], "choices": [choice], **self._nulls}).split(_HOLE_BYTES)

    def _cut(self, index: int) -> list[bytes] | None:
        number = self._numbers.get(index)
        if number is not None:
            shape = tool_fragment_shape(self._top, number)
        elif index in self._fields:
            shape = fragment_shape(self._top, self._fields[index])
        else:
            return None
        cut = self._cuts[index] = self._cut_shape(shape)
        return cut

    def _other(self, event: Event, out: list[bytes]) -> None:
        if isinstance(event, Start):
            self._start(event, out)
        elif isinstance(event, BlockStart):
            if event.kind == "tool_use":
                self._numbers[event.index] = len(self._numbers)
                number = self._numbers[event.index]
                shape = tool_start_shape(self._top, number, call_id(event, self._identity), event.name)
                self._shaped(event, shape, out)
            elif event.kind in _FIELD_OF_KIND:
                self._fields[event.index] = self._field(event)
        elif isinstance(event, Finish):
            self._finish(event, out)
        elif isinstance(event, Note):
            if event.kind == "ping":
                out.append(self.ping())
            elif self._native and event.extra is not None:
                self._note(event.kind, event.extra, out)

    def _field(self, event: BlockStart) -> str:
        field = event.extra.get("field") if event.extra and self._native else None
        return field if isinstance(field, str) else _FIELD_OF_KIND[event.kind]

    def _start(self, event: Start, out: list[bytes]) -> None:
        self._native = event.wire == NAME
        extra = (event.extra or {}) if self._native else {}
        self._top = extra.get("top") or {}
        if self._include_usage and extra.get("usage_null"):
            self._nulls = {"usage": None}
        for remark in extra.get("before", ()):
            self._note("remark", remark, out)
        self._shaped(event, start_shape(self._top), out)

    def _shaped(self, event: Start | BlockStart | Finish, shape: Json, out: list[bytes]) -> None:
        """A chunk of a visible event other than a fragment: in its own shape, or part of a chunk of several."""
        extra = event.extra if self._native else None
        if not self._joins(event, extra, out):
            out.append(self._fill(extra["shape"] if extra is not None and "shape" in extra else shape, []))

    def _finish(self, event: Finish, out: list[bytes]) -> None:
        extra = event.extra if self._native else None
        if extra is not None:
            self._beside(part(extra, "message"), out)
        word = finish_word(event, self._native)
        if word is not None:
            self._shaped(event, finish_shape(self._top, word), out)

    def _beside(self, message: Json, out: list[bytes]) -> None:
        """Fields of a whole message that a stream of it says in a chunk of their own (annotations)."""
        rest = {key: item for key, item in message.items() if key not in KNOWN_DELTA and item}
        if rest:
            out.append(self._fill({**fragment_shape(self._top, "content"), "delta": rest, "holes": []}, []))

    def _note(self, kind: str, extra: Json, out: list[bytes]) -> None:
        if kind == "chunk":
            out.append(self._fill(extra["shape"], []))
        elif kind == "usage":
            self._usage_top = extra["top"]
        elif kind == "remark":
            choices = {"choices": extra["choices"]} if is_array(extra.get("choices")) else {}
            out.append(self._chunk({**extra["top"], **choices}))
