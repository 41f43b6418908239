"""Reading requests for approval: what waits, and who decided what."""

import sqlalchemy as sa

from ostinato import access, storage
from ostinato.access import Actor, SystemActor
from ostinato.approvals import store
from ostinato.approvals.model import Request
from ostinato.core.errors import NotFound


class Approvals:
    """The requests that an actor reaches: its project's, or its whole organization's."""

    def __init__(self, database: storage.Database) -> None:
        self._database = database

    async def show(self, actor: Actor, request_id: str) -> Request:
        """One request with its decisions. Raises ``NotFound``, also for another organization's or project's."""

        def read(connection: sa.Connection) -> Request:
            request = store.find(connection, request_id)
            if not _reaches(actor, request):
                raise NotFound(f"There is no request for approval {request_id[:80]!r}.", code="approval_not_found")
            return request

        return await self._database.read(read)

    async def list(
        self,
        actor: Actor,
        *,
        org: str = "",
        state: str = "",
        kind: str = "",
        target: str = "",
        after: str = "",
        limit: int = 100,
    ) -> list[Request]:
        """A page of requests, oldest first. ``state``: ``open``, ``rejected``, ``void`` or ``done``."""
        project = None if _whole_organization(actor) else _own(actor)
        home = org if isinstance(actor, SystemActor) else actor.org

        def read(connection: sa.Connection) -> list[Request]:
            return store.page(
                connection, org=home, project=project, state=state, kind=kind, target=target, after=after, limit=limit
            )

        return await self._database.read(read)


def _reaches(actor: Actor, request: Request) -> bool:
    if isinstance(actor, SystemActor):
        return True
    return request.org == actor.org and (_whole_organization(actor) or request.project == actor.project)


def _whole_organization(actor: Actor) -> bool:
    return isinstance(actor, SystemActor) or access.permissions.allows(actor, "projects:write")


def _own(actor: Actor) -> str:
    return "" if isinstance(actor, SystemActor) else actor.project
