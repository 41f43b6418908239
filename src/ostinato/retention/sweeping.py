"""Sweeps: what is past its time goes, store after store; or a report of what would."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from ostinato import access, audit
from ostinato.access import Actor, SystemActor, manage
from ostinato.cache import Scope
from ostinato.cache.scope import user_digest
from ostinato.core import ids
from ostinato.core.errors import Conflict
from ostinato.intents import Intents
from ostinato.retention import store
from ostinato.retention.declaring import Declaring
from ostinato.retention.model import Sweep, Swept
from ostinato.retention.ruling import Ruling
from ostinato.retention.settings import Settings
from ostinato.retention.stores import Effort, Store
from ostinato.storage import Current

_log = logging.getLogger("ostinato.retention")

SWEEPER = SystemActor("retention")
LEASE = "sweep"
LEASE_US = 120_000_000


class Sweeping(Declaring):
    """The half that sweeps. ``owner``: of this process's leases."""

    settings: Settings
    owner: str
    stores: tuple[Store, ...]
    intents: Current[Intents]
    turn: asyncio.Lock

    async def preview(self, actor: Actor, *, project: str = "") -> Sweep:
        """What a sweep would take now, of what the actor reaches. Nothing is changed, and no report kept."""
        org, home = await self.database.read(lambda c: self.reach(c, actor, project, "retention:read"))
        return await self._sweep(access.actor_name(actor), org, home, dry_run=True)

    async def sweep(self, actor: Actor, *, project: str = "", reason: str = "") -> Sweep:
        """Sweep what the actor reaches. Raises ``Conflict`` while another sweep is under way."""
        org, home = await self.database.read(lambda c: self.reach(c, actor, project, "retention:write"))
        async with self.turn:  # of this process one at a time, of all processes by lease
            return await self._leased(actor, org, home, reason)

    async def _leased(self, actor: Actor, org: str, home: str, reason: str) -> Sweep:
        now = self.clock.now()
        if not await self.database.run(lambda c: store.take_lease(c, LEASE, self.owner, now, now + LEASE_US)):
            raise Conflict(
                "Another process is sweeping.", code="sweep_under_way", hint="Wait for it.", retry_after=60.0
            )
        try:
            swept = await self._sweep(access.actor_name(actor), org, home, dry_run=False)
            await self._report(actor, swept, reason)
        finally:
            await self.database.run(lambda c: store.drop_lease(c, LEASE, self.owner))
        return swept

    async def sweeps(self, actor: Actor, *, project: str = "", before: str = "", limit: int = 100) -> Sequence[Sweep]:
        """Reports, newest first: of what the actor reaches, and nothing wider."""

        def read(connection: sa.Connection) -> Sequence[Sweep]:
            org, home = self.reach(connection, actor, project, "retention:read")
            return store.sweeps(connection, org=org, project=home, before=before, limit=limit)

        return await self.database.read(read)

    async def ruling(self, org: str = "", project: str = "") -> Ruling:
        """Rules and holds as they stand now. ``org``, ``project``: only these are ruled; left out: all."""

        def read(connection: sa.Connection) -> Ruling:
            homes = {one.id: one.org_id for one in manage.list_projects(connection, SWEEPER)}
            return Ruling(
                store.rules(connection),
                store.holds(connection),
                self.intents.value,
                _within(homes, org, project),
                self.clock.now(),
                lambda org, project, name: user_digest(Scope(org, project, name), self._secret),
            )

        return await self.database.read(read)

    async def _sweep(self, by: str, org: str, project: str, *, dry_run: bool) -> Sweep:
        began = self.clock.now()
        ruling = await self.ruling(org, project)
        # Marks are those of whole sweeps: a narrower one passes rows over that are others'.
        whole = not org and not project

        async def renew() -> None:
            await self._renew()
            if tuple(await self.database.read(store.holds)) != ruling.holds:
                raise Conflict("A hold was placed or lifted meanwhile.", code="sweep_outdated")

        effort = Effort(
            batch=self.settings.batch,
            batch_us=int(self.settings.batch_ms * 1_000),
            dry_run=dry_run,
            upto=lambda name, days: self._upto(name, days, ruling.digest) if whole else _nothing(),
            mark=lambda name, days, at: self._mark(name, days, ruling.digest, at) if whole else _no_mark(),
            renew=renew if not dry_run else _no_mark,
            project=project,
        )
        swept: list[Swept] = []
        failed: list[str] = []
        for one in self.stores:
            for kind in one.kinds:
                try:
                    ruling = await self._fresh(ruling, org, project)
                    if not ruling.periods(kind):
                        continue
                    try:
                        found = await one.sweep(kind, ruling, effort)
                    except Conflict as error:
                        if error.code != "sweep_outdated":
                            raise
                        ruling = await self._fresh(ruling, org, project)
                        found = await one.sweep(kind, ruling, effort)
                    swept.append(found)
                except Exception as error:
                    # The others are not to wait for it.
                    _log.warning("The store %s could not be swept (%s).", one.name, type(error).__name__)
                    failed.append(one.name)
        return Sweep(
            id=ids.new(began),
            org=org,
            project=project,
            dry_run=dry_run,
            started_at=began,
            ended_at=self.clock.now(),
            by=by,
            stores=tuple(swept),
            holds=tuple(hold.id for hold in ruling.holds if org in ("", hold.org)),
            failed=tuple(failed),
        )

    async def _fresh(self, ruling: Ruling, org: str = "", project: str = "") -> Ruling:
        """The ruling as it is now: a hold holds from the moment it is placed, not from the next sweep on."""
        now = await self.ruling(org, project)
        return ruling if now.digest == ruling.digest else now

    async def _report(self, actor: Actor, swept: Sweep, reason: str) -> None:
        occasion = audit.occasion()
        facts: dict[str, str | int] = {f"{one.store}.{one.kind}": one.done for one in swept.stores}
        facts |= {"held": sum(one.held for one in swept.stores), "failed": ", ".join(swept.failed)}
        deed = audit.Deed(
            actor=access.actor_name(actor),
            principal=access.principal_of(actor),
            action="retention:sweep",
            resource=f"sweep:{swept.id}",
            org=swept.org,
            project=swept.project,
            reason=reason,
            facts={name: value for name, value in facts.items() if value != ""},
        )

        def work(connection: sa.Connection) -> None:
            store.save_sweep(connection, swept, self.settings.reports)
            self.log.append(connection, deed, occasion)

        await self.database.run(work)

    async def _upto(self, name: str, days: float, digest: str) -> int:
        return await self.database.read(lambda c: store.upto(c, name, days, digest))

    async def _mark(self, name: str, days: float, digest: str, at: int) -> None:
        await self.database.run(lambda c: store.set_mark(c, name, days, digest, at))

    async def _renew(self) -> None:
        """Keep the lease. Raises ``Conflict`` where another process has taken it."""
        now = self.clock.now()
        if not await self.database.run(lambda c: store.take_lease(c, LEASE, self.owner, now, now + LEASE_US)):
            raise Conflict("Another process has taken the sweep over.", code="sweep_lost")


def _within(homes: Mapping[str, str], org: str, project: str) -> dict[str, str]:
    """The projects that are ruled; all of them with the one that is nobody's."""
    found = {one: of for one, of in homes.items() if org in ("", of) and project in ("", one)}
    return found if org or project else {**found, "": ""}


async def _nothing() -> int:
    return 0


async def _no_mark() -> None:
    return None
