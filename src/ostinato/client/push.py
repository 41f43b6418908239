"""Listening for changes of prompts: one stream of server-sent events, opened again whenever it breaks.

What the server tells is a mark of the project's prompts, first as it is and then after every change. When it is another
one than before, the shelf asks again for what it needs, and is mostly told that it has it already. So a connection that
was broken misses nothing, and costs nothing where nothing has changed.
"""

import asyncio
import contextlib
import random
import socket
import threading
from typing import Any, Final

import httpx

from ostinato.client.asking import identification
from ostinato.client.settings import Settings
from ostinato.client.shelf import Shelf
from ostinato.wire import Malformed
from ostinato.wire.sse import Parser

PATH: Final = "/api/v1/prompts/events"
_SILENCE = 45.0
"""Seconds without a byte after which a connection is given up: the server sends something every 15."""
_CONNECT = 5.0
_PAUSES = (0.5, 30.0)
_LARGEST = 65_536
"""Bytes of one event."""


class _Patience:
    """Pauses that double, with jitter: a thousand clients do not come back in the same second."""

    def __init__(self) -> None:
        self._pause = 0.0

    def next(self) -> float:
        first, longest = _PAUSES
        self._pause = min(max(2 * self._pause, first), longest)
        return self._pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    def reset(self) -> None:
        self._pause = 0.0


def _request(settings: Settings) -> dict[str, Any]:
    return {
        "url": settings.base_url + PATH,
        "headers": {**identification(settings), "accept": "text/event-stream"},
        "params": {"project": settings.project} if settings.project else None,
        "timeout": httpx.Timeout(_CONNECT, read=_SILENCE),
    }


class _Ear:
    """Turns what is heard into notices. Outlives connections."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._mark = b""
        self._parser = Parser(_LARGEST)

    def connected(self) -> None:
        self._parser = Parser(_LARGEST)

    def hear(self, data: bytes) -> None:
        for _, mark in self._parser.feed(data):
            if mark != self._mark:
                self._mark = mark
                self._shelf.notice()


class Thread:
    """Listens in a daemon thread until stopped. Knows the shelf, not the client, so that a client nobody uses any
    more can be collected (which stops this)."""

    def __init__(self, settings: Settings, shelf: Shelf) -> None:
        self._settings = settings
        self._ear = _Ear(shelf)
        self._stopped = threading.Event()
        self._socket: socket.socket | None = None
        self.listening = False
        """Whether the server tells us of changes right now."""
        self._thread = threading.Thread(target=self._run, name="ostinato-prompts", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it; returns within a second."""
        self._stopped.set()
        connection = self._socket
        if connection is not None:
            # Wakes the thread where it waits for bytes; closing alone would not.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if threading.current_thread() is not self._thread:
            self._thread.join(1.0)

    def _run(self) -> None:
        patience = _Patience()
        with httpx.Client() as client:
            while not self._stopped.is_set():
                with contextlib.suppress(httpx.HTTPError, Malformed, OSError):
                    self._listen(client, patience)
                self.listening = False
                self._socket = None
                self._stopped.wait(patience.next())

    def _listen(self, client: httpx.Client, patience: _Patience) -> None:
        with client.stream("GET", **_request(self._settings)) as response:
            if response.status_code != 200:
                return
            self._socket = response.extensions["network_stream"].get_extra_info("socket")
            patience.reset()
            self._ear.connected()
            self.listening = True
            for data in response.iter_raw():
                if self._stopped.is_set():
                    return
                self._ear.hear(data)


class Task:
    """The same in a task of the running event loop."""

    def __init__(self, settings: Settings, shelf: Shelf) -> None:
        self._settings = settings
        self._ear = _Ear(shelf)
        self.listening = False
        """Whether the server tells us of changes right now."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="ostinato-prompts")

    async def stop(self) -> None:
        """End it."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        patience = _Patience()
        async with httpx.AsyncClient() as client:
            while True:
                try:
                    with contextlib.suppress(httpx.HTTPError, Malformed, OSError):
                        await self._listen(client, patience)
                finally:
                    self.listening = False
                await asyncio.sleep(patience.next())

    async def _listen(self, client: httpx.AsyncClient, patience: _Patience) -> None:
        async with client.stream("GET", **_request(self._settings)) as response:
            if response.status_code != 200:
                return
            patience.reset()
            self._ear.connected()
            self.listening = True
            async for data in response.aiter_raw():
                self._ear.hear(data)
