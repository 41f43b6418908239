"""Families on a connection: what each process saw, what is over, and all of it added up."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.families import sketch as sketches
from ostinato.families.key import OTHER
from ostinato.families.sketch import Sketch
from ostinato.families.tables import PAST, family

Rows = Iterable[sa.Row[Any]]
Name = tuple[str, str, str]
"""Organization, project, family."""


class Clockwork(msgspec.Struct, frozen=True):
    """How long a window is and how fast the past fades, microseconds."""

    window: int
    half_life: int

    def at(self, now: int) -> int:
        """The number of the window that a moment lies in."""
        return now // self.window

    def end(self, window: int) -> int:
        return (window + 1) * self.window

    def weight(self, since: int, now: int) -> float:
        """What something of the moment ``since`` counts for at ``now``."""
        return 0.5 ** (max(0, now - since) / self.half_life)


def write(
    connection: sa.Connection,
    writer: str,
    window: int,
    states: Mapping[Name, tuple[Sketch, bool]],
    gone: Iterable[Name],
    now: int,
) -> int:
    """Write what this process has seen in a window; gives how many came too late.

    Each state is the whole window's, with whether it was written before: one that was and is not there any more has
    been folded into the past, and would count twice. ``gone``: families that made room and count as ``other`` now.
    """
    table = family
    mine = (table.c.window == window, table.c.writer == writer)
    for _, project, name in gone:
        connection.execute(table.delete().where(table.c.project == project, table.c.family == name, *mine))
    late = 0
    fresh: list[dict[str, object]] = []
    for (org, project, name), (state, written) in states.items():
        packed = sketches.encode(state)
        if written:
            changed = table.update().where(table.c.project == project, table.c.family == name, *mine)
            late += connection.execute(changed.values(state=packed, updated_at=now)).rowcount == 0
            continue
        fresh.append(
            {
                "org": org,
                "project": project,
                "family": name,
                "window": window,
                "writer": writer,
                "state": packed,
                "updated_at": now,
            }
        )
    if fresh:
        connection.execute(table.insert(), fresh)
    return late


def fold(connection: sa.Connection, clockwork: Clockwork, before: int, now: int, most: int) -> int:
    """Put the windows before the number ``before`` into the past; gives how many rows these were.

    A project keeps its ``most`` heaviest families; the others are added to ``other``.
    """
    table = family
    rows = connection.execute(
        sa.select(table)
        .where(table.c.window >= 0, table.c.window < before)
        .order_by(table.c.project, table.c.family, table.c.window)
        .with_for_update()
    ).all()
    if not rows:
        return 0
    for org, project in sorted({(row.org, row.project) for row in rows}):
        _fold_project(connection, clockwork, org, project, [row for row in rows if row.project == project], now, most)
    connection.execute(table.delete().where(table.c.window >= 0, table.c.window < before))
    return len(rows)


def _fold_project(
    connection: sa.Connection,
    clockwork: Clockwork,
    org: str,
    project: str,
    rows: Rows,
    now: int,
    most: int,
) -> None:
    table = family
    known = connection.execute(sa.select(table).where(table.c.project == project, table.c.window == PAST)).all()
    kept: dict[str, Sketch] = {}
    for row in known:
        state = sketches.decode(bytes(row.state))
        state.fade(clockwork.weight(row.updated_at, now))
        kept[row.family] = state
    for name, state in windows(rows, clockwork, now).items():
        old = kept.get(name)
        if old is None:
            kept[name] = state
        else:
            old.merge(state)
    if len(kept) > most:
        heaviest = sorted((name for name in kept if name != OTHER), key=lambda name: -kept[name].requests)
        rest = kept.setdefault(OTHER, Sketch())
        for name in heaviest[max(0, most - 1) :]:
            rest.merge(kept.pop(name))
    connection.execute(table.delete().where(table.c.project == project, table.c.window == PAST))
    connection.execute(
        table.insert(),
        [
            {
                "org": org,
                "project": project,
                "family": name,
                "window": PAST,
                "writer": "",
                "state": sketches.encode(state),
                "updated_at": now,
            }
            for name, state in kept.items()
        ],
    )


def windows(rows: Rows, clockwork: Clockwork, now: int, running: int | None = None) -> dict[str, Sketch]:
    """What rows of windows come to by family: of one window merged, over windows added up.

    The window ``running`` stays open; the others are settled, and faded to ``now``.
    """
    merged: dict[tuple[str, int], Sketch] = {}
    for row in rows:
        state = sketches.decode(bytes(row.state))
        place = (row.family, row.window)
        known = merged.get(place)
        if known is None:
            merged[place] = state
        else:
            known.merge(state)
    found: dict[str, Sketch] = {}
    for (name, window), state in sorted(merged.items(), key=lambda one: one[0]):
        if window != running:
            state.settle()
            state.fade(clockwork.weight(clockwork.end(window), now))
        known = found.get(name)
        if known is None:
            found[name] = state
        else:
            known.merge(state)
    return found


def whole(rows: Sequence[sa.Row[Any]], clockwork: Clockwork, now: int) -> dict[str, Sketch]:
    """Families of one project by their rows: what all processes saw at any time, weighted by age."""
    found = windows((row for row in rows if row.window != PAST), clockwork, now, clockwork.at(now))
    for row in rows:
        if row.window != PAST:
            continue
        state = sketches.decode(bytes(row.state))
        state.fade(clockwork.weight(row.updated_at, now))
        known = found.get(row.family)
        if known is None:
            found[row.family] = state
        else:
            known.merge(state)
    return found


def projects(connection: sa.Connection) -> list[tuple[str, str]]:
    """Organization and project of all families."""
    table = family
    query = sa.select(table.c.org, table.c.project).distinct().order_by(table.c.project)
    return [(row.org, row.project) for row in connection.execute(query)]
