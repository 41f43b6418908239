"""Budgets: never exceeded by one call, token or nano-dollar, at 64 calls at once (issue: optimization, figures)."""

import asyncio
import random
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from calls_kit import PRICES, asked, bench

from ostinato import calls
from ostinato.calls import Budget, Exhausted, Limits, Spent
from ostinato.calls.bounds import Bound, dearest
from ostinato.providers.model import ProviderFailure
from ostinato.wire.model import ChatRequest, Message, Text, Tool, Usage


def within(limits: Limits, spent: Spent) -> bool:
    return (
        (limits.calls is None or spent.calls <= limits.calls)
        and (limits.tokens is None or spent.tokens <= limits.tokens)
        and (limits.nano is None or spent.nano <= limits.nano)
    )


@pytest.mark.parametrize(
    "limits",
    [
        Limits(calls=37),
        Limits(tokens=8_000),
        Limits(nano=15_000),
        Limits(calls=150, tokens=9_000, nano=20_000),
        Limits(calls=0),
        Limits(tokens=0),
        Limits(nano=0),
    ],
)
async def test_never_exceeded_at_64_at_once(tmp_path: Path, limits: Limits) -> None:
    async with bench(tmp_path, settings=calls.Settings(concurrency=64)) as room:
        room.provider.latency = 0.001
        budget = Budget(limits)
        asking = [room.ask(f"{n} " + "x" * (n * 7 % 90), budget) for n in range(200)]
        told = await asyncio.gather(*asking, return_exceptions=True)
        refused = [one for one in told if isinstance(one, BaseException)]
        assert all(isinstance(one, Exhausted) for one in refused)
        assert refused, "the budget was meant to be too small"
        assert within(limits, room.provider.billed)
        assert room.provider.most_open <= 64
        assert budget.spent == room.provider.billed == await room.calls.journal("run")
        assert budget.reserved == Spent()
        assert len(room.provider.asked) == len(told) - len(refused)
        if limits.calls == 37:
            assert room.provider.billed.calls == 37, "and all of it can be used"


async def test_failures_within_the_budget(tmp_path: Path) -> None:
    """What may have been charged counts in full; what was refused counts nothing."""
    async with bench(tmp_path, settings=calls.Settings(concurrency=64, backoff=0.001, backoff_longest=0.01)) as room:
        kinds = ("server", "timeout", "malformed", "network")

        def fail(number: int) -> Exception | None:
            if number % 3:
                return None
            return ProviderFailure("no", failure=kinds[number % 4])  # pyright: ignore

        room.provider.fail = fail
        limits = Limits(calls=50, tokens=40_000)
        budget = Budget(limits)
        await asyncio.gather(*(room.ask(f"{n}", budget) for n in range(100)), return_exceptions=True)
        assert within(limits, budget.spent)
        assert budget.reserved == Spent()
        assert budget.spent.calls == room.provider.billed.calls + room.calls.unheard
        journal = await room.calls.journal("run")
        assert (journal.calls, journal.tokens, journal.nano) == (
            budget.spent.calls,
            budget.spent.tokens,
            budget.spent.nano,
        )


