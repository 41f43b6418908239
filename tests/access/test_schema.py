"""What the revision makes is what the room declares."""

import sqlalchemy as sa

from ostinato import storage
from ostinato.access import Grant, tables
from ostinato.access.permissions import ALL


def test_the_revision_makes_what_the_tables_declare(control, schema_drift):
    assert schema_drift(control, tables.metadata) == []


def test_the_revision_can_be_taken_back(control):
    assert storage.downgrade(control, "0001_storage") == "0001_storage"
    storage.migrate(control)


async def test_owners_of_before_may_do_what_is_new(door, owner, clock, control):
    """And lose it again with the revision; nobody else gains anything."""
    _, secret = await door.create_key(owner, "plain", Grant(permissions=frozenset({"chat:call", "keys:read"})))
    await door.snapshot.close()
    table = tables.api_key

    def held(connection):
        return sorted(len(row) for row in connection.scalars(sa.select(table.c.permissions)))

    assert control.query(held) == [2, len(ALL)]
    storage.downgrade(control, "0003_audit")
    assert control.query(held) == [2, 19], "a permission that is new needs a revision that gives it to owners"
    storage.migrate(control)
    assert control.query(held) == [2, len(ALL)]
    await door.snapshot.reload()
    assert door.authenticate(secret, clock.now()).permissions == {"chat:call", "keys:read"}
