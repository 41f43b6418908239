"""Single-flight: one upstream call whoever comes and goes, and what each caller gets."""

import asyncio
import gc
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.cache.flights import Flight, Flights, Private, Seat, Sharing
from ostinato.core.clock import ManualClock, SystemClock
from ostinato.core.errors import LimitReached, Unavailable, UpstreamFailed
from ostinato.storage.records_sqlite import SqliteRecordStore

KEY = b"k" * 32


class Upstream:
    """A model that answers in parts, when it is let."""

    def __init__(self, parts: int = 3) -> None:
        self.parts = parts
        self.calls = 0
        self.cancelled = 0
        self.finished = 0
        self.go = asyncio.Event()
        self.begun = asyncio.Event()

    async def produce(self, flight: Flight[int, str]) -> str:
        self.calls += 1
        self.begun.set()
        try:
            for part in range(self.parts):
                if part == self.parts // 2:
                    await self.go.wait()
                await flight.emit(part, 10)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.finished += 1
        return f"answer {self.calls}"


@pytest.fixture
async def flights():
    flights: Flights[int, str] = Flights(SystemClock())
    yield flights
    await flights.stop()


async def take(seat: Seat[int, str]) -> tuple[list[int], str]:
    with seat:
        parts = [part async for part in seat]
        return parts, await seat.outcome()


async def wait_for(seat: Seat[int, str]) -> str:
    with seat:
        return await seat.outcome()


@pytest.mark.parametrize("first_hangs_up", [False, True])
@pytest.mark.parametrize("mixed", [False, True], ids=["streams", "streams and plain"])
async def test_a_thousand_identical_misses_make_one_call(
    flights: Flights[int, str], first_hangs_up: bool, mixed: bool
) -> None:
    upstream = Upstream(20)
    seats = [flights.start_or_join(KEY, upstream.produce, stream=not mixed or n % 2 == 0) for n in range(1_000)]
    callers = [asyncio.create_task(take(seat) if seat.stream else wait_for(seat)) for seat in seats]
    await upstream.begun.wait()
    await asyncio.sleep(0)
    if first_hangs_up:
        callers[0].cancel()
    late = [asyncio.create_task(take(flights.start_or_join(KEY, upstream.produce, stream=True))) for _ in range(10)]
    await asyncio.sleep(0)
    upstream.go.set()
    results = await asyncio.gather(*callers, *late, return_exceptions=True)
    if first_hangs_up:
        assert isinstance(results.pop(0), asyncio.CancelledError)
    assert upstream.calls == 1
    for result in results:
        assert result in ((list(range(20)), "answer 1"), "answer 1")
    assert sum(seat.pays for seat in seats) == 1
    assert seats[0].pays
    assert (flights.started, flights.open) == (1, 0)


async def test_after_it_landed_the_next_caller_starts_anew(flights: Flights[int, str]) -> None:
    upstream = Upstream()
    upstream.go.set()
    assert await take(flights.start_or_join(KEY, upstream.produce, stream=True)) == ([0, 1, 2], "answer 1")
    assert await wait_for(flights.start_or_join(KEY, upstream.produce)) == "answer 2"
    assert await wait_for(flights.start_or_join(b"other" * 8, upstream.produce)) == "answer 3"


async def test_when_everybody_has_hung_up_the_call_is_cancelled(flights: Flights[int, str]) -> None:
    upstream = Upstream()
    callers = [asyncio.create_task(wait_for(flights.start_or_join(KEY, upstream.produce))) for _ in range(5)]
    await upstream.begun.wait()
    for caller in callers[:-1]:
        caller.cancel()
    await asyncio.sleep(0.01)
    assert upstream.cancelled == 0
    callers[-1].cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await asyncio.sleep(0)
    assert (upstream.calls, upstream.cancelled, flights.open, flights.abandoned) == (1, 1, 0, 1)


