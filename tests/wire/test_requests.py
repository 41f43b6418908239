"""Reading requests: injective, lossless, equal across wires where the conversation is equal, and never a crash."""

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from wire_shapes import ALL, CHAT, MESSAGES, RESPONSES, many

from ostinato import wire
from ostinato.core.errors import Invalid
from ostinato.core.hashing import canonical_json

CHAT_BODY: dict[str, Any] = {
    "model": "gpt-4o",
    "messages": [
        {"role": "system", "content": "Be brief.", "name": "boss"},
        {
            "role": "developer",
            "content": [{"type": "text", "text": "And kind.", "cache_control": {"type": "ephemeral"}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://example.org/x.png"}, "beside": 1},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            ],
        },
        {
            "role": "assistant",
            "content": "I look.",
            "reasoning_content": "Hm",
            "refusal": None,
            "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
                {"id": "c2", "type": "function", "function": {"name": "g", "arguments": "{}", "odd": 1}, "index": 1},
                {"id": "c3", "type": "custom", "custom": {"name": "h", "input": "x"}},
            ],
            "annotations": [],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "one"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "two"}], "odd": True},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "three"},
        {"role": "user", "content": "And now?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "Does it.",
                "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}},
                "strict": True,
                "odd": 1,
            },
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "custom", "custom": {"name": "h", "format": {"type": "text"}}},
    ],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "parallel_tool_calls": False,
    "temperature": 0.2,
    "top_p": 0.9,
    "top_k": 40,
    "max_tokens": 100,
    "stop": ["END", "STOP"],
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "r", "schema": {"type": "object"}, "strict": True},
    },
    "reasoning_effort": "low",
    "seed": 7,
    "logit_bias": {"50256": -100},
    "metadata": {"team": "a"},
    "unknown_field": {"deep": [1, {"er": None}]},
}

MESSAGES_BODY: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 1024,
    "system": [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "And kind."},
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
                {"type": "image", "source": {"type": "url", "url": "https://example.org/x.png"}, "beside": 1},
                {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, "title": "t"},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "ZW5j"},
                {"type": "text", "text": "I look.", "citations": None},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1, "b": [1.5, None]}},
                {"type": "tool_use", "id": "toolu_2", "name": "g", "input": {}, "caller": {"type": "direct"}},
                {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "x"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "one"},
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_2",
                    "is_error": True,
                    "content": [
                        {"type": "text", "text": "two"},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                        {"type": "search_result", "source": "x", "title": "t", "content": []},
                    ],
                    "cache_control": {"type": "ephemeral"},
                },
                {"type": "text", "text": "And now?"},
            ],
        },
        {"role": "system", "content": "From here on, in French."},
    ],
    "tools": [
        {
            "name": "f",
            "description": "Does it.",
            "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}}},
            "strict": True,
            "cache_control": {"type": "ephemeral"},
        },
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
    ],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "temperature": 0.2,
    "top_p": 0.9,
    "top_k": 40,
    "stop_sequences": ["END"],
    "thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"},
    "output_config": {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {"type": "object"}},
        "task_budget": {"total": 5},
    },
    "metadata": {"team": "a"},
    "service_tier": "auto",
    "context_management": {"edits": []},
}

RESPONSES_BODY: dict[str, Any] = {
    "model": "gpt-5",
    "instructions": "Be brief.",
    "input": [
        {"type": "message", "role": "system", "content": "And kind."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"},
                {"type": "input_image", "file_id": "file_1", "detail": "auto"},
                {"type": "input_file", "file_url": "https://example.org/x.pdf"},
            ],
        },
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm"}, {"type": "summary_text", "text": "so"}],
            "encrypted_content": "gAAAA",
        },
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [
                {"type": "output_text", "text": "I look.", "annotations": [], "logprobs": []},
                {"type": "refusal", "refusal": "no"},
            ],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": "c1", "output": "one"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "x", "odd": 1}]},
        {"type": "custom_tool_call", "call_id": "c2", "name": "h", "input": "x"},
    ],
    "tools": [
        {"type": "function", "name": "f", "description": "Does it.", "parameters": {"type": "object"}, "strict": True},
        {"type": "custom", "name": "h", "format": {"type": "text"}},
    ],
    "tool_choice": {"type": "function", "name": "f"},
    "parallel_tool_calls": False,
    "temperature": 0.2,
    "top_p": 0.9,
    "max_output_tokens": 100,
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {
        "format": {"type": "json_schema", "name": "r", "schema": {"type": "object"}, "strict": True},
        "verbosity": "low",
    },
    "include": ["reasoning.encrypted_content"],
    "truncation": "disabled",
}

