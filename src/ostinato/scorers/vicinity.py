"""Kinds for closeness in meaning: similarity of two texts, and whether an answer rests on the passages it was given."""

import re

import msgspec

from ostinato.scorers import judging
from ostinato.scorers.kinds import UNREFERENCED, Asking, Context, Kind, Pure, Said, missing, references, wrong
from ostinato.scorers.model import Subject
from ostinato.scorers.texts import normalized, numbers

# --- similarity -----------------------------------------------------------------------------------------------------


class Similarity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    floor: float = 0.0
    """Cosine that counts as 0; between it and 1 the score is a line."""
    threshold: float | None = None
    """Given: 1 from this cosine on, else 0."""


def _similarity(config: Similarity, context: Context) -> Asking:
    embedder = context.embedder
    if embedder is None:
        raise missing("an embedder", "similarity", "Install the extra `embeddings`, or set one under [embeddings].")
    if not -1 <= config.floor < 1:
        raise wrong("floor", "The floor is a cosine below 1.")

    async def say(subject: Subject) -> Said:
        wanted = references(subject)
        if not wanted:
            return UNREFERENCED
        vectors = await embedder.embed([subject.output, *wanted])
        cosine = max(float(vectors[0] @ vectors[at]) for at in range(1, len(wanted) + 1))
        if config.threshold is not None:
            value = float(cosine >= config.threshold)
        else:
            value = min(1.0, max(0.0, (cosine - config.floor) / (1.0 - config.floor)))
        return Said(value, rationale=f"Cosine {cosine:.3f}.")

    return say


def _embedder(_: Similarity, context: Context) -> object:
    """A cosine of another encoder is another score."""
    return context.embedder.id if context.embedder is not None else ""


# --- groundedness ---------------------------------------------------------------------------------------------------

_SENTENCE = re.compile(r"(?<=[.!?\u3002])\s+|\n+")
_MOST_SENTENCES = 500
_SMALL_WORDS = (
    "a an and are as at be but by for from had has have he her his i if in into is it its my no not of on or our she "
    "so that the their them there they this to was we were what when which who will with you your der die das und ist "
    "ein eine im den dem des zu mit von auf le la les et est un une de du il elle que el los las y es una"
)
_SMALL = frozenset(_SMALL_WORDS.split())


class Groundedness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    share: float = 0.6
    """A sentence rests on a passage where so many of its words, and all of its numbers, occur in it."""
    model: str = ""
    """Alias of a judge that reads answer and passages; left out: words and numbers are compared."""
    max_chars: int = 20_000
    """Of one text that the judge is shown; a longer one makes the answer unscored."""


_RUBRIC = (
    "Does every claim of the answer follow from the passages? Leave out of account whether it is true, complete or "
    "well said. `grounded`: each claim is stated in a passage or follows from one. `partly`: the main claim is, "
    "another is not. `ungrounded`: the main claim is not stated in any passage, or contradicts one."
)
_SCALE = {"grounded": 1.0, "partly": 0.5, "ungrounded": 0.0}


def _words(text: str) -> set[str]:
    return {word for word in normalized(text).split() if word not in _SMALL and not word.isdecimal()}


def _groundedness(config: Groundedness, context: Context) -> Asking:
    if not 0 < config.share <= 1:
        raise wrong("share", "The share is above 0 and at most 1.")
    if config.model:
        judge = judging.Judge(
            model=config.model, rubric=_RUBRIC, scale=_SCALE, reference=False, max_chars=config.max_chars
        )
        asked = judging.make(judge, context)

        async def ask(subject: Subject) -> Said:
            return await asked(subject) if subject.retrieved or subject.passages else _NOTHING

        return ask
    compared = _lexical(config.share)

    async def say(subject: Subject) -> Said:
        return compared(subject)

    return say


_NOTHING = Said(None, rationale="There is no passage that it could rest on.")


def _lexical(share: float) -> Pure:
    def say(subject: Subject) -> Said:
        passages = [passage.text for passage in subject.retrieved or subject.passages if passage.text]
        if not passages:
            return _NOTHING
        known = [(_words(text), set(numbers(text))) for text in passages]
        sentences = [one for one in _SENTENCE.split(subject.output)[:_MOST_SENTENCES] if _words(one) or numbers(one)]
        if not sentences:
            return Said(None, rationale="The answer says nothing that could be compared.")
        resting = sum(_rests(one, known, share) for one in sentences)
        return Said(resting / len(sentences), rationale=f"{resting} of {len(sentences)} sentences rest on a passage.")

    return say


def _rests(sentence: str, known: list[tuple[set[str], set[float]]], share: float) -> bool:
    words, figures = _words(sentence), set(numbers(sentence))
    return any(figures <= told and (not words or len(words & said) >= share * len(words)) for said, told in known)


KINDS = (
    Kind(
        name="similarity",
        title="The answer means what the reference means: the cosine of their vectors.",
        config=Similarity,
        make=_similarity,
        asking=True,
        needs=("reference",),
        identity=_embedder,
    ),
    Kind(
        name="groundedness",
        title="What the answer says is in the passages that it was given.",
        config=Groundedness,
        make=_groundedness,
        asking=True,
        patient=True,
        needs=("passages",),
    ),
)
