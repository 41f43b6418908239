"""Alembic, run from code: every database has its tree, its version table and its head.

How to write a revision in ``migrations/<database>/versions/NNNN_room.py``, so that it works on both engines:

- ``revision = "NNNN_room"``, ``down_revision`` = the one before (``None`` for the first), both functions filled in.
- ``op.create_table`` with the types of :mod:`ostinato.storage.columns` (JSON as ``sa.Text``: a revision is frozen, a
  Python type is not) and *named* constraints (``name="pk_key"``): PostgreSQL and SQLite then agree on what exists.
- To alter a table use ``with op.batch_alter_table("key") as batch:``; SQLite copies the table, PostgreSQL alters it.
- Indexes by ``op.create_index("ix_key_org", "key", ["org"])``; views and other plain SQL by ``op.execute("...")`` with
  text that both engines take, or by ``if op.get_bind().dialect.name == "postgresql"``.
- All of an upgrade is one transaction on both engines: it happens whole or not at all.

The tests of a room compare what the revisions made with what its ``tables.py`` declares (fixture ``schema_drift``).
"""

from pathlib import Path

import alembic.command
import alembic.config
import alembic.context
import alembic.script
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext

from ostinato.core.errors import Conflict
from ostinato.storage.database import Database

_LOCK = 0x0571_4A70
"""PostgreSQL advisory lock: processes that start together migrate one after another."""


def migrate(database: Database, revision: str = "head") -> str:
    """Bring ``database`` up to ``revision`` (a name, or ``head``); gives the revision it stands at. Blocking.

    Raises ``Conflict`` when the database was made by a newer version of Ostinato, ``Unavailable`` when it cannot be
    reached or written.
    """
    return database.rebuild(lambda connection: _move(database.name, connection, revision, up=True))


def downgrade(database: Database, revision: str) -> str:
    """Take ``database`` back to ``revision`` (``base``: before the first). Blocking; what newer tables held is lost."""
    return database.rebuild(lambda connection: _move(database.name, connection, revision, up=False))


def current(database: Database) -> str:
    """The revision ``database`` stands at; empty before the first migration. Blocking."""
    return database.query(lambda connection: _current(database.name, connection))


def run_environment() -> None:
    """What each tree's ``env.py`` does: configure Alembic with the connection it was handed, and run."""
    attributes = alembic.context.config.attributes
    alembic.context.configure(
        connection=attributes["connection"],
        version_table=attributes["version_table"],
    )
    with alembic.context.begin_transaction():
        alembic.context.run_migrations()


def version_table(name: str) -> str:
    """Name of the table that holds the revision of database ``name``."""
    return f"{name}_revision"


def _move(name: str, connection: sa.Connection, revision: str, *, up: bool) -> str:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
    settings = alembic.config.Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations" / name).replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    settings.attributes["version_table"] = version_table(name)
    script = alembic.script.ScriptDirectory.from_config(settings)
    known = {entry.revision for entry in script.walk_revisions()}
    at = _current(name, connection)
    if at and at not in known:
        raise Conflict(
            f"The database {name!r} is at revision {at!r}, which this version of Ostinato does not know.",
            code="database_newer",
            hint="It was written by a newer version: start that version, or restore a backup made before the upgrade.",
        )
    (alembic.command.upgrade if up else alembic.command.downgrade)(settings, revision)
    return _current(name, connection)


def _current(name: str, connection: sa.Connection) -> str:
    context = MigrationContext.configure(connection, opts={"version_table": version_table(name)})
    return context.get_current_revision() or ""
