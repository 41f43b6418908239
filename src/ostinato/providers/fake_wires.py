"""What the fake says, in the bytes of two wires. Written apart from ``wire``, so that one checks the other."""

from collections.abc import Iterator
from typing import Any

import msgspec

from ostinato.providers.fake_answers import Answered, error_body, finish, openai_usage
from ostinato.providers.fake_script import ERROR_KINDS, Script
from ostinato.wire.model import Json

_CREATED = 1_700_000_000
_ANTHROPIC_STOPS = {"length": "max_tokens", "tool_use": "tool_use", "refusal": "refusal", "content_filter": "refusal"}


def _sse(data: Json, event: str = "") -> bytes:
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + msgspec.json.encode(data) + b"\n\n"


# --- OpenAI -----------------------------------------------------------------------------------------------------


def openai_answer(script: Script, said: Answered, model: str) -> bytes:
    """A chat completion."""
    message: Json = {"role": "assistant", "content": "".join(said.text) or None, "refusal": None}
    if said.refusal:
        message["refusal"] = "".join(said.refusal)
    if said.reasoning:
        message["reasoning_content"] = "".join(said.reasoning)
    if said.tools:
        message["tool_calls"] = [
            {"id": identifier, "type": "function", "function": {"name": name, "arguments": "".join(parts)}}
            for identifier, name, parts in said.tools
        ]
    body: Json = {
        "id": f"chatcmpl-{said.digest[:24]}",
        "object": "chat.completion",
        "created": _CREATED,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish(script)[1]}],
        "system_fingerprint": "fp_fake",
    }
    if script.usage != "none":
        body["usage"] = openai_usage(said)
    return msgspec.json.encode(body)


def openai_stream(script: Script, said: Answered, model: str, *, include_usage: bool) -> Iterator[tuple[bytes, bool]]:
    """Events in order, and whether each holds a fragment of the answer (before which the script may pause or end)."""

    def chunk(delta: Json, reason: str | None = None) -> bytes:
        choice: Json = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return _sse({**frame, "choices": [choice], **({"usage": None} if include_usage else {})})

    frame: Json = {
        "id": f"chatcmpl-{said.digest[:24]}",
        "object": "chat.completion.chunk",
        "created": _CREATED,
        "model": model,
        "system_fingerprint": "fp_fake",
    }
    yield chunk({"role": "assistant", "content": ""}), False
    for fragment in said.reasoning:
        yield chunk({"reasoning_content": fragment}), True
    for fragment in said.text:
        yield chunk({"content": fragment}), True
    for fragment in said.refusal:
        yield chunk({"refusal": fragment}), True
    for index, (identifier, name, parts) in enumerate(said.tools):
        head: Json = {"index": index, "id": identifier, "type": "function", "function": {"name": name, "arguments": ""}}
        yield chunk({"tool_calls": [head]}), False
        for part in parts:
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]}), True
    yield chunk({}, finish(script)[1]), False
    if include_usage and script.usage != "none":
        yield _sse({**frame, "choices": [], "usage": openai_usage(said)}), False
    yield b"data: [DONE]\n\n", False


def openai_error(script: Script) -> bytes:
    return error_body(script)


def openai_ping() -> bytes:
    return b": keep-alive\n\n"


# --- Anthropic --------------------------------------------------------------------------------------------------


def anthropic_usage(said: Answered) -> Json:
    """Exclusive buckets, as Anthropic reports them; reasoning is part of the output there."""
    counts = said.counts
    return {
        "input_tokens": counts.input,
        "cache_creation_input_tokens": counts.cache_write,
        "cache_read_input_tokens": counts.cache_read,
        "output_tokens": counts.output + counts.reasoning,
    }


def _anthropic_stop(script: Script) -> str:
    return _ANTHROPIC_STOPS.get(finish(script)[0], "end_turn")


def anthropic_answer(script: Script, said: Answered, model: str) -> bytes:
    """A message."""
    content: list[Json] = []
    if said.reasoning:
        content.append({"type": "thinking", "thinking": "".join(said.reasoning), "signature": said.digest})
    if said.text or said.refusal:
        content.append({"type": "text", "text": "".join(said.text or said.refusal)})
    content.extend(
        {"type": "tool_use", "id": identifier, "name": name, "input": msgspec.json.decode("".join(parts))}
        for identifier, name, parts in said.tools
    )
    return msgspec.json.encode(
        {
            "id": f"msg_{said.digest[:24]}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": _anthropic_stop(script),
            "stop_sequence": None,
            "usage": anthropic_usage(said),
        }
    )


def anthropic_stream(script: Script, said: Answered, model: str) -> Iterator[tuple[bytes, bool]]:
    """As :func:`openai_stream`."""
    usage = anthropic_usage(said)
    message: Json = {
        "id": f"msg_{said.digest[:24]}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**usage, "output_tokens": 1},
    }
    yield _sse({"type": "message_start", "message": message}, "message_start"), False
    blocks: list[tuple[Json, str, str, tuple[str, ...]]] = []
    if said.reasoning:
        start: Json = {"type": "thinking", "thinking": "", "signature": ""}
        blocks.append((start, "thinking_delta", "thinking", said.reasoning))
    if said.text or said.refusal:
        blocks.append(({"type": "text", "text": ""}, "text_delta", "text", said.text or said.refusal))
    for identifier, name, parts in said.tools:
        start = {"type": "tool_use", "id": identifier, "name": name, "input": {}}
        blocks.append((start, "input_json_delta", "partial_json", parts))
    for index, (start, kind, field, fragments) in enumerate(blocks):
        yield _sse(_block("content_block_start", index, content_block=start), "content_block_start"), False
        for fragment in fragments:
            delta: Json = {"type": kind, field: fragment}
            yield _sse(_block("content_block_delta", index, delta=delta), "content_block_delta"), True
        if kind == "thinking_delta":
            signature: Json = {"type": "signature_delta", "signature": said.digest}
            yield _sse(_block("content_block_delta", index, delta=signature), "content_block_delta"), False
        yield _sse(_block("content_block_stop", index), "content_block_stop"), False
    ending: Json = {
        "type": "message_delta",
        "delta": {"stop_reason": _anthropic_stop(script), "stop_sequence": None},
        "usage": usage,
    }
    yield _sse(ending, "message_delta"), False
    yield _sse({"type": "message_stop"}, "message_stop"), False


def _block(kind: str, index: int, **more: Any) -> Json:
    return {"type": kind, "index": index, **more}


def anthropic_error(script: Script) -> bytes:
    kind = script.kind or ERROR_KINDS.get(script.status, ("", "api_error"))[1]
    error = {"type": kind, "message": f"The fake was told to fail with {script.status}."}
    return msgspec.json.encode({"type": "error", "error": error})


def anthropic_error_event(script: Script) -> bytes:
    error: Json = {"type": script.kind or "overloaded_error", "message": "The fake was told to fail."}
    return _sse({"type": "error", "error": error}, "error")


def anthropic_ping() -> bytes:
    return _sse({"type": "ping"}, "ping")
