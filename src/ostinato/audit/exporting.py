"""The log as a bundle that outsiders can verify: lines of JSON, each written in one way only.

See ``ostinato.verify``, which reads them. A part of a log begins and ends at checkpoints, so that both ends are signed.
"""

import base64
import hashlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import sqlalchemy as sa

from ostinato import storage
from ostinato.audit import checkpoints, proofs, signing, tables
from ostinato.audit.signing import Signer
from ostinato.core import hashing
from ostinato.core.errors import NotFound

FORMAT = "ostinato-audit-1"
_LEAVES = 1_000
"""Leaves read at a time."""


class Part:
    """Which part of the log a bundle holds: ``start`` and ``end`` are sizes of checkpoints (or 0)."""

    def __init__(self, start: int, end: int, size: int, frontier: list[bytes], keys: list[str]) -> None:
        self.start = start
        self.end = end
        self.size = size
        self.frontier = frontier
        self.keys = keys


def part_of(connection: sa.Connection, start: int, end: int | None) -> Part:
    """The part from leaf ``start`` up to leaf ``end`` (not included), widened to checkpoints on both sides. Raises
    ``NotFound`` where nothing is signed yet."""
    newest = checkpoints.newest(connection)
    if newest is None:
        raise NotFound(
            "The log has no checkpoint yet.", code="no_checkpoint", hint="Make one: `ostinato audit checkpoint`."
        )
    table = tables.checkpoint
    below = connection.scalar(sa.select(sa.func.max(table.c.size)).where(table.c.size <= start)) or 0
    last = newest if end is None else checkpoints.covering(connection, max(end, below + 1)) or newest
    if start >= newest.size:
        raise NotFound(f"The signed log has {newest.size} leaves, none from {start} on.", code="leaf_not_found")
    return Part(below, last.size, newest.size, proofs.frontier_at(connection, below), signing.verifiers(connection))


async def lines(database: storage.Database, signer: Signer, part: Part, org: str | None = None) -> AsyncIterator[bytes]:
    """The bundle, some hundred kilobytes at a time; of other leaves than those of ``org``, the hashes alone."""
    digest = hashlib.sha256()
    counts = {"leaves": 0, "checkpoints": 0, "receipts": 0}
    header = {
        "format": FORMAT,
        "origin": signer.name,
        "keys": part.keys,
        "from": part.start,
        "to": part.end,
        "size": part.size,
        "frontier": [one.hex() for one in part.frontier],
    }
    chunk = _line(header)
    if part.start:
        notes = await database.read(lambda c: _notes(c, part.start, part.start))
        chunk += notes[part.start]
        counts["checkpoints"] += 1
    digest.update(chunk)
    yield chunk
    at = part.start
    while at < part.end:
        until = min(at + _LEAVES, part.end)
        chunk, leaves, signed = await database.read(lambda c, a=at, u=until: _leaves(c, a, u, org))
        counts["leaves"] += leaves
        counts["checkpoints"] += signed
        digest.update(chunk)
        yield chunk
        at = until
    receipts = await database.read(lambda c: _receipts(c, part.start, part.end))
    counts["receipts"] = len(receipts)
    chunk = b"".join(receipts)
    digest.update(chunk)
    whole = digest.hexdigest()
    signature = signer.sign(f"ostinato audit bundle\n{signer.name}\n{whole}\n")
    end = {**counts, "sha256": whole, "key": signer.id, "signature": base64.b64encode(signature).decode()}
    yield chunk + _line({"end": end})


def _line(value: object) -> bytes:
    return hashing.canonical_json(value) + b"\n"


def _leaves(connection: sa.Connection, start: int, end: int, org: str | None) -> tuple[bytes, int, int]:
    """(lines, leaves, checkpoints) of a stretch, each checkpoint after its last leaf."""
    leaf = tables.leaf
    rows = connection.execute(
        sa.select(leaf.c.seq, leaf.c.hash, leaf.c.body, leaf.c.org)
        .where(leaf.c.seq >= start, leaf.c.seq < end)
        .order_by(leaf.c.seq)
    ).all()
    notes = _notes(connection, start + 1, end)
    parts: list[bytes] = []
    for index, digest, body, owner in rows:
        told = b',"body":' + body.encode() if org is None or owner == org else b""
        parts.append(b'{"leaf":%d,"hash":"%s"%s}\n' % (index, digest.hex().encode(), told))
        if index + 1 in notes:
            parts.append(notes[index + 1])
    return b"".join(parts), len(rows), len(notes)


def _notes(connection: sa.Connection, first: int, last: int) -> dict[int, bytes]:
    """Lines of the checkpoints of ``first`` to ``last`` leaves, by size."""
    table = tables.checkpoint
    rows = connection.execute(sa.select(table.c.size, table.c.note).where(table.c.size >= first, table.c.size <= last))
    return {row.size: _line({"checkpoint": row.note}) for row in rows}


def _receipts(connection: sa.Connection, start: int, end: int) -> list[bytes]:
    table = tables.receipt
    chosen = sa.select(table).where(table.c.size > start, table.c.size <= end).order_by(table.c.size, table.c.anchor)
    rows: Iterable[Any] = connection.execute(chosen)
    return [
        _line({"receipt": {"anchor": row.anchor, "size": row.size, "at": row.at, "receipt": row.receipt}})
        for row in rows
    ]
