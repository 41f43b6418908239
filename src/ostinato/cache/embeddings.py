"""Vectors per input text: a batch of ten inputs of which seven are known costs an upstream call for three."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

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
    target: str = ""
    """``provider/model`` that gave them; empty: unknown, and taken to agree with any other."""


class Embedded(msgspec.Struct, frozen=True):
    vectors: tuple[bytes, ...]
    """One per input, in order."""
    known: int
    """Inputs that cost nothing: from cache, repeated in the batch, or fetched by a call that was under way."""
    entries: tuple[Entry, ...]
    """What was answered from cache; each has been counted as a hit."""
    target: str = ""
    """Who gave the vectors, where that is known."""


class _Found(msgspec.Struct, frozen=True):
    """A vector, who gave it, and the entry that it comes from, if it does."""

    vector: bytes
    target: str
    entry: Entry | None = None


_NOBODY = (-1, None)

Fetch = Callable[[list[int]], Awaitable[Fetched]]
Whole = Callable[[list[int], str], Awaitable[Fetched]]
Accepts = Callable[[Entry], bool]


def any_age(entry: Entry) -> bool:
    """Accepts every entry that is fresh."""
    return True


class EmbeddingCache:
    """The response cache's tiers, used per input."""

    def __init__(self, cache: ResponseCache, clock: Clock) -> None:
        self._cache = cache
        self._clock = clock
        self._under_way: dict[bytes, tuple[int, asyncio.Future[_Found | None]]] = {}
        """Who is being fetched, and at which count of withdrawals that began: older calls are not joined."""

    async def embed(
        self,
        keys: Sequence[bytes],
        scope: bytes,
        fetch: Fetch,
        *,
        accepts: Accepts = any_age,
        whole: Whole | None = None,
    ) -> Embedded:
        """A vector per key (``fingerprint.embedding_key``), fetching what is unknown.

        ``fetch(indexes)`` is called with positions in ``keys`` that nobody has and nobody is fetching: once in the
        common case, once more where somebody else's fetch failed. It raises what ``fetch`` raises. ``accepts(entry)``
        says whether a fresh entry will do.

        Vectors of two models cannot be compared, so where some are known from one target and others came from another
        (a fallback), ``whole(indexes, target)`` is called for all of them: one call, at best to ``target`` (empty:
        whichever comes first). Without ``whole`` they are given out mixed.
        """
        positions = _first_positions(keys)
        found = await self._look_up(positions, scope, accepts)
        fetched = 0
        while missing := [key for key in positions if key not in found]:
            count = self._cache.withdrawals
            others = {key: self._under_way[key][1] for key in missing if self._under_way.get(key, _NOBODY)[0] == count}
            mine = [key for key in missing if key not in others]
            if mine:
                fetched += len(mine)
                found |= await self._fetch(mine, [positions[key] for key in mine], scope, fetch)
            for key, future in others.items():
                # Shielded: our caller's hang-up must not cancel what others wait for.
                other = await asyncio.shield(future)
                # Where it came to nothing, another of those who waited in vain may have fetched it.
                other = other or self._usable(self._cache.get_now(key, self._clock.now()), accepts)
                if other is not None:
                    found[key] = other
        if whole is not None and _mixed(found):
            fetched = len(positions)
            newest = next((one.target for one in found.values() if one.entry is None and one.target), "")
            begun = self._cache.withdrawals
            got = await whole(list(positions.values()), newest)
            found = self._keep(list(positions), scope, got, begun)
        return _embedded(keys, found, fetched, self._clock.now())

    async def recall(self, keys: Sequence[bytes], scope: bytes, *, accepts: Accepts = any_age) -> Embedded | None:
        """What is in the cache, if that is a vector of one and the same target for every key; asks nobody."""
        positions = _first_positions(keys)
        found = await self._look_up(positions, scope, accepts)
        if len(found) < len(positions) or _mixed(found):
            return None
        return _embedded(keys, found, 0, self._clock.now())

    async def renew(self, keys: Sequence[bytes], scope: bytes, fetch: Fetch) -> Embedded:
        """Fetch all of them anew, and keep what comes in place of what was there."""
        positions = _first_positions(keys)
        begun = self._cache.withdrawals
        got = await fetch(list(positions.values()))
        return _embedded(keys, self._keep(list(positions), scope, got, begun), len(positions), self._clock.now())

    async def _look_up(self, keys: Iterable[bytes], scope: bytes, accepts: Accepts) -> dict[bytes, _Found]:
        now = self._clock.now()
        found: dict[bytes, _Found] = {}
        for key in keys:
            entry = self._cache.get_now(key, now) or await self._cache.get(key, scope, now)
            usable = self._usable(entry, accepts)
            if usable is not None:
                found[key] = usable
        return found

    def _usable(self, entry: Entry | None, accepts: Accepts) -> _Found | None:
        if entry is None or entry.withdrawn or entry.expires <= self._clock.now() or not accepts(entry):
            return None
        return _Found(entry.answer, entry.target, entry)

    async def _fetch(self, keys: list[bytes], positions: list[int], scope: bytes, fetch: Fetch) -> dict[bytes, _Found]:
        begun = self._cache.withdrawals
        loop = asyncio.get_running_loop()
        futures: dict[bytes, asyncio.Future[_Found | None]] = {key: loop.create_future() for key in keys}
        self._under_way |= {key: (begun, future) for key, future in futures.items()}
        got: dict[bytes, _Found] = {}
        try:
            got = self._keep(keys, scope, await fetch(positions), begun)
        finally:
            for key, future in futures.items():
                if self._under_way.get(key) == (begun, future):
                    del self._under_way[key]
                if not future.done():
                    future.set_result(got.get(key))
        return got

    def _keep(self, keys: list[bytes], scope: bytes, fetched: Fetched, begun: int) -> dict[bytes, _Found]:
        """What was fetched, by key, after it was put where it may be kept."""
        got = {key: _Found(vector, fetched.target) for key, vector in zip(keys, fetched.vectors, strict=True)}
        for key, meta in zip(keys, fetched.metas, strict=bool(fetched.metas)):
            self._cache.put(key, scope, meta, got[key].vector, begun=begun)
        return got


def _first_positions(keys: Sequence[bytes]) -> dict[bytes, int]:
    """Where each key stands first."""
    positions: dict[bytes, int] = {}
    for position, key in enumerate(keys):
        positions.setdefault(key, position)
    return positions


def _mixed(found: dict[bytes, _Found]) -> bool:
    return len({one.target for one in found.values() if one.target}) > 1


def _embedded(keys: Sequence[bytes], found: dict[bytes, _Found], fetched: int, now: int) -> Embedded:
    entries = tuple(one.entry for one in found.values() if one.entry is not None)
    for entry in entries:
        entry.served(now)
    return Embedded(
        vectors=tuple(found[key].vector for key in keys),
        known=len(keys) - fetched,
        entries=entries,
        target=next((one.target for one in found.values() if one.target), ""),
    )
