"""What principals may do, as the database has it in the very transaction that must know."""

import sqlalchemy as sa

from ostinato.access import Caller, Resource, permissions, store, tables
from ostinato.access.rights import Rights as KeyRights
from ostinato.releases.turn import May


def standing_rights(connection: sa.Connection, now: int) -> May:
    """``may(principal, permission, on, org)`` of this transaction.

    A principal has a right where one of its keys that live has it: by its roles, by what bounds its makers, in the
    project of the key or, with ``projects:write``, in the whole organization.
    """
    rows = connection.execute(sa.select(tables.api_key)).mappings().all()
    keys = [store.api_key(row) for row in rows]
    ground = store.load_ground(connection, keys, now)
    known: dict[str, KeyRights] = {}
    callers: dict[str, list[Caller]] = {}
    for key in keys:
        if key.state(now) != "active":
            continue
        may = ground.of(key, now, known)
        if ground.disabled_at(may.principal) is not None:
            continue
        callers.setdefault(may.principal, []).append(
            Caller(
                key_id=key.id,
                key_prefix=key.prefix,
                org=key.org_id,
                project=key.project_id,
                permissions=may.permissions,
                principal=may.principal,
                rules=may.rules,
            )
        )

    def allowed(principal: str, permission: str, on: Resource, org: str) -> bool:
        return any(
            one.org == org
            and (one.project == on.project or permissions.allows(one, "projects:write"))
            and permissions.allows(one, permission, on)
            for one in callers.get(principal, ())
        )

    return allowed
