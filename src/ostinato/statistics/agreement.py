"""How far raters agree beyond chance: people with each other, a judge with people."""

import math
import random
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import partial
from typing import Literal, TypeAlias, TypeVar

from ostinato.core.errors import Invalid
from ostinato.statistics.model import Agreement

Level: TypeAlias = Literal["nominal", "ordinal", "interval", "ratio"]
Ratings: TypeAlias = Sequence[Sequence[Hashable | None]]
"""One row an item, one place a rater; ``None``: that rater did not judge it."""

_DRAWS = 1_000

T = TypeVar("T")


def cohen_kappa(
    first: Sequence[Hashable], second: Sequence[Hashable], *, confidence: float = 0.95, seed: int = 0
) -> Agreement:
    """Cohen's kappa (1960) of two raters of the same items, with a bootstrap interval over items.

    Where both always say the same one label, chance explains everything: the value is 0, not 1.
    """
    if len(first) != len(second):
        raise Invalid("Two raters judge the same items.", code="invalid_ratings")
    pairs = list(zip(first, second, strict=True))
    seen = sum(one == other for one, other in pairs) / len(pairs) if pairs else 0.0
    low, high = _bootstrap(pairs, _cohen, confidence, seed)
    return Agreement(_cohen(pairs), low, high, len(pairs), seen)


def fleiss_kappa(ratings: Ratings, *, confidence: float = 0.95, seed: int = 0) -> Agreement:
    """Fleiss' kappa (1971) of several raters; items with fewer than two judgements are left out.

    Items may have different numbers of judgements; each counts by its agreeing pairs, and chance by all judgements.
    """
    rows = _judged(ratings)
    low, high = _bootstrap(rows, _fleiss, confidence, seed)
    return Agreement(_fleiss(rows), low, high, len(rows), _pairs_agreeing(rows))


def krippendorff_alpha(
    ratings: Ratings, level: Level = "nominal", *, confidence: float = 0.95, seed: int = 0
) -> Agreement:
    """Krippendorff's alpha (2011): any number of raters, missing judgements, four levels of measurement.

    ``nominal``: any labels; ``ordinal``, ``interval``, ``ratio``: numbers. Interval by bootstrap over items.
    """
    rows = _judged(ratings)
    if level != "nominal":
        for row in rows:
            for value in row:
                if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                    raise Invalid(f"The level {level!r} is for finite numbers.", code="invalid_ratings")
    low, high = _bootstrap(rows, partial(_alpha, level=level), confidence, seed)
    return Agreement(_alpha(rows, level), low, high, len(rows), _pairs_agreeing(rows))


def _judged(ratings: Ratings) -> list[list[Hashable]]:
    rows = [[one for one in row if one is not None] for row in ratings]
    return [row for row in rows if len(row) > 1]


def _cohen(pairs: Sequence[tuple[Hashable, Hashable]]) -> float:
    n = len(pairs)
    if not n:
        return 0.0
    seen = sum(one == other for one, other in pairs) / n
    left, right = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    chance = sum(left[label] * right[label] for label in left) / n**2
    return (seen - chance) / (1 - chance) if chance < 1 else 0.0


def _pairs_agreeing(rows: Sequence[Sequence[Hashable]]) -> float:
    """Mean share of agreeing pairs of an item."""
    if not rows:
        return 0.0
    shares = [sum(c * (c - 1) for c in Counter(row).values()) / (len(row) * (len(row) - 1)) for row in rows]
    return math.fsum(shares) / len(rows)


def _fleiss(rows: Sequence[Sequence[Hashable]]) -> float:
    everything = Counter(one for row in rows for one in row)
    total = everything.total()
    if not total:
        return 0.0
    chance = sum((count / total) ** 2 for count in everything.values())
    return (_pairs_agreeing(rows) - chance) / (1 - chance) if chance < 1 else 0.0


def _alpha(rows: Sequence[Sequence[Hashable]], level: Level) -> float:
    everything = Counter(one for row in rows for one in row)
    total = everything.total()
    if total < 2 or len(everything) < 2:
        return 0.0
    distance = _distance(everything, level)
    apart: dict[tuple[Hashable, Hashable], float] = {}
    for one in everything:
        for other in everything:
            apart[one, other] = distance(one, other)
    observed = 0.0
    for row in rows:
        counts = Counter(row)
        within = sum(counts[a] * counts[b] * apart[a, b] for a in counts for b in counts)
        observed += within / (len(row) - 1)
    expected = sum(everything[a] * everything[b] * apart[a, b] for a in everything for b in everything) / (total - 1)
    if expected == 0:
        return 0.0
    return 1 - observed / expected


def _distance(everything: Mapping[Hashable, int], level: Level) -> Callable[[Hashable, Hashable], float]:
    """Squared difference of two values at a level of measurement (Krippendorff 2011, section 3)."""
    if level == "nominal":
        return lambda one, other: float(one != other)
    if level == "interval":
        return lambda one, other: (_number(one) - _number(other)) ** 2
    if level == "ratio":

        def ratio(one: Hashable, other: Hashable) -> float:
            a, b = _number(one), _number(other)
            return ((a - b) / (a + b)) ** 2 if a + b else 0.0

        return ratio
    order = sorted(everything, key=_number)
    before: dict[Hashable, float] = {}
    at = 0.0
    for value in order:
        before[value] = at + everything[value] / 2
        at += everything[value]
    return lambda one, other: (before[one] - before[other]) ** 2


def _number(value: Hashable) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _bootstrap(
    rows: Sequence[object],
    value: Callable[[Sequence[object]], float] | Callable[..., float],
    confidence: float,
    seed: int,
) -> tuple[float, float]:
    """Percentiles over items drawn again."""
    if not 0 < confidence < 1:
        raise Invalid("A confidence lies between 0 and 1.", code="invalid_confidence")
    if not rows:
        return -1.0, 1.0
    # Not for secrets: the same seed must give the same interval.
    drawn = random.Random(seed)  # noqa: S311
    found = sorted(value(drawn.choices(rows, k=len(rows))) for _ in range(_DRAWS))
    tail = (1 - confidence) / 2
    return found[int(tail * (_DRAWS - 1))], found[math.ceil((1 - tail) * (_DRAWS - 1))]
