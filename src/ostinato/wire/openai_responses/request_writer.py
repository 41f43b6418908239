"""The canonical request, written as a Responses body for a provider."""

from collections.abc import Sequence
from typing import Any

from ostinato.wire.fields import untranslatable
from ostinato.wire.jsons import part
from ostinato.wire.model import (
    Block,
    ChatRequest,
    Image,
    Json,
    Message,
    Opaque,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
)
from ostinato.wire.openai_responses.request_reader import NAME
from ostinato.wire.translation import (
    MESSAGE_HINTS,
    PART_HINTS,
    TOOL_HINTS,
    effort_of,
    refuse_top_level,
    refuse_unknown,
)


def write_request(request: ChatRequest, model: str, *, stream: bool) -> Json:
    """See ``Codec.write_request``."""
    if request.wire == NAME and request.original is not None:
        body = dict(request.original)
        body.pop("prompt", None)
        body["model"] = model
    else:
        body = _build(request, model)
    if stream:
        body["stream"] = True
    else:
        if "stream" in body:
            body["stream"] = False
        body.pop("stream_options", None)
    # We answer that nothing is stored; the provider's default is to store.
    body["store"] = False
    return body


def _build(request: ChatRequest, model: str) -> Json:
    own = request.wire == NAME
    refuse_top_level(request.extra, NAME)
    extra = dict(part(request.extra, NAME))
    body: Json = {"model": model}
    messages = list(request.messages)
    if messages and messages[0].role == "system" and messages[0].extra is None and _is_plain(messages[0]):
        first = messages.pop(0)
        body["instructions"] = "".join([block.text for block in first.content if isinstance(block, Text)])
    items: list[Json] = []
    for index, message in enumerate(messages):
        _items(message, f"messages.{index}", request.wire, own, items)
    body["input"] = items
    if request.tools:
        body["tools"] = [_tool(tool, index, request.wire, own) for index, tool in enumerate(request.tools)]
    if request.tool_choice is not None:
        refuse_unknown(request.tool_choice.extra, frozenset(), "tool_choice", request.wire, NAME)
        named = request.tool_choice.mode == "named"
        body["tool_choice"] = (
            {"type": "function", "name": request.tool_choice.name} if named else request.tool_choice.mode
        )
    if request.stop:
        raise untranslatable("stop", request.wire, NAME)
    for key in ("parallel_tool_calls", "temperature", "top_p", "user"):
        value = getattr(request, key)
        if value is not None:
            body[key] = value
    if request.max_tokens is not None:
        body["max_output_tokens"] = request.max_tokens
    effort = effort_of(request.reasoning)
    if effort is not None:
        body["reasoning"] = {"effort": effort, **extra.pop("reasoning", {})}
    if request.response_format is not None:
        body["text"] = {"format": _format(request.response_format), **extra.pop("text", {})}
    body.update(extra)
    return body


def _is_plain(message: Message) -> bool:
    return len(message.content) == 1 and isinstance(message.content[0], Text) and not message.content[0].extra


def _format(form: Json) -> Json:
    if form.get("type") != "json_schema":
        return form
    return {"type": "json_schema", "name": "response", **part(form, "json_schema")}


def _tool(tool: Tool, index: int, source: str, own: bool) -> Json:
    if tool.opaque is not None:
        if tool.opaque.wire != NAME:
            raise untranslatable(f"tools.{index}", source, NAME)
        return tool.opaque.value
    value: Json = {"type": "function", "name": tool.name}
    if tool.description:
        value["description"] = tool.description
    if tool.schema is not None or not own:
        value["parameters"] = tool.schema
    if tool.strict is not None or not own:
        # Chat Completions' default is not strict, this wire's is.
        value["strict"] = bool(tool.strict) if tool.strict is None else tool.strict
    if tool.extra:
        if own:
            value.update(tool.extra)
        else:
            refuse_unknown(tool.extra, TOOL_HINTS, f"tools.{index}", source, NAME)
    return value


def _items(message: Message, at: str, source: str, own: bool, items: list[Json]) -> None:
    if not own:
        refuse_unknown(message.extra, MESSAGE_HINTS, at, source, NAME)
    plain = "output_text" if message.role == "assistant" else "input_text"
    parts: list[Json] = []

    def settle() -> None:
        if parts or not message.content:
            role = "user" if message.role == "tool" else message.role
            extra = (message.extra or {}) if own else {}
            items.append({"type": "message", "role": role, "content": list(parts), **extra})
            parts.clear()

    for block in message.content:
        if isinstance(block, Opaque) and block.wire == NAME and "item" in block.value:
            items.append(block.value["item"])
            continue
        if isinstance(block, Text | Image | Opaque):
            parts.append(_part(block, at, source, own, plain))
            continue
        if parts:
            settle()
        item = _item(block, at, source, own)
        if item is not None:
            items.append(item)
    if parts or not message.content:
        settle()


def _item(block: ToolUse | ToolResult | Thinking, at: str, source: str, own: bool) -> Json | None:
    if isinstance(block, ToolUse):
        value: Json = {"type": "function_call", "call_id": block.id, "name": block.name, "arguments": block.arguments}
    elif isinstance(block, ToolResult):
        output = _compact([_part(item, at, source, own, "input_text") for item in block.content], own)
        value = {"type": "function_call_output", "call_id": block.tool_use_id, "output": output}
    else:
        # Another provider's reasoning means nothing to this one.
        return block.extra["item"] if own and block.extra and "item" in block.extra else None
    if block.extra:
        if own:
            value.update(block.extra)
        else:
            refuse_unknown(block.extra, PART_HINTS, at, source, NAME)
    return value


def _compact(parts: Sequence[Json], own: bool) -> Any:
    if not parts and not own:
        return ""
    return parts[0]["text"] if len(parts) == 1 and parts[0].keys() == {"type", "text"} else list(parts)


def _part(block: Block, at: str, source: str, own: bool, plain: str) -> Json:
    if isinstance(block, Opaque):
        if block.wire != NAME:
            raise untranslatable(f"{at}.content ({block.value.get('type', 'unknown')})", source, NAME)
        return block.value
    if isinstance(block, Text):
        kind: object = block.extra.get("type", plain) if own and block.extra else plain
        value: Json = {"type": kind, "refusal" if kind == "refusal" else "text": block.text}
    elif isinstance(block, Image):
        url = block.url or f"data:{block.media_type};base64,{block.data}"
        value = {"type": "input_image", "image_url": url}
        if block.detail or not own:
            value["detail"] = block.detail or "auto"
    else:
        raise untranslatable(f"{at}.content", source, NAME)
    if block.extra:
        if own:
            value.update(block.extra)
        else:
            refuse_unknown(block.extra, PART_HINTS, at, source, NAME)
    return value