@given(
    limits=st.builds(
        Limits,
        calls=st.none() | st.integers(0, 30),
        tokens=st.none() | st.integers(0, 500),
        nano=st.none() | st.integers(0, 500),
    ),
    wishes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 100)), max_size=60),
)
@settings(max_examples=60, deadline=None)
def test_reservations_hold(limits: Limits, wishes: list[tuple[int, int, int]]) -> None:
    """Whatever is asked in whatever order: settled and reserved together stay within every limit."""

    async def go() -> None:
        budget = Budget(limits)

        async def one(tokens: int, nano: int, used: int) -> None:
            try:
                reservation = await budget.acquire(tokens, nano)
            except Exhausted:
                return
            spent, held = budget.spent, budget.reserved
            together = Spent(
                calls=spent.calls + held.calls, tokens=spent.tokens + held.tokens, nano=spent.nano + held.nano
            )
            assert within(limits, together)
            await asyncio.sleep(0)
            if used % 5 == 0:
                budget.release(reservation)
            else:
                budget.settle(reservation, tokens=tokens * used // 100, nano=nano * used // 100)
            budget.settle(reservation, tokens=10**9, nano=10**9)  # a second time: nothing

        await asyncio.gather(*(one(*wish) for wish in wishes))
        assert within(limits, budget.spent)
        assert budget.reserved == Spent()

    asyncio.run(go())


async def test_who_waits_is_cancelled() -> None:
    """A waiter that leaves does not keep the others from their turn."""
    budget = Budget(Limits(calls=10, tokens=10))
    first = budget.reserve(10, 0)
    waiting = [asyncio.create_task(budget.acquire(5, 0)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    budget.release(first)
    await asyncio.wait(waiting)
    assert waiting[0].cancelled()
    assert [task.result().tokens for task in waiting[1:]] == [5, 5]


def test_from_threads() -> None:
    budget = Budget(Limits(tokens=10_000))
    seen: list[int] = []

    def work() -> None:
        for _ in range(200):
            try:
                one = budget.reserve(random.randint(1, 50), None)
            except Exhausted:
                continue
            seen.append(budget.spent.tokens + budget.reserved.tokens)
            budget.settle(one, tokens=one.tokens, nano=None)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert budget.spent.tokens <= 10_000
    assert max(seen) <= 10_000 + 50, "two properties are not read at one instant"
    assert budget.reserved == Spent()


def test_unknown_price_under_a_limit_on_money() -> None:
    with pytest.raises(Exhausted) as told:
        Budget(Limits(nano=10**12)).reserve(1, None)
    assert told.value.code == "price_unknown"


async def test_unknown_usage_is_settled_in_full(tmp_path: Path) -> None:
    async with bench(tmp_path) as room:
        room.provider.told = lambda _call: None
        budget = Budget(Limits(tokens=100_000))
        await room.ask("hello", budget)
        assert budget.spent.tokens == calls.estimate(asked("hello").request, 50)


def words(min_size: int = 0) -> st.SearchStrategy[str]:
    return st.text(min_size=min_size, max_size=40)


@given(texts=st.lists(words(), min_size=1, max_size=4), tool=words(1), most=st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_estimate_is_an_upper_bound(texts: list[str], tool: str, most: int) -> None:
    """Never less than a token for each byte, normalized or not, and what a template puts around it."""
    import unicodedata

    request = ChatRequest(
        model="m",
        messages=tuple(Message("user", (Text(text),)) for text in texts),
        tools=(Tool(name=tool, schema={"type": "object"}),),
    )
    size = sum(
        max(len(unicodedata.normalize(form, text).encode("utf-8", "replace")) for form in ("NFC", "NFKC", "NFD"))
        for text in texts
    )
    assert calls.estimate(request, most) >= size + len(tool.encode("utf-8", "replace")) + most + 16 * len(texts)


@pytest.mark.parametrize("text", ["a" * 10_000, "\u00e9" * 10_000, "\ufdfa" * 1_000, "\U0001f600" * 1_000])
def test_estimate_of_long_texts(text: str) -> None:
    """A token for each byte: what a tokenizer makes of digits, blanks or pictures at its worst."""
    most = calls.estimate(asked(text, max_tokens=7).request, 7)
    assert len(text.encode()) <= most - 7
    assert most - 7 <= 33 * len(text) + 512, "and not without measure"


@given(
    input=st.integers(0, 100_000),
    output=st.integers(0, 20_000),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
    model=st.sampled_from(["claude-sonnet-4-5", "gpt-4o-mini", "gemini-2.5-pro"]),
)
@settings(max_examples=200, deadline=None)
def test_dearest_is_an_upper_bound(input: int, output: int, shares: tuple[float, ...], model: str) -> None:
    """Whatever the buckets and however much less it is: never dearer. Prices of long prompts included."""
    provider = {"c": "anthropic", "g": "openai"}[model[0]] if not model.startswith("gemini") else "google"
    most = dearest(PRICES, provider, model, Bound(input=input, output=output), 1_790_000_000_000_000)
    if most is None:
        assert PRICES.price(provider, model, Usage(input=1), 1_790_000_000_000_000) is None
        return
    used = int(input * shares[0])
    read = int(used * shares[1])
    written = int((used - read) * shares[2])
    made = int(output * shares[3])
    raw = {"cache_creation": {"ephemeral_1h_input_tokens": written}} if input % 2 else None
    usage = Usage(
        input=used - read - written, cache_read=read, cache_write=written, output=made // 2, reasoning=made - made // 2
    )
    cost = PRICES.price(
        provider,
        model,
        Usage(usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning, raw),
        1_790_000_000_000_000,
    )
    assert cost is not None and cost <= most
