"""Readings from sums: shares, means and percentiles with their intervals. Pure, and without NumPy."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from ostinato.kpis.model import Reading
from ostinato.signals.summing import Sum
from ostinato.statistics import clopper_pearson, wilson
from ostinato.traces.rollup import value_of

NOTHING = "nothing was counted in this window"
MICROS = 1_000_000
NANO = 1_000_000_000


def none(why: str = NOTHING, detail: Mapping[str, Any] | None = None) -> Reading:
    """A reading that is missing, and why."""
    return Reading(missing=why, detail=dict(detail or {}))


def share(k: int, n: int, confidence: float, why: str = NOTHING, detail: Mapping[str, Any] | None = None) -> Reading:
    """``k`` of ``n``, with Wilson's interval."""
    if n <= 0:
        return none(why, detail)
    k = max(0, min(k, n))
    found = wilson(k, n, confidence)
    return Reading(value=k / n, n=n, low=found.low, high=found.high, detail={"count": k, **(detail or {})})


def mean(
    n: int, total: float, squares: float, confidence: float, why: str = NOTHING, detail: Mapping[str, Any] | None = None
) -> Reading:
    """The mean of ``n`` values by their sum and sum of squares; the interval is the normal one."""
    if n <= 0:
        return none(why, detail)
    value = total / n
    if n == 1:
        return Reading(value=value, n=n, detail=dict(detail or {}))
    spread = max(0.0, (squares - n * value * value) / (n - 1))
    half = _z(confidence) * math.sqrt(spread / n)
    return Reading(value=value, n=n, low=value - half, high=value + half, detail=dict(detail or {}))


def weighted(found: Sum | None, confidence: float, why: str, detail: Mapping[str, Any] | None = None) -> Reading:
    """The weighted mean of signals: Hájek's estimator with its linearized variance, from moments."""
    if found is None or found["valued"] <= 0 or found["w"] <= 0:
        return none(why, detail)
    n, w = int(found["valued"]), float(found["w"])
    value = found["wv"] / w
    if n == 1:
        return Reading(value=value, n=n, detail=dict(detail or {}))
    squares = found["w2vv"] - 2 * value * found["w2v"] + value * value * found["w2"]
    half = _z(confidence) * math.sqrt(max(0.0, squares) * n / (n - 1)) / w
    return Reading(value=value, n=n, low=max(0.0, value - half), high=min(1.0, value + half), detail=dict(detail or {}))


def percentile(
    histogram: Mapping[int, int],
    share_below: float,
    confidence: float,
    why: str = NOTHING,
    detail: Mapping[str, Any] | None = None,
) -> Reading:
    """A percentile in seconds by nearest rank, right within 2.5 %; the interval is that of order statistics."""
    n = sum(histogram.values())
    if n <= 0:
        return none(why, detail)
    half = _z(confidence) * math.sqrt(n * share_below * (1 - share_below))
    ranks = (
        math.floor(n * share_below - half),
        math.ceil(n * share_below),
        math.ceil(n * share_below + half) + 1,
    )
    low, value, high = _at(histogram, [min(max(rank, 1), n) for rank in ranks])
    # Beyond the first or the last value there is nothing that bounds it.
    return Reading(
        value=value,
        n=n,
        low=low if ranks[0] >= 1 else None,
        high=high if ranks[2] <= n else None,
        detail=dict(detail or {}),
    )


def per(
    total: float, k: int, n: int, confidence: float, why: str = NOTHING, detail: Mapping[str, Any] | None = None
) -> Reading:
    """A sum that is known, per success: the interval is that of the share of successes, ``k`` of ``n``."""
    if n <= 0 or k <= 0:
        return none(why if n <= 0 else "there was no success", {"cost": total, **(detail or {})})
    found = wilson(min(k, n), n, confidence)
    return Reading(
        value=total / k,
        n=n,
        low=total / (n * found.high) if found.high else None,
        high=total / (n * found.low) if found.low else None,
        detail={"cost": total, "successes": k, **(detail or {})},
    )


def exact_share(k: int, n: int, confidence: float, detail: Mapping[str, Any]) -> Reading:
    """``k`` of ``n``, with the exact interval of Clopper and Pearson; with Wilson's where SciPy is not installed."""
    k = max(0, min(k, n))
    try:
        found = clopper_pearson(k, n, confidence)
    except ImportError:
        found, detail = wilson(k, n, confidence), {**detail, "interval": "wilson"}
    return Reading(value=k / n, n=n, low=found.low, high=found.high, detail=dict(detail))


def dollars(nano: float) -> float:
    """Nano-dollars as dollars."""
    return nano / NANO


def _at(histogram: Mapping[int, int], ranks: Sequence[int]) -> list[float]:
    """The values of some ranks, in their order, from the smallest."""
    found: list[float] = []
    seen = bucket = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        while len(found) < len(ranks) and seen >= ranks[len(found)]:
            found.append(value_of(bucket) / MICROS)
    return found + [value_of(bucket) / MICROS] * (len(ranks) - len(found))


def _z(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)
