"""Polish: the same quality with fewer tokens. Drops examples and sentences while nothing speaks against it."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from ostinato.datasets.model import Example
from ostinato.optimization.search import headroom, pairing
from ostinato.optimization.search.course import Course
from ostinato.optimization.search.grammar import Grammar, Recipe

MARGIN: Final = 0.01
"""A shorter prompt may be worse by one point at most: the lower bound (95 %) of its paired difference stays above."""
LEAST: Final = 20
"""Pairs below which nothing is called no worse."""
_SENTENCE = re.compile(r"(?<=[.!?])[ \t]+(?=\S)|(?<=\n)")


async def polish(course: Course, grammar: Grammar, champion: str, scored: Sequence[Example]) -> list[str]:
    """Ids of shorter candidates that are no worse than ``champion``, the shortest first; often none.

    Each is tried on the examples that the champion was scored on, in two rounds: one that is behind after the first is
    not tried further. Raises ``Stopped`` where the plan or the budget ends.
    """
    known = course.table[champion]
    examples = [example for example in scored if example.id in known and known[example.id].value is not None]
    current, kept, failed = champion, list[str](), set[str]()
    if len(examples) < LEAST or champion not in course.recipes:
        return kept
    while True:
        found = next((one for one in _shorter(grammar, course.recipes[current]) if one[0] not in failed), None)
        if found is None:
            return kept
        key, edit, recipe = found
        entered = headroom.propose(course, grammar, [recipe], course.candidates[current], 1, edit=edit, origin="polish")
        if entered and await _holds(course, champion, entered[0], examples):
            current = entered[0]
            kept.insert(0, current)
        else:
            failed.add(key)


def sentences(said: str) -> list[str]:
    """The sentences of an instruction, each of which might be left out."""
    return [piece for piece in _SENTENCE.split(said) if piece.strip()]


async def _holds(course: Course, champion: str, shorter: str, examples: Sequence[Example]) -> bool:
    first = min(course.plan.round, len(examples))
    for part in (examples[:first], examples[first:]):
        if not part:
            continue
        await course.measure([shorter], part)
        await course.close("polish", [champion, shorter], part)
        pair = pairing.paired(course.table, champion, shorter)
        if pair.losses > pair.wins or shorter in course.out:
            break
    pair = pairing.paired(course.table, champion, shorter)
    holds = pair.n == len(examples) and pair.lower() > -MARGIN and shorter not in course.out
    if not holds:
        course.out.setdefault(shorter, f"Shorter, but {pair.losses} worse and {pair.wins} better of {pair.n}.")
    return holds


def _shorter(grammar: Grammar, recipe: Recipe) -> Iterator[tuple[str, str, Recipe]]:
    """What could be left out, the most first: each with what it is known by, and the words for it.

    The words quote nothing: whoever may not see texts sees them.
    """
    count = len(recipe.shots)
    for step, share in ((2, "half"), (4, "a quarter")):
        if count >= step:
            fewer = tuple(shot for place, shot in enumerate(recipe.shots) if place % step != 0)
            words = f"{share} of {count} examples dropped"
            yield words, words, msgspec.structs.replace(recipe, shots=fewer)
    said = grammar.said(recipe)
    pieces = sentences(said)
    if not grammar.rewordable or not pieces:
        return
    for place, piece in reversed(list(enumerate(pieces, 1))):
        # Joined as they were: what stands between two sentences belongs to the layout.
        at = said.rindex(piece)
        rest = (said[:at] + said[at + len(piece) :]).strip()
        yield piece, f"sentence {place} of {len(pieces)} dropped", msgspec.structs.replace(recipe, said=rest)
