"""What tests are given instead of a migrated database is what the migrations make."""

from pathlib import Path

import migrated
import pytest

from ostinato import storage
from ostinato.storage import migrating


def _made(name: str, path: Path) -> tuple[list[tuple[object, ...]], str]:
    database = storage.open_database(name, path)
    try:
        revision = storage.migrate(database)
        query = "SELECT type, name, tbl_name, sql FROM sqlite_master"
        found = database.query(lambda c: [tuple(row) for row in c.exec_driver_sql(query)])
        assert migrating.current(database) == revision
        return sorted(found, key=str), revision
    finally:
        database.close()


@pytest.mark.parametrize("name", migrated.NAMES)
def test_a_copy_is_what_was_copied(name: str, tmp_path: Path) -> None:
    real = _made(name, tmp_path / "real.db")
    migrated.install()
    assert _made(name, tmp_path / "copied.db") == real


def test_every_copied_audit_log_has_a_name_of_its_own(tmp_path: Path) -> None:
    migrated.install()
    origins: set[str] = set()
    for number in range(3):
        database = storage.open_database("control", tmp_path / f"{number}.db")
        storage.migrate(database)
        head = database.query(lambda c: c.exec_driver_sql("SELECT * FROM audit_head").mappings().one())
        assert head["size"] == 0
        origins.add(head["origin"])
        database.close()
    assert len(origins) == 3
