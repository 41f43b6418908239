"""What a change of models is: who is concerned, what was found, and how far its traffic has come. Frozen."""

from typing import Literal, TypeAlias

import msgspec

from ostinato import releases
from ostinato.calls.model import Limits
from ostinato.core import hashing
from ostinato.releases.model import Guardrail
from ostinato.routing import Candidate
from ostinato.scorers.model import Spec
from ostinato.statistics import Interval

Kind: TypeAlias = Literal["change", "silent"]
State: TypeAlias = Literal["planned", "waiting", "canary", "done", "abandoned"]
OPEN = frozenset({"planned", "waiting", "canary"})
ArmState: TypeAlias = Literal["canary", "passed", "failed"]
Target: TypeAlias = str | dict[str, object]
"""``provider/model``, or a table as in ``[models.ALIAS]``."""

Verdict: TypeAlias = Literal["gains", "loses", "no difference shown", "unknown"]


def _steps() -> tuple[releases.Step, ...]:
    return tuple(releases.Step(share, min_samples=30, min_minutes=10.0) for share in (0.05, 0.25, 0.5, 1.0))


def slot_of(project: str, alias: str, kind: Kind) -> str:
    """Of the one open update of a kind; aliases have no ``~``."""
    return f"{project}/{alias}" if kind == "change" else f"{project}/{alias}~{kind}"


class Rollout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the new targets reach the traffic of one intent; each intent goes by itself."""

    steps: tuple[releases.Step, ...] = msgspec.field(default_factory=_steps)
    control: float = 0.1
    """The most that is answered by the old targets without the cache, to compare with."""
    watch: tuple[Guardrail, ...] = ("error", "cost", "latency")
    """``quality`` too where signals are told of the answers: what is watched and never seen ends a canary."""
    alpha: float = 0.05
    """Chance per intent that targets which harm nothing are taken back."""
    cost: float = 0.1
    """How much dearer an answer may be, as a share."""
    latency: float = 0.1
    min_pairs: int = 0
    no_data_minutes: float = 720.0

    @property
    def plan(self) -> releases.Plan:
        """The same as releases have it. Raises ``Invalid`` from its ``check``."""
        rails = releases.Guardrails(
            watch=self.watch, alpha=self.alpha, cost=self.cost, latency=self.latency, min_pairs=self.min_pairs
        )
        return releases.Plan(self.steps, self.control, True, self.no_data_minutes, rails)


class NewUpdate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change of models as it is asked for."""

    alias: str
    targets: tuple[Target, ...]
    """What it shall stand for."""
    project: str | None = None
    """Id or short name; left out: the actor's own."""
    reason: str = ""


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt that uses the alias."""

    prompt: str
    number: int
    intent: str = ""
    calls: int = 0
    """Within the time that was looked at."""
    cost: int | None = None
    """Nano-dollars of these."""
    dataset: str = ""
    """What its answers were last judged by; empty: none, so it cannot be told what the change does to it."""
    scorers: tuple[Spec, ...] = ()
    source: str = ""
    """``experiment:ID`` or ``optimization:ID`` that says so."""
    examples: int = 0
    """Of the dataset's open part ``dev``."""
    calls_needed: int = 0
    cost_estimated: int | None = None
    """Nano-dollars of the comparison; ``None``: a price or the length of its calls is not known."""
    unknown: str = ""
    """Why it cannot be judged beforehand, in a sentence."""


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one intent, and prompt, by the alias."""

    intent: str = ""
    prompt: str = ""
    calls: int = 0
    cost: int | None = None
    input: int = 0
    output: int = 0


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison of one prompt."""

    prompt: str
    number: int
    experiment: str
    against: str = ""
    """Of a silent change: the earlier experiment whose answers are compared with, and its variant."""
    against_variant: str = ""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """One intent on its way to the new targets."""

    intent: str
    state: ArmState = "canary"
    step: int = 0
    step_since: int
    started_at: int
    why: str = ""


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """A change of the models behind an alias, within one project."""

    id: str
    org: str
    project: str
    alias: str
    kind: Kind = "change"
    old: tuple[str, ...]
    """``provider/model``, as the alias stood."""
    targets: tuple[Target, ...]
    """What it shall stand for; of a silent change: what has changed without us."""
    uses: tuple[Use, ...] = ()
    traffic: tuple[Traffic, ...] = ()
    trials: tuple[Trial, ...] = ()
    rollout: Rollout = Rollout()
    intents: tuple[str, ...] = ()
    """Whose traffic moves; empty text: requests without one."""
    arms: tuple[Arm, ...] = ()
    state: State = "planned"
    reason: str = ""
    accepted: str = ""
    """Who begins although a prompt loses, or nothing was measured, and why."""
    evidence: dict[str, str | int | float | bool] = {}
    request_id: str = ""
    """Of the request for approval."""
    digest: str = ""
    """SHA-256 of what approvals are about, in hexadecimal."""
    declared: bool = False
    """Whether the alias's own declaration names the new targets now."""
    before: object = None
    """The declaration until then: what ``abandon`` puts back."""
    hint: str = ""
    """What is left to do for people."""
    author: str = ""
    created_at: int
    created_by: str
    ended_at: int | None = None
    why: str = ""
    version: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """The new targets as ``provider/model``."""
        return tuple(
            one if isinstance(one, str) else f"{one.get('provider')}/{one.get('model')}" for one in self.targets
        )

    @property
    def resource(self) -> str:
        """As the audit log names it."""
        return f"update:{self.id}"

    @property
    def slot(self) -> str:
        """What only one open update at a time may be about: a suspicion does not keep anybody from changing models."""
        return slot_of(self.project, self.alias, self.kind)

    @property
    def candidate(self) -> Candidate:
        """What routing makes of it: the name ``ALIAS@ID``, and each intent's share."""
        plan, shares = self.rollout.plan, dict[str, tuple[float, float]]()
        for arm in self.arms:
            if arm.state == "passed" and not self.declared:
                shares[arm.intent] = (1.0, 0.0)
            elif arm.state == "canary":
                shares[arm.intent] = (plan.steps[arm.step].share, plan.control_at(arm.step))
        return Candidate(id=self.id, project=self.project, alias=self.alias, targets=self.targets, shares=shares)

    def bundle(self) -> str:
        """Digest of what people agree to."""
        return hashing.digest_of(
            [
                self.id,
                self.alias,
                list(self.old),
                msgspec.to_builtins(self.targets),
                list(self.intents),
                msgspec.to_builtins(self.rollout.plan),
                [one.experiment for one in self.trials],
                self.accepted,
            ]
        ).hex()


