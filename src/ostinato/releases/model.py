"""What a release is: a plan, a state, its evidence and its history. Frozen."""

import math

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


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step of a canary."""

    share: float
    """Of the traffic, above 0 and at most 1."""
    min_samples: int = 0
    """Requests that the canary must have answered at this step before the next."""
    min_minutes: float = 0.0
    """Time that this step lasts at least."""


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a release reaches its traffic. Without steps the label moves at once."""

    steps: tuple[Step, ...] = ()
    control: float = 0.0
    """Share of the traffic kept as a control arm: the stable version, marked as such, for fair comparisons."""
    auto: bool = False
    """Whether Ostinato itself goes on when the minima of a step are met, and back when no data come."""
    no_data_minutes: float = 60.0
    """An automatic rollout that sees no request of its canary for so long is rolled back."""

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
        if not 0 <= self.control <= 1 or before + self.control > 1:
            raise _wrong("control", "Canary and control together cannot have more than the whole traffic.")
        if self.control and not self.steps:
            raise _wrong("control", "A control share belongs to a canary: name at least one step.")
        if self.auto and not self.steps:
            raise _wrong("auto", "Without steps there is nothing to go on to by itself.")
        if not 1 <= self.no_data_minutes <= _MINUTES:
            raise _wrong("no_data_minutes", "The time without data is from one minute to a year.")
        return self


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


def _wrong(param: str, message: str) -> Invalid:
    return Invalid(message, code="invalid_plan", param=f"plan.{param}")
