"""Single-flight: any number of identical misses make one upstream call, streamed or not.

The call runs in a task of its own, owned by the flight: whoever started it may hang up while others wait. A failure
that is private to the starter (raised as :class:`Private`: its deadline, its budget) lets the next waiting caller
try with its own means; every other failure is everybody's. One caller pays; ``Seat.pays`` tells who.

Usage, right after a last look into memory and without awaiting in between::

    with flights.start_or_join(key, produce, stream=True) as seat:
        async for batch in seat:
            ...
        result = await seat.outcome()

``produce(flight)`` makes the call, hands out what arrives with ``await flight.emit(batch, weight)``, stores the
answer, and returns the result. ``flight.begun`` is what it gives to ``ResponseCache.put``.
"""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Protocol, TypeVar

from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError, Unavailable, UpstreamFailed

B = TypeVar("B")
R = TypeVar("R")

_BUFFER_BYTES = 4 * 1_048_576
"""What a flight keeps of a stream. Beyond it nobody may join any more, and who lags further behind is cut off."""
_RECALL_SECONDS = 2.0
"""How long a process waits for the answer of another one that holds the lease."""
_RECALL_PAUSES = (0.02, 0.03, 0.05, 0.1)


class Private(Exception):
    """Raised by ``produce``: ``error`` concerns only the caller whose means were used."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class Leases(Protocol):
    """What keeps processes apart: ``storage.RecordStore`` is one."""

    async def acquire_lease(self, key: bytes, owner: str, seconds: float) -> bool: ...

    async def release_lease(self, key: bytes, owner: str) -> None: ...


class Sharing:
    """How flights of several processes find each other."""

    def __init__(self, leases: Leases, owner: str, seconds: float, written: Callable[[], Awaitable[object]]) -> None:
        self.leases = leases
        self.owner = owner
        """Of this process; random."""
        self.seconds = seconds
        self.written = written
        """Awaited before a lease is given back: the answer must be where the others look for it."""


class Flight(Generic[B, R]):
    """One upstream call and those who wait for it."""

    __slots__ = (
        "_batches",
        "_bytes",
        "_limit",
        "_room",
        "_start",
        "_weights",
        "begun",
        "done",
        "error",
        "finish",
        "key",
        "open",
        "recalled",
        "result",
        "seats",
        "task",
    )

    def __init__(self, key: bytes, begun: int, limit: int) -> None:
        self.key = key
        self.begun = begun
        """Count of withdrawals when the call began."""
        self.seats: dict[Seat[B, R], None] = {}
        self.finish = False
        """Whether the call goes on when everybody has left."""
        self.open = True
        """Whether others may still join."""
        self.done = False
        self.recalled = False
        """The answer came from another process: nobody here pays."""
        self.result: R | None = None
        self.error: Exception | None = None
        self.task: asyncio.Task[None] | None = None
        self._batches: list[B] = []
        self._weights: list[int] = []
        self._start = 0
        self._bytes = 0
        self._limit = limit
        self._room: asyncio.Future[None] | None = None

    async def emit(self, batch: B, weight: int) -> None:
        """Hand a batch to everybody. Waits only while the *fastest* reader lags by more than the whole buffer."""
        self._batches.append(batch)
        self._weights.append(weight)
        self._bytes += weight
        for seat in self.seats:
            seat.wake_reader()
        while self._bytes > self._limit:
            self.open = False
            readers = [seat for seat in self.seats if seat.stream]
            self._trim(readers)
            if self._bytes <= self._limit:
                return
            fastest = max(seat.position for seat in readers)
            if sum(self._weights[fastest - self._start :]) > self._limit:
                self._room = asyncio.get_running_loop().create_future()
                await self._room
                continue
            for seat in readers:
                if seat.position == self._start:
                    seat.fail(
                        Unavailable(
                            "The stream was read too slowly while others waited for the same answer.",
                            code="stream_lagging",
                            hint="Ask again: the answer is likely to be cached by now.",
                        )
                    )

    @property
    def emitted(self) -> int:
        """Batches handed out so far."""
        return self._start + len(self._batches)

    def nudge(self, batch: B) -> None:
        """Hand out a batch of no weight without waiting, such as an empty one that keeps readers' connections alive."""
        if not self.done:
            self._batches.append(batch)
            self._weights.append(0)
            for seat in self.seats:
                seat.wake_reader()

    def _trim(self, readers: "list[Seat[B, R]]") -> None:
        """Forget what every reader has had."""
        end = self._start + len(self._batches)
        had = min((seat.position for seat in readers), default=end) - self._start
        if had > 0:
            self._bytes -= sum(self._weights[:had])
            del self._batches[:had], self._weights[:had]
            self._start += had

    def next_batch(self, seat: "Seat[B, R]") -> B | None:
        """The batch at the seat's position, or ``None`` where nothing has come yet."""
        at = seat.position - self._start
        if at >= len(self._batches):
            return None
        seat.position += 1
        self.wake_producer()
        return self._batches[at]

    def wake_producer(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def elect(self) -> "Seat[B, R] | None":
        """After a private failure: the next caller that has had nothing yet. Those who have had a part cannot go on."""
        self._batches.clear()
        self._weights.clear()
        self._bytes = self._start = 0
        for seat in list(self.seats):
            if seat.position:
                seat.fail(
                    UpstreamFailed(
                        "The call that this request had joined was ended by the request that started it.",
                        code="flight_interrupted",
                        hint="Ask again.",
                    )
                )
        return next(iter(self.seats), None)

    def land(self, result: R | None, error: Exception | None) -> None:
        """The call is over: tell everybody."""
        self.done = True
        self.open = False
        self.result = result
        self.error = error
        for seat in self.seats:
            seat.wake()


class Seat(Generic[B, R]):
    """One caller's place in a flight. Iterating gives all batches from the first on; leave it when done (``with``)."""

    __slots__ = (
        "_error",
        "_flights",
        "_reading",
        "_waiter",
        "flight",
        "leads",
        "position",
        "produce",
        "recall",
        "stream",
    )

    def __init__(
        self,
        flights: "Flights[B, R]",
        flight: Flight[B, R],
        produce: Callable[[Flight[B, R]], Awaitable[R]],
        recall: Callable[[], Awaitable[R | None]] | None,
        stream: bool,
    ) -> None:
        self.flight = flight
        self.produce = produce
        self.recall = recall
        self.stream = stream
        self.position = 0
        self.leads = False
        """Whether the call is made with this caller's means (so far)."""
        self._flights = flights
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._reading = False

    @property
    def pays(self) -> bool:
        """Whether this caller settles at what the call cost; all others settle at zero."""
        return self.leads and not self.flight.recalled

    def __aiter__(self) -> "Seat[B, R]":
        return self

    async def __anext__(self) -> B:
        flight = self.flight
        while True:
            if self._error is not None:
                raise self._error.with_traceback(None)
            batch = flight.next_batch(self)
            if batch is not None:
                return batch
            if flight.done:
                if flight.error is not None:
                    raise flight.error.with_traceback(None)
                raise StopAsyncIteration
            await self._wait(reading=True)

    async def outcome(self) -> R:
        """What ``produce`` returned. Raises what it raised; own failures only to whom they belong."""
        flight = self.flight
        # Who waits for the end has read all it wants to: it must not hold back the others or the buffer.
        self.stream = False
        flight.wake_producer()
        while not flight.done and self._error is None:
            await self._wait(reading=False)
        error = self._error or flight.error
        if error is not None:
            raise error.with_traceback(None)
        return flight.result  # pyright: ignore[reportReturnType]: landed without an error, so it is the producer's R

    async def _wait(self, *, reading: bool) -> None:
        self._reading = reading
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def wake_reader(self) -> None:
        """Wake whoever waits for a batch; who waits for the end sleeps on."""
        if self._reading:
            self.wake()

    def fail(self, error: Exception) -> None:
        """End this seat alone."""
        self._error = error
        self.flight.seats.pop(self, None)
        self.wake()

    def leave(self) -> None:
        """Give up the place; the last to leave ends the call, unless it is to be finished. May be called twice."""
        flight = self.flight
        flight.seats.pop(self, None)
        if flight.done:
            return
        flight.wake_producer()
        if not flight.seats and not flight.finish:
            self._flights.abandon(flight)

    def __enter__(self) -> "Seat[B, R]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()


class Flights(Generic[B, R]):
    """All flights of this process. ``withdrawals`` gives ``ResponseCache.withdrawals``."""

    def __init__(
        self,
        clock: Clock,
        *,
        withdrawals: Callable[[], int] = lambda: 0,
        most: int = 10_000,
        buffer_bytes: int = _BUFFER_BYTES,
    ) -> None:
        self._clock = clock
        self._withdrawals = withdrawals
        self._most = most
        self._buffer_bytes = buffer_bytes
        self._joinable: dict[bytes, Flight[B, R]] = {}
        self._calls: dict[asyncio.Task[None], Flight[B, R]] = {}
        self.sharing: Sharing | None = None
        self.started = 0
        self.joined = 0
        self.elected = 0
        self.recalled = 0
        self.abandoned = 0

    @property
    def open(self) -> int:
        """Calls under way."""
        return len(self._calls)

    def start_or_join(
        self,
        key: bytes,
        produce: Callable[[Flight[B, R]], Awaitable[R]],
        *,
        stream: bool = False,
        finish: bool = False,
        recall: Callable[[], Awaitable[R | None]] | None = None,
    ) -> Seat[B, R]:
        """A place in the flight of ``key``, which is started if there is none.

        ``stream``: this caller will iterate over the batches. ``finish``: go on to the end though everybody leaves.
        ``recall`` looks for the answer in the shared tier, where other processes may have put it. A flight that began
        before the last withdrawal is not joined, since its answer may be what was withdrawn.
        """
        count = self._withdrawals()
        flight = self._joinable.get(key)
        if flight is not None and flight.open and flight.begun == count:
            seat = Seat(self, flight, produce, recall, stream)
            flight.seats[seat] = None
            flight.finish = flight.finish or finish
            self.joined += 1
            return seat
        flight = Flight[B, R](key, count, self._buffer_bytes)
        seat = Seat(self, flight, produce, recall, stream)
        flight.seats[seat] = None
        flight.finish = finish
        if len(self._calls) < self._most:
            self._joinable[key] = flight
        flight.task = task = asyncio.get_running_loop().create_task(self._run(flight, seat))
        self._calls[task] = flight
        task.add_done_callback(self._ended)
        self.started += 1
        return seat

    def abandon(self, flight: Flight[B, R]) -> None:
        """Cancel the call of a flight that nobody waits for."""
        self._forget(flight)
        self.abandoned += 1
        if flight.task is not None:
            flight.task.cancel()

    async def stop(self, grace: float = 0.0) -> None:
        """Wait up to ``grace`` seconds for calls under way, then cancel them: who still waits gets ``Unavailable``."""
        if self._calls and grace > 0:
            await asyncio.wait(self._calls, timeout=grace)
        for task in self._calls:
            task.cancel()
        if self._calls:
            await asyncio.gather(*self._calls, return_exceptions=True)

    async def _run(self, flight: Flight[B, R], starter: Seat[B, R]) -> None:
        sharing = self.sharing
        leased = False
        result: R | None = None
        if sharing is not None and starter.recall is not None:
            leased, result = await self._ask_others(sharing, flight, starter.recall)
        if result is not None:
            flight.recalled = True
            self.recalled += 1
            self._land(flight, result, None)
        else:
            await self._produce(flight, starter)
        if leased and sharing is not None:
            await self._give_back(sharing, flight.key)

    async def _produce(self, flight: Flight[B, R], seat: Seat[B, R] | None) -> None:
        """Make the call, with one caller's means after the other's where they fail privately."""
        error: Exception | None = None
        while seat is not None:
            seat.leads = True
            try:
                self._land(flight, await seat.produce(flight), None)
                return
            except Private as private:
                seat.leads = False
                error = private.error
                seat.fail(error)
                seat = flight.elect()
                flight.begun = self._withdrawals()
                self.elected += seat is not None
            except Exception as failure:
                error = failure
                break
        self._land(flight, None, error)

    def _land(self, flight: Flight[B, R], result: R | None, error: Exception | None) -> None:
        # Nothing is awaited between storing and this: who comes now finds either the flight or what it has stored.
        self._forget(flight)
        flight.land(result, error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Also of a task that was cancelled before its first step, whose own clean-up never runs."""
        flight = self._calls.pop(task)
        if not flight.done:
            self._land(
                flight,
                None,
                Unavailable("The call was cancelled because the server is stopping.", code="stopping", retry_after=1.0),
            )

    async def _ask_others(
        self, sharing: Sharing, flight: Flight[B, R], recall: Callable[[], Awaitable[R | None]]
    ) -> tuple[bool, R | None]:
        """Whether we hold the lease, and what another process has found out meanwhile. Trouble counts as neither."""
        try:
            if await sharing.leases.acquire_lease(flight.key, sharing.owner, sharing.seconds):
                return True, None
            end = self._clock.monotonic() + _RECALL_SECONDS
            turn = 0
            while self._clock.monotonic() < end:
                await self._clock.sleep(_RECALL_PAUSES[min(turn, len(_RECALL_PAUSES) - 1)])
                turn += 1
                found = await recall()
                if found is not None:
                    return False, found
                if await sharing.leases.acquire_lease(flight.key, sharing.owner, sharing.seconds):
                    # Given back, or run out: what its holder stored may have come in between the two questions.
                    return True, await recall()
        except OstinatoError:
            pass
        return False, None

    async def _give_back(self, sharing: Sharing, key: bytes) -> None:
        try:
            await sharing.written()
            await sharing.leases.release_lease(key, sharing.owner)
        except OstinatoError:
            pass  # it runs out by itself

    def _forget(self, flight: Flight[B, R]) -> None:
        flight.open = False
        if self._joinable.get(flight.key) is flight:
            del self._joinable[flight.key]
