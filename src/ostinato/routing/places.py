"""A bound on calls at once to one target, with a bounded wait in line."""

import asyncio
import contextlib
from collections import deque


class Places:
    """Places at a target, given out in order of arrival. For one event loop."""

    __slots__ = ("_bound", "_line", "_longest_line", "taken")

    def __init__(self, bound: int, longest_line: int) -> None:
        self._bound = bound
        self._longest_line = longest_line
        self._line: deque[asyncio.Future[None]] = deque()
        self.taken = 0

    @property
    def waiting(self) -> int:
        return len(self._line)

    def take(self) -> bool:
        """Take a place if one is free and nobody waits for it."""
        if self.taken < self._bound and not self._line:
            self.taken += 1
            return True
        return False

    async def wait(self, seconds: float) -> bool:
        """Wait in line for a place; whether one was got. Nobody waits in a line that is full, or for no time."""
        if seconds <= 0 or len(self._line) >= self._longest_line:
            return False
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append(place)
        try:
            async with asyncio.timeout(seconds):
                await place
        except TimeoutError:
            if place.done() and not place.cancelled():
                return True  # handed over in the same moment
            self._leave(place)
            return False
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.give_back()
            else:
                self._leave(place)
            raise
        return True

    def _leave(self, place: asyncio.Future[None]) -> None:
        with contextlib.suppress(ValueError):  # already passed over by ``give_back``
            self._line.remove(place)

    def give_back(self) -> None:
        """Give a place back, to the first in line if there is one."""
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(None)
                return
        self.taken -= 1