BODIES = [(CHAT, CHAT_BODY), (MESSAGES, MESSAGES_BODY), (RESPONSES, RESPONSES_BODY)]
NAMES = [codec.name for codec, _ in BODIES]


def key(request: wire.ChatRequest) -> bytes:
    """What the fingerprint sees of a request."""
    fields = {name: getattr(request, name) for name in request.__struct_fields__ if name not in wire.NOT_IN_FINGERPRINT}
    return canonical_json(fields)


def simple(value: Any) -> Any:
    """A body without what the API calls equal: nulls and empty arrays are absent, one text part is a string.

    Written apart from the codecs, so that they can be held against it.
    """
    if isinstance(value, dict):
        cleaned = {name: simple(item) for name, item in value.items()}
        content = cleaned.get("content", cleaned.get("output"))
        if isinstance(content, list) and len(content) == 1 and isinstance(content[0], dict):
            part = content[0]
            if part.keys() == {"type", "text"} and part["type"] in ("text", "input_text", "output_text"):
                cleaned["content" if "content" in cleaned else "output"] = part["text"]
        return cleaned
    if isinstance(value, list):
        return [simple(item) for item in value]
    return value


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at] if at else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        found += paths(item, (*at, name))
    return found


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(0, 1) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
INSIGNIFICANT = [None, [], {}, "", False]
"""What a known field may hold to say the same as its absence."""


@pytest.mark.parametrize(("codec", "body"), BODIES, ids=NAMES)
@many
@given(data=st.data())
def test_any_changed_field_changes_the_canonical_request(codec: Any, body: dict[str, Any], data: st.DataObject) -> None:
    check_a_change(codec, body, data)


@pytest.mark.soak
@pytest.mark.parametrize(("codec", "body"), BODIES, ids=NAMES)
@settings(max_examples=20_000, deadline=None)
@given(data=st.data())
def test_any_of_many_changed_fields(codec: Any, body: dict[str, Any], data: st.DataObject) -> None:
    check_a_change(codec, body, data)


def check_a_change(codec: Any, body: dict[str, Any], data: st.DataObject) -> None:
    before = codec.read_request(copy.deepcopy(body))
    changed = copy.deepcopy(body)
    path = data.draw(st.sampled_from(paths(body)))
    holder: Any = changed
    for name in path[:-1]:
        holder = holder[name]
    action = data.draw(st.sampled_from(["replace", "delete", "add"]))
    old = holder[path[-1]]
    if action == "delete":
        del holder[path[-1]]
        assume(old not in INSIGNIFICANT)
    elif action == "add" and isinstance(holder, dict):
        new = data.draw(json_values)
        name = data.draw(st.sampled_from(["x_new", "cache_control", "id2", "phase"]))
        assume(name not in holder and new not in INSIGNIFICANT)
        holder[name] = new
    else:
        new = data.draw(json_values)
        assume(new != old or type(new) is not type(old))
        assume(not (new in INSIGNIFICANT and old in INSIGNIFICANT))
        assume(not (isinstance(new, int | float) and isinstance(old, int | float) and float(new) == float(old)))
        holder[path[-1]] = new
    assume(json.dumps(simple(changed), sort_keys=True) != json.dumps(simple(body), sort_keys=True))
    # A missing or different "type" of a plain function or message is the default said otherwise.
    assume(path[-1] != "type" or action != "delete")
    try:
        after = codec.read_request(changed)
    except Invalid:
        return
    assert key(after) != key(before), (path, action)


@pytest.mark.parametrize(("codec", "body"), BODIES, ids=NAMES)
def test_every_field_is_in_the_canonical_request(codec: Any, body: dict[str, Any]) -> None:
    """Each field in turn is marked: a string changed, a number moved."""
    before = key(codec.read_request(copy.deepcopy(body)))
    for path in paths(body):
        changed = copy.deepcopy(body)
        holder: Any = changed
        for name in path[:-1]:
            holder = holder[name]
        old = holder[path[-1]]
        if isinstance(old, str):
            holder[path[-1]] = old + "x"
        elif isinstance(old, bool) or old is None:
            holder[path[-1]] = "x" if old is None else not old
        elif isinstance(old, int | float):
            holder[path[-1]] = old + 1 if isinstance(old, int) else old / 2
        elif isinstance(old, dict):
            old["x_new"] = 1
        else:
            old.append({"type": "x_new", "role": "user", "content": "x", "id": "i", "name": "n"})
        try:
            after = key(codec.read_request(changed))
        except Invalid:
            continue
        assert after != before, path


