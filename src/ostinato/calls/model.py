"""A call of our own to a model, and what came of it. Frozen."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.wire.model import Answer, ChatRequest, Usage

Purpose: TypeAlias = Literal["experiment", "probe", "search", "reflection", "polish", "gate", "judge", "retrieval"]
"""What it is made for: stands in the ledger as the tag ``loop:PURPOSE``."""


PASSING = "sample-"
"""Namespaces that begin so keep what calls cost, and no answer: those are about traffic whose texts are not kept."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A call to be made. Equal ones of one ``namespace`` are one call."""

    org: str
    project: str
    alias: str
    """Of the model: resolved by the project's routes, like everybody's."""
    request: ChatRequest
    purpose: Purpose
    namespace: str
    """Id of the run or experiment whose journal it belongs to."""
    replicate: int = 0
    """0, 1, 2 ...: the same call again on purpose, as self-consistency needs."""
    prompt: str = ""
    prompt_version: int = 0
    intent: str = ""
    example: str = ""
    """Id of the example that it is about: what is erased with it."""
    fallbacks: bool = True
    """Whether another target of the route may answer where the first one fails. Where answers are compared,
    the first one is waited for."""


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that was paid for, now or before."""

    key: str
    """Of its row in the journal: hexadecimal digest of what was asked."""
    answer: Answer
    text: str
    finish: str
    usage: Usage
    cost: int | None
    """Nano-dollars; ``None``: no price is known."""
    target: str
    """``provider/model``."""
    upstream_us: int
    paid: bool
    """Whether this call paid for it; ``False``: it was in the journal."""


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What may be spent; ``None``: not limited. Each holds by itself."""

    calls: int | None = None
    tokens: int | None = None
    nano: int | None = None
    """Nano-dollars."""


class Spent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was spent, or is set aside."""

    calls: int = 0
    tokens: int = 0
    nano: int = 0
    unpriced: int = 0
    """Calls whose price is not known."""
