"""The statements of the SQLite record store; every function runs on one of the store's threads.

``get`` asks with the scope inside the query and inside the index (``UNIQUE (key, scope)``): a key of another scope is
not read and rejected, it is not found.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec

from ostinato.storage.records import Query, Record

VERSION = 1
"""Of the layout; a file with another one is set aside."""
OVERHEAD = 300
"""Bytes that a record costs beside its blob: keys, index entries, counters."""

SCOPE = "\0scope"
TAG = "\0tag"
"""Names in ``facet_label`` for what is no label; a label's own name cannot begin so."""

_FACETS = 100_000
_EVICT_SHARE = 0.05

_SCHEMA = (
    """CREATE TABLE record (
        id INTEGER PRIMARY KEY, key BLOB NOT NULL, scope BLOB NOT NULL, name TEXT NOT NULL, facet INTEGER NOT NULL,
        expires INTEGER NOT NULL, blob BLOB NOT NULL)""",
    "CREATE UNIQUE INDEX record_key ON record (key, scope)",
    "CREATE INDEX record_name ON record (name)",
    "CREATE INDEX record_facet ON record (facet)",
    """CREATE TABLE meter (
        id INTEGER PRIMARY KEY, expires INTEGER NOT NULL, used INTEGER NOT NULL, hits INTEGER NOT NULL,
        size INTEGER NOT NULL)""",
    "CREATE TABLE facet (id INTEGER PRIMARY KEY, body BLOB NOT NULL UNIQUE)",
    """CREATE TABLE facet_label (
        name TEXT NOT NULL, value TEXT NOT NULL, facet INTEGER NOT NULL,
        PRIMARY KEY (name, value, facet)) WITHOUT ROWID""",
    f"PRAGMA user_version={VERSION}",
)

GET = "SELECT name, facet, expires, blob FROM record WHERE key = ? AND scope = ?"
_INSERT = "INSERT OR IGNORE INTO record (id, key, scope, name, facet, expires, blob) VALUES (?, ?, ?, ?, ?, ?, ?)"
_INSERT_METER = "INSERT INTO meter (id, expires, used, hits, size) VALUES (?, ?, ?, ?, ?)"
_MATCHING = "SELECT facet FROM facet_label WHERE name = ? AND value = ?"

_Facet = tuple[bytes, dict[str, str], tuple[str, ...]]


class Connection(sqlite3.Connection):
    """A connection of one thread, with the facets that were read through it (those never change)."""

    facets: dict[int, _Facet]


class State:
    """What the writer, and nobody else, knows of the file; loaded anew with it."""

    def __init__(self) -> None:
        self.bytes_used = 0
        self.next_id = 1
        self.next_facet = 1
        self.numbers: dict[object, int] = {}
        self.victims: list[int] = []

    def load(self, connection: Connection) -> None:
        """One pass over the narrow table: 0.1 s for a million records in the system's cache."""
        size, last = connection.execute("SELECT coalesce(sum(size), 0), coalesce(max(id), 0) FROM meter").fetchone()
        self.bytes_used = size
        self.next_id = last + 1
        self.next_facet = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM facet").fetchone()[0]
        self.numbers.clear()
        self.victims = []


