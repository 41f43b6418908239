"""A server that does to its callers whatever a test wants, byte by byte."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from ostinato import outbound
from ostinato.core.clock import SystemClock

HERE = Path(__file__).parent
CA_FILE = HERE / "localhost.pem"
"""A certificate for ``gateway.test``, for these tests only; its key lies beside it."""

Behaviour = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One connection at the server's end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.requests = 0

    async def request(self) -> bytes:
        """The next request, head and body."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        self.requests += 1
        return head + (await self.reader.readexactly(length) if length else b"")

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"{}", head: bytes = b"") -> None:
        await self.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%b\r\n%b" % (len(body), head, body))

    async def begin_stream(self, head: bytes = b"") -> None:
        await self.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n%b\r\n" % head
        )

    async def chunk(self, data: bytes) -> None:
        await self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def reset(self) -> None:
        self.writer.transport.abort()

    async def left(self) -> None:
        """Return when the caller has closed its end."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass


class RawServer:
    """Runs one behaviour per connection; closes everything at the end."""

    def __init__(self, behaviour: Behaviour, tls: bool = False) -> None:
        self._behaviour = behaviour
        self._tls = tls
        self.connections = 0
        self.tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> "RawServer":
        context = None
        if self._tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CA_FILE, HERE / "localhost.key")
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/v1/x"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await self._behaviour(Peer(reader, writer))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()


@pytest.fixture
def raw_server() -> type[RawServer]:
    return RawServer


@pytest.fixture
async def client() -> AsyncIterator[outbound.Client]:
    client = outbound.Client(outbound.Settings(ca_file=str(CA_FILE)), SystemClock())
    await client.start()
    yield client
    assert client.in_use == 0
    await client.close()
