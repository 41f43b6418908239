"""The revisions make what the tables declare."""

from collections.abc import Callable
from pathlib import Path

import sqlalchemy as sa

from ostinato import storage
from ostinato.optimization import tables


def test_revisions_agree_with_the_tables(tmp_path: Path, schema_drift: Callable[..., list[object]]) -> None:
    for name, metadata in (("control", tables.control), ("work", tables.work)):
        database = storage.open_database(name, tmp_path / f"{name}.db")
        try:
            storage.migrate(database)
            assert schema_drift(database, metadata) == []
            assert database.query(lambda c: sa.inspect(c).has_table("optimization_run")) == (name == "control")
        finally:
            database.close()
