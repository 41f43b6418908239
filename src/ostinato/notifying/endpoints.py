"""Where messages go, as people declare it: each change one transaction with its leaf of the audit log."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from ostinato import access, audit, storage
from ostinato.access import Actor, Resource, SystemActor, permissions
from ostinato.access.manage import find_project, home_organization
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, Invalid, NotFound
from ostinato.core.secret import ApiKey
from ostinato.notifying import addresses, signing, tables
from ostinato.notifying.events import patterns
from ostinato.notifying.model import Changes, Endpoint, NewEndpoint, Target
from ostinato.notifying.sealing import Sealer
from ostinato.notifying.settings import Settings

T = TypeVar("T")

TOPIC = "webhooks"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_MOST = 100
"""Endpoints of one organization."""
_OLD_SECRETS = 2
"""Secrets that may sign beside the newest."""


class Endpoints:
    """Endpoints of every project. An endpoint beyond the actor's reach does not exist (``NotFound``)."""

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        notices: storage.Notices,
        log: audit.Log,
        settings: Settings,
        *,
        secret: bytes,
    ) -> None:
        self._database = database
        self._clock = clock
        self._notices = notices
        self._log = log
        self._settings = settings
        self._sealer = Sealer(secret)
        self.current: storage.Snapshot[tuple[Target, ...]] = storage.Snapshot(self._load, notices, TOPIC, clock)
        """Every endpoint, disabled ones too."""
        self.on_enabled: Callable[[str], Awaitable[None]] | None = None
        """Called with the id of one that was enabled again."""

    async def create(
        self,
        actor: Actor,
        wish: NewEndpoint,
        *,
        project: str | None = None,
        organization: bool = False,
        reason: str = "",
    ) -> tuple[Endpoint, str]:
        """A new endpoint and its secret, which is told this once (empty for kinds that sign nothing).

        ``organization``: for messages of every project, which takes ``projects:write``. Raises ``Invalid`` naming the
        field, ``Conflict`` where the name is taken.
        """
        address = addresses.checked(wish.kind, wish.address, self._settings)
        events = patterns(wish.events)
        if not _NAME.fullmatch(wish.name):
            raise Invalid("A name has 1 to 64 small letters, digits, dots, dashes.", code="invalid_name", param="name")
        secret = signing.new_secret() if wish.kind == "webhook" else ""

        def work(connection: sa.Connection) -> tuple[Endpoint, audit.Deed]:
            org, home = self._home(connection, actor, project, organization)
            table, now = tables.endpoint, self._clock.now()
            of = sa.select(table.c.project, table.c.name).where(table.c.org == org)
            there = {(row.project, row.name) for row in connection.execute(of)}
            if (home, wish.name) in there:
                raise Conflict(f"There is already an endpoint {wish.name!r}.", code="name_taken", param="name")
            if len(there) >= _MOST:
                raise Invalid(f"An organization has at most {_MOST} endpoints.", code="too_many_endpoints")
            made = Endpoint(
                id=ids.new(now),
                org=org,
                project=home,
                name=wish.name,
                kind=wish.kind,
                address=addresses.shown(wish.kind, address),
                events=events,
                created_at=now,
                created_by=access.actor_name(actor),
            )
            secrets = ((secret, 0),) if secret else ()
            connection.execute(table.insert(), self._row(made, address, secrets))
            return made, _deed(actor, "create", None, made, reason)

        return await self._change(work), secret

    async def change(
        self, actor: Actor, ref: str, changes: Changes, *, version: int | None = None, reason: str = ""
    ) -> Endpoint:
        """An endpoint with another address or other events, disabled, or enabled again."""

        def work(connection: sa.Connection) -> tuple[Endpoint, audit.Deed | None]:
            target = self._target(connection, actor, ref, "webhooks:write", version=version, lock=True)
            old, address = target.endpoint, target.address.reveal()
            wanted: dict[str, object] = {}
            if changes.address is not msgspec.UNSET:
                address = addresses.checked(old.kind, changes.address, self._settings)
                wanted["address"] = addresses.shown(old.kind, address)
            if changes.events is not msgspec.UNSET:
                wanted["events"] = patterns(changes.events)
            if changes.enabled is not msgspec.UNSET and changes.enabled != old.enabled:
                wanted |= {"enabled": changes.enabled, "why": "" if changes.enabled else "by hand"}
            if address == target.address.reveal() and all(getattr(old, name) == wanted[name] for name in wanted):
                return old, None
            new = msgspec.structs.replace(old, **wanted, version=old.version + 1)
            self._write(connection, new, address, _plain(target))
            verb = "update" if new.enabled == old.enabled else "enable" if new.enabled else "disable"
            return new, _deed(actor, verb, old, new, reason)

        changed = await self._change(work)
        if changed.enabled and changes.enabled is True and self.on_enabled is not None:
            await self.on_enabled(changed.id)
        return changed

    async def rotate(
        self, actor: Actor, ref: str, *, version: int | None = None, reason: str = ""
    ) -> tuple[Endpoint, str]:
        """An endpoint with a new secret, told this once; for ``rotation_hours`` the old one signs beside it."""
        secret = signing.new_secret()

        def work(connection: sa.Connection) -> tuple[Endpoint, audit.Deed]:
            target = self._target(connection, actor, ref, "webhooks:write", version=version, lock=True)
            old, now = target.endpoint, self._clock.now()
            if old.kind != "webhook":
                raise Invalid(f"An endpoint of the kind {old.kind} signs nothing.", code="no_secret")
            until = now + int(self._settings.rotation_hours * 3_600_000_000)
            live = [(one, min(end or until, until)) for one, end in _plain(target) if not end or end > now]
            new = msgspec.structs.replace(old, version=old.version + 1)
            self._write(connection, new, target.address.reveal(), ((secret, 0), *live[:_OLD_SECRETS]))
            return new, _deed(actor, "rotate", old, new, reason)

        return await self._change(work), secret

    async def remove(self, actor: Actor, ref: str, *, reason: str = "") -> Endpoint:
        """Tell it nothing any more; what was still on its way to it is forgotten."""

        def work(connection: sa.Connection) -> tuple[Endpoint, audit.Deed]:
            old = self._target(connection, actor, ref, "webhooks:write", lock=True).endpoint
            connection.execute(tables.endpoint.delete().where(tables.endpoint.c.id == old.id))
            return old, _deed(actor, "remove", old, None, reason)

        return await self._change(work)

    async def disable(self, endpoint: str, why: str) -> Endpoint | None:
        """What the system does by itself; ``None`` where it is disabled or gone already."""
        actor = SystemActor("notifying")

        def work(connection: sa.Connection) -> tuple[Endpoint | None, audit.Deed | None]:
            try:
                target = self._target(connection, actor, endpoint, "webhooks:write", lock=True)
            except NotFound:
                return None, None
            old = target.endpoint
            if not old.enabled:
                return None, None
            new = msgspec.structs.replace(old, enabled=False, why=why, version=old.version + 1)
            self._write(connection, new, target.address.reveal(), _plain(target))
            return new, _deed(actor, "disable", old, new, why)

        return await self._change(work)

    # -- questions -----------------------------------------------------------------------------------------------

    async def list(self, actor: Actor, *, after: str = "", limit: int = 100) -> Sequence[Endpoint]:
        """A page of the endpoints that the actor reaches, oldest first."""

        def read(connection: sa.Connection) -> list[Endpoint]:
            permissions.require(actor, "webhooks:read")
            table = tables.endpoint
            query = sa.select(table).where(_reach(actor), table.c.id > after).order_by(table.c.id).limit(limit)
            return [self._open(row).endpoint for row in connection.execute(query).mappings()]

        return await self._database.read(read)

    async def show(self, actor: Actor, ref: str, permission: str = "webhooks:read") -> Endpoint:
        """One endpoint, by id, or by name in the actor's own project and organization."""
        return await self._database.read(lambda connection: self._target(connection, actor, ref, permission).endpoint)

    # -- how -----------------------------------------------------------------------------------------------------

    async def _change(self, work: Callable[[sa.Connection], tuple[T, audit.Deed | None]]) -> T:
        """One transaction with its leaf and its notice; returns when this process acts by it."""
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> tuple[T, bool]:
            result, deed = work(connection)
            if deed is None:
                return result, False
            self._log.append(connection, deed, occasion)
            self._notices.mark(connection, TOPIC)
            return result, True

        result, changed = await self._database.run(transaction)
        if changed:
            self._notices.publish(TOPIC, marked=True)
            await self.current.reload()
        return result

    async def _load(self) -> tuple[Target, ...]:
        query = sa.select(tables.endpoint).order_by(tables.endpoint.c.id)
        return await self._database.read(
            lambda connection: tuple(self._open(row) for row in connection.execute(query).mappings())
        )

    def _home(
        self, connection: sa.Connection, actor: Actor, project: str | None, organization: bool
    ) -> tuple[str, str]:
        """(organization, project) that a new endpoint is of."""
        if organization:
            org = home_organization(connection, actor, project)
            permissions.require(actor, "webhooks:write")
            permissions.require(actor, "projects:write")
            return org.id, ""
        home = find_project(connection, actor, project)
        permissions.require(actor, "webhooks:write", Resource(project=home.id))
        return home.org_id, home.id

    def _target(
        self,
        connection: sa.Connection,
        actor: Actor,
        ref: str,
        permission: str,
        *,
        version: int | None = None,
        lock: bool = False,
    ) -> Target:
        table = tables.endpoint
        query = sa.select(table).where(_reach(actor), table.c.id == ref if ids.is_id(ref) else table.c.name == ref)
        if not ids.is_id(ref) and not isinstance(actor, SystemActor):
            # A name of one's own project comes before the organization's.
            query = query.where(table.c.org == actor.org, table.c.project.in_((actor.project, "")))
            query = query.order_by(table.c.project.desc())
        row = None
        if "\x00" not in ref:
            row = connection.execute(query.with_for_update() if lock else query).mappings().first()
        if row is None:
            raise NotFound(f"There is no endpoint {ref[:70]!r}.", code="endpoint_not_found", param="endpoint")
        found = self._open(row)
        permissions.require(actor, permission, Resource(project=found.endpoint.project))
        if version is not None and version != found.endpoint.version:
            raise Conflict(
                f"It has moved on since you looked: it is at version {found.endpoint.version}.",
                code="version_moved",
                hint="Look again, then repeat.",
            )
        return found

    def _open(self, row: sa.RowMapping) -> Target:
        named: dict[str, Any] = {name: row[name] for name in Endpoint.__struct_fields__ if name in tables.endpoint.c}
        endpoint = msgspec.convert(named, Endpoint)
        address = self._sealer.open(row["sealed_address"], f"{endpoint.id} address") or b""
        secrets = self._sealer.open(row["sealed_secrets"], f"{endpoint.id} secrets") or b"[]"
        kept = msgspec.json.decode(secrets, type=tuple[tuple[str, int], ...])
        return Target(endpoint, ApiKey(address.decode()), tuple((ApiKey(one), until) for one, until in kept))

    def _write(
        self, connection: sa.Connection, new: Endpoint, address: str, secrets: Sequence[tuple[str, int]]
    ) -> None:
        of = tables.endpoint.c.id == new.id
        connection.execute(tables.endpoint.update().where(of).values(**self._row(new, address, secrets)))

    def _row(self, endpoint: Endpoint, address: str, secrets: Sequence[tuple[str, int]]) -> dict[str, object]:
        kept = {name: getattr(endpoint, name) for name in Endpoint.__struct_fields__ if name in tables.endpoint.c}
        sealed = self._sealer.seal(msgspec.json.encode(secrets), f"{endpoint.id} secrets") if secrets else None
        return {
            **kept,
            "events": list(endpoint.events),
            "sealed_address": self._sealer.seal(address.encode(), f"{endpoint.id} address"),
            "sealed_secrets": sealed,
        }


def _plain(target: Target) -> tuple[tuple[str, int], ...]:
    return tuple((secret.reveal(), until) for secret, until in target.secrets)


def _reach(actor: Actor) -> sa.ColumnElement[bool]:
    """Which endpoints exist for the actor."""
    table = tables.endpoint
    if isinstance(actor, SystemActor) or permissions.allows(actor, "organizations:write"):
        return sa.true()
    if permissions.allows(actor, "projects:write"):
        return table.c.org == actor.org
    return sa.and_(table.c.org == actor.org, table.c.project == actor.project)


def _deed(actor: Actor, verb: str, before: Endpoint | None, after: Endpoint | None, reason: str) -> audit.Deed:
    one = after or before
    assert one is not None
    return audit.Deed(
        actor=access.actor_name(actor),
        principal=access.principal_of(actor),
        action=f"webhooks:{verb}",
        resource=one.resource,
        org=one.org,
        project=one.project,
        before=None if before is None else msgspec.to_builtins(before),
        after=None if after is None else msgspec.to_builtins(after),
        reason=reason,
        facts={"kind": one.kind, "events": len(one.events), "enabled": int(one.enabled), "version": one.version},
    )
