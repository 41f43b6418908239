"""Checkpoints: made from what is committed, and never one that contradicts the last."""

import msgspec
import sqlalchemy as sa

from ostinato.audit import proofs, sequencer, tables, tree
from ostinato.audit.signing import Signer
from ostinato.core.errors import Unavailable


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A signed statement about the log."""

    size: int
    at: int
    """UTC microseconds."""
    root: str
    """Hexadecimal."""
    note: str
    """C2SP signed note: origin, size, root, and the signature."""


def make(connection: sa.Connection, signer: Signer, now: int) -> tuple[Checkpoint | None, bool]:
    """(the checkpoint of all leaves that are committed, whether it is new); ``None`` for an empty log.

    Raises ``Unavailable`` (code ``audit_inconsistent``) where the log no longer is what was signed last: nothing is
    signed then.
    """
    size, frontier = sequencer.lock(connection)
    last = newest(connection)
    if last is not None:
        if last.size > size or proofs.root_at(connection, last.size).hex() != last.root:
            raise Unavailable(
                f"The audit log is not what the checkpoint of {last.size} leaves was made of: nothing is signed.",
                code="audit_inconsistent",
                hint="Somebody changed `control` behind Ostinato. Restore a backup; `audit verify` says where.",
            )
        if last.size == size:
            return last, False
    if size == 0:
        return None, False
    root = tree.root(frontier)
    made = Checkpoint(size=size, at=now, root=root.hex(), note=signer.note(size, root))
    connection.execute(sa.insert(tables.checkpoint).values(size=size, at=now, root=root, note=made.note))
    return made, True


def newest(connection: sa.Connection) -> Checkpoint | None:
    """The last one."""
    found = page(connection, limit=1, newest_first=True)
    return found[0] if found else None


def covering(connection: sa.Connection, size: int) -> Checkpoint | None:
    """The first one of at least ``size`` leaves."""
    found = page(connection, after=size - 1, limit=1)
    return found[0] if found else None


def page(
    connection: sa.Connection, *, after: int = -1, limit: int = 100, newest_first: bool = False
) -> list[Checkpoint]:
    """Checkpoints of more than ``after`` leaves, by size."""
    table = tables.checkpoint
    order = table.c.size.desc() if newest_first else table.c.size
    rows = connection.execute(sa.select(table).where(table.c.size > after).order_by(order).limit(limit))
    return [Checkpoint(size=row.size, at=row.at, root=row.root.hex(), note=row.note) for row in rows]
