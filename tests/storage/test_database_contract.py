"""What a database does, on SQLite and on PostgreSQL alike."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa

from ostinato import storage
from ostinato.core.errors import Conflict, Invalid, Unavailable
from ostinato.storage import migrating, tables

NOTICE = tables.notice


def add(topic: str, version: int = 1):
    return lambda connection: connection.execute(sa.insert(NOTICE).values(topic=topic, version=version))


def topics(connection: sa.Connection) -> list[str]:
    return list(connection.scalars(sa.select(NOTICE.c.topic).order_by(NOTICE.c.topic)))


def test_migrations_make_what_is_declared(control, schema_drift):
    assert schema_drift(control, tables.metadata) == []


def test_drift_is_noticed(control, schema_drift):
    control.rebuild(lambda connection: connection.exec_driver_sql("ALTER TABLE notice ADD COLUMN extra TEXT"))
    assert schema_drift(control, tables.metadata) != []


def test_migrating_twice_changes_nothing(control):
    head = migrating.current(control)
    assert head
    assert storage.migrate(control) == head


def test_down_and_up_again(control):
    head = migrating.current(control)
    assert storage.downgrade(control, "base") == ""
    assert "notice" not in control.query(lambda connection: sa.inspect(connection).get_table_names())
    assert storage.migrate(control) == head


def test_every_revision_can_be_taken_back_alone(database_url):
    for name in ("control", "traces", "work"):
        database = storage.open_database(name, database_url)
        try:
            head = storage.migrate(database)
            while migrating.current(database):
                storage.downgrade(database, "-1")
            assert storage.migrate(database) == head
        finally:
            database.close()


def test_control_and_traces_share_one_database(database_url):
    control = storage.open_database("control", database_url)
    traces = storage.open_database("traces", database_url)
    assert storage.migrate(control).endswith(migrating.current(control))
    storage.migrate(traces)
    names = control.query(lambda connection: sa.inspect(connection).get_table_names())
    assert {"control_revision", "notice"} <= set(names)
    control.close()
    traces.close()


def test_a_newer_database_is_refused(control):
    control.transact(lambda connection: connection.exec_driver_sql("UPDATE control_revision SET version_num = '9999'"))
    with pytest.raises(Conflict, match="9999") as caught:
        storage.migrate(control)
    assert caught.value.code == "database_newer"
    assert caught.value.hint


def test_processes_that_start_together_migrate_once(database_url):
    databases = [storage.open_database("control", database_url) for _ in range(3)]
    failed: list[BaseException] = []

    def work(database: storage.Database) -> None:
        try:
            storage.migrate(database)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(database,)) for database in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for database in databases:
        database.close()
    assert failed == []


def test_a_failing_migration_leaves_nothing_behind(control):
    storage.downgrade(control, "base")

    def broken(conn, cursor, statement, parameters, context, executemany):
        if "CREATE TABLE notice" in statement:
            raise RuntimeError("power cut")

    sa.event.listen(control._writer, "before_cursor_execute", broken)
    with pytest.raises(RuntimeError, match="power cut"):
        storage.migrate(control)
    sa.event.remove(control._writer, "before_cursor_execute", broken)
    left = control.query(lambda connection: sa.inspect(connection).get_table_names())
    assert "declaration" not in left
    assert storage.migrate(control)


async def test_a_transaction_is_whole_or_not_at_all(control):
    def half(connection: sa.Connection) -> None:
        add("one")(connection)
        raise KeyError("changed my mind")

    with pytest.raises(KeyError):
        await control.run(half)
    assert await control.read(topics) == []
    await control.run(add("one"))
    assert await control.read(topics) == ["one"]


async def test_a_constraint_that_says_no_is_a_conflict(control):
    await control.run(add("one"))
    with pytest.raises(Conflict) as caught:
        await control.run(add("one"))
    assert caught.value.code == "already_exists"
    await control.run(add("two"))


async def test_a_wrong_statement_is_seen_as_it_is(control):
    with pytest.raises(sa.exc.DBAPIError):
        await control.run(lambda connection: connection.exec_driver_sql("SELECT nothing FROM nowhere"))


async def test_many_writers_lose_nothing(control):
    await control.run(add("sum", 0))

    def more(connection: sa.Connection) -> None:
        now = connection.scalar(sa.select(NOTICE.c.version).where(NOTICE.c.topic == "sum").with_for_update())
        connection.execute(sa.update(NOTICE).where(NOTICE.c.topic == "sum").values(version=now + 1))

    await asyncio.gather(*(control.run(more) for _ in range(100)))
    assert await control.read(lambda connection: connection.scalar(sa.select(NOTICE.c.version))) == 100


async def test_reads_go_on_while_a_writer_writes(control):
    started, go = threading.Event(), threading.Event()

    def slow(connection: sa.Connection) -> None:
        add("slow")(connection)
        started.set()
        go.wait(10)

    writing = asyncio.ensure_future(control.run(slow))
    while not started.is_set():  # noqa: ASYNC110 - it is set by a thread
        await asyncio.sleep(0.005)
    assert await control.read(topics) == []
    go.set()
    await writing
    assert await control.read(topics) == ["slow"]


async def test_the_loops_own_threads_are_left_alone(control):
    asyncio.get_running_loop().set_default_executor(executor := _Counting())
    await control.run(add("one"))
    await control.read(topics)
    assert executor.asked == 0


async def test_too_many_waiting_calls_are_told_at_once(control, monkeypatch):
    monkeypatch.setattr("ostinato.storage.database.WAITING", 2)
    go = threading.Event()
    waiting = [asyncio.ensure_future(control.run(lambda _: go.wait(10))) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as caught:
        await control.run(topics)
    assert caught.value.code == "storage_busy"
    go.set()
    await asyncio.gather(*waiting)
    await control.run(topics)


async def test_a_closed_database_says_so(control):
    control.close()
    with pytest.raises(Unavailable) as caught:
        await control.run(topics)
    assert caught.value.code == "storage_closed"


def test_json_comes_back_and_is_canonical(control):
    table = tables.declaration
    body = {"b": [1, 2.5, None, True], "a": {"é": "ü\u2028"}}

    def work(connection: sa.Connection) -> tuple[object, str]:
        connection.execute(
            sa.insert(table).values(
                kind="k", name="n", version=1, digest=b"", body=body, source="api", actor="me", changed_at=1
            )
        )
        return connection.scalar(sa.select(table.c.body)), connection.exec_driver_sql(
            "SELECT body FROM declaration"
        ).scalar()

    read, text = control.transact(work)
    assert read == body
    assert text == '{"a":{"é":"ü\u2028"},"b":[1,2.5,null,true]}'


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///:memory:", "mysql://host/name", "not a url", "://"])
def test_a_wrong_url_is_refused(url):
    with pytest.raises(Invalid) as caught:
        storage.open_database("control", url)
    assert caught.value.code == "storage_url"


def test_no_password_gets_into_an_error():
    with pytest.raises(Unavailable) as caught:
        storage.open_database("control", "postgresql://me:SECRET@127.0.0.1:1/x")
    assert "SECRET" not in repr(caught.value) + caught.value.sentence


class _Counting(ThreadPoolExecutor):
    asked = 0

    def submit(self, *arguments, **named):
        self.asked += 1
        return super().submit(*arguments, **named)
