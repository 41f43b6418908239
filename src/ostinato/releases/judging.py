"""Whether a canary may go on: a plug-in point, a judge that knows minima only, and one that heeds guardrails."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import msgspec

from ostinato.releases.model import Reading, Release

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

    def judge(
        self, release: Release, samples: Mapping[str, int], now: int, readings: Sequence[Reading] = ()
    ) -> Judgement:
        """``samples``: requests by arm (``canary``, ``stable``, ``control``) since the step began; ``now``: UTC
        microseconds; ``readings``: of its guardrails since the canary began, where its plan has any."""
        ...


class Minima:
    """Goes on when a step has lasted long enough and has enough samples; goes back when no data come.

    Harm that is to be seen in the answers themselves it does not see. A step that must wait for nothing but time is not
    held back for want of samples, but even then no data at all is harm: something is broken on the way to the canary.
    """

    def judge(
        self, release: Release, samples: Mapping[str, int], now: int, readings: Sequence[Reading] = ()
    ) -> Judgement:
        """See :class:`Judge`."""
        better = next(
            (one for one in readings if one.guardrail == "quality" and not one.slice and one.beneficial), None
        )
        step = release.plan.steps[release.step]
        seen = samples.get("canary", 0)
        minutes = (now - (release.step_since or now)) / _MINUTE
        if seen == 0 and minutes >= release.plan.no_data_minutes:
            return Judgement(Outcome.HARM, f"the canary answered nothing in {minutes:.0f} minutes")
        lacking: list[str] = []
        if seen < step.min_samples:
            lacking.append(f"{seen} of {step.min_samples} samples")
        if minutes < step.min_minutes and not better:
            lacking.append(f"{max(0.0, minutes):.1f} of {step.min_minutes:g} minutes")
        if lacking:
            return Judgement(Outcome.WAIT, f"this step has {' and '.join(lacking)}")
        # The readings are told only while it runs: what it was promoted for stays in its history and the audit log.
        proven = f", and better quality is proven: {compared(better, better.p_benefit)}" if better else ""
        return Judgement(Outcome.ADVANCE, f"{seen} samples in {minutes:.1f} minutes{proven}")


class Guarded:
    """Goes back on proven harm of any guardrail or slice; else as the minima say.

    A proven benefit shortens the time of a step, never its samples. A guardrail that has seen no pair since the step
    began does not let the canary go on; where that lasts as long as a canary may be without data it is harm: nobody can
    see what it does. Two are let off: all of them at a step that leaves nothing for a control, and cost where neither
    arm has a price.
    """

    def __init__(self, minima: Judge | None = None) -> None:
        self._minima = minima or Minima()

    def judge(
        self, release: Release, samples: Mapping[str, int], now: int, readings: Sequence[Reading] = ()
    ) -> Judgement:
        """See :class:`Judge`."""
        guardrails = release.plan.guardrails
        if guardrails is None:
            return self._minima.judge(release, samples, now)
        harms = [one for one in readings if one.harmful]
        if harms:
            return Judgement(Outcome.HARM, "; ".join(map(told, harms)))
        judged = self._minima.judge(release, samples, now, readings)
        if judged.outcome is Outcome.HARM:
            return judged
        blind = _blind(release, readings)
        minutes = (now - (release.step_since or now)) / _MINUTE
        if blind and minutes >= release.plan.no_data_minutes:
            return Judgement(Outcome.HARM, f"nothing was seen of its {_and(blind)} in {minutes:.0f} minutes")
        if judged.outcome is not Outcome.ADVANCE:
            return judged
        if blind:
            return Judgement(Outcome.WAIT, f"nothing has been seen of its {_and(blind)} in this step{_way_out(blind)}")
        few = [one for one in readings if not one.slice and one.pairs < guardrails.min_pairs and not _unpriced(one)]
        if few:
            lacking = ", ".join(f"{one.name} {one.pairs}" for one in few)
            return Judgement(Outcome.WAIT, f"each guardrail needs {guardrails.min_pairs} pairs ({lacking})")
        return judged


def _blind(release: Release, readings: Sequence[Reading]) -> list[str]:
    """The guardrails that had nothing to compare since the step began."""
    guardrails = release.plan.guardrails
    if guardrails is None or not release.plan.control_at(release.step):
        return []
    known = {one.guardrail: one for one in readings if not one.slice}
    since = release.step_since or 0
    found: list[str] = []
    for name in guardrails.watch:
        one = known.get(name)
        if one is None or ((not one.pairs or one.last < since) and not _unpriced(one)):
            found.append(name)
    return found


def _unpriced(reading: Reading) -> bool:
    """Whether no answer of either arm has a price: then there is no cost to compare."""
    return reading.guardrail == "cost" and reading.seen == 0


def _way_out(blind: Sequence[str]) -> str:
    if "quality" not in blind:
        return ""
    return ": let answers be scored or rated, or propose it again without quality among what is watched"


def _and(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


class Informed:
    """A judge with the readings of one release at hand. Plans without guardrails are put to it as they always were."""

    def __init__(self, judge: Judge, readings: Sequence[Reading]) -> None:
        self._judge = judge
        self._readings = readings

    def judge(
        self, release: Release, samples: Mapping[str, int], now: int, readings: Sequence[Reading] = ()
    ) -> Judgement:
        """See :class:`Judge`."""
        known = self._readings or readings
        if not known:
            return self._judge.judge(release, samples, now)
        return self._judge.judge(release, samples, now, known)


def told(reading: Reading) -> str:
    """A harm in a sentence's part."""
    return f"{reading.name} is worse than the control's: {compared(reading, reading.p_harm)}"


def compared(reading: Reading, p: float) -> str:
    """The figures of a guardrail that has something to say."""
    return (
        f"{_mean(reading, reading.canary)} against {_mean(reading, reading.control)} over {reading.pairs} pairs "
        f"(p = {p:.2g}, level {reading.level:.2g})"
    )


def _mean(reading: Reading, value: float | None) -> str:
    if value is None:
        return "-"
    if reading.guardrail == "cost":
        return f"${value / 1e9:.6f}"
    if reading.guardrail == "latency":
        return f"{value / 1000:.0f} ms"
    return f"{value:.3f}"
