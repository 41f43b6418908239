"""What the statistics give back: frozen, and small enough to be kept in a report."""

import msgspec


class Interval(msgspec.Struct, frozen=True):
    """An estimate between its confidence limits; unit: that of what went in."""

    low: float
    high: float
    mean: float
    confidence: float = 0.95

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high


class Agreement(msgspec.Struct, frozen=True):
    """How well raters agree beyond chance: 1 perfectly, 0 as by chance, below 0 less than by chance."""

    value: float
    low: float
    high: float
    n: int
    """Items that at least two raters judged."""
    observed: float
    """Share of agreement that was seen, before chance is taken off: of pairs of judgements of one item."""


class Curve(msgspec.Struct, frozen=True):
    """A step of a reliability diagram: what was said, what came, how often."""

    confidence: float
    accuracy: float
    n: int


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """How far stated confidences can be believed."""

    n: int
    accuracy: float
    ece: float
    """Expected calibration error, 0 to 1: mean distance of what was said from what came. Smaller is better."""
    brier: float
    auroc: float | None
    """Chance that a right answer is given more confidence than a wrong one; ``None``: all right, or all wrong."""
    caught: float | None
    """Share of all errors among the least confident fifth; ``None``: no errors."""
    curve: tuple[Curve, ...] = ()
