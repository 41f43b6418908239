"""A whole Chat Completions answer, read into events and written from them."""

from typing import Any, cast

from ostinato.wire.errors import Malformed
from ostinato.wire.failures import reported
from ostinato.wire.jsons import encode, is_array, is_object, parse_object, string, without
from ostinato.wire.model import (
    Answer,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    FinishReason,
    Identity,
    Json,
    Note,
    Start,
    Usage,
)
from ostinato.wire.openai_chat.request_reader import NAME
from ostinato.wire.translation import FINISH_OF_OPENAI, OPENAI_OF_FINISH
from ostinato.wire.usage import read_openai, write_openai

PREFIX = "chatcmpl-"

_TOP = frozenset({"id", "created", "model", "object", "choices", "usage"})
_CHOICE = frozenset({"index", "message", "finish_reason", "logprobs"})
_CALL = frozenset({"id", "type", "function", "custom"})
KNOWN_DELTA = frozenset({"role", "content", "reasoning_content", "reasoning", "refusal", "tool_calls"})


def finish_reason(raw: str, *, tool_use: bool, refusal: bool) -> FinishReason:
    """Ours for OpenAI's word; look-alikes say ``stop`` after a tool call."""
    reason = FINISH_OF_OPENAI.get(raw, "other")
    if reason == "stop":
        return "tool_use" if tool_use else "refusal" if refusal else "stop"
    return reason


def read_answer(body: bytes) -> Answer:
    """See ``Codec.read_answer``."""
    value = parse_object(body)
    choices: object = value.get("choices")
    if value.get("error") is not None and not choices:
        raise reported(value["error"])
    if value.get("object") == "error":
        raise reported(value)
    if not is_array(choices) or not choices:
        raise Malformed("The provider's answer holds no choices.")
    choice: object = choices[0]
    message: object = choice.get("message") if is_object(choice) else None
    if not is_object(choice) or not is_object(message):
        raise Malformed("The provider's answer holds no message.")
    top = without(value, _TOP)
    events: list[Event] = [Start(string(value.get("model")), {"top": top} if top else None, NAME)]
    reader = _MessageReader(events)
    rest = reader.read(message, choice)
    extra: Json = {"message": rest}
    leftover = without(choice, _CHOICE)
    if "logprobs" in choice and not reader.took_logprobs:
        leftover["logprobs"] = choice["logprobs"]
    if choice.get("index", 0) != 0:
        leftover["index"] = choice["index"]
    if leftover:
        extra["choice"] = leftover
    raw = string(choice.get("finish_reason"))
    reason = finish_reason(raw, tool_use=reader.has_tool_use, refusal=reader.has_refusal)
    events.append(Finish(reason, raw, None, extra))
    usage: object = value.get("usage")
    events.append(read_openai(usage) if is_object(usage) else Usage())
    return Answer(NAME, tuple(events))


class _MessageReader:
    """Turns a message into blocks and keeps what is left of it."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self._index = 0
        self.took_logprobs = False
        self.has_tool_use = False
        self.has_refusal = False

    def read(self, message: Json, choice: Json) -> Json:
        rest = dict(message)
        if rest.get("role") == "assistant":
            del rest["role"]
        field = "reasoning_content" if message.get("reasoning_content") else "reasoning"
        thoughts: object = message.get(field)
        if isinstance(thoughts, str) and thoughts:
            del rest[field]
            self._block("thinking", thoughts, {"field": field} if field == "reasoning" else None)
        content: object = message.get("content")
        logprobs: object = choice.get("logprobs")
        if isinstance(content, str) and content:
            del rest["content"]
            self.took_logprobs = is_object(logprobs)
            self._block("text", content, None, {"logprobs": logprobs} if is_object(logprobs) else None)
        elif is_array(content):
            del rest["content"]
            for part in content:
                self._part(part)
        refusal: object = message.get("refusal")
        if isinstance(refusal, str) and refusal:
            del rest["refusal"]
            self.has_refusal = True
            self._block("refusal", refusal)
        calls: object = message.get("tool_calls")
        if is_array(calls) and calls:
            del rest["tool_calls"]
            for call in calls:
                self._call(call)
        return rest

    def _block(self, kind: Any, text: str, extra: Json | None = None, beside: Json | None = None) -> None:
        index = self._index
        self._index += 1
        self._events += (BlockStart(index, kind, "", "", extra), Delta(index, text, beside), BlockStop(index))

    def _part(self, part: object) -> None:
        """A look-alike's content may be an array of parts."""
        if not is_object(part):
            raise Malformed("The provider's content holds a part that is no object.")
        if part.get("type") == "text" and isinstance(part.get("text"), str):
            self._block("text", part["text"], {"part": {**part, "text": ""}})
        else:
            index = self._index
            self._index += 1
            self._events += (BlockStart(index, "opaque", "", "", {"value": part}), BlockStop(index))

    def _call(self, call: object) -> None:
        if not is_object(call):
            raise Malformed("The provider's tool calls hold something that is no object.")
        kind: object = call.get("type")
        body: object = call.get("custom") if kind == "custom" else call.get("function")
        if not is_object(body):
            raise Malformed("The provider's tool call names no function.")
        self.has_tool_use = True
        extra = without(call, _CALL)
        if kind != "function":
            extra["type"] = kind
        inner = "input" if kind == "custom" else "arguments"
        arguments: object = body.get(inner)
        rest = {key: item for key, item in body.items() if key not in ("name", inner)}
        if is_object(arguments):
            # A look-alike that forgot to encode them.
            rest["arguments_object"] = True
            arguments = encode(arguments).decode()
        if rest:
            extra["function"] = rest
        index = self._index
        self._index += 1
        start = BlockStart(index, "tool_use", string(call.get("id")), string(body.get("name")), extra or None)
        self._events += (start, Delta(index, string(arguments)), BlockStop(index))


