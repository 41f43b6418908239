"""The explanation of a request: one part per question, there or absent with the reason. Times: UTC microseconds."""

import msgspec

from ostinato.audit import Inclusion
from ostinato.traces import AttemptRow


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """Who asked what, and how it went."""

    request_id: str
    client_request_id: str
    at: int
    org: str
    project: str
    key_id: str
    wire: str
    alias: str
    stream: bool
    status: int
    error: str
    finish: str
    session: str
    tags: tuple[str, ...]
    auth_us: int
    lookup_us: int
    upstream_us: int
    first_token_us: int
    total_us: int


class Purpose(msgspec.Struct, frozen=True, kw_only=True):
    """Its intent, as that stands now."""

    key: str
    name: str
    title: str
    owner: str
    stakes: str
    version: str


class Prompted(msgspec.Struct, frozen=True, kw_only=True):
    """The prompt version that was rendered."""

    name: str
    number: int
    digest: str
    """SHA-256 of its canonical content."""
    message: str
    """What its author said of it."""
    author: str
    source: str
    created_at: int


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One decision on the release."""

    principal: str
    decision: str
    at: int
    comment: str
    bound: bool
    """Whether it was given to exactly this release, by its digest."""


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of evidence: what somebody said of the release."""

    name: str
    passed: bool
    digest: str
    """SHA-256 of the report."""
    principal: str
    at: int


class Released(msgspec.Struct, frozen=True, kw_only=True):
    """The release that put the version in force, as it stands now."""

    id: str
    label: str
    number: int
    arm: str
    """Of the request: ``stable``, ``canary``, ``control``; empty while no canary ran."""
    state: str
    digest: str
    """SHA-256 of all that its approvals are about."""
    author: str
    reason: str
    proposed_at: int
    started_at: int | None
    approvals_needed: int
    approvals: tuple[Word, ...]
    gates: tuple[str, ...]
    evidence: tuple[Proof, ...]


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What was said, as a keyed digest: equal ones mean the same input. Texts only to who may read them."""

    digest: str
    fingerprint: str
    input_text: str | None
    output_text: str | None


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """The request that first produced the answer."""

    request_id: str
    at: int
    key_id: str
    target: str
    cost: int | None
    """Nano-dollars; ``None``: its price was not known."""
    prompt_version: int
    release: str
    arm: str


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache did."""

    result: str
    """``hit-exact``, ``miss``, ``stale``, ``bypass``."""
    kind: str
    """How a hit was found: ``raw``, ``memory``, ``shared``, ``joined``, ``stale``."""
    reason: str
    stored: bool
    generation: str
    age_s: int | None
    origin: Origin | None


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """Who answered: for a hit, who answered first."""

    target: str
    provider: str
    model: str
    system_fingerprint: str
    attempts: tuple[AttemptRow, ...]
    by_origin: bool
    """Whether the answer came from the cache and this tells of the request that first produced it."""


class Spent(msgspec.Struct, frozen=True, kw_only=True):
    """Money in nano-dollars, and tokens."""

    cost: int | None
    """``None``: no price is known."""
    saved: int
    counterfactual: int | None
    """What it would have cost without the cache."""
    input: int | None
    cache_read: int | None
    cache_write: int | None
    output: int | None
    reasoning: int | None


class Leaf(msgspec.Struct, frozen=True, kw_only=True):
    """One deed that led to this answer, with its proof."""

    index: int
    at: int
    action: str
    resource: str
    actor: str
    principal: str
    outcome: str
    facts: dict[str, str | int]
    proof: Inclusion | None
    """That it is in the log of the newest checkpoint; ``None`` where no checkpoint covers it yet."""


class Proven(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit log proves of the way to this answer."""

    checkpoint: str
    """The newest one, as a signed note; empty: there is none yet."""
    size: int
    """Leaves that it covers."""
    leaves: tuple[Leaf, ...]
    more: int
    """Leaves that there are beside these."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Everything behind one answer."""

    request: Asked
    intent: Purpose | None
    prompt: Prompted | None
    release: Released | None
    input: Said | None
    cache: Kept
    target: Answered | None
    cost: Spent
    audit: Proven | None
    absent: dict[str, str]
    """Part -> why it is not there. Also ``cache.origin`` and ``audit.leaves``, where something of them is missing."""
    others: tuple[str, ...]
    """Ids of other requests with the same ``x-request-id``, newest first; this one is the newest."""
