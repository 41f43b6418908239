"""The Merkle tree of RFC 6962 (the same in RFC 9162), as arithmetic on hashes: it stores nothing.

A tree of ``n`` leaves is covered by complete subtrees, one for each bit of ``n``; their roots are its *frontier*,
largest first. Appending touches only the frontier's end. Any range that a proof needs is made of complete subtrees too,
so storing their roots once, when they become complete, is enough to prove anything later.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

EMPTY = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

_BYTES = 32


def leaf_hash(body: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + body).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of two subtrees, side by side."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def place(level: int, position: int) -> int:
    """One number for a complete subtree of ``2**level`` leaves, the ``position``-th of its level: where it stands when
    the tree is read from left to right. Leaves have the even numbers."""
    return (position << (level + 1)) + (1 << level) - 1


def grow(size: int, frontier: list[bytes], leaf: bytes) -> list[tuple[int, bytes]]:
    """Append ``leaf`` to a tree of ``size`` leaves: changes ``frontier``, gives the subtrees that became complete as
    (place, root)."""
    completed: list[tuple[int, bytes]] = []
    level, position = 0, size
    while position & 1:
        leaf = node_hash(frontier.pop(), leaf)
        level, position = level + 1, position >> 1
        completed.append((place(level, position), leaf))
    frontier.append(leaf)
    return completed


def root(frontier: Sequence[bytes]) -> bytes:
    """The root of the tree with this frontier."""
    if not frontier:
        return EMPTY
    result = frontier[-1]
    for left in reversed(frontier[:-1]):
        result = node_hash(left, result)
    return result


def pack(frontier: Sequence[bytes]) -> bytes:
    """The frontier as one value."""
    return b"".join(frontier)


def unpack(packed: bytes) -> list[bytes]:
    """The other way."""
    return [packed[at : at + _BYTES] for at in range(0, len(packed), _BYTES)]


Range = tuple[int, int]
"""Leaves from the first up to, not including, the second."""


def subtrees(span: Range) -> Iterator[int]:
    """The places of the complete subtrees that cover a range, left to right; the range begins where the tree has a
    seam."""
    start, end = span
    while start < end:
        level = (end - start).bit_length() - 1
        yield place(level, start >> level)
        start += 1 << level


def inclusion(index: int, size: int) -> list[Range]:
    """The ranges whose hashes prove that leaf ``index`` is in the tree of ``size`` leaves, in the order of RFC 9162,
    2.1.3.1."""
    start, end = 0, size
    path: list[Range] = []
    while end - start > 1:
        seam = start + _split(end - start)
        if index < seam:
            path.append((seam, end))
            end = seam
        else:
            path.append((start, seam))
            start = seam
    return path[::-1]


def consistency(old: int, size: int) -> list[Range]:
    """The ranges whose hashes prove that the tree of ``size`` leaves begins with that of ``old``, in the order of
    RFC 9162, 2.1.4.1. Empty where ``old`` is 0 or ``size``."""
    if old in (0, size):
        return []
    start, end = 0, size
    path: list[Range] = []
    whole = True
    while True:
        if old == end:
            return ([] if whole else [(start, end)]) + path[::-1]
        seam = start + _split(end - start)
        if old <= seam:
            path.append((seam, end))
            end = seam
        else:
            path.append((start, seam))
            start = seam
            whole = False


def hash_of(span: Range, hashes: Mapping[int, bytes]) -> bytes:
    """The hash of a range, from those of its :func:`subtrees`."""
    return root([hashes[at] for at in subtrees(span)])


def _split(count: int) -> int:
    """The largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1
