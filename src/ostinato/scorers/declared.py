"""What people declare of scorers: versions of them, rules of sampling, calibrations of judges. Frozen."""

import msgspec

from ostinato.scorers.calibration import Agreement
from ostinato.scorers.model import Spec


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a project's scorer."""

    id: str
    org: str
    project: str
    name: str
    number: int
    version: str
    """8 hex digits; ``NAME@VERSION`` stands beside every score."""
    spec: Spec
    note: str = ""
    created_at: int
    created_by: str
    standing: bool = True
    """Whether it is the version that is used now."""


class NewRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which share of the traffic shall be scored, and by what."""

    name: str
    share: float
    """From 0 to 1, of the answers that it is about; 0 switches it off."""
    scorers: tuple[str, ...]
    """Names of declared scorers; none where answers go into a review queue alone."""
    intent: str = ""
    """Key of the intent that it is about; left out: every one."""
    prompt: str = ""
    """Name of the prompt that it is about; left out: every one, and requests without."""
    quarantine: float | None = None
    """A stored answer is withdrawn from the cache where its mean falls below this; left out: none is."""
    review: str = ""
    """Review queue that answers go into, as its sampling draws them, of projects that keep texts; left out: none."""


class Rule(NewRule, frozen=True, kw_only=True):
    """A rule that stands."""

    id: str
    org: str
    project: str
    version: int
    created_at: int
    created_by: str


class Calibrated(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a judge, held against people on a version of a dataset."""

    id: str
    scorer: str
    """Name."""
    version: str
    dataset: str
    number: int
    dataset_version: str
    """Id."""
    result: Agreement
    cost: int
    """Nano-dollars."""
    at: int
    by: str
    queue: str = ""
    """The review queue whose verdicts it was held against; then there is no dataset."""


class Active(msgspec.Struct, frozen=True):
    """A rule as the gateway follows it."""

    rule: Rule
    bar: int
    """A request whose 32 random bits are below it is drawn."""
    specs: tuple[Spec, ...]


class Sampling(msgspec.Struct, frozen=True):
    """All rules, as every process follows them: a snapshot."""

    rules: dict[str, tuple[Active, ...]] = {}
    """By id of the project."""
    bar: int = 0
    """The highest of all; 0: nothing is sampled, and nothing is looked at."""
