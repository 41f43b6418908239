"""The watch: one process of several looks at what is new, feeds the detectors, and hands on what they find.

A look reads behind a cursor, and writes cursors, states and alarms in one transaction: killed anywhere, nothing is lost
and nothing counts twice. Alarms are handed on afterwards, again and again until they have arrived.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec
import sqlalchemy as sa

from ostinato.cases.model import Alarm
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError
from ostinato.monitoring import feeds, kinds, store
from ostinato.monitoring.budgets import MONTH, arls
from ostinato.monitoring.feeds import Candidate, Fed
from ostinato.monitoring.model import DAY, WHOLE, Batch, Declared, Feed, Found, Kind, Observation, Series
from ostinato.monitoring.registry import Registry
from ostinato.monitoring.settings import Settings
from ostinato.monitoring.store import Kept, Lease
from ostinato.storage import Database

RaiseAlarm = Callable[[Alarm], Awaitable[object]]
"""Takes an alarm; the same one may come again. What it raises leaves the alarm waiting."""

_log = logging.getLogger(__name__)

_FIRST = 100_000
"""Rows of the past that a first look learns from."""
_FORGET_EVERY = 360
"""Looks between two times of forgetting what is long idle."""
_TICK = 60.0
"""Seconds that were watched between two times that a detector is told that nothing came."""
_LAZY = 600.0
"""Seconds between two times that what such a detector has counted is written down: samples and watched time of a state
belong together, so what a crash loses of both says nothing wrong."""
_STOOD = 60.0
"""Seconds beside ten looks after which the process is held to have stood still."""


class Watch:
    """Looks every ``every_seconds``, where this process holds the lease."""

    def __init__(
        self, traces: Database, registry: Registry, clock: Clock, settings: Settings, raise_alarm: RaiseAlarm
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.clock = clock
        self.raise_alarm = raise_alarm
        self.database = traces
        self.sampled: Callable[[list[Candidate]], Awaitable[None]] | None = None
        """Is told which questions could be drawn."""
        self.nights: Callable[[], Awaitable[None]] | None = None
        """Is called after every look: asks what is to be asked tonight."""
        self.failing = ""
        """Why the last look could not be finished; empty while all is well."""
        self.unwatched = 0
        """Series for which there was no room."""
        self.raised = 0
        """Alarms found since the start."""
        self.kept: dict[str, Kept] = {}
        """What this process remembers while it watches."""
        self.lease: Lease | None = None
        self._mine = ids.new(clock.now())
        self._alone = MONTH / settings.false_alarms_per_month
        self._seen: tuple[Lease, float] | None = None
        self._cursors: dict[str, int] = {}
        self._upto: dict[str, int] = {}
        self._looked: tuple[int, float] | None = None
        self._looks = 0
        self._counted = 0.0
        """Seconds watched, in all; and how many of them each detector of what does not come has been told of."""
        self._told: dict[str, float] = {}
        self._written: dict[str, float] = {}
        """When the state of such a detector was written last; and which are to be."""
        self._unwritten: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._night: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch."""
        if self.settings.enabled:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End; another process begins at once."""
        tasks = [one for one in (self._task, self._night) if one is not None]
        self._task = self._night = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        lease, self.lease = self.lease, None
        if lease is not None:
            last = {key: self.kept[key] for key in self._unwritten}

            def leave(connection: sa.Connection) -> None:
                store.write(connection, lease, {}, last, ())
                store.leave(connection, lease)

            with contextlib.suppress(OstinatoError, store.Lost):
                await self.database.run(leave)

    async def _run(self) -> None:
        while True:
            await self.clock.sleep(self.settings.every_seconds)
            if await self.look() and self.nights is not None and (self._night is None or self._night.done()):
                # Models may take their time; looks go on meanwhile.
                self._night = asyncio.get_running_loop().create_task(self._ask(self.nights))

    async def _ask(self, nights: Callable[[], Awaitable[None]]) -> None:
        try:
            await nights()
        except store.Lost:
            pass  # Somebody else watches, and asks.
        except Exception as error:
            # Never its text: it may hold one of somebody's.
            self.failing = f"the nightly detectors failed ({type(error).__name__})"
            _log.warning("The nightly detectors failed (%s).", type(error).__name__)

    async def look(self) -> bool:
        """One look, if this process holds the watch; whether it does. Does not raise."""
        async with self._lock:
            try:
                if not await self._hold():
                    return False
                while await self._once():
                    pass
                why = await self._hand_on()
            except store.Lost:
                self._forget()
                return False
            except OstinatoError as error:
                self._fail(error.sentence)
                return False
            except Exception as error:
                self._fail(type(error).__name__)
                _log.exception("Detectors could not look.")
                return False
            if why:
                self._fail(why)
            else:
                self.failing = ""
            return True

    def _fail(self, why: str) -> None:
        if not self.failing:
            _log.warning("Detectors cannot look, and try again: %s", why)
        self.failing = why

    def _forget(self) -> None:
        self.lease, self.kept, self._upto, self._looked = None, {}, {}, None
        self._told, self._written, self._unwritten = {}, {}, set()

    # -- who watches -----------------------------------------------------------------------------------------------

    async def _hold(self) -> bool:
        """Hold the watch, or take it from a process that stood still for three looks."""
        if self.lease is not None:
            return True
        found = await self.database.read(store.holder)
        now = self.clock.monotonic()
        if found.owner and found.owner != self._mine:
            same = self._seen is not None and self._seen[0] == found
            since = self._seen[1] if same and self._seen is not None else now
            self._seen = (found, since)
            if now - since < max(3 * self.settings.every_seconds, 30.0):
                return False
        lease = await self.database.run(lambda connection: store.take(connection, self._mine, found))
        if lease is None:
            return False
        await self._load()
        self.lease = lease
        return True

    async def _load(self) -> None:
        def read(connection: sa.Connection) -> tuple[dict[str, int], dict[str, Kept], dict[str, int]]:
            kept: dict[str, Kept] = {}
            for row in store.rows(connection):
                one = opened(row)
                if one is not None:
                    kept[row["key"]] = one
            return store.cursors(connection), kept, feeds.heads(connection)

        cursors, self.kept, heads = await self.database.read(read)
        now = self.clock.now()
        for name, head in heads.items():
            cursors.setdefault(name, max(0, head - _FIRST))
        cursors.setdefault("rollup", now - now % 60_000_000 - 60_000_000)
        self._cursors, self._upto, self._looked = cursors, {}, None
        steady, ticking = self.clock.monotonic(), [key for key, one in self.kept.items() if one.ticks]
        self._told, self._written = dict.fromkeys(ticking, self._counted), dict.fromkeys(ticking, steady)
        self._unwritten = set()

    # -- one look --------------------------------------------------------------------------------------------------

    async def _once(self) -> bool:
        """Read a page, feed it, write down what came of it; whether there is more."""
        lease = self.lease
        if lease is None:
            raise store.Lost
        now = self.clock.now()
        watched = self._watched(now)

        def read(connection: sa.Connection) -> tuple[feeds.Read, dict[str, int]]:
            heads = feeds.heads(connection)
            return feeds.read(connection, self._cursors, self._upto or self._cursors, now), heads

        found, heads = await self.database.read(read)
        # Copies are fed: where the writing fails, the same rows are read again, by the states as they were.
        changed, alarms = await asyncio.to_thread(self.feed, found.fed, now, watched)
        gone = self._idle(now)
        if self._tidying():
            before = now - int(self.settings.keep_days * DAY)
            await self.database.run(lambda connection: store.prune(connection, before))
        written = self._due(changed)
        await self.database.run(
            lambda connection: store.write(connection, lease, found.positions, written, alarms, gone)
        )
        self._cursors = {**self._cursors, **found.positions}
        self._take_over(changed, written, watched)
        for key in gone:
            for known in (self.kept, self._told, self._written):
                known.pop(key, None)
            self._unwritten.discard(key)
        self._looked = (now, self.clock.monotonic())
        self.raised += len(alarms)
        self._looks += 1
        if not found.more:
            self._upto = heads
        if self.sampled is not None and found.candidates:
            await self.sampled(found.candidates)
        return found.more

    def _due(self, changed: Mapping[str, Kept]) -> dict[str, Kept]:
        """What is to be written of what has changed now, and before."""
        steady = self.clock.monotonic()

        def due(key: str, one: Kept) -> bool:
            before = self.kept.get(key)
            if not one.ticks or before is None or before.state.alarms != one.state.alarms:
                return True
            if (before.state.index >= 1) != (one.state.index >= 1):
                return True  # people look at it
            return steady - self._written.get(key, -math.inf) >= _LAZY

        waiting = {key: self.kept[key] for key in self._unwritten}
        return {key: one for key, one in {**waiting, **changed}.items() if due(key, one)}

    def _take_over(self, changed: Mapping[str, Kept], written: Mapping[str, Kept], watched: float) -> None:
        """Go on with what a look came to, now that it is written."""
        steady = self.clock.monotonic()
        self._counted += watched
        self.kept.update(changed)
        ticking = [key for key, one in changed.items() if one.ticks]
        self._told.update(dict.fromkeys(ticking, self._counted))
        self._written.update((key, steady) for key, one in written.items() if one.ticks)
        self._unwritten = {key for key in {*self._unwritten, *ticking} if key not in written}

    def _watched(self, now: int) -> float:
        """Seconds in which somebody watched: no more than either clock says; none where the process stood still."""
        if self._looked is None:
            return 0.0
        wall, steady = (now - self._looked[0]) / 1e6, self.clock.monotonic() - self._looked[1]
        if steady > 10 * self.settings.every_seconds + _STOOD:
            return 0.0
        return max(0.0, min(wall, steady))

    def feed(self, fed: Fed, now: int, watched: float, only: str = "") -> tuple[dict[str, Kept], list[Alarm]]:
        """What observations come to: changed states, and alarms. Blocking, for a thread."""
        days = arls(self.kept, now, self.settings)
        changed: dict[str, Kept] = {}
        alarms: list[Alarm] = []
        room = self.settings.series - len(self.kept)
        plans: dict[tuple[str, str, str], dict[Feed, list[tuple[Declared, Kind]]]] = {}
        for (feed, series), observations in fed.items():
            place = (series.project, series.intent, series.prompt)
            if place not in plans:
                plans[place] = self._plan(*place)
            for detector, kind in plans[place].get(feed, ()):
                if only not in ("", detector.name):
                    continue
                key = store.key_of(detector.name, kind.name, detector.version, series)
                kept = changed.get(key) or self._open(key, detector, kind, series, room > 0)
                if kept is None:
                    self.unwatched += 1
                    continue
                room -= key not in changed and key not in self.kept
                changed[key] = kept
                batch = Batch(now, tuple(self._thinned(feed, observations)), self._pending(key, watched))
                self._take(kept, detector, kind, batch, days, alarms)
        self._tick(changed, now, watched, days, alarms)
        return changed, alarms

    def _pending(self, key: str, watched: float) -> float:
        """Seconds that were watched since a detector was told last."""
        return watched + self._counted - self._told.get(key, self._counted)

    def _thinned(self, feed: Feed, observations: Sequence[Observation]) -> Sequence[Observation]:
        """Evenly drawn where there are more than a look may cost: what they say of a share or a mean stays the same.
        Families are counted already, each for an hour."""
        if feed == "families":
            return observations
        step = -(-len(observations) // self.settings.observations_per_look)
        return observations if step <= 1 else observations[::step]

    def _plan(self, project: str, intent: str, prompt: str) -> dict[Feed, list[tuple[Declared, Kind]]]:
        found: dict[Feed, list[tuple[Declared, Kind]]] = {}
        for one in self.registry.effective(project, intent, prompt).values():
            if one.declared.enabled:
                try:
                    kind = kinds.find(one.declared.kind)
                except OstinatoError:
                    continue  # a plug-in that is gone
                found.setdefault(kind.feed, []).append((one, kind))
        return found

    def _open(self, key: str, detector: Declared, kind: Kind, series: Series, room: bool = True) -> Kept | None:
        """A copy of a state, or where there is room a fresh one."""
        known = self.kept.get(key)
        if known is not None:
            body = msgspec.msgpack.encode(known.state)
            return msgspec.structs.replace(known, state=msgspec.msgpack.decode(body, type=kind.state))
        if not room:
            return None
        return Kept(detector.name, kind.name, detector.version, series, kind.state(), kind.weight, kind.ticks)

    def _take(
        self,
        kept: Kept,
        detector: Declared,
        kind: Kind,
        batch: Batch,
        days: Mapping[tuple[str, str], float],
        alarms: list[Alarm],
    ) -> None:
        series = kept.series
        # Before anything is known of its neighbours, a detector is alone.
        arl = days.get((series.project, series.intent), kind.weight * self._alone) / kind.weight
        config = kinds.configured(kind, detector.declared.config)
        found = kind.take(config, kept.state, batch, arl)
        if found is not None:
            alarms.append(alarm_of(found, kept, kind, batch.until))

    def _tick(
        self,
        changed: dict[str, Kept],
        now: int,
        watched: float,
        days: Mapping[tuple[str, str], float],
        alarms: list[Alarm],
    ) -> None:
        """Those to whom it means something that nothing came."""
        if watched <= 0:
            return
        for key, one in self.kept.items():
            pending = self._pending(key, watched)
            if key in changed or not one.ticks or pending < _TICK:
                continue
            series = one.series
            detector = self.registry.effective(series.project, series.intent).get(one.detector)
            if detector is None or not detector.declared.enabled or detector.version != one.version:
                continue
            kind = kinds.find(one.kind)
            kept = self._open(key, detector, kind, series)
            if kept is not None:
                changed[key] = kept
                self._take(kept, detector, kind, Batch(now, (), pending), days, alarms)

    def _tidying(self) -> bool:
        return self._looks % _FORGET_EVERY == _FORGET_EVERY - 1

    def _idle(self, now: int) -> list[str]:
        """What is long idle, now and then."""
        if not self._tidying():
            return []
        before = now - int(self.settings.keep_days * DAY)
        return [key for key, one in self.kept.items() if one.state.last < before]

    # -- handing on ------------------------------------------------------------------------------------------------

    async def _hand_on(self) -> str:
        """Hand on what waits, past what nobody can take now; why some of it could not be, or nothing."""
        why = ""
        for alarm in await self.database.read(store.waiting):
            try:
                await self.raise_alarm(alarm)
            except OstinatoError as error:
                why = why or f"an alarm could not be handed on: {error.sentence}"
                continue
            except Exception as error:
                why = why or f"an alarm could not be handed on: {type(error).__name__}"
                _log.exception("The alarm %s could not be handed on.", alarm.id)
                continue
            await self.database.run(lambda connection, alarm=alarm: store.handed(connection, alarm.id))
        return why

    # -- what is asked at night ------------------------------------------------------------------------------------

    async def observe(
        self,
        feed: Feed,
        series: Series,
        observations: tuple[Observation, ...],
        positions: Mapping[str, int],
        *,
        only: str = "",
    ) -> None:
        """Feed what was asked for, and write it down together with cursors. ``only``: to the detector of this name.

        Raises :class:`store.Lost`.
        """
        async with self._lock:
            lease = self.lease
            if lease is None:
                raise store.Lost
            fed: Fed = {(feed, series): list(observations)} if observations else {}
            changed, alarms = await asyncio.to_thread(self.feed, fed, self.clock.now(), 0.0, only)
            await self.database.run(lambda connection: store.write(connection, lease, positions, changed, alarms))
            self._cursors = {**self._cursors, **positions}
            self.kept.update(changed)
            self.raised += len(alarms)
            await self._hand_on()

    async def mark(self, positions: Mapping[str, int], alarms: Sequence[Alarm] = ()) -> None:
        """This night is done. ``alarms``: what was found without a detector."""
        async with self._lock:
            lease = self.lease
            if lease is None:
                raise store.Lost
            await self.database.run(lambda connection: store.write(connection, lease, positions, {}, alarms))
            self._cursors = {**self._cursors, **positions}
            self.raised += len(alarms)
            await self._hand_on()

    def night_of(self, name: str) -> int:
        """The day on which something was asked last, since the epoch."""
        return self._cursors.get(name, 0)


def opened(row: sa.RowMapping) -> Kept | None:
    """A kept state; ``None`` for one of a kind that is gone, or of another form than today's: it learns anew."""
    try:
        kind = kinds.find(row["kind"])
        state = msgspec.msgpack.decode(bytes(row["body"]), type=kind.state)
    except (OstinatoError, msgspec.MsgspecError):
        return None
    return Kept(row["detector"], row["kind"], row["version"], store.series_of(row), state, kind.weight, kind.ticks)


def alarm_of(found: Found, kept: Kept, kind: Kind, now: int) -> Alarm:
    """What is handed on: figures and ids, never a text."""
    series = kept.series
    evidence = dict(found.evidence)
    target = series.part if kind.feed in ("fingerprints",) else ""
    if series.part and not target:
        evidence["part"] = series.part
    return Alarm(
        id=ids.new(now),
        at=now,
        org=series.org,
        project=series.project,
        kind=found.kind or kind.raises,
        detector=f"{kept.detector}:{series.part}" if series.part and not target else kept.detector,
        title=kind.title,
        intent=series.intent,
        prompt=series.prompt,
        release="" if kind.feed in WHOLE else series.release,
        target=target,
        statistic=found.statistic,
        threshold=found.threshold,
        since=found.since,
        samples=found.samples,
        evidence=evidence,
    )
