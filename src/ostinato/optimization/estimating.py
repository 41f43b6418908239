"""About how much a run will take: told from what its search will really make, before anything is asked.

Calls of each stage follow from the rounds of the search, tokens from candidates that are made and filled in here as the
search would make them: with as many examples, in the same layouts. Pure; some tenths of a second for large datasets.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from ostinato.core.errors import OstinatoError
from ostinato.datasets.model import Example
from ostinato.optimization.model import Candidate
from ostinato.optimization.search import headroom, racing
from ostinato.optimization.search.anatomy import Unusable
from ostinato.optimization.search.grammar import Grammar
from ostinato.optimization.search.model import SearchPlan
from ostinato.optimization.search.polish import sentences
from ostinato.prompts import Compiled, Content, contents
from ostinato.wire.model import Text

_BYTES: Final = 4
"""Bytes of a token, about."""
_PER_MESSAGE: Final = 4
"""Tokens that a model's template puts around a message."""
_LOOKED_AT: Final = 20
"""Examples that candidates are filled in with."""
_FINALISTS: Final = 2
"""Candidates that come before the sealed examples, on the whole: others than the best only where they are close."""
_REWRITING: Final = 15
"""Measurements for one rewriting of the reflection model, on the whole: two minibatches, sometimes a round."""
_STEPS: Final = 12
_HOLDS: Final = 3
"""One of so many shorter prompts is tried on all that the champion was scored on; the others on one round."""


class Sizes(msgspec.Struct, frozen=True):
    """Tokens of one prompt, filled in, on the whole."""

    base: int
    """The incumbent's."""
    probe: int
    """Of the headroom probe: incumbent and cheap edits."""
    shown: int
    """Of candidates with examples, which a race goes on with."""

    @property
    def polished(self) -> int:
        """Of shorter ones, about: half of what was added."""
        return (self.base + self.shown) // 2


class Counts(msgspec.Struct, frozen=True):
    """Measurements (a candidate on an example) of each stage, on the whole."""

    probe: int
    race: int
    rewriting: int
    polish: int
    holdout: int
    scored: int
    """Examples that the leader will have been scored on when the search ends."""


def sizes(
    content: Content, train: Sequence[Example], dev: Sequence[Example], seed: int, pieces: contents.Pieces
) -> Sizes:
    """How large prompts of a search from ``content`` are."""
    asked = dev[:_LOOKED_AT]
    base = _mean([_size(content, one, pieces) for one in asked])
    if not train or not asked:
        return Sizes(base, base, base)
    incumbent = Candidate(id="", content=content)
    try:
        grammar = Grammar(incumbent, train, SearchPlan(), seed=seed, pieces=pieces)
    except OstinatoError:
        return Sizes(base, base, base)
    probed: list[int] = []
    shown: list[int] = []
    for recipe in grammar.probe(cheap=True):
        if len(probed) >= headroom.EDITS:
            break
        try:
            made = grammar.make(recipe, incumbent)
        except Unusable:
            continue
        size = _mean([_size(made.content, one, pieces) for one in asked])
        probed.append(size)
        if recipe.shots:
            shown.append(size)
    return Sizes(base, _mean([base, *probed]), _mean(shown or probed or [base]))


def counts(plan: SearchPlan, content: Content, dev: int, pairs: int, *, reflection: bool, polish: bool) -> Counts:
    """How many measurements a search of this ``plan`` makes, and its proof."""
    size = max(0, min(plan.round, plan.calls // (headroom.EDITS + 1), dev))
    probe = size * (headroom.EDITS + 1)
    reserved = racing.reserved(plan.calls, reflection=reflection, polish=polish)
    raced, scored = racing.foreseen(plan, probe, size, dev, reserved)
    left = max(0, plan.calls - probe - raced)
    rewriting = min(left, plan.calls // 3, _STEPS * _REWRITING) if reflection else 0
    left -= rewriting
    tries = 2 + len(sentences(_instruction(content)))
    once = min(plan.round, scored) + max(0, scored - plan.round) // _HOLDS
    return Counts(
        probe=probe,
        race=raced,
        rewriting=rewriting,
        polish=min(left, tries * once) if polish else 0,
        holdout=pairs * (1 + min(plan.finalists, _FINALISTS)),
        scored=scored,
    )


def answer_tokens(content: Content, examples: Sequence[Example], otherwise: int, most: int) -> int:
    """Tokens of an answer: as long as the references, where there are some; else as long as the prompt lets it be."""
    told = [len(one.reference.encode()) // _BYTES + 1 for one in examples if isinstance(one.reference, str)]
    limit: object = content.params.get("max_tokens") or content.params.get("max_completion_tokens")
    bound = min(limit, most) if isinstance(limit, int) else None
    if told:
        return min(_mean(told), bound or most)
    return bound or otherwise


def _instruction(content: Content) -> str:
    """What comes before the question, about: where sentences may be dropped."""
    found = [text for _, text in contents.texts(content)]
    return found[0] if len(found) > 1 else ""


def _size(content: Content, example: Example, pieces: contents.Pieces) -> int:
    """Tokens of a content filled in with an example."""
    try:
        rendered = Compiled(content, pieces).render(example.inputs)
    except OstinatoError:
        # A chain fills in what it finds: the example's passages stand for that.
        said = sum(len(text.encode()) for _, text in contents.texts(content))
        given = sum(len(str(value).encode()) for value in example.inputs.values())
        return (said + given + sum(len(one.text.encode()) for one in example.passages)) // _BYTES + 1
    blocks = [block for message in rendered.messages for block in message.content]
    size = sum(len(block.text.encode()) for block in blocks if isinstance(block, Text))
    return size // _BYTES + 1 + _PER_MESSAGE * len(rendered.messages)


def _mean(values: Sequence[int]) -> int:
    return round(sum(values) / len(values)) if values else 0