@pytest.mark.parametrize(("codec", "body"), BODIES, ids=NAMES)
def test_left_out_of_the_fingerprint(codec: Any, body: dict[str, Any]) -> None:
    before = key(codec.read_request(body))
    user = {"metadata": {**body.get("metadata", {}), "user_id": "u"}} if codec is MESSAGES else {"user": "u"}
    for extra in ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}, user):
        if codec is MESSAGES and "stream_options" in extra:
            continue
        assert key(codec.read_request({**body, **extra})) == before, extra
    assert codec.read_request({**body, **user}).user == "u"


@pytest.mark.parametrize(("codec", "body"), BODIES, ids=NAMES)
def test_written_from_canonical_it_reads_the_same(codec: Any, body: dict[str, Any]) -> None:
    """Nothing is lost in the canonical form: the body built from it alone says the same."""
    request = codec.read_request(body)
    rebuilt = codec.write_request(wire.changed(request), "gpt-4o", stream=False)
    rebuilt["model"] = body["model"]
    rebuilt.pop("store", None)
    assert key(codec.read_request(json.loads(json.dumps(rebuilt)))) == key(request)


@pytest.mark.parametrize(("codec", "body"), BODIES, ids=NAMES)
def test_same_wire_is_verbatim(codec: Any, body: dict[str, Any]) -> None:
    before = copy.deepcopy(body)
    request = codec.read_request({**body, "prompt": {"variables": {"a": 1}}, "stream": True})
    written = codec.write_request(request, "real-model", stream=True)
    expected = {**before, "model": "real-model", "stream": True}
    if codec is CHAT:
        expected["stream_options"] = {"include_usage": True}
    if codec is RESPONSES:
        expected["store"] = False
    assert written == expected
    plain = codec.write_request(request, "real-model", stream=False)
    assert plain["stream"] is False
    assert "stream_options" not in plain
    assert "prompt" not in plain
    assert body == before, "the caller's body was changed"


TOOL_PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}


@many
@given(
    system=st.none() | st.text(max_size=20),
    user=st.text(min_size=1, max_size=40),
    max_tokens=st.integers(1, 5000),
    temperature=st.none() | st.floats(0, 1),
    stop=st.lists(st.text(min_size=1, max_size=3), max_size=3),
    tool=st.booleans(),
)
def test_equal_conversations_are_equal_in_every_wire(
    system: str | None, user: str, max_tokens: int, temperature: float | None, stop: list[str], tool: bool
) -> None:
    chat: dict[str, Any] = {"model": "m", "max_tokens": max_tokens, "messages": [{"role": "user", "content": user}]}
    messages: dict[str, Any] = {**chat, "messages": [{"role": "user", "content": [{"type": "text", "text": user}]}]}
    responses: dict[str, Any] = {"model": "m", "max_output_tokens": max_tokens, "input": user}
    if system is not None:
        chat["messages"].insert(0, {"role": "system", "content": system})
        messages["system"] = system
        responses["instructions"] = system
    if temperature is not None:
        for body in (chat, messages, responses):
            body["temperature"] = temperature
    if tool:
        about = {"name": "weather", "description": "Tells it."}
        chat["tools"] = [{"type": "function", "function": {**about, "parameters": TOOL_PARAMETERS}}]
        messages["tools"] = [{**about, "input_schema": TOOL_PARAMETERS}]
        responses["tools"] = [{"type": "function", **about, "parameters": TOOL_PARAMETERS}]
        chat["tool_choice"] = "required"
        messages["tool_choice"] = {"type": "any"}
        responses["tool_choice"] = "required"
    first = key(CHAT.read_request({**chat, "user": "u"}))
    assert key(RESPONSES.read_request(responses)) == first
    if stop:
        chat["stop"] = messages["stop_sequences"] = stop
        first = key(CHAT.read_request(chat))
    assert key(MESSAGES.read_request({**messages, "metadata": {"user_id": "v"}, "stream": True})) == first


