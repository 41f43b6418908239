"""The table's figures, from outcomes that are known."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.demo import report
from ostinato.demo.child import Prices
from ostinato.demo.replay import Outcome, Tokens
from ostinato.demo.task import Question
from ostinato.demo.traffic import Ask, Level

LEVEL = Level("some", 0.9)


def outcome(text: str, cache: str, right: bool, ms: float, **more) -> Outcome:
    return Outcome(Ask(Question(text, "change_pin"), False), cache, right, ms, None, **more)


OUTCOMES = [
    outcome("a", "miss", True, 100.0, tokens=Tokens(10, 90, 2), cost=0.002),
    outcome("a", "hit-exact", True, 1.0, tokens=Tokens(10, 90, 2), saved=0.002),
    outcome("b", "miss", False, 300.0, tokens=Tokens(20, 80, 2), cost=0.003),
    outcome("b", "miss; reason=joined", False, 150.0, tokens=Tokens(20, 80, 2), saved=0.003),
    outcome("b", "error", False, 5.0, error="APIError: broken"),
]


def test_hits_misses_and_errors_are_told_apart():
    made = report.summarize(LEVEL, OUTCOMES)
    assert (made.requests, made.repeats, made.hits, made.joined, made.errors) == (5, 3, 1, 1, 1)
    assert made.accuracy == 0.4, "an error is no right answer"
    assert made.accuracy_of_hits == 1.0
    assert (made.hit_p50, made.miss_p50, made.miss_p99) == (1.0, 100.0, 300.0)
    assert made.spent_tokens == Tokens(30, 170, 4) and made.saved_tokens == 204, "who joined paid nothing"
    assert (made.spent, made.saved) == (pytest.approx(0.005), pytest.approx(0.005))


def test_nothing_to_measure_is_shown_as_missing():
    made = report.summarize(LEVEL, OUTCOMES[:1])
    assert made.hit_p50 is None and made.accuracy_of_hits is None
    cells = [cell for column in report.table([made]).columns for cell in column.cells]
    assert "- / -" in cells


def test_money_is_priced_by_bucket():
    prices = Prices(input=1.0, cache_read=0.1, output=4.0)
    assert Tokens(1_000_000, 2_000_000, 500_000).cost(prices) == pytest.approx(1.0 + 0.2 + 2.0)


def test_json_holds_what_the_table_shows():
    told = msgspec.json.decode(report.as_json("m", 12.34, [report.summarize(LEVEL, OUTCOMES)], {"state": "refused"}))
    assert told["seconds"] == 12.3 and told["levels"][0]["hits"] == 1
    assert told["levels"][0]["spent_tokens"] == {"input": 30, "cache_read": 170, "output": 4}


@given(st.lists(st.floats(0, 1e6), min_size=1), st.integers(1, 100))
def test_a_percentile_is_one_of_the_values_and_bounds_its_share(values: list[float], share: int):
    found = report.percentile(values, share)
    assert found in values
    assert sum(v <= found for v in values) >= len(values) * share / 100
