"""What is read, and what is told of it. Frozen."""

import msgspec

from ostinato.cache.policy import Policies
from ostinato.families import Figures, Share
from ostinato.families import Settings as FamiliesSettings
from ostinato.gateway.inspecting import Checkers
from ostinato.intents import Intents
from ostinato.routing import Catalog
from ostinato.traces import PriceBook
from ostinato.triage import Settings as TriageSettings
from ostinato.triage import Verdict
from ostinato.wire.model import ChatRequest, Usage

__all__ = [
    "Assessment",
    "Exchange",
    "Family",
    "FileReport",
    "Money",
    "Rates",
    "Rules",
    "Share",
    "Simulated",
    "Skipped",
    "Told",
]


class Exchange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One recorded request, and what was answered. ``request`` has no ``original``: nobody forwards it."""

    at: int
    """UTC microseconds."""
    number: int
    """Its place in what was read: of equal times the first comes first."""
    request: ChatRequest
    answer: bytes | None = None
    """The stored form; ``None``: it was not recorded."""
    usage: Usage | None = None
    """As told beside the answer; the answer's own comes first."""
    provider: str = ""
    model: str = ""
    """What answered, where that is told."""
    user: str = ""
    session: str = ""
    intent: str = ""
    status: int = 200
    us: int = 0
    """How long it took, microseconds; 0: not told."""
    timed: bool = True
    """Whether ``at`` was recorded; else it is that of what stands before it."""
    ended: bool = True
    """Whether it was recorded why the answer ended; else it is held to be complete."""


class Rules(msgspec.Struct, frozen=True):
    """What a gateway would obey: compiled as it compiles them."""

    policies: Policies
    intents: Intents
    checkers: Checkers
    prices: PriceBook
    catalog: Catalog | None = None
    """``None``: every model stands for itself."""
    triage: TriageSettings = TriageSettings()
    families: FamiliesSettings = FamiliesSettings()
    project: str = ""
    """As declarations name it."""
    epoch: str = ""


class Skipped(msgspec.Struct, frozen=True):
    """Something that could not be used. Never says what stood there."""

    line: int
    """Of the file, from 1; the number of the record where the file is no list of lines."""
    why: str


class FileReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a file."""

    name: str
    formats: dict[str, int]
    """Format -> requests that were read in it."""
    read: int
    skipped: int
    reasons: tuple[Skipped, ...]
    """The first five."""
    without_answer: int
    note: str = ""


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """A replay under one policy. Money is nano-dollars."""

    name: str
    scope: str
    """``user`` or ``project``."""
    ttl: float | None
    """Seconds; ``None``: as declared."""
    requests: int
    eligible: int
    hits: int
    rate: Share
    """Hits of all requests."""
    saved: int
    """What the requests that hit did cost, as far as prices are known."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Hit rates to expect."""

    declared: Simulated
    """Under the policies as they are declared."""
    others: tuple[Simulated, ...]
    """Each scope with each time to live, all else as declared."""
    ever: Share
    """Asked before at any time, by the same end user: no time to live gives more."""
    ever_anybody: Share
    near: Share | None
    """Not asked before, and much like what was: an upper bound for a semantic tier, beside exact hits."""


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """Nano-dollars."""

    spent: int
    """What is known of it."""
    saved: int
    """Under the policies as declared."""
    share_saved: float | None
    coverage: float
    """Share of the tokens whose price is known."""
    estimated: int
    """Answers whose tokens were counted by us, as none were recorded."""
    unpriced: dict[str, int]
    """Models without a price -> requests; the twenty most frequent."""
    days: float
    """From the first request to the last."""
    per_month: int | None
    """Saved in thirty days at this rate; ``None``: the times of the requests are not known."""


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """One family, and what triage would decide of it."""

    figures: Figures
    verdict: Verdict
    model: str
    share: float
    """Of all that was spent."""
    spent: int
    saved: int
    requests: int
    sample: str = ""
    """A question of it, redacted; only where that was asked for."""


class Told(msgspec.Struct, frozen=True):
    """Something that could not be known, and what was held instead."""

    name: str
    text: str
    n: int
    """Requests that it concerns."""


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """All that the files told."""

    files: tuple[FileReport, ...]
    requests: int
    since: int | None
    until: int | None
    rates: Rates
    money: Money
    families: tuple[Family, ...]
    """Those that cost most first."""
    families_known: int
    not_eligible: dict[str, int]
    """Reason -> requests in which the cache takes no part."""
    not_kept: dict[str, int]
    """Reason -> answers that are not kept."""
    unknown: tuple[Told, ...]
    forgotten: int = 0
    """Different requests that made room for others: hits on them were missed in the count."""