def connect(path: Path, *, write: bool) -> Connection:
    """A connection for one thread."""
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False, factory=Connection)
    connection.facets = {}
    try:
        if write:
            if not connection.execute("PRAGMA page_count").fetchone()[0]:
                connection.execute("PRAGMA page_size=8192")
            connection.execute("PRAGMA journal_mode=WAL")
        for pragma in (
            "synchronous=NORMAL",
            "temp_store=MEMORY",
            "journal_size_limit=67108864",
            "wal_autocheckpoint=16000",
            # What was removed is overwritten, whatever the library was built with: withdrawn answers do not linger.
            "secure_delete=ON",
            "cache_size=-32768" if write else "cache_size=-8192",
            "query_only=OFF" if write else "query_only=ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def fits(connection: Connection) -> bool:
    """Whether the file has our layout; an empty one gets it."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version == VERSION:
        return True
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        return False
    with _Transaction(connection):
        for statement in _SCHEMA:
            connection.execute(statement)
    return True


def touch_nothing(connection: Connection) -> None:
    """Take and give back the writer's lock: shows that the file can be written."""
    with _Transaction(connection):
        pass


def fold(connection: Connection, state: State) -> None:
    """See ``SqliteRecordStore.scrub``."""
    unused = "NOT EXISTS (SELECT 1 FROM record WHERE record.facet = {})"
    with _Transaction(connection):
        # Labels and tags are words of callers, too.
        connection.execute(f"DELETE FROM facet WHERE {unused.format('facet.id')}")  # noqa: S608 - built of constants
        connection.execute(f"DELETE FROM facet_label WHERE {unused.format('facet_label.facet')}")  # noqa: S608 - as above
    state.numbers.clear()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def get(connection: Connection, key: bytes, scope: bytes) -> Record | None:
    """See ``RecordStore.get``."""
    row = connection.execute(GET, (key, scope)).fetchone()
    if row is None:
        return None
    name, number, expires, blob = row
    _, labels, tags = _facet(connection, number)
    return Record(key=key, scope=scope, name=name, labels=labels, tags=tags, expires=expires, blob=blob)


def put_many(connection: Connection, state: State, records: Sequence[Record], now: int) -> None:
    """See ``RecordStore.put_many``. New records, the common case, take two statements; others are removed first."""
    latest = {(record.key, record.scope): record for record in records}
    first = state.next_id
    try:
        with _Transaction(connection):
            rows = [
                (number, record.key, record.scope, record.name, _number(connection, state, record), record.expires,
                 record.blob)
                for number, record in enumerate(latest.values(), first)
            ]  # fmt: skip
            meters = [
                (number, record.expires, now, 0, len(record.blob) + OVERHEAD)
                for number, record in enumerate(latest.values(), first)
            ]
            added = sum(meter[4] for meter in meters)
            connection.execute("SAVEPOINT fresh")
            if connection.executemany(_INSERT, rows).rowcount != len(rows):
                connection.execute("ROLLBACK TO fresh")
                known = _ids(connection, list(latest))
                added -= _delete(connection, known)
                connection.executemany(_INSERT.replace("OR IGNORE ", ""), rows)
            connection.executemany(_INSERT_METER, meters)
    except BaseException:
        # Facets made in this transaction are gone with it.
        state.numbers.clear()
        raise
    state.next_id = first + len(latest)
    state.bytes_used += added


def find(connection: Connection, query: Query, limit: int) -> list[Record]:
    """See ``RecordStore.find``."""
    where, values = _where(query)
    rows = connection.execute(
        "SELECT r.key, r.scope, r.name, r.facet, r.expires, r.blob, m.hits, m.used "  # noqa: S608 - built of constants
        f"FROM record AS r {where} ORDER BY r.id DESC LIMIT ?".replace("{meter}", "JOIN meter AS m ON m.id = r.id"),
        (*values, limit),
    ).fetchall()
    found: list[Record] = []
    for key, scope, name, number, expires, blob, hits, used in rows:
        _, labels, tags = _facet(connection, number)
        found.append(
            Record(
                key=key,
                scope=scope,
                name=name,
                labels=labels,
                tags=tags,
                expires=expires,
                blob=blob,
                hits=hits,
                last_hit=used if hits else 0,
            )
        )
    return found


def count(connection: Connection, query: Query) -> int:
    """See ``RecordStore.count``."""
    if query.everything and not (query.labels or query.tag or query.name or query.scope):
        return connection.execute("SELECT count(*) FROM meter").fetchone()[0]
    where, values = _where(query)
    statement = f"SELECT count(*) FROM record AS r {where}".replace("{meter}", "")  # noqa: S608 - built of constants
    return connection.execute(statement, values).fetchone()[0]


def remove(connection: Connection, state: State, query: Query, chunk: int) -> list[bytes]:
    """See ``RecordStore.remove``."""
    where, values = _where(query)
    statement = f"SELECT r.id, r.key FROM record AS r {where}".replace("{meter}", "")  # noqa: S608 - built of constants
    rows = connection.execute(statement, values).fetchall()
    _remove(connection, state, [row[0] for row in rows], chunk)
    if rows:
        # The log would go on holding what was withdrawn. Where a reader is in the way, the next checkpoint does it.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    return [row[1] for row in rows]


def remove_keys(connection: Connection, state: State, keys: Sequence[bytes], chunk: int) -> int:
    """See ``RecordStore.remove_keys``."""
    ids = [
        row[0]
        for key in dict.fromkeys(keys)
        for row in connection.execute("SELECT id FROM record WHERE key = ?", (key,))
    ]
    _remove(connection, state, ids, chunk)
    return len(ids)


def touch_many(connection: Connection, touches: Sequence[tuple[bytes, int, int]]) -> None:
    """See ``RecordStore.touch_many``."""
    with _Transaction(connection):
        connection.executemany(
            "UPDATE meter SET hits = hits + ?, used = max(used, ?) WHERE id IN (SELECT id FROM record WHERE key = ?)",
            [(hits, last, key) for key, hits, last in touches],
        )


def sweep(connection: Connection, state: State, now: int, chunk: int) -> int:
    """Remove up to ``chunk`` expired records."""
    rows = connection.execute("SELECT id FROM meter WHERE expires <= ? LIMIT ?", (now, chunk)).fetchall()
    _remove(connection, state, [row[0] for row in rows], chunk)
    return len(rows)


def evict(connection: Connection, state: State, max_bytes: int, chunk: int) -> int:
    """Remove up to ``chunk`` of the least recently used, if there is too much; gives how many went.

    Who goes is drawn up for a twentieth of the bound at once, because it takes a pass over the narrow table.
    """
    if state.bytes_used <= max_bytes:
        return 0
    if not state.victims:
        spare = state.bytes_used - max_bytes * (1 - _EVICT_SHARE)
        for number, size in connection.execute("SELECT id, size FROM meter ORDER BY used, id"):
            state.victims.append(number)
            spare -= size
            if spare <= 0:
                break
        state.victims.reverse()
    going = state.victims[-chunk:]
    del state.victims[-chunk:]
    _remove(connection, state, going, chunk)
    return len(going)


def forget_facets(connection: Connection, state: State) -> None:
    """Drop the combinations of labels that no record has any more."""
    unused = "SELECT id FROM facet WHERE NOT EXISTS (SELECT 1 FROM record WHERE record.facet = facet.id)"
    with _Transaction(connection):
        gone = [row[0] for row in connection.execute(unused)]
        for number in gone:
            _drop_facet(connection, number)
    if gone:
        state.numbers.clear()


def prefixes(connection: Connection, after: bytes, limit: int) -> tuple[list[bytes], bytes]:
    """The first 8 bytes of the ``limit`` keys that follow ``after``, and the last key itself."""
    rows = connection.execute(
        "SELECT key FROM record INDEXED BY record_key WHERE key > ? ORDER BY key LIMIT ?", (after, limit)
    ).fetchall()
    return [row[0][:8] for row in rows], (rows[-1][0] if rows else after)


def _where(query: Query) -> tuple[str, tuple[object, ...]]:
    """The conditions, with the index named: an order by age must not turn a look-up into a scan of the wide table."""
    pairs = [*query.labels.items()]
    if query.tag:
        pairs.append((TAG, query.tag))
    if query.scope:
        pairs.append((SCOPE, query.scope.hex()))
    values: list[object] = []
    conditions: list[str] = []
    index = ""
    if query.name:
        index = "INDEXED BY record_name"
        conditions.append("r.name = ?")
        values.append(query.name)
    if pairs:
        index = index or "INDEXED BY record_facet"
        conditions.append("r.facet IN (" + " INTERSECT ".join([_MATCHING] * len(pairs)) + ")")
        values.extend(part for pair in pairs for part in pair)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"{index} {{meter}} {where}", tuple(values)


def _remove(connection: Connection, state: State, ids: Sequence[int], chunk: int) -> None:
    for start in range(0, len(ids), chunk):
        with _Transaction(connection):
            freed = _delete(connection, ids[start : start + chunk])
        state.bytes_used -= freed


def _delete(connection: Connection, ids: Sequence[int]) -> int:
    """Delete by id; gives the bytes that this frees."""
    numbers = msgspec.json.encode(ids).decode()
    chosen = "IN (SELECT value FROM json_each(?))"
    freed = connection.execute(
        f"SELECT coalesce(sum(size), 0) FROM meter WHERE id {chosen}",  # noqa: S608 - built of constants
        (numbers,),
    ).fetchone()[0]
    connection.execute(f"DELETE FROM record WHERE id {chosen}", (numbers,))  # noqa: S608 - built of constants
    connection.execute(f"DELETE FROM meter WHERE id {chosen}", (numbers,))  # noqa: S608 - built of constants
    return freed


def _ids(connection: Connection, keys: Sequence[tuple[bytes, bytes]]) -> list[int]:
    found: list[int] = []
    for pair in keys:
        row = connection.execute("SELECT id FROM record WHERE key = ? AND scope = ?", pair).fetchone()
        if row is not None:
            found.append(row[0])
    return found


def _facet(connection: Connection, number: int) -> _Facet:
    """Scope, labels and tags of a facet; shared by all records that have it, so nobody may change them."""
    facet = connection.facets.get(number)
    if facet is not None:
        return facet
    row = connection.execute("SELECT body FROM facet WHERE id = ?", (number,)).fetchone()
    if row is None:
        # A sweep dropped it after the record was read: the record is on its way out too.
        return b"", {}, ()
    if len(connection.facets) >= _FACETS:
        connection.facets.clear()
    facet = connection.facets[number] = msgspec.msgpack.decode(row[0], type=_Facet)
    return facet


def _number(connection: Connection, state: State, record: Record) -> int:
    """The number of a record's facet, made where it is new."""
    known = (record.scope, tuple(record.labels.items()), record.tags)
    number = state.numbers.get(known)
    if number is not None:
        return number
    labels = dict(sorted(record.labels.items()))
    tags = tuple(sorted(set(record.tags)))
    body = msgspec.msgpack.encode((record.scope, labels, tags))
    row = connection.execute("SELECT id FROM facet WHERE body = ?", (body,)).fetchone()
    if row is None:
        number = state.next_facet
        state.next_facet += 1
        connection.execute("INSERT INTO facet (id, body) VALUES (?, ?)", (number, body))
        pairs = [*labels.items(), *((TAG, tag) for tag in tags), (SCOPE, record.scope.hex())]
        connection.executemany(
            "INSERT OR IGNORE INTO facet_label (name, value, facet) VALUES (?, ?, ?)",
            [(name, value, number) for name, value in pairs],
        )
    else:
        number = row[0]
    if len(state.numbers) >= _FACETS:
        state.numbers.clear()
    state.numbers[known] = number
    return number


def _drop_facet(connection: Connection, number: int) -> None:
    row = connection.execute("SELECT body FROM facet WHERE id = ?", (number,)).fetchone()
    scope, labels, tags = msgspec.msgpack.decode(row[0], type=_Facet)
    pairs = [*labels.items(), *((TAG, tag) for tag in tags), (SCOPE, scope.hex())]
    connection.executemany(
        "DELETE FROM facet_label WHERE name = ? AND value = ? AND facet = ?",
        [(name, value, number) for name, value in pairs],
    )
    connection.execute("DELETE FROM facet WHERE id = ?", (number,))


class _Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK; lighter than a generator."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            try:
                self._connection.execute("COMMIT")
                return
            except sqlite3.Error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
