"""The fake behind a real HTTP server on loopback, and providers that call it."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import uvicorn

from ostinato import outbound, providers, wire
from ostinato.core.clock import ManualClock, SystemClock
from ostinato.providers.fake_server import FakeServer
from ostinato.wire.model import Answer, ChatRequest, Delta, Event


class Running:
    """A fake server in a thread of its own."""

    def __init__(self, spec: str = "") -> None:
        self.app = FakeServer(spec)
        config = uvicorn.Config(self.app, log_level="critical", access_log=False, lifespan="off")  # type: ignore[arg-type]
        self._server = uvicorn.Server(config)
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._server.serve(sockets=[self._socket])), daemon=True
        )

    def start(self) -> None:
        self._socket.listen(128)
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._server.force_exit = True
        self._thread.join(5)


@pytest.fixture(scope="session")
def fake_server() -> Iterator[Running]:
    running = Running()
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def client() -> AsyncIterator[outbound.Client]:
    client = outbound.Client(outbound.Settings(), SystemClock())
    await client.start()
    yield client
    assert client.in_use == 0
    await client.close()


Make = Callable[..., Awaitable[Any]]


@pytest.fixture
def make(client: outbound.Client, fake_server: Running) -> Make:
    """``await make("openai" | "anthropic" | "fake", **settings)``: a started provider, the first two over HTTP."""

    async def build(kind: str, **fields: Any) -> Any:
        clock = fields.pop("clock", None) or SystemClock()
        keys = fields.pop("keys", ("sk-good",))
        settings = providers.Settings(
            kind=kind,
            base_url="" if kind == "fake" else fields.pop("base_url", fake_server.url),
            api_keys=tuple(providers.ApiKey(key) for key in keys),
            **fields,
        )
        provider = providers.build("up", settings, client, clock)
        await provider.start()
        return provider

    return build


@pytest.fixture
def manual_clock() -> ManualClock:
    return ManualClock()


def request_of(text: str = "Where is my card?", **body: Any) -> ChatRequest:
    whole = {"model": "alias", "messages": [{"role": "user", "content": text}], **body}
    return wire.codec("openai.chat").read_request(whole)


def call_of(model: str = "fake", text: str = "Where is my card?", timeout: float = 5.0, **body: Any) -> Any:
    return providers.ChatCall(request_of(text, **body), model, timeout)


async def collect(provider: Any, call: Any, into: list[Event] | None = None) -> list[Event]:
    """All events of a stream; what came before a failure is in ``into``."""
    events = [] if into is None else into
    async with provider.chat_stream(call) as stream:
        async for batch in stream:
            events.extend(batch)
    return events


def text_of(events: list[Event] | Answer) -> str:
    listed = events.events if isinstance(events, Answer) else events
    return "".join(event.text for event in listed if isinstance(event, Delta))
