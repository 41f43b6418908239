"""The e-detector keeps its promise on false alarms, and is nearly as quick as the CUSUM that knows everything."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.core.errors import Invalid
from ostinato.statistics import sequential
from ostinato.statistics.sequential import Detector, bets

ARL = 30_000.0
"""Samples: thirty days at a thousand a day."""


def worlds(runs: int, before: int, after: int, shares: tuple[float, float], seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    first = draw.random((runs, before)) < shares[0]
    return np.concatenate([first, draw.random((runs, after)) < shares[1]], axis=1).astype(float)


@pytest.mark.parametrize(("after", "samples", "behind"), [(0.7, 200, 1.2), (0.75, 600, 1.2)])
def test_drops_are_found_nearly_as_soon_as_by_the_optimal_cusum(after: float, samples: int, behind: float) -> None:
    data = worlds(400, 1_500, 2_500, (0.8, after), 7)
    ours = float(np.median(sequential.delays(data, 0.8, ARL, warm=1_500)))
    bar = sequential.cusum_threshold(0.8, after, ARL)
    best = float(np.median(sequential.cusum_delays(data, 0.8, after, bar, warm=1_500)))
    assert ours <= samples
    assert ours <= best * behind


def test_false_alarms_are_as_far_apart_as_was_asked() -> None:
    """Of what is simulated, with fewer samples between two: alarms times their distance do not exceed the time."""
    arl, n, runs = 1_000.0, 20_000, 60
    data = worlds(runs, n, 0, (0.8, 0.8), 3)
    alarms = 0
    for row in data[:20]:
        detector, playing = Detector(), bets(0.8)
        for value in row:
            if detector.update(playing, 0.8, float(value)) >= arl:
                alarms += 1
                detector.reset()
    expected = 20 * n / arl
    assert alarms <= expected + 3 * math.sqrt(expected)
    assert alarms >= expected / 10  # and not so far that it would be useless


def test_the_threshold_of_the_cusum_has_the_run_length_that_was_asked() -> None:
    bar = sequential.cusum_threshold(0.8, 0.7, 500.0)
    data = worlds(1_500, 6_000, 0, (0.8, 0.8), 5)
    found = sequential.cusum_delays(data, 0.8, 0.7, bar)
    assert float(found.mean()) == pytest.approx(500, rel=0.1)


def test_many_series_at_once_are_as_one_by_one() -> None:
    data = worlds(5, 200, 600, (0.8, 0.6), 11)
    together = sequential.delays(data, 0.8, 2_000.0, warm=200)
    for row, expected in zip(data, together, strict=True):
        detector, playing, found = Detector(), bets(0.8), None
        for at, value in enumerate(row):
            if detector.update(playing, 0.8, float(value)) >= 2_000.0:
                detector.reset()
                if at >= 200:
                    found = at - 200 + 1
                    break
        assert found == expected


@given(st.floats(0.01, 0.99), st.sampled_from(["down", "up"]))
def test_no_bet_wins_on_average_while_nothing_has_changed(mean: float, direction: str) -> None:
    for bet in bets(mean, direction):
        sign = 1 if direction == "down" else -1
        one, zero = 1 + bet.stake * sign * (mean - 1), 1 + bet.stake * sign * mean
        assert one >= 0
        assert zero >= 0
        assert mean * one + (1 - mean) * zero == pytest.approx(1.0)


@settings(max_examples=50)
@given(st.integers(1, 30), st.integers(0, 30))
def test_several_samples_at_once_win_what_they_win_one_by_one(n: int, ones: int) -> None:
    ones = min(ones, n)
    together, single = Detector(), Detector()
    playing = bets(0.8)
    together.update(playing, 0.8, ones / n, n=n, exposure=2.0)
    for at in range(n):
        single.update(playing, 0.8, float(at < ones), exposure=2.0 if at == 0 else 0.0)
    assert together.statistic == pytest.approx(single.statistic, rel=1e-6)


def test_time_in_the_place_of_samples_keeps_the_promise_in_days() -> None:
    """However many samples a day has: here two, whose number changes by the week."""
    draw, alarms, days = random.Random(5), 0, 0.0
    detector, playing = Detector(), bets(0.8)
    for number in range(40_000):
        step = 0.5 if number // 14 % 2 else 0.05
        days += step
        if detector.update(playing, 0.8, float(draw.random() < 0.8), exposure=step) >= 100.0:
            alarms += 1
            detector.reset()
    assert alarms <= days / 100 + 3 * math.sqrt(days / 100)


def test_a_bound_lies_on_the_safe_side() -> None:
    assert sequential.bound(0.8, 100, "down", 0.9) < 0.8 < sequential.bound(0.8, 100, "up", 0.9)
    assert sequential.bound(0.8, 100, "down", 0.9) < sequential.bound(0.8, 10_000, "down", 0.9)
    assert 0 < sequential.bound(0.0, 10, "down", 0.9) < sequential.bound(1.0, 10, "up", 0.9) < 1


@pytest.mark.parametrize("mean", [0.0, 1.0, -1.0])
def test_a_mean_at_the_edge_cannot_be_watched(mean: float) -> None:
    with pytest.raises(Invalid):
        bets(mean)
