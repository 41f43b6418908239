"""Requests towards another wire: what is translated, what is left out, what is refused by name."""

import json
from typing import Any

import pytest
from openai.types.chat import completion_create_params as chat_params
from pydantic import TypeAdapter
from wire_shapes import ALL, CHAT, MESSAGES, RESPONSES

from ostinato import wire
from ostinato.core.errors import Invalid
from ostinato.wire.translation import BUDGET_OF_EFFORT, TOP_LEVEL_HINTS

PIXEL = "iVBORw0KGgo="


def chat(*messages: Any, **more: Any) -> wire.ChatRequest:
    return CHAT.read_request({"model": "m", "messages": list(messages), **more})


def anthropic(*messages: Any, **more: Any) -> wire.ChatRequest:
    return MESSAGES.read_request({"model": "m", "max_tokens": 1000, "messages": list(messages), **more})


def responses(items: Any, **more: Any) -> wire.ChatRequest:
    return RESPONSES.read_request({"model": "m", "input": items, **more})


def to_chat(request: wire.ChatRequest) -> Any:
    body = CHAT.write_request(request, "real", stream=False)
    assert body.pop("model") == "real"
    TypeAdapter(chat_params.CompletionCreateParamsNonStreaming).validate_python({**body, "model": "real"})
    return body


def to_messages(request: wire.ChatRequest) -> Any:
    body = MESSAGES.write_request(request, "real", stream=False)
    assert body.pop("model") == "real"
    return body


USER = {"role": "user", "content": "Hi"}


def test_system_messages_go_beside_the_conversation_in_order() -> None:
    body = to_messages(
        chat(
            {"role": "system", "content": "One."},
            {"role": "developer", "content": [{"type": "text", "text": "Two."}, {"type": "text", "text": "Three."}]},
            USER,
            {"role": "system", "content": "Four."},
        )
    )
    assert body["system"] == [{"type": "text", "text": word} for word in ("One.", "Two.", "Three.", "Four.")]
    assert body["messages"] == [USER]
    assert body["max_tokens"] == 4096
    assert to_messages(chat({"role": "system", "content": "One."}, USER))["system"] == "One."


def test_system_alone_becomes_the_users_turn() -> None:
    body = to_messages(chat({"role": "system", "content": "Say hi."}))
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Say hi."}]}]
    assert "system" not in body


def test_anthropic_system_array_becomes_one_message() -> None:
    blocks = [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "B"}]
    body = to_chat(anthropic(USER, system=blocks))
    assert body["messages"] == [{"role": "system", "content": "A\n\nB"}, USER]


def test_images_both_ways() -> None:
    parts = [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}},
    ]
    blocks = [
        {"type": "text", "text": "What?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "image", "source": {"type": "url", "url": "https://example.org/x.png"}},
    ]
    assert to_messages(chat({"role": "user", "content": parts}))["messages"] == [{"role": "user", "content": blocks}]
    back = to_chat(anthropic({"role": "user", "content": blocks}))["messages"]
    del parts[1]["image_url"]["detail"]  # type: ignore[attr-defined]  # Anthropic knows no detail
    assert back == [{"role": "user", "content": parts}]
    items = RESPONSES.write_request(anthropic({"role": "user", "content": blocks}), "real", stream=False)["input"]
    assert items[0]["content"][1] == {
        "type": "input_image",
        "image_url": f"data:image/png;base64,{PIXEL}",
        "detail": "auto",
    }


CALLS = [
    {"id": "call.1:a", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
    {"id": "call_2", "type": "function", "function": {"name": "g", "arguments": ""}},
]


def test_tool_results_are_merged_into_one_turn() -> None:
    body = to_messages(
        chat(
            USER,
            {"role": "assistant", "content": None, "tool_calls": CALLS},
            {"role": "tool", "tool_call_id": "call.1:a", "content": "one"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "two"}]},
            {"role": "user", "content": "And?"},
        )
    )
    assert body["messages"] == [
        USER,
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "call_1_a", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "call_2", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "call_1_a", "content": "one"},
                {"type": "tool_result", "tool_use_id": "call_2", "content": "two"},
                {"type": "text", "text": "And?"},
            ],
        },
    ]


