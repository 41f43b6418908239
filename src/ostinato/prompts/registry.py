"""What every part of the door shares: transactions with their leaf and notice, look-ups with their permission."""

from collections.abc import Callable
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from ostinato import access, audit, storage
from ostinato.access import Actor, Project, Resource
from ostinato.access.manage import find_project
from ostinato.access.permissions import require
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.prompts import snapshot, store
from ostinato.prompts.labels import TOPIC
from ostinato.prompts.model import Content, Prompt
from ostinato.prompts.snapshot import PromptSnapshot

T = TypeVar("T")

Exists = Callable[[str, str], bool]
"""Whether a project (by id) has an intent of this key."""


class Registry:
    """The registry's database, log and notices, and the snapshot of what stands."""

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        notices: storage.Notices,
        log: audit.Log,
        *,
        intent_exists: Exists | None = None,
        intent_binds: Exists | None = None,
        alias_exists: Exists | None = None,
    ) -> None:
        self.database = database
        self._clock = clock
        self._notices = notices
        self._log = log
        self.intent_exists = intent_exists
        """``None``: any key is taken."""
        self.intent_binds = intent_binds
        """Whether its stakes bind: then who takes a prompt out of it must be somebody who may approve."""
        self.alias_exists = alias_exists
        """Whether a project may call a model alias, for the linter; ``None``: it does not look."""
        self._now = PromptSnapshot()
        self.snapshot = storage.Snapshot(self._load, notices, TOPIC, clock)
        """Every prompt; ``failing`` tells when they could not be read again."""
        self.snapshot.on_swap(self._swap)

    async def start(self) -> None:
        """Read all prompts and follow changes. Raises ``Unavailable`` if the database cannot be read."""
        await self.snapshot.start()

    async def stop(self) -> None:
        """Stop following changes; the last snapshot stays."""
        await self.snapshot.close()

    def aliases(self, home: Project) -> Callable[[str], bool] | None:
        """Whether the project may call a model alias, for the linter."""
        exists = self.alias_exists
        return None if exists is None else lambda alias: exists(home.id, alias)

    def see_intent(self, home: Project, intent: str) -> None:
        if intent and self.intent_exists is not None and not self.intent_exists(home.id, intent):
            raise Invalid(
                f"There is no intent {intent[:80]!r} in this project.",
                code="intent_not_found",
                param="intent",
                hint="`ostinato intents list` shows them.",
            )

    def see_partials(self, connection: sa.Connection, actor: Actor, home: Project, content: Content | None) -> None:
        """Raise ``Denied`` where a content takes a partial that the actor may not see: it would show its text."""
        for name in content.partials if content is not None else ():
            require(actor, "prompts:read", about(home, store.find(connection, home.id, name)))

    def leave_intent(self, actor: Actor, home: Project, prompt: Prompt) -> None:
        """Raise ``Denied`` where the actor may not take a prompt out of its intent, and so lower the stakes."""
        if prompt.intent and self.intent_binds is not None and self.intent_binds(home.id, prompt.intent):
            require(actor, "releases:approve", about(home, prompt))

    def own(self, connection: sa.Connection, actor: Actor, home: Project, ref: str, permission: str) -> Prompt:
        """A prompt with its row locked, if the actor has the permission on it."""
        found = store.find(connection, home.id, ref, lock=True)
        require(actor, permission, about(home, found))
        return found

    def deed(
        self,
        actor: Actor,
        home: Project,
        name: str,
        action: str,
        *,
        before: object = None,
        after: object = None,
        reason: str = "",
        facts: dict[str, str | int] | None = None,
    ) -> audit.Deed:
        return audit.Deed(
            actor=access.actor_name(actor),
            principal=access.principal_of(actor),
            action=action,
            resource=f"prompt:{home.id}/{name}",
            org=home.org_id,
            project=home.id,
            before=None if before is None else msgspec.to_builtins(before),
            after=None if after is None else msgspec.to_builtins(after),
            reason=reason,
            facts=facts or {},
        )

    async def read(self, actor: Actor, project: str | None, ref: str, work: Callable[[sa.Connection, Prompt], T]) -> T:
        def query(connection: sa.Connection) -> T:
            home = find_project(connection, actor, project)
            require(actor, "prompts:read")
            found = store.find(connection, home.id, ref)
            require(actor, "prompts:read", about(home, found))
            return work(connection, found)

        return await self.database.read(query)

    async def change(
        self,
        actor: Actor,
        project: str | None,
        work: Callable[[sa.Connection, Project, int], tuple[T, audit.Deed | None]],
    ) -> T:
        """One transaction with its leaf and its notice; returns when this process acts by it."""
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> tuple[T, bool]:
            home = find_project(connection, actor, project)
            result, deed = work(connection, home, self._clock.now())
            if deed is not None:
                self._notices.mark(connection, TOPIC)
                self._log.append(connection, deed, occasion)
            return result, deed is not None

        result, changed = await self.database.run(transaction)
        if changed:
            self._notices.publish(TOPIC, marked=True)
            if self.snapshot.epoch:
                await self.snapshot.reload()
        return result

    async def _load(self) -> PromptSnapshot:
        known = self._now
        return await self.database.read(lambda connection: snapshot.load(connection, known))

    def _swap(self, value: PromptSnapshot) -> None:
        self._now = value


def about(home: Project, prompt: Prompt) -> Resource:
    return Resource(project=home.id, prompt=prompt.name, intent=prompt.intent)
