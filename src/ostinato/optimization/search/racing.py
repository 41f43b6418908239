"""The race: paired rounds, everybody on the same examples; who falls behind is out, who leads has children."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Final

from ostinato.datasets.model import Example
from ostinato.optimization.search import headroom, pairing
from ostinato.optimization.search.course import Course
from ostinato.optimization.search.grammar import Grammar
from ostinato.optimization.search.model import SearchPlan

BEHIND: Final = 0.1
"""Whoever is behind the leader with so small a chance of it being luck is out (exact, paired)."""
GENERATION: Final = ((2, 4), (3, 0), (2, 0))
"""Rounds of a generation: leaders that go on, and children that are born."""
CLOSE: Final = 0.02
"""A second finalist is within two points of the first: each one more makes it harder to prove any."""


async def go_on(course: Course, grammar: Grammar, scored: Sequence[Example], rng: random.Random, reserved: int) -> None:
    """Rounds two and on: survivors and children of the leaders, on examples that are new as long as there are any.

    One generation takes three rounds; where the plan has room for more, the leaders have children again.
    ``reserved``: measurements of the plan that are left to others.
    """
    plan = course.plan
    short = _short(plan)
    at = len(course.rounds[0].examples)
    while True:
        for keep, most in GENERATION:
            examples = _window(scored, at, short)
            at += len(examples)
            _drop(course)
            room = (plan.calls - reserved - course.calls) // max(1, len(examples))
            leaders = (course.best()[:keep] or [course.base.id])[:room]
            births = min(most, room - len(leaders))
            children = await _children(course, grammar, rng, births) if births > 0 else []
            if most and not children and len(course.rounds) > 1:
                # Nothing is left to be tried: leaders alone would be measured for nothing.
                return
            names = [*leaders, *children]
            if len(names) < 2 or all(example.id in course.table[name] for name in names for example in examples):
                # Alone there is no race, and neither is there without anything new.
                return
            await course.measure(names, examples)
            await course.close("race", names, examples)


def foreseen(plan: SearchPlan, used: int, at: int, dev: int, reserved: int) -> tuple[int, int]:
    """(Measurements of :func:`go_on`, examples that its leader will have been scored on), on the whole.

    ``used``: measurements before it, on ``at`` of ``dev`` examples.
    """
    size, before = max(1, min(_short(plan), dev)), used
    while True:
        for keep, most in GENERATION:
            room = (plan.calls - reserved - used) // size
            leaders = min(keep, room)
            births = min(most, room - leaders)
            if leaders + births < 2 or (most and births <= 0) or (not most and at >= dev):
                return used - before, min(at, dev)
            # Beyond the last example leaders are known, and children are asked about the first ones again.
            fresh = min(size, max(0, dev - at))
            used += leaders * fresh + births * size
            at += size


def reserved(calls: int, *, reflection: bool, polish: bool) -> int:
    """Measurements that the race leaves to those that come after it."""
    return (calls // 3 if reflection else 0) + (calls // 5 if polish else 0)


def _short(plan: SearchPlan) -> int:
    return max(2, plan.round * 2 // 3)


async def _children(course: Course, grammar: Grammar, rng: random.Random, most: int) -> list[str]:
    leaders = [name for name in course.best() if name in course.recipes]
    if not leaders:
        recipes = await asyncio.to_thread(grammar.probe)
        return headroom.propose(course, grammar, recipes, course.base, most)
    first, second = leaders[0], leaders[1] if len(leaders) > 1 else None
    weights = _weights(course, grammar, first)
    beside = course.recipes[second] if second else None
    recipes = await asyncio.to_thread(grammar.children, course.recipes[first], beside, rng, weights)
    return headroom.propose(course, grammar, recipes, course.candidates[first], most)


def _weights(course: Course, grammar: Grammar, leader: str) -> Mapping[str, float]:
    """More examples of those strata that the leader gets wrong more often; known by their names only, so that no
    example that is scored on comes to stand in a prompt."""
    right: dict[str, list[float]] = {}
    for one in course.table[leader].values():
        if one.value is not None:
            right.setdefault(one.stratum, []).append(one.value)
    return {
        name: 0.5 + 2 * (len(values) - sum(values) + 0.5) / (len(values) + 1)
        for name in grammar.shelf.strata
        if (values := right.get(name, []))
    }


def _drop(course: Course) -> None:
    """Put out who is behind the leader by more than luck explains."""
    leaders = course.best()
    if not leaders:
        return
    leader = leaders[0]
    for name in list(course.candidates):
        if name in (leader, course.base.id) or name in course.out or not course.table[name]:
            continue
        pair = pairing.paired(course.table, name, leader)
        if pair.n and pair.p < BEHIND:
            course.out[name] = f"Behind the leader: {pair.losses} better, {pair.wins} worse (p = {pair.p:.3f})."


def finalists(course: Course, shorter: Sequence[str] = ()) -> list[str]:
    """The leaders, if they are close to each other. ``shorter`` ones that are no worse go first: they cost less."""
    best = [name for name in course.best() if name not in shorter]
    if not best:
        return []
    worth = {standing.candidate: standing.estimate for standing in course.standings()}
    close = [name for name in best if worth[name] >= worth[best[0]] - CLOSE]
    return [*shorter[:1], *close][: course.plan.finalists]


def _window(scored: Sequence[Example], at: int, size: int) -> list[Example]:
    """The next ``size`` examples; from the beginning again when all were used."""
    size = min(size, len(scored))
    return [scored[(at + offset) % len(scored)] for offset in range(size)]
