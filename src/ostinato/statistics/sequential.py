"""Has a mean changed? An e-detector whose mean time between false alarms is a choice, and the optimal CUSUM beside it.

The e-detector is Shiryaev and Roberts' statistic on bets (Shin, Ramdas and Rinaldo 2023): with every sample each of a
few stakes plays for one more unit of *exposure* (time passed, or one sample), ``R = (R + exposure) * (1 + stake *
(mean - x))``. While the mean is what it was, ``R - exposure so far`` loses on average: so the expected exposure until
``R`` reaches a threshold ``A`` is at least ``A``, for bounded values of any distribution, at any time of looking. Where
exposure is time, false alarms are at least ``A`` days apart on average, however many samples a day has.

Pure Python for one series; ``delays`` and ``cusum_delays`` simulate many with NumPy.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from ostinato.core.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import NDArray

Direction: TypeAlias = Literal["down", "up"]

DROPS: tuple[tuple[float, float], ...] = ((0.05, 0.5), (0.1, 0.42), (0.25, 0.08))
"""Changes of a share that are played on, with their part of the capital: points of a hundred, from small to large.
A large drop is found within some dozens of samples whatever its part, so that is small."""
RISES: tuple[tuple[float, float], ...] = ((1.0, 0.4), (2.0, 0.35), (6.0, 0.25))
"""Of a rare event: how much more often than usual, by this much beyond once."""

_MOST = 1e12
_EDGE = 1e-4


class Bet(msgspec.Struct, frozen=True):
    """A stake, and its part of the capital."""

    stake: float
    weight: float


def bets(
    mean: float, direction: Direction = "down", changes: Sequence[tuple[float, float]] | None = None
) -> tuple[Bet, ...]:
    """Stakes against *the mean is still at least* (``up``: at most) ``mean``, in [0, 1].

    ``changes``: pairs of the size of a change (points of 1) and its part; left out: ``DROPS``, or for rare events
    ``RISES``, in multiples of the usual share. A stake is the one that grows fastest for 0s and 1s after that change.
    """
    if not 0 < mean < 1:
        raise Invalid("A mean that is watched lies between 0 and 1.", code="invalid_mean")
    usual = mean if direction == "down" else 1 - mean
    if changes is None:
        scale = 1 - usual
        changes = DROPS if scale >= 0.1 else [(max(scale * times, 0.002), part) for times, part in RISES]
    total = sum(part for _, part in changes)
    found: list[Bet] = []
    for size, part in changes:
        after = max(usual - size, usual * _EDGE)
        found.append(Bet((usual - after) / (usual * (1 - usual)), part / total))
    return tuple(found)


class Detector(msgspec.Struct):
    """One series. Plain data: it can be kept and gone on with."""

    capital: list[float] = []
    """Of each bet."""
    statistic: float = 0.0
    """In units of exposure; an alarm is due where it reaches the mean exposure between two false ones."""

    def update(
        self,
        playing: Sequence[Bet],
        mean: float,
        value: float,
        *,
        n: int = 1,
        exposure: float = 1.0,
        direction: Direction = "down",
    ) -> float:
        """Take ``n`` samples with mean ``value`` (all 0 or 1 where ``n`` > 1) into account; gives the statistic.

        ``mean`` and ``exposure`` must not depend on the samples themselves.
        """
        if len(self.capital) != len(playing):
            self.capital = [0.0] * len(playing)
        sign = 1.0 if direction == "down" else -1.0
        total = 0.0
        for at, bet in enumerate(playing):
            if n == 1:
                growth = 1.0 + bet.stake * sign * (mean - value)
            else:
                ones = value * n
                high = math.log1p(max(bet.stake * sign * (mean - 1.0), -1 + 1e-12)) * ones
                low = math.log1p(max(bet.stake * sign * mean, -1 + 1e-12)) * (n - ones)
                growth = math.exp(min(high + low, 60.0))
            self.capital[at] = min((self.capital[at] + exposure) * max(growth, 0.0), _MOST)
            total += bet.weight * self.capital[at]
        self.statistic = total
        return total

    def reset(self) -> None:
        """Begin again, after an alarm."""
        self.capital = []
        self.statistic = 0.0


def bound(share: float, n: float, direction: Direction, confidence: float) -> float:
    """The lower (``up``: upper) limit of a share seen in ``n`` samples, one-sided (Wilson), inside (0, 1)."""
    z = NormalDist().inv_cdf(confidence) if confidence > 0.5 else 0.0
    slack = z * z / n
    half = z * math.sqrt(share * (1 - share) / n + slack / (4 * n))
    middle = share + slack / 2
    edge = (middle - half if direction == "down" else middle + half) / (1 + slack)
    return min(max(edge, _EDGE), 1 - _EDGE)


# -- simulations ---------------------------------------------------------------------------------------------------


def delays(
    values: "NDArray[Any]", mean: float, threshold: float, *, direction: Direction = "down", warm: int = 0
) -> "NDArray[Any]":
    """Samples until :class:`Detector` alarms, for many series at once: ``values`` of shape ``(runs, n)``.

    Counted from sample ``warm`` on; runs that alarm before begin again then. What never alarms is ``n - warm + 1``.
    """
    import numpy as np  # noqa: PLC0415

    data = np.asarray(values, dtype=np.float64)
    runs, n = data.shape
    playing = bets(mean, direction)
    sign = 1.0 if direction == "down" else -1.0
    stakes = np.array([one.stake for one in playing])[:, None]
    weights = np.array([one.weight for one in playing])[:, None]
    capital = np.zeros((len(playing), runs))
    found = np.full(runs, n - warm + 1)
    for at in range(n):
        capital = (capital + 1.0) * (1.0 + stakes * sign * (mean - data[:, at]))
        hit = (weights * capital).sum(axis=0) >= threshold
        if at >= warm:
            found = np.where(hit & (found > n - warm), at - warm + 1, found)
        capital[:, hit] = 0.0
    return found


def cusum_threshold(before: float, after: float, arl: float) -> float:
    """The threshold of the CUSUM for 0s and 1s that is optimal for this change, with this mean run to a false alarm.

    Its mean run length solves a set of linear equations on a grid (Brook and Evans 1972); the threshold is found by
    halving. Needs NumPy.
    """
    low, high = 0.1, math.log(max(arl, 10.0)) + 3.0
    for _ in range(40):
        middle = (low + high) / 2
        if _run_length(before, after, middle) < arl:
            low = middle
        else:
            high = middle
    return high


def cusum_delays(
    values: "NDArray[Any]", before: float, after: float, threshold: float, *, warm: int = 0
) -> "NDArray[Any]":
    """The same as :func:`delays`, of the CUSUM that knows both shares (Page 1954; optimal: Moustakides 1986)."""
    import numpy as np  # noqa: PLC0415

    data = np.asarray(values, dtype=np.float64)
    runs, n = data.shape
    one, zero = math.log(after / before), math.log((1 - after) / (1 - before))
    sums = np.zeros(runs)
    found = np.full(runs, n - warm + 1)
    for at in range(n):
        sums = np.maximum(sums, 0.0) + np.where(data[:, at] > 0.5, one, zero)
        hit = sums >= threshold
        if at >= warm:
            found = np.where(hit & (found > n - warm), at - warm + 1, found)
        sums[hit] = 0.0
    return found


def _run_length(before: float, after: float, threshold: float, cells: int = 400) -> float:
    import numpy as np  # noqa: PLC0415

    one, zero = math.log(after / before), math.log((1 - after) / (1 - before))
    width = threshold / cells
    matrix = np.eye(cells)
    for start in range(cells):
        for step, chance in ((one, before), (zero, 1 - before)):
            place = start * width + step
            if place >= threshold:
                continue
            # Between two cells the chance is shared: the walk keeps its mean.
            left = max(place, 0.0) / width
            low = min(int(left), cells - 1)
            share = left - low
            matrix[start, low] -= chance * (1 - share)
            if low + 1 < cells:
                matrix[start, low + 1] -= chance * share
    return float(np.linalg.solve(matrix, np.ones(cells))[0])
