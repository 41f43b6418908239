"""A Messages body, read into the canonical request.

Injective but for what the API itself calls equal: ``null`` and a missing field, a string and an array with one plain
text block. What has not exactly a known shape stays verbatim, as ``Opaque`` or in ``extra``.
"""

from typing import Literal

from ostinato.wire import fields
from ostinato.wire.fields import invalid
from ostinato.wire.jsons import encode, is_array, is_object, without
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
    ToolChoice,
    ToolResult,
    ToolUse,
)

NAME = "anthropic.messages"

_KNOWN = frozenset(
    {
        "model",
        "messages",
        "system",
        "max_tokens",
        "tools",
        "tool_choice",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "thinking",
        "output_config",
        "metadata",
        "stream",
        "prompt",
    }
)
_MESSAGE = frozenset({"role", "content"})
_TOOL = frozenset({"type", "name", "description", "input_schema", "strict"})
_CHOICE = frozenset({"type", "name", "disable_parallel_tool_use"})
_MODES: dict[str, Literal["auto", "none", "required", "named"]] = {
    "auto": "auto",
    "any": "required",
    "none": "none",
    "tool": "named",
}


def read_request(body: Json, *, counting: bool = False) -> ChatRequest:
    """Raises ``Invalid`` naming the field that is wrong; ``counting``: for ``count_tokens``, without ``max_tokens``."""
    prompt = fields.prompt(body)
    model = fields.model(body)
    items = fields.messages(body)
    messages: list[Message] = []
    system = body.get("system")
    if system is not None:
        messages.append(Message("system", _system(system)))
    for index, item in enumerate(items):
        messages.append(_message(item, index))
    extra = {key: value for key, value in body.items() if key not in _KNOWN}
    get = body.get
    max_tokens = get("max_tokens")
    if max_tokens is None and not counting:
        raise invalid("max_tokens", "is missing")
    tools = get("tools")
    temperature = get("temperature")
    top_p = get("top_p")
    top_k = get("top_k")
    stop = get("stop_sequences")
    choice, parallel = _tool_choice(get("tool_choice"))
    reasoning: Json = {}
    if get("thinking") is not None:
        _thinking(get("thinking"), reasoning, extra)
    response_format = None
    if get("output_config") is not None:
        response_format = _output_config(get("output_config"), reasoning, extra)
    return ChatRequest(
        model=model,
        messages=tuple(messages),
        tools=() if tools is None else tuple([_tool(t, i) for i, t in enumerate(fields.array(tools, "tools"))]),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        temperature=None if temperature is None else fields.number(temperature, "temperature", 0, 1),
        top_p=None if top_p is None else fields.number(top_p, "top_p", 0, 1),
        top_k=None if top_k is None else fields.integer(top_k, "top_k", 0, fields.MAX_TOKENS),
        max_tokens=None if max_tokens is None else fields.integer(max_tokens, "max_tokens", 0, fields.MAX_TOKENS),
        stop=() if stop is None else fields.stops(fields.array(stop, "stop_sequences"), "stop_sequences"),
        response_format=response_format,
        reasoning=reasoning or None,
        user=_user(get("metadata"), extra),
        extra={NAME: extra} if extra else None,
        wire=NAME,
        stream=fields.stream(body),
        include_usage=True,
        prompt=prompt,
        original=body,
    )


def _user(metadata: object, extra: Json) -> str | None:
    if metadata is None:
        return None
    value = fields.obj(metadata, "metadata")
    user: object = value.get("user_id")
    rest = {key: item for key, item in value.items() if key != "user_id"}
    if rest:
        extra["metadata"] = rest
    return None if user is None else fields.string(user, "metadata.user_id")


def _thinking(value: object, reasoning: Json, extra: Json) -> None:
    config = fields.obj(value, "thinking")
    kind = fields.string(config.get("type"), "thinking.type")
    if kind != "enabled":
        extra["thinking"] = config
        return
    budget = fields.integer(config.get("budget_tokens"), "thinking.budget_tokens", 1, fields.MAX_TOKENS)
    reasoning["budget_tokens"] = budget
    rest = {key: item for key, item in config.items() if key not in ("type", "budget_tokens")}
    if rest:
        extra["thinking"] = rest


def _output_config(value: object, reasoning: Json, extra: Json) -> Json | None:
    config = dict(fields.obj(value, "output_config"))
    effort: object = config.pop("effort", None)
    if effort is not None:
        reasoning["effort"] = fields.string(effort, "output_config.effort")
    response_format: Json | None = None
    form: object = config.get("format")
    if form is not None:
        form = fields.obj(form, "output_config.format")
        if form.keys() == {"type", "schema"} and form["type"] == "json_schema" and is_object(form["schema"]):
            response_format = {"type": "json_schema", "json_schema": {"schema": form["schema"]}}
            del config["format"]
    if config:
        extra["output_config"] = config
    return response_format


def _tool_choice(value: object) -> tuple[ToolChoice | None, bool | None]:
    if value is None:
        return None, None
    choice = fields.obj(value, "tool_choice")
    kind = fields.string(choice.get("type"), "tool_choice.type")
    mode = _MODES.get(kind)
    if mode is None:
        raise invalid("tool_choice.type", "must be auto, any, tool or none")
    name = fields.string(choice.get("name"), "tool_choice.name") if mode == "named" else ""
    alone: object = choice.get("disable_parallel_tool_use")
    parallel = None if alone is None else not fields.boolean(alone, "tool_choice.disable_parallel_tool_use")
    extra = without(choice, _CHOICE)
    if mode != "named" and "name" in choice:
        extra["name"] = choice["name"]
    return ToolChoice(mode, name, extra or None), parallel


