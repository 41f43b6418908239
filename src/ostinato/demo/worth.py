"""What the whole loop was worth: the same traffic in four random parts, by prompt and by cache, and what lies between.

The gateway's hold-out draws every customer twice, independently: some are answered without the cache, some by the
release before. So each part is a fair sample of the same traffic, and the difference between two of them is what the
cache, the better prompt, or both were worth. Intervals are of 95 %, by resampling customers within each part.
"""

import math
import random
import statistics
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from rich.table import Table

from ostinato.demo.replay import Outcome
from ostinato.demo.report import DASH, milliseconds
from ostinato.demo.traffic import Level

DRAWS: Final = 2_000
SEED: Final = 11


class Side(msgspec.Struct, frozen=True):
    """One part of the traffic. Money in US dollars, times in milliseconds; ``None``: nothing to measure."""

    requests: int
    right: int
    hits: int
    cost: float
    p50: float | None
    miss_p50: float | None

    @property
    def success(self) -> float:
        """First-pass success: share of the requests that were answered right at once."""
        return self.right / self.requests if self.requests else 0.0

    @property
    def cost_per_success(self) -> float | None:
        """Run-rate cost: what was paid for each answer that was right."""
        return self.cost / self.right if self.right else None


class Between(msgspec.Struct, frozen=True):
    """A figure and its interval; ``None``: it cannot be told."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Parts(msgspec.Struct, frozen=True):
    """A level of repetition (or all of them), and what its four parts come to."""

    name: str
    exponent: float | None
    first_plain: Side
    """The first prompt, without cache: what there was before."""
    first_cached: Side
    better_plain: Side
    better_cached: Side
    """The better prompt, with cache: what there is now."""
    times: Between
    """How many times more a successful answer cost before."""
    gain: Between
    """By how much more of all requests are answered right at once; with and without cache alike."""


class Worth(msgspec.Struct, frozen=True):
    """The account of the loop."""

    levels: list[Parts]
    whole: Parts
    optimizer_cost: float
    """Dollars, the holdout's measurements included."""
    value: float
    """Dollars that a success is worth."""

    @property
    def a_request(self) -> float:
        """Dollars that a request is worth more than before: value of the successes gained, and what it costs less."""
        before, after = self.whole.first_plain, self.whole.better_cached
        cheaper = before.cost / max(before.requests, 1) - after.cost / max(after.requests, 1)
        return (after.success - before.success) * self.value + cheaper

    @property
    def payback(self) -> int | None:
        """Requests after which the optimizer has earned what it cost; ``None``: never."""
        return math.ceil(self.optimizer_cost / self.a_request) if self.a_request > 0 else None

    @property
    def with_optimizer(self) -> float | None:
        """Dollars for a successful answer, the optimizer paid by this traffic alone."""
        requests = sum(one.requests for one in _sides(self.whole))
        after = self.whole.better_cached
        if not after.requests or not after.right:
            return None
        return (after.cost / after.requests + self.optimizer_cost / requests) / after.success


def side(outcomes: Sequence[Outcome]) -> Side:
    """The figures of one part."""
    answered = [outcome for outcome in outcomes if not outcome.error]
    misses = [outcome.total_ms for outcome in answered if not outcome.hit and not outcome.joined]
    took = [outcome.total_ms for outcome in answered]
    return Side(
        requests=len(outcomes),
        right=sum(outcome.right for outcome in outcomes),
        hits=sum(outcome.hit or outcome.joined for outcome in answered),
        cost=math.fsum(outcome.cost for outcome in answered),
        p50=statistics.median(took) if took else None,
        miss_p50=statistics.median(misses) if misses else None,
    )


def account(
    outcomes: Sequence[tuple[Level, Sequence[Outcome]]], optimizer_cost: float, value: float, draws: int = DRAWS
) -> Worth:
    """Every level by itself, and all of them."""
    everything = [outcome for _, some in outcomes for outcome in some]
    return Worth(
        [_parts(level.name, level.exponent, some, draws) for level, some in outcomes],
        _parts("all", None, everything, draws),
        optimizer_cost,
        value,
    )


def _parts(name: str, exponent: float | None, outcomes: Sequence[Outcome], draws: int) -> Parts:
    parts = {
        (first, plain): [one for one in outcomes if (one.arm == "baseline", one.held_out) == (first, plain)]
        for first in (True, False)
        for plain in (True, False)
    }
    before, after = parts[True, True], parts[False, False]
    first, better = [*before, *parts[True, False]], [*after, *parts[False, True]]
    return Parts(
        name,
        exponent,
        side(before),
        side(parts[True, False]),
        side(parts[False, True]),
        side(after),
        times=between(times, before, after, draws),
        gain=between(gain, first, better, draws),
    )


