"""The room's one object with a life: :class:`Updating`."""

from collections.abc import Sequence

import sqlalchemy as sa

from ostinato import routing
from ostinato.access import Actor, Resource, manage, permissions
from ostinato.updating import store
from ostinato.updating.model import Update
from ostinato.updating.rolling import Rolling


class Updating(Rolling):
    """Changes of models of all projects. Every change of an update is one transaction with its leaf.

    ``plan``, ``suspect``, ``run`` and ``report`` are before anything changes; ``start``, ``approve``, ``look`` and
    ``abandon`` are what moves traffic.
    """

    async def show(self, actor: Actor, update_id: str) -> Update:
        """One update."""
        return await self._own(actor, update_id, "updates:read")

    async def list(
        self, actor: Actor, *, project: str | None = None, state: str = "", after: str = "", limit: int = 100
    ) -> Sequence[Update]:
        """A page of a project's updates, the newest first."""

        def read(connection: sa.Connection) -> Sequence[Update]:
            home = manage.find_project(connection, actor, project)
            permissions.require(actor, "updates:read", Resource(project=home.id))
            return store.page(connection, home.id, state=state, after=after, limit=limit)

        return await self._control.read(read)

    async def candidates(self) -> Sequence[routing.Candidate]:
        """What the catalog of routes must know of all updates."""
        return await self._control.read(store.candidates)
