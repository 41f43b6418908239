"""What trials prove: how often a breaker that is not well is closed, and one that is well is opened again."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.breakers import proving


def wrong(rate: float, share: float, ruling: str, runs: int, length: int) -> float:
    """How many of ``runs`` series of trials ever come to ``ruling``, looked at after each one."""
    rng, found = random.Random(7), 0
    for _ in range(runs):
        good = bad = 0
        for _ in range(length):
            if rng.random() < rate:
                good += 1
            else:
                bad += 1
            told = proving.ruling(good, bad, share, 0.05)
            if told:
                found += told == ruling
                break
    return found / runs


def test_one_that_is_not_well_is_closed_in_at_most_one_of_twenty() -> None:
    assert wrong(0.8, 0.8, "well", 300, 300) <= 0.05 + 0.03


def test_one_that_is_well_is_opened_again_in_at_most_one_of_twenty() -> None:
    assert wrong(0.8, 0.8, "ill", 300, 300) <= 0.05 + 0.03


def test_one_that_is_clearly_well_or_ill_is_found_soon() -> None:
    assert wrong(0.99, 0.8, "well", 200, 60) >= 0.9
    assert wrong(0.2, 0.8, "ill", 200, 20) >= 0.9


@pytest.mark.parametrize(("share", "most"), [(0.5, 8), (0.8, 25), (0.9, 50), (0.99, 500)])
def test_so_many_good_ones_in_a_row(share: float, most: int) -> None:
    count = proving.needed(share, 0.05)
    assert count <= most
    assert proving.ruling(count - 1, 0, share, 0.05) == ""


@given(good=st.floats(0, 500), bad=st.floats(0, 500), share=st.floats(0.01, 0.99))
def test_it_says_one_thing_and_more_good_never_hurts(good: float, bad: float, share: float) -> None:
    ruling = proving.ruling(good, bad, share, 0.05)
    assert ruling in ("well", "ill", "")
    if ruling == "well":
        assert proving.ruling(good + 1, bad, share, 0.05) == "well"
        assert good / (good + bad) > share
    if ruling == "ill":
        assert good / (good + bad) < share


@pytest.mark.parametrize(("good", "bad"), [(0, 0), (float("nan"), 1), (float("inf"), 1), (-1, 5)])
def test_what_is_no_count_proves_nothing(good: float, bad: float) -> None:
    assert proving.ruling(good, bad, 0.8, 0.05) == ""
