"""One transaction of this room: who acts, when, what they reach, and what is written down of it."""

from collections.abc import Mapping

import msgspec
import sqlalchemy as sa

from ostinato import access, audit
from ostinato.access import Actor, Project, Resource, SystemActor, manage, permissions
from ostinato.core.errors import Conflict
from ostinato.reviews import store, tables
from ostinato.reviews.model import Item, Queue
from ostinato.reviews.sealing import Sealer
from ostinato.reviews.settings import Settings


class Bench(msgspec.Struct, frozen=True):
    """What every transaction of this room needs."""

    log: audit.Log
    sealer: Sealer
    settings: Settings


class Turn:
    """A transaction under way. Lives as long as its connection is lent."""

    def __init__(
        self, bench: Bench, connection: sa.Connection, actor: Actor, now: int, occasion: audit.Occasion
    ) -> None:
        self.bench = bench
        self.connection = connection
        self.actor = actor
        self.now = now
        self._occasion = occasion

    @property
    def principal(self) -> str:
        """Who stands behind the actor: what makes two keys of one person one reviewer."""
        return access.principal_of(self.actor)

    def home(self, project: str | None, permission: str) -> Project:
        """The project that the actor means. Raises ``NotFound`` beyond its reach, ``Denied`` without the permission."""
        found = manage.find_project(self.connection, self.actor, project)
        permissions.require(self.actor, permission, Resource(project=found.id))
        return found

    def queue(self, project: str | None, name: str, permission: str, *, lock: bool = False) -> Queue:
        """The queue that the actor means."""
        home = self.home(project, permission)
        found = store.find_queue(self.connection, home.id, name, lock=lock)
        if found is None:
            raise store.unknown_queue(name)
        return found

    def item(self, item_id: str, permission: str, *, lock: bool = False) -> tuple[Item, bytes | None]:
        """The item that the actor means, with its sealed texts. Raises like :meth:`home`."""
        found = store.find_item(self.connection, item_id, lock=lock)
        if found is None or not reaches(self.actor, found[0].org, found[0].project):
            raise store.unknown_item(item_id)
        permissions.require(self.actor, permission, Resource(project=found[0].project))
        return found

    def done(
        self,
        action: str,
        resource: str,
        org: str,
        project: str,
        *,
        before: object = None,
        after: object = None,
        reason: str = "",
        facts: Mapping[str, str | int] | None = None,
    ) -> None:
        """Write down what was done: one leaf of the audit log."""
        deed = audit.Deed(
            actor=access.actor_name(self.actor),
            principal=self.principal,
            action=f"reviews:{action}",
            resource=resource,
            org=org,
            project=project,
            before=before,
            after=after,
            reason=reason,
            facts=dict(facts or {}),
        )
        self.bench.log.append(self.connection, deed, self._occasion)


def reaches(actor: Actor, org: str, project: str) -> bool:
    """Whether something of this project exists for the actor at all."""
    if isinstance(actor, SystemActor) or permissions.allows(actor, "organizations:write"):
        return True
    return org == actor.org and (project == actor.project or permissions.allows(actor, "projects:write"))


def reach(actor: Actor) -> sa.ColumnElement[bool]:
    """The same as a condition on items."""
    table = tables.item
    if isinstance(actor, SystemActor) or permissions.allows(actor, "organizations:write"):
        return sa.true()
    if permissions.allows(actor, "projects:write"):
        return table.c.org == actor.org
    return sa.and_(table.c.org == actor.org, table.c.project == actor.project)


def expect(found: int, wanted: int | None) -> None:
    """Raise ``Conflict`` where ``wanted`` is not the version that stands."""
    if wanted is not None and wanted != found:
        raise Conflict(
            f"It has moved on since you looked: it is at version {found}.",
            code="version_moved",
            hint="Look again, then repeat.",
        )
