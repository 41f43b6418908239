"""What an experiment is, what somebody wishes of it, and what came of it. Frozen."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.calls.model import Limits, Spent
from ostinato.evals.model import State
from ostinato.prompts import Draft
from ostinato.scorers.model import Spec
from ostinato.statistics import Interval
from ostinato.wire.model import Json

OpenSplit: TypeAlias = Literal["train", "dev"]
"""What experiments may see; the holdout is sealed for the gate of optimization runs."""


class Contender(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A variant as it is asked for: a registered prompt, or a content of its own."""

    name: str = ""
    """Left out: made of prompt, number and model."""
    prompt: str = ""
    """``NAME``, ``NAME@LABEL`` or ``NAME@NUMBER``."""
    content: Draft | None = None
    """In place of ``prompt``: a prompt that is not registered."""
    model: str = ""
    """Alias to call; left out: the prompt's own, or each of the experiment's models."""
    params: Json = {}
    """Over those of the prompt."""
    retrieval: Json | None = None
    """A chain: how passages are found first."""


class Wish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An experiment as it is asked for."""

    name: str = ""
    dataset: str
    version: int | None = None
    """Left out: the newest that is sealed."""
    splits: tuple[OpenSplit, ...] = ("dev",)
    variants: tuple[Contender, ...]
    """The first is what the others are compared with."""
    models: tuple[str, ...] = ()
    """Aliases: each variant that names no model is asked of each of them."""
    scorers: tuple[Spec, ...] = ()
    declared: tuple[str, ...] = ()
    """Names of the project's declared scorers, beside ``scorers``."""
    limits: Limits = Limits()
    examples: int | None = None
    """At most so many, drawn by ``seed``; left out: all."""
    confidence: bool = False
    """Whether to tell how sure each model is of its answers."""
    samples: int = 1
    """Answers to one question, at most, to know it by where the first has no log probabilities; each is paid for."""
    seed: int = 0
    note: str = ""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """A variant as it is shown: without its texts."""

    name: str
    prompt: str = ""
    number: int = 0
    digest: str
    """SHA-256 of the content, in hexadecimal."""
    model: str
    params: Json = {}
    chain: bool = False
    """Whether passages are retrieved first."""


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment."""

    id: str
    """Also the namespace of its journal of paid calls."""
    org: str
    project: str
    name: str
    dataset: str
    version: int
    version_id: str
    splits: tuple[OpenSplit, ...]
    arms: tuple[Arm, ...]
    scorers: tuple[Spec, ...]
    limits: Limits
    examples: int
    """Of the dataset that take part."""
    confidence: bool = False
    samples: int = 1
    seed: int = 0
    note: str = ""
    state: State = "queued"
    why: str = ""
    """Why it is paused, has failed or was cancelled."""
    job: str = ""
    created_at: int
    created_by: str
    started_at: int | None = None
    ended_at: int | None = None
    round: int = 1
    """Counts how often it was started: resumed ones go on where they were."""

    @property
    def cells(self) -> int:
        """Cells in all."""
        return self.examples * len(self.arms)

    @property
    def resource(self) -> str:
        """As the audit log names it."""
        return f"experiment:{self.id}"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far an experiment has come."""

    experiment: Experiment
    done: int
    """Cells."""
    total: int
    spent: Spent


class ScorerFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One scorer on one variant."""

    scorer: str
    """``NAME@VERSION``."""
    mean: float | None
    scored: int
    unscored: int
    why: dict[str, int] = {}
    """Why answers are unscored -> how many: three reasons; only labels for who may not read texts."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One variant."""

    name: str
    n: int
    """Cells measured."""
    scored: int
    unscored: int
    """Answered, and not scored by all scorers that count; left out of the mean, and never counted as 0."""
    failed: dict[str, int]
    """Code of the failure -> cells without an answer."""
    mean: Interval | None
    scorers: tuple[ScorerFigures, ...]
    cost: int
    """Nano-dollars of all cells whose price is known."""
    unpriced: int
    latency_p50_us: int | None
    latency_p95_us: int | None
    input_tokens: int
    """All of the prompts' tokens, cached ones included."""
    cached_tokens: int
    """Of these, from the provider's prefix cache."""
    output_tokens: int
    cached_share: float | None


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """One stratum of a comparison."""

    stratum: str
    pairs: int
    difference: Interval | None
    """``None``: fewer than five pairs, from which no interval is told. Its ``confidence`` is 0.95 or, as ``p`` is
    corrected, more: 0 is outside only where ``p`` is at most 0.05."""
    wins: int
    losses: int
    ties: int
    p: float
    """Two-sided, corrected for the number of strata (Holm)."""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two variants on the same examples. ``difference`` is that of ``variant`` less that of ``base``."""

    base: str
    variant: str
    pairs: int
    unpaired: int
    """Examples that only one of the two was scored on, or neither: left out, and told."""
    wins: int
    losses: int
    ties: int
    difference: Interval | None
    """Says what ``p`` says: 0 is inside, or an end, where that is above 0.05, and not inside where it is not."""
    p: float | None
    """Two-sided."""
    test: str
    """``mcnemar`` where all scores are 0 or 1, else ``permutation``."""
    cost: int | None
    """Difference per example in nano-dollars; ``None`` where a price is not known."""
    slices: tuple[Slice, ...] = ()
    why: str = ""
    """Why there are no pairs, in a sentence; empty: there are some."""


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an experiment, as far as it is done. No proof: see ``remark``."""

    experiment: str
    state: State
    figures: tuple[Figures, ...]
    comparisons: tuple[Comparison, ...]
    """Every variant with the first one."""
    remark: str = (
        "Measured on open parts of the dataset; the sealed holdout takes no part in experiments. "
        "Whoever chooses among variants by these figures needs the gate of an optimization run to prove the choice."
    )
