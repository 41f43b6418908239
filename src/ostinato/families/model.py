"""What is known of a family, as figures. Frozen."""

import msgspec

from ostinato.wire.model import ChatRequest


class Share(msgspec.Struct, frozen=True):
    """A share with its interval (Wilson, 95 %) and what it was counted on."""

    value: float
    low: float
    high: float
    n: float
    """Weighted by age: what is older than the half-life counts less than half."""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One family. Money is nano-dollars, times UTC microseconds, durations microseconds. ``None``: not known."""

    org: str
    project: str
    family: str
    prompt: str = ""
    version: int = 0
    alias: str = ""
    """The model that most of it asks."""
    alias_share: float = 0.0
    intent: str = ""
    """The intent that most of it is of; empty: none."""
    intent_share: float = 0.0
    requests: float
    """In memory; weighted by age."""
    per_month: float
    """Requests of thirty days, at the present rate."""
    hits: Share
    """Share that the cache answers now."""
    repetition: Share
    """Share that had been asked before, word for word, within a window (a day)."""
    near: Share | None
    """Share of the questions that are much like an earlier one, and not the same."""
    near_by: str = ""
    """Who says so: ``minhash`` (in nearly the same words), or the encoder's id (of nearly the same meaning)."""
    concentration: float | None
    """Share of the requests that are the most frequent tenth of all different ones; at least."""
    distinct: float
    """Different requests of the window that runs."""
    cost: int | None
    """Of one call, on average; ``None``: no price is known."""
    cost_share: float
    """Of all that the project would cost without a cache."""
    per_month_cost: int
    """Of thirty days without a cache."""
    p50_us: int | None
    p95_us: int | None
    errors: float
    """Share of calls."""
    stability: Share | None
    """Share of answers to equal requests that agree, whatever their age."""
    stability_by_age: tuple[Share | None, ...] = ()
    """The same up to a minute, ten, an hour, six, a day, a week, and beyond."""
    gaps: tuple[float, ...] = ()
    """Share of the requests that came so long after an equal one, by the same classes of time."""
    volatility: float | None = None
    """By how much less answers agree with every day between them; ``None``: not seen at two ages, or these
    lie within half a day."""
    personal: Share | None = None
    """Share of the questions with personal data in them."""
    missed: float = 0.0
    """Requests that may have been counted as ``other``, at most."""
    first: int = 0
    last: int = 0


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A request and what was answered, held in memory for comparing. Never written down."""

    org: str
    project: str
    family: str
    print64: int
    user: str
    """Digest of the end user; empty: none is named."""
    alias: str
    intent: str
    prompt: str
    version: int
    request: ChatRequest
    answer: str
    at: int
