"""The writer's side of the ledger: batches into the database, exactly once, with the rollup and the count of losses.

A batch, its part of the rollup and the writer's running numbers share one transaction. The number of the batch is
compared and set there, so that a batch whose commit was not confirmed is not written twice.
"""

import logging
from collections.abc import Mapping

import msgspec
import sqlalchemy as sa

from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict
from ostinato.storage import Database
from ostinato.traces import rollup, write
from ostinato.traces.mark import ACCEPTED, DROPPED, REGISTERED, Mark
from ostinato.traces.model import CallRow, HitRow
from ostinato.traces.rollup import Cells
from ostinato.traces.settings import Settings
from ostinato.traces.tables import ledger_loss, ledger_writer
from ostinato.traces.tables import rollup as rollup_table

_LOG = logging.getLogger(__name__)

_OPEN_BUCKETS = 6
"""Buckets of time per grain that are kept in memory to be added to."""


class Batch(msgspec.Struct):
    """Rows that are written together, and what they add to the rollup."""

    hits: list[HitRow]
    calls: list[CallRow]
    cells: Cells | None = None
    """``None`` until it has been added up."""
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
        self._open: dict[int, Cells] = {grain: {} for grain in rollup.GRAINS}
        self._loaded: dict[int, set[int]] = {grain: set() for grain in rollup.GRAINS}
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
        for grain, cells in merged.items():
            self._open[grain].update(cells)
            self._loaded[grain].update(bucket for bucket, _ in cells)
            self._forget_old(grain)

    def _write(self, connection: sa.Connection, batch: Batch, dropped: int) -> dict[int, Cells]:
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
                return {}  # committed earlier, though the answer never came; the open cells are read again
            raise Conflict("Another process writes to the ledger under this one's name.", code="ledger_writer")
        refused = batch.refused + write.insert_hits(connection, batch.hits, careful=batch.careful)
        refused += write.insert_calls(connection, batch.calls, self._settings.text_chars, careful=batch.careful)
        self._lose(connection, now, "refused", refused)
        self._lose(connection, now, "dropped", dropped - self._dropped)
        return {grain: self._add_to_rollup(connection, grain, batch.cells or {}) for grain in rollup.GRAINS}

    def _add_to_rollup(self, connection: sa.Connection, grain: int, cells: Cells) -> Cells:
        fresh = cells if grain == rollup.GRAINS[0] else rollup.coarser(cells, grain)
        unread = {bucket for bucket, _ in fresh} - self._loaded[grain]
        stored = write.load_cells(connection, self._mark.writer, grain, unread) if unread else {}
        merged: Cells = {}
        for key, cell in fresh.items():
            before = self._open[grain].get(key) or stored.get(key)
            merged[key] = cell.copy()
            if before is not None:
                merged[key].add(before)
        write.put_cells(connection, self._mark.writer, grain, merged)
        return {**stored, **merged}

    def close(self) -> None:
        """Let go of the mark."""
        self._mark.close()

    def forget(self) -> None:
        """Read the open cells again before they are next added to: what was committed is in doubt."""
        for grain in rollup.GRAINS:
            self._open[grain].clear()
            self._loaded[grain].clear()

    def _forget_old(self, grain: int) -> None:
        loaded = self._loaded[grain]
        if len(loaded) <= _OPEN_BUCKETS:
            return
        kept = set(sorted(loaded)[-_OPEN_BUCKETS:])
        self._loaded[grain] = kept
        self._open[grain] = {key: cell for key, cell in self._open[grain].items() if key[0] in kept}

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
                connection.execute(
                    rollup_table.delete().where(rollup_table.c.grain == grain, rollup_table.c.bucket < end)
                )

        self._database.transact(remove)
