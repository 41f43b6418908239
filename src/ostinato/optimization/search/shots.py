"""Which examples stand in a prompt: as many of each stratum, drawn, typical, far apart or hard to tell from others."""

import itertools
import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from ostinato.core import hashing
from ostinato.datasets.model import Example

Way: TypeAlias = str
"""A name of :data:`WAYS`."""

_WIDTH: Final = 2_048
_MOST: Final = 1_500
"""Examples that are compared with one another; of more, the first by a hash of their ids."""
_WORD: Final = re.compile(r"\w+")


class Shelf:
    """The examples that may stand in a prompt, by stratum. Made once a run; the same for the same examples and seed."""

    def __init__(self, pool: Sequence[Example], texts: Mapping[str, str], seed: int) -> None:
        """``texts``: what is asked in each example, by id; examples without a text are left out."""
        self.seed = seed
        # In an order of its own: how a file was sorted says nothing.
        known = [example for example in pool if example.id in texts]
        known.sort(key=lambda example: _key(seed, example))
        self.texts = texts
        strata: dict[str, list[str]] = {}
        for example in known[:_MOST]:
            strata.setdefault(stratum_of(example), []).append(example.id)
        if len(strata) > max(20, len(known) // 4):
            # Nearly every example has an answer of its own: there are no strata.
            strata = {"": [example.id for example in known[:_MOST]]}
        self.strata: dict[str, list[str]] = dict(sorted(strata.items()))
        self._vectors: dict[str, Any] | None = None

    def __len__(self) -> int:
        return sum(map(len, self.strata.values()))

    def pick(self, way: Way, count: int, draw: int, weights: Mapping[str, float] | None = None) -> tuple[str, ...]:
        """Ids of ``count`` examples, as many of each stratum (or by ``weights``), in an order to be shown in.

        ``draw`` numbers the draws of one way: equal numbers, equal examples.
        """
        rng = random.Random(f"{self.seed}:{way}:{count}:{draw}")  # noqa: S311 - it must be repeatable, not secret
        shares = _shares({name: len(members) for name, members in self.strata.items()}, count, weights, rng)
        chosen: dict[str, list[str]] = {}
        for name, share in shares.items():
            if share:
                chosen[name] = WAYS[way](self, name, share, rng)
        return _woven(chosen, rng)

    def vectors(self, stratum: str) -> Any:
        """Rows of unit length, one an example: what words it holds, rare ones counting more."""
        if self._vectors is None:
            self._vectors = self._read()
        return self._vectors[stratum]

    def _read(self) -> dict[str, Any]:
        import numpy as np  # noqa: PLC0415 - only who searches pays for it

        names = [(name, identity) for name, members in self.strata.items() for identity in members]
        matrix = np.zeros((len(names), _WIDTH), dtype=np.float32)
        for row, (_, identity) in enumerate(names):
            for feature, times in _features(self.texts[identity]).items():
                matrix[row, zlib.crc32(feature.encode()) % _WIDTH] += 1 + np.log(times)
        seen = (matrix > 0).sum(axis=0)
        matrix *= np.log((1 + len(names)) / (1 + seen)) + 1
        matrix /= np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-9)
        found: dict[str, Any] = {}
        start = 0
        for name, members in self.strata.items():
            found[name] = matrix[start : start + len(members)]
            start += len(members)
        return found


def stratum_of(example: Example) -> str:
    """What slices and balanced samples go by."""
    if example.stratum:
        return example.stratum
    reference = example.reference
    return reference.strip()[:80] if isinstance(reference, str) else ""


def spread(examples: Sequence[Example], seed: int) -> list[Example]:
    """All examples in an order whose every beginning holds the strata in about their shares."""
    strata: dict[str, list[Example]] = {}
    for example in sorted(examples, key=lambda e: _key(seed, e)):
        strata.setdefault(stratum_of(example), []).append(example)
    placed = [
        ((place + 0.5) / len(members), _key(seed, example), example)
        for members in strata.values()
        for place, example in enumerate(members)
    ]
    return [example for _, _, example in sorted(placed, key=lambda one: one[:2])]


