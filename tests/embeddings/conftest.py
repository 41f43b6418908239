"""A real HTTP server that speaks OpenAI's embeddings, as well or as badly as a test wants."""

import asyncio
import base64
import hashlib
import json
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ostinato import outbound
from ostinato.core.clock import SystemClock

DIMENSIONS = 8


def vector(text: str) -> list[float]:
    """Any vector, the same for the same text, and not of length 1."""
    return [byte / 16 + 0.5 for byte in hashlib.sha256(text.encode()).digest()[:DIMENSIONS]]


class Server:
    """Keeps what it was asked; ``spoil(body, number)`` may answer instead of it: a status, or a status and bytes."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.spoil: Callable[[dict[str, Any], int], int | tuple[int, bytes] | None] = lambda body, number: None

    async def __aenter__(self) -> "Server":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                self.heads.append(head)
                self.requests.append(body)
                spoilt = self.spoil(body, len(self.requests))
                status, data = (spoilt, b"no") if isinstance(spoilt, int) else spoilt or (200, self.answer(body))
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(data)) + data)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def answer(self, body: dict[str, Any]) -> bytes:
        """As OpenAI answers: in the encoding that was asked for, numbered, here in the reverse order."""
        rows = []
        for index, text in enumerate(body["input"]):
            numbers = vector(text)
            if body.get("encoding_format") == "base64":
                numbers = base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
            rows.append({"object": "embedding", "index": index, "embedding": numbers})
        return json.dumps({"object": "list", "data": rows[::-1], "model": "m", "usage": {"prompt_tokens": 3}}).encode()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server() as server:
        yield server


@pytest.fixture
async def client() -> AsyncIterator[outbound.Client]:
    client = outbound.Client(outbound.Settings(), SystemClock())
    await client.start()
    yield client
    assert client.in_use == 0
    await client.close()
