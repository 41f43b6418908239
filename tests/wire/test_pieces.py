"""Usage, summaries, stored form, errors, embeddings, the echo of Responses."""

import base64
import json
import struct
from typing import Any

import pytest
from anthropic.types import Message as SdkMessage
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse
from openai.types.responses import Response
from wire_shapes import (
    ALL,
    CHAT,
    CHAT_STREAMS,
    COMPLETIONS,
    IDENTITY,
    MESSAGE_ANSWERS,
    MESSAGE_STREAMS,
    MESSAGES,
    RESPONSE,
    RESPONSES,
    data_stream,
    dumps,
    many,
    named_stream,
)

from ostinato import wire
from ostinato.core.errors import (
    Conflict,
    Denied,
    Invalid,
    LimitReached,
    NotFound,
    OstinatoError,
    Unavailable,
    UpstreamFailed,
)
from ostinato.wire import usage

# --- usage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "buckets"),
    [
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}, (10, 0, 0, 5, 0)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            (3, 4, 3, 3, 2),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 6}, (4, 6, 0, 5, 0)),
        # Gemini and xAI: reasoning beside the completion, not in it.
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 22}, (10, 0, 0, 5, 7)),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 22,
                "completion_tokens_details": {"reasoning_tokens": 7},
            },
            (10, 0, 0, 5, 7),
        ),
        ({"prompt_tokens": 10, "completion_tokens": None, "prompt_tokens_details": None}, (10, 0, 0, 0, 0)),
        ({"prompt_tokens": "10", "completion_tokens": -5}, (0, 0, 0, 0, 0)),
    ],
)
def test_openai_buckets(raw: Any, buckets: tuple[int, ...]) -> None:
    found = usage.read_openai(raw)
    assert (found.input, found.cache_read, found.cache_write, found.output, found.reasoning) == buckets
    assert found.raw == raw


@pytest.mark.parametrize(
    ("raw", "buckets"),
    [
        ({"input_tokens": 10, "output_tokens": 5}, (10, 0, 0, 5, 0)),
        (
            {
                "input_tokens": 10,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 30,
                "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
                "output_tokens": 5,
                "output_tokens_details": {"thinking_tokens": 2},
            },
            (10, 100, 30, 3, 2),
        ),
        (
            {"input_tokens": 1, "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}},
            (1, 0, 30, 0, 0),
        ),
        ({"input_tokens": None, "output_tokens": None, "cache_read_input_tokens": None}, (0, 0, 0, 0, 0)),
    ],
)
def test_anthropic_buckets(raw: Any, buckets: tuple[int, ...]) -> None:
    found = usage.read_anthropic(raw)
    assert (found.input, found.cache_read, found.cache_write, found.output, found.reasoning) == buckets


tokens = st.integers(0, 10**9)


@many
@given(st.builds(wire.Usage, tokens, tokens, tokens, tokens, tokens))
def test_buckets_survive_every_shape(buckets: wire.Usage) -> None:
    for write, read in (
        (usage.write_openai, usage.read_openai),
        (usage.write_anthropic, usage.read_anthropic),
        (usage.write_responses, usage.read_responses),
    ):
        again = read(write(buckets))
        assert again.total == buckets.total
        fields = ("input", "cache_read", "cache_write", "output", "reasoning")
        assert [getattr(again, f) for f in fields] == [getattr(buckets, f) for f in fields]


@many
@given(
    st.dictionaries(
        st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"]),
        st.integers() | st.none() | st.text(max_size=2),
    ),
    st.dictionaries(st.sampled_from(["cached_tokens", "cache_write_tokens", "reasoning_tokens"]), st.integers()),
)
def test_no_bucket_is_ever_negative(counts: Any, details: Any) -> None:
    raw = {**counts, "prompt_tokens_details": details, "completion_tokens_details": details}
    raw |= {"input_tokens_details": details, "output_tokens_details": details}
    for read in (usage.read_openai, usage.read_anthropic, usage.read_responses):
        found = read(raw)
        assert min(found.input, found.cache_read, found.cache_write, found.output, found.reasoning) >= 0


# --- summary and stored form -------------------------------------------------------------------------------------


def of_chat(name: str) -> wire.Summary:
    return wire.summary(CHAT.read_answer(dumps(COMPLETIONS[name])))


def test_summaries() -> None:
    text = of_chat("text")
    assert (text.finish, text.finish_raw, text.text_chars, text.empty) == ("stop", "stop", 12, False)
    assert (text.model, text.system_fingerprint) == ("gpt-4o-2024-08-06", "fp_07871e2ad8")
    assert text.usage is not None
    assert text.usage.total == 29
    tools = of_chat("tools")
    assert (tools.finish, tools.has_tool_use, tools.empty, tools.text_chars) == ("tool_use", True, False, 0)
    refusal = of_chat("refusal")
    assert (refusal.finish, refusal.has_refusal, refusal.empty) == ("refusal", True, False)
    assert of_chat("empty").empty
    assert of_chat("nothing but nulls").empty
    assert of_chat("length").finish == "length"
    nothing = wire.summary(MESSAGES.read_answer(dumps(MESSAGE_ANSWERS["nothing"])))
    assert (nothing.finish, nothing.has_refusal, nothing.empty) == ("refusal", True, True)
    assert wire.summary([]).finish is None


def test_summary_of_a_stream_equals_that_of_its_answer() -> None:
    events = CHAT.stream_reader().feed(data_stream(*CHAT_STREAMS["openai text"]))
    assert wire.summary(events) == wire.summary(wire.Answer("openai.chat", tuple(events)))
    assert wire.summary(events[:4]).finish is None


def test_text_of() -> None:
    answer = MESSAGES.read_answer(dumps(MESSAGE_ANSWERS["thinking and tools"]))
    assert wire.text_of(answer) == "I look."


def test_input_text() -> None:
    request = MESSAGES.read_request(
        {
            "model": "m",
            "max_tokens": 5,
            "system": "Be brief.",
            "messages": [
                {"role": "user", "content": "Hi"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"q": "secret"}}],
                },
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "t", "content": "result"},
                        {"type": "text", "text": "And?"},
                    ],
                },
            ],
        }
    )
    assert wire.input_text(request) == 'Be brief.\n\nHi\n\n{"q":"secret"}\n\nresult\nAnd?'


