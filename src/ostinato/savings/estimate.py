"""The difference between held and treated, with a confidence sequence that may be looked at every day.

What was drawn are sessions, so sessions are what is counted as independent: means are ratios (cost per request), and
their variance is the jackknife's over sessions (Cameron and Miller 2015, CR3), which leans to the wide side where one
session dominates. Dear sessions are rare, and among the few that are held out there may be none yet: so the spread of
the held side is taken to be at least that of what the many treated sessions would have cost (what they did cost and
what their hits saved). Only the width is borrowed, never the mean. Costs have no bound, so betting on bounded means
does not apply; the interval is the asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas
(2021, theorem 2.2), which needs a finite variance, and whose level holds at all times at once, from some number of
sessions on. Below ``LEAST`` held sessions nothing is claimed.
"""

import math
from collections.abc import Iterable

import msgspec

from ostinato.statistics import Interval

LEAST = 20
"""Sessions held out before there is an interval."""
_TIGHTEST = 100
"""Held sessions at which the sequence is tightest."""


class Cluster(msgspec.Struct, gc=False):
    """A session (or requests that are alike, where none is named), summed up."""

    requests: int = 0
    cost: int = 0
    """Nano-dollars."""
    saved: int = 0
    """What its hits would have cost, by the ledger."""
    errors: int = 0


class Ratio(msgspec.Struct, frozen=True):
    """A sum per request over clusters."""

    clusters: int
    requests: int
    mean: float
    variance: float
    """Of ``mean``; infinite with fewer than two clusters."""


def ratio(pairs: Iterable[tuple[int, float]]) -> Ratio:
    """Of (requests, value) per cluster."""
    found = [(requests, value) for requests, value in pairs if requests > 0]
    n, whole = len(found), sum(requests for requests, _ in found)
    if not whole:
        return Ratio(0, 0, 0.0, math.inf)
    mean = math.fsum(value for _, value in found) / whole
    if n < 2:
        return Ratio(n, whole, mean, math.inf)
    squares = math.fsum(((value - mean * requests) / (whole - requests)) ** 2 for requests, value in found)
    return Ratio(n, whole, mean, squares * (n - 1) / n)


def unseen(found: Ratio, size: float) -> Ratio:
    """The same with the spread of what may not have been seen, where all that was seen is equal.

    No error among n sessions does not say that there is none: the bound is about 3/n (the rule of three, of Hanley and
    Lippman-Hand 1983), of something of ``size`` per request: 1 for errors, a call's cost for costs.
    """
    n = found.clusters
    if n < 1 or not math.isfinite(found.variance) or found.variance > 1e-18 * size * size:
        return found
    return msgspec.structs.replace(found, variance=(size * 3 / n / 1.959964) ** 2)


def difference(held: Ratio, treated: Ratio, untreated: Ratio, confidence: float = 0.95) -> Interval | None:
    """Mean of the held less mean of the treated, per request; ``None`` with too few of either.

    ``untreated``: what the treated sessions would have come to, as far as is known; for the spread.
    """
    mean = held.mean - treated.mean
    n = min(held.clusters, treated.clusters)
    if n < LEAST:
        return None
    spread = max(held.variance, untreated.variance * untreated.clusters / held.clusters)
    half = math.sqrt(spread + treated.variance) * widening(n, 1 - confidence)
    return Interval(mean - half, mean + half, mean, confidence)


def widening(n: int, alpha: float) -> float:
    """Standard errors to each side after ``n`` sessions (1.96 in an interval for one look only)."""
    rho = (-2 * math.log(alpha) + math.log(-2 * math.log(alpha) + 1)) / _TIGHTEST
    scaled = n * rho
    return math.sqrt(2 * (scaled + 1) / scaled * math.log(math.sqrt(scaled + 1) / alpha))


def student(degrees: int) -> float:
    """How much wider Student's 97.5 % quantile is than the normal one (Cornish and Fisher's expansion; within 2 % from
    four degrees of freedom on)."""
    z = 1.959964
    d = max(degrees, 2)
    return 1 + (z * z + 1) / (4 * d) + (5 * z**4 + 16 * z * z + 3) / (96 * d * d)


def total(parts: Iterable[tuple[float, Interval]], confidence: float = 0.95) -> Interval | None:
    """Sum of (weight, interval) over independent strata; ``None`` where there is none."""
    found = list(parts)
    if not found:
        return None
    mean = math.fsum(weight * one.mean for weight, one in found)
    half = math.sqrt(math.fsum((weight * (one.high - one.low) / 2) ** 2 for weight, one in found))
    return Interval(mean - half, mean + half, mean, confidence)
