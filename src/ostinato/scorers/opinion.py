"""A second opinion on answers that are labels: what the labelled examples nearest to a question say.

A model's probabilities know nothing of the model's own blind spots: an error that it is sure of looks like any right
answer. Examples that people labelled err elsewhere: where near questions have equal labels, an answer that differs is
suspect. How sharply nearness counts is learnt by leaving out one example at a time; how much such an opinion weighs
beside the model's own, from answers of which it is known whether they were right. It costs no call of a model.

Blocking, with NumPy: call from a thread.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ostinato.core.errors import Invalid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ostinato.embeddings.model import Vectors

    Numbers = NDArray[np.float64]

LEAST: Final = 40
"""Labelled examples below which there is no opinion."""
MOST: Final = 2_000
"""Labelled examples that are asked, the first ones."""
_SHARPNESS: Final = (0.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0)
"""Of the kernel ``exp(sharpness * cosine)``; at 0 every example counts the same."""
_DOUBT: Final = 0.02
"""Share of an opinion that stays with all labels alike: near neighbours may all be labelled wrongly."""

_RIDGE: Final = 3.0
"""Wrong answers, roughly, that it takes to move a weight."""
_LIGHT: Final = 1e-3
"""The bias is hardly held; only so that it stays finite where every answer was right."""


class Opinions(msgspec.Struct, frozen=True):
    """What labelled examples say of some questions."""

    shares: list[dict[str, float]]
    """For each question how probable each label is; adds up to 1."""
    right: float
    """Share of the labelled examples of which the others tell the label, 0 to 1."""


def opinions(taught: "Vectors", labels: Sequence[str], asked: "Vectors") -> Opinions | None:
    """For each of ``asked`` how probable each label is, by the ``taught`` vectors and their labels; adds up to 1.

    Rows are of length 1. A label's share is relative to how often it is among the examples, so that a frequent label is
    not favoured. ``None``: too few examples, or all of one label.
    """
    import numpy as np  # noqa: PLC0415 - within jobs only

    labels = labels[:MOST]
    names = sorted(set(labels))
    if len(labels) < LEAST or len(names) < 2:
        return None
    member = np.asarray([[label == name for name in names] for label in labels], dtype=np.float64)
    taught = taught[: len(labels)]
    known = (taught @ taught.T).astype(np.float64)
    np.fill_diagonal(known, -np.inf)

    def shares(cosines: "Numbers", sharpness: float, members: "Numbers") -> "Numbers":
        top = cosines.max(axis=1, keepdims=True)
        weights = np.exp(sharpness * (cosines - top)) if sharpness else np.isfinite(cosines).astype(np.float64)
        found = (weights @ members) / members.sum(axis=0)
        return (1 - _DOUBT) * found / found.sum(axis=1, keepdims=True) + _DOUBT / len(names)

    places = member.argmax(axis=1)
    rows = np.arange(len(places))

    def likelihood(sharpness: float) -> float:
        return float(np.log(shares(known, sharpness, member)[rows, places]).sum())

    best = max(_SHARPNESS, key=likelihood)
    told = shares((asked @ taught.T).astype(np.float64), best, member)
    right = float((shares(known, best, member).argmax(axis=1) == places).mean())
    return Opinions([dict(zip(names, map(float, row), strict=True)) for row in told], right)


class Witnessed(msgspec.Struct, frozen=True):
    """An answer of which everything is known."""

    sure: float
    """How sure the model was, from 0 to 1."""
    seconded: float
    """How probable the second opinion finds the same label."""
    right: bool


class Stacked(msgspec.Struct, frozen=True):
    """How the two are put together: a logistic curve of both log-odds."""

    middle: tuple[float, float]
    spread: tuple[float, float]
    weights: tuple[float, float]
    bias: float

    def of(self, sure: float, seconded: float) -> float:
        """How probable it is that the answer is right."""
        odds = self.bias
        for place, one in enumerate((_odds(sure), _odds(seconded))):
            odds += self.weights[place] * (one - self.middle[place]) / self.spread[place]
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, odds))))


def stack(known: Sequence[Witnessed]) -> Stacked:
    """Learn it from answers of which it is known whether they were right.

    Ridge towards believing the model alone: an opinion has to earn its weight. Raises ``Invalid`` for none.
    """
    import numpy as np  # noqa: PLC0415 - within jobs only
    from scipy import optimize  # noqa: PLC0415

    if not known:
        raise Invalid("Weights are learnt from at least one answer.", code="invalid_values")
    odds = np.asarray([(_odds(one.sure), _odds(one.seconded)) for one in known])
    signs = np.asarray([1.0 if one.right else -1.0 for one in known])
    middle, spread = odds.mean(axis=0), odds.std(axis=0) + 1e-9
    plain = (odds - middle) / spread
    alone = np.asarray([1.0, 0.0])

    def loss(at: "Numbers") -> float:
        unlikely = np.logaddexp(0.0, -signs * (plain @ at[:2] + at[2])).sum()
        return float(unlikely + _RIDGE * ((at[:2] - alone) ** 2).sum() + _RIDGE * _LIGHT * at[2] ** 2)

    untyped: Any = optimize
    found: list[float] = untyped.minimize(loss, np.asarray([1.0, 0.0, 0.0])).x.tolist()
    return Stacked(
        (float(middle[0]), float(middle[1])),
        (float(spread[0]), float(spread[1])),
        (found[0], found[1]),
        found[2],
    )


def _odds(share: float) -> float:
    inside = min(max(share, 1e-6), 1 - 1e-6)
    return math.log(inside / (1 - inside))
