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
from typing import Generic, Protocol

from ostinato.cache.flight import BUFFER_BYTES, B, Flight, Private, R, Seat
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError, Unavailable

__all__ = ["Flight", "Flights", "Leases", "Private", "Seat", "Sharing"]

_RECALL_SECONDS = 2.0
"""How long a process waits for the answer of another one that holds the lease."""
_RECALL_PAUSES = (0.02, 0.03, 0.05, 0.1)


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


class Flights(Generic[B, R]):
    """All flights of this process. ``withdrawals`` gives ``ResponseCache.withdrawals``."""

    def __init__(
        self,
        clock: Clock,
        *,
        withdrawals: Callable[[], int] = lambda: 0,
        most: int = 10_000,
        buffer_bytes: int = BUFFER_BYTES,
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
        under_way = self._joinable.get(key)
        if under_way is not None and under_way.open and under_way.begun == count:
            seat = Seat(under_way, self._abandon, produce, recall, stream)
            under_way.seats[seat] = None
            under_way.finish = under_way.finish or finish
            self.joined += 1
            return seat
        flight: Flight[B, R] = Flight(key, count, self._buffer_bytes)  # Flight[B, R](...) would cost 6 us more
        seat = Seat(flight, self._abandon, produce, recall, stream)
        flight.seats[seat] = None
        flight.finish = finish
        if len(self._calls) < self._most:
            self._joinable[key] = flight
        work = self._produce(flight, seat) if self.sharing is None else self._run(flight, seat, self.sharing)
        flight.task = task = asyncio.get_running_loop().create_task(work)
        self._calls[task] = flight
        task.add_done_callback(self._ended)
        self.started += 1
        return seat

    def _abandon(self, flight: Flight[B, R]) -> None:
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

    async def _run(self, flight: Flight[B, R], starter: Seat[B, R], sharing: Sharing) -> None:
        """Make the call, unless another process has made it or is making it."""
        leased = False
        result: R | None = None
        try:
            if starter.recall is not None:
                leased, result = await self._ask_others(sharing, flight, starter.recall)
            if result is not None:
                flight.recalled = True
                self.recalled += 1
                self._land(flight, result, None)
            else:
                await self._produce(flight, starter)
        finally:
            # Also of a call that was cancelled: other processes must not wait for the lease to run out.
            if leased:
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
