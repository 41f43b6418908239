"""Optimizers: what looks for better prompts. A plug-in point: a name in the entry-point group ``ostinato.optimizers``.

An optimizer never sees the sealed holdout, spends only by the ``evaluate`` and ``ask`` that it is handed, and decides
nothing but what comes before the gate.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Final, Protocol, cast

from ostinato.core.errors import Invalid
from ostinato.datasets.model import Example
from ostinato.optimization import search
from ostinato.optimization.model import Candidate
from ostinato.optimization.search import Evaluate, Headroom, OnRound, Problem, SearchPlan, SearchResult
from ostinato.optimization.search.anatomy import no_pieces
from ostinato.optimization.search.reflection import Ask
from ostinato.prompts.contents import Pieces

GROUP: Final = "ostinato.optimizers"
DEFAULT: Final = "race"


class Optimizer(Protocol):
    """Looks for better prompts. Equal problems and equal answers give an equal result: a killed run goes on so."""

    async def __call__(self, problem: Problem) -> SearchResult:
        """The finalists, best first, none of them the base; where nothing did better, none.

        What ``problem.evaluate``, ``problem.ask`` and ``problem.on_round`` raise is let through, but for
        ``LimitReached``: then the plan ends early, and what was found counts.
        """
        ...


BUILT_IN: Final[Mapping[str, Optimizer]] = {"race": search.race, "gepa": search.gepa}
"""``race``: the whole of it, with the reflection model where there is one; ``gepa``: that model alone."""


def find(name: str) -> Optimizer:
    """The optimizer of this name; empty: the default. Raises ``Invalid`` naming those there are."""
    wanted = name or DEFAULT
    built_in = BUILT_IN.get(wanted)
    if built_in is not None:
        return built_in
    for point in metadata.entry_points(group=GROUP):
        if point.name == wanted:
            return cast("Optimizer", point.load())
    raise Invalid(
        f"There is no optimizer {wanted[:80]!r}.",
        code="unknown_optimizer",
        param="optimizer",
        hint=f"There are: {', '.join(names())}.",
    )


def names() -> tuple[str, ...]:
    """The optimizers that can be named here, sorted."""
    return tuple(sorted({*BUILT_IN, *(point.name for point in metadata.entry_points(group=GROUP))}))


class Search:
    """Searches for runs: finds the optimizer that a run names, and hands it its problem."""

    def __init__(self, pieces: Callable[[], Pieces] | None = None) -> None:
        """``pieces`` gives, when a search begins, the contents of partials by name and number; without it, prompts that
        take partials cannot be searched on."""
        self._pieces = pieces

    async def probe(
        self,
        base: Candidate,
        train: Sequence[Example],
        dev: Sequence[Example],
        evaluate: Evaluate,
        plan: SearchPlan,
        *,
        seed: int,
        on_round: OnRound,
    ) -> Headroom:
        """Whether there is something to gain: the first round of the default optimizer's search."""
        return await search.probe(
            Problem(
                base=base,
                train=train,
                dev=dev,
                evaluate=evaluate,
                plan=plan,
                seed=seed,
                on_round=on_round,
                pieces=self._found(),
            )
        )

    async def search(
        self,
        base: Candidate,
        train: Sequence[Example],
        dev: Sequence[Example],
        evaluate: Evaluate,
        plan: SearchPlan,
        *,
        seed: int,
        on_round: OnRound,
        name: str = "",
        reflect: Ask | None = None,
        polish: bool = True,
    ) -> SearchResult:
        """The best of what the optimizer ``name`` tried. Raises ``Invalid`` for a name that is not known."""
        optimizer = find(name)
        return await optimizer(
            Problem(
                base=base,
                train=train,
                dev=dev,
                evaluate=evaluate,
                plan=plan,
                seed=seed,
                on_round=on_round,
                ask=reflect,
                polish=polish,
                pieces=self._found(),
            )
        )

    def _found(self) -> Pieces:
        return no_pieces if self._pieces is None else self._pieces()
