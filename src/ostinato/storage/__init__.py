"""Where everything that outlives a request is kept; the only room that knows database drivers.

``DataDirectory`` owns the files of an embedded server; ``open_database`` gives a ``Database`` (SQLite or PostgreSQL)
and ``migrate`` brings it up to date. On top: ``Declarations`` (versioned settings with history), ``Notices`` (something
changed, here or in another process), ``Snapshot`` (an immutable value that is swapped whole), ``Answers`` (what was
answered under idempotency keys), and the shared tier of
the cache: ``RecordStore``, in one SQLite file (``SqliteRecordStore``) or in Valkey
(``records_valkey.ValkeyRecordStore``, which needs the extra ``valkey``). Types of columns that
mean the same on both engines are in ``columns``; how to write a revision is told in ``migrating``.
"""

from ostinato.storage import columns
from ostinato.storage.answers import Answers, Begun, Kept
from ostinato.storage.database import Connection, Database, open_database
from ostinato.storage.declarations import Change, Declarations, Declared
from ostinato.storage.notices import Notices
from ostinato.storage.places import DataDirectory
from ostinato.storage.records import Query, Record, RecordStore
from ostinato.storage.records_sqlite import SqliteRecordStore
from ostinato.storage.snapshot import Current, Snapshot

__all__ = [
    "Answers",
    "Begun",
    "Change",
    "Connection",
    "Current",
    "DataDirectory",
    "Database",
    "Declarations",
    "Declared",
    "Kept",
    "Notices",
    "Query",
    "Record",
    "RecordStore",
    "Snapshot",
    "SqliteRecordStore",
    "columns",
    "downgrade",
    "migrate",
    "open_database",
]


def migrate(database: Database, revision: str = "head") -> str:
    """Bring ``database`` up to ``revision``; see :func:`ostinato.storage.migrating.migrate`. Blocking."""
    # Alembic takes 60 ms to import; commands that need no database should not pay for it.
    from ostinato.storage import migrating  # noqa: PLC0415

    return migrating.migrate(database, revision)


def downgrade(database: Database, revision: str) -> str:
    """Take ``database`` back to ``revision``; see :func:`ostinato.storage.migrating.downgrade`. Blocking."""
    from ostinato.storage import migrating  # noqa: PLC0415

    return migrating.downgrade(database, revision)
