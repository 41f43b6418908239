"""The writer's side of the ledger: batches into the database, exactly once, with the rollup and the count of losses.

A batch, its part of the rollup and the writer's running numbers share one transaction. The number of the batch is
compared and set there, so that a batch whose commit was not confirmed is not written twice.
"""

import logging
from collections.abc import Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict
from ostinato.storage import Database
from ostinato.traces import adding, conversations, drawing, interactions, rollup, tables, write
from ostinato.traces.adding import Added
from ostinato.traces.cubes import ROLLUP, TRAFFIC, Cube
from ostinato.traces.mark import ACCEPTED, DROPPED, REGISTERED, Mark
from ostinato.traces.model import CallRow, HitRow
from ostinato.traces.rollup import Cells
from ostinato.traces.settings import Settings
from ostinato.traces.tables import ledger_loss, ledger_writer

_LOG = logging.getLogger(__name__)


class Batch(msgspec.Struct):
    """Rows that are written together, and what they add to the rollup."""

    hits: list[HitRow]
    calls: list[CallRow]
    cells: Cells | None = None
    """``None`` until it has been added up."""
    added: Added | None = None
    """The same with what belongs to the other rollups."""
    careful: bool = False
    """Whether to write row by row, leaving out what no database would take."""

    refused: int = 0
    """Rows that were taken out because they are not what a row should be."""

    @property
    def size(self) -> int:
        """Rows to account for."""
        return len(self.hits) + len(self.calls) + self.refused


class Journal:
    """One writer in the database. Used by one thread at a time."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, mark: Mark) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._mark = mark
        self._found = (mark.counts[ACCEPTED], mark.counts[DROPPED])
        """What the mark said before this process added to it."""
        self._batch = 0
        self._accounted = 0
        self._dropped = 0
        self._rollup, self._traffic, self._interactions, self._drawn = (
            Cube(ROLLUP),
            Cube(TRAFFIC),
            Cube(interactions.LAYOUT),
            Cube(drawing.LAYOUT),
        )
        self._window = settings.interaction_minutes * 60 * rollup.SECOND
        self.registered = False
        self.lost_before = 0
        """Rows that an earlier process lost, found when this one began."""

    def register(self) -> None:
        """Make this writer known, and count the rows that an earlier process with this mark took with it.

        Raises what the database raises; to be repeated until it works.
        """
        mark, now = self._mark, self._clock.now()
        row = self._database.transact(lambda connection: self._settle(connection, now))
        self._batch, self._accounted, self._dropped = row
        # A power cut may have kept the database's numbers and lost the mark's.
        mark.counts[ACCEPTED] += max(0, self._accounted - self._found[0])
        mark.counts[DROPPED] += max(0, self._dropped - self._found[1])
        mark.counts[REGISTERED] = 1
        self.registered = True
        if self.lost_before:
            _LOG.warning("%d rows of the ledger were lost when an earlier process was killed.", self.lost_before)

    def _settle(self, connection: sa.Connection, now: int) -> tuple[int, int, int]:
        mark = self._mark
        select = sa.select(ledger_writer.c.batch, ledger_writer.c.accounted, ledger_writer.c.dropped)
        known = connection.execute(select.where(ledger_writer.c.writer == mark.writer)).one_or_none()
        if known is None:
            if mark.counts[REGISTERED]:
                # The database that knew this writer was replaced: its numbers mean nothing here.
                mark.renew(now, less=self._found)
                self._found = (0, 0)
            known = (0, 0, 0)
            connection.execute(
                ledger_writer.insert().values(writer=mark.writer, batch=0, accounted=0, dropped=0, updated_at=now)
            )
        batch, accounted, dropped = known
        accepted_before, dropped_before = self._found
        self.lost_before = max(0, accepted_before - accounted)
        self._lose(connection, now, "crash", self.lost_before)
        self._lose(connection, now, "dropped", dropped_before - dropped)
        accounted, dropped = max(accounted, accepted_before), max(dropped, dropped_before)
        connection.execute(
            ledger_writer.update()
            .where(ledger_writer.c.writer == mark.writer)
            .values(batch=batch + 1, accounted=accounted, dropped=dropped, updated_at=now)
        )
        return batch + 1, accounted, dropped

    def _lose(self, connection: sa.Connection, now: int, kind: str, rows: int) -> None:
        if rows > 0:
            connection.execute(ledger_loss.insert().values(at=now, writer=self._mark.writer, kind=kind, rows=rows))

    def write(self, batch: Batch) -> None:
        """Write ``batch``, unless that has happened already. Raises what the database raises; all or nothing."""
        dropped = self._mark.counts[DROPPED]
        merged = self._database.transact(lambda connection: self._write(connection, batch, dropped))
        self._batch += 1
        self._accounted += batch.size
        self._dropped = dropped
        for cube, cells in merged:
            cube.keep(cells)

    def _write(self, connection: sa.Connection, batch: Batch, dropped: int) -> list[tuple[Cube[Any], dict[int, Any]]]:
        now = self._clock.now()
        mine = ledger_writer.c.writer == self._mark.writer
        moved = connection.execute(
            ledger_writer.update()
            .where(mine, ledger_writer.c.batch == self._batch)
            .values(batch=self._batch + 1, accounted=self._accounted + batch.size, dropped=dropped, updated_at=now)
        )
        if moved.rowcount != 1:
            at = connection.execute(sa.select(ledger_writer.c.batch).where(mine)).scalar()
            if at == self._batch + 1:
                return []  # committed earlier, though the answer never came; the open cells are read again
            raise Conflict("Another process writes to the ledger under this one's name.", code="ledger_writer")
        refused = batch.refused + write.insert_hits(connection, batch.hits, careful=batch.careful)
        refused += write.insert_calls(connection, batch.calls, self._settings.text_chars, careful=batch.careful)
        self._lose(connection, now, "refused", refused)
        self._lose(connection, now, "dropped", dropped - self._dropped)
        return self._add_to_rollups(connection, batch.added or Added())

    def _add_to_rollups(self, connection: sa.Connection, added: Added) -> list[tuple[Cube[Any], dict[int, Any]]]:
        tallies = dict(added.tallies)
        for key, tally in conversations.advance(connection, added.turns, self._window).items():
            known = tallies[key].copy() if key in tallies else interactions.Tally()
            known.add(tally)
            tallies[key] = known  # a copy: the batch is added up once, and may be written twice
        writer = self._mark.writer
        return [
            (self._rollup, self._rollup.add(connection, writer, added.cells)),
            (self._traffic, self._traffic.add(connection, writer, adding.narrow(added))),
            (self._interactions, self._interactions.add(connection, writer, tallies)),
            (self._drawn, self._drawn.add(connection, writer, added.drawn)),
        ]

    def close(self) -> None:
        """Let go of the mark."""
        self._mark.close()

    def forget(self) -> None:
        """Read the open cells again before they are next added to: what was committed is in doubt."""
        for cube in (self._rollup, self._traffic, self._interactions, self._drawn):
            cube.forget()

    def prune(self) -> None:
        """Remove fine rollups that are past their time; the hours stay."""
        now = self._clock.now()
        second = rollup.SECOND
        ends: Mapping[int, int] = {
            10: now - self._settings.keep_10s_hours * 3_600 * second,
            60: now - self._settings.keep_1m_days * 86_400 * second,
        }

        def remove(connection: sa.Connection) -> None:
            for grain, end in ends.items():
                for table in (tables.rollup, tables.traffic, tables.interaction, tables.signal_rollup):
                    connection.execute(table.delete().where(table.c.grain == grain, table.c.bucket < end))

        self._database.transact(remove)
