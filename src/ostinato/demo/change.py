"""What the improved prompt changed: before and after on the same traffic, and when the search has repaid its cost."""

import math
import statistics
from collections.abc import Callable, Sequence

import msgspec
from rich.table import Table

from ostinato.demo.replay import Outcome
from ostinato.demo.report import DASH, milliseconds


class Side(msgspec.Struct, frozen=True):
    """One version on the traffic. Money in US dollars, times in milliseconds; ``None``: nothing to measure."""

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


class Change(msgspec.Struct, frozen=True):
    before: Side
    after: Side
    optimizer_cost: float
    """Dollars, the holdout's measurements included."""
    value: float
    """Dollars that a success is worth."""

    @property
    def gain(self) -> float:
        """Dollars that a request is worth more than before: value of the successes gained, less what it costs more."""
        more = self.after.success - self.before.success
        dearer = self.after.cost / max(self.after.requests, 1) - self.before.cost / max(self.before.requests, 1)
        return more * self.value - dearer

    @property
    def payback(self) -> int | None:
        """Requests after which the optimizer has earned what it cost; ``None``: never."""
        return math.ceil(self.optimizer_cost / self.gain) if self.gain > 0 else None


def side(outcomes: Sequence[Outcome]) -> Side:
    """The figures of one replay."""
    answered = [outcome for outcome in outcomes if not outcome.error]
    misses = [outcome.total_ms for outcome in answered if not outcome.hit and not outcome.joined]
    times = [outcome.total_ms for outcome in answered]
    return Side(
        requests=len(outcomes),
        right=sum(outcome.right for outcome in outcomes),
        hits=sum(outcome.hit or outcome.joined for outcome in answered),
        cost=math.fsum(outcome.cost for outcome in answered),
        p50=statistics.median(times) if times else None,
        miss_p50=statistics.median(misses) if misses else None,
    )


_ROWS: tuple[tuple[str, Callable[[Side], str]], ...] = (
    ("requests", lambda one: f"{one.requests:,}"),
    ("first-pass success", lambda one: f"{one.success:.1%}"),
    ("answered from the cache", lambda one: f"{one.hits / one.requests:.0%}" if one.requests else DASH),
    ("cost per successful answer", lambda one: _micro(one.cost_per_success)),
    ("p50, ms", lambda one: milliseconds(one.p50)),
    ("  of those that called the model", lambda one: milliseconds(one.miss_p50)),
)


def table(change: Change) -> Table:
    """Before beside after."""
    made = Table(title="What changed", title_justify="left", title_style="bold", pad_edge=False)
    made.add_column("the same traffic, never seen by the search")
    made.add_column("before", justify="right")
    made.add_column("after", justify="right")
    for name, tell in _ROWS:
        made.add_row(name, tell(change.before), tell(change.after))
    return made


def conclusion(change: Change) -> str:
    """The optimizer's own account, in two sentences."""
    told = f"The optimizer itself cost ${change.optimizer_cost:.6f}."
    if change.payback is None:
        return f"{told} At ${change.value:g} for a success that is not earned back."
    return f"{told} At ${change.value:g} for a success it is earned back after {change.payback:,} requests."


def _micro(value: float | None) -> str:
    return DASH if value is None else f"${value:.7f}"
