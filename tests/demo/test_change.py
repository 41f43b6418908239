"""Before beside after: money is counted, and a search that does not pay says so."""

import io

import pytest
from rich.console import Console

from ostinato.demo import change, task
from ostinato.demo.change import Change
from ostinato.demo.replay import Outcome
from ostinato.demo.traffic import Ask

ASK = Ask(task.questions()[0], stream=False)


def outcomes(*, right: int, of: int, cost: float) -> list[Outcome]:
    return [Outcome(ASK, "miss" if index else "hit-exact", index < right, 10.0, None, cost=cost) for index in range(of)]


def compared(before: int, after: int, *, dearer: float = 0.0, optimizer: float = 0.5, value: float = 0.01) -> Change:
    return Change(
        change.side(outcomes(right=before, of=100, cost=0.001)),
        change.side(outcomes(right=after, of=100, cost=0.001 + dearer)),
        optimizer,
        value,
    )


def test_a_success_costs_what_all_requests_cost_over_those_that_were_right():
    found = compared(50, 80)
    assert found.before.success == 0.5 and found.after.success == 0.8
    assert found.before.cost_per_success == pytest.approx(0.1 / 50)
    assert found.after.cost_per_success == pytest.approx(0.1 / 80)
    assert change.side(outcomes(right=0, of=5, cost=1)).cost_per_success is None


def test_the_search_is_paid_back_by_successes_less_what_they_cost_more():
    found = compared(50, 80)
    assert found.gain == pytest.approx(0.3 * 0.01)
    assert found.payback == 167
    assert compared(50, 80, dearer=0.001).payback == 250
    assert compared(50, 80, dearer=0.004).payback is None
    assert compared(50, 50).payback is None


def test_what_is_told_says_both_sides_and_the_account():
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(change.table(compared(50, 80)))
    told = console.export_text()
    assert "first-pass success" in told and "50.0%" in told and "80.0%" in told
    assert "earned back after 167 requests" in change.conclusion(compared(50, 80))
    assert "not earned back" in change.conclusion(compared(80, 50))


def test_labelled_questions_and_traffic_are_different_ones():
    from ostinato.demo import loop

    labelled, fresh = loop.split(task.questions())
    assert not {one.text for one in labelled} & {one.text for one in fresh}
    assert len(labelled) + len(fresh) == len(task.questions()) and {one.intent for one in fresh} == set(task.INTENTS)
