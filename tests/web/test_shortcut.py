"""The protocol short cut over real sockets: order, splits, slowness, and whatever else a connection can do.

It leans on the internals of uvicorn's protocol, so every way in which a request may arrive is tried here: hits
(answered inside the parser's callbacks), misses (answered by an ``Exchange``) and everything else (uvicorn's own
cycle), alone, mixed and pipelined.
"""

import asyncio
import contextlib
import json
import random
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import CHAT, MESSAGES, World, inside, question

from ostinato.core.clock import SystemClock
from ostinato.web import api, server
from ostinato.web.operations import Operations
from ostinato.web.proxy import DIRECT, Proxy
from ostinato.web.settings import Settings

MODELS = """
[models.slow]
targets = ["fake/fake-latency=150ms"]
[models.stream]
targets = ["fake/fake-gap=10ms"]
[models.long]
targets = ["fake/fake-words=4000"]
"""


@pytest.fixture
def event_loop_policy() -> Any:
    """The loop that serves in earnest."""
    return uvloop.EventLoopPolicy()


class Site:
    """A server on a socket, in the test's own loop."""

    def __init__(self, world: World, port: int, running: server.Server) -> None:
        self.world = world
        self.port = port
        self.running = running

    async def open(self) -> "Line":
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        return Line(self, reader, writer)

    def request(
        self, text: str = "hello", *headers: str, path: str = CHAT, method: str = "POST", body: bytes | None = None,
        version: str = "1.1", **fields: Any,
    ) -> bytes:  # fmt: skip
        """A request as bytes."""
        data = json.dumps(question(text, **fields)).encode() if body is None else body
        lines = [
            f"{method} {path} HTTP/{version}",
            "host: ostinato",
            f"authorization: Bearer {self.world.key}",
            *headers,
        ]
        if not any(line.startswith("transfer-encoding") for line in headers):
            lines.append(f"content-length: {len(data)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + data


class Reply:
    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def cache(self) -> str:
        return self.headers.get("ostinato-cache", "").partition(";")[0]

    def json(self) -> Any:
        return json.loads(self.body)


class Line:
    """One connection."""

    def __init__(self, site: Site, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.site = site
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)).decode("latin-1").split("\r\n")
        return int(lines[0].split()[1]), {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }

    async def reply(self, *, has_body: bool = True) -> Reply:
        status, headers = await self.head()
        body = b""
        if has_body and "content-length" in headers:
            body = await asyncio.wait_for(self.reader.readexactly(int(headers["content-length"])), 10)
        elif has_body and headers.get("transfer-encoding") == "chunked":
            while True:
                size = int(await asyncio.wait_for(self.reader.readline(), 10), 16)
                body += (await self.reader.readexactly(size + 2))[:-2]
                if not size:
                    break
        return Reply(status, headers, body)

    async def ask(self, *arguments: Any, **options: Any) -> Reply:
        self.send(self.site.request(*arguments, **options))
        return await self.reply()

    async def ended(self) -> bool:
        """Waits until the server hangs up; what it still sent is dropped."""
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(self.reader.read(-1), 10)
        return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(extra: str = "", **settings: Any) -> AsyncIterator[Site]:
    async with inside(MODELS + extra, SystemClock()) as world:
        chosen = Settings(port=0, **settings)
        proxy = Proxy(world.app.gateway, max_body_bytes=chosen.max_body_bytes, slow=chosen.slow_request_seconds)
        control = Operations(world.app, api.build(world.app), loopback=True)
        listener = server.bind(chosen)
        running = server.Server(
            server.Dispatcher(proxy, control), chosen, Idle(), paths=frozenset(DIRECT),
            repeat=world.app.gateway.repeater.whole, answer=proxy.direct,
        )  # fmt: skip
        task = asyncio.create_task(running.serve([listener]))
        while not running.started:  # noqa: ASYNC110 - uvicorn sets a flag and tells nobody
            await asyncio.sleep(0.005)
        try:
            yield Site(world, listener.getsockname()[1], running)
        finally:
            running.should_exit = True
            await asyncio.wait_for(task, 20)


class Idle:
    """The app is stopped by its own context."""

    async def drain(self) -> None:
        return

    async def stop(self) -> None:
        return


async def test_hits_and_misses_keep_their_order_when_pipelined() -> None:
    async with serving() as site:
        line = await site.open()
        for text in ("warm 0", "warm 1", "warm 0", "warm 1"):
            await line.ask(text)
        texts = ["warm 0", "cold 0", "warm 1", "cold 1", "warm 0", "cold 0", "warm 1"]
        models = {"cold 0": "slow", "cold 1": "stream"}
        line.send(
            b"".join(
                site.request(text, f"x-request-id: r{n}", model=models.get(text, "plain"))
                for n, text in enumerate(texts)
            )
        )
        replies = [await line.reply() for _ in texts]
        assert [reply.headers["x-request-id"] for reply in replies] == [f"r{n}" for n in range(len(texts))]
        assert [reply.status for reply in replies] == [200] * len(texts)
        assert [reply.cache for reply in replies] == [
            "hit-exact",
            "miss",
            "hit-exact",
            "miss",
            "hit-exact",
            "hit-exact",
            "hit-exact",
        ]
        assert (await line.ask("warm 0")).cache == "hit-exact", "and the connection goes on"
        await line.close()


