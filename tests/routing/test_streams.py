"""Streams: another target may take over before the first content, never after."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ostinato.core.clock import ManualClock
from ostinato.providers.model import ProviderFailure
from ostinato.routing import Router, Target, attempts_of
from ostinato.wire.model import BlockStart, BlockStop, ChatRequest, Delta, Event, Finish, Start, Usage

Make = Callable[..., Any]
MakeRouter = Callable[..., Router]
REQUEST = ChatRequest("alias", (), stream=True)
A, B = Target("a", "m", retries=0), Target("b", "m", retries=0)

HEAD: list[Event] = [Start("real"), Usage(5)]
OPENING: list[Event] = [BlockStart(0, "text")]
TAIL: list[Event] = [BlockStop(0), Finish("stop"), Usage(5, 0, 0, 2)]


def text(words: str) -> list[Event]:
    return [Delta(0, words)]


async def gather(
    router: Router, targets: tuple[Target, ...] = (A, B), deadline: float = 60.0
) -> tuple[list[Event], Any]:
    events: list[Event] = []
    async with router.chat_stream(targets, REQUEST, deadline) as stream:
        async for batch in stream:
            events += batch
    return events, stream


def failure(kind: Any, status: int | None = None, retry_after: float | None = None) -> ProviderFailure:
    return ProviderFailure(f"It failed: {kind}.", failure=kind, upstream_status=status, retry_after=retry_after)


def outcomes(rows: Any) -> list[tuple[str, str]]:
    return [(row.target, row.outcome) for row in rows]


async def test_a_stream_passes_through(scripted: Make, router_of: MakeRouter):
    a = scripted("a", [0.5, HEAD, 0.5, OPENING, text("one"), 2, text("two"), TAIL])
    events, stream = await gather(router_of(a))
    assert events == HEAD + OPENING + text("one") + text("two") + TAIL
    assert (stream.target, stream.is_fallback, stream.wire) == (A, False, "openai.chat")
    assert dict(stream.headers) == {"x-ratelimit-limit-requests": "5"}
    assert outcomes(stream.attempts) == [("a/m", "ok")]
    assert (stream.first_byte_us, stream.upstream_us) == (500_000, 3_000_000)
    assert a.closed == 1


async def test_nothing_is_held_back_after_the_first_content(scripted: Make, router_of: MakeRouter):
    a = scripted("a", [HEAD, OPENING, text("one"), ...])
    async with router_of(a).chat_stream((A,), REQUEST, 60.0) as stream:
        assert await anext(stream) == HEAD + OPENING + text("one")
        nothing_yet = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        assert not nothing_yet.done()
        nothing_yet.cancel()
        await asyncio.gather(nothing_yet, return_exceptions=True)


@pytest.mark.parametrize(
    "before",
    [[], [HEAD], [HEAD, OPENING], [HEAD, OPENING, [Delta(0, "")]]],
    ids=["opening", "head", "block", "empty-delta"],
)
@pytest.mark.parametrize("kind", ["server", "network", "timeout", "cut", "malformed", "rate", "credential"])
async def test_before_content_another_target_takes_over(
    scripted: Make, router_of: MakeRouter, before: list[Any], kind: str
):
    a, b = scripted("a", [*before, failure(kind)]), scripted("b", [HEAD, OPENING, text("b"), TAIL])
    events, stream = await gather(router_of(a, b))
    assert events == HEAD + OPENING + text("b") + TAIL, "nothing of the first target's stream may remain"
    assert (stream.target, stream.is_fallback) == (B, True)
    assert outcomes(stream.attempts) == [("a/m", kind), ("b/m", "ok")]
    assert (a.closed, b.closed) == (1 if before else 0, 1)


CONTENT: list[list[Event]] = [
    [Delta(0, "x")],
    [Delta(0, "", {"logprobs": []})],
    [BlockStart(0, "tool_use", "id", "name")],
    [BlockStart(0, "redacted_thinking")],
    [Finish("stop")],
]


@pytest.mark.parametrize("content", CONTENT, ids=["text", "extra", "tool", "redacted", "finish"])
@pytest.mark.parametrize("kind", ["server", "network", "timeout", "cut", "malformed"])
async def test_after_content_never(scripted: Make, router_of: MakeRouter, content: list[Event], kind: str):
    broken = failure(kind)
    a, b = scripted("a", [HEAD, content, broken]), scripted("b", [HEAD, text("b"), TAIL])
    events: list[Event] = []
    router = router_of(a, b)
    with pytest.raises(ProviderFailure) as caught:
        async with router.chat_stream((A, B), REQUEST, 60.0) as stream:
            async for batch in stream:
                events += batch
    assert caught.value is broken
    assert events == HEAD + content
    assert not b.calls
    assert outcomes(attempts_of(broken)) == [("a/m", kind)]
    assert (a.closed, router.states()[0].in_flight, router.states()[0].failures) == (1, 0, 1)


async def test_a_stream_that_ends_without_an_answer_goes_on(scripted: Make, router_of: MakeRouter):
    a, b = scripted("a", [HEAD]), scripted("b", [HEAD, text("b"), TAIL])
    _, stream = await gather(router_of(a, b))
    assert outcomes(stream.attempts) == [("a/m", "malformed"), ("b/m", "ok")]


async def test_5xx_on_opening_is_retried_at_the_same_target(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a = scripted("a", [failure("server", 503, retry_after=0)], [HEAD, text("a"), TAIL])
    retrying = Target("a", "m", retries=1)
    work = asyncio.ensure_future(gather(router_of(a, backoff=0.0), (retrying,)))
    _, stream = await work
    assert outcomes(stream.attempts) == [("a/m", "server"), ("a/m", "ok")]


async def test_the_callers_mistake_goes_back(scripted: Make, router_of: MakeRouter):
    a, b = scripted("a", [failure("request", 400)]), scripted("b")
    with pytest.raises(ProviderFailure) as caught:
        await gather(router_of(a, b))
    assert caught.value.failure == "request"
    assert not b.calls


async def test_pings_without_content_do_not_outlast_the_deadline(
    scripted: Make, router_of: MakeRouter, clock: ManualClock
):
    a = scripted("a", [HEAD, *[4, []] * 5, text("late"), TAIL])
    with pytest.raises(ProviderFailure) as caught:
        await gather(router_of(a), (A,), clock.monotonic() + 10.0)
    assert caught.value.failure == "timeout"
    assert a.closed == 1


async def test_the_deadline_ends_with_the_first_content(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a = scripted("a", [HEAD, text("one"), 100, text("two"), TAIL])
    events, _ = await gather(router_of(a), (A,), clock.monotonic() + 10.0)
    assert text("two")[0] in events


async def test_leaving_closes_the_upstream_stream_and_blames_nobody(scripted: Make, router_of: MakeRouter):
    a = scripted("a", [HEAD, text("one"), ...])
    router = router_of(a)
    async with router.chat_stream((A,), REQUEST, 60.0) as stream:
        async for _ in stream:
            break
    state = router.states()[0]
    assert (a.closed, state.in_flight, state.failures, state.calls) == (1, 0, 0, 0)
    assert outcomes(stream.attempts) == [("a/m", "cancelled")]


@pytest.mark.parametrize("script", [[...], [HEAD, ...], [HEAD, text("x"), ...]], ids=["opening", "head", "middle"])
async def test_cancellation_reaches_the_provider(scripted: Make, router_of: MakeRouter, script: list[Any]):
    a, b = scripted("a", script), scripted("b")
    router = router_of(a, b)
    task = asyncio.create_task(gather(router))
    await a.started.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert a.cancelled == 1
    assert not b.calls
    assert (router.states()[0].in_flight, router.states()[0].failures) == (0, 0)


async def test_cut_streams_open_the_breaker(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a = scripted("a", [HEAD, text("x"), failure("cut")])
    router = router_of(a)
    for _ in range(5):
        with pytest.raises(ProviderFailure):
            await gather(router, (A,))
    assert router.states()[0].breaker == "open"


async def test_a_long_stream_that_probes_does_not_keep_others_waiting(
    scripted: Make, router_of: MakeRouter, clock: ManualClock
):
    good = [HEAD, text("x"), TAIL]
    a = scripted("a", *[[failure("network")]] * 5, [HEAD, text("x"), ...], good)
    router = router_of(a)
    for _ in range(5):
        with pytest.raises(ProviderFailure):
            await gather(router, (A,), clock.monotonic() + 60.0)
    clock.advance(5.0)
    async with router.chat_stream((A,), REQUEST, clock.monotonic() + 60.0):
        for _ in range(2):
            await gather(router, (A,), clock.monotonic() + 60.0)
        assert router.states()[0].breaker == "closed"
    assert router.states()[0].in_flight == 0


async def test_a_probe_counts_once(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a = scripted("a", *[[failure("network")]] * 5, [HEAD, text("x"), TAIL])
    router = router_of(a)
    for _ in range(5):
        with pytest.raises(ProviderFailure):
            await gather(router, (A,), clock.monotonic() + 60.0)
    clock.advance(5.0)
    states = []
    for _ in range(3):
        await gather(router, (A,), clock.monotonic() + 60.0)
        states.append(router.states()[0].breaker)
    assert states == ["half-open", "half-open", "closed"]


@pytest.mark.parametrize("others", [0, 2], ids=["while probing", "once closed"])
async def test_a_probe_that_breaks_off_later_counts(
    scripted: Make, router_of: MakeRouter, clock: ManualClock, others: int
):
    good = [HEAD, text("x"), TAIL]
    a = scripted("a", *[[failure("network")]] * 5, [HEAD, text("x"), failure("cut")], good)
    router = router_of(a)
    for _ in range(5):
        with pytest.raises(ProviderFailure):
            await gather(router, (A,), clock.monotonic() + 60.0)
    clock.advance(5.0)
    with pytest.raises(ProviderFailure):
        async with router.chat_stream((A,), REQUEST, clock.monotonic() + 60.0) as stream:
            for _ in range(others):
                await gather(router, (A,), clock.monotonic() + 60.0)
            assert router.states()[0].breaker == ("closed" if others else "half-open")
            async for _ in stream:
                pass
    state = router.states()[0]
    assert (state.breaker, state.failures) == (("closed", 1) if others else ("open", 0))
    assert state.last_failure == "cut"


async def test_an_error_of_the_consumer_passes_through(scripted: Make, router_of: MakeRouter):
    a = scripted("a", [HEAD, text("x"), TAIL])
    router = router_of(a)
    with pytest.raises(ZeroDivisionError):
        async with router.chat_stream((A,), REQUEST, 60.0):
            raise ZeroDivisionError
    assert (a.closed, router.states()[0].in_flight) == (1, 0)
