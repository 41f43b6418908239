"""What the trials of a half-open breaker prove, by betting: looked at after each of them, for as long as it takes.

Two bets at fair odds, on *the share of good ones is at most p* and on *it is at least p*. Whoever bets against what is
true multiplies the stake by ``1 / alpha`` with a chance of ``alpha`` at most, ever (Ville 1939). With fixed stakes the
capital depends on the counts alone, so processes simply add theirs. A score between 0 and 1 counts as that much good
and the rest bad, which by the concavity of the logarithm wins no more than the bet on the score itself.
"""

import math
from typing import Literal, TypeAlias

Ruling: TypeAlias = Literal["well", "ill", ""]

_STAKES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Shares of the largest stake that cannot lose all; the capital is spread over them evenly."""


def ruling(good: float, bad: float, share: float, alpha: float) -> Ruling:
    """Whether the share of good ones is proven to be above ``share`` (``well``), below it (``ill``), or neither."""
    if not math.isfinite(good + bad) or good < 0 or bad < 0 or good + bad <= 0:
        return ""
    p = min(max(share, 0.01), 0.99)
    bar = math.log(1 / alpha)
    if _capital(good, bad, p) >= bar:
        return "well"
    if _capital(bad, good, 1 - p) >= bar:
        return "ill"
    return ""


def needed(share: float, alpha: float) -> int:
    """How many good ones in a row prove it."""
    count = 1
    while ruling(count, 0, share, alpha) != "well":
        count += 1
    return count


def _capital(wins: float, losses: float, p: float) -> float:
    """Logarithm of what bets against *the share of wins is at most p* have made of one unit."""
    logs = [wins * math.log1p(stake / p * (1 - p)) + losses * math.log1p(-stake) for stake in _STAKES]
    top = max(logs)
    return top + math.log(math.fsum(math.exp(one - top) for one in logs) / len(_STAKES))
