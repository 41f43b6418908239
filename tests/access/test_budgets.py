"""Money is never spent twice, never lost, and never more than there is."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato import storage
from ostinato.access import Access, Account, Budgets, Caller, Grant, KeyChanges, MoneyBudget, Reservation, Settings
from ostinato.access.leases import Late, period_of
from ostinato.core.clock import ManualClock
from ostinato.core.errors import LimitReached, Unavailable

NANO = 1_000_000_000
fresh = itertools.count()


def spender(budget: MoneyBudget, *more: MoneyBudget) -> Caller:
    """A caller with purses of its own, new to every database."""
    accounts = tuple(Account(f"key:{next(fresh)}", each) for each in (budget, *more))
    return Caller(key_id="k", key_prefix="ost_", org="o", project="p", accounts=accounts)


def books(database: storage.Database, account: str) -> tuple[int, int]:
    """What is leased, and what was spent, by the database."""

    def read(connection) -> tuple[int, int]:
        def value(statement: str) -> int:
            return int(connection.exec_driver_sql(f"{statement} WHERE account = '{account}'").scalar() or 0)

        return value("SELECT sum(leased) FROM budget_period"), value("SELECT sum(spent) FROM budget_lease")

    return database.query(read)


Maker = Callable[..., Budgets]


@pytest_asyncio.fixture
async def make(control: storage.Database, database_url: str, clock: ManualClock) -> AsyncIterator[Maker]:
    """A function that makes budgets as a process of its own would, on a connection of its own."""
    databases: list[storage.Database] = []

    def open_(**options: object) -> Budgets:
        databases.append(storage.open_database("control", database_url, readers=2))
        return Budgets(databases[-1], clock, Settings(**options))

    yield open_
    for database in databases:
        database.close()


async def test_reserve_and_settle(make: Maker, control: storage.Database):
    budgets, who = make(), spender(MoneyBudget(NANO))
    assert budgets.required(who)
    reservation = await budgets.reserve(who, 1_000)
    assert budgets.reserve_now(who, 1_000) is not None, "the slice is there now: nothing to wait for"
    budgets.settle(reservation, 400)
    budgets.settle(reservation, 400)
    budgets.release(reservation)
    assert not reservation.open
    await budgets.stop()
    assert books(control, who.accounts[0].id) == (1_400, 400)  # the open one stays charged
    with pytest.raises(Unavailable):
        await budgets.reserve(who, 1)


async def test_without_a_budget_nothing_is_asked(tmp_path, clock: ManualClock):
    database = storage.open_database("control", tmp_path / "control.db")  # not even migrated
    budgets = Budgets(database, clock, Settings())
    who = Caller(key_id="k", key_prefix="ost_", org="o", project="p")
    assert not budgets.required(who)
    reservation = await budgets.reserve(who, 10**18)
    budgets.settle(reservation, 10**18)
    for wrong in (-1,):
        with pytest.raises(ValueError, match="negative"):
            await budgets.reserve(who, wrong)
        with pytest.raises(ValueError, match="negative"):
            budgets.settle(reservation, wrong)
    database.close()


async def test_a_spent_budget_refuses_and_says_until_when(make: Maker, clock: ManualClock):
    for period, wait in (("day", True), ("month", True), ("total", False)):
        budgets, who = make(), spender(MoneyBudget(1_000, period))
        budgets.settle(await budgets.reserve(who, 1_000), 1_000)
        with pytest.raises(LimitReached) as refused:
            await budgets.reserve(who, 1)
        assert refused.value.code == "budget_exceeded"
        ends = period_of(period, clock.now()).ends
        assert refused.value.retry_after == (None if not wait else (ends - clock.now()) / 1e6)
        assert "$0.000001" in refused.value.message and refused.value.hint


async def test_money_set_aside_by_calls_in_flight_comes_back_soon(make: Maker):
    budgets, who = make(), spender(MoneyBudget(1_000))
    first = await budgets.reserve(who, 900)
    with pytest.raises(LimitReached) as refused:
        await budgets.reserve(who, 200)
    assert (refused.value.code, refused.value.retry_after) == ("budget_exceeded", 1.0)
    budgets.settle(first, 100)
    assert await budgets.reserve(who, 200)


async def test_refusals_cost_no_transactions(make: Maker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch):
    """S10: hammering on an empty purse asks the database once a second, not once a call."""
    budgets, who = make(), spender(MoneyBudget(1_000))
    budgets.settle(await budgets.reserve(who, 1_000), 1_000)
    asked = 0
    run = budgets._database.run

    async def counted(work):
        nonlocal asked
        asked += 1
        return await run(work)

    monkeypatch.setattr(budgets._database, "run", counted)
    for _ in range(500):
        with pytest.raises(LimitReached):
            await budgets.reserve(who, 10)
    assert asked <= 1
    clock.advance(1.1)
    with pytest.raises(LimitReached):
        await budgets.reserve(who, 10)
    assert asked <= 2


async def test_each_purse_must_have_enough_and_a_refusal_takes_from_none(make: Maker, control: storage.Database):
    budgets, who = make(), spender(MoneyBudget(NANO), MoneyBudget(500))
    with pytest.raises(LimitReached):
        await budgets.reserve(who, 501)
    for _ in range(5):
        budgets.settle(await budgets.reserve(who, 100), 100)
    with pytest.raises(LimitReached):
        await budgets.reserve(who, 1)
    await budgets.stop()
    assert [books(control, account.id) for account in who.accounts] == [(500, 500), (500, 500)]


async def test_periods_roll_over_on_the_clock(make: Maker, control: storage.Database, clock: ManualClock):
    for period, seconds in (("day", 86_400), ("month", 32 * 86_400)):
        budgets, who = make(), spender(MoneyBudget(1_000, period))
        budgets.settle(await budgets.reserve(who, 600), 600)
        late = await budgets.reserve(who, 400)
        with pytest.raises(LimitReached):
            await budgets.reserve(who, 1)
        clock.advance(seconds)
        budgets.settle(await budgets.reserve(who, 1_000), 900)
        budgets.settle(late, 300)  # belongs to the period in which it was reserved
        assert budgets.reserve_now(who, 101) is None and budgets.reserve_now(who, 100) is not None
        await budgets.tidy()
        await budgets.tidy()
        assert len(budgets._slices) == 1, "what ended is forgotten once it is written down"
        await budgets.stop()
        assert books(control, who.accounts[0].id) == (900 + 1_000, 900 + 900)
    never = spender(MoneyBudget(10, "total"))
    budgets = make()
    budgets.settle(await budgets.reserve(never, 10), 10)
    clock.advance(400 * 86_400)
    with pytest.raises(LimitReached):
        await budgets.reserve(never, 1)


@pytest.mark.parametrize(
    ("kind", "moment", "name", "ends"),
    [
        ("day", "2024-02-29T23:59:59.999999", "2024-02-29", "2024-03-01T00:00:00"),
        ("month", "2024-02-29T23:59:59.999999", "2024-02", "2024-03-01T00:00:00"),
        ("month", "2025-12-31T23:59:59.999999", "2025-12", "2026-01-01T00:00:00"),
        ("month", "2026-01-01T00:00:00", "2026-01", "2026-02-01T00:00:00"),
        ("day", "1970-01-01T00:00:00", "1970-01-01", "1970-01-02T00:00:00"),
    ],
)
def test_periods_follow_the_calendar(kind: str, moment: str, name: str, ends: str):
    from datetime import datetime

    def micros(text: str) -> int:
        delta = datetime.fromisoformat(text) - datetime(1970, 1, 1)
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds

    period = period_of(kind, micros(moment))
    assert (period.id, period.ends) == (name, micros(ends))
    assert period.starts <= micros(moment) < micros(ends)
    assert period_of(kind, period.starts) == period != period_of(kind, period.ends)


async def test_a_call_that_costs_more_is_charged_in_full_and_known_everywhere(make: Maker, control: storage.Database):
    here, there, who = make(), make(), spender(MoneyBudget(1_000, "total"))
    here.settle(await here.reserve(who, 900), 1_500)
    for _ in range(100):
        if books(control, who.accounts[0].id)[0] >= 1_500:
            break
        await asyncio.sleep(0.01)
    assert books(control, who.accounts[0].id)[0] == 1_500, "an overdraft is written down at once"
    for budgets in (here, there):
        with pytest.raises(LimitReached):
            await budgets.reserve(who, 1)
    await here.stop()
    assert books(control, who.accounts[0].id) == (1_500, 1_500)


async def test_idle_slices_go_back_to_the_others(make: Maker, control: storage.Database, clock: ManualClock):
    here, there, who = make(), make(), spender(MoneyBudget(1_000_000, "total"))
    here.settle(await here.reserve(who, 10), 10)
    held = books(control, who.accounts[0].id)[0]
    assert held > 100_000
    with pytest.raises(LimitReached):
        await there.reserve(who, 999_000)
    assert books(control, who.accounts[0].id)[0] == held, "who is refused takes nothing away from others"
    clock.advance(31)
    await here.tidy()
    assert books(control, who.accounts[0].id) == (10, 10)
    there.settle(await there.reserve(who, 999_000), 999_000)
    here.settle(await here.reserve(who, 990), 990)
    for budgets in (here, there):
        with pytest.raises(LimitReached):
            await budgets.reserve(who, 1)


async def test_a_crash_forfeits_a_slice_and_no_more(make: Maker, control: storage.Database):
    who = spender(MoneyBudget(10_000_000_000, "total"))
    crashed = make()
    crashed.settle(await crashed.reserve(who, 5), 5)
    successor = make()
    spent = 5
    for amount in (10**9, 10**8, 10**7, 10**6, 10**5, 10**4):
        while True:
            try:
                successor.settle(await successor.reserve(who, amount), amount)
                spent += amount
            except LimitReached:
                break
    assert spent <= 10_000_000_000
    assert spent >= 10_000_000_000 * 0.97


async def test_a_changed_budget_takes_effect(door: Access, owner: Caller, clock: ManualClock):
    key, secret = await door.create_key(owner, "x", Grant(budget=MoneyBudget(1_000)))

    async def spend(nano: int) -> None:
        door.budgets.settle(await door.budgets.reserve(door.authenticate(secret, clock.now()), nano), nano)

    await spend(1_000)
    with pytest.raises(LimitReached):
        await spend(1)
    await door.update_key(owner, key.id, KeyChanges(budget=MoneyBudget(1_500)))
    await spend(500)
    with pytest.raises(LimitReached):
        await spend(1)
    _, secret = await door.rotate_key(owner, key.id)
    with pytest.raises(LimitReached):
        await spend(1)
    await door.budgets.tidy()
    state = await door.key_budget(owner, key.id)
    assert (state.limit, state.spent, state.held, state.left) == (1_500, 1_500, 0, 0)
    await door.update_key(owner, secret[:12], KeyChanges(budget=None))
    await spend(10**9)


async def test_a_caller_that_hangs_up_loses_no_money(make: Maker, control: storage.Database):
    budgets, who = make(), spender(MoneyBudget(1_000_000, "total"))
    for _ in range(20):
        waiting = [asyncio.create_task(budgets.reserve(who, 30_000)) for _ in range(2)]
        await asyncio.sleep(random.random() * 0.002)
        waiting[0].cancel()
        with contextlib.suppress(asyncio.CancelledError):
            budgets.release(await waiting[0])
        budgets.release(await waiting[1])  # who waits for the same slice is not cancelled along
        budgets._slices.clear()
        budgets._current.clear()
        who = spender(MoneyBudget(1_000_000, "total"))
    assert await budgets.reserve(who, 1_000_000), "all of it is still there"


async def test_no_money_without_the_database(make: Maker, clock: ManualClock):
    budgets, who = make(), spender(MoneyBudget(1_000_000, "total"))
    first = await budgets.reserve(who, 10)
    budgets._database.close()
    assert budgets.reserve_now(who, 10) is not None, "what it holds it may spend"
    with pytest.raises(Unavailable):
        await budgets.reserve(who, 999_000)
    budgets.settle(first, 10)
    await budgets.tidy()
    await budgets.stop()


@pytest.mark.parametrize("applied", [False, True])
async def test_a_write_of_unknown_outcome_costs_and_gives_nothing(
    make: Maker, control: storage.Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, applied: bool
):
    """A connection lost at the commit: whether it took effect or not, the books agree after the next write."""
    budgets, who = make(), spender(MoneyBudget(1_000_000, "total"))
    budgets.settle(await budgets.reserve(who, 100), 100)
    run = budgets._database.run

    async def broken(work):
        if applied:
            await run(work)
        raise Unavailable("lost")

    for _ in range(3):
        monkeypatch.setattr(budgets._database, "run", broken)
        with pytest.raises(Unavailable):
            await budgets.reserve(who, 900_000)
        clock.advance(31)
        await budgets.tidy()
        monkeypatch.setattr(budgets._database, "run", run)
        budgets.settle(await budgets.reserve(who, 100), 100)
    other = make()
    await budgets.stop()
    assert books(control, who.accounts[0].id) == (400, 400)
    assert await other.reserve(who, 1_000_000 - 400)


async def test_a_grant_that_nobody_heard_of_goes_back(make: Maker, monkeypatch: pytest.MonkeyPatch):
    """The answer to a lease got lost, and nothing more is asked for: the next second's writing puts it right."""
    budgets, other, who = make(), make(), spender(MoneyBudget(1_000_000, "total"))
    run = budgets._database.run

    async def deaf(work):
        await run(work)
        raise Unavailable("lost")

    monkeypatch.setattr(budgets._database, "run", deaf)
    with pytest.raises(Unavailable):
        await budgets.reserve(who, 900_000)
    monkeypatch.setattr(budgets._database, "run", run)
    with pytest.raises(LimitReached):
        await other.reserve(who, 1_000_000)
    await budgets.tidy()
    assert await make().reserve(who, 1_000_000)


