"""The room's one object with a life: :class:`Reviews` carries out what people, flows and the gateway ask for."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import sqlalchemy as sa

from ostinato import audit, storage, wire
from ostinato.access import Actor, SystemActor
from ostinato.core.clock import Clock
from ostinato.core.errors import NotFound, OstinatoError
from ostinato.reviews import desk, erasing, held, queues, store, tables, verdicts
from ostinato.reviews.held import NewHeld
from ostinato.reviews.model import (
    Declaration,
    Held,
    Item,
    NewItem,
    NewVerdict,
    Queue,
    Task,
    Verdict,
)
from ostinato.reviews.questions import Questions
from ostinato.reviews.sealing import Sealer
from ostinato.reviews.settings import Settings
from ostinato.reviews.turn import Bench, Turn
from ostinato.wire.model import Answer

T = TypeVar("T")

GATEWAY = SystemActor("gateway")
SWEEPER = SystemActor("reviews")
_SWEPT = 200
"""Items of one round."""

_log = logging.getLogger("ostinato.reviews")

Admit = Callable[[Held, Answer], Awaitable[None]]
"""Puts an answer that was approved into the cache. May be asked again for the same."""
Quarantine = Callable[[Item], Awaitable[None]]
"""Withdraws the cache entry of an answer that was rejected. May be asked again for the same."""
Told = Callable[[Item, Sequence[Verdict]], None]
"""Hears of every item that was decided, once it is written: quality signals go out from there. Must not wait."""


class Reviews(Questions):
    """Queues and held answers of all projects. Every change is one transaction with its leaf of the audit log.

    ``project`` is an id, a short name or ``organization/project``; ``None``: the actor's own. What is beyond the
    actor's reach does not exist. ``admit``, ``quarantine`` and ``told`` are set by whoever builds this and that.
    """

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        log: audit.Log,
        settings: Settings | None = None,
        *,
        secret: bytes = b"",
    ) -> None:
        """``secret``: of the installation; texts at rest are sealed with a key made from it."""
        self.settings = settings or Settings()
        self.settings.check()
        super().__init__(database, clock, Bench(log, Sealer(secret), self.settings))
        self.admit: Admit | None = None
        self.quarantine: Quarantine | None = None
        self.told: Told | None = None
        self.failing = ""
        """Why the last sweep failed; empty: it did not."""
        self._task: asyncio.Task[None] | None = None

    # -- queues and items ----------------------------------------------------------------------------------------

    async def declare(
        self,
        actor: Actor,
        name: str,
        declared: Declaration,
        *,
        project: str | None = None,
        version: int | None = None,
        reason: str = "",
    ) -> Queue:
        """The queue as it stands from now on. ``version``: the one that was seen, 0 for none yet."""

        def work(turn: Turn) -> Queue:
            home = turn.home(project, "reviews:write")
            return queues.declare(turn, home.org_id, home.id, name, declared, version, reason)

        return await self._change(actor, work)

    async def put(
        self, actor: Actor, name: str, items: Sequence[NewItem], *, project: str | None = None, reason: str = ""
    ) -> tuple[Item, ...]:
        """Items in the queue, in the order given; what is there already, by its mark, is not put again."""
        return await self._change(
            actor, lambda turn: queues.put(turn, turn.queue(project, name, "reviews:write", lock=True), items, reason)
        )

    async def withdraw(self, actor: Actor, item_id: str, reason: str = "") -> Item:
        """An open item, taken out of its queue."""
        return await self._change(actor, lambda turn: verdicts.withdraw(turn, item_id, reason))

    async def erase(
        self,
        actor: Actor,
        *,
        item: str = "",
        request_id: str = "",
        subject: str = "",
        project: str | None = None,
        reason: str = "",
    ) -> int:
        """How many items have lost their texts, for good; digests, decisions and figures stay."""
        return await self._change(
            actor,
            lambda turn: erasing.erase(turn, project, item=item, request_id=request_id, subject=subject, reason=reason),
        )

    async def erase_examples(self, project: str, examples: Sequence[str]) -> int:
        """The same for items that runs have made of erased examples of a dataset; ``project``: its id."""
        return await self._change(SWEEPER, lambda turn: erasing.erase_examples(turn, project, examples))

    # -- reviewers -----------------------------------------------------------------------------------------------

    async def next(self, actor: Actor, name: str, *, project: str | None = None) -> Task | None:
        """The most urgent item that the actor may judge, now in its hands; ``None``: there is none."""
        return await self._change(actor, lambda turn: desk.take_next(turn, turn.queue(project, name, "reviews:decide")))

    async def take(self, actor: Actor, item_id: str) -> Task:
        """One item, now in the actor's hands."""
        return await self._change(actor, lambda turn: desk.take(turn, item_id))

    async def give_back(self, actor: Actor, item_id: str) -> Item:
        """One item, out of the actor's hands."""
        return await self._change(actor, lambda turn: desk.give_back(turn, item_id))

    async def decide(self, actor: Actor, item_id: str, verdict: NewVerdict, *, version: int | None = None) -> Item:
        """One item with one more verdict; what its outcome brings about is done when this returns, or soon after."""
        item = await self._change(actor, lambda turn: verdicts.decide(turn, item_id, verdict, version))
        if item.state == "done":
            await self._carry_out([item])
            if self.told is not None:
                said = await self._database.read(
                    lambda connection: store.verdicts(connection, self._bench.sealer, [item.id])
                )
                self.told(item, said.get(item.id, []))
            return item
        queue = await self._database.read(lambda connection: store.queue_by_id(connection, item.queue_id))
        return desk.blinded(actor, item, queue.declared)

    # -- held answers --------------------------------------------------------------------------------------------

    async def hold(self, wanted: NewHeld) -> Held:
        """The answer, held; an equal one that waits already is that one. Its queue is made where there is none."""
        queue = await self._queue_for(wanted)
        return await self._change(GATEWAY, lambda turn: held.hold(turn, queue, wanted))

    async def must_have_room(self, project: str, name: str) -> None:
        """Raise what keeps one more answer from being held in this queue: before a model is paid for it."""

        def look(turn: Turn) -> None:
            queue = store.find_queue(turn.connection, project, name)
            if queue is not None:
                queues.must_have_room(turn, queue, 1)

        await self._read(GATEWAY, look)

    async def waiting(self, project: str, key: str) -> Held | None:
        """The held answer that an equal request waits for; ``key``: scoped cache key, hexadecimal."""
        now = self.clock.now()
        return await self._database.read(lambda connection: held.waiting(connection, project, key, now))

    async def held(self, held_id: str) -> tuple[Held, Answer | None]:
        """One held answer; the answer where it may be handed out. Raises ``NotFound``. Asks for no permission."""
        found = await self._database.read(lambda connection: store.find_held(connection, tables.held.c.id == held_id))
        if found is None:
            raise NotFound(f"There is no held answer {held_id[:80]!r}.", code="held_not_found")
        one, sealed = found
        answer = None
        if one.standing(self.clock.now()) in ("approved", "edited", "unreviewed"):
            data = self._bench.sealer.open(sealed, f"held {one.id}")
            answer = None if data is None else wire.decode_answer(data)
        return one, answer

    async def _queue_for(self, wanted: NewHeld) -> Queue:
        def find(connection: sa.Connection) -> Queue | None:
            return store.find_queue(connection, wanted.project, wanted.queue)

        queue = await self._database.read(find)
        while queue is None:
            try:
                queue = await self._change(
                    GATEWAY,
                    lambda turn: queues.declare(
                        turn, wanted.org, wanted.project, wanted.queue, held.DECLARED, 0, "for held answers"
                    ),
                )
            except OstinatoError:
                # Another request was first; anything else is told by the question that follows.
                queue = await self._database.read(find)
                if queue is None:
                    raise
        return queue

    # -- what goes on by itself ----------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look after what is overdue."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _watch(self) -> None:
        while True:
            await self.clock.sleep(self.settings.sweep_seconds)
            try:
                await self.sweep()
                self.failing = ""
            except OstinatoError as error:
                self.failing = error.sentence
                _log.warning("Review queues could not be looked after: %s", error.sentence)
            except Exception as error:
                self.failing = type(error).__name__
                _log.exception("Looking after review queues failed")

    async def sweep(self) -> int:
        """Bring what is overdue to its default, do what is pending, let old texts go; gives how much that was."""
        now = self.clock.now()
        late = await self._database.read(lambda connection: verdicts.overdue(connection, now, _SWEPT))
        ended = [await self._change(SWEEPER, _expiring(item_id)) for item_id in late]
        pending = await self._database.read(lambda connection: store.pending(connection, _SWEPT))
        await self._carry_out(pending)
        before = now - int(self.settings.retention_days * 86_400_000_000)
        old = await self._database.read(lambda connection: erasing.old(connection, before, _SWEPT))
        gone = await self._change(SWEEPER, lambda turn: erasing.expire(turn, old)) if old else 0
        unseen = await self._database.read(lambda connection: erasing.unseen(connection, before, _SWEPT))
        gone += await self._change(SWEEPER, lambda turn: erasing.give_up(turn, unseen)) if unseen else 0
        return sum(one is not None for one in ended) + len(pending) + gone

    async def _carry_out(self, items: Sequence[Item]) -> None:
        """Do elsewhere what outcomes bring about; what fails stays pending, for the next sweep."""
        for item in items:
            try:
                if item.pending == "quarantine" and self.quarantine is not None:
                    await self.quarantine(item)
                elif item.pending == "admit" and self.admit is not None:
                    await self._admit(item, self.admit)
                elif item.pending == "":
                    continue
            except Exception as error:
                _log.warning("What the review %s brings about is still to be done: %s", item.id, type(error).__name__)
                continue
            table = tables.item
            done = table.update().where(table.c.id == item.id, table.c.pending == item.pending).values(pending="")
            await self._database.run(lambda connection, done=done: connection.execute(done) and None)

    async def _admit(self, item: Item, admit: Admit) -> None:
        query = tables.held.c.item == item.id
        found = await self._database.read(lambda connection: store.find_held(connection, query))
        if found is not None:
            one, answer = await self.held(found[0].id)
            if answer is not None:
                await admit(one, answer)

    # -- transactions --------------------------------------------------------------------------------------------

    async def _change(self, actor: Actor, work: Callable[[Turn], T]) -> T:
        occasion, bench, clock = audit.occasion(), self._bench, self.clock
        return await self._database.run(lambda connection: work(Turn(bench, connection, actor, clock.now(), occasion)))


def _expiring(item_id: str) -> Callable[[Turn], Item | None]:
    return lambda turn: verdicts.expire(turn, item_id)
