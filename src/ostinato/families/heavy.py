"""Counts of what comes most, in bounded memory: SpaceSaving (Metwally, Agrawal and El Abbadi 2005).

Whatever came more often than ``total / room`` is among those kept. Where there is no room, the rarest makes it: what
comes in its place may have been missed as often as the rarest was counted, and that number is kept beside it.
"""

import heapq
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Slot(Generic[V]):
    """One that is kept."""

    __slots__ = ("count", "missed", "value")

    def __init__(self, value: V, missed: float) -> None:
        self.value = value
        self.count = 0.0
        """Times that it came since it is kept."""
        self.missed = missed
        """Times that it may have come before, at most."""


class Heavy(Generic[K, V]):
    """The heaviest keys with what is kept of them. For one thread."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.slots: dict[K, Slot[V]] = {}
        self.evicted = 0
        """Times that one made room for another."""
        self._queue: list[tuple[float, int, K]] = []
        self._number = 0

    def get(self, key: K) -> Slot[V] | None:
        return self.slots.get(key)

    def put(self, key: K, value: V) -> tuple[K, Slot[V]] | None:
        """Keep another key; gives the one that made room for it."""
        gone: tuple[K, Slot[V]] | None = None
        missed = 0.0
        if len(self.slots) >= self.room:
            gone = self._rarest()
            missed = gone[1].count + gone[1].missed
            self.evicted += 1
        slot = self.slots[key] = Slot(value, missed)
        self._number += 1
        heapq.heappush(self._queue, (slot.missed, self._number, key))
        return gone

    def clear(self) -> None:
        self.slots.clear()
        self._queue.clear()

    def _rarest(self) -> tuple[K, Slot[V]]:
        """Take the rarest out. What the queue says may be old: then it is put back where it belongs by now."""
        while True:
            told, number, key = heapq.heappop(self._queue)
            slot = self.slots.get(key)
            if slot is None:
                continue
            now = slot.count + slot.missed
            if now > told:
                heapq.heappush(self._queue, (now, number, key))
                continue
            del self.slots[key]
            return key, slot
