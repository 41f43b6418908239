"""Which prompts were made with examples: where these are erased, somebody may want to retire those."""

from collections.abc import Iterable, Sequence

import msgspec
import sqlalchemy as sa

from ostinato.optimization import tables
from ostinato.prompts import tables as prompt_tables
from ostinato.storage import Database

_DIGITS = 16
"""Of a content's digest: a candidate's id."""
_MOST = 200
_AT_ONCE = 500


class Quoted(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt that examples stand in, as a search put them there."""

    prompt: str
    number: int | None
    """Of the registered version that says the same; ``None``: it is only a candidate, in a run's findings."""
    run: str
    candidate: str
    examples: tuple[str, ...]
    """Those of the examples asked about that stand in it."""


async def quoting(control: Database, work: Database, project: str, examples: Sequence[str]) -> tuple[Quoted, ...]:
    """Versions and candidates of a project with any of ``examples`` in them, versions first; two hundred at most."""
    if not examples:
        return ()
    runs = await control.read(lambda connection: _runs(connection, project))
    found = await work.read(lambda connection: _candidates(connection, runs, frozenset(examples)))
    numbers = await control.read(lambda connection: _versions(connection, project, {one.candidate for one in found}))
    told: list[Quoted] = []
    for one in found:
        versions = numbers.get(one.candidate, ())
        told += [msgspec.structs.replace(one, prompt=prompt, number=number) for prompt, number in versions] or [one]
    return tuple(sorted(told, key=lambda one: (one.number is None, one.prompt, one.number or 0, one.candidate))[:_MOST])


def _runs(connection: sa.Connection, project: str) -> dict[str, str]:
    """Id -> prompt."""
    run = tables.run
    rows = connection.execute(sa.select(run.c.id, run.c.prompt).where(run.c.project == project))
    return {row.id: row.prompt for row in rows}


def _candidates(connection: sa.Connection, runs: dict[str, str], examples: frozenset[str]) -> list[Quoted]:
    found: dict[str, Quoted] = {}
    table = tables.candidate
    for some in _parts(sorted(runs)):
        rows = connection.execute(sa.select(table.c.run, table.c.id, table.c.body).where(table.c.run.in_(some)))
        for row in rows:
            shown = tuple(name for name in row.body.get("shots", ()) if name in examples)
            if shown and row.id not in found:
                found[row.id] = Quoted(prompt=runs[row.run], number=None, run=row.run, candidate=row.id, examples=shown)
    return list(found.values())


def _versions(connection: sa.Connection, project: str, candidates: set[str]) -> dict[str, list[tuple[str, int]]]:
    """Candidate -> (prompt, number) of the versions with its content."""
    prompt, version = prompt_tables.prompt, prompt_tables.prompt_version
    short = sa.func.substr(version.c.digest, 1, _DIGITS)
    found: dict[str, list[tuple[str, int]]] = {}
    for some in _parts(sorted(candidates)):
        query = (
            sa.select(short.label("short"), prompt.c.name, version.c.number)
            .join(prompt, prompt.c.id == version.c.prompt_id)
            .where(prompt.c.project_id == project, short.in_(some))
        )
        for row in connection.execute(query):
            found.setdefault(row.short, []).append((row.name, row.number))
    return found


def _parts(names: Sequence[str]) -> Iterable[Sequence[str]]:
    return (names[begin : begin + _AT_ONCE] for begin in range(0, len(names), _AT_ONCE))
