"""Which processes live, as far as the others can tell: each counts up a number, and is dead when it stops.

No two clocks are compared: a process holds another to be dead once it has itself watched that number stand still for
the time of a lease.
"""

import sqlalchemy as sa

from ostinato.core.clock import Clock
from ostinato.jobs.tables import job_executor
from ostinato.storage import Database


class Leases:
    """Of one process, ``mine``."""

    def __init__(self, database: Database, clock: Clock, mine: str, seconds: float) -> None:
        self._database = database
        self._clock = clock
        self._mine = mine
        self._seconds = seconds
        self._seen: dict[str, tuple[int, float]] = {}
        self._joined = False

    async def beat(self) -> bool:
        """Say that this process lives; whether it was held to be alive until now."""
        mine, at, joined = self._mine, self._clock.now(), self._joined

        def count(connection: sa.Connection) -> bool:
            update = sa.update(job_executor).where(job_executor.c.id == mine)
            if connection.execute(update.values(beats=job_executor.c.beats + 1)).rowcount:
                return True
            connection.execute(sa.insert(job_executor).values(id=mine, beats=1, begun_at=at))
            return not joined

        alive = await self._database.run(count)
        self._joined = True
        return alive

    async def dead(self) -> list[str]:
        """The processes that have stood still for the time of a lease."""
        query = sa.select(job_executor.c.id, job_executor.c.beats).where(job_executor.c.id != self._mine)
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        now = self._clock.monotonic()
        seen: dict[str, tuple[int, float]] = {}
        for identifier, beats in rows:
            known = self._seen.get(identifier)
            seen[identifier] = known if known is not None and known[0] == beats else (beats, now)
        self._seen = seen
        return [identifier for identifier, (_, since) in seen.items() if now - since >= self._seconds]

    async def bury(self, executor: str) -> None:
        """Forget a process whose jobs others go on with, or one that ends in good order."""
        statement = sa.delete(job_executor).where(job_executor.c.id == executor)
        await self._database.run(lambda connection: connection.execute(statement))
        self._seen.pop(executor, None)
