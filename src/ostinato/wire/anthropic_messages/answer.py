"""A whole Messages answer, read into events and written from them."""

from collections.abc import Iterable

from ostinato.wire.anthropic_messages.request_reader import NAME
from ostinato.wire.errors import Malformed
from ostinato.wire.failures import reported
from ostinato.wire.jsons import decode, encode, is_array, is_object, parse_object, part, string, without
from ostinato.wire.model import (
    Answer,
    BlockKind,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    Identity,
    Json,
    Start,
    Usage,
)
from ostinato.wire.translation import ANTHROPIC_OF_FINISH, FINISH_OF_ANTHROPIC, arguments_object
from ostinato.wire.usage import read_anthropic, write_anthropic

PREFIX = "msg_"

TOP = frozenset({"id", "type", "role", "model", "content", "stop_reason", "stop_sequence", "usage"})
_KINDS: dict[str, BlockKind] = {
    "text": "text",
    "thinking": "thinking",
    "redacted_thinking": "redacted_thinking",
    "tool_use": "tool_use",
}


def finish_event(raw: object, stop_sequence: object, extra: Json | None) -> Finish:
    word = string(raw)
    sequence = stop_sequence if isinstance(stop_sequence, str) else None
    return Finish(FINISH_OF_ANTHROPIC.get(word, "other"), word, sequence, extra)


def finish_word(finish: Finish, native: bool) -> str | None:
    """Anthropic's word for how an answer ended; ``None`` where an Anthropic provider did not say."""
    return (finish.raw or None) if native else ANTHROPIC_OF_FINISH[finish.reason]


def read_block(block: object, index: int) -> tuple[BlockStart, str]:
    """The beginning of a content block, and the text or the arguments that came with it.

    ``extra["block"]`` is the block without them, where it has more than our writer would put there.
    """
    if not is_object(block):
        raise Malformed("The provider's content holds a block that is no object.")
    kind = _KINDS.get(string(block.get("type")), "opaque")
    if kind == "opaque":
        return BlockStart(index, "opaque", "", "", {"value": block}), ""
    if kind == "text":
        text = string(block.get("text"))
        rest = {**block, "text": ""}
        return BlockStart(index, kind, "", "", None if len(rest) == 2 else {"block": rest}), text
    if kind == "thinking":
        text = string(block.get("thinking"))
        rest = {**block, "thinking": ""}
        plain = rest == {"type": "thinking", "thinking": "", "signature": ""}
        return BlockStart(index, kind, "", "", None if plain else {"block": rest}), text
    if kind == "redacted_thinking":
        return BlockStart(index, kind, "", "", {"block": block}), ""
    arguments: object = block.get("input")
    text = encode(arguments).decode() if is_object(arguments) and arguments else ""
    rest = dict(block)
    rest["input"] = {}
    extra: Json | None = None if len(rest) == 4 else {"block": rest}
    return BlockStart(index, kind, string(block.get("id")), string(block.get("name")), extra), text


def read_answer(body: bytes) -> Answer:
    """See ``Codec.read_answer``."""
    value = parse_object(body)
    if value.get("type") == "error" or (value.get("error") is not None and "content" not in value):
        raise reported(value)
    content: object = value.get("content")
    if not is_array(content):
        raise Malformed("The provider's answer holds no content.")
    top = without(value, TOP)
    events: list[Event] = [Start(string(value.get("model")), {"top": top} if top else None, NAME)]
    for index, block in enumerate(content):
        start, text = read_block(block, index)
        events.append(start)
        if text:
            events.append(Delta(index, text))
        events.append(BlockStop(index))
    missing = [key for key in ("stop_reason", "stop_sequence") if key not in value]
    extra: Json = {"whole": True}
    if missing:
        extra["missing"] = missing
    events.append(finish_event(value.get("stop_reason"), value.get("stop_sequence"), extra))
    usage: object = value.get("usage")
    events.append(read_anthropic(usage) if is_object(usage) else Usage())
    return Answer(NAME, tuple(events))


# --- writing -----------------------------------------------------------------------------------------------------


