"""A whole search: race, then the reflection model where there is one, then polish. On one course, with one count."""

import asyncio
import random
from collections.abc import Sequence

import msgspec

from ostinato.core.errors import Invalid
from ostinato.datasets.model import Example
from ostinato.optimization.model import Candidate
from ostinato.optimization.search import anatomy as parts
from ostinato.optimization.search import headroom, racing, shots
from ostinato.optimization.search.course import Course, Stopped
from ostinato.optimization.search.grammar import Grammar
from ostinato.optimization.search.model import Evaluate, Headroom, OnRound, SearchPlan, SearchResult
from ostinato.optimization.search.polish import polish
from ostinato.optimization.search.reflection import Ask, reflect
from ostinato.prompts import contents


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What an optimizer is given."""

    base: Candidate
    """The incumbent."""
    train: Sequence[Example]
    """What may be shown: to the model in a prompt, and to a reflection model."""
    dev: Sequence[Example]
    """What candidates are scored on. The sealed holdout is not here, and no optimizer ever sees it."""
    evaluate: Evaluate
    plan: SearchPlan
    seed: int
    on_round: OnRound
    ask: Ask | None = None
    """The reflection model, where the project names one."""
    polish: bool = True
    """Whether to look for a shorter prompt that is no worse."""
    pieces: contents.Pieces = parts.no_pieces
    """Contents of the partials that the base takes."""


class Ground:
    """Where a search takes place: the course, the grammar, and the examples in the order of their rounds."""

    def __init__(self, problem: Problem) -> None:
        """Raises ``Invalid`` where there is nothing to score on."""
        self.problem = problem
        self.scored = shots.spread([example for example in problem.dev if not example.erased], problem.seed)
        if len(self.scored) < 2:
            raise Invalid(
                f"There are {len(self.scored)} examples in dev to search on.",
                code="too_few_examples",
                hint="Add examples: thirty in dev are a beginning, a hundred are good.",
            )
        seen = {example.id for example in self.scored} | {_said(example) for example in self.scored}
        # What is scored must not be shown, nor what says the same.
        self.shown = [
            example
            for example in problem.train
            if not example.erased and example.id not in seen and _said(example) not in seen
        ]
        self.course = Course(problem.base, problem.evaluate, problem.plan, problem.on_round)
        self.grammar = Grammar(problem.base, self.shown, problem.plan, seed=problem.seed, pieces=problem.pieces)

    async def probe(self) -> Headroom:
        """The first round. Raises ``Stopped``."""
        plan = self.problem.plan
        # A small plan makes a small probe, not none.
        size = min(plan.round, plan.calls // (headroom.EDITS + 1))
        if size < 1:
            raise Stopped("plan_spent")
        return await headroom.probe(self.course, self.grammar, self.scored[:size])


async def probe(problem: Problem) -> Headroom:
    """Whether there is anything to gain: base and six cheap edits on one round of examples.

    A search of the same problem asks for the same measurements first, which a journal then has. Where the budget does
    not reach, ``reason`` says so, and nothing else is known. Raises ``Invalid`` where there is nothing to score on.
    """
    ground = await asyncio.to_thread(Ground, problem)
    try:
        return await ground.probe()
    except Stopped as stopped:
        mean = None
        why = f"The probe could not be completed: {stopped.reason}."
        by = "" if stopped.reason == "plan_spent" else stopped.told or stopped.reason
        return Headroom(base=mean, best=0.0, best_edit="", upper=1.0, n=0, nothing=False, reason=why, stopped=by)


async def race(problem: Problem) -> SearchResult:
    """The default optimizer: edits in paired rounds, then the reflection model if there is one, then polish.

    Deterministic by seed and answers. Raises ``Invalid`` where there is nothing to score on.
    """
    ground = await asyncio.to_thread(Ground, problem)
    course, grammar, scored = ground.course, ground.grammar, ground.scored
    rng = random.Random(f"race:{problem.seed}")  # noqa: S311 - repeatable, not secret
    shorter: list[str] = []
    try:
        probed = await ground.probe()
        if not probed.nothing:
            await racing.go_on(course, grammar, scored, rng, _reserved(problem))
            if problem.ask is not None:
                await _rewrite(ground, problem.ask)
            champion = racing.finalists(course)
            if problem.polish and champion:
                shorter = await polish(course, grammar, champion[0], scored)
    except Stopped as stopped:
        course.stop(stopped)
    return course.result(racing.finalists(course, shorter))


async def gepa(problem: Problem) -> SearchResult:
    """GEPA alone, from the base on: no examples are put into the prompt.

    Raises ``Invalid`` where there is no reflection model, or nothing to score on.
    """
    if problem.ask is None:
        raise Invalid(
            "This optimizer needs a model to reflect with.",
            code="reflection_model_missing",
            param="reflection",
            hint="Name the alias of a strong model, or take the optimizer 'race', which needs none.",
        )
    ground = await asyncio.to_thread(Ground, problem)
    course = ground.course
    shorter: list[str] = []
    try:
        await course.measure([problem.base.id], ground.scored[: problem.plan.round])
        await _rewrite(ground, problem.ask)
        champion = racing.finalists(course)
        if problem.polish and champion:
            shorter = await polish(course, ground.grammar, champion[0], ground.scored)
    except Stopped as stopped:
        course.stop(stopped)
    return course.result(racing.finalists(course, shorter))


async def _rewrite(ground: Ground, ask: Ask) -> None:
    """The reflection model, from the winner of the race on. Where the model fails, the race stands."""
    problem, course = ground.problem, ground.course
    leaders = course.best()
    start = leaders[0] if leaders else problem.base.id
    examples = ground.scored[: problem.plan.round]
    try:
        await reflect(course, ground.grammar, start, ground.shown, examples, ask, seed=problem.seed)
    except Stopped as stopped:
        if stopped.reason != "plan_spent":
            course.refuse("rewritten by the reflection model", f"It ended early: {stopped.reason}.", start)


def _reserved(problem: Problem) -> int:
    """Measurements that the race leaves to those that come after it."""
    return racing.reserved(problem.plan.calls, reflection=problem.ask is not None, polish=problem.polish)


def _said(example: Example) -> str:
    return " ".join(" ".join(str(value) for _, value in sorted(example.inputs.items())).casefold().split())
