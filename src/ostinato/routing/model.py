"""Targets and routes: what a model alias stands for."""

from typing import Literal

import msgspec


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

    @property
    def name(self) -> str:
        return f"{self.provider}/{self.model}"


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an alias stands for: targets in order (``fallback``), or one drawn by weight with the others to fall back on."""

    alias: str
    targets: tuple[Target, ...]
    strategy: Literal["ordered", "weighted"] = "ordered"
    kind: Literal["chat", "embedding"] = "chat"
    project: str = ""
    """Only for this project; empty: for all."""
    digest: bytes = b""
    """Of everything above; part of the cache's key."""
