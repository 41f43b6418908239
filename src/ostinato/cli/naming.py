"""Names for people in place of ids; JSON keeps the ids."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ostinato.cli.client import Refused, call


def projects() -> Mapping[str, str]:
    """Id -> short name, of the projects that the key may see; empty where it may see none."""
    try:
        return {one["id"]: one["key"] for one in call("GET", "/projects")}
    except Refused:
        return {}


def with_project(
    columns: Sequence[str], rows: Iterable[Sequence[object]], found: Sequence[Any], at: int = 1
) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """Columns and rows of a table with one column more, ``project``, where what was ``found`` is of several."""
    homes = [str(one["project"]) for one in found]
    if len(set(homes)) < 2:
        return tuple(columns), [tuple(row) for row in rows]
    names = projects()
    named = [(*row[:at], names.get(home, home or "-"), *row[at:]) for row, home in zip(rows, homes, strict=True)]
    return (*columns[:at], "project", *columns[at:]), named
