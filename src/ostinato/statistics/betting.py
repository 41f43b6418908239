"""E-processes by betting: evidence that may be looked at after every pair, for as long as anybody likes.

Whoever bets against a true hypothesis at fair odds does not get rich: the chance that the capital *ever* reaches
``1 / alpha`` is at most ``alpha`` (Ville 1939). So there is no penalty for peeking, and stopping early is allowed. The
capital here is spread over fixed stakes from cautious to bold (a mixture; Waudby-Smith and Ramdas 2024): whichever
suits the truth carries the rest, and the order of computing never matters. Pure Python: a server that watches a canary
loads no numeric library for it.
"""

import bisect
import math
from typing import TYPE_CHECKING, Any

from ostinato.core.errors import Invalid
from ostinato.statistics.model import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

STAKES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.85)
WEIGHTS = (0.04, 0.06, 0.12, 0.16, 0.18, 0.18, 0.14, 0.08, 0.04)
"""Shares of the capital on each stake; most on those that suit a loss of ten to thirty points."""

_BINS = 200
"""Steps of a confidence sequence to either side of 0."""


class EProcess:
    """Two bets on a series of paired differences in [-1, 1], above 0 where the new one is better.

    ``benefit`` bets against *the mean is at most 0*; ``harm`` against *the mean is at least -tolerance*. Each is valid
    by itself, whatever happens to the other.
    """

    __slots__ = (
        "_benefit",
        "_counts",
        "_harm",
        "benefit",
        "harm",
        "most_benefit",
        "most_harm",
        "n",
        "tolerance",
        "total",
    )

    def __init__(self, tolerance: float = 0.0) -> None:
        if not 0 <= tolerance < 1:
            raise Invalid("A tolerance is from 0 to below 1.", code="invalid_tolerance")
        self.tolerance = tolerance
        """How much worse is still taken for equal."""
        self.n = 0
        self.total = 0.0
        self._harm = [math.log(one) for one in WEIGHTS]
        self._benefit = list(self._harm)
        self._counts: dict[int, int] = {}
        self.harm = self.benefit = 1.0
        """Capital now: e-values."""
        self.most_harm = self.most_benefit = 1.0
        """The most that it has been: what a decision goes by."""

    def update(self, diff: float) -> None:
        """Take one more difference into account. Raises ``Invalid`` for what is not in [-1, 1]."""
        if not -1 <= diff <= 1:
            raise Invalid("A paired difference is from -1 to 1.", code="invalid_difference")
        worse = -(diff + self.tolerance) / (1 + self.tolerance)
        for index, stake in enumerate(STAKES):
            self._harm[index] += math.log1p(stake * worse)
            self._benefit[index] += math.log1p(stake * diff)
        self.n += 1
        self.total += diff
        step = round(diff * _BINS)
        self._counts[step] = self._counts.get(step, 0) + 1
        self.harm, self.benefit = _capital(self._harm), _capital(self._benefit)
        self.most_harm = max(self.most_harm, self.harm)
        self.most_benefit = max(self.most_benefit, self.benefit)

    @property
    def mean(self) -> float:
        """Of the differences so far; 0 before the first."""
        return self.total / self.n if self.n else 0.0

    @property
    def e(self) -> float:
        """The e-value of a benefit at its highest."""
        return self.most_benefit

    @property
    def p(self) -> float:
        """P-value of a benefit, valid at any time of stopping: 1 / ``e``."""
        return min(1.0, 1 / self.most_benefit)

    @property
    def p_harm(self) -> float:
        """The same of harm."""
        return min(1.0, 1 / self.most_harm)

    def interval(self, confidence: float = 0.95) -> Interval:
        """The confidence sequence now: it holds the true mean at all times at once with this confidence.

        All means are in it against which neither side of the same bets has won ``2 / (1 - confidence)``. Differences
        are rounded outwards to 1/200, and so are the ends.
        """
        bar = math.log(2 / (1 - confidence))
        grid = range(-_BINS, _BINS + 1)
        # A bet on more wins the less, the more is said to be there: both ends are found by halving.
        low = bisect.bisect_left(grid, True, key=lambda one: self._against(one, 1) < bar) - _BINS
        high = _BINS - bisect.bisect_left(grid, True, key=lambda one: self._against(-one, -1) < bar)
        low, high = max(-_BINS, low - 1), min(_BINS, high + 1)
        return Interval(min(low / _BINS, self.mean), max(high / _BINS, self.mean), self.mean, confidence)

    def _against(self, step: int, sign: int) -> float:
        """Log capital of bets that the mean is above (``sign`` 1) or below (-1) ``step`` / 200."""
        span = 1 + sign * step / _BINS
        if span <= 0:
            return math.inf if any(sign * (one - step) > 0 for one in self._counts) else 0.0
        logs = [math.log(one) for one in WEIGHTS]
        for one, count in self._counts.items():
            # Half a step of rounding is given to the hypothesis.
            gain = max(-span, (sign * (one - step) - 0.5) / _BINS) / span
            for index, stake in enumerate(STAKES):
                logs[index] += count * math.log1p(stake * gain)
        top = max(logs)
        return top + math.log(math.fsum(math.exp(one - top) for one in logs))


def paths(diffs: "ArrayLike", tolerance: float = 0.0) -> tuple["NDArray[Any]", "NDArray[Any]"]:
    """Capital of ``EProcess`` after every pair, many series at once: ``diffs`` of shape ``(runs, n)`` in [-1, 1].

    Gives harm and benefit, each of the same shape. For simulations.
    """
    import numpy as np  # noqa: PLC0415

    values = np.asarray(diffs, dtype=np.float64)
    harm, benefit = np.zeros_like(values), np.zeros_like(values)
    worse = -(values + tolerance) / (1 + tolerance)
    for stake, weight in zip(STAKES, WEIGHTS, strict=True):
        harm += weight * np.exp(np.cumsum(np.log1p(stake * worse), axis=-1))
        benefit += weight * np.exp(np.cumsum(np.log1p(stake * values), axis=-1))
    return harm, benefit


def _capital(logs: list[float]) -> float:
    top = max(logs)
    if top > 600:
        return math.exp(600)
    return math.fsum(math.exp(one) for one in logs)