def test_what_stands_in_the_same_place_is_told_apart() -> None:
    user = {"role": "user", "content": "x"}
    beside = MESSAGES.read_request({"model": "m", "max_tokens": 1, "system": "s", "messages": [user]})
    inside = MESSAGES.read_request(
        {"model": "m", "max_tokens": 1, "messages": [{"role": "system", "content": "s"}, user]}
    )
    assert key(beside) != key(inside)
    beside = RESPONSES.read_request({"model": "m", "instructions": "s", "input": [user]})
    inside = RESPONSES.read_request({"model": "m", "input": [{"role": "system", "content": "s"}, user]})
    assert key(beside) != key(inside)
    older = CHAT.read_request({"model": "m", "messages": [user], "max_tokens": 5})
    newer = CHAT.read_request({"model": "m", "messages": [user], "max_completion_tokens": 5})
    assert key(older) != key(newer)
    assert newer.max_tokens == 5


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
KNOWN = sorted(
    {name for body in (CHAT_BODY, MESSAGES_BODY, RESPONSES_BODY) for name in body} | {"n", "stream", "prompt"}
)


@pytest.mark.parametrize("codec", ALL, ids=lambda codec: codec.name)
@many
@given(body=st.dictionaries(st.sampled_from(KNOWN) | st.text(max_size=6), any_json, max_size=8))
def test_any_json_object_is_read_or_invalid(codec: Any, body: dict[str, Any]) -> None:
    for full in (
        body,
        {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}], "input": "x", **body},
    ):
        try:
            request = codec.read_request(full)
        except Invalid as error:
            assert error.param
            assert error.param.split(".")[0] in error.message
        else:
            wire.input_text(request)
            wire.count_input(request)
            for target in ALL:
                try:
                    target.write_request(wire.changed(request), "m", stream=True)
                except Invalid as error:
                    assert error.param


@pytest.mark.parametrize(("codec", "body"), BODIES, ids=NAMES)
@many
@given(data=st.data())
def test_any_field_with_any_value_is_read_or_invalid(codec: Any, body: dict[str, Any], data: st.DataObject) -> None:
    changed = copy.deepcopy(body)
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(paths(changed)))
        holder: Any = changed
        for name in path[:-1]:
            holder = holder[name]
        holder[path[-1]] = data.draw(any_json)
    try:
        request = codec.read_request(changed)
    except Invalid as error:
        assert error.param
        return
    for target in ALL:
        try:
            target.write_request(wire.changed(request), "m", stream=False)
        except Invalid as error:
            assert error.param


