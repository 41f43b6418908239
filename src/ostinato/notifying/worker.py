"""Takes what is due and sends it, a bounded number at a time, fairly over the endpoints.

Every process may run one. Those endpoints come first that were served longest ago; one that fails has a single delivery
under way, and all that fail together half of the places: so receivers that are slow or away, however many and whatever
waits for them, take nobody else's turn.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Mapping

from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError
from ostinato.notifying import outbox
from ostinato.notifying.model import Due, Sent, Target
from ostinato.notifying.sending import Sender
from ostinato.notifying.settings import Settings
from ostinato.storage import Database

_PAUSE = 1.0
"""Seconds between two looks, where nobody says that there is something."""
_LEASE = 8.0
"""Times the time-out of a delivery: how long it is held."""
_DAY = 86_400_000_000

_log = logging.getLogger(__name__)

Targets = Callable[[], Mapping[str, Target]]
"""Endpoints that are enabled now, by id."""
Lost = Callable[[str, str], Awaitable[None]]
"""``lost(endpoint, why)``: it wants nothing more, or has failed for too long."""


class Worker:
    """Started and stopped by :class:`Notifying`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        *,
        sender: Sender,
        targets: Targets,
        lost: Lost,
        alone: bool,
        jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),  # noqa: S311 - spreads load, hides nothing
    ) -> None:
        """``alone``: no other process delivers from this database; what an earlier one held is free at once."""
        self._database = database
        self._clock = clock
        self._settings = settings
        self._sender = sender
        self._targets = targets
        self._lost = lost
        self._alone = alone
        self._jitter = jitter
        self._flying: dict[asyncio.Task[None], tuple[str, str]] = {}
        """Deliveries under way: endpoint and lease."""
        self._under_way: set[tuple[str, str]] = set()
        """The same, by endpoint and message."""
        self._served: dict[str, int] = {}
        self._turns = 0
        self._failing: set[str] = set()
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.delivered = 0
        """Since the start of this process."""
        self.failed = 0
        """Tries that came to nothing, since the start of this process."""
        self.failing = ""
        """Why nothing can be delivered at all; empty while all is well."""

    async def start(self) -> None:
        """Begin to deliver."""
        if self._alone:
            await self._database.run(lambda connection: outbox.release(connection, None))
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End; what is under way is broken off and free to be sent again."""
        leases = {lease for _, lease in self._flying.values()}
        tasks = [*([self._task] if self._task is not None else []), *self._flying]
        self._task = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if leases:
            with contextlib.suppress(OstinatoError):
                await self._database.run(lambda connection: outbox.release(connection, leases))

    def wake(self) -> None:
        """Say that there is something to deliver."""
        self._wake.set()

    async def look(self) -> int:
        """Take what is due and there is room for, and begin to send it; gives how many."""
        async with self._turn:
            return await self._look()

    async def _look(self) -> int:
        now = self._clock.now()
        found = await self._database.read(lambda connection: outbox.due(connection, now))
        wanted = self._slots(found)
        if not wanted:
            return 0
        lease = ids.new(now)
        until = now + int(_LEASE * self._settings.timeout_seconds * 1_000_000)
        taken = await self._database.run(lambda connection: outbox.take(connection, lease, now, until, wanted))
        for one in taken:
            if (one.endpoint, one.message.id) in self._under_way:
                # It takes longer than its lease; we know that it is not lost.
                continue
            self._under_way.add((one.endpoint, one.message.id))
            self._turns += 1
            self._served[one.endpoint] = self._turns
            task = asyncio.get_running_loop().create_task(self._deliver(one, lease))
            self._flying[task] = (one.endpoint, lease)
            task.add_done_callback(lambda task, one=one: self._landed(task, one))
        return len(taken)

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._flying:
            await asyncio.wait(list(self._flying))

    # -- how -----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
                self.failing = ""
            except OstinatoError as error:
                if not self.failing:
                    _log.warning("Messages cannot be delivered: %s", error.sentence)
                self.failing = error.message
            except Exception as error:
                self.failing = type(error).__name__
                _log.exception("Looking for messages failed.")
            await self._pause()

    async def _pause(self) -> None:
        """Until somebody wakes it, a delivery has ended, or a second is over."""
        self._wake.clear()
        asleep = asyncio.ensure_future(self._clock.sleep(_PAUSE))
        awake = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({asleep, awake}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asleep.cancel()
            awake.cancel()

    def _slots(self, found: list[str]) -> dict[str, int]:
        """How many deliveries of which endpoint may begin: round after round, whoever waited longest first."""
        targets, settings = self._targets(), self._settings
        flying: dict[str, int] = {}
        for endpoint, _ in self._flying.values():
            flying[endpoint] = flying.get(endpoint, 0) + 1
        room = settings.total_concurrency - len(self._flying)
        # Of those that fail. A place is held for a time-out, where a success takes milliseconds.
        spare = max(1, settings.total_concurrency // 2) - sum(flying[one] for one in flying if one in self._failing)
        free: dict[str, int] = {}
        for endpoint in sorted((one for one in found if one in targets), key=lambda one: self._served.get(one, 0)):
            failing = endpoint in self._failing
            most = (1 if failing else settings.concurrency) - flying.get(endpoint, 0)
            if most <= 0 or (failing and spare <= 0):
                continue
            free[endpoint] = most
            spare -= failing
        wanted: dict[str, int] = {}
        while room > 0 and free:
            for endpoint in list(free):
                if room <= 0:
                    break
                wanted[endpoint] = wanted.get(endpoint, 0) + 1
                room -= 1
                free[endpoint] -= 1
                if not free[endpoint]:
                    del free[endpoint]
        return wanted

    async def _deliver(self, one: Due, lease: str) -> None:
        target = self._targets().get(one.endpoint)
        if target is None:
            # Disabled since it was taken: it waits with the others.
            await self._database.run(lambda connection: outbox.let_go(connection, one, lease))
            return
        try:
            sent = await self._sender.send(target, one.message)
        except Exception as error:
            # Ours to mend, and no reason to try it again at once for ever.
            _log.exception("A message could not be sent.")
            sent = Sent(ok=False, said=f"it could not be sent ({type(error).__name__})")
        await self._settle(one, sent, lease)

    async def _settle(self, one: Due, sent: Sent, lease: str) -> None:
        now = self._clock.now()
        if sent.ok:
            await self._database.run(lambda connection: outbox.delivered(connection, one, sent, now))
            self._failing.discard(one.endpoint)
            self.delivered += 1
            return
        next_at = None if sent.gone else self._next(one, sent, now)
        since = await self._database.run(lambda connection: outbox.failed(connection, one, sent, now, lease, next_at))
        self._failing.add(one.endpoint)
        self.failed += 1
        days = self._settings.disable_days
        if sent.gone:
            await self._lost(one.endpoint, "the receiver answered 410 Gone")
        elif days and now - since >= days * _DAY:
            await self._lost(one.endpoint, f"it has failed for {days:g} days without one success")

    def _next(self, one: Due, sent: Sent, now: int) -> int | None:
        pauses = self._settings.retry_seconds
        if one.tries >= len(pauses):
            return None
        pause = max(pauses[one.tries] * self._jitter(), sent.after)
        return now + int(pause * 1_000_000)

    def _landed(self, task: asyncio.Task[None], one: Due) -> None:
        self._flying.pop(task, None)
        self._under_way.discard((one.endpoint, one.message.id))
        if not task.cancelled() and (error := task.exception()) is not None:
            # It is taken again when its lease is over.
            _log.warning("How a delivery went could not be written down: %s", type(error).__name__)
        self._wake.set()
