"""The room's one object with a life: :class:`Retention`."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ostinato import audit
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, OstinatoError
from ostinato.intents import Intents
from ostinato.retention import store
from ostinato.retention.erasing import Erasing
from ostinato.retention.of_ledger import Ledger
from ostinato.retention.quoting import Quoting
from ostinato.retention.settings import Settings
from ostinato.retention.stores import Store
from ostinato.retention.sweeping import SWEEPER
from ostinato.reviews.sealing import Sealer
from ostinato.storage import Current, Database

_log = logging.getLogger("ostinato.retention")

_TICK = 15.0
"""Seconds between two looks for something to do: an erasure whose process has died is taken up by another one."""


class Retention(Erasing):
    """Rules, holds, sweeps and erasures of all projects.

    What a store of another room is has to be told by :meth:`cover`, before :meth:`start`. Erasures are carried out in
    the background, by whichever process takes their lease; sweeps by one process at a time.
    """

    def __init__(
        self,
        control: Database,
        clock: Clock,
        log: audit.Log,
        settings: Settings,
        *,
        secret: bytes,
        intents: Current[Intents],
        ledger: Ledger,
        quoting: Quoting,
        databases: Sequence[Database],
        settle: Callable[[], Awaitable[None]],
        lag: float = 0.0,
    ) -> None:
        """``databases``: all that are scrubbed after an erasure, ``control`` first."""
        super().__init__(control, clock, log, secret=secret)
        settings.check()
        self.settings = settings
        self.owner = ids.new(clock.now())
        self.intents = intents
        self.turn = asyncio.Lock()
        self.ledger = ledger
        self.stores: tuple[Store, ...] = (ledger,)
        self.sealer = Sealer(secret)
        self.databases = tuple(databases)
        self.settle = settle
        self.lag = lag
        self.quoting = quoting
        self.quoted = quoting.of
        self.failing = ""
        """Why the last work in the background failed; empty: it did not."""
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def cover(self, *stores: Store) -> None:
        """More stores, to be asked before those that are there: the ledger, by which requests are found, comes last."""
        self.stores = (*stores, *self.stores)

    async def start(self) -> None:
        """Begin to look after erasures and sweeps; what a crash has interrupted goes on."""
        if self.database.dialect == "sqlite":
            # The data directory is this process's alone: whoever had a lease is dead, and nobody need wait for its end.
            await self.database.run(store.drop_leases)
        self._wake.set()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._work()), loop.create_task(self._tick())]

    async def stop(self) -> None:
        """End; what is under way is gone on with by the next start, or another process."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def woken(self) -> None:
        """There is something to be erased: look now."""
        self._wake.set()

    async def _tick(self) -> None:
        while True:
            await self.clock.sleep(_TICK)
            self._wake.set()

    async def _work(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self.tend()
                self.failing = ""
            except OstinatoError as error:
                self.failing = error.sentence
                _log.warning("Retention: %s", error.sentence)
            except Exception as error:
                # Never the error itself: it may name somebody.
                self.failing = type(error).__name__
                _log.warning("Retention failed (%s).", type(error).__name__)

    async def tend(self) -> None:
        """Carry out what is to be erased; sweep, where it is time to."""
        waiting = await self.database.read(lambda c: store.erasures(c, state="running", limit=500))
        failed: list[Exception] = []
        for one in reversed(waiting):
            try:
                await self.carry_out(one.id)
            except Exception as error:  # the others are not to wait for it
                failed.append(error)
        await self.quoting.follow()
        if self.settings.enabled and await self._due():
            with contextlib.suppress(Conflict):  # another process sweeps
                await self.sweep(SWEEPER)
        if failed:
            raise failed[0]

    async def _due(self) -> bool:
        last = await self.database.read(store.last_sweep)
        ruled = await self.database.read(store.rules)
        said = ruled or any(any(_said(one)) for one in self.intents.value.all)
        return bool(said) and self.clock.now() - last >= self.settings.every_hours * 3_600_000_000


def _said(intent: Any) -> list[bool]:
    declared = intent.declared.retention
    return [declared.rows is not None, declared.texts is not None]
