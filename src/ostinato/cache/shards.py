"""A dictionary of weighted items that evicts by clock bit: what the in-process tier and the raw-body index stand on.

Split into 256 dictionaries by the first byte of the key: one dictionary of a million entries stops the process for
100 ms when it grows, 256 small ones for less than a millisecond each. The clock hand holds a list of one shard's items
and walks along it, so that an item needs no place in a queue; a list over *all* items would cost every full garbage
collection 10 ms, while dictionaries of untracked structs cost it nothing.
"""

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

SHARDS = 256
_STEPS = 64
"""Items that one eviction looks at before it takes the next whatever its bit says: bounds the work of a put."""


class Item(msgspec.Struct, gc=False, eq=False):
    """What can be kept in :class:`Shards`."""

    key: bytes
    """Uniformly distributed (a digest), at least 8 bytes."""
    weight: int
    """Bytes of memory that keeping this costs."""
    referenced: bool = True
    """Set on every hit, cleared as the hand passes: evicted only when found clear. New items survive one pass."""
    withdrawn: bool = False
    """No longer in the shards; whoever still holds a reference must not serve it."""

    def drop(self) -> None:
        """Let go of what is heavy: called once, when the item leaves the shards."""
        self.withdrawn = True


T = TypeVar("T", bound=Item)


class Shards(Generic[T]):
    """Items by key, at most ``max_bytes`` of them by weight. ``tables[key[0]].get(key)`` is the look-up."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.tables: tuple[dict[bytes, T], ...] = tuple({} for _ in range(SHARDS))
        self.size = 0
        self.count = 0
        self.evicted = 0
        self._lap = list[T]()
        self._hand = 0
        self._shard = SHARDS - 1

    def put(self, item: T) -> list[T]:
        """Keep ``item`` in place of what had its key; the list of what had to leave, replaced or evicted, in any order.

        An item heavier than ``max_bytes`` leaves at once: it is withdrawn and in the list itself.
        """
        left: list[T] = []
        table = self.tables[item.key[0]]
        old = table.get(item.key)
        if old is not None:
            self.remove(old)
            left.append(old)
        if item.weight > self.max_bytes:
            item.drop()
            left.append(item)
            return left
        while self.size + item.weight > self.max_bytes and self.count:
            victim = self._next_victim()
            self.remove(victim)
            self.evicted += 1
            left.append(victim)
        table[item.key] = item
        self.size += item.weight
        self.count += 1
        return left

    def remove(self, item: T) -> bool:
        """Take ``item`` out and mark it withdrawn. False if it had left before."""
        if item.withdrawn:
            return False
        del self.tables[item.key[0]][item.key]
        self.size -= item.weight
        self.count -= 1
        item.drop()
        return True

    def slices(self) -> Iterator[list[T]]:
        """All items in 256 lists. Between two lists the shards may change; what is added meanwhile may be missed."""
        for table in self.tables:
            yield list(table.values())

    def _next_victim(self) -> T:
        steps = 0
        while True:
            if self._hand >= len(self._lap):
                self._next_lap()
                continue
            item = self._lap[self._hand]
            self._hand += 1
            if item.withdrawn:
                continue
            steps += 1
            if item.referenced and steps < _STEPS:
                item.referenced = False
                continue
            return item

    def _next_lap(self) -> None:
        self._shard = (self._shard + 1) % SHARDS
        self._lap = list(self.tables[self._shard].values())
        self._hand = 0
