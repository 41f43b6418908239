"""A Chat Completions body, read into the canonical request.

Canonicalisation is injective but for what the API itself calls equal: ``null`` and a missing field, a string and an
array with one plain text part, ``1`` and ``1.0``. What has not exactly a known shape stays verbatim, as ``Opaque`` or
in ``extra``.
"""

from collections.abc import Mapping
from typing import Any, Literal

from ostinato.wire import fields
from ostinato.wire.fields import invalid
from ostinato.wire.jsons import is_array, is_integer, is_object, without
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
from ostinato.wire.translation import split_data_url

NAME = "openai.chat"

_KNOWN = frozenset(
    {
        "model",
        "messages",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "response_format",
        "reasoning_effort",
        "stream",
        "stream_options",
        "user",
        "prompt",
        "n",
    }
)
_PLAIN_ROLES: Mapping[str, Literal["user", "system", "developer"]] = {
    "user": "user",
    "system": "system",
    "developer": "developer",
}
_SAYING_ROLES: Mapping[str, Literal["user", "system", "developer", "assistant"]] = {
    **_PLAIN_ROLES,
    "assistant": "assistant",
}
"""Roles whose message is a single text, where it holds nothing but that."""
_MESSAGE = frozenset({"role", "content", "name"})
_TOOL_MESSAGE = _MESSAGE | {"tool_call_id"}
_ASSISTANT = _MESSAGE | {"tool_calls", "reasoning_content"}
_NULLABLE = frozenset({"refusal", "audio", "function_call"})
"""The SDK's own message objects carry these as ``null``; that says nothing."""
_TOOL = frozenset({"type", "function"})
_FUNCTION = frozenset({"name", "description", "parameters", "strict"})
_CALL = frozenset({"id", "type", "function"})


def read_request(body: Json) -> ChatRequest:
    """Raises ``Invalid`` naming the field that is wrong; never anything else, whatever the body holds."""
    prompt = fields.prompt(body)
    model = fields.model(body)
    items = fields.messages(body)
    messages = tuple([_message(item, index) for index, item in enumerate(items)])
    extra = {key: value for key, value in body.items() if key not in _KNOWN}
    if extra:
        _check_extra(extra)
    get = body.get
    tools = get("tools")
    choice, top_k, options = get("tool_choice"), get("top_k"), get("stream_options")
    temperature = get("temperature")
    top_p = get("top_p")
    parallel = get("parallel_tool_calls")
    stop = get("stop")
    response_format = get("response_format")
    effort = get("reasoning_effort")
    user = get("user")
    if get("n") is not None and fields.integer(get("n"), "n", 1, 1 << 31) > 1:
        raise invalid("n", "must be 1", "Send one request for each answer that you want.")
    return ChatRequest(
        model=model,
        messages=messages,
        tools=() if tools is None else tuple([_tool(t, i) for i, t in enumerate(fields.array(tools, "tools"))]),
        tool_choice=None if choice is None else _tool_choice(choice, extra),
        parallel_tool_calls=None if parallel is None else fields.boolean(parallel, "parallel_tool_calls"),
        temperature=None if temperature is None else fields.number(temperature, "temperature", 0, 2),
        top_p=None if top_p is None else fields.number(top_p, "top_p", 0, 1),
        top_k=None if top_k is None else _top_k(top_k, extra),
        max_tokens=_max_tokens(body, extra),
        stop=() if stop is None else fields.stops(stop, "stop"),
        response_format=None if response_format is None else _response_format(response_format),
        reasoning=None if effort is None else {"effort": fields.string(effort, "reasoning_effort")},
        extra={NAME: extra} if extra else None,
        wire=NAME,
        stream=fields.stream(body),
        include_usage=options is not None and _include_usage(options),
        user=None if user is None else fields.string(user, "user"),
        prompt=prompt,
        original=body,
    )


