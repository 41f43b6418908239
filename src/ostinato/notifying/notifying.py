"""The room's one object with a life: :class:`Notifying` takes what others tell, writes it down, has it delivered."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato import audit, outbound, storage
from ostinato.access import Actor
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError
from ostinato.notifying import outbox, payload
from ostinato.notifying.effects import Effects
from ostinato.notifying.endpoints import Endpoints
from ostinato.notifying.following import Following
from ostinato.notifying.model import Delivery, Endpoint, Message, Target
from ostinato.notifying.sending import Sender
from ostinato.notifying.settings import Settings
from ostinato.notifying.worker import Worker

_LOOK_SECONDS = 1.0
_WATCH_SECONDS = 60.0
_SWEEP_SECONDS = 600.0
_PENDING = 10_000
"""Messages told that no database has taken yet."""
_DAY = 86_400_000_000

_log = logging.getLogger(__name__)


OnDisabled = Callable[[Endpoint], Awaitable[None]]


class Notifying:
    """``tell`` it; ``endpoints`` are governed by people. Built by ``app``; ``start`` and ``stop`` it."""

    def __init__(
        self,
        control: storage.Database,
        work: storage.Database,
        clock: Clock,
        notices: storage.Notices,
        log: audit.Log,
        client: outbound.Client,
        settings: Settings | None = None,
        *,
        secret: bytes,
        alone: bool = True,
        follow: bool = True,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        """``alone``: no other process delivers from ``work``. ``follow``: tell what the audit log says, too."""
        self.settings = settings or Settings()
        self.settings.check()
        self.endpoints = Endpoints(control, clock, notices, log, self.settings, secret=secret)
        self.endpoints.on_enabled = self._enabled_again
        self.on_disabled: OnDisabled | None = None
        """Called when an endpoint was disabled because it failed for too long, or wants no more: to open a case."""
        self._work = work
        self._clock = clock
        self._log = log
        self._sender = Sender(client, clock, self.settings)
        more: dict[str, Any] = {} if jitter is None else {"jitter": jitter}
        self.worker = Worker(
            work,
            clock,
            self.settings,
            sender=self._sender,
            targets=lambda: self._enabled,
            lost=self._lost,
            alone=alone,
            **more,
        )
        self.effects = Effects(log, work, clock, self.endpoints, put=self._put, wake=self.worker.wake)
        self._enabled: Mapping[str, Target] = {}
        self._of_org: Mapping[str, Sequence[Target]] = {}
        self.endpoints.current.on_swap(self._swap)
        self._following = Following(log, work, self._write_of_log) if follow else None
        self._pending: deque[tuple[Message, asyncio.Future[None]]] = deque()
        self._told = asyncio.Event()
        self._away = False
        """Whether the database could not be written at the last try: then nobody is made to wait for it."""
        self._tasks: list[asyncio.Task[None]] = []
        self.refused = 0
        """Messages that there was no room for, since the start of this process: by endpoint and message."""
        self._failing = ""
        self._watches: list[Callable[[], Awaitable[None]]] = []
        self.standing: Mapping[str, int] = {}
        """Deliveries by state, as they were counted a minute ago at most."""

    async def start(self) -> None:
        """Read the endpoints, and begin to deliver. Raises ``Unavailable`` if a database cannot be read."""
        await self.endpoints.current.start()
        await self.worker.start()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._write()), loop.create_task(self._look())]

    async def stop(self) -> None:
        """Write down what was told, and end; what is under way is sent again by whoever comes next."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks:
            await self._follow()
        await self._flush()
        self.refused += len(self._pending)
        self._pending.clear()
        await self.worker.stop()
        self._sender.close()
        await self.endpoints.current.close()

    @property
    def failing(self) -> str:
        """Why messages cannot be written down or sent; empty while all is well. That a receiver fails is no fault."""
        return self._failing or self.worker.failing

    def watch(self, look: Callable[[], Awaitable[None]]) -> None:
        """Call ``look`` every minute: for what nobody does, such as a time that is over, and is to be told."""
        self._watches.append(look)

    # -- telling -------------------------------------------------------------------------------------------------

    def tell(
        self, org: str, project: str, event: str, subject: str, data: object = None, *, key: str = ""
    ) -> "asyncio.Future[None]":
        """Tell whoever wants to know that something happened. Call it on the event loop; it never blocks or raises.

        ``org`` and ``project``: ids (no project: of the organization). ``event``: ``resource:verb``. ``subject``: what
        it happened to, as the audit log names it. ``data``: an object of ids and figures, never texts. ``key``: told
        twice with one key, it is one message; so whoever may have crashed in between may tell it again.

        Awaiting what it gives waits until it is written down (milliseconds), or could not be at the first try.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._wanted(org, project, event):
            done.set_result(None)
            return done
        if len(self._pending) >= _PENDING:
            self.refused += 1
            done.set_result(None)
            return done
        try:
            made = payload.compose(self._clock.now(), org, project, event, subject, data, key=key)
        except (OstinatoError, TypeError) as error:
            _log.warning("A message could not be composed: %s", error)
            self.refused += 1
            done.set_result(None)
            return done
        if self._away:
            done.set_result(None)
        self._pending.append((made, done))
        self._told.set()
        return done

    # -- for the control plane -----------------------------------------------------------------------------------

    async def deliveries(
        self, actor: Actor, ref: str, *, state: str = "", before: str = "", limit: int = 100
    ) -> Sequence[Delivery]:
        """A page of an endpoint's deliveries, the newest first."""
        endpoint = await self.endpoints.show(actor, ref)
        return await self._work.read(
            lambda connection: outbox.page(connection, endpoint.id, state=state, before=before, limit=limit)
        )

    async def fares(self, found: Sequence[Endpoint]) -> list[Endpoint]:
        """The same endpoints, each with how it fares."""
        known = await self._work.read(lambda connection: outbox.fares(connection, [one.id for one in found]))
        return [
            msgspec.structs.replace(one, failing_since=fare[0], failures=fare[1], refused=fare[2])
            if (fare := known.get(one.id)) is not None
            else one
            for one in found
        ]

    async def look(self) -> None:
        """Count deliveries, and look at what is watched. Does not raise."""
        for one in (self._count, *self._watches):
            try:
                await one()
            except OstinatoError as error:
                _log.warning("What is to be told could not be looked at: %s", error.message)
            except Exception:
                _log.exception("Looking at what is to be told failed.")

    async def sweep(self) -> int:
        """Forget what was kept for its time; gives how many deliveries."""
        now, settings = self._clock.now(), self.settings
        known = [one.endpoint.id for one in self.endpoints.current.value]
        return await self._work.run(
            lambda connection: outbox.sweep(
                connection,
                known,
                now,
                delivered_before=now - int(settings.keep_delivered_days * _DAY),
                dead_before=now - int(settings.keep_dead_days * _DAY),
            )
        )

    async def _count(self) -> None:
        self.standing = await self._work.read(outbox.counts)

    # -- how -----------------------------------------------------------------------------------------------------

    def _swap(self, targets: tuple[Target, ...]) -> None:
        enabled = [one for one in targets if one.endpoint.enabled]
        by_org: dict[str, list[Target]] = {}
        for one in enabled:
            by_org.setdefault(one.endpoint.org, []).append(one)
        self._enabled = {one.endpoint.id: one for one in enabled}
        self._of_org = by_org

    def _wanted(self, org: str, project: str, event: str) -> list[str]:
        """Endpoints that a message is for."""
        some = self._of_org.get(org, ())
        return [one.endpoint.id for one in some if one.endpoint.takes(org, project, event)]

    def _write_of_log(self, connection: sa.Connection, messages: Sequence[Message]) -> None:
        batch = [(one, to) for one in messages if (to := self._wanted(one.org, one.project, one.event))]
        if batch:
            self._put(connection, batch)

    def _put(self, connection: sa.Connection, batch: Sequence[tuple[Message, Sequence[str]]]) -> None:
        settings = self.settings
        refused = outbox.write(connection, batch, most=settings.queue, most_of_all=settings.total_queue)
        self.refused += sum(refused.values())

    async def _write(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            if not await self._flush():
                await self._clock.sleep(_LOOK_SECONDS)
                self._told.set()

    async def _flush(self) -> bool:
        """Write down what was told, in one transaction; whether that could be done."""
        while self._pending:
            some = [self._pending[at] for at in range(min(len(self._pending), 500))]
            batch = [(one, self._wanted(one.org, one.project, one.event)) for one, _ in some]
            try:
                await self._work.run(lambda connection, batch=batch: self._put(connection, batch))
            except OstinatoError as error:
                self._fail(error.message)
                self._away = True
                for _, done in self._pending:
                    # Whoever waits has waited enough; the message stays until it can be written.
                    _resolve(done)
                return False
            self._away = False
            for _ in some:
                _resolve(self._pending.popleft()[1])
            self.worker.wake()
        return True

    async def _look(self) -> None:
        """Follow the log, look at what others watch, and tidy."""
        swept = looked = self._clock.monotonic()
        while True:
            await self._follow()
            if self._clock.monotonic() - looked >= _WATCH_SECONDS:
                looked = self._clock.monotonic()
                await self.look()
            if self._clock.monotonic() - swept >= _SWEEP_SECONDS:
                swept = self._clock.monotonic()
                with contextlib.suppress(OstinatoError):
                    await self.sweep()
            await self._clock.sleep(_LOOK_SECONDS)

    async def _follow(self) -> None:
        if self._following is None:
            return
        try:
            if await self._following.look():
                self.worker.wake()
            self._failing = ""
        except OstinatoError as error:
            self._fail(error.message)
        except Exception as error:
            _log.exception("Following the audit log failed.")
            self._fail(type(error).__name__)

    def _fail(self, why: str) -> None:
        if not self._failing:
            _log.warning("Messages cannot be written down: %s", why)
        self._failing = why

    async def _enabled_again(self, endpoint: str) -> None:
        """Its first failure must not disable it at once, for how it fared before."""
        await self._work.run(lambda connection: outbox.begin_anew(connection, endpoint))
        self.worker.wake()

    async def _lost(self, endpoint: str, why: str) -> None:
        try:
            gone = await self.endpoints.disable(endpoint, why)
        except OstinatoError as error:
            _log.warning("The endpoint %s could not be disabled: %s", endpoint, error.message)
            return
        if gone is None:
            return
        _log.warning("The endpoint %s of messages was disabled: %s.", gone.name, why)
        if self.on_disabled is not None:
            try:
                await self.on_disabled(gone)
            except Exception:
                _log.exception("That an endpoint was disabled could not be told.")


def _resolve(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)