async def test_pipelined_streams_and_other_paths_keep_their_order() -> None:
    async with serving() as site:
        line = await site.open()
        kinds = [
            site.request("s0", "x-request-id: a", model="stream", stream=True),
            site.request(path="/v1/models", method="GET", body=b""),
            site.request("s0", "x-request-id: c", model="stream", stream=True),
            site.request(path="/healthz", method="GET", body=b""),
            site.request("s1", "x-request-id: e"),
            site.request(path="/v1/nothing"),
            site.request("s1", "x-request-id: g", path=MESSAGES, max_tokens=5),
        ]
        line.send(b"".join(kinds))
        replies = [await line.reply() for _ in kinds]
        assert [reply.status for reply in replies] == [200, 200, 200, 200, 200, 404, 200]
        assert replies[0].body.endswith(b"data: [DONE]\n\n")
        assert (replies[0].cache, replies[2].cache) == ("miss", "hit-exact")
        assert replies[1].json()["object"] == "list"
        assert replies[3].json() == {"alive": True}
        assert replies[6].json()["type"] == "message"


@pytest.mark.parametrize("warm", [False, True])
async def test_a_request_in_single_bytes(warm: bool) -> None:
    async with serving() as site:
        line = await site.open()
        if warm:
            for _ in range(3):
                await line.ask("bytes")
        for expected in ("hit-exact" if warm else "miss", "hit-exact"):
            data = site.request("bytes")
            line.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(data)):
                line.send(data[at : at + 1])
                await asyncio.sleep(0)
            reply = await line.reply()
            assert (reply.status, reply.cache) == (200, expected)


async def test_any_split_of_any_mixture() -> None:
    """The bytes of a dozen requests, cut at random places: always the same replies in the same order."""
    async with serving() as site:
        line = await site.open()
        for _ in range(3):
            await line.ask("split")
        chunked = site.request("", "transfer-encoding: chunked", body=b"")
        body = json.dumps(question("split")).encode()
        chunked += b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (7, body[:7], len(body) - 7, body[7:])
        parts = [
            site.request("split"),
            chunked,
            site.request("split", body=b"{"),
            site.request("split", "cache-control: no-store"),
            site.request("split", "expect: 100-continue"),
            site.request(path="/healthz", method="GET", body=b""),
            site.request("split", body=json.dumps(question("split " + "x" * 5000)).encode()),
            site.request("split"),
        ]
        whole = b"".join(parts)
        expected = [200, 200, 400, 200, 200, 200, 200, 200]
        for seed in range(25):
            rng = random.Random(seed)
            cuts = sorted(rng.sample(range(1, len(whole)), rng.randint(0, 12)))
            for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
                line.send(whole[begin:end])
                await asyncio.sleep(0.001)
            found = []
            while len(found) < len(expected):
                reply = await line.reply()
                if reply.status != 100:
                    found.append(reply.status)
            assert found == expected, cuts


async def test_bodies_of_all_sizes() -> None:
    async with serving() as site:
        line = await site.open()
        for size in (1, 4_000, 64_000, 65_536, 262_000, 262_144, 300_000, 1_000_000):
            text = f"{size} " + "x" * size
            assert (await line.ask(text)).cache == "miss"
            for _ in range(2):
                reply = await line.ask(text)
                assert (reply.status, reply.cache) == (200, "hit-exact"), size
        assert (await line.ask("a long answer", model="long")).cache == "miss"
        for _ in range(3):
            reply = await line.ask("a long answer", model="long")
            assert reply.cache == "hit-exact"
            assert len(reply.json()["choices"][0]["message"]["content"].split()) == 4000


async def test_a_chunked_body_hits_too() -> None:
    async with serving() as site:
        line = await site.open()
        body = json.dumps(question("chunked")).encode()
        for expected in ("miss", "hit-exact", "hit-exact"):
            line.send(site.request("", "transfer-encoding: chunked", body=b""))
            for at in range(0, len(body), 20):
                piece = body[at : at + 20]
                line.send(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece))
                await asyncio.sleep(0)
            line.send(b"0\r\ntrailer: x\r\n\r\n")
            assert (await line.reply()).cache == expected


async def test_expectations() -> None:
    async with serving() as site:
        for _ in range(2):
            line = await site.open()
            data = site.request("expected", "expect: 100-continue")
            head, _, body = data.partition(b"\r\n\r\n")
            line.send(head + b"\r\n\r\n")
            status, _ = await line.head()
            assert status == 100
            line.send(body)
            assert (await line.reply()).status == 200
            assert (await line.ask("expected")).cache == "hit-exact"


