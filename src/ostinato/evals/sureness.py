"""How sure a model is of an answer that tells no probabilities by itself: ask again, for them or for more answers.

What is asked again is paid for, written down and counted like the answer. First the same question with log
probabilities; where the provider has none, the answers of some more tries are counted (self-consistency).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ostinato.calls import Called
from ostinato.core.errors import Invalid, OstinatoError, UpstreamFailed
from ostinato.datasets.model import Example
from ostinato.evals.model import Cell
from ostinato.providers.model import ProviderFailure
from ostinato.scorers import confidence
from ostinato.scorers.confidence import Sure
from ostinato.wire.model import Json

MOST_SAMPLES = 20
"""Answers to one question, the first included."""
_MOST_LABELS = 50
"""Different references above which they are no list of labels."""
_LONGEST = 200
_WARM = 0.7
"""Temperature of further answers where the prompt asks for none: at 0 all would say the same (Wang et al. 2022)."""
_APART = 1_000
"""Replicates of one series of answers: further answers of replicate 1 are no answers of replicate 2."""

Again = Callable[[Json, int], Awaitable[Called]]
"""``again(params, replicate)``: the same question with other parameters over the prompt's own."""


def check(samples: int) -> None:
    """Raise ``Invalid`` for a number of answers that cannot be."""
    if not 1 <= samples <= MOST_SAMPLES:
        raise Invalid(
            f"Confidence takes 1 to {MOST_SAMPLES} answers to a question.", code="invalid_samples", param="samples"
        )


def labels_of(examples: Sequence[Example]) -> tuple[str, ...]:
    """The answers that there can be, where they are few and short texts; empty: they are not."""
    found = {one.reference for one in examples if isinstance(one.reference, str) and _names_a_part(one)}
    return tuple(sorted(found)) if 2 <= len(found) <= _MOST_LABELS else ()


def _names_a_part(one: Example) -> bool:
    reference = one.reference
    return isinstance(reference, str) and len(reference) <= _LONGEST and one.stratum in ("", reference)


async def by_probabilities(answer: Called, again: Again, replicate: int, labels: Sequence[str]) -> tuple[Called, Sure]:
    """The same question with log probabilities: what was told of the answer that was given before.

    Raises ``LookupError`` where there are none.
    """
    try:
        called = await again(confidence.ASKING, replicate)
    except (Invalid, UpstreamFailed) as error:
        _only_refused(error)
        raise LookupError(error.message) from None
    sure = confidence.of(called, labels)
    if sure is None:
        raise LookupError("The provider tells no probabilities.")
    said = confidence.answered(answer.text, labels)
    if sure.shares and said:
        sure = Sure(sure.shares[said], sure.shares)
    return called, sure


async def by_asking_again(
    answer: Called, again: Again, params: Json, samples: int, replicate: int, labels: Sequence[str]
) -> tuple[list[Called], Sure | None]:
    """``samples`` answers in all, and how many say what the first one says; ``None`` where no other could be had."""
    more: list[Called] = []
    for place in range(1, samples):
        try:
            more.append(await again(_warmed(params, place), _APART * (replicate + 1) + place))
        except (Invalid, UpstreamFailed) as error:
            _only_refused(error)
            break  # A model that takes no temperature refuses every further one, too.
    if not more:
        return more, None
    return more, confidence.of_outputs([answer.text, *(one.text for one in more)], labels)


def _only_refused(error: OstinatoError) -> None:
    """Raise what is no answer to this question: a provider that refuses whoever asks, or is away."""
    if isinstance(error, ProviderFailure) and error.failure != "request":
        raise error


def _warmed(params: Json, place: int) -> Json:
    """What a further answer is asked with: warm, and by another seed."""
    over: dict[str, Any] = {}
    if params.get("temperature") == 0:
        over["temperature"] = _WARM
    seed: object = params.get("seed")
    if isinstance(seed, int):
        over["seed"] = seed + place
    return over


def confidences(cells: Sequence[Cell]) -> list[float | None]:
    """Confidences of one variant's cells: with the model's leaning to some labels taken off, where every cell that was
    answered tells how labels share the probability; else as the cells tell them.
    """
    answers = [cell for cell in cells if not cell.error]
    evened = confidence.evened([cell.output for cell in answers], [cell.posterior for cell in answers])
    found = iter(evened if evened is not None else [cell.confidence for cell in answers])
    return [None if cell.error else next(found) for cell in cells]


__all__ = ["MOST_SAMPLES", "Again", "by_asking_again", "by_probabilities", "check", "confidences", "labels_of"]
