"""Which texts are nearly the same: shared runs of nine characters, found without comparing all with all.

Exact, not estimated: a pair that shares at least the wanted part (Jaccard) has one of its rarest runs in common, so
only the rarest are looked up, and what they point at is compared whole.
"""

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from math import ceil

from ostinato.datasets.splitting import normalized_text

RUN = 9
"""Characters: about two words, so that most runs are rare (20,000 short texts: 6 s, where runs of five took 58)."""
NEAR = 0.7
"""Texts that share so much of their runs are nearly the same."""
_MOST_RUNS = 5_000_000
"""Of all texts together; beyond it every text is looked at by a sample of its runs, the same for all."""
_FEWEST = 5
"""Runs without which a text is too short to be like another one."""


def runs(texts: Sequence[str]) -> list[frozenset[int]]:
    """Of each text, its runs of characters as numbers."""
    plain = [normalized_text(text).encode() for text in texts]
    every = max(1, ceil(sum(map(len, plain)) / _MOST_RUNS))
    return [
        frozenset(
            number
            for number in (zlib.crc32(text[at : at + RUN]) for at in range(len(text) - RUN + 1))
            if number % every == 0
        )
        for text in plain
    ]


def pairs(texts: Sequence[str], near: float = NEAR) -> Iterator[tuple[int, int]]:
    """Every pair of texts that are nearly the same, as places in ``texts``, the smaller one first; each once."""
    found = runs(texts)
    frequency = Counter(number for one in found for number in one)
    index: dict[int, list[int]] = {}
    # By size, so that whatever is in the index is no longer than what is looked up.
    for place in sorted(range(len(found)), key=lambda at: (len(found[at]), at)):
        mine = found[place]
        size = len(mine)
        if size < _FEWEST:
            continue
        rarest = sorted(mine, key=lambda number: (frequency[number], number))[: size - ceil(near * size) + 1]
        candidates = {other for number in rarest for other in index.get(number, ())}
        for other in sorted(candidates):
            theirs = found[other]
            if len(theirs) >= near * size:
                shared = len(mine & theirs)
                if shared >= near * (size + len(theirs) - shared):
                    yield (other, place) if other < place else (place, other)
        for number in rarest:
            index.setdefault(number, []).append(place)