Pair = tuple[float, bool]
"""Cost of a request, and whether it was answered right."""


def between(
    figure: Callable[[Sequence[Pair], Sequence[Pair]], float | None],
    before: Sequence[Outcome],
    after: Sequence[Outcome],
    draws: int = DRAWS,
) -> Between:
    """A figure of two parts, and the middle 95 % of what resampled ones give."""
    old, new = ([(one.cost, one.right) for one in some] for some in (before, after))
    rng = random.Random(SEED)  # noqa: S311 - a simulation, not a secret
    found = [
        value
        for _ in range(draws if old and new else 0)
        if (value := figure(rng.choices(old, k=len(old)), rng.choices(new, k=len(new)))) is not None
    ]
    value = figure(old, new)
    if value is None or len(found) < draws:
        return Between(value)
    found.sort()
    return Between(value, found[int(0.025 * draws)], found[int(0.975 * draws)])


def times(before: Sequence[Pair], after: Sequence[Pair]) -> float | None:
    """How many times more a success cost before."""
    old, new = _cost_per_success(before), _cost_per_success(after)
    return old / new if old and new else None


def gain(before: Sequence[Pair], after: Sequence[Pair]) -> float | None:
    """How much more often an answer is right than before."""
    if not before or not after:
        return None
    return sum(right for _, right in after) / len(after) - sum(right for _, right in before) / len(before)


def _cost_per_success(pairs: Sequence[Pair]) -> float | None:
    right = sum(right for _, right in pairs)
    return math.fsum(cost for cost, _ in pairs) / right if right else None


def _sides(parts: Parts) -> tuple[Side, ...]:
    return parts.first_plain, parts.first_cached, parts.better_plain, parts.better_cached


_ROWS: tuple[tuple[str, Callable[[Side], str]], ...] = (
    ("requests", lambda one: f"{one.requests:,}"),
    ("first-pass success", lambda one: f"{one.success:.1%}"),
    ("answered from the cache", lambda one: f"{one.hits / one.requests:.0%}" if one.requests else DASH),
    ("cost per successful answer", lambda one: _micro(one.cost_per_success)),
    ("p50, ms", lambda one: milliseconds(one.p50)),
    ("  of those that called the model", lambda one: milliseconds(one.miss_p50)),
)


def table(worth: Worth) -> Table:
    """The four parts side by side, over all levels."""
    made = Table(title="What the loop was worth", title_justify="left", title_style="bold", pad_edge=False)
    made.add_column("traffic never seen by the search")
    for prompt in ("first", "better"):
        for cache in ("no cache", "cache"):
            made.add_column(f"{prompt} prompt,\n{cache}", justify="right")
    for name, tell in _ROWS:
        made.add_row(name, *(tell(one) for one in _sides(worth.whole)))
    return made


def by_level(worth: Worth) -> Table:
    """What the whole loop changed, at each level of repetition: last column beside first of :func:`table`."""
    made = Table(pad_edge=False)
    made.add_column("level of repetition")
    made.add_column("a successful answer cost before", justify="right")
    made.add_column("more of all requests right at once", justify="right")
    for one in (*worth.levels, worth.whole):
        made.add_row(one.name, _told(one.times, "{:.1f} times as much"), _told(one.gain, "{:+.1%}"))
    return made


def conclusion(worth: Worth) -> str:
    """The optimizer's own account."""
    times = worth.whole.times.value
    told = ""
    if times is not None and times < 1:
        told = (
            "A successful answer costs more than before, as the better prompt takes more tokens: what they buy is that"
            " more answers succeed. "
        )
    told += f"The optimizer itself cost ${worth.optimizer_cost:.6f}"
    if worth.with_optimizer is not None:
        told += f"; paid by this traffic alone, a successful answer came to {_micro(worth.with_optimizer)}"
    if worth.payback is None:
        return f"{told}. At ${worth.value:g} for a success that is not earned back."
    return f"{told}. At ${worth.value:g} for a success it is earned back after {worth.payback:,} requests."


def _told(found: Between, form: str) -> str:
    if found.value is None:
        return DASH
    told = form.format(found.value)
    if found.low is None or found.high is None:
        return told
    plain = form.partition("}")[0] + "}"
    return f"{told} ({plain.format(found.low)} to {plain.format(found.high)})"


def _micro(value: float | None) -> str:
    return DASH if value is None else f"${value:.7f}"
