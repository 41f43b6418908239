"""What a release is: a plan, a state, its evidence and its history. Frozen."""

import math
from typing import Literal, TypeAlias

import msgspec

from ostinato import approvals
from ostinato.core.errors import Invalid

PROPOSED, APPROVED, CANARY, PAUSED = "proposed", "approved", "canary", "paused"
ACTIVE, ROLLED_BACK, SUPERSEDED, WITHDRAWN, REJECTED = "active", "rolled_back", "superseded", "withdrawn", "rejected"

OPEN = frozenset({PROPOSED, APPROVED, CANARY, PAUSED})
"""While a release is in one of these, no second one of the same prompt and label begins."""
RUNNING = frozenset({CANARY, PAUSED})
"""While it has a share of the traffic."""

STEPS = 20
_SAMPLES = 1_000_000_000
_MINUTES = 525_600.0
_MOST_ALPHA = 0.2
_MOST_MARGIN = 10.0
_SLICES = 20


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a canary."""

    share: float
    """Of the traffic, above 0 and at most 1."""
    min_samples: int = 0
    """Requests that the canary must have answered at this step before the next."""
    min_minutes: float = 0.0
    """Time that this step lasts at least."""


Guardrail: TypeAlias = Literal["quality", "error", "policy", "cost", "latency"]
GUARDRAILS: tuple[Guardrail, ...] = ("quality", "error", "policy", "cost", "latency")


class Guardrails(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What an automatic judge watches while a canary runs, against a control share. See ``docs/why/canary.md``."""

    watch: tuple[Guardrail, ...] = GUARDRAILS
    alpha: float = 0.05
    """Chance that a release that harms nothing is rolled back by any of them, however often one looks."""
    cost: float = 0.1
    """How much dearer an answer may be, as a share."""
    latency: float = 0.1
    """How much longer an answer may take, as a share."""
    signals: tuple[str, ...] = ()
    """Names of the signals that tell quality; left out: all that have a value."""
    policy_signals: tuple[str, ...] = ()
    """Names of signals that tell whether a policy was kept (1) or not (0)."""
    slices: tuple[str, ...] = ()
    """Tags of requests on which no significant loss of quality is allowed."""
    waived: dict[str, str] = {}
    """Slice -> who accepts a loss on it, and why: the named override, approved with the plan."""
    min_pairs: int = 0
    """Pairs that each guardrail must have seen before the canary goes on. Whatever it is, each must have seen one in
    the step that ends: what nobody has looked at is not known to be harmless."""

    def check(self) -> None:
        """Raise ``Invalid`` naming what cannot be."""
        if not self.watch or len(set(self.watch)) != len(self.watch):
            raise _wrong("guardrails.watch", "Name each guardrail once, and at least one.")
        if not 0 < self.alpha <= _MOST_ALPHA:
            raise _wrong("guardrails.alpha", f"The chance of a false rollback is above 0 and at most {_MOST_ALPHA}.")
        for name, margin in (("cost", self.cost), ("latency", self.latency)):
            if not 0 <= margin <= _MOST_MARGIN:
                raise _wrong(f"guardrails.{name}", f"A margin is a share from 0 to {_MOST_MARGIN:g}.")
        if len(self.slices) > _SLICES or len(set(self.slices)) != len(self.slices):
            raise _wrong("guardrails.slices", f"At most {_SLICES} slices, each named once.")
        if self.slices and "quality" not in self.watch:
            raise _wrong("guardrails.slices", "Slices are watched for quality: name it among what is watched.")
        if not set(self.waived) <= set(self.slices):
            raise _wrong("guardrails.waived", "Only a declared slice can be waived.")
        if not all(reason.strip() for reason in self.waived.values()):
            raise _wrong("guardrails.waived", "Say who accepts the loss on a slice, and why.")
        if not 0 <= self.min_pairs <= _SAMPLES:
            raise _wrong("guardrails.min_pairs", f"A minimum of pairs is from 0 to {_SAMPLES:,}.")


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a release reaches its traffic. Without steps the label moves at once."""

    steps: tuple[Step, ...] = ()
    control: float = 0.0
    """Share of the traffic kept as a control arm: the stable version without the cache, for fair comparisons. With
    guardrails it is the most that the control may have: at each step it has as much as the canary, and no more than
    the canary leaves."""
    auto: bool = False
    """Whether Ostinato itself goes on when the minima of a step are met, and back when no data come."""
    no_data_minutes: float = 60.0
    """An automatic rollout that sees no request of its canary for so long is rolled back; so is one in whose step a
    guardrail had nothing to compare for so long."""
    guardrails: Guardrails | None = None
    """What is watched for harm; left out: only samples and minutes are counted."""

    def control_at(self, step: int) -> float:
        """Share of the control arm at a step."""
        if self.guardrails is None or not 0 <= step < len(self.steps):
            return self.control
        share = self.steps[step].share
        return max(0.0, min(self.control, share, 1.0 - share))

    def check(self) -> "Plan":
        """This plan. Raises ``Invalid`` naming what cannot be: shares that do not grow, minima without sense."""
        if len(self.steps) > STEPS:
            raise _wrong("steps", f"A plan has at most {STEPS} steps.")
        before = 0.0
        for index, step in enumerate(self.steps):
            at = f"steps[{index}]"
            if not before < step.share <= 1:
                raise _wrong(f"{at}.share", "Shares must grow from step to step, above 0 and up to 1.")
            if not 0 <= step.min_samples <= _SAMPLES:
                raise _wrong(f"{at}.min_samples", f"A minimum of samples is from 0 to {_SAMPLES:,}.")
            if not (math.isfinite(step.min_minutes) and 0 <= step.min_minutes <= _MINUTES):
                raise _wrong(f"{at}.min_minutes", "A step lasts from 0 minutes to a year.")
            before = step.share
        if self.guardrails is not None:
            self.guardrails.check()
            if not 0 < self.control <= 1:
                raise _wrong("control", "Guardrails compare with a control share: give it one, such as 0.1.")
        elif not 0 <= self.control <= 1 or before + self.control > 1:
            raise _wrong("control", "Canary and control together cannot have more than the whole traffic.")
        if self.control and not self.steps:
            raise _wrong("control", "A control share belongs to a canary: name at least one step.")
        if self.auto and not self.steps:
            raise _wrong("auto", "Without steps there is nothing to go on to by itself.")
        if not 1 <= self.no_data_minutes <= _MINUTES:
            raise _wrong("no_data_minutes", "The time without data is from one minute to a year.")
        return self


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a guardrail shows: the canary against the control, in pairs. Differences above 0: the canary is better."""

    guardrail: Guardrail
    slice: str = ""
    """A tag; empty: all traffic."""
    pairs: int
    canary: float | None = None
    """Mean of the canary's observations: share of errors, nano-dollars, microseconds, quality from 0 to 1."""
    control: float | None = None
    difference: float = 0.0
    """Mean over the pairs, from -1 to 1; of cost and latency relative to the pair's sum."""
    low: float = -1.0
    high: float = 1.0
    """Of a sequence of intervals that holds at all times, at 95 %."""
    p_harm: float = 1.0
    """Valid at any time."""
    p_benefit: float = 1.0
    level: float = 0.05
    """Its part of the whole chance of a false rollback."""
    waived: str = ""
    seen: int = 0
    """Observations of either arm, those without a partner included."""
    last: int = 0
    """When the latest pair was seen, in UTC microseconds; 0: none yet."""

    @property
    def harmful(self) -> bool:
        """Whether it says that the canary does harm."""
        return self.p_harm <= self.level and not self.waived

    @property
    def beneficial(self) -> bool:
        """Whether it says that the canary is better."""
        return self.p_benefit <= self.level

    @property
    def name(self) -> str:
        """``quality``, ``quality on lang:de``."""
        return f"{self.guardrail} on {self.slice}" if self.slice else self.guardrail


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate says."""

    gate: str = ""
    passed: bool
    message: str = ""
    """Why not, or what was found; a sentence for people."""
    digest: str = ""
    """SHA-256 of the evidence, in hexadecimal."""
    facts: dict[str, str | int | float | bool] = {}


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """The result of something done elsewhere (an evaluation, a review), attached to a release."""

    number: int
    name: str
    about: str
    """Digest of the bundle that it was made for."""
    digest: str
    """SHA-256 of the report itself, which stays where it is."""
    passed: bool
    facts: dict[str, str | int | float | bool] = {}
    principal: str
    actor: str
    at: int


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a release."""

    number: int
    action: str
    state: str
    """After it."""
    step: int
    actor: str
    at: int
    reason: str = ""
    facts: dict[str, object] = {}
    leaf: int | None = None
    """Index of its leaf in the audit log."""


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A governed move of one label of one prompt to another version."""

    id: str
    """Also the name of its cache generation."""
    org: str
    project: str
    prompt: str
    label: str
    number: int
    """The version that the label shall point at."""
    base_number: int | None = None
    """Where the label pointed when this was proposed; ``None``: nowhere."""
    base_release: str = ""
    """The release that had put it there."""
    plan: Plan = Plan()
    intent: str = ""
    gates: tuple[str, ...] = ()
    """Required ones."""
    approvals_needed: int = 0
    digest: str
    """SHA-256 of the bundle: all that approvals are about, in hexadecimal."""
    bundle: dict[str, object] = {}
    reason: str = ""
    author: str
    """The principal that proposed it; its approvals do not count."""
    proposed_by: str
    proposed_at: int
    request_id: str
    """Of its request for approval."""
    salt: str
    state: str = PROPOSED
    step: int = -1
    """Index of the step that runs; -1: none."""
    step_since: int | None = None
    started_at: int | None = None
    ended_at: int | None = None
    ended_why: str = ""
    version: int = 1
    """Counts changes; sent back to notice that somebody else was quicker."""

    @property
    def resource(self) -> str:
        """As the audit log names it."""
        return f"release:{self.id}"

    @property
    def slot(self) -> str:
        """What only one release at a time may be about."""
        return f"{self.project}/{self.prompt}@{self.label}"

    @property
    def share(self) -> float:
        """Of the traffic, at the step that runs."""
        return self.plan.steps[self.step].share if 0 <= self.step < len(self.plan.steps) else 0.0


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """What lies between a release and its next step, judged now."""

    verdicts: tuple[Verdict, ...] = ()
    approvals: str = ""
    """The tally in words."""
    approved_by: tuple[str, ...] = ()
    blockers: tuple[str, ...] = ()
    """Sentences; empty: it may go on."""


class Dossier(msgspec.Struct, frozen=True, kw_only=True):
    """All there is about one release."""

    release: Release
    in_force: bool
    """Whether the label sends traffic to it now."""
    readiness: Readiness
    request: approvals.Request
    evidence: tuple[Evidence, ...] = ()
    history: tuple[Event, ...] = ()
    readings: tuple[Reading, ...] = ()
    """Of its guardrails, while it runs."""
    waits: str = ""
    """Why a canary does not go on from its step, in a sentence's part; empty: it may, or is none."""


def _wrong(param: str, message: str) -> Invalid:
    return Invalid(message, code="invalid_plan", param=f"plan.{param}")
