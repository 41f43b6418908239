"""How sure a model is of its answer, from 0 to 1: by log probabilities where the provider gives them, else by asking
again; and how far such a figure can be believed.

With a closed list of labels the figure is the *posterior* of the label that was answered: how the model's probability
is shared among the labels, read along the answer's own tokens. Without labels it is the geometric mean of the answer's
token probabilities, which ranks answers, but is no probability of being right before it is calibrated.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import msgspec

from ostinato import statistics
from ostinato.calls.model import Called
from ostinato.core.errors import Invalid
from ostinato.scorers.texts import normalized
from ostinato.wire.model import Answer, Delta, Finish, Json

ASKING: Json = {"logprobs": True, "top_logprobs": 20}
"""Fields of an OpenAI chat request that ask for log probabilities, as many as OpenAI gives."""
_FORGOTTEN = 1e-4
"""Share of the others that a label has at least which is not among the tokens that the provider told."""


class Token(msgspec.Struct, frozen=True):
    """One token of an answer, and what could have stood there."""

    text: str
    probability: float
    others: tuple[tuple[str, float], ...] = ()
    """Text and probability of the likeliest, the chosen one often among them."""


class Sure(msgspec.Struct, frozen=True):
    """How sure a model is of an answer."""

    value: float
    """From 0 to 1."""
    shares: dict[str, float] = {}
    """How its probability is shared among the labels; empty: there are none, or that is not known."""


def tokens(answer: Answer) -> tuple[Token, ...]:
    """The answer's tokens, where its provider told their probabilities; empty otherwise.

    Reads OpenAI's ``logprobs`` and llama.cpp's ``post_sampling_probs``, of streamed and of whole answers.
    """
    found: list[Token] = []
    for event in answer.events:
        extra = event.extra if isinstance(event, Delta | Finish) else None
        if not extra:
            continue
        told: object = extra.get("logprobs")
        if told is None and isinstance(event, Finish):
            told = cast("Json", extra.get("choice") or {}).get("logprobs")
        content: object = cast("Json", told).get("content") if isinstance(told, dict) else None
        if isinstance(content, list):
            found.extend(token for one in cast("list[object]", content) if (token := _token(one)) is not None)
    return tuple(found)


def _token(told: object) -> Token | None:
    if not isinstance(told, dict):
        return None
    one = cast("Json", told)
    probability = _probability(one)
    if probability is None or not isinstance(one.get("token"), str):
        return None
    listed: object = one.get("top_logprobs") or one.get("top_probs") or []
    others: list[tuple[str, float]] = []
    for other in cast("list[object]", listed) if isinstance(listed, list) else ():
        fields = cast("Json", other) if isinstance(other, dict) else {}
        likely = _probability(fields)
        if likely is not None and isinstance(fields.get("token"), str):
            others.append((fields["token"], likely))
    return Token(one["token"], probability, tuple(others))


def _probability(fields: Json) -> float | None:
    plain: object = fields.get("prob")
    if isinstance(plain, int | float):
        return min(1.0, max(0.0, float(plain)))
    logarithm: object = fields.get("logprob")
    if isinstance(logarithm, int | float) and not math.isnan(logarithm):
        return math.exp(min(0.0, float(logarithm)))
    return None


def posterior(answer: Answer, labels: Sequence[str]) -> dict[str, float] | None:
    """How the model's probability is shared among ``labels``; adds up to 1. ``None`` where that is not known.

    Token by token along the answer: labels that an alternative leads to take its share and are settled; those that the
    chosen token leads to go on. What the provider did not tell of is given a little, never nothing.
    """
    told = tokens(answer)
    alive = {label: _plain(label) for label in labels}
    if len(alive) < 2 or not told or not all(alive.values()):
        return None
    shares = dict.fromkeys(alive, 0.0)
    left, said = 1.0, ""
    for token in told:
        if not said and not _plain(token.text):
            continue  # space or a quotation mark before the label
        here = {**dict(token.others), token.text: dict(token.others).get(token.text, token.probability)}
        bound = min((likely for _, likely in token.others), default=token.probability)
        weights = _weights(said, here, alive, bound)
        going = {label: text for label, text in alive.items() if _leads(said + token.text, text)}
        if not going:
            return None
        total = math.fsum(weights.values())
        if total <= 0:
            return None
        for label in alive:
            if label not in going:
                shares[label] += left * weights[label] / total
        left *= math.fsum(weights[label] for label in going) / total
        alive, said = going, said + token.text
        if len(alive) == 1 or _plain(said) in alive.values():
            break
    ended = [label for label, text in alive.items() if text == _plain(said)] or list(alive)
    for label in ended:
        shares[label] += left / len(ended)
    return shares


def _weights(said: str, here: dict[str, float], alive: dict[str, str], bound: float) -> dict[str, float]:
    """What each label has of the probability at one place: a token that leads to several is shared evenly.

    ``bound``: the least probability that the provider lists.
    """
    weights = dict.fromkeys(alive, 0.0)
    for text, probability in here.items():
        led = [label for label, whole in alive.items() if _leads(said + text, whole)]
        for label in led:
            weights[label] += probability / len(led)
    # A token that was not told of is no likelier than the least of those that were, nor than what they leave. To take
    # it for impossible would make a model look sure of a label that it was forced to.
    untold = [label for label, weight in weights.items() if not weight]
    left = max(0.0, 1.0 - math.fsum(here.values()))
    likely = min(bound / 2, left / max(1, len(untold)))
    least = max(likely, _FORGOTTEN * math.fsum(weights.values()))
    return {label: weight or least for label, weight in weights.items()}


def _plain(text: str) -> str:
    """As labels are compared: one case, without quotation marks and space around."""
    return text.strip().strip("\"'`*").strip().casefold()


def _leads(text: str, label: str) -> bool:
    """Whether an answer that begins with ``text`` may be, or be going to be, ``label``."""
    begun = text.lstrip().lstrip("\"'`*").lstrip().casefold()
    return bool(begun) and (label.startswith(begun) or (begun.startswith(label) and not begun[len(label)].isalnum()))


def leaning(posteriors: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """How a model shares its probability among labels on the whole: its leaning, as long as the questions are mixed.

    Needs no references; some dozens of posteriors are enough (batch calibration, Zhou et al. 2023). Raises ``Invalid``
    for none.
    """
    if not posteriors:
        raise Invalid("A leaning is learnt from at least one answer.", code="invalid_values")
    labels = posteriors[0].keys()
    return {label: math.fsum(one[label] for one in posteriors) / len(posteriors) for label in labels}


def balanced(posterior: Mapping[str, float], leaning: Mapping[str, float]) -> dict[str, float]:
    """A posterior with the model's leaning taken off; adds up to 1. Its greatest label may be another one."""
    weights = {label: share / max(leaning[label], 1e-9) for label, share in posterior.items()}
    total = math.fsum(weights.values())
    return {label: weight / total for label, weight in weights.items()}


