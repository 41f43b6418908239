"""The one client through which Ostinato calls other servers."""

import asyncio
import math
import ssl
from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

import msgspec

from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.outbound import guard
from ostinato.outbound.connection import Connection
from ostinato.outbound.errors import ConnectionFailed, TimedOut
from ostinato.outbound.pool import Pool
from ostinato.outbound.settings import Settings

_MAX_ENDPOINTS = 4096
_DRAIN_SECONDS = 1.0


def lines_of(headers: Mapping[str, str]) -> bytes:
    """Headers as lines. Raises ``Invalid`` for one that would break out of its line, or that HTTP cannot carry."""
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if lines.count("\r") != len(headers) or lines.count("\n") != len(headers) or "\0" in lines:
        raise Invalid("A header to forward holds a line break.", code="invalid_header")
    try:
        return lines.encode("latin-1")
    except UnicodeEncodeError as error:
        raise Invalid("A header to forward holds a character that HTTP cannot carry.", code="invalid_header") from error


class Headers(dict[str, str]):
    """Headers that go with many requests, written once. Not to be changed."""

    def __init__(self, headers: Mapping[str, str]) -> None:
        super().__init__(headers)
        self.lines = lines_of(self)

    def __repr__(self) -> str:
        return f"Headers({', '.join(self)})"


class Response(msgspec.Struct, frozen=True, gc=False):
    """A complete answer."""

    status: int
    headers: dict[str, str]
    """Lower-case names; of a repeated header the last value."""
    body: bytes
    first_byte: float
    """Seconds from sending to the end of the answer's head, or of the answer where it was read as a whole."""


class StreamedResponse:
    """An answer whose body is read as it arrives: ``async for chunk in response``."""

    def __init__(self, connection: Connection, first_byte: float) -> None:
        self._connection: Connection | None = connection
        self.status = connection.status
        self.headers = connection.headers
        self.first_byte = first_byte
        self.finished = False

    async def _next(self) -> bytes:
        if self._connection is None:
            raise ConnectionFailed("The stream was left already.")
        return await self._connection.next_chunk()

    def finish(self) -> None:
        """Say that the answer is complete though the body may have a few bytes more: the connection is worth keeping.

        To be called where the protocol above HTTP has its own end, such as ``[DONE]``.
        """
        self.finished = True

    def detach(self) -> None:
        """Read nothing from now on."""
        self._connection = None

    def __aiter__(self) -> "StreamedResponse":
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._next()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def read(self, limit: int) -> bytes:
        """The rest of the body, cut off at ``limit`` bytes."""
        parts: list[bytes] = []
        size = 0
        while size < limit and (chunk := await self._next()):
            parts.append(chunk)
            size += len(chunk)
        return b"".join(parts)[:limit]


