"""Processes with breakers; and who may do what there."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from ostinato import audit, storage
from ostinato.access import Caller, SystemActor
from ostinato.access import tables as access_tables
from ostinato.audit import tables as audit_tables
from ostinato.breakers import Breakers, Place, Safety, Trip, Watcher
from ostinato.core.clock import ManualClock

ORG, PROJECT, OTHER = "a" * 32, "b" * 32, "c" * 32
SYSTEM = SystemActor("test")
MAY = frozenset({"breakers:read", "breakers:operate", "projects:read"})
SAFETY = Safety(
    on_trip="fail-safe",
    text="Later.",
    quality_floor=0.7,
    violations_per_hour=5.0,
    cool_down_seconds=120.0,
    trial_share=0.1,
)


def caller(name: str, project: str = PROJECT, permissions: frozenset[str] = MAY) -> Caller:
    return Caller(key_id=name, key_prefix=name, org=ORG, project=project, permissions=permissions, principal=name)


ANN, STRANGER = caller("ann"), caller("stranger", OTHER)
READER = caller("reader", permissions=frozenset({"breakers:read"}))
ROOT = caller("root", permissions=MAY | {"organizations:write"})


class Process:
    """One process of the installation. ``figures``: what its figures are; ``scored``: scores by request id."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        self.database = storage.open_database("control", url, readers=4)
        self.clock = clock
        self.log = audit.Log(self.database, clock, secret=b"s" * 32)
        self.figures: dict[str, tuple[float | None, int]] = {}
        self.scored: dict[str, float] = {}
        self.violations: list[int] = []
        """When something was blocked, where that is told one by one."""
        self.spent = ""
        self.told: list[tuple[str, str]] = []
        self.breakers = Breakers(
            self.database,
            clock,
            storage.Notices(),
            self.log,
            safety_of=lambda _project, intent: SAFETY if intent == "soft" else None,
            target_exists=lambda name: name == "fake/plain",
        )
        self.breakers.told.append(self._told)
        self.watcher = Watcher(
            self.breakers,
            places=lambda: [Place(ORG, PROJECT, "soft", SAFETY)],
            figure=self._figure,
            scores=self._scores,
            over=lambda _project, _intent: self.spent or None,
        )

    async def _told(self, verb: str, trip: Trip) -> None:
        self.told.append((verb, trip.state))

    async def _figure(self, name: str, _place: Place, since: int, until: int) -> tuple[float | None, int]:
        if name == "violations" and self.violations:
            found = sum(since <= at < until for at in self.violations)
            return float(found), found
        return self.figures.get(name, (None, 0))

    async def _scores(self, request_ids: Sequence[str]) -> Mapping[str, float]:
        return {one: self.scored[one] for one in request_ids if one in self.scored}

    async def trip(self, actor: Any = ANN, **more: Any) -> Trip:
        return await self.breakers.trip(actor, PROJECT, "soft", **{"code": "test", **more})

    async def look(self, seconds: float = 0) -> Trip | None:
        """A round, so much later; the trip that is open after it."""
        self.clock.advance(seconds)
        await self.watcher.look()
        assert self.watcher.failing == ""
        found = await self.breakers.standing()
        return found[0] if found else None

    def leaves(self) -> list[str]:
        leaf = audit_tables.leaf
        query = sa.select(leaf.c.action).order_by(leaf.c.seq)
        return [one for one in self.database.query(lambda c: c.scalars(query).all()) if one.startswith("breakers:")]


def seed(connection: sa.Connection) -> None:
    by = {"created_at": 1, "created_by": "system:test", "version": 1}
    connection.execute(access_tables.organization.insert().values(id=ORG, key="org", name="Org", **by))
    for identifier, key in ((PROJECT, "main"), (OTHER, "other")):
        project = {"id": identifier, "org_id": ORG, "key": key, "name": key, "store_text": False, "budget": None}
        connection.execute(access_tables.project.insert().values(**project, **by))
