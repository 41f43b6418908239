"""E-processes: no more false alarms than they say, however often one looks; quick where there is something to see."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato import statistics
from ostinato.core.errors import Invalid
from ostinato.statistics import betting

DIFFS = st.lists(st.floats(-1, 1), max_size=40)


def test_the_whole_capital_is_laid_out() -> None:
    assert math.fsum(betting.WEIGHTS) == pytest.approx(1)
    assert all(0 < stake < 1 for stake in betting.STAKES)


@given(DIFFS, st.sampled_from([0.0, 0.1]))
def test_one_by_one_and_all_at_once_agree(diffs: list[float], tolerance: float) -> None:
    process = statistics.EProcess(tolerance)
    harm, benefit = betting.paths([diffs], tolerance)
    for index, diff in enumerate(diffs):
        process.update(diff)
        assert process.harm == pytest.approx(harm[0, index])
        assert process.benefit == pytest.approx(benefit[0, index])
    assert process.n == len(diffs)
    assert process.most_harm >= process.harm
    assert process.p == min(1, 1 / process.e)


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), max_size=8))
def test_a_fair_bet_is_worth_what_it_cost(before: list[float]) -> None:
    """The mean of the next capital, over equally likely outcomes, is the capital: a martingale."""
    here = statistics.EProcess()
    for diff in before:
        here.update(diff)
    then = 0.0
    for diff in (-1.0, 1.0):
        after = statistics.EProcess()
        for one in [*before, diff]:
            after.update(one)
        then += after.benefit / 2
    assert then == pytest.approx(here.benefit)


@given(DIFFS)
def test_the_mirror_of_a_benefit_is_a_harm(diffs: list[float]) -> None:
    one, other = statistics.EProcess(), statistics.EProcess()
    for diff in diffs:
        one.update(diff)
        other.update(-diff)
    assert one.most_benefit == pytest.approx(other.most_harm)


def test_false_alarms_under_peeking_at_every_pair() -> None:
    random_ = np.random.default_rng(11)
    runs, alpha = 1_000, 0.05
    diffs = random_.choice([1.0, 0.0, -1.0], (runs, 1_000), p=[0.15, 0.7, 0.15])
    harm, benefit = betting.paths(diffs)
    for capital in (harm, benefit):
        false = int((capital.max(axis=1) >= 1 / alpha).sum())
        # Not more than the level, as far as a thousand runs can tell.
        assert statistics.clopper_pearson(false, runs, 0.999).low <= alpha


def test_a_loss_of_twenty_points_is_seen_within_115_pairs_of_four_guardrails() -> None:
    random_ = np.random.default_rng(12)
    old, new = random_.random((600, 600)) < 0.7, random_.random((600, 600)) < 0.5
    harm, _ = betting.paths(new.astype(float) - old)
    found = harm >= 4 / 0.05
    assert np.median(np.where(found.any(axis=1), found.argmax(axis=1) + 1, 600)) <= 115


def test_what_is_tolerated_is_no_harm() -> None:
    drawn = random.Random(1)
    strict, lenient = statistics.EProcess(), statistics.EProcess(0.1)
    for _ in range(2_000):
        diff = drawn.choice([-1.0, -1.0, -1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        strict.update(diff)
        lenient.update(diff)
    assert strict.p_harm < 1e-3
    assert lenient.most_harm < 20


def test_the_interval_narrows_around_the_truth_and_holds_it_all_the_time() -> None:
    drawn = random.Random(7)
    missed = 0
    for _ in range(20):
        process = statistics.EProcess()
        for number in range(1, 301):
            process.update(drawn.choice([1.0, 0.0, 0.0, -0.5]))
            if number in (10, 50, 150, 300):
                missed += 0.125 not in process.interval(0.95)
    assert missed <= 4
    last = process.interval(0.95)
    assert last.high - last.low < 0.4
    assert last.mean in last


def test_an_interval_of_nothing_is_everything_and_of_certainty_is_near_it() -> None:
    process = statistics.EProcess()
    assert (process.interval().low, process.interval().high) == (-1, 1)
    for _ in range(200):
        process.update(1.0)
    assert process.interval().low > 0.85
    assert process.interval().high == 1


def test_capital_does_not_overflow() -> None:
    process = statistics.EProcess()
    for _ in range(5_000):
        process.update(-1.0)
    assert math.isfinite(process.most_harm)
    assert process.p_harm > 0


@pytest.mark.parametrize("diff", [1.01, -1.01, math.nan, math.inf])
def test_what_is_no_difference_is_refused(diff: float) -> None:
    with pytest.raises(Invalid):
        statistics.EProcess().update(diff)
