"""The room's one object with a life: :class:`Breakers` trips, closes and tells what stands."""

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from ostinato import audit, storage
from ostinato.access import Actor, Resource, SystemActor, manage, permissions
from ostinato.breakers import proving, store
from ostinato.breakers.model import Cause, Safety, Trip, Trips
from ostinato.breakers.settings import Settings
from ostinato.breakers.turn import Turn
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound, OstinatoError

T = TypeVar("T")
_log = logging.getLogger(__name__)

TOPIC = "breakers"
"""Of notices."""
ACTOR = SystemActor("breakers")
REASON = 2_000
_CODE = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_SECOND = 1_000_000
_LONGEST = 64
"""A cool-down doubles with every failed trial, up to so many times its length."""

SafetyOf = Callable[[str, str], Safety | None]
"""``safety_of(project, intent)``: what the intent declares; ``None``: there is no such intent."""
Told = Callable[[str, Trip], Awaitable[None]]
"""``told(verb, trip)``: called after each change of state has been committed."""


class Breakers:
    """Breakers of all intents. Each change of state is one transaction with its leaf and its notice."""

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        notices: storage.Notices,
        log: audit.Log,
        *,
        safety_of: SafetyOf,
        settings: Settings | None = None,
        target_exists: Callable[[str], bool] = lambda _: True,
    ) -> None:
        self.settings = settings or Settings()
        self.settings.check()
        self.clock = clock
        self.told: list[Told] = []
        self._database = database
        self._notices = notices
        self._log = log
        self._safety_of = safety_of
        self._target_exists = target_exists
        self.snapshot: storage.Snapshot[Trips] = storage.Snapshot(self._load, notices, TOPIC, clock)

    async def start(self) -> None:
        """Load what stands, and follow it."""
        await self.snapshot.start()

    async def stop(self) -> None:
        """Stop following; what was loaded stays."""
        await self.snapshot.close()

    async def trip(
        self,
        actor: Actor,
        project: str | None,
        intent: str,
        *,
        code: str,
        reason: str = "",
        cause: Cause = "people",
        case: str = "",
        held: bool = False,
    ) -> Trip:
        """Trip an intent of ``project`` (id or short name; ``None``: the actor's own): from its next request on it
        answers by what it declares. Tripping what is tripped holds it where ``held`` says so, and else changes nothing.

        Raises ``NotFound`` (no such intent), ``Denied``, and ``Conflict`` where Ostinato itself would trip it less than
        ``calm_seconds`` after its last change.
        """
        code, reason = _code(code), _reason(reason)

        def work(turn: Turn) -> tuple[Trip, str]:
            home = manage.find_project(turn.connection, actor, project)
            permissions.require(actor, "breakers:operate", Resource(project=home.id, intent=intent))
            safety = self._safety_of(home.id, intent)
            if safety is None:
                raise NotFound(
                    f"There is no intent {intent[:80]!r}.",
                    code="intent_not_found",
                    param="intent",
                    hint="`ostinato intents list` shows them. A target is named PROVIDER/MODEL.",
                )
            wanted = turn.fresh(cause, code, reason, case, held)
            wanted = msgspec.structs.replace(
                wanted,
                org=home.org_id,
                project=home.id,
                intent=intent,
                safety=safety,
                cool_until=wanted.since + int(safety.cool_down_seconds * _SECOND),
            )
            return turn.open(wanted, self.settings.calm_seconds)

        return await self._change(actor, work)

    async def hold_target(self, actor: Actor, target: str, *, code: str, reason: str = "", case: str = "") -> Trip:
        """Have a target (``provider/model``) not asked by anybody until it is closed again. For those who may act in
        every organization, because it is everybody's."""
        code, reason = _code(code), _reason(reason)

        def work(turn: Turn) -> tuple[Trip, str]:
            _may_hold(actor)
            if not self._target_exists(target):
                raise NotFound(f"There is no target {target[:120]!r}.", code="target_not_found", param="target")
            cause: Cause = "case" if case else "people"
            wanted = turn.fresh(cause, code, reason, case, held=True)
            return turn.open(msgspec.structs.replace(wanted, target=target), self.settings.calm_seconds)

        return await self._change(actor, work)

    async def close(self, actor: Actor, trip_id: str, reason: str = "", version: int | None = None) -> Trip:
        """Let an intent or a target go on. Closing what is closed changes nothing."""
        reason = _reason(reason)

        def work(turn: Turn) -> tuple[Trip, str]:
            trip = self._found(turn.connection, actor, trip_id, lock=True)
            if trip.target:
                _may_hold(actor)
            else:
                permissions.require(actor, "breakers:operate", Resource(project=trip.project, intent=trip.intent))
            if version is not None and version != trip.version:
                raise Conflict(f"The breaker has moved on since you looked: it is {trip.state}.", code="version_moved")
            if trip.state == "closed":
                return trip, ""
            return turn.close(trip, reason), "close"

        return await self._change(actor, work)

    async def show(self, actor: Actor, trip_id: str) -> Trip:
        """One trip. Raises ``NotFound``."""
        permissions.require(actor, "breakers:read")
        return _seen(actor, await self._database.read(lambda c: self._found(c, actor, trip_id)))

    async def list(
        self,
        actor: Actor,
        *,
        project: str | None = None,
        intent: str = "",
        state: str = "",
        after: str = "",
        limit: int = 100,
    ) -> Sequence[Trip]:
        """Trips that the actor reaches, the newest first. ``state``: ``open`` for all that are not closed."""

        def read(connection: sa.Connection) -> Sequence[Trip]:
            permissions.require(actor, "breakers:read")
            home = manage.find_project(connection, actor, project).id if project else ""
            found = store.page(connection, actor, project=home, intent=intent, state=state, after=after, limit=limit)
            return [_seen(actor, one) for one in found]

        return await self._database.read(read)

    async def standing(self) -> tuple[Trip, ...]:
        """All that are open, as the database has them."""
        return await self._database.read(store.standing)

    async def closed_since(self, since: int) -> Mapping[tuple[str, str], int]:
        """When breakers of (project, intent) were closed last, of those that were since then."""
        return await self._database.read(lambda c: store.closed_since(c, since))

    async def count(self, trip: Trip, good: float, bad: float) -> None:
        """Add what trials came to, those of one half-open time."""
        await self._database.run(lambda c: store.count(c, trip, good, bad))

    async def move(self, seen: Trip, verdict: str, why: str) -> Trip | None:
        """What the watcher found: ``try`` (begin trials), ``close`` or ``reopen``. ``None``: not now, or somebody else
        was quicker."""

        def work(turn: Turn) -> tuple[Trip | None, str]:
            now = turn.now
            trip = store.find(turn.connection, seen.id, lock=True)
            if trip.version != seen.version or abs(now - trip.changed_at) < self.settings.calm_seconds * _SECOND:
                return None, ""
            if verdict == "close":
                return turn.close(trip, why), "close"
            if verdict == "try":
                tried = store.change(turn.connection, trip, state="half-open", changed_at=now, good=0.0, bad=0.0)
                return turn.write("try", trip, tried, why), "try"
            pause = trip.safety.cool_down_seconds * min(2 ** (trip.reopened + 1), _LONGEST)
            back = store.change(
                turn.connection,
                trip,
                state="tripped",
                changed_at=now,
                reopened=trip.reopened + 1,
                cool_until=now + int(pause * _SECOND),
            )
            return turn.write("reopen", trip, back, why), "reopen"

        return await self._change(ACTOR, work)

    def ruling(self, trip: Trip) -> proving.Ruling:
        """What the trials of a half-open breaker have proven so far."""
        share = trip.safety.good_share
        if trip.cause == "quality" and trip.safety.quality_floor is not None:
            share = trip.safety.quality_floor
        return proving.ruling(trip.good, trip.bad, share, self.settings.alpha)

    def _found(self, connection: sa.Connection, actor: Actor, trip_id: str, *, lock: bool = False) -> Trip:
        trip = store.find(connection, trip_id, lock=lock)
        if not store.reaches(actor, trip):
            raise store.unknown(trip_id)
        return trip

    async def _load(self) -> Trips:
        return Trips(await self._database.read(store.standing))

    async def _change(self, actor: Actor, work: Callable[[Turn], tuple[T, str]]) -> T:
        """One transaction with its leaf and its notice; returns when this process acts by it."""
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> tuple[T, str]:
            result, verb = work(Turn(self._log, connection, actor, self.clock.now(), occasion))
            if verb:
                self._notices.mark(connection, TOPIC)
            return result, verb

        result, verb = await self._database.run(transaction)
        if verb:
            self._notices.publish(TOPIC, marked=True)
            await self.snapshot.reload()
            if isinstance(result, Trip):
                await self._tell(verb, result)
        return result

    async def _tell(self, verb: str, trip: Trip) -> None:
        """Whoever listens. The change stands whatever becomes of that: its caller is not told that it failed."""
        for told in self.told:
            try:
                await told(verb, trip)
            except OstinatoError as error:
                _log.warning("That the breaker of %s has changed could not be told: %s", trip.slot, error.sentence)
            except Exception:
                _log.exception("That the breaker of %s has changed could not be told.", trip.slot)


