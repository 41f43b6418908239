"""Time as a dependency: wall time in UTC microseconds, and a monotonic clock in seconds."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What rooms ask for when they need time."""

    def now(self) -> int:
        """UTC wall time, microseconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; a manual clock returns when it has been advanced far enough."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.perf_counter()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that moves only when told to: TTLs, time-outs and months in tests take no time."""

    def __init__(self, start: int = 1_760_000_000_000_000) -> None:
        self._now = start
        self._monotonic = 0.0
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both clocks forward and wake whoever slept until now or earlier."""
        self._now += int(seconds * 1_000_000)
        self._monotonic += seconds
        due = [event for at, event in self._sleepers if at <= self._monotonic]
        self._sleepers = [pair for pair in self._sleepers if pair[0] > self._monotonic]
        for event in due:
            event.set()

    def jump(self, seconds: float) -> None:
        """Move the wall clock only, as an administrator or a time server would."""
        self._now += int(seconds * 1_000_000)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        event = asyncio.Event()
        self._sleepers.append((self._monotonic + seconds, event))
        await event.wait()
