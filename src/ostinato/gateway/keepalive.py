"""Keep-alives for streams whose provider is silent, so that nobody between us and the caller gives up.

One task looks at all open flights; a flight that has emitted nothing since the last look is sent an empty batch, which
every reader turns into its wire's ping. An open stream so costs no timer of its own.
"""

import asyncio
from typing import Any

from ostinato.cache import Flight
from ostinato.core.clock import Clock


class Keepalive:
    """Watches flights between :meth:`watch` and :meth:`forget`."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._watched: dict[Flight[Any, Any], int] = {}
        self._readers: dict[Flight[Any, Any], int] = {}
        self._task: asyncio.Task[None] | None = None

    def watch(self, flight: Flight[Any, Any]) -> None:
        self._readers[flight] = self._readers.get(flight, 0) + 1
        self._watched.setdefault(flight, -1)

    def forget(self, flight: Flight[Any, Any]) -> None:
        left = self._readers.get(flight, 1) - 1
        if left:
            self._readers[flight] = left
        else:
            self._readers.pop(flight, None)
            self._watched.pop(flight, None)

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._seconds)
            for flight, seen in list(self._watched.items()):
                if flight.done or flight not in self._watched:
                    continue
                if flight.emitted == seen:
                    flight.nudge([])
                self._watched[flight] = flight.emitted
