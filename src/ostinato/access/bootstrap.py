"""The first start: an organization, a project and the first administrator key, made once."""

import sqlalchemy as sa

from ostinato.access import issue, keys, manage, permissions
from ostinato.access.authority import Grant
from ostinato.access.change import Change
from ostinato.access.model import ApiKey, Organization, Project, SystemActor
from ostinato.core.errors import Conflict, NotFound

DEFAULT = "default"


def first_start(change: Change, *, recover: bool = False) -> tuple[Organization, Project, keys.Secret]:
    """Organization ``default``, project ``default`` and an owner's key, whose secret is returned once.

    Raises :class:`Conflict` while a key of an owner is alive. Once none is (all revoked or expired), it makes a new one
    in the same place: the way back in for whoever holds the data directory. With ``recover`` it does so although one
    is: its secret is lost. Nothing is revoked.
    """
    connection, system = change.connection, change.actor
    owner = None if recover else _owner(connection, change.now)
    if owner is not None:
        raise Conflict(
            f"There is an administrator key already: {owner.prefix}..., {owner.name!r}.",
            code="already_initialized",
            hint="Create further keys with it. Its secret was shown once and cannot be shown again; if it is lost, "
            "stop the server and run `ostinato init --recover`, which makes another such key.",
        )
    try:
        organization = manage.show_organization(connection, system, DEFAULT)
    except NotFound:
        organization = manage.create_organization(change, DEFAULT, "Default organization")
    try:
        project = manage.show_project(connection, system, f"{DEFAULT}/{DEFAULT}")
    except NotFound:
        project = manage.create_project(change, DEFAULT, "Default project", organization=organization.id)
    grant = Grant(permissions=permissions.ROLES["owner"])
    _, secret = issue.create_key(change, name="administrator", grant=grant, project=project.id, most=2**31)
    return organization, project, secret


def _owner(connection: sa.Connection, now: int) -> ApiKey | None:
    """A live key that may do everything."""
    after: str | None = None
    system = SystemActor("init")
    while page := issue.list_keys(connection, system, after=after, limit=issue.PAGE):
        for key in page:
            if key.state(now) == "active" and permissions.ROLES["owner"] <= key.permissions:
                return key
        after = page[-1].id
    return None
