"""What goes on by itself: budgets that are looked at, and trials that are counted.

Every process may do it: each move names the version of the trip that it was judged for, so of two only one takes it.
"""

import asyncio
import contextlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec

from ostinato.breakers.breakers import ACTOR, Breakers
from ostinato.breakers.model import Cause, Safety, Trip
from ostinato.core.errors import Conflict, NotFound, OstinatoError

_log = logging.getLogger(__name__)

HOUR = 3_600_000_000
AHEAD = 300_000_000
"""Microseconds: a change that lies further ahead was written while a clock was wrong."""
_WAIT = HOUR
"""Microseconds that a trial waits for its score."""
_AT_ONCE = 500
_CODES: dict[Cause, str] = {"quality": "quality-floor", "policy": "violations", "budget": "over-budget"}
"""What callers read in the header."""


class Place(msgspec.Struct, frozen=True):
    """An intent of a project that declares what trips it."""

    org: str
    project: str
    intent: str
    safety: Safety


Figure = Callable[[str, Place, int, int], Awaitable[tuple[float | None, int]]]
"""``figure(name, place, since, until)``: ``quality`` (0 to 1) or ``violations`` (how many), and of how many samples;
``None``: nothing is known."""
Over = Callable[[str, str], str | None]
"""``over(project, intent)``: why its budget of today is used up, in a sentence; ``None``: it is not."""
Scores = Callable[[Sequence[str]], Awaitable[Mapping[str, float]]]
"""Scores from 0 to 1 by request id, of those that have one."""


