"""Databases in trouble: damaged, full, read-only, killed, unreachable, silent."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap

import pytest
import sqlalchemy as sa

from ostinato import storage
from ostinato.core.errors import Unavailable
from ostinato.storage import tables

NOTICE = tables.notice

CHILD = """
import os, resource, signal, sys
from pathlib import Path
import sqlalchemy as sa
from ostinato import storage
from ostinato.core.errors import OstinatoError
from ostinato.storage import migrating, tables

path = Path(sys.argv[1])

def add(topic):
    insert = sa.insert(tables.notice).values(topic=topic, version=1)
    return lambda connection: connection.execute(insert)

def topics(connection):
    return len(connection.scalars(sa.select(tables.notice.c.topic)).all())
"""


def child(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + textwrap.dedent(code), *arguments], stdout=subprocess.PIPE, text=True
    )


def add(topic: str):
    return lambda connection: connection.execute(sa.insert(NOTICE).values(topic=topic, version=1))


def topics(connection: sa.Connection) -> set[str]:
    return set(connection.scalars(sa.select(NOTICE.c.topic)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "control.db"


@pytest.fixture
def filled(path):
    """A control database with some pages in it, closed."""
    database = storage.open_database("control", path)
    storage.migrate(database)
    for n in range(100):
        database.transact(add(f"{n:03}" * 20))
    database.close()
    return path


@pytest.mark.parametrize("name", ["control", "traces"])
@pytest.mark.parametrize("damage", ["garbage", "header", "truncated-header"])
def test_a_damaged_file_is_refused_and_left_alone(filled, name, damage):
    whole = filled.read_bytes()
    rubbish = {"garbage": os.urandom(len(whole)), "header": b"X" * 100 + whole[100:], "truncated-header": whole[:50]}
    filled.write_bytes(rubbish[damage])
    with pytest.raises(Unavailable) as caught:
        storage.open_database(name, filled)
    assert caught.value.code == "storage_corrupt"
    assert "backup" in caught.value.hint
    assert filled.read_bytes() == rubbish[damage]


@pytest.mark.parametrize("damage", ["truncated", "page"])
def test_damage_inside_control_is_found_at_the_start(filled, damage):
    whole = filled.read_bytes()
    if damage == "truncated":
        rubbish = whole[: len(whole) // 2 // 4096 * 4096]
    else:
        rubbish = whole[:-8192] + os.urandom(4096) + whole[-4096:]
    filled.write_bytes(rubbish)
    with pytest.raises(Unavailable) as caught:
        storage.open_database("control", filled)
    assert caught.value.code == "storage_corrupt"
    assert filled.read_bytes() == rubbish


def test_an_empty_file_is_a_new_database(path):
    path.touch()
    database = storage.open_database("control", path)
    assert storage.migrate(database)
    database.close()


def test_a_new_file_is_for_its_owner_alone(path):
    storage.open_database("control", path).close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_missing_directory_is_told(tmp_path):
    with pytest.raises(Unavailable) as caught:
        storage.open_database("control", tmp_path / "nowhere" / "control.db")
    assert caught.value.code == "storage_read_only"


async def test_a_full_disk_refuses_writes_and_serves_reads(filled):
    database = storage.open_database("control", filled)

    def limit(connection: sa.Connection) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    def many(connection: sa.Connection) -> None:
        for n in range(500):
            add(f"more-{n}")(connection)

    before = await database.read(topics)
    await database.run(limit)
    with pytest.raises(Unavailable) as caught:
        await database.run(many)
    assert caught.value.code == "storage_full"
    assert await database.read(topics) == before
    await database.run(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=100000"))
    await database.run(many)
    assert len(await database.read(topics)) == len(before) + 500
    database.close()


def test_a_disk_that_refuses_to_write_is_a_clear_error(path):
    """A limit on the size of files: the system refuses every write beyond it."""
    process = child(
        """
        database = storage.open_database("control", path)
        storage.migrate(database)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
        stored = 0
        try:
            while stored < 1000:
                database.transact(add(f"{stored}" * 20))
                stored += 1
        except OstinatoError as error:
            print(error.code)
        print(database.query(topics) == stored)
        """,
        str(path),
    )
    code, reads = process.communicate(timeout=30)[0].split()
    assert code in ("storage_io", "storage_full")
    assert reads == "True"
    database = storage.open_database("control", path)
    database.transact(add("again"))
    database.close()


def test_a_read_only_directory_is_a_clear_error(filled):
    process = child(
        """
        os.chmod(path.parent, 0o555)
        if os.geteuid() == 0:
            # Permissions do not bind root: become nobody.
            for above in list(path.parents)[1:]:
                if above.stat().st_uid == 0 and len(above.parts) > 2:
                    os.chmod(above, 0o755)
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        else:
            os.chmod(path, 0o444)
        for name in (path, path.with_name("new.db")):
            try:
                storage.open_database("control", name)
            except OstinatoError as error:
                print(error.code)
        """,
        str(filled),
    )
    assert process.communicate(timeout=30)[0].split() == ["storage_read_only"] * 2
    filled.parent.chmod(0o755)


@pytest.mark.parametrize("kills", [1, pytest.param(100, marks=pytest.mark.soak)])
def test_no_acknowledged_write_is_lost_by_a_kill(path, kills):
    acknowledged: set[str] = set()
    for turn in range(kills):
        process = child(
            """
            database = storage.open_database("control", path)
            storage.migrate(database)
            for n in range(100_000):
                topic = f"{sys.argv[2]}-{n}"
                database.transact(add(topic))
                print(topic, flush=True)
            """,
            str(path),
            str(turn),
        )
        assert process.stdout is not None
        for _ in range(20 + 7 * turn % 50):
            acknowledged.add(process.stdout.readline().strip())
        os.kill(process.pid, signal.SIGKILL)
        acknowledged |= set(process.stdout.read().split("\n")[:-1])
        process.wait()
    database = storage.open_database("control", path)
    assert acknowledged <= database.query(topics)
    database.close()


async def test_another_writer_that_does_not_let_go(filled, monkeypatch):
    monkeypatch.setattr("ostinato.storage.database.BUSY_SECONDS", 0.05)
    import sqlite3

    database = storage.open_database("control", filled)
    other = sqlite3.connect(filled, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable) as caught:
        await database.run(add("x"))
    assert caught.value.code == "storage_busy"
    assert await database.read(topics)
    other.execute("ROLLBACK")
    other.close()
    await database.run(add("x"))
    database.close()


def test_a_migration_never_breaks_references(path):
    database = storage.open_database("control", path)
    database.transact(lambda c: c.exec_driver_sql("CREATE TABLE a (id INTEGER PRIMARY KEY)"))
    database.transact(lambda c: c.exec_driver_sql("CREATE TABLE b (a INTEGER REFERENCES a (id))"))
    with pytest.raises(Unavailable, match="reference"):
        database.rebuild(lambda c: c.exec_driver_sql("INSERT INTO b VALUES (7)"))
    assert database.query(lambda c: c.exec_driver_sql("SELECT count(*) FROM b").scalar()) == 0
    with pytest.raises(Exception):  # noqa: B017 - the keys are watched again
        database.transact(lambda c: c.exec_driver_sql("INSERT INTO b VALUES (7)"))
    database.close()


def test_postgres_unreachable_at_the_start():
    with pytest.raises(Unavailable) as caught:
        storage.open_database("control", "postgresql://me@127.0.0.1:1/none")
    assert caught.value.code == "storage_unreachable"
    assert caught.value.hint


def test_postgres_without_that_database(postgres_server):
    with pytest.raises(Unavailable) as caught:
        storage.open_database("control", postgres_server.url("nobody_made_it"))
    assert caught.value.code in ("storage_denied", "storage_unreachable")


async def test_postgres_stopped_in_flight_and_started_again(mortal_postgres):
    server = mortal_postgres
    database = storage.open_database("control", server.new_database())
    storage.migrate(database)
    await database.run(add("before"))
    server.stop()
    for call in (database.run(add("during")), database.read(topics)):
        with pytest.raises(Unavailable) as caught:
            await call
        assert caught.value.code == "storage_unreachable"
    server.start()
    await database.run(add("after"))
    assert await database.read(topics) == {"before", "after"}
    database.close()


async def test_postgres_that_falls_silent(mortal_postgres, monkeypatch):
    monkeypatch.setattr("ostinato.storage.database.ANSWER_SECONDS", 0.2)
    server = mortal_postgres
    database = storage.open_database("control", server.new_database())
    storage.migrate(database)
    server.freeze()
    try:
        with pytest.raises(Unavailable) as caught:
            await database.run(add("during"))
        assert caught.value.code == "storage_unreachable"
    finally:
        server.thaw()
    for _ in range(100):
        try:
            assert await database.read(topics) <= {"during"}
            break
        except Unavailable:
            await asyncio.sleep(0.05)
    database.close()


async def test_connections_that_postgres_ends(postgres_url, postgres_server):
    database = storage.open_database("control", postgres_url)
    storage.migrate(database)
    name = sa.make_url(postgres_url).database
    for turn in range(3):
        postgres_server.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        await database.run(add(f"turn-{turn}"))
    assert await database.read(topics) == {"turn-0", "turn-1", "turn-2"}
    database.close()


def test_postgres_read_only(postgres_url):
    database = storage.open_database("control", postgres_url)
    storage.migrate(database)

    def write(connection: sa.Connection) -> None:
        connection.exec_driver_sql("SET TRANSACTION READ ONLY")
        add("x")(connection)

    with pytest.raises(Unavailable) as caught:
        database.transact(write)
    assert caught.value.code == "storage_read_only"
    database.close()
