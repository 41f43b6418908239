"""Confidence intervals: of a share, of a mean of paired differences, of a mean of weighted samples."""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from ostinato.core.errors import Invalid
from ostinato.statistics.model import Interval

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_CHUNK = 4_000_000


def wilson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """Interval of a share, ``k`` of ``n`` (Wilson 1927): near its level on average, never outside [0, 1]."""
    _counts(k, n, confidence)
    if n == 0:
        return Interval(0.0, 1.0, 0.5, confidence)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, slack = k / n, z * z / n
    centre = (share + slack / 2) / (1 + slack)
    half = z / (1 + slack) * math.sqrt(share * (1 - share) / n + slack / (4 * n))
    low = 0.0 if k == 0 else max(0.0, centre - half)
    high = 1.0 if k == n else min(1.0, centre + half)
    return Interval(low, high, share, confidence)


def clopper_pearson(k: int, n: int, confidence: float = 0.95) -> Interval:
    """Exact interval of a share, ``k`` of ``n`` (Clopper and Pearson 1934): never below its level."""
    _counts(k, n, confidence)
    if n == 0:
        return Interval(0.0, 1.0, 0.5, confidence)
    from scipy import stats as scipy_stats  # noqa: PLC0415

    beta: Any = scipy_stats.beta
    half = (1 - confidence) / 2
    low = 0.0 if k == 0 else float(beta.ppf(half, k, n - k + 1))
    high = 1.0 if k == n else float(beta.isf(half, k + 1, n - k))
    return Interval(low, high, k / n, confidence)


def paired_interval(diffs: "ArrayLike", confidence: float = 0.95, seed: int = 0, *, draws: int = 10_000) -> Interval:
    """Interval of the mean of paired differences (shape ``(n,)``, any unit).

    Bias-corrected and accelerated bootstrap (Efron 1987), seeded. Where all differences are equal there is nothing to
    draw from, and it is that one number: ask for more pairs before much is made of it.
    """
    import numpy as np  # noqa: PLC0415

    _level(confidence)
    values = np.asarray(diffs, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.all(np.isfinite(values)):
        raise Invalid("An interval needs at least one difference, all finite.", code="invalid_values")
    n, mean = values.size, float(values.mean())
    if float(np.ptp(values)) == 0.0:
        return Interval(mean, mean, mean, confidence)
    random = np.random.default_rng(seed)
    means = np.empty(draws)
    most = max(1, _CHUNK // n)
    for at in range(0, draws, most):
        some = min(most, draws - at)
        means[at : at + some] = values[random.integers(0, n, size=(some, n))].mean(axis=1)
    normal = NormalDist()
    below = (np.count_nonzero(means < mean) + 0.5 * np.count_nonzero(means == mean)) / draws
    bias = normal.inv_cdf(min(max(float(below), 1 / (2 * draws)), 1 - 1 / (2 * draws)))
    centred = values - mean
    acceleration = float((centred**3).sum() / (6 * (centred**2).sum() ** 1.5))
    ends: list[float] = []
    for tail in ((1 - confidence) / 2, (1 + confidence) / 2):
        z = bias + normal.inv_cdf(tail)
        ends.append(normal.cdf(bias + z / max(1e-6, 1 - acceleration * z)))
    low, high = (float(one) for one in np.quantile(means, ends))
    return Interval(min(low, mean), max(high, mean), mean, confidence)


def weighted_mean(values: Sequence[float], weights: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean over a population of which some were sampled more readily: weight = 1 / chance to be sampled.

    Hájek's estimator with its linearized variance, for independent draws (Särndal, Swensson and Wretman 1992, 5.7).
    ``values`` in any unit; both of shape ``(n,)``.
    """
    _level(confidence)
    if len(values) != len(weights) or not values:
        raise Invalid("Every value has one weight, and there is at least one.", code="invalid_values")
    if not all(math.isfinite(one) for one in values) or not all(0 < one < math.inf for one in weights):
        raise Invalid("Values are finite, weights above 0.", code="invalid_values")
    total = math.fsum(weights)
    mean = math.fsum(w * v for w, v in zip(weights, values, strict=True)) / total
    n = len(values)
    if n == 1:
        return Interval(-math.inf, math.inf, mean, confidence)
    spread = math.fsum((w * (v - mean)) ** 2 for w, v in zip(weights, values, strict=True)) * n / (n - 1)
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt(spread) / total
    return Interval(mean - half, mean + half, mean, confidence)


def _counts(k: int, n: int, confidence: float) -> None:
    _level(confidence)
    if not 0 <= k <= n:
        raise Invalid("Of n things, from 0 to n can be counted.", code="invalid_counts")


def _level(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise Invalid("A confidence lies between 0 and 1.", code="invalid_confidence")
