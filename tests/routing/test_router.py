"""Asking targets in turn: who is asked, how often, for how long, and what comes out."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ostinato.core.clock import ManualClock
from ostinato.core.errors import Invalid, Unavailable
from ostinato.providers.model import ChatCall, ChatReply, ProviderFailure
from ostinato.routing import Route, Router, Target, attempts_of, compile_routes
from ostinato.wire.model import ChatRequest, EmbeddingRequest

Make = Callable[..., Any]
MakeRouter = Callable[..., Router]
REQUEST = ChatRequest("alias", ())
A, B, C = Target("a", "m"), Target("b", "m"), Target("c", "m")
ONCE = [msgspec.structs.replace(target, retries=0) for target in (A, B, C)]


def failure(kind: Any, status: int | None = None, retry_after: float | None = None) -> ProviderFailure:
    return ProviderFailure(f"It failed: {kind}.", failure=kind, upstream_status=status, retry_after=retry_after)


def outcomes(rows: Any) -> list[tuple[str, str]]:
    return [(row.target, row.outcome) for row in rows]


async def winding(clock: ManualClock, work: Any) -> Any:
    """Await ``work`` while winding the clock through its waits."""
    task = asyncio.ensure_future(work)
    for _ in range(1000):
        await asyncio.sleep(0)
        if task.done():
            return task.result()
        clock.advance(0.01)
    task.cancel()
    raise AssertionError("it does not end")


async def test_the_first_target_answers(scripted: Make, router_of: MakeRouter):
    a, b = scripted("a", [1.5, "hi"]), scripted("b")
    routed = await router_of(a, b).chat((A, B), REQUEST, 60.0, {"anthropic-beta": "x"})
    assert routed.answer.events[2].text == "hi"  # type: ignore[union-attr]
    assert (routed.target, routed.is_fallback) == (A, False)
    assert [(row.target, row.outcome, row.us) for row in routed.attempts] == [("a/m", "ok", 1_500_000)]
    assert routed.upstream_us == 1_500_000
    assert routed.first_byte_us == 250_000
    assert dict(routed.headers) == {"x-ratelimit-limit-requests": "5"}
    assert a.calls[0].model == "m"
    assert a.calls[0].headers == {"anthropic-beta": "x"}
    assert not b.calls


async def test_the_first_byte_never_comes_after_the_last(
    scripted: Make, router_of: MakeRouter, monkeypatch: pytest.MonkeyPatch
):
    a = scripted("a", [0.1, "hi"])
    answer = a.chat

    async def timed_on_a_coarse_clock(call: ChatCall) -> ChatReply:
        return msgspec.structs.replace(await answer(call), first_byte=1.0)

    monkeypatch.setattr(a, "chat", timed_on_a_coarse_clock)
    routed = await router_of(a).chat((A,), REQUEST, 60.0)
    assert routed.first_byte_us == routed.upstream_us == 100_000


@pytest.mark.parametrize(
    ("kind", "tries"),
    [
        ("credential", 1), ("forbidden", 1), ("rate", 1), ("malformed", 1), ("cut", 1), ("timeout", 1),
        ("server", 3), ("network", 3),
    ],
)  # fmt: skip
async def test_what_is_retried_and_what_goes_on(
    scripted: Make, router_of: MakeRouter, clock: ManualClock, kind: str, tries: int
):
    a, b = scripted("a", [failure(kind, 599)]), scripted("b")
    twice = msgspec.structs.replace(A, retries=2)
    routed = await winding(clock, router_of(a, b).chat((twice, B), REQUEST, 60.0))
    assert outcomes(routed.attempts) == [("a/m", kind)] * tries + [("b/m", "ok")]
    assert routed.attempts[0].status == 599
    assert (routed.target, routed.is_fallback) == (B, True)


async def test_the_callers_mistake_goes_back_to_the_caller(scripted: Make, router_of: MakeRouter):
    mistake = failure("request", 422)
    a, b = scripted("a", [mistake]), scripted("b")
    with pytest.raises(ProviderFailure) as caught:
        await router_of(a, b).chat((A, B), REQUEST, 60.0)
    assert caught.value is mistake
    assert outcomes(attempts_of(caught.value)) == [("a/m", "request")]
    assert not b.calls


async def test_the_last_failure_comes_out_with_every_attempt(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a, b = scripted("a", [failure("server", 500)]), scripted("b", [failure("rate", 429)])
    with pytest.raises(ProviderFailure) as caught:
        await winding(clock, router_of(a, b).chat((A, B), REQUEST, 60.0))
    assert caught.value.failure == "rate"
    assert outcomes(attempts_of(caught.value)) == [("a/m", "server"), ("a/m", "server"), ("b/m", "rate")]


async def test_backoff_waits_on_the_clock_and_honours_what_the_provider_asks(
    scripted: Make, router_of: MakeRouter, clock: ManualClock
):
    a = scripted("a", [failure("server", 503, retry_after=1.0)], ["hi"])
    begun = clock.monotonic()
    routed = await winding(clock, router_of(a).chat((A,), REQUEST, 60.0))
    assert clock.monotonic() - begun == pytest.approx(1.0, abs=0.02)
    assert routed.upstream_us == pytest.approx(1_000_000, abs=20_000)


async def test_who_asks_for_a_long_wait_is_not_retried(scripted: Make, router_of: MakeRouter):
    a, b = scripted("a", [failure("server", 503, retry_after=30.0)]), scripted("b")
    routed = await router_of(a, b).chat((A, B), REQUEST, 60.0)
    assert outcomes(routed.attempts) == [("a/m", "server"), ("b/m", "ok")]


async def test_attempts_stay_within_the_deadline(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a = scripted("a", [8, failure("timeout")])
    b = scripted("b", [2, failure("timeout")])
    c = scripted("c")
    targets = tuple(msgspec.structs.replace(target, timeout=8.0) for target in (A, B, C))
    with pytest.raises(ProviderFailure) as caught:
        await router_of(a, b, c).chat(targets, REQUEST, clock.monotonic() + 10.0)
    assert [call.timeout for call in (*a.calls, *b.calls)] == [8.0, 2.0]
    assert not c.calls, "no time was left for it"
    assert caught.value.failure == "timeout"
    assert outcomes(attempts_of(caught.value)) == [("a/m", "timeout"), ("b/m", "timeout")]


async def test_no_retry_that_could_not_end_in_time(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a = scripted("a", [9.9, failure("server", 503, retry_after=0.5)])
    with pytest.raises(ProviderFailure, match="server"):
        await router_of(a).chat((A,), REQUEST, clock.monotonic() + 10.0)
    assert len(a.calls) == 1


async def test_a_deadline_in_the_past_asks_nobody(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a = scripted("a")
    with pytest.raises(ProviderFailure) as caught:
        await router_of(a).chat((A,), REQUEST, clock.monotonic())
    assert caught.value.failure == "timeout"
    assert not a.calls


async def test_a_short_deadline_is_not_held_against_the_target(
    scripted: Make, router_of: MakeRouter, clock: ManualClock
):
    a = scripted("a", [0.5, failure("timeout")])
    router = router_of(a)
    for _ in range(20):
        with pytest.raises(ProviderFailure):
            await router.chat((A,), REQUEST, clock.monotonic() + 0.5)
    assert router.states()[0].breaker == "closed"
    slow = scripted("b", [6, failure("timeout")])
    router = router_of(slow)
    for _ in range(5):
        with pytest.raises(ProviderFailure):
            await router.chat((B,), REQUEST, clock.monotonic() + 6.0)
    assert router.states()[0].breaker == "open"


async def test_cancellation_reaches_the_provider_at_once(scripted: Make, router_of: MakeRouter):
    a, b = scripted("a", [...]), scripted("b")
    router = router_of(a, b)
    task = asyncio.create_task(router.chat((A, B), REQUEST, 60.0))
    await a.started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert a.cancelled == 1
    assert not b.calls
    assert outcomes(attempts_of(caught.value)) in ([("a/m", "cancelled")], [])
    state = router.states()[0]
    assert (state.in_flight, state.failures, state.breaker) == (0, 0, "closed")


async def test_cancellation_during_a_backoff(scripted: Make, router_of: MakeRouter):
    a = scripted("a", [failure("server")])
    router = router_of(a)
    task = asyncio.create_task(router.chat((A,), REQUEST, 60.0))
    await a.started.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert router.states()[0].in_flight == 0


async def test_an_open_target_is_passed_over_until_it_recovers(
    scripted: Make, router_of: MakeRouter, clock: ManualClock
):
    """F2 through the router."""
    a, b = scripted("a", *[[failure("network")]] * 5, ["back"]), scripted("b")
    router = router_of(a, b)
    one, two = ONCE[:2]
    for _ in range(5):
        await router.chat((one, two), REQUEST, clock.monotonic() + 60.0)
    assert router.states()[0].breaker == "open"
    routed = await router.chat((one, two), REQUEST, clock.monotonic() + 60.0)
    assert outcomes(routed.attempts) == [("a/m", "open"), ("b/m", "ok")]
    assert routed.is_fallback
    assert len(a.calls) == 5
    clock.advance(5.0)
    for _ in range(3):
        routed = await router.chat((one, two), REQUEST, clock.monotonic() + 60.0)
        assert outcomes(routed.attempts) == [("a/m", "ok")]
    assert router.states()[0].breaker == "closed"


async def test_half_open_one_of_many_probes(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a, b = scripted("a", *[[failure("network")]] * 5, [...]), scripted("b")
    router = router_of(a, b)
    for _ in range(5):
        await router.chat((ONCE[0], ONCE[1]), REQUEST, clock.monotonic() + 60.0)
    clock.advance(5.0)
    tasks = [asyncio.create_task(router.chat((ONCE[0], ONCE[1]), REQUEST, clock.monotonic() + 60.0)) for _ in range(30)]
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(a.calls) == 6
    assert sum(task.done() for task in tasks) == 29
    pending = next(task for task in tasks if not task.done())
    pending.cancel()
    await asyncio.gather(pending, return_exceptions=True)
    again = asyncio.create_task(router.chat((ONCE[0], ONCE[1]), REQUEST, clock.monotonic() + 60.0))
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(a.calls) == 7, "a cancelled probe gives its turn back"
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)


async def test_when_all_are_open_it_says_when_to_come_back(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a, b = scripted("a", [failure("network")]), scripted("b", [failure("malformed")])
    router = router_of(a, b)
    for _ in range(5):
        with pytest.raises(ProviderFailure):
            await router.chat((ONCE[0], ONCE[1]), REQUEST, clock.monotonic() + 60.0)
    with pytest.raises(Unavailable) as caught:
        await router.chat((ONCE[0], ONCE[1]), REQUEST, clock.monotonic() + 60.0)
    assert caught.value.code == "targets_unavailable"
    assert caught.value.retry_after == pytest.approx(5.0)
    assert outcomes(attempts_of(caught.value)) == [("a/m", "open"), ("b/m", "open")]
    assert len(a.calls) == len(b.calls) == 5


@pytest.mark.parametrize("kind", ["request", "rate", "credential", "forbidden"])
async def test_a_refusal_does_not_open_the_breaker(
    scripted: Make, router_of: MakeRouter, clock: ManualClock, kind: str
):
    a = scripted("a", [failure(kind)])
    router = router_of(a)
    for _ in range(50):
        with pytest.raises(ProviderFailure):
            await router.chat((A,), REQUEST, clock.monotonic() + 60.0)
    assert router.states()[0].breaker == "closed"
    assert router.states()[0].last_failure == kind


async def test_a_rate_limited_target_rests(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a, b = scripted("a", [failure("rate", 429, retry_after=7)], ["back"]), scripted("b")
    router = router_of(a, b)
    await router.chat((A, B), REQUEST, clock.monotonic() + 60.0)
    assert router.states()[0].resting == pytest.approx(7.0)
    routed = await router.chat((A, B), REQUEST, clock.monotonic() + 60.0)
    assert outcomes(routed.attempts) == [("b/m", "ok")]
    assert routed.is_fallback, "the asked target did not answer"
    clock.advance(7.01)
    routed = await router.chat((A, B), REQUEST, clock.monotonic() + 60.0)
    assert (routed.target, routed.is_fallback) == (A, False)


async def test_a_resting_target_is_asked_when_nobody_else_can(
    scripted: Make, router_of: MakeRouter, clock: ManualClock
):
    a, b = scripted("a", [failure("rate", 429)], ["back"]), scripted("b", ["hi"], [failure("malformed")])
    router = router_of(a, b)
    await router.chat((A, B), REQUEST, clock.monotonic() + 60.0)
    routed = await router.chat((A, B), REQUEST, clock.monotonic() + 60.0)
    assert outcomes(routed.attempts) == [("b/m", "malformed"), ("a/m", "ok")]
    assert not routed.is_fallback


async def test_rests_grow_and_are_bounded(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a = scripted("a", *[[failure("rate", 429)]] * 8, [failure("rate", 429, retry_after=9999)])
    router = router_of(a)
    rests = []
    for _ in range(9):
        with pytest.raises(ProviderFailure):
            await router.chat((A,), REQUEST, clock.monotonic() + 60.0)
        rests.append(round(router.states()[0].resting))
    assert rests == [1, 2, 4, 8, 16, 30, 30, 30, 30]


async def test_calls_at_once_are_bounded(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a = scripted("a", [...])
    router = router_of(a, max_concurrency=2, max_waiting=1, wait=0.02)
    running = [asyncio.create_task(router.chat((A,), REQUEST, 60.0)) for _ in range(2)]
    await asyncio.sleep(0)
    waiting = asyncio.create_task(router.chat((A,), REQUEST, 60.0))
    await asyncio.sleep(0)
    assert (router.states()[0].in_flight, router.states()[0].waiting) == (2, 1)
    with pytest.raises(Unavailable) as caught:
        await router.chat((A,), REQUEST, 60.0)
    assert caught.value.code == "targets_busy"
    assert outcomes(attempts_of(caught.value)) == [("a/m", "busy")]
    with pytest.raises(Unavailable):
        await waiting
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    assert (router.states()[0].in_flight, router.states()[0].waiting) == (0, 0)


async def test_a_busy_target_hands_over_to_the_next(scripted: Make, router_of: MakeRouter):
    a, b = scripted("a", [...]), scripted("b")
    narrow = msgspec.structs.replace(A, max_concurrency=1)
    router = router_of(a, b, max_waiting=0)
    running = asyncio.create_task(router.chat((narrow,), REQUEST, 60.0))
    await asyncio.sleep(0)
    routed = await router.chat((narrow, B), REQUEST, 60.0)
    assert outcomes(routed.attempts) == [("a/m", "busy"), ("b/m", "ok")]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_probe_that_finds_no_place_gives_its_turn_back(
    scripted: Make, router_of: MakeRouter, clock: ManualClock
):
    a = scripted("a", *[[failure("network")]] * 5, ["back"])
    router = router_of(a, max_concurrency=1, max_waiting=0)
    for _ in range(5):
        with pytest.raises(ProviderFailure):
            await router.chat((ONCE[0],), REQUEST, clock.monotonic() + 60.0)
    clock.advance(5.0)
    places = router._lanes.of(ONCE[0]).places
    assert places.take()
    with pytest.raises(Unavailable) as caught:
        await router.chat((ONCE[0],), REQUEST, clock.monotonic() + 60.0)
    assert caught.value.code == "targets_busy"
    places.give_back()
    assert (await router.chat((ONCE[0],), REQUEST, clock.monotonic() + 60.0)).target == ONCE[0]


async def test_a_place_goes_to_the_first_in_line(scripted: Make, router_of: MakeRouter):
    a = scripted("a", [...], ["hi"])
    router = router_of(a, max_concurrency=1, wait=5.0)
    running = asyncio.create_task(router.chat((A,), REQUEST, 60.0))
    await asyncio.sleep(0)
    left, stays = (asyncio.create_task(router.chat((A,), REQUEST, 60.0)) for _ in range(2))
    await asyncio.sleep(0)
    left.cancel()
    running.cancel()
    routed = await stays
    assert routed.target == A
    await asyncio.gather(running, left, return_exceptions=True)
    assert router.states()[0].in_flight == 0


async def test_places_are_never_lost_or_doubled(scripted: Make, router_of: MakeRouter):
    """Callers who come, wait, leave and fail at random: never more at once than allowed, and none left at the end."""
    rng = random.Random(5)
    most = 0

    class Counting(type(scripted("a"))):
        inside = 0

        async def chat(self, call: Any) -> Any:
            nonlocal most
            self.inside += 1
            most = max(most, self.inside)
            try:
                for _ in range(rng.randrange(4)):
                    await asyncio.sleep(0)
                if rng.random() < 0.2:
                    raise failure("request")
                return await super().chat(call)
            finally:
                self.inside -= 1

    router = router_of(Counting("a", ManualClock()), max_concurrency=3, max_waiting=20, wait=1.0)
    tasks: list[asyncio.Task[Any]] = []
    for _ in range(1500):
        tasks.append(asyncio.create_task(router.chat((A,), REQUEST, 60.0)))
        if rng.random() < 0.4:
            rng.choice(tasks[-5:]).cancel()
        if rng.random() < 0.5:
            await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(not isinstance(result, BaseException) for result in results) > 200
    state = router.states()[0]
    assert most == 3
    assert (state.in_flight, state.waiting) == (0, 0)


async def test_a_target_that_cannot_take_the_request_does_not_hide_the_failure_before_it(
    scripted: Make, router_of: MakeRouter, clock: ManualClock
):
    a, b = scripted("a", [failure("malformed")]), scripted("b", [Invalid("No counterpart.", param="messages[0]")])
    with pytest.raises(ProviderFailure) as caught:
        await router_of(a, b).chat((A, B), REQUEST, 60.0)
    assert outcomes(attempts_of(caught.value)) == [("a/m", "malformed"), ("b/m", "invalid_request")]
    with pytest.raises(Invalid, match="No counterpart"):
        await router_of(a, b).chat((B, A), REQUEST, 60.0)


async def test_a_bug_in_a_provider_comes_out_and_frees_its_place(scripted: Make, router_of: MakeRouter):
    router = router_of(scripted("a", [ZeroDivisionError()]))
    with pytest.raises(ZeroDivisionError) as caught:
        await router.chat((A, B), REQUEST, 60.0)
    assert outcomes(attempts_of(caught.value)) == [("a/m", "internal")]
    assert router.states()[0].in_flight == 0


async def test_a_target_without_provider(scripted: Make, router_of: MakeRouter):
    routed = await router_of(scripted("b")).chat((A, B), REQUEST, 60.0)
    assert outcomes(routed.attempts) == [("a/m", "unknown-provider"), ("b/m", "ok")]
    with pytest.raises(Unavailable) as caught:
        await router_of().chat((A, B), REQUEST, 60.0)
    assert caught.value.code == "no_provider"


async def test_embeddings_and_counts_are_routed_alike(scripted: Make, router_of: MakeRouter, clock: ManualClock):
    a, b = scripted("a", [failure("malformed")]), scripted("b", [1, None])
    router = router_of(a, b)
    vectors = await router.embed((A, B), EmbeddingRequest("e", ("x", "y")), clock.monotonic() + 9)
    assert (len(vectors.vectors), vectors.usage.input, vectors.target, vectors.is_fallback) == (2, 3, B, True)
    assert vectors.upstream_us == 1_000_000
    count = await router.count_tokens((A, B), REQUEST, clock.monotonic() + 9)
    assert (count.tokens, count.target) == (42, B)
    assert outcomes(count.attempts) == [("a/m", "malformed"), ("b/m", "ok")]


# --- drawing ----------------------------------------------------------------------------------------------------


def weighted(**weights: float) -> Route:
    body = {
        "strategy": "weighted",
        "targets": [{"provider": name, "model": "m", "weight": weight} for name, weight in weights.items()],
    }
    return compile_routes({"x": body}, dict.fromkeys(weights, b"")).route("p", "x")


def test_an_ordered_route_is_asked_in_order(router_of: MakeRouter):
    route = Route("x", (B, A, C))
    assert router_of().draw(route, b"seed") == router_of().draw(route) == (B, A, C)


def test_targets_are_drawn_as_often_as_their_weights_say(router_of: MakeRouter):
    router, route = router_of(), weighted(a=1, b=2, c=7, d=0)
    for seed in (lambda n: b"%d" % n, lambda n: None):
        firsts = Counter(router.draw(route, seed(n))[0].provider for n in range(20_000))
        for name, share in (("a", 0.1), ("b", 0.2), ("c", 0.7)):
            assert firsts[name] / 20_000 == pytest.approx(share, abs=0.015)
        assert firsts["d"] == 0


def test_the_same_seed_draws_the_same_order(router_of: MakeRouter):
    route = weighted(a=1, b=2, c=3)
    for n in range(50):
        drawn = router_of().draw(route, b"%d" % n)
        assert drawn == router_of().draw(route, b"%d" % n)
        assert sorted(t.provider for t in drawn) == ["a", "b", "c"]


def test_a_changed_weight_moves_only_whom_it_must(router_of: MakeRouter):
    router, before, after = router_of(), weighted(a=1, b=1, c=1), weighted(a=1, b=1, c=2)
    moves = Counter(
        (router.draw(before, b"%d" % n)[0].provider, router.draw(after, b"%d" % n)[0].provider) for n in range(3000)
    )
    assert all(old == new or new == "c" for old, new in moves)


def test_states_and_forgetting(scripted: Make, router_of: MakeRouter):
    router = router_of(scripted("a"))
    assert [state.target for state in router.states([A, B])] == ["a/m", "b/m"]
    router.keep([B])
    assert [state.target for state in router.states()] == ["b/m"]
