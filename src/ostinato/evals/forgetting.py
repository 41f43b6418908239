"""Somebody's words in experiments: what they ask is kept with its texts, and those hold examples."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.evals import tables
from ostinato.evals.model import Cell

Redact = Callable[[Any], Any]
"""Gives a JSON value without the words, equal to the one given where they are not in it."""

_DECODE = msgspec.msgpack.Decoder(Cell)
_ENCODE = msgspec.msgpack.Encoder()


def rewrite(connection: sa.Connection, project: str, redact: Redact) -> int:
    """Take the words out of what a project's experiments ask; gives how many had them. Of ``control``."""
    table, changed = tables.experiment, 0
    rows = connection.execute(sa.select(table.c.id, table.c.variants).where(table.c.project == project)).all()
    for identifier, variants in rows:
        bare = redact(variants)
        if bare != variants:
            connection.execute(sa.update(table).where(table.c.id == identifier).values(variants=bare))
            changed += 1
    return changed


class Old(msgspec.Struct, frozen=True):
    """An experiment that has ended, as far as rules and holds ask about it."""

    id: str
    at: int
    project: str


def old(connection: sa.Connection, since: str, before: int, limit: int) -> list[Old]:
    """Experiments that have ended, with ids above ``since``, made before ``before``; of ``control``."""
    table = tables.experiment
    query = sa.select(table.c.id, table.c.created_at, table.c.project).where(
        table.c.id > since,
        table.c.id < f"{max(0, before) // 1000:012x}",
        table.c.state.not_in(("queued", "running", "paused")),
    )
    return [Old(*row) for row in connection.execute(query.order_by(table.c.id).limit(limit))]


def empty(connection: sa.Connection, experiment: str) -> int:
    """Answers and rationales of an experiment's cells go, scores stay; gives how many cells had some."""
    table, gone = tables.cell, 0
    rows = connection.execute(sa.select(table).where(table.c.experiment == experiment)).mappings().all()
    for row in rows:
        if _telling(row["body"]):
            mine = sa.and_(*(column == row[column.name] for column in table.primary_key))
            connection.execute(sa.update(table).where(mine).values(body=_bare(row["body"])))
            gone += 1
    return gone


def telling(connection: sa.Connection, experiment: str) -> bool:
    """Whether any cell of an experiment still holds an answer or a rationale; of ``work``."""
    rows = connection.execute(sa.select(tables.cell.c.body).where(tables.cell.c.experiment == experiment))
    return any(_telling(body) for (body,) in rows)


def answered(connection: sa.Connection, examples: Sequence[str]) -> set[str]:
    """Those of these examples about which cells hold answers; of ``work``."""
    table = tables.cell
    found: set[str] = set()
    for begin in range(0, len(examples), 500):
        query = sa.select(table.c.example, table.c.body).where(table.c.example.in_(examples[begin : begin + 500]))
        found.update(str(example) for example, body in connection.execute(query) if _telling(body))
    return found


def _telling(body: bytes) -> bool:
    cell = _DECODE.decode(body)
    return bool(cell.output or cell.retrieved or any(score.rationale or score.label for score in cell.scores))


def _bare(body: bytes) -> bytes:
    cell = _DECODE.decode(body)
    scores = tuple(msgspec.structs.replace(score, rationale="", label="") for score in cell.scores)
    return _ENCODE.encode(msgspec.structs.replace(cell, output="", posterior={}, retrieved=(), scores=scores))
