"""Figures of cells: each variant by itself, and two of them in pairs. Blocking, and heavy: call it in a thread."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ostinato import statistics
from ostinato.evals.experiment import Comparison, Experiment, Figures, ScorerFigures, Slice
from ostinato.evals.model import Cell
from ostinato.scorers.model import Score
from ostinato.statistics import Interval

_SHOWN_STRATA = 50
_LEAST_STRATA = 2
_REASONS = 3
"""Reasons of one scorer for leaving answers unscored that are told."""
_FEW = 5
"""Pairs of a stratum below which no interval is told: it would be nearly all there is."""


def figures(name: str, cells: Sequence[Cell], *, seed: int, texts: bool = False) -> Figures:
    """One variant. ``texts``: with the words of scorers that leave answers unscored, which may quote them."""
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
        scorers=_by_scorer(answered, texts=texts),
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
    p = _p(diffs, binary, seed) if diffs else None
    return Comparison(
        base=base,
        variant=variant,
        pairs=len(pairs),
        unpaired=len(everything) - len(pairs),
        wins=wins,
        losses=losses,
        ties=len(pairs) - wins - losses,
        difference=_difference(diffs, binary, p, 0.95, seed) if p is not None else None,
        p=p,
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


def _difference(diffs: Sequence[float], binary: bool, p: float, confidence: float, seed: int) -> Interval:
    """The mean difference with an interval that says what ``p``, its test's, says."""
    if binary:
        wins, losses = sum(diff > 0 for diff in diffs), sum(diff < 0 for diff in diffs)
        return statistics.discordant_interval(wins, losses, len(diffs), confidence)
    return statistics.agreeing(statistics.graded_interval(diffs, confidence, seed), p)


def _slices(
    pairs: Sequence[str], diffs: Sequence[float], old: Mapping[str, Cell], binary: bool, seed: int
) -> tuple[Slice, ...]:
    by_stratum: dict[str, list[float]] = {}
    for example, diff in zip(pairs, diffs, strict=True):
        by_stratum.setdefault(old[example].stratum, []).append(diff)
    if len(by_stratum) < _LEAST_STRATA:
        return ()
    largest = sorted(by_stratum, key=lambda name: (-len(by_stratum[name]), name))[:_SHOWN_STRATA]
    own = [_p(by_stratum[name], binary, seed) for name in largest]
    return tuple(
        Slice(
            stratum=name,
            pairs=len(by_stratum[name]),
            difference=None
            if len(by_stratum[name]) < _FEW
            else _difference(by_stratum[name], binary, p, confidence, seed),
            wins=sum(diff > 0 for diff in by_stratum[name]),
            losses=sum(diff < 0 for diff in by_stratum[name]),
            ties=sum(diff == 0 for diff in by_stratum[name]),
            p=adjusted,
        )
        for name, p, adjusted, confidence in zip(
            largest, own, statistics.holm(own), statistics.corrected(own), strict=True
        )
    )


def _by_scorer(cells: Sequence[Cell], *, texts: bool) -> tuple[ScorerFigures, ...]:
    found: dict[str, list[Score]] = {}
    for cell in cells:
        for score in cell.scores:
            found.setdefault(score.scorer, []).append(score)
    rows: list[ScorerFigures] = []
    for scorer, scores in found.items():
        scored = [score.value for score in scores if score.value is not None]
        why = Counter(_reason(score, texts) for score in scores if score.value is None)
        rows.append(
            ScorerFigures(
                scorer=scorer,
                mean=sum(scored) / len(scored) if scored else None,
                scored=len(scored),
                unscored=len(scores) - len(scored),
                why=dict(why.most_common(_REASONS)),
            )
        )
    return tuple(rows)


def _reason(score: Score, texts: bool) -> str:
    return (texts and score.rationale) or score.label or "unscored"


def _quantile(ordered: Sequence[int], share: float) -> int | None:
    """The smallest that at least ``share`` of all do not exceed."""
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * round(share * 100) // 100) - 1))] if ordered else None
