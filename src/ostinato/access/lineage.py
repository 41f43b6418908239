"""Which key a key goes back to, as the database has it: by rotations, then by who made the first of them."""

from collections.abc import Iterator

import sqlalchemy as sa

from ostinato.access import store, tables
from ostinato.access.model import Actor, ApiKey, Caller

_KEY = "key:"


def line(connection: sa.Connection, key: ApiKey) -> Iterator[ApiKey]:
    """The key, what it was rotated from, what made that, and so on up to the first."""
    table = tables.api_key
    while True:
        yield key
        by = key.rotated_from or key.created_by.removeprefix(_KEY)
        row = connection.execute(sa.select(table).where(table.c.id == by)).mappings().first()
        if row is None:
            return
        key = store.api_key(row)


def stands_for(connection: sa.Connection, key: ApiKey) -> str:
    """Who stands behind a key: see ``principal_of``."""
    for one in line(connection, key):
        if one.principal:
            return f"principal:{one.principal}"
        key = one
    return f"{_KEY}{key.id}"


def made_by(connection: sa.Connection, key: ApiKey, actor: Actor) -> bool:
    """Whether ``key`` goes back to the actor's key, or to one that this has replaced."""
    if not isinstance(actor, Caller):
        return False
    table = tables.api_key
    # Keys that replaced one another share their purse, and no others do.
    purse = connection.scalar(sa.select(table.c.account).where(table.c.id == actor.key_id))
    return any(one.account == purse for one in line(connection, key))