def test_is_content() -> None:
    events = MESSAGES.stream_reader().feed(named_stream(*MESSAGE_STREAMS["text"]))
    assert [type(event).__name__ for event in events if wire.is_content(event)] == [
        "BlockStart",
        "Delta",
        "Delta",
        "Finish",
    ]


def test_stored_answers() -> None:
    for codec, values in ((CHAT, COMPLETIONS), (MESSAGES, MESSAGE_ANSWERS)):
        for value in values.values():
            answer = codec.read_answer(dumps(value))
            assert wire.decode_answer(wire.encode_answer(answer)) == answer
    huge = CHAT.read_answer(dumps({**COMPLETIONS["text"], "x_big": 10**40}))
    assert wire.decode_answer(wire.encode_answer(huge)) == huge


@many
@given(st.binary(max_size=60))
def test_corrupt_stored_answers_are_told(data: bytes) -> None:
    whole = wire.encode_answer(CHAT.read_answer(dumps(COMPLETIONS["text"])))
    for damaged in (data, whole[: len(data)], b"\xc1" + data, whole[:20] + data):
        try:
            answer = wire.decode_answer(damaged)
        except ValueError:
            continue
        assert isinstance(answer, wire.Answer)


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "openai", "anthropic"),
    [
        (Invalid("Bad.", param="n"), "invalid_request_error", "invalid_request_error"),
        (NotFound("No.", code="model_not_found"), "invalid_request_error", "not_found_error"),
        (Denied("No."), "permission_error", "permission_error"),
        (Denied("No.", authenticated=False), "authentication_error", "authentication_error"),
        (Conflict("No."), "invalid_request_error", "invalid_request_error"),
        (LimitReached("Slow."), "rate_limit_error", "rate_limit_error"),
        (UpstreamFailed("Gone."), "server_error", "api_error"),
        (Unavailable("Away.", hint="Try again."), "server_error", "overloaded_error"),
        (OstinatoError("Oops."), "server_error", "api_error"),
        (Invalid("Big.", code="request_too_large"), "invalid_request_error", "request_too_large"),
    ],
)
def test_error_bodies(error: OstinatoError, openai: str, anthropic: str) -> None:
    for codec in (CHAT, RESPONSES):
        body = json.loads(codec.write_error(error))
        assert body == {"error": {"message": error.sentence, "type": openai, "param": error.param, "code": error.code}}
    body = json.loads(MESSAGES.write_error(error))
    assert body == {"type": "error", "error": {"type": anthropic, "message": error.sentence}}