def _shares(
    sizes: Mapping[str, int], count: int, weights: Mapping[str, float] | None, rng: random.Random
) -> dict[str, int]:
    """How many of each stratum: equal or by weight, none more than there are."""
    shares = dict.fromkeys(sizes, 0)
    order = sorted(sizes)
    rng.shuffle(order)
    for _ in range(min(count, sum(sizes.values()))):
        # The stratum that is furthest behind what it should have.
        open_ = [name for name in order if shares[name] < sizes[name]]
        name = min(open_, key=lambda n: (shares[n] + 1) / max((weights or {}).get(n, 1.0), 1e-9))
        shares[name] += 1
    return shares


def _woven(chosen: Mapping[str, Sequence[str]], rng: random.Random) -> tuple[str, ...]:
    """The strata by turns, each turn in an order of its own: no answer stands in a row, or always last."""
    rows = [list(members) for members in chosen.values()]
    woven: list[str] = []
    while any(rows):
        turn = [row for row in rows if row]
        rng.shuffle(turn)
        woven += [row.pop(0) for row in turn]
    return tuple(woven)


def _drawn(shelf: Shelf, stratum: str, count: int, rng: random.Random) -> list[str]:
    return rng.sample(shelf.strata[stratum], count)


def _typical(shelf: Shelf, stratum: str, count: int, rng: random.Random) -> list[str]:
    """Those that stand for the most others: each next one covers best what the ones before left uncovered."""
    import numpy as np  # noqa: PLC0415

    members = shelf.strata[stratum]
    rows = _some(len(members), count, rng)
    vectors = shelf.vectors(stratum)[rows]
    alike = vectors @ vectors.T
    covered = np.zeros(len(rows), dtype=np.float32)
    picked: list[int] = []
    for _ in range(count):
        gain = np.maximum(alike - covered, 0).sum(axis=1)
        gain[picked] = -1
        picked.append(int(gain.argmax()))
        covered = np.maximum(covered, alike[picked[-1]])
    return [members[rows[index]] for index in picked]


def _diverse(shelf: Shelf, stratum: str, count: int, rng: random.Random) -> list[str]:
    """The one nearest to the centre, then always the one that is furthest from those picked."""
    import numpy as np  # noqa: PLC0415

    members = shelf.strata[stratum]
    rows = _some(len(members), count, rng)
    vectors = shelf.vectors(stratum)[rows]
    picked = [int((vectors @ vectors.mean(axis=0)).argmax())]
    nearest = vectors @ vectors[picked[0]]
    while len(picked) < count:
        away = nearest.copy()
        away[picked] = 2
        picked.append(int(away.argmin()))
        nearest = np.maximum(nearest, vectors @ vectors[picked[-1]])
    return [members[rows[index]] for index in picked]


def _borderline(shelf: Shelf, stratum: str, count: int, rng: random.Random) -> list[str]:
    """Those that look most like another stratum, but not so much that their answer must be wrong."""
    import numpy as np  # noqa: PLC0415

    members = shelf.strata[stratum]
    others = [shelf.vectors(name).mean(axis=0) for name in shelf.strata if name != stratum]
    if not others:
        return _diverse(shelf, stratum, count, rng)
    rows = _some(len(members), count, rng)
    vectors = shelf.vectors(stratum)[rows]
    margin: Any = vectors @ shelf.vectors(stratum).mean(axis=0) - (vectors @ np.stack(others).T).max(axis=1)
    doubt: list[float] = margin.tolist()
    # On the wrong side of the border: last.
    order = sorted(range(len(rows)), key=lambda index: doubt[index] if doubt[index] >= 0 else 1 - doubt[index])
    return [members[rows[index]] for index in order[:count]]


def _some(size: int, count: int, rng: random.Random) -> list[int]:
    """Half of the rows, but enough of them: so that another draw gives other examples."""
    return sorted(rng.sample(range(size), min(size, max(12, 4 * count, size // 2))))


WAYS: Final[Mapping[Way, Callable[[Shelf, str, int, random.Random], list[str]]]] = {
    "drawn": _drawn,
    "typical": _typical,
    "diverse": _diverse,
    "borderline": _borderline,
}
"""How the examples of a stratum are picked."""


def _key(seed: int, example: Example) -> bytes:
    return hashing.digest(f"{seed}:{example.id}".encode())


def _features(text: str) -> Counter[str]:
    words = _WORD.findall(text.casefold())
    return Counter([*words, *(f"{one} {two}" for one, two in itertools.pairwise(words))])