def _check_extra(extra: Json) -> None:
    """The types of fields that travel on verbatim but are no secret."""
    for key in ("frequency_penalty", "presence_penalty"):
        if extra.get(key) is not None:
            fields.number(extra[key], key, -2, 2)
    if extra.get("seed") is not None:
        fields.integer(extra["seed"], "seed", -(1 << 63), (1 << 64) - 1)
    if extra.get("logprobs") is not None:
        fields.boolean(extra["logprobs"], "logprobs")
    if extra.get("top_logprobs") is not None:
        fields.integer(extra["top_logprobs"], "top_logprobs", 0, 20)
    for key in ("logit_bias", "metadata"):
        if extra.get(key) is not None:
            fields.obj(extra[key], key)


def _max_tokens(body: Json, extra: Json) -> int | None:
    newer = body.get("max_completion_tokens")
    older = body.get("max_tokens")
    if older is not None:
        older = fields.integer(older, "max_tokens", 1, fields.MAX_TOKENS)
    if newer is None:
        return older
    # Kept apart from max_tokens: a provider that knows only one of them answers differently.
    extra["max_completion_tokens"] = fields.integer(newer, "max_completion_tokens", 1, fields.MAX_TOKENS)
    if older is not None:
        extra["max_tokens"] = older
    return newer


def _top_k(value: object, extra: Json) -> int | None:
    if is_integer(value) and value >= 0:
        return fields.integer(value, "top_k", 0, fields.MAX_TOKENS)
    # Not OpenAI's own; look-alikes take -1 for "off".
    extra["top_k"] = value
    return None


def _include_usage(value: object) -> bool:
    asked = fields.obj(value, "stream_options").get("include_usage")
    return asked is not None and fields.boolean(asked, "stream_options.include_usage")


def _response_format(value: object) -> Json:
    form = fields.obj(value, "response_format")
    kind: object = form.get("type")
    fields.string(kind, "response_format.type")
    if kind == "json_schema":
        fields.obj(form.get("json_schema"), "response_format.json_schema")
    return form


def _tool_choice(value: object, extra: Json) -> ToolChoice | None:
    if value == "auto":
        return ToolChoice("auto")
    if value == "none":
        return ToolChoice("none")
    if value == "required":
        return ToolChoice("required")
    if not is_object(value):
        raise invalid("tool_choice", "must be auto, none, required or an object")
    kind: object = value.get("type")
    if kind != "function":
        fields.string(kind, "tool_choice.type")
        extra["tool_choice"] = value
        return None
    function = fields.obj(value.get("function"), "tool_choice.function")
    name = fields.string(function.get("name"), "tool_choice.function.name")
    if len(value) > 2 or len(function) > 1:
        extra["tool_choice"] = value
        return None
    return ToolChoice("named", name)


def _tool(value: object, index: int) -> Tool:
    if not is_object(value):
        raise invalid(f"tools.{index}", "must be an object")
    kind: object = value.get("type")
    if kind != "function":
        fields.string(kind, f"tools.{index}.type")
        return Tool("", opaque=Opaque(NAME, value))
    at = f"tools.{index}.function"
    function = fields.obj(value.get("function"), at)
    name = fields.string(function.get("name"), f"{at}.name")
    description = function.get("description")
    schema = function.get("parameters")
    strict = function.get("strict")
    extra = without(value, _TOOL) if len(value) > 2 else {}
    if rest := without(function, _FUNCTION):
        extra["function"] = rest
    return Tool(
        name=name,
        description="" if description is None else fields.string(description, f"{at}.description"),
        schema=None if schema is None else fields.obj(schema, f"{at}.parameters"),
        strict=None if strict is None else fields.boolean(strict, f"{at}.strict"),
        extra=extra or None,
    )


# --- messages ----------------------------------------------------------------------------------------------------


def _message(value: object, index: int) -> Message:
    if not is_object(value):
        raise invalid(f"messages.{index}", "must be an object")
    role: object = value.get("role")
    content: object = value.get("content")
    if type(role) is str and type(content) is str and len(value) == 2:
        said = _SAYING_ROLES.get(role)
        if said is not None:
            return Message(said, (Text(content),))
    plain = _PLAIN_ROLES.get(role) if isinstance(role, str) else None
    if plain is not None:
        blocks = _content(content, index)
        return Message(plain, blocks, _name(value, index), without(value, _MESSAGE) or None)
    if role == "assistant":
        return _assistant(value, index)
    if role == "tool":
        call = fields.string(value.get("tool_call_id"), f"messages.{index}.tool_call_id")
        parts: Any = () if content is None else _content(content, index)
        extra = without(value, _TOOL_MESSAGE) or None
        return Message("tool", (ToolResult(call, parts),), _name(value, index), extra)
    if role == "function":
        return Message("tool", (Opaque(NAME, {"message": value}),))
    if not isinstance(role, str):
        raise invalid(f"messages.{index}.role", "must be a string")
    raise invalid(f"messages.{index}.role", "must be system, developer, user, assistant, tool or function")


