"""How often the gate promotes what is no better, and how often it proves what is; the same of a canary's guardrails.

Simulated with the decisions' own code. ``optimization.gate.decide`` says from how many wins on it promotes, for every
number of discordant pairs; runs are counted by that. Guardrails are simulated with
``statistics.betting.paths``, which the tests hold against what watches a canary. (Not called ``statistics``: that would
hide Python's own from whatever runs here.)
"""

from functools import lru_cache

import numpy as np
from bench import Bench
from figures import Figure
from numpy.typing import NDArray

from ostinato import statistics
from ostinato.optimization import gate
from ostinato.optimization.verdicts import Finalist, GateEvidence, GateRules, Pair, Side
from ostinato.statistics import betting, exact

N, GAIN, ALPHA = 400, 0.08, 0.01
DISCORDANCES = (0.2, 0.225, 0.25)
NULL_RUNS, POWER_RUNS = 10_000, 4_000
SEQUENTIAL_RUNS, SEQUENTIAL_PAIRS = 10_000, 2_000
CANARY_RUNS, CANARY_PAIRS = 2_000, 2_000
GUARDRAILS = 4
TOTAL = 0.05
ROLLBACK_WITHIN = 115
SEED = 4


@lru_cache(maxsize=100_000)
def promoted(wins: int, losses: int, n: int) -> bool:
    """Whether the gate promotes one finalist with so many wins and losses among ``n`` pairs."""
    outcomes = [(0.0, 1.0)] * wins + [(1.0, 0.0)] * losses + [(1.0, 1.0)] * (n - wins - losses)
    pairs = tuple(
        Pair(
            example=str(number),
            base=Side(value=before, computed=100, latency_us=1_000),
            candidate=Side(value=after, computed=100, latency_us=1_000),
        )
        for number, (before, after) in enumerate(outcomes)
    )
    evidence = GateEvidence(finalists=(Finalist(id="candidate", pairs=pairs),), expected=n)
    return gate.decide(evidence, GateRules(alpha=ALPHA)).outcome == "promote"


@lru_cache(maxsize=10_000)
def fewest(discordant: int, n: int) -> int:
    """Wins among ``discordant`` pairs from which on the gate promotes: more are never worse."""
    low, high = -1, discordant + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if promoted(middle, discordant - middle, n) else (middle, high)
    return high


def fixed(runs: int, gain: float, discordance: float, seed: int) -> int:
    """Runs of the fixed gate in which a candidate with a true ``gain`` is promoted."""
    shares = [(discordance + gain) / 2, (discordance - gain) / 2, 1 - discordance]
    drawn = np.random.default_rng(seed).multinomial(N, shares, runs)
    return sum(int(wins) >= fewest(int(wins + losses), N) for wins, losses, _ in drawn)


def differences(
    random: np.random.Generator, runs: int, pairs: int, gain: float, discordance: float
) -> NDArray[np.float64]:
    """Differences of paired right and wrong answers: (runs, pairs)."""
    shares = [(discordance + gain) / 2, (discordance - gain) / 2, 1 - discordance]
    return random.choice([1.0, -1.0, 0.0], (runs, pairs), p=shares)


def sequential(runs: int, pairs: int, gain: float, discordance: float, seed: int) -> tuple[int, float]:
    """Runs of the sequential gate that promote at any of ``pairs`` looks, and the median pair at which they do."""
    random = np.random.default_rng(seed)
    firsts: list[int] = []
    for at in range(0, runs, 500):
        some = differences(random, min(500, runs - at), pairs, gain, discordance)
        _, benefit = betting.paths(some)
        reached = benefit >= 1 / GateRules(alpha=ALPHA).level
        firsts += [int(one.argmax()) + 1 for one in reached if one.any()]
    return len(firsts), float(np.median(firsts)) if firsts else float("nan")


def first_alarms(quality_loss: float, runs: int, pairs: int, seed: int, right: float = 0.7) -> NDArray[np.int64]:
    """For each canary the pair at which any of four guardrails (quality, error, cost, latency) finds harm; 0: never.

    Quality is right or wrong, errors are rare, cost and latency spread by half and are compared without their margin,
    which would hide some false alarms.
    """
    random = np.random.default_rng(seed)
    level = TOTAL / GUARDRAILS
    found: list[NDArray[np.int64]] = []
    for at in range(0, runs, 250):
        shape = (min(250, runs - at), pairs)
        control, canary = random.random(shape) < right, random.random(shape) < right - quality_loss
        failing = [random.random(shape) < 0.02 for _ in range(2)]
        lines = [canary.astype(float) - control, failing[0].astype(float) - failing[1]]
        for _ in range(GUARDRAILS - 2):
            one, other = random.lognormal(0, 0.5, shape), random.lognormal(0, 0.5, shape)
            lines.append((one - other) / (one + other))
        alarm = np.zeros(shape, dtype=bool)
        for line in lines:
            alarm |= betting.paths(line)[0] >= 1 / level
        found.append(np.where(alarm.any(axis=1), alarm.argmax(axis=1) + 1, 0))
    return np.concatenate(found)