def _tool(value: object, index: int) -> Tool:
    if not is_object(value):
        raise invalid(f"tools.{index}", "must be an object")
    kind: object = value.get("type")
    if kind is not None and kind != "custom":
        fields.string(kind, f"tools.{index}.type")
        return Tool("", opaque=Opaque(NAME, value))
    at = f"tools.{index}"
    name = fields.string(value.get("name"), f"{at}.name")
    description = value.get("description")
    strict = value.get("strict")
    return Tool(
        name=name,
        description="" if description is None else fields.string(description, f"{at}.description"),
        schema=fields.obj(value.get("input_schema"), f"{at}.input_schema"),
        strict=None if strict is None else fields.boolean(strict, f"{at}.strict"),
        extra=without(value, _TOOL) or None,
    )


# --- messages ----------------------------------------------------------------------------------------------------


def _system(value: object) -> tuple[Block, ...]:
    if isinstance(value, str):
        return (Text(value),)
    if not is_array(value):
        raise invalid("system", "must be a string or an array of text blocks")
    return tuple([_block(block, f"system.{index}") for index, block in enumerate(value)])


def _message(value: object, index: int) -> Message:
    if not is_object(value):
        raise invalid(f"messages.{index}", "must be an object")
    role: object = value.get("role")
    if role not in ("user", "assistant", "system"):
        raise invalid(f"messages.{index}.role", "must be user or assistant")
    content: object = value.get("content")
    if isinstance(content, str):
        blocks: tuple[Block, ...] = (Text(content),)
    elif is_array(content):
        at = f"messages.{index}.content."
        blocks = tuple([_block(block, at + str(position)) for position, block in enumerate(content)])
    else:
        problem = "is missing" if content is None else "must be a string or an array of blocks"
        raise invalid(f"messages.{index}.content", problem)
    extra = without(value, _MESSAGE) if len(value) > 2 else None
    if role == "system":
        # Tells it from the top-level ``system``, which stands in the same place.
        extra = extra or {}
    return Message(role, blocks, extra=extra)


_TEXT = frozenset({"type", "text"})
_IMAGE = frozenset({"type", "source"})
_TOOL_USE = frozenset({"type", "id", "name", "input"})
_TOOL_RESULT = frozenset({"type", "tool_use_id", "content", "is_error"})
_THINKING = frozenset({"type", "thinking", "signature"})
_REDACTED = frozenset({"type", "data"})


def _block(value: object, at: str) -> Block:
    if not is_object(value):
        raise invalid(at, "must be an object")
    kind: object = value.get("type")
    if kind == "text":
        text = fields.string(value.get("text"), f"{at}.text")
        return Text(text) if len(value) == 2 else Text(text, without(value, _TEXT))
    if kind == "image":
        return _image(value)
    if kind == "tool_use":
        return ToolUse(
            fields.string(value.get("id"), f"{at}.id"),
            fields.string(value.get("name"), f"{at}.name"),
            _arguments(fields.obj(value.get("input"), f"{at}.input"), at),
            (without(value, _TOOL_USE) or None) if len(value) > 4 else None,
        )
    if kind == "tool_result":
        return _tool_result(value, at)
    if kind == "thinking":
        thought = fields.string(value.get("thinking"), f"{at}.thinking")
        signature = value.get("signature")
        signed = "" if signature is None else fields.string(signature, f"{at}.signature")
        return Thinking(thought, signed, extra=without(value, _THINKING) or None)
    if kind == "redacted_thinking" and value.get("data"):
        data = fields.string(value["data"], f"{at}.data")
        return Thinking(redacted=data, extra=without(value, _REDACTED) or None)
    fields.string(kind, f"{at}.type")
    return Opaque(NAME, value)


def _arguments(value: Json, at: str) -> str:
    try:
        return encode(value).decode()
    except (UnicodeEncodeError, RecursionError, OverflowError) as error:
        raise invalid(f"{at}.input", "must be plain JSON") from error


def _tool_result(value: Json, at: str) -> Block:
    identifier = fields.string(value.get("tool_use_id"), f"{at}.tool_use_id")
    content: object = value.get("content")
    parts: list[Text | Image | Opaque] = []
    if isinstance(content, str):
        parts.append(Text(content))
    elif content is not None:
        for position, item in enumerate(fields.array(content, f"{at}.content")):
            part = _block(item, f"{at}.content.{position}")
            parts.append(part if isinstance(part, Text | Image | Opaque) else Opaque(NAME, item))
    failed: object = value.get("is_error")
    is_error = failed is not None and fields.boolean(failed, f"{at}.is_error")
    return ToolResult(identifier, tuple(parts), is_error, without(value, _TOOL_RESULT) or None)


def _image(value: Json) -> Block:
    source: object = value.get("source")
    if is_object(source):
        extra = without(value, _IMAGE) or None
        if source.keys() == {"type", "media_type", "data"} and source["type"] == "base64":
            media, data = source["media_type"], source["data"]
            if isinstance(media, str) and isinstance(data, str) and (media or data):
                return Image(media_type=media, data=data, extra=extra)
        if source.keys() == {"type", "url"} and source["type"] == "url":
            url = source["url"]
            if isinstance(url, str) and url:
                return Image(url=url, extra=extra)
    return Opaque(NAME, value)
