"""Somebody's words in what runs have found: candidates and decisions hold prompts that were tried, with examples."""

from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa

from ostinato.optimization import tables
from ostinato.storage import Database

Redact = Callable[[Any], Any]
"""Gives a JSON value without the words, equal to the one given where they are not in it."""

TABLES = (tables.candidate, tables.round_, tables.decided, tables.measured)


def runs(connection: sa.Connection, project: str) -> list[str]:
    """Ids of a project's runs; of ``control``."""
    return list(connection.scalars(sa.select(tables.run.c.id).where(tables.run.c.project == project)))


def rewrite(connection: sa.Connection, of: Sequence[str], redact: Redact) -> int:
    """Take the words out of all that these runs have written down in ``work``; gives how many rows had them."""
    changed = 0
    for table in TABLES:
        for run in of:
            rows = connection.execute(sa.select(table).where(table.c.run == run)).mappings().all()
            for row in rows:
                bare = redact(row["body"])
                if bare != row["body"]:
                    mine = sa.and_(*(column == row[column.name] for column in table.primary_key))
                    connection.execute(sa.update(table).where(mine).values(body=bare))
                    changed += 1
    return changed


async def rewrite_runs(control: Database, work: Database, project: str, redact: Redact) -> int:
    """The same for all runs of a project."""
    found = await control.read(lambda c: runs(c, project))
    return await work.run(lambda c: rewrite(c, found, redact))
