"""The journal of paid calls: written before an answer is used, read before a call is made.

Rows that come while a commit is under way go into the next one together; a lone row is committed at once.
"""

import asyncio
from collections import deque

import msgspec
import sqlalchemy as sa

from ostinato import wire
from ostinato.calls.model import Called, Spent
from ostinato.calls.tables import paid_call
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.storage import Database
from ostinato.wire.model import Usage

_BATCH = 256
_ERASED = 500
_TRIES = 5
_TRY_SECONDS = 0.2


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the journal."""

    key: str
    namespace: str
    example: str
    org: str
    project: str
    alias: str
    target: str
    purpose: str
    replicate: int
    answer: bytes | None
    """``wire.encode_answer``; ``None``: paid for, but never heard."""
    usage: bytes
    tokens: int
    cost: int | None
    upstream_us: int
    at: int


class Journal:
    """Of one process; its rows are everybody's who shares the database. For one event loop."""

    def __init__(self, work: Database, clock: Clock) -> None:
        self._work = work
        self._clock = clock
        self._queue: deque[tuple[Row, asyncio.Future[None]]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self.commits = 0
        self.rows = 0

    async def find(self, key: str) -> Called | None:
        """The answer that was paid for before."""
        columns = (paid_call.c.answer, paid_call.c.usage, paid_call.c.cost, paid_call.c.target, paid_call.c.upstream_us)
        query = sa.select(*columns).where(paid_call.c.key == key)
        row = await self._work.read(lambda connection: connection.execute(query).first())
        if row is None or row[0] is None:
            return None
        return called(key, row[0], row[1], cost=row[2], target=row[3], upstream_us=row[4], paid=False)

    async def add(self, row: Row) -> None:
        """Write a row; returns when it is committed. A row whose key is there is kept beside it, as paid for twice."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((row, future))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await future

    async def spent(self, namespace: str) -> Spent:
        """What a namespace has cost so far."""
        query = sa.select(
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(paid_call.c.tokens), 0),
            sa.func.coalesce(sa.func.sum(paid_call.c.cost), 0),
            sa.func.count(paid_call.c.cost),
        ).where(paid_call.c.namespace == namespace)
        calls, tokens, nano, priced = await self._work.read(lambda connection: connection.execute(query).one())
        return Spent(calls=int(calls), tokens=int(tokens), nano=int(nano), unpriced=int(calls) - int(priced))

    async def erase(self, *, namespace: str = "", example: str = "") -> int:
        """Forget answers; what they cost stays. Gives how many."""
        where = paid_call.c.answer.is_not(None)
        if namespace:
            where &= paid_call.c.namespace == namespace
        if example:
            where &= paid_call.c.example == example

        def some(connection: sa.Connection) -> int:
            keys = list(connection.scalars(sa.select(paid_call.c.key).where(where).limit(_ERASED)))
            for key in keys:
                # Another key, so that the same call can be made and kept again.
                connection.execute(
                    sa.update(paid_call)
                    .where(paid_call.c.key == key)
                    .values(key=ids.new(self._clock.now()), answer=None)
                )
            return len(keys)

        total = 0
        while count := await self._work.run(some):
            total += count
        return total

    async def drain(self) -> None:
        """Return when everything that was added is written or has failed."""
        if self._writer is not None:
            await asyncio.gather(self._writer, return_exceptions=True)

    async def _write(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]
            rows = [row for row, _ in batch]
            failure = await self._commit(rows)
            self.commits += 1
            self.rows += len(rows)
            for _, future in batch:
                if future.done():
                    continue
                if failure is None:
                    future.set_result(None)
                else:
                    future.set_exception(failure)

    async def _commit(self, rows: list[Row]) -> Exception | None:
        """Commit; what was paid for is worth some more tries."""
        for remaining in reversed(range(_TRIES)):
            try:
                await self._work.run(lambda connection: self._insert(connection, rows))
            except Exception as error:
                if not remaining:
                    return error
                await asyncio.sleep(_TRY_SECONDS)
            else:
                return None
        return None

    def _insert(self, connection: sa.Connection, rows: list[Row]) -> None:
        for row in rows:
            values = msgspec.structs.asdict(row)
            there = connection.execute(sa.select(paid_call.c.key).where(paid_call.c.key == row.key)).first()
            if there is not None:
                values |= {"key": ids.new(self._clock.now()), "answer": None}
            connection.execute(sa.insert(paid_call).values(values))


def called(
    key: str, answer: bytes, usage: bytes, *, cost: int | None, target: str, upstream_us: int, paid: bool
) -> Called:
    """A row as what it stands for."""
    decoded = wire.decode_answer(answer)
    return Called(
        key=key,
        answer=decoded,
        text=wire.text_of(decoded),
        finish=wire.summary(decoded).finish or "",
        usage=msgspec.msgpack.decode(usage, type=Usage),
        cost=cost,
        target=target,
        upstream_us=upstream_us,
        paid=paid,
    )