def _name(value: Json, index: int) -> str:
    name = value.get("name")
    return "" if name is None else fields.string(name, f"messages.{index}.name")


def _assistant(value: Json, index: int) -> Message:
    blocks: list[Block] = []
    reasoning = value.get("reasoning_content")
    if reasoning is not None:
        blocks.append(Thinking(fields.string(reasoning, f"messages.{index}.reasoning_content")))
    content: object = value.get("content")
    if content is not None:
        blocks.extend(_content(content, index))
    calls = value.get("tool_calls")
    if calls is not None:
        for position, call in enumerate(fields.array(calls, f"messages.{index}.tool_calls")):
            blocks.append(_call(call, f"messages.{index}.tool_calls.{position}"))
    if value.get("function_call") is not None:
        blocks.append(Opaque(NAME, {"function_call": value["function_call"]}))
    extra: Json = {}
    for key, item in value.items():
        if key not in _ASSISTANT and key != "function_call" and (item is not None or key not in _NULLABLE):
            extra[key] = item
    return Message("assistant", tuple(blocks), _name(value, index), extra or None)


def _call(value: object, at: str) -> Block:
    call = fields.obj(value, at)
    kind: object = call.get("type", "function")
    if kind != "function":
        fields.string(kind, f"{at}.type")
        return Opaque(NAME, {"tool_call": call})
    function = fields.obj(call.get("function"), f"{at}.function")
    identifier = fields.string(call.get("id"), f"{at}.id")
    name = fields.string(function.get("name"), f"{at}.function.name")
    arguments = fields.string(function.get("arguments"), f"{at}.function.arguments")
    extra = without(call, _CALL) if len(call) > 3 else {}
    if len(function) > 2:
        extra["function"] = without(function, _FUNCTION_CALL)
    return ToolUse(identifier, name, arguments, extra or None)


_FUNCTION_CALL = frozenset({"name", "arguments"})


def _content(content: object, index: int) -> tuple[Block, ...]:
    if isinstance(content, str):
        return (Text(content),)
    if not is_array(content):
        problem = "is missing" if content is None else "must be a string or an array of parts"
        raise invalid(f"messages.{index}.content", problem)
    return tuple([_part(part, index, position) for position, part in enumerate(content)])


def _part(part: object, index: int, position: int) -> Block:
    if not is_object(part):
        raise invalid(f"messages.{index}.content.{position}", "must be an object")
    kind: object = part.get("type")
    if kind == "text":
        text: object = part.get("text")
        if not isinstance(text, str):
            raise invalid(f"messages.{index}.content.{position}.text", "must be a string")
        return Text(text) if len(part) == 2 else Text(text, without(part, _TEXT_PART))
    if kind == "image_url":
        return _image(part)
    if not isinstance(kind, str):
        raise invalid(f"messages.{index}.content.{position}.type", "must be a string")
    return Opaque(NAME, part)


_TEXT_PART = frozenset({"type", "text"})
_IMAGE_PART = frozenset({"type", "image_url"})


def _image(part: Json) -> Block:
    image: object = part.get("image_url")
    if not is_object(image) or not isinstance(image.get("url"), str) or not image["url"]:
        return Opaque(NAME, part)
    detail: object = image.get("detail", "")
    if not isinstance(detail, str) or len(image) > 2 or (len(image) == 2 and not detail):
        return Opaque(NAME, part)
    url: str = image["url"]
    extra = without(part, _IMAGE_PART) or None
    if data := split_data_url(url):
        return Image(media_type=data[0], data=data[1], detail=detail, extra=extra)
    return Image(url=url, detail=detail, extra=extra)