async def test_http_1_0_and_connection_close() -> None:
    async with serving() as site:
        for version, header in (("1.0", "x: y"), ("1.1", "connection: close")):
            for _ in range(3):
                line = await site.open()
                reply = await line.ask("closing", header, version=version)
                assert reply.status == 200
                assert await line.ended()
        line = await site.open()
        for _ in range(2):
            await line.ask("closing")
        # A hit, and behind it in the same packet a last request.
        line.send(site.request("closing") + site.request("closing", "connection: close"))
        assert [(await line.reply()).status for _ in range(2)] == [200, 200]
        assert await line.ended()


async def test_other_methods_on_the_same_paths() -> None:
    async with serving() as site:
        line = await site.open()
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "PATCH"):
            assert (await line.ask(method=method, body=b"")).status == 405
        line.send(site.request(method="HEAD", body=b""))
        reply = await line.reply(has_body=False)
        assert reply.status == 405
        assert (await line.ask("still here")).status == 200
        upgrade = await line.ask("upgraded", "connection: upgrade", "upgrade: websocket")
        assert upgrade.status in (200, 400, 426)


async def test_keep_alive_and_its_end() -> None:
    async with serving(keep_alive_seconds=1, slow_request_seconds=1) as site:
        hitting, missing = await site.open(), await site.open()
        for number in range(3):
            assert (await hitting.ask("kept")).status == 200
            assert (await missing.ask(f"asked {number}")).status == 200
        for line in (hitting, missing):
            assert await line.ended()
        # What is pipelined behind a hit must not be cut off by the hit's own keep-alive.
        line = await site.open()
        for _ in range(2):
            await line.ask("kept")
        line.send(site.request("kept") + site.request("long wait", model="stream", stream=True) + site.request("kept"))
        assert [(await line.reply()).status for _ in range(3)] == [200, 200, 200]


async def test_slow_requests_are_cut_off_and_others_are_not() -> None:
    async with serving(slow_request_seconds=1) as site:
        data = site.request("slowly")
        fast = await site.open()
        silent, half_head, half_body, drip = [await site.open() for _ in range(4)]
        half_head.send(data[:40])
        half_body.send(data[:-5])

        async def dripping() -> None:
            with contextlib.suppress(ConnectionError):
                for at in range(len(data)):
                    drip.send(data[at : at + 1])
                    await drip.writer.drain()
                    await asyncio.sleep(0.05)

        task = asyncio.create_task(dripping())
        for _ in range(6):
            assert (await fast.ask("quickly")).status == 200
            await asyncio.sleep(0.3)
        for line in (silent, half_head, half_body, drip):
            assert await line.ended()
        task.cancel()
        large = await site.open()
        large.send(site.request("large", body=b"x" * 600_000)[:-10])
        got = await asyncio.wait_for(large.reader.read(100), 10)
        assert got == b"" or b"408" in got
        assert (await fast.ask("quickly")).cache == "hit-exact"


async def test_who_leaves_ends_the_call() -> None:
    async with serving() as site:
        world = site.world
        for stream in (False, True):
            line = await site.open()
            line.send(site.request(f"leaving {stream}", model="stream", stream=stream))
            if stream:
                assert (await line.head())[0] == 200
            else:
                await asyncio.sleep(0.03)
            before = world.fake.cancelled
            line.writer.transport.abort()
            for _ in range(200):
                if world.fake.cancelled > before:
                    break
                await asyncio.sleep(0.01)
            assert world.fake.cancelled == before + 1
            assert world.in_flight(world.key) == 0
            other = await site.open()
            reply = await other.ask(f"leaving {stream}", "cache-control: only-if-cached", model="stream", stream=stream)
            assert reply.status == 504, "nothing partial is kept"


async def test_a_reader_that_does_not_read_holds_nobody_up() -> None:
    async with serving() as site:
        warm = await site.open()
        for _ in range(2):
            await warm.ask("a long answer", model="long")
        lazy = await site.open()
        lazy.reader._transport.pause_reading()  # pyright: ignore
        for _ in range(200):
            lazy.send(site.request("a long answer", model="long"))
        for _ in range(5):
            assert (await warm.ask("a long answer", model="long")).cache == "hit-exact"
        lazy.reader._transport.resume_reading()  # pyright: ignore
        for _ in range(200):
            assert (await lazy.reply()).status == 200


async def test_many_connections_at_once() -> None:
    async with serving() as site:

        async def one(number: int) -> None:
            line = await site.open()
            for turn in range(5):
                reply = await line.ask(f"many {(number + turn) % 7}")
                assert reply.status == 200
            await line.close()

        await asyncio.gather(*(one(number) for number in range(100)))
        assert site.world.fake.calls == 7


async def test_draining_finishes_what_runs() -> None:
    async with serving(drain_seconds=10) as site:
        idle, running, streaming = await site.open(), await site.open(), await site.open()
        await idle.ask("idle")
        running.send(site.request("running", model="slow"))
        streaming.send(site.request("streaming", model="stream", stream=True))
        assert (await streaming.head())[0] == 200
        site.running.should_exit = True
        assert (await running.reply()).status == 200
        rest = await asyncio.wait_for(streaming.reader.read(-1), 10)
        assert b"[DONE]" in rest
        assert await idle.ended()
        assert await running.ended()
        with pytest.raises(OSError):
            await site.open()
