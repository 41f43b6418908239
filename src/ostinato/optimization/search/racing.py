"""The race: paired rounds, everybody on the same examples; who falls behind is out, who leads has children."""

import random
from collections.abc import Mapping, Sequence
from typing import Final

from ostinato.core.errors import Invalid
from ostinato.datasets.model import Example
from ostinato.optimization.model import Candidate
from ostinato.optimization.search import anatomy as parts
from ostinato.optimization.search import headroom, pairing, shots
from ostinato.optimization.search.course import Course, Stopped
from ostinato.optimization.search.grammar import Grammar
from ostinato.optimization.search.model import Evaluate, OnRound, SearchPlan, SearchResult
from ostinato.prompts import contents

BEHIND: Final = 0.1
"""Whoever is behind the leader with so small a chance of it being luck is out (exact, paired)."""
CLOSE: Final = 0.02
"""A second finalist is within two points of the first: each one more makes it harder to prove any."""


async def race(
    base: Candidate,
    pool: Sequence[Example],
    dev: Sequence[Example],
    evaluate: Evaluate,
    plan: SearchPlan,
    *,
    seed: int,
    on_round: OnRound,
    pieces: contents.Pieces = parts.no_pieces,
    probe_only: bool = False,
) -> SearchResult:
    """Search among the edits of ``base``. Examples to show come from ``pool``, examples to score on from ``dev``.

    Deterministic by seed and answers. ``probe_only``: the headroom probe and nothing else; the race that follows with
    the same seed asks for exactly the same measurements first, which a journal then has. ``pieces`` gives the contents
    of partials. Raises ``Invalid`` where there is nothing to score on.
    """
    scored = shots.spread([example for example in dev if not example.erased], seed)
    if len(scored) < 2:
        raise Invalid(
            f"There are {len(scored)} examples in dev to search on.",
            code="too_few_examples",
            hint="Add examples: thirty in dev are a beginning, a hundred are good.",
        )
    asked = {example.id for example in scored}
    twins = {_said(example) for example in scored}
    clean = [example for example in pool if example.id not in asked and _said(example) not in twins]
    course = Course(base, evaluate, plan, on_round)
    grammar = Grammar(base, clean, plan, seed=seed, pieces=pieces)
    try:
        probed = await headroom.probe(course, grammar, scored[: plan.round])
        if not probe_only and not probed.nothing:
            await _go_on(course, grammar, scored, random.Random(f"race:{seed}"))  # noqa: S311 - repeatable
    except Stopped as stopped:
        course.stopped = stopped.reason
    return course.result(_finalists(course))


async def _go_on(course: Course, grammar: Grammar, scored: Sequence[Example], rng: random.Random) -> None:
    """Rounds two and on: survivors and children of the leaders, on examples that are new as long as there are any."""
    plan = course.plan
    short = max(2, plan.round * 2 // 3)
    at = min(plan.round, len(scored))
    for keep, births, size in ((2, 5, short), (2, 3, short), (3, 0, plan.round), (2, 0, plan.round)):
        examples = _window(scored, at, size)
        at += len(examples)
        _drop(course)
        leaders = course.best()[:keep] or [course.base.id]
        children = _children(course, grammar, rng, births) if births else []
        names = [*leaders, *children]
        while names and not course.room(len(names), len(examples)):
            # No room for all: children go first, the last ones before.
            names.pop()
        if len(names) < 2:
            raise Stopped("plan_spent")
        await course.measure(names, examples)
        await course.close("race", names, examples)


def _children(course: Course, grammar: Grammar, rng: random.Random, most: int) -> list[str]:
    leaders = [name for name in course.best() if name in course.recipes]
    if not leaders:
        return headroom.propose(course, grammar, grammar.probe()[headroom.EDITS :], course.base, most)
    first, second = leaders[0], leaders[1] if len(leaders) > 1 else None
    recipes = grammar.children(
        course.recipes[first], course.recipes[second] if second else None, rng, _weights(course, grammar, first)
    )
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


def _finalists(course: Course) -> list[str]:
    """The leaders, if they are close to each other; those with fewer rounds behind them only if nothing is better."""
    best = course.best()
    if not best:
        return []
    standings = {standing.candidate: standing for standing in course.standings()}
    top = standings[best[0]].estimate
    return [name for name in best if standings[name].estimate >= top - CLOSE][: course.plan.finalists]


def _window(scored: Sequence[Example], at: int, size: int) -> list[Example]:
    """The next ``size`` examples; from the beginning again when all were used."""
    size = min(size, len(scored))
    return [scored[(at + offset) % len(scored)] for offset in range(size)]


def _said(example: Example) -> str:
    return " ".join(" ".join(str(value) for _, value in sorted(example.inputs.items())).casefold().split())
