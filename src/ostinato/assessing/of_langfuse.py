"""Exports of Langfuse: observations as its API and its exports give them (JSON, JSON lines, CSV).

A *generation* is a request: ``input`` holds its messages (a list, ``{"messages": ...}`` or a text), ``modelParameters``
its parameters, ``output`` the answer, ``usage`` or ``usageDetails`` the tokens. Names in camel or snake case.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from ostinato.assessing import moments
from ostinato.assessing.raw import Raw, Unusable, as_object, count, decoded, part, string
from ostinato.wire.model import Json

_GENERATION = "GENERATION"
_PARAMETERS = (
    "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "n", "frequency_penalty",
    "presence_penalty", "response_format", "tool_choice", "tools", "reasoning_effort", "logit_bias", "logprobs",
)  # fmt: skip
_CAMEL = {"maxTokens": "max_tokens", "topP": "top_p", "responseFormat": "response_format", "toolChoice": "tool_choice"}
_ROLES = {"human": "user", "ai": "assistant", "model": "assistant"}


def looks_like(record: Json) -> bool:
    """Whether this is an observation, a trace with its observations, or a page of either."""
    if isinstance(record.get("data"), list) or isinstance(record.get("observations"), list):
        return "model" not in record
    named = "traceId" in record or "trace_id" in record or "startTime" in record
    return "input" in record and (named or record.get("type") == _GENERATION) and "custom_id" not in record


def observations(record: Json, within: Mapping[str, Any] | None = None) -> Iterator[Json]:
    """The observations of a page, of a trace, or the one that this is; with what its trace knows."""
    for name in ("data", "observations"):
        listed = record.get(name)
        if isinstance(listed, list):
            trace = record if name == "observations" else within
            for one in cast("list[object]", listed):
                if isinstance(one, dict):
                    yield from observations(cast("Json", one), trace)
            return
    known = within or {}
    beside = {key: known[key] for key in ("userId", "user_id", "sessionId", "session_id") if known.get(key)}
    yield {**beside, **record} if beside else record


def read(record: Json, now: int) -> Raw:
    """One observation. Raises ``Unusable``."""
    kind = str(record.get("type") or _GENERATION).upper()
    if kind != _GENERATION:
        raise Unusable(f"it is no generation but of the type {kind[:20].lower()}")
    told = decoded(record.get("input"))
    if told in (None, "", [], {}):
        raise Unusable("it has no input: the texts were not recorded")
    model = string(record, "model", "providedModelName", "provided_model_name", "modelId")
    if not model:
        raise Unusable("it names no model")
    parameters = decoded(record.get("modelParameters") or record.get("model_parameters"))
    body: Json = {"model": model, "messages": _messages(told), **_chosen(parameters)}
    if isinstance(told, dict):
        body |= {name: told[name] for name in ("tools", "tool_choice", "response_format", "system") if name in told}
    status = 500 if str(record.get("level", "")).upper() == "ERROR" else 200
    answer, ended = (None, True) if status >= 400 else _answer(decoded(record.get("output")))
    usage = _usage(record)
    at = moments.of(record, now, ("startTime", "start_time", "timestamp", "createdAt", "created_at"))
    end = moments.of(record, now, ("endTime", "end_time"))
    if "system" in body:
        body["messages"] = [{"role": "system", "content": body.pop("system")}, *body["messages"]]
    if answer is not None:
        answer["model"] = model
        if usage:
            answer.setdefault("usage", usage)
    return Raw(
        wire="openai.chat",
        body=body,
        answer=answer,
        usage=usage,
        at=at,
        provider=_provider(model),
        user=string(record, "userId", "user_id"),
        session=string(record, "sessionId", "session_id"),
        status=status,
        us=max(0, end - at) if at and end else moments.duration(record),
        ended=ended,
    )


def _provider(model: str) -> str:
    return "anthropic" if model.startswith("claude") else ""


def _messages(told: Any) -> list[Any]:
    if isinstance(told, dict):
        inner = cast("Json", told)
        for name in ("messages", "input", "prompt"):
            if name in inner:
                return _messages(decoded(inner[name]))
        return [_message(inner)] if "role" in inner and "content" in inner else [_user(inner)]
    if isinstance(told, list):
        listed = cast("list[Any]", told)
        if listed and all(isinstance(one, dict) and "role" in one for one in listed):
            return [_message(cast("Json", one)) for one in listed]
        return [_user(cast("object", told))]
    return [{"role": "user", "content": str(told)}]


def _message(one: Json) -> Json:
    role = str(one.get("role", "user")).lower()
    kept = {name: value for name, value in one.items() if name in _OF_MESSAGE and value is not None}
    if role in ("user", "system", "developer") and not isinstance(kept.get("content"), str | list):
        kept["content"] = str(kept.get("content", ""))
    return {**kept, "role": _ROLES.get(role, role)}


_OF_MESSAGE = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal"})


def _user(told: object) -> Json:
    import json  # noqa: PLC0415 - rare

    return {"role": "user", "content": json.dumps(told, ensure_ascii=False, sort_keys=True)}


def _chosen(parameters: Any) -> Json:
    if not isinstance(parameters, dict):
        return {}
    found: Json = {}
    for name, value in cast("Json", parameters).items():
        known = _CAMEL.get(name, name)
        if known in _PARAMETERS and value not in (None, ""):
            found[known] = _number(value)
    return found


def _number(value: Any) -> Any:
    """Langfuse keeps parameters as texts, now and then."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return decoded(value)


