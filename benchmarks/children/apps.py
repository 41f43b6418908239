"""The servers that the gateway is compared with, each a process of its own.

    python apps.py noop PORT HEADERS BYTES    reads the body, answers BYTES with HEADERS headers: the unit
    python apps.py bare PORT UPSTREAM         a proxy on the gateway's own outbound client, and nothing else
    python apps.py reqwest PORT UPSTREAM      the same on pyreqwest
    python apps.py answer PORT                a model that always gives the same answer

All run on the gateway's uvicorn: uvloop, httptools, no access log. UPSTREAM is the whole URL to post to.
"""

import sys
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]
Post = Callable[[bytes], Awaitable[tuple[int, bytes]]]

JSON = (b"content-type", b"application/json")


async def read(receive: Receive) -> bytes:
    """The whole request body."""
    message = await receive()
    body: bytes = message.get("body", b"")
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
    return body


def noop(headers: int, size: int) -> App:
    """The unit. ``headers`` counts what the client sees: uvicorn adds ``date``."""
    content = b'{"id":"x"}'.ljust(size)
    lines = [JSON, (b"content-length", b"%d" % len(content))]
    lines += [(b"x-header-%02d" % number, b"value-%02d-of-header" % number) for number in range(headers - 3)]

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await read(receive)
        await send({"type": "http.response.start", "status": 200, "headers": lines})
        await send({"type": "http.response.body", "body": content})

    return app


def answer() -> App:
    """A chat completion of 1 KB."""
    text = "The quick brown fox jumps over the lazy dog. " * 14
    content = (
        b'{"id":"chatcmpl-1","object":"chat.completion","created":1760000000,"model":"gpt-4o-mini","choices":[{"index":0,'
        b'"message":{"role":"assistant","content":"' + text.encode() + b'"},"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":42,"completion_tokens":50,"total_tokens":92}}'
    )

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        await read(receive)
        headers = [JSON, (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


def proxy(connect: Callable[[], Awaitable[Post]]) -> App:
    """Reads, sends on, answers: what no proxy can leave out."""
    post: Post | None = None

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        nonlocal post
        if post is None:
            post = await connect()
        status, content = await post(await read(receive))
        headers = [JSON, (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    return app


def own_client(url: str) -> Callable[[], Awaitable[Post]]:
    """``ostinato.outbound``."""
    from ostinato import outbound  # noqa: PLC0415 - not there in the peers' environments
    from ostinato.core.clock import SystemClock  # noqa: PLC0415

    headers = {"content-type": "application/json", "authorization": "Bearer sk-upstream"}

    async def connect() -> Post:
        client = outbound.Client(outbound.Settings(), SystemClock())
        await client.start()

        async def post(body: bytes) -> tuple[int, bytes]:
            response = await client.post(url, body, headers, 60.0, allow_private=True)
            return response.status, response.body

        return post

    return connect


def reqwest_client(url: str) -> Callable[[], Awaitable[Post]]:
    """pyreqwest: Rust's reqwest."""
    from pyreqwest.client import ClientBuilder  # noqa: PLC0415 # type: ignore[import-not-found]

    async def connect() -> Post:
        client = ClientBuilder().max_connections(1000).build()

        async def post(body: bytes) -> tuple[int, bytes]:
            request = client.post(url).header("content-type", "application/json")
            response = await request.header("authorization", "Bearer sk-upstream").body_bytes(body).build().send()
            return response.status, bytes(await response.bytes())

        return post

    return connect


def main(kind: str, port: str, *rest: str) -> None:
    """Serve one of them."""
    if kind == "noop":
        app = noop(int(rest[0]), int(rest[1]))
    elif kind == "answer":
        app = answer()
    else:
        app = proxy((own_client if kind == "bare" else reqwest_client)(rest[0]))
    uvicorn.run(
        app,  # type: ignore[arg-type]
        host="127.0.0.1",
        port=int(port),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        ws="none",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level="warning",
        timeout_keep_alive=75,
        backlog=4096,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
