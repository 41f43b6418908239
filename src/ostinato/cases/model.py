"""What an alarm is, and the case that it opens. Frozen."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import msgspec

Severity: TypeAlias = Literal["low", "medium", "high", "critical"]
"""How much is at stake: the intent's stakes, unless the alarm says more. The same words as for stakes."""

SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")

Kind: TypeAlias = Literal[
    "quality",
    "errors",
    "refusals",
    "format",
    "latency",
    "cost",
    "mix",
    "cache",
    "model",
    "judge",
    "missing-data",
    "policy",
    "budget",
    "release",
    "review",
    "inventory",
    "audit",
    "breakglass",
    "threshold",
    "other",
]
"""What is wrong. Each has a playbook: see ``cases.playbooks``."""

KINDS: tuple[Kind, ...] = get_args(Kind)

Fact: TypeAlias = str | int | float | bool | None


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody has found something: a detector, an alert's threshold, a policy, a watch of our own."""

    id: str
    at: int
    """UTC microseconds."""
    org: str
    project: str
    """Id; empty: the whole installation or organization."""
    kind: Kind
    detector: str
    """Who found it, e.g. ``quality:cusum``, ``alert:errors-high``. Alarms are told apart by it."""
    title: str = ""
    """One sentence for people; left out: made of kind and figures."""
    intent: str = ""
    prompt: str = ""
    release: str = ""
    target: str = ""
    """``provider/model``."""
    statistic: float | None = None
    threshold: float | None = None
    since: int = 0
    """When it began, as far as is known; UTC microseconds. 0: not known."""
    samples: int = 0
    severity: Severity | None = None
    """Left out: the stakes of the intent say."""
    evidence: dict[str, Fact] = {}
    """Figures and ids, frozen as they were; never texts of requests or answers."""

    @property
    def key(self) -> str:
        """What makes two alarms one: they join the same open case. The project may be empty, so the organization is
        part of it."""
        parts = (self.org, self.project, self.detector, self.intent, self.prompt, self.release, self.target)
        return "|".join(parts)


DETECTED, TRIAGED, PROPOSED, APPROVED, AUTOMATIC, EXECUTED, VERIFIED, CLOSED, DISMISSED = (
    "detected",
    "triaged",
    "proposed",
    "approved",
    "automatic",
    "executed",
    "verified",
    "closed",
    "dismissed",
)
OPEN = (DETECTED, TRIAGED, PROPOSED, APPROVED, AUTOMATIC, EXECUTED, VERIFIED)
ENDED = (CLOSED, DISMISSED)
STATES = (*OPEN, *ENDED)

NEXT: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        DETECTED: frozenset({TRIAGED, PROPOSED, DISMISSED}),
        TRIAGED: frozenset({PROPOSED, DISMISSED}),
        PROPOSED: frozenset({TRIAGED, APPROVED, AUTOMATIC, DISMISSED}),
        APPROVED: frozenset({EXECUTED, TRIAGED}),
        AUTOMATIC: frozenset({EXECUTED, TRIAGED}),
        EXECUTED: frozenset({VERIFIED, TRIAGED, DISMISSED}),
        VERIFIED: frozenset({CLOSED, TRIAGED}),
        CLOSED: frozenset({DETECTED}),
        DISMISSED: frozenset({DETECTED}),
    }
)
"""The state machine. Back to *triaged*: a proposal was rejected, an action failed, or it did not help."""

