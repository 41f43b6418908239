"""Taking signals from wherever they come, writing them in the background, and reading them."""

import asyncio
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.signals import forgetting, summing, tables
from ostinato.signals.model import SOURCES, Filter, Page, Signal, Summary, Value
from ostinato.signals.settings import Settings
from ostinato.signals.summing import signal_of
from ostinato.storage import Database
from ostinato.traces import conversations, interactions
from ostinato.traces.cubes import Cube

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

_BATCH = 500
_SLOWEST = 5.0
"""Longest wait between two tries on a database that fails, seconds."""
_LAST_TRIES = 20
_LABELS = 20
_OF_REQUEST = 1_000
_EQUAL = ("org", "project", "source", "name", "prompt", "release", "arm", "intent")
_SLICES = ("prompt", "release", "arm")


class Signals:
    """What is known of answers. ``record`` is for the event loop: it never waits and never raises.

    Like the ledger's recorder, one thread writes what has gathered, and keeps it while the database does not answer.
    """

    def __init__(
        self, database: Database, clock: Clock, settings: Settings | None = None, *, window: int = interactions.WINDOW
    ) -> None:
        """``window``: microseconds after an answer within which a complaint is about that answer."""
        self.settings = settings or Settings()
        self.settings.check()
        self.clock = clock
        self._database = database
        self._window = window
        self._writer = ids.new(clock.now())
        self._sums, self._interactions = Cube(summing.LAYOUT), Cube(interactions.LAYOUT)
        self._queue: deque[Signal] = deque()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._writing = 0
        self.counts: dict[str, int] = dict.fromkeys(SOURCES, 0)
        """Source -> signals taken, since this process started."""
        self.dropped = 0
        """Signals that were not taken because the queue was full, or that no database would take."""
        self.failing = ""
        """Why the last write failed; empty while all is well."""

    # -- in --------------------------------------------------------------------------------------------------------

    def record(self, signals: Sequence[Signal]) -> int:
        """Take signals, all of them or (where the queue is full) none; gives how many. O(n), never blocks."""
        if self._stopping or len(self._queue) + self._writing + len(signals) > self.settings.queue:
            self.dropped += len(signals)
            return 0
        for one in signals:
            self.counts[one.source] = self.counts.get(one.source, 0) + 1
            self._queue.append(one)
        return len(signals)

    @property
    def depth(self) -> int:
        """Signals in memory, waiting to be written."""
        return len(self._queue) + self._writing

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._run, name="ostinato-signals", daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """Write what is left, and end. Gives the signals that could not be written: 0 at a clean stop. Blocking."""
        self._stopping = True
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        else:
            self.flush()
        if self.depth:
            _LOG.error("The end came with %d signals unwritten: %s", self.depth, self.failing)
        return self.depth

    async def close(self) -> None:
        """:meth:`stop`, for an event loop."""
        await asyncio.to_thread(self.stop)

    def flush(self) -> bool:
        """Write everything taken so far; whether it worked. Blocking."""
        try:
            with self._lock:
                self._cycle()
        except Exception as error:  # whatever it is, it must not end the thread
            if not self.failing:
                _LOG.warning("Signals cannot be written; they wait in memory. %s", error)
            self.failing = str(error) or type(error).__name__
            return False
        self.failing = ""
        return True

    def _run(self) -> None:
        delay = self.settings.batch_seconds
        while not self._stopping:
            self._wake.wait(delay)
            if not self._stopping:
                delay = self.settings.batch_seconds if self.flush() else min(max(delay * 2, 0.1), _SLOWEST)
        # Tries are counted, not timed: the clock may be one that a test winds.
        for _ in range(_LAST_TRIES):
            if self.flush():
                break
            threading.Event().wait(0.1)

    def _cycle(self) -> None:
        while self._queue:
            batch = [self._queue[number] for number in range(min(_BATCH, len(self._queue)))]
            self._write(batch)
            # Only now: what fails is tried again, in its order.
            for _ in batch:
                self._queue.popleft()

    def _write(self, batch: Sequence[Signal]) -> None:
        try:
            self._put(batch)
        except OstinatoError as error:
            if error.code != "storage_failed" and error.status == 503:
                raise
        except (ValueError, TypeError, OverflowError):
            pass
        else:
            return
        # No trouble of the database's own: there is one in it that it does not take.
        for one in batch:
            try:
                self._put([one])
            except OstinatoError as error:
                if error.code != "storage_failed" and error.status == 503:
                    raise
                self.dropped += 1
            except (ValueError, TypeError, OverflowError):
                self.dropped += 1

    def _put(self, batch: Sequence[Signal]) -> None:
        """Signals, their sums and what they say of interactions: one transaction, all or nothing."""
        try:
            sums, moved = self._database.transact(lambda connection: self._insert(connection, batch))
        except Exception:
            self._sums.forget()
            self._interactions.forget()
            raise
        self._sums.keep(sums)
        self._interactions.keep(moved)

    def _insert(self, connection: sa.Connection, batch: Sequence[Signal]) -> tuple[dict[int, Any], dict[int, Any]]:
        """Write signals. Those that are there stay: a write whose answer never came is repeated."""
        table = tables.signal
        named = sa.select(table.c.id).where(table.c.id.in_([_clean(one.id) for one in batch]))
        known = set(connection.execute(named).scalars())
        fresh: dict[str, Signal] = {}
        for one in batch:
            if _clean(one.id) not in known:
                fresh.setdefault(one.id, msgspec.convert(_cleaned(one), Signal))
        if not fresh:
            return {}, {}
        sums = summing.sums_of(connection, fresh.values())
        connection.execute(table.insert(), [msgspec.structs.asdict(one) for one in fresh.values()])
        told = ((one.request_id, summing.event_of(one)) for one in fresh.values())
        events = [(request, event) for request, event in told if event is not None]
        moved = conversations.tell(connection, events, self._window) if events else {}
        return (
            self._sums.add(connection, self._writer, sums),
            self._interactions.add(connection, self._writer, moved),
        )

    def forget_labels(self, project: str, labels: Collection[str]) -> int:
        """Take labels that only somebody who is forgotten has said out of the sums; they count as ``other``. Gives how
        many cells had some. Blocking."""
        with self._lock:
            changed = self._database.transact(lambda connection: forgetting.forget_labels(connection, project, labels))
            # What is open was read before.
            self._sums.forget()
        return changed

    # -- out -------------------------------------------------------------------------------------------------------

    async def of(self, request_id: str, filters: Filter | None = None) -> tuple[Signal, ...]:
        """All that is known of one request, oldest first."""
        table = tables.signal
        where = [table.c.request_id == _clean(request_id), *_conditions(filters or Filter())]
        query = sa.select(table).where(*where).order_by(table.c.seq).limit(_OF_REQUEST)
        return await self._read(
            lambda connection: tuple(signal_of(row) for row in connection.execute(query).mappings())
        )

    async def known(self, names: Collection[str]) -> set[str]:
        """Which of these signals, by id, are written."""
        table, wanted = tables.signal, sorted(names)

        def read(connection: sa.Connection) -> set[str]:
            found: set[str] = set()
            for start in range(0, len(wanted), _BATCH):
                some = sa.select(table.c.id).where(table.c.id.in_(wanted[start : start + _BATCH]))
                found.update(connection.execute(some).scalars())
            return found

        return await self._read(read)

    async def query(self, filters: Filter, after: str = "", limit: int = 100, *, newest: bool = False) -> Page:
        """A page in the order of writing, from behind the cursor ``after``; ``newest`` first: the other way round.

        Raises ``Invalid`` for a cursor that is none.
        """
        if after and not (after.isascii() and after.isdigit() and len(after) < 19):
            raise Invalid("This is no cursor of signals.", param="after", hint="Use the one of the last page.")
        table = tables.signal
        query = sa.select(table).where(*_conditions(filters))
        if newest:
            query = query.order_by(table.c.seq.desc())
            query = query.where(table.c.seq < int(after)) if after else query
        else:
            query = query.where(table.c.seq > int(after or 0)).order_by(table.c.seq)

        def read(connection: sa.Connection) -> Page:
            rows = connection.execute(query.limit(limit)).mappings().all()
            return Page(tuple(signal_of(row) for row in rows), str(rows[-1]["seq"]) if rows else after)

        return await self._read(read)

    async def values(self, project: str, since: int, most: int) -> list[Value]:
        """Values from 0 to 1 that were told of a project's answers since then, as they were written: ``most`` at most,
        the newest."""
        table = tables.signal
        # By time, as the index is: in the order of writing, all of them would be sorted first, however many there are.
        query = (
            sa.select(*(table.c[name] for name in Value.__struct_fields__))
            .where(table.c.project == _clean(project), table.c.at >= _moment(since), table.c.value.between(0.0, 1.0))
            .order_by(table.c.at.desc(), table.c.seq.desc())
            .limit(most)
        )

        def read(connection: sa.Connection) -> list[Value]:
            found = [Value(*row) for row in connection.execute(query)]
            return sorted(found, key=lambda one: one.seq)

        return await self._read(read)

    async def summary(self, filters: Filter, by: Sequence[str] = ()) -> tuple[Summary, ...]:
        """What signals come to, by source and name; ``by``: of ``prompt``, ``release``, ``arm``, these apart as well.

        Of what one actor said of a request under one name, the last counts.
        """
        unknown = sorted(set(by) - set(_SLICES))
        if unknown:
            raise Invalid(f"Signals are not told apart by {unknown[0][:40]!r}.", param="by", hint=", ".join(_SLICES))
        table = tables.signal
        same = (table.c.request_id, table.c.source, table.c.name, table.c.scorer, table.c.actor)
        last = sa.select(sa.func.max(table.c.seq).label("seq")).where(*_conditions(filters)).group_by(*same).subquery()
        keys = [table.c[name] for name in ("source", "name", *(name for name in _SLICES if name in by))]
        joined = table.join(last, last.c.seq == table.c.seq)
        valued = sa.case((table.c.value.is_not(None), table.c.weight), else_=0.0)
        sums = (
            sa.func.count(),
            sa.func.count(table.c.value),
            sa.func.sum(table.c.value * table.c.weight),
            sa.func.sum(valued),
        )
        totals = sa.select(*keys, *sums).select_from(joined).group_by(*keys).order_by(*keys)
        labels = (
            sa.select(*keys, table.c.label, sa.func.count())
            .select_from(joined)
            .where(table.c.label != "")
            .group_by(*keys, table.c.label)
            .order_by(sa.func.count().desc(), table.c.label)
        )

        def read(connection: sa.Connection) -> tuple[Summary, ...]:
            said: dict[tuple[str, ...], dict[str, int]] = {}
            for row in connection.execute(labels):
                some = said.setdefault(tuple(row[: len(keys)]), {})
                if len(some) < _LABELS:
                    some[row[len(keys)]] = row[len(keys) + 1]
            return tuple(_summary(keys, row, said) for row in connection.execute(totals))

        return await self._read(read)

    async def _read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work``, with all that was recorded before: who asks looks for what they just did."""
        await self.catch_up()
        return await self._database.read(work)

    async def catch_up(self) -> None:
        """Write what was recorded before, unless the database fails: for whoever reads the sums."""
        if self._queue and not self.failing:
            await asyncio.to_thread(self.flush)


def _summary(
    keys: Sequence[sa.Column[Any]], row: Sequence[Any], said: Mapping[tuple[str, ...], dict[str, int]]
) -> Summary:
    key = tuple(row[: len(keys)])
    count, valued, total, weight = row[len(keys) :]
    named = {column.name: value for column, value in zip(keys, key, strict=True)}
    return Summary(
        **named, count=count, valued=valued, mean=total / weight if weight else None, labels=said.get(key, {})
    )


def _cleaned(one: Signal) -> dict[str, Any]:
    """As it may be written. What is no number could not be told: in a sum it would make everything none."""
    found = {name: _clean(value) for name, value in msgspec.structs.asdict(one).items()}
    if one.value is not None and not math.isfinite(one.value):
        found["value"] = None
    if not 0 < one.weight < math.inf:
        found["weight"] = 1.0
    return found


def _conditions(filters: Filter) -> list[sa.ColumnElement[bool]]:
    table = tables.signal
    found: list[sa.ColumnElement[bool]] = []
    for name in _EQUAL:
        value = getattr(filters, name)
        if value:
            found.append(table.c[name] == _clean(value))
    if filters.since is not None:
        found.append(table.c.at >= _moment(filters.since))
    if filters.until is not None:
        found.append(table.c.at < _moment(filters.until))
    if filters.least is not None:
        found.append(table.c.value >= filters.least)
    if filters.most is not None:
        found.append(table.c.value <= filters.most)
    return found


def _moment(micros: int) -> int:
    """A time that a column of 64 bits can be compared with."""
    return max(0, min(micros, 2**62))


def _clean(value: Any) -> Any:
    """What any database takes: no NUL, no half of a surrogate pair."""
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode() if isinstance(value, str) else value
