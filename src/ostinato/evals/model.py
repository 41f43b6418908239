"""Experiments: what is asked of what, and the cells that came of it. Frozen."""

from typing import Literal, TypeAlias

import msgspec

from ostinato.datasets.model import Passage
from ostinato.prompts import Content
from ostinato.scorers.model import Score
from ostinato.wire.model import Json, Usage

State: TypeAlias = Literal["queued", "running", "paused", "done", "failed", "cancelled"]


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that answers: a content of a prompt, and the model that it is sent to."""

    name: str
    """As people call it: ``support/answer@3``, ``candidate 7``."""
    content: Content
    digest: str
    """SHA-256 of the content, in hexadecimal."""
    alias: str
    """Of the model."""
    params: Json = {}
    """Over those of the content."""
    prompt: str = ""
    number: int = 0
    """Of the registered version; 0: it is not registered."""
    retrieval: Json | None = None
    """A chain: how passages are found before the prompt is filled in; see ``evals.retrieval``."""


class Cell(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One example answered by one variant, and scored."""

    example: str
    """Id."""
    variant: str
    """Digest of the variant's content and model."""
    value: float | None = None
    """The weighted mean of its scores; ``None``: unscored."""
    scores: tuple[Score, ...] = ()
    output: str = ""
    confidence: float | None = None
    """How sure the model is of its answer, from 0 to 1, where that can be known."""
    posterior: dict[str, float] = {}
    """How the model's probability is shared among the labels, where there are some and it is known; adds up to 1."""
    stratum: str = ""
    error: str = ""
    """Class of the failure where there is no answer."""
    finish: str = ""
    usage: Usage | None = None
    cost: int | None = None
    """Nano-dollars of answer and scoring."""
    latency_us: int | None = None
    paid: bool = True
    retrieved: tuple[Passage, ...] = ()
    call: str = ""
    """Key of the call in the journal."""