def _answer(told: Any) -> tuple[Json | None, bool]:
    """OpenAI's shape of what was put out, and whether it says why it ended."""
    if told in (None, "", {}, []):
        return None, True
    if isinstance(told, dict):
        inner = cast("Json", told)
        if "choices" in inner:
            return dict(inner), True
        message = part(inner, "message") or inner
        if "content" in message or "tool_calls" in message:
            kept = {**_message(message), "role": "assistant"}
            if not isinstance(kept.get("content"), str | None):
                kept["content"] = _text(kept["content"])
            ended = message.get("finish_reason") or inner.get("finish_reason")
            guess = "tool_calls" if kept.get("tool_calls") else "stop"
            return _completion(kept, str(ended or guess)), bool(ended)
        told = _user(inner)["content"]
    if isinstance(told, list):
        listed = cast("list[Any]", told)
        if len(listed) == 1 and isinstance(listed[0], dict):
            return _answer(listed[0])
        told = _user(cast("object", told))["content"]
    return _completion({"role": "assistant", "content": str(told)}, "stop"), False


def _text(content: object) -> str:
    if isinstance(content, list):
        return "".join(
            str(cast("Json", one).get("text", "")) for one in cast("list[object]", content) if isinstance(one, dict)
        )
    return _user(content)["content"]


def _completion(message: Json, reason: str) -> Json:
    return {
        "id": "",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
    }


def _usage(record: Json) -> Json | None:
    details = as_object(decoded(record.get("usageDetails") or record.get("usage_details") or record.get("usage")))
    told = {**record, **details}
    cached = count(told, "input_cached_tokens", "cache_read_input_tokens", "input_cache_read")
    written = count(told, "cache_creation_input_tokens", "input_cache_creation")
    fresh = count(told, "input", "prompt_tokens", "promptTokens", "inputTokens", "input_tokens", "inputUsage")
    made = count(
        told, "output", "completion_tokens", "completionTokens", "outputTokens", "output_tokens", "outputUsage"
    )
    reasoned = count(told, "output_reasoning_tokens", "reasoning_tokens")
    if not fresh and not made:
        return None
    # Langfuse's buckets are disjoint; OpenAI's are not.
    return {
        "prompt_tokens": fresh + cached + written,
        "completion_tokens": made + reasoned,
        "total_tokens": fresh + cached + written + made + reasoned,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": reasoned},
    }
