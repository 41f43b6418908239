"""Hashes and proofs out of the stored subtrees: a few dozen rows, however large the log is."""

from collections.abc import Iterable

import msgspec
import sqlalchemy as sa

from ostinato.audit import tables, tree
from ostinato.core.errors import Invalid, NotFound


class Inclusion(msgspec.Struct, frozen=True, kw_only=True):
    """That a leaf is in the log of a checkpoint. Hashes are hexadecimal."""

    index: int
    leaf_hash: str
    size: int
    root: str
    path: list[str]
    checkpoint: str
    """The signed note of this size; empty where none was made."""


class Consistency(msgspec.Struct, frozen=True, kw_only=True):
    """That the log of ``size`` leaves begins with that of ``old``."""

    old: int
    old_root: str
    size: int
    root: str
    path: list[str]


def root_at(connection: sa.Connection, size: int) -> bytes:
    """The root that the log had when it had ``size`` leaves."""
    return _hashes(connection, [(0, size)])[0]


def frontier_at(connection: sa.Connection, size: int) -> list[bytes]:
    """The frontier that the log had then."""
    places = list(tree.subtrees((0, size)))
    found = _fetch(connection, places)
    return [found[place] for place in places]


def inclusion(connection: sa.Connection, index: int, size: int, note: str = "") -> Inclusion:
    """Raises ``NotFound`` where the log of ``size`` leaves has no such leaf, or there is no log of that size."""
    _reach(connection, size)
    if not 0 <= index < size:
        raise NotFound(f"The log of {size} leaves has no leaf {index}.", code="leaf_not_found", param="index")
    leaf, root, *path = _hashes(connection, [(index, index + 1), (0, size), *tree.inclusion(index, size)])
    return Inclusion(
        index=index,
        leaf_hash=leaf.hex(),
        size=size,
        root=root.hex(),
        path=[one.hex() for one in path],
        checkpoint=note,
    )


def consistency(connection: sa.Connection, old: int, size: int) -> Consistency:
    """Raises ``Invalid`` where ``old`` is larger, ``NotFound`` where the log has no such size."""
    _reach(connection, size)
    if not 0 <= old <= size:
        raise Invalid("A log is consistent with what it was before: `from` is larger than `to`.", param="from")
    old_root, root, *path = _hashes(connection, [(0, old), (0, size), *tree.consistency(old, size)])
    return Consistency(old=old, old_root=old_root.hex(), size=size, root=root.hex(), path=[one.hex() for one in path])


def size_of(connection: sa.Connection) -> int:
    """How many leaves there are."""
    return connection.scalar(sa.select(tables.head.c.size)) or 0


def _reach(connection: sa.Connection, size: int) -> None:
    if not 0 <= size <= (there := size_of(connection)):
        raise NotFound(f"The log has {there} leaves, not {size}.", code="log_size", param="size")


def _hashes(connection: sa.Connection, spans: list[tree.Range]) -> list[bytes]:
    found = _fetch(connection, [place for span in spans for place in tree.subtrees(span)])
    return [tree.hash_of(span, found) for span in spans]


def _fetch(connection: sa.Connection, places: Iterable[int]) -> dict[int, bytes]:
    """The roots of complete subtrees; those of one leaf lie beside the leaf."""
    wanted = set(places)
    nodes, leaves = tables.node, tables.leaf
    found = {
        2 * row.seq: row.hash
        for row in connection.execute(
            sa.select(leaves.c.seq, leaves.c.hash).where(leaves.c.seq.in_([at // 2 for at in wanted if not at & 1]))
        )
    }
    rows = connection.execute(sa.select(nodes).where(nodes.c.place.in_([at for at in wanted if at & 1])))
    return {**found, **{row.place: row.hash for row in rows}}
