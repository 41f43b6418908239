"""Four random parts of the same traffic: money is counted, intervals hold the truth, and what does not pay is said."""

import io
import random
from collections.abc import Sequence

import pytest
from rich.console import Console

from ostinato.demo import loop, task, worth
from ostinato.demo.replay import Outcome
from ostinato.demo.traffic import LEVELS, Ask
from ostinato.demo.worth import Worth

ASK = Ask(task.questions()[0], stream=False)


def part(*, right: int, of: int, cost: float, first: bool = False, held: bool = False) -> list[Outcome]:
    cache = "bypass; reason=holdout" if held else "miss"
    arm = "baseline" if first else ""
    return [Outcome(ASK, cache, index < right, 10.0, None, cost=cost, arm=arm) for index in range(of)]


def weighed(before: int, after: int, *, dearer: float = 0.0, optimizer: float = 0.5, value: float = 0.01) -> Worth:
    outcomes = [
        *part(right=before, of=100, cost=0.001, first=True, held=True),
        *part(right=before, of=100, cost=0.0005, first=True),
        *part(right=after, of=100, cost=0.001 + dearer, held=True),
        *part(right=after, of=100, cost=0.001 + dearer),
    ]
    return worth.account([(LEVELS[1], outcomes)], optimizer, value, draws=200)


def test_a_success_costs_what_all_requests_cost_over_those_that_were_right():
    whole = weighed(50, 80).whole
    assert whole.first_plain.success == 0.5 and whole.better_cached.success == 0.8
    assert whole.first_plain.cost_per_success == pytest.approx(0.1 / 50)
    assert whole.better_cached.cost_per_success == pytest.approx(0.1 / 80)
    assert whole.times.value == pytest.approx(80 / 50) and whole.gain.value == pytest.approx(0.3)
    assert worth.side(part(right=0, of=5, cost=1)).cost_per_success is None


def test_the_four_parts_are_told_apart_by_arm_and_by_what_the_cache_said():
    outcomes = [
        *part(right=1, of=1, cost=1, first=True, held=True),
        *part(right=2, of=2, cost=1, first=True),
        *part(right=3, of=3, cost=1, held=True),
        *part(right=4, of=4, cost=1),
    ]
    whole = worth.account([(LEVELS[0], outcomes)], 0.0, 0.0, draws=10).whole
    sides = (whole.first_plain, whole.first_cached, whole.better_plain, whole.better_cached)
    assert [one.requests for one in sides] == [1, 2, 3, 4]


def test_the_search_is_paid_back_by_successes_less_what_they_cost_more():
    assert weighed(50, 80).payback == 167
    assert weighed(50, 80, dearer=0.001).payback == 250
    assert weighed(50, 80, dearer=0.004).payback is None
    assert weighed(50, 50).payback is None
    # 0.001 dollars a request and 0.5 over 400 requests, for 0.8 successes a request.
    assert weighed(50, 80).with_optimizer == pytest.approx((0.001 + 0.5 / 400) / 0.8)


def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says():
    rng = random.Random(3)

    def drawn(n: int, success: float, cost: float) -> Sequence[Outcome]:
        return [
            Outcome(ASK, "miss", rng.random() < success, 10.0, None, cost=cost * rng.expovariate(1)) for _ in range(n)
        ]

    held = 0
    for _ in range(120):
        found = worth.between(worth.times, drawn(100, 0.7, 3.0), drawn(300, 0.9, 1.0), draws=300)
        assert found.low is not None and found.high is not None
        held += found.low <= 3.0 * 0.9 / 0.7 <= found.high
    assert 105 <= held <= 120


def test_a_part_that_nobody_fell_into_is_shown_as_missing():
    found = worth.account([(LEVELS[0], part(right=3, of=5, cost=1))], 0.1, 0.01, draws=10)
    assert found.whole.times.value is None and found.whole.gain.value is None
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(worth.by_level(found))
    assert "-" in console.export_text()


def test_what_is_told_says_all_parts_and_the_account():
    console = Console(width=110, record=True, file=io.StringIO())
    console.print(worth.table(weighed(50, 80)))
    console.print(worth.by_level(weighed(50, 80)))
    told = console.export_text()
    assert "first-pass success" in told and "50.0%" in told and "80.0%" in told
    assert "1.6 times as much (" in told and "+30.0% (" in told
    assert "earned back after 167 requests" in worth.conclusion(weighed(50, 80))
    assert "not earned back" in worth.conclusion(weighed(80, 50))


def test_labelled_questions_and_traffic_are_different_ones():
    labelled, fresh = loop.split(task.questions())
    assert not {one.text for one in labelled} & {one.text for one in fresh}
    assert len(labelled) + len(fresh) == len(task.questions()) and {one.intent for one in fresh} == set(task.INTENTS)
