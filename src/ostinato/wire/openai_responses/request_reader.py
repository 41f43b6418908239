"""A Responses body, read into the canonical request: the stateless part of the API.

What needs a memory of earlier answers (``store``, ``previous_response_id``, ``conversation``, ``background``,
references to items) or runs tools on the server is refused, naming the way out. A missing ``store`` is no wish: the SDK
sends none.
"""

from typing import Any, Literal

from ostinato.wire import fields
from ostinato.wire.fields import invalid
from ostinato.wire.jsons import is_array, is_object, without
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

NAME = "openai.responses"

SIGNED = "anthropic.messages:"
"""Before an Anthropic signature in ``encrypted_content``: it comes back with the next turn and goes to Anthropic."""

_KNOWN = frozenset(
    {
        "model",
        "input",
        "instructions",
        "max_output_tokens",
        "temperature",
        "top_p",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "text",
        "stream",
        "stream_options",
        "user",
        "prompt",
        "store",
        "background",
        "previous_response_id",
        "conversation",
    }
)
_WHOLE = "Send the whole conversation in `input`."
_STATE = {
    "store": f"Answers are not kept here: leave `store` out or send false. {_WHOLE}",
    "background": "Leave `background` out and stream the answer.",
    "previous_response_id": _WHOLE,
    "conversation": _WHOLE,
}
_TOOL = frozenset({"type", "name", "description", "parameters", "strict"})
_ROLES: dict[str, Literal["user", "assistant", "system", "developer"]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "developer",
}


def read_request(body: Json) -> ChatRequest:
    """Raises ``Invalid`` naming the field that is wrong, or needs a state that is not kept."""
    get = body.get
    for key, hint in _STATE.items():
        if get(key) is not None and get(key) is not False:
            raise invalid(key, "is not supported", hint)
    prompt = fields.prompt(body)
    model = _model(body, prompt)
    messages: list[Message] = []
    instructions = get("instructions")
    if instructions is not None:
        messages.append(Message("system", (Text(fields.string(instructions, "instructions")),)))
    messages.extend(_input(body, prompt is not None or model.startswith("prompt:")))
    extra = {key: value for key, value in body.items() if key not in _KNOWN}
    temperature = get("temperature")
    top_p = get("top_p")
    parallel = get("parallel_tool_calls")
    limit = get("max_output_tokens")
    tools = get("tools")
    user = get("user")
    if get("stream_options") is not None:
        fields.obj(get("stream_options"), "stream_options")
    return ChatRequest(
        model=model,
        messages=tuple(messages),
        tools=() if tools is None else tuple([_tool(t, i) for i, t in enumerate(fields.array(tools, "tools"))]),
        tool_choice=_tool_choice(get("tool_choice"), extra),
        parallel_tool_calls=None if parallel is None else fields.boolean(parallel, "parallel_tool_calls"),
        temperature=None if temperature is None else fields.number(temperature, "temperature", 0, 2),
        top_p=None if top_p is None else fields.number(top_p, "top_p", 0, 1),
        max_tokens=None if limit is None else fields.integer(limit, "max_output_tokens", 1, fields.MAX_TOKENS),
        response_format=_format(get("text"), extra),
        reasoning=_reasoning(get("reasoning"), extra),
        user=None if user is None else fields.string(user, "user"),
        extra={NAME: extra} if extra else None,
        wire=NAME,
        stream=fields.stream(body),
        include_usage=True,
        prompt=prompt,
        original=body,
    )


def _model(body: Json, prompt: Json | None) -> str:
    """The model; a stored prompt may be named instead."""
    if body.get("model") is not None or prompt is None:
        return fields.model(body)
    name = fields.string(prompt.get("id"), "prompt.id")
    version = prompt.get("version")
    return f"prompt:{name}" if version is None else f"prompt:{name}@{fields.string(version, 'prompt.version')}"


def _input(body: Json, prompted: bool) -> list[Message]:
    value = body.get("input")
    if isinstance(value, str):
        return [Message("user", (Text(value),))]
    if value is None or value == []:
        if prompted:
            return []
        raise invalid("input", "must hold at least one item")
    return [_item(item, index) for index, item in enumerate(fields.array(value, "input"))]


def _reasoning(value: object, extra: Json) -> Json | None:
    if value is None:
        return None
    config = dict(fields.obj(value, "reasoning"))
    effort: object = config.pop("effort", None)
    if config:
        extra["reasoning"] = config
    return None if effort is None else {"effort": fields.string(effort, "reasoning.effort")}


def _format(value: object, extra: Json) -> Json | None:
    if value is None:
        return None
    config = dict(fields.obj(value, "text"))
    form: object = config.pop("format", None)
    if config:
        extra["text"] = config
    if form is None:
        return None
    form = fields.obj(form, "text.format")
    kind = fields.string(form.get("type"), "text.format.type")
    if kind != "json_schema":
        return form
    fields.obj(form.get("schema"), "text.format.schema")
    return {"type": "json_schema", "json_schema": {key: item for key, item in form.items() if key != "type"}}


