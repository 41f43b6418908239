"""What every provider must do, tried on three: OpenAI's and Anthropic's wire over real HTTP, and the fake inside."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ostinato import providers, wire
from ostinato.providers import ProviderFailure
from ostinato.wire.model import BlockStart, Delta, Event, Finish, Start, Usage

from .conftest import Make, Running, call_of, collect, request_of, text_of

KINDS = ["openai-compatible", "anthropic-compatible", "fake"]


@pytest.fixture(params=KINDS)
async def provider(request: pytest.FixtureRequest, make: Make) -> Any:
    return await make(request.param)


def usage_of(events: list[Event]) -> Usage:
    return [event for event in events if isinstance(event, Usage)][-1]


def finish_of(events: list[Event]) -> Finish:
    return next(event for event in events if isinstance(event, Finish))


async def test_an_answer_comes_whole(provider: Any) -> None:
    reply = await provider.chat(call_of())
    events = list(reply.answer.events)
    assert isinstance(events[0], Start)
    assert len(text_of(events).split()) == 12
    assert finish_of(events).reason == "stop"
    assert usage_of(events).output == 12
    assert usage_of(events).input > 0
    assert reply.headers["x-ratelimit-limit-requests"] == "1000"
    assert reply.answer.wire == provider.wire


async def test_a_stream_says_the_same(provider: Any) -> None:
    whole = list((await provider.chat(call_of())).answer.events)
    streamed = await collect(provider, call_of())
    assert text_of(streamed) == text_of(whole)
    assert usage_of(streamed).output == usage_of(whole).output
    assert finish_of(streamed).reason == finish_of(whole).reason
    assert finish_of(streamed).raw == finish_of(whole).raw
    assert sum(isinstance(event, Delta) for event in streamed) >= 12


async def test_equal_requests_get_equal_answers_and_others_do_not(provider: Any) -> None:
    first, again, other = [text_of((await provider.chat(call_of(text=text))).answer) for text in ("one", "one", "two")]
    assert first == again != other
    warm = text_of((await provider.chat(call_of(text="one", temperature=0.5))).answer)
    assert warm != first


async def test_the_first_chunk_does_not_wait_for_the_last(provider: Any) -> None:
    """The server says one fragment and is silent for ever; the fragment is there nonetheless."""
    call = call_of("fake-hang=1", timeout=0.3)
    seen: list[Event] = []
    with pytest.raises(ProviderFailure) as failed:
        await collect(provider, call, seen)
    assert failed.value.failure == "timeout"
    assert text_of(seen)


async def test_tool_calls(provider: Any) -> None:
    tools = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}]
    for events in (
        list((await provider.chat(call_of("fake-tools=2", tools=tools))).answer.events),
        await collect(provider, call_of("fake-tools=2", tools=tools)),
    ):
        starts = [event for event in events if isinstance(event, BlockStart) and event.kind == "tool_use"]
        assert [start.name for start in starts] == ["find", "find"]
        assert starts[0].id != starts[1].id
        assert finish_of(events).reason == "tool_use"
        arguments = "".join(e.text for e in events if isinstance(e, Delta) and e.index == starts[0].index)
        assert arguments.replace(" ", "").startswith('{"query":')


async def test_reasoning(provider: Any) -> None:
    for events in (
        list((await provider.chat(call_of("fake-reasoning"))).answer.events),
        await collect(provider, call_of("fake-reasoning")),
    ):
        kinds = [event.kind for event in events if isinstance(event, BlockStart)]
        assert kinds == ["thinking", "text"]


async def test_truncation_and_refusal(provider: Any) -> None:
    assert finish_of(await collect(provider, call_of("fake-length"))).reason == "length"
    assert finish_of(list((await provider.chat(call_of("fake-length"))).answer.events)).reason == "length"
    events = await collect(provider, call_of("fake-refusal"))
    assert wire.summary(events).has_refusal or finish_of(events).reason == "refusal"


async def test_usage_buckets_are_disjoint_whatever_the_wire_says(provider: Any) -> None:
    plain = usage_of(list((await provider.chat(call_of())).answer.events))
    for shape in ("cached", "reasoning"):
        for events in (
            list((await provider.chat(call_of(f"fake-usage={shape}"))).answer.events),
            await collect(provider, call_of(f"fake-usage={shape}")),
        ):
            usage = usage_of(events)
            assert usage.raw is not None
            if shape == "cached":
                assert usage.cache_read > 0
                assert usage.input + usage.cache_read == plain.input
            else:
                assert usage.output + usage.reasoning == plain.output + 5


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (401, "credential"),
        (402, "forbidden"),
        (403, "forbidden"),
        (429, "rate"),
        (400, "request"),
        (404, "request"),
        (413, "request"),
        (422, "request"),
        (500, "server"),
        (502, "server"),
        (503, "server"),
        (529, "server"),
        (504, "timeout"),
        (302, "malformed"),
    ],
)
async def test_statuses_have_their_class(provider: Any, status: int, failure: str) -> None:
    for attempt in (provider.chat, lambda call: collect(provider, call)):
        with pytest.raises(ProviderFailure) as failed:
            # Each with a key of its own kind of rest: another model is not affected by 402 and 403.
            await attempt(call_of(f"fake-{status},retry-after=2"))
        error = failed.value
        if status == 401 and error.upstream_status is None:
            continue  # the key rests since the first attempt
        if status in (402, 403) and error.failure == "credential":
            continue
        assert error.failure == failure
        assert error.upstream_status == status
        assert error.headers["retry-after"] == "2"
        assert error.retry_after == 2.0
        assert (error.body is not None) == (failure == "request")
        assert "sk-good" not in error.sentence


async def test_what_is_no_answer(provider: Any) -> None:
    for shape in ("html", "half", "empty", "garbage"):
        with pytest.raises(ProviderFailure) as failed:
            await provider.chat(call_of(f"fake-{shape}"))
        assert failed.value.failure == "malformed", shape
        with pytest.raises(ProviderFailure) as failed:
            await collect(provider, call_of(f"fake-{shape}"))
        assert failed.value.failure in ("malformed", "cut"), shape


async def test_an_error_inside_a_200_is_judged_by_its_kind(provider: Any) -> None:
    for kind, failure in (
        ("overloaded_error", "server"),
        ("rate_limit_error", "rate"),
        ("invalid_request_error", "request"),
    ):
        for attempt in (provider.chat, lambda call: collect(provider, call)):
            with pytest.raises(ProviderFailure) as failed:
                await attempt(call_of(f"fake-error200,kind={kind}"))
            assert failed.value.failure == failure


async def test_a_stream_without_its_end_is_cut(provider: Any) -> None:
    for how in ("cut=3", "reset=3"):
        seen: list[Event] = []
        with pytest.raises(ProviderFailure) as failed:
            await collect(provider, call_of(f"fake-{how}"), seen)
        assert failed.value.failure == "cut"
        assert sum(isinstance(event, Delta) for event in seen) == 3


async def test_connections_that_break_and_servers_that_are_silent(provider: Any) -> None:
    for model, timeout, failure in (
        ("fake-reset", 5.0, "network"),
        ("fake-blackhole", 0.2, "timeout"),
        ("fake-latency=5s", 0.2, "timeout"),
    ):
        for attempt in (provider.chat, lambda call: collect(provider, call)):
            with pytest.raises(ProviderFailure) as failed:
                await attempt(call_of(model, timeout=timeout))
            assert failed.value.failure == failure, model
    with pytest.raises(ProviderFailure) as failed:
        await provider.chat(call_of("fake-cut=1"))
    assert failed.value.failure in ("network", "cut")


async def test_an_unknown_knob_is_an_unknown_model(provider: Any) -> None:
    with pytest.raises(ProviderFailure) as failed:
        await provider.chat(call_of("fake-nonsense=1"))
    assert (failed.value.failure, failed.value.upstream_status) == ("request", 404)


async def test_tokens_are_counted(provider: Any) -> None:
    short = await provider.count_tokens(call_of())
    long = await provider.count_tokens(call_of(text="word " * 500))
    assert 0 < short < long


async def test_models_are_listed(provider: Any) -> None:
    assert [model["id"] for model in await provider.models()] == ["fake"]


async def test_a_caller_that_leaves_stops_the_call(provider: Any, fake_server: Running) -> None:
    counted = provider if isinstance(provider, providers.Fake) else None

    def stopped() -> int:
        return counted.cancelled if counted else fake_server.app.disconnects

    async def until(condition: Callable[[], bool]) -> None:
        while not condition():  # noqa: ASYNC110 - the server lives in another thread
            await asyncio.sleep(0.005)

    def called() -> int:
        return provider.calls if counted else fake_server.app.gate.calls

    for streamed, model in ((False, "fake-latency=30s"), (True, "fake-latency=30s"), (True, "fake-gap=30s")):
        before, calls = stopped(), called()
        call = call_of(model, timeout=60)
        task = asyncio.create_task(collect(provider, call) if streamed else provider.chat(call))
        async with asyncio.timeout(5):
            await until(lambda: called() > calls)  # noqa: B023
            await asyncio.sleep(0.02)
            task.cancel()
            await until(lambda: stopped() > before)  # noqa: B023
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_embeddings(make: Make) -> None:
    embedding = wire.EmbeddingRequest(model="alias", inputs=("one", "two", "one"), dimensions=16)
    replies = []
    for kind in ("openai-compatible", "fake"):
        provider = await make(kind)
        reply = await provider.embed(providers.EmbedCall(embedding, "fake", 5.0))
        assert len(reply.vectors) == 3
        assert all(len(vector) == 64 for vector in reply.vectors)
        assert reply.vectors[0] == reply.vectors[2] != reply.vectors[1]
        assert reply.usage.input > 0
        for knob in ("html", "half", "empty", "garbage"):
            with pytest.raises(ProviderFailure) as failed:
                await provider.embed(providers.EmbedCall(embedding, f"fake-{knob}", 5.0))
            assert failed.value.failure == "malformed"
        replies.append(reply.vectors)
    assert replies[0] == replies[1]


async def test_a_request_of_another_wire_is_translated(make: Make, fake_server: Running) -> None:
    body = {"model": "x", "max_tokens": 9, "system": "Be brief.", "messages": [{"role": "user", "content": "hi"}]}
    request = wire.codec("anthropic.messages").read_request(body)
    provider = await make("openai")
    await provider.chat(providers.ChatCall(request, "fake", 5.0))
    sent = fake_server.app.last_body
    assert sent["max_completion_tokens"] == 9
    assert "max_tokens" not in sent
    provider = await make("anthropic")
    await provider.chat(providers.ChatCall(request_of("hi", max_tokens=7), "fake", 5.0))
    assert fake_server.app.last_body["max_tokens"] == 7
