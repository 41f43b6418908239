"""Calls on a real SQLite file, with a provider inside the process whose latency, failures and usage a test decides."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec

from ostinato import calls, routing, storage, traces
from ostinato.core.clock import Clock, SystemClock
from ostinato.providers.model import ChatCall, ChatReply
from ostinato.wire.model import Answer, BlockStart, BlockStop, ChatRequest, Delta, Finish, Message, Start, Text, Usage

PRICES = traces.PriceBook.load({"fake/m": traces.Tariff(input=1.0, output=4.0, cache_write=2.0)})


class Provider:
    """Answers, and keeps count of what it would have billed."""

    name = "fake"
    wire = "openai.chat"

    def __init__(self, clock: Clock, seed: int = 0) -> None:
        self.clock = clock
        self.random = random.Random(seed)
        self.asked: list[str] = []
        self.billed = calls.Spent()
        self.open = 0
        self.most_open = 0
        self.latency = 0.0
        self.fail: Callable[[int], Exception | None] = lambda _n: None
        self.told: Callable[[ChatCall], Usage | None] = self.usage

    def usage(self, call: ChatCall) -> Usage:
        """Whatever a tokenizer may make of it, up to a token for each byte."""
        size = sum(len(block.text.encode()) for m in call.request.messages for block in m.content)  # pyright: ignore
        most = call.request.max_tokens or 0
        written = self.random.randint(0, size)
        return Usage(
            input=self.random.randint(0, size - written), cache_write=written, output=self.random.randint(0, most)
        )

    async def chat(self, call: ChatCall) -> ChatReply:
        text = call.request.messages[-1].content[0].text  # pyright: ignore
        self.asked.append(text)
        number = len(self.asked)
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        try:
            await (self.clock.sleep(self.latency) if self.latency else asyncio.sleep(0))
            failure = self.fail(number)
            if failure is not None:
                raise failure
            usage = self.told(call)
            if usage is not None:
                self.billed = calls.Spent(
                    calls=self.billed.calls + 1,
                    tokens=self.billed.tokens + usage.total,
                    nano=self.billed.nano + (PRICES.price("fake", "m", usage, self.clock.now()) or 0),
                )
            return ChatReply(answer_of(f"re: {text}", usage))
        finally:
            self.open -= 1


def answer_of(text: str, usage: Usage | None) -> Answer:
    events: list[Any] = [Start("m"), BlockStart(0, "text"), Delta(0, text), BlockStop(0), Finish("stop")]
    return Answer("openai.chat", tuple([*events, usage] if usage is not None else events))


class Value(msgspec.Struct):
    value: Any


class Bench:
    """A room of calls, and what is around it."""

    def __init__(self, path: Path, clock: Clock, settings: calls.Settings | None = None, seed: int = 0) -> None:
        self.clock = clock
        self.work = storage.open_database("work", path)
        storage.migrate(self.work)
        self.provider = Provider(clock, seed)
        catalog = routing.compile_routes(
            {"m": {"targets": ["fake/m"]}, "unpriced": {"targets": ["fake/other"]}}, {"fake": b"here"}
        )
        self.rows: list[traces.CallRow] = []
        providers: Any = {"fake": self.provider}
        recorder: Any = self
        self.calls = calls.Calls(
            self.work,
            routing.Router(providers, clock, routing.Settings()),
            Value(catalog),
            Value(PRICES),
            recorder,
            clock,
            settings or calls.Settings(),
        )

    def call(self, row: traces.CallRow) -> None:
        self.rows.append(row)

    async def ask(self, text: str, budget: calls.Budget | None = None, **more: Any) -> calls.Called:
        return await self.calls.ask(asked(text, **more), budget)

    async def close(self) -> None:
        await self.calls.stop()
        self.work.close()


def asked(text: str, **more: Any) -> calls.Asked:
    fields = {"alias": "m", "namespace": "run", "purpose": "search", **more}
    most = fields.pop("max_tokens", 50)
    request = ChatRequest(model="m", messages=(Message("user", (Text(text),)),), max_tokens=most)
    return calls.Asked(org="o", project="p", request=request, **fields)


@contextlib.asynccontextmanager
async def bench(path: Path, clock: Clock | None = None, **more: Any) -> AsyncIterator[Bench]:
    made = Bench(path / "work.db", clock or SystemClock(), **more)
    try:
        yield made
    finally:
        await made.close()
