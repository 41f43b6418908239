"""What an optimization run looks at: candidates and how they did. Frozen."""

import msgspec

from ostinato.datasets.model import Example
from ostinato.prompts import Content

_STRATUM = 200
"""Characters of a reference that names a part of the examples by itself."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A content that might be better, and how it was come by."""

    id: str
    """First 16 hex digits of the content's digest: equal contents are one candidate."""
    content: Content
    parents: tuple[str, ...] = ()
    edit: str = ""
    """What was done to the parent, in words: ``8 examples, balanced``."""
    origin: str = "base"
    """``base``, ``edit``, ``reflection``, ``polish``."""
    shots: tuple[str, ...] = ()
    """Ids of the examples that stand in it."""


class Measured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How one candidate did on one example."""

    example: str
    value: float | None = None
    """From 0 to 1; ``None``: unscored, which is a failure to measure and never a 0."""
    output: str = ""
    confidence: float | None = None
    stratum: str = ""
    input_tokens: int = 0
    """All of the prompt's tokens, those from the provider's prefix cache included."""
    cached_tokens: int = 0
    output_tokens: int = 0
    cost: int = 0
    latency_us: int = 0
    error: str = ""


def stratum(example: Example) -> str:
    """The part that an example belongs to: as it says, or its reference where that is a short text."""
    if example.stratum:
        return example.stratum
    reference = example.reference
    return reference if isinstance(reference, str) and len(reference) <= _STRATUM else ""
