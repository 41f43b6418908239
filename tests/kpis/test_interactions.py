"""Interactions: counted once, whoever serves their turns, and corrected when it is known how they ended."""

import random

import pytest

from ostinato.traces import interactions as rules
from ostinato.traces.interactions import Event, State, Turn, contribution

MINUTE = 60_000_000
HOUR = 60 * MINUTE


async def test_a_request_without_a_session_is_an_interaction(house) -> None:
    first = house.call()
    house.hit(first)
    house.hit(first)
    house.call("other", status=502, error="provider_failed", attempts=({"target": "t", "us": 1, "outcome": "x"},))
    house.call("refused", status=400, error="invalid_request")
    house.call("vectors", wire="openai.embeddings")
    found = await house.figure("first_pass_success")
    assert (found.n, found.detail["count"], found.detail["failed"]) == (4, 3, 1)
    assert found.low < 0.75 < found.high


async def test_a_conversation_is_one_interaction_in_any_number_of_batches(house) -> None:
    for number in range(5):
        house.call(f"q{number}", session="s1")
        house.recorder.flush()
        house.clock.advance(30)
    found = await house.figure("first_pass_success")
    assert (found.n, found.value, found.detail["conversations"]) == (1, 1.0, 1)


async def test_asking_the_same_again_in_a_session_is_rework_within_the_window_only(house) -> None:
    first = house.call("a", session="soon")
    house.call("a", session="late")
    house.clock.advance(5 * 60)
    house.hit(first, session="soon")  # the same answer from the cache: the same question
    house.clock.advance(6 * 60)
    house.call("a", session="late")
    found = await house.figure("first_pass_success")
    assert (found.n, found.detail["count"], found.detail["reworked"]) == (2, 1, 1)


async def test_two_processes_count_a_conversation_once(house, traces) -> None:
    from ostinato.traces import Recorder, Settings

    other = Recorder(traces, house.clock, Settings(batch_seconds=60.0))
    mine = house.recorder
    house.call("a", session="s")
    mine.flush()
    house.clock.advance(10)
    house.recorder = other
    house.call("a", session="s")
    other.flush()
    house.recorder = mine
    other.stop()
    found = await house.figure("first_pass_success")
    assert (found.n, found.detail["reworked"]) == (1, 1)


async def test_what_was_written_twice_is_counted_once(house) -> None:
    """A commit whose answer never came is tried again with the same batch."""
    from ostinato.core.errors import Unavailable

    house.call("a", session="s")
    house.call("b")
    real = house.recorder._journal._database.transact
    calls: list[int] = []

    def once(work):
        result = real(work)
        calls.append(1)
        if len(calls) == 1:
            raise Unavailable("The answer never came.", code="storage_unreachable")
        return result

    house.recorder._journal._database.transact = once
    house.recorder.flush()
    house.recorder.flush()
    house.recorder._journal._database.transact = real
    assert len(calls) > 1
    assert (await house.figure("first_pass_success")).n == 2


async def test_outcomes_move_the_interaction_that_they_are_about(house) -> None:
    calls = [house.call(f"q{number}") for number in range(10)]
    for request in calls[:4]:
        house.tell(request, "resolved")
    house.tell(calls[4], "escalated")
    house.tell(calls[0], "reopened")
    house.tell(calls[5], "abandoned")
    assert (await house.figure("containment")).value == pytest.approx(0.9)
    true = await house.figure("true_containment")
    assert (true.value, true.n, true.detail["told"]) == (pytest.approx(0.7), 10, 6)
    resolved = await house.figure("resolution_rate")
    assert resolved.value == pytest.approx(0.4)
    # Escalated soon after the answer: it was not accepted.
    assert (await house.figure("first_pass_success")).value == pytest.approx(0.9)
    # Ten calls of a tenth of a cent, of which 7 were not contradicted.
    assert (await house.figure("cost_per_success")).detail["successes"] == 7


