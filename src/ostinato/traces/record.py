"""Taking rows from the hot path, and writing them in the background.

``hit`` and ``call`` put a row into a bounded queue and count it in memory that outlives a killed process. One thread
writes what has gathered, rows and rollup in one transaction, and keeps it while the database does not answer. Nothing
here ever fails a request: what cannot be kept is shed, newest first, and counted exactly.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Unavailable
from ostinato.storage import Database
from ostinato.traces import adding, rollup, write
from ostinato.traces import mark as marks
from ostinato.traces.adding import Added
from ostinato.traces.drawing import Draws
from ostinato.traces.journal import Batch, Journal
from ostinato.traces.mark import ACCEPTED, DROPPED
from ostinato.traces.model import CallRow, HitRow
from ostinato.traces.rollup import UNKNOWN, Cells, Origin
from ostinato.traces.settings import Settings

_LOG = logging.getLogger(__name__)

_SLOWEST = 5.0
"""Longest wait between two tries on a database that fails, seconds."""
_RETRY_SECONDS = 0.1
"""Between two tries of a clean stop."""
_ORIGINS = 100_000
"""Calls remembered, so that a hit finds the call it repeats without a query."""
_ROUNDS = 2
"""Batches for which a hit waits for its call: a follower of a flight may be recorded before its leader."""
_YOUNG = 600_000_000
"""A call older than this (microseconds) is not waited for."""
_PRUNE_SECONDS = 3_600.0


class Watcher(Protocol):
    """Who else sees the rows: metrics, an exporter. Must be quick, must not fail, must not keep the lists."""

    def observe_call(self, row: CallRow) -> None:
        """As the call is recorded, in the event loop's thread."""
        ...

    def observe_batch(
        self, hits: list[HitRow], calls: list[CallRow], origins: Mapping[str, Origin], cells: Cells
    ) -> None:
        """Once per batch, in the writer's thread, before it is written."""
        ...


