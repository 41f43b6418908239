"""What paired measurements say of candidates: small arithmetic for a search, which decides nothing but where to look.

What may ship is decided on the sealed holdout, by the gate.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from ostinato.optimization.model import Measured

Table = Mapping[str, Mapping[str, Measured]]
"""Candidate -> example -> how it did."""

SPREAD = 0.1
"""How far candidates of one prompt lie apart, before anything is known: standard deviation, in points of 0 to 1."""
NOISE = 0.35
"""What one measurement is off by, beside how hard its example is."""
_TURNS = 200
_STILL = 1e-7
_NORMAL_95 = 1.6448536269514722


class Paired(msgspec.Struct, frozen=True):
    """Two candidates on the examples that both were scored on."""

    n: int
    mean: float
    """Of the differences, the second less the first."""
    error: float
    """Standard error of that mean."""
    wins: int
    losses: int

    def lower(self, z: float = _NORMAL_95) -> float:
        """Lower bound of the mean difference, one-sided (95 % by default)."""
        return self.mean - z * self.error if self.n else -1.0

    def upper(self, z: float = _NORMAL_95) -> float:
        """Upper bound of it, never closer than what no win at all among ``n`` pairs leaves open."""
        if not self.n:
            return 1.0
        unseen = -math.expm1(math.log(0.5 * math.erfc(z / math.sqrt(2))) / self.n)
        return max(self.mean + z * self.error, unseen - self.losses / self.n)

    @property
    def p(self) -> float:
        """Chance of so many wins or more among the pairs that differ, if both were equal (exact, one-sided)."""
        total = self.wins + self.losses
        return sum(math.comb(total, k) for k in range(self.wins, total + 1)) / 2**total


def paired(table: Table, first: str, second: str) -> Paired:
    """``second`` against ``first``."""
    one, other = table.get(first, {}), table.get(second, {})
    differences: list[float] = []
    for example, measured in one.items():
        value, against = measured.value, other[example].value if example in other else None
        if value is not None and against is not None:
            differences.append(against - value)
    n = len(differences)
    mean = math.fsum(differences) / n if n else 0.0
    spread = math.fsum((d - mean) ** 2 for d in differences) / (n - 1) if n > 1 else 0.0
    wins = sum(d > 0 for d in differences)
    losses = sum(d < 0 for d in differences)
    return Paired(n, mean, math.sqrt(spread / n) if n else 1.0, wins, losses)


def mean(table: Table, candidate: str) -> float | None:
    """Mean over the examples that it was scored on."""
    values = [one.value for one in table.get(candidate, {}).values() if one.value is not None]
    return math.fsum(values) / len(values) if values else None


def estimates(table: Table, base: str) -> dict[str, float]:
    """What each candidate is worth against the base, from all rounds together, though not all were in each.

    A value is taken as the sum of what its example allows and what its candidate is worth; candidates that are still
    in the race tie the rounds together. What is worth much on few examples is drawn towards the others, as the best of
    many is mostly lucky. Solved by turns, in a fixed order: equal measurements, equal estimates.
    """
    scored = {
        name: {key: one.value for key, one in row.items() if one.value is not None} for name, row in table.items()
    }
    names = sorted(scored)
    examples = sorted({example for row in scored.values() for example in row})
    by_example: dict[str, list[tuple[str, float]]] = {example: [] for example in examples}
    for name in names:
        for example, value in scored[name].items():
            by_example[example].append((name, value))
    worth = dict.fromkeys(names, 0.0)
    ease = dict.fromkeys(examples, 0.0)
    pull = (NOISE / SPREAD) ** 2
    others = [name for name in names if name != base]
    for _ in range(_TURNS):
        moved = 0.0
        for example, row in by_example.items():
            ease[example] = sum([value - worth[name] for name, value in row]) / len(row)
        centre = sum([worth[name] for name in others]) / len(others) if others else 0.0
        for name in names:
            row = scored[name]
            told = sum([value - ease[example] for example, value in row.items()])
            # The base is where it is: only those that were chosen among are drawn together.
            drawn = 0.0 if name == base else pull
            weight = len(row) + drawn
            found = (told + drawn * centre) / weight if weight else centre
            moved = max(moved, abs(found - worth[name]))
            worth[name] = found
        if moved < _STILL:
            break
    return {name: worth[name] - worth.get(base, 0.0) for name in names}


def unscored(table: Table, candidate: str, examples: Sequence[str]) -> int:
    """How many of ``examples`` stayed without a score."""
    row = table.get(candidate, {})
    return sum(row[example].value is None for example in examples if example in row)
