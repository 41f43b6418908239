"""What a scorer sees, says, and is. A plug-in point: see ``Scorer``."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from ostinato.datasets.model import Passage
from ostinato.wire.model import Answer, Json, Usage


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One answer to be scored, with all that is known of it."""

    output: str
    """Text of the answer."""
    inputs: Json = {}
    input_text: str = ""
    """What was asked, as text; for scorers that know no variables."""
    reference: object = None
    passages: tuple[Passage, ...] = ()
    """What should have been found."""
    retrieved: tuple[Passage, ...] = ()
    """What was found, best first."""
    answer: Answer | None = None
    """The canonical answer, where it is at hand: tool calls, log probabilities, refusals."""
    finish: str = ""
    usage: Usage | None = None
    cost: int | None = None
    """Nano-dollars; ``None``: not known."""
    latency_us: int | None = None
    metadata: Json = {}
    request_id: str = ""
    """Or example id: what a sample is drawn by."""


class Score(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a scorer says. ``value`` is from 0 to 1, or ``None``: unscored, and ``rationale`` says why."""

    scorer: str
    """``NAME@VERSION``: version is 8 hex digits over kind, code version and configuration."""
    value: float | None = None
    label: str = ""
    rationale: str = ""
    confidence: float | None = None
    """From 0 to 1: how sure the scorer is of itself."""
    cost: int = 0
    """Nano-dollars that the scoring took."""


class Spec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A scorer as it is declared."""

    kind: str
    """A name of the table of kinds: ``exact``, ``label``, ``judge`` ..."""
    name: str = ""
    """What its scores are called; left out: the kind."""
    config: dict[str, Any] = {}
    weight: float = 1.0
    """In the mean of an experiment's or a run's scorers; 0: shown, but not counted."""


class Scorer(Protocol):
    """Says how good an answer is. Two calls with equal subjects give equal scores, a judge's included."""

    @property
    def id(self) -> str:
        """``NAME@VERSION``."""
        ...

    async def score(self, subject: Subject) -> Score:
        """The score. To raise, to take too long or to give what is no score makes the answer *unscored*."""
        ...


Scorers = Mapping[str, Scorer]
"""By name."""
