"""Confidences: how far they can be believed, and how they are put right.

``confidences``: from 0 to 1, shape ``(n,)``. ``right``: whether each answer was right, or how right, from 0 to 1.
"""

import bisect
import math
from collections.abc import Sequence

import msgspec

from ostinato.core.errors import Invalid
from ostinato.statistics.model import Calibration, Curve

BINS = 10
SHARE = 0.2


class Isotonic(msgspec.Struct, frozen=True):
    """A rising step function from stated to calibrated confidence: ``values[i]`` from ``edges[i]`` on."""

    edges: tuple[float, ...]
    values: tuple[float, ...]
    n: int
    """Answers that it was learnt from."""

    def apply(self, confidence: float) -> float:
        """The calibrated confidence; between two steps on the line that joins them, beyond the ends the end's."""
        edges, values = self.edges, self.values
        at = bisect.bisect_left(edges, confidence)
        if at < len(edges) and edges[at] == confidence:
            return values[at]
        if at == 0:
            return values[0]
        if at == len(edges):
            return values[-1]
        left, right = edges[at - 1], edges[at]
        return values[at - 1] + (values[at] - values[at - 1]) * (confidence - left) / (right - left)


def fit_isotonic(confidences: Sequence[float], right: Sequence[float]) -> Isotonic:
    """The rising function nearest to what came, in squares: pool adjacent violators (Ayer et al. 1955).

    Kept half an answer away from 0 and 1: a handful of right answers is no certainty.
    """
    n = _checked(confidences, right)
    if n == 0:
        raise Invalid("A calibration is learnt from at least one answer.", code="invalid_values")
    sums: dict[float, list[float]] = {}
    for confidence, value in zip(confidences, right, strict=True):
        pool = sums.setdefault(confidence, [0.0, 0.0])
        pool[0] += value
        pool[1] += 1
    pools: list[tuple[float, float, float, float]] = []
    """(sum, weight, first, last confidence)"""
    for confidence in sorted(sums):
        total, weight = sums[confidence]
        first, last = confidence, confidence
        while pools and pools[-1][0] * weight >= total * pools[-1][1]:
            before = pools.pop()
            total, weight, first = total + before[0], weight + before[1], before[2]
        pools.append((total, weight, first, last))
    edges: list[float] = []
    values: list[float] = []
    for total, weight, first, last in pools:
        value = min(max(total / weight, 0.5 / (weight + 1)), 1 - 0.5 / (weight + 1))
        value = max(value, values[-1]) if values else value
        for edge in (first,) if first == last else (first, last):
            edges.append(edge)
            values.append(value)
    return Isotonic(tuple(edges), tuple(values), n)


def curve(confidences: Sequence[float], right: Sequence[float], bins: int = BINS) -> tuple[Curve, ...]:
    """A reliability diagram of equally wide bins; empty ones are left out."""
    _checked(confidences, right)
    found: dict[int, list[float]] = {}
    for confidence, value in zip(confidences, right, strict=True):
        cell = found.setdefault(min(bins - 1, int(confidence * bins)), [0.0, 0.0, 0.0])
        cell[0] += confidence
        cell[1] += value
        cell[2] += 1
    return tuple(
        Curve(confidence=said / n, accuracy=came / n, n=int(n)) for _, (said, came, n) in sorted(found.items())
    )


def ece(confidences: Sequence[float], right: Sequence[float], bins: int = BINS) -> float:
    """Expected calibration error, 0 to 1, over equally wide bins (Naeini et al. 2015); 0 of no answers."""
    n = len(confidences)
    steps = curve(confidences, right, bins)
    return math.fsum(one.n / n * abs(one.confidence - one.accuracy) for one in steps)


def brier(confidences: Sequence[float], right: Sequence[float]) -> float:
    """Mean squared distance of what was said from what came, 0 to 1 (Brier 1950); 0 of no answers."""
    n = _checked(confidences, right)
    return math.fsum((c - r) ** 2 for c, r in zip(confidences, right, strict=True)) / n if n else 0.0


def auroc(confidences: Sequence[float], right: Sequence[float]) -> float | None:
    """Chance that a right answer has the higher confidence, ties half (Mann and Whitney 1947).

    Right is 0.5 and more. ``None`` where there are no right ones, or no wrong ones.
    """
    _checked(confidences, right)
    good = sorted(c for c, r in zip(confidences, right, strict=True) if r >= 0.5)
    bad = [c for c, r in zip(confidences, right, strict=True) if r < 0.5]
    if not good or not bad:
        return None
    above = sum(len(good) - (bisect.bisect_left(good, c) + bisect.bisect_right(good, c)) / 2 for c in bad)
    return above / (len(good) * len(bad))


def caught(confidences: Sequence[float], errors: Sequence[float], share: float = SHARE) -> float | None:
    """Share of all errors that lie among the least confident ``share`` of answers: what reviewers would find.

    ``errors``: 1 where the answer is wrong, 0 where right, or between. Of equally confident answers at the border, a
    proportional part is counted. ``None`` where there are no errors.
    """
    n = _checked(confidences, errors)
    total = math.fsum(errors)
    if total == 0:
        return None
    left, found = share * n, 0.0
    pools: dict[float, list[float]] = {}
    for confidence, error in zip(confidences, errors, strict=True):
        pools.setdefault(confidence, []).append(error)
    for confidence in sorted(pools):
        some = pools[confidence]
        taken = min(left, len(some))
        found += math.fsum(some) * taken / len(some)
        left -= taken
        if left <= 0:
            break
    return found / total


def calibration_of(confidences: Sequence[float], right: Sequence[float], bins: int = BINS) -> Calibration:
    """All of it at once."""
    n = _checked(confidences, right)
    return Calibration(
        n=n,
        accuracy=math.fsum(right) / n if n else 0.0,
        ece=ece(confidences, right, bins),
        brier=brier(confidences, right),
        auroc=auroc(confidences, right),
        caught=caught(confidences, [1 - one for one in right]),
        curve=curve(confidences, right, bins),
    )


def _checked(confidences: Sequence[float], values: Sequence[float]) -> int:
    if len(confidences) != len(values):
        raise Invalid("Every confidence belongs to one answer.", code="invalid_values")
    if not all(0 <= one <= 1 for one in confidences) or not all(0 <= one <= 1 for one in values):
        raise Invalid("Confidences and what came of them are from 0 to 1.", code="invalid_values")
    return len(confidences)
