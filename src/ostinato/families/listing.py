"""The figures of a project's families, worked out anew only where something has changed: two thousand take long.

What a family is comes from its rows. As long as these are the same, in the same window, only age changes the figures:
they are kept for a thousandth of the half-life, in which what was seen loses 0.07 % of its weight.
"""

import threading
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.families import figures, store
from ostinato.families.key import OTHER
from ostinato.families.model import Figures
from ostinato.families.store import Clockwork
from ostinato.families.tables import family as table

_OF_HALF_LIFE = 1_000

Mark = tuple[object, ...]


class _Kept(msgspec.Struct, gc=False):
    """One family as it was worked out last. ``worth``: what it would cost without a cache, nano-dollars."""

    mark: Mark
    at: int
    worth: float
    figures: Figures


class Listing:
    """Figures by project, for any thread. Bounded: the projects that were asked for longest ago make room."""

    def __init__(self, clockwork: Clockwork, most: int) -> None:
        self._clockwork = clockwork
        self._most = most
        self._lock = threading.Lock()
        self._projects: dict[str, dict[str, _Kept]] = {}
        self.worked_out = 0
        """Families whose figures were worked out since the start."""

    def figures(self, connection: sa.Connection, project: str, now: int) -> tuple[Figures, ...]:
        """The families of a project, those that cost most first."""
        columns = (table.c.org, table.c.family, table.c.window, table.c.writer, table.c.state, table.c.updated_at)
        found = connection.execute(sa.select(*columns).where(table.c.project == project)).all()
        rows: dict[str, list[Any]] = {}
        for row in found:
            rows.setdefault(row.family, []).append(row)
        with self._lock:
            before = self._projects.pop(project, {})
            kept = {name: self._one(project, name, mine, before.get(name), now) for name, mine in rows.items()}
            self._keep(project, kept)
        whole = sum(one.worth for one in kept.values())
        made = [_shared(one, whole) for one in kept.values()]
        return tuple(sorted(made, key=lambda one: (one.family == OTHER, -one.cost_share, -one.requests, one.family)))

    def _one(self, project: str, name: str, rows: Sequence[Any], before: _Kept | None, now: int) -> _Kept:
        window = self._clockwork.at(now)
        # By what is in them: two processes may write in one microsecond.
        mark: Mark = (window, *sorted((row.window, row.writer, row.updated_at, hash(bytes(row.state))) for row in rows))
        if before is not None and before.mark == mark:
            age = now - before.at
            if 0 <= age <= self._clockwork.half_life // _OF_HALF_LIFE:
                return before
        state = store.whole(rows, self._clockwork, now)[name]
        self.worked_out += 1
        half_life = self._clockwork.half_life / 1e6
        made = figures.figures(rows[0].org, project, name, state, now=now, half_life=half_life, whole_cost=0.0)
        return _Kept(mark, now, state.cost + state.saved, made)

    def _keep(self, project: str, kept: dict[str, _Kept]) -> None:
        self._projects[project] = kept
        total = sum(map(len, self._projects.values()))
        while total > self._most and len(self._projects) > 1:
            total -= len(self._projects.pop(next(iter(self._projects))))


def _shared(one: _Kept, whole: float) -> Figures:
    """The figures with the family's share of all that its project would cost."""
    share = one.worth / whole if whole else 0.0
    if share != one.figures.cost_share:
        one.figures = msgspec.structs.replace(one.figures, cost_share=share)
    return one.figures
