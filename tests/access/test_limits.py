"""Rates and concurrency."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.access.limits import Limits
from ostinato.access.model import Caller, RateLimit
from ostinato.access.settings import Settings
from ostinato.core.errors import LimitReached

START = 1_760_000_000_000_000
SECOND = 1_000_000


def caller(rate: RateLimit | None = None, key: str = "k1") -> Caller:
    return Caller(key_id=key, key_prefix="ost_abcdefgh", org="o", project="p", rate=rate)


def test_a_burst_up_to_the_rate_then_a_refusal_that_says_when():
    limits = Limits(Settings())
    who = caller(RateLimit(10, 10.0))
    states = [limits.admit(who, START) for _ in range(10)]
    assert [state.remaining for state in states] == list(range(9, -1, -1))
    assert states[0].limit == 10
    assert states[-1].reset_s == pytest.approx(10.0)
    with pytest.raises(LimitReached) as refused:
        limits.admit(who, START)
    assert refused.value.code == "rate_limit_exceeded"
    assert refused.value.retry_after == pytest.approx(1.0)
    with pytest.raises(LimitReached):
        limits.admit(who, START + SECOND - 2)
    assert limits.admit(who, START + SECOND).remaining == 0


def test_a_refusal_costs_nothing():
    limits = Limits(Settings())
    who = caller(RateLimit(2, 2.0))
    limits.admit(who, START)
    limits.admit(who, START)
    for _ in range(100):
        with pytest.raises(LimitReached):
            limits.admit(who, START)
    assert limits.admit(who, START + SECOND).remaining == 0


def test_limits_are_on_by_default():
    limits = Limits(Settings(requests_per_minute=3, concurrent_requests=2))
    who = caller()
    assert [limits.admit(who, START).remaining for _ in range(3)] == [2, 1, 0]
    with pytest.raises(LimitReached):
        limits.admit(who, START)
    assert Settings().requests_per_minute == 6000


@settings(deadline=None)
@given(
    st.integers(1, 20),
    st.floats(1.0, 100.0),
    st.lists(st.integers(0, 30 * SECOND), min_size=1, max_size=120),
)
def test_never_more_than_the_burst_and_the_rate_in_any_window(requests: int, seconds: float, gaps: list[int]):
    limits = Limits(Settings())
    who = caller(RateLimit(requests, seconds))
    now, admitted = START, []
    for gap in gaps:
        now += gap
        try:
            state = limits.admit(who, now)
        except LimitReached as refused:
            assert 0 < refused.retry_after <= seconds / requests + 1e-6
        else:
            assert 0 <= state.remaining < requests
            admitted.append(now)
    for first, start in enumerate(admitted):
        for last in range(first, len(admitted)):
            passed = (admitted[last] - start) / SECOND
            assert last - first + 1 <= requests + passed * requests / seconds + 1e-6


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(-7200, 7200))
def test_a_clock_that_jumps_neither_locks_out_nor_lets_through(requests: int, jump: int):
    limits = Limits(Settings())
    who = caller(RateLimit(requests, 60.0))
    for _ in range(requests):
        limits.admit(who, START)
    later = START + jump * SECOND
    allowed = 0
    for _ in range(requests + 5):
        try:
            limits.admit(who, later)
            allowed += 1
        except LimitReached as refused:
            assert refused.retry_after <= 60.0 / requests + 1e-6
    assert allowed <= (min(requests, jump * requests / 60.0 + 1e-6) if jump > 0 else 0)
    limits.admit(who, later + 60 * SECOND)


def test_a_changed_rate_takes_effect_at_once_and_resets_nothing():
    limits = Limits(Settings())
    who = caller(RateLimit(10, 60.0))
    for _ in range(10):
        limits.admit(who, START)
    with pytest.raises(LimitReached):
        limits.admit(msgspec.structs.replace(who, rate=RateLimit(5, 60.0)), START)
    with pytest.raises(LimitReached):
        limits.admit(msgspec.structs.replace(who, rate=RateLimit(100, 60.0)), START)
    assert limits.admit(msgspec.structs.replace(who, rate=RateLimit(100, 60.0)), START + SECOND).remaining == 0


def test_keys_do_not_share_buckets_and_processes_share_rates():
    limits = Limits(Settings(processes=4))
    for key in ("k1", "k2"):
        who = caller(RateLimit(10, 60.0), key)
        assert [limits.admit(who, START).remaining for _ in range(2)] == [1, 0]
        with pytest.raises(LimitReached):
            limits.admit(who, START)


def test_requests_in_flight_are_bounded_per_key():
    limits = Limits(Settings(concurrent_requests=2))
    who = caller()
    limits.enter(who)
    limits.enter(who)
    limits.enter(caller(key="k2"))
    with pytest.raises(LimitReached) as refused:
        limits.enter(who)
    assert refused.value.code == "concurrency_limit_exceeded" and refused.value.retry_after
    limits.leave(who)
    limits.enter(who)
    assert limits.inflight("k1") == 2
    for _ in range(5):
        limits.leave(who)
    assert limits.inflight("k1") == 0


def test_buckets_of_dead_keys_go_but_not_under_a_running_request():
    limits = Limits(Settings())
    gone, busy, alive = caller(key="gone"), caller(key="busy"), caller(key="alive")
    for who in (gone, busy, alive):
        limits.admit(who, START)
    limits.enter(busy)
    limits.prune(frozenset({"alive"}))
    assert set(limits.last_used(1)) == {"busy", "alive"}
    limits.leave(busy)
    limits.prune(frozenset({"alive"}))
    assert set(limits.last_used(1)) == {"alive"}
