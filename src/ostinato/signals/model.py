"""A signal: something that is known of the answer to a request. Frozen."""

from typing import Literal, TypeAlias

import msgspec

Source: TypeAlias = Literal["feedback", "outcome", "scorer", "review"]
SOURCES: tuple[Source, ...] = ("feedback", "outcome", "scorer", "review")


LONGEST_CLASS = 100
"""Characters of a label that is a class; a longer one is a text, such as the answer that would have been right."""


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """Written once, never changed. What it is about stands in it, so that it outlives the ledger's row."""

    id: str
    request_id: str
    at: int
    """UTC microseconds."""
    org: str
    project: str
    source: Source
    name: str
    """What is told: ``feedback``, ``resolved``, a scorer's name."""
    value: float | None = None
    """From 0 (bad) to 1 (good); ``None``: it could not be told, or only ``label`` says it."""
    label: str = ""
    """A class, or the answer that would have been right."""
    comment: str | None = None
    """Free text, redacted; only where the project lets the ledger keep texts."""
    weight: float = 1.0
    """One over the chance that this request was looked at: estimates that use it stay unbiased."""
    scorer: str = ""
    """``NAME@VERSION``, where a scorer or reviewers say it."""
    prompt: str = ""
    prompt_version: int = 0
    release: str = ""
    arm: str = ""
    intent: str = ""
    entry: str = ""
    """Fingerprint of the cache entry that answered, in hexadecimal."""
    origin: str = ""
    """Of a hit: id of the call whose answer was served again."""
    actor: str = ""
    """Who says so: ``key:ID``, ``system:NAME``."""


class Value(msgspec.Struct, frozen=True, gc=False):
    """The value of a signal, and what it is about: of these there are many."""

    seq: int
    """In the order of writing."""
    request_id: str
    at: int
    source: Source
    name: str
    value: float
    weight: float
    prompt: str
    prompt_version: int
    origin: str
    actor: str


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which signals: every field that is set must match."""

    org: str = ""
    project: str = ""
    source: str = ""
    name: str = ""
    prompt: str = ""
    release: str = ""
    arm: str = ""
    intent: str = ""
    since: int | None = None
    """UTC microseconds, included."""
    until: int | None = None
    """Excluded."""
    least: float | None = None
    """Value at least."""
    most: float | None = None
    """Value at most."""


class Page(msgspec.Struct, frozen=True):
    """Some signals in the order of writing, and the cursor that continues behind them."""

    signals: tuple[Signal, ...]
    after: str


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What signals of one source and name come to. Of what the same actor said again of a request, the last counts."""

    source: str
    name: str
    prompt: str = ""
    release: str = ""
    arm: str = ""
    count: int
    valued: int
    """Of these, with a value."""
    mean: float | None
    """Weighted; ``None`` where nothing has a value."""
    labels: dict[str, int] = {}
    """The twenty labels that were said most."""
