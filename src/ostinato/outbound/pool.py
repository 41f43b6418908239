"""Connections to one origin: resolve, check, connect, keep."""

import asyncio
import ssl
from collections import deque

from ostinato.core.clock import Clock
from ostinato.outbound import guard
from ostinato.outbound.connection import Connection
from ostinato.outbound.errors import ConnectionFailed, Refused, TimedOut
from ostinato.outbound.settings import Settings


class Pool:
    """The connections to one (scheme, host, port, allow_private)."""

    def __init__(self, endpoint: guard.Endpoint, settings: Settings, clock: Clock, tls: ssl.SSLContext | None) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._clock = clock
        self._tls = tls
        self._addresses: tuple[str, ...] = ()
        self._believed_until = 0.0
        self._good = ""
        self.idle: deque[Connection] = deque()
        self.opened = 0
        self.closed = False

    def take(self) -> Connection | None:
        """The most recently used idle connection that is still open."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.transport.is_closing():
                connection.reused = True
                return connection
        return None

    def put(self, connection: Connection, now: float) -> None:
        """Keep the connection for another call if it can carry one, else close it."""
        if connection.reusable and not self.closed and len(self.idle) < self._settings.max_idle_per_host:
            connection.idle_since = now
            self.idle.append(connection)
        else:
            connection.abort()

    def sweep(self, before: float) -> None:
        """Close what has been idle since ``before`` or longer."""
        while self.idle and self.idle[0].idle_since <= before:
            self.idle.popleft().abort()

    def drop_idle(self) -> None:
        """Close every idle connection."""
        while self.idle:
            self.idle.pop().abort()

    def close(self) -> None:
        """Keep nothing from now on."""
        self.closed = True
        self.drop_idle()

    async def connect(self, seconds: float) -> Connection:
        """A new connection to the first address that answers, within ``seconds`` for all of it."""
        endpoint = self._endpoint
        try:
            async with asyncio.timeout(seconds):
                addresses = await self._resolve()
                failure: ConnectionFailed | TimedOut | None = None
                for address in addresses:
                    try:
                        return await self._connect_to(address)
                    except (ConnectionFailed, TimedOut) as error:
                        failure = error
                # A name may have moved since it was last looked up.
                self._believed_until = 0.0
                raise failure or ConnectionFailed(f"{endpoint.host} has no address.")
        except TimeoutError as error:
            raise TimedOut(f"{endpoint.host} did not accept a connection in time.") from error

    async def _connect_to(self, address: str) -> Connection:
        endpoint, settings = self._endpoint, self._settings
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(settings.connect_timeout):
                _, connection = await loop.create_connection(
                    lambda: Connection(loop, endpoint.host, settings.max_head_bytes, settings.buffer_bytes),
                    address,
                    endpoint.port,
                    ssl=self._tls,
                    # The certificate must be for the name, though we connect to the address that was checked.
                    server_hostname=endpoint.host if self._tls else None,
                )
        except TimeoutError as error:
            raise TimedOut(f"{endpoint.host} did not accept a connection in time.") from error
        except ssl.SSLError as error:
            raise ConnectionFailed(
                f"{endpoint.host} offers no TLS connection that can be trusted ({error.reason or 'handshake failed'})."
            ) from error
        except OSError as error:
            raise ConnectionFailed(
                f"{endpoint.host} cannot be reached ({error.strerror or 'connection failed'})."
            ) from error
        self.opened += 1
        self._good = address
        self._addresses = _first(address, self._addresses)
        return connection

    async def _resolve(self) -> tuple[str, ...]:
        """The addresses to try. Checked again each time the name is looked up."""
        endpoint = self._endpoint
        if self._addresses and self._clock.monotonic() < self._believed_until:
            return self._addresses
        literal = guard.literal_address(endpoint.host)
        if literal is not None:
            guard.check(literal, endpoint.host, allow_private=endpoint.allow_private)
            self._addresses = (str(literal),)
            self._believed_until = float("inf")
            return self._addresses
        loop = asyncio.get_running_loop()
        try:
            infos = await loop.getaddrinfo(endpoint.host, endpoint.port, type=1)
        except OSError as error:
            raise ConnectionFailed(f"The name {endpoint.host} cannot be resolved.") from error
        try:
            texts = [str(info[4][0]).partition("%")[0] for info in infos]
            addresses = guard.allowed(texts, endpoint.host, allow_private=endpoint.allow_private)
        except Refused:
            # What was checked before may not be used any longer either.
            self.drop_idle()
            self._addresses = ()
            raise
        self._addresses = _first(self._good, addresses)
        self._believed_until = self._clock.monotonic() + self._settings.name_ttl
        return self._addresses


def _first(good: str, addresses: tuple[str, ...]) -> tuple[str, ...]:
    """The address that answered last before the others: a dead one should not be tried first again and again."""
    if good not in addresses or addresses[0] == good:
        return addresses
    return (good, *(other for other in addresses if other != good))
