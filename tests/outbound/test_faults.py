"""What other servers do to us: slow, silent, broken, too large (F1, F5)."""

import asyncio
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostinato import outbound
from ostinato.core.clock import SystemClock

from .conftest import Peer, RawServer

KB = 1024


async def post(client: outbound.Client, server: RawServer, seconds: float = 0.3, max_bytes: int = 64 * KB):
    return await client.post(server.url, b"{}", {}, seconds, allow_private=True, max_bytes=max_bytes)


async def read_stream(client: outbound.Client, server: RawServer, seconds: float = 0.3) -> list[bytes]:
    async with client.stream(server.url, b"{}", {}, seconds, allow_private=True) as response:
        return [chunk async for chunk in response]


async def test_silence_before_the_head_times_out_and_closes(client: outbound.Client) -> None:
    left = asyncio.Event()

    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.left()
        left.set()

    async with RawServer(silent) as server:
        with pytest.raises(outbound.TimedOut):
            await post(client, server)
        async with asyncio.timeout(2):
            await left.wait()
        with pytest.raises(outbound.TimedOut):
            await read_stream(client, server)


async def test_each_call_on_a_connection_has_its_own_deadline(client: outbound.Client) -> None:
    """One timer serves them all: an earlier deadline moves it, a passed one ends nobody else's call."""
    pauses = [0.0, 0.4, 0.0]

    async def in_turn(peer: Peer) -> None:
        for pause in pauses:
            await peer.request()
            await asyncio.sleep(pause)
            await peer.answer()
        await peer.request()
        await peer.left()

    async with RawServer(in_turn) as server:
        assert (await post(client, server, 0.2)).status == 200
        assert (await post(client, server, 30)).status == 200, "the first call's deadline has passed"
        assert (await post(client, server, 60)).status == 200
        with pytest.raises(outbound.TimedOut):
            async with asyncio.timeout(5):
                await post(client, server, 0.2)
        assert server.connections == 1


