"""What triage decides about a family, and why. Frozen."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.cache.model import Policy
from ostinato.families import Figures, Share
from ostinato.intents.model import Stakes
from ostinato.wire.model import Json

Choice: TypeAlias = Literal["cache", "optimize", "both", "review", "leave"]
CHOICES: tuple[Choice, ...] = ("cache", "optimize", "both", "review", "leave")
State: TypeAlias = Literal["proposed", "waiting", "applied", "rejected", "superseded"]
"""``waiting``: somebody has approved it, and a change that it makes needs the word of others, too."""


class Money(msgspec.Struct, frozen=True):
    """Dollars a month: what is expected, the standard error of that, and the interval (90 %)."""

    expected: float
    error: float = 0.0

    @property
    def low(self) -> float:
        return self.expected - 1.6448536 * self.error

    @property
    def high(self) -> float:
        return self.expected + 1.6448536 * self.error


class Span(msgspec.Struct, frozen=True):
    """A number with its interval (90 %)."""

    expected: float
    low: float
    high: float


class Reason(msgspec.Struct, frozen=True):
    """One thing that speaks for a decision: a named comparison that holds, with its figures."""

    name: str
    text: str
    """The same in words."""
    figure: float
    sign: Literal[">=", "<"]
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the comparison is true."""
        return self.figure >= self.bound if self.sign == ">=" else self.figure < self.bound


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision is made of."""

    figures: Figures
    stakes: Stakes = "medium"
    value: float | None = None
    """Dollars that a success is worth, as the intent says; ``None``: it does not."""
    quality: Share | None = None
    """Of its answers, as far as they were judged."""
    gained: float | None = None
    """What the last optimization run on its prompt found to be gained, as a share; ``None``: there was none."""
    replaced_by: int = 0
    """The version of its prompt that is served, where no label points at its own any more; 0: one does."""
    policy: Policy = Policy()
    """What holds for it now."""
    off_by: str = ""
    """Whose rules turn the cache off, where ``policy`` does: in words."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What is best to do with a family, as far as is known."""

    choice: Choice
    reasons: tuple[Reason, ...]
    saving: Span
    """Dollars a month that it is expected to save or earn."""
    wrong: Span
    """Wrong answers a month that it is expected to cause."""
    risk: float
    """Dollars a month that these cost: already taken off ``saving``."""
    policy: Json
    """What is proposed: ``cache`` (mode, ttl, scope), ``optimize`` (prompt), ``review`` (share)."""
    worth: dict[str, Money] = {}
    """Choice -> what it would be worth: what another choice must be better than."""
    forbidden: str = ""
    """The hard rule that keeps it from being cached; empty: none."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict that was written down, and what became of it."""

    id: str
    org: str
    project: str
    family: str
    number: int
    """1, 2, 3 ... of its family."""
    choice: Choice
    state: State
    reasons: tuple[Reason, ...]
    saving: Span
    wrong: Span
    risk: float
    policy: Json
    figures: Json
    """What was known of the family."""
    worth: dict[str, Money] = {}
    stakes: Stakes = "medium"
    intent: str = ""
    prompt: str = ""
    automatic: bool = False
    """Whether it was carried out without asking anybody."""
    decided_at: int
    """UTC microseconds."""
    closed_at: int | None = None
    """When it was applied, rejected or superseded."""
    closed_by: str = ""
    comment: str = ""
    effects: Json = {}
    """What carrying it out has changed: names and ids."""
    version: int = 1
    """Counts changes; sent back to notice that somebody was quicker."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One family in a list: the decision that stands, beside what is known now."""

    figures: Figures
    stakes: Stakes
    quality: Share | None
    headroom: float | None
    """1 less quality, or what the last optimization run found; ``None``: nobody knows."""
    decision: Decision | None


Finding: TypeAlias = Literal["stale", "unowned", "unused", "drifting"]


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt in the inventory."""

    org: str
    project: str
    prompt: str
    intent: str = ""
    owner: str = ""
    findings: tuple[Finding, ...] = ()
    reasons: tuple[str, ...] = ()
    state: Literal["waiting", "attested", "overdue"] = "waiting"
    asked_at: int
    due_at: int
    """When the owner must have looked."""
    attested_at: int | None = None
    attested_by: str = ""
    comment: str = ""
    version: int = 1
