"""Kinds for what an answer took: length, latency, cost. 1 up to what is good, 0 from what is bad, a line between."""

import math
from collections.abc import Callable
from typing import Literal

import msgspec

from ostinato.core import money
from ostinato.scorers.kinds import Context, Kind, Pure, Said, wrong
from ostinato.scorers.model import Subject


def between(value: float, good: float, bad: float) -> float:
    """1 up to ``good``, 0 from ``bad``, in between a line; where both are one, it is the last that is good."""
    if value <= good:
        return 1.0
    return 0.0 if value >= bad else (bad - value) / (bad - good)


def _bounds(good: float, bad: float) -> None:
    if not (0 <= good <= bad and math.isfinite(bad)):
        raise wrong("good", "What is good is 0 or more, and not more than what is bad.")


class Length(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    good: int
    """Longest answer that is fully good."""
    bad: int | None = None
    """From this on it is fully bad; left out: from twice ``good``."""
    least: int = 0
    """A shorter answer is fully bad."""
    unit: Literal["characters", "words", "tokens"] = "words"


def _length(config: Length, _: Context) -> Pure:
    bad = 2 * config.good if config.bad is None else config.bad
    _bounds(config.good, bad)
    if not 0 <= config.least <= config.good:
        raise wrong("least", "The least length is from 0 to what is good.")

    def say(subject: Subject) -> Said:
        if config.unit == "tokens":
            if subject.usage is None:
                return Said(None, rationale="The provider told no usage.")
            size = subject.usage.output
        else:
            size = len(subject.output) if config.unit == "characters" else len(subject.output.split())
        value = 0.0 if size < config.least else between(size, config.good, bad)
        return Said(value, rationale=f"{size} {config.unit}.")

    return say


class Latency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    good: float
    """Seconds."""
    bad: float
    """Seconds."""


def _latency(config: Latency, _: Context) -> Pure:
    _bounds(config.good, config.bad)

    def say(subject: Subject) -> Said:
        if subject.latency_us is None:
            return Said(None, rationale="It was not measured.")
        seconds = subject.latency_us / 1e6
        return Said(between(seconds, config.good, config.bad), rationale=f"{seconds:.3f} s.")

    return say


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    good: float
    """Dollars for one answer."""
    bad: float
    """Dollars for one answer."""


def _cost(config: Cost, _: Context) -> Pure:
    _bounds(config.good, config.bad)

    def say(subject: Subject) -> Said:
        if subject.cost is None:
            return Said(None, rationale="The price is not known.")
        value = between(subject.cost / money.NANO, config.good, config.bad)
        return Said(value, rationale=f"${money.to_dollars(subject.cost)}.")

    return say


def _kind(name: str, title: str, config: type[msgspec.Struct], make: Callable[..., Pure], *needs: str) -> Kind:
    return Kind(name=name, title=title, config=config, make=make, needs=needs)


KINDS = (
    _kind("length", "The answer is neither too long nor too short.", Length, _length),
    _kind("latency", "The answer came soon enough.", Latency, _latency, "latency"),
    _kind("cost", "The answer was cheap enough.", Cost, _cost, "cost"),
)