def _seen(actor: Actor, trip: Trip) -> Trip:
    """The trip as the actor may see it: that a target is not asked is everybody's to know, who says so and why may be
    of another organization."""
    if not trip.target or isinstance(actor, SystemActor) or permissions.allows(actor, "organizations:write"):
        return trip
    return msgspec.structs.replace(trip, reason="", by="", case="", closed_by="", closed_why="")


def _may_hold(actor: Actor) -> None:
    permissions.require(actor, "breakers:operate")
    if isinstance(actor, SystemActor) or permissions.allows(actor, "organizations:write"):
        return
    raise Denied(
        "A target is everybody's: only who may act in every organization may hold it open, or let it go on.",
        code="permission_missing",
        hint="It takes organizations:write. The breaker of an intent is its project's.",
    )


def _code(text: str) -> str:
    if not _CODE.fullmatch(text):
        raise Invalid(
            f"{text[:80]!r} cannot be told in a header.",
            code="invalid_code",
            param="code",
            hint="Allowed: 1 to 64 characters of a-z, 0-9 and dash. Say more in `reason`.",
        )
    return text


def _reason(text: str) -> str:
    text = text.strip()
    if len(text) > REASON or "\x00" in text:
        raise Invalid(f"A reason has at most {REASON} characters.", code="invalid_reason", param="reason")
    return text