async def test_a_caller_who_leaves_before_the_call_has_begun_leaves_nothing_behind(flights: Flights[int, str]) -> None:
    upstream = Upstream()
    flights.start_or_join(KEY, upstream.produce).leave()
    await asyncio.sleep(0.01)
    assert (upstream.calls, flights.open) == (0, 0)


async def test_a_new_caller_does_not_join_a_call_that_is_being_cancelled(flights: Flights[int, str]) -> None:
    upstream = Upstream()
    upstream.go.set()
    flights.start_or_join(KEY, upstream.produce).leave()
    assert await wait_for(flights.start_or_join(KEY, upstream.produce)) == "answer 1"


async def test_a_call_to_be_finished_goes_on_without_callers(flights: Flights[int, str]) -> None:
    upstream = Upstream()
    caller = asyncio.create_task(wait_for(flights.start_or_join(KEY, upstream.produce, finish=True)))
    await upstream.begun.wait()
    caller.cancel()
    await asyncio.sleep(0.01)
    upstream.go.set()
    await asyncio.sleep(0.01)
    assert (upstream.finished, upstream.cancelled, flights.open) == (1, 0, 0)


async def test_a_failure_of_the_starters_own_elects_a_follower(flights: Flights[int, str]) -> None:
    upstream = Upstream()
    upstream.go.set()

    async def out_of_money(flight: Flight[int, str]) -> str:
        await asyncio.sleep(0.01)
        raise Private(LimitReached("The budget of this key is spent."))

    seats = [flights.start_or_join(KEY, out_of_money, stream=True) for _ in range(2)]
    seats += [flights.start_or_join(KEY, upstream.produce, stream=stream) for stream in (True, False, True)]
    results = await asyncio.gather(
        *(take(seat) if seat.stream else wait_for(seat) for seat in seats), return_exceptions=True
    )
    assert [type(result) for result in results[:2]] == [LimitReached, LimitReached]
    assert results[2:] == [([0, 1, 2], "answer 1"), "answer 1", ([0, 1, 2], "answer 1")]
    assert [seat.pays for seat in seats] == [False, False, True, False, False]
    assert (upstream.calls, flights.elected, flights.started) == (1, 2, 1)


async def test_a_short_deadline_of_the_leader_fails_the_leader_only(flights: Flights[int, str]) -> None:
    upstream = Upstream()

    async def hurried(flight: Flight[int, str]) -> str:
        try:
            async with asyncio.timeout(0.01):
                return await upstream.produce(flight)
        except TimeoutError:
            raise Private(Unavailable("This caller's deadline has passed.")) from None

    leader = flights.start_or_join(KEY, hurried)
    follower = flights.start_or_join(KEY, upstream.produce)
    with pytest.raises(Unavailable, match="deadline"):
        await wait_for(leader)
    upstream.go.set()
    assert await wait_for(follower) == "answer 2"
    assert follower.pays


async def test_who_has_had_a_part_cannot_go_on_with_another_answer(flights: Flights[int, str]) -> None:
    read = asyncio.Event()

    async def breaks_off(flight: Flight[int, str]) -> str:
        await flight.emit(7, 1)
        await read.wait()
        raise Private(LimitReached("spent"))

    upstream = Upstream()
    upstream.go.set()
    leader = flights.start_or_join(KEY, breaks_off, stream=True)
    reader = flights.start_or_join(KEY, upstream.produce, stream=True)
    unread = flights.start_or_join(KEY, upstream.produce, stream=True)
    plain = asyncio.create_task(wait_for(flights.start_or_join(KEY, upstream.produce)))
    assert await anext(reader) == 7
    read.set()
    with pytest.raises(LimitReached):
        await wait_for(leader)
    with pytest.raises(UpstreamFailed) as caught:
        await anext(reader)
    assert caught.value.code == "flight_interrupted"
    assert await take(unread) == ([0, 1, 2], "answer 1")
    assert await plain == "answer 1"


