"""What an intent is: as it is declared, and as it is obeyed. Frozen; the hot path reads the compiled ones."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.breakers.model import Safety

Stakes: TypeAlias = Literal["low", "medium", "high", "critical"]
"""What a wrong answer costs, from nothing much to harm that cannot be undone."""

DataClass: TypeAlias = Literal["public", "internal", "confidential", "personal", "sensitive"]
"""What may be in its requests. ``personal`` and ``sensitive`` keep every user's answers apart."""


class Kpi(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A figure that the intent is judged by."""

    name: str
    target: float
    direction: Literal["at-least", "at-most"] = "at-least"
    unit: str = ""


class Budgets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What its requests may take; ``None``: not limited. See ``savings.Budgets``."""

    tokens_per_request: int | None = None
    """Input and output: the answer's length is cut to what the input leaves; a longer input is refused."""
    tokens_per_day: int | None = None
    """UTC day; beyond it the intent is over budget."""
    dollars_per_day: float | None = None
    latency_ms: float | None = None
    """Watched, not enforced: how many answers took longer is reported."""

    @property
    def daily(self) -> bool:
        """Whether a day can use them up: then it answers as ``safety`` says until the day is over."""
        return self.tokens_per_day is not None or self.dollars_per_day is not None


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which requests are of this intent where neither prompt nor header says so.

    Each list holds alternatives; where both are given, one of each must be met.
    """

    aliases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class CacheRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields of :class:`ostinato.cache.Policy` that the intent sets; ``None``: stakes or the cache policy say."""

    mode: Literal["off", "exact"] | None = None
    ttl: float | None = None
    ttl_jitter: float | None = None
    temperature_limit: float | None = None
    stale_while_revalidate: float | None = None
    stale_if_error: float | None = None
    store_refusals: bool | None = None
    store_fallback: bool | None = None
    fallback_ttl: float | None = None
    scope: Literal["user", "project"] | None = None
    session_scope: bool | None = None
    max_entry_bytes: int | None = None
    finish_and_store: bool | None = None
    allow_directives: tuple[str, ...] | None = None
    holdout: bool | None = None
    """Whether some sessions may be answered without the cache, to measure what it saves; no rule of a policy."""

    def given(self) -> dict[str, object]:
        """What is set of a cache policy, by name."""
        values = msgspec.structs.asdict(self)
        return {name: value for name, value in values.items() if value is not None and name != "holdout"}


class Review(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How its prompts change; ``None``: stakes say."""

    approvals: int | None = None
    """Principals who must approve a release, the author not among them."""
    human: bool | None = None
    """Whether a person looks at answers before a release is promoted."""
    auto_rollout: bool | None = None
    """Whether a canary may advance by itself."""
    baseline_holdout: bool | None = None
    """Whether some requests may be answered by the release before, to measure against."""
    gates: tuple[str, ...] | None = None
    """Gates that a release must pass, beside those of its label."""
    hold: bool | None = None
    """Whether every answer waits until somebody has looked at it; only where it is declared."""
    hold_queue: str = "held"
    """The project's review queue that answers wait in; made by itself where there is none."""
    hold_fallback: str = ""
    """What the caller gets meanwhile; left out: 202, and where to ask for the answer."""
    hold_seconds: float = 3_600.0
    """How long an answer waits."""
    hold_default: Literal["fallback", "reject", "release"] = "fallback"
    """What it comes to when nobody has looked in time. ``release`` only at low and medium stakes."""


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long things are kept, in days; ``None``: as elsewhere. ``answers`` caps the life of cached answers."""

    answers: float | None = None
    rows: float | None = None
    texts: float | None = None


class Declaration(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An intent as it is declared: ``[intents.NAME]``, or the body of ``PUT /api/v1/intents/NAME``."""

    key: str = ""
    """What requests and prompts call it; left out: the declaration's name."""
    project: str = ""
    """Whose it is; left out or ``*``: everybody's."""
    title: str = ""
    description: str = ""
    owner: str = ""
    """Who answers for it; required at high and critical stakes."""
    stakes: Stakes = "medium"
    value_per_success: float | None = None
    """Dollars that one success is worth."""
    kpi_targets: tuple[Kpi, ...] = ()
    slices: tuple[str, ...] = ()
    """Parts of the traffic that must not lose when a release wins on the whole."""
    cache: CacheRules = CacheRules()
    review: Review = Review()
    checks: tuple[str, ...] = ()
    """Names of check rules, applied beside those of the cache policy."""
    data_classes: tuple[DataClass, ...] = ()
    retention: Retention = Retention()
    match: Match = Match()
    safety: Safety = Safety()
    """How it answers while its breaker is open, and what opens that by itself."""
    budgets: Budgets = Budgets()


class Requirements(msgspec.Struct, frozen=True):
    """What a release of a prompt of some intent needs."""

    approvals: int
    human_review: bool
    auto_rollout: bool
    baseline_holdout: bool
    gates: tuple[str, ...] = ()
    version: str = ""
    """Of the intent; part of what an approval is bound to. Empty: there is no intent."""


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """An intent, compiled."""

    name: str
    """Of its declaration."""
    key: str
    project: str
    """Id; empty: everybody's."""
    declared: Declaration
    value: int | None
    """Nano-dollars that one success is worth."""
    requirements: Requirements
    version: str
    """16 hex digits of a digest of all that is declared and of what its stakes bring along."""

    @property
    def stakes(self) -> Stakes:
        return self.declared.stakes


class Effective(msgspec.Struct, frozen=True):
    """One rule as it holds, and where it comes from."""

    rule: str
    value: str | float | bool | tuple[str, ...] | None
    origin: str
    """``declared``, ``stakes: high``, ``data class: personal``, ``retention``, ``cache policy``, ``built in``."""
