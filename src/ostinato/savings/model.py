"""What this room tells: frozen. Money is nano-dollars unless a name says otherwise; ``None`` means not known."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.statistics import Interval
from ostinato.traces import Window


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One side of the hold-out."""

    sessions: int
    """Sessions; where none was named, requests that are alike count as one. Exact below 128, above that estimated
    within a tenth or so."""
    requests: int
    mean_cost: float | None
    """Per request."""
    error_rate: float | None
    unpriced: int = 0
    """Requests whose price is not known: they count as costing nothing."""


class HoldOut(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache saves by experiment."""

    window: Window
    share: float
    """Of the sessions, as configured last."""
    held: Side
    treated: Side
    saving: Interval | None
    """N x (mean cost held - mean cost treated), over the treated requests; may lie below 0. ``None``: see ``why``."""
    error_reduction: Interval | None
    """Error rate of the held less that of the treated."""
    accounted: int
    """What the ledger says that the hits of the same population saved."""
    ratio: float | None
    """accounted / estimated saving; 1 where accounting is right."""
    ratio_low: float | None = None
    ratio_high: float | None = None
    excluded: dict[str, int] = {}
    """Requests of the window that the estimate says nothing about, and why."""
    confidence: float = 0.95
    why: str = ""
    """Why there is no interval, in a sentence."""


State: TypeAlias = Literal["counted", "off", "missing", "withheld"]
"""``off``: there is no such source yet; ``missing``: nothing says how much; ``withheld``: it must not count."""


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the account. Savings are above 0, costs below."""

    name: str
    nano: int | None
    state: State = "counted"
    kind: Literal["saving", "overhead"] = "saving"
    count: int | None = None
    """Hits, calls, minutes: what was counted."""
    detail: str = ""
    """How it was found, or why it is withheld, in a sentence."""
    project: str = ""
    prompt: str = ""
    release: str = ""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """Accounted net saving."""

    window: Window
    lines: tuple[Line, ...]
    net: int
    """Sum of all lines that count."""
    gross: int
    overheads: int
    """Below 0."""
    cost: int
    """What was paid to providers for requests of callers."""
    counterfactual: int
    """What they would have paid without the cache."""
    pricing_coverage: float | None
    """Tokens priced from a valid tariff / all tokens."""


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """What signals say of the new release's answers less the old one's, from -1 to 1."""

    n_new: int
    n_old: int
    low: float
    high: float
    mean: float
    margin: float

    @property
    def holds(self) -> bool:
        """Whether it is shown that the new one is not worse by more than the margin."""
        return self.low > -self.margin


CostKind: TypeAlias = Literal["infrastructure", "tooling", "other", "reviewer", "wrong-hit"]


class NewCost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cost as it is declared."""

    name: str
    kind: CostKind
    dollars: float
    """Per month; of a ``reviewer`` per hour; of a ``wrong-hit`` each."""
    project: str | None = None
    """Id or short name; left out: the whole organization's."""
    since: int | None = None
    """UTC microseconds; left out: from now on."""
    until: int | None = None
    note: str = ""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """A declared cost."""

    name: str
    org: str
    kind: CostKind
    nano: int
    project: str
    """Id; empty: the whole organization's."""
    since: int
    until: int | None
    note: str
    changed_at: int
    changed_by: str
    version: int


class InvoiceLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a provider counted or billed for one day, model and class of tokens."""

    day: str
    """``2026-11-23``, UTC."""
    model: str
    token: str
    """``input``, ``cache_read``, ``cache_write``, ``cache_write_1h``, ``output``; or ``total``: not split.
    Reasoning is in ``output``, as providers bill it."""
    tokens: int | None = None
    nano: int | None = None


class NewInvoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is handed in."""

    provider: str
    """As the ledger calls it: the name under ``[providers]``."""
    shape: str = "generic"
    """Which file it came from: ``openai-costs``, ``openai-usage``, ``anthropic-usage``, ``generic``."""
    lines: tuple[InvoiceLine, ...]


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """An invoice as it was handed in, without its lines."""

    id: str
    org: str
    provider: str
    shape: str
    digest: str
    since: int
    until: int
    at: int
    by: str
    lines: int


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """One day, model and class where invoice and ledger are compared."""

    day: str
    model: str
    token: str
    invoice_tokens: int | None
    ledger_tokens: int | None
    invoice_nano: int | None
    ledger_nano: int | None
    missing: Literal["", "invoice", "ledger"] = ""
    """On which side there is nothing at all."""


class Reconciliation(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger beside an invoice."""

    invoice: Invoice
    invoice_nano: int | None
    """``None``: the file tells tokens only."""
    ledger_nano: int
    repriced_nano: int
    """The ledger's calls at the prices that are declared now: another sum where a price was changed with effect
    backwards. The rows keep what was known when they were written."""
    difference: float | None
    """(ledger - invoice) / invoice."""
    repriced_difference: float | None
    invoice_tokens: int
    ledger_tokens: int
    token_difference: float | None
    unpriced: int
    """Calls of the ledger without a price."""
    outside: int
    """Calls of projects of the organization that the key does not reach: in the invoice, and not compared here."""
    gaps: tuple[Gap, ...]
    """Where the two differ by more than half a per cent, largest first; at most 200."""
    within: bool | None
    """Whether the sums agree within half a per cent."""
    calls: int = 0
    """Calls of the ledger that were compared; 0: nothing was, and the provider's name is likely another."""