ABSURD = [
    (CHAT, {"temperature": -0.1}, "temperature"),
    (CHAT, {"temperature": 2.1}, "temperature"),
    (CHAT, {"temperature": True}, "temperature"),
    (CHAT, {"temperature": "0.5"}, "temperature"),
    (CHAT, {"temperature": float("nan")}, "temperature"),
    (CHAT, {"top_p": 1.5}, "top_p"),
    (CHAT, {"max_tokens": 0}, "max_tokens"),
    (CHAT, {"max_tokens": 1.5}, "max_tokens"),
    (CHAT, {"max_tokens": 10**30}, "max_tokens"),
    (CHAT, {"max_completion_tokens": -1}, "max_completion_tokens"),
    (CHAT, {"n": 2}, "n"),
    (CHAT, {"n": 0}, "n"),
    (CHAT, {"n": "1"}, "n"),
    (CHAT, {"stream": "yes"}, "stream"),
    (CHAT, {"stream_options": []}, "stream_options"),
    (CHAT, {"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    (CHAT, {"stop": [1]}, "stop.0"),
    (CHAT, {"stop": ["x"] * 65}, "stop"),
    (CHAT, {"user": 5}, "user"),
    (CHAT, {"model": ""}, "model"),
    (CHAT, {"model": None}, "model"),
    (CHAT, {"model": "x" * 513}, "model"),
    (CHAT, {"messages": []}, "messages"),
    (CHAT, {"messages": "hi"}, "messages"),
    (CHAT, {"messages": ["hi"]}, "messages.0"),
    (CHAT, {"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
    (CHAT, {"messages": [{"role": "user"}]}, "messages.0.content"),
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0.text"),
    (CHAT, {"messages": [{"role": "user", "content": ["x"]}]}, "messages.0.content.0"),
    (CHAT, {"messages": [{"role": "tool", "content": "x"}]}, "messages.0.tool_call_id"),
    (CHAT, {"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}, "messages.0.tool_calls.0.function"),
    (CHAT, {"tools": {}}, "tools"),
    (CHAT, {"tools": [{"type": "function", "function": {}}]}, "tools.0.function.name"),
    (CHAT, {"tool_choice": "maybe"}, "tool_choice"),
    (CHAT, {"response_format": "json"}, "response_format"),
    (CHAT, {"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    (CHAT, {"frequency_penalty": 3}, "frequency_penalty"),
    (CHAT, {"seed": 1.5}, "seed"),
    (CHAT, {"top_logprobs": 21}, "top_logprobs"),
    (CHAT, {"logit_bias": []}, "logit_bias"),
    (CHAT, {"prompt": "x"}, "prompt"),
    (CHAT, {"prompt": {"variables": []}}, "prompt.variables"),
    (MESSAGES, {"max_tokens": None}, "max_tokens"),
    (MESSAGES, {"max_tokens": -1}, "max_tokens"),
    (MESSAGES, {"temperature": 1.1}, "temperature"),
    (MESSAGES, {"top_k": -1}, "top_k"),
    (MESSAGES, {"system": 5}, "system"),
    (MESSAGES, {"stop_sequences": "END"}, "stop_sequences"),
    (MESSAGES, {"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking.budget_tokens"),
    (MESSAGES, {"thinking": True}, "thinking"),
    (MESSAGES, {"metadata": {"user_id": 5}}, "metadata.user_id"),
    (MESSAGES, {"tool_choice": {"type": "required"}}, "tool_choice.type"),
    (MESSAGES, {"tool_choice": {"type": "tool"}}, "tool_choice.name"),
    (MESSAGES, {"tools": [{"name": "f"}]}, "tools.0.input_schema"),
    (MESSAGES, {"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
    (MESSAGES, {"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages.0.content.0.type"),
    (RESPONSES, {"store": True}, "store"),
    (RESPONSES, {"previous_response_id": "resp_1"}, "previous_response_id"),
    (RESPONSES, {"background": True}, "background"),
    (RESPONSES, {"conversation": "conv_1"}, "conversation"),
    (RESPONSES, {"conversation": {"id": "conv_1"}}, "conversation"),
    (RESPONSES, {"tools": [{"type": "web_search"}]}, "tools.0"),
    (RESPONSES, {"tools": [{"type": "mcp", "server_label": "x"}]}, "tools.0"),
    (RESPONSES, {"input": [{"type": "item_reference", "id": "msg_1"}]}, "input.0"),
    (RESPONSES, {"input": [{"type": None, "id": "msg_1"}]}, "input.0"),
    (RESPONSES, {"input": []}, "input"),
    (RESPONSES, {"input": [{"role": "tool", "content": "x"}]}, "input.0.role"),
    (RESPONSES, {"max_output_tokens": "5"}, "max_output_tokens"),
    (RESPONSES, {"text": {"format": {"type": "json_schema"}}}, "text.format.schema"),
    (RESPONSES, {"reasoning": "low"}, "reasoning"),
    (RESPONSES, {"model": None}, "model"),
]


@pytest.mark.parametrize(
    ("codec", "change", "param"), ABSURD, ids=[f"{c.name} {change}"[:60] for c, change, _ in ABSURD]
)
def test_absurd_parameters_are_named(codec: Any, change: dict[str, Any], param: str) -> None:
    body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}], "input": "x"}
    if codec is RESPONSES:
        del body["max_tokens"], body["messages"]
    with pytest.raises(Invalid) as raised:
        codec.read_request({**body, **change})
    assert raised.value.param == param
    assert f"`{param}`" in raised.value.message


def test_state_is_refused_with_the_way_out() -> None:
    for field, value in (("store", True), ("previous_response_id", "r"), ("background", True), ("conversation", "c")):
        with pytest.raises(Invalid) as raised:
            RESPONSES.read_request({"model": "m", "input": "x", field: value})
        assert raised.value.hint
        RESPONSES.read_request({"model": "m", "input": "x", field: None})
    RESPONSES.read_request({"model": "m", "input": "x", "store": False, "background": False})


def test_a_prompt_may_stand_for_model_and_messages() -> None:
    assert CHAT.read_request({"model": "prompt:greet@production"}).messages == ()
    request = RESPONSES.read_request({"prompt": {"id": "greet", "version": "3", "variables": {"name": "Ada"}}})
    assert request.model == "prompt:greet@3"
    assert request.prompt == {"id": "greet", "version": "3", "variables": {"name": "Ada"}}
    assert "prompt" not in RESPONSES.write_request(request, "m", stream=False)


def test_the_canonical_request_can_be_encoded() -> None:
    for codec, body in BODIES:
        request = codec.read_request(body)
        assert msgspec.json.decode(msgspec.json.encode(request), type=wire.ChatRequest) == request


def test_count_input() -> None:
    small = CHAT.read_request({"model": "m", "messages": [{"role": "user", "content": "x" * 4000}]})
    assert 1000 <= wire.count_input(small) <= 1010
    for codec, body in BODIES:
        assert wire.count_input(codec.read_request(body)) > 1600
