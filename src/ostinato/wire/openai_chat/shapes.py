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


def with_shape(event: Event, shape: Json, span: int) -> Event:
    """``event`` with the shape of the chunk that it and the next ``span - 1`` visible events make."""
    if isinstance(event, Usage | Note):
        return event
    extra = dict(event.extra or {})
    extra["shape"] = shape
    if span:
        extra["span"] = span
    return msgspec.structs.replace(event, extra=extra)