def tool_use_id(start: BlockStart, identity: Identity) -> str:
    """The provider's id of a tool call; clients need one, and some look-alikes give none."""
    return start.id or f"toolu_{identity.id}_{start.index}"


def first_block(start: BlockStart, identity: Identity, native: bool) -> Json | None:
    """A block as it begins in a stream, without text; ``None`` where Anthropic has no such block."""
    extra: Json = (start.extra or {}) if native else {}
    kind = start.kind
    if "block" in extra:
        return dict(extra["block"])
    if kind in ("text", "refusal"):
        return {"type": "text", "text": ""}
    if kind == "thinking":
        return {"type": "thinking", "thinking": "", "signature": ""}
    if kind == "tool_use":
        return {"type": "tool_use", "id": tool_use_id(start, identity), "name": start.name, "input": {}}
    return dict(extra["value"]) if kind == "opaque" and "value" in extra else None


def usage_object(usage: Usage | None, native: bool) -> Json:
    """The provider's own words on its own wire, else from the buckets."""
    if usage is None:
        return write_anthropic(Usage())
    if native and usage.raw is not None:
        return usage.raw
    return write_anthropic(usage)


def write_answer(answer: Answer, identity: Identity) -> bytes:
    """See ``Codec.write_answer``."""
    native = answer.wire == NAME
    blocks = _Blocks(identity, native)
    usage: Usage | None = None
    finish: Finish | None = None
    top: Json = {}
    for event in answer.events:
        if type(event) is Delta:
            blocks.delta(event)
        elif type(event) is BlockStart:
            blocks.start(event)
        elif isinstance(event, Usage):
            usage = event
        elif isinstance(event, Finish):
            finish = event
        elif isinstance(event, Start) and native and event.extra:
            top = dict(event.extra.get("top") or {})
    value: Json = {
        "id": PREFIX + identity.id,
        "type": "message",
        "role": "assistant",
        "model": identity.model,
        "content": blocks.finish(),
        "stop_reason": None if finish is None else finish_word(finish, native),
        "stop_sequence": None if finish is None else finish.stop_sequence,
        "usage": usage_object(usage, native),
    }
    if native and finish is not None and finish.extra:
        # What a stream says in its last event belongs to the message.
        top.update(part(finish.extra, "delta"))
        top.update(part(finish.extra, "event"))
        for key in finish.extra.get("missing", ()):
            del value[key]
    value.update(top)
    return encode(value)


class _Blocks:
    """Content blocks, put together from events in whatever size they came."""

    def __init__(self, identity: Identity, native: bool) -> None:
        self._identity = identity
        self._native = native
        self._starts: dict[int, BlockStart] = {}
        self._blocks: dict[int, Json] = {}
        self._texts: dict[int, list[str]] = {}

    def start(self, event: BlockStart) -> None:
        block = first_block(event, self._identity, self._native)
        if block is not None:
            self._starts[event.index] = event
            self._blocks[event.index] = block
            self._texts[event.index] = []

    def delta(self, event: Delta) -> None:
        block = self._blocks.get(event.index)
        if block is None:
            return
        self._texts[event.index].append(event.text)
        if event.extra is None or not self._native:
            return
        if "signature" in event.extra:
            block["signature"] = event.extra["signature"]
        elif "delta" in event.extra:
            citation: object = event.extra["delta"].get("citation")
            if citation is not None:
                before: object = block.get("citations")
                block["citations"] = [*before, citation] if is_array(before) else [citation]

    def finish(self) -> list[Json]:
        return list(self._whole())

    def _whole(self) -> Iterable[Json]:
        for index, block in self._blocks.items():
            kind = self._starts[index].kind
            text = "".join(self._texts[index])
            if kind in ("text", "refusal"):
                if not (text or self._native):
                    continue
                block["text"] = text
            elif kind == "thinking":
                block["thinking"] = text
            elif kind == "tool_use" or (text and "input" in block):
                block["input"] = _input(text, self._native)
            yield block


def _input(text: str, native: bool) -> Json:
    if not text:
        return {}
    if native:
        try:
            value: object = decode(text)
        except (ValueError, RecursionError):
            return arguments_object(text)
        if is_object(value):
            return value
    return arguments_object(text)
