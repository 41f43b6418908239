"""A flight: one upstream call, its buffer of what has come so far, and the seats of those who wait for it."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, TypeVar

from ostinato.core.errors import Unavailable, UpstreamFailed

B = TypeVar("B")
R = TypeVar("R")

BUFFER_BYTES = 4 * 1_048_576
"""What a flight keeps of a stream. Beyond it nobody may join any more, and who lags further behind is cut off."""
_BATCH_BYTES = 64
"""What a batch costs beside its weight: also empty ones fill the buffer."""


class Private(Exception):
    """Raised by ``produce``: ``error`` concerns only the caller whose means were used."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


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
        self._room: asyncio.Event | None = None

    async def emit(self, batch: B, weight: int) -> None:
        """Hand a batch to everybody. Waits only while the *fastest* reader lags by more than the whole buffer."""
        if self.done:
            return
        self._batches.append(batch)
        self._weights.append(weight + _BATCH_BYTES)
        self._bytes += weight + _BATCH_BYTES
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
                if self._room is None:
                    self._room = asyncio.Event()
                self._room.clear()
                await self._room.wait()
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
        """A reader has moved: there may be room in the buffer."""
        if self._room is not None:
            self._room.set()

    def elect(self) -> "Seat[B, R] | None":
        """After a private failure: the next caller that has had nothing yet. Those who have had a part cannot go on."""
        self._batches.clear()
        self._weights.clear()
        self._bytes = self._start = 0
        self.wake_producer()
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
        "_abandon",
        "_error",
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
        flight: Flight[B, R],
        abandon: Callable[[Flight[B, R]], None],
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
        self._abandon = abandon
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

    def _wait(self, *, reading: bool) -> "asyncio.Future[None]":
        self._reading = reading
        self._waiter = waiter = asyncio.get_running_loop().create_future()
        return waiter

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
            self._abandon(flight)

    def __enter__(self) -> "Seat[B, R]":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()
