"""Two processes on one database: each with its own connections, notices, snapshot of prompts and ``Releases``."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato import audit, storage
from ostinato.access import Caller, Resource, SystemActor
from ostinato.access import tables as access_tables
from ostinato.audit import tables as audit_tables
from ostinato.core import ids
from ostinato.core.clock import ManualClock
from ostinato.intents.model import Requirements
from ostinato.prompts import contents, labels, tables
from ostinato.prompts import snapshot as prompt_snapshot
from ostinato.prompts import store as prompt_rows
from ostinato.prompts.model import Content, Protection
from ostinato.releases import Plan, Proposal, Release, Releases, Step

ORG, PROJECT, OTHER = "a" * 32, "b" * 32, "c" * 32
LOW = Requirements(approvals=1, human_review=False, auto_rollout=True, baseline_holdout=True)
HIGH = Requirements(approvals=2, human_review=True, auto_rollout=False, baseline_holdout=False, version="high")
EVERYTHING = frozenset(
    {"releases:read", "releases:propose", "releases:approve", "releases:operate", "prompts:read", "projects:read"}
)
SYSTEM = SystemActor("test")


def caller(name: str, principal: str = "", project: str = PROJECT, without: str = "", **more: Any) -> Caller:
    """A key of ``principal`` (its own name if left out) that may do everything with releases, ``without`` one thing."""
    return Caller(
        key_id=name,
        key_prefix=name,
        org=more.pop("org", ORG),
        project=project,
        permissions=EVERYTHING - {without} | more.pop("and_", frozenset()),
        principal=f"principal:{principal or name}",
        **more,
    )


ALICE, BOB, CAROL = caller("alice"), caller("bob"), caller("carol")
ALICE_AGAIN = caller("alices-second-key", "alice")


class Shared:
    """What both processes see besides the database: rights, intents and counted samples, as the test sets them."""

    def __init__(self) -> None:
        self.may_not: set[str] = set()
        """Principals without rights, such as ``principal:bob``."""
        self.requirements: dict[str, Requirements] = {"": LOW}
        self.samples: dict[str, dict[str, int]] = {}
        self.failing: Exception | None = None

    def rights(self, _connection: sa.Connection, _now: int) -> Callable[[str, str, Resource, str], bool]:
        return lambda principal, _permission, _on, _org: principal not in self.may_not

    def requirements_of(self, _project: str, intent: str) -> Requirements:
        return self.requirements[intent]

    async def count(self, release: str, _since: int) -> dict[str, int]:
        if self.failing is not None:
            raise self.failing
        return self.samples.get(release, {})


class Process:
    """One process of the installation."""

    def __init__(self, url: str, clock: ManualClock, shared: Shared, **options: Any) -> None:
        self.database = storage.open_database("control", url, readers=4)
        # SQLite belongs to one process; what hears another one there is its Valkey, or here: the same object.
        self.notices = options.pop("notices", None) or storage.Notices(self.database, poll_seconds=0.1)
        self.log = audit.Log(self.database, clock, self.notices, secret=b"s" * 32)
        self.prompts = storage.Snapshot(self._load, self.notices, "prompts", clock)
        self._known = prompt_snapshot.PromptSnapshot()
        self.releases = Releases(
            self.database,
            clock,
            self.notices,
            options.pop("log", None) or self.log,
            requirements_of=shared.requirements_of,
            samples=shared.count,
            reload=self.prompts.reload,
            rights=options.pop("rights", shared.rights),
            **options,
        )

    async def start(self) -> None:
        await self.notices.start()
        await self.prompts.start()

    async def stop(self) -> None:
        await self.prompts.close()
        await self.notices.close()
        self.database.close()

    async def _load(self) -> prompt_snapshot.PromptSnapshot:
        self._known = await self.database.read(lambda c: prompt_snapshot.load(c, self._known))
        return self._known

    def resolve(self, reference: str = "greeting", seed: bytes = b"") -> prompt_snapshot.Resolved:
        return self.prompts.value.resolve(PROJECT, reference, seed)

    def transact(self, work: Callable[[sa.Connection], Any]) -> Any:
        return self.database.transact(work)

    async def agree_on(self, other: "Process", seeds: list[bytes]) -> None:
        """Wait until both answer alike, as notices promise; then see that they do."""
        for _ in range(100):
            mine, theirs = self.drawn(seeds), other.drawn(seeds)
            if mine == theirs == self.standing(seeds):
                return
            await asyncio.sleep(0.02)
        assert self.drawn(seeds) == other.drawn(seeds)
        assert self.drawn(seeds) == self.standing(seeds)

    def drawn(self, seeds: list[bytes]) -> list[tuple[Any, ...]]:
        try:
            found = [self.resolve(seed=seed) for seed in seeds]
        except Exception as error:
            return [(type(error).__name__,)]
        return [(one.number, one.release, one.arm, one.generation) for one in found]

    def standing(self, seeds: list[bytes]) -> list[tuple[Any, ...]]:
        """The same, of the database as it is now."""
        fresh = self.fresh()
        try:
            found = [fresh.resolve(PROJECT, "greeting", seed) for seed in seeds]
        except Exception as error:
            return [(type(error).__name__,)]
        return [(one.number, one.release, one.arm, one.generation) for one in found]

    def fresh(self) -> prompt_snapshot.PromptSnapshot:
        """A snapshot of the database as it is now."""
        return self.database.query(lambda c: prompt_snapshot.load(c, prompt_snapshot.PromptSnapshot()))

    def leaves(self) -> list[str]:
        """The actions in the audit log, in order."""
        leaf = audit_tables.leaf
        query = sa.select(leaf.c.action).order_by(leaf.c.seq)
        return list(self.database.query(lambda c: c.scalars(query).all()))

    async def proposed(self, number: int = 2, who: Caller = ALICE, label: str = "production", **more: Any) -> Release:
        plan = more.pop("plan", Plan())
        return await self.releases.propose(
            who, Proposal(prompt="greeting", number=number, label=label, plan=plan, reason="better", **more)
        )

    async def approved(self, number: int = 2, **more: Any) -> Release:
        release = await self.proposed(number, **more)
        return await self.releases.approve(BOB, release.id, release.digest)

    async def started(self, number: int = 2, **more: Any) -> Release:
        release = await self.approved(number, **more)
        return await self.releases.start(CAROL, release.id)


CANARY = Plan(steps=(Step(0.1), Step(0.5)))


def seed(connection: sa.Connection, now: int, versions: int = 6) -> None:
    """An organization with two projects, and a prompt ``greeting`` in the first."""
    by = {"created_at": now, "created_by": "system:test", "version": 1}
    connection.execute(access_tables.organization.insert().values(id=ORG, key="org", name="Org", **by))
    for identifier, key in ((PROJECT, "main"), (OTHER, "other")):
        project = {"id": identifier, "org_id": ORG, "key": key, "name": key, "store_text": False, "budget": None}
        connection.execute(access_tables.project.insert().values(**project, **by))
    add_prompt(connection, now, "greeting", versions)


def add_prompt(connection: sa.Connection, now: int, name: str, versions: int, intent: str = "") -> str:
    prompt_id = ids.new(now)
    connection.execute(
        tables.prompt.insert().values(
            id=prompt_id,
            org_id=ORG,
            project_id=PROJECT,
            name=name,
            kind="text",
            description="",
            tags=[],
            intent=intent,
            latest=0,
            created_at=now,
            created_by="system:test",
            version=1,
            revision=1,
        )
    )
    for number in range(1, versions + 1):
        add_version(connection, now, prompt_id, Content(kind="text", text=f"{name} {number}"))
    return prompt_id


def add_version(connection: sa.Connection, now: int, prompt_id: str, content: Content, findings: Any = ()) -> int:
    table = tables.prompt
    latest = connection.scalar(sa.select(table.c.latest).where(table.c.id == prompt_id)) or 0
    text = contents.encode(content)
    connection.execute(
        tables.prompt_version.insert().values(
            prompt_id=prompt_id,
            number=latest + 1,
            digest=contents.digest(text),
            content=text,
            message="",
            source="person",
            author="principal:alice",
            created_by="key:alice",
            created_at=now,
            parent=latest,
            findings=msgspec.to_builtins(findings),
        )
    )
    prompt_rows.touch(connection, prompt_id, latest=latest + 1)
    return latest + 1


def declare(connection: sa.Connection, name: str, protection: Protection | None = None, now: int = 1) -> None:
    """Declare a label, or declare it anew."""
    table = tables.prompt_label
    connection.execute(table.delete().where(table.c.project_id == PROJECT, table.c.name == name))
    connection.execute(
        table.insert().values(
            project_id=PROJECT,
            name=name,
            description="",
            protection=msgspec.to_builtins(protection or Protection()),
            immutable=False,
            created_at=now,
            created_by="system:test",
            version=1,
        )
    )


def point(process: Process, number: int, label: str = "production", prompt: str = "greeting") -> None:
    """Move a label without a release."""

    def work(connection: sa.Connection) -> None:
        labels.assign(connection, project=PROJECT, prompt=prompt, label=label, number=number, actor=SYSTEM, now=1)
        process.notices.mark(connection, "prompts")

    process.transact(work)
    process.notices.publish("prompts", marked=True)


Opener = Callable[..., Awaitable[Process]]


@contextlib.asynccontextmanager
async def installation(url: str, clock: ManualClock, shared: Shared) -> AsyncIterator[Opener]:
    """A seeded database on which processes can be started."""
    first = storage.open_database("control", url)
    storage.migrate(first)
    first.transact(lambda c: seed(c, clock.now()))
    first.close()
    opened: list[Process] = []

    async def make(**options: Any) -> Process:
        if opened and opened[0].database.dialect == "sqlite":
            options.setdefault("notices", opened[0].notices)
        process = Process(url, clock, shared, **options)
        opened.append(process)
        await process.start()
        return process

    try:
        yield make
    finally:
        for process in opened:
            await process.stop()
