"""Spans of OpenTelemetry's GenAI conventions: OTLP as JSON (files of the collector, an export per line), or span by
span as SDKs print them.

Texts are in ``gen_ai.input.messages`` and ``gen_ai.output.messages`` (attributes, or of the event
``gen_ai.client.inference.operation.details``), in the events of older conventions (``gen_ai.user.message``,
``gen_ai.content.prompt``, ``gen_ai.choice``), or in OpenLLMetry's ``gen_ai.prompt.0.content``. Spans without texts
cannot be replayed, and are said to be so.
"""

import json
from collections.abc import Iterator
from typing import Any, cast

from ostinato.assessing import moments
from ostinato.assessing.raw import Raw, Unusable, as_list, count, decoded, part, string
from ostinato.traces import semconv
from ostinato.wire.model import Json

_CHATS = frozenset({"chat", "text_completion", "generate_content", "completion"})
_PARAMETERS = {
    "gen_ai.request.temperature": "temperature",
    "gen_ai.request.top_p": "top_p",
    "gen_ai.request.max_tokens": "max_tokens",
    "gen_ai.request.seed": "seed",
    "gen_ai.request.choice.count": "n",
    "gen_ai.request.stop_sequences": "stop",
    "gen_ai.request.frequency_penalty": "frequency_penalty",
    "gen_ai.request.presence_penalty": "presence_penalty",
}
_FINISH = {"stop": "stop", "length": "length", "max_tokens": "length", "content_filter": "content_filter",
           "tool_call": "tool_calls", "tool_calls": "tool_calls", "tool_use": "tool_calls", "end_turn": "stop",
           "stop_sequence": "stop", "error": "error"}  # fmt: skip
_EVENTS = {
    "gen_ai.system.message": "system",
    "gen_ai.user.message": "user",
    "gen_ai.assistant.message": "assistant",
    "gen_ai.tool.message": "tool",
}


def looks_like(record: Json) -> bool:
    """Whether this is an export of spans, or a span of the GenAI conventions."""
    if "resourceSpans" in record or "resource_spans" in record or "scopeSpans" in record:
        return True
    attributes: object = record.get("attributes")
    if isinstance(attributes, dict):
        return any(str(name).startswith("gen_ai.") for name in cast("Json", attributes))
    return any("gen_ai." in str(one.get("key", "")) for one in _dicts(attributes))


def spans(record: Json) -> Iterator[Json]:
    """All spans of an export; or the one that this is."""
    outer = record.get("resourceSpans", record.get("resource_spans"))
    if outer is None and "scopeSpans" not in record:
        yield record
        return
    for resource in _dicts(outer) if outer is not None else [record]:
        for scope in _dicts(resource.get("scopeSpans", resource.get("scope_spans"))):
            yield from _dicts(scope.get("spans"))


def read(span: Json, now: int) -> Raw | None:
    """One span; ``None``: it is of something else. Raises ``Unusable`` for one that cannot be replayed."""
    said = _attributes(span)
    if not any(name.startswith(("gen_ai.", "llm.")) for name in said):
        return None
    events = [(str(one.get("name", "")), _attributes(one)) for one in _dicts(span.get("events"))]
    for _, more in events:
        said = {**more, **said}
    operation = string(said, semconv.OPERATION, "llm.request.type")
    if operation and operation not in _CHATS:
        if operation == "embeddings":
            raise Unusable("it is a request for vectors, not a chat")
        return None
    model = string(said, semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL)
    if not model:
        raise Unusable("it names no model")
    messages = _asked(said, events)
    if not messages:
        raise Unusable("its texts were not recorded (gen_ai.input.messages)")
    body: Json = {"model": model, "messages": messages}
    for name, known in _PARAMETERS.items():
        if said.get(name) is not None:
            body[known] = said[name]
    tools = decoded(said.get("gen_ai.tool.definitions"))
    if isinstance(tools, list) and tools:
        body["tools"] = [_tool(one) for one in _dicts(cast("object", tools))]
    if said.get("gen_ai.output.type") == "json":
        body["response_format"] = {"type": "json_object"}
    code = part(span, "status").get("code", 0)
    failed = code in (2, "STATUS_CODE_ERROR", "ERROR") or bool(said.get(semconv.ERROR_TYPE))
    at, us = _times(span, now)
    usage = _usage(said)
    answer, ended = (None, True) if failed else _answered(said, events)
    if answer is not None:
        answer["model"] = string(said, semconv.RESPONSE_MODEL) or model
        if usage:
            answer["usage"] = usage
    return Raw(
        wire="openai.chat",
        body=body,
        answer=answer,
        usage=usage,
        at=at,
        provider=string(said, semconv.PROVIDER, "gen_ai.system").split(".")[0],
        user=string(said, "enduser.id", "user.id", "enduser.pseudo.id"),
        session=string(said, semconv.CONVERSATION, "session.id"),
        status=500 if failed else 200,
        us=us,
        ended=ended,
    )