class Client:
    """Pooled HTTP/1.1 with deadlines, bounds and the address guard.

    It never follows redirects, reads no proxy from the environment, keeps no cookies. A coroutine that is cancelled
    closes its connection at once, before the answer's head as well as in the middle of its body.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._pools: dict[tuple[str, str, int, bool], Pool] = {}
        self._endpoints: dict[tuple[str, bool], tuple[guard.Endpoint, Pool, bytes]] = {}
        self._in_use = 0
        self._tls: ssl.SSLContext | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._started = False

    async def start(self) -> None:
        """Read the trusted certificates (tens of milliseconds) and begin to close idle connections."""
        if self._started:
            return
        self._tls = await asyncio.to_thread(_tls_context, self._settings.ca_file)
        self._started = True
        self._sweep()

    async def close(self) -> None:
        """Close every idle connection; calls under way may end, then theirs is closed too."""
        self._started = False
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._forget()

    def _forget(self) -> None:
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        self._endpoints.clear()

    @property
    def in_use(self) -> int:
        """Connections that carry a call at this moment."""
        return self._in_use

    @property
    def opened(self) -> int:
        """Connections opened since the start."""
        return sum(pool.opened for pool in self._pools.values())

    def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        seconds: float,
        *,
        allow_private: bool = False,
        max_bytes: int | None = None,
    ) -> Coroutine[Any, Any, Response]:
        """Send ``body``; awaiting this gives the whole answer, whatever its status.

        ``seconds``: for everything. ``max_bytes``: bound of the answer, by default the setting's. Raises
        ``TimedOut``, ``ConnectionFailed``, ``TooLarge``, ``BadResponse``, ``Refused``.
        """
        return self._whole(b"POST", url, body, headers, seconds, allow_private, max_bytes)

    def get(
        self,
        url: str,
        headers: Mapping[str, str],
        seconds: float,
        *,
        allow_private: bool = False,
        max_bytes: int | None = None,
    ) -> Coroutine[Any, Any, Response]:
        """As :meth:`post`, without a body."""
        return self._whole(b"GET", url, b"", headers, seconds, allow_private, max_bytes)

    def request(
        self,
        method: str,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        seconds: float,
        *,
        allow_private: bool = False,
    ) -> Coroutine[Any, Any, Response]:
        """As :meth:`post`, with any method."""
        return self._whole(method.encode("ascii"), url, body, headers, seconds, allow_private, None)

    def monotonic(self) -> float:
        """Seconds on the clock that answers are timed by."""
        return self._clock.monotonic()

    async def _whole(
        self,
        method: bytes,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        seconds: float,
        allow_private: bool,
        max_bytes: int | None,
    ) -> Response:
        pool, request = self.prepare(method, url, body, headers, allow_private)
        limit = self._settings.max_response_bytes if max_bytes is None else max_bytes
        # Not the loop's time: uvloop's goes in whole milliseconds.
        began = self._clock.monotonic()
        until = asyncio.get_running_loop().time() + seconds
        connection = await self.send(pool, request, limit, until, whole=True)
        ended = self._clock.monotonic()
        try:
            return Response(connection.status, connection.headers, connection.body(), ended - began)
        finally:
            self._in_use -= 1
            pool.put(connection, ended)

    def stream(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        seconds: float,
        *,
        allow_private: bool = False,
    ) -> AbstractAsyncContextManager[StreamedResponse]:
        """Send ``body``; ``async with client.stream(...) as response`` gives the answer as soon as its head is there.

        ``seconds``: to the answer's head, and again between any two chunks. Leaving the block before the end closes
        the connection. Raises as :meth:`post` does, also out of the iteration.
        """
        return _Stream(self, url, body, headers, seconds, allow_private)

    # --- how -----------------------------------------------------------------------------------------------------

    def prepare(
        self, method: bytes, url: str, body: bytes, headers: Mapping[str, str], allow_private: bool
    ) -> tuple[Pool, bytes]:
        """The pool for ``url`` and the bytes of the request (not for other rooms)."""
        if not self._started:
            raise ConnectionFailed("The outbound client is not started.")
        known = self._endpoints.get((url, allow_private))
        _, pool, head = known if known is not None else self._remember(url, allow_private)
        extra = headers.lines if isinstance(headers, Headers) else lines_of(headers)
        if method == b"GET":
            return pool, b"GET %b%b\r\n" % (head, extra)
        return pool, b"%b %b%bcontent-length: %d\r\n\r\n%b" % (method, head, extra, len(body), body)

    def _remember(self, url: str, allow_private: bool) -> tuple[guard.Endpoint, Pool, bytes]:
        if len(self._endpoints) >= _MAX_ENDPOINTS:
            self._forget()
        endpoint = guard.parse(url, allow_private=allow_private)
        key = (endpoint.scheme, endpoint.host, endpoint.port, allow_private)
        pool = self._pools.get(key)
        if pool is None:
            tls = self._tls if endpoint.scheme == "https" else None
            pool = self._pools[key] = Pool(endpoint, self._settings, self._clock, tls)
        head = (
            f"{endpoint.target} HTTP/1.1\r\nhost: {endpoint.authority}\r\n"
            "user-agent: ostinato\r\naccept-encoding: identity\r\n"
        )
        known = self._endpoints[(url, allow_private)] = (endpoint, pool, head.encode("ascii"))
        return known

    async def send(self, pool: Pool, request: bytes, limit: int, until: float, *, whole: bool) -> Connection:
        """A connection on which the head (``whole``: everything) has arrived, now in use (not for other rooms)."""
        if self._in_use >= self._settings.max_connections:
            raise ConnectionFailed("Too many calls are under way.", hint="Raise outbound.max_connections.")
        self._in_use += 1
        connection: Connection | None = None
        try:
            connection = pool.take()
            while True:
                if connection is None:
                    connection = await pool.connect(max(until - asyncio.get_running_loop().time(), 0.001))
                connection.end_by(until)
                connection.begin(request, limit, whole=whole)
                try:
                    await connection.head()
                except ConnectionFailed:
                    # The other side may close an idle connection just as we take it: then nothing was answered, and
                    # a fresh connection is tried, once.
                    if not connection.reused or connection.begun:
                        raise
                    connection = None
                    continue
                return connection
        except BaseException:
            self._in_use -= 1
            if connection is not None:
                connection.abort()
            raise

    def give_back(self, pool: Pool, connection: Connection, *, drain: bool = False) -> None:
        """End what :meth:`send` began (not for other rooms). ``drain``: its last bytes may be on the way."""
        self._in_use -= 1
        if not drain or connection.done or connection.failure is not None:
            pool.put(connection, self._clock.monotonic())
            return
        patience = asyncio.get_running_loop().call_later(_DRAIN_SECONDS, connection.abort)

        def drained() -> None:
            patience.cancel()
            pool.put(connection, self._clock.monotonic())

        connection.drain(drained)

    def _sweep(self) -> None:
        before = self._clock.monotonic() - self._settings.idle_timeout
        for pool in self._pools.values():
            pool.sweep(before)
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(max(self._settings.idle_timeout / 4, 0.05), self._sweep)


class _Stream:
    """The block of :meth:`Client.stream`; a class, because a generator context manager costs microseconds more."""

    __slots__ = (
        "_body",
        "_client",
        "_connection",
        "_pool",
        "_private",
        "_response",
        "_seconds",
        "_url",
        "_watch",
        "headers",
    )

    def __init__(
        self, client: Client, url: str, body: bytes, headers: Mapping[str, str], seconds: float, private: bool
    ) -> None:
        self._client = client
        self._url = url
        self._body = body
        self.headers = headers
        self._seconds = seconds
        self._private = private

    async def __aenter__(self) -> StreamedResponse:
        client = self._client
        pool, request = client.prepare(b"POST", self._url, self._body, self.headers, self._private)
        loop = asyncio.get_running_loop()
        began = client.monotonic()
        connection = await client.send(pool, request, 0, loop.time() + self._seconds, whole=False)
        connection.end_by(math.inf)
        self._pool = pool
        self._connection = connection
        self._watch = _IdleWatch(loop, connection, self._seconds)
        self._response = StreamedResponse(connection, client.monotonic() - began)
        return self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.cancel()
        # Whoever keeps the response must not read the next call's answer from the same connection.
        self._response.detach()
        self._client.give_back(self._pool, self._connection, drain=self._response.finished)


class _IdleWatch:
    """Ends a stream on which the other side has been silent for too long.

    One timer per stream that looks at the time when the reader began to wait, instead of one timer per chunk. The time
    that our own reader takes does not count.
    """

    __slots__ = ("_connection", "_handle", "_loop", "_timeout")

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: Connection, timeout: float) -> None:
        self._loop = loop
        self._connection = connection
        self._timeout = timeout
        self._handle = loop.call_later(timeout, self._look)

    def _look(self) -> None:
        connection = self._connection
        rest = self._timeout
        if connection.waiting:
            rest = connection.waiting_since + self._timeout - self._loop.time()
            if rest <= 0.001:
                connection.fail(TimedOut(f"{connection.host} stopped in the middle of its answer."))
                return
        self._handle = self._loop.call_later(rest, self._look)

    def cancel(self) -> None:
        self._handle.cancel()


def _tls_context(ca_file: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:
        raise Invalid(
            f"The file of trusted certificates {ca_file} cannot be used: {error.strerror or error}.",
            param="outbound.ca_file",
            hint="Point it at a PEM file, or leave it out: then the system's certificates are trusted.",
        ) from None
    context.set_alpn_protocols(["http/1.1"])
    return context
