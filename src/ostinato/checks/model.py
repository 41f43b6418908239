"""Rules, what they found, and what to do about it."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.wire.model import Answer, ChatRequest, EmbeddingRequest

Kind: TypeAlias = Literal["secrets", "pii", "banned"]
Action: TypeAlias = Literal["allow", "redact", "no-store", "block"]
Applies: TypeAlias = Literal["input", "output", "both"]

STRICTNESS: dict[str, int] = {"allow": 0, "redact": 1, "no-store": 2, "block": 3}
"""Of several rules that found something the strictest decides; what redacting rules found is redacted in any case."""

LONGEST_TERM = 200


class Rule(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """One thing to look for, and what to do when it is there."""

    name: str
    kind: Kind
    action: Action
    terms: tuple[str, ...] = ()
    """Of ``banned``: words and phrases; case, width and invisible characters do not matter."""
    applies: Applies = "both"


class Finding(msgspec.Struct, frozen=True, gc=False):
    """What a rule found. Never the text itself."""

    rule: str
    label: str
    """``SECRET``, ``EMAIL``, ``PHONE``, ``IBAN``, ``CARD``, ``SSN``, ``BANNED``; ``UNSCANNED``: too long to read."""
    action: Action
    count: int = 1


class InputVerdict(msgspec.Struct, frozen=True):
    """On a request. ``request`` is the very one that was given where nothing had to be redacted."""

    action: Action
    request: ChatRequest
    findings: tuple[Finding, ...] = ()


class EmbeddingVerdict(msgspec.Struct, frozen=True):
    """On a request for embeddings; token lists are not read."""

    action: Action
    request: EmbeddingRequest
    findings: tuple[Finding, ...] = ()


class OutputVerdict(msgspec.Struct, frozen=True):
    """On an answer. ``answer`` is the very one that was given where nothing had to be redacted."""

    action: Action
    answer: Answer
    findings: tuple[Finding, ...] = ()
