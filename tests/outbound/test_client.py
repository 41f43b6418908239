"""The pooled client against a real server on loopback."""

import asyncio
import gzip
import socket
from pathlib import Path

import pytest

from ostinato import outbound
from ostinato.core.clock import ManualClock, SystemClock
from ostinato.core.errors import Invalid

from .conftest import CA_FILE, Peer, RawServer

HEADERS = {"content-type": "application/json", "authorization": "Bearer sk-secret"}


async def post(client: outbound.Client, server: RawServer, body: bytes = b"{}", seconds: float = 5.0, **more: int):
    return await client.post(server.url, body, HEADERS, seconds, allow_private=True, **more)


async def echo(peer: Peer) -> None:
    while True:
        request = await peer.request()
        await peer.answer(request, b"X-Seen: %d\r\n" % peer.requests)


async def test_an_answer_comes_whole_and_the_connection_is_kept(client: outbound.Client) -> None:
    async with RawServer(echo) as server:
        for number in range(1, 4):
            response = await post(client, server, b'{"n": 1}')
            assert response.status == 200
            assert response.headers["x-seen"] == str(number)
            head, _, body = response.body.partition(b"\r\n\r\n")
            assert body == b'{"n": 1}'
            assert head.startswith(b"POST /v1/x HTTP/1.1\r\n")
            assert f"host: 127.0.0.1:{server.port}".encode() in head
            assert b"authorization: Bearer sk-secret" in head
        got = await client.get(server.url, {"a": "b"}, 5.0, allow_private=True)
        assert got.body.startswith(b"GET /v1/x HTTP/1.1\r\n")
        assert server.connections == 1
        assert client.opened == 1


async def test_calls_at_once_use_connections_of_their_own(client: outbound.Client) -> None:
    async with RawServer(echo) as server:
        bodies = [b"%d" % number for number in range(20)]
        answers = await asyncio.gather(*[post(client, server, body) for body in bodies])
        assert [answer.body.rpartition(b"\r\n\r\n")[2] for answer in answers] == bodies
        assert server.connections <= 20


async def test_a_stream_is_passed_on_chunk_by_chunk(client: outbound.Client) -> None:
    """The first chunk is there before the server has sent the last: the server waits for a sign between them."""
    sign = asyncio.Event()

    async def behaviour(peer: Peer) -> None:
        await peer.request()
        await peer.begin_stream()
        await peer.chunk(b"first")
        await sign.wait()
        await peer.chunk(b"last")
        await peer.chunk(b"")

    async with RawServer(behaviour) as server:
        seen: list[bytes] = []
        async with client.stream(server.url, b"{}", HEADERS, 5.0, allow_private=True) as response:
            assert response.status == 200
            async for chunk in response:
                seen.append(chunk)
                sign.set()
        assert seen == [b"first", b"last"]