async def test_a_write_that_comes_late_changes_nothing(make: Maker, control: storage.Database, clock, monkeypatch):
    """A return that was given up as lost, and lands after a newer lease, must not take that lease away."""
    budgets, who = make(), spender(MoneyBudget(1_000_000, "total"))
    budgets.settle(await budgets.reserve(who, 100), 100)
    run, stalled = budgets._database.run, []

    async def stalls(work):
        stalled.append(work)
        raise Unavailable("no answer")

    monkeypatch.setattr(budgets._database, "run", stalls)
    clock.advance(31)
    await budgets.tidy()
    monkeypatch.setattr(budgets._database, "run", run)
    reservation = await budgets.reserve(who, 500_000)
    before = books(control, who.accounts[0].id)
    with pytest.raises(Late):
        control.transact(stalled[0])
    assert books(control, who.accounts[0].id) == before
    budgets.settle(reservation, 500_000)


@pytest.mark.parametrize("seed", range(3))
async def test_64_callers_in_two_processes_never_overshoot(make: Maker, control: storage.Database, seed: int):
    """C6 and the issue's property: 64-way concurrency, random estimates and costs, two processes, one purse."""
    dice = random.Random(seed)
    limit = 100_000_000
    processes, who = [make(), make()], spender(MoneyBudget(limit, "month"))
    settled = refused = 0

    async def work(budgets: Budgets) -> None:
        nonlocal settled, refused
        for _ in range(25):
            estimate = dice.randint(1, limit // 150)
            try:
                reservation = await budgets.reserve(who, estimate)
            except LimitReached:
                refused += 1
                continue
            await asyncio.sleep(dice.random() * 0.002)
            cost = dice.randint(0, estimate)
            if dice.random() < 0.1:
                budgets.release(reservation)
            else:
                budgets.settle(reservation, cost)
                settled += cost
            assert settled <= limit

    await asyncio.gather(*(work(processes[number % 2]) for number in range(64)))
    assert refused, "the purse ran dry"
    for budgets in processes:
        await budgets.stop()
    assert books(control, who.accounts[0].id) == (settled, settled)
    assert settled >= limit * 0.8


OPERATIONS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.one_of(
            st.tuples(st.just("reserve"), st.integers(0, 600)),
            st.tuples(st.just("settle"), st.integers(0, 150)),
            st.tuples(st.just("release"), st.just(0)),
            st.tuples(st.just("tidy"), st.sampled_from([0, 2, 40])),
            st.tuples(st.just("crash"), st.just(0)),
            st.tuples(st.just("restart"), st.just(0)),
        ),
    ),
    max_size=40,
)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory):
    """One SQLite database for all examples of a property: each takes purses of its own."""
    database = storage.open_database("control", tmp_path_factory.mktemp("budgets") / "control.db")
    storage.migrate(database)
    yield database
    database.close()


