"""The SQLite record store and its file: plans, bounds, full and read-only disks, damage, kills, jumps of the clock."""

import asyncio
import hashlib
import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from ostinato.core.errors import Unavailable
from ostinato.storage import Query, Record, SqliteRecordStore, records_sql

HOUR = 3_600_000_000
SCOPE = b"scope-of-16-byte"
EVERYTHING = Query(everything=True)


def digest(text: object) -> bytes:
    return hashlib.sha256(str(text).encode()).digest()


def make(name: object, **changes) -> Record:
    fields = {
        "key": digest(name),
        "scope": SCOPE,
        "name": f"e-{name}",
        "labels": {"org": "acme"},
        "tags": (),
        "expires": 2**60,
        "blob": b"x" * 1000,
    }
    return Record(**{**fields, **changes})


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cache.db"


@pytest.fixture
async def store(path, clock):
    made = SqliteRecordStore(path, clock=clock)
    await made.start()
    yield made
    await made.close()


async def on_writer(store, work):
    """Run ``work(connection)`` on the store's own writing connection."""
    return await store._write(work)


async def test_the_scope_is_in_the_index(store):
    def plan(connection):
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {records_sql.GET}", (b"k", b"s"))]

    assert await on_writer(store, plan) == ["SEARCH record USING INDEX record_key (key=? AND scope=?)"]


async def test_the_statement_carries_the_scope(path, clock):
    said: list[str] = []
    real = records_sql.connect

    def listening(*arguments, **named):
        connection = real(*arguments, **named)
        connection.set_trace_callback(said.append)
        return connection

    records_sql.connect = listening
    store = SqliteRecordStore(path, clock=clock)
    try:
        await store.start()
        await store.put_many([make("a")])
        said.clear()
        await store.get(digest("a"), SCOPE)
    finally:
        records_sql.connect = real
        await store.close()
    look_ups = [statement for statement in said if "FROM record " in statement]
    assert len(look_ups) == 1
    assert f"scope = x'{SCOPE.hex()}'" in look_ups[0].lower()


