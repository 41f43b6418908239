"""P-values against enumeration by hand and SciPy's own; intervals that hold what they should; power that is true."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from ostinato import statistics
from ostinato.core.errors import Invalid
from ostinato.statistics import exact

COUNTS = st.integers(0, 60)


@given(COUNTS, COUNTS)
def test_mcnemar_is_the_binomial_test(wins: int, losses: int) -> None:
    expected = scipy_stats.binomtest(wins, wins + losses, alternative="greater").pvalue if wins + losses else 1.0
    assert statistics.mcnemar(wins, losses) == pytest.approx(expected)
    assert statistics.mcnemar(losses, wins, "less") == pytest.approx(expected)
    assert statistics.mcnemar(wins, losses, "two-sided") <= 1


def by_hand(wins: int, losses: int, n: int) -> float:
    """The unconditional p-value from all outcomes, one by one."""

    def middle(w: int, k: int) -> float:
        chances = [math.comb(k, i) / 2**k for i in range(k + 1)]
        return sum(chances[w:]) - chances[w] / 2

    seen = middle(wins, wins + losses)
    rejected = [(w, k) for k in range(1, n + 1) for w in range(k + 1) if middle(w, k) <= seen + 1e-12]
    plausible = scipy_stats.binomtest(wins + losses, n).proportion_ci(1 - 1e-5, method="exact")
    worst = 0.0
    for share in np.linspace(plausible.low, plausible.high, 150):
        total = sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) * math.comb(k, w) / 2**k for w, k in rejected)
        worst = max(worst, total)
    return worst + 1e-5


@pytest.mark.parametrize(("wins", "losses", "n"), [(5, 0, 12), (8, 1, 15), (9, 3, 20), (6, 1, 9), (14, 4, 25)])
def test_the_unconditional_test_agrees_with_all_outcomes_counted(wins: int, losses: int, n: int) -> None:
    assert statistics.mcnemar(wins, losses, n=n) == pytest.approx(by_hand(wins, losses, n), rel=0.02)


@settings(max_examples=10, deadline=None)
@given(st.integers(10, 400), st.sampled_from([0.05, 0.01]), st.floats(0.01, 1))
def test_no_share_of_discordant_pairs_makes_it_wrong_too_often(n: int, alpha: float, share: float) -> None:
    # Between two points of the grid it may be larger by a trifle.
    assert exact.size(n, alpha, share) <= alpha * 1.005


@pytest.mark.parametrize(("n", "alpha"), [(30, 0.05), (60, 0.01)])
def test_planning_rejects_what_the_test_rejects(n: int, alpha: float) -> None:
    found = exact.rejecting(n, alpha)
    differing = 0
    for discordant in range(n + 1):
        wins = [w for w in range(discordant + 1) if statistics.mcnemar(w, discordant - w, n=n) <= alpha]
        differing += (min(wins) if wins else n + 2) != found[discordant]
    # The plan's thresholds are steps: now and then it is stricter than the test.
    assert differing <= 2


@pytest.mark.parametrize("counts", [(-1, 3), (3, -1)])
def test_counts_that_cannot_be_are_refused(counts: tuple[int, int]) -> None:
    with pytest.raises(Invalid):
        statistics.mcnemar(*counts)
    with pytest.raises(Invalid):
        statistics.mcnemar(5, 5, n=9)


@given(st.lists(st.integers(-5, 5), max_size=9))
def test_permutation_of_few_is_all_signs(diffs: list[int]) -> None:
    kept = [one for one in diffs if one]
    sums = [
        sum(s * d for s, d in zip(signs, kept, strict=True)) for signs in itertools.product((1, -1), repeat=len(kept))
    ]
    expected = sum(one >= sum(kept) for one in sums) / len(sums)
    assert statistics.permutation(diffs, seed=1) == pytest.approx(expected)


def test_permutation_of_many_is_near_the_truth_and_the_same_for_one_seed() -> None:
    diffs = [1.0] * 30 + [-1.0] * 14 + [0.0] * 50
    found = statistics.permutation(diffs, seed=3)
    assert found == statistics.permutation(diffs, seed=3)
    truth = statistics.mcnemar(30, 14)
    assert abs(found - truth) < 5 * math.sqrt(truth / 20_000)
    assert statistics.permutation(diffs, seed=3, alternative="less") > 0.9
    assert statistics.permutation([], seed=1) == 1.0
    with pytest.raises(Invalid):
        statistics.permutation([math.nan], seed=1)


def test_holm_as_in_the_book() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert statistics.holm([]) == ()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_keeps_the_order_and_never_helps(ps: list[float]) -> None:
    adjusted = statistics.holm(ps)
    assert all(a >= p for a, p in zip(adjusted, ps, strict=True))
    assert all(a <= min(1, len(ps) * p) for a, p in zip(adjusted, ps, strict=True))
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


@given(st.integers(1, 200), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_intervals_of_shares_are_scipys(n: int, data: st.DataObject, confidence: float) -> None:
    k = data.draw(st.integers(0, n))
    test = scipy_stats.binomtest(k, n)
    for name, found in (
        ("exact", statistics.clopper_pearson(k, n, confidence)),
        ("wilson", statistics.wilson(k, n, confidence)),
    ):
        expected = test.proportion_ci(confidence, method=name)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert found.mean in found


def test_an_interval_of_differences_holds_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    held = sum(
        0.08
        in statistics.paired_interval(random.choice([1.0, 0.0, -1.0], 150, p=[0.16, 0.76, 0.08]), 0.9, 1, draws=800)
        for _ in range(300)
    )
    # 90 % of 300; five deviations to either side.
    assert 244 <= held <= 296


def test_intervals_are_the_same_for_one_seed_and_degenerate_where_nothing_differs() -> None:
    diffs = [0.5, -0.25, 1.0, 0.0, 0.75]
    assert statistics.paired_interval(diffs, seed=4) == statistics.paired_interval(diffs, seed=4)
    alone = statistics.paired_interval([0.25] * 9)
    assert (alone.low, alone.high) == (0.25, 0.25)
    with pytest.raises(Invalid):
        statistics.paired_interval([])


def test_weights_undo_a_biased_sample() -> None:
    random = np.random.default_rng(8)
    population = random.random(4_000) < 0.2
    held = 0
    for _ in range(300):
        # The bad ones are looked at three times as often.
        chance = np.where(population, 0.15, 0.05)
        drawn = random.random(4_000) < chance
        found = statistics.weighted_mean(population[drawn].astype(float).tolist(), (1 / chance[drawn]).tolist(), 0.9)
        held += float(population.mean()) in found
    assert 240 <= held <= 297
    assert statistics.weighted_mean([1.0, 0.0], [1.0, 3.0]).mean == 0.25


def test_power_is_what_is_simulated() -> None:
    n, gain, discordance, alpha = 200, 0.1, 0.25, 0.05
    random = np.random.default_rng(2)
    runs, proven = 400, 0
    for wins, losses, _ in random.multinomial(n, [0.175, 0.075, 0.75], runs):
        proven += statistics.mcnemar(int(wins), int(losses), n=n) <= alpha
    true = statistics.power(n, gain, discordance, alpha)
    assert abs(proven / runs - true) < 5 * math.sqrt(true * (1 - true) / runs)


def test_what_the_design_promises() -> None:
    assert statistics.power(400, 0.08, 0.25, 0.01) >= 0.8
    assert exact.size(400, 0.01) <= 0.01
    assert statistics.pairs_needed(0.08, 0.01) == pytest.approx(350, abs=10)
    gain = statistics.smallest_gain(200, 0.05)
    assert gain is not None
    assert statistics.power(200, gain, alpha=0.05) >= 0.8 > statistics.power(200, gain - 0.001, alpha=0.05)
    assert statistics.smallest_gain(4) is None
    assert statistics.pairs_needed(0.001) is None
    assert statistics.power(0, 0.1) == 0


@settings(max_examples=8, deadline=None)
@given(st.integers(20, 400), st.floats(0.01, 0.3))
def test_power_grows_with_the_gain(n: int, gain: float) -> None:
    assert 0 <= statistics.power(n, gain, 0.3) <= statistics.power(n, gain + 0.02, 0.3) + 1e-9 <= 1.001