def test_a_failed_response_stream() -> None:
    begun = RESPONSES.stream_writer(IDENTITY, include_usage=True)
    events = CHAT.stream_reader().feed(data_stream(*CHAT_STREAMS["openai text"][:3], done=False))
    begun.write(events)
    data = json.loads(begun.fail(Unavailable("Away.")).split(b"data: ")[1])
    assert (data["type"], data["response"]["status"]) == ("response.failed", "failed")
    assert data["response"]["error"] == {"code": "server_error", "message": "Away."}
    Response.model_validate(data["response"])
    early = RESPONSES.stream_writer(IDENTITY, include_usage=True).fail(Unavailable("Away."))
    assert json.loads(early.split(b"data: ")[1])["type"] == "error"


# --- responses ---------------------------------------------------------------------------------------------------


def test_a_response_echoes_its_request() -> None:
    body: dict[str, Any] = {
        "model": "m",
        "input": "Hi",
        "instructions": "Be brief.",
        "temperature": 0.5,
        "tools": [{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "r", "schema": {"type": "object"}}},
        "metadata": {"a": "b"},
        "parallel_tool_calls": False,
    }
    echo = wire.openai_responses.echo(RESPONSES.read_request(body))
    identity = wire.Identity(IDENTITY.id, IDENTITY.created, IDENTITY.model, echo)
    answer = CHAT.read_answer(dumps(COMPLETIONS["text"]))
    response = json.loads(RESPONSES.write_answer(answer, identity))
    Response.model_validate(response)
    for key in ("instructions", "temperature", "tool_choice", "metadata", "parallel_tool_calls", "text"):
        assert response[key] == body[key]
    assert response["store"] is False
    assert response["created_at"] == response["completed_at"] == IDENTITY.created
    writer = RESPONSES.stream_writer(identity, include_usage=False)
    assert b'"instructions":"Be brief."' in writer.write(list(answer.events))


def test_a_response_stream_is_read_back() -> None:
    """A stream of this wire, written from every recorded answer, gives the same answer when read as a provider's."""
    for codec, values in ((CHAT, COMPLETIONS), (MESSAGES, MESSAGE_ANSWERS), (RESPONSES, {"all": RESPONSE})):
        for name, value in values.items():
            answer = codec.read_answer(dumps(value))
            writer = RESPONSES.stream_writer(IDENTITY, include_usage=True)
            stream = writer.write(list(answer.events)) + writer.end()
            reader = RESPONSES.stream_reader()
            again = wire.Answer("openai.responses", tuple(reader.feed(stream)))
            assert reader.finished
            assert wire.text_of(again) == wire.text_of(answer), name
            first, second = wire.summary(answer), wire.summary(again)
            assert first.has_tool_use == second.has_tool_use
            assert (first.usage and first.usage.total) == (second.usage and second.usage.total)
            whole = json.loads(RESPONSES.write_answer(again, IDENTITY))
            Response.model_validate(whole)


