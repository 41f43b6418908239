"""The draws: right in share, independent of each other, sticky, and near no limit."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato import savings
from ostinato.access.model import Account, Caller, MoneyBudget

SECRET = b"s" * 32


def lottery(**fields: Any) -> savings.Lottery:
    return savings.Lottery(savings.Settings(**fields), SECRET)


def caller(*accounts: str, key: str = "k") -> Caller:
    purses = tuple(Account(name, MoneyBudget(1)) for name in accounts)
    return Caller(key_id=key, key_prefix="", org="o", project="p", accounts=purses)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.3])
def test_as_many_are_drawn_as_shall_be(share: float):
    drawn = lottery(holdout_share=share, baseline_share=share)
    n = 40_000
    for which in (drawn.held, drawn.baseline):
        found = sum(which("p", b"s%d" % i) for i in range(n))
        # Five standard deviations: once in two million runs by chance.
        assert abs(found - n * share) < 5 * math.sqrt(n * share * (1 - share))


def test_the_two_draws_are_independent():
    drawn = lottery(holdout_share=0.3, baseline_share=0.3)
    n = 40_000
    both = sum(drawn.held("p", b"%d" % i) and drawn.baseline("p", b"%d" % i) for i in range(n))
    assert abs(both - n * 0.09) < 5 * math.sqrt(n * 0.09 * 0.91)


def test_projects_salts_and_installations_draw_others():
    n = 20_000
    seeds = [b"%d" % i for i in range(n)]
    first = [lottery(holdout_share=0.3).held("p", seed) for seed in seeds]
    others = [
        [lottery_.held(project, seed) for seed in seeds]
        for lottery_, project in [
            (lottery(holdout_share=0.3), "q"),
            (lottery(holdout_share=0.3, salt="again"), "p"),
            (savings.Lottery(savings.Settings(holdout_share=0.3), b"t" * 32), "p"),
        ]
    ]
    for other in others:
        both = sum(a and b for a, b in zip(first, other, strict=True))
        assert abs(both - n * 0.09) < 5 * math.sqrt(n * 0.09 * 0.91)


@settings(max_examples=200, deadline=None)
@given(project=st.text(max_size=20), seed=st.binary(max_size=60), share=st.floats(0, 0.5))
def test_whoever_comes_back_is_drawn_as_before_and_a_larger_share_takes_nobody_out(
    project: str, seed: bytes, share: float
):
    """In every process: nothing but settings and secret goes in."""
    some, same = lottery(holdout_share=share), lottery(holdout_share=share, baseline_share=0.5)
    assert some.held(project, seed) == same.held(project, seed)
    if some.held(project, seed):
        assert lottery(holdout_share=0.5).held(project, seed)


def test_a_key_near_its_rate_rests_to_the_end_of_its_minute_and_that_is_remembered():
    drawn = lottery()
    assert not drawn.rests(caller(), 100, 10, 61_000_000)
    assert drawn.rests(caller(), 100, 9, 62_000_000)
    assert drawn.rests(caller(), 100, 100, 119_999_999)
    assert not drawn.rests(caller(), 100, 100, 120_000_000)
    assert not drawn.rests(caller(key="other"), 100, 100, 63_000_000)
    for key, at, absent in [("k", 61_999_999, False), ("k", 62_000_000, True), ("k", 119_999_999, True)]:
        assert drawn.was_absent("r", key, at) is absent
    assert not drawn.was_absent("r", "k", 120_000_000)
    assert drawn.rests(caller(), 100, 9, 130_000_000)
    assert [drawn.was_absent("r", "k", at) for at in (62_000_000, 125_000_000, 130_000_000)] == [True, False, True]
    assert not drawn.was_absent("r", "other", 63_000_000)


def test_a_key_whose_purse_is_short_rests():
    drawn = lottery()
    assert not drawn.rests(caller("project:1"), 0, 0, 1)
    assert set(drawn.accounts) == {"project:1"}
    drawn.short = frozenset({"project:1"})
    assert drawn.rests(caller("project:1"), 0, 0, 2)
    assert not drawn.rests(caller("project:2", key="other"), 0, 0, 2)


def test_absences_are_bounded_and_what_is_dropped_is_counted():
    drawn = lottery()
    for number in range(50_010):
        drawn.leave_out(f"{number}")
    assert sum(drawn.was_absent(f"{number}", "", 0) for number in range(50_010)) == 50_000
    assert drawn.dropped == 10


@pytest.mark.parametrize("field", ["holdout_share", "baseline_share", "spare", "margin", "refresh_seconds"])
@pytest.mark.parametrize("value", [-0.1, math.nan, 1e9])
def test_settings_that_cannot_be_used_are_refused_by_name(field: str, value: float):
    with pytest.raises(Exception, match=field) as refused:
        savings.Settings(**{field: value}).check()
    assert getattr(refused.value, "param", "") == f"savings.{field}"
