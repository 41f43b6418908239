"""Whether a canary may go on: a plug-in point, and the judge that knows minima only.

Evaluations that compare arms (harm and benefit with their error rates) plug in here as another ``Judge``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Protocol

import msgspec

from ostinato.releases.model import Release

_MINUTE = 60_000_000


class Outcome(StrEnum):
    """What a judge says of a canary's step."""

    WAIT = "wait"
    ADVANCE = "advance"
    HARM = "harm"


class Judgement(msgspec.Struct, frozen=True):
    """An outcome and why, in a sentence for people."""

    outcome: Outcome
    why: str


class Judge(Protocol):
    """Judges one step of a canary. Pure: called as often as anybody likes."""

    def judge(self, release: Release, samples: Mapping[str, int], now: int) -> Judgement:
        """``samples``: requests by arm (``canary``, ``stable``, ``control``) since the step began; ``now``: UTC
        microseconds."""
        ...


class Minima:
    """Goes on when a step has lasted long enough and has enough samples; goes back when no data come.

    Harm that is to be seen in the answers themselves it does not see. A step that must wait for nothing but time is not
    held back for want of samples, but even then no data at all is harm: something is broken on the way to the canary.
    """

    def judge(self, release: Release, samples: Mapping[str, int], now: int) -> Judgement:
        """See :class:`Judge`."""
        step = release.plan.steps[release.step]
        seen = samples.get("canary", 0)
        minutes = (now - (release.step_since or now)) / _MINUTE
        if seen == 0 and minutes >= release.plan.no_data_minutes:
            return Judgement(Outcome.HARM, f"the canary answered nothing in {minutes:.0f} minutes")
        lacking: list[str] = []
        if seen < step.min_samples:
            lacking.append(f"{seen} of {step.min_samples} samples")
        if minutes < step.min_minutes:
            lacking.append(f"{max(0.0, minutes):.1f} of {step.min_minutes:g} minutes")
        if lacking:
            return Judgement(Outcome.WAIT, f"this step has {' and '.join(lacking)}")
        return Judgement(Outcome.ADVANCE, f"{seen} samples in {minutes:.1f} minutes")
