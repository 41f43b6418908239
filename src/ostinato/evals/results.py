"""Figures of cells: each variant by itself, and two of them in pairs. Blocking, and heavy: call it in a thread."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ostinato import statistics
from ostinato.evals.experiment import Comparison, Experiment, Figures, ScorerFigures, Slice
from ostinato.evals.model import Cell
from ostinato.statistics import Interval

_SHOWN_STRATA = 50
_LEAST_STRATA = 2
_FEW = 5
"""Pairs of a stratum below which no interval is told: resampling three values knows three values."""


def figures(name: str, cells: Sequence[Cell], *, seed: int) -> Figures:
    """One variant."""
    answered = [cell for cell in cells if not cell.error]
    values = [cell.value for cell in answered if cell.value is not None]
    latencies = sorted(cell.latency_us for cell in answered if cell.latency_us is not None)
    usages = [cell.usage for cell in answered if cell.usage is not None]
    prompted = sum(usage.input + usage.cache_read + usage.cache_write for usage in usages)
    cached = sum(usage.cache_read for usage in usages)
    return Figures(
        name=name,
        n=len(cells),
        scored=len(values),
        unscored=len(answered) - len(values),
        failed=dict(sorted(Counter(cell.error for cell in cells if cell.error).items())),
        mean=mean(values, seed),
        scorers=_by_scorer(answered),
        cost=sum(cell.cost for cell in answered if cell.cost is not None),
        unpriced=sum(cell.cost is None for cell in answered),
        latency_p50_us=_quantile(latencies, 0.5),
        latency_p95_us=_quantile(latencies, 0.95),
        input_tokens=prompted,
        cached_tokens=cached,
        output_tokens=sum(usage.output + usage.reasoning for usage in usages),
        cached_share=cached / prompted if prompted else None,
    )


def compare(
    base: str, variant: str, old: Mapping[str, Cell], new: Mapping[str, Cell], *, seed: int, slices: bool = True
) -> Comparison:
    """Two variants by example id, in pairs: what only one of them was scored on is left out, and counted."""
    everything = old.keys() | new.keys()
    pairs = sorted(
        example
        for example in old.keys() & new.keys()
        if old[example].value is not None and new[example].value is not None
    )
    diffs = [_value(new[example]) - _value(old[example]) for example in pairs]
    binary = all(_value(cells[example]) in (0.0, 1.0) for cells in (old, new) for example in pairs)
    wins, losses = sum(diff > 0 for diff in diffs), sum(diff < 0 for diff in diffs)
    costs = [(new[example].cost, old[example].cost) for example in pairs]
    known = [(after or 0) - (before or 0) for after, before in costs if after is not None and before is not None]
    return Comparison(
        base=base,
        variant=variant,
        pairs=len(pairs),
        unpaired=len(everything) - len(pairs),
        wins=wins,
        losses=losses,
        ties=len(pairs) - wins - losses,
        difference=statistics.paired_interval(diffs, seed=seed) if diffs else None,
        p=_p(diffs, binary, seed) if diffs else None,
        test="mcnemar" if binary else "permutation",
        cost=round(sum(known) / len(known)) if known and len(known) == len(costs) else None,
        slices=_slices(pairs, diffs, old, binary, seed) if slices else (),
    )


def why_none(one: Experiment, two: Experiment, old: Mapping[str, Cell], new: Mapping[str, Cell]) -> str:
    """Why two variants have no pairs."""
    if one.dataset != two.dataset:
        return (
            f"One was asked about the dataset {one.dataset!r} and the other about {two.dataset!r}: pairs are two "
            "answers to the same example. Run both on one dataset."
        )
    if not old or not new:
        return f"{'Neither has' if not (old or new) else 'One of them has no'} measured cells yet."
    if not old.keys() & new.keys():
        parts = [f"{' and '.join(of.splits)} of version {of.version}" for of in (one, two)]
        return f"They have no example in common: one was asked about {parts[0]}, the other about {parts[1]}."
    return "No example was scored for both: look at the scores that failed."


def mean(values: Sequence[float], seed: int) -> Interval | None:
    """The mean of scores with its interval; ``None`` where there are none."""
    if not values:
        return None
    if all(value in (0.0, 1.0) for value in values):
        return statistics.wilson(round(sum(values)), len(values))
    return statistics.paired_interval(values, seed=seed)


def _value(cell: Cell) -> float:
    assert cell.value is not None, "only scored cells are compared"
    return cell.value


def _p(diffs: Sequence[float], binary: bool, seed: int) -> float:
    if binary:
        wins, losses = sum(diff > 0 for diff in diffs), sum(diff < 0 for diff in diffs)
        return statistics.mcnemar(wins, losses, "two-sided")
    return statistics.permutation(diffs, seed=seed, alternative="two-sided")


def _slices(
    pairs: Sequence[str], diffs: Sequence[float], old: Mapping[str, Cell], binary: bool, seed: int
) -> tuple[Slice, ...]:
    by_stratum: dict[str, list[float]] = {}
    for example, diff in zip(pairs, diffs, strict=True):
        by_stratum.setdefault(old[example].stratum, []).append(diff)
    if len(by_stratum) < _LEAST_STRATA:
        return ()
    largest = sorted(by_stratum, key=lambda name: (-len(by_stratum[name]), name))[:_SHOWN_STRATA]
    ps = statistics.holm([_p(by_stratum[name], binary, seed) for name in largest])
    return tuple(
        Slice(
            stratum=name,
            pairs=len(by_stratum[name]),
            difference=None
            if len(by_stratum[name]) < _FEW
            else statistics.paired_interval(by_stratum[name], seed=seed),
            wins=sum(diff > 0 for diff in by_stratum[name]),
            losses=sum(diff < 0 for diff in by_stratum[name]),
            ties=sum(diff == 0 for diff in by_stratum[name]),
            p=p,
        )
        for name, p in zip(largest, ps, strict=True)
    )


def _by_scorer(cells: Sequence[Cell]) -> tuple[ScorerFigures, ...]:
    found: dict[str, list[float | None]] = {}
    for cell in cells:
        for score in cell.scores:
            found.setdefault(score.scorer, []).append(score.value)
    rows: list[ScorerFigures] = []
    for scorer, values in found.items():
        scored = [value for value in values if value is not None]
        rows.append(
            ScorerFigures(
                scorer=scorer,
                mean=sum(scored) / len(scored) if scored else None,
                scored=len(scored),
                unscored=len(values) - len(scored),
            )
        )
    return tuple(rows)


def _quantile(ordered: Sequence[int], share: float) -> int | None:
    """The smallest that at least ``share`` of all do not exceed."""
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * round(share * 100) // 100) - 1))] if ordered else None
