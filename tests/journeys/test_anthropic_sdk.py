"""The real ``anthropic`` SDK, pointed at Ostinato by base URL and key alone, whichever wire the model behind speaks."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic
from harness import Running

BOTH = pytest.mark.parametrize("behind", ["openai", "claude"])

TOOLS: Any = [
    {
        "name": name,
        "description": f"Does {name}",
        "input_schema": {
            "type": "object",
            "properties": {"query": {"type": "string"}, "n": {"type": "integer"}},
            "required": ["query"],
        },
    }
    for name in ("search", "lookup")
]


@pytest.fixture(scope="module")
def client(gateway: Running) -> Iterator[Anthropic]:
    with Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as made:
        yield made


def ask(behind: str, text: str, mood: str = "", **fields: Any) -> Any:
    alias = f"{behind}-{mood}" if mood else {"openai": "plain", "claude": "claude"}[behind]
    return {
        "model": alias,
        "max_tokens": 200,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": text}],
        **fields,
    }


def same(thing: Any) -> Any:
    """An answer or event without what is new in every reply."""
    told = thing.model_dump()
    if "message" in told and isinstance(told["message"], dict):
        told["message"] = {**told["message"], "id": ""}
    return {**told, "id": ""}


@BOTH
def test_an_answer_then_the_same_from_cache(client: Anthropic, gateway: Running, behind: str) -> None:
    before = gateway.upstream.count()
    wanted = ask(behind, "claude sdk: plain", metadata={"user_id": "ann"}, extra_body={"temperature": 0.3})
    first = client.messages.with_raw_response.create(**wanted)
    again = client.messages.with_raw_response.create(**wanted)
    assert (first.headers["ostinato-cache"], again.headers["ostinato-cache"]) == ("miss", "hit-exact")
    assert gateway.upstream.count() == before + 1
    one, two = first.parse(), again.parse()
    assert same(one) == same(two)
    assert one.id != two.id
    assert one.id.startswith("msg_")
    assert one.model == wanted["model"]
    assert one.stop_reason == "end_turn"
    assert one.content[0].type == "text" and one.content[0].text
    assert one.usage.input_tokens > 0 and one.usage.output_tokens > 0


@BOTH
def test_a_stream_then_the_same_from_cache(client: Anthropic, behind: str) -> None:
    runs: list[list[Any]] = []
    for expected in ("miss", "hit-exact"):
        reply = client.messages.with_raw_response.create(**ask(behind, "claude sdk: stream"), stream=True)
        assert reply.headers["ostinato-cache"] == expected
        runs.append(list(reply.parse()))
    told = [[same(event) for event in run] for run in runs]
    if behind == "openai":
        # OpenAI tells the usage last: live, the beginning of the stream may not know it yet; from cache it does.
        assert told[1][0]["message"]["usage"]["input_tokens"] > 0
        for run in told:
            run[0]["message"]["usage"] = None
    assert told[0] == told[1]
    kinds = [event.type for event in runs[0] if event.type != "ping"]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert set(kinds[2:-3]) == {"content_block_delta"}
    assert len(kinds) > 8
    assert runs[0][0].message.id != runs[1][0].message.id
    delta = next(event for event in runs[1] if event.type == "message_delta")
    assert delta.usage.output_tokens > 0


@BOTH
def test_streams_and_plain_requests_share_an_entry(client: Anthropic, gateway: Running, behind: str) -> None:
    before = gateway.upstream.count()
    with client.messages.stream(**ask(behind, "claude sdk: shared")) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    reply = client.messages.with_raw_response.create(**ask(behind, "claude sdk: shared"))
    assert reply.headers["ostinato-cache"] == "hit-exact"
    assert same(reply.parse())["content"][0]["text"] == text == final.content[0].text  # pyright: ignore
    assert gateway.upstream.count() == before + 1


@BOTH
async def test_async(gateway: Running, behind: str) -> None:
    async with AsyncAnthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as client:
        wanted = ask(behind, "claude sdk: async")
        one, *others = await asyncio.gather(*(client.messages.create(**wanted) for _ in range(8)))
        assert all(same(other) == same(one) for other in others)
        async with client.messages.stream(**wanted) as stream:
            assert same(await stream.get_final_message())["content"] == same(one)["content"]


@BOTH
@pytest.mark.parametrize("mood", ["tools", "parallel"])
def test_tools_through_several_turns(client: Anthropic, gateway: Running, behind: str, mood: str) -> None:
    wanted = ask(behind, f"claude sdk: {mood}", mood, tools=TOOLS)
    message = client.messages.create(**wanted)
    calls = [block for block in message.content if block.type == "tool_use"]
    assert message.stop_reason == "tool_use"
    assert [call.name for call in calls] == ["search", "lookup"][: 2 if mood == "parallel" else 1]
    assert all(call.input["query"] for call in calls)  # pyright: ignore
    with client.messages.stream(**wanted) as stream:
        streamed = stream.get_final_message()
    assert [block.model_dump() for block in streamed.content] == [block.model_dump() for block in message.content]
    turns: Any = [
        *wanted["messages"],
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in message.content]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": call.id, "content": f"found {call.name}"} for call in calls
            ],
        },
    ]
    for expected in ("miss", "hit-exact"):
        reply = client.messages.with_raw_response.create(**{**ask(behind, "", tools=TOOLS), "messages": turns})
        assert reply.headers["ostinato-cache"] == expected
        assert reply.parse().content[0].type == "text"
    sent = json.dumps(gateway.upstream.last_body)
    assert all(call.id in sent and f"found {call.name}" in sent for call in calls)


@BOTH
def test_thinking(client: Anthropic, gateway: Running, behind: str) -> None:
    wanted = ask(
        behind, "claude sdk: think", "thinks", max_tokens=4000, thinking={"type": "enabled", "budget_tokens": 2000}
    )
    first = client.messages.with_raw_response.create(**wanted)
    again = client.messages.with_raw_response.create(**wanted)
    assert again.headers["ostinato-cache"] == "hit-exact"
    message = first.parse()
    assert same(message) == same(again.parse())
    assert [block.type for block in message.content] == ["thinking", "text"]
    with client.messages.stream(**wanted) as stream:
        streamed = stream.get_final_message()
    assert [b.model_dump() for b in streamed.content] == [b.model_dump() for b in message.content]
    turns: Any = [
        *wanted["messages"],
        {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in message.content]},
        {"role": "user", "content": "And now?"},
    ]
    assert client.messages.create(**{**wanted, "messages": turns}).content
    if behind == "claude":
        kept = gateway.upstream.last_body["messages"][1]["content"][0]
        assert kept == message.content[0].model_dump(exclude_none=True), "untouched, signature included"


def test_cache_control_travels_verbatim(client: Anthropic, gateway: Running) -> None:
    system = [
        {"type": "text", "text": "First part.", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "text", "text": "Second part."},
    ]
    content = [{"type": "text", "text": "claude sdk: cached", "cache_control": {"type": "ephemeral"}}]
    wanted = ask("claude", "", system=system, messages=[{"role": "user", "content": content}], tools=TOOLS)
    client.messages.create(**wanted)
    sent = gateway.upstream.last_body
    assert sent["system"] == system
    assert sent["messages"][0]["content"] == content
    assert sent["tools"] == TOOLS
    # Towards the other wire the marks are left out, the words are not.
    client.messages.create(**{**wanted, "model": "plain"})
    told = json.dumps(gateway.upstream.last_body)
    assert "First part." in told and "Second part." in told and "claude sdk: cached" in told


def test_betas_and_unknown_fields_reach_the_provider(client: Anthropic, gateway: Running) -> None:
    client.beta.messages.create(
        **ask("claude", "claude sdk: beta"), betas=["context-1m-2025-08-07"], extra_body={"made_up": [1]}
    )
    assert gateway.upstream.last_headers["anthropic-beta"] == "context-1m-2025-08-07"
    assert gateway.upstream.last_headers["anthropic-version"]
    assert gateway.upstream.last_body["made_up"] == [1]
    assert gateway.key not in json.dumps(gateway.upstream.last_headers)
    plain = client.messages.with_raw_response.create(**ask("claude", "claude sdk: beta"), extra_body={"made_up": [1]})
    assert plain.headers["ostinato-cache"] == "miss", "what the provider sees differs"


@BOTH
def test_tokens_are_counted(client: Anthropic, behind: str) -> None:
    few = ask(behind, "claude sdk: count")
    many = ask(behind, "claude sdk: count " * 50)
    counts = []
    for wanted in (few, many):
        del wanted["max_tokens"]
        counts.append(client.messages.count_tokens(**wanted, tools=TOOLS).input_tokens)
    assert 0 < counts[0] < counts[1]


@BOTH
def test_images(client: Anthropic, gateway: Running, behind: str) -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    content = [{"type": "image", "source": source}, {"type": "text", "text": "claude sdk: image"}]
    client.messages.create(**ask(behind, "", messages=[{"role": "user", "content": content}], stop_sequences=["END"]))
    sent = json.dumps(gateway.upstream.last_body)
    assert "iVBORw0KGgo=" in sent
    assert "END" in sent


def test_models(client: Anthropic) -> None:
    assert {"plain", "claude"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("claude").id == "claude"


@BOTH
@pytest.mark.parametrize(
    ("mood", "kind", "status"),
    [
        ("400", anthropic.BadRequestError, 400),
        ("404", anthropic.NotFoundError, 404),
        ("422", anthropic.UnprocessableEntityError, 422),
        ("429", anthropic.RateLimitError, 429),
        ("401", anthropic.InternalServerError, 502),
        ("403", anthropic.InternalServerError, 502),
        ("500", anthropic.InternalServerError, 502),
        ("503", anthropic.InternalServerError, 503),
        ("529", anthropic.InternalServerError, 529),
        ("html", anthropic.InternalServerError, 502),
        ("empty", anthropic.InternalServerError, 502),
        ("garbage", anthropic.InternalServerError, 502),
        ("gone", anthropic.InternalServerError, 502),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_sdks_own(
    client: Anthropic, behind: str, mood: str, kind: type[anthropic.APIStatusError], status: int, stream: bool
) -> None:
    with pytest.raises(kind) as caught:
        client.messages.create(**ask(behind, "claude sdk: error", mood), stream=stream)
    assert caught.value.status_code == status
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] and body["error"]["message"]


@BOTH
@pytest.mark.parametrize("mood", ["cut", "reset", "broken", "half"])
def test_a_failure_in_mid_stream_is_an_error(client: Anthropic, behind: str, mood: str) -> None:
    for _ in range(2):
        reply = client.messages.with_raw_response.create(**ask(behind, "claude sdk: mid-stream", mood), stream=True)
        assert reply.headers["ostinato-cache"] == "miss", "nothing partial was kept"
        got = []
        with pytest.raises(anthropic.APIError):
            for event in reply.parse():
                got.append(event.type)
        assert "content_block_delta" in got
        assert "message_stop" not in got


def test_wrong_keys_and_models(client: Anthropic, gateway: Running) -> None:
    with Anthropic(base_url=gateway.url, api_key="sk-ant-nothing") as stranger:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            stranger.messages.create(**ask("claude", "hello"))
        body: Any = caught.value.body
        assert body["error"]["type"] == "authentication_error"
    with Anthropic(base_url=gateway.url, auth_token=gateway.key) as bearer:
        assert bearer.messages.create(**ask("claude", "claude sdk: bearer")).content
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(**{**ask("claude", "hello"), "model": "nothing"})
    body = missing.value.body
    assert body["error"]["type"] == "not_found_error"
    assert "Available: " in body["error"]["message"]


def test_retries(gateway: Running) -> None:
    with Anthropic(base_url=gateway.url, api_key=gateway.key, max_retries=3) as patient:
        before = gateway.upstream.count()
        assert patient.messages.create(**ask("claude", "claude sdk: flaky", "flaky")).content
        assert gateway.upstream.count() == before + 2, "one retry, and it was the gateway's"
        for mood, kind in (("529", anthropic.InternalServerError), ("429", anthropic.RateLimitError)):
            before = gateway.upstream.count()
            with pytest.raises(kind) as caught:
                patient.messages.create(**ask("claude", "claude sdk: retries", mood))
            assert gateway.upstream.count() - before <= 2
            assert caught.value.response.headers["x-should-retry"] == "false"


def test_one_question_two_wires(client: Anthropic, gateway: Running) -> None:
    """Two wires share an entry only if their canonical requests are equal; these are, but for headers of one wire."""
    text = "claude sdk: asked in both wires"
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    status, found, first = gateway.chat(text, max_tokens=200, messages=messages)
    assert (status, found["ostinato-cache"]) == (200, "miss")
    of_old = {"anthropic-version": "2023-06-01"}  # the one that is sent on behalf of whoever names none
    reply = client.messages.with_raw_response.create(**ask("openai", text), extra_headers=of_old)
    message = reply.parse()
    assert reply.headers["ostinato-cache"] == "hit-exact"
    assert message.content[0].type == "text"
    assert message.content[0].text == first["choices"][0]["message"]["content"]
    assert message.usage.output_tokens == first["usage"]["completion_tokens"]
