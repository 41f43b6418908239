"""A process of its own with a registry, for the tests of this folder."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ostinato import access, audit, prompts, storage
from ostinato.audit import tables as audit_tables
from ostinato.core.clock import ManualClock

SYSTEM = access.SystemActor("test")


class Process:
    """A process of its own: connections, notices, rights, registry."""

    def __init__(self, database: storage.Database, clock: ManualClock) -> None:
        self.database = database
        self.clock = clock
        self.notices = storage.Notices(database, poll_seconds=0.2)
        self.log = audit.Log(database, clock, self.notices, secret=b"t" * 32)
        self.access = access.Access(database, self.notices, clock, access.Settings(), self.log)
        self.intents = {"refunds", "payments"}
        self.prompts = prompts.Prompts(
            database,
            clock,
            self.notices,
            self.log,
            intent_exists=lambda _project, key: key in self.intents,
            intent_binds=lambda _project, key: key == "payments",
        )
        self.project = ""
        self.actor: Any = SYSTEM

    async def start(self) -> None:
        await self.notices.start()
        await self.access.start()
        found = await self.access.list_projects(SYSTEM)
        if not found:
            _, project, _ = await self.access.first_start()
            found = [project]
        self.project = found[0].id
        await self.prompts.start()

    async def stop(self) -> None:
        await self.prompts.stop()
        await self.access.stop()
        await self.notices.close()
        self.database.close()

    async def key(self, permissions: str, project: str | None = None) -> access.Caller:
        """A key with these permissions."""
        grant = access.Grant(permissions=frozenset(permissions.split()))
        _, secret = await self.access.create_key(SYSTEM, "a key", grant, project or self.project)
        return self.access.authenticate(secret, self.clock.now())

    async def save(self, name: str, *texts: str, kind: str = "chat", **fields: Any) -> int:
        """Versions of these texts; the prompt is created where it is not there. Gives the last one's number."""
        try:
            await self.prompts.show(SYSTEM, self.project, name)
        except Exception:
            await self.prompts.create(SYSTEM, self.project, name, kind=kind)
        number = 0
        for text in texts:
            saved = await self.prompts.add_version(SYSTEM, self.project, name, draft(text, kind, **fields))
            number = saved.version.number
        return number

    async def label(self, name: str, label: str, number: int, **options: Any) -> Any:
        return await self.prompts.move_label(SYSTEM, self.project, name, label, number, **options)

    def resolve(self, reference: str, seed: bytes = b"") -> prompts.Resolved:
        return self.prompts.snapshot.value.resolve(self.project, reference, seed)

    def served(self, name: str) -> tuple[int, frozenset[int]]:
        return self.prompts.snapshot.value.served(self.project, name)

    def text(self, reference: str, **variables: Any) -> str:
        """What a prompt of one message comes to."""
        (message,) = self.resolve(reference).compiled.render(variables).messages
        return "".join(block.text for block in message.content)

    def leaves(self) -> list[Any]:
        """Bodies of all leaves, oldest first."""
        table = audit_tables.leaf
        found = self.database.query(lambda c: c.execute(table.select().order_by(*table.primary_key)).mappings().all())
        return [msgspec.json.decode(row["body"]) for row in found]

    def rows(self) -> dict[str, int]:
        """How many rows each of the room's tables has."""
        return {
            table.name: self.database.query(lambda c, t=table: len(c.execute(t.select()).all()))
            for table in prompts.tables.metadata.sorted_tables
        }


def draft(text: str, kind: str = "chat", **fields: Any) -> prompts.Draft:
    said: dict[str, Any] = {"messages": [{"role": "user", "template": text}]} if kind == "chat" else {"text": text}
    return msgspec.convert({**said, **fields}, prompts.Draft)


Opener = Callable[[], Awaitable[Process]]