@pytest.mark.parametrize(
    "query",
    [
        Query(labels={"org": "acme"}),
        Query(labels={"org": "acme", "alias": "a"}, tag="t"),
        Query(scope=SCOPE),
        Query(name="e"),
        Query(name="e", labels={"org": "acme"}),
    ],
)
async def test_no_query_scans_the_wide_table(store, query):
    where, values = records_sql._where(query)

    def plans(connection):
        for statement, join in (
            ("SELECT r.id, m.hits FROM record AS r {} ORDER BY r.id DESC LIMIT 5", "JOIN meter AS m ON m.id = r.id"),
            ("SELECT r.id, r.key FROM record AS r {}", ""),
            ("SELECT count(*) FROM record AS r {}", ""),
        ):
            text = statement.format(where.replace("{meter}", join))
            yield from (row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {text}", values))

    steps = await on_writer(store, lambda connection: list(plans(connection)))
    assert steps
    assert not [step for step in steps if step.startswith("SCAN") and ("r" in step.split()[1:2] or "record" in step)]


async def test_a_restart_is_warm(path, clock):
    for turn in range(3):
        store = SqliteRecordStore(path, clock=clock)
        await store.start()
        await store.put_many([make(f"{turn}-{n}") for n in range(10)])
        assert await store.count(EVERYTHING) == 10 * (turn + 1)
        assert await store.get(digest("0-0"), SCOPE) == make("0-0")
        size = store.bytes_used
        await store.close()
        assert size == 10 * (turn + 1) * (1000 + records_sql.OVERHEAD)
        assert not path.with_name("cache.db-wal").exists()


async def test_the_bound_holds_and_the_least_recently_hit_go_first(path, clock):
    each = 1000 + records_sql.OVERHEAD
    store = SqliteRecordStore(path, clock=clock, max_bytes=200 * each)
    await store.start()
    await store.put_many([make(n) for n in range(150)])
    hot = [digest(n) for n in range(20)]
    for turn in range(20):
        clock.advance(60)
        await store.touch_many([(key, 1, clock.now()) for key in hot])
        await store.put_many([make(150 + 20 * turn + n) for n in range(20)])
        assert store.bytes_used <= 200 * each
    assert store.evicted >= 350
    assert all([await store.get(key, SCOPE) for key in hot])
    assert await store.get(digest(30), SCOPE) is None
    assert await store.get(digest(150 + 399), SCOPE) is not None
    assert await store.count(EVERYTHING) * each == store.bytes_used
    await store.close()


async def test_sweeping_goes_down_to_the_bound(path, clock):
    store = SqliteRecordStore(path, clock=clock)
    await store.start()
    await store.put_many([make(n) for n in range(300)])
    store._max_bytes = store.bytes_used // 2
    removed = await store.sweep(clock.now())
    assert removed >= 150
    assert store.bytes_used <= store._max_bytes
    await store.close()


async def test_space_of_what_was_removed_is_used_again(store, path):
    for turn in range(6):
        await store.put_many([make(f"{turn}-{n}") for n in range(500)])
        await store.remove(EVERYTHING)
        if turn == 1:
            size = path.stat().st_size
    assert path.stat().st_size <= size * 1.5


async def test_combinations_without_records_are_forgotten(store, clock):
    await store.put_many([make(n, labels={"user": str(n)}, expires=clock.now() + 5) for n in range(100)])
    await store.put_many([make("stays")])
    clock.advance(1)
    assert await store.sweep(clock.now()) == 100

    def left(connection):
        return [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("facet", "facet_label")]

    assert await on_writer(store, left) == [1, 2]
    await store.put_many([make(5, labels={"user": "5"})])
    assert await store.count(Query(labels={"user": "5"})) == 1


async def test_withdrawn_answers_do_not_linger_in_the_file(path, clock):
    store = SqliteRecordStore(path, clock=clock)
    await store.start()
    await store.put_many([make(n, blob=b"the secret of %d " % n * 40) for n in range(50)])
    await store.remove(EVERYTHING)
    for file in path.parent.iterdir():
        assert b"the secret of" not in file.read_bytes(), file
    await store.close()


@pytest.mark.parametrize("damage", ["garbage", "empty", "truncated", "header", "other-layout"])
async def test_a_damaged_file_is_set_aside_said_and_rebuilt(path, clock, caplog, damage):
    store = SqliteRecordStore(path, clock=clock)
    await store.start()
    await store.put_many([make(n) for n in range(200)])
    await store.close()
    whole = path.read_bytes()
    if damage == "garbage":
        path.write_bytes(random.Random(1).randbytes(len(whole)))
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(whole[:9_000])
    elif damage == "header":
        path.write_bytes(b"X" * 100 + whole[100:])
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version=99")
        connection.close()
    store = SqliteRecordStore(path, clock=clock)
    with caplog.at_level(logging.WARNING):
        await store.start()
    assert store.healthy
    assert await store.count(EVERYTHING) == 0
    await store.put_many([make("new")])
    assert await store.get(digest("new"), SCOPE) is not None
    if damage != "empty":
        assert store.set_aside is not None
        assert store.set_aside.exists()
        assert store.set_aside.name in caplog.text
    await store.close()


async def test_only_one_damaged_file_is_kept(path, clock):
    for _ in range(3):
        clock.advance(10)
        path.write_bytes(b"garbage" * 1000)
        store = SqliteRecordStore(path, clock=clock)
        await store.start()
        await store.close()
    assert len(list(path.parent.glob("*damaged*"))) == 1


async def test_damage_found_in_flight_is_a_miss_and_then_forgotten(store, path, caplog):
    await store.put_many([make(n) for n in range(3_000)])
    await on_writer(store, lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
    size = path.stat().st_size
    with path.open("r+b") as file:
        for page in range(1, size // 8192):
            file.seek(page * 8192)
            file.write(os.urandom(512))
    answers = await asyncio.gather(*(store.get(digest(n), SCOPE) for n in range(3_000)), return_exceptions=True)
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    assert {error.code for error in failed} <= {"storage_corrupt", "storage_closed"}
    assert failed
    # Those that were still on their way to the damaged file do not take the new one down.
    assert caplog.text.count("begun anew") == 1
    assert store.healthy
    assert store.set_aside is not None
    await store.put_many([make("new")])
    assert await store.get(digest("new"), SCOPE) == make("new")
    assert await store.count(EVERYTHING) == 1


async def test_a_full_disk_refuses_writes_and_serves_reads(store):
    await store.put_many([make(n) for n in range(100)])

    def fill(connection):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages + 2}")

    await on_writer(store, fill)
    with pytest.raises(Unavailable) as caught:
        await store.put_many([make(f"more-{n}") for n in range(1_000)])
    assert caught.value.code == "storage_full"
    assert "full" in caught.value.message
    assert not store.healthy
    assert await store.get(digest(5), SCOPE) == make(5)
    assert await store.count(EVERYTHING) == 100
    await on_writer(store, lambda connection: connection.execute("PRAGMA max_page_count=1000000"))
    await store.put_many([make(f"more-{n}", labels={"org": "new"}) for n in range(10)])
    assert store.healthy
    assert await store.count(Query(labels={"org": "new"})) == 10


CHILD = """
import asyncio, hashlib, os, resource, signal, sys
from pathlib import Path
from ostinato.core.errors import OstinatoError
from ostinato.storage import Query, Record, SqliteRecordStore

def digest(text):
    return hashlib.sha256(str(text).encode()).digest()

def make(n, size=1000):
    return Record(key=digest(n), scope=b"s", name=f"e-{n}", labels={"org": "o"}, tags=("t",), expires=2**60,
                  blob=b"%06d" % n + bytes(size))

path = Path(sys.argv[1])
"""


def child(code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + textwrap.dedent(code), *arguments], stdout=subprocess.PIPE, text=True
    )


def test_a_limit_on_the_size_of_files_is_a_clear_error(path):
    """A disk that refuses to write: the system says no to every write beyond 300 KB."""
    process = child(
        """
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

        async def main():
            store = SqliteRecordStore(path)
            await store.start()
            codes = set()
            for n in range(0, 1000, 50):
                try:
                    await store.put_many([make(i) for i in range(n, n + 50)])
                    stored = n + 50
                except OstinatoError as error:
                    codes.add(error.code)
            print(sorted(codes), (await store.get(digest(0), b"s")) is not None, store.healthy)

        asyncio.run(main())
        """,
        str(path),
    )
    said = process.communicate(timeout=30)[0]
    assert said.strip() in ("['storage_io'] True False", "['storage_full'] True False")


def test_a_read_only_directory_does_not_stop_the_start(path):
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

        async def main():
            store = SqliteRecordStore(path)
            await store.start()
            try:
                await store.put_many([make(1)])
            except OstinatoError as error:
                print(error.code, store.healthy)
            await store.close()

        asyncio.run(main())
        """,
        str(path),
    )
    assert process.communicate(timeout=30)[0].strip() == "storage_read_only False"
    path.parent.chmod(0o755)


@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.soak)])
async def test_a_killed_process_leaves_a_file_that_opens(path, clock, kills):
    """Killed at random moments of writing: what was acknowledged is there, and the two tables agree."""
    draw = random.Random(7)
    acknowledged = 0
    for _ in range(kills):
        process = child(
            """
            async def main():
                store = SqliteRecordStore(path)
                await store.start()
                n = int(sys.argv[2])
                while True:
                    await store.put_many([make(i) for i in range(n, n + 20)])
                    n += 20
                    print(n, flush=True)
                    if n % 200 == 0:
                        await store.remove_keys([digest(i) for i in range(n - 40, n - 30)])

            asyncio.run(main())
            """,
            str(path),
            str(acknowledged),
        )
        assert process.stdout is not None
        for _ in range(draw.randrange(5, 60)):
            acknowledged = int(process.stdout.readline())
        os.kill(process.pid, signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split("\n")[:-1] or [0])])
        process.wait()
        store = SqliteRecordStore(path, clock=clock)
        await store.start()
        assert store.set_aside is None

        def agree(connection):
            one = "SELECT count(*) FROM record"
            both = "SELECT count(*) FROM record JOIN meter USING (id) JOIN facet ON facet.id = record.facet"
            meters = "SELECT count(*) FROM meter"
            return [connection.execute(text).fetchone()[0] for text in (one, both, meters)]

        records, joined, meters = await on_writer(store, agree)
        assert records == joined == meters
        found = await store.get(digest(acknowledged - 1), b"s")
        assert found is not None
        assert found.blob.startswith(b"%06d" % (acknowledged - 1))
        await store.close()


async def test_a_jump_of_the_clock_harms_nothing(store, clock):
    assert await store.acquire_lease(b"k", "a", 30)
    await store.put_many([make(1, expires=clock.now() + 2 * HOUR)])
    clock.jump(3600)
    assert not await store.acquire_lease(b"k", "b", 30)
    assert await store.sweep(clock.now()) == 0
    clock.jump(-2 * 3600)
    await store.put_many([make(2, expires=clock.now() + 2 * HOUR)])
    assert await store.sweep(clock.now()) == 0
    assert await store.count(EVERYTHING) == 2
    clock.advance(31)
    assert await store.acquire_lease(b"k", "b", 30)


async def test_leases_are_bounded(store, clock, monkeypatch):
    monkeypatch.setattr("ostinato.storage.records_sqlite.LEASES", 10)
    for n in range(100):
        assert await store.acquire_lease(b"%d" % n, "a", 1)
        clock.advance(0.5)
    assert len(store._leases) <= 10


async def test_too_many_waiting_calls_are_told_at_once(path, clock, monkeypatch):
    monkeypatch.setattr("ostinato.storage.records_sqlite.WAITING", 5)
    store = SqliteRecordStore(path, clock=clock)
    await store.start()
    answers = await asyncio.gather(*(store.get(digest(n), SCOPE) for n in range(200)), return_exceptions=True)
    assert {type(answer) for answer in answers} <= {type(None), Unavailable}
    assert any(isinstance(answer, Unavailable) for answer in answers)
    assert await store.get(b"k", b"s") is None
    await store.close()


@pytest.mark.soak
async def test_a_million_records_start_and_stream_within_seconds(path, clock):
    store = SqliteRecordStore(path, clock=clock)
    await store.start()
    for start in range(0, 1_000_000, 2_000):
        await store.put_many([make(n, labels={"org": f"o{n % 50}"}) for n in range(start, start + 2_000)])
    await store.close()
    store = SqliteRecordStore(path, clock=clock)
    began = clock_seconds()
    await store.start()
    assert await store.get(digest(999_999), SCOPE) is not None
    started = clock_seconds() - began
    seen = 0
    async for prefixes in store.key_prefixes():
        seen += len(prefixes)
    print(f"start and first hit {started:.2f} s, prefixes {clock_seconds() - began - started:.2f} s")
    assert seen == 1_000_000
    assert started < 5
    await store.close()


def clock_seconds() -> float:
    from ostinato.core.clock import SystemClock

    return SystemClock().monotonic()