async def test_an_upstream_failure_is_everybodys_after_what_had_come(flights: Flights[int, str]) -> None:
    async def fails(flight: Flight[int, str]) -> str:
        await flight.emit(1, 1)
        await flight.emit(2, 1)
        await asyncio.sleep(0.01)
        raise UpstreamFailed("It broke.")

    seats = [flights.start_or_join(KEY, fails, stream=True) for _ in range(3)]
    plain = flights.start_or_join(KEY, fails)
    for seat in seats:
        assert [await anext(seat), await anext(seat)] == [1, 2]
    for seat in seats:
        with pytest.raises(UpstreamFailed):
            await anext(seat)
        with pytest.raises(UpstreamFailed):
            await seat.outcome()
    with pytest.raises(UpstreamFailed):
        await plain.outcome()
    assert (flights.started, flights.elected) == (1, 0)


async def test_a_withdrawal_in_between_is_not_joined_over() -> None:
    count = 0
    flights: Flights[int, str] = Flights(SystemClock(), withdrawals=lambda: count)
    upstream = Upstream()
    before = flights.start_or_join(KEY, upstream.produce)
    count = 1
    after = flights.start_or_join(KEY, upstream.produce)
    joined = flights.start_or_join(KEY, upstream.produce)
    assert before.flight is not after.flight
    assert joined.flight is after.flight
    assert (before.flight.begun, after.flight.begun) == (0, 1)
    upstream.go.set()
    for seat in (before, after, joined):
        await wait_for(seat)
    assert upstream.calls == 2


async def test_a_slow_reader_holds_up_nobody_and_is_cut_off() -> None:
    flights: Flights[int, str] = Flights(SystemClock(), buffer_bytes=1_000)
    upstream = Upstream(1_000)
    upstream.go.set()
    fast = flights.start_or_join(KEY, upstream.produce, stream=True)
    slow = flights.start_or_join(KEY, upstream.produce, stream=True)
    assert await anext(slow) == 0
    assert await take(fast) == (list(range(1_000)), "answer 1")
    with pytest.raises(Unavailable) as caught:
        await anext(slow)
    assert caught.value.code == "stream_lagging"
    slow.leave()


async def test_the_only_reader_slows_the_call_down_instead_of_filling_memory() -> None:
    flights: Flights[int, str] = Flights(SystemClock(), buffer_bytes=1_000)
    emitted = 0

    async def produce(flight: Flight[int, str]) -> str:
        nonlocal emitted
        for number in range(1_000):
            emitted = number
            await flight.emit(number, 100)
        return "done"

    seat = flights.start_or_join(KEY, produce, stream=True)
    await asyncio.sleep(0.01)
    assert emitted <= 11
    got: list[int] = []
    async for number in seat:
        got.append(number)
        assert emitted - number <= 12
        if number % 100 == 0:
            await asyncio.sleep(0)
    assert got == list(range(1_000))
    assert await seat.outcome() == "done"
    assert len(flights.start_or_join(KEY, produce, stream=True).flight.seats) == 1
    await flights.stop()


async def test_two_who_hand_out_batches_both_wait_for_room() -> None:
    flights: Flights[int, str] = Flights(SystemClock(), buffer_bytes=500)
    upstream = Upstream(200)
    upstream.go.set()
    seat = flights.start_or_join(KEY, upstream.produce, stream=True)

    async def keep_alive() -> None:
        for _ in range(200):
            await seat.flight.emit(-1, 0)

    beside = asyncio.create_task(keep_alive())
    async with asyncio.timeout(5):
        parts, result = await take(seat)
    assert [part for part in parts if part >= 0] == list(range(200))
    assert result == "answer 1"
    async with asyncio.timeout(5):
        await beside
    await seat.flight.emit(-1, 0)
    assert seat.flight.next_batch(seat) is None, "nothing comes after the end"


@pytest.mark.parametrize("then", ["leaves", "wants only the end"])
async def test_a_reader_who_stops_reading_does_not_hold_the_call_for_ever(then: str) -> None:
    flights: Flights[int, str] = Flights(SystemClock(), buffer_bytes=100)
    upstream = Upstream(1_000)
    upstream.go.set()
    reader = flights.start_or_join(KEY, upstream.produce, stream=True)
    plain = asyncio.create_task(wait_for(flights.start_or_join(KEY, upstream.produce)))
    await asyncio.sleep(0.01)
    assert not plain.done()
    if then == "leaves":
        reader.leave()
    else:
        assert await reader.outcome() == "answer 1"
    assert await plain == "answer 1"


