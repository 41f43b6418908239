"""The protocol short cut: a repeated request is answered inside uvicorn's parser callbacks, before ASGI begins.

For a ``POST`` to a path that may be repeated, the request is *held*: neither scope nor cycle nor task is made until its
body is whole. Then ``repeat`` is asked; if it knows the answer, one ``transport.write`` ends the matter. If not, an
:class:`~ostinato.web.exchange.Exchange` answers it, body in hand. A held request that turns out not to be plain is
*released*: the ordinary ASGI cycle starts with what has arrived of its body.

What is not plain goes the ordinary way from the start: HTTP/1.0, ``Connection: close``, ``Expect``, upgrades, a request
pipelined behind one still in progress, a paused transport, a large body.

This leans on the internals of uvicorn's ``HttpToolsProtocol`` (its callbacks and attributes), so uvicorn's version is
pinned, and ``tests/web/test_shortcut.py`` drives pipelined, slow and split requests over real sockets.
"""

import sys
from collections.abc import Callable
from typing import Any, ClassVar, cast

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ostinato.gateway import Reply, StreamReply
from ostinato.web.exchange import Answer, Exchange

Headers = list[tuple[bytes, bytes]]

Repeat = Callable[[bytes, Headers, bytes], Any]
"""``repeat(path, headers, body)``: a whole HTTP response as bytes, or what the application shall find in its scope."""

TRIED = "ostinato.tried"
"""Scope key of what ``repeat`` returned when it had no answer."""

LEFT = "ostinato.left"
"""Scope key of the connection's callbacks for when the caller leaves; emptied, then called, when that happens."""

HELD_BYTES = 262_144
"""A request whose body grows beyond this is released, so that the transport's flow control takes over."""

HEAD_BYTES = 65_536
"""A request whose head is still not whole after so many bytes is refused."""

_REASONS = {400: b"Bad Request", 431: b"Request Header Fields Too Large"}


class _Dated:
    """The line made of the headers that uvicorn adds, and the list that it was made of."""

    headers: object = None
    line = b""


_dated = _Dated()


