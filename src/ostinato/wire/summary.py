"""What the rest of the gateway wants to know of a request or an answer without reading its events."""

from collections.abc import Iterable

import msgspec

from ostinato.wire.jsons import encode, part, string
from ostinato.wire.model import (
    Answer,
    BlockStart,
    BlockStop,
    ChatRequest,
    Delta,
    Event,
    Finish,
    FinishReason,
    Image,
    Message,
    Opaque,
    Start,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
    Usage,
)

IMAGE_TOKENS = 1600
"""What an image costs at most at the usual providers."""
MESSAGE_TOKENS = 4
"""What surrounds a message in a model's template."""
STANDARD = frozenset({"", "default", "auto", "standard"})
"""Service tiers at list price."""


class Summary(msgspec.Struct, frozen=True, gc=False):
    """Of an answer, or of the part of it that has arrived."""

    finish: FinishReason | None = None
    """``None``: not finished."""
    finish_raw: str = ""
    usage: Usage | None = None
    """The last one that was reported."""
    text_chars: int = 0
    has_tool_use: bool = False
    has_refusal: bool = False
    empty: bool = True
    """No text, no tool call, no refusal: nothing that a caller could use."""
    model: str = ""
    """The provider's own name for what answered."""
    system_fingerprint: str = ""


def summary(answer: Answer | Iterable[Event]) -> Summary:
    """One pass over the events."""
    finish: Finish | None = None
    usage: Usage | None = None
    start: Start | None = None
    kinds: dict[int, str] = {}
    chars = {"text": 0, "refusal": 0}
    something = False
    for event in answer.events if isinstance(answer, Answer) else answer:
        # Of the exact type: every miss comes by here, and a chain of ``isinstance`` costs twice as much.
        if type(event) is Delta:
            kind = kinds.get(event.index, "")
            if kind in chars:
                chars[kind] += len(event.text)
        elif type(event) is BlockStop:
            continue
        elif type(event) is BlockStart:
            kinds[event.index] = event.kind
            something = something or event.kind in ("tool_use", "opaque")
        elif type(event) is Usage:
            usage = event
        elif type(event) is Finish:
            finish = event
        elif type(event) is Start:
            start = event
    top = part(start.extra, "top") if start is not None else {}
    tier = string(top.get("service_tier"))
    if usage is not None and tier not in STANDARD:
        # One wire tells the tier beside the answer, another in its usage: whoever prices it finds it in one place.
        usage = msgspec.structs.replace(usage, raw={**(usage.raw or {}), "service_tier": tier})
    return Summary(
        finish=finish.reason if finish is not None else None,
        finish_raw=finish.raw if finish is not None else "",
        usage=usage,
        text_chars=chars["text"],
        has_tool_use="tool_use" in kinds.values(),
        has_refusal=(finish is not None and finish.reason == "refusal") or "refusal" in kinds.values(),
        empty=not (something or chars["text"] or chars["refusal"]),
        model=start.model if start is not None else "",
        system_fingerprint=string(top.get("system_fingerprint")),
    )


def text_of(answer: Answer) -> str:
    """The visible text: text blocks joined, without reasoning, refusals and tool calls."""
    blocks: set[int] = set()
    pieces: list[str] = []
    for event in answer.events:
        if isinstance(event, Delta):
            if event.index in blocks:
                pieces.append(event.text)
        elif isinstance(event, BlockStart) and event.kind == "text":
            blocks.add(event.index)
    return "".join(pieces)


def input_text(request: ChatRequest) -> str:
    """All that a person or a tool wrote, a message per paragraph: for checks, traces and classification."""
    paragraphs: list[str] = []
    for message in request.messages:
        pieces = list(_texts(message))
        if pieces:
            paragraphs.append("\n".join(pieces))
    return "\n\n".join(paragraphs)


def _texts(message: Message) -> Iterable[str]:
    for block in message.content:
        if isinstance(block, Text):
            yield block.text
        elif isinstance(block, ToolResult):
            yield from (item.text for item in block.content if isinstance(item, Text))
        elif isinstance(block, ToolUse):
            yield block.arguments


def count_input(request: ChatRequest) -> int:
    """A cheap estimate of the input tokens, tools and images included: a token for each four bytes of UTF-8."""
    size = 0
    flat = 0
    for message in request.messages:
        flat += MESSAGE_TOKENS
        for block in message.content:
            parts = (block, *block.content) if isinstance(block, ToolResult) else (block,)
            for item in parts:
                if isinstance(item, Text):
                    size += _size(item.text)
                elif isinstance(item, Image):
                    flat += IMAGE_TOKENS
                elif isinstance(item, ToolUse):
                    size += _size(item.name) + _size(item.arguments)
                elif isinstance(item, Thinking):
                    size += _size(item.text) + len(item.redacted)
                elif isinstance(item, Opaque):
                    size += len(encode(item.value))
                flat += 1
    for tool in request.tools:
        size += _size(tool.name) + _size(tool.description) + MESSAGE_TOKENS
        if tool.opaque is not None:
            size += len(encode(tool.opaque.value))
        elif tool.schema is not None:
            size += len(encode(tool.schema))
    if request.response_format is not None:
        size += len(encode(request.response_format))
    return flat + (size + 3) // 4


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


def is_content(event: Event) -> bool:
    """Whether the caller sees something of the answer in it: the commit point of a stream."""
    if isinstance(event, Delta):
        return bool(event.text)
    return isinstance(event, BlockStart | Finish)
