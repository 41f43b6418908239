"""The texts of a request: what people and models wrote, in its canonical form and in the body as it came.

Both are kept in step, because a provider of the same wire is sent the body as it came. Left alone are the names of end
users (they decide whose cache entries are seen; changing them would mix people), tool definitions, images, and ids.
"""

from collections.abc import Callable
from typing import Any, cast

import msgspec

from ostinato.checks import trees
from ostinato.wire.model import (
    Block,
    ChatRequest,
    EmbeddingRequest,
    Json,
    Message,
    Opaque,
    Text,
    Thinking,
    ToolResult,
    ToolUse,
)

Apply = Callable[[str], str]

_UNTOUCHED = frozenset(
    {
        "model",
        "metadata",
        "user",
        "safety_identifier",
        "prompt_cache_key",
        "tools",
        "tool_choice",
        "functions",
        "mcp_servers",
        "response_format",
        "text",
        "stop",
        "stop_sequences",
    }
)
"""Fields at the top of a body that no text of the conversation is in."""


def apply(request: ChatRequest, change: Apply) -> ChatRequest:
    """``request`` with ``change`` applied to its texts; the same object where nothing changed."""
    messages = tuple(_message(message, change) for message in request.messages)
    extra = request.extra and {wire: _top(fields, change) for wire, fields in request.extra.items()}
    same_messages = all(a is b for a, b in zip(messages, request.messages, strict=True))
    same_extra = extra == request.extra
    if same_messages and same_extra:
        return request
    original = request.original
    return msgspec.structs.replace(
        request,
        messages=request.messages if same_messages else messages,
        extra=request.extra if same_extra else extra,
        original=None if original is None else _top(original, change),
    )


def apply_embedding(request: EmbeddingRequest, change: Apply) -> EmbeddingRequest:
    """The same for the inputs of an embedding; token lists stay as they are."""
    inputs = tuple(change(item) if isinstance(item, str) else item for item in request.inputs)
    return request if inputs == request.inputs else msgspec.structs.replace(request, inputs=inputs)


def _top(fields: Any, change: Apply) -> Any:
    if not isinstance(fields, dict):
        return trees.body(fields, change)
    known = cast("dict[str, Any]", fields)
    # The fields go through one by one, so that each knows its own name.
    return {
        name: value if name in _UNTOUCHED else trees.body({name: value}, change)[name] for name, value in known.items()
    }


def _message(message: Message, change: Apply) -> Message:
    content = tuple(_block(block, change) for block in message.content)
    extra = _extra(message.extra, change)
    if extra is message.extra and all(a is b for a, b in zip(content, message.content, strict=True)):
        return message
    return msgspec.structs.replace(message, content=content, extra=extra)


def _block(block: Block, change: Apply) -> Block:
    changes: dict[str, Any] = {}
    if isinstance(block, Text | Thinking):
        changes["text"] = change(block.text)
    elif isinstance(block, ToolUse):
        changes["arguments"] = trees.arguments(block.arguments, change)
    elif isinstance(block, ToolResult):
        content = tuple(_block(part, change) for part in block.content)
        same = all(a is b for a, b in zip(content, block.content, strict=True))
        changes["content"] = block.content if same else content
    elif isinstance(block, Opaque):
        changes["value"] = trees.body(block.value, change)
    if not isinstance(block, Opaque):
        changes["extra"] = _extra(block.extra, change)
    changed = {name: value for name, value in changes.items() if value is not getattr(block, name)}
    return msgspec.structs.replace(block, **changed) if changed else block


def _extra(extra: Json | None, change: Apply) -> Json | None:
    return extra and trees.body(extra, change)