async def test_the_same_event_again_changes_nothing_and_the_last_word_counts(house) -> None:
    request = house.call()
    for _ in range(3):
        house.tell(request, "csat", 0.25, label="2")
    found = await house.figure("csat")
    assert (found.n, found.value, found.detail["mean"]) == (1, 0.0, 2)
    house.tell(request, "csat", 1.0, label="5")
    found = await house.figure("csat")
    assert (found.n, found.value, found.detail["response_rate"]) == (1, 1.0, 1.0)
    house.tell(request, "escalated")
    house.tell(request, "escalated", 0.0)
    assert (await house.figure("containment")).value == 1.0


async def test_a_late_outcome_counts_where_its_interaction_began(house) -> None:
    request = house.call()
    house.recorder.flush()
    before = house.window
    house.clock.advance(3 * 86_400)
    house.tell(request, "resolved")
    page = await house.kpis.figures(house.scope, before, names=["resolution_rate", "first_pass_success"])
    found = {one.name: one for one in page.figures}
    assert found["resolution_rate"].value == 1.0
    assert found["first_pass_success"].n == 1
    now = await house.figure("first_pass_success")
    assert now.value is None and now.missing


async def test_a_complaint_counts_within_the_window_only(house) -> None:
    soon, late = house.call("a"), house.call("b")
    house.tell(soon, "feedback", 0.0)
    house.clock.advance(11 * 60)
    house.tell(late, "feedback", 0.0)
    found = await house.figure("first_pass_success")
    assert (found.detail["count"], found.detail["disliked"]) == (1, 1)


async def test_outcomes_of_requests_that_nobody_made_move_nothing(house) -> None:
    house.call()
    house.tell("0" * 32, "resolved")
    found = await house.figure("first_pass_success")
    assert (found.n, (await house.figure("resolution_rate")).value) == (1, None)


async def test_a_clock_that_jumps_back_makes_no_rework(house) -> None:
    at = house.clock.now()
    house.call("a", session="s", at=at)
    house.call("a", session="s", at=at - 3 * HOUR)
    house.recorder.flush()
    found = await house.figure("first_pass_success")
    assert (found.n, found.detail["reworked"]) == (1, 0)


def _state(**fields) -> State:
    turn = Turn("p", "s", "o", 1_000_000, 2_000_000, "r", "", "", "", "", "miss", "aaaa", False)
    return rules.msgspec.structs.replace(rules.begun(turn), **fields)


def test_what_changes_add_up_to_is_what_the_last_state_says() -> None:
    """In whatever order things happen, the sums are those of where every interaction ended."""
    dice = random.Random(7)
    for _ in range(200):
        state = _state()
        tallies = rules.moved([("p", None, state)])
        for _ in range(dice.randrange(12)):
            before = state
            if dice.random() < 0.4:
                at = state.ended + dice.randrange(-MINUTE, 20 * MINUTE)
                asked = dice.choice(["aaaa", "bbbb", ""])
                end = at + dice.randrange(MINUTE)
                turn = Turn("p", "s", "o", at, end, "r2", "", "", "", "", "hit", asked, dice.random() < 0.2)
                state = rules.asked(state, turn)
            else:
                kind = dice.choice([*rules.OUTCOMES, *rules.REWORK, "feedback"])
                value = {"csat": dice.randint(1, 5), "time_saved": 7.5}.get(kind, dice.choice([0.0, 1.0, None]))
                state = rules.told(state, Event(kind, value, state.ended + dice.randrange(100 * HOUR)))
            for key, tally in rules.moved([("p", before, state)]).items():
                rules.rollup.add_cell(tallies, key, tally)
        (key,) = tallies
        assert tallies[key].sums == contribution(state).sums
        for name in rules.TIMES:
            left = {bucket: n for bucket, n in getattr(tallies[key].detail, name).items() if n}
            assert left == getattr(contribution(state).detail, name)


def test_a_plain_request_adds_what_its_state_would() -> None:
    """Singles are counted without a state; the state that an outcome makes of one must stand for the same."""
    turn = Turn("p", "r", "o", 1_000_000, 1_000_100, "r", "", "", "", "", "hit", "aaaa", False, named=False)
    state = contribution(rules.begun(turn))
    plain = rules.plain(1, {rules.bucket_of(100): 1})
    assert plain.sums == state.sums
    assert (plain.detail.answer, plain.detail.task) == (state.detail.answer, state.detail.task)
