"""Intervals of a mean paired difference that say what the test beside them says: 0 is in one where it is not rejected.

A bootstrap of few pairs, or of few that differ, does not: 4 better and 36 alike have p = 0.125, and a bootstrap of them
says 2.5 to 22.5 points. These hold more, as the tests are exact.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ostinato.statistics.exact import Alternative, flips
from ostinato.statistics.intervals import clopper_pearson, paired_interval
from ostinato.statistics.model import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


def discordant_interval(wins: int, losses: int, n: int, confidence: float = 0.95) -> Interval:
    """Interval of the mean difference of ``n`` pairs of 0 and 1, of which ``wins`` and ``losses`` differ.

    What share of the pairs differs, times how much more often they do so for the better: both by Clopper and Pearson,
    each at ``confidence``. The second inverts McNemar's conditional test, so 0 is inside just where that is two-sided
    above ``1 - confidence``. Holds the truth in 95.6 % of the worst world of 5 to 200 pairs, in some 99 % of most.
    """
    share, wins_of = clopper_pearson(wins + losses, n, confidence), clopper_pearson(wins, wins + losses, confidence)
    low, high = 2 * wins_of.low - 1, 2 * wins_of.high - 1
    return Interval(
        low * (share.high if low < 0 else share.low),
        high * (share.low if high < 0 else share.high),
        (wins - losses) / n if n else 0.0,
        confidence,
    )


def graded_interval(diffs: "ArrayLike", confidence: float = 0.95, seed: int = 0) -> Interval:
    """Interval of the mean of paired differences (shape ``(n,)``) of values from 0 to 1.

    Spans the bootstrap (``paired_interval``) and the differences that the sign-flip test with this seed does not reject
    (``permutation``; Hartigan 1969). Where all differences are one number, it leaves room for as many pairs of another
    kind as could have been missed.
    """
    import numpy as np  # noqa: PLC0415

    boot = paired_interval(diffs, confidence, seed)
    values = np.asarray(diffs, dtype=np.float64)
    if float(np.ptp(values)) == 0.0:
        unseen = clopper_pearson(0, values.size, confidence).high
        low, high = boot.mean - unseen * (1 + boot.mean), boot.mean + unseen * (1 - boot.mean)
        return Interval(low, high, boot.mean, confidence)
    # The test's p-value at a shift is the share of sets of pairs, drawn by its coins, whose mean does not exceed it.
    sums, sizes, enumerated = flips(values, seed)
    tail = (1 - confidence) / 2
    allowed = math.floor(tail * sums.size if enumerated else tail * (1 + sums.size) - 1)
    means, low, high = sums / np.maximum(sizes, 1), -1.0, 1.0
    if allowed >= 0:
        low = float(np.sort(np.where(sizes > 0, means, -1.0))[allowed])
        high = float(np.sort(np.where(sizes > 0, means, 1.0))[-1 - allowed])
    return Interval(max(-1.0, min(low, boot.low)), min(1.0, max(high, boot.high)), boot.mean, confidence)


def agreeing(span: Interval, p: float, alternative: Alternative = "two-sided") -> Interval:
    """The same interval without what the test of 0 rejects, and with 0 where it does not: ``p`` is told beside it.

    ``alternative``: which test ``p`` is of; a test of one side speaks of that end only, at half of the level.
    """
    level = 1 - span.confidence
    low, high, rejected = span.low, span.high, p <= (level if alternative == "two-sided" else level / 2)
    if alternative != "less" and (not rejected or span.mean > 0):
        low = max(low, 0.0) if rejected else min(low, 0.0)
    if alternative != "greater" and (not rejected or span.mean < 0):
        high = min(high, 0.0) if rejected else max(high, 0.0)
    return Interval(low, high, span.mean, span.confidence)


def corrected(ps: Sequence[float], level: float = 0.05) -> tuple[float, ...]:
    """Confidences of intervals beside p-values that are adjusted for their number (``holm``), in the order given.

    An interval at its confidence holds 0 just where its adjusted p-value is above ``level``: each gets the part of the
    level that Holm's procedure compares it with, from the first one on that is not rejected the same.
    """
    order = sorted(range(len(ps)), key=lambda one: ps[one])
    found = [0.0] * len(ps)
    part, open_ = level, True
    for rank, index in enumerate(order):
        if open_:
            part = level / (len(ps) - rank)
            open_ = ps[index] <= part
        found[index] = 1 - part
    return tuple(found)
