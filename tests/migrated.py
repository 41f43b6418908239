"""Migrations of tests: made once in a test process, then repeated as what they came to.

Fifty revisions take 0.2 s of processor time on SQLite and 0.6 s on PostgreSQL, and two thousand tests want what they
make. :func:`install` lets Alembic make each database once; after that an empty SQLite database is given the tables,
indexes and rows that were made then, and one that stands at the newest revision is left alone without reading the
revisions. Everything else - other revisions, downgrades, databases with something in them - goes the real way, and
:func:`restore` has everything go there.
"""

import secrets
import sqlite3
from typing import Any

import sqlalchemy as sa

from ostinato import storage
from ostinato.storage import migrating

NAMES = ("control", "traces", "work")
_REAL = migrating._move
_made: dict[str, tuple[str, list[str], list[tuple[str, tuple[Any, ...]]]]] = {}
"""Name of a database -> (newest revision, statements, (insert, row))."""


def install() -> None:
    """Have databases copied from now on."""
    migrating._move = _move


def restore() -> None:
    """Have every database migrated for itself again."""
    migrating._move = _REAL


def fresh_origin(execute: Any) -> None:
    """Give an audit log that was copied the name of its own that its revision draws."""
    execute(f"UPDATE audit_head SET origin = '{secrets.token_hex(8)}'")


def _move(name: str, connection: sa.Connection, revision: str, *, up: bool) -> str:
    if not up or revision != "head" or name not in NAMES:
        return _REAL(name, connection, revision, up=up)
    if name not in _made:
        _made[name] = _make(name)
    newest, statements, rows = _made[name]
    if sa.inspect(connection).has_table(f"{name}_revision"):
        if migrating._current(name, connection) == newest:
            return newest
    elif connection.dialect.name == "sqlite" and not sa.inspect(connection).get_table_names():
        for statement in statements:
            connection.exec_driver_sql(statement)
        for statement, row in rows:
            connection.exec_driver_sql(statement, row)
        if name == "control":
            fresh_origin(connection.exec_driver_sql)
        return newest
    return _REAL(name, connection, revision, up=up)


def _make(name: str) -> tuple[str, list[str], list[tuple[str, tuple[Any, ...]]]]:
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        newest = _REAL(name, connection, "head", up=True)
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        made = driver.execute("SELECT type, name, sql FROM sqlite_master WHERE sql NOT NULL ORDER BY rowid").fetchall()
        order = ("table", "index", "view", "trigger")
        statements = [sql for kind in order for of, named, sql in made if of == kind and named != "sqlite_sequence"]
        rows: list[tuple[str, tuple[Any, ...]]] = []
        for kind, named, _ in made:
            if kind == "table" and named != "sqlite_sequence":
                for row in driver.execute(f'SELECT * FROM "{named}"').fetchall():
                    rows.append((f'INSERT INTO "{named}" VALUES ({", ".join("?" * len(row))})', tuple(row)))
    engine.dispose()
    return newest, statements, rows


def prepare(url: str) -> None:
    """Bring a PostgreSQL database to the newest revisions of all three trees."""
    for name in NAMES:
        database = storage.open_database(name, url)
        try:
            storage.migrate(database)
        finally:
            database.close()