class Watcher:
    """Looks every ``watch_seconds``; the gateway reports trials to :meth:`report`."""

    def __init__(
        self,
        breakers: Breakers,
        *,
        places: Callable[[], Iterable[Place] | Awaitable[Iterable[Place]]],
        figure: Figure,
        scores: Scores,
        over: Over,
    ) -> None:
        self._breakers = breakers
        self._places = places
        self._figure = figure
        self._scores = scores
        self._spent = over
        self._counts: dict[tuple[str, int], list[float]] = {}
        self._waiting: OrderedDict[str, tuple[str, int, int]] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self._round = asyncio.Lock()
        self.dropped = 0
        """Trials whose score nobody waited for any more."""
        self.failing = ""
        """Why the last round could not be finished; empty while all is well."""

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End; what is only counted is written down first, where it can be."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            with contextlib.suppress(OstinatoError):
                await self._flush({one.id: one for one in await self._breakers.standing()})

    def report(self, trip: Trip, request_id: str, at: int, ok: bool | None) -> None:
        """What a trial came to; ``None``: nothing was learnt. Costs a dictionary look-up. A trip of quality waits for
        the answer's score instead."""
        if ok is None:
            return
        if trip.cause == "quality" and ok:
            if len(self._waiting) >= self._breakers.settings.trials:
                self._waiting.popitem(last=False)
                self.dropped += 1
            self._waiting[request_id] = (trip.id, trip.changed_at, at)
            return
        self._add(trip.id, trip.changed_at, 1.0 if ok else 0.0)

    async def look(self) -> None:
        """One round, after any that is under way: it may hold counts that it has not written yet. Does not raise: a
        database that is away is asked again next time."""
        try:
            async with self._round:
                await self._go_round()
            self.failing = ""
        except OstinatoError as error:
            self._fail(error.sentence)
        except Exception as error:
            if not self.failing:
                _log.exception("Looking at breakers failed.")
            self.failing = f"looking at breakers failed ({type(error).__name__})"

    async def _go_round(self) -> None:
        await self._score()
        standing = {one.id: one for one in await self._breakers.standing()}
        if await self._flush(standing):
            standing = {one.id: one for one in await self._breakers.standing()}
        for trip in standing.values():
            if trip.intent and not trip.held:
                await self._judge(trip)
        await self._budgets({(one.project, one.intent) for one in standing.values()})

    async def _run(self) -> None:
        while True:
            await self._breakers.clock.sleep(self._breakers.settings.watch_seconds)
            await self.look()

    async def _judge(self, trip: Trip) -> None:
        """What is to become of one that is open."""
        now = self._breakers.clock.now()
        if trip.state == "half-open":
            ruling = self._breakers.ruling(trip)
            if ruling:
                told = f"{trip.good:g} of {trip.good + trip.bad:g} trials were good"
                await self._breakers.move(trip, "close" if ruling == "well" else "reopen", told)
        elif now >= trip.cool_until or trip.changed_at > now + AHEAD:
            if trip.cause != "budget":
                await self._breakers.move(trip, "try", "the cool-down is over")
            elif not await self._over(_place(trip), "budget"):
                await self._breakers.move(trip, "close", "it is within its budget again")

    async def _budgets(self, open_places: set[tuple[str, str]]) -> None:
        """Trip what has broken one of its budgets."""
        # What was found wrong before it was closed has been judged: else the same hour would trip it again at once.
        closed = await self._breakers.closed_since(self._breakers.clock.now() - HOUR)
        places = self._places()
        for place in await places if isinstance(places, Awaitable) else places:
            if (place.project, place.intent) in open_places:
                continue
            causes: tuple[Cause, ...] = ("policy", "budget", "quality")
            for cause in causes:
                broken = await self._over(place, cause, closed.get((place.project, place.intent), 0))
                if broken:
                    with contextlib.suppress(Conflict, NotFound):
                        await self._breakers.trip(
                            ACTOR, place.project, place.intent, cause=cause, code=_CODES[cause], reason=broken
                        )
                    break

    async def _over(self, place: Place, cause: Cause, closed_at: int = 0) -> str:
        """Which budget is broken, in words; empty: none. What is not known breaks nothing: alarms tell of that.
        ``closed_at``: when it was closed last; the hour of quality and violations begins no earlier."""
        if cause == "budget":
            return self._spent(place.project, place.intent) or ""
        now, safety = self._breakers.clock.now(), place.safety
        since = max(now - HOUR, closed_at if closed_at <= now + AHEAD else 0)
        if cause == "policy" and safety.violations_per_hour is not None:
            value, _ = await self._figure("violations", place, since, now)
            if value is not None and value > safety.violations_per_hour:
                return f"{value:g} were blocked within an hour, of {safety.violations_per_hour:g}"
        if cause == "quality" and safety.quality_floor is not None:
            value, samples = await self._figure("quality", place, since, now)
            if value is not None and samples >= safety.min_samples and value < safety.quality_floor:
                return f"its quality was {value:.3f} over {samples} scores, below {safety.quality_floor:g}"
        return ""

    async def _score(self) -> None:
        """Take the scores that have come for trials that wait."""
        if not self._waiting:
            return
        asked = list(self._waiting)[:_AT_ONCE]
        found = await self._scores(asked)
        now = self._breakers.clock.now()
        for request_id in asked:
            waiting = self._waiting.get(request_id)
            if waiting is None:
                continue  # it had to make room meanwhile
            trip_id, changed_at, at = waiting
            score = found.get(request_id)
            if score is not None and 0 <= score <= 1:
                self._add(trip_id, changed_at, score)
            elif now - at < _WAIT:
                # Asked again, behind those that have not been.
                self._waiting.move_to_end(request_id)
                continue
            else:
                self.dropped += 1
            del self._waiting[request_id]

    async def _flush(self, standing: Mapping[str, Trip]) -> bool:
        """Add what was counted to the database's; whether there was anything."""
        counts, self._counts = self._counts, {}
        for (trip_id, changed_at), (good, bad) in counts.items():
            trip = standing.get(trip_id)
            if trip is not None and trip.state == "half-open" and trip.changed_at == changed_at:
                await self._breakers.count(trip, good, bad)
        return bool(counts)

    def _add(self, trip_id: str, changed_at: int, good: float) -> None:
        counted = self._counts.setdefault((trip_id, changed_at), [0.0, 0.0])
        counted[0] += good
        counted[1] += 1 - good

    def _fail(self, reason: str) -> None:
        if self.failing != reason:
            _log.warning("Breakers: %s", reason)
        self.failing = reason


def _place(trip: Trip) -> Place:
    return Place(trip.org, trip.project, trip.intent, trip.safety)
