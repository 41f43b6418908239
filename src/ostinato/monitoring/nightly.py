"""Detectors that ask once a night: do questions mean what they meant, does a model answer as it did, does a judge judge
as people do. Here is what they are told and how their figures are judged; who asks is ``night``.
"""

import msgspec

from ostinato.monitoring import means, silences
from ostinato.monitoring.model import Batch, Found, Observation, State, refuse

KAPPA = 0.6
"""Below it a judge may not promote: see ``scorers.calibration.ENOUGH``."""


class Vectors(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The meaning of questions, as vectors of a sample."""

    size: int = 200
    """Questions of a day, and of the past, that are compared."""
    least: int = 50
    """Fewer are not compared."""


class Probes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Questions that are asked every night at temperature 0."""

    model: str = ""
    """Alias that is asked."""
    questions: tuple[str, ...] = ()
    """Left out: eight of ours."""
    warm_up: int = 3
    """Nights that the usual answers are learnt from."""
    max_tokens: int = 128
    most_calls: int = 50
    """A night."""


class Gold(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A frozen gold set, and the judge that is held against it."""

    scorer: str = ""
    """Name of the declared judge."""
    dataset: str = ""
    """Its examples have the judged answer as ``metadata.answer`` and people's word as reference."""
    number: int = 1
    """Of its version: versions never change."""
    items: int = 50
    """Judged anew every night, at most."""
    cut: float = 0.5
    """From this value on an answer is good."""
    bound: float = KAPPA
    """Kappa below it is an alarm, and no release is promoted by this project's judges meanwhile."""


class ProbeState(means.MeanState, kw_only=True):
    """Of a model's answers."""

    answers: dict[str, list[str]] = {}
    """Digests of the answers that are usual, by question's digest."""
    nights: dict[str, int] = {}
    """How often each question was asked while its usual answers were learnt."""


QUESTIONS = (
    "Name the capital of Australia in one word.",
    "What is 17 times 24? Answer with the number only.",
    "Translate into French: The library opens at nine.",
    "List the first five prime numbers, with commas.",
    "Write the word 'ostinato' backwards.",
    "Is the statement true or false: every square is a rectangle? One word.",
    "Give the chemical formula of table salt.",
    "Summarize in six words: The meeting was moved from Monday to Thursday because the hall was taken.",
)
_MOST = 50


def check_vectors(config: Vectors) -> None:
    """Raise ``Invalid`` for what cannot work."""
    if not 20 <= config.least <= config.size <= 1_000:
        raise refuse("size", "From 20 to 1,000 questions are compared.")


def check_probes(config: Probes) -> None:
    """Raise ``Invalid`` for what cannot work."""
    if not config.model:
        raise refuse("model", "Probes need a model.", "Name an alias.")
    if len(config.questions) > _MOST or any(not one.strip() or len(one) > 4_000 for one in config.questions):
        raise refuse("questions", f"Up to {_MOST} questions, each of 1 to 4,000 characters.")
    if not 1 <= config.warm_up <= 30 or not 1 <= config.max_tokens <= 4_096 or not 1 <= config.most_calls <= 500:
        raise refuse("warm_up", "1 to 30 nights are learnt from; 1 to 4,096 tokens; 1 to 500 calls a night.")


def check_gold(config: Gold) -> None:
    """Raise ``Invalid`` for what cannot work."""
    if not config.scorer or not config.dataset:
        raise refuse("scorer", "A gold set needs a judge (`scorer`) and a dataset.")
    if config.number < 1 or not 10 <= config.items <= 500 or not 0 < config.cut <= 1 or not 0 <= config.bound < 1:
        raise refuse("items", "10 to 500 items of a version are judged; cut and bound are from 0 to 1.")


def differing(config: Probes, state: ProbeState, batch: Batch, arl: float) -> Found | None:
    """Whether more answers differ than while they were learnt. ``label``: QUESTION:ANSWER, digests of both.

    For so many nights every answer to a question is usual; then one that is not is a 0 of a mean that was near 1.
    """
    observations: list[Observation] = []
    for one in batch.observations:
        question, _, answer = one.label.partition(":")
        if not answer or (question not in state.nights and len(state.nights) >= _MOST):
            state.ignored += 1
            continue
        times = state.nights.get(question, 0)
        usual = state.answers.setdefault(question, [])
        if times < config.warm_up:
            state.nights[question] = times + 1
            if answer not in usual:
                usual.append(answer)
            continue
        observations.append(msgspec.structs.replace(one, value=float(answer in usual)))
    # How far a model repeats itself at temperature 0 is not known from a few nights: nine of ten are enough.
    mean = means.Mean(baseline=0.9, changes=(0.2, 0.5, 0.8))
    found = means.falling(mean, state, msgspec.structs.replace(batch, observations=tuple(observations)), arl)
    if found is not None:
        # The new answers become usual.
        state.answers, state.nights = {}, {}
    return found


def disagreeing(config: Gold, state: State, batch: Batch, arl: float) -> Found | None:
    """Whether kappa is below the bound."""
    return silences.below(silences.Limit(bound=config.bound, least=10), state, batch, arl)
