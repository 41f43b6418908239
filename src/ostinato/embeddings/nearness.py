"""What is near what. Blocking: call from a thread where there are many vectors."""

from typing import TYPE_CHECKING, Final

import msgspec

from ostinato.core.errors import Invalid

if TYPE_CHECKING:
    from ostinato.embeddings.model import Vectors

_ROWS: Final = 512
"""Rows that are compared with all others at a time: 40 MB for 20,000 vectors."""


class Pair(msgspec.Struct, frozen=True, gc=False):
    """Two rows that are near each other; ``first < second``."""

    first: int
    second: int
    cosine: float


def similarity(a: "Vectors", b: "Vectors") -> "Vectors":
    """Cosines of rows of length 1: shape (rows of ``a``, rows of ``b``), from -1 to 1."""
    return (a @ b.T).clip(-1.0, 1.0)


def near_duplicates(vectors: "Vectors", threshold: float, *, most: int = 100_000) -> list[Pair]:
    """Every pair of rows whose cosine is at least ``threshold``, the nearest first; ties by place.

    Looks at all pairs: a second or two for 20,000 rows. Raises ``Invalid`` where more than ``most`` pairs come of it,
    or ``threshold`` is no cosine.
    """
    import numpy as np  # noqa: PLC0415 - with the extra only, and not at start

    if not -1.0 <= threshold <= 1.0:
        raise Invalid("A threshold is a cosine: from -1 to 1.", param="threshold")
    found: list[Pair] = []
    # Equal texts may come out a digit below 1.
    least = threshold - 1e-6
    for at in range(0, len(vectors), _ROWS):
        cosines = similarity(vectors[at : at + _ROWS], vectors[at:])
        # Above the diagonal: each pair once, no row with itself.
        rows, columns = np.nonzero(np.triu(cosines >= least, 1))
        if len(found) + len(rows) > most:
            raise Invalid(
                f"More than {most:,} pairs are nearer than {threshold}.",
                code="too_many_pairs",
                param="threshold",
                hint="Choose a higher threshold, such as 0.95.",
            )
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            found.append(Pair(at + row, at + column, float(cosines[row, column])))
    return sorted(found, key=lambda pair: (-pair.cosine, pair.first, pair.second))
