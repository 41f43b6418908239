"""Everyday traffic: ``mixed_load.py URL KEY MODEL REQUESTS CONNECTIONS SEED NEW``.

``NEW`` is the share of requests that ask something new; the others repeat one of 2,000 questions, the popular ones
most. One in twenty wants a stream. Prints a line of JSON for every hundredth of ``REQUESTS`` that is answered: how
many, how many hits, how many were bad. A connection that breaks is opened again, and counted.
"""

import asyncio
import json
import random
import sys
from typing import Any
from urllib.parse import urlsplit

import httptools
import uvloop

QUESTIONS = 2_000
TEXT = "Where is my order, and what does the policy say about late parcels? " * 12


class Load:
    """What all connections share."""

    def __init__(self, url: str, key: str, model: str, wanted: int, seed: int, new: float) -> None:
        self.place = urlsplit(url)
        self.key, self.model, self.wanted = key, model, wanted
        self.random = random.Random(seed)
        self.seed, self.new = seed, new
        self.sent = self.answered = self.hits = self.bad = self.broken = 0
        self.step = max(1, wanted // 100)
        self.done = asyncio.Event()

    def request(self) -> bytes:
        """The next one."""
        self.sent += 1
        number = f"new-{self.seed}-{self.sent}"
        if self.random.random() >= self.new:
            number = str(int(QUESTIONS ** self.random.random()))
        body: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": f"{number}: {TEXT}"}]}
        if self.random.random() < 0.05:
            body["stream"] = True
        content = json.dumps(body).encode()
        head = f"POST {self.place.path} HTTP/1.1\r\nhost: {self.place.netloc}\r\ncontent-type: application/json\r\n"
        return f"{head}authorization: Bearer {self.key}\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content

    def count(self, status: int, *, hit: bool) -> None:
        """An answer is whole."""
        self.answered += 1
        self.hits += hit
        self.bad += status != 200
        if self.answered % self.step == 0:
            self.tell()
        if self.answered >= self.wanted:
            self.done.set()

    def tell(self) -> None:
        """Print where it stands."""
        told = {name: getattr(self, name) for name in ("answered", "hits", "bad", "broken")}
        print(json.dumps(told), flush=True)


class Connection(asyncio.Protocol):
    """One after the other."""

    def __init__(self, load: Load, lost: asyncio.Future[None]) -> None:
        self.load, self.lost = load, lost

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.next()

    def next(self) -> None:
        """Send."""
        if self.load.sent >= self.load.wanted + 64:
            self.transport.close()
            return
        self.hit = False
        self.parser = httptools.HttpResponseParser(self)
        self.transport.write(self.load.request())

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Whether it came from cache."""
        if name == b"ostinato-cache":
            self.hit = value.startswith(b"hit")

    def on_message_complete(self) -> None:
        """Count, and go on."""
        self.load.count(self.parser.get_status_code(), hit=self.hit)
        asyncio.get_running_loop().call_soon(self.next)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


async def main(load: Load, connections: int) -> None:
    """Until enough were answered."""
    loop = asyncio.get_running_loop()
    host, port = load.place.hostname, load.place.port

    async def keep() -> None:
        while not load.done.is_set() and load.sent < load.wanted + 64:
            lost: asyncio.Future[None] = loop.create_future()
            try:
                await loop.create_connection(lambda lost=lost: Connection(load, lost), host, port)
                await lost
            except OSError:
                await asyncio.sleep(0.05)
            if not load.done.is_set() and load.sent < load.wanted:
                load.broken += 1

    tasks = [asyncio.create_task(keep()) for _ in range(connections)]
    await load.done.wait()
    for task in tasks:
        task.cancel()
    load.tell()


if __name__ == "__main__":
    where, secret, alias, requests, width, start, share = sys.argv[1:]
    uvloop.run(main(Load(where, secret, alias, int(requests), int(start), float(share)), int(width)))
