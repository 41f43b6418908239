"""Agreement and calibration against published examples, and what must hold for any ratings."""

import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato import statistics
from ostinato.core.errors import Invalid
from ostinato.statistics import agreement

N = None
KRIPPENDORFF = [
    [1, 1, N, 1],
    [2, 2, 3, 2],
    [3, 3, 3, 3],
    [3, 3, 3, 3],
    [2, 2, 2, 2],
    [1, 2, 3, 4],
    [4, 4, 4, 4],
    [1, 1, 2, 1],
    [2, 2, 2, 2],
    [N, 5, 5, 5],
    [N, N, 1, 1],
    [N, N, 3, N],
]
FLEISS = [
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
]


def test_cohen_as_published() -> None:
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    found = statistics.cohen_kappa([a for a, _ in pairs], [b for _, b in pairs])
    assert found.value == pytest.approx(0.4)
    assert found.observed == pytest.approx(0.7)
    assert found.low < 0.4 < found.high
    assert found.n == 50


def test_fleiss_as_published() -> None:
    rows = [[label for label, count in enumerate(counts) for _ in range(count)] for counts in FLEISS]
    assert statistics.fleiss_kappa(rows).value == pytest.approx(0.210, abs=0.0005)


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)]
)
def test_krippendorff_as_published(level: agreement.Level, alpha: float) -> None:
    found = statistics.krippendorff_alpha(KRIPPENDORFF, level)
    assert found.value == pytest.approx(alpha, abs=0.0005)
    assert found.n == 11


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=15))
def test_agreement_knows_no_names_and_no_order(pairs: list[tuple[int, int]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    kappa = statistics.cohen_kappa(first, second)
    assert kappa.value <= 1
    assert kappa == statistics.cohen_kappa(first, second)
    assert statistics.cohen_kappa(second, first).value == pytest.approx(kappa.value)
    named = statistics.cohen_kappa([f"label {a}" for a in first], [f"label {b}" for b in second])
    assert named.value == pytest.approx(kappa.value)
    alpha = statistics.krippendorff_alpha(pairs)
    assert statistics.krippendorff_alpha(pairs[::-1]).value == pytest.approx(alpha.value)


def test_one_label_is_no_agreement_beyond_chance() -> None:
    for found in (
        statistics.cohen_kappa(["a"] * 5, ["a"] * 5),
        statistics.fleiss_kappa([["a", "a"]] * 5),
        statistics.krippendorff_alpha([["a", "a"]] * 5),
        statistics.krippendorff_alpha([["a", None], [None, "b"]]),
    ):
        assert found.value == 0
    assert statistics.cohen_kappa([1, 2, 3], [1, 2, 3]).value == 1
    with pytest.raises(Invalid):
        statistics.cohen_kappa([1], [1, 2])
    with pytest.raises(Invalid):
        statistics.krippendorff_alpha([["good", "bad"]], "ordinal")


CONFIDENT = st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.0, 1.0])), min_size=1, max_size=60)


@given(CONFIDENT)
def test_calibration_rises_and_is_no_worse_than_what_it_learnt_from(pairs: list[tuple[float, float]]) -> None:
    said, right = [c for c, _ in pairs], [r for _, r in pairs]
    fitted = statistics.fit_isotonic(said, right)
    put_right = [fitted.apply(one) for one in said]
    assert all(0 < one < 1 for one in put_right)
    steps = [fitted.apply(one / 50) for one in range(51)]
    assert steps == sorted(steps)
    # Kept away from certainty by half an answer a step: a little is given away for it.
    assert statistics.brier(put_right, right) <= statistics.brier(said, right) + 0.125


def test_isotonic_pools_what_falls() -> None:
    fitted = statistics.fit_isotonic([0.1, 0.2, 0.3, 0.4] * 20, [0.0, 1.0, 0.0, 1.0] * 20)
    assert fitted.apply(0.2) == fitted.apply(0.3) == pytest.approx(0.5)
    assert fitted.apply(0.0) == fitted.apply(0.1) < 0.05
    assert fitted.apply(0.9) > 0.95
    assert 0.5 < fitted.apply(0.35) < fitted.apply(0.4)
    assert fitted.n == 80


def test_measures_of_confidence_by_hand() -> None:
    said, right = [0.9, 0.8, 0.3, 0.6], [1.0, 0.0, 0.0, 1.0]
    assert statistics.brier(said, right) == pytest.approx((0.01 + 0.64 + 0.09 + 0.16) / 4)
    assert statistics.ece(said, right) == pytest.approx((0.1 + 0.8 + 0.3 + 0.4) / 4)
    assert statistics.auroc(said, right) == pytest.approx(3 / 4)
    assert statistics.auroc(said, [1.0] * 4) is None
    assert statistics.caught([0.1, 0.2, 0.3, 0.4, 0.5], [1, 0, 0, 0, 1]) == pytest.approx(0.5)
    assert statistics.caught([0.5] * 10, [1.0] * 10) == pytest.approx(0.2)
    assert statistics.caught([0.5], [0.0]) is None
    assert statistics.calibration_of(said, right).accuracy == 0.5
    with pytest.raises(Invalid):
        statistics.brier([1.5], [1.0])


@given(CONFIDENT)
def test_auroc_is_the_share_of_pairs_in_order(pairs: list[tuple[float, float]]) -> None:
    good, bad = [c for c, r in pairs if r], [c for c, r in pairs if not r]
    found = statistics.auroc([c for c, _ in pairs], [r for _, r in pairs])
    if not good or not bad:
        assert found is None
        return
    assert found == pytest.approx(sum((g > b) + (g == b) / 2 for g in good for b in bad) / (len(good) * len(bad)))


def test_calibration_helps_an_overconfident_model() -> None:
    drawn = random.Random(3)
    said = [drawn.uniform(0.5, 1) for _ in range(1_000)]
    right = [float(drawn.random() < 0.3 + 0.5 * (one - 0.5)) for one in said]
    fitted = statistics.fit_isotonic(said[:500], right[:500])
    before, after = said[500:], [fitted.apply(one) for one in said[500:]]
    assert statistics.ece(after, right[500:]) < statistics.ece(before, right[500:]) / 2


def test_the_room_is_entered_without_numpy() -> None:
    code = "import ostinato.statistics as s, sys; s.EProcess().update(1); print('numpy' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
