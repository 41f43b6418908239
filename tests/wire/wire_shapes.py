"""Answers in the shapes that providers really send, written by hand after their public documentation."""

import json
from typing import Any

from hypothesis import settings

from ostinato import wire

few = settings(max_examples=8, deadline=None)
many = settings(max_examples=60, deadline=None)
"""For properties that run once for each recorded shape, and for those that run once."""

IDENTITY = wire.Identity(id="0123456789abcdef0123456789abcdef", created=1_760_000_777, model="support-small")
CHAT = wire.codec("openai.chat")
MESSAGES = wire.codec("anthropic.messages")
RESPONSES = wire.codec("openai.responses")
ALL = (CHAT, MESSAGES, RESPONSES)


def dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


# --- OpenAI ------------------------------------------------------------------------------------------------------


def data_stream(*chunks: Any, done: bool = True) -> bytes:
    out = b"".join(b"data: " + (chunk if isinstance(chunk, bytes) else dumps(chunk)) + b"\n\n" for chunk in chunks)
    return out + (b"data: [DONE]\n\n" if done else b"")


def data_events(stream: bytes) -> list[Any]:
    """The events of a stream without comments, identity and usage."""
    events: list[Any] = []
    for part in stream.decode().split("\n\n"):
        if part.startswith("data: {"):
            value = json.loads(part[6:])
            for key in ("id", "created", "model"):
                value.pop(key, None)
            events.append(value)
        elif part and not part.startswith(":"):
            events.append(part)
    return events


BASE = {
    "id": "chatcmpl-Abc123",
    "object": "chat.completion.chunk",
    "created": 1_760_000_000,
    "model": "gpt-4o-2024-08-06",
}
TOP = {"service_tier": "default", "system_fingerprint": "fp_07871e2ad8"}
USAGE = {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 3,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


def chunk(delta: Any, finish: str | None = None, top: Any = TOP, **more: Any) -> Any:
    return {**BASE, **top, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}], **more}


def bare(delta: Any, finish: Any = ..., **more: Any) -> Any:
    """A look-alike's chunk: no nulls, no fingerprint."""
    choice: dict[str, Any] = {"index": 0, "delta": delta}
    if finish is not ...:
        choice["finish_reason"] = finish
    return {**BASE, "choices": [choice], **more}


def call(index: Any, arguments: str | None = None, identifier: str | None = None, name: str | None = None) -> Any:
    value: dict[str, Any] = {} if index is None else {"index": index}
    if identifier is not None:
        value.update(id=identifier, type="function")
    function: dict[str, Any] = {}
    if name is not None:
        function["name"] = name
    if arguments is not None:
        function["arguments"] = arguments
    value["function"] = function
    return value


URL_CITATION = {
    "type": "url_citation",
    "url_citation": {"url": "https://example.org", "title": "x", "start_index": 0, "end_index": 1},
}
FIRST = {"role": "assistant", "content": "", "refusal": None}
USAGE_CHUNK = {**BASE, **TOP, "choices": [], "usage": USAGE}

