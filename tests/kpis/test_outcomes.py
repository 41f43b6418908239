"""Outcomes: told by request, x-request-id or session, late, twice, and for what does not exist."""

import math

import pytest

from ostinato.core.errors import Invalid, NotFound, Unavailable
from ostinato.kpis.outcomes import MOST, Outcome, Outcomes, moment, valued
from ostinato.signals import Settings, Signals


@pytest.fixture
def outcomes(house) -> Outcomes:
    return Outcomes(house.signals, house.ledger, house.clock)


async def take(outcomes: Outcomes, *told: Outcome, project: str = "support", dry_run: bool = False):
    return await outcomes.take("acme", project, "key:1", told, dry_run=dry_run)


async def test_by_request_by_the_callers_own_id_and_by_session(house, outcomes) -> None:
    mine = house.call("a", client_request_id="ticket-7")
    house.call("b", session="talk")
    origin = house.call("c")
    hit = house.hit(origin)
    found = await take(
        outcomes,
        Outcome(request_id=hit, type="resolved"),
        Outcome(client_request_id="ticket-7", type="csat", value=4),
        Outcome(session="talk", type="escalated"),
    )
    assert (found.accepted, found.duplicates, found.refused) == (3, 0, ())
    assert (await house.figure("resolution_rate", tier="hit")).value == 1.0
    assert (await house.figure("csat")).detail["mean"] == 4
    assert (await house.figure("containment")).detail["escalated"] == 1
    assert mine


async def test_what_is_unknown_or_foreign_is_refused_by_its_place(house, outcomes) -> None:
    mine, foreign = house.call("a"), house.call("b", project="other", session="theirs")
    found = await take(
        outcomes,
        Outcome(request_id="0" * 32, type="resolved"),
        Outcome(request_id=foreign, type="resolved"),
        Outcome(session="theirs", type="resolved"),
        Outcome(request_id=mine, type="solved"),
        Outcome(request_id=mine, type="csat", value=math.nan),
        Outcome(request_id=mine, session="x", type="resolved"),
        Outcome(request_id=mine, type="resolved", at="yesterday"),
        Outcome(request_id=mine, type="resolved", at=house.clock.now() + 3_600_000_000),
        Outcome(request_id=mine, type="resolved"),
    )
    assert (found.accepted, [one.line for one in found.refused]) == (1, [1, 2, 3, 4, 5, 6, 7, 8])
    codes = [one.code for one in found.refused]
    assert codes[:3] == ["request_not_found", "request_not_found", "conversation_not_found"]
    assert codes[3] == "unknown_outcome" and codes[7] == "future_outcome"
    # One does not learn from a refusal whether a foreign request exists.
    assert found.refused[0].message.replace("0" * 32, "") == found.refused[1].message.replace(foreign, "")


async def test_a_file_that_is_imported_twice_counts_once(house, outcomes) -> None:
    told = [Outcome(request_id=house.call(f"q{n}"), type="resolved", at=house.clock.now()) for n in range(20)]
    assert (await take(outcomes, *told, dry_run=True)).accepted == 20
    assert (await house.figure("resolution_rate")).value is None
    assert (await take(outcomes, *told)).accepted == 20
    again = await take(outcomes, *told)
    assert (again.accepted, again.duplicates) == (0, 20)
    found = await house.figure("resolution_rate")
    assert (found.value, found.n) == (1.0, 20)


async def test_of_different_events_the_last_that_happened_counts_however_they_come(house, outcomes) -> None:
    request = house.call()
    now = house.clock.now()
    house.clock.advance(60)
    await take(
        outcomes,
        Outcome(request_id=request, type="csat", value=5, at=now + 40_000_000),
        Outcome(request_id=request, type="csat", value=1, at=now + 20_000_000),
    )
    assert (await house.figure("csat")).detail["mean"] == 5


async def test_reopened_after_three_days_was_contained_all_the_same(house, outcomes) -> None:
    soon, late = house.call("a"), house.call("b")
    house.recorder.flush()
    window = house.window
    at = house.clock.now()
    house.clock.advance(5 * 86_400)
    await take(
        outcomes,
        Outcome(request_id=soon, type="reopened", at=at + 70 * 3_600_000_000),
        Outcome(request_id=late, type="reopened", at=at + 80 * 3_600_000_000),
    )
    page = await house.kpis.figures(house.scope, window, names=["true_containment"])
    assert [one.value for one in page.figures] == [0.5, 0.5]


