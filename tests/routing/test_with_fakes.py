"""The router over providers that ship: the fake in all its moods."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ostinato.core.clock import ManualClock
from ostinato.core.errors import Unavailable
from ostinato.providers import Fake, ProviderFailure
from ostinato.routing import Router, Target, attempts_of
from ostinato.wire.model import ChatRequest, Delta, EmbeddingRequest, Finish, Message, Text

MakeRouter = Callable[..., Router]
REQUEST = ChatRequest("alias", (Message("user", (Text("Where is my card?"),)),), stream=True)


def outcomes(rows: Any) -> list[tuple[str, str]]:
    return [(row.target, row.outcome) for row in rows]


@pytest.fixture
def fakes(clock: ManualClock) -> tuple[Fake, Fake]:
    return Fake("a", "", clock), Fake("b", "", clock)


@pytest.mark.parametrize(
    ("model", "outcome"),
    [
        ("fake-401", "credential"), ("fake-403", "forbidden"), ("fake-429", "rate"), ("fake-500", "server"),
        ("fake-529", "server"), ("fake-html", "malformed"), ("fake-half", "malformed"), ("fake-empty", "malformed"),
        ("fake-reset=0", "network"), ("fake-cut=0", "cut"), ("fake-reset=0,cut=0", "network"),
    ],
)  # fmt: skip
async def test_every_failure_before_content_leads_to_the_next(
    fakes: tuple[Fake, Fake], router_of: MakeRouter, clock: ManualClock, model: str, outcome: str
):
    router = router_of(*fakes)
    targets = (Target("a", model, retries=0), Target("b", "good"))
    async with router.chat_stream(targets, REQUEST, clock.monotonic() + 30) as stream:
        events = [event async for batch in stream for event in batch]
    assert outcomes(stream.attempts) == [(f"a/{model}", outcome), ("b/good", "ok")]
    assert stream.is_fallback
    assert isinstance(events[-1], Finish) or any(isinstance(event, Finish) for event in events)


@pytest.mark.parametrize("model", ["fake-cut=3", "fake-reset=2", "fake-error200"])
async def test_no_failure_after_content_does(
    fakes: tuple[Fake, Fake], router_of: MakeRouter, clock: ManualClock, model: str
):
    router = router_of(*fakes)
    seen: list[Any] = []
    with pytest.raises(ProviderFailure) as caught:
        async with router.chat_stream((Target("a", model), Target("b", "good")), REQUEST, 30.0) as stream:
            async for batch in stream:
                seen += batch
    assert any(isinstance(event, Delta) for event in seen)
    assert len(attempts_of(caught.value)) == 1
    assert fakes[1].calls == 0


@pytest.mark.parametrize("model", ["fake-400", "fake-404", "fake-413", "fake-422"])
async def test_the_callers_mistakes_come_back_as_they_are(
    fakes: tuple[Fake, Fake], router_of: MakeRouter, clock: ManualClock, model: str
):
    with pytest.raises(ProviderFailure) as caught:
        await router_of(*fakes).chat((Target("a", model), Target("b", "good")), REQUEST, 30.0)
    assert caught.value.failure == "request"
    assert caught.value.upstream_status == int(model[-3:])
    assert caught.value.body
    assert fakes[1].calls == 0


async def test_a_silent_provider_costs_its_time_out_and_no_more(
    fakes: tuple[Fake, Fake], router_of: MakeRouter, clock: ManualClock
):
    router = router_of(*fakes)
    targets = (Target("a", "fake-hang=0", timeout=3.0), Target("b", "good"))
    task = asyncio.create_task(router.chat(targets, REQUEST, clock.monotonic() + 30))
    for _ in range(40):
        await asyncio.sleep(0)
        if task.done():
            break
        clock.advance(0.1)
    routed = await task
    assert outcomes(routed.attempts) == [("a/fake-hang=0", "timeout"), ("b/good", "ok")]
    assert routed.upstream_us == pytest.approx(3_000_000, abs=200_000)


async def test_the_caller_who_leaves_cancels_upstream(
    fakes: tuple[Fake, Fake], router_of: MakeRouter, clock: ManualClock
):
    router = router_of(*fakes)
    for model in ("fake-hang=0", "fake-hang=2"):
        task = asyncio.create_task(drain(router, Target("a", model), clock))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert fakes[0].cancelled == 2
    assert all(state.in_flight == state.failures == 0 for state in router.states())


async def drain(router: Router, target: Target, clock: ManualClock) -> None:
    async with router.chat_stream((target,), REQUEST, clock.monotonic() + 30) as stream:
        async for _ in stream:
            pass


async def test_breakers_open_within_two_seconds_of_half_the_calls_failing(router_of: MakeRouter, clock: ManualClock):
    """F2: the breaker opens, is probed one call at a time, and closes once the provider is back."""
    bad, good = Fake("a", "", clock), Fake("b", "", clock)
    router = router_of(bad, good)
    flaky = Target("a", "fake-flaky=1", retries=0)
    targets = (flaky, Target("b", "good"))

    async def call() -> str:
        clock.advance(0.05)
        return (await router.chat(targets, REQUEST, clock.monotonic() + 30)).target.name

    def state() -> str:
        return router.states((flaky,))[0].breaker

    begun = clock.monotonic()
    while state() == "closed":
        await call()
        assert clock.monotonic() - begun <= 2.0
    before = bad.calls
    for _ in range(50):
        assert await call() == "b/good"
    assert bad.calls == before, "nobody asks while it is open"
    for _ in range(1200):
        await call()
    assert router.states()[0].transitions <= 2, "one minute of half the calls failing"


async def test_when_nobody_is_left_it_says_so(fakes: tuple[Fake, Fake], router_of: MakeRouter, clock: ManualClock):
    router = router_of(*fakes)
    targets = (Target("a", "fake-500", retries=0), Target("b", "fake-reset=0", retries=0))
    for _ in range(5):
        with pytest.raises(ProviderFailure):
            await router.chat(targets, REQUEST, clock.monotonic() + 30)
    with pytest.raises(Unavailable) as caught:
        await router.chat(targets, REQUEST, clock.monotonic() + 30)
    assert caught.value.retry_after


async def test_embeddings_and_counts(fakes: tuple[Fake, Fake], router_of: MakeRouter, clock: ManualClock):
    router = router_of(*fakes)
    targets = (Target("a", "fake-html"), Target("b", "good"))
    vectors = await router.embed(targets, EmbeddingRequest("e", ("one", "two")), clock.monotonic() + 30)
    assert (len(vectors.vectors), vectors.target.name) == (2, "b/good")
    count = await router.count_tokens((Target("b", "good"),), REQUEST, clock.monotonic() + 30)
    assert count.tokens >= 1
