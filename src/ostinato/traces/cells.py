"""Reading cells of a rollup: few buckets of every size that fill a window, added up by some dimensions."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

import sqlalchemy as sa

from ostinato.traces import write
from ostinato.traces.cubes import Layout
from ostinato.traces.rollup import GRAINS, Summed

Segment: TypeAlias = tuple[int, int, int]
"""Grain in seconds, and from when until when in microseconds."""

S = TypeVar("S", bound=Summed)


def read(
    connection: sa.Connection,
    layout: Layout[S],
    segments: Sequence[Segment],
    equal: Mapping[str, str],
    by: Sequence[str],
    *,
    details: bool = True,
) -> dict[tuple[Any, ...], S]:
    """Sums of the segments, by the values of the columns ``by``. One range of the key per segment."""
    found: dict[tuple[Any, ...], S] = {}
    empty = layout.blank()
    columns = "".join(f"{name}, " for name in by)
    sums = ", ".join(f"sum({name})" for name in layout.sums)
    for segment in segments:
        where, values = _where(connection, layout, segment, equal)
        statement = f"SELECT {columns}{sums} FROM {layout.table} WHERE {where}"  # noqa: S608 - names are constants
        if by:
            statement += f" GROUP BY {', '.join(by)}"
        for row in connection.exec_driver_sql(statement, values):
            if row[len(by)] is None:
                continue  # nothing was summed
            _add(found, tuple(row[: len(by)]), layout.cell([_number(one) for one in row[len(by) :]], empty))
        if not details:
            continue
        statement = f"SELECT {columns}detail FROM {layout.table} WHERE {where}"  # noqa: S608 - names are constants
        for row in connection.exec_driver_sql(statement, values):
            # Summed above: each key is there.
            found[tuple(row[: len(by)])].add_detail(layout.detail(bytes(row[-1])))
    return found


def newest(connection: sa.Connection, layout: Layout[Any], equal: Mapping[str, str], until: int) -> int | None:
    """The start of the newest bucket before ``until`` with anything in it: of the finest grain that has one."""
    for grain in GRAINS:
        where, values = _where(connection, layout, (grain, 0, until), equal)
        statement = f"SELECT max(bucket) FROM {layout.table} WHERE {where}"  # noqa: S608 - names are constants
        found = connection.exec_driver_sql(statement, values).scalar()
        if found is not None:
            return int(found)
    return None


def _add(found: dict[tuple[Any, ...], S], key: tuple[Any, ...], cell: S) -> None:
    known = found.get(key)
    if known is None:
        found[key] = cell
    else:
        known.add(cell)


def _number(value: Any) -> Any:
    # PostgreSQL's sum of 64-bit integers is a Decimal.
    return value if isinstance(value, int | float) else int(value)


def _where(
    connection: sa.Connection, layout: Layout[Any], segment: Segment, equal: Mapping[str, str]
) -> tuple[str, tuple[Any, ...]]:
    mark = write.places(connection, 1)
    names = [name for name in layout.dimensions if name in equal]
    conditions = [f"{name} = {mark}" for name in names]
    conditions += [f"grain = {mark}", f"bucket >= {mark}", f"bucket < {mark}"]
    return " AND ".join(conditions), (*(write.clean(equal[name]) for name in names), *segment)