def measure_gate(bench: Bench) -> list[Figure]:
    """The gate: false promotions and power, fixed and sequential."""
    tick = bench.ticker("gate", 4)
    tick(f"{NULL_RUNS:,} null runs, one look")
    each = NULL_RUNS // len(DISCORDANCES) + 1
    false = sum(fixed(each, 0.0, one, SEED + n) for n, one in enumerate(DISCORDANCES))
    runs = each * len(DISCORDANCES)
    tick("power, one look")
    power = {one: fixed(POWER_RUNS, GAIN, one, SEED + 10 + n) / POWER_RUNS for n, one in enumerate(DISCORDANCES)}
    level = GateRules(alpha=ALPHA).level
    computed = {one: statistics.power(N, GAIN, one, level) for one in DISCORDANCES}
    tick(f"{SEQUENTIAL_RUNS:,} null runs, a look after every pair")
    peeked, _ = sequential(SEQUENTIAL_RUNS, SEQUENTIAL_PAIRS, 0.0, 0.225, SEED + 20)
    tick("power, a look after every pair")
    proven = {one: sequential(POWER_RUNS, N, GAIN, one, SEED + 30 + n) for n, one in enumerate(DISCORDANCES)}
    tick("")
    worst = exact.size(N, level)
    span = statistics.clopper_pearson(false, runs)
    shown = ", ".join(f"{one:.1%}: {computed[one]:.1%} (simulated {value:.1%})" for one, value in power.items())
    looked = ", ".join(f"{one:.1%}: {n / POWER_RUNS:.1%} at pair {at:.0f}" for one, (n, at) in proven.items())
    return [
        Figure(
            id="gate-false",
            what="false promotions, one look, one finalist",
            value=100 * false / runs,
            unit="%",
            asked=100 * ALPHA,
            note=f"{false} of {runs:,} (95 %: {span.low:.2%} to {span.high:.2%}); by enumeration at worst {worst:.3%}",
        ),
        Figure(
            id="gate-power",
            what=f"power at +8 points, n = {N}, 1 %, worst of 20 to 25 % discordance",
            value=100 * min(computed.values()),
            unit="%",
            asked=80.0,
            more=True,
            note=f"computed exactly; {shown}",
        ),
        Figure(
            id="gate-false-sequential",
            what="false promotions with a look after every pair",
            value=100 * peeked / SEQUENTIAL_RUNS,
            unit="%",
            asked=100 * ALPHA,
            note=f"{peeked} of {SEQUENTIAL_RUNS:,} runs of {SEQUENTIAL_PAIRS:,} looks",
        ),
        Figure(
            id="gate-power-sequential",
            what=f"power of the sequential gate within {N} pairs, +8 points",
            value=100 * min(n for n, _ in proven.values()) / POWER_RUNS,
            unit="%",
            more=True,
            note=f"reported only; by discordance, with the median pair of those proven: {looked}",
        ),
    ]


def measure_canary(bench: Bench) -> list[Figure]:
    """Guardrails: how soon a loss is rolled back, and how often one that is none."""
    tick = bench.ticker("canary", 2)
    tick("a loss of 20 points")
    medians = {}
    for number, right in enumerate((0.6, 0.7, 0.8, 0.9)):
        alarms = first_alarms(0.2, CANARY_RUNS // 2, 800, SEED + 40 + number, right)
        medians[right] = float(np.median(np.where(alarms == 0, 801, alarms)))
    tick("no loss")
    false = int(np.count_nonzero(first_alarms(0.0, CANARY_RUNS, CANARY_PAIRS, SEED + 50)))
    tick("")
    span = statistics.clopper_pearson(false, CANARY_RUNS)
    return [
        Figure(
            id="canary-rollback",
            what="pairs until a 20-point loss is rolled back, median, four guardrails",
            value=max(medians.values()),
            unit="pairs",
            asked=float(ROLLBACK_WITHIN),
            note="by the control's share of right answers: "
            + ", ".join(f"{right:.0%}: {value:.0f}" for right, value in medians.items()),
        ),
        Figure(
            id="canary-false",
            what="false rollbacks, four guardrails, a look after every pair",
            value=100 * false / CANARY_RUNS,
            unit="%",
            asked=100 * TOTAL,
            note=f"{false} of {CANARY_RUNS:,} canaries of {CANARY_PAIRS:,} pairs "
            f"(95 %: {span.low:.1%} to {span.high:.1%})",
        ),
    ]
