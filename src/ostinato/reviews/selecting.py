"""Which of many answers people look at, and with what probability each was drawn.

Every rule of :class:`Sampling` draws by itself, from a hash of seed, rule and id: the same answers are drawn again
however often it is asked, and the probability of each, ``1 - (1 - share) * (1 - share) * ...`` over the rules that it
falls under, is exact. Means over what was drawn, weighted by its inverse (Hajek), estimate those over all.
"""

import math
from collections.abc import Iterable, Sequence

import msgspec

from ostinato.core import hashing
from ostinato.reviews.model import Sampling


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that could be looked at."""

    id: str
    confidence: float | None = None
    """From 0 to 1; ``None``: not known, and never among the least confident."""
    disagrees: bool = False
    """Base and candidate say different things."""
    judges_disagree: bool = False
    stakes: str = ""
    """Of its intent."""


class Drawn(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that is to be looked at."""

    id: str
    weight: float
    """Probability with which it was drawn, above 0."""
    why: tuple[str, ...]
    """The rules that drew it."""


def select(observed: Sequence[Observed], rule: Sampling, seed: int | str) -> tuple[Drawn, ...]:
    """Those that are drawn, in the order given. Nothing but ``seed``, ids and figures decides."""
    least = least_confident(observed, rule.least_confident)
    shares = [_shares(one, rule, one.id in least) for one in observed]
    expected = math.fsum(_joint(found.values()) for found in shares)  # exact: the order of answers decides nothing
    # Thinned by one factor for all, known beforehand: probabilities stay exact, and zero for nobody.
    thin = min(1.0, rule.most / expected) if expected else 1.0
    drawn: list[Drawn] = []
    for one, found in zip(observed, shares, strict=True):
        why = tuple(name for name, share in found.items() if _draw(seed, name, one.id) < share)
        if why and _draw(seed, "thin", one.id) < thin:
            drawn.append(Drawn(id=one.id, weight=_joint(found.values()) * thin, why=why))
    return tuple(drawn)


def draw(one: Observed, rule: Sampling, seed: int | str, *, least: bool) -> Drawn | None:
    """One answer of many that come one by one, as :func:`select` would draw it; ``None``: it is not drawn.

    ``least``: whether it is among the least confident, which only the caller can know. ``most`` plays no part.
    """
    found = _shares(one, rule, least)
    why = tuple(name for name, share in found.items() if _draw(seed, name, one.id) < share)
    return Drawn(id=one.id, weight=_joint(found.values()), why=why) if why else None


def least_confident(observed: Sequence[Observed], share: float) -> frozenset[str]:
    """Ids of the ``share`` of answers with the lowest confidence, among those whose confidence is known."""
    known = sorted((one.confidence, one.id) for one in observed if one.confidence is not None)
    return frozenset(name for _, name in known[: round(share * len(known))])


def _shares(one: Observed, rule: Sampling, least: bool) -> dict[str, float]:
    """The rules that an answer falls under, and their shares."""
    found = {"random": rule.random}
    if least:
        found["least-confident"] = 1.0
    if one.disagrees:
        found["disagreement"] = rule.disagreement
    if one.judges_disagree:
        found["judge-disagreement"] = rule.judge_disagreement
    if one.stakes in ("high", "critical"):
        found["stakes"] = rule.stakes
    return found


def _joint(shares: Iterable[float]) -> float:
    missed = 1.0
    for share in shares:
        missed *= 1.0 - share
    return 1.0 - missed


def _draw(seed: int | str, rule: str, name: str) -> float:
    """A number from 0 to 1, below 1, that is the same every time."""
    digest = hashing.digest(str(seed).encode(), rule.encode(), name.encode())
    return int.from_bytes(digest[:7], "little") / 2**56
