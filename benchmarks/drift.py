"""How soon drift is found, and how far apart false alarms are: simulated with the detectors' own code.

A thousand answers a day are scored right or wrong, 80 % right; thirty days or more are to lie between two false alarms.
Beside our delays stand those of the CUSUM that knows both shares, which nothing beats (Moustakides 1986), on the same
samples. ``learnt``: what is usual is not told to the detector; it learns it from the samples before.

    make bench ARGS='--only drift'
"""

import random
import time
from collections.abc import Callable

import numpy as np
from bench import Bench
from figures import Figure
from numpy.typing import NDArray

from ostinato.monitoring import Batch, Observation, kinds
from ostinato.statistics import drift, sequential

BASE = 0.8
DAYS = 30.0
A_DAY = 1_000
ARL = DAYS * A_DAY
RUNS, WARM, LONG = 1_000, 2_000, 3_000
NULL_RUNS, NULL_DAYS = 200, 120
LEARNT_RUNS, LEARNT_WARM, LEARNT_SEEDS = 120, (6_000, 11_000), (5_000, 6_000, 7_000)
LEARNT_NULL_RUNS, LEARNT_NULL_DAYS = 80, 60
MICROS = 86_400_000_000 // A_DAY
START = 1_760_000_000_000_000
SEED = 5


def worlds(runs: int, before: int, after: int, share: float, seed: int) -> NDArray[np.float64]:
    """Right and wrong answers, (runs, before + after): as usual, then with another share."""
    draw = np.random.default_rng(seed)
    usual, changed = draw.random((runs, before)) < BASE, draw.random((runs, after)) < share
    return np.concatenate([usual, changed], axis=1).astype(np.float64)


def false_alarms(runs: int, days: int, seed: int) -> tuple[int, float]:
    """False alarms of the detector that knows the base, and the days that were simulated."""
    draw = np.random.default_rng(seed)
    playing = sequential.bets(BASE)
    stakes, weights = (np.array([getattr(one, name) for one in playing])[:, None] for name in ("stake", "weight"))
    capital, alarms = np.zeros((len(playing), runs)), 0
    for _ in range(days * A_DAY):
        right = draw.random(runs) < BASE
        capital = (capital + 1.0) * (1.0 + stakes * (BASE - right))
        hit = (weights * capital).sum(axis=0) >= ARL
        alarms += int(hit.sum())
        capital[:, hit] = 0.0
    return alarms, float(runs * days)


def learnt(runs: int, before: int, after: int, share: float, seed: int) -> tuple[int, list[int]]:
    """The whole detector as it watches: false alarms before the change, and samples to the first alarm behind it."""
    kind = kinds.find("quality")
    config = kinds.configured(kind, {})
    false, delays = 0, []
    for run in range(runs):
        draw, state = random.Random(seed + run), kind.state()
        found = after + 1
        for number in range(before + after):
            at = START + number * MICROS
            value = float(draw.random() < (BASE if number < before else share))
            if kind.take(config, state, Batch(at, (Observation(at, value),)), DAYS) is not None:
                if number < before:
                    false += 1
                else:
                    found = number - before + 1
                    break
        if after:
            delays.append(found)
    return false, delays


def measure(bench: Bench) -> list[Figure]:
    """Delays and false alarms of the detector of quality; the size of PSI and MMD; what a sample costs."""
    tick = bench.ticker("drift", 7)
    found: list[Figure] = []
    for points, asked in ((10, 200), (5, 600)):
        tick(f"a drop of {points} points")
        found += [_delay(points, asked), *(_delay_learnt(points, asked, warm) for warm in LEARNT_WARM)]
    tick(f"{NULL_RUNS * NULL_DAYS:,} days without a change")
    alarms, days = false_alarms(NULL_RUNS, NULL_DAYS, SEED)
    found.append(_apart("drift-false", "days between false alarms, base known", alarms, days))
    tick("and with a base that is learnt")
    alarms, _ = learnt(LEARNT_NULL_RUNS, LEARNT_NULL_DAYS * A_DAY, 0, BASE, SEED)
    found.append(
        _apart("drift-false-learnt", "the same, base learnt", alarms, float(LEARNT_NULL_RUNS * LEARNT_NULL_DAYS))
    )
    tick("psi")
    found.append(_sizes("drift-psi", "PSI over its limit without a change, where 1 % may be", _psi))
    tick("mmd")
    found.append(_sizes("drift-mmd", "MMD below p = 0.05 without a change", _mmd, 5.0))
    tick("what it costs")
    found.append(_cost())
    tick("")
    return found


