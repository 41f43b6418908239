"""Texts that say nearly the same: one-permutation MinHash over pieces of four characters (Li, Owen and Zhang 2012).

A signature is 32 numbers; the share that two have in common estimates how many pieces the texts share (Jaccard's
coefficient, standard error at most 0.09). It finds what differs in a word, a name or a typing error, not what says the
same in other words: that takes an encoder.
"""

import operator
import zlib
from array import array
from collections.abc import Sequence

from ostinato.families.key import masked

BINS = 32
ALIKE = 0.5
"""Share of common numbers from which on two texts are of one cluster."""
_PIECE = 4
_LONGEST = 1_000
"""Characters of a text that are looked at."""
_EMPTY = 0xFFFFFFFF

Signature = Sequence[int]


def signature(text: str) -> Signature:
    """The signature of a text; case, punctuation and numbers play no part."""
    words = "".join(c if c.isalnum() or c == "#" else " " for c in masked(text[:_LONGEST]).casefold()).split()
    data = (" " + " ".join(words) + " ").encode()
    bins = [_EMPTY] * BINS
    for at in range(max(1, len(data) - _PIECE + 1)):
        mixed = zlib.crc32(data[at : at + _PIECE])
        mixed = (mixed * 0x9E3779B1 ^ mixed >> 15) & 0xFFFFFFFF
        place = mixed & (BINS - 1)
        bins[place] = min(bins[place], mixed)
    return _filled(bins)


def likeness(one: Signature, other: Signature) -> float:
    """From 0 (nothing in common) to 1."""
    return sum(map(operator.eq, one, other)) / BINS


def _filled(bins: list[int]) -> Signature:
    """Empty bins borrow from the next full one, with the distance mixed in (Shrivastava and Li 2014)."""
    if _EMPTY not in bins:
        return tuple(bins)
    full = list(bins)
    for place in range(BINS):
        step = 0
        while bins[(place + step) % BINS] == _EMPTY and step < BINS:
            step += 1
        if step:
            full[place] = (bins[(place + step) % BINS] + step * 0x85EBCA6B) & 0xFFFFFFFF
    return tuple(full)


class Clusters:
    """Clusters of one family: each by its first text. Bounded; the rarest makes room."""

    __slots__ = ("_counts", "_firsts", "_room")

    def __init__(self, room: int = 64) -> None:
        self._room = room
        self._firsts: list[array[int]] = []
        """Packed: thirty-two numbers of four bytes, where a tuple of them takes ten times as much."""
        self._counts: list[int] = []

    def __len__(self) -> int:
        return len(self._firsts)

    def join(self, found: Signature) -> bool:
        """Put a text into the cluster that it is nearest to; whether there was one."""
        best, place = 0.0, -1
        for number, first in enumerate(self._firsts):
            alike = likeness(found, first)
            if alike > best:
                best, place = alike, number
        if best >= ALIKE:
            self._counts[place] += 1
            return True
        if len(self._firsts) >= self._room:
            place = min(range(self._room), key=self._counts.__getitem__)
            self._firsts[place], self._counts[place] = array("I", found), 1
        else:
            self._firsts.append(array("I", found))
            self._counts.append(1)
        return False
