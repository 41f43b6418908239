"""Leaves as auditors read them: pages with filters, one with its reason."""

from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.audit import tables
from ostinato.audit.model import Leaf
from ostinato.core.errors import Invalid, NotFound

_MOST = 500
_DECODER = msgspec.json.Decoder(Leaf)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A leaf with what is kept beside it."""

    index: int
    hash: str
    leaf: Leaf
    reason: str
    """In clear; empty where none was given or it was erased."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which leaves: every field given must match. Times are UTC microseconds."""

    org: str | None = None
    actor: str = ""
    principal: str = ""
    action: str = ""
    resource: str = ""
    project: str = ""
    outcome: str = ""
    request_id: str = ""
    since: int = 0
    until: int = 0


def page(connection: sa.Connection, wanted: Filter, *, after: int | None = None, limit: int = 100) -> list[Entry]:
    """Leaves, the newest first; ``after``: the index of the last one seen."""
    if not 1 <= limit <= _MOST:
        raise Invalid(f"A page has 1 to {_MOST} leaves.", code="invalid_limit", param="limit")
    leaf = tables.leaf
    chosen = _selected()
    for name in ("actor", "principal", "action", "resource", "project", "outcome", "request_id"):
        value = getattr(wanted, name)
        if value:
            chosen = chosen.where(leaf.c[name] == value)
    if wanted.org is not None:
        chosen = chosen.where(leaf.c.org == wanted.org)
    if wanted.since:
        chosen = chosen.where(leaf.c.at >= wanted.since)
    if wanted.until:
        chosen = chosen.where(leaf.c.at < wanted.until)
    if after is not None:
        chosen = chosen.where(leaf.c.seq < after)
    rows = connection.execute(chosen.order_by(leaf.c.seq.desc()).limit(limit))
    return [_entry(row) for row in rows]


def show(connection: sa.Connection, index: int) -> Entry:
    """One leaf. Raises ``NotFound``."""
    row = connection.execute(_selected().where(tables.leaf.c.seq == index)).first()
    if row is None:
        raise NotFound(f"There is no leaf {index}.", code="leaf_not_found", param="index")
    return _entry(row)


def index_at(connection: sa.Connection, at: int) -> int:
    """How many leaves had been written before ``at`` (UTC microseconds)."""
    leaf = tables.leaf
    first = connection.scalar(sa.select(sa.func.min(leaf.c.seq)).where(leaf.c.at >= at))
    return connection.scalar(sa.select(tables.head.c.size)) or 0 if first is None else first


def _selected() -> sa.Select[Any, Any, Any, Any]:
    leaf, text = tables.leaf, tables.text
    return sa.select(leaf.c.seq, leaf.c.hash, leaf.c.body, text.c.reason).outerjoin(text, text.c.seq == leaf.c.seq)


def _entry(row: sa.Row[Any, Any, Any, Any]) -> Entry:
    return Entry(index=row.seq, hash=row.hash.hex(), leaf=_DECODER.decode(row.body), reason=row.reason or "")