class Recorder:
    """The way into the ledger. ``hit`` and ``call`` are for one thread, the event loop's."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        settings: Settings,
        *,
        directory: Path | None = None,
        watchers: Iterable[Watcher] = (),
    ) -> None:
        """``directory``: for the counters that survive a crash; left out, it is where the SQLite file is."""
        self._database = database
        self._clock = clock
        self._settings = settings
        if directory is None and database.dialect == "sqlite" and database.url.database:
            directory = Path(database.url.database).parent
        self._directory = directory
        self._watchers = tuple(watchers)
        self.draws: Draws | None = None
        """Who takes part in the hold-out: set by whoever draws, before the first request."""
        self._mark = marks.in_memory(clock.now())
        self._counts = self._mark.counts
        self._hits: deque[HitRow] = deque()
        self._calls: deque[CallRow] = deque()
        self._room = settings.queue_rows
        self._strangers: list[Journal] = []
        self._journal = Journal(database, clock, settings, self._mark)
        self._pending: Batch | None = None
        self._held: list[HitRow] = []
        self._awaited: dict[str, int] = {}
        self._origins: dict[str, Origin] = {}
        self._pruned = clock.monotonic()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.failing = ""
        """Why the last write failed; empty while all is well."""
        self.failures = 0
        """Writes that failed and were tried again."""

    def watch(self, watcher: Watcher) -> None:
        """Let somebody else see the rows from now on."""
        self._watchers = (*self._watchers, watcher)

    @property
    def batch_seconds(self) -> float:
        """How long a row waits, at most, to be written with others."""
        return self._settings.batch_seconds

    # --- hot path -----------------------------------------------------------------------------------------------

    def hit(self, row: HitRow) -> None:
        """Record a hit. O(1), never blocks, never raises."""
        if len(self._hits) + len(self._calls) >= self._room:
            self._counts[DROPPED] += 1
            return
        self._counts[ACCEPTED] += 1
        self._hits.append(row)

    def call(self, row: CallRow) -> None:
        """Record everything that is no plain hit. O(1), never blocks."""
        for watcher in self._watchers:
            try:
                watcher.observe_call(row)
            except Exception:  # nobody's counter is worth a request
                self.failures += 1
        if len(self._hits) + len(self._calls) >= self._room:
            self._counts[DROPPED] += 1
            return
        self._counts[ACCEPTED] += 1
        self._calls.append(row)

    # --- for health and metrics ---------------------------------------------------------------------------------

    @property
    def dropped(self) -> int:
        """Rows shed because the queue was full, since this writer's first start (restarts included)."""
        return self._counts[DROPPED]

    @property
    def depth(self) -> int:
        """Rows in memory, waiting to be written."""
        pending = self._pending
        return len(self._hits) + len(self._calls) + len(self._held) + (pending.size if pending else 0)

    @property
    def lost_before(self) -> int:
        """Rows that killed processes took with them, found at this start."""
        return self._journal.lost_before + sum(stranger.lost_before for stranger in self._strangers)

    # --- life ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Count what an earlier process lost, and begin to write. Blocking, shortly.

        A database that is away does not stop it: rows gather, and are written when it is back.
        """
        if self._directory is not None:
            try:
                mine, *others = marks.open_marks(self._directory, self._clock.now())
            except OSError as error:
                _LOG.warning("No counters that survive a crash: the data directory cannot be written (%s).", error)
            else:
                early = self._counts
                self._journal = Journal(self._database, self._clock, self._settings, mine)
                self._strangers = [Journal(self._database, self._clock, self._settings, other) for other in others]
                mine.counts[ACCEPTED] += early[ACCEPTED]
                mine.counts[DROPPED] += early[DROPPED]
                self._mark, self._counts = mine, mine.counts
        self._attempt(self._register)
        self._thread = threading.Thread(target=self._run, name="ostinato-ledger", daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Write what is left, and end. Gives the rows that could not be written: 0 at a clean stop. Blocking."""
        self._stopping = True
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        else:
            self.flush()
        left = self.depth
        # Whoever records now is told off by the counter; the map that it was in is closed.
        self._room = 0
        self._counts = marks.copied(self._counts)
        for journal in (self._journal, *self._strangers):
            journal.close()
        if left:
            _LOG.error("The ledger stopped with %d rows unwritten: %s", left, self.failing)
        return left

    def flush(self) -> bool:
        """Write everything recorded so far; whether it worked. Blocking: for tests and tools."""
        return self._attempt(lambda: self._cycle(last=True))

    def catch_up(self) -> bool:
        """Write what can be written now, for a reader; whether it worked. Blocking.

        Hits whose call is on its way still wait for it. Does nothing while the database fails: the writer's thread
        tries again at its own pace, and the reader is told by its own query.
        """
        return not self.failing and self._attempt(self._cycle)

    # --- the writer's thread ------------------------------------------------------------------------------------

    def _run(self) -> None:
        delay = self._settings.batch_seconds
        while not self._stopping:
            self._wake.wait(delay)
            if not self._stopping:
                worked = self._attempt(self._cycle)
                delay = self._settings.batch_seconds if worked else min(max(delay * 2, 0.1), _SLOWEST)
        # Tries are counted, not timed: the clock may be one that a test winds.
        for _ in range(max(1, int(self._settings.stop_seconds / _RETRY_SECONDS))):
            if self.flush():
                break
            threading.Event().wait(_RETRY_SECONDS)

    def _attempt(self, work: Callable[[], None]) -> bool:
        try:
            with self._lock:
                work()
        except Exception as error:  # whatever it is, it must not end the thread
            self.failures += 1
            if not self.failing:
                _LOG.warning("The ledger cannot be written; rows wait in memory. %s", error)
            self.failing = str(error) or type(error).__name__
            return False
        if self.failing:
            _LOG.warning("The ledger is written again.")
        self.failing = ""
        return True

    def _register(self) -> None:
        for journal in (self._journal, *self._strangers):
            if not journal.registered:
                journal.register()
        for stranger in self._strangers:
            stranger.close()

    def _cycle(self, *, last: bool = False) -> None:
        """Write what there is, batch after batch. A batch that fails is kept for the next cycle."""
        if not self._journal.registered:
            self._register()
        # Hits that waited for their call come first; those that go on waiting do so until the next cycle.
        waited, self._held = self._held, []
        while self._pending is not None or self._take(waited):
            batch = self._pending
            assert batch is not None
            if batch.cells is None:
                self._prepare(batch, last=last)
            if batch.size:
                self._write(batch)
            self._pending = None
            self._make_room()
            waited = []
        if self._clock.monotonic() - self._pruned >= _PRUNE_SECONDS:
            self._pruned = self._clock.monotonic()
            self._journal.prune()

    def _write(self, batch: Batch) -> None:
        try:
            self._journal.write(batch)
        except Exception as error:
            self._journal.forget()
            if batch.careful or (isinstance(error, Unavailable) and error.code != "storage_failed"):
                raise
            # No trouble of the database's own: there is a row in it that it does not take.
            batch.careful = True
            self._journal.write(batch)

    def _take(self, waited: list[HitRow]) -> bool:
        """Make the next batch the pending one; false where nothing waits."""
        most = self._settings.batch_rows
        hits = [*waited, *(self._hits.popleft() for _ in range(min(len(self._hits), most)))]
        # Calls after hits: the call that a hit repeats was mostly recorded before it, so it is in this batch or before.
        calls = [self._calls.popleft() for _ in range(min(len(self._calls), most))]
        if not hits and not calls:
            return False
        self._pending = Batch(hits, calls)
        self._make_room()
        return True

    def _prepare(self, batch: Batch, *, last: bool) -> None:
        """Find the calls that the hits repeat, put off hits whose call is on its way, and add up the rest."""
        for row in batch.calls:
            with suppress(AttributeError, TypeError):  # a row with a wrong type in it; it is refused below
                self._origins[row.request_id] = rollup.origin_of(row)
        unknown = {row.origin for row in batch.hits if row.origin not in self._origins}
        if unknown:
            self._origins.update(self._database.query(lambda connection: write.find_origins(connection, unknown)))
        put_off: set[str] = set()
        for origin in unknown:
            if origin in self._origins:
                self._awaited.pop(origin, None)
            elif last or not self._may_come(origin):
                self._awaited.pop(origin, None)
                self._origins[origin] = UNKNOWN
            else:
                self._awaited[origin] = self._awaited.get(origin, 0) + 1
                put_off.add(origin)
        if put_off:
            self._held.extend(row for row in batch.hits if row.origin in put_off)
            batch.hits = [row for row in batch.hits if row.origin not in put_off]
        batch.added = self._add_up(batch)
        batch.cells = batch.added.cells
        for watcher in self._watchers:
            try:
                watcher.observe_batch(batch.hits, batch.calls, self._origins, batch.cells)
            except Exception:  # whatever it is, the rows must be written
                self.failures += 1
        self._trim_origins()

    def _add_up(self, batch: Batch) -> Added:
        try:
            return adding.add_up(batch.hits, batch.calls, self._origins, self.draws)
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            _LOG.error("A row of the ledger is not what it should be and is left out (%s).", type(error).__name__)
            return self._add_up_carefully(batch)

    def _add_up_carefully(self, batch: Batch) -> Added:
        """Row by row; those that cannot be added up are taken out, and counted as refused."""
        added = Added()
        hits: list[HitRow] = []
        calls: list[CallRow] = []
        for row in (*batch.hits, *batch.calls):
            try:
                if isinstance(row, HitRow):
                    alone = adding.add_up((row,), (), self._origins, self.draws)
                    hits.append(row)
                else:
                    alone = adding.add_up((), (row,), self._origins, self.draws)
                    calls.append(row)
            except (AttributeError, TypeError, ValueError, OverflowError):
                batch.refused += 1
                continue
            added.add(alone)
        batch.hits, batch.calls = hits, calls
        return added

    def _may_come(self, origin: str) -> bool:
        if self._awaited.get(origin, 0) >= _ROUNDS or not ids.is_id(origin):
            return False
        return self._clock.now() - ids.time_of(origin) < _YOUNG

    def _trim_origins(self) -> None:
        for name in list(self._origins)[: max(0, len(self._origins) - _ORIGINS)]:
            del self._origins[name]

    def _make_room(self) -> None:
        pending = self._pending
        self._room = self._settings.queue_rows - len(self._held) - (pending.size if pending else 0)
