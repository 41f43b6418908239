"""Sending traffic through the ``openai`` SDK, a few requests at a time, and writing down what each was like."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, cast

import msgspec
import openai

from ostinato.demo import task
from ostinato.demo.child import ALIAS, Prices
from ostinato.demo.traffic import Ask, Level

IN_FLIGHT: Final = 4
"""Requests at the same time: more than the model computes at once, so that its slots stay busy."""

_TOTAL: Final = re.compile(r"total;dur=([0-9.]+)")
_TOKENS_OF_A_PRICE: Final = 1_000_000


class Tokens(msgspec.Struct, frozen=True):
    """Disjoint buckets."""

    input: int = 0
    cache_read: int = 0
    """Input that the model's own prefix cache held."""
    output: int = 0

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(self.input + other.input, self.cache_read + other.cache_read, self.output + other.output)

    @property
    def total(self) -> int:
        return self.input + self.cache_read + self.output

    def cost(self, prices: Prices) -> float:
        """US dollars."""
        spent = self.input * prices.input + self.cache_read * prices.cache_read + self.output * prices.output
        return spent / _TOKENS_OF_A_PRICE


class Outcome(msgspec.Struct, frozen=True):
    """One request and what came of it. Times in milliseconds, money in US dollars."""

    ask: Ask
    cache: str
    """As the gateway said: ``hit-exact``, ``miss; reason=joined`` ...; ``error`` where there was no answer."""
    right: bool
    total_ms: float
    """As the client saw it, the SDK's own work included."""
    gateway_ms: float | None
    """As the gateway said in ``server-timing``; a stream's is not known before its end."""
    tokens: Tokens = Tokens()
    cost: float = 0.0
    saved: float = 0.0
    error: str = ""
    request_id: str = ""
    """What feedback about it names."""
    arm: str = ""
    """Of the prompt's canary, or ``baseline`` of the hold-out; empty where neither drew it."""

    @property
    def hit(self) -> bool:
        return self.cache.startswith("hit")

    @property
    def held_out(self) -> bool:
        """Whether the hold-out had it answered without the cache."""
        return "reason=holdout" in self.cache

    @property
    def joined(self) -> bool:
        """Whether another's call, under way at the time, answered: neither a hit nor paid for."""
        return "reason=joined" in self.cache


class Gateway(msgspec.Struct, frozen=True):
    """Where to send, and what it charges."""

    url: str
    key: str
    prices: Prices


Compose = Callable[[Ask], dict[str, Any]]
"""The fields of the request, as the SDK takes them."""


def by_level(level: Level) -> Compose:
    """Requests with the whole prompt in them."""

    def compose(ask: Ask) -> dict[str, Any]:
        return {
            "model": ALIAS,
            "messages": task.messages(ask.question.text),
            "extra_body": task.decoding(),
            # Levels must not help one another: a context digest gives each a scope of its own.
            "extra_headers": {"ostinato-context": f"demo-{level.name}"},
        }

    return compose


async def replay(
    gateway: Gateway, compose: Compose, asks: Sequence[Ask], done: Callable[[Outcome], object]
) -> list[Outcome]:
    """Send every request, at most :data:`IN_FLIGHT` at a time, in order; ``done`` is called after each."""
    turns = iter(asks)
    outcomes: list[Outcome] = []
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, timeout=60.0) as client:

        async def work() -> None:
            for ask in turns:
                outcome = await _send(client, compose(ask), ask, gateway.prices)
                outcomes.append(outcome)
                done(outcome)

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return outcomes


async def _send(client: openai.AsyncOpenAI, fields: dict[str, Any], ask: Ask, prices: Prices) -> Outcome:
    if ask.stream:
        fields |= {"stream": True, "stream_options": {"include_usage": True}}
    begun = time.perf_counter()
    try:
        # The fields vary, so the SDK's types cannot tell a stream from an answer.
        create = cast("Callable[..., Awaitable[Any]]", client.chat.completions.with_raw_response.create)
        response = await create(**fields)
        text, usage = await _streamed(response.parse()) if ask.stream else _whole(response.parse())
    except openai.OpenAIError as error:
        elapsed = (time.perf_counter() - begun) * 1000
        return Outcome(ask, "error", False, elapsed, None, error=f"{type(error).__name__}: {error}"[:300])
    elapsed = (time.perf_counter() - begun) * 1000
    headers = cast("dict[str, str]", response.headers)
    timing = _TOTAL.search(headers.get("server-timing", ""))
    outcome = Outcome(
        ask=ask,
        cache=headers.get("ostinato-cache", ""),
        right=task.score(text, ask.question.intent),
        total_ms=elapsed,
        gateway_ms=float(timing[1]) if timing else None,
        tokens=_tokens(usage),
        request_id=headers.get("x-request-id", ""),
        arm=_arm(headers.get("ostinato-prompt", "")),
    )
    # A stream's price is known when it has ended, after its headers.
    price = outcome.tokens.cost(prices)
    free = outcome.hit or outcome.joined
    return msgspec.structs.replace(
        outcome,
        cost=float(headers.get("ostinato-cost", 0.0 if free else price)),
        saved=float(headers.get("ostinato-saved", price if free else 0.0)),
    )


def _arm(told: str) -> str:
    """``arm`` of a header like ``bank/topic; version=2; arm=canary``."""
    found = [part.strip().partition("=")[2] for part in told.split(";") if part.strip().startswith("arm=")]
    return found[0] if found else ""


def _whole(answer: Any) -> tuple[str, Any]:
    return answer.choices[0].message.content or "", answer.usage


async def _streamed(chunks: AsyncIterator[Any]) -> tuple[str, Any]:
    parts: list[str] = []
    usage: Any = None
    async for chunk in chunks:
        usage = chunk.usage or usage
        parts += [choice.delta.content or "" for choice in chunk.choices]
    return "".join(parts), usage


def _tokens(usage: Any) -> Tokens:
    if usage is None:
        return Tokens()
    details = usage.prompt_tokens_details
    cached = (details.cached_tokens or 0) if details else 0
    return Tokens(usage.prompt_tokens - cached, cached, usage.completion_tokens)