# --- writing -----------------------------------------------------------------------------------------------------


def write_answer(answer: Answer, identity: Identity) -> bytes:
    """See ``Codec.write_answer``."""
    native = answer.wire == NAME
    whole = _whole_text(answer.events) if native else None
    if whole is not None:
        return _write_whole_text(*whole, identity)
    gathered = _Gathered(native)
    gathered.take(answer.events)
    finish = gathered.finish
    extra = (finish.extra or {}) if native and finish is not None else {}
    rest: Json = extra.get("message") or ({} if "message" in extra else _plain_rest(gathered))
    message: Json = {"role": "assistant", **rest}
    gathered.fill(message, identity)
    choice: Json = {"index": 0, "message": message, **(extra.get("choice") or {})}
    if gathered.logprobs is not None:
        choice["logprobs"] = gathered.logprobs
    elif "message" not in extra:
        choice["logprobs"] = None
    choice["finish_reason"] = finish_word(finish, native) if finish is not None else None
    return _enveloped(choice, usage_object(gathered.usage, native), gathered.top, identity)


def _enveloped(choice: Json, usage: Json | None, top: Json, identity: Identity) -> bytes:
    value: Json = {
        "id": PREFIX + identity.id,
        "object": "chat.completion",
        "created": identity.created,
        "model": identity.model,
        "choices": [choice],
    }
    if usage is not None:
        value["usage"] = usage
    value.update(top)
    return encode(value)


_WHOLE_TEXT = (Start, BlockStart, Delta, BlockStop, Finish, Usage)


def _whole_text(events: tuple[Event, ...]) -> tuple[Start, Delta, Finish, Usage] | None:
    """The parts of the commonest answer, one text that :func:`read_answer` has read: there is nothing to gather."""
    if tuple(map(type, events)) != _WHOLE_TEXT:
        return None
    start, block, delta, _, finish, usage = cast("tuple[Start, BlockStart, Delta, BlockStop, Finish, Usage]", events)
    if block.kind != "text" or block.extra or delta.extra or not finish.extra or "message" not in finish.extra:
        return None
    if "shape" in finish.extra or (start.extra and "shape" in start.extra):
        return None
    return start, delta, finish, usage


def _write_whole_text(start: Start, delta: Delta, finish: Finish, usage: Usage, identity: Identity) -> bytes:
    """What :func:`write_answer` makes of these, in one step."""
    extra: Json = finish.extra or {}
    choice: Json = {
        "index": 0,
        "message": {"role": "assistant", **(extra["message"] or {}), "content": delta.text},
        **(extra.get("choice") or {}),
        "finish_reason": finish.raw or None,
    }
    return _enveloped(choice, usage.raw, (start.extra.get("top") or {}) if start.extra else {}, identity)


def finish_word(finish: Finish, native: bool) -> str | None:
    """OpenAI's word for how an answer ended; ``None`` where an OpenAI provider did not say."""
    return (finish.raw or None) if native else OPENAI_OF_FINISH[finish.reason]


def usage_object(usage: Usage | None, native: bool) -> Json | None:
    """The provider's own words on its own wire, else from the buckets; ``None`` where the provider gave none."""
    if usage is None:
        return None
    if native:
        return usage.raw
    return write_openai(usage)