class Wish(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a comparison is to be made."""

    limits: Limits = Limits()
    """For each prompt's experiment."""
    examples: int | None = None
    """At most so many of each dataset; left out: all of ``dev``."""
    seed: int = 0
    prompts: tuple[str, ...] = ()
    """Only these; left out: all that can be judged."""


class Start(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a change is to begin."""

    intents: tuple[str, ...] | None = None
    """Left out: all that use the alias, and requests without one."""
    rollout: Rollout = Rollout()
    accept: str = ""
    """Why it may begin although a prompt loses or is not measured."""
    reason: str = ""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What the change does to one prompt. Differences: new less old."""

    prompt: str
    number: int
    dataset: str = ""
    experiment: str = ""
    state: str = ""
    """Of the experiment; empty: none was made."""
    verdict: Verdict
    why: str = ""
    pairs: int = 0
    wins: int = 0
    losses: int = 0
    ties: int = 0
    old: Interval | None = None
    new: Interval | None = None
    difference: Interval | None = None
    p: float | None = None
    """Two-sided, corrected for the number of prompts (Holm)."""
    cost: int | None = None
    """Nano-dollars per answer."""
    latency_old_us: int | None = None
    """Median."""
    latency_new_us: int | None = None
    failed_old: int = 0
    failed_new: int = 0
    calls: int = 0
    """Of its traffic."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Who gains and who loses by a change of models."""

    update: Update
    lines: tuple[Line, ...]
    alpha: float
    readings: dict[str, tuple[releases.Reading, ...]] = {}
    """Intent -> what its canary's guardrails show."""

    def of(self, verdict: Verdict) -> tuple[Line, ...]:
        """The prompts of one verdict."""
        return tuple(one for one in self.lines if one.verdict == verdict)
