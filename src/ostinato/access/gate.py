"""The room's one object with a life: :class:`Access`, which answers the hot path and carries out changes."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from ostinato import audit, storage
from ostinato.access import bindings, bootstrap, glass, issue, manage, principals, store
from ostinato.access.authority import Grant
from ostinato.access.budgets import Budgets
from ostinato.access.change import Change
from ostinato.access.issue import KeyChanges
from ostinato.access.leases import BudgetState
from ostinato.access.limits import Limits, RateState
from ostinato.access.manage import ProjectChanges
from ostinato.access.model import (
    Account,
    Actor,
    ApiKey,
    Binding,
    BreakGlass,
    Caller,
    MoneyBudget,
    Organization,
    Principal,
    Project,
    SystemActor,
)
from ostinato.access.principals import PrincipalChanges
from ostinato.access.rights import Ground
from ostinato.access.settings import Settings
from ostinato.access.snapshot import AccessSnapshot
from ostinato.core.clock import Clock
from ostinato.core.errors import NotFound, OstinatoError

TOPIC = "access"
_USE_SECONDS = 60.0

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Access:
    """Who calls, what they may do, how fast and for how much money.

    ``authenticate``, ``admit``, ``enter`` and ``leave`` are plain methods without I/O. Everything else talks to the
    database. While it cannot be reached, the last known keys go on working: nobody can revoke one meanwhile either.
    """

    def __init__(
        self,
        database: storage.Database,
        notices: storage.Notices,
        clock: Clock,
        settings: Settings | None = None,
        log: audit.Log | None = None,
    ) -> None:
        settings = settings or Settings()
        settings.check()
        self.settings = settings
        self.budgets = Budgets(database, clock, settings)
        """Money: ``reserve``, ``settle``, ``release``, ``required``."""
        self.limits = Limits(settings)
        self.snapshot = storage.Snapshot(self._load, notices, TOPIC, clock)
        """All keys; ``failing`` tells when they could not be read again."""
        self._database = database
        self._notices = notices
        self._clock = clock
        self._log = log or audit.Log(database, clock, notices)
        self._now = AccessSnapshot((), Ground((), {}, {}, ()), clock.now())
        self._used_since = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.snapshot.on_swap(self._swap)

    async def start(self) -> None:
        """Read all keys and follow changes. Raises ``Unavailable`` if the database cannot be read."""
        await self.snapshot.start()
        self._used_since = self._clock.now()
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self.budgets.run()), loop.create_task(self._note_use())]

    async def stop(self) -> None:
        """Give unspent money back and stop following. Call it when no request is under way any more."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.budgets.stop()
        await self._write_use()
        await self.snapshot.close()

    # -- the hot path ------------------------------------------------------------------------------------------

    def authenticate(self, token: str | None, now: int) -> Caller:
        """Whose key ``token`` is; ``now`` is UTC microseconds. Raises ``Denied`` with ``authenticated=False``."""
        return self._now.authenticate(token, now)

    def admit(self, caller: Caller, now: int) -> RateState:
        """Count one request against the key's rate. Raises ``LimitReached`` with ``retry_after``."""
        return self.limits.admit(caller, now)

    def enter(self, caller: Caller) -> None:
        """Count one request in flight. Raises ``LimitReached``; pair it with :meth:`leave`."""
        self.limits.enter(caller)

    def leave(self, caller: Caller) -> None:
        """One request in flight is over."""
        self.limits.leave(caller)

    # -- changes and questions: see ``manage`` and ``issue`` for what each may raise ---------------------------

    async def first_start(self, actor: str = "init", *, recover: bool = False) -> tuple[Organization, Project, str]:
        """The first organization, project and administrator key; see :func:`bootstrap.first_start`."""
        organization, project, secret = await self._change(
            SystemActor(actor), lambda change: bootstrap.first_start(change, recover=recover)
        )
        return organization, project, secret.text

    async def create_organization(self, actor: Actor, key: str, name: str) -> Organization:
        """A new organization."""
        return await self._change(actor, lambda change: manage.create_organization(change, key, name))

    async def list_organizations(self, actor: Actor) -> list[Organization]:
        """The organizations that the actor reaches."""
        return await self._database.read(lambda c: manage.list_organizations(c, actor))

    async def show_organization(self, actor: Actor, ref: str) -> Organization:
        """One organization by id or short name."""
        return await self._database.read(lambda c: manage.show_organization(c, actor, ref))

    async def rename_organization(self, actor: Actor, ref: str, name: str, version: int | None = None) -> Organization:
        """One organization under another name."""
        return await self._change(actor, lambda change: manage.rename_organization(change, ref, name, version))

    async def create_project(
        self,
        actor: Actor,
        key: str,
        name: str,
        *,
        organization: str | None = None,
        store_text: bool = False,
        budget: MoneyBudget | None = None,
    ) -> Project:
        """A new project."""
        return await self._change(
            actor,
            lambda change: manage.create_project(
                change, key, name, organization=organization, store_text=store_text, budget=budget
            ),
        )

    async def list_projects(self, actor: Actor, organization: str | None = None) -> list[Project]:
        """The projects that the actor reaches."""
        return await self._database.read(lambda c: manage.list_projects(c, actor, organization))

    async def show_project(self, actor: Actor, ref: str) -> Project:
        """One project by id, short name or ``organization/project``."""
        return await self._database.read(lambda c: manage.show_project(c, actor, ref))

    async def update_project(
        self, actor: Actor, ref: str, changes: ProjectChanges, version: int | None = None
    ) -> Project:
        """One project after ``changes``."""
        return await self._change(actor, lambda change: manage.update_project(change, ref, changes, version))

    async def create_key(
        self,
        creator: Actor,
        name: str,
        grant: Grant | None = None,
        project: str | None = None,
        principal: str | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and its secret, which is told this once."""
        key, secret = await self._change(
            creator,
            lambda change: issue.create_key(
                change,
                name=name,
                grant=grant or Grant(),
                project=project,
                most=self.settings.keys_per_project,
                principal=principal,
            ),
        )
        return key, secret.text

    async def list_keys(
        self, actor: Actor, *, project: str | None = None, after: str | None = None, limit: int = 100
    ) -> list[ApiKey]:
        """A page of the keys that the actor reaches, oldest first."""
        return await self._database.read(lambda c: issue.list_keys(c, actor, project=project, after=after, limit=limit))

    async def show_key(self, actor: Actor, ref: str) -> ApiKey:
        """One key by id or prefix."""
        return await self._database.read(lambda c: issue.show_key(c, actor, ref))

    async def update_key(self, actor: Actor, ref: str, changes: KeyChanges, version: int | None = None) -> ApiKey:
        """One key after ``changes``."""
        return await self._change(actor, lambda change: issue.update_key(change, ref, changes=changes, version=version))

    async def revoke_key(self, actor: Actor, ref: str) -> ApiKey:
        """One key, dead: here when this returns, in every other process within two seconds."""
        return await self._change(actor, lambda change: issue.revoke_key(change, ref))

    async def rotate_key(self, actor: Actor, ref: str, grace_seconds: float = 0.0) -> tuple[ApiKey, str]:
        """A key in place of another, and its secret, which is told this once."""
        key, secret = await self._change(actor, lambda change: issue.rotate_key(change, ref, grace_seconds))
        return key, secret.text

    async def create_principal(
        self, actor: Actor, key: str, name: str, kind: str = "person", organization: str | None = None
    ) -> Principal:
        """A new person or service."""
        return await self._change(actor, lambda change: principals.create(change, key, name, kind, organization))

    async def list_principals(
        self, actor: Actor, *, kind: str | None = None, after: str | None = None, limit: int = 100
    ) -> list[Principal]:
        """A page of the principals that the actor reaches, oldest first."""
        return await self._database.read(lambda c: principals.list_all(c, actor, kind=kind, after=after, limit=limit))

    async def show_principal(self, actor: Actor, ref: str) -> Principal:
        """One principal by id or short name."""
        return await self._database.read(lambda c: principals.show(c, actor, ref))

    async def update_principal(
        self, actor: Actor, ref: str, changes: PrincipalChanges, version: int | None = None
    ) -> Principal:
        """One principal after ``changes``. A disabled one's keys stop: here at once, elsewhere within two seconds."""
        return await self._change(actor, lambda change: principals.update(change, ref, changes, version))

    async def bind(self, actor: Actor, wanted: bindings.Wanted) -> Binding:
        """A new binding: a role or permissions, allowed or denied to a principal."""
        return await self._change(actor, lambda change: bindings.bind(change, wanted))

    async def unbind(self, actor: Actor, ref: str) -> Binding:
        """A binding, taken away."""
        return await self._change(actor, lambda change: bindings.unbind(change, ref))

    async def list_bindings(
        self, actor: Actor, *, principal: str | None = None, after: str | None = None, limit: int = 100
    ) -> list[Binding]:
        """A page of the bindings that the actor reaches, oldest first."""
        return await self._database.read(
            lambda c: bindings.list_all(c, actor, principal=principal, after=after, limit=limit)
        )

    async def show_binding(self, actor: Actor, ref: str) -> Binding:
        """One binding by id."""
        return await self._database.read(lambda c: bindings.show(c, actor, ref))

    async def break_glass(self, actor: Actor, reason: str, minutes: int) -> BreakGlass:
        """Every right of the organization for the actor's key, for ``minutes``; told as loudly as can be."""
        value = await self._change(actor, lambda change: glass.begin(change, reason, minutes))
        glass.shout(value)
        return value

    async def end_glass(self, actor: Actor, ref: str) -> BreakGlass:
        """One broken glass, ended before its time."""
        return await self._change(actor, lambda change: glass.end(change, ref))

    async def list_glasses(self, actor: Actor, *, after: str | None = None, limit: int = 100) -> list[BreakGlass]:
        """A page of the times that the glass was broken, oldest first."""
        return await self._database.read(lambda c: glass.list_all(c, actor, after=after, limit=limit))

    def glasses(self) -> list[BreakGlass]:
        """Who has broken the glass now, from memory."""
        return self._now.glasses(self._clock.now())

    def bound(self, caller: Caller) -> list[Binding]:
        """What is bound to who stands behind a key and holds now, from memory."""
        return self._now.bound(caller.principal, self._clock.now())

    async def key_budget(self, actor: Actor, ref: str) -> BudgetState:
        """How much of a key's own budget is spent. Raises ``NotFound`` where it has none."""
        key = await self.show_key(actor, ref)
        return await self._budget(Account(key.account, key.budget) if key.budget else None, "key")

    async def project_budget(self, actor: Actor, ref: str) -> BudgetState:
        """How much of a project's budget is spent. Raises ``NotFound`` where it has none."""
        project = await self.show_project(actor, ref)
        return await self._budget(
            Account(f"project:{project.id}", project.budget) if project.budget else None, "project"
        )

    async def _budget(self, account: Account | None, what: str) -> BudgetState:
        if account is None:
            raise NotFound(f"This {what} has no budget of its own.", code="no_budget")
        return await self.budgets.state(account)

    async def _change(self, actor: Actor, work: Callable[[Change], T]) -> T:
        """One transaction with its leaves and its notice; returns when this process acts by it."""
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> tuple[T, bool]:
            change = Change(connection, actor, self._clock.now())
            result = work(change)
            if change.deeds:
                self._log.append_all(connection, change.deeds, occasion)
                self._notices.mark(connection, TOPIC)
            return result, bool(change.deeds)

        result, changed = await self._database.run(transaction)
        # What changed nothing is neither written down nor told.
        if changed:
            self._notices.publish(TOPIC, marked=True)
            if self.snapshot.epoch:
                await self.snapshot.reload()
        return result

    async def _load(self) -> AccessSnapshot:
        now = self._clock.now()
        return await self._database.read(lambda c: store.load_snapshot(c, now))

    def _swap(self, value: AccessSnapshot) -> None:
        self._now = value
        self.limits.prune(value.key_ids)

    async def _note_use(self) -> None:
        while True:
            await self._clock.sleep(_USE_SECONDS)
            await self._write_use()

    async def _write_use(self) -> None:
        used = self.limits.last_used(self._used_since)
        if not used:
            return
        self._used_since = self._clock.now()
        try:
            await self._database.run(lambda c: issue.record_use(c, used))
        except OstinatoError:
            _log.warning("When keys were last used could not be written down.")