@settings(max_examples=60, deadline=None)
@given(operations=OPERATIONS, limit=st.integers(1, 2_000), share=st.sampled_from([0.01, 0.2, 1.0]))
def test_any_history_keeps_the_books(ledger: storage.Database, operations, limit: int, share: float):
    asyncio.run(_history(ledger, operations, limit, share))


async def _history(ledger: storage.Database, operations, limit: int, share: float) -> None:
    """Two processes that reserve, settle (also more than reserved), idle, crash and restart, against a plain model."""
    clock = ManualClock()
    options = Settings(lease_share=share, lease_minimum="0.00000002")
    processes = [Budgets(ledger, clock, options) for _ in range(2)]
    who = spender(MoneyBudget(limit, "total"))
    account = who.accounts[0].id
    open_: list[list[Reservation]] = [[], []]
    settled = over = 0
    crashed = False

    async def quiet() -> None:
        for budgets in processes:
            for piece in budgets._slices.values():
                while piece.operation is not None:
                    await piece.operation

    for which, (what, number) in operations:
        budgets, mine = processes[which], open_[which]
        if what == "reserve":
            try:
                mine.append(await budgets.reserve(who, number))
            except LimitReached:
                clock.advance(1.1)
                leased = (await budgets.state(who.accounts[0])).left
                free = sum(piece.free for piece in budgets._slices.values())
                assert number > leased + free, "refused although there was enough"
        elif what in ("settle", "release") and mine:
            reservation = mine.pop(0)
            cost = reservation.nano * number // 100 if what == "settle" else 0
            settled += cost
            over += max(0, cost - reservation.nano)
            budgets.settle(reservation, cost)
            budgets.settle(reservation, cost + 1)  # idempotent: counts once
        elif what == "tidy":
            clock.advance(number)
            await budgets.tidy()
        elif what in ("crash", "restart"):
            await quiet()  # what is under way at the database happens, or does not: both are tried elsewhere
            if what == "restart":
                for reservation in mine:
                    settled += reservation.nano
                    budgets.settle(reservation, reservation.nano)
                await budgets.stop()
            crashed = crashed or (what == "crash" and bool(budgets._slices))
            mine.clear()
            processes[which] = Budgets(ledger, clock, options)
        await quiet()
        reserved = sum(reservation.nano for pile in open_ for reservation in pile)
        assert settled + reserved <= limit + over
        leased = books(ledger, account)[0]
        assert settled + reserved <= leased <= limit + over
    for budgets, mine in zip(processes, open_, strict=True):
        for reservation in mine:
            settled += reservation.nano
            budgets.settle(reservation, reservation.nano)
        await budgets.stop()
    leased, spent = books(ledger, account)
    assert settled <= limit + over
    if not crashed:
        assert (leased, spent) == (settled, settled)