def test_tool_calls_without_ids_get_one() -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "f"}}]}
    value = {**COMPLETIONS["text"], "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    answer = CHAT.read_answer(dumps(value))
    assert json.loads(CHAT.write_answer(answer, IDENTITY))["choices"][0]["message"]["tool_calls"][0]["id"].startswith(
        "call_"
    )
    message_ = SdkMessage.model_validate_json(MESSAGES.write_answer(answer, IDENTITY))
    assert message_.content[0].id.startswith("toolu_")  # type: ignore[union-attr]
    for codec in ALL:
        assert IDENTITY.id.encode() in codec.write_answer(answer, IDENTITY)


# --- embeddings --------------------------------------------------------------------------------------------------


def test_embedding_requests() -> None:
    read = wire.embeddings.read_request
    assert read({"model": "m", "input": "a"}).inputs == ("a",)
    assert read({"model": "m", "input": ["a", "b"]}).inputs == ("a", "b")
    assert read({"model": "m", "input": [1, 2]}).inputs == ((1, 2),)
    assert read({"model": "m", "input": [[1, 2], [3]]}).inputs == ((1, 2), (3,))
    request = read({"model": "m", "input": "a", "dimensions": 3, "encoding_format": "base64", "user": "u", "odd": 1})
    assert request == wire.EmbeddingRequest("m", ("a",), 3, "base64", "u", {"odd": 1})
    assert wire.embeddings.write_request(request, "real") == {
        "model": "real",
        "input": ["a"],
        "encoding_format": "base64",
        "dimensions": 3,
        "user": "u",
        "odd": 1,
    }


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "m"}, "input"),
        ({"model": "m", "input": ""}, "input"),
        ({"model": "m", "input": []}, "input"),
        ({"model": "m", "input": ["a", ""]}, "input.1"),
        ({"model": "m", "input": ["a", 5]}, "input.1"),
        ({"model": "m", "input": [[]]}, "input.0"),
        ({"model": "m", "input": [[-1]]}, "input.0"),
        ({"model": "m", "input": [1, -1]}, "input.0"),
        ({"model": "m", "input": {"a": 1}}, "input"),
        ({"model": "m", "input": ["a"] * 2049}, "input"),
        ({"model": "m", "input": "a", "dimensions": 0}, "dimensions"),
        ({"model": "m", "input": "a", "dimensions": "3"}, "dimensions"),
        ({"model": "m", "input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"model": "m", "input": "a", "user": 5}, "user"),
        ({"input": "a"}, "model"),
    ],
)
def test_bad_embedding_requests(body: Any, param: str) -> None:
    with pytest.raises(Invalid) as raised:
        wire.embeddings.read_request(body)
    assert raised.value.param == param


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@many
@given(st.dictionaries(st.sampled_from(["model", "input", "dimensions", "encoding_format", "user", "x"]), any_json))
def test_any_embedding_request_is_read_or_invalid(body: Any) -> None:
    for full in (body, {**body, "model": "m"}, {"input": "a", **body, "model": "m"}):
        try:
            wire.embeddings.read_request(full)
        except Invalid as error:
            assert error.param


float32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@many
@given(st.lists(st.lists(float32, min_size=1, max_size=6), min_size=1, max_size=4), st.booleans(), st.booleans())
def test_vectors_survive(vectors: list[list[float]], sent_as_text: bool, asked_as_text: bool) -> None:
    packed = [struct.pack(f"<{len(vector)}f", *vector) for vector in vectors]
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(packed[index]).decode() if sent_as_text else vector,
        }
        for index, vector in enumerate(vectors)
    ]
    raw = dumps({"object": "list", "data": data[::-1], "model": "x", "usage": {"prompt_tokens": 7, "total_tokens": 7}})
    read, cost = wire.embeddings.read_reply(raw)
    assert list(read) == packed
    assert cost.total == 7
    request = wire.EmbeddingRequest("m", ("a",) * len(vectors), None, "base64" if asked_as_text else "float")
    reply = json.loads(wire.embeddings.write_reply(request, read, cost, "echo"))
    assert reply["model"] == "echo"
    assert reply["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    found = [item["embedding"] for item in reply["data"]]
    if asked_as_text:
        assert [base64.b64decode(item) for item in found] == packed
    else:
        assert found == vectors
        CreateEmbeddingResponse.model_validate(reply)
    assert [item["index"] for item in reply["data"]] == list(range(len(vectors)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b'{"data": []}',
        b'{"data": [5]}',
        b'{"data": [{"embedding": []}]}',
        b'{"data": [{"embedding": ["x"]}]}',
        b'{"data": [{"embedding": [1e300]}]}',
        b'{"data": [{"embedding": "AAA"}]}',
        b'{"data": [{"embedding": "AAAAAAA="}]}',
        b'{"data": [{"embedding": null}]}',
        b'{"data": [{"index": 1, "embedding": [1]}]}',
        b'{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}',
        b'{"data": [{"index": -1, "embedding": [1]}]}',
    ],
)
def test_bad_embedding_replies(body: bytes) -> None:
    with pytest.raises(wire.Malformed):
        wire.embeddings.read_reply(body)


def test_an_error_inside_an_embedding_reply() -> None:
    with pytest.raises(wire.ErrorInStream, match="No"):
        wire.embeddings.read_reply(b'{"error": {"message": "No"}}')