def _times(span: Json, now: int) -> tuple[int, int]:
    at = moments.of(span, now, ("startTimeUnixNano", "start_time_unix_nano", "start_time", "startTime"))
    end = moments.of(span, now, ("endTimeUnixNano", "end_time_unix_nano", "end_time", "endTime"))
    return at, max(0, end - at) if at and end else 0


def _dicts(value: object) -> list[Json]:
    return [cast("Json", one) for one in as_list(value) if isinstance(one, dict)]


def _attributes(span: Json) -> Json:
    """Attributes as a plain object, whether they are one or a list of keys with typed values."""
    found = span.get("attributes")
    if isinstance(found, dict):
        return cast("Json", found)
    return {str(one.get("key", "")): _value(one.get("value")) for one in _dicts(found)}


def _value(value: object) -> Any:
    if not isinstance(value, dict):
        return value
    told = cast("Json", value)
    if "intValue" in told:
        number = told["intValue"]
        return int(number) if isinstance(number, str) and number.lstrip("-").isdigit() else number
    for name in ("stringValue", "doubleValue", "boolValue"):
        if name in told:
            return told[name]
    if "arrayValue" in told:
        return [_value(one) for one in _dicts(part(told, "arrayValue").get("values"))]
    if "kvlistValue" in told:
        return {
            str(one.get("key", "")): _value(one.get("value")) for one in _dicts(part(told, "kvlistValue").get("values"))
        }
    return None


# -- what was asked ------------------------------------------------------------------------------------------------


def _asked(said: Json, events: list[tuple[str, Json]]) -> list[Json]:
    told = decoded(said.get("gen_ai.input.messages"))
    if isinstance(told, list) and told:
        system = decoded(said.get("gen_ai.system_instructions"))
        first = [{"role": "system", "content": _joined(cast("object", system))}] if system else []
        return [*first, *(one for message in _dicts(cast("object", told)) for one in _messages(message))]
    found = _numbered(said, "gen_ai.prompt.")
    if found:
        return [{"role": str(one.get("role", "user")), "content": str(one.get("content", ""))} for one in found]
    for _, more in events:
        prompt = decoded(more.get("gen_ai.prompt"))
        if isinstance(prompt, list) and prompt:
            return [one for message in _dicts(cast("object", prompt)) for one in _messages(message)]
        if isinstance(prompt, str) and prompt:
            return [{"role": "user", "content": prompt}]
    return [
        {"role": _EVENTS[name], "content": str(more.get("content", ""))} | _called(more)
        for name, more in events
        if name in _EVENTS and ("content" in more or "tool_calls" in more)
    ]


def _called(more: Json) -> Json:
    """What a message of the older conventions says of tools."""
    found: Json = {}
    if "id" in more:
        found["tool_call_id"] = str(more["id"])
    calls = decoded(more.get("tool_calls"))
    if isinstance(calls, list) and calls:
        found["tool_calls"] = calls
    return found


def _numbered(said: Json, prefix: str) -> list[Json]:
    """OpenLLMetry's ``gen_ai.prompt.0.content`` and so on, as a list."""
    found: dict[int, Json] = {}
    for name, value in said.items():
        if name.startswith(prefix):
            number, _, field = name[len(prefix) :].partition(".")
            if number.isdigit() and field:
                found.setdefault(int(number), {})[field] = value
    return [found[number] for number in sorted(found)]


