"""Is there anything to gain? The base and six cheap edits on thirty examples, which a race goes on with."""

import asyncio
from collections.abc import Sequence
from typing import Final

from ostinato.datasets.model import Example
from ostinato.optimization.model import Candidate
from ostinato.optimization.search import pairing
from ostinato.optimization.search.anatomy import Unusable
from ostinato.optimization.search.course import Course
from ostinato.optimization.search.grammar import Grammar, Recipe
from ostinato.optimization.search.model import Headroom

EDITS: Final = 6
MATTERS: Final = 0.02
"""A gain below two points is none that a holdout of usual size could prove, nor one that pays for a release."""


async def probe(course: Course, grammar: Grammar, examples: Sequence[Example]) -> Headroom:
    """Measure them, as the first round of ``course``, and say what they tell. Raises ``Stopped``."""
    # In a thread, as all that compares examples: the loop that this runs on serves everybody's requests.
    recipes = await asyncio.to_thread(grammar.probe)
    entered = propose(course, grammar, recipes, course.base, EDITS)
    names = [course.base.id, *entered]
    await course.measure(names, examples)
    course.headroom = _told(course, entered, len(examples))
    await course.close("headroom", names, examples)
    return course.headroom


def propose(
    course: Course,
    grammar: Grammar,
    recipes: Sequence[Recipe],
    parent: Candidate,
    most: int,
    *,
    edit: str = "",
    origin: str = "edit",
) -> list[str]:
    """Let in the candidates of the first ``most`` recipes that come to something new; their ids."""
    entered: list[str] = []
    for recipe in recipes:
        if len(entered) >= most:
            break
        try:
            made = grammar.make(recipe, parent, edit, origin)
        except Unusable as unusable:
            course.refuse(edit or grammar.describe(recipe), str(unusable), parent.id)
            continue
        if course.enter(made, recipe):
            entered.append(made.id)
    return entered


def _told(course: Course, entered: Sequence[str], asked: int) -> Headroom:
    table, base = course.table, course.base.id
    mean = pairing.mean(table, base)
    pairs = {name: pairing.paired(table, base, name) for name in entered}
    usable = {name: pair for name, pair in pairs.items() if pair.n}
    if mean is None or not usable:
        why = "No answer of the base could be scored." if mean is None else "No edit could be measured."
        return Headroom(base=mean, best=0.0, best_edit="", upper=1.0, n=asked, nothing=False, reason=why)
    best = max(usable, key=lambda name: (usable[name].mean, name))
    # Bounds of all edits together: each at a sixth (or so) of the error.
    z = _z(0.05 / len(usable))
    upper = min(max(pair.upper(z) for pair in usable.values()), 1.0)
    pair = usable[best]
    edit = course.candidates[best].edit
    nothing, why = False, f"The best of {len(usable)} cheap edits ({edit}): {100 * pair.mean:+.1f} points on {pair.n}."
    if mean >= 1.0:
        nothing, why = (
            True,
            f"The prompt was right on all {asked} examples: nothing can be gained on them.",
        )
    elif upper < MATTERS:
        nothing, why = True, f"No cheap edit can be worth {100 * MATTERS:.0f} points: at most {100 * upper:.1f}."
    elif pair.mean <= 0 and all(one.wins == 0 for one in usable.values()):
        nothing, why = True, f"No cheap edit got a single example right of {asked} that the prompt had wrong."
    return Headroom(base=mean, best=pair.mean, best_edit=edit, upper=upper, n=asked, nothing=nothing, reason=why)


def _z(alpha: float) -> float:
    from statistics import NormalDist  # noqa: PLC0415 - it imports fractions, random and more

    return NormalDist().inv_cdf(1 - alpha)