CHAT_STREAMS: dict[str, list[Any]] = {
    "openai text": [
        chunk(FIRST, usage=None),
        chunk({"content": "Hel"}, usage=None),
        chunk({"content": "lo, "}, usage=None),
        chunk({"content": 'w\u00f6rld \U0001f600 "content": {}\n'}, usage=None),
        chunk({}, "stop", usage=None),
        USAGE_CHUNK,
    ],
    "openai padded": [
        chunk(FIRST, obfuscation="a1"),
        chunk({"content": "One"}, obfuscation="Zx9"),
        chunk({"content": " two"}, obfuscation="Qq"),
        chunk({"content": " three"}, obfuscation=""),
        chunk({}, "stop", obfuscation="ppppp"),
        {**USAGE_CHUNK, "obfuscation": "w"},
    ],
    "openai tools": [
        chunk(
            {"role": "assistant", "content": None, "tool_calls": [call(0, "", "call_1", "weather")], "refusal": None}
        ),
        chunk({"tool_calls": [call(0, '{"ci')]}),
        chunk({"tool_calls": [call(0, 'ty": "Paris"}')]}),
        chunk({"tool_calls": [call(1, "", "call_2", "time")]}),
        chunk({"tool_calls": [call(1, "{}")]}),
        chunk({}, "tool_calls"),
        USAGE_CHUNK,
    ],
    "openai logprobs": [
        chunk(FIRST),
        {
            **BASE,
            **TOP,
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "Hi"},
                    "logprobs": {
                        "content": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}],
                        "refusal": None,
                    },
                    "finish_reason": None,
                }
            ],
        },
        chunk({}, "stop"),
        USAGE_CHUNK,
    ],
    "openai refusal": [
        chunk({"role": "assistant", "content": None, "refusal": ""}),
        chunk({"refusal": "I cannot"}),
        chunk({"refusal": " do that."}),
        chunk({}, "stop"),
        USAGE_CHUNK,
    ],
    "openai annotations": [
        chunk(FIRST),
        chunk({"content": "See here."}),
        chunk({"annotations": [URL_CITATION]}),
        chunk({}, "stop"),
        USAGE_CHUNK,
    ],
    "azure": [
        {
            "id": "",
            "object": "",
            "created": 0,
            "model": "",
            "choices": [],
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}}}],
        },
        chunk(FIRST),
        {
            **BASE,
            **TOP,
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "Hello"},
                    "logprobs": None,
                    "finish_reason": None,
                    "content_filter_results": {"hate": {"filtered": False, "severity": "safe"}},
                }
            ],
        },
        chunk({}, "stop"),
        USAGE_CHUNK,
    ],
    "role in every chunk, usage in the last": [
        bare({"role": "assistant", "content": "Hel"}, None),
        bare({"role": "assistant", "content": "lo"}, None),
        bare({"role": "assistant", "content": "!"}, None),
        bare({"role": "assistant", "content": ""}, "stop", usage=USAGE),
    ],
    "finish reason absent, content with the end": [
        bare({"role": "assistant", "content": ""}),
        bare({"content": "All"}),
        bare({"content": " at once"}),
        bare({"content": "."}, "stop"),
        {**BASE, "choices": [], "usage": USAGE, "x_groq": {"id": "req_1"}},
    ],
    "deepseek reasoning": [
        chunk({"role": "assistant", "content": None, "reasoning_content": ""}, top={}),
        chunk({"content": None, "reasoning_content": "Let me"}, top={}),
        chunk({"content": None, "reasoning_content": " think"}, top={}),
        chunk({"content": "42", "reasoning_content": None}, top={}),
        chunk({"content": "!", "reasoning_content": None}, top={}),
        chunk({"content": "", "reasoning_content": None}, "stop", top={}),
        {**BASE, "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}},
    ],
    "openrouter reasoning under two names": [
        bare({"role": "assistant", "content": "", "reasoning": "Hm", "reasoning_content": "Hm"}, None),
        bare({"content": "", "reasoning": "mm", "reasoning_content": "mm"}, None),
        bare({"content": "Yes"}, None),
        bare({"content": ""}, "stop"),
        {**BASE, "choices": [], "usage": USAGE},
    ],
    "gemini: whole calls without index": [
        bare({"role": "assistant", "tool_calls": [call(None, '{"a": 1}', "call_a", "f")]}),
        bare({"role": "assistant", "tool_calls": [call(None, '{"b": 2}', "call_b", "g")]}, "stop", usage=USAGE),
    ],
    "mistral: two calls in one chunk": [
        bare({"role": "assistant", "content": ""}, None),
        bare(
            {"content": "", "tool_calls": [call(0, '{"a": 1}', "abc", "f"), call(1, "{}", "def", "g")]},
            "tool_calls",
            usage=USAGE,
        ),
    ],
    "interleaved calls": [
        chunk(FIRST),
        chunk({"tool_calls": [call(0, "", "c1", "f")]}),
        chunk({"tool_calls": [call(1, "", "c2", "g")]}),
        chunk({"tool_calls": [call(0, '{"x":')]}),
        chunk({"tool_calls": [call(1, "{")]}),
        chunk({"tool_calls": [call(0, "1}")]}),
        chunk({"tool_calls": [call(1, "}")]}),
        chunk({}, "tool_calls"),
        USAGE_CHUNK,
    ],
    "length": [chunk(FIRST), chunk({"content": "cut o"}), chunk({}, "length"), USAGE_CHUNK],
    "no usage": [chunk(FIRST), chunk({"content": "x"}), chunk({}, "stop")],
    "heartbeats": [
        chunk(FIRST),
        chunk({"content": ""}),
        chunk({}),
        chunk({"content": "x"}),
        chunk({"content": ""}),
        chunk({"role": "assistant"}),
        chunk({}, "stop"),
        USAGE_CHUNK,
    ],
}