class ShortcutProtocol(HttpToolsProtocol):
    """See the module. :func:`protocol_class` makes the subclass that knows ``paths`` and how to ``repeat``."""

    paths: ClassVar[frozenset[bytes]]
    held: bytes | bytearray | None = None
    """The body so far, while a request is held."""
    arriving: float = 0.0
    """Loop time at which the request that is still arriving began; 0 where none is."""
    idle_since: float = 0.0
    """Loop time of the last answer: instead of a timer for each, the server's guard looks by."""
    heading: bool = False
    """Whether a request's head has begun to arrive and is not whole."""
    head_bytes: int = 0
    """Of a head that comes in several pieces, so far."""
    tried: Any = None
    left: list[Callable[[], object]]

    def repeat(self, path: bytes, headers: Headers, body: bytes) -> Any:
        """A whole HTTP response as bytes, or what the ASGI application shall find in its scope."""
        return None

    async def direct(self, path: bytes, headers: Headers, body: bytes, tried: Any) -> "Reply | StreamReply":
        """Answer what could not be repeated; see ``protocol_class``."""
        return Reply(503, [], b"")

    def connection_made(self, transport: Any) -> None:
        self.left = []
        self.arriving = self.loop.time()
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        callbacks = self.left[:]
        self.left.clear()
        super().connection_lost(exc)
        for callback in callbacks:
            callback()

    def cut_off_if_slow(self, since: float) -> None:
        """Close the connection if a request began to arrive before ``since`` and is still not whole."""
        if 0.0 < self.arriving < since and not self.transport.is_closing():
            self.transport.close()

    def close_if_idle(self, since: float) -> None:
        """Close the connection if its last answer was given before ``since``, and nothing came after it."""
        cycle = cast("Any", self.cycle)
        idle = not self.arriving and (cycle is None or cycle.response_complete)
        if idle and 0.0 < self.idle_since < since and self.timeout_keep_alive_task is None:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        parser = cast("Any", self.parser)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # the request has been answered as the ordinary one that it also is
        except httptools.HttpParserError:
            self.refuse(400, "invalid_http", "This is no valid HTTP request.")
            return
        if self.heading:
            self.head_bytes += len(data)
            if self.head_bytes > HEAD_BYTES:
                self.refuse(431, "head_too_large", f"The request's headers are larger than {HEAD_BYTES} bytes.")

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer what cannot be read as a request, in a shape that clients of both wires understand, and hang up."""
        cycle = cast("Any", self.cycle)
        if cycle is not None and not cycle.response_complete:
            self.transport.close()  # the answer to an earlier request is on its way: nothing may be written into it
            return
        error = {"type": "invalid_request_error", "message": message, "param": None, "code": code}
        body = msgspec.json.encode({"type": "error", "error": error})
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
            % (status, _REASONS[status], len(body), body)
        )
        self.transport.close()

    def on_message_begin(self) -> None:
        self.heading = True
        self.head_bytes = 0
        # Set by a request that came in the same packet as this one.
        self._unset_keepalive_if_required()
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self.tried = None
        cycle = cast("Any", self.cycle)
        # Behind a request still being answered we do not read on, so the time that passes is not the caller's.
        self.arriving = self.loop.time() if cycle is None or cycle.response_complete else 0.0

    def on_headers_complete(self) -> None:
        self.heading = False
        cycle = cast("Any", self.cycle)  # uvicorn declares it as never None, and starts with None
        parser = cast("Any", self.parser)
        if (
            self.url in self.paths
            and parser.get_method() == b"POST"
            and (cycle is None or cycle.response_complete)
            and not self.expect_100_continue
            and not self.flow.write_paused
            and parser.should_keep_alive()
            and parser.get_http_version() == "1.1"
            and not parser.should_upgrade()
        ):
            self.held = b""
        else:
            self.begin_cycle()

    def begin_cycle(self) -> None:
        """Start the ordinary ASGI cycle for the request whose headers are complete."""
        self.held = None
        self.scope = cast(
            "Any",
            {
                "type": "http",
                "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
                "http_version": "1.1",
                "server": self.server,
                "client": self.client,
                "scheme": self.scheme,
                "root_path": self.root_path,
                "headers": self.headers,
                "state": self.app_state.copy(),
                TRIED: self.tried,
                LEFT: self.left,
            },
        )
        super().on_headers_complete()

    def release(self) -> None:
        """Give a held request, with what has arrived of its body, to the ordinary path."""
        body = self.held
        self.begin_cycle()
        if body:
            super().on_body(bytes(body))

    def on_body(self, body: bytes) -> None:
        held = self.held
        if held is None:
            super().on_body(body)
        elif not held:
            self.held = body
        elif len(held) + len(body) > HELD_BYTES:
            self.release()
            super().on_body(body)
        else:
            if not isinstance(held, bytearray):
                self.held = held = bytearray(held)
            held += body

    def on_message_complete(self) -> None:
        self.arriving = 0.0
        held = self.held
        if held is None:
            super().on_message_complete()
            return
        body = bytes(held)
        answer: Any = self.repeat(self.url, self.headers, body)
        if isinstance(answer, bytes):
            self.held = None
            self.server_state.total_requests += 1
            self.transport.write(answer)
            self.idle_since = self.loop.time()
        elif len(self.tasks) >= self.most_tasks:
            self.tried = answer
            self.release()  # uvicorn says that it is too busy
            super().on_message_complete()
        else:
            self.held = None
            exchange = Exchange(self)
            self.cycle = cast("Any", exchange)
            task = self.loop.create_task(exchange.run(self.direct, self.url, self.headers, body, answer, self.left))
            exchange.task = task
            self.tasks.add(task)

    def on_response_complete(self) -> None:
        """As uvicorn's, but for an idle connection's timer: the server's guard looks by instead."""
        if self.pipeline:
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.idle_since = self.loop.time()

    def date_line(self) -> bytes:
        """The headers that uvicorn adds to every answer: the date. It makes a new list once a second."""
        headers = self.server_state.default_headers
        if _dated.headers is not headers:
            _dated.headers = headers
            _dated.line = b"".join([b"%b: %b\r\n" % pair for pair in headers])
        return _dated.line

    @property
    def most_tasks(self) -> int:
        return self.limit_concurrency or sys.maxsize

    def shutdown(self) -> None:
        if self.held is not None:
            self.release()
        super().shutdown()


def protocol_class(paths: frozenset[bytes], repeat: Repeat, answer: Answer) -> type[ShortcutProtocol]:
    """A protocol class for ``uvicorn.Config(http=...)``: ``POST`` to ``paths`` is repeated, or else answered."""
    return type(
        "BoundShortcutProtocol",
        (ShortcutProtocol,),
        {"paths": paths, "repeat": staticmethod(repeat), "direct": staticmethod(answer)},
    )
