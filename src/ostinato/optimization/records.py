"""What runs found, in the database ``work``: candidates, rounds, measurements, decisions. Written by machines in bulk.

Writing the same again changes nothing: a run that was killed goes through its steps once more, and finds what it knew.
"""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict
from ostinato.optimization import tables
from ostinato.optimization.model import Candidate, Measured
from ostinato.optimization.run import Decided, Record
from ostinato.optimization.search.model import Round
from ostinato.storage import Database
from ostinato.wire.model import Json

T = TypeVar("T")

_TRIES = 4


class Records:
    """The findings of all runs."""

    def __init__(self, work: Database, clock: Clock) -> None:
        self._work = work
        self._clock = clock

    async def _write(self, work: Callable[[sa.Connection], T]) -> T:
        """Write; where another process has just written the same, look again and find it."""
        for _ in range(_TRIES):
            with contextlib.suppress(Conflict):
                return await self._work.run(work)
        return await self._work.run(work)

    async def candidates(self, run: str, found: Sequence[Candidate]) -> None:
        """Write down those that are new, in this order."""
        table = tables.candidate

        def write(connection: sa.Connection) -> None:
            query = sa.select(table.c.id).where(table.c.run == run)
            known = set(connection.scalars(query).all())
            rows = [
                {"run": run, "id": one.id, "number": len(known) + place, "body": msgspec.to_builtins(one)}
                for place, one in enumerate({one.id: one for one in found if one.id not in known}.values())
            ]
            if rows:
                connection.execute(table.insert(), rows)

        await self._write(write)

    async def round(self, run: str, found: Round) -> None:
        """Write down a complete round."""
        table = tables.round_
        values = {"run": run, "stage": found.phase, "number": found.number}

        def write(connection: sa.Connection) -> None:
            connection.execute(table.delete().where(*(table.c[name] == value for name, value in values.items())))
            connection.execute(table.insert().values(**values, body=msgspec.to_builtins(found)))

        await self._write(write)

    async def measured(self, run: str, stage: str, candidate: str, found: Iterable[Measured]) -> None:
        """Write down how a candidate did on some examples; what is known already stays."""
        table = tables.measured
        bare = [msgspec.structs.replace(one, output="") for one in found]

        def write(connection: sa.Connection) -> None:
            query = sa.select(table.c.example).where(
                table.c.run == run, table.c.stage == stage, table.c.candidate == candidate
            )
            known = set(connection.scalars(query).all())
            rows = [
                {
                    "run": run,
                    "stage": stage,
                    "candidate": candidate,
                    "example": one.example,
                    "body": msgspec.to_builtins(one),
                }
                for one in {one.example: one for one in bare if one.example not in known}.values()
            ]
            if rows:
                connection.execute(table.insert(), rows)

        await self._write(write)

    async def decide(self, run: str, name: str, body: Json) -> Json:
        """Write down a decision, unless it was made before; gives the one that stands."""
        table = tables.decided

        def write(connection: sa.Connection) -> Json:
            standing = _decided(connection, run, name)
            if standing is not None:
                return standing
            connection.execute(table.insert().values(run=run, name=name, body=body, at=self._clock.now()))
            found = _decided(connection, run, name)
            assert found is not None
            return found

        return await self._write(write)

    async def decision(self, run: str, name: str) -> Json | None:
        """What was decided; ``None``: nothing yet."""
        return await self._work.read(lambda connection: _decided(connection, run, name))

    async def all_candidates(self, run: str) -> tuple[Candidate, ...]:
        """In the order in which they were first measured."""
        table = tables.candidate
        query = sa.select(table.c.body).where(table.c.run == run).order_by(table.c.number)
        rows = await self._work.read(lambda connection: connection.scalars(query).all())
        return msgspec.convert(rows, tuple[Candidate, ...])

    async def all_rounds(self, run: str) -> tuple[Round, ...]:
        """By stage, in the order of the stages, and number."""
        table = tables.round_
        query = sa.select(table.c.body).where(table.c.run == run).order_by(table.c.stage, table.c.number)
        rows = await self._work.read(lambda connection: connection.scalars(query).all())
        found = msgspec.convert(rows, tuple[Round, ...])
        order = ("headroom", "race", "reflection", "polish")
        return tuple(sorted(found, key=lambda one: (order.index(one.phase), one.number)))

    async def all_measured(self, run: str, stage: str = "") -> tuple[Record, ...]:
        """Of all stages, or of one."""
        table = tables.measured
        query = sa.select(table.c.stage, table.c.candidate, table.c.body).where(table.c.run == run)
        if stage:
            query = query.where(table.c.stage == stage)
        query = query.order_by(table.c.stage, table.c.candidate, table.c.example)
        rows = await self._work.read(lambda connection: connection.execute(query).all())
        return tuple(
            Record(stage=row.stage, candidate=row.candidate, measured=msgspec.convert(row.body, Measured))
            for row in rows
        )

    async def all_decided(self, run: str) -> tuple[Decided, ...]:
        """In the order in which it was decided."""
        table = tables.decided
        query = sa.select(table.c.name, table.c.body, table.c.at).where(table.c.run == run)
        rows = await self._work.read(lambda connection: connection.execute(query.order_by(table.c.at)).all())
        return tuple(Decided(name=row.name, body=row.body, at=row.at) for row in rows)

    async def decided_at(self, runs: Sequence[str], name: str) -> dict[str, int]:
        """When runs had this decided, UTC microseconds; those that have not are left out."""
        table = tables.decided
        query = sa.select(table.c.run, table.c.at).where(table.c.run.in_(runs), table.c.name == name)
        rows = await self._work.read(lambda connection: connection.execute(query).all()) if runs else ()
        return {row.run: row.at for row in rows}

    async def forget(self, run: str) -> None:
        """Remove everything of a run."""

        def write(connection: sa.Connection) -> None:
            for table in (tables.candidate, tables.round_, tables.measured, tables.decided):
                connection.execute(table.delete().where(table.c.run == run))

        await self._write(write)


def _decided(connection: sa.Connection, run: str, name: str) -> Json | None:
    table = tables.decided
    found: Json | None = connection.scalar(sa.select(table.c.body).where(table.c.run == run, table.c.name == name))
    return found
