"""Database errors as Ostinato's: who must act, and the way out. No statement, parameter or password gets through."""

import sqlite3
import sys
from typing import cast

import sqlalchemy.exc as sa_errors

from ostinato.core.errors import Conflict, Invalid, OstinatoError, Unavailable

_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LOST = frozenset({"OperationalError", "InterfaceError", "ConnectionTimeout", "AdminShutdown", "CrashShutdown"})
_DENIED = frozenset({"42501", "3D000"})
_PRIMARY = 0xFF
"""SQLite's extended result codes carry the primary one in the low byte."""


def is_corrupt(error: BaseException) -> bool:
    """Whether SQLite said that the file is damaged or no database at all."""
    return _code(error) in _CORRUPT


def damaged(name: str) -> Unavailable:
    """The file of database ``name`` cannot be read for what it is."""
    return Unavailable(
        f"The file of database {name!r} is damaged or is not a database.",
        code="storage_corrupt",
        hint="It was left as it is. Restore it from a backup, or move it away to begin with an empty one.",
    )


def from_sqlite(error: BaseException, name: str) -> OstinatoError:
    """What a ``sqlite3`` error means for someone who runs Ostinato."""
    code = _code(error)
    if code in _CORRUPT:
        return damaged(name)
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(
            f"The disk that holds database {name!r} is full; nothing was written.",
            code="storage_full",
            hint="Free some space; reads go on meanwhile.",
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return Unavailable(
            f"The file of database {name!r} cannot be opened for writing.",
            code="storage_read_only",
            hint="Check that the data directory exists, is on a writable disk and belongs to the user of the server.",
        )
    if code == sqlite3.SQLITE_IOERR:
        return Unavailable(
            f"The disk refused to read or write database {name!r}; nothing was written.",
            code="storage_io",
            hint="Check the disk, its free space and the file size limit of the process.",
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(
            f"The database {name!r} is held by another process.",
            code="storage_busy",
            hint="Exactly one server may own a data directory; stop the other one.",
        )
    if code == sqlite3.SQLITE_CONSTRAINT:
        return _conflict(name)
    return Unavailable(f"The database {name!r} failed ({type(error).__name__}).", code="storage_failed")


def from_postgres(error: BaseException, name: str) -> OstinatoError:
    """What a ``psycopg`` error means for someone who runs Ostinato."""
    state = getattr(error, "sqlstate", None) or ""
    if state.startswith("23"):
        return _conflict(name)
    if state.startswith("22") or (not state and type(error).__name__ == "DataError"):
        # By the driver (a NUL in a text) or by the server (a number out of range).
        return _unstorable()
    if state in ("53100", "53200"):
        return Unavailable(
            f"PostgreSQL has no space or memory left for database {name!r}.", code="storage_full", hint="Free some."
        )
    if state == "25006":
        return Unavailable(
            f"PostgreSQL serves database {name!r} read-only.",
            code="storage_read_only",
            hint="Point the URL at the primary, not at a replica.",
        )
    if state.startswith("28") or state in _DENIED:
        return Unavailable(
            f"PostgreSQL does not let us into database {name!r} (SQLSTATE {state}).",
            code="storage_denied",
            hint="Check user, password, database name and rights in the storage URL.",
        )
    if state in ("57014", "55P03", "40P01", "40001"):
        return Unavailable(
            f"PostgreSQL gave up a statement on database {name!r} (SQLSTATE {state}); nothing was written.",
            code="storage_busy",
            hint="Try again.",
        )
    if type(error).__name__ in _LOST or state.startswith(("08", "57")):
        return Unavailable(
            f"PostgreSQL, which holds database {name!r}, cannot be reached.",
            code="storage_unreachable",
            hint="Check that it runs and that the storage URL is right; it is used again as soon as it answers.",
        )
    return Unavailable(f"The database {name!r} failed ({type(error).__name__} {state}).", code="storage_failed")


def translate(error: BaseException, name: str) -> OstinatoError | None:
    """The error of ours for one of SQLAlchemy's or a driver's; ``None`` for what is no database failure but a bug."""
    if isinstance(error, sa_errors.TimeoutError):
        return Unavailable(f"Every connection to database {name!r} is busy.", code="storage_busy", hint="Try again.")
    cause = error.orig if isinstance(error, sa_errors.DBAPIError) else error
    if isinstance(cause, OverflowError) and "SQLite INTEGER" in str(cause):
        return _unstorable()
    if isinstance(cause, sqlite3.ProgrammingError):
        return None
    if isinstance(cause, sqlite3.Error):
        # A wrong statement is SQLITE_ERROR: our mistake, to be seen as it is.
        return None if _code(cause) == sqlite3.SQLITE_ERROR else from_sqlite(cause, name)
    if isinstance(cause, _psycopg_error()):
        denied = (getattr(cause, "sqlstate", None) or "") in _DENIED
        return from_postgres(cause, name) if denied or not isinstance(error, sa_errors.ProgrammingError) else None
    return None


def _psycopg_error() -> type[Exception]:
    """The driver's base error, without importing it: who has no PostgreSQL need not have the driver."""
    driver = sys.modules.get("psycopg")
    return cast("type[Exception]", driver.Error) if driver is not None else _Never


class _Never(Exception):
    pass


def _unstorable() -> Invalid:
    """Somebody's value, on its way into a statement: nothing is wrong with the database."""
    return Invalid(
        "A number is too large, or a text holds a character that cannot be stored.",
        code="value_out_of_range",
        hint="Numbers have at most 64 bits; texts hold no NUL.",
    )


def _conflict(name: str) -> Conflict:
    return Conflict(
        f"Database {name!r} already holds something that excludes this change.",
        code="already_exists",
        hint="Look at what is there and try again.",
    )


def _code(error: BaseException) -> int:
    original = error.orig if isinstance(error, sa_errors.DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & _PRIMARY
    return sqlite3.SQLITE_NOTADB if "not a database" in str(original) else 0
