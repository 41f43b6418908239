"""Shapes of chunks: what the writer takes where the events tell none, and how events tell one.

A shape is a chunk without identity and texts: ``top``, ``choice`` and ``delta`` verbatim, and ``holes`` where the texts
go, in order: a field of the delta, or the position of a tool call whose arguments are meant.
"""

from typing import TypeAlias

import msgspec

from ostinato.wire.model import BlockStart, Delta, Event, Finish, Json, Note, Start, Usage

Hole: TypeAlias = str | int


def fragment_shape(top: Json, hole: str) -> Json:
    """The shape of a fragment as OpenAI itself sends it."""
    return {
        "top": top,
        "choice": {"index": 0, "logprobs": None, "finish_reason": None},
        "delta": {hole: None},
        "holes": [hole],
    }


def tool_fragment_shape(top: Json, number: int) -> Json:
    """The shape of a fragment of a tool call's arguments as OpenAI itself sends it."""
    return {
        "top": top,
        "choice": {"index": 0, "logprobs": None, "finish_reason": None},
        "delta": {"tool_calls": [{"index": number, "function": {"arguments": None}}]},
        "holes": [0],
    }


def start_shape(top: Json) -> Json:
    return {
        "top": top,
        "choice": {"index": 0, "logprobs": None, "finish_reason": None},
        "delta": {"role": "assistant", "content": "", "refusal": None},
        "holes": [],
    }


def tool_start_shape(top: Json, number: int, identifier: str, name: str) -> Json:
    call = {"index": number, "id": identifier, "type": "function", "function": {"name": name, "arguments": ""}}
    return {
        "top": top,
        "choice": {"index": 0, "logprobs": None, "finish_reason": None},
        "delta": {"tool_calls": [call]},
        "holes": [],
    }


def finish_shape(top: Json, raw: str) -> Json:
    return {"top": top, "choice": {"index": 0, "logprobs": None, "finish_reason": raw}, "delta": {}, "holes": []}


def is_visible(event: Event) -> bool:
    """Whether the writer makes a chunk of it."""
    if isinstance(event, BlockStart):
        return event.kind == "tool_use"
    return isinstance(event, Delta | Start | Finish)


def with_shape(event: Event, shape: Json, group: list[Event] | None = None) -> Event:
    """``event`` with the shape of its chunk; ``group``: of a chunk that it and others make together."""
    if isinstance(event, Usage | Note):
        return event
    extra = dict(event.extra or {})
    extra["shape"] = shape
    if group is not None:
        extra["span"] = sum(is_visible(item) for item in group)
        extra["blocks"] = [item.index for item in group if isinstance(item, Delta)]
    return msgspec.structs.replace(event, extra=extra)


class Group:
    """A chunk that carries several events, while they come together."""

    def __init__(self, extra: Json) -> None:
        self._shape: Json = extra["shape"]
        self._left: int = extra["span"]
        self._blocks: list[int] = extra["blocks"]
        """The block of each fragment."""
        self._calls = 0
        self._finished = False
        self.texts: list[str] = []

    def take(self, event: Event) -> bool:
        """Whether the event is one of them; then it is kept."""
        delta, choice = self._shape["delta"], self._shape["choice"]
        if isinstance(event, Delta):
            place = len(self.texts)
            if place >= len(self._blocks) or self._blocks[place] != event.index:
                return False
            self.texts.append(event.text)
        elif isinstance(event, BlockStart):
            self._calls += 1
            if self._calls > len(delta.get("tool_calls") or ()):
                return False
        elif isinstance(event, Finish):
            self._finished = choice.get("finish_reason") is not None
            if not self._finished:
                return False
        self._left -= 1
        return True

    @property
    def complete(self) -> bool:
        return self._left <= 0 or self._finished

    @property
    def shape(self) -> Json:
        """The shape; it ends the answer only if its end has come."""
        choice = self._shape["choice"]
        if self._finished or choice.get("finish_reason") is None:
            return self._shape
        return {**self._shape, "choice": {**choice, "finish_reason": None}}


def filled(shape: Json, texts: list[str]) -> Json:
    """The delta of a shape with ``texts`` in its holes; holes without a text are empty."""
    delta = dict(shape["delta"])
    remaining = list(texts)
    last = ""
    for hole in shape["holes"]:
        # The same thoughts under two names have two holes and one text.
        if hole != "reasoning" or "reasoning_content" not in shape["holes"]:
            last = remaining.pop(0) if remaining else ""
        _put(delta, hole, last)
    return delta


def _put(delta: Json, hole: str | int, text: str) -> None:
    if isinstance(hole, str):
        delta[hole] = text
        return
    calls = list(delta["tool_calls"])
    call = dict(calls[hole])
    inner, field = ("custom", "input") if call.get("custom") is not None else ("function", "arguments")
    call[inner] = {**call[inner], field: text}
    calls[hole] = call
    delta["tool_calls"] = calls