def _plain_rest(gathered: "_Gathered") -> Json:
    """What OpenAI's own messages carry beside the text."""
    rest: Json = {"content": None, "refusal": None, "annotations": []}
    rest.update(gathered.beside)
    return rest


class _Gathered:
    """The pieces of a message, gathered from events in whatever size they came."""

    def __init__(self, native: bool) -> None:
        self._native = native
        self._texts: dict[int, list[str]] = {}
        self._starts: list[BlockStart] = []
        self.logprobs: Json | None = None
        self.usage: Usage | None = None
        self.finish: Finish | None = None
        self.top: Json = {}
        self.beside: Json = {}

    def take(self, events: tuple[Event, ...]) -> None:
        texts = self._texts
        native = self._native
        for event in events:
            if type(event) is Delta:
                texts[event.index].append(event.text)
                if event.extra is not None and native:
                    self._extra(event.extra)
            elif type(event) is BlockStop:
                continue
            elif type(event) is BlockStart:
                self._starts.append(event)
                texts[event.index] = []
                if event.extra is not None and native:
                    self._shape(event.extra)
            elif isinstance(event, Usage):
                self.usage = event
            elif isinstance(event, Finish):
                self.finish = event
                if event.extra is not None and native:
                    self._shape(event.extra)
            elif isinstance(event, Start):
                if event.extra is not None and native:
                    self.top = event.extra.get("top") or {}
                    self._shape(event.extra)
            elif isinstance(event, Note) and event.extra is not None and native:
                self._shape(event.extra)

    def _extra(self, extra: Json) -> None:
        logprobs: object = extra.get("logprobs")
        if is_object(logprobs):
            if self.logprobs is None:
                self.logprobs = logprobs
            else:
                self.logprobs = _joined_logprobs(self.logprobs, logprobs)
        self._shape(extra)

    def _shape(self, extra: Json) -> None:
        """Unknown fields of a stream's deltas become fields of the message; lists (annotations) are joined."""
        shape: object = extra.get("shape")
        if not is_object(shape):
            return
        for key, item in shape["delta"].items():
            if key in KNOWN_DELTA or item is None:
                continue
            before: object = self.beside.get(key)
            self.beside[key] = before + item if is_array(before) and is_array(item) else item

    def fill(self, message: Json, identity: Identity) -> None:
        """Puts the blocks into ``message``."""
        texts = self._texts
        native = self._native
        content: list[str] = []
        parts: list[Json] = []
        calls: list[Json] = []
        for start in self._starts:
            kind = start.kind
            extra: Json = (start.extra or {}) if native else {}
            text = "".join(texts[start.index])
            if kind == "text":
                content.append(text)
                if "part" in extra:
                    parts.append({**extra["part"], "text": text})
            elif kind == "tool_use":
                calls.append(_call(start, text, extra, identity))
            elif kind == "thinking":
                if text:
                    field = extra.get("field") or "reasoning_content"
                    message[field] = string(message.get(field)) + text
            elif kind == "refusal":
                message["refusal"] = string(message.get("refusal")) + text
            elif kind == "opaque" and native and "value" in extra:
                parts.append(extra["value"])
        if parts:
            message["content"] = parts
        elif content:
            message["content"] = "".join(content)
        if calls:
            message["tool_calls"] = calls


def call_id(start: BlockStart, identity: Identity) -> str:
    """The provider's id of a tool call; clients need one, and some look-alikes give none."""
    return start.id or f"call_{identity.id}_{start.index}"


def _call(start: BlockStart, arguments: str, extra: Json, identity: Identity) -> Json:
    if not extra:
        function: Json = {"name": start.name, "arguments": arguments}
        return {"id": call_id(start, identity), "type": "function", "function": function}
    rest = {key: item for key, item in extra.items() if key not in ("shape", "span", "type", "function")}
    kind: object = extra.get("type", "function")
    inner: Json = dict(extra.get("function") or {})
    if inner.pop("arguments_object", False):
        inner["arguments"] = parse_object(arguments.encode())
    else:
        inner["input" if kind == "custom" else "arguments"] = arguments
    call: Json = {
        "id": call_id(start, identity),
        "type": kind,
        ("custom" if kind == "custom" else "function"): inner,
        **rest,
    }
    inner["name"] = start.name
    if kind is None:
        del call["type"]
    return call


def _joined_logprobs(first: Json, second: Json) -> Json:
    joined = dict(first)
    for key, item in second.items():
        before: object = joined.get(key)
        joined[key] = before + item if is_array(before) and is_array(item) else (item if before is None else before)
    return joined
