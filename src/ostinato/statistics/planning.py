"""What a number of pairs can prove, before anything is spent: power, the smallest gain, the pairs needed.

All for the test that decides: exact unconditional McNemar, one-sided (``exact.mcnemar`` with ``n``). A gain is the
difference of two shares, from 0 to 1: 0.08 is eight points. ``discordance`` is the share of pairs in which one is right
and the other is not; 20 to 25 % is usual between two versions of one prompt.
"""

from typing import Any

from ostinato.core.errors import Invalid
from ostinato.statistics import exact

_MOST_PAIRS = 5_000
DISCORDANCE = 0.225


def power(n: int, gain: float, discordance: float = DISCORDANCE, alpha: float = 0.01) -> float:
    """Chance that ``n`` pairs prove a true ``gain`` at level ``alpha``: computed exactly, not simulated."""
    _check(n, alpha, discordance)
    if n == 0 or gain <= 0:
        return 0.0
    import numpy as np  # noqa: PLC0415
    from scipy import stats as scipy_stats  # noqa: PLC0415

    binom: Any = scipy_stats.binom
    share = max(discordance, min(1.0, gain))
    wins = exact.rejecting(n, alpha)
    counts = np.arange(n + 1)
    chances = binom.pmf(counts, n, share)
    return float(np.sum(chances * binom.sf(wins - 1, counts, min(1.0, (share + gain) / (2 * share)))))


def smallest_gain(n: int, alpha: float = 0.01, discordance: float = DISCORDANCE, power: float = 0.8) -> float | None:
    """The smallest true gain that ``n`` pairs prove with this power, to a tenth of a point; ``None``: not even 1."""
    _check(n, alpha, discordance)
    if n == 0 or _power(n, 1.0, discordance, alpha) < power:
        return None
    low, high = 0, 1000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(n, middle / 1000, discordance, alpha) >= power else (middle, high)
    return high / 1000


def pairs_needed(gain: float, alpha: float = 0.01, discordance: float = DISCORDANCE, power: float = 0.8) -> int | None:
    """How many pairs prove a true ``gain`` with this power; ``None``: more than 5,000."""
    _check(1, alpha, discordance)
    if gain <= 0:
        return None
    low, high = 1, 2
    while _power(high, gain, discordance, alpha) < power:
        if high == _MOST_PAIRS:
            return None
        low, high = high, min(_MOST_PAIRS, 2 * high)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(middle, gain, discordance, alpha) >= power else (middle, high)
    return high


_power = power
"""Under another name for those whose parameter ``power`` hides it."""


def _check(n: int, alpha: float, discordance: float) -> None:
    if not 0 <= n <= _MOST_PAIRS:
        raise Invalid(f"Power is computed for up to {_MOST_PAIRS:,} pairs.", code="invalid_counts")
    if not (0 < alpha < 0.5 and 0 < discordance <= 1):
        raise Invalid("A level lies between 0 and 0.5, a share of pairs above 0 and up to 1.", code="invalid_level")
