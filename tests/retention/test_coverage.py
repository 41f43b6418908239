"""Every table of every database is some store's, or is left out by name with the reason: a new one must say which."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import sqlalchemy as sa
from inside import inside

from ostinato.retention import exempt


async def test_every_table_is_covered_or_left_out_with_a_reason() -> None:
    async with inside() as world:
        covered = {one for store in world.app.governing.retention.stores for one in store.tables}
        found: set[str] = set()
        for database in (world.app.control, world.app.ledger_database, world.app.work):
            names = database.query(lambda c: sa.inspect(c).get_table_names())
            found |= {f"{database.name}.{name}" for name in names if not name.endswith("_revision")}
        left_out = set(exempt.TABLES)
        assert not found - covered - left_out, "say in retention what becomes of these (a store, or exempt.TABLES)"
        assert not covered & left_out
        assert not (covered | left_out) - found, "these are no tables any more"
        assert all(len(reason) > 20 for reason in exempt.TABLES.values())


async def test_a_new_table_is_noticed() -> None:
    async with inside() as world:
        world.app.work.transact(lambda c: c.exec_driver_sql("CREATE TABLE fresh (text TEXT)"))
        names = world.app.work.query(lambda c: sa.inspect(c).get_table_names())
        stores = {one for store in world.app.governing.retention.stores for one in store.tables}
        assert "fresh" in names and "work.fresh" not in stores | set(exempt.TABLES)
