"""What cases look at beside alerts and detectors: broken glass, the audit log, releases that went back by themselves,
reviews that nobody does, and breakers that trip."""

from collections.abc import Awaitable, Callable, Sequence

from ostinato import access, audit, reviews
from ostinato.acting.measuring import SYSTEM
from ostinato.breakers import Trip
from ostinato.cases import Alarm, Kind
from ostinato.cases.model import Fact
from ostinato.core import ids
from ostinato.core.clock import Clock

_DAY = 86_400_000_000
_PAGE = 200


class Watches:
    """Looks, and gives the alarms that stand."""

    def __init__(
        self,
        clock: Clock,
        *,
        glasses: Callable[[], Sequence[access.BreakGlass]],
        log: audit.Log,
        keeper: audit.Keeper,
        room: reviews.Reviews,
        on_alarm: Callable[[Alarm], Awaitable[object]],
        trips: Callable[[], Sequence[Trip]] = tuple,
    ) -> None:
        self._clock = clock
        self._glasses = glasses
        self._log = log
        self._keeper = keeper
        self._reviews = room
        self._on_alarm = on_alarm
        self._trips = trips

    async def glass(self) -> Sequence[Alarm]:
        """Somebody has every right of an organization."""
        return [
            self._alarm(
                "breakglass",
                f"breakglass:{one.id}",
                org=one.org_id,
                at=one.began_at,
                title=f"The glass is broken: the key {one.key_prefix} has every right of its organization",
                evidence={"glass": one.id, "ends_at": one.ends_at, "principal": one.principal},
            )
            for one in self._glasses()
        ]

    async def audit(self) -> Sequence[Alarm]:
        """The audit log cannot be signed, anchored or carried on."""
        failing = self._keeper.failing
        if not failing:
            return []
        return [
            self._alarm("audit", "audit:keeper", title="The audit log is not whole", evidence={"why": failing[:500]})
        ]

    async def rolled_back(self) -> Sequence[Alarm]:
        """Releases that Ostinato itself took back within a day."""
        wanted = audit.Filter(action="releases:rollback", actor="system:releases", since=self._clock.now() - _DAY)
        found: list[Alarm] = []
        for entry in await self._log.page(wanted, limit=_PAGE):
            leaf = entry.leaf
            release = leaf.resource.removeprefix("release:")
            prompt = str(leaf.facts.get("prompt", ""))
            found.append(
                self._alarm(
                    "release",
                    "release:rolled-back",
                    org=leaf.org,
                    project=leaf.project,
                    release=release,
                    prompt=prompt,
                    at=leaf.at,
                    title=f"The release {release} of {prompt} was taken back by itself",
                    evidence={"leaf": leaf.index, **{name: leaf.facts[name] for name in leaf.facts}},
                )
            )
        return found

    async def overdue_reviews(self) -> Sequence[Alarm]:
        """Review queues whose items nobody has looked at in time: one alarm for each queue."""
        late: dict[tuple[str, str, str], list[reviews.Item]] = {}
        for one in await self._reviews.list(SYSTEM, overdue=True, limit=500):
            late.setdefault((one.org, one.project, one.queue), []).append(one)
        return [
            self._alarm(
                "review",
                f"review:{queue}",
                org=org,
                project=project,
                title=f"The review queue {queue} is late",
                evidence={"queue": queue, "items": len(items), "oldest": items[0].id},
                samples=len(items),
            )
            for (org, project, queue), items in late.items()
        ]

    async def tripped(self, verb: str, trip: Trip) -> None:
        """A breaker has tripped by itself, or its trials have failed."""
        alarm = self._of_trip(trip) if verb in ("trip", "reopen") else None
        if alarm is not None:
            await self._on_alarm(alarm)

    async def breakers(self) -> Sequence[Alarm]:
        """Breakers that have tripped by themselves and are open: also those whose tripping a crash left untold."""
        found = [self._of_trip(one) for one in self._trips()]
        return [one for one in found if one is not None]

    def _of_trip(self, trip: Trip) -> Alarm | None:
        if not trip.intent or trip.cause not in ("quality", "policy", "budget"):
            return None
        return self._alarm(
            trip.cause,
            f"breaker:{trip.cause}",
            org=trip.org,
            project=trip.project,
            intent=trip.intent,
            at=trip.changed_at,
            title=f"The breaker of {trip.intent} is open: {trip.reason}"[:500],
            evidence={
                "trip": trip.id,
                "code": trip.code,
                "way": trip.safety.on_trip,
                "reopened": trip.reopened,
                "good": trip.good,
                "bad": trip.bad,
            },
        )

    def _alarm(
        self,
        kind: Kind,
        detector: str,
        *,
        title: str,
        evidence: dict[str, Fact],
        at: int = 0,
        org: str = "",
        project: str = "",
        intent: str = "",
        prompt: str = "",
        release: str = "",
        samples: int = 0,
    ) -> Alarm:
        now = self._clock.now()
        return Alarm(
            id=ids.new(now),
            at=at or now,
            org=org,
            project=project,
            kind=kind,
            detector=detector,
            title=title,
            intent=intent,
            prompt=prompt,
            release=release,
            since=at,
            samples=samples,
            evidence=evidence,
        )