ActionName: TypeAlias = Literal[
    "flush-scope", "close-semantic", "raise-sampling", "open-breaker", "roll-back", "start-optimization", "notify"
]
ACTIONS: tuple[ActionName, ...] = get_args(ActionName)


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """What a case proposes to do, and what became of it. A case may try several, one after the other."""

    id: str
    case: str
    name: ActionName
    params: dict[str, Fact] = {}
    state: Literal["proposed", "approved", "executing", "done", "failed", "rejected", "withdrawn"] = "proposed"
    reason: str = ""
    automatic: bool = False
    needs_other: bool = False
    """Whether somebody else than who proposed it must approve it."""
    proposed_by: str
    """Principal."""
    proposed_at: int
    decided_by: str = ""
    decided_at: int | None = None
    executed_at: int | None = None
    facts: dict[str, Fact] = {}
    """What it did, or why it failed."""
    helped: bool | None = None
    """Whether the figure was back when it was looked at again."""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """Something that somebody must look into, with what was known when it was found."""

    id: str
    org: str
    project: str
    kind: Kind
    detector: str
    key: str
    """Alarms of the same key join it."""
    title: str
    intent: str = ""
    prompt: str = ""
    release: str = ""
    target: str = ""
    severity: Severity
    stakes: Severity = "medium"
    """Of the intent, when it was opened."""
    owner: str = ""
    """Who must look: the intent's owner, else ``operator``."""
    state: str = DETECTED
    evidence: dict[str, Fact] = {}
    """The first alarm's, frozen."""
    latest: dict[str, Fact] = {}
    """The last alarm's."""
    alarms: int = 1
    """How many have joined, the first included."""
    first_at: int
    """When it began, as far as is known."""
    last_at: int
    """Of the last alarm."""
    opened_at: int
    due_at: int
    """When it must have got to its next state."""
    overdue: bool = False
    """Whether that time has passed and was told."""
    verify_at: int | None = None
    """When the figure is looked at again."""
    escalated: int = 0
    """How often it was: an action did not help, or nobody came in time."""
    reopened: int = 0
    closed_at: int | None = None
    closed_why: str = ""
    quiet_until: int | None = None
    """Until then the alarm does not open a dismissed case again; it is only counted."""
    action: str = ""
    """Id of the action under way, or of the last one."""
    version: int = 1
    """Counts changes; sent back to notice that somebody else was quicker."""

    @property
    def resource(self) -> str:
        """As the audit log names it."""
        return f"case:{self.id}"


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a case came about and was answered; UTC microseconds."""

    detector: str
    began: int
    """When it began, as far as is known."""
    opened: int
    contained: int | None
    """When its first action was done; ``None``: none was."""
    state: str


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened to a case."""

    number: int
    verb: str
    """``open``, ``join``, ``triage``, ``comment``, ``propose`` ..."""
    state: str
    """After it."""
    actor: str
    at: int
    text: str = ""
    """A comment, or a reason."""
    facts: dict[str, Fact] = {}
    leaf: int | None = None
    """Index of its leaf in the audit log."""


class Advice(msgspec.Struct, frozen=True):
    """One line of a playbook: an action, and why it would help."""

    action: ActionName
    why: str


class Dossier(msgspec.Struct, frozen=True, kw_only=True):
    """All there is about one case."""

    case: Case
    playbook: tuple[Advice, ...] = ()
    actions: tuple[Action, ...] = ()
    history: tuple[Event, ...] = ()


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What a figure is asked of; empty fields: all."""

    org: str = ""
    project: str = ""
    intent: str = ""
    prompt: str = ""
    release: str = ""


class Alert(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A threshold, as it is declared: raise an alarm while a figure is beyond it."""

    metric: str
    """A figure's name: see ``cases.figures`` and the KPIs."""
    operator: Literal[">", ">=", "<", "<="] = ">"
    threshold: float
    intent: str = ""
    prompt: str = ""
    release: str = ""
    window_seconds: float = 3_600.0
    """The figure is of the time since so long ago."""
    for_seconds: float = 0.0
    """How long it must be beyond without a break before it is an alarm."""
    min_samples: int = 0
    """A figure of fewer is taken as missing."""
    missing: Literal["ok", "alarm"] = "ok"
    """What to make of a figure that there are no data for."""
    severity: Severity | None = None
    """Left out: the stakes of the intent say."""
    cool_down_seconds: float = 900.0
    """The same alarm is not raised again for so long."""
    kind: Kind = "threshold"
    """Which playbook the case has."""
    title: str = ""
    enabled: bool = True


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as it stands: what is declared, and what it has seen last."""

    id: str
    org: str
    project: str
    name: str
    alert: Alert
    declared_by: str
    declared_at: int
    state: Literal["ok", "pending", "alarm", "missing"] = "ok"
    value: float | None = None
    samples: int = 0
    looked_at: int = 0
    beyond_since: int | None = None
    raised_at: int | None = None
    alarms: int = 0
    version: int = 1
