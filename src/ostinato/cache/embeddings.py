"""Vectors per input text: a batch of ten inputs of which seven are known costs an upstream call for three."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from ostinato.cache.memory import Entry
from ostinato.cache.model import EntryMeta
from ostinato.cache.tiers import ResponseCache
from ostinato.core.clock import Clock


class Fetched(msgspec.Struct, frozen=True):
    """What an upstream call gave for the inputs it was asked for."""

    vectors: Sequence[bytes]
    """Little-endian float32, one per input, in order."""
    metas: Sequence[EntryMeta] = ()
    """One per vector, with that input's share of usage and cost; empty: the vectors are not to be kept."""


class Embedded(msgspec.Struct, frozen=True):
    vectors: tuple[bytes, ...]
    """One per input, in order."""
    known: int
    """Inputs that cost nothing: from cache, repeated in the batch, or fetched by a call that was under way."""
    entries: tuple[Entry, ...]
    """What was answered from cache; each has been counted as a hit."""


_NOBODY = (-1, None)

Fetch = Callable[[list[int]], Awaitable[Fetched]]


class EmbeddingCache:
    """The response cache's tiers, used per input."""

    def __init__(self, cache: ResponseCache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._under_way: dict[bytes, tuple[int, asyncio.Future[bytes | None]]] = {}
        """Who is being fetched, and at which count of withdrawals that began: older calls are not joined."""

    async def embed(self, keys: Sequence[bytes], scope: bytes, fetch: Fetch) -> Embedded:
        """A vector per key (``fingerprint.embedding_key``), fetching what is unknown.

        ``fetch(indexes)`` is called with positions in ``keys`` that nobody has and nobody is fetching: once in the
        common case, once more where somebody else's fetch failed. It raises what ``fetch`` raises.
        """
        now = self._clock.now()
        positions: dict[bytes, int] = {}
        for position, key in enumerate(keys):
            positions.setdefault(key, position)
        vectors: dict[bytes, bytes] = {}
        entries: list[Entry] = []

        def take(entry: Entry | None) -> None:
            if entry is not None and entry.expires > now and not entry.withdrawn:
                vectors[entry.key] = entry.answer
                entry.served(now)
                entries.append(entry)

        for key in positions:
            take(self._cache.get_now(key, now) or await self._cache.get(key, scope, now))
        fetched = 0
        while missing := [key for key in positions if key not in vectors]:
            count = self._cache.withdrawals
            others = {key: self._under_way[key][1] for key in missing if self._under_way.get(key, _NOBODY)[0] == count}
            mine = [key for key in missing if key not in others]
            if mine:
                fetched += len(mine)
                vectors |= await self._fetch(mine, [positions[key] for key in mine], scope, fetch)
            for key, future in others.items():
                # Shielded: our caller's hang-up must not cancel what others wait for.
                vector = await asyncio.shield(future)
                if vector is not None:
                    vectors[key] = vector
                else:
                    take(self._cache.get_now(key, now))  # fetched by another of those who waited in vain
        return Embedded(tuple(vectors[key] for key in keys), len(keys) - fetched, tuple(entries))

    async def _fetch(self, keys: list[bytes], positions: list[int], scope: bytes, fetch: Fetch) -> dict[bytes, bytes]:
        begun = self._cache.withdrawals
        loop = asyncio.get_running_loop()
        futures: dict[bytes, asyncio.Future[bytes | None]] = {key: loop.create_future() for key in keys}
        self._under_way |= {key: (begun, future) for key, future in futures.items()}
        got: dict[bytes, bytes] = {}
        try:
            fetched = await fetch(positions)
            got = dict(zip(keys, fetched.vectors, strict=True))
            for key, meta in zip(keys, fetched.metas, strict=bool(fetched.metas)):
                self._cache.put(key, scope, meta, got[key], begun=begun)
        finally:
            for key, future in futures.items():
                if self._under_way.get(key) == (begun, future):
                    del self._under_way[key]
                if not future.done():
                    future.set_result(got.get(key))
        return got
