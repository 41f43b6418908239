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
    """``openai.chat``, ``anthropic.messages``, ``openai.responses``, ``openai.embeddings``, ``anthropic.count_tokens``."""
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
