"""Targets and routes: what a model alias stands for; and what comes back from asking them."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from ostinato.traces.model import AttemptRow
from ostinato.wire.model import Answer, Usage


class Target(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One model at one provider."""

    provider: str
    model: str
    weight: float = 1.0
    timeout: float = 60.0
    """Seconds per attempt; for a stream, to the first byte and between bytes."""
    retries: int = 1
    """Further tries at this target on 5xx and network failures."""
    max_tokens: int | None = None
    """Upper bound of an answer's tokens, used to reserve money where the request names none."""
    revision: str = ""
    """Any change of it makes old entries unreachable."""
    max_concurrency: int = 0
    """Calls at once; 0: as the settings say. All routes to the same target share one bound, the first one's."""
    digest: bytes = b""
    """Of the provider's address, the model and its revision; set by the catalog."""

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model}"


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an alias stands for: targets in order, or one drawn by weight with the others to fall back on."""

    alias: str
    targets: tuple[Target, ...]
    strategy: Literal["ordered", "weighted"] = "ordered"
    kind: Literal["chat", "embedding"] = "chat"
    project: str = ""
    """Only for this project; empty: for all."""
    digest: bytes = b""
    """Of what can change an answer: kind, strategy, and each target's provider, model and revision. Weights, time-outs,
    retries, concurrency and trials take no part."""
    trials: tuple["Trial", ...] = ()
    """Other targets that a share of its traffic is answered by: see ``routing.trials``."""


class Trial(msgspec.Struct, frozen=True):
    """Other targets behind an alias, for a share of the traffic of some intents."""

    id: str
    """Of the change of models that it belongs to; conversations are drawn by it."""
    route: Route
    """With a digest of its own: its answers lie under keys of their own."""
    shares: Mapping[str, tuple[float, float]]
    """Intent (empty: requests without one) -> share of the trial, and of its control, each from 0 to 1."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A trial as it is declared by who changes models."""

    id: str
    project: str
    alias: str
    targets: tuple[str | dict[str, object], ...]
    shares: dict[str, tuple[float, float]] = {}


class Routed(msgspec.Struct, frozen=True):
    """A complete answer and how it was come by."""

    answer: Answer
    target: Target
    attempts: tuple[AttemptRow, ...]
    is_fallback: bool
    """Whether another than the first of the asked targets answered."""
    upstream_us: int
    """From the first attempt to the answer, waits and retries included."""
    first_byte_us: int
    """From the first attempt to the first byte of the answer."""
    headers: Mapping[str, str] = {}
    """Rate-limit headers of the provider."""


class RoutedEmbedding(msgspec.Struct, frozen=True):
    """Vectors (little-endian float32, one per input, in order) and how they were come by."""

    vectors: tuple[bytes, ...]
    usage: Usage
    target: Target
    attempts: tuple[AttemptRow, ...]
    is_fallback: bool
    upstream_us: int
    headers: Mapping[str, str] = {}


class RoutedCount(msgspec.Struct, frozen=True):
    """A count of input tokens and who counted."""

    tokens: int
    target: Target
    attempts: tuple[AttemptRow, ...]
    is_fallback: bool
    upstream_us: int


class TargetState(msgspec.Struct, frozen=True):
    """A target as the operator sees it."""

    target: str
    """``provider/model``."""
    breaker: Literal["closed", "open", "half-open"]
    calls: int
    """In the breaker's window."""
    failures: int
    """In the breaker's window."""
    retry_in: float
    """Seconds until an open breaker lets a probe pass; 0 otherwise."""
    resting: float
    """Seconds for which the target is passed over after a rate limit; 0 otherwise."""
    in_flight: int
    waiting: int
    """Calls that wait for a free place."""
    transitions: int
    """How often the breaker has opened or closed since the start."""
    last_failure: str
    """Class of the last failure; empty where there was none."""