def _delay(points: int, asked: int) -> Figure:
    share = BASE - points / 100
    data = worlds(RUNS, WARM, LONG, share, SEED + points)
    ours = sequential.delays(data, BASE, ARL, warm=WARM)
    bar = sequential.cusum_threshold(BASE, share, ARL)
    best = sequential.cusum_delays(data, BASE, share, bar, warm=WARM)
    return Figure(
        id=f"drift-{points}",
        what=f"samples until a drop of {points} points is found (median), base known",
        value=float(np.median(ours)),
        asked=asked,
        note=f"optimal CUSUM {np.median(best):.0f}; means {ours.mean():.0f} and {best.mean():.0f}; {RUNS:,} runs",
        detail={"p90": float(np.percentile(ours, 90)), "cusum_p90": float(np.percentile(best, 90))},
    )


def _delay_learnt(points: int, asked: int, warm: int) -> Figure:
    each = [learnt(LEARNT_RUNS, warm, LONG, BASE - points / 100, seed)[1] for seed in LEARNT_SEEDS]
    delays = [delay for one in each for delay in one]
    return Figure(
        id=f"drift-{points}-learnt-{warm // A_DAY}",
        what=f"the same, base learnt from {warm:,} samples before",
        value=float(np.median(delays)),
        asked=asked,
        note=f"by seed {', '.join(f'{np.median(one):.0f}' for one in each)}; p90 {np.percentile(delays, 90):.0f}; "
        f"{len(delays)} runs of the whole detector",
    )


def _apart(id: str, what: str, alarms: int, days: float) -> Figure:
    return Figure(
        id=id,
        what=what,
        value=days / alarms if alarms else days,
        unit="days",
        asked=DAYS,
        more=True,
        note=f"{alarms} in {days:,.0f} days",
    )


def _sizes(id: str, what: str, size: Callable[[], tuple[int, int]], percent: float = 1.0) -> Figure:
    over, runs = size()
    return Figure(id=id, what=what, value=100 * over / runs, unit="%", goal=1.5 * percent, note=f"{over} of {runs:,}")


def _psi() -> tuple[int, int]:
    draw, over, runs = np.random.default_rng(SEED), 0, 4_000
    shares = 1 / np.arange(1, 21)
    for _ in range(runs):
        sides = [draw.multinomial(n, shares / shares.sum()).tolist() for n in (3_000, 1_000)]
        one, two = ({str(at): float(count) for at, count in enumerate(side)} for side in sides)
        value, cells = drift.psi(one, two)
        over += value > drift.psi_limit(3_000, 1_000, cells, 0.01)
    return over, runs


def _mmd() -> tuple[int, int]:
    draw, runs = np.random.default_rng(SEED), 300
    pairs = ((draw.normal(size=(50, 16)), draw.normal(size=(50, 16))) for _ in range(runs))
    return sum(drift.mmd(one, two, seed=at, permutations=199)[1] <= 0.05 for at, (one, two) in enumerate(pairs)), runs


def _cost() -> Figure:
    kind = kinds.find("quality")
    config, state, n = kinds.configured(kind, {}), kind.state(), 50_000
    draw = random.Random(SEED)
    observations = tuple(Observation(START + at * MICROS, float(draw.random() < BASE)) for at in range(n))
    began = time.perf_counter()
    kind.take(config, state, Batch(START + n * MICROS, observations), DAYS)
    each = (time.perf_counter() - began) / n
    return Figure(id="drift-cost", what="CPU of one sample of the detector of quality", value=each * 1e6, unit="us")
