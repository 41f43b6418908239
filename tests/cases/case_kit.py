"""Two processes on one database, each with its own connections and ``Cases``; and who may do what there."""

from typing import Any

import sqlalchemy as sa

from ostinato import audit, storage
from ostinato.access import Caller, SystemActor
from ostinato.access import tables as access_tables
from ostinato.audit import tables as audit_tables
from ostinato.cases import Alarm, Alerts, Cases, Figures, Order, Settings, Watcher
from ostinato.cases.model import Fact, Scope
from ostinato.core import ids
from ostinato.core.clock import ManualClock
from ostinato.traces import Filter, Stats, Window

ORG, PROJECT, OTHER = "a" * 32, "b" * 32, "c" * 32
EVERYTHING = frozenset(
    {
        "cases:read",
        "cases:write",
        "cases:act",
        "projects:read",
        "breakers:operate",
        "releases:operate",
        "policies:write",
    }
)
SYSTEM = SystemActor("test")
STAKES: dict[str, tuple[str, Any]] = {
    "small": ("", "low"),
    "usual": ("ann", "medium"),
    "grave": ("eva", "high"),
}


def caller(name: str, project: str = PROJECT, without: str = "", **more: Any) -> Caller:
    return Caller(
        key_id=name,
        key_prefix=name,
        org=more.pop("org", ORG),
        project=project,
        permissions=EVERYTHING - {without},
        principal=f"principal:{name}",
        **more,
    )


ALICE, BOB = caller("alice"), caller("bob")
READER = Caller(key_id="r", key_prefix="r", org=ORG, project=PROJECT, permissions=frozenset({"cases:read"}))
STRANGER = caller("stranger", project=OTHER)


class Process:
    """One process of the installation. ``figures``: what its figures are; ``done``: orders that it carried out."""

    def __init__(self, url: str, clock: ManualClock, settings: Settings | None = None) -> None:
        self.database = storage.open_database("control", url, readers=4)
        self.clock = clock
        self.settings = settings or Settings()
        self.log = audit.Log(self.database, clock, secret=b"s" * 32)
        self.told: dict[str, tuple[str, object]] = {}
        self.done: list[Order] = []
        self.fails = False
        self.figures: dict[str, tuple[float | None, int]] = {}
        self.cases = Cases(
            self.database,
            clock,
            self.log,
            about=lambda _project, intent: STAKES.get(intent),
            settings=self.settings,
            tell=self._tell,
            serves=self._serves,
        )
        for name in ("notify", "open-breaker", "roll-back"):
            self.cases.bind(name, self._carry_out)
        self.alerts = Alerts(
            self.database, clock, self.log, Figures(self._stats, self._quality, self._figure), self.settings
        )
        self.watcher = Watcher(self.cases, self.alerts)

    async def _serves(self, _project: str, prompt: str, release: str) -> tuple[str, str]:
        """Prompts and releases are called as the intents that they serve."""
        served = (release or prompt).partition(".")[0]
        return (served if served in STAKES else ""), prompt

    async def _tell(self, _org: str, _project: str, event: str, _subject: str, data: object, key: str) -> None:
        self.told[key] = (event, data)

    async def _carry_out(self, order: Order) -> dict[str, Fact]:
        if self.fails:
            raise RuntimeError("it is out of order")
        self.done.append(order)
        return {"done": len(self.done)}

    async def _stats(self, window: Window, filters: Filter) -> Stats:
        raise AssertionError("no figure of the ledger is asked for")

    async def _quality(self, scope: Scope, since: int, until: int) -> tuple[float | None, int]:
        return self.figures.get("quality", (None, 0))

    async def _figure(self, name: str, scope: Scope, since: int, until: int) -> tuple[float | None, int]:
        return self.figures[name]

    def alarm(self, detector: str = "quality:cusum", **more: Any) -> Alarm:
        now = self.clock.now()
        fields = {"org": ORG, "project": PROJECT, "kind": "quality", "intent": "usual", "evidence": {"mean": 0.7}}
        return Alarm(id=ids.new(now), at=now, detector=detector, **{**fields, **more})

    def leaves(self, beginning: str = "cases:") -> list[str]:
        leaf = audit_tables.leaf
        query = sa.select(leaf.c.action).order_by(leaf.c.seq)
        return [one for one in self.database.query(lambda c: c.scalars(query).all()) if one.startswith(beginning)]

    def events(self) -> list[str]:
        """What was told, in order."""
        return [event for event, _ in self.told.values()]


def seed(connection: sa.Connection) -> None:
    by = {"created_at": 1, "created_by": "system:test", "version": 1}
    connection.execute(access_tables.organization.insert().values(id=ORG, key="org", name="Org", **by))
    for identifier, key in ((PROJECT, "main"), (OTHER, "other")):
        project = {"id": identifier, "org_id": ORG, "key": key, "name": key, "store_text": False, "budget": None}
        connection.execute(access_tables.project.insert().values(**project, **by))