async def test_minutes_of_resolved_interactions_are_money_at_a_declared_rate(house, outcomes) -> None:
    from ostinato.kpis import Kpis
    from ostinato.kpis import Settings as Declared

    for minutes in (10, 20):
        request = house.call(f"q{minutes}")
        told = (
            Outcome(request_id=request, type=kind, value=v) for kind, v in (("time_saved", minutes), ("resolved", 1))
        )
        await take(outcomes, *told)
    assert (await house.figure("time_saved")).value == pytest.approx(15)
    assert "hourly_rate" in (await house.figure("avoided_manual_work")).missing
    priced = Kpis(house.ledger, house.signals, house.clock, Declared(hourly_rate=60.0))
    page = await priced.figures(house.scope, house.window, names=["avoided_manual_work"])
    assert page.figures[0].value == pytest.approx(30.0)


async def test_more_than_can_wait_is_refused_whole(house, traces) -> None:
    narrow = Outcomes(Signals(traces, house.clock, Settings(queue=1)), house.ledger, house.clock)
    told = [Outcome(request_id=house.call(f"q{n}"), type="resolved") for n in range(3)]
    with pytest.raises(Unavailable):
        await take(narrow, *told)
    with pytest.raises(Invalid):
        await take(narrow, *(told * MOST))


async def test_a_conversation_of_another_project_does_not_exist(house, outcomes) -> None:
    house.call(session="s", project="other")
    house.recorder.flush()
    with pytest.raises(NotFound):
        await outcomes.conversation("support", "s")
    assert (await outcomes.conversation("other", "s")).turns == 1


@pytest.mark.parametrize("value", [0, 6, 2.5, True, "x", None, math.nan, math.inf, "1e400"])
def test_a_rating_is_a_whole_number_from_1_to_5(value) -> None:
    with pytest.raises(Invalid):
        valued("csat", value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e9, "much", None, True])
def test_time_saved_is_a_number_of_minutes(value) -> None:
    with pytest.raises(Invalid):
        valued("time_saved", value)


@pytest.mark.parametrize("value", [math.nan, 2, -0.1, "maybe"])
def test_other_outcomes_are_yes_or_no(value) -> None:
    with pytest.raises(Invalid):
        valued("resolved", value)


def test_values_out_of_files_are_words() -> None:
    assert valued("csat", "5") == (1.0, "5") and valued("time_saved", "-2.5") == (None, "-2.5")
    assert valued("resolved", "no") == (0.0, "") and valued("resolved", "") == (1.0, "")


@pytest.mark.parametrize("at", [0, -1, "", "2026-02-30", "99999999999999999999", "0001-01-01", "9999-12-31T23:59:59Z"])
def test_times_that_are_none(at) -> None:
    now = 1_760_000_000_000_000
    if at == "":
        assert moment(at, now) == now
    else:
        with pytest.raises(Invalid):
            moment(at, now)


def test_a_clock_that_is_a_little_ahead_is_taken_for_ours() -> None:
    now = 1_760_000_000_000_000
    assert moment(now + 60_000_000, now) == now
    assert moment("2025-10-09T08:00:00+02:00", now) == 1_759_989_600_000_000


async def test_nothing_happens_before_it_is_asked(house, outcomes) -> None:
    request, named = house.call("a"), house.call("b", session="talk")
    minute = 60_000_000
    found = await take(
        outcomes,
        Outcome(request_id=request, type="escalated", at="2020-01-01"),
        Outcome(session="talk", type="escalated", at=house.clock.now() - 6 * minute),
        Outcome(request_id=request, type="resolved", at=house.clock.now() - 4 * minute),
    )
    assert named and [one.code for one in found.refused] == ["past_outcome"] * 2 and found.accepted == 1
    assert (await house.figure("first_pass_success")).value == 1.0
    assert (await house.figure("containment")).detail["escalated"] == 0