async def test_a_flight_whose_beginning_is_forgotten_is_not_joined() -> None:
    flights: Flights[int, str] = Flights(SystemClock(), buffer_bytes=100)
    upstream = Upstream(100)
    plain = asyncio.create_task(wait_for(flights.start_or_join(KEY, upstream.produce)))
    await upstream.begun.wait()
    for _ in range(60):
        await asyncio.sleep(0)
    late = asyncio.create_task(take(flights.start_or_join(KEY, upstream.produce, stream=True)))
    await asyncio.sleep(0.01)
    upstream.go.set()
    assert (await late)[0] == list(range(100))
    await plain
    assert upstream.calls == 2


async def test_beyond_the_bound_calls_are_made_without_joining() -> None:
    flights: Flights[int, str] = Flights(SystemClock(), most=2)
    upstream = Upstream()
    seats = [flights.start_or_join(os.urandom(32), upstream.produce) for _ in range(2)]
    seats += [flights.start_or_join(KEY, upstream.produce) for _ in range(2)]
    assert seats[2].flight is not seats[3].flight
    upstream.go.set()
    for seat in seats:
        await wait_for(seat)
    assert upstream.calls == 4


async def test_stopping_tells_whoever_waits_also_for_a_call_that_had_not_begun() -> None:
    flights: Flights[int, str] = Flights(SystemClock())
    upstream = Upstream()
    waiting = asyncio.create_task(wait_for(flights.start_or_join(KEY, upstream.produce)))
    await upstream.begun.wait()
    fresh = flights.start_or_join(b"f" * 32, upstream.produce)
    await flights.stop()
    for caller in (waiting, wait_for(fresh)):
        with pytest.raises(Unavailable):
            await caller
    assert flights.open == 0


async def test_stopping_lets_calls_end_within_the_grace() -> None:
    flights: Flights[int, str] = Flights(SystemClock())
    upstream = Upstream()
    waiting = asyncio.create_task(wait_for(flights.start_or_join(KEY, upstream.produce)))
    await upstream.begun.wait()
    asyncio.get_running_loop().call_later(0.02, upstream.go.set)
    await flights.stop(grace=5)
    assert await waiting == "answer 1"


async def test_a_finished_flight_leaves_no_garbage_cycle(flights: Flights[int, str]) -> None:
    upstream = Upstream()
    upstream.go.set()
    await take(flights.start_or_join(KEY, upstream.produce, stream=True))
    gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await take(flights.start_or_join(KEY, upstream.produce, stream=True))
        await asyncio.sleep(0)
        assert sum(isinstance(thing, Flight | Seat) for thing in gc.get_objects()) == 0
    finally:
        gc.enable()


CALLER = st.tuples(
    st.integers(0, 4), st.sampled_from(["stays", "leaves"]), st.booleans(), st.sampled_from(["ok", "private"])
)


@settings(max_examples=150, deadline=None)
@given(st.lists(CALLER, min_size=1, max_size=8), st.sampled_from(["ok", "fails"]), st.integers(0, 5))
def test_whoever_stays_gets_the_whole_answer_or_an_error(
    callers: list[tuple[int, str, bool, str]], end: str, parts: int
) -> None:
    asyncio.run(_play(callers, end, parts))


