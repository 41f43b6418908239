"""Runs the ASGI applications on uvicorn: routes by path prefix, guards connections, drains on SIGTERM."""

import asyncio
import ipaddress
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Generator, MutableMapping
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

import msgspec
import uvicorn

from ostinato.core.errors import Unavailable
from ostinato.web.exchange import Answer
from ostinato.web.settings import Settings
from ostinato.web.shortcut import Repeat, ShortcutProtocol, protocol_class

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger("ostinato.web")


class Lifespan(Protocol):
    """What has been started before the first connection and is stopped after the last."""

    async def drain(self) -> None:
        """Called when no new request will come, while the last ones still run."""
        ...

    async def stop(self) -> None: ...


class Dispatcher:
    """Chooses the application by path: ``/v1`` the proxy, the rest the control plane and the operational pages."""

    def __init__(self, proxy: Asgi, control: Asgi) -> None:
        self._proxy = proxy
        self._control = control

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"].startswith("/v1/") or scope["path"] == "/v1"):
            await self._proxy(scope, receive, send)
        else:
            await self._control(scope, receive, send)


class Server(uvicorn.Server):
    """uvicorn with our own end: everything is stopped after the last request was answered."""

    def __init__(
        self,
        app: Asgi,
        settings: Settings,
        lifespan: Lifespan,
        *,
        paths: frozenset[bytes],
        repeat: Repeat,
        answer: Answer,
    ) -> None:
        """``paths``, ``repeat`` and ``answer``: see :mod:`ostinato.web.shortcut`."""
        self.settings = settings
        self.life = lifespan
        super().__init__(
            uvicorn.Config(
                app,  # pyright: ignore[reportArgumentType]  # uvicorn's own aliases of the same shapes are invariant
                host=settings.host,
                port=settings.port,
                loop="uvloop",
                http=protocol_class(paths, repeat, answer),
                ws="none",
                lifespan="off",
                interface="asgi3",
                access_log=False,
                log_level=settings.log_level,
                server_header=False,
                proxy_headers=False,
                date_header=True,
                timeout_keep_alive=settings.keep_alive_seconds,
                timeout_graceful_shutdown=settings.drain_seconds,
                backlog=4096,
                limit_concurrency=settings.max_connections,
            )
        )

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        guard = asyncio.create_task(self._guard_connections())
        try:
            await super().serve(sockets)
        finally:
            guard.cancel()
            await self.life.stop()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """As uvicorn's, but a signal that was obeyed is not raised again: there is still work to stop after serving."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.life.drain()
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        _log.info("Received %s: no new requests, finishing the running ones", signal.Signals(sig).name)
        super().handle_exit(sig, frame)

    async def _guard_connections(self) -> None:
        """Close connections whose request does not arrive, or does not come: nobody holds a place for ever."""
        limit = self.settings.slow_request_seconds
        while True:
            await asyncio.sleep(min(limit, 5.0))
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, ShortcutProtocol):
                    connection.cut_off_if_slow(now - limit)
                    connection.close_if_idle(now - self.settings.keep_alive_seconds)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bind(settings: Settings) -> socket.socket:
    """A listening socket. Raises ``Unavailable`` saying why it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family=family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise Unavailable(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}.",
            code="cannot_listen",
            hint="Another process may hold the port; choose one with [server] port or OSTINATO_SERVER_PORT.",
        ) from None
    listener.set_inheritable(True)
    return listener


class Health(msgspec.Struct, frozen=True):
    """What ``/readyz`` says."""

    ready: bool
    parts: dict[str, str]
    """Name of a part -> ``ok`` or a sentence on what is wrong."""