def from_logprobs(answer: Answer, labels: Sequence[str] = ()) -> float | None:
    """How sure the model is of its answer; ``None`` where its provider told no probabilities.

    With ``labels``: the posterior of the one that was answered. Without, or where the answer is none of them: the
    geometric mean of the tokens' probabilities.
    """
    told = tokens(answer)
    if not told:
        return None
    shares = posterior(answer, labels) if labels else None
    if shares is not None:
        said = "".join(token.text for token in told)
        answered = [label for label in shares if _plain(said) == _plain(label)]
        answered = answered or [label for label in shares if _leads(said, _plain(label))]
        if answered:
            return min(1.0, max(shares[label] for label in answered))
    return math.exp(math.fsum(math.log(max(token.probability, 1e-12)) for token in told) / len(told))


def of(called: Called, labels: Sequence[str] = ()) -> Sure | None:
    """:func:`from_logprobs` of a call of our own, with the posterior: what ``evals.Runner`` is given."""
    value = from_logprobs(called.answer, labels)
    if value is None:
        return None
    return Sure(value, posterior(called.answer, labels) or {} if labels else {})


def answered(output: str, labels: Iterable[str]) -> str:
    """The label that an answer is, or begins with (the longest such); empty: it is none of them."""
    said = _plain(output)
    if not said:
        return ""
    known = sorted(labels, key=len, reverse=True)
    exact = [label for label in known if _plain(label) == said]
    begun = [label for label in known if (text := _plain(label)) and len(said) > len(text) and _leads(said, text)]
    return next(iter((*exact, *begun)), "")


