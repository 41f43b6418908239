"""Merkle trees (RFC 6962) as a verifier has them: roots, and proofs as in RFC 9162."""

import hashlib
from collections.abc import Iterable

_LONGEST_PATH = 64


class Broken(Exception):
    """What was given cannot be read as what it should be."""


def leaf_hash(body: bytes) -> bytes:
    """The hash of a leaf."""
    return hashlib.sha256(b"\x00" + body).digest()


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A growing tree of which only the roots of the complete subtrees are kept."""

    def __init__(self, size: int = 0, frontier: Iterable[bytes] = ()) -> None:
        self.size = size
        self._frontier = list(frontier)
        if len(self._frontier) != size.bit_count() or any(len(one) != 32 for one in self._frontier):
            raise Broken(f"a tree of {size} leaves has another frontier")

    def add(self, leaf: bytes) -> None:
        size = self.size
        self.size += 1
        frontier = self._frontier
        while size & 1:
            leaf = _node(frontier.pop(), leaf)
            size >>= 1
        frontier.append(leaf)

    def root(self) -> bytes:
        result = None
        for left in reversed(self._frontier):
            result = left if result is None else _node(left, result)
        return hashlib.sha256(b"").digest() if result is None else result


def inclusion_holds(index: int, size: int, leaf: bytes, path: list[bytes], root: bytes) -> bool:
    """Whether ``path`` proves that the leaf of this hash is number ``index`` of the tree with ``root``."""
    if not 0 <= index < size or len(path) > _LONGEST_PATH:
        return False
    at, last, result = index, size - 1, leaf
    for other in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            result = _node(other, result)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            result = _node(result, other)
        at, last = at >> 1, last >> 1
    return last == 0 and result == root


def consistency_holds(old: int, size: int, old_root: bytes, root: bytes, path: list[bytes]) -> bool:
    """Whether ``path`` proves that the tree of ``size`` leaves begins with the tree of ``old``."""
    if not 0 <= old <= size or len(path) > _LONGEST_PATH:
        return False
    if old == size:
        return not path and old_root == root
    if old == 0:
        return not path and old_root == hashlib.sha256(b"").digest()
    path = [old_root, *path] if old & (old - 1) == 0 else path
    if not path:
        return False
    at, last = old - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for other in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = _node(other, first), _node(other, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = _node(second, other)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == root