async def _play(callers: list[tuple[int, str, bool, str]], end: str, parts: int) -> None:
    flights: Flights[int, str] = Flights(SystemClock())
    answers = 0

    def producer(means: str):
        async def produce(flight: Flight[int, str]) -> str:
            nonlocal answers
            if means == "private":
                await asyncio.sleep(0)
                raise Private(LimitReached("spent"))
            for part in range(parts):
                await flight.emit(part, 1)
                await asyncio.sleep(0)
            if end == "fails":
                raise UpstreamFailed("broke")
            answers += 1
            return "whole"

        return produce

    async def call(after: int, how: str, stream: bool, means: str):
        for _ in range(after):
            await asyncio.sleep(0)
        with flights.start_or_join(KEY, producer(means), stream=stream) as seat:
            if how == "leaves":
                await asyncio.sleep(0)
                return None
            got = [part async for part in seat] if stream else list(range(parts))
            result = await seat.outcome()
            assert got == list(range(parts))
            return seat.pays, result

    results = await asyncio.gather(*(call(*caller) for caller in callers), return_exceptions=True)
    for caller, result in zip(callers, results, strict=True):
        if caller[1] == "leaves":
            assert result is None
        elif isinstance(result, LimitReached):
            assert caller[3] == "private"
        elif isinstance(result, UpstreamFailed):
            assert end == "fails" or result.code == "flight_interrupted"
        else:
            assert not isinstance(result, BaseException)
            assert result[1] == "whole"
    paid = sum(isinstance(result, tuple) and result[0] for result in results)
    assert paid <= answers
    await asyncio.sleep(0)
    assert flights.open == 0


class Process:
    """One of several processes that share a store of leases and answers."""

    def __init__(self, store: SqliteRecordStore, answers: dict[bytes, str], owner: str, clock) -> None:
        self.flights: Flights[int, str] = Flights(clock)
        self.flights.sharing = Sharing(store, owner, 30.0, self.written)
        self.answers = answers
        self.calls = 0
        self.go = asyncio.Event()
        self.waits: dict[bytes, str] = {}

    async def written(self) -> None:
        self.answers.update(self.waits)

    async def produce(self, flight: Flight[int, str]) -> str:
        self.calls += 1
        await self.go.wait()
        self.waits[KEY] = "answer"
        return "answer"

    async def recall(self) -> str | None:
        return self.answers.get(KEY)

    def ask(self) -> Seat[int, str]:
        return self.flights.start_or_join(KEY, self.produce, recall=self.recall)


@pytest.fixture
async def store(tmp_path):
    store = SqliteRecordStore(tmp_path / "cache.db")
    await store.start()
    yield store
    await store.close()


async def test_processes_take_turns_by_a_lease_and_one_pays(store: SqliteRecordStore) -> None:
    answers: dict[bytes, str] = {}
    processes = [Process(store, answers, f"p{n}", SystemClock()) for n in range(3)]
    seats = [process.ask() for process in processes for _ in range(5)]
    waiting = [asyncio.create_task(wait_for(seat)) for seat in seats]
    await asyncio.sleep(0.05)
    assert sum(process.calls for process in processes) == 1
    for process in processes:
        process.go.set()
    assert await asyncio.gather(*waiting) == ["answer"] * 15
    assert sum(process.calls for process in processes) == 1
    assert sum(seat.pays for seat in seats) == 1
    assert sum(process.flights.recalled for process in processes) == 2


async def test_a_process_waits_only_briefly_for_another(store: SqliteRecordStore) -> None:
    clock = ManualClock()
    answers: dict[bytes, str] = {}
    hung, other = (Process(store, answers, owner, clock) for owner in ("hung", "other"))
    first = asyncio.create_task(wait_for(hung.ask()))
    await asyncio.sleep(0.02)
    assert hung.calls == 1
    second = asyncio.create_task(wait_for(other.ask()))
    other.go.set()
    for _ in range(60):
        await asyncio.sleep(0.003)
        clock.advance(0.05)
    assert await second == "answer"
    assert other.calls == 1
    first.cancel()


async def test_a_lease_server_that_is_away_stops_no_call(tmp_path) -> None:
    closed = SqliteRecordStore(tmp_path / "never-opened.db")
    process = Process(closed, {}, "p", SystemClock())

    async def away(*_: object) -> bool:
        raise Unavailable("The store is away.")

    closed.acquire_lease = away
    process.go.set()
    assert await wait_for(process.ask()) == "answer"
