"""What detectors remember, in ``traces``: states, cursors, alarms to be handed on, and who watches."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.cases.model import Alarm
from ostinato.core import hashing
from ostinato.monitoring import tables
from ostinato.monitoring.model import Series, State

_AT_ONCE = 200


class Lost(Exception):
    """Somebody else watches by now: nothing was written."""


class Kept(msgspec.Struct):
    """A detector's state of one series, with what it is of."""

    detector: str
    kind: str
    version: int
    series: Series
    state: State
    weight: float = 1.0
    ticks: bool = False


def key_of(detector: str, kind: str, version: int, series: Series) -> str:
    """Of a row: what was learnt by another version, or another kind, is not gone on with."""
    parts = (detector, kind, str(version), *msgspec.structs.astuple(series))
    return hashing.digest(*(one.encode("utf-8", "replace") for one in parts)).hex()


# -- who watches ---------------------------------------------------------------------------------------------------


class Lease(msgspec.Struct, frozen=True):
    """Who watches, as its row says."""

    owner: str = ""
    beats: int = 0
    fence: int = 0


def holder(connection: sa.Connection) -> Lease:
    """Who watches now."""
    row = connection.execute(sa.select(tables.lease)).mappings().first()
    return Lease() if row is None else Lease(row["owner"], int(row["beats"]), int(row["fence"]))


def take(connection: sa.Connection, mine: str, seen: Lease) -> Lease | None:
    """Take the watch over from whoever was seen; ``None``: somebody was quicker."""
    table, fresh = tables.lease, Lease(mine, 1, seen.fence + 1)
    values = msgspec.structs.asdict(fresh)
    if not seen.fence:
        there = connection.execute(sa.select(table.c.id)).first()
        if there is not None:
            return None
        connection.execute(table.insert().values(id=1, **values))
        return fresh
    same = (table.c.fence == seen.fence, table.c.beats == seen.beats)
    return fresh if connection.execute(table.update().where(*same).values(**values)).rowcount == 1 else None


def beat(connection: sa.Connection, lease: Lease) -> None:
    """Say that the watch is held. Raises :class:`Lost`."""
    table = tables.lease
    mine = (table.c.owner == lease.owner, table.c.fence == lease.fence)
    if connection.execute(table.update().where(*mine).values(beats=table.c.beats + 1)).rowcount != 1:
        raise Lost


def leave(connection: sa.Connection, lease: Lease) -> None:
    """Let the next one begin at once."""
    table = tables.lease
    mine = (table.c.owner == lease.owner, table.c.fence == lease.fence)
    connection.execute(table.update().where(*mine).values(owner=""))


# -- what is remembered --------------------------------------------------------------------------------------------


def cursors(connection: sa.Connection) -> dict[str, int]:
    """How far everything was read."""
    return {row[0]: int(row[1]) for row in connection.execute(sa.select(tables.cursor))}


def rows(
    connection: sa.Connection, *, project: str = "", intent: str | None = None, kind: str = ""
) -> Sequence[sa.RowMapping]:
    """Rows of states."""
    table = tables.state
    query = sa.select(table).order_by(table.c.detector, table.c.key)
    if project:
        query = query.where(table.c.project == project)
    if intent is not None:
        query = query.where(table.c.intent == intent)
    if kind:
        query = query.where(table.c.kind == kind)
    return connection.execute(query).mappings().all()


def series_of(row: Mapping[Any, Any]) -> Series:
    return Series(*(row[name] for name in ("org", "project", "intent", "release", "prompt", "part")))


def write(
    connection: sa.Connection,
    lease: Lease,
    positions: Mapping[str, int],
    changed: Mapping[str, Kept],
    alarms: Iterable[Alarm],
    gone: Sequence[str] = (),
) -> None:
    """One look, whole. Raises :class:`Lost` where somebody else watches by now."""
    beat(connection, lease)
    for name, position in positions.items():
        _put(connection, tables.cursor, tables.cursor.c.name, [{"name": name, "position": position}])
    values = [{"key": key, **_row(kept)} for key, kept in changed.items()]
    for at in range(0, len(values), _AT_ONCE):
        _put(connection, tables.state, tables.state.c.key, values[at : at + _AT_ONCE])
    for at in range(0, len(gone), _AT_ONCE):
        some = gone[at : at + _AT_ONCE]
        connection.execute(tables.state.delete().where(tables.state.c.key.in_(some)))
        connection.execute(tables.vector.delete().where(tables.vector.c.state_key.in_(some)))
    told = [
        {
            "id": one.id,
            "at": one.at,
            "org": one.org,
            "project": one.project,
            "body": msgspec.to_builtins(one),
            "handed": False,
        }
        for one in alarms
    ]
    if told:
        connection.execute(tables.alarm.insert(), told)


def _row(kept: Kept) -> dict[str, Any]:
    return {
        "detector": kept.detector,
        "kind": kept.kind,
        "version": kept.version,
        **msgspec.structs.asdict(kept.series),
        "body": msgspec.msgpack.encode(kept.state),
        "last": kept.state.last,
    }


def _put(connection: sa.Connection, table: sa.Table, key: sa.Column[Any], values: Sequence[dict[str, Any]]) -> None:
    """Rows in the place of those of the same key."""
    connection.execute(table.delete().where(key.in_([one[key.name] for one in values])))
    connection.execute(table.insert(), values)


# -- alarms --------------------------------------------------------------------------------------------------------


def waiting(connection: sa.Connection, limit: int = 100) -> list[Alarm]:
    """Alarms that were not handed on, oldest first."""
    table = tables.alarm
    query = sa.select(table.c.body).where(sa.not_(table.c.handed)).order_by(table.c.id).limit(limit)
    return [msgspec.convert(body, Alarm) for body in connection.execute(query).scalars()]


def handed(connection: sa.Connection, alarm_id: str) -> None:
    """It has arrived."""
    connection.execute(tables.alarm.update().where(tables.alarm.c.id == alarm_id).values(handed=True))


def alarms(connection: sa.Connection, project: str, after: str, limit: int) -> list[Alarm]:
    """A page of a project's alarms, newest first, from before ``after``."""
    table = tables.alarm
    query = sa.select(table.c.body).where(table.c.project == project)
    if after:
        query = query.where(table.c.id < after)
    rows = connection.execute(query.order_by(table.c.id.desc()).limit(limit)).scalars()
    return [msgspec.convert(body, Alarm) for body in rows]


def prune(connection: sa.Connection, before: int) -> int:
    """Forget alarms that were handed on and found before; gives how many there were."""
    table = tables.alarm
    return connection.execute(table.delete().where(table.c.handed, table.c.at < before)).rowcount
