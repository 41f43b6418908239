"""One database, two engines: transactions for writers, reads beside them, in threads of its own.

SQLite: one writer (``BEGIN IMMEDIATE``), a few readers, write-ahead log; ``control`` and ``work`` are synced on every
commit (``synchronous=FULL``), ``traces`` is not (``NORMAL``: a power cut may lose the last commits, never the file).
PostgreSQL: a small pool; a connection that died is replaced on the next use.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

from ostinato.core.errors import Invalid, Unavailable
from ostinato.storage import failures

T = TypeVar("T")

Connection = sa.Connection
"""What a transaction hands to its work: for rooms that hand it on and write no SQL of their own."""

BUSY_SECONDS = 5.0
"""How long a connection waits for a lock or for a free place in the pool."""
CONNECT_SECONDS = 3
ANSWER_SECONDS = 30.0
"""How long an ``await`` stands on a server that accepts but does not answer."""
WAITING = 1_000
"""Calls that may wait for a thread; beyond it a caller is told at once."""
_CHECKED_BYTES = 256 * 1024 * 1024
"""Largest ``control`` file that is read through for damage at start (some 0.3 s)."""


class Database:
    """A database that is open. Made by :func:`open_database`; ``close`` it."""

    def __init__(self, name: str, url: sa.URL, *, readers: int) -> None:
        self.name = name
        self.dialect = "sqlite" if url.get_backend_name() == "sqlite" else "postgresql"
        """``sqlite`` or ``postgresql``."""
        self.url = url
        """Holds the password: never print it."""
        if self.dialect == "sqlite":
            self._writer = _sqlite_engine(name, url, size=1, write=True)
            self._reader = _sqlite_engine(name, url, size=readers, write=False)
        else:
            self._writer = self._reader = _postgres_engine(url, size=2 * readers)
        writers = 1 if self.dialect == "sqlite" else readers
        self._write_threads = ThreadPoolExecutor(writers, thread_name_prefix=f"ostinato-{name}-write")
        self._read_threads = ThreadPoolExecutor(readers, thread_name_prefix=f"ostinato-{name}-read")
        self._waiting = 0
        self._lock = threading.Lock()

    def transact(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` in one transaction and commit it; roll back if it raises. Blocking, from any thread.

        On SQLite writers queue up one behind another. Do not nest. Raises ``Unavailable`` (full, read-only, damaged,
        unreachable) and ``Conflict`` (a constraint says no); what ``work`` raises itself passes through.
        """
        return self._guarded(self._writer, work)

    def query(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` on a reader: one consistent view, no writes (SQLite refuses them). Blocking."""
        return self._guarded(self._reader, work)

    def rebuild(self, work: Callable[[sa.Connection], T]) -> T:
        """Like ``transact``, for migrations: SQLite's foreign keys rest meanwhile, checked before the commit."""
        if self.dialect != "sqlite":
            return self.transact(work)

        def resting(connection: sa.Connection) -> T:
            result = work(connection)
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
            if broken is not None:
                raise Unavailable(f"The migration of {self.name!r} would break a reference in {broken[0]!r}.")
            return result

        try:
            with self._writer.connect() as connection:
                driver = _driver_connection(connection)
                driver.execute("PRAGMA foreign_keys=OFF")
                try:
                    with connection.begin():
                        return resting(connection)
                finally:
                    driver.execute("PRAGMA foreign_keys=ON")
        except Exception as error:
            raise failures.translate(error, self.name) or error from error

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """``transact`` in this database's own writer thread. A cancelled caller does not undo what has begun."""
        return await self._await(self._write_threads, self.transact, work)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        """``query`` in one of this database's own reader threads."""
        return await self._await(self._read_threads, self.query, work)

    async def scrub(self, names: Sequence[str] = ()) -> bool:
        """Leave nothing of what was deleted or overwritten where this database can help it.

        SQLite: the log is folded into the file and cut to nothing (``secure_delete`` has overwritten what was freed).
        PostgreSQL: the tables ``names`` are vacuumed. Gives whether it could be done to the end: a reader may be in the
        way.
        """
        if self.dialect == "sqlite":
            return await self._await(self._write_threads, _call, self._fold)
        return await self._await(self._write_threads, _call, lambda: self._vacuum(names))

    async def fold_beside(self) -> None:
        """Fold what SQLite's log holds into the file, beside the writer: so that no commit of others has to.

        That takes some 100 ms where many pages have changed. Nothing on PostgreSQL.
        """
        if self.dialect == "sqlite":
            await self._await(self._read_threads, _call, self._fold_beside)

    def _fold_beside(self) -> None:
        with self._reader.connect() as connection:
            _driver_connection(connection).execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _fold(self) -> bool:
        with self._writer.connect() as connection:
            busy, *_rest = _driver_connection(connection).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            return not busy

    def _vacuum(self, names: Sequence[str]) -> bool:
        with self._writer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for name in names:
                connection.exec_driver_sql(f"VACUUM {connection.dialect.identifier_preparer.quote(name)}")
        return True

    def close(self) -> None:
        """Finish what has begun, refuse the rest, close every connection. Blocking; may be called twice."""
        wait = self.dialect == "sqlite"
        self._write_threads.shutdown(wait=wait, cancel_futures=True)
        self._read_threads.shutdown(wait=wait, cancel_futures=True)
        self._reader.dispose()
        self._writer.dispose()

    def _guarded(self, engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
        try:
            with engine.begin() as connection:
                return work(connection)
        except Exception as error:
            translated = failures.translate(error, self.name)
            if translated is None:
                raise
            raise translated from error

    async def _await(self, threads: ThreadPoolExecutor, call: Callable[..., T], work: Callable[..., T]) -> T:
        with self._lock:
            if self._waiting >= WAITING:
                raise Unavailable(
                    f"Too many calls wait for database {self.name!r}.", code="storage_busy", retry_after=1.0
                )
            self._waiting += 1
        try:
            future = threads.submit(call, work)
        except RuntimeError as error:
            self._left()
            raise Unavailable(f"Database {self.name!r} is closed.", code="storage_closed") from error
        future.add_done_callback(lambda _: self._left())
        waiting = asyncio.wrap_future(future)
        if self.dialect == "sqlite":
            return await waiting
        try:
            # Not `wait_for`: before Python 3.12 it takes no notice of a cancellation that comes with the answer, and
            # a loop that was told to end would go on.
            async with asyncio.timeout(ANSWER_SECONDS):
                return await waiting
        except TimeoutError as error:
            raise Unavailable(
                f"PostgreSQL, which holds database {self.name!r}, does not answer.",
                code="storage_unreachable",
                hint="Whether a write took effect is unknown; look before you repeat it.",
            ) from error

    def _left(self) -> None:
        with self._lock:
            self._waiting -= 1


def open_database(name: str, url: str | Path, *, readers: int = 4) -> Database:
    """Open database ``name`` (``control``, ``traces`` or ``work``) at ``url``, and see that it answers. Blocking.

    ``url`` is ``sqlite:///path`` (or a ``Path``) or ``postgresql://user@host/name``. ``readers``: read threads and
    connections. Raises ``Invalid`` for a wrong URL, ``Unavailable`` when the file is damaged or cannot be written, or
    the server cannot be reached. A damaged file is refused and left alone: never replaced by an empty one.
    """
    parsed = _parse(name, url)
    try:
        database = Database(name, parsed, readers=readers)
    except ModuleNotFoundError as error:
        raise Invalid(
            f"The driver for database {name!r} is not installed.",
            code="storage_driver",
            hint="Install the extra, in a clone: pip install '.[postgres]'",
        ) from error
    try:
        if database.dialect == "sqlite":
            _check_file(database)
        else:
            database.query(lambda connection: connection.exec_driver_sql("SELECT 1"))
    except BaseException:
        database.close()
        raise
    return database


def _parse(name: str, url: str | Path) -> sa.URL:
    if isinstance(url, Path):
        return sa.URL.create("sqlite", database=str(url))
    try:
        parsed = sa.make_url(url)
        backend = parsed.get_backend_name()
    except Exception as error:
        raise _wrong_url(name) from error
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite")
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise _wrong_url(name)


def _wrong_url(name: str) -> Invalid:
    return Invalid(
        f"The URL of database {name!r} is not one that Ostinato understands.",
        code="storage_url",
        hint="Use sqlite:///path/to/file.db or postgresql://user:password@host:5432/name.",
    )


def _sqlite_engine(name: str, url: sa.URL, *, size: int, write: bool) -> sa.Engine:
    engine = sa.create_engine(
        url,
        poolclass=sa.QueuePool,
        pool_size=size,
        max_overflow=0,
        pool_timeout=2 * BUSY_SECONDS,
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False, "isolation_level": None},
    )
    begin = "BEGIN IMMEDIATE" if write else "BEGIN"
    pragmas = [
        f"PRAGMA synchronous={'NORMAL' if name == 'traces' else 'FULL'}",
        "PRAGMA foreign_keys=ON",
        "PRAGMA cache_size=-16384",
        "PRAGMA temp_store=MEMORY",
        "PRAGMA journal_size_limit=67108864",
        # What is erased is overwritten, whatever the library was built with. Vacuuming instead would copy gigabytes.
        "PRAGMA secure_delete=ON",
    ]
    pragmas.insert(0, "PRAGMA journal_mode=WAL") if write else pragmas.append("PRAGMA query_only=ON")

    def prepare(driver: Any, _: object) -> None:
        for pragma in pragmas:
            driver.execute(pragma)

    def start(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)

    # Python's driver is told to keep its hands off transactions (isolation_level=None); we say BEGIN ourselves,
    # so that a writer takes its lock at once instead of failing half-way, and DDL can be rolled back.
    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", start)
    return engine


def _postgres_engine(url: sa.URL, *, size: int) -> sa.Engine:
    arguments = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "ostinato",
        "keepalives": 1,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
    return sa.create_engine(
        url,
        pool_size=size,
        max_overflow=0,
        pool_timeout=2 * BUSY_SECONDS,
        pool_pre_ping=True,
        connect_args={key: value for key, value in arguments.items() if key not in url.query},
    )


def _check_file(database: Database) -> None:
    """Touch the file as a writer, then as a reader; look through ``control``, whose loss nothing else would notice."""
    path = Path(database.url.database or "")
    try:
        fresh = not path.exists() or path.stat().st_size == 0
    except OSError as error:
        raise Unavailable(
            f"The file of database {database.name!r} cannot be reached: {error.strerror}.",
            code="storage_read_only",
            hint="Check that the data directory belongs to the user of the server.",
        ) from error
    database.transact(lambda connection: connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar())
    if fresh:
        with suppress(OSError):
            path.chmod(0o600)
        return
    if path.stat().st_size <= _CHECKED_BYTES and database.name == "control":
        found = database.query(lambda connection: connection.exec_driver_sql("PRAGMA quick_check(1)").scalar())
        if found != "ok":
            raise Unavailable(
                f"The file of database {database.name!r} is damaged.",
                code="storage_corrupt",
                hint="It was left as it is. Restore it from a backup, or move it away to begin with an empty one.",
            )


def _call(work: Callable[[], T]) -> T:
    return work()


def _driver_connection(connection: sa.Connection) -> Any:
    return connection.connection.dbapi_connection
