"""The breaker on a manual clock: opens in time, probes one at a time, does not flap (F2)."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from ostinato.routing.breaker import Breaker
from ostinato.routing.settings import Settings

SETTINGS = Settings()


def drive(
    breaker: Breaker, healthy: Callable[[float], bool], *, start: float, seconds: float, rate: float
) -> list[tuple[float, str]]:
    """Call at an even rate; every change of state with its time, half-open left out."""
    changes: list[tuple[float, str]] = []
    was = breaker.state
    for step in range(int(seconds * rate)):
        now = start + step / rate
        permit = breaker.enter(now)
        if permit:
            breaker.leave(permit, now, healthy(now))
        if breaker.state != "half-open" and breaker.state != was:
            was = breaker.state
            changes.append((now, was))
    return changes


@pytest.mark.parametrize("rate", [6, 10, 50, 500, 5000])
@pytest.mark.parametrize("seed", range(5))
def test_it_opens_within_two_seconds_of_half_the_calls_failing(rate: float, seed: int):
    breaker = Breaker(SETTINGS)
    rng = random.Random(seed)
    assert drive(breaker, lambda _: True, start=0, seconds=30, rate=rate) == []
    turn = iter(range(10**9))
    offset = rng.randrange(2)
    changes = drive(breaker, lambda _: (next(turn) + offset) % 2 == 0, start=30, seconds=2, rate=rate)
    assert changes and changes[0][1] == "open"


def test_a_quiet_target_opens_by_failures_in_a_row():
    breaker = Breaker(SETTINGS)
    for second in range(SETTINGS.breaker_row):
        assert breaker.state == "closed"
        breaker.leave(breaker.enter(second * 60.0), second * 60.0, False)
    assert breaker.state == "open"


@pytest.mark.parametrize("share", [0.0, 0.02, 0.05])
def test_few_errors_do_not_open_it(share: float):
    rng = random.Random(3)
    breaker = Breaker(SETTINGS)
    assert drive(breaker, lambda _: rng.random() >= share, start=0, seconds=600, rate=50) == []


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(SETTINGS)
    for _ in range(SETTINGS.breaker_row):
        breaker.leave(breaker.enter(now), now, False)
    assert breaker.state == "open"
    return breaker


def test_one_probe_at_a_time():
    breaker = opened()
    assert not breaker.enter(SETTINGS.breaker_open - 0.01)
    assert breaker.retry_in(1.0) == pytest.approx(SETTINGS.breaker_open - 1.0)
    now = SETTINGS.breaker_open
    for proof in range(SETTINGS.breaker_proofs):
        probe = breaker.enter(now)
        assert probe and breaker.state == "half-open"
        assert [breaker.enter(now) for _ in range(50)] == [0] * 50
        breaker.leave(probe, now, True)
        assert (breaker.state == "closed") == (proof == SETTINGS.breaker_proofs - 1)


def test_a_probe_that_tells_nothing_lets_the_next_one_pass():
    breaker = opened()
    now = SETTINGS.breaker_open
    breaker.leave(breaker.enter(now), now, None)
    assert breaker.state == "half-open"
    assert breaker.enter(now)


def test_failed_probes_become_rarer():
    breaker = opened()
    now, waits = 0.0, []
    for _ in range(6):
        wait = breaker.retry_in(now)
        waits.append(wait)
        now += wait
        breaker.leave(breaker.enter(now), now, False)
        assert breaker.state == "open"
    assert waits == [5, 10, 20, 40, 60, 60]


def test_calls_from_before_a_change_report_nothing():
    breaker = Breaker(SETTINGS)
    slow = [breaker.enter(0.0) for _ in range(20)]
    for _ in range(SETTINGS.breaker_row):
        breaker.leave(breaker.enter(0.0), 0.0, False)
    for permit in slow[:10]:
        breaker.leave(permit, 1.0, True)
    assert breaker.state == "open"
    probe = breaker.enter(SETTINGS.breaker_open)
    for permit in slow[10:]:
        breaker.leave(permit, SETTINGS.breaker_open, False)
    assert breaker.state == "half-open"
    assert not breaker.enter(SETTINGS.breaker_open), "the probe is still out"
    breaker.leave(probe, SETTINGS.breaker_open, True)
    assert breaker.enter(SETTINGS.breaker_open)


@pytest.mark.parametrize("rate", [5, 20, 100])
@pytest.mark.parametrize(
    "healthy",
    [
        lambda now: False,
        lambda now: int(now * 997) % 2 == 0,
        lambda now: int(now * 997) % 10 < 3,
        lambda now: now % 60 < 30,
        lambda now: now % 20 < 10,
        lambda now: now % 240 < 200,
        lambda now: now % 7 < 5,
    ],
    ids=["dead", "half", "seldom", "half-minutes", "ten-seconds", "relapses", "hiccups"],
)
def test_it_does_not_flap(healthy: Callable[[float], bool], rate: float):
    """At most one opening or closing a minute, over any ten minutes of an hour."""
    changes = drive(Breaker(SETTINGS), healthy, start=0, seconds=3600, rate=rate)
    assert changes, "it must have opened"
    for begin in range(0, 3000, 60):
        assert sum(begin <= at < begin + 600 for at, _ in changes) <= 10, changes


@pytest.mark.parametrize("seed", range(6))
def test_errors_at_random_do_not_make_it_flap(seed: int):
    rng = random.Random(seed)
    changes = drive(Breaker(SETTINGS), lambda _: rng.random() < 0.5, start=0, seconds=3600, rate=20)
    assert 1 <= len(changes) <= 60


def test_it_recovers_once_the_target_has():
    breaker = Breaker(SETTINGS)
    drive(breaker, lambda _: False, start=0, seconds=30, rate=20)
    assert breaker.state != "closed"
    changes = drive(breaker, lambda _: True, start=30, seconds=60, rate=20)
    assert [state for _, state in changes] == ["closed"]
    assert drive(breaker, lambda _: True, start=90, seconds=600, rate=20) == []


def test_a_first_short_outage_is_over_soon():
    breaker = Breaker(SETTINGS)
    drive(breaker, lambda _: True, start=0, seconds=10, rate=20)
    changes = drive(breaker, lambda now: now > 12, start=10, seconds=20, rate=20)
    assert [state for _, state in changes] == ["open", "closed"]
    assert changes[1][0] - changes[0][0] <= 7


@examples(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["ok", "bad", "none", "keep"])), max_size=150))
def test_whatever_happens_it_can_be_entered_again(steps: list[tuple[float, str]]):
    """No sequence of reports, late ones included, leaves the breaker stuck."""
    breaker = Breaker(SETTINGS)
    now, kept = 0.0, []
    for wait, what in steps:
        now += wait
        permit = breaker.enter(now)
        if what == "keep":
            kept.append(permit)
        elif permit:
            breaker.leave(permit, now, {"ok": True, "bad": False, "none": None}[what])
        if kept and what == "none":
            breaker.leave(kept.pop(0), now, True)
        calls, failures = breaker.counts(now)
        assert 0 <= failures <= calls
    for permit in kept:
        breaker.leave(permit, now, None)
    assert breaker.enter(now + SETTINGS.breaker_longest)


def test_a_clock_that_stands_or_runs_back_breaks_nothing():
    breaker = Breaker(SETTINGS)
    for now in (100.0, 100.0, 5.0, 100.0, 4.0):
        breaker.leave(breaker.enter(now), now, True)
    assert breaker.state == "closed"
