"""Have two samples one distribution? PSI with a limit that knows n; MMD by permutation; silence by rates.

``psi`` compares counts by label; ``psi_limit`` says how large it is by chance. ``mmd`` compares vectors and gives a
permutation p-value. ``silence`` says how unlikely it is that nothing came. All pure; only ``mmd`` needs NumPy.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

from ostinato.core.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_LEAST = 5.0
"""Expected counts below it are taken together: there the approximation by chi-square does not hold."""


def pooled(reference: Mapping[str, float], counts: Mapping[str, float]) -> tuple[list[float], list[float]]:
    """Counts by label, side by side, the largest first; labels too rare to be judged apart are one, the last."""
    total, n = sum(reference.values()), sum(counts.values())
    if total <= 0 or n <= 0:
        return [], []
    labels = sorted({*reference, *counts}, key=lambda label: (-reference.get(label, 0.0), label))
    left: list[float] = []
    right: list[float] = []
    rest_left = rest_right = 0.0
    for label in labels:
        ours, theirs = reference.get(label, 0.0), counts.get(label, 0.0)
        if min((ours + theirs) * n, (ours + theirs) * total) / (total + n) >= _LEAST:
            left.append(ours)
            right.append(theirs)
        else:
            rest_left += ours
            rest_right += theirs
    if rest_left or rest_right:
        left.append(rest_left)
        right.append(rest_right)
    return left, right


def psi(reference: Mapping[str, float], counts: Mapping[str, float]) -> tuple[float, int]:
    """The population stability index of two counts by label, in nats, and how many labels were told apart.

    Sum of ``(p - q) ln(p / q)``, the symmetric divergence of Jeffreys; half a count stands in the place of none.
    """
    left, right = pooled(reference, counts)
    cells = len(left)
    if cells < 2:
        return 0.0, cells
    total, n = sum(left) + cells / 2, sum(right) + cells / 2
    found = 0.0
    for ours, theirs in zip(left, right, strict=True):
        p, q = (ours + 0.5) / total, (theirs + 0.5) / n
        found += (p - q) * math.log(p / q)
    return found, cells


def psi_limit(reference: float, n: float, cells: int, alpha: float, dispersion: float = 1.0) -> float:
    """What PSI exceeds with chance ``alpha`` although nothing has changed, for sizes ``reference`` and ``n``.

    PSI is ``1 / n + 1 / reference`` times a chi-square of ``cells - 1`` degrees (Yurdakul 2018), times ``dispersion``
    where samples come in bursts. Approximate: the quantile is Wilson and Hilferty's, above the true one in the tail.
    """
    if cells < 2:
        return math.inf
    return (1 / n + 1 / reference) * chi_square(cells - 1, alpha) * dispersion


def chi_square(df: int, alpha: float) -> float:
    """The value that a chi-square of ``df`` degrees exceeds with chance ``alpha`` (Wilson and Hilferty 1931)."""
    alpha = min(max(alpha, 1e-12), 0.5)
    if df == 1:
        return NormalDist().inv_cdf(1 - alpha / 2) ** 2
    z = NormalDist().inv_cdf(1 - alpha)
    return df * (1 - 2 / (9 * df) + z * math.sqrt(2 / (9 * df))) ** 3


def mmd(first: "ArrayLike", second: "ArrayLike", *, seed: int, permutations: int = 999) -> tuple[float, float]:
    """The maximum mean discrepancy of two samples of vectors, and the p-value that they have one distribution.

    Shapes ``(n, d)`` and ``(m, d)``. A Gaussian kernel of the median distance; exact at its level by permutation,
    whatever the distribution (Gretton and others 2012). Raises ``Invalid`` for fewer than two vectors a side.
    """
    import numpy as np  # noqa: PLC0415

    x, y = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) < 2 or len(y) < 2 or x.shape[1] != y.shape[1]:
        raise Invalid("Two samples of at least two vectors of one length are compared.", code="invalid_vectors")
    both = np.concatenate([x, y])
    if not np.all(np.isfinite(both)):
        raise Invalid("Vectors are finite numbers.", code="invalid_vectors")
    squares = (both**2).sum(axis=1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * both @ both.T, 0.0)
    middle = float(np.median(distances[np.triu_indices(len(both), 1)])) or 1.0
    kernel = np.exp(-distances / middle)
    random = np.random.default_rng(seed)
    signs = np.where(np.arange(len(both)) < len(x), 1 / len(x), -1 / len(y))
    seen = float(signs @ kernel @ signs)
    more = 0
    for at in range(0, permutations, 500):
        some = np.stack([random.permutation(signs) for _ in range(min(500, permutations - at))])
        more += int(((some @ kernel * some).sum(axis=1) >= seen - 1e-12).sum())
    return seen, (1 + more) / (1 + permutations)


def silence(
    counts: Sequence[float], exposures: Sequence[float], waited: Sequence[float], *, prior: float = 1.0
) -> float:
    """How unlikely it is that nothing came: minus the log of the chance, by a profile of rates (an hour of the week).

    ``counts`` came in ``exposures`` (hours) of each hour, and nothing in ``waited`` (hours of each). A rate is not
    known, so it is a gamma distribution (chance of none: ``(E / (E + t)) ** n``), drawn towards the mean of all by
    ``prior`` hours.
    """
    total = sum(exposures)
    if total <= 0:
        return 0.0
    mean = sum(counts) / total
    found = 0.0
    for count, exposure, hours in zip(counts, exposures, waited, strict=True):
        if hours > 0:
            found += (count + prior * mean) * math.log1p(hours / (exposure + prior))
    return found
