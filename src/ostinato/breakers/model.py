"""What stands between an intent and its answers: how it shall behave when it is tripped, and the trips that stand."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

import msgspec

State: TypeAlias = Literal["tripped", "half-open", "closed"]
Cause: TypeAlias = Literal["people", "case", "quality", "policy", "budget"]
"""Who or what tripped it: a person, the action of a case, or one of the three budgets that an intent declares."""

Way: TypeAlias = Literal["fail-safe", "target", "refuse"]
"""``fail-safe``: a fixed text; ``target``: another, stricter model; ``refuse``: an error (503) that says so."""


class Safety(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an intent answers while it is tripped, and what trips it by itself; part of its declaration."""

    on_trip: Way = "refuse"
    text: str = ""
    """What callers get instead of an answer (``fail-safe``; and ``target`` where the model is not to be had)."""
    alias: str = ""
    """The model that answers instead (``target``)."""
    serve_cache: bool = False
    """Whether answers that are in the cache already are still served."""
    quality_floor: float | None = None
    """Mean quality of an hour (0 to 1) below which it trips; ``None``: quality does not trip it."""
    violations_per_hour: float | None = None
    """Requests and answers blocked by checks in an hour, above which it trips."""
    min_samples: int = 20
    """Scores that ``quality_floor`` needs before it is looked at."""
    trial_share: float = 0.05
    """Of the requests that go the ordinary way once the cool-down is over, to show whether it is well again."""
    cool_down_seconds: float = 600.0
    """How long it stays tripped at least."""
    good_share: float = 0.8
    """What share of the trials must be good; where quality tripped it, ``quality_floor`` stands in its place."""

    @property
    def watched(self) -> bool:
        """Whether anything trips it by itself, beside the intent's budget of a day."""
        return self.quality_floor is not None or self.violations_per_hour is not None


class Trip(msgspec.Struct, frozen=True, kw_only=True):
    """One trip of one intent of one project (or of a target), from the moment it opened to the moment it closed."""

    id: str
    org: str
    project: str
    """Id."""
    intent: str
    """Empty where it is a target that is not to be asked."""
    target: str = ""
    """``provider/model``, held open for the whole installation."""
    state: State = "tripped"
    cause: Cause
    code: str
    """Why, in one word of a-z and dashes: it goes into the header ``ostinato-breaker``."""
    reason: str = ""
    """Why, in words; not told to callers of the data plane."""
    since: int
    """UTC microseconds."""
    by: str
    """Actor, as the audit log names it."""
    case: str = ""
    """Id of the case whose action it was."""
    held: bool = False
    """Whether it stays tripped until somebody closes it."""
    safety: Safety = Safety()
    """As the intent declared it when it tripped."""
    changed_at: int
    """Of the last change of state."""
    cool_until: int
    """When trials begin, UTC microseconds."""
    good: float = 0.0
    """Trials that went well since the last change of state; of a score from 0 to 1 its value counts here, the rest as
    bad."""
    bad: float = 0.0
    reopened: int = 0
    """How often trials have failed."""
    closed_at: int | None = None
    closed_by: str = ""
    closed_why: str = ""
    version: int = 1

    @property
    def slot(self) -> str:
        """What only one open trip at a time may be about."""
        return f"target:{self.target}" if self.target else f"{self.project}/{self.intent}"

    @property
    def resource(self) -> str:
        """As the audit log names it."""
        return f"breaker:{self.slot}"

    def header(self, *, trial: bool = False) -> bytes:
        """The value of ``ostinato-breaker``; ``since`` is in Unix seconds. ``trial``: the ordinary model answered."""
        word = "trial" if trial else "tripped"
        return f"{word}; intent={self.intent}; since={self.since // 1_000_000}; reason={self.code}".encode()


class Trips:
    """All trips that stand, as the hot path asks for them. Immutable; swapped whole."""

    __slots__ = ("_places", "all", "targets")

    def __init__(self, trips: Iterable[Trip] = ()) -> None:
        self.all = tuple(trips)
        self._places = {(one.project, one.intent): one for one in self.all if one.intent}
        self.targets = frozenset(one.target for one in self.all if one.target)
        """Targets that must not be asked."""

    def __bool__(self) -> bool:
        return bool(self.all)

    def tripped(self, project: str, intent: str) -> Trip | None:
        """The open trip of an intent: tripped, or half-open."""
        return self._places.get((project, intent)) if self._places else None
