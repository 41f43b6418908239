"""What a KPI is, and what one comes to. Frozen."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import msgspec

from ostinato.signals.summing import Sum
from ostinato.traces.interactions import Tally
from ostinato.traces.model import Window
from ostinato.traces.rollup import Cell

Group: TypeAlias = Literal["flow", "cache", "money", "quality", "governance", "operations"]
GROUPS: tuple[Group, ...] = ("flow", "cache", "money", "quality", "governance", "operations")
By: TypeAlias = Literal["intent", "prompt", "release", "arm", "tier"]
CUTS: tuple[By, ...] = ("intent", "prompt", "release", "arm", "tier")
Better: TypeAlias = Literal["higher", "lower", ""]
Verdict: TypeAlias = Literal["", "met", "missed", "not enough data"]


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Whose figures; what is not empty must be equal."""

    org: str
    project: str = ""
    """Id; empty: all of the organization."""
    intent: str = ""
    prompt: str = ""
    release: str = ""
    arm: str = ""
    tier: Literal["", "hit", "miss"] = ""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a figure comes to. ``value`` is ``None`` where there is nothing to tell, and ``missing`` says why."""

    value: float | None = None
    n: int = 0
    """What it rests on: interactions, requests, signals."""
    low: float | None = None
    high: float | None = None
    detail: dict[str, Any] = {}
    missing: str = ""


class Target(msgspec.Struct, frozen=True):
    """What an intent wants of a figure, and how that stands."""

    intent: str
    target: float
    direction: Literal["at-least", "at-most"]
    verdict: Verdict


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One KPI over one window."""

    name: str
    value: float | None
    unit: str
    """``share``, ``seconds``, ``dollars``, ``minutes``, ``score``, ``ratio`` ..."""
    n: int
    """What it rests on."""
    low: float | None
    high: float | None
    """Its interval; ``None`` where there is none to tell."""
    window: Window
    """What was really counted: the asked window, widened to whole buckets."""
    freshness: float | None
    """Seconds since the end of the newest ten seconds (of older windows: minute, hour) with anything in it."""
    detail: dict[str, Any] = {}
    missing: str = ""
    """Why there is no value. Missing data is never zero."""
    by: dict[str, str] = {}
    """Which part of the traffic, where it was cut."""
    target: Target | None = None


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of one scope, group by group."""

    figures: tuple[Figure, ...]
    left_out: int = 0
    """Groups beyond those that are shown, the smallest."""
    unknown: tuple[str, ...] = ()
    """Targets of intents that no figure has the name of."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of one bucket of time."""

    at: int
    """Its beginning, UTC microseconds."""
    value: float | None
    n: int
    low: float | None
    high: float | None
    by: dict[str, str] = {}
    missing: str = ""


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """A release that began to answer, or ceased to: what a change of a figure's course may come of."""

    at: int
    """UTC microseconds."""
    what: str
    """``started``, or how it ended: ``superseded``, ``rolled_back``."""
    release: str
    project: str
    """Id."""
    prompt: str
    label: str
    number: int
    """Of the version."""
    why: str = ""


class Facts(msgspec.Struct, kw_only=True):
    """What was counted in one window for one group: all that a figure is made of."""

    scope: Scope
    window: Window
    traffic: Cell = msgspec.field(default_factory=Cell)
    own: dict[str, Cell] = {}
    """Calls of our own, by what they were made for: ``judge``, ``optimization``, ``experiment`` ..."""
    interactions: Tally = msgspec.field(default_factory=Tally)
    signals: dict[tuple[str, str], Sum] = {}
    """By source and name."""
    checked: dict[tuple[str, str], Sum] = {}
    """Of these, what is about answers from cache."""
    confidence: float = 0.95
    hourly_rate: float | None = None
    review: float | None = None
    """Dollars of reviewers' time; ``None``: it cannot be told of this group, and ``review_missing`` says why."""
    review_missing: str = ""


class Reviewed(msgspec.Struct, frozen=True):
    """Time that people spent on reviews of one intent and prompt."""

    bucket: int
    """Start of the bucket of time, UTC microseconds; 0 where none is asked for."""
    intent: str
    prompt: str
    seconds: float
    dollars: float | None
    """``None``: nobody has said what an hour costs."""


class Kpi(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the catalogue."""

    name: str
    group: Group
    title: str
    formula: str
    unit: str
    better: Better = ""
    pairs: tuple[str, ...] = ()
    """Figures that are always shown beside it."""
    of: Callable[[Facts], Reading] | None = None
    """``None``: another room tells it, where it is bound."""
    cuts: tuple[By, ...] = CUTS
    """What it can be told apart by."""
    slow: bool = False
    """Whether it is worked out apart, and takes longer: told only where it is asked for by name, or by a preset."""
