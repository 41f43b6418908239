"""A Chat Completions stream, read into events.

Providers disagree on the shape of a chunk: the role once or in every chunk, ``finish_reason`` null or absent, several
fields in one chunk. What this wire's writer cannot guess is told in ``extra`` as a *shape* (see ``shapes``). The shape
of a block's fragments is told once, with the first that has it, and holds until another is told.
"""

from typing import Any

import msgspec

from ostinato.wire.errors import ErrorInStream, Malformed
from ostinato.wire.failures import refuse_body, reported
from ostinato.wire.jsons import DECODE_ERRORS, decode, is_array, is_integer, is_object, string
from ostinato.wire.model import (
    BlockKind,
    BlockStart,
    BlockStop,
    Delta,
    Event,
    Finish,
    Json,
    Note,
    Start,
    Usage,
)
from ostinato.wire.openai_chat.answer import finish_reason
from ostinato.wire.openai_chat.request_reader import NAME
from ostinato.wire.openai_chat.shapes import (
    Hole,
    finish_shape,
    fragment_shape,
    is_visible,
    start_shape,
    tool_fragment_shape,
    tool_start_shape,
    with_shape,
)
from ostinato.wire.openai_chat.shortcut import Shortcut
from ostinato.wire.sse import Parser
from ostinato.wire.usage import read_openai


