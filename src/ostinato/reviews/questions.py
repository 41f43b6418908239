"""What may be asked of review queues: how they stand, what was said, and what can be made of it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import sqlalchemy as sa

from ostinato import audit, storage
from ostinato.access import Actor, permissions
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.datasets.model import NewExample
from ostinato.releases import NewEvidence
from ostinato.reviews import desk, outcomes, queues, store, tables
from ostinato.reviews.model import Declaration, Item, Queue, QueueState, Task
from ostinato.reviews.outcomes import Figures, Judged, Labelled, Summary
from ostinato.reviews.turn import Bench, Turn, reach

T = TypeVar("T")

_Judgements = list[Judged]
_MOST_JUDGED = 20_000
"""Items that figures are made of: the newest."""


class Questions:
    """The reading half of :class:`ostinato.reviews.Reviews`."""

    def __init__(self, database: storage.Database, clock: Clock, bench: Bench) -> None:
        self.clock = clock
        self._database = database
        self._bench = bench

    async def show(self, actor: Actor, item_id: str) -> Task:
        """One item with its texts, as far as the actor may see it."""
        return await self._read(actor, lambda turn: desk.show(turn, *turn.item(item_id, "reviews:decide")))

    async def queues(
        self, actor: Actor, *, project: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Queue]:
        """Queues of a project by name, from behind ``after``."""

        def read(turn: Turn) -> Sequence[Queue]:
            home = turn.home(project, "reviews:read")
            table = tables.queue
            query = sa.select(table).where(table.c.project == home.id, table.c.name > after)
            rows = turn.connection.execute(query.order_by(table.c.name).limit(limit)).mappings()
            return [store.queue_of(row) for row in rows]

        return await self._read(actor, read)

    async def queue(self, actor: Actor, name: str, *, project: str | None = None) -> QueueState:
        """One queue, and how it stands."""

        def read(turn: Turn) -> QueueState:
            queue = turn.queue(project, name, "reviews:read")
            return QueueState(queue=queue, counts=store.counts(turn.connection, queue.id, turn.now))

        return await self._read(actor, read)

    async def declared(self, project: str, name: str) -> Declaration | None:
        """A queue as it is declared; ``project``: its id. For other rooms: asks for no permission."""
        found = await self._database.read(lambda connection: store.find_queue(connection, project, name))
        return None if found is None else found.declared

    async def must_take(self, actor: Actor, name: str, *, project: str | None = None) -> None:
        """Raise what keeps the actor from having single answers put into this queue."""

        def read(turn: Turn) -> Queue:
            return turn.queue(project, name, "reviews:write")

        queue = await self._read(actor, read)
        if queue.declared.mode != "single":
            raise Invalid(
                f"The queue {name!r} is {queue.declared.mode}: its items are of two answers.",
                code="queue_mode",
                param="review",
            )

    async def list(
        self,
        actor: Actor,
        *,
        project: str | None = None,
        queue: str = "",
        state: str = "",
        overdue: bool = False,
        origin_ref: str = "",
        after: str = "",
        limit: int = 100,
    ) -> Sequence[Item]:
        """Items that the actor reaches, oldest first, without texts.

        ``origin_ref``: those that came from there, without what the actor may still judge blind: that it is among them
        would tell where it comes from.
        """

        def read(turn: Turn) -> Sequence[Item]:
            permissions.require(actor, "reviews:read")
            table = tables.item
            query = sa.select(table).where(reach(actor), table.c.id > after)
            if project:
                query = query.where(table.c.project == turn.home(project, "reviews:read").id)
            for column, wanted in ((table.c.queue, queue), (table.c.state, state), (table.c.origin_ref, origin_ref)):
                if wanted:
                    query = query.where(column == wanted)
            if overdue:
                query = query.where(table.c.state == "open", table.c.due_at <= turn.now)
            if origin_ref and (blind := _blind_of(turn, actor)):
                query = query.where(sa.or_(table.c.state != "open", table.c.queue_id.not_in(blind)))
            rows = turn.connection.execute(query.order_by(table.c.id).limit(limit)).mappings()
            found = [store.item_of(row) for row in rows]
            homes = {one.queue_id for one in found if one.state == "open"}
            declared = {name: store.queue_by_id(turn.connection, name).declared for name in homes}
            return [
                desk.blinded(actor, one, declared[one.queue_id]) if one.queue_id in declared else one for one in found
            ]

        return await self._read(actor, read)

    async def figures(self, actor: Actor, name: str, *, project: str | None = None) -> Figures:
        """Outcomes, weighted shares and agreement of a queue."""
        queue, judged = await self._judged(actor, name, project)
        return await asyncio.to_thread(outcomes.figures, judged, queue.declared)

    async def summary(self, actor: Actor, name: str, *, origin_ref: str = "", project: str | None = None) -> Summary:
        """What people said of one run's or experiment's answers, with its digest."""
        queue, judged = await self._judged(actor, name, project, origin_ref=origin_ref)
        return await asyncio.to_thread(outcomes.summary, judged, queue.declared, name, origin_ref)

    async def evidence(
        self, actor: Actor, name: str, *, origin_ref: str, least: float = 0.8, project: str | None = None
    ) -> NewEvidence:
        """The same as evidence ``human-review`` of a release."""
        return outcomes.evidence(await self.summary(actor, name, origin_ref=origin_ref, project=project), least=least)

    async def as_examples(
        self,
        actor: Actor,
        name: str,
        *,
        project: str | None = None,
        origin_ref: str = "",
    ) -> tuple[NewExample, ...]:
        """Decided items as examples. They hold texts, which take ``reviews:decide``."""
        queue, judged = await self._judged(actor, name, project, "reviews:decide", origin_ref, texts=True)
        return outcomes.examples(judged, queue.declared)

    async def calibration(
        self, actor: Actor, name: str, scorer: str, *, project: str | None = None, measured: bool = False
    ) -> tuple[Labelled, ...]:
        """What a judge and what people said of the same answers. ``measured``: only where we have asked the judge
        ourselves, not where somebody has put an item with such a figure."""
        _, judged = await self._judged(actor, name, project)
        return outcomes.calibration([one for one in judged if not measured or one.item.origin == "online"], scorer)

    async def _judged(
        self,
        actor: Actor,
        name: str,
        project: str | None,
        permission: str = "reviews:read",
        origin_ref: str = "",
        *,
        texts: bool = False,
    ) -> tuple[Queue, Sequence[Judged]]:
        sealer, table = self._bench.sealer, tables.item

        def read(turn: Turn) -> tuple[Queue, Sequence[Judged]]:
            queue = turn.queue(project, name, permission)
            query = sa.select(table).where(table.c.queue_id == queue.id)
            if origin_ref:
                query = query.where(table.c.origin_ref == origin_ref)
            else:
                query = query.where(table.c.state == "done")
            rows = turn.connection.execute(query.order_by(table.c.id.desc()).limit(_MOST_JUDGED)).mappings().all()
            if origin_ref and any(row["origin"] in queues.OURS for row in rows):
                # What a run has put is what it is judged by: nothing that somebody else puts under its id counts.
                rows = [row for row in rows if row["origin"] in queues.OURS]
            found: _Judgements = []
            for begin in range(0, len(rows), 500):
                part = rows[begin : begin + 500]
                said = store.verdicts(turn.connection, sealer, [row["id"] for row in part])
                for row in part:
                    content = store.open_content(sealer, row["sealed"], row["id"]) if texts else None
                    found.append(Judged(store.item_of(row), content, tuple(said.get(row["id"], ()))))
            return queue, found

        return await self._read(actor, read)

    async def _read(self, actor: Actor, work: Callable[[Turn], T]) -> T:
        bench, clock = self._bench, self.clock
        return await self._database.read(
            lambda connection: work(Turn(bench, connection, actor, clock.now(), audit.Occasion()))
        )


def _blind_of(turn: Turn, actor: Actor) -> list[str]:
    """Ids of the queues in which the actor judges blind; see :func:`desk.blinded`."""
    rows = turn.connection.execute(sa.select(tables.queue)).mappings()
    return [one.id for one in map(store.queue_of, rows) if one.declared.blind and desk.judges_blind(actor, one.project)]
