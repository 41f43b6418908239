"""Tests of paired results: exact where that can be, by seeded permutation where not; and several at once."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from ostinato.core.errors import Invalid

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats: TypeAlias = NDArray[Any]

Alternative: TypeAlias = Literal["greater", "less", "two-sided"]

_ENUMERATED = 16
"""Differences that are not 0, up to which a permutation test looks at all signs: 65,536."""
_CHUNK = 4_000_000
_UNCONDITIONAL = 5_000
"""Pairs up to which McNemar's test can look for the worst share of discordant pairs."""
_OUTSIDE = 1e-5
"""Chance that the share of discordant pairs is not where it is looked for."""
_TIED = 1 + 1e-9
"""Equal mid-p values that were worked out differently are equal."""
_SURE, _UNSURE = 1e-4, 0.2
"""P-values outside of which the conditional test says the same."""
_SHARES = tuple((number + 1) / 400 for number in range(400))
_THRESHOLDS, _FINE = 121, 1_000


def mcnemar(wins: int, losses: int, alternative: Alternative = "greater", *, n: int | None = None) -> float:
    """P-value of McNemar's exact test on discordant pairs: ``wins`` for the candidate, ``losses`` for the base.

    Without ``n``: conditional on ``wins + losses``, the binomial test (McNemar 1947). With ``n``, the number of all
    pairs (at most 5,000, else as without): the exact unconditional test, ordered by the mid-p value (Suissa and Shuster
    1991; Fagerland, Lydersen and Laake 2013) and maximized over a 99.999 % interval of the unknown share of discordant
    pairs, whose rest is added (Berger and Boos 1994). It keeps its level just as strictly and wastes less of it. Below
    0.0001 the two hardly differ, and it is the conditional one.
    """
    if wins < 0 or losses < 0 or (n is not None and n < wins + losses):
        raise Invalid("Wins and losses are counts, and together no more than the pairs.", code="invalid_counts")
    if alternative == "two-sided":
        return min(1.0, 2 * mcnemar(max(wins, losses), min(wins, losses), n=n))
    if alternative == "less":
        wins, losses = losses, wins
    discordant = wins + losses
    if discordant == 0:
        return 1.0
    import numpy as np  # noqa: PLC0415 - loaded when a figure is asked for
    from scipy import stats as scipy_stats  # noqa: PLC0415

    binom: Any = scipy_stats.binom
    conditional = float(binom.sf(wins - 1, discordant, 0.5))
    middle = conditional - 0.5 * float(binom.pmf(wins, discordant, 0.5))
    if n is None or n > _UNCONDITIONAL or conditional < _SURE or middle > _UNSURE:
        return conditional
    within = _plausible(n)[discordant]
    chances = _discordant(n)[within[0] : within[1]] @ _tails(n, _critical(n, np.full(n + 1, middle * _TIED)))
    return min(1.0, float(chances.max()) + _OUTSIDE)


@lru_cache(maxsize=64)
def rejecting(n: int, alpha: float) -> "Floats":
    """For 0 to ``n`` discordant pairs the fewest wins that are significant at ``alpha``; ``n + 2``: none are."""
    import numpy as np  # noqa: PLC0415

    if n <= _FINE:
        thresholds = np.linspace(alpha / 4, min(0.5, 2 * alpha), _THRESHOLDS)
    else:
        # Of many pairs the mid-p value is nearly the p-value: a few steps around the level are enough.
        thresholds = np.linspace(0.9 * alpha, 1.02 * alpha, 13)
    weights, plausible = _discordant(n), _plausible(n)
    # Chance of so small a mid-p value: (threshold, share).
    chances = np.stack([weights @ _tails(n, _critical(n, np.full(n + 1, one))) for one in thresholds])
    best = np.zeros(n + 1)
    for discordant, (first, last) in enumerate(plausible):
        fits = chances[:, first:last].max(axis=1) <= alpha - _OUTSIDE
        best[discordant] = thresholds[fits][-1] if fits.any() else 0.0
    return _critical(n, best)


def size(n: int, alpha: float, discordance: float | None = None) -> float:
    """Chance of a significant result without a difference: at a share of discordant pairs, or at worst."""
    import numpy as np  # noqa: PLC0415
    from scipy import stats as scipy_stats  # noqa: PLC0415

    binom: Any = scipy_stats.binom
    tails = _tails(n, rejecting(n, alpha))
    if discordance is None:
        return float((_discordant(n) @ tails).max())
    return float(np.asarray(binom.pmf(np.arange(n + 1), n, discordance)) @ tails)


def _critical(n: int, thresholds: "Floats") -> "Floats":
    """For 0 to ``n`` discordant pairs the fewest wins whose mid-p value is at most their threshold; ``n + 2``: none."""
    import numpy as np  # noqa: PLC0415
    from scipy import stats as scipy_stats  # noqa: PLC0415

    binom: Any = scipy_stats.binom
    counts = np.arange(n + 1)
    # isf is within one or two of the answer: mid-p lies between sf(w) and sf(w - 1).
    wins = np.asarray(binom.isf(thresholds, counts, 0.5), dtype=np.int64)
    for _ in range(3):
        lower = binom.sf(wins - 1, counts, 0.5) + 0.5 * binom.pmf(wins - 1, counts, 0.5)
        wins = np.where((wins > 0) & (lower <= thresholds), wins - 1, wins)
        here = binom.sf(wins, counts, 0.5) + 0.5 * binom.pmf(wins, counts, 0.5)
        wins = np.where(here > thresholds, wins + 1, wins)
    return np.where(wins > counts, n + 2, wins)