def _messages(message: Json) -> list[Json]:
    """A message of the conventions (``role`` and ``parts``) in OpenAI's shape: results of tools are messages there."""
    role = str(message.get("role", "user"))
    parts = _dicts(message.get("parts"))
    if not parts:
        content = message.get("content")
        kept = {name: message[name] for name in ("tool_calls", "tool_call_id", "name") if message.get(name)}
        return [{"role": role, "content": content if isinstance(content, str | list) else str(content or ""), **kept}]
    texts = [str(one.get("content", "")) for one in parts if one.get("type") == "text"]
    calls = [_call(one) for one in parts if one.get("type") == "tool_call"]
    results = [one for one in parts if one.get("type") == "tool_call_response"]
    others = [one for one in parts if one.get("type") not in ("text", "tool_call", "tool_call_response", "reasoning")]
    found: list[Json] = [
        {
            "role": "tool",
            "tool_call_id": str(one.get("id", "")),
            "content": _written(one.get("response", one.get("result"))),
        }
        for one in results
    ]
    if texts or calls or others:
        # Pictures and the like are told apart by what they hold, whatever the provider would have been sent.
        more = [_written(one) for one in others]
        told: Json = {"role": role, "content": "".join((*texts, *more))}
        found.append(told | {"tool_calls": calls} if calls else told)
    return found


def _call(one: Json) -> Json:
    arguments = one.get("arguments")
    written = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
    return {
        "id": str(one.get("id") or "call"),
        "type": "function",
        "function": {"name": str(one.get("name", "")), "arguments": written},
    }


def _tool(one: Json) -> Json:
    if "function" in one:
        return one
    described = {name: one[name] for name in ("name", "description", "parameters") if name in one}
    return {"type": "function", "function": described}


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def _joined(parts: object) -> str:
    if isinstance(parts, str):
        return parts
    return "\n".join(str(one.get("content", "")) for one in _dicts(parts))


# -- what was answered ---------------------------------------------------------------------------------------------


def _answered(said: Json, events: list[tuple[str, Json]]) -> tuple[Json | None, bool]:
    """The answer in OpenAI's shape, and whether it says why it ended."""
    told = decoded(said.get("gen_ai.output.messages"))
    reasons: object = said.get(semconv.FINISH_REASONS)
    first = next(iter(as_list(reasons)), None) or (reasons if isinstance(reasons, str) else None)
    if isinstance(told, list) and told:
        outer = _dicts(cast("object", told))
        if outer:
            message = next(iter(_messages({**outer[0], "role": "assistant"})), None)
            return _completion(message, outer[0].get("finish_reason") or first)
    found = _numbered(said, "gen_ai.completion.")
    if found:
        message = {"role": "assistant", "content": str(found[0].get("content", ""))}
        return _completion(message, found[0].get("finish_reason") or first)
    for name, more in events:
        if name == "gen_ai.choice":
            inner = decoded(more.get("message"))
            outer_message = {"role": "assistant", **(cast("Json", inner) if isinstance(inner, dict) else {})}
            outer_message.setdefault("content", str(more.get("content", "")))
            return _completion(outer_message, more.get("finish_reason") or first)
        completion = decoded(more.get("gen_ai.completion"))
        if isinstance(completion, list) and _dicts(cast("object", completion)):
            message = next(iter(_messages({**_dicts(cast("object", completion))[0], "role": "assistant"})), None)
            return _completion(message, first)
        if isinstance(completion, str) and completion:
            return _completion({"role": "assistant", "content": completion}, first)
    return None, True


def _completion(message: Json | None, reason: object) -> tuple[Json | None, bool]:
    if message is None:
        return None, True
    guess = "tool_calls" if message.get("tool_calls") else "stop"
    ended = _FINISH.get(str(reason).lower(), "") if reason else guess
    choice = {"index": 0, "message": {**message, "role": "assistant"}, "finish_reason": ended or str(reason)[:40]}
    return {"id": "", "object": "chat.completion", "choices": [choice]}, bool(reason)


def _usage(said: Json) -> Json | None:
    asked = count(said, semconv.INPUT_TOKENS, "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens")
    made = count(said, semconv.OUTPUT_TOKENS, "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens")
    if not asked and not made:
        return None
    # The conventions count what was cached, and what was reasoned, within these two.
    return {
        "prompt_tokens": asked,
        "completion_tokens": made,
        "total_tokens": asked + made,
        "prompt_tokens_details": {
            "cached_tokens": count(said, semconv.CACHE_READ_TOKENS, "gen_ai.usage.cache_read_input_tokens"),
            "cache_write_tokens": count(said, semconv.CACHE_WRITE_TOKENS, "gen_ai.usage.cache_creation_input_tokens"),
        },
        "completion_tokens_details": {"reasoning_tokens": count(said, semconv.REASONING_TOKENS)},
    }
