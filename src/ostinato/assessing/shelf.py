"""What a cache would hold, by key, for several lives of an answer at once. Bounded."""

import random
from typing import Final

import msgspec

from ostinato.cache import admission
from ostinato.cache.model import Policy

TTLS: Final = (3_600.0, 86_400.0, 604_800.0)
"""Lives that are tried beside the declared one: an hour, a day, a week."""
_SEED = 7


class Tally(msgspec.Struct):
    """Of one scope and life."""

    eligible: int = 0
    hits: int = 0
    saved: int = 0


class Shelf:
    """One scope. For each key: until when an answer is fresh, under the declared life and under each of ``TTLS``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: dict[int, list[int]] = {}
        self._rngs = [random.Random(_SEED) for _ in range(len(TTLS) + 1)]  # noqa: S311 - spreads expiry, guards nothing
        self.tallies = [Tally() for _ in range(len(TTLS) + 1)]
        """The declared life, then those of ``TTLS``."""
        self.ever = Tally()
        """However long ago."""
        self.forgotten = 0

    def ask(self, key: bytes, at: int, policy: Policy, cost: int | None, *, keeps: bool) -> bool:
        """Whether it is a hit under the declared life. ``keeps``: the answer may be kept where it is a miss."""
        place = int.from_bytes(key[:8], "big")
        held = self._held.get(place)
        if held is not None:
            self._count(self.ever, cost)
        else:
            self.ever.eligible += 1
            if keeps:
                held = self._held[place] = [0] * len(self.tallies)
                self._make_room()
        hit = False
        for number, tally in enumerate(self.tallies):
            if held is not None and at < held[number]:
                self._count(tally, cost)
                hit = hit or number == 0
                continue
            tally.eligible += 1
            if keeps and held is not None:
                life = policy if number == 0 else _living(policy, TTLS[number - 1])
                held[number] = admission.expiry(life, at, self._rngs[number])[0]
        return hit

    def _make_room(self) -> None:
        if len(self._held) > self._most:
            del self._held[next(iter(self._held))]
            self.forgotten += 1

    @staticmethod
    def _count(tally: Tally, cost: int | None) -> None:
        tally.eligible += 1
        tally.hits += 1
        tally.saved += cost or 0


_lives: dict[tuple[str, float], Policy] = {}


def _living(policy: Policy, ttl: float) -> Policy:
    """The same policy with another life of answers."""
    found = _lives.get((policy.version, ttl))
    if found is None:
        if len(_lives) > 1_000:
            _lives.clear()
        found = _lives[policy.version, ttl] = msgspec.structs.replace(policy, ttl=ttl)
    return found
