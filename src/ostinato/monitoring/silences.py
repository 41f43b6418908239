"""Detectors of what does not come, and of figures that are measured once a night.

``silence`` learns how often samples come in each hour of the week, and tells when none have come for longer than chance
allows. Time in which nobody watched - the process was down, the clock jumped - is no silence. ``limit`` holds a figure
of the night against a bound.
"""

import math

import msgspec

from ostinato.cases.model import Fact
from ostinato.monitoring.means import seen, usable
from ostinato.monitoring.model import DAY, Batch, Found, State, refuse
from ostinato.statistics import drift

_HOUR = 3_600_000_000
_HOURS = 168
_MONDAY = 4 * 24
"""Hours from the epoch, a Thursday, to its first Monday."""
_BURSTS = 50.0


class Silence(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A series that falls silent."""

    days: float = 7.0
    """Watched before anything is found: a week knows every hour once."""
    least: int = 20
    """Samples before anything is found."""
    minutes: float = 15.0
    """A shorter silence is none."""


class SilenceState(State, kw_only=True):
    """Of a series' rhythm."""

    counts: list[float] = []
    """Samples by hour of the week, from Monday, UTC."""
    hours: list[float] = []
    """Hours that each was watched."""
    silent: list[float] = []
    """Hours of each that were watched since the newest sample."""
    telling: bool = False
    """Whether this silence was told of."""
    hour: int = 0
    """The hour that is counted now, since the epoch; for bursts."""
    came: float = 0.0
    expected: float = 0.0
    excess: float = 0.0
    """Sums over hours, of squared differences from what was expected, over it."""
    counted: float = 0.0


class Limit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A figure that must not fall below a bound."""

    bound: float
    least: int = 1
    """Samples that the figure must come from."""


def check_silence(config: Silence) -> None:
    """Raise ``Invalid`` for what cannot work."""
    if not 1 <= config.days <= 366 or config.least < 5 or not 1 <= config.minutes <= 60 * 24 * 31:
        raise refuse("days", "Silence is learnt from at least a day and five samples, and has at least a minute.")


def silence(config: Silence, state: SilenceState, batch: Batch, arl: float) -> Found | None:
    """Whether nothing has come for longer than chance allows."""
    if len(state.counts) != _HOURS:
        state.counts, state.hours, state.silent = ([0.0] * _HOURS for _ in range(3))
    came = 0
    for one in usable(state, batch, 0.0, math.inf):
        state.n -= one.n
        count = int(one.value or 0.0)
        if count:
            seen(state, one.at, batch.until)
            came += count
            state.n += count
    _watch(state, batch.until, batch.watched)
    if came:
        state.counts[_of_week(state.last)] += came
        state.came += came
        state.silent = [0.0] * _HOURS
        state.statistic, state.telling = 0.0, False
        return None
    return _judge(config, state, batch.until, arl)


def _of_week(at: int) -> int:
    return (at // _HOUR - _MONDAY) % _HOURS


def _watch(state: SilenceState, until: int, seconds: float) -> None:
    """Time in which samples could have come, spread over the hours that it lies in."""
    left, at = min(max(seconds, 0.0), 7 * 86_400.0) / 3_600, until
    pieces: list[tuple[int, float]] = []
    while left > 1e-9:
        inside = min(left, ((at - 1) % _HOUR + 1) / _HOUR)
        pieces.append((at - 1, inside))
        left -= inside
        at -= max(int(inside * _HOUR), 1)
    for moment, hours in reversed(pieces):
        place = _of_week(moment)
        _bursts(state, moment // _HOUR, hours * _rate(state, place))
        state.hours[place] += hours
        state.silent[place] += hours


def _rate(state: SilenceState, place: int) -> float:
    total = sum(state.hours)
    mean = sum(state.counts) / total if total else 0.0
    return (state.counts[place] + mean) / (state.hours[place] + 1)


def _bursts(state: SilenceState, hour: int, expected: float) -> None:
    """How much more hours differ than those of a steady rate would: samples that come together are fewer surprises."""
    if hour != state.hour:
        if state.expected >= 1:
            state.excess += min((state.came - state.expected) ** 2 / state.expected, 20 * _BURSTS)
            state.counted += 1
        state.hour, state.came, state.expected = hour, 0.0, 0.0
    state.expected += expected


def _judge(config: Silence, state: SilenceState, until: int, arl: float) -> Found | None:
    watched, total = sum(state.hours) / 24, sum(state.counts)
    state.learning = watched < config.days or total < config.least
    if state.learning:
        return None
    bursts = min(max(state.excess / state.counted, 1.0), _BURSTS) if state.counted >= 24 else 1.0
    state.statistic = drift.silence(state.counts, state.hours, state.silent) / bursts
    # Every gap may be a false alarm, and so many gaps are there from one to the next.
    gaps = total / watched / bursts * arl
    state.threshold = math.log(max(gaps, math.e))
    quiet = sum(state.silent) * 60
    if state.telling or state.statistic < state.threshold or quiet < config.minutes:
        return None
    state.telling = True
    state.alarms += 1
    state.alarmed_at = until
    evidence: dict[str, Fact] = {
        "silent_minutes": round(quiet, 1),
        "usual_per_day": round(total / watched, 2),
        "watched_days": round(watched, 1),
        "bursts": round(bursts, 2),
    }
    return Found(
        statistic=state.statistic,
        threshold=state.threshold,
        since=state.last,
        samples=0,
        evidence=evidence,
        kind="missing-data",
    )


def below(config: Limit, state: State, batch: Batch, arl: float) -> Found | None:
    """Whether a figure of the night has fallen below its bound. Statistic and threshold: what is missing to 1."""
    found: Found | None = None
    for one in usable(state, batch, -1.0, 1.0):
        seen(state, one.at, batch.until)
        if one.n < config.least:
            continue
        state.learning = False
        value = one.value or 0.0
        state.statistic, state.threshold = 1 - value, 1 - config.bound
        if value < config.bound:
            state.alarms += 1
            state.alarmed_at = one.at
            found = Found(
                statistic=state.statistic,
                threshold=state.threshold,
                since=one.at,
                samples=one.n,
                evidence={"figure": round(value, 4), "bound": config.bound},
            )
    return found


def unlikely(config: msgspec.Struct, state: State, batch: Batch, arl: float) -> Found | None:
    """Whether a night's p-value is below one night in ``arl`` days."""
    found: Found | None = None
    for one in usable(state, batch, 0.0, 1.0):
        nights = max(min(seen(state, one.at, batch.until), 31.0), 1.0)
        state.learning = False
        state.statistic = -math.log(max(one.value or 0.0, 1e-12))
        state.threshold = max(math.log(arl / nights), 0.7)
        if state.statistic >= state.threshold:
            state.alarms += 1
            state.alarmed_at = one.at
            found = Found(
                statistic=state.statistic,
                threshold=state.threshold,
                since=one.at - DAY,
                samples=one.n,
                evidence={"p": round(one.value or 0.0, 6)},
            )
    return found
