"""One HTTP/1.1 connection and the exchange that it carries at the moment."""

import asyncio
import math
import zlib
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, cast

import httptools

from ostinato.outbound.errors import BadResponse, ConnectionFailed, OutboundError, TimedOut, TooLarge

_NO_BODY_FRAMING: Final = frozenset({"content-length", "transfer-encoding"})
_MAX_EXPANSION: Final = 16 * 1024 * 1024


_NAMES: dict[bytes, str] = {}
"""Header names as they came, and as they are looked for: servers use few, and each over and over."""
_MOST_NAMES: Final = 1024


def _named(name: bytes) -> str:
    known = name.decode("latin-1").lower()
    if len(_NAMES) < _MOST_NAMES:
        _NAMES[name] = known
    return known


class Inflater(Protocol):
    """The part of ``zlib.decompressobj`` that we use."""

    @property
    def unconsumed_tail(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int = 0, /) -> bytes: ...


class Connection(asyncio.Protocol):
    """Parses what arrives and wakes the one coroutine that waits for it.

    There is no task, queue or thread between the socket and the reader: a chunk that arrives is with the reader in the
    same turn of the loop, and a reader that leaves closes the socket.
    """

    __slots__ = (
        "_buffered",
        "_closed",
        "_deadline",
        "_decoder",
        "_head_bytes",
        "_high_water",
        "_informational",
        "_keep_alive",
        "_limit",
        "_loop",
        "_max_head",
        "_parser",
        "_paused",
        "_received",
        "_then",
        "_until",
        "_waiter",
        "_whole",
        "active",
        "chunks",
        "done",
        "failure",
        "headers",
        "host",
        "idle_since",
        "reused",
        "status",
        "transport",
        "waiting_since",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, host: str, max_head: int, high_water: int) -> None:
        self._loop = loop
        self._max_head = max_head
        self._high_water = high_water
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._then: Callable[[], None] | None = None
        self._until = math.inf
        self._deadline: asyncio.TimerHandle | None = None
        self.host = host
        self.active = False
        self.reused = False
        self.idle_since = 0.0
        self.waiting_since = 0.0
        self.failure: OutboundError | None = None

    # --- an exchange -------------------------------------------------------------------------------------------

    def begin(self, request: bytes, limit: int, *, whole: bool) -> None:
        """Send ``request``. ``whole``: wake the reader once, at the end, and refuse more than ``limit`` bytes."""
        if not self.reused:  # the parser of an answer that ended well is ready for the next one
            self._parser = httptools.HttpResponseParser(self)
        self._whole = whole
        self._limit = limit
        self._received = 0
        self._head_bytes = 0
        self._buffered = 0
        self._informational = False
        self._keep_alive = False
        self._paused = False
        self._decoder: Inflater | None = None
        self.status = 0
        self.headers: dict[str, str] = {}
        self.chunks: deque[bytes] = deque()
        self.done = False
        self.failure = None
        if self._closed:
            self.failure = ConnectionFailed(f"{self.host} closed the connection.")
            return
        self.active = True
        self.transport.write(request)

    async def head(self) -> None:
        """Return when status and headers are there (``whole``: when everything is); raise if that failed."""
        while not self.done and (self._whole or not self.status):
            await self._wait()
        if self.failure is not None and not self.status:
            raise self.failure

    def body(self) -> bytes:
        """The whole body, after :meth:`head`."""
        if self.failure is not None:
            raise self.failure
        return self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)

    async def next_chunk(self) -> bytes:
        """What has arrived since the last call, waiting if that is nothing; empty at the end."""
        while not self.chunks:
            if self.failure is not None:
                raise self.failure
            if self.done:
                return b""
            await self._wait()
        data = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        self.chunks.clear()
        self._buffered = 0
        if self._paused:
            self._paused = False
            self.transport.resume_reading()
        return data

    def _wait(self) -> "asyncio.Future[None]":
        """To be awaited by the one reader: done when something has happened."""
        if self.failure is not None:
            raise self.failure
        self._waiter = waiter = self._loop.create_future()
        self.waiting_since = self._loop.time()
        return waiter

    @property
    def waiting(self) -> bool:
        """Whether somebody waits for the other side at this moment."""
        return self._waiter is not None and not self._waiter.done()

    @property
    def begun(self) -> bool:
        """Whether any byte of the answer has arrived."""
        return self._received > 0

    @property
    def reusable(self) -> bool:
        """Whether the answer was complete and the connection may carry another call."""
        return (
            self.done
            and self.failure is None
            and not self._closed
            and self._keep_alive
            and not self.transport.is_closing()
            and self.transport.get_write_buffer_size() == 0
        )

    def drain(self, then: Callable[[], None]) -> None:
        """Read the little that is left of an answer without a reader, and call ``then`` at its end."""
        self._then = then
        self.chunks.clear()
        self._buffered = 0
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def end_by(self, until: float) -> None:
        """Fail if the answer is not complete at ``until``, loop time; ``math.inf``: take as long as it takes.

        One timer serves one call after the other: it is moved only to an earlier time, and looks again when it fires.
        """
        self._until = until
        armed = self._deadline
        if until < math.inf and not self._closed and (armed is None or armed.when() > until):
            if armed is not None:
                armed.cancel()
            self._deadline = self._loop.call_at(until, self._look)

    def _look(self) -> None:
        self._deadline = None
        if self.active and self._until < math.inf:
            # uvloop counts in whole milliseconds and may be early by one.
            if self._loop.time() >= self._until - 0.001:
                self.time_out("answer")
            else:
                self._deadline = self._loop.call_at(self._until, self._look)

    def abort(self) -> None:
        """Close at once: the other side learns that nobody listens any more."""
        self._closed = True
        self.active = False
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        self.transport.abort()

    def fail(self, error: OutboundError) -> None:
        """End the exchange with ``error`` and close."""
        if self.failure is None and not self.done:
            self.failure = error
        self.abort()
        self._wake()

    def time_out(self, what: str) -> None:
        self.fail(TimedOut(f"{self.host} did not {what} in time."))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- from the socket ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's own class is not derived from it

    def data_received(self, data: bytes) -> None:
        if not self.active:
            # Bytes that nobody asked for: the connection is out of step and must not carry another call.
            self.abort()
            return
        self._received += len(data)
        if not self.status:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.fail(BadResponse(f"{self.host} wants to switch protocols."))
        except OutboundError as error:
            self.fail(error)
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self.fail(cause if isinstance(cause, OutboundError) else BadResponse(f"{self.host} sent a broken answer."))
        except (httptools.HttpParserError, zlib.error):
            if not self.done:
                self.fail(BadResponse(f"{self.host} sent what is no HTTP/1.1 answer."))
            else:
                self.abort()
        else:
            if not self.status and self._head_bytes > self._max_head:
                self.fail(TooLarge(f"{self.host} sent more than {self._max_head} bytes of headers."))
        if self.done or (not self._whole and (self.status or self.chunks)):
            self._wake()
        if self._then is not None and self.done:
            then, self._then = self._then, None
            then()

    def eof_received(self) -> bool | None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if not self.active:
            return
        self.active = False
        if self.status and exc is None and not (_NO_BODY_FRAMING & self.headers.keys()):
            self.done = True  # a body that ends with the connection, as HTTP/1.0 had it
        elif not self.done and self.failure is None:
            failure = ConnectionFailed(
                f"{self.host} closed the connection {'in the middle of' if self._received else 'before'} its answer."
            )
            failure.begun = self._received > 0
            self.failure = failure
        self._wake()

    # --- from the parser ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.done:
            raise BadResponse(f"{self.host} sent two answers to one request.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.status:
            return  # trailers carry nothing for us
        known = _NAMES.get(name)
        self.headers[_named(name) if known is None else known] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self._informational = True
            self.headers = {}
            return
        self.status = status
        encoding = self.headers.get("content-encoding", "identity").lower()
        if encoding in ("gzip", "x-gzip", "deflate"):
            self._decoder = zlib.decompressobj(zlib.MAX_WBITS | 32)
        elif encoding != "identity":
            raise BadResponse(f"{self.host} used a content-encoding that was not asked for.")

    def on_body(self, body: bytes) -> None:
        if self._decoder is not None:
            body = self._inflate(self._decoder, body)
        self._buffered += len(body)
        if self._whole:
            if self._buffered > self._limit:
                raise TooLarge(f"{self.host} sent more than {self._limit} bytes.")
        elif self._buffered > self._high_water and not self._paused:
            self._paused = True
            self.transport.pause_reading()
        if body:
            self.chunks.append(body)

    def _inflate(self, decoder: Inflater, body: bytes) -> bytes:
        bound = self._limit - self._buffered if self._whole else _MAX_EXPANSION
        out = decoder.decompress(body, bound + 1)
        if decoder.unconsumed_tail or len(out) > bound:
            raise TooLarge(f"{self.host} sent a compressed answer that grows beyond its bound.")
        return out

    def on_message_complete(self) -> None:
        if self._informational:
            self._informational = False
            return
        self.done = True
        self.active = False
        self._keep_alive = self._parser.should_keep_alive()  # the parser knows it at this moment only
