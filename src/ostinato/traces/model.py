"""The rows of the ledger: one per request, written once, never changed.

A *call* row is wide and stands for everything but a plain cache hit; a *hit* row holds a reference to the call that
first produced the answer and only what differs. The view ``request_event`` joins the two.
"""

import msgspec

from ostinato.wire.model import Json, Usage


class HitRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A request answered from cache. Times are UTC microseconds, durations microseconds, money nano-dollars."""

    request_id: str
    at: int
    key_id: str
    origin: str
    """Request id of the call whose answer was served."""
    total_us: int
    saved: int
    """What the same call would have cost now; 0 where the price is unknown."""
    age_s: int
    kind: int
    """0 raw-body, 1 in-process, 2 shared tier, 3 joined flight, 4 stale."""
    stream: bool
    user_digest: str = ""
    session: str = ""
    client_request_id: str = ""
    arm: str = ""
    """Of the prompt's canary, at this request; prompt, version and release are those of the call."""


class AttemptRow(msgspec.Struct, frozen=True, gc=False):
    """One try at one target."""

    target: str
    us: int
    outcome: str
    """``ok`` or the failure class."""
    status: int | None = None


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was not a plain hit: a miss, a bypass, a refusal, an error."""

    request_id: str
    at: int
    client_request_id: str = ""
    org: str = ""
    project: str = ""
    key_id: str = ""
    wire: str = ""
    """``openai.chat``, ``openai.responses``, ``openai.embeddings``, ``anthropic.messages``,
    ``anthropic.count_tokens``, ``models``, ``feedback``."""
    stream: bool = False
    alias: str = ""
    provider: str = ""
    model: str = ""
    target: str = ""
    attempts: tuple[AttemptRow, ...] = ()
    cache: str = "miss"
    """``hit-exact``, ``miss``, ``stale``, ``bypass``."""
    reason: str = ""
    """Why, in one word: ``no-store``, ``temperature``, ``tools``, ``truncated`` ..."""
    stored: bool = False
    generation: str = ""
    fingerprint: str = ""
    input_digest: str = ""
    user_digest: str = ""
    session: str = ""
    tags: str = ""
    intent: str = ""
    usage: Usage | None = None
    cost: int | None = None
    """``None``: no price known; lowers coverage."""
    counterfactual: int | None = None
    saved: int = 0
    status: int = 200
    error: str = ""
    finish: str = ""
    auth_us: int = 0
    lookup_us: int = 0
    upstream_us: int = 0
    first_token_us: int = 0
    total_us: int = 0
    system_fingerprint: str = ""
    input_text: str | None = None
    output_text: str | None = None
    extra: Json | None = None
    prompt: str = ""
    """Name of the registered prompt that was asked; empty where the caller sent messages of its own."""
    prompt_version: int = 0
    """Its number; 0: none."""
    release: str = ""
    """Id of the release in force; empty where none moved the label."""
    arm: str = ""
    """``stable``, ``canary`` or ``control`` while a canary runs, ``baseline`` in the hold-out; empty otherwise."""
    family: str = ""
    """What it belongs to: see ``families``."""
    trial: str = ""
    """``treated`` or ``held`` (answered without cache) where the hold-out drew it; empty where it was left out."""
    answered_by: str = ""
    """The provider's own name for what answered, such as a dated snapshot; empty: it did not say."""