def completion(message: Any, finish: str | None = "stop", **more: Any) -> Any:
    return {
        "id": "chatcmpl-Abc123",
        "object": "chat.completion",
        "created": 1_760_000_000,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": USAGE,
        **TOP,
        **more,
    }


TEXT_MESSAGE = {"role": "assistant", "content": "Hello there!", "refusal": None, "annotations": []}
TOOL_MESSAGE = {
    "role": "assistant",
    "content": None,
    "refusal": None,
    "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}},
        {"id": "call_2", "type": "function", "function": {"name": "time", "arguments": "{}"}},
    ],
}
COMPLETIONS: dict[str, Any] = {
    "text": completion(TEXT_MESSAGE),
    "tools": completion(TOOL_MESSAGE, "tool_calls"),
    "refusal": completion({"role": "assistant", "content": None, "refusal": "No."}),
    "reasoning": completion(
        {"role": "assistant", "content": "42", "reasoning_content": "Let me think", "tool_calls": None}
    ),
    "reasoning, other name": completion({"role": "assistant", "content": "42", "reasoning": "Hm", "tool_calls": []}),
    "annotations": completion({**TEXT_MESSAGE, "annotations": [URL_CITATION]}),
    "length": completion({"role": "assistant", "content": "cut"}, "length"),
    "custom tool": completion(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_9", "type": "custom", "custom": {"name": "patch", "input": "*** Begin"}}],
        },
        "tool_calls",
    ),
    "gemini signature": completion(
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "function-call-1",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a":1}'},
                    "extra_content": {"google": {"thought_signature": "c2ln"}},
                }
            ],
        },
        "tool_calls",
    ),
    "parts": completion(
        {"role": "assistant", "content": [{"type": "text", "text": "Hi"}, {"type": "reference", "reference_ids": [1]}]}
    ),
    "nothing but nulls": completion({"role": "assistant", "content": None}),
    "empty": completion({"role": "assistant", "content": ""}),
    "vllm": {
        "id": "cmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "meta/llama",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi", "reasoning_content": None, "tool_calls": []},
                "logprobs": None,
                "finish_reason": "stop",
                "stop_reason": None,
                "token_ids": None,
            }
        ],
        "usage": {"prompt_tokens": 3, "total_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": None},
        "prompt_logprobs": None,
        "kv_transfer_params": None,
    },
}
COMPLETIONS["logprobs"] = json.loads(json.dumps(COMPLETIONS["text"]))
COMPLETIONS["logprobs"]["choices"][0]["logprobs"] = {
    "content": [{"token": "Hello", "logprob": -0.3, "bytes": None, "top_logprobs": []}],
    "refusal": None,
}

# --- Anthropic ---------------------------------------------------------------------------------------------------


def named_stream(*events: Any) -> bytes:
    return b"".join(b"event: " + event["type"].encode() + b"\ndata: " + dumps(event) + b"\n\n" for event in events)