def _tool(value: object, index: int) -> Tool:
    if not is_object(value):
        raise invalid(f"tools.{index}", "must be an object")
    kind = fields.string(value.get("type"), f"tools.{index}.type")
    if kind == "custom":
        return Tool("", opaque=Opaque(NAME, value))
    if kind != "function":
        raise invalid(
            f"tools.{index}",
            f"is a hosted tool ({kind[:64]}), and those are not run here",
            "Declare a function and run it yourself, or use Chat Completions with a provider that offers the tool.",
        )
    at = f"tools.{index}"
    description = value.get("description")
    schema = value.get("parameters")
    strict = value.get("strict")
    return Tool(
        name=fields.string(value.get("name"), f"{at}.name"),
        description="" if description is None else fields.string(description, f"{at}.description"),
        schema=None if schema is None else fields.obj(schema, f"{at}.parameters"),
        strict=None if strict is None else fields.boolean(strict, f"{at}.strict"),
        extra=without(value, _TOOL) or None,
    )


def _tool_choice(value: object, extra: Json) -> ToolChoice | None:
    if value is None:
        return None
    if value in ("auto", "none", "required"):
        mode: Any = value
        return ToolChoice(mode)
    if not is_object(value):
        raise invalid("tool_choice", "must be auto, none, required or an object")
    kind = fields.string(value.get("type"), "tool_choice.type")
    if kind != "function" or len(value) > 2:
        extra["tool_choice"] = value
        return None
    return ToolChoice("named", fields.string(value.get("name"), "tool_choice.name"))


# --- items -------------------------------------------------------------------------------------------------------

_MESSAGE = frozenset({"type", "role", "content"})
_CALL = frozenset({"type", "call_id", "name", "arguments"})
_OUTPUT = frozenset({"type", "call_id", "output"})


def _item(value: object, index: int) -> Message:
    if not is_object(value):
        raise invalid(f"input.{index}", "must be an object")
    at = f"input.{index}"
    kind: object = value.get("type", "message")
    if kind == "message":
        role = _ROLES.get(fields.string(value.get("role"), f"{at}.role"))
        if role is None:
            raise invalid(f"{at}.role", "must be user, assistant, system or developer")
        extra = without(value, _MESSAGE)
        blocks = _content(value.get("content"), f"{at}.content", "output_text" if role == "assistant" else "input_text")
        # An empty ``extra`` tells a system item from ``instructions``, which stand in the same place.
        return Message(role, blocks, extra=extra if extra or role == "system" else None)
    if kind == "function_call":
        call = ToolUse(
            fields.string(value.get("call_id"), f"{at}.call_id"),
            fields.string(value.get("name"), f"{at}.name"),
            fields.string(value.get("arguments"), f"{at}.arguments"),
            without(value, _CALL) or None,
        )
        return Message("assistant", (call,))
    if kind == "function_call_output":
        identifier = fields.string(value.get("call_id"), f"{at}.call_id")
        parts: Any = _content(value.get("output"), f"{at}.output", "input_text")
        return Message("tool", (ToolResult(identifier, parts, extra=without(value, _OUTPUT) or None),))
    if kind == "reasoning":
        return Message("assistant", (_thinking(value),))
    if kind == "item_reference" or kind is None:
        raise invalid(at, "refers to an item that is not kept here", _WHOLE)
    fields.string(kind, f"{at}.type")
    return Message("assistant", (Opaque(NAME, {"item": value}),))


def _thinking(item: Json) -> Block:
    texts: list[str] = []
    summary: object = item.get("summary")
    if is_array(summary):
        texts.extend(part["text"] for part in summary if is_object(part) and isinstance(part.get("text"), str))
    sealed: object = item.get("encrypted_content")
    signature = sealed[len(SIGNED) :] if isinstance(sealed, str) and sealed.startswith(SIGNED) else ""
    return Thinking("\n\n".join(texts), signature, extra={"item": item})


def _content(value: object, at: str, plain: str) -> tuple[Block, ...]:
    if isinstance(value, str):
        return (Text(value),)
    if not is_array(value):
        raise invalid(at, "is missing" if value is None else "must be a string or an array of parts")
    return tuple([_part(item, f"{at}.{index}", plain) for index, item in enumerate(value)])


def _part(value: object, at: str, plain: str) -> Block:
    if not is_object(value):
        raise invalid(at, "must be an object")
    kind = fields.string(value.get("type"), f"{at}.type")
    if kind in ("input_text", "output_text", "text", "refusal"):
        field = "refusal" if kind == "refusal" else "text"
        text = fields.string(value.get(field), f"{at}.{field}")
        extra = {key: item for key, item in value.items() if key != field and (key != "type" or item != plain)}
        return Text(text, extra or None)
    if kind == "input_image":
        url: object = value.get("image_url")
        detail: object = value.get("detail", "")
        if isinstance(url, str) and url and isinstance(detail, str) and (detail or "detail" not in value):
            extra = {key: item for key, item in value.items() if key not in ("type", "image_url", "detail")}
            if data := split_data_url(url):
                return Image(media_type=data[0], data=data[1], detail=detail, extra=extra or None)
            return Image(url=url, detail=detail, extra=extra or None)
    return Opaque(NAME, value)