class Reader:
    """``StreamReader`` of this wire."""

    def __init__(self) -> None:
        self._sse = Parser()
        self._done = False
        self._started = False
        self._before: list[Json] = []
        self._top: Json = {}
        self._blocks = 0
        self._open: int | None = None
        """Index of the open block."""
        self._kind: BlockKind | None = None
        self._tools: dict[object, tuple[int, int, str]] = {}
        """Tool call's index on the wire -> block, number, id."""
        self._last_tool: object = None
        self._arguments: list[str] = []
        """Of the tool call that began last."""
        self._unfinished: list[int] = []
        """Tool calls before it that may go on: their arguments were no whole JSON yet."""
        self._refused = False
        self._shapes: dict[int, Json] = {}
        self._finished = False
        self._usage: Usage | None = None
        self._told_usage = False
        self._shortcut = Shortcut()

    @property
    def finished(self) -> bool:
        """Whether ``[DONE]`` was seen."""
        return self._done or self._sse.pending.strip() == b"data: [DONE]"

    @property
    def answered(self) -> bool:
        """Whether a finish reason was seen: for the few providers that never send ``[DONE]``."""
        return self._finished

    def feed(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        try:
            for name, payload in self._sse.feed(data):
                delta = self._shortcut.take(payload)
                if delta is not None:
                    events.append(delta)
                    if self._kind == "tool_use":
                        self._arguments.append(delta.text)
                else:
                    self._take(name, payload, events)
            if self._sse.untouched:
                refuse_body(self._sse.pending)
        except (Malformed, ErrorInStream) as error:
            error.events = tuple(events)
            raise
        return events

    def _take(self, name: bytes, payload: bytes, events: list[Event]) -> None:
        self._shortcut.forget()
        if self._done or not payload.strip():
            return
        if payload.strip() == b"[DONE]":
            self._finish_up(events)
            self._done = True
            return
        try:
            chunk: object = decode(payload)
        except DECODE_ERRORS as error:
            raise Malformed("The provider's stream holds an event that is no JSON.") from error
        if not is_object(chunk):
            raise Malformed("The provider's stream holds an event that is no object.")
        if chunk.get("error") is not None:
            raise reported(chunk["error"])
        if name == b"error" or chunk.get("object") == "error":
            raise reported(chunk)
        before = len(events)
        self._chunk(chunk, events)
        if len(events) == before + 1 and self._open is not None:
            self._shortcut.learn(payload, events[-1], self._open, self._kind)

    def _chunk(self, chunk: Json, events: list[Event]) -> None:
        pop = chunk.pop
        pop("id", None)
        pop("created", None)
        pop("object", None)
        model: object = pop("model", None)
        choices: object = pop("choices", None)
        nulls = "usage" in chunk and chunk["usage"] is None
        usage: object = pop("usage", None)
        choice: object = choices[0] if is_array(choices) and choices else None
        if choice is not None and not is_object(choice):
            raise Malformed("The provider's stream holds a choice that is no object.")
        if choice is None:
            self._without_choice(chunk, usage, choices, events)
        else:
            obfuscation: object = pop("obfuscation", None)
            group: list[Event] = []
            if not self._started:
                self._started = True
                self._top = dict(chunk)
                extra: Json = {"top": self._top} if self._top else {}
                if nulls:
                    extra["usage_null"] = True
                group.append(Start(string(model), extra or None, NAME))
            self._choice(chunk, choice, obfuscation, group)
            events.extend(group)
        if is_object(usage):
            self._usage = read_openai(usage)
        if self._finished and self._usage is not None and not (self._told_usage and usage is None):
            self._told_usage = True
            events.append(self._usage)

    def _without_choice(self, top: Json, usage: object, choices: object, events: list[Event]) -> None:
        """The usage chunk, or a look-alike's remark (Azure's filter results come first)."""
        top.pop("obfuscation", None)
        if is_object(usage):
            if self._started and top != self._top:
                events.append(Note("usage", {"top": top}))
            return
        remark: Json = {"top": top}
        if choices is not None:
            remark["choices"] = []
        if self._started:
            events.append(Note("remark", remark))
        else:
            self._before.append(remark)

    # --- a chunk with a choice -------------------------------------------------------------------------------

    def _choice(self, top: Json, choice: Json, obfuscation: object, group: list[Event]) -> None:
        delta: object = choice.pop("delta", None)
        if delta is None:
            delta = {}
        if not is_object(delta):
            raise Malformed("The provider's stream holds a delta that is no object.")
        logprobs: object = choice.get("logprobs")
        raw: object = choice.get("finish_reason")
        holes: list[Hole] = []
        shaped = dict(delta)
        if not self._finished:
            self._texts(delta, shaped, holes, group)
            if delta.get("tool_calls"):
                self._calls(delta["tool_calls"], shaped, holes, group)
            if isinstance(raw, str):
                self._end(raw, group)
        elif any(delta.get(key) for key in ("content", "tool_calls")):
            raise Malformed("The provider's stream goes on after its finish reason.")
        shape: Json = {"top": top, "choice": choice, "delta": shaped, "holes": holes}
        self._attach(shape, logprobs, obfuscation, group)

    def _texts(self, delta: Json, shaped: Json, holes: list[Hole], group: list[Event]) -> None:
        for field in ("reasoning_content", "reasoning", "content", "refusal"):
            text: object = delta.get(field)
            if not text:
                continue
            if is_array(text) and field == "content":
                text = "".join([string(part.get("text")) for part in text if is_object(part)])
            if not isinstance(text, str):
                if field == "reasoning":
                    continue
                raise Malformed(f"The provider's stream holds a {field} that is no text.")
            if field == "reasoning" and "reasoning_content" in holes:
                # The same thoughts under two names: told once, kept in both places.
                shaped[field] = None
                holes.append(field)
                continue
            kind: BlockKind = "text" if field == "content" else "refusal" if field == "refusal" else "thinking"
            self._refused = self._refused or kind == "refusal"
            index = self._block(kind, group)
            if kind == "thinking" and field == "reasoning" and isinstance(group[-1], BlockStart):
                group[-1] = BlockStart(index, kind, "", "", {"field": field})
            shaped[field] = None
            holes.append(field)
            group.append(Delta(index, text))

    def _block(self, kind: BlockKind, group: list[Event], identifier: str = "", name: str = "") -> int:
        """The open block if it is of this kind, else a new one; tools always begin a new one."""
        if self._open is not None and kind == self._kind and kind != "tool_use":
            return self._open
        if self._open is not None and kind == self._kind and not self._is_whole():
            self._unfinished.append(self._open)
        elif self._open is not None:
            group.append(BlockStop(self._open))
            self._open = None
            if kind != "tool_use":
                self._close(group)
        self._arguments = []
        index = self._blocks
        self._blocks += 1
        self._open = index
        self._kind = kind
        group.append(BlockStart(index, kind, identifier, name))
        return index

    def _is_whole(self) -> bool:
        """Whether the arguments of the last tool call are complete, so that no fragment can follow."""
        try:
            decode("".join(self._arguments))
        except DECODE_ERRORS:
            return False
        return True

    def _close(self, group: list[Event]) -> None:
        """Ends every open block."""
        group.extend(BlockStop(index) for index in self._unfinished)
        self._unfinished = []
        if self._open is not None:
            group.append(BlockStop(self._open))
            self._open = None

    def _calls(self, calls: object, shaped: Json, holes: list[Hole], group: list[Event]) -> None:
        if not is_array(calls):
            raise Malformed("The provider's stream holds tool calls that are no array.")
        bare: list[Any] = []
        for position, call in enumerate(calls):
            if not is_object(call):
                raise Malformed("The provider's stream holds a tool call that is no object.")
            custom = is_object(call.get("custom"))
            inner: object = call.get("custom") if custom else call.get("function")
            function: Json = inner if is_object(inner) else {}
            field = "input" if custom else "arguments"
            arguments: object = function.get(field)
            if is_object(arguments):
                arguments = msgspec.json.encode(arguments).decode()
            index = self._tool(call, function, custom, group)
            if not is_integer(call.get("index")):
                # Clients put fragments together by it.
                call = {**call, "index": self._tools[self._last_tool][1]}  # noqa: PLW2901
            if isinstance(arguments, str) and arguments:
                group.append(Delta(index, arguments))
                if index == self._open:
                    self._arguments.append(arguments)
                holes.append(position)
                call = {**call, ("custom" if custom else "function"): {**function, field: None}}  # noqa: PLW2901
            bare.append(call)
        shaped["tool_calls"] = bare

    def _tool(self, call: Json, function: Json, custom: bool, group: list[Event]) -> int:
        """The block that a fragment belongs to; a new one for a new index, or a new id under an old index."""
        identifier = string(call.get("id"))
        wire_index: object = call.get("index")
        if not is_integer(wire_index):
            # Gemini gives no index: a named call is a new one, anything else continues the last.
            wire_index = ("unnumbered", len(self._tools)) if function.get("name") else self._last_tool
        known = self._tools.get(wire_index)
        self._last_tool = wire_index
        if known is not None and not (identifier and known[2] and identifier != known[2] and function.get("name")):
            return known[0]
        index = self._block("tool_use", group, identifier, string(function.get("name")))
        if custom:
            group[-1] = BlockStart(index, "tool_use", identifier, string(function.get("name")), {"type": "custom"})
        self._tools[wire_index] = (index, len(self._tools) if known is None else known[1], identifier)
        return index

    def _end(self, raw: str, group: list[Event]) -> None:
        self._close(group)
        self._finished = True
        group.append(Finish(finish_reason(raw, tool_use=bool(self._tools), refusal=self._refused), raw))

    def _finish_up(self, events: list[Event]) -> None:
        """``[DONE]``: whatever the provider left out is said as such."""
        if not self._started:
            raise Malformed("The provider's stream ended before it began.")
        if not self._finished:
            group: list[Event] = []
            self._end("", group)
            events.extend(group)
        if not self._told_usage:
            self._told_usage = True
            events.append(self._usage or Usage())

    # --- shapes ----------------------------------------------------------------------------------------------

    def _attach(self, shape: Json, logprobs: object, obfuscation: object, group: list[Event]) -> None:
        visible = [position for position, event in enumerate(group) if is_visible(event)]
        if len(visible) == 1:
            position = visible[0]
            event = group[position]
            if type(event) is Delta:
                group[position] = self._shaped_delta(event, shape, logprobs, obfuscation)
                return
            if isinstance(obfuscation, str):
                shape["top"] = {**shape["top"], "obfuscation": obfuscation}
            if shape != self._expected(event):
                group[position] = with_shape(event, shape)
        else:
            if isinstance(obfuscation, str):
                shape["top"] = {**shape["top"], "obfuscation": obfuscation}
            if not visible:
                group.append(Note("chunk", {"shape": shape}))
            else:
                if is_object(logprobs):
                    self._beside_text(logprobs, group)
                group[visible[0]] = with_shape(group[visible[0]], shape, group)
        if self._before and isinstance(group[0], Start):
            group[0] = Start(group[0].model, {**(group[0].extra or {}), "before": self._before}, NAME)

    def _shaped_delta(self, event: Delta, shape: Json, logprobs: object, obfuscation: object) -> Delta:
        extra: Json = {}
        if is_object(logprobs):
            shape["choice"]["logprobs"] = None
            extra["logprobs"] = logprobs
        if isinstance(obfuscation, str):
            extra["obfuscation"] = obfuscation
        expected = self._shapes.get(event.index)
        if expected is None:
            expected = self._expected(event)
        if shape != expected:
            extra["shape"] = shape
        self._shapes[event.index] = shape
        return Delta(event.index, event.text, extra) if extra else event

    def _beside_text(self, logprobs: Json, group: list[Event]) -> None:
        for position, event in enumerate(group):
            if type(event) is Delta:
                group[position] = Delta(event.index, event.text, {"logprobs": logprobs})
                return

    def _expected(self, event: Event) -> Json | None:
        """The shape that the writer takes where none is told."""
        top = self._top
        if isinstance(event, Delta):
            for block, number, _ in self._tools.values():
                if block == event.index:
                    return tool_fragment_shape(top, number)
            hole = {"thinking": "reasoning_content", "refusal": "refusal"}.get(self._kind or "", "content")
            return fragment_shape(top, hole)
        if isinstance(event, Start):
            return start_shape(top)
        if isinstance(event, BlockStart):
            number = next((n for block, n, _ in self._tools.values() if block == event.index), 0)
            return tool_start_shape(top, number, event.id, event.name)
        if isinstance(event, Finish):
            return finish_shape(top, event.raw)
        return None
