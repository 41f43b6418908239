"""What the gate is given and what it gives: evidence, rules, a decision that carries every number. Frozen."""

from typing import Literal, TypeAlias

import msgspec

Number: TypeAlias = float | int | str | bool | None
Mode: TypeAlias = Literal["fixed", "sequential"]
Decided: TypeAlias = Literal["promote", "refuse", "wait"]


class Side(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one content did on one sealed example. ``None``: not measured."""

    value: float | None = None
    """From 0 to 1."""
    computed: int | None = None
    """Tokens that the model worked on: input that was not in the provider's prefix cache, and output."""
    tokens: int | None = None
    """All tokens, those from the prefix cache included."""
    cost: int | None = None
    """Nano-dollars, of the answer alone."""
    latency_us: int | None = None
    policy: dict[str, float | None] = {}
    """Policy scorer -> value from 0 (violated) to 1."""


class Pair(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The incumbent and a candidate on the same example."""

    example: str
    base: Side
    candidate: Side
    stratum: str = ""


class Finalist(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that has come through the search."""

    id: str
    pairs: tuple[Pair, ...]
    """In the order of the sealed examples, which is fixed before anything is measured."""


class JudgeCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """How far a judge agrees with the project's own labels."""

    scorer: str
    kappa: float
    """Cohen's."""
    n: int
    """Labels that it was held against."""
    low: float | None = None
    high: float | None = None


class Reviewed(msgspec.Struct, frozen=True, kw_only=True):
    """What people said, where they were asked."""

    needed: int
    """Verdicts."""
    good: int = 0
    bad: int = 0
    most_bad: float = 0.0
    """Share of verdicts that may be bad."""


class GateEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision is made of."""

    finalists: tuple[Finalist, ...]
    """At most three; the best first is not asked for."""
    expected: int
    """Pairs that each must have; those that are not there are missing measurements."""
    remaining: int = 0
    """Sequential mode: sealed examples that nobody has looked at yet."""
    judges: tuple[JudgeCalibration, ...] | None = None
    """Of every judge among the scorers that count; ``None``: no judge counts."""
    review: Reviewed | None = None
    """``None``: no review is asked for."""
    seed: int = 0


class GateRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a candidate must show. Each rule that is ``None`` is not asked; its figure is reported all the same."""

    alpha: float = 0.01
    """Chance to promote anything in a run in which nothing is better, at most."""
    guard: float = 0.15
    """Part of ``alpha`` that is kept back, as a guard band: so that not only what is expected, but also what is counted
    over some thousand runs, stays below it. Proof is asked for at ``alpha * (1 - guard)``."""
    mode: Mode = "fixed"
    """``fixed``: one look at all examples; ``sequential``: a look after every example, for dear ones."""
    min_gain: float = 0.0
    """Measured gain below which a change is not worth it, 0 to 1."""
    cost: float | None = 1.0
    """How much dearer an answer may be than the incumbent's, as a share: 1.0 is twice as dear. Where no price is known,
    so many more tokens may be computed."""
    slight: int = 1_000_000
    """Nano-dollars that an answer may be dearer by, whatever share of its cost that is."""
    slight_us: int = 20_000
    """Microseconds that an answer may take longer, whatever share that is."""
    computed: float | None = None
    """How many more tokens the model may work on, as a share, whatever they cost."""
    latency: float | None = 1.0
    """How much longer an answer may take, as a share."""
    policy: float = 0.01
    """How much worse a policy scorer may be, 0 to 1."""
    margin_confidence: float = 0.95
    """One-sided, of each rule *not worse by more than*."""
    slices: tuple[str, ...] = ()
    """Strata on which no significant loss is allowed; ``*``: all."""
    slice_alpha: float = 0.05
    """Over all declared slices together (Holm)."""
    waived: dict[str, str] = {}
    """Slice -> who accepts a loss on it, and why: the named override."""
    missing: float = 0.02
    """Share of pairs that may be missing. Each counts as a loss of the candidate all the same."""
    judge_kappa: float = 0.6
    judge_labels: int = 30
    """Labels below which a judge's kappa says nothing."""
    finalists: int = 3

    @property
    def level(self) -> float:
        """What an adjusted p-value must not be above."""
        return self.alpha * (1 - self.guard)


class Ruling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one rule says."""

    rule: str
    passed: bool | None
    """``None``: not asked for, or not to be said yet."""
    sentence: str
    numbers: dict[str, Number] = {}


class Proof(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one finalist did against the incumbent, missing pairs counted as losses. Values are from 0 to 1."""

    id: str
    passed: bool
    n: int
    missing: int
    base: float
    """Mean of the incumbent."""
    mean: float
    """Mean of the candidate."""
    gain: float
    low: float
    high: float
    """95 % interval of the gain, above 0 only where ``p`` is at most 0.025; in sequential mode one that holds at all
    times. Nothing is promoted by it."""
    wins: int
    losses: int
    ties: int
    test: str
    """``mcnemar``, ``permutation`` or ``betting``."""
    p: float
    adjusted: float
    """P-value after Holm over the finalists."""
    e: float | None = None
    """Sequential mode: the most that a bet on the candidate was worth."""
    rulings: tuple[Ruling, ...] = ()


class GateDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done, and why."""

    outcome: Decided
    champion: str
    """Id of the candidate to be promoted; empty: none."""
    sentence: str
    proofs: tuple[Proof, ...]
    """Of every finalist, in the order given: refused ones tell as much."""
    rulings: tuple[Ruling, ...]
    """Rules that are about the whole run."""
    rules: GateRules


class GatePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a sealed holdout can prove, before anything is spent. Gains are shares: 0.08 is eight points."""

    n: int
    alpha: float
    level: float
    """Of each finalist, where Holm leaves it the least."""
    discordance: float
    power: float
    """Chance to prove ``gain``; of the smallest gain where none was named."""
    smallest_gain: float | None
    """Proven with 80 % power; ``None``: none."""
    gain: float | None = None
    """The one asked for."""
    pairs_needed: int | None = None
    """For it, with 80 % power; ``None``: more than 5,000."""
