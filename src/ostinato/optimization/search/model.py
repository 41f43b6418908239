"""What a search is given, and what it gives: plan, rounds, standings, result. Frozen."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, TypeAlias

import msgspec

from ostinato.datasets.model import Example
from ostinato.optimization.model import Candidate, Measured

Phase: TypeAlias = Literal["headroom", "race", "reflection", "polish"]

Evaluate: TypeAlias = Callable[[Candidate, Sequence[Example]], Awaitable[Sequence[Measured]]]
"""How one candidate does on some examples: one ``Measured`` for each, in their order. Called with one candidate at a
time and all of its examples together, so that a provider's prefix cache pays for what stays the same."""


class SearchPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a search may do."""

    calls: int = 540
    """At most so many measurements (a candidate on an example), those of the headroom probe included."""
    round: int = 30
    """Examples of one round, the same for everybody in it; the first round is the headroom probe."""
    finalists: int = 3
    """At most so many go on to the gate; the base is not one of them, it always competes there."""
    shots: tuple[int, ...] = ()
    """Numbers of examples to try in a prompt; empty: made from the number of strata."""
    largest: int = 8_000
    """Bytes of all templates of a candidate: what a model's context and a bill can carry."""
    rewrite: bool = True
    """Whether instructions may be reworded; ``False``: only examples are added."""
    unscored: float = 0.2
    """Share of a round that may stay unscored; who has more is out."""


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a candidate stands after a round."""

    candidate: str
    """Id."""
    n: int
    """Examples that it was scored on, over all rounds."""
    mean: float | None
    """Over those."""
    estimate: float
    """What it is worth against the base, in points of 0 to 1, shrunk towards 0 for what few pairs can tell."""
    wins: int = 0
    """Examples on which it did better than the base, of those that both were scored on; and worse."""
    losses: int = 0
    unscored: int = 0
    out: str = ""
    """Why it is no longer in the race; empty: it is."""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """An edit that came to no candidate."""

    edit: str
    reason: str
    parent: str = ""


class Round(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One complete round: only complete rounds decide anything."""

    number: int
    """From 1."""
    phase: Phase
    examples: tuple[str, ...]
    """Ids of the examples that were scored."""
    entered: tuple[Candidate, ...]
    """Candidates that were new in it."""
    standings: tuple[Standing, ...]
    """Everybody who was in it, best first."""
    refused: tuple[Refused, ...] = ()
    calls: int = 0
    """Measurements so far."""


class Headroom(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether there is something to gain at all, as far as a probe of few examples can tell."""

    base: float | None
    """Mean of the base; ``None``: none of its answers could be scored."""
    best: float
    """Largest difference of a cheap edit to the base, in points of 0 to 1."""
    best_edit: str
    upper: float
    """Upper bound (95 %) of the largest true difference, over all edits together."""
    n: int
    """Examples."""
    nothing: bool
    """Whether nothing is to be gained here: the base leaves no room, or every edit's bound lies below what matters."""
    reason: str
    """The same in a sentence."""
    stopped: str = ""
    """What the limit said that kept it from being completed; empty: it was, or the plan itself was too small."""


class SearchResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a search."""

    finalists: tuple[Candidate, ...]
    """Best first, without the base; empty: nothing did better."""
    standings: tuple[Standing, ...]
    """Everybody, the base and whoever is out included, best first."""
    candidates: tuple[Candidate, ...]
    """Everybody, in order of entering; the base is the first."""
    measured: dict[str, dict[str, Measured]]
    """Candidate -> example -> how it did."""
    rounds: tuple[Round, ...]
    refused: tuple[Refused, ...]
    headroom: Headroom | None
    calls: int
    """Measurements."""
    stopped: str = ""
    """Why it ended before its plan: ``budget_exhausted`` ...; what was found until then counts."""
    told: str = ""
    """The same as the limit said it."""


OnRound: TypeAlias = Callable[[Round], Awaitable[None]]
"""Told of each complete round, before the next one begins."""