async def test_the_deadline_of_a_call_does_not_end_the_stream_after_it(client: outbound.Client) -> None:
    async def in_turn(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        await peer.request()
        await peer.begin_stream()
        for _ in range(5):
            await asyncio.sleep(0.1)
            await peer.chunk(b"x")
        await peer.send(b"0\r\n\r\n")

    async with RawServer(in_turn) as server:
        await post(client, server, 0.2)
        assert b"".join(await read_stream(client, server)) == b"xxxxx"
        assert server.connections == 1


async def test_silence_in_mid_stream_times_out_after_what_came(client: outbound.Client) -> None:
    async def stalls(peer: Peer) -> None:
        await peer.request()
        await peer.begin_stream()
        await peer.chunk(b"one")
        await peer.left()

    async with RawServer(stalls) as server:
        seen: list[bytes] = []
        with pytest.raises(outbound.TimedOut):
            async with client.stream(server.url, b"{}", {}, 0.2, allow_private=True) as response:
                async for chunk in response:
                    seen.append(chunk)
        assert seen == [b"one"]


async def test_a_slow_reader_is_not_mistaken_for_a_silent_server(client: outbound.Client) -> None:
    async def quick(peer: Peer) -> None:
        await peer.request()
        await peer.begin_stream()
        for _ in range(3):
            await peer.chunk(b"x")
            await asyncio.sleep(0.05)
        await peer.chunk(b"")

    async with RawServer(quick) as server, client.stream(server.url, b"{}", {}, 0.2, allow_private=True) as response:
        await asyncio.sleep(0.5)
        assert b"".join([chunk async for chunk in response]) == b"xxx"


async def test_one_kilobyte_per_second(client: outbound.Client) -> None:
    """A drip keeps a stream alive, and does not keep a whole answer alive beyond its deadline."""

    async def drips(peer: Peer) -> None:
        await peer.request()
        await peer.begin_stream()
        for _ in range(8):
            await peer.chunk(b"x" * 102)
            await asyncio.sleep(0.1)
        await peer.chunk(b"")

    async with RawServer(drips) as server:
        assert len(b"".join(await read_stream(client, server, 0.3))) == 816
        with pytest.raises(outbound.TimedOut):
            await post(client, server, 0.3)


async def test_nobody_listens(client: outbound.Client) -> None:
    async with RawServer(lambda peer: asyncio.sleep(0)) as server:
        url = server.url
    with pytest.raises(outbound.ConnectionFailed):
        await client.post(url, b"{}", {}, 1.0, allow_private=True)


async def test_a_connection_that_is_never_accepted_times_out() -> None:
    client = outbound.Client(outbound.Settings(connect_timeout=0.2), SystemClock())
    await client.start()
    # TEST-NET-1 is routed nowhere; where a firewall answers instead, the failure is another one.
    with pytest.raises((outbound.TimedOut, outbound.ConnectionFailed)):
        await client.post("http://192.0.2.1:81/", b"{}", {}, 5.0, allow_private=True)
    await client.close()


async def test_an_unknown_name(client: outbound.Client) -> None:
    with pytest.raises(outbound.ConnectionFailed, match="cannot be resolved"):
        await client.post("http://nowhere.invalid/", b"{}", {}, 5.0)


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_reset_in_the_middle(client: outbound.Client, streamed: bool) -> None:
    async def resets(peer: Peer) -> None:
        await peer.request()
        await peer.begin_stream()
        await peer.chunk(b"half")
        await asyncio.sleep(0.02)
        peer.reset()

    async with RawServer(resets) as server:
        with pytest.raises(outbound.ConnectionFailed):
            await (read_stream(client, server, 2.0) if streamed else post(client, server, 2.0))


async def test_a_body_shorter_than_it_said(client: outbound.Client) -> None:
    async def short(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this")

    async with RawServer(short) as server:
        with pytest.raises(outbound.ConnectionFailed) as failed:
            await post(client, server, 2.0)
        assert failed.value.begun
        with pytest.raises(outbound.ConnectionFailed):
            await read_stream(client, server, 2.0)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: y\r\n" % number for number in range(20_000)),
    ],
)
async def test_too_much(client: outbound.Client, answer: bytes) -> None:
    async def verbose(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.left()

    async with RawServer(verbose) as server:
        with pytest.raises(outbound.TooLarge):
            await post(client, server, 2.0)


async def test_a_small_answer_that_unpacks_to_a_large_one(client: outbound.Client) -> None:
    bomb = zlib.compress(b"\0" * (64 * KB * KB))

    async def bombs(peer: Peer) -> None:
        await peer.request()
        await peer.answer(bomb, b"content-encoding: deflate\r\n")

    async with RawServer(bombs) as server:
        with pytest.raises(outbound.TooLarge):
            await post(client, server, 2.0)
        with pytest.raises(outbound.TooLarge):
            await read_stream(client, server, 2.0)


async def test_a_stream_that_nobody_reads_does_not_fill_the_memory(client: outbound.Client) -> None:
    sent = 0

    async def floods(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.begin_stream()
        while sent < 64 * KB * KB:
            await peer.chunk(b"x" * 64 * KB)
            sent += 64 * KB

    async with RawServer(floods) as server, client.stream(server.url, b"{}", {}, 5.0, allow_private=True) as response:
        await anext(aiter(response))
        await asyncio.sleep(0.2)
        assert sent < 32 * KB * KB
        before = sent
        for _ in range(40):
            await anext(aiter(response))
        await asyncio.sleep(0.05)
        assert sent > before


@pytest.mark.parametrize(
    "answer",
    [
        b"hello, this is no HTTP\r\n\r\n",
        b"<html></html>",
        b"HTTP/1.1 99999 Odd\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_what_is_no_http_answer(client: outbound.Client, answer: bytes, streamed: bool) -> None:
    async def odd(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)
        await peer.left()

    async with RawServer(odd) as server:
        with pytest.raises((outbound.BadResponse, outbound.ConnectionFailed)):
            await (read_stream(client, server, 1.0) if streamed else post(client, server, 1.0))


@pytest.mark.parametrize("later", [False, True])
async def test_more_bytes_than_the_answer_has_spoil_the_connection(client: outbound.Client, later: bool) -> None:
    """A second answer that nobody asked for must never be taken for the answer to the next call."""

    async def doubles(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"mine")
        if later:
            await asyncio.sleep(0.02)
        await peer.answer(b"poison")
        await peer.left()

    async with RawServer(doubles) as server:
        for _ in range(3):
            assert (await post(client, server, 2.0)).body == b"mine"
            await asyncio.sleep(0.06)
        assert server.connections == 3


async def test_too_many_calls_at_once_fail_at_once() -> None:
    client = outbound.Client(outbound.Settings(max_connections=2), SystemClock())
    await client.start()

    async def silent(peer: Peer) -> None:
        await peer.request()
        await peer.left()

    async with RawServer(silent) as server:
        calls = [asyncio.create_task(post(client, server, 5.0)) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(outbound.ConnectionFailed, match="Too many"):
            await post(client, server, 5.0)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert client.in_use == 0
    await client.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=2000), cuts=st.lists(st.integers(1, 60), max_size=30))
async def test_any_split_of_the_bytes_gives_the_same_answer(
    client: outbound.Client, body: bytes, cuts: list[int]
) -> None:
    framed = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    raw = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-a: b\r\n\r\n" + framed + b"0\r\n\r\n"

    async def splits(peer: Peer) -> None:
        while True:
            await peer.request()
            at = 0
            for cut in cuts:
                await peer.send(raw[at : at + cut])
                await asyncio.sleep(0)
                at += cut
            await peer.send(raw[at:])

    async with RawServer(splits) as server:
        assert b"".join(await read_stream(client, server, 2.0)) == body
        response = await post(client, server, 2.0)
        assert (response.body, response.headers["x-a"]) == (body, "b")
