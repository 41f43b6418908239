"""The first look-up, by raw body: the same bytes from the same key get the same answer before any JSON is read.

A key covers everything that decides: the caller, the epoch of all snapshots, path and headers, and the body. The value
refers to an entry of the in-process tier and holds it rendered; bodies are not kept. With and without this index every
decision is the same, because a reference lives no longer than its entry is fresh and in memory.
"""

from typing import Any

from blake3 import blake3

from ostinato.cache.memory import Entry
from ostinato.cache.shards import Item, Shards

_OVERHEAD = 320
"""Bytes of a hit beside what was rendered: struct, key, number, share of the dictionary."""


def raw_key(caller_digest: bytes, epoch: int, head: bytes, body: bytes) -> bytes:
    """The raw-body key, 32 bytes. ``head`` is path and headers as the caller joins them."""
    # The body is hashed by itself: neither copied nor pushed off the chunk boundaries, which halves the time for 4 KB.
    inner = blake3(body).digest()
    return blake3(b"%d:%b%d:%b%b" % (len(caller_digest), caller_digest, epoch, inner, head)).digest()


class RawHit(Item, gc=False, eq=False, kw_only=True):
    """An entry, as one caller's request gets it."""

    entry: Entry
    rendered: Any
    """Whatever the gateway gave: finished bytes, with the places where a hit differs."""
    until: int
    """UTC microseconds from which the decision no longer holds: at most the entry's ``expires``."""

    def drop(self) -> None:
        self.withdrawn = True
        self.rendered = None


class RawIndex:
    """Rendered answers by raw-body key, at most ``max_bytes`` of them."""

    def __init__(self, max_bytes: int) -> None:
        self._shards: Shards[RawHit] = Shards(max_bytes)
        self._tables = self._shards.tables

    @property
    def size(self) -> int:
        """Bytes in use."""
        return self._shards.size

    @property
    def count(self) -> int:
        return self._shards.count

    @property
    def evicted(self) -> int:
        return self._shards.evicted

    def get(self, key: bytes, now: int) -> RawHit | None:
        """A fresh hit, or ``None``. Counts nothing: whoever serves it calls ``hit.entry.served(now)``.

        An entry that has left the in-process tier for any reason (evicted, replaced, withdrawn by its generation or
        otherwise) is dead here too.
        """
        hit = self._tables[key[0]].get(key)
        if hit is None:
            return None
        entry = hit.entry
        if entry.withdrawn or hit.until <= now:
            self._shards.remove(hit)
            return None
        # Also on the entry: what is only ever asked by raw body must not look unused to the tier that holds it.
        hit.referenced = entry.referenced = True
        return hit

    def put(self, key: bytes, entry: Entry, rendered: Any, weight: int, until: int | None = None) -> None:
        """Answer this raw key from ``entry``, until it expires or ``until``. ``weight``: bytes of ``rendered``."""
        if entry.withdrawn:
            return
        end = entry.expires if until is None or until > entry.expires else until
        self._shards.put(RawHit(key=key, entry=entry, rendered=rendered, weight=_OVERHEAD + weight, until=end))

    def tidy(self) -> int:
        """Let go of what is rendered of entries that were withdrawn; gives how many there were."""
        dead = [hit for hits in self._shards.slices() for hit in hits if hit.entry.withdrawn]
        for hit in dead:
            self._shards.remove(hit)
        return len(dead)

    def clear(self) -> None:
        """Forget everything, such as after a swap that makes all keys unreachable."""
        for hits in self._shards.slices():
            for hit in hits:
                self._shards.remove(hit)