def test_a_users_turn_with_results_becomes_tool_messages_first() -> None:
    body = to_chat(
        anthropic(
            USER,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}},
                    {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": "not found"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "t2",
                        "content": [
                            {"type": "text", "text": "a picture"},
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                        ],
                    },
                    {"type": "text", "text": "And?"},
                ],
            },
        )
    )
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "Hm",
            "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
                {"id": "t2", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "Error: not found"},
        {"role": "tool", "tool_call_id": "t2", "content": "a picture"},
        {
            "role": "user",
            "content": [
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
                {"type": "text", "text": "And?"},
            ],
        },
    ]


def test_a_result_that_did_not_fail_stays_as_it_is() -> None:
    body = to_chat(
        anthropic({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok"}]})
    )
    assert body["messages"] == [{"role": "tool", "tool_call_id": "t", "content": "ok"}]


def test_response_items_become_turns() -> None:
    request = responses(
        [
            {"role": "user", "content": "Hi"},
            {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "gAAA"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
            {
                "type": "function_call",
                "call_id": "c1",
                "name": "f",
                "arguments": "{}",
                "id": "fc1",
                "status": "completed",
            },
            {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "one"},
            {"type": "function_call_output", "call_id": "c2", "output": "two"},
        ],
        instructions="Be brief.",
    )
    body = to_chat(request)
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "tool", "tool"]
    assert [call["id"] for call in body["messages"][2]["tool_calls"]] == ["c1", "c2"]
    body = to_messages(request)
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert [block["type"] for block in body["messages"][1]["content"]] == ["text", "tool_use", "tool_use"]


def test_a_signature_comes_back_through_responses() -> None:
    answer = MESSAGES.read_answer(
        json.dumps(
            {
                "model": "c",
                "content": [
                    {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {}},
                ],
                "stop_reason": "tool_use",
                "stop_sequence": None,
                "usage": {"input_tokens": 1, "output_tokens": 1},
            }
        ).encode()
    )
    identity = wire.Identity("0" * 32, 1, "m")
    output = json.loads(RESPONSES.write_answer(answer, identity))["output"]
    items = [
        {"role": "user", "content": "Hi"},
        *output,
        {"type": "function_call_output", "call_id": "t1", "output": "1"},
    ]
    body = to_messages(responses(items, reasoning={"effort": "high"}))
    assert body["messages"][1]["content"][0] == {"type": "thinking", "thinking": "Hm", "signature": "c2ln"}
    assert body["thinking"]["type"] == "enabled"


def test_tools_and_tool_choice_both_ways() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    tool = {"type": "function", "function": {"name": "f", "description": "d", "parameters": schema}}
    for choice, theirs in (
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ({"type": "function", "function": {"name": "f"}}, {"type": "tool", "name": "f"}),
    ):
        body = to_messages(chat(USER, tools=[tool], tool_choice=choice))
        assert body["tools"] == [{"name": "f", "description": "d", "input_schema": schema}]
        assert body["tool_choice"] == theirs
        back = to_chat(anthropic(USER, tools=body["tools"], tool_choice=theirs))
        assert (back["tools"], back["tool_choice"]) == ([tool], choice)
    alone = to_messages(chat(USER, tools=[tool], parallel_tool_calls=False))
    assert alone["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert (
        to_chat(anthropic(USER, tools=body["tools"], tool_choice=alone["tool_choice"]))["parallel_tool_calls"] is False
    )
    bare = to_messages(chat(USER, tools=[{"type": "function", "function": {"name": "f"}}]))
    assert bare["tools"] == [{"name": "f", "input_schema": {"type": "object", "properties": {}}}]


def test_sampling_and_limits() -> None:
    body = to_messages(chat(USER, temperature=1.7, top_p=0.5, max_completion_tokens=50, stop="END", user="u"))
    assert body == {
        "max_tokens": 50,
        "messages": [USER],
        "temperature": 1.0,
        "top_p": 0.5,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u"},
    }
    body = to_chat(anthropic(USER, temperature=0.5, top_k=5, stop_sequences=["END"], metadata={"user_id": "u"}))
    assert body == {"messages": [USER], "temperature": 0.5, "max_tokens": 1000, "stop": ["END"], "user": "u"}


@pytest.mark.parametrize("effort", [*BUDGET_OF_EFFORT, "none", "whatever"])
def test_reasoning_effort_becomes_a_budget_that_fits(effort: str) -> None:
    body = to_messages(chat(USER, reasoning_effort=effort, temperature=0.5))
    if effort in BUDGET_OF_EFFORT:
        assert body["thinking"] == {"type": "enabled", "budget_tokens": BUDGET_OF_EFFORT[effort]}
        assert body["max_tokens"] == 4096 + BUDGET_OF_EFFORT[effort]
        assert "temperature" not in body
    else:
        assert "thinking" not in body
        assert body["temperature"] == 0.5
    for limit in (500, 3000, 100_000):
        body = to_messages(chat(USER, reasoning_effort=effort, max_tokens=limit))
        assert body["max_tokens"] == limit
        if "thinking" in body:
            assert 1024 <= body["thinking"]["budget_tokens"] < limit


def test_no_thinking_where_anthropic_would_refuse_it() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    assert "thinking" not in to_messages(chat(USER, reasoning_effort="low", tools=[tool], tool_choice="required"))
    turn = [
        USER,
        {"role": "assistant", "content": None, "reasoning_content": "Hm", "tool_calls": CALLS[:1]},
        {"role": "tool", "tool_call_id": "call.1:a", "content": "x"},
    ]
    body = to_messages(chat(*turn, reasoning_effort="low"))
    assert "thinking" not in body
    assert body["messages"][1]["content"][0]["type"] == "tool_use"
    assert "thinking" in to_messages(chat(*turn, {"role": "user", "content": "And?"}, reasoning_effort="low"))


def test_a_budget_becomes_an_effort() -> None:
    for budget, effort in ((1024, "low"), (8192, "medium"), (31999, "high")):
        thinking = {"type": "enabled", "budget_tokens": budget}
        assert to_chat(anthropic(USER, thinking=thinking))["reasoning_effort"] == effort
    assert to_chat(anthropic(USER, output_config={"effort": "max"}))["reasoning_effort"] == "max"
    assert "reasoning_effort" not in to_chat(anthropic(USER, thinking={"type": "disabled"}))


def test_response_format_both_ways() -> None:
    schema = {"type": "object", "properties": {}}
    form = {"type": "json_schema", "json_schema": {"name": "r", "schema": schema, "strict": True}}
    body = to_messages(chat(USER, response_format=form))
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": schema}}
    back = to_chat(anthropic(USER, output_config=body["output_config"]))
    assert back["response_format"] == {"type": "json_schema", "json_schema": {"name": "response", "schema": schema}}
    theirs = RESPONSES.write_request(chat(USER, response_format=form), "real", stream=False)["text"]
    assert theirs == {"format": {"type": "json_schema", "name": "r", "schema": schema, "strict": True}}
    assert to_chat(responses("Hi", text=theirs))["response_format"] == form
    assert "output_config" not in to_messages(chat(USER, response_format={"type": "text"}))


def test_thinking_that_anthropic_did_not_sign_is_not_sent_back_to_it() -> None:
    turns = [
        USER,
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm", "signature": ""}, {"type": "text", "text": "Yes."}],
        },
        {"role": "user", "content": "And?"},
    ]
    body = to_messages(anthropic(*turns, system="s", metadata={"a": 1}))
    assert body["messages"][1] == {"role": "assistant", "content": "Yes."}
    assert body["system"] == "s"
    assert body["metadata"] == {"a": 1}


REFUSED = [
    (chat(USER, logprobs=True), MESSAGES, "logprobs"),
    (chat(USER, modalities=["text", "audio"]), MESSAGES, "modalities"),
    (chat(USER, functions=[]), MESSAGES, "functions"),
    (chat(USER, web_search_options={}), MESSAGES, "web_search_options"),
    (chat(USER, x_unknown=1), MESSAGES, "x_unknown"),
    (chat(USER, response_format={"type": "json_object"}), MESSAGES, "response_format"),
    (chat(USER, stop=["\n"]), MESSAGES, "stop.0"),
    (chat(USER, stop=["END"]), RESPONSES, "stop"),
    (chat(USER, tools=[{"type": "custom", "custom": {"name": "h"}}]), MESSAGES, "tools.0"),
    (chat(USER, tool_choice={"type": "allowed_tools", "allowed_tools": {}}), MESSAGES, "tool_choice"),
    (
        chat({"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}),
        MESSAGES,
        "messages.0.content (input_audio)",
    ),
    (chat({"role": "user", "content": "x", "x_unknown": 1}), MESSAGES, "messages.0.x_unknown"),
    (chat(USER, tools=[{"type": "function", "function": {"name": "f", "odd": 1}}]), MESSAGES, "tools.0.function"),
    (anthropic(USER, container="c"), CHAT, "container"),
    (anthropic(USER, inference_geo="eu"), CHAT, "inference_geo"),
    (anthropic(USER, mcp_servers=[{"url": "x"}]), CHAT, "mcp_servers"),
    (anthropic(USER, tools=[{"type": "web_search_20250305", "name": "web_search"}]), CHAT, "tools.0"),
    (
        anthropic({"role": "user", "content": [{"type": "document", "source": {}}]}),
        CHAT,
        "messages.0.content (document)",
    ),
    (responses("Hi", tools=[{"type": "custom", "name": "h"}]), CHAT, "tools.0"),
    (responses("Hi", moderation={"model": "x"}), CHAT, "moderation"),
]


@pytest.mark.parametrize(("request_", "target", "param"), REFUSED, ids=[param for *_, param in REFUSED])
def test_what_would_change_the_answer_is_refused_by_name(request_: wire.ChatRequest, target: Any, param: str) -> None:
    with pytest.raises(Invalid) as raised:
        target.write_request(request_, "real", stream=False)
    assert raised.value.param == param
    assert raised.value.code == "untranslatable"
    assert raised.value.hint


def test_hints_are_left_out() -> None:
    """Every field of the table, at every other wire."""
    bodies: dict[str, Any] = {
        "openai.chat": {"model": "m", "messages": [USER]},
        "anthropic.messages": {"model": "m", "max_tokens": 5, "messages": [USER]},
        "openai.responses": {"model": "m", "input": "Hi"},
    }
    odd = {"max_completion_tokens": 5, "seed": 5, "frequency_penalty": 1, "presence_penalty": 1, "top_k": -1}
    for name, hints in TOP_LEVEL_HINTS.items():
        codec = wire.codec(name)  # type: ignore[arg-type]
        for hint in hints:
            if hint in ("store", "background") and name == "openai.responses":
                continue
            value: Any = odd.get(hint, {"type": "disabled"} if hint == "thinking" else {"x": "y"})
            request = codec.read_request({**bodies[name], hint: value})
            for target in ALL:
                if target is not codec:
                    written = target.write_request(request, "real", stream=False)
                    assert json.dumps(value) not in json.dumps(written) or hint in odd, hint
    for harmless in ({"logprobs": False}, {"functions": None}, {"modalities": ["text"]}):
        to_messages(chat(USER, **harmless))


def test_our_controls_never_leak() -> None:
    for codec, request in (
        (CHAT, chat(USER, prompt={"variables": {"secret": "s"}})),
        (MESSAGES, anthropic(USER, prompt={"variables": {"secret": "s"}})),
        (RESPONSES, responses("Hi", prompt={"id": "p", "variables": {"secret": "s"}})),
    ):
        assert request.prompt
        for target in ALL:
            for stream in (True, False):
                for form in (request, wire.changed(request)):
                    assert "secret" not in json.dumps(target.write_request(form, "real", stream=stream)), codec.name


def test_usage_is_always_asked_for() -> None:
    for request in (
        chat(USER),
        chat(USER, stream=True, stream_options={"include_obfuscation": False}),
        anthropic(USER),
    ):
        body = CHAT.write_request(request, "real", stream=True)
        assert body["stream"] is True
        assert body["stream_options"]["include_usage"] is True
    asked = chat(USER, stream=True, stream_options={"include_obfuscation": False})
    assert CHAT.write_request(asked, "real", stream=True)["stream_options"]["include_obfuscation"] is False


def test_count_tokens() -> None:
    request = wire.anthropic_messages.read_count_request({"model": "m", "messages": [USER], "system": "s"})
    written = wire.anthropic_messages.write_count_request(request, "real")
    assert written == {"model": "real", "messages": [USER], "system": "s"}
    foreign = wire.anthropic_messages.write_count_request(chat(USER, temperature=0.5, reasoning_effort="low"), "real")
    assert foreign.keys() == {"model", "messages", "thinking"}
    assert wire.anthropic_messages.read_count_reply(b'{"input_tokens": 14}') == 14
    assert wire.anthropic_messages.write_count_reply(14) == b'{"input_tokens":14}'
    for body in (b"{}", b'{"input_tokens": "x"}', b"<html>", b'{"input_tokens": -1}'):
        with pytest.raises(wire.Malformed):
            wire.anthropic_messages.read_count_reply(body)


def test_garbled_arguments_travel_whole() -> None:
    garbled = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": '}}]
    body = to_messages(chat(USER, {"role": "assistant", "content": None, "tool_calls": garbled}))
    assert body["messages"][1]["content"][0]["input"] == {"raw_arguments": '{"a": '}
