"""Where everything that outlives a request is kept; the only room that knows database drivers.

``DataDirectory`` owns the files of an embedded server; ``open_database`` gives a ``Database`` (SQLite or PostgreSQL)
and ``migrate`` brings it up to date. On top: ``Declarations`` (versioned settings with history), ``Notices`` (something
changed, here or in another process), ``Snapshot`` (an immutable value that is swapped whole), and the shared tier of
the cache: ``RecordStore``, in one SQLite file or in Valkey (``open_record_store``). Types of columns that
mean the same on both engines are in ``columns``; how to write a revision is told in ``migrating``.
"""

from pathlib import Path

from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.storage import columns
from ostinato.storage.database import Database, open_database
from ostinato.storage.declarations import Change, Declarations, Declared
from ostinato.storage.notices import Notices
from ostinato.storage.places import DataDirectory
from ostinato.storage.records import Query, Record, RecordStore
from ostinato.storage.records_sqlite import SqliteRecordStore
from ostinato.storage.snapshot import Snapshot

__all__ = [
    "Change",
    "DataDirectory",
    "Database",
    "Declarations",
    "Declared",
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
    "open_record_store",
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


def open_record_store(place: str | Path, *, clock: Clock | None = None, max_bytes: int = 8 * 1024**3) -> RecordStore:
    """The shared tier at ``place``: a file (``Path`` or ``sqlite:///path``) or the URL of a Valkey. Not yet started.

    ``max_bytes`` bounds the file; a Valkey is bounded by its own ``maxmemory``. Raises ``Invalid`` for a wrong URL or a
    driver that is not installed.
    """
    if isinstance(place, Path) or place.startswith("sqlite:///"):
        path = place if isinstance(place, Path) else Path(place.removeprefix("sqlite:///"))
        return SqliteRecordStore(path, max_bytes=max_bytes, clock=clock)
    try:
        from ostinato.storage.records_valkey import ValkeyRecordStore  # noqa: PLC0415 - an extra, slow to import
    except ModuleNotFoundError as error:
        raise Invalid(
            "The driver for Valkey is not installed.",
            code="storage_driver",
            hint="Install the extra: pip install 'ostinato[valkey]'.",
        ) from error
    return ValkeyRecordStore(place, clock=clock)
