"""A provider that does exactly as it is told, call by call."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Mapping
from types import TracebackType
from typing import Any

import pytest

from ostinato.core.clock import ManualClock
from ostinato.providers.model import ChatCall, ChatReply, EmbedCall, EmbedReply
from ostinato.routing import Router, Settings
from ostinato.wire.model import Answer, BlockStart, BlockStop, Delta, Event, Finish, Start, Usage


def answer(text: str = "hello") -> Answer:
    events: tuple[Event, ...] = (
        Start("real-model"), BlockStart(0, "text"), Delta(0, text), BlockStop(0), Finish("stop"), Usage(1, 0, 0, 1),
    )  # fmt: skip
    return Answer("openai.chat", events)


Step = Any
"""An exception to raise, a number of seconds to let pass on the clock, ``...`` to hang until cancelled, a text to
answer with, or in a stream a list of events to bring."""


class Scripted:
    """Plays one script per call, then the last one again. A script is a list of steps; a stream's may go on after
    events have been brought."""

    wire = "openai.chat"

    def __init__(self, name: str, clock: ManualClock, *scripts: list[Step]) -> None:
        self.name = name
        self.clock = clock
        self.scripts = list(scripts) or [["hello"]]
        self.calls: list[ChatCall | EmbedCall] = []
        self.cancelled = 0
        self.closed = 0
        self.started = asyncio.Event()

    def begin(self, call: Any) -> list[Step]:
        script = self.scripts[min(len(self.calls), len(self.scripts) - 1)]
        self.calls.append(call)
        self.started.set()
        return script

    async def play(self, step: Step) -> Any:
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, int | float):
            self.clock.advance(step)
            return None
        if step is ...:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
        return step

    async def last(self, call: Any) -> Any:
        value = None
        for step in self.begin(call):
            value = await self.play(step)
        return value

    async def start(self) -> None: ...

    async def chat(self, call: ChatCall) -> ChatReply:
        return ChatReply(answer(await self.last(call)), {"x-ratelimit-limit-requests": "5"}, 0.25)

    def chat_stream(self, call: ChatCall) -> "ScriptedStream":
        return ScriptedStream(self, call)

    async def embed(self, call: EmbedCall) -> EmbedReply:
        await self.last(call)
        return EmbedReply(tuple(b"\0\0\0\0" for _ in call.request.inputs), Usage(input=3))

    async def count_tokens(self, call: ChatCall) -> int:
        await self.last(call)
        return 42

    async def models(self) -> list[Any]:
        return []

    async def close(self) -> None: ...


class ScriptedStream:
    """Steps before the first list of events happen while opening."""

    wire = "openai.chat"
    headers: Mapping[str, str] = {"x-ratelimit-limit-requests": "5"}

    def __init__(self, provider: Scripted, call: ChatCall) -> None:
        self.provider = provider
        self.call = call
        self.rest: list[Step] = []

    async def __aenter__(self) -> "ScriptedStream":
        self.rest = list(self.provider.begin(self.call))
        while self.rest and not isinstance(self.rest[0], list):
            await self.provider.play(self.rest.pop(0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.provider.closed += 1

    async def __aiter__(self) -> AsyncIterator[list[Event]]:
        for step in self.rest:
            brought = await self.provider.play(step)
            if isinstance(brought, list):
                yield brought


@pytest.fixture
def scripted(clock: ManualClock) -> Callable[..., Scripted]:
    """Make a provider: ``scripted("a", [ProviderFailure(...)], ["hello"])``."""
    return lambda name, *scripts: Scripted(name, clock, *scripts)


@pytest.fixture
def router_of(clock: ManualClock) -> Callable[..., Router]:
    """Make a router over providers; keywords are settings."""

    def make(*providers: Any, **settings: Any) -> Router:
        return Router({p.name: p for p in providers}, clock, Settings(**settings), random.Random(7))

    return make