HIT_KINDS = ("raw", "memory", "shared", "joined", "stale")
"""Names of ``HitRow.kind``, by number."""


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which rows: every field that is not empty must be equal."""

    org: str = ""
    project: str = ""
    key_id: str = ""
    alias: str = ""
    target: str = ""
    """``provider/model``."""
    intent: str = ""
    prompt: str = ""
    release: str = ""
    arm: str = ""


class Window(msgspec.Struct, frozen=True):
    """From ``since`` (included) to ``until`` (excluded), UTC microseconds."""

    since: int
    until: int


class RequestEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One request as the view ``request_event`` tells it: a call row, or a hit row joined with the call it repeats.

    Of a hit, ``cost`` is 0 and tokens, model, finish and digests are those of the call named by ``origin``; they are
    empty where that call is no longer in the ledger.
    """

    request_id: str
    at: int
    client_request_id: str
    org: str
    project: str
    key_id: str
    wire: str
    stream: bool
    alias: str
    provider: str
    model: str
    target: str
    attempts: tuple[AttemptRow, ...]
    cache: str
    kind: str
    """How a hit was found (``HIT_KINDS``); empty for a call."""
    origin: str
    """Request id of the call whose answer a hit repeats; empty for a call."""
    age_s: int | None
    reason: str
    stored: bool
    generation: str
    fingerprint: str
    input_digest: str
    user_digest: str
    session: str
    tags: str
    intent: str
    input: int | None
    cache_read: int | None
    cache_write: int | None
    output: int | None
    reasoning: int | None
    usage_raw: Json | None
    cost: int | None
    counterfactual: int | None
    saved: int
    status: int
    error: str
    finish: str
    auth_us: int
    lookup_us: int
    upstream_us: int
    first_token_us: int
    total_us: int
    system_fingerprint: str
    input_text: str | None
    output_text: str | None
    extra: Json | None
    prompt: str = ""
    prompt_version: int = 0
    release: str = ""
    arm: str = ""
    family: str = ""
    trial: str = ""


class Page(msgspec.Struct, frozen=True):
    """Some rows, oldest first, and the cursor that continues after them."""

    rows: tuple[RequestEvent, ...]
    after: str


class Latency(msgspec.Struct, frozen=True):
    """Percentiles in microseconds, each within 2.5 %; ``None`` where there is nothing to measure."""

    count: int
    p50: int | None
    p95: int | None
    p99: int | None


class Own(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of our own - experiments, optimization, probes - which are no traffic."""

    calls: int = 0
    tokens: int = 0
    cost: int = 0
    """Nano-dollars."""
    errors: int = 0


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """What traffic came to in a window. Rates are ``None``, not zero, where nothing was counted. Money is nano-dollars.
    Calls of our own are in ``own``, and in no other figure."""

    window: Window
    """What was really counted: the asked window, widened to whole buckets."""
    requests: int
    hits: int
    hits_by_kind: dict[str, int]
    misses: int
    bypasses: int
    refused: int
    """Requests that never came to a look-up: not authenticated, invalid, over a limit."""
    hit_rate: float | None
    """hits / (hits + misses): of the requests that could have been hits."""
    token_hit_rate: float | None
    """Tokens avoided / tokens that would have been spent."""
    tokens: dict[str, int]
    """Spent, by bucket: ``input``, ``cache_read``, ``cache_write``, ``output``, ``reasoning``."""
    tokens_avoided: int
    cost: int
    saved: int
    counterfactual: int
    """What the window would have cost without the response cache."""
    pricing_coverage: float | None
    """Tokens with a known price / all tokens, spent and avoided."""
    latency: dict[str, Latency]
    """``hit``, ``miss``, ``first_token``, ``upstream``, ``overhead`` (total less upstream, of misses)."""
    errors: int
    errors_by_class: dict[str, int]
    reasons: dict[str, int]
    """Why answers were not taken from the cache or not stored, by one word; and how many refuse, of whatever calls."""
    rows_dropped: int
    """Rows shed because the queue was full, in every project."""
    rows_lost: int
    """Rows that a crash took, in every project."""
    rows_refused: int
    """Rows that no database would take, in every project."""
    unattributed: int
    """Hits whose call is not in the ledger: counted, but without alias, tokens and project."""
    asides: int = 0
    """What was asked beside answers and vectors, and is among no other figure here: lists of models, counts of tokens,
    feedback, looks at held answers."""
    own: Own = Own()
