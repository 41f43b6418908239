"""PSI, MMD and silence: their size under no change, and that they see one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ostinato.core.errors import Invalid
from ostinato.statistics import drift

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 500), min_size=1)


@given(COUNTS, COUNTS)
def test_psi_is_symmetric_and_never_negative(one: dict[str, float], two: dict[str, float]) -> None:
    value, cells = drift.psi(one, two)
    assert value >= 0
    assert value == pytest.approx(drift.psi(two, one)[0], abs=1e-9) or cells != drift.psi(two, one)[1]
    assert drift.psi(one, one)[0] == pytest.approx(0.0, abs=1e-9)


def test_psi_as_by_its_formula() -> None:
    value, cells = drift.psi({"a": 50_000, "b": 50_000}, {"a": 60_000, "b": 40_000})
    assert cells == 2
    assert value == pytest.approx(0.1 * math.log(0.6 / 0.5) - 0.1 * math.log(0.4 / 0.5), rel=1e-3)


@pytest.mark.parametrize(("reference", "n", "alpha"), [(5_000, 500, 0.01), (1_000, 1_000, 0.05)])
def test_psi_exceeds_its_limit_as_often_as_was_asked(reference: int, n: int, alpha: float) -> None:
    draw = np.random.default_rng(1)
    shares = [0.3, 0.25, 0.2, 0.15, 0.07, 0.03]
    runs, over = 3_000, 0
    for _ in range(runs):
        one, two = (
            dict(zip("abcdef", draw.multinomial(size, shares).tolist(), strict=True)) for size in (reference, n)
        )
        value, cells = drift.psi(one, two)
        over += value > drift.psi_limit(reference, n, cells, alpha)
    assert over / runs <= alpha * 1.5 + 3 * math.sqrt(alpha / runs)
    assert over / runs >= alpha / 3


@pytest.mark.parametrize("df", [1, 3, 10, 60])
@pytest.mark.parametrize("alpha", [0.05, 0.001, 1e-5])
def test_the_quantile_of_chi_square_is_near_the_true_one(df: int, alpha: float) -> None:
    assert drift.chi_square(df, alpha) == pytest.approx(float(stats.chi2.isf(alpha, df)), rel=0.06)


def test_rare_labels_are_judged_together() -> None:
    ones = {f"rare {number}": 1.0 for number in range(100)}
    left, right = drift.pooled({"a": 900.0, **ones}, {"a": 90.0})
    assert len(left) == len(right) == 2
    assert left == [900.0, 100.0]
    assert drift.pooled({}, {"a": 1.0}) == ([], [])
    assert drift.psi({}, {"a": 1.0}) == (0.0, 0)
    assert drift.psi_limit(10, 10, 1, 0.01) == math.inf


def test_mmd_keeps_its_level_and_sees_a_shift() -> None:
    draw = np.random.default_rng(2)
    low = sum(
        drift.mmd(draw.normal(size=(40, 5)), draw.normal(size=(40, 5)), seed=at, permutations=199)[1] <= 0.05
        for at in range(200)
    )
    assert low <= 10 + 3 * math.sqrt(10)
    shifted = drift.mmd(draw.normal(size=(80, 5)), draw.normal(size=(80, 5)) + 0.7, seed=1, permutations=999)
    assert shifted[1] <= 0.002
    again = draw.normal(size=(30, 3)), draw.normal(size=(30, 3))
    assert drift.mmd(*again, seed=4) == drift.mmd(*again, seed=4)


@pytest.mark.parametrize("bad", [np.zeros((1, 3)), np.zeros(3), np.full((5, 3), np.nan)])
def test_mmd_refuses_what_is_no_sample(bad: np.ndarray) -> None:
    with pytest.raises(Invalid):
        drift.mmd(np.ones((5, 3)), bad, seed=0)


def test_silence_is_surprising_where_there_is_much_and_not_at_night() -> None:
    counts = [100.0 if hour % 24 >= 8 else 0.0 for hour in range(168)]
    exposures = [4.0] * 168
    day = [1.0 if hour == 12 else 0.0 for hour in range(168)]
    night = [1.0 if hour == 3 else 0.0 for hour in range(168)]
    assert drift.silence(counts, exposures, day) > 10
    assert drift.silence(counts, exposures, night) < 5
    assert drift.silence(counts, exposures, [0.0] * 168) == 0.0
    assert drift.silence([0.0] * 168, [0.0] * 168, day) == 0.0


def test_silence_of_a_known_rate_is_poissons() -> None:
    """With very much known, minus the log of the chance of none is rate times time."""
    counts, exposures = [1e6] * 168, [1e6] * 168
    waited = [2.0 if hour < 3 else 0.0 for hour in range(168)]
    assert drift.silence(counts, exposures, waited) == pytest.approx(6.0, rel=1e-3)