def named_events(stream: bytes) -> list[Any]:
    """(name, data) of a stream, without what is new in every reply."""
    events: list[Any] = []
    for part in stream.decode().split("\n\n"):
        if part and not part.startswith(":"):
            name, data = part.split("\n", 1)
            value = json.loads(data.removeprefix("data: "))
            assert name == f"event: {value['type']}"
            if "message" in value and value["type"] == "message_start":
                value["message"]["id"] = value["message"]["model"] = ""
            events.append(value)
    return events


MESSAGE_USAGE = {
    "input_tokens": 25,
    "cache_creation_input_tokens": 12,
    "cache_read_input_tokens": 7,
    "cache_creation": {"ephemeral_5m_input_tokens": 8, "ephemeral_1h_input_tokens": 4},
    "output_tokens": 1,
    "service_tier": "standard",
}


def message_start(usage: Any = MESSAGE_USAGE, **more: Any) -> Any:
    return {
        "type": "message_start",
        "message": {
            "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
            **more,
        },
    }


def block_start(index: int, block: Any) -> Any:
    return {"type": "content_block_start", "index": index, "content_block": block}


def block_delta(index: int, kind: str, **fields: Any) -> Any:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def block_stop(index: int) -> Any:
    return {"type": "content_block_stop", "index": index}


def message_delta(reason: str, sequence: str | None = None, usage: Any = None, **more: Any) -> Any:
    return {
        "type": "message_delta",
        "delta": {"stop_reason": reason, "stop_sequence": sequence},
        "usage": usage or {"output_tokens": 15},
        **more,
    }


PING = {"type": "ping"}
MESSAGE_STOP = {"type": "message_stop"}
CITATION = {"type": "char_location", "cited_text": "x", "document_index": 0, "start_char_index": 0, "end_char_index": 1}

MESSAGE_STREAMS: dict[str, list[Any]] = {
    "text": [
        message_start(),
        block_start(0, {"type": "text", "text": ""}),
        PING,
        block_delta(0, "text_delta", text="Hello"),
        block_delta(0, "text_delta", text="! \U0001f600"),
        block_stop(0),
        message_delta("end_turn"),
        MESSAGE_STOP,
    ],
    "thinking and tools": [
        message_start(container=None),
        block_start(0, {"type": "thinking", "thinking": "", "signature": ""}),
        block_delta(0, "thinking_delta", thinking="Let me "),
        block_delta(0, "thinking_delta", thinking="see."),
        block_delta(0, "signature_delta", signature="EqQBCgIYAhIM1gbcDa9GJwZA2b3h"),
        block_stop(0),
        block_start(1, {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"}),
        block_stop(1),
        block_start(2, {"type": "text", "text": ""}),
        block_delta(2, "text_delta", text="I look."),
        block_stop(2),
        block_start(3, {"type": "tool_use", "id": "toolu_01", "name": "weather", "input": {}}),
        block_delta(3, "input_json_delta", partial_json=""),
        block_delta(3, "input_json_delta", partial_json='{"city": "Par'),
        block_delta(3, "input_json_delta", partial_json='is"}'),
        block_stop(3),
        block_start(
            4, {"type": "tool_use", "id": "toolu_02", "name": "time", "input": {}, "caller": {"type": "direct"}}
        ),
        block_delta(4, "input_json_delta", partial_json=""),
        block_stop(4),
        message_delta(
            "tool_use",
            usage={
                "input_tokens": 25,
                "cache_creation_input_tokens": 12,
                "cache_read_input_tokens": 7,
                "output_tokens": 89,
                "output_tokens_details": {"thinking_tokens": 20},
            },
        ),
        MESSAGE_STOP,
    ],
    "stop sequence and extras": [
        message_start(),
        block_start(0, {"type": "text", "text": "", "citations": []}),
        block_delta(0, "text_delta", text="x"),
        block_delta(0, "citations_delta", citation=CITATION),
        block_stop(0),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END", "container": None, "stop_details": None},
            "usage": {"output_tokens": 4, "server_tool_use": None},
            "context_management": {"applied_edits": []},
        },
        MESSAGE_STOP,
    ],
    "server tool": [
        message_start(),
        block_start(0, {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}),
        block_delta(0, "input_json_delta", partial_json='{"query": '),
        block_delta(0, "input_json_delta", partial_json='"x"}'),
        block_stop(0),
        block_start(1, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}),
        block_stop(1),
        block_start(2, {"type": "text", "text": ""}),
        block_delta(2, "text_delta", text="Found."),
        block_delta(2, "future_delta", something=[1]),
        block_stop(2),
        {"type": "future_event", "n": 1},
        message_delta("end_turn"),
        MESSAGE_STOP,
    ],
    "max tokens": [
        message_start(),
        block_start(0, {"type": "text", "text": ""}),
        block_delta(0, "text_delta", text="cut o"),
        block_stop(0),
        message_delta("max_tokens"),
        MESSAGE_STOP,
    ],
    "refusal without content": [message_start(), message_delta("refusal", usage={"output_tokens": 0}), MESSAGE_STOP],
}


