"""What the hold-out has shown: read from sums that the ledger's writer keeps, one population on both sides.

Sums are kept per group of sessions (``traces.drawing``): the spread is the jackknife's over groups (Kott 2001), widened
by Student's quantile for their number. While one share held is one stratum.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.core.errors import Invalid
from ostinato.savings import estimate, tables
from ostinato.savings.model import HoldOut, Side
from ostinato.statistics import Interval
from ostinato.traces import Filter, Ledger, Window
from ostinato.traces.drawing import LAYOUT, Drawn

_HELD, _TREATED = "held", "treated"
_REQUESTS, _COST, _SAVED, _ERRORS = range(4)
"""Of a group."""


class Stratum(msgspec.Struct):
    """Both sides while one share held."""

    held: Drawn = msgspec.field(default_factory=Drawn)
    treated: Drawn = msgspec.field(default_factory=Drawn)

    @property
    def counts(self) -> bool:
        """Whether enough was held out to claim anything."""
        return min(self.held.sessions, self.treated.sessions) >= estimate.LEAST


async def read(ledger: Ledger, window: Window, filters: Filter, share: float, confidence: float = 0.95) -> HoldOut:
    """The estimate over a window, whose ends are widened to whole hours. ``share``: what is held out now.

    Raises ``Invalid`` for filters by key, alias or target: these sums are not told apart by them.
    """
    equal = {name: value for name, value in msgspec.structs.asdict(filters).items() if value}
    if unknown := set(equal) - set(LAYOUT.dimensions):
        raise Invalid(f"The hold-out is not told apart by {min(unknown)}.", param=min(unknown))
    covered, cells = await ledger.cells(LAYOUT, window, equal, ("stratum", "side"))
    return told(covered, cells, share, confidence)


def last_share(connection: sa.Connection, until: int) -> float:
    """The share that was declared last before ``until``; 0: none was."""
    table = tables.rule
    query = sa.select(table.c.share).where(table.c.at < until).order_by(table.c.seq.desc()).limit(1)
    return float(connection.execute(query).scalar() or 0.0)


def told(window: Window, cells: Mapping[tuple[Any, ...], Drawn], share: float, confidence: float = 0.95) -> HoldOut:
    """What sums by stratum and side come to."""
    strata: dict[str, Stratum] = {}
    excluded: dict[str, int] = {}
    for (stratum, side), cell in cells.items():
        if side in (_HELD, _TREATED):
            setattr(strata.setdefault(str(stratum), Stratum()), str(side), cell)
        for name, count in cell.detail.reasons.items():
            excluded[name] = excluded.get(name, 0) + count
    return _told(window, share, list(strata.values()), excluded, confidence)


def _told(
    window: Window, share: float, strata: Sequence[Stratum], excluded: dict[str, int], confidence: float
) -> HoldOut:
    costs: list[tuple[float, Interval]] = []
    errors: list[tuple[float, Interval]] = []
    left_out = accounted = 0
    for one in strata:
        held, treated = _ratio(one.held, _COST), _ratio(one.treated, _COST)
        untreated = _ratio(one.treated, _COST, _SAVED)
        size = max(held.mean, untreated.mean)
        held, treated = estimate.unseen(held, size), estimate.unseen(treated, size)
        saving = estimate.difference(held, treated, untreated, confidence)
        failed = [estimate.unseen(_ratio(side, _ERRORS), 1.0) for side in (one.held, one.treated)]
        fewer = estimate.difference(failed[0], failed[1], failed[1], confidence)
        if one.counts:
            accounted += one.treated["saved"]
        if saving is None or fewer is None or not math.isfinite(saving.high):
            left_out += treated.requests
            continue
        costs.append((float(treated.requests), saving))
        errors.append((float(treated.requests), fewer))
    whole = sum(weight for weight, _ in costs)
    saving = estimate.total(costs, confidence)
    reduction = estimate.total([(weight / whole, one) for weight, one in errors], confidence) if whole else None
    if left_out:
        excluded["too few sessions were held out while that share held"] = left_out
    low, ratio, high = _ratios(accounted, saving)
    return HoldOut(
        window=window,
        share=share,
        held=_side([one.held for one in strata]),
        treated=_side([one.treated for one in strata]),
        saving=saving,
        error_reduction=reduction,
        accounted=accounted,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        excluded=dict(sorted(excluded.items())),
        confidence=confidence,
        why="" if saving is not None else _why(strata),
    )


def _ratio(side: Drawn, *what: int) -> estimate.Ratio:
    """A sum per request, with its spread over groups; ``clusters`` are the sessions in them."""
    groups = side.detail.groups.values()
    found = estimate.ratio((one[_REQUESTS], sum(one[index] for index in what)) for one in groups)
    # Of few groups the jackknife's spread is itself uncertain: as Student's quantile is wider than the normal one.
    variance = found.variance * estimate.student(found.clusters - 1) ** 2
    return msgspec.structs.replace(found, clusters=side.sessions, variance=variance)


def _why(strata: Sequence[Stratum]) -> str:
    if not strata:
        return "Nothing was held out in this time ([savings] holdout_share)."
    held = max(one.held.sessions for one in strata)
    return f"{held} sessions were held out; below {estimate.LEAST} nothing is claimed."


def _ratios(accounted: int, saving: Interval | None) -> tuple[float | None, float | None, float | None]:
    """accounted / saving with its ends; none where 0 is not excluded, as then anything is possible."""
    if saving is None or saving.low <= 0 <= saving.high:
        middle = accounted / saving.mean if saving is not None and saving.mean else None
        return None, middle, None
    ends = sorted((accounted / saving.low, accounted / saving.high))
    return ends[0], accounted / saving.mean, ends[1]


def _side(parts: Sequence[Drawn]) -> Side:
    whole = Drawn()
    for one in parts:
        whole.add(one)
    n = whole["requests"]
    return Side(
        sessions=whole.sessions,
        requests=n,
        mean_cost=whole["cost"] / n if n else None,
        error_rate=whole["errors"] / n if n else None,
        unpriced=whole["unpriced"],
    )
