"""The real ``openai`` SDK, pointed at Ostinato by base URL and key alone, whichever wire the model behind speaks."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from harness import Running
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

BOTH = pytest.mark.parametrize("behind", ["openai", "claude"])

TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": f"Does {name}",
            "parameters": {
                "type": "object",
                "properties": {"query": {"type": "string"}, "n": {"type": "integer"}},
                "required": ["query"],
            },
        },
    }
    for name in ("search", "lookup")
]


@pytest.fixture(scope="module")
def client(gateway: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as made:
        yield made


def asked(text: str) -> Any:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def same(thing: Any) -> Any:
    """An answer or chunk without what is new in every reply."""
    return {**thing.model_dump(), "id": "", "created": 0}


def alias(behind: str, mood: str = "") -> str:
    return f"{behind}-{mood}" if mood else {"openai": "plain", "claude": "claude"}[behind]


@BOTH
def test_an_answer_then_the_same_from_cache(client: OpenAI, gateway: Running, behind: str) -> None:
    before = gateway.upstream.count()
    ask = {"model": alias(behind), "messages": asked("sdk: plain"), "temperature": 0.2, "user": "ann"}
    first = client.chat.completions.with_raw_response.create(**ask)
    again = client.chat.completions.with_raw_response.create(**ask)
    assert first.headers["ostinato-cache"] == "miss"
    assert again.headers["ostinato-cache"] == "hit-exact"
    assert gateway.upstream.count() == before + 1
    one, two = first.parse(), again.parse()
    assert same(one) == same(two)
    assert one.id != two.id
    assert one.id.startswith("chatcmpl-")
    assert one.model == alias(behind)
    assert one.choices[0].finish_reason == "stop"
    assert one.choices[0].message.content
    assert one.usage is not None and one.usage.total_tokens == one.usage.prompt_tokens + one.usage.completion_tokens > 0
    assert again.headers["x-request-id"] == two._request_id


@BOTH
@pytest.mark.parametrize("usage", [False, True])
def test_a_stream_then_the_same_from_cache(client: OpenAI, behind: str, usage: bool) -> None:
    ask: Any = {"model": alias(behind), "messages": asked(f"sdk: stream {usage}"), "stream": True}
    if usage:
        ask["stream_options"] = {"include_usage": True}
    runs: list[list[Any]] = []
    for expected in ("miss", "hit-exact"):
        reply = client.chat.completions.with_raw_response.create(**ask)
        assert reply.headers["ostinato-cache"] == expected
        runs.append(list(reply.parse()))
    assert [same(chunk) for chunk in runs[0]] == [same(chunk) for chunk in runs[1]]
    for chunks in runs:
        assert len({chunk.id for chunk in chunks}) == 1
        assert chunks[0].choices[0].delta.role == "assistant"
        ends = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
        assert ends == ["stop"]
        told = [chunk for chunk in chunks if chunk.usage is not None]
        assert len(told) == int(usage)
        assert all(chunk.choices == [] for chunk in told)
        assert len(chunks) > 5


@BOTH
def test_streams_and_plain_requests_share_an_entry(client: OpenAI, gateway: Running, behind: str) -> None:
    before = gateway.upstream.count()
    ask: Any = {"model": alias(behind), "messages": asked("sdk: shared entry")}
    chunks = list(client.chat.completions.create(**ask, stream=True))
    reply = client.chat.completions.with_raw_response.create(**ask)
    assert reply.headers["ostinato-cache"] == "hit-exact"
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert reply.parse().choices[0].message.content == streamed
    other: Any = {**ask, "messages": asked("sdk: shared entry, the other way round")}
    plain = client.chat.completions.create(**other)
    streaming = client.chat.completions.with_raw_response.create(**other, stream=True)
    assert streaming.headers["ostinato-cache"] == "hit-exact"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in streaming.parse() if chunk.choices)
    assert text == plain.choices[0].message.content
    assert gateway.upstream.count() == before + 2


@BOTH
async def test_async(gateway: Running, behind: str) -> None:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as client:
        ask: Any = {"model": alias(behind), "messages": asked("sdk: async")}
        one, *others = await asyncio.gather(*(client.chat.completions.create(**ask) for _ in range(8)))
        assert all(same(other) == same(one) for other in others)
        assert len({answer.id for answer in (one, *others)}) == 8
        text = ""
        async for chunk in await client.chat.completions.create(**ask, stream=True):
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        assert text == one.choices[0].message.content
        async with client.chat.completions.stream(**ask) as events:
            final = await events.get_final_completion()
        assert final.choices[0].message.content == text


@BOTH
@pytest.mark.parametrize("mood", ["tools", "parallel"])
def test_tools_through_several_turns(client: OpenAI, gateway: Running, behind: str, mood: str) -> None:
    messages = asked(f"sdk: {mood}")
    calls = client.chat.completions.create(model=alias(behind, mood), messages=messages, tools=TOOLS)
    message = calls.choices[0].message
    assert calls.choices[0].finish_reason == "tool_calls"
    assert message.tool_calls is not None
    assert [call.function.name for call in message.tool_calls] == ["search", "lookup"][: len(message.tool_calls)]
    assert len(message.tool_calls) == (2 if mood == "parallel" else 1)
    assert all(json.loads(call.function.arguments)["query"] for call in message.tool_calls)
    streamed = list(
        client.chat.completions.create(model=alias(behind, mood), messages=messages, tools=TOOLS, stream=True)
    )
    assert collected(streamed) == [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls]
    messages = [*messages, message.model_dump(exclude_none=True)]
    for call in message.tool_calls:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": f"found {call.function.name}"})
    for expected in ("miss", "hit-exact"):
        reply = client.chat.completions.with_raw_response.create(model=alias(behind), messages=messages, tools=TOOLS)
        assert reply.headers["ostinato-cache"] == expected
        assert reply.parse().choices[0].message.content
    sent = json.dumps(gateway.upstream.last_body)
    assert all(call.id in sent and f"found {call.function.name}" in sent for call in message.tool_calls)


def collected(chunks: list[Any]) -> list[tuple[str, str, str]]:
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        for part in (chunk.choices[0].delta.tool_calls or []) if chunk.choices else []:
            if part.index not in calls:
                calls[part.index] = [part.id, part.function.name, ""]
            else:
                assert part.id is None
                assert part.function.name is None
            calls[part.index][2] += part.function.arguments or ""
    return [(one, two, three) for one, two, three in calls.values()]


class Verdict(BaseModel):
    intent: str
    sure: bool


@BOTH
def test_structured_answers(client: OpenAI, gateway: Running, behind: str) -> None:
    text = '{"intent": "card_arrival", "sure": true}'
    if behind == "openai":
        body: Any = {
            "id": "x", "object": "chat.completion", "created": 1, "model": "said",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18},
        }  # fmt: skip
    else:
        body = {
            "id": "x", "type": "message", "role": "assistant", "model": "said", "stop_reason": "end_turn",
            "stop_sequence": None, "content": [{"type": "text", "text": text}],
            "usage": {"input_tokens": 9, "output_tokens": 9},
        }  # fmt: skip
    gateway.upstream.say("said", json.dumps(body).encode())
    try:
        for expected in ("miss", "hit-exact"):
            reply = client.chat.completions.with_raw_response.parse(
                model=alias(behind, "said"), messages=asked("sdk: structured"), response_format=Verdict
            )
            assert reply.headers["ostinato-cache"] == expected
            assert reply.parse().choices[0].message.parsed == Verdict(intent="card_arrival", sure=True)
    finally:
        gateway.upstream.say("said")
    assert "sure" in json.dumps(gateway.upstream.last_body), "the schema reaches the provider"


def test_an_answer_that_breaks_its_schema_is_not_kept(client: OpenAI) -> None:
    schema: Any = {"type": "json_schema", "json_schema": {"name": "v", "schema": Verdict.model_json_schema()}}
    for _ in range(2):
        reply = client.chat.completions.with_raw_response.create(
            model="plain", messages=asked("sdk: no schema"), response_format=schema
        )
        assert reply.headers["ostinato-cache"] == "miss"


@BOTH
def test_responses(client: OpenAI, behind: str) -> None:
    ask: Any = {
        "model": alias(behind),
        "instructions": "Be brief.",
        "input": "sdk: responses",
        "store": False,
        "metadata": {"a": "b"},
    }
    first = client.responses.with_raw_response.create(**ask)
    again = client.responses.with_raw_response.create(**ask)
    assert (first.headers["ostinato-cache"], again.headers["ostinato-cache"]) == ("miss", "hit-exact")
    one, two = first.parse(), again.parse()
    ids = {"id": "", "created_at": 0, "completed_at": 0}
    assert without_item_ids({**one.model_dump(), **ids}) == without_item_ids({**two.model_dump(), **ids})
    assert one.output_text
    assert one.status == "completed"
    assert one.instructions == "Be brief."
    assert one.metadata == {"a": "b"}
    with client.responses.stream(**{name: value for name, value in ask.items() if name != "store"}) as stream:
        events = list(stream)
        final = stream.get_final_response()
    assert [event.type for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1].type == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == one.output_text
    assert final.output_text == one.output_text
    assert final.instructions == "Be brief."


def without_item_ids(thing: Any) -> Any:
    for item in thing["output"]:
        item["id"] = ""
    return thing


@BOTH
def test_tools_in_responses(client: OpenAI, behind: str) -> None:
    tools: Any = [{"type": "function", **tool["function"]} for tool in TOOLS]
    first = client.responses.create(model=alias(behind, "tools"), input="sdk: responses tools", tools=tools)
    call = first.output[0]
    assert call.type == "function_call"
    assert json.loads(call.arguments)["query"]
    conversation: Any = [
        {"role": "user", "content": "sdk: responses tools"},
        call.model_dump(exclude_none=True),
        {"type": "function_call_output", "call_id": call.call_id, "output": "found it"},
    ]
    answered = client.responses.create(model=alias(behind), input=conversation, tools=tools)
    assert answered.output_text


def test_what_needs_memory_is_refused_with_the_way_out(client: OpenAI) -> None:
    for fields in ({"previous_response_id": "resp_1"}, {"background": True}, {"tools": [{"type": "web_search"}]}):
        with pytest.raises(openai.BadRequestError) as caught:
            client.responses.create(model="plain", input="hello", **fields)  # pyright: ignore
        assert len(caught.value.message) > 30
        assert caught.value.code


def test_embeddings(client: OpenAI, gateway: Running) -> None:
    texts = [f"sdk: vector {number}" for number in range(4)]
    before = gateway.upstream.count()
    floats = client.embeddings.create(model="vectors", input=texts, encoding_format="float")
    assert [item.index for item in floats.data] == [0, 1, 2, 3]
    assert len(floats.data[0].embedding) == 8
    usual = client.embeddings.with_raw_response.create(model="vectors", input=texts)  # base64 under the hood
    assert usual.headers["ostinato-cache"] == "hit-exact"
    assert [item.embedding for item in usual.parse().data] == [item.embedding for item in floats.data]
    assert gateway.upstream.count() == before + 1
    single = client.embeddings.create(model="vectors", input="sdk: vector 2", dimensions=4)
    assert len(single.data[0].embedding) == 4


def test_models(client: OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert {"plain", "claude", "vectors"} <= set(listed)
    assert client.models.retrieve("plain").id == "plain"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


@BOTH
@pytest.mark.parametrize(
    ("mood", "kind", "status"),
    [
        ("400", openai.BadRequestError, 400),
        ("404", openai.NotFoundError, 404),
        ("422", openai.UnprocessableEntityError, 422),
        ("429", openai.RateLimitError, 429),
        ("401", openai.InternalServerError, 502),
        ("403", openai.InternalServerError, 502),
        ("500", openai.InternalServerError, 502),
        ("503", openai.InternalServerError, 503),
        ("html", openai.InternalServerError, 502),
        ("empty", openai.InternalServerError, 502),
        ("garbage", openai.InternalServerError, 502),
        ("gone", openai.InternalServerError, 502),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_sdks_own(
    client: OpenAI, behind: str, mood: str, kind: type[openai.APIStatusError], status: int, stream: bool
) -> None:
    with pytest.raises(kind) as caught:
        client.chat.completions.create(model=alias(behind, mood), messages=asked("sdk: error"), stream=stream)
    assert caught.value.status_code == status
    assert caught.value.message
    body: Any = caught.value.body
    assert body["message"], body
    assert caught.value.request_id


@BOTH
@pytest.mark.parametrize("mood", ["cut", "reset", "broken", "half"])
def test_a_failure_in_mid_stream_is_an_error(client: OpenAI, behind: str, mood: str) -> None:
    for _ in range(2):
        reply = client.chat.completions.with_raw_response.create(
            model=alias(behind, mood), messages=asked("sdk: mid-stream"), stream=True
        )
        assert reply.headers["ostinato-cache"] == "miss", "nothing partial was kept"
        got = []
        with pytest.raises(openai.APIError):
            for chunk in reply.parse():
                got.append(chunk)
        assert any(chunk.choices and chunk.choices[0].delta.content for chunk in got)


def test_wrong_keys_and_models(client: OpenAI, gateway: Running) -> None:
    stranger = OpenAI(base_url=f"{gateway.url}/v1", api_key="sk-nothing", max_retries=2)
    with pytest.raises(openai.AuthenticationError):
        stranger.chat.completions.create(model="plain", messages=asked("hello"))
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="nothing", messages=asked("hello"))
    assert "Available: " in str(caught.value.message)
    limited = gateway.new_key("one model", allowed_models=["plain"])
    with (
        OpenAI(base_url=f"{gateway.url}/v1", api_key=limited) as mine,
        pytest.raises((openai.PermissionDeniedError, openai.NotFoundError)),
    ):
        mine.chat.completions.create(model="claude", messages=asked("hello"))


def test_the_sdk_does_not_retry_what_the_gateway_has_retried(gateway: Running) -> None:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=3) as patient:
        for mood, kind, calls in (("529", openai.InternalServerError, 2), ("429", openai.RateLimitError, 1)):
            # A breaker that other tests have opened must not be asked.
            before = gateway.upstream.count()
            with pytest.raises(kind) as caught:
                patient.chat.completions.create(model=f"openai-{mood}", messages=asked("sdk: retries"))
            assert gateway.upstream.count() - before <= calls
            assert caught.value.response.headers["x-should-retry"] == "false"
            if mood == "429":
                assert caught.value.response.headers["retry-after"] == "7"


def test_what_fails_once_is_retried_by_the_gateway(client: OpenAI, gateway: Running) -> None:
    before = gateway.upstream.count()
    reply = client.chat.completions.with_raw_response.create(model="openai-flaky", messages=asked("sdk: flaky"))
    assert reply.parse().choices[0].message.content
    assert gateway.upstream.count() == before + 2
    streamed = list(client.chat.completions.create(model="openai-flaky", messages=asked("sdk: flaky 2"), stream=True))
    assert len(streamed) > 5
    assert gateway.upstream.count() == before + 4


def test_the_sdk_retries_its_own_rate(gateway: Running) -> None:
    secret = gateway.new_key("slow", rate={"requests": 1, "seconds": 1.0})
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=secret, max_retries=0) as client:
        first = client.chat.completions.with_raw_response.create(model="plain", messages=asked("sdk: rate"))
        assert first.headers["x-ratelimit-limit-requests"] == "1"
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="plain", messages=asked("sdk: rate"))
        assert int(caught.value.response.headers["retry-after"]) >= 1


@BOTH
def test_odd_requests_travel_whole(client: OpenAI, gateway: Running, behind: str) -> None:
    image = "data:image/png;base64,iVBORw0KGgo="
    messages: Any = [
        {"role": "developer", "content": "Look closely."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "sdk: what is on it?"},
                {"type": "image_url", "image_url": {"url": image, "detail": "low"}},
            ],
        },
    ]
    answer = client.chat.completions.create(
        model=alias(behind), messages=messages, stop=["END"], max_completion_tokens=50, top_p=0.5
    )
    assert answer.choices[0].message.content
    sent = json.dumps(gateway.upstream.last_body)
    assert "iVBORw0KGgo=" in sent
    assert "END" in sent
    assert "Look closely." in sent
    assert "50" in sent
    if behind == "openai":
        client.chat.completions.create(
            model="plain", messages=asked("sdk: open list"), seed=7, extra_body={"made_up": {"a": [1]}}
        )
        assert gateway.upstream.last_body["made_up"] == {"a": [1]}
        assert gateway.upstream.last_body["seed"] == 7
    assert gateway.key not in json.dumps(gateway.upstream.last_headers)