def message(content: list[Any], reason: str = "end_turn", sequence: str | None = None, **more: Any) -> Any:
    return {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": {**MESSAGE_USAGE, "output_tokens": 15},
        **more,
    }


MESSAGE_ANSWERS: dict[str, Any] = {
    "text": message([{"type": "text", "text": "Hello there!"}]),
    "citations": message(
        [
            {"type": "text", "text": "A", "citations": None},
            {"type": "text", "text": "B", "citations": [CITATION]},
            {"type": "text", "text": "C"},
        ]
    ),
    "thinking and tools": message(
        [
            {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "ZW5j"},
            {"type": "text", "text": "I look."},
            {
                "type": "tool_use",
                "id": "toolu_01",
                "name": "weather",
                "input": {"city": "Paris", "n": 1.5, "deep": [{}]},
            },
            {"type": "tool_use", "id": "toolu_02", "name": "time", "input": {}, "caller": {"type": "direct"}},
        ],
        "tool_use",
        container=None,
        stop_details=None,
    ),
    "stop sequence": message([{"type": "text", "text": "x"}], "stop_sequence", "END", context_management={"a": []}),
    "server tool": message(
        [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []},
            {"type": "text", "text": "Found."},
        ]
    ),
    "nothing": message([], "refusal"),
    "pause": message([{"type": "text", "text": "..."}], "pause_turn"),
}

# --- Responses ---------------------------------------------------------------------------------------------------

RESPONSE: dict[str, Any] = {
    "id": "resp_67ccd3a9da748190baa7f1570fe91ac604becb25c45c1d41",
    "object": "response",
    "created_at": 1_741_476_777,
    "status": "completed",
    "background": False,
    "completed_at": 1_741_476_778,
    "error": None,
    "incomplete_details": None,
    "instructions": "Be brief.",
    "max_output_tokens": None,
    "model": "gpt-5-mini",
    "output": [
        {
            "id": "rs_1",
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "Thinking."}, {"type": "summary_text", "text": "More."}],
            "encrypted_content": "gAAAA",
        },
        {
            "id": "msg_1",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [
                {"type": "output_text", "text": "Hello ", "annotations": [], "logprobs": []},
                {"type": "output_text", "text": "there!", "annotations": [], "logprobs": []},
            ],
        },
        {
            "id": "fc_1",
            "type": "function_call",
            "status": "completed",
            "call_id": "call_1",
            "name": "weather",
            "arguments": '{"city":"Paris"}',
        },
        {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}},
    ],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": "low", "summary": "auto"},
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": {
        "input_tokens": 36,
        "input_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 0},
        "output_tokens": 87,
        "output_tokens_details": {"reasoning_tokens": 17},
        "total_tokens": 123,
    },
    "user": None,
    "metadata": {},
}
