"""Figures that alerts and breakers ask for, from the ledger's rollups; KPIs answer for the names they know.

A figure comes with how many requests or scores it rests on. What there are no data for is ``None``, never 0.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from ostinato.cases.model import Scope
from ostinato.core.errors import Invalid
from ostinato.traces import Filter, Stats, Window

Measured = tuple[float | None, int]
Figure = Callable[[str, Scope, int, int], Awaitable[Measured]]
"""``figure(name, scope, since, until)``: times in UTC microseconds; the value, and of how many samples."""
StatsOf = Callable[[Window, Filter], Awaitable[Stats]]
Quality = Callable[[Scope, int, int], Awaitable[Measured]]

NAMES: Mapping[str, str] = MappingProxyType(
    {
        "requests": "how many requests there were",
        "error_rate": "failed requests / requests",
        "errors": "how many requests failed",
        "blocked": "how many requests and answers were blocked by checks",
        "blocked_rate": "the same / requests",
        "cost": "dollars spent",
        "cost_per_day": "dollars spent, as much in a day",
        "cost_per_request": "dollars spent / requests",
        "hit_rate": "hits / (hits + misses)",
        "pricing_coverage": "tokens with a known price / all tokens",
        "latency_p50": "milliseconds of a miss, median",
        "latency_p95": "milliseconds of a miss, 95th percentile",
        "latency_p99": "milliseconds of a miss, 99th percentile",
        "first_token_p95": "milliseconds to the first token, 95th percentile",
        "rows_dropped": "rows of the ledger that were shed, in every project",
        "quality": "mean of the scores and verdicts, from 0 to 1",
    }
)
"""What this room knows by itself, and what each is."""

_BLOCKED = "content_blocked"
_DAY = 86_400e6
_COUNTS = frozenset({"requests", "errors", "blocked", "cost", "cost_per_day", "rows_dropped"})
"""Those that are 0, and not missing, where there was no request."""


class Figures:
    """Asks ledger, signals and KPIs. It is a :data:`Figure`."""

    def __init__(self, stats: StatsOf, quality: Quality, more: Figure | None = None) -> None:
        self._stats = stats
        self._quality = quality
        self.more = more
        """Who is asked for names that are not among ``NAMES``; raises ``Invalid`` for those it does not know."""

    async def __call__(self, name: str, scope: Scope, since: int, until: int) -> Measured:
        """One figure of a window. Raises ``Invalid`` for a name that nobody knows."""
        if name == "quality":
            return await self._quality(scope, since, until)
        if name not in NAMES:
            if self.more is None:
                raise unknown(name)
            return await self.more(name, scope, since, until)
        filters = Filter(
            org=scope.org, project=scope.project, intent=scope.intent, prompt=scope.prompt, release=scope.release
        )
        stats = await self._stats(Window(since, until), filters)
        if not stats.requests and name not in _COUNTS:
            return None, 0
        return _value(name, stats, until - since), stats.requests

    async def check(self, name: str, scope: Scope, now: int) -> None:
        """Raise ``Invalid`` for a name that nobody knows."""
        if name not in NAMES:
            await self(name, scope, now - 10_000_000, now)


def unknown(name: str) -> Invalid:
    """Nobody knows a figure of this name."""
    return Invalid(
        f"There is no figure {name[:80]!r}.",
        code="unknown_metric",
        param="metric",
        hint=f"There are: {', '.join(NAMES)}, and the KPIs.",
    )


def _value(name: str, stats: Stats, span: int) -> float | None:
    blocked = stats.errors_by_class.get(_BLOCKED, 0)
    dollars = stats.cost / 1e9
    # What is paid is paid, whoever asked: an alert on money hears of our own calls, too.
    paid = (stats.cost + stats.own.cost) / 1e9
    miss, first = stats.latency.get("miss"), stats.latency.get("first_token")
    found: dict[str, float | None] = {
        "requests": stats.requests,
        "errors": stats.errors,
        "error_rate": stats.errors / max(1, stats.requests),
        "blocked": blocked,
        "blocked_rate": blocked / max(1, stats.requests),
        "cost": paid,
        "cost_per_day": paid * _DAY / max(1, span),
        "cost_per_request": dollars / max(1, stats.requests),
        "hit_rate": stats.hit_rate,
        "pricing_coverage": stats.pricing_coverage,
        "rows_dropped": stats.rows_dropped,
        "latency_p50": _ms(miss.p50 if miss else None),
        "latency_p95": _ms(miss.p95 if miss else None),
        "latency_p99": _ms(miss.p99 if miss else None),
        "first_token_p95": _ms(first.p95 if first else None),
    }
    return found[name]


def _ms(micros: int | None) -> float | None:
    return None if micros is None else micros / 1000
