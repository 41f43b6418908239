"""How good a family's answers are, from what is known of requests: scores and verdicts, else feedback and outcomes."""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from ostinato.core.clock import Clock
from ostinato.families import Families, Share
from ostinato.families.figures import share
from ostinato.signals import Signals
from ostinato.signals.model import Value

_WINDOW = 28 * 86_400_000_000
_HALF_LIFE = 7 * 86_400_000_000
_MOST = 50_000
"""Values that are read of a project; where there are more, it is the oldest that are left out."""
_MANY = 5_000
"""From so many on, what was read is good for a while."""
_GOOD = 60.0
"""Seconds."""
_PROJECTS = 256
_JUDGED = frozenset({"scorer", "review"})


class _Sum(msgspec.Struct):
    weight: float = 0.0
    squares: float = 0.0
    value: float = 0.0

    def add(self, weight: float, value: float) -> None:
        self.weight += weight
        self.squares += weight * weight
        self.value += weight * value


class _Kept(msgspec.Struct, frozen=True):
    until: float
    """Monotonic seconds."""
    shares: Mapping[str, Share]


class Quality:
    """Tells quality, and reads at most once a minute where there is much to read. For one event loop."""

    def __init__(self, signals: Signals, families: Families, clock: Clock) -> None:
        self._signals = signals
        self._families = families
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._reading = asyncio.Lock()

    async def by_family(self, project: str) -> Mapping[str, Share]:
        """Quality of each family of a project that something is known of, in the last 28 days, the newest counting
        most.

        A request counts once, by the mean of what was said of it. Judges count alone where there are any: what people
        think is about more than the answer.
        """
        async with self._reading:  # who asks while it is read is told what is found
            kept = self._kept.get(project)
            if kept is not None and self._clock.monotonic() < kept.until:
                return kept.shares
            read, shares = await self._read(project)
            self._kept.pop(project, None)
            if read >= _MANY:
                self._kept[project] = _Kept(self._clock.monotonic() + _GOOD, shares)
                while len(self._kept) > _PROJECTS:
                    self._kept.popitem(last=False)
            return shares

    async def _read(self, project: str) -> tuple[int, Mapping[str, Share]]:
        now = self._clock.now()
        values = await self._signals.values(project, now - _WINDOW, _MOST)
        # In threads: fifty thousand values take a tenth of a second.
        found = await asyncio.to_thread(_by_request, values)
        named = await self._families.of_requests([name for name, told in found.items() if not told[0].prompt])
        return len(values), await asyncio.to_thread(_shares, found, named, now)


def _by_request(values: Sequence[Value]) -> Mapping[str, Sequence[Value]]:
    found: dict[str, list[Value]] = defaultdict(list)
    for one in values:
        found[one.origin or one.request_id].append(one)
    return found


def _shares(found: Mapping[str, Sequence[Value]], named: Mapping[str, str], now: int) -> Mapping[str, Share]:
    sums: dict[str, tuple[_Sum, _Sum]] = defaultdict(lambda: (_Sum(), _Sum()))
    for name, told in found.items():
        first = told[0]
        family = f"{first.prompt}@{first.prompt_version}" if first.prompt else named.get(name)
        if family is not None:
            _count(sums[family], told, now)
    return {family: _told(judged, said) for family, (judged, said) in sums.items()}


def _count(sums: tuple[_Sum, _Sum], told: Sequence[Value], now: int) -> None:
    last: Mapping[tuple[str, str, str], Value] = {(one.source, one.name, one.actor): one for one in told}
    for into, judged in ((sums[0], True), (sums[1], False)):
        values = [one for one in last.values() if (one.source in _JUDGED) is judged]
        if values:
            weight = max(one.weight for one in values) * 0.5 ** (max(0, now - told[-1].at) / _HALF_LIFE)
            into.add(weight, sum(one.value for one in values) / len(values))


def _told(judged: _Sum, said: _Sum) -> Share:
    chosen = judged if judged.weight else said
    n = chosen.weight**2 / chosen.squares
    return share(chosen.value / chosen.weight * n, n)
