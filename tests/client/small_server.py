"""A small server that speaks as Ostinato does to its clients: real sockets, answers that a test decides, and counts.

What the true server answers is tested in ``tests/journeys/test_client.py``; here the awkward moments are: outages, late
answers, broken streams.
"""

import asyncio
import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ostinato import AsyncClient, Client
from ostinato.core.clock import ManualClock

KEY = "ost_test_0123456789"


def told(name: str = "greeting", version: int = 1, template: str = "Hello {{who}}!", **more: Any) -> dict[str, Any]:
    """What ``/resolved`` answers."""
    return {
        "name": name,
        "version": version,
        "digest": f"{version:064x}",
        "kind": "chat",
        "messages": [{"role": "system", "template": "Be brief."}, {"role": "user", "template": template}],
        "label": "production",
        "variables": {
            "type": "object",
            "properties": {"who": {"type": "string"}},
            "required": ["who"],
            "additionalProperties": False,
        },
        **more,
    }


class Small:
    """The server."""

    def __init__(self) -> None:
        self.prompts: dict[tuple[str, str], dict[str, Any]] = {}
        """(name, label, version or user) -> what is told."""
        self.asked: list[tuple[str, dict[str, str], dict[str, str], Any]] = []
        """Path, query, headers, body."""
        self.status = 0
        """Instead of an answer to prompts."""
        self.before: Callable[[], None] = lambda: None
        """Called after a prompt was looked up and before it is sent."""
        self.chat: Callable[[BaseHTTPRequestHandler, Any], None] = lambda handler, body: None
        self.listeners: list[queue.Queue[bytes]] = []
        self.events = True
        self.mark = 1
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                return

            def do_GET(self) -> None:
                outer.get(self)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.asked.append((self.path, {}, headers_of(self), body))
                outer.chat(self, body)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                return

        self._connections: list[Any] = []
        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """End, and cut every connection."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for listener in self.listeners:
            listener.put(b"")
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(2)

    def tell(self) -> None:
        """Something has changed."""
        self.mark += 1
        for listener in list(self.listeners):
            listener.put(self._event())

    def _event(self) -> bytes:
        return b'id: %d\nevent: change\ndata: {"mark":"%d"}\n\n' % (self.mark, self.mark)

    def put(self, prompt: dict[str, Any], *keys: str) -> None:
        for key in keys or ("production",):
            self.prompts[prompt["name"], key] = prompt

    def fetches(self) -> int:
        return sum(1 for path, *_ in self.asked if path.endswith("/resolved"))

    def get(self, handler: BaseHTTPRequestHandler) -> None:
        self._connections.append(handler.connection)
        split = urlsplit(handler.path)
        query = dict(parse_qsl(split.query))
        headers = headers_of(handler)
        self.asked.append((split.path, query, headers, None))
        if headers.get("authorization") != f"Bearer {KEY}":
            problem(handler, 401, "invalid_api_key", "There is no such key.")
        elif split.path == "/api/v1/prompts/events":
            self._events(handler)
        elif self.status:
            problem(handler, self.status, "made_up", "As the test wants it.", {"retry-after": "7"})
        else:
            name = unquote(split.path.removeprefix("/api/v1/prompts/").removesuffix("/resolved"))
            found = self.prompts.get((name, query.get("user") or query.get("version") or query.get("label", "")))
            self.before()
            if found is None:
                problem(handler, 404, "label_not_found", "There is no such label.", hint="There are: staging.")
                return
            etag = f'"{found["digest"][-8:]}-{found["version"]}"'
            if headers.get("if-none-match") == etag:
                reply(handler, 304, b"", {"etag": etag})
            else:
                reply(handler, 200, json.dumps(found).encode(), {"etag": etag})

    def _events(self, handler: BaseHTTPRequestHandler) -> None:
        if not self.events:
            problem(handler, 404, "not_found", "No events here.")
            return
        mine: queue.Queue[bytes] = queue.Queue()
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        mine.put(self._event())
        self.listeners.append(mine)
        handler.close_connection = True
        while data := mine.get():
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            handler.wfile.flush()


def headers_of(handler: BaseHTTPRequestHandler) -> dict[str, str]:
    return {name.lower(): value for name, value in handler.headers.items()}


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    if status != 304:
        handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def problem(
    handler: BaseHTTPRequestHandler,
    status: int,
    code: str,
    detail: str,
    headers: dict[str, str] | None = None,
    hint: str = "",
) -> None:
    body = json.dumps({"title": "x", "status": status, "detail": detail, "code": code, "hint": hint}).encode()
    found = {"content-type": "application/problem+json", "x-request-id": "req-1", **(headers or {})}
    reply(handler, status, body, found)


class Both:
    """One interface over the two clients, so that every test runs on each."""

    def __init__(self, kind: str, url: str, clock: ManualClock) -> None:
        self.kind = kind
        self._url = url
        self.clock = clock
        self._loop = asyncio.new_event_loop()
        self._made: list[Any] = []
        self.client: Any = None

    def make(self, **options: Any) -> "Both":
        options = {"push": False, "clock": self.clock, **options}
        made = Client if self.kind == "blocking" else AsyncClient
        self.client = made(self._url, options.pop("api_key", KEY), **options)
        self._made.append(self.client)
        return self

    def run(self, result: Any) -> Any:
        if not asyncio.iscoroutine(result):
            return result
        return self._loop.run_until_complete(result)

    def prompt(self, *arguments: Any, **options: Any) -> Any:
        return self.run(self.client.prompt(*arguments, **options))

    def chat(self, **options: Any) -> Any:
        return self.run(self.client.chat(**options))

    def messages(self, **options: Any) -> Any:
        return self.run(self.client.messages(**options))

    def pieces(self, stream: Any) -> list[str]:
        """Everything that a stream says."""
        if self.kind == "blocking":
            return list(stream)

        async def read() -> list[str]:
            return [piece async for piece in stream]

        return self.run(read())

    def eventually(self, true: Callable[[], Any], within: float = 5.0) -> Any:
        end = time.monotonic() + within
        while not (found := true()):
            if time.monotonic() > end:
                raise AssertionError(f"not true within {within:g} seconds: {found!r}")
            if self.kind == "blocking":
                time.sleep(0.01)
            else:
                self.run(asyncio.sleep(0.01))
        return found

    def close(self) -> None:
        for made in self._made:
            self.run(made.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
