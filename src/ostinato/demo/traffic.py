"""Traffic: who asks what, in which order. Seeded, so that everybody's run asks the same.

The public set repeats almost nothing, so repetition is ours to choose: questions are drawn by Zipf's law, the question
of rank *r* with weight ``1 / r ** exponent``, ranks dealt at random. The larger the exponent, the more of the traffic
is repetition. One request in three streams.
"""

import random
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

import msgspec

from ostinato.demo.task import Question

SEED: Final = 2026

_STREAM_SHARE: Final = 1 / 3


class Level(msgspec.Struct, frozen=True):
    """One level of repetition."""

    name: str
    exponent: float


LEVELS: Final = (Level("little", 0.5), Level("some", 0.9), Level("much", 1.3))
"""Chosen before the first run and never tuned: evenly spaced around 0.9, near what query logs show."""


class Ask(msgspec.Struct, frozen=True):
    """One request to be made."""

    question: Question
    stream: bool


def draw(questions: Sequence[Question], level: Level, count: int, seed: int = SEED) -> list[Ask]:
    """``count`` requests at a level of repetition. Equal arguments give equal traffic."""
    rng = random.Random(f"{seed} {level.name}")  # noqa: S311 - a simulation, not a secret
    ranked = list(questions)
    rng.shuffle(ranked)
    weights = list(accumulate(1 / rank**level.exponent for rank in range(1, len(ranked) + 1)))
    drawn = rng.choices(ranked, cum_weights=weights, k=count)
    return [Ask(question, rng.random() < _STREAM_SHARE) for question in drawn]


def repeats(asks: Sequence[Ask]) -> int:
    """How many of the requests ask what was asked before: the most that an exact cache can answer."""
    return len(asks) - len({ask.question.text for ask in asks})
