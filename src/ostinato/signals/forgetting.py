"""Signals that go because they are old, and those that lose their words."""

from collections.abc import Collection, Sequence

import msgspec
import sqlalchemy as sa

from ostinato.signals.summing import Labels
from ostinato.signals.tables import signal
from ostinato.traces.tables import signal_rollup

_MANY = 500
_DECODE = msgspec.msgpack.Decoder(Labels)
_ENCODE = msgspec.msgpack.Encoder()


class Old(msgspec.Struct, frozen=True):
    """A signal, as far as rules and holds ask about it."""

    seq: int
    id: str
    at: int
    project: str
    intent: str


def old(connection: sa.Connection, since: str, until: str, limit: int, *, texts: bool = False) -> list[Old]:
    """Signals with ids above ``since`` and below ``until``, oldest first. ``texts``: only those with words."""
    columns = (signal.c.seq, signal.c.id, signal.c.at, signal.c.project, signal.c.intent)
    query = sa.select(*columns).where(signal.c.id > since, signal.c.id < until)
    if texts:
        query = query.where(signal.c.comment.is_not(None))
    return [Old(*row) for row in connection.execute(query.order_by(signal.c.id).limit(limit))]


def delete(connection: sa.Connection, seqs: Sequence[int]) -> int:
    """How many signals went."""
    return connection.execute(sa.delete(signal).where(signal.c.seq.in_(seqs))).rowcount


def empty(connection: sa.Connection, seqs: Sequence[int]) -> int:
    """Comments go, figures and classes stay; gives how many."""
    return connection.execute(sa.update(signal).where(signal.c.seq.in_(seqs)).values(comment=None)).rowcount


def of_requests(connection: sa.Connection, project: str, requests: Sequence[str]) -> list[int]:
    """Signals of these requests of a project that still say something in words, or name the entry."""
    found: list[int] = []
    for begin in range(0, len(requests), _MANY):
        query = sa.select(signal.c.seq).where(
            signal.c.request_id.in_(requests[begin : begin + _MANY]),
            signal.c.project == project,
            sa.or_(signal.c.comment.is_not(None), signal.c.label != "", signal.c.entry != ""),
        )
        found += connection.scalars(query)
    return found


def forget(connection: sa.Connection, seqs: Sequence[int]) -> int:
    """Comments, labels and fingerprints go, figures stay; gives how many."""
    bare = {"comment": None, "label": "", "entry": ""}
    return connection.execute(sa.update(signal).where(signal.c.seq.in_(seqs)).values(bare)).rowcount


def own_labels(connection: sa.Connection, project: str, seqs: Sequence[int]) -> set[str]:
    """Labels that are said in these signals, and in no others of the project."""
    said: set[str] = set()
    for begin in range(0, len(seqs), _MANY):
        said.update(connection.scalars(sa.select(signal.c.label).where(signal.c.seq.in_(seqs[begin : begin + _MANY]))))
    said.discard("")
    mine = set(seqs)
    found: set[str] = set()
    for label in said:
        others = sa.select(signal.c.seq).where(signal.c.project == project, signal.c.label == label)
        if all(seq in mine for seq in connection.scalars(others.limit(len(mine) + 1))):
            found.add(label)
    return found


def forget_labels(connection: sa.Connection, project: str, labels: Collection[str]) -> int:
    """See ``Signals.forget_labels``."""
    gone, changed = set(labels), 0
    keys = tuple(signal_rollup.primary_key)
    rows = connection.execute(sa.select(*keys, signal_rollup.c.detail).where(signal_rollup.c.project == project))
    for row in rows.mappings().all():
        counts = _DECODE.decode(row["detail"]).labels
        if gone.isdisjoint(counts):
            continue
        kept = {label: count for label, count in counts.items() if label not in gone}
        lost = sum(count for label, count in counts.items() if label in gone)
        kept["other"] = kept.get("other", 0) + lost
        where = [column == row[column.name] for column in keys]
        bare = _ENCODE.encode(Labels({label: count for label, count in kept.items() if count}))
        connection.execute(sa.update(signal_rollup).where(*where).values(detail=bare))
        changed += 1
    return changed
