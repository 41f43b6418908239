"""How good a family's answers are, from what is known of requests: scores and verdicts, else feedback and outcomes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from ostinato.families import Families, Share
from ostinato.families.figures import share
from ostinato.signals import Filter, Signal, Signals

_WINDOW = 28 * 86_400_000_000
_HALF_LIFE = 7 * 86_400_000_000
_PAGE = 1_000
_PAGES = 50
_JUDGED = frozenset({"scorer", "review"})


class _Sum(msgspec.Struct):
    weight: float = 0.0
    squares: float = 0.0
    value: float = 0.0

    def add(self, weight: float, value: float) -> None:
        self.weight += weight
        self.squares += weight * weight
        self.value += weight * value


async def by_family(signals: Signals, families: Families, project: str, now: int) -> dict[str, Share]:
    """Quality of each family of a project that something is known of, in the last 28 days, the newest counting most.

    A request counts once, by the mean of what was said of it. Judges count alone where there are any: what people think
    is about more than the answer.
    """
    found: dict[str, list[Signal]] = defaultdict(list)
    after = ""
    for _ in range(_PAGES):
        # From the newest back: where there are more than are read, it is the oldest that are left out.
        page = await signals.query(Filter(project=project, since=now - _WINDOW), after, _PAGE, newest=True)
        for one in page.signals:
            if one.value is not None and 0.0 <= one.value <= 1.0:
                found[one.origin or one.request_id].append(one)
        if len(page.signals) < _PAGE:
            break
        after = page.after
    for told in found.values():
        told.reverse()  # as they were written: the last word of each counts
    named = await families.of_requests([name for name, told in found.items() if not told[0].prompt])
    sums: dict[str, tuple[_Sum, _Sum]] = defaultdict(lambda: (_Sum(), _Sum()))
    for name, told in found.items():
        first = told[0]
        family = f"{first.prompt}@{first.prompt_version}" if first.prompt else named.get(name)
        if family is not None:
            _count(sums[family], told, now)
    return {family: _told(judged, said) for family, (judged, said) in sums.items()}


def _count(sums: tuple[_Sum, _Sum], told: Sequence[Signal], now: int) -> None:
    last: Mapping[tuple[str, str, str], Signal] = {(one.source, one.name, one.actor): one for one in told}
    for into, judged in ((sums[0], True), (sums[1], False)):
        values = [one for one in last.values() if (one.source in _JUDGED) is judged]
        if values:
            weight = max(one.weight for one in values) * 0.5 ** (max(0, now - told[-1].at) / _HALF_LIFE)
            into.add(weight, sum(one.value or 0.0 for one in values) / len(values))


def _told(judged: _Sum, said: _Sum) -> Share:
    chosen = judged if judged.weight else said
    n = chosen.weight**2 / chosen.squares
    return share(chosen.value / chosen.weight * n, n)