def _tails(n: int, wins: "Floats") -> "Floats":
    """For each number of discordant pairs the chance of so many wins, if either is as likely."""
    import numpy as np  # noqa: PLC0415
    from scipy import stats as scipy_stats  # noqa: PLC0415

    binom: Any = scipy_stats.binom
    return np.asarray(binom.sf(wins - 1, np.arange(n + 1), 0.5))


@lru_cache(maxsize=8)
def _discordant(n: int) -> "Floats":
    """Chances of 0 to ``n`` discordant pairs, for a grid of shares: (shares, n + 1)."""
    import numpy as np  # noqa: PLC0415
    from scipy import stats as scipy_stats  # noqa: PLC0415

    binom: Any = scipy_stats.binom
    return np.asarray(binom.pmf(np.arange(n + 1)[None, :], n, np.asarray(_SHARES)[:, None]))


@lru_cache(maxsize=8)
def _plausible(n: int) -> tuple[tuple[int, int], ...]:
    """For 0 to ``n`` discordant pairs the part of the grid of shares that is plausible, rounded outwards."""
    import numpy as np  # noqa: PLC0415
    from scipy import stats as scipy_stats  # noqa: PLC0415

    beta: Any = scipy_stats.beta
    counts = np.arange(n + 1)
    low = np.nan_to_num(np.asarray(beta.ppf(_OUTSIDE / 2, counts, n - counts + 1)), nan=0.0)
    high = np.nan_to_num(np.asarray(beta.isf(_OUTSIDE / 2, counts + 1, n - counts)), nan=1.0)
    first = np.maximum(0, np.searchsorted(_SHARES, low, side="right") - 1)
    last = np.minimum(len(_SHARES), np.searchsorted(_SHARES, high, side="left") + 1)
    return tuple((int(one), int(other)) for one, other in zip(first, last, strict=True))


def permutation(diffs: "ArrayLike", *, seed: int, draws: int = 20_000, alternative: Alternative = "greater") -> float:
    """P-value of the sign-flip test that paired differences (shape ``(n,)``, any unit) have mean 0.

    Up to 16 differences that are not 0: all signs, exact. Else ``draws`` seeded ones, with ``(1 + k) / (1 + draws)``,
    which keeps the level (Phipson and Smyth 2010). The same seed gives the same p-value.
    """
    import numpy as np  # noqa: PLC0415

    values = _finite(diffs)
    values = values[values != 0]
    if alternative == "two-sided":
        greater = permutation(values, seed=seed, draws=draws)
        return min(1.0, 2 * min(greater, permutation(-values, seed=seed, draws=draws)))
    if alternative == "less":
        values = -values
    if values.size == 0:
        return 1.0
    seen = float(values.sum())
    slack = 1e-9 * float(np.abs(values).sum())
    if values.size <= _ENUMERATED:
        return float(np.mean(_all_signs(values.size) @ values >= seen - slack))
    reached = sum(
        int(np.count_nonzero(2 * (signs @ values) - seen >= seen - slack))
        for signs in _drawn_signs(values.size, draws, seed)
    )
    return (1 + reached) / (1 + draws)


def flips(diffs: "ArrayLike", seed: int, draws: int = 20_000) -> tuple["Floats", "Floats", bool]:
    """Sums and sizes of the sets of pairs whose signs ``permutation`` flips, and whether it looked at all signs.

    The very draws of the test: it rejects where few sums are at most 0. Of many equally likely sets each is there once;
    pairs whose difference is 0 are in one or not by the toss of a coin.
    """
    import numpy as np  # noqa: PLC0415

    values = _finite(diffs)
    zeros, values = int(np.count_nonzero(values == 0)), values[values != 0]
    slack = 0.5e-9 * float(np.abs(values).sum())
    enumerated = values.size <= _ENUMERATED
    if enumerated:
        chosen = _all_signs(values.size) < 0
        each = max(1, draws // len(chosen))
        sums, sizes = np.repeat(chosen @ values, each), np.repeat(chosen.sum(axis=1), each)
    else:
        parts = [
            (values.sum() - signs @ values, (1 - signs).sum(axis=1)) for signs in _drawn_signs(values.size, draws, seed)
        ]
        sums, sizes = (np.concatenate([part[index] for part in parts]) for index in (0, 1))
    sums = np.where(np.abs(sums) <= slack, 0.0, sums)
    # Another stream than that of the signs.
    return sums, sizes + np.random.default_rng([seed, 1]).binomial(zeros, 0.5, sums.size), enumerated


def _drawn_signs(n: int, draws: int, seed: int) -> Iterator["Floats"]:
    """``draws`` times 1 (as it is) or 0 (flipped) for ``n`` values, some at a time: ``(some, n)``."""
    import numpy as np  # noqa: PLC0415

    random = np.random.default_rng(seed)
    left, most = draws, max(1, _CHUNK // n)
    while left:
        some = min(left, most)
        yield random.integers(0, 2, size=(some, n), dtype=np.int8)
        left -= some


def _all_signs(n: int) -> "Floats":
    """Every choice of 1 and -1 for ``n`` values: ``(2 ** n, n)``."""
    import numpy as np  # noqa: PLC0415

    numbers = cast("Floats", np.arange(2**n))[:, None]
    return cast("Floats", 1 - 2 * ((numbers >> np.arange(n)) & 1))


def holm(ps: Sequence[float]) -> tuple[float, ...]:
    """P-values adjusted for their number (Holm 1979), in the order given: compare each with the whole level."""
    if any(not 0 <= p <= 1 for p in ps):
        raise Invalid("A p-value is from 0 to 1.", code="invalid_p_value")
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda one: ps[one])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = highest
    return tuple(adjusted)


def _finite(values: "ArrayLike") -> "Floats":
    import numpy as np  # noqa: PLC0415

    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not np.all(np.isfinite(found)):
        raise Invalid("Differences are a list of finite numbers.", code="invalid_values")
    return found
