"""One transaction of this room: who acts, when, and what is written down of it."""

import sqlalchemy as sa

from ostinato import access, audit
from ostinato.access import Actor, SystemActor
from ostinato.breakers import store
from ostinato.breakers.model import Cause, Trip
from ostinato.core import ids
from ostinato.core.errors import Conflict

_SECOND = 1_000_000


class Turn:
    """A transaction under way. Lives as long as its connection is lent."""

    def __init__(
        self, log: audit.Log, connection: sa.Connection, actor: Actor, now: int, occasion: audit.Occasion
    ) -> None:
        self.connection = connection
        self.actor = actor
        self.now = now
        self._log = log
        self._occasion = occasion

    def fresh(self, cause: Cause, code: str, reason: str, case: str, held: bool) -> Trip:
        """A trip of nothing yet, that begins now."""
        return Trip(
            id=ids.new(self.now),
            org="",
            project="",
            intent="",
            cause=cause,
            code=code,
            reason=reason,
            since=self.now,
            by=access.actor_name(self.actor),
            case=case,
            held=held,
            changed_at=self.now,
            cool_until=self.now,
        )

    def open(self, wanted: Trip, calm: float) -> tuple[Trip, str]:
        """The trip that stands afterwards, and what was done: ``trip``, or nothing where it stood before."""
        machine = isinstance(self.actor, SystemActor) and wanted.cause != "case"
        standing = store.open_at(self.connection, wanted.slot, lock=True)
        if standing is not None:
            again = standing.state == "half-open" and not machine
            if not again and (standing.held or not wanted.held):
                return standing, ""
            # Somebody wants it to stay tripped, or does not want the trials that have begun.
            renewed = store.change(
                self.connection,
                standing,
                state="tripped",
                held=standing.held or wanted.held,
                changed_at=self.now,
                cool_until=wanted.cool_until,
            )
            return self.write("trip", standing, renewed, wanted.reason), "trip"
        last = store.last_change(self.connection, wanted.project, wanted.intent, wanted.target)
        if machine and abs(self.now - last) < calm * _SECOND:
            raise Conflict(
                f"The breaker of {wanted.slot} has changed a moment ago.",
                code="breaker_rests",
                hint=f"By itself it changes once in {calm:g} seconds at most.",
            )
        store.insert(self.connection, wanted)
        return self.write("trip", None, wanted, wanted.reason), "trip"

    def close(self, trip: Trip, why: str) -> Trip:
        """The trip, closed."""
        closed = store.change(
            self.connection,
            trip,
            state="closed",
            changed_at=self.now,
            closed_at=self.now,
            closed_by=access.actor_name(self.actor),
            closed_why=why,
        )
        return self.write("close", trip, closed, why)

    def write(self, verb: str, before: Trip | None, trip: Trip, reason: str) -> Trip:
        """Write a change of state down: one leaf."""
        deed = audit.Deed(
            actor=access.actor_name(self.actor),
            principal=access.principal_of(self.actor),
            action=f"breakers:{verb}",
            resource=trip.resource,
            org=trip.org,
            project=trip.project,
            before=None if before is None else _state(before),
            after=_state(trip),
            reason=reason,
            facts={
                "trip": trip.id,
                "state": trip.state,
                "cause": trip.cause,
                "code": trip.code,
                "way": trip.safety.on_trip,
                "good": round(trip.good),
                "bad": round(trip.bad),
                **({"case": trip.case} if trip.case else {}),
            },
        )
        self._log.append(self.connection, deed, self._occasion)
        return trip


def _state(trip: Trip) -> dict[str, object]:
    return {"state": trip.state, "held": trip.held, "reopened": trip.reopened, "version": trip.version}
