"""R2: the interval of the hold-out covers the true simulated saving, negative ones included."""

import math
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

import worlds

from ostinato.savings import estimate


@pytest.mark.parametrize("kind", worlds.KINDS)
def test_the_interval_covers_the_truth_in_some_worlds_of_each_kind(kind: str):
    made = [worlds.world(kind, seed, sessions=3_000) for seed in range(40)]
    covered, said = worlds.coverage(made)
    # At 94 %, fewer than 34 of 40 would come once in a thousand times.
    assert said >= 30
    assert covered >= 0.85 * said
    if kind == "negative":
        assert all(one.truth < 0 for one in made)


@pytest.mark.soak
def test_the_interval_covers_the_truth_in_94_of_100_of_a_thousand_worlds():
    made = [
        worlds.world(kind, 10_000 + seed) for kind in worlds.KINDS for seed in range(1_000 // len(worlds.KINDS) + 1)
    ]
    covered, said = worlds.coverage(made)
    assert said >= 1_000
    assert covered >= 0.94 * said
    for kind in worlds.KINDS:
        covered, said = worlds.coverage([one for one in made if one.kind == kind])
        assert covered >= 0.94 * said, kind


@pytest.mark.soak
def test_the_interval_covers_the_truth_at_every_look_of_a_growing_hold_out():
    """What peeking costs a plain interval, the sequence pays for beforehand."""
    kept = 0
    for seed in range(300):
        looks = [worlds.growing(seed, part) for part in (0.2, 0.3, 0.5, 0.7, 1.0)]
        kept += all(look.interval is None or look.truth in look.interval for look in looks)
    assert kept >= 0.94 * 300


def test_too_few_sessions_give_no_interval():
    few = estimate.ratio([(1, 5.0)] * (estimate.LEAST - 1))
    many = estimate.ratio([(1, 5.0)] * 1_000)
    assert estimate.difference(few, many, many) is None
    assert estimate.difference(many, few, many) is None
    assert estimate.difference(many, many, many) is not None


def test_nothing_at_all_is_no_number():
    empty = estimate.ratio([])
    assert (empty.clusters, empty.requests, empty.mean) == (0, 0, 0.0)
    assert estimate.total([]) is None


def test_a_session_that_dominates_makes_the_interval_wide():
    even = estimate.ratio([(1, float(i % 2)) for i in range(100)])
    uneven = estimate.ratio([*((1, float(i % 2)) for i in range(100)), (1_000, 1_000.0)])
    assert uneven.variance > 10 * even.variance


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 100_000), st.floats(0.001, 0.5))
def test_a_sequence_is_always_wider_than_an_interval_for_one_look(n: int, alpha: float):
    from statistics import NormalDist

    assert estimate.widening(n, alpha) > NormalDist().inv_cdf(1 - alpha / 2)


@pytest.mark.parametrize(("n", "size"), [(84, 1.0), (236, 1.0), (20, 60_000.0)])
def test_what_was_not_seen_is_not_known_to_be_absent(n: int, size: float) -> None:
    """No error among n: the bound is about 3/n, and not 0."""
    nothing = estimate.ratio([(1, 0.0)] * n)
    bound = 1.96 * math.sqrt(estimate.unseen(nothing, size).variance)
    assert bound == pytest.approx(3 / n * size, rel=0.01)
    told = estimate.ratio([(1, 0.0)] * n + [(1, size)])
    assert estimate.unseen(told, size) == told