async def test_small_calls_are_served_where_large_ones_cannot_be(make: Maker):
    budgets, who = make(), spender(MoneyBudget(1_000, "total"))
    calls = [budgets.reserve(who, nano) for nano in (900, 100, 5_000, 300, 200, 1_200)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(answer, LimitReached) for answer in answers] == [True, False, True, False, False, True]


async def test_what_was_estimated_too_high_goes_back_under_traffic(make: Maker, clock: ManualClock):
    budgets, who = make(), spender(MoneyBudget(100 * NANO, "total"))
    budgets.release(await budgets.reserve(who, 60 * NANO))
    for _ in range(120):
        clock.advance(0.5)
        budgets.settle(await budgets.reserve(who, 1_000), 1_000)
        await asyncio.sleep(0.002)
        await budgets.tidy()
    other = make()
    assert await other.reserve(who, 90 * NANO)


async def test_most_reservations_wait_for_nothing(make: Maker):
    """Ahead of need: also where single calls are larger than the usual slice."""
    for estimate in (NANO // 1_000, NANO):
        budgets, who = make(), spender(MoneyBudget(1_000 * NANO, "month"))
        waited = 0
        for _ in range(300):
            reservation = budgets.reserve_now(who, estimate)
            if reservation is None:
                waited += 1
                reservation = await budgets.reserve(who, estimate)
            await asyncio.sleep(0.001)
            budgets.settle(reservation, estimate // 2)
        assert waited <= 6


async def test_a_clock_set_back_into_an_ended_period_finds_it_as_it_was(
    make: Maker, control: storage.Database, clock: ManualClock
):
    """D3."""
    budgets, who = make(), spender(MoneyBudget(1_000, "day"))
    budgets.settle(await budgets.reserve(who, 600), 600)
    clock.jump(86_400)
    await budgets.tidy()
    await budgets.tidy()
    budgets.settle(await budgets.reserve(who, 1_000), 1_000)
    clock.jump(-86_400)
    with pytest.raises(LimitReached):
        await budgets.reserve(who, 401)
    budgets.settle(await budgets.reserve(who, 400), 400)
    await budgets.stop()
    assert books(control, who.accounts[0].id) == (2_000, 2_000)
