"""Intervals beside tests: they say the same, and hold the truth."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato import statistics
from ostinato.statistics import Interval


@settings(max_examples=300, deadline=None)
@given(wins=st.integers(0, 60), losses=st.integers(0, 60), ties=st.integers(0, 200))
def test_the_interval_of_yes_and_no_says_what_mcnemar_says(wins: int, losses: int, ties: int):
    p = statistics.mcnemar(wins, losses, "two-sided")
    for level in (0.05, 0.01):
        span = statistics.discordant_interval(wins, losses, wins + losses + ties, 1 - level)
        assert (span.low <= 0 <= span.high) == (p > level)
        assert -1 <= span.low <= span.mean <= span.high <= 1


def test_four_of_forty_are_no_proof_and_read_like_it():
    span = statistics.discordant_interval(4, 0, 40)
    assert (round(span.low, 3), round(span.high, 3)) == (-0.048, 0.237)
    assert statistics.paired_interval([1.0] * 4 + [0.0] * 36).low > 0


@pytest.mark.parametrize("n", [5, 40])
def test_pairs_that_are_all_alike_are_not_known_to_be_so_for_ever(n: int):
    for span in (statistics.discordant_interval(0, 0, n), statistics.graded_interval([0.0] * n)):
        assert span.low == -span.high == pytest.approx(-(1 - 0.025 ** (1 / n)))
    higher = statistics.graded_interval([0.1] * n)
    assert higher.low < 0.1 - 0.05 and higher.high > 0.1 + 0.05


@pytest.mark.parametrize("n", [5, 20, 60])
def test_the_interval_of_yes_and_no_holds_the_truth_in_every_world(n: int):
    spans = {
        (wins, losses): statistics.discordant_interval(wins, losses, n)
        for wins in range(n + 1)
        for losses in range(n + 1 - wins)
    }
    for share in (0.03, 0.1, 0.3, 0.6, 0.95, 0.995):
        for better in (0.5, 0.6, 0.8, 0.95, 1.0):
            truth, held = share * (2 * better - 1), 0.0
            for (wins, losses), span in spans.items():
                if span.low - 1e-12 <= truth <= span.high + 1e-12:
                    ties = n - wins - losses
                    ways = math.comb(n, ties) * math.comb(wins + losses, wins)
                    held += ways * (1 - share) ** ties * (share * better) ** wins * (share * (1 - better)) ** losses
            assert held >= 0.95, (share, better, held)


VALUES = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.25, -0.25, 0.5, -0.5, 0.1]), min_size=1, max_size=40)


@settings(max_examples=60, deadline=None)
@given(diffs=VALUES, seed=st.integers(0, 3))
def test_the_interval_of_grades_says_what_the_permutation_says(diffs: list[float], seed: int):
    p = statistics.permutation(diffs, seed=seed, alternative="two-sided")
    whole = statistics.graded_interval(diffs, seed=seed)
    assert p <= 0.05 or whole.low <= 0 <= whole.high
    span = statistics.agreeing(whole, p)
    assert -1 <= span.low <= span.mean <= span.high <= 1
    assert (span.low < 0 < span.high) or p <= 0.05 or 0 in (span.low, span.high)
    if p <= 0.05:
        assert span.low >= 0 or span.high <= 0


def test_the_sets_behind_the_interval_are_those_of_the_test():
    chance = random.Random(3)
    for n in (6, 16, 17, 60):
        diffs = [chance.choice([0.0, 0.3, 0.5, -0.2]) for _ in range(n)]
        sums, sizes, enumerated = statistics.exact.flips(diffs, 7)
        at_most = int((sums <= 0).sum())
        p = at_most / sums.size if enumerated else (1 + at_most) / (1 + sums.size)
        assert p == pytest.approx(statistics.permutation(diffs, seed=7), abs=1e-12)
        assert sizes.max() <= n


def test_grades_of_which_few_differ_are_held_more_often_than_by_a_bootstrap_alone():
    chance, truth, held, alone = random.Random(5), 0.065 - 0.04, 0, 0
    for _ in range(150):
        diffs = chance.choices([0.0, 0.25, -1.0], [0.7, 0.26, 0.04], k=20)
        boot, span = statistics.paired_interval(diffs, draws=1_000), statistics.graded_interval(diffs)
        alone += boot.low <= truth <= boot.high
        held += span.low <= truth <= span.high
    assert held > alone + 5


def test_an_interval_agrees_with_a_test_of_one_side_on_that_side_only():
    span = Interval(0.01, 0.2, 0.1)
    assert statistics.agreeing(span, 0.0625, "greater") == Interval(0.0, 0.2, 0.1)
    assert statistics.agreeing(Interval(-0.01, 0.2, 0.1), 0.02, "greater") == Interval(0.0, 0.2, 0.1)
    assert statistics.agreeing(Interval(-0.3, -0.1, -0.2), 0.99, "greater") == Interval(-0.3, -0.1, -0.2)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 0.2), min_size=1, max_size=8))
def test_levels_of_several_intervals_are_those_that_holm_compares_with(ps: list[float]):
    for p, adjusted, confidence in zip(ps, statistics.holm(ps), statistics.corrected(ps), strict=True):
        if abs(adjusted - 0.05) > 1e-9:
            assert (p <= 1 - confidence) == (adjusted <= 0.05)
        assert confidence >= 0.95
