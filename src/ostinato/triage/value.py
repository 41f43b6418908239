"""What each choice is worth, in dollars a month, with its uncertainty. The one place where money is weighed. Pure.

    cache     hits expected x cost avoided  -  (1 - stability) x hits x harm of a wrong answer
    optimize  headroom x what of it can be mended x value of a success x requests  -  cost of a run
    both      the sum of the two
    leave     nothing; review is worth what it lets one know, and is chosen by rule

Errors of what goes in are carried to what comes out to first order; the parts are taken to be independent.
"""

import math

import msgspec

from ostinato.families import Figures, Share
from ostinato.families.figures import share
from ostinato.families.sketch import EDGES
from ostinato.triage.model import Evidence, Money
from ostinato.triage.settings import Settings

_Z = 1.959963984540054
_NANO = 1e9
_PRIOR, _PRIOR_AGREES = 5.0, 0.9
"""What is held of answers that were never compared: as if five had been, and nine of ten agreed."""


class Caching(msgspec.Struct, frozen=True):
    """Answers kept for ``ttl`` seconds."""

    ttl: float
    hits: float
    """A month."""
    hits_error: float
    stability: float
    stability_error: float
    wrong: float
    """Wrong answers a month."""
    harm: float
    """Dollars that one of them costs."""
    worth: Money

    @property
    def stability_at_best(self) -> float:
        """The upper end of its interval (95 %)."""
        return min(1.0, self.stability + _Z * self.stability_error)

    @property
    def risk(self) -> float:
        return self.wrong * self.harm

    @property
    def wrong_error(self) -> float:
        return math.hypot((1 - self.stability) * self.hits_error, self.hits * self.stability_error)


def harm_of(evidence: Evidence, settings: Settings) -> float:
    """Dollars that a wrong answer costs."""
    if evidence.value is not None:
        return evidence.value * settings.harm_times[evidence.stakes]
    return settings.harm[evidence.stakes]


def value_of(evidence: Evidence, settings: Settings) -> float:
    """Dollars that a success is worth."""
    return settings.value[evidence.stakes] if evidence.value is None else evidence.value


def error_of(share: Share) -> float:
    """The standard error that the interval of a share stands for."""
    return (share.high - share.low) / (2 * _Z)


def caching(evidence: Evidence, ttl: float, settings: Settings) -> Caching:
    """What it is worth to keep answers for ``ttl`` seconds."""
    figures = evidence.figures
    again = within(figures, ttl)
    hits, hits_error = figures.per_month * again.value, figures.per_month * error_of(again)
    stability, stability_error = stable_until(evidence, ttl)
    cost, harm = (figures.cost or 0) / _NANO, harm_of(evidence, settings)
    each = cost - (1 - stability) * harm
    worth = Money(hits * each, math.hypot(each * hits_error, hits * harm * stability_error))
    return Caching(ttl, hits, hits_error, stability, stability_error, (1 - stability) * hits, harm, worth)


def best_caching(evidence: Evidence, settings: Settings) -> Caching:
    """The best of the lives that an answer may have: a minute, ten, an hour, six, a day, a week.

    Of those in which answers stay stable enough; of all, where there is none.
    """
    found = [caching(evidence, ttl, settings) for ttl in EDGES]
    stable = [one for one in found if one.stability_at_best >= settings.least_stability]
    return max(stable or found, key=lambda one: one.worth.expected)


def within(figures: Figures, ttl: float) -> Share:
    """Share of the requests that come while the answer to an equal one is kept, if it is kept so long."""
    again = sum(one for one, edge in zip(figures.gaps, (*EDGES, math.inf), strict=True) if edge <= ttl)
    return share(again * figures.requests, figures.requests)


def stable_until(evidence: Evidence, ttl: float) -> tuple[float, float]:
    """How often an answer that is given again within ``ttl`` is the one that would be given anew, and the error.

    What is asked for often is given at any age up to ``ttl``, what comes twice at the age at which it comes: the mean
    of both. An age at which nothing was compared is as the next younger one, with its doubt doubled.
    """
    figures = evidence.figures
    mean, variance = _posterior(None)
    total = agreed = doubt = before = 0.0
    among = sum(gap for gap, edge in zip(figures.gaps, EDGES, strict=False) if edge <= ttl)
    for number, edge in enumerate(EDGES):
        if edge > ttl:
            break
        seen = figures.stability_by_age[number] if figures.stability_by_age else None
        if seen is None:
            variance = min(variance * 4.0, 0.09)
        else:
            mean, variance = _posterior(seen)
        weight = (edge - before) / ttl + (figures.gaps[number] / among if among else 0.0)
        before = edge
        total += weight
        agreed += weight * mean
        doubt += weight * math.sqrt(variance)
    return (agreed / total, doubt / total) if total else (mean, math.sqrt(variance))


def _posterior(seen: Share | None) -> tuple[float, float]:
    """Mean and variance of a share, from what was seen and the prior."""
    n = seen.n if seen is not None else 0.0
    k = seen.value * n if seen is not None else 0.0
    a, b = k + _PRIOR * _PRIOR_AGREES, n - k + _PRIOR * (1 - _PRIOR_AGREES)
    return a / (a + b), a * b / ((a + b) ** 2 * (a + b + 1))


def headroom(evidence: Evidence, settings: Settings) -> tuple[float, float] | None:
    """What of the answers could be better, as a share, and its error; ``None``: nobody knows."""
    if evidence.gained is not None:
        return max(0.0, evidence.gained), 0.02
    quality = evidence.quality
    if quality is None or quality.n < settings.quality_samples:
        return None
    return 1 - quality.value, error_of(quality)


def optimizing(evidence: Evidence, settings: Settings) -> Money | None:
    """What an optimization run is worth, over the first month; ``None``: nobody knows how good the answers are."""
    known = headroom(evidence, settings)
    if known is None:
        return None
    room, error = known
    # A run has shown what it gains; else a share of what is wrong, give or take as much again by half.
    share, share_error = (1.0, 0.0) if evidence.gained is not None else (settings.achievable, settings.achievable / 2)
    volume = evidence.figures.per_month * value_of(evidence, settings)
    cost = settings.run_calls * (evidence.figures.cost or 0) / _NANO
    return Money(room * share * volume - cost, volume * math.hypot(share * error, room * share_error))


def plus(one: Money, other: Money) -> Money:
    return Money(one.expected + other.expected, math.hypot(one.error, other.error))
