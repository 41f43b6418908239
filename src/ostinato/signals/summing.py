"""Sums of signals per time and dimensions, kept as signals are written: what figures and detectors read.

Of what one actor said again of a request under one name, the last counts: what was said before is taken out again. Two
processes that are told so at the same moment may both take it out; everything else is exact.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import msgspec
import sqlalchemy as sa

from ostinato.signals import tables
from ostinato.signals.model import LONGEST_CLASS, Signal
from ostinato.traces import conversations, rollup
from ostinato.traces.cubes import CellsOf, Layout
from ostinato.traces.interactions import OUTCOMES, REWORK, Event, Turn
from ostinato.traces.rollup import FINEST
from ostinato.traces.tables import SIGNAL_DIMENSIONS, SIGNAL_MOMENTS, SIGNAL_SUMS

_LABELS = 32
"""Most labels told apart in one cell; the rest is ``other``."""
_LATE = ("review", "outcome")
_NAMES = (*SIGNAL_SUMS, *SIGNAL_MOMENTS)
_AT_ONCE = 400

Same: TypeAlias = tuple[str, str, str, str, str]


class Labels(msgspec.Struct, array_like=True):
    """What of a cell is no plain sum. A later version may append fields."""

    labels: dict[str, int] = {}


class Sum(msgspec.Struct):
    """Signals of one source and name, added up."""

    sums: list[Any] = msgspec.field(default_factory=lambda: [0, 0, 0, *[0.0] * len(SIGNAL_MOMENTS)])
    """``n``, ``valued``, of these ``bad`` (below one half), and sums of w, wv, wv^2, w^2, w^2v, w^2v^2."""
    detail: Labels = msgspec.field(default_factory=Labels)

    def add(self, other: "Sum") -> None:
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        self.add_detail(other.detail)

    def add_detail(self, other: Labels) -> None:
        mine = self.detail.labels
        for label, count in other.labels.items():
            name = label if label in mine or len(mine) < _LABELS else "other"
            mine[name] = mine.get(name, 0) + count

    def copy(self) -> "Sum":
        fresh = Sum()
        fresh.add(self)
        return fresh

    def __getitem__(self, name: str) -> Any:
        return self.sums[_NAMES.index(name)]


LAYOUT = Layout("signal_rollup", ("org", "project", *SIGNAL_DIMENSIONS), _NAMES, Sum, Labels)


def sum_of(signal: Signal, sign: int = 1) -> Sum:
    """What one signal adds, or takes out (``sign`` -1)."""
    moments = [0.0] * len(SIGNAL_MOMENTS)
    value, w = signal.value, signal.weight
    if value is not None:
        moments = [w, w * value, w * value * value, w * w, w * w * value, w * w * value * value]
    label = signal.label if len(signal.label) <= LONGEST_CLASS else ""
    bad = value is not None and value < 0.5
    counted = [sign, sign * (value is not None), sign * bad, *(sign * one for one in moments)]
    return Sum(counted, Labels({label: sign} if label else {}))


def key_of(signal: Signal, about: Turn | None = None) -> tuple[int, tuple[str, ...]]:
    """The finest cell of a signal: by when it was told. ``about``: its request, where the signal knows less of it."""
    known = signal if about is None else about
    meant = known.intent, known.prompt, known.release, known.arm
    tier = ("hit" if signal.origin else "miss") if about is None else about.tier
    return signal.at - signal.at % FINEST, (signal.org, signal.project, signal.source, signal.name, *meant, tier)


def sums_of(connection: sa.Connection, fresh: Iterable[Signal]) -> CellsOf[Sum]:
    """What signals that are about to be written add to the finest cells."""
    found: CellsOf[Sum] = {}
    fresh = list(fresh)
    last = _last(connection, {one.request_id for one in fresh})
    # What is told long after the row was written names neither release nor tier, or not reliably: the row does.
    asked = conversations.questions(connection, {one.request_id for one in fresh if one.source in _LATE})
    for one in fresh:
        about = asked.get(one.request_id) if one.source in _LATE else None
        before = last.get(_same(one))
        if before is not None:
            rollup.add_cell(found, key_of(before, about), sum_of(before, -1))
        rollup.add_cell(found, key_of(one, about), sum_of(one))
        last[_same(one)] = one
    return found


def event_of(signal: Signal) -> Event | None:
    """What a signal says of how an interaction went; ``None``: nothing."""
    kind, value = signal.name, signal.value
    if signal.source == "feedback" and kind == "feedback":
        return Event(kind, value, signal.at)
    if signal.source != "outcome" or kind not in (*OUTCOMES, *REWORK):
        return None
    if kind == "csat":
        return None if value is None else Event(kind, 1 + 4 * value, signal.at)
    if kind == "time_saved":
        try:
            return Event(kind, float(signal.label), signal.at)
        except ValueError:
            return None
    return Event(kind, value, signal.at)


def _same(signal: Signal) -> Same:
    return signal.request_id, signal.source, signal.name, signal.scorer, signal.actor


def _last(connection: sa.Connection, requests: Iterable[str]) -> dict[Same, Signal]:
    """What was said last of these requests."""
    table = tables.signal
    found: dict[Same, Signal] = {}
    wanted = sorted(requests)
    for start in range(0, len(wanted), _AT_ONCE):
        query = sa.select(table).where(table.c.request_id.in_(wanted[start : start + _AT_ONCE])).order_by(table.c.seq)
        for row in connection.execute(query).mappings():
            one = signal_of(row)
            found[_same(one)] = one
    return found


def signal_of(row: Mapping[Any, Any]) -> Signal:
    """A signal as it stands in a row."""
    return Signal(**{name: row[name] for name in Signal.__struct_fields__})
