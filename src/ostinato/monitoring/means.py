"""Detectors of a mean: quality, shares of errors, refusals and format failures, a quantile of latency or cost.

What is usual is learnt from the first samples and goes on being learnt, some way behind the present, until there are
enough; the bet is against its confidence limit, so that a badly known past raises no alarms. Or it is declared.
"""

import math
from collections.abc import Iterator, Sequence

import msgspec

from ostinato.cases.model import Fact
from ostinato.monitoring.model import DAY, Batch, Found, Observation, State, refuse
from ostinato.statistics import sequential
from ostinato.statistics.sequential import Bet, Direction

_CHUNK = 100
"""Samples that are forgotten or learnt together."""
_INJECTED = 50
"""A sample adds at most this part of the time between two false alarms: clocks may jump."""
_QUIET = 1e-3
"""Of the threshold: a statistic that is no higher knows of no change."""
_BUCKET = math.log(1.05)


class Mean(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A mean of values from 0 to 1."""

    baseline: float | None = None
    """What is usual, or promised; left out: learnt."""
    changes: tuple[float, ...] = ()
    """Sizes of changes to be quick for, in points of 1; left out: 5, 10 and 25 points, or for rare events multiples."""
    warm_up: int = 200
    """Samples before anything is found; also those of every new release."""
    reference: int = 10_000
    """Samples that what is usual is learnt from."""
    lag: int = 1_000
    """Newest samples that nothing is learnt from yet: they may be what has changed."""
    confidence: float = 0.65
    """Of the limit that is bet against where the mean is learnt, from half of ``reference`` on; before, nearer to 1."""


class Quantile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The share of values above what used to be a quantile."""

    quantile: float = 0.9
    warm_up: int = 500
    """Samples that the quantile is learnt from."""
    reference: int = 10_000
    lag: int = 1_000
    confidence: float = 0.65


class MeanState(State, kw_only=True):
    """Of a mean."""

    known: float = 0.0
    """Samples that what is usual was learnt from."""
    total: float = 0.0
    """Their sum."""
    waiting: list[tuple[float, float]] = []
    """Newer ones: count and sum of chunks, oldest first."""
    detector: sequential.Detector = msgspec.field(default_factory=sequential.Detector)
    quiet: int = 0
    """When the statistic knew of no change, last."""
    run_n: float = 0.0
    run_total: float = 0.0
    """Since then."""
    bound: float = 0.0
    """What is bet against."""
    cut: int = 0
    """Of a quantile: the bucket of values that it lies in."""
    histogram: dict[int, int] = {}
    """Of a quantile: what it is learnt from."""


def check_mean(config: Mean) -> None:
    """Raise ``Invalid`` for what cannot work."""
    if config.baseline is not None and not 0 < config.baseline < 1:
        raise refuse("baseline", "A baseline lies between 0 and 1.")
    if len(config.changes) > 10 or any(not 0 < one < 1 for one in config.changes):
        raise refuse("changes", "Changes are up to ten sizes, in points of 1.")
    _check(config.warm_up, config.reference, config.lag, config.confidence)


def check_quantile(config: Quantile) -> None:
    """Raise ``Invalid`` for what cannot work."""
    if not 0.5 <= config.quantile <= 0.99:
        raise refuse("quantile", "The quantile is from 0.5 to 0.99.")
    _check(config.warm_up, config.reference, config.lag, config.confidence)


def _check(warm_up: int, reference: int, lag: int, confidence: float) -> None:
    if not 30 <= warm_up <= reference <= 1_000_000:
        raise refuse("warm_up", "At least 30 samples are learnt from, and at most 1,000,000 (`reference`).")
    if not 0 <= lag <= 100_000:
        raise refuse("lag", "The lag is at most 100,000 samples.")
    if not 0.5 <= confidence < 1:
        raise refuse("confidence", "The confidence is from 0.5 to below 1.")


def falling(config: Mean, state: MeanState, batch: Batch, arl: float) -> Found | None:
    """Whether the mean has fallen."""
    return _mean(config, state, batch, arl, "down")


def rising(config: Mean, state: MeanState, batch: Batch, arl: float) -> Found | None:
    """Whether the mean has risen."""
    return _mean(config, state, batch, arl, "up")


def slower(config: Quantile, state: MeanState, batch: Batch, arl: float) -> Found | None:
    """Whether more values than before lie above what was the quantile."""
    observations = [_counted(config, state, one) for one in usable(state, batch, 0.0, math.inf)]
    inner = Mean(warm_up=config.warm_up, reference=config.reference, lag=config.lag, confidence=config.confidence)
    return _take(inner, state, [one for one in observations if one is not None], batch.until, arl, "up")


def _mean(config: Mean, state: MeanState, batch: Batch, arl: float, direction: Direction) -> Found | None:
    return _take(config, state, list(usable(state, batch, 0.0, 1.0)), batch.until, arl, direction)


def usable(state: State, batch: Batch, low: float, high: float) -> Iterator[Observation]:
    """The samples of a batch that mean something; the others are counted."""
    for one in batch.observations:
        value = one.value
        if value is None or one.n < 1 or not math.isfinite(value) or not low <= value <= high:
            state.ignored += max(1, one.n)
            continue
        state.n += one.n
        yield one


def seen(state: State, at: int, until: int) -> float:
    """Days since the newest sample so far; counts a late one. A time that has not come yet is taken for now."""
    at = min(at, until)
    # What came while a clock was ahead would make everything late until that time has come.
    state.last = min(state.last, until)
    passed = 0.0
    if not state.last:
        state.first = at
    elif at < state.last:
        state.late += 1
    else:
        passed = (at - state.last) / DAY
    state.last = max(state.last, at)
    return passed


def _counted(config: Quantile, state: MeanState, one: Observation) -> Observation | None:
    """1 where a value is above the cut; ``None`` while the cut is learnt."""
    bucket = math.ceil(math.log(max(one.value or 0.0, 1.0)) / _BUCKET)
    if state.cut:
        return msgspec.structs.replace(one, value=float(bucket > state.cut))
    state.histogram[bucket] = state.histogram.get(bucket, 0) + one.n
    total = sum(state.histogram.values())
    if total < config.warm_up:
        return None
    below = 0
    for place in sorted(state.histogram):
        below += state.histogram[place]
        if below >= config.quantile * total:
            state.cut = max(place, 1)
            state.known, state.total = float(total), float(total - below)
            break
    state.histogram = {}
    return None


def _take(
    config: Mean,
    state: MeanState,
    observations: Sequence[Observation],
    until: int,
    arl: float,
    direction: Direction,
) -> Found | None:
    state.threshold = arl
    found: Found | None = None
    playing, mean = _playing(config, state, direction)
    for one in observations:
        passed = seen(state, one.at, until)
        value = float(one.value or 0.0)
        if playing:
            found = _play(state, playing, mean, one, value, min(passed, arl / _INJECTED), arl, direction) or found
        if _learn(config, state, one.n, value):
            playing, mean = _playing(config, state, direction)
    state.learning = not playing
    return found


def _play(
    state: MeanState,
    playing: Sequence[Bet],
    mean: float,
    one: Observation,
    value: float,
    days: float,
    arl: float,
    direction: Direction,
) -> Found | None:
    statistic = state.detector.update(playing, mean, value, n=one.n, exposure=days, direction=direction)
    state.statistic = statistic
    state.run_n += one.n
    state.run_total += value * one.n
    if statistic >= arl:
        found = _found(state, mean, arl)
        state.alarms += 1
        state.alarmed_at = one.at
        state.detector.reset()
        state.statistic = 0.0
        _rest(state, one.at)
        return found
    if statistic <= arl * _QUIET:
        _rest(state, one.at)
    return None


def _rest(state: MeanState, at: int) -> None:
    state.quiet, state.run_n, state.run_total = at, 0.0, 0.0


def _found(state: MeanState, mean: float, arl: float) -> Found:
    usual = state.total / state.known if state.known else mean
    evidence: dict[str, Fact] = {
        "usual": round(usual, 6),
        "bound": round(mean, 6),
        "now": round(state.run_total / state.run_n, 6) if state.run_n else None,
        "learnt_from": int(state.known),
    }
    if state.cut:
        evidence["cut"] = round(math.exp(_BUCKET * state.cut))
    return Found(
        statistic=state.statistic, threshold=arl, since=state.quiet, samples=int(state.run_n), evidence=evidence
    )


def _playing(config: Mean, state: MeanState, direction: Direction) -> tuple[tuple[Bet, ...], float]:
    """The bets, and what they are against; none while nothing is known."""
    if config.baseline is not None:
        mean = config.baseline
    elif state.known < config.warm_up:
        return (), 0.0
    else:
        # While little is known the limit is a safer one: each new release would else be a draw with that chance.
        sure = 1 - (1 - config.confidence) * min(1.0, 2 * state.known / config.reference)
        mean = sequential.bound(state.total / state.known, state.known, direction, sure)
    state.bound = mean
    changes = [(one, 1.0) for one in config.changes] or None
    return sequential.bets(mean, direction, changes), mean


def _learn(config: Mean, state: MeanState, n: int, value: float) -> bool:
    """Remember samples; whether what is usual has been learnt anew."""
    if config.baseline is not None or state.known >= config.reference:
        return False
    if state.known < config.warm_up and not state.waiting:
        state.known += n
        state.total += n * value
        return state.known >= config.warm_up
    if state.waiting and state.waiting[-1][0] < _CHUNK:
        count, total = state.waiting[-1]
        state.waiting[-1] = (count + n, total + n * value)
        return False
    state.waiting.append((float(n), n * value))
    if sum(count for count, _ in state.waiting) <= config.lag + _CHUNK:
        return False
    count, total = state.waiting.pop(0)
    state.known += count
    state.total += total
    if state.known >= config.reference:
        state.waiting = []
    return True