def of_outputs(outputs: Sequence[str], labels: Sequence[str] = ()) -> Sure:
    """How sure a model is of the first of several answers to the same question, by how many say the same.

    With labels: as they share the answers, half an answer given to all of them together, so that what was never said
    in a few tries is not taken for impossible. Raises ``Invalid`` for no outputs.
    """
    if not outputs:
        raise Invalid("Self-consistency needs answers.", code="invalid_values")
    first = answered(outputs[0], labels) if len(labels) > 1 else ""
    if first:
        counts = Counter(answered(output, labels) for output in outputs)
        said = sum(counts[label] for label in labels)
        shares = {label: (counts[label] + 0.5 / len(labels)) / (said + 0.5) for label in labels}
        # What was no label at all speaks against this one as much as another label does.
        return Sure(shares[first] * said / len(outputs), shares)
    plain = [normalized(output) for output in outputs]
    return Sure(plain.count(plain[0]) / len(plain))


MIXED = 20
"""Answers from which a leaning can be told."""


def evened(
    outputs: Sequence[str],
    posteriors: Sequence[Mapping[str, float]],
    taught: Sequence[Mapping[str, float]] | None = None,
) -> list[float] | None:
    """How sure a model is of each of many answers once its leaning to some labels is taken off.

    The leaning is learnt from the ``taught`` posteriors, or from these themselves. ``None`` where it cannot be: fewer
    than ``MIXED``, answers without a posterior or of other labels, an answer that is no label.
    """
    learnt = posteriors if taught is None else taught
    if len(learnt) < MIXED or not posteriors or not all((*learnt, *posteriors)):
        return None
    labels = learnt[0].keys()
    if any(one.keys() != labels for one in (*learnt, *posteriors)):
        return None
    said = [answered(output, labels) for output in outputs]
    if not all(said):
        return None
    usual = leaning(learnt)
    return [balanced(one, usual)[label] for one, label in zip(posteriors, said, strict=True)]


class Agreed(msgspec.Struct, frozen=True):
    """What several answers to the same question come to."""

    answer: str
    """The most frequent one, as it was first said."""
    share: float
    """How many of them said it, from 0 to 1: the confidence."""
    n: int


def self_consistency(outputs: Sequence[str]) -> Agreed:
    """The answer that a model gives most often, and how often: for providers that tell no probabilities.

    Answers are the same when they are but for case, width, spaces and punctuation. Of equally frequent ones the first
    counts. Raises ``Invalid`` for no outputs.
    """
    if not outputs:
        raise Invalid("Self-consistency needs answers.", code="invalid_values")
    said = [normalized(output) for output in outputs]
    counts = Counter(said)
    best = max(counts, key=lambda text: (counts[text], -said.index(text)))
    return Agreed(outputs[said.index(best)], counts[best] / len(said), len(said))


class Report(msgspec.Struct, frozen=True):
    """How far confidences can be believed, before and after they were put right."""

    isotonic: statistics.Isotonic
    raw: statistics.Calibration
    calibrated: statistics.Calibration


def report(learnt: tuple[Sequence[float], Sequence[float]], shown: tuple[Sequence[float], Sequence[float]]) -> Report:
    """Learn the calibration from one part (confidences, and how right the answers were), show it on another.

    Both from 0 to 1. To show it on what it was learnt from would flatter it.
    """
    isotonic = statistics.fit_isotonic(*learnt)
    confidences, right = shown
    return Report(
        isotonic=isotonic,
        raw=statistics.calibration_of(confidences, right),
        calibrated=statistics.calibration_of([isotonic.apply(one) for one in confidences], right),
    )
