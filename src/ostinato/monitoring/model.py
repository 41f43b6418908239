"""What detectors see and say: observations of a series, a state that is kept, a finding."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from ostinato.cases.model import Fact
from ostinato.cases.model import Kind as AlarmKind
from ostinato.core.errors import Invalid
from ostinato.wire.model import Json

DAY = 86_400_000_000
"""Microseconds."""

Feed: TypeAlias = Literal[
    "scores",
    "checked-hits",
    "errors",
    "refusals",
    "format",
    "latency",
    "cost",
    "families",
    "fingerprints",
    "volume",
    "stale",
    "vectors",
    "probes",
    "gold",
]
"""What a kind of detector is fed with. The last three are asked for once a night."""

NIGHTLY: frozenset[str] = frozenset({"vectors", "probes", "gold"})
WHOLE: frozenset[str] = frozenset({"families", "fingerprints", "volume", "vectors", "probes", "gold"})
"""Feeds that are of an intent as a whole: a new release does not begin them anew."""


class Observation(msgspec.Struct, frozen=True, gc=False):
    """One sample of a series."""

    at: int
    """UTC microseconds."""
    value: float | None = None
    """``None`` and what is no finite number are counted, and otherwise left out."""
    label: str = ""
    """A class, where the series is of classes."""
    n: int = 1
    """Samples that this one stands for; ``value`` is their mean."""


class Batch(msgspec.Struct, frozen=True):
    """What came of a series since the last look, in the order in which it was written."""

    until: int
    """Now, UTC microseconds."""
    observations: tuple[Observation, ...] = ()
    watched: float = 0.0
    """Seconds since the last look in which somebody watched: a process that stood still has seen no silence."""


class Series(msgspec.Struct, frozen=True):
    """What a detector watches: one part of one release of one intent of one project. Empty: all, or none is named."""

    org: str
    project: str
    intent: str = ""
    release: str = ""
    prompt: str = ""
    part: str = ""
    """What else it is told apart by: the scorer's name, the target ``provider/model``."""


class State(msgspec.Struct, kw_only=True):
    """What a detector remembers of a series; kinds add to it. Kept after every look: a restart loses nothing."""

    n: int = 0
    """Samples so far."""
    ignored: int = 0
    """Samples that were no finite number, or outside the range."""
    late: int = 0
    """Samples older than the newest that was known."""
    first: int = 0
    last: int = 0
    """Time of the oldest and newest sample, UTC microseconds; 0: none yet."""
    learning: bool = True
    """Whether what is usual is not known well enough yet: then nothing is found."""
    statistic: float = 0.0
    threshold: float = 0.0
    """An alarm is due where the statistic reaches it; 0: not known yet."""
    alarms: int = 0
    alarmed_at: int = 0

    @property
    def index(self) -> float:
        """Statistic over threshold."""
        return self.statistic / self.threshold if self.threshold > 0 else 0.0


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A change, or silence."""

    statistic: float
    threshold: float
    since: int
    """When it probably began, UTC microseconds; 0: not known."""
    samples: int
    """Since then."""
    evidence: dict[str, Fact] = {}
    kind: AlarmKind | None = None
    """Where it is another than the detector's own."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of detector: a plug-in point, see ``kinds``. Pure: time comes with the batch."""

    name: str
    title: str
    feed: Feed
    raises: AlarmKind
    config: type[Any]
    """A frozen struct with defaults."""
    state: type[Any]
    """A subclass of :class:`State`."""
    take: Callable[[Any, Any, Batch, float], Found | None]
    """``take(config, state, batch, arl)``: changes ``state``; ``arl``: days between two false alarms."""
    check: Callable[[Any], None] | None = None
    """Raises ``Invalid`` for a configuration that cannot work."""
    ticks: bool = False
    """Whether it is called without new samples, too."""
    weight: float = 1.0
    """Its part of the budget of false alarms, beside those of the others."""


class Declaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A detector as it is declared: the body of ``PUT /api/v1/detectors/NAME``.

    It takes the place of a default detector for the intent that it names, or for all.
    """

    kind: str
    intent: str = ""
    """Key; left out: every intent, and requests of none, each by itself."""
    prompt: str = ""
    """Name of the prompt that it is about; left out: every one."""
    replaces: str = ""
    """Name of the default detector whose place it takes; left out: the one of its own name, where there is one."""
    enabled: bool = True
    config: Json = {}


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """A detector that stands."""

    id: str
    """Empty: a default that stakes bring along."""
    org: str
    project: str
    name: str
    declared: Declaration
    version: int = 0
    """Counts up with every change; what was learnt belongs to one version."""
    created_at: int = 0
    created_by: str = ""
    origin: str = "declared"
    """``declared``, or ``stakes: high``."""


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """A detector and one of the series that it watches, as it is now."""

    detector: str
    kind: str
    series: Series
    status: Literal["learning", "watching", "alarm"]
    statistic: float
    threshold: float
    index: float
    """Statistic over threshold; 1 and more: alarm. The drift index of an intent is the largest."""
    days_between_false_alarms: float
    """At least, on average: its part of the budget."""
    samples: int
    ignored: int
    late: int
    last: int
    alarms: int
    alarmed_at: int
    learnt: Json = {}
    """What is usual, in figures."""


def refuse(field: str, message: str, hint: str = "") -> Invalid:
    """A declaration that cannot work."""
    return Invalid(message, code="invalid_detector", param=field, hint=hint)
