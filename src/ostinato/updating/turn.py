"""What every change of an update goes through: one transaction, with its leaf of the audit log and its notice."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import sqlalchemy as sa

from ostinato import access, approvals, audit, evals, intents, routing, storage
from ostinato.access import Actor, Resource, manage, permissions
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, Invalid, NotFound
from ostinato.releases.turn import Rights
from ostinato.storage import Current
from ostinato.traces import PriceBook
from ostinato.updating import store
from ostinato.updating.model import OPEN, Update
from ostinato.updating.observing import Observing
from ostinato.updating.planning import Planner
from ostinato.updating.settings import Settings

TOPIC = "routes"
_REASON = 2_000
_STRICT = ("high", "critical")
_NAMED = 10

Tell = Callable[[str, str, str, str, object, str], Awaitable[None]]
"""``tell(org, project, event, subject, data, key)``."""


class Standing(Protocol):
    """The declarations that stand, as far as this room needs them."""

    declaring: asyncio.Lock

    def judge_candidate(self, candidate: routing.Candidate) -> routing.Route:
        """The route that a candidate would be. Raises what cannot be obeyed."""
        ...

    async def follow(self, kind: str) -> None:
        """Wait until what is declared of a kind now is obeyed in this process."""
        ...

    async def place(self, declared: Sequence[storage.Declared]) -> Sequence[object]:
        """The bodies of declarations, each with the id of the project that it names."""
        ...


class Turns:
    """The rooms that updates lean on, and the way in which one changes."""

    def __init__(
        self,
        control: storage.Database,
        ledger: storage.Database,
        clock: Clock,
        notices: storage.Notices,
        log: audit.Log,
        *,
        planner: Planner,
        observing: Observing,
        experiments: evals.Experiments,
        declarations: storage.Declarations,
        standing: Standing,
        catalog: Current[routing.Catalog],
        intents: Current[intents.Intents],
        prices: Current[PriceBook],
        rights: Rights,
        settings: Settings,
    ) -> None:
        settings.check()
        self.clock = clock
        self.settings = settings
        self.tell: Tell | None = None
        self._control = control
        self._ledger = ledger
        self._notices = notices
        self._log = log
        self._planner = planner
        self._observing = observing
        self._experiments = experiments
        self._declarations = declarations
        self._standing = standing
        self._catalog = catalog
        self._intents = intents
        self._prices = prices
        self._rights = rights

    async def _insert(self, actor: Actor, update: Update, action: str) -> Update:
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> None:
            store.insert(connection, update)
            self._log.append(connection, deed(actor, None, update, action, update.reason, {}), occasion)
            self._notices.mark(connection, TOPIC)

        await self._control.run(transaction)
        await self._obey()
        return update

    def _strict(self, update: Update) -> Sequence[str]:
        """Its intents of high or critical stakes."""
        known = self._intents.value
        found = ((one, known.of(update.project, one)) for one in update.intents if one)
        return [name for name, intent in found if intent is not None and intent.stakes in _STRICT]

    async def _own(self, actor: Actor, update_id: str, permission: str, version: int | None = None) -> Update:
        def read(connection: sa.Connection) -> Update:
            found = store.find(connection, update_id)
            try:
                manage.find_project(connection, actor, found.project)
            except NotFound:
                raise store.unknown(update_id) from None
            permissions.require(actor, permission, Resource(project=found.project))
            return found

        found = await self._control.read(read)
        if version is not None and version != found.version:
            raise Conflict(f"The update has moved on: it is {found.state}.", code="version_moved")
        return found

    async def _change(
        self,
        actor: Actor,
        seen: Update,
        work: Callable[[sa.Connection, Update], tuple[Update, str]],
        reason: str = "",
        **facts: int,
    ) -> Update:
        """One transaction with its leaf and its notice; returns when this process acts by it. What ``work`` decided on
        ``seen`` holds only while that is what stands."""
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> tuple[Update, str]:
            standing = store.find(connection, seen.id, lock=True)
            if standing.version != seen.version and not isinstance(actor, access.SystemActor):
                raise Conflict(f"The update has moved on: it is {standing.state}.", code="version_moved")
            changed, action = work(connection, standing)
            if action:
                self._log.append(connection, deed(actor, standing, changed, action, reason, facts), occasion)
                self._notices.mark(connection, TOPIC)
            return changed, action

        changed, action = await self._control.run(transaction)
        if action:
            await self._obey()
            if self.tell is not None:
                data = {"alias": changed.alias, "state": changed.state, "version": changed.version}
                key = f"{changed.id}-{changed.version}"
                await self.tell(changed.org, changed.project, action, changed.resource, data, key)
        return changed

    async def _obey(self) -> None:
        self._notices.publish(TOPIC, marked=True)
        await self._standing.follow("models")


def wrong_state(update: Update, verb: str) -> Conflict:
    what = "a silent change" if update.kind == "silent" and update.state in OPEN else update.state
    return Conflict(f"The update is {what}: it cannot be {verb}.", code="update_state")


def named(names: Sequence[str]) -> str:
    shown = [one or "requests without an intent" for one in names]
    return ", ".join(shown[:_NAMED]) + (f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else "")


def reason_of(text: str) -> str:
    text = text.strip()
    if len(text) > _REASON or "\x00" in text:
        raise Invalid(f"A reason has at most {_REASON} characters.", code="invalid_reason", param="reason")
    return text


def deed(
    actor: Actor, before: Update | None, after: Update, action: str, reason: str, facts: Mapping[str, int]
) -> audit.Deed:
    return audit.Deed(
        actor=access.actor_name(actor),
        principal=access.principal_of(actor),
        action=action,
        resource=after.resource,
        org=after.org,
        project=after.project,
        before=None if before is None else _told(before),
        after=_told(after),
        reason=reason[:_REASON],
        facts={"alias": after.alias, "state": after.state, "kind": after.kind, **facts},
    )


def _told(update: Update) -> dict[str, object]:
    return {
        "state": update.state,
        "old": list(update.old),
        "new": msgspec.to_builtins(update.targets),
        "arms": [[one.intent, one.state, one.step] for one in update.arms],
        "declared": update.declared,
        "version": update.version,
    }


def void(connection: sa.Connection, update: Update, why: str, now: int) -> None:
    if update.request_id and update.state == "waiting":
        approvals.void(connection, update.request_id, why, now=now)