async def test_leaving_a_stream_closes_the_connection_at_once(client: outbound.Client) -> None:
    left = asyncio.Event()

    async def behaviour(peer: Peer) -> None:
        await peer.request()
        await peer.begin_stream()
        await peer.chunk(b"first")
        await peer.left()
        left.set()

    async with RawServer(behaviour) as server:
        async with client.stream(server.url, b"{}", HEADERS, 5.0, allow_private=True) as response:
            assert await anext(aiter(response)) == b"first"
        async with asyncio.timeout(2):
            await left.wait()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_cancelled_call_closes_the_connection_before_the_answers_head(
    client: outbound.Client, streamed: bool
) -> None:
    arrived, left = asyncio.Event(), asyncio.Event()

    async def behaviour(peer: Peer) -> None:
        await peer.request()
        arrived.set()
        await peer.left()
        left.set()

    async def call(server: RawServer) -> None:
        if streamed:
            async with client.stream(server.url, b"{}", HEADERS, 60.0, allow_private=True):
                pass
        else:
            await post(client, server, seconds=60.0)

    async with RawServer(behaviour) as server:
        task = asyncio.create_task(call(server))
        await arrived.wait()
        task.cancel()
        async with asyncio.timeout(2):
            await left.wait()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_stream_with_an_end_of_its_own_keeps_its_connection(client: outbound.Client) -> None:
    """After ``finish`` the last bytes of the framing may still be on the way."""
    go = asyncio.Event()

    async def behaviour(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.begin_stream()
            await peer.chunk(b"data: [DONE]\n\n")
            await go.wait()
            await peer.chunk(b"")

    async with RawServer(behaviour) as server:
        async with client.stream(server.url, b"{}", HEADERS, 5.0, allow_private=True) as response:
            assert await anext(aiter(response)) == b"data: [DONE]\n\n"
            response.finish()
        go.set()
        await asyncio.sleep(0.05)
        async with client.stream(server.url, b"{}", HEADERS, 5.0, allow_private=True) as response:
            assert [chunk async for chunk in response] == [b"data: [DONE]\n\n"]
        assert server.connections == 1


async def test_a_response_that_was_left_reads_nobody_elses_answer(client: outbound.Client) -> None:
    async with RawServer(echo) as server:
        async with client.stream(server.url, b"{}", HEADERS, 5.0, allow_private=True) as response:
            await response.read(10_000)
        with pytest.raises(outbound.ConnectionFailed):
            await anext(aiter(response))


async def test_a_connection_closed_while_idle_is_replaced(client: outbound.Client) -> None:
    async def once(peer: Peer) -> None:
        await peer.request()
        await peer.answer()

    async with RawServer(once) as server:
        for _ in range(3):
            assert (await post(client, server)).status == 200
            await asyncio.sleep(0)
        assert server.connections == 3


async def test_a_connection_closed_as_it_is_used_again_is_tried_once_more(client: outbound.Client) -> None:
    async def close_on_second(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        await peer.request()

    async with RawServer(close_on_second) as server:
        assert (await post(client, server)).status == 200
        assert (await post(client, server)).status == 200
        assert server.connections == 2


async def test_a_fresh_connection_that_closes_without_an_answer_is_not_tried_again(client: outbound.Client) -> None:
    async def close(peer: Peer) -> None:
        await peer.request()

    async with RawServer(close) as server:
        with pytest.raises(outbound.ConnectionFailed) as failed:
            await post(client, server)
        assert server.connections == 1
        assert not failed.value.begun


async def test_informational_answers_are_skipped(client: outbound.Client) -> None:
    async def behaviour(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
            await peer.answer(b"real", b"a: b\r\n")

    async with RawServer(behaviour) as server:
        for _ in range(2):
            response = await post(client, server)
            assert (response.status, response.body, response.headers.get("link")) == (200, b"real", None)
        assert server.connections == 1


async def test_a_body_may_end_with_its_connection(client: outbound.Client) -> None:
    async def behaviour(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")

    async with RawServer(behaviour) as server:
        assert (await post(client, server)).body == b"until the end"
        async with client.stream(server.url, b"{}", HEADERS, 5.0, allow_private=True) as response:
            assert b"".join([chunk async for chunk in response]) == b"until the end"


async def test_redirects_are_not_followed(client: outbound.Client) -> None:
    async def behaviour(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n")

    async with RawServer(behaviour) as server:
        assert (await post(client, server)).status == 302
        assert server.connections == 1


async def test_proxies_in_the_environment_are_ignored(client: outbound.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with RawServer(echo) as server:
        assert (await post(client, server)).status == 200


async def test_compressed_answers_are_read(client: outbound.Client) -> None:
    async def behaviour(peer: Peer) -> None:
        await peer.request()
        await peer.answer(gzip.compress(b"a" * 1000), b"content-encoding: gzip\r\n")
        await peer.request()
        await peer.begin_stream(b"content-encoding: gzip\r\n")
        await peer.chunk(gzip.compress(b"b" * 1000))
        await peer.chunk(b"")

    async with RawServer(behaviour) as server:
        assert (await post(client, server)).body == b"a" * 1000
        async with client.stream(server.url, b"{}", HEADERS, 5.0, allow_private=True) as response:
            assert b"".join([chunk async for chunk in response]) == b"b" * 1000


@pytest.mark.parametrize("headers", [{"a": "b\r\nc: d"}, {"a": "b\nc"}, {"a\r\nx": "b"}, {"a": "\0"}, {"a": "☃"}])
async def test_headers_cannot_smuggle_others(client: outbound.Client, headers: dict[str, str]) -> None:
    async with RawServer(echo) as server:
        with pytest.raises(Invalid):
            await client.post(server.url, b"{}", headers, 5.0, allow_private=True)
        assert server.connections == 0


async def test_headers_that_are_written_once_are_the_same(client: outbound.Client) -> None:
    plain = {"authorization": "Bearer secret", "x-name": "caf\u00e9"}
    seen: list[bytes] = []

    async def keeps(peer: Peer) -> None:
        for framing in (b"a: 1\r\n", b"A: 2\r\nX-Other: 3\r\n"):
            seen.append(await peer.request())
            await peer.answer(head=framing)

    async with RawServer(keeps) as server:
        first = await client.post(server.url, b"{}", plain, 2, allow_private=True)
        second = await client.post(server.url, b"{}", outbound.Headers(plain), 2, allow_private=True)
    assert seen[0] == seen[1]
    assert (first.headers["a"], second.headers["a"], second.headers["x-other"]) == ("1", "2", "3")
    assert "x-other" not in first.headers
    assert "secret" not in repr(outbound.Headers(plain))
    with pytest.raises(Invalid):
        outbound.Headers({"x": "1\r\ny: 2"})


async def test_loopback_needs_a_declaration(client: outbound.Client) -> None:
    async with RawServer(echo) as server:
        await post(client, server)
        with pytest.raises(outbound.Refused):
            await client.post(server.url, b"{}", HEADERS, 5.0)
        with pytest.raises(outbound.Refused):
            async with client.stream(f"http://localhost:{server.port}/", b"{}", HEADERS, 5.0):
                pass
        assert server.connections == 1


async def test_a_name_that_changes_its_mind_is_refused(
    client: outbound.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the address that is connected to is the one that was checked, at every look-up anew."""
    loop = asyncio.get_running_loop()
    answers = [["93.184.215.14"], ["127.0.0.1"]]
    asked: list[str] = []

    async def getaddrinfo(host: str, port: int, **_: int) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in answers[min(len(asked), 2) - 1]]

    connected: list[str] = []

    async def create_connection(factory: object, host: str, port: int, **_: object) -> None:
        connected.append(host)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(loop, "create_connection", create_connection)
    with pytest.raises(outbound.ConnectionFailed):
        await client.post("http://rebind.example/", b"{}", HEADERS, 5.0)
    with pytest.raises(outbound.Refused):
        await client.post("http://rebind.example/", b"{}", HEADERS, 5.0)
    assert connected == ["93.184.215.14"]


async def test_the_next_address_of_a_name_is_tried(client: outbound.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()

    async def getaddrinfo(host: str, port: int, **_: int) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in ("127.0.0.3", "127.0.0.1")]

    async with RawServer(echo) as server:
        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        url = f"http://two.example:{server.port}/"
        for _ in range(2):
            response = await client.post(url, b"{}", HEADERS, 5.0, allow_private=True)
            assert b"host: two.example:" in response.body
        # From then on, also after another look-up, the one that answered comes first.
        pool = next(iter(client._pools.values()))
        pool._believed_until = 0.0
        assert await pool._resolve() == ("127.0.0.1", "127.0.0.3")


async def test_tls_is_checked_against_the_name_not_the_address(
    client: outbound.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()

    async def getaddrinfo(host: str, port: int, **_: int) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", port))]

    async with RawServer(echo, tls=True) as server:
        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        for name, works in (("gateway.test", True), ("other.test", False)):
            url = f"https://{name}:{server.port}/v1"
            if works:
                assert (await client.post(url, b"{}", HEADERS, 5.0, allow_private=True)).status == 200
            else:
                with pytest.raises(outbound.ConnectionFailed, match="TLS"):
                    await client.post(url, b"{}", HEADERS, 5.0, allow_private=True)


async def test_an_unknown_authority_is_refused() -> None:
    strict = outbound.Client(outbound.Settings(), SystemClock())
    await strict.start()
    async with RawServer(echo, tls=True) as server:
        with pytest.raises(outbound.ConnectionFailed):
            await strict.post(server.url, b"{}", HEADERS, 5.0, allow_private=True)
    await strict.close()


async def test_idle_connections_are_closed_after_a_while() -> None:
    clock = ManualClock()
    client = outbound.Client(outbound.Settings(idle_timeout=0.2), clock)
    await client.start()
    left = asyncio.Event()

    async def behaviour(peer: Peer) -> None:
        await peer.request()
        await peer.answer()
        await peer.left()
        left.set()

    async with RawServer(behaviour) as server:
        await post(client, server)
        clock.advance(1.0)
        async with asyncio.timeout(2):
            await left.wait()
    await client.close()


async def test_the_client_must_be_started() -> None:
    with pytest.raises(outbound.ConnectionFailed):
        await outbound.Client(outbound.Settings(), SystemClock()).post("https://example.com/", b"", {}, 1.0)


def test_the_test_certificate_is_where_the_tests_expect_it() -> None:
    assert Path(CA_FILE).is_file()
