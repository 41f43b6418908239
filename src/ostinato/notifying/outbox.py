"""Messages and deliveries in ``work``: written before anything is sent, taken by one process at a time, settled.

Plain functions inside a transaction. A delivery is *taken* under a lease, a name of its own with an end: of two
processes (or two tries) only one holds it, and what a killed one held is free again by time.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from ostinato.notifying.model import DEAD, DELIVERED, WAITING, Delivery, Due, Message, Sent
from ostinato.notifying.tables import cursor, delivery, health, message

_SAID = 200
_AT_ONCE = 500


def write(
    connection: sa.Connection, batch: Sequence[tuple[Message, Sequence[str]]], *, most: int, most_of_all: int
) -> dict[str, int]:
    """Write messages with the ids of the endpoints that each goes to; gives by endpoint how many it has no room for.

    What is written already is left as it is: telling something twice is telling it once.
    """
    counted = sa.select(delivery.c.endpoint, sa.func.count()).where(delivery.c.state == WAITING)
    waiting: dict[str, int] = {row[0]: row[1] for row in connection.execute(counted.group_by(delivery.c.endpoint))}
    total = sum(waiting.values())
    refused: dict[str, int] = {}
    insert = _insert(connection)
    for one, endpoints in batch:
        taken: list[str] = []
        for endpoint in endpoints:
            if waiting.get(endpoint, 0) >= most or total >= most_of_all:
                refused[endpoint] = refused.get(endpoint, 0) + 1
                continue
            waiting[endpoint] = waiting.get(endpoint, 0) + 1
            total += 1
            taken.append(endpoint)
        if not taken:
            continue
        row = {"id": one.id, "org": one.org, "project": one.project, "event": one.event}
        values = {**row, "subject": one.subject, "at": one.at, "body": one.body}
        connection.execute(insert(message).values(values).on_conflict_do_nothing())
        rows = [_fresh(endpoint, one) for endpoint in taken]
        connection.execute(insert(delivery).values(rows).on_conflict_do_nothing())
    for endpoint, count in refused.items():
        _touch(connection, endpoint)
        of = health.c.endpoint == endpoint
        connection.execute(sa.update(health).where(of).values(refused=health.c.refused + count))
    return refused


def due(connection: sa.Connection, now: int) -> list[str]:
    """Endpoints that something is due for."""
    found = sa.select(delivery.c.endpoint).where(*_free(now)).group_by(delivery.c.endpoint)
    return [str(row[0]) for row in connection.execute(found)]


def take(connection: sa.Connection, lease: str, now: int, until: int, wanted: Mapping[str, int]) -> list[Due]:
    """Take up to so many due deliveries of each endpoint, the oldest first, until ``until``."""
    taken: list[Due] = []
    for endpoint, most in wanted.items():
        chosen = (
            sa.select(delivery.c.message, delivery.c.tries, message)
            .join(message, message.c.id == delivery.c.message)
            .where(*_free(now), delivery.c.endpoint == endpoint)
            .order_by(delivery.c.next_at, delivery.c.message)
            .limit(most)
            .with_for_update(skip_locked=True, of=delivery)
        )
        rows = connection.execute(chosen).mappings().all()
        if not rows:
            continue
        mine = (delivery.c.endpoint == endpoint, delivery.c.message.in_([row["id"] for row in rows]))
        connection.execute(sa.update(delivery).where(*mine).values(lease=lease, leased_until=until))
        taken += [Due(_message(row), endpoint, row["tries"]) for row in rows]
    return taken


def delivered(connection: sa.Connection, one: Due, sent: Sent, now: int) -> None:
    """It has arrived: whoever holds it now, it is not sent again."""
    of = (delivery.c.endpoint == one.endpoint, delivery.c.message == one.message.id, delivery.c.state != DELIVERED)
    values = {"state": DELIVERED, "tries": one.tries + 1, "status": sent.status, "said": "", "done_at": now}
    connection.execute(sa.update(delivery).where(*of).values(**values, lease="", leased_until=0))
    well = sa.update(health).where(health.c.endpoint == one.endpoint, health.c.failures > 0)
    connection.execute(well.values(failing_since=None, failures=0))


def failed(connection: sa.Connection, one: Due, sent: Sent, now: int, lease: str, next_at: int | None) -> int:
    """It has not; try again at ``next_at``, or never. Gives since when the endpoint has been failing."""
    of = (delivery.c.endpoint == one.endpoint, delivery.c.message == one.message.id, delivery.c.lease == lease)
    values: dict[str, Any] = {"tries": one.tries + 1, "status": sent.status, "said": sent.said[:_SAID]}
    if next_at is None:
        values.update(state=DEAD, done_at=now)
    else:
        values.update(next_at=next_at)
    mine = sa.update(delivery).where(*of, delivery.c.state == WAITING)
    connection.execute(mine.values(**values, lease="", leased_until=0))
    _touch(connection, one.endpoint)
    badly = sa.update(health).where(health.c.endpoint == one.endpoint)
    since = sa.func.coalesce(health.c.failing_since, now)
    connection.execute(badly.values(failures=health.c.failures + 1, failing_since=since))
    found = connection.scalar(sa.select(health.c.failing_since).where(health.c.endpoint == one.endpoint))
    return now if found is None else int(found)


def begin_anew(connection: sa.Connection, endpoint: str) -> None:
    """Forget since when an endpoint has been failing: it is given as long again."""
    rested = sa.update(health).where(health.c.endpoint == endpoint)
    connection.execute(rested.values(failing_since=None, failures=0))


def release(connection: sa.Connection, leases: Iterable[str] | None) -> None:
    """Let go what is held under these leases; ``None``: under any, where no other process can hold one."""
    held = sa.update(delivery).where(delivery.c.state == WAITING, delivery.c.lease != "")
    if leases is not None:
        held = held.where(delivery.c.lease.in_(list(leases)))
    connection.execute(held.values(lease="", leased_until=0))


def let_go(connection: sa.Connection, one: Due, lease: str) -> None:
    """Let go of one delivery, untried."""
    of = (delivery.c.endpoint == one.endpoint, delivery.c.message == one.message.id, delivery.c.lease == lease)
    connection.execute(sa.update(delivery).where(*of).values(lease="", leased_until=0))


def again(connection: sa.Connection, endpoint: str, messages: Sequence[str], now: int, most: int) -> int:
    """Send dead letters again, these or up to ``most`` of all, the oldest first; gives how many. Their ids stay."""
    chosen = sa.select(delivery.c.message).where(delivery.c.endpoint == endpoint, delivery.c.state == DEAD)
    if messages:
        chosen = chosen.where(delivery.c.message.in_(list(messages)))
    found = [row[0] for row in connection.execute(chosen.order_by(delivery.c.message).limit(most))]
    for at in range(0, len(found), _AT_ONCE):
        of = (delivery.c.endpoint == endpoint, delivery.c.message.in_(found[at : at + _AT_ONCE]))
        anew = {"state": WAITING, "tries": 0, "next_at": now, "done_at": None, "lease": "", "leased_until": 0}
        connection.execute(sa.update(delivery).where(*of).values(**anew))
    return len(found)


def page(
    connection: sa.Connection, endpoint: str, *, state: str = "", before: str = "", limit: int = 100
) -> list[Delivery]:
    """Deliveries of an endpoint, those of the newest messages first, from behind ``before``."""
    joined = delivery.join(message, message.c.id == delivery.c.message)
    told = sa.select(delivery, message.c.event, message.c.subject, message.c.at).select_from(joined)
    told = told.where(delivery.c.endpoint == endpoint)
    if state:
        told = told.where(delivery.c.state == state)
    if before:
        told = told.where(delivery.c.message < before)
    rows = connection.execute(told.order_by(delivery.c.message.desc()).limit(limit)).mappings()
    return [_delivery(row) for row in rows]


def fares(connection: sa.Connection, endpoints: Sequence[str]) -> dict[str, tuple[int | None, int, int]]:
    """By endpoint: since when it has been failing, how often since then, and what was refused."""
    rows = connection.execute(sa.select(health).where(health.c.endpoint.in_(list(endpoints)))).mappings()
    return {row["endpoint"]: (row["failing_since"], row["failures"], row["refused"]) for row in rows}


def counts(connection: sa.Connection) -> dict[str, int]:
    """Deliveries by state."""
    rows = connection.execute(sa.select(delivery.c.state, sa.func.count()).group_by(delivery.c.state))
    return {str(state): int(count) for state, count in rows}


def sweep(connection: sa.Connection, known: Sequence[str], now: int, *, delivered_before: int, dead_before: int) -> int:
    """Forget what was delivered before then, dead letters from before then, and what is for endpoints that are gone;
    gives how many deliveries that were."""
    gone = connection.execute(
        sa.delete(delivery).where(delivery.c.state == DELIVERED, delivery.c.done_at < delivered_before)
    ).rowcount
    gone += connection.execute(
        sa.delete(delivery).where(delivery.c.state == DEAD, delivery.c.done_at < dead_before)
    ).rowcount
    everybody = {str(row[0]) for row in connection.execute(sa.select(delivery.c.endpoint).distinct())}
    for lost in sorted(everybody - set(known)):
        gone += connection.execute(sa.delete(delivery).where(delivery.c.endpoint == lost)).rowcount
        connection.execute(sa.delete(health).where(health.c.endpoint == lost))
    # Nobody waits so long: the endpoint was disabled, and its letters can be sent again like other dead ones.
    old = sa.select(message.c.id).where(message.c.at < dead_before)
    late = sa.update(delivery).where(delivery.c.state == WAITING, delivery.c.message.in_(old))
    connection.execute(late.values(state=DEAD, done_at=now, said="too old", lease="", leased_until=0))
    left = sa.select(delivery.c.message)
    connection.execute(sa.delete(message).where(message.c.at < delivered_before, message.c.id.not_in(left)))
    return gone


def position(connection: sa.Connection, name: str, start: int) -> int:
    """How far a reader has come; ``start`` at its first time. Held until the end of the transaction."""
    connection.execute(_insert(connection)(cursor).values(name=name, position=start).on_conflict_do_nothing())
    found = connection.scalar(sa.select(cursor.c.position).where(cursor.c.name == name).with_for_update())
    return start if found is None else int(found)


def move(connection: sa.Connection, name: str, to: int) -> None:
    """Say how far it has come now."""
    connection.execute(sa.update(cursor).where(cursor.c.name == name).values(position=to))


def _free(now: int) -> tuple[sa.ColumnElement[bool], ...]:
    return (delivery.c.state == WAITING, delivery.c.next_at <= now, delivery.c.leased_until <= now)


def _fresh(endpoint: str, one: Message) -> dict[str, object]:
    row: dict[str, object] = {"endpoint": endpoint, "message": one.id, "state": WAITING, "tries": 0}
    return {**row, "next_at": one.at, "lease": "", "leased_until": 0, "status": 0, "said": "", "done_at": None}


def _touch(connection: sa.Connection, endpoint: str) -> None:
    row = {"endpoint": endpoint, "failing_since": None, "failures": 0, "refused": 0}
    connection.execute(_insert(connection)(health).values(row).on_conflict_do_nothing())


def _insert(connection: sa.Connection) -> Any:
    """``INSERT`` that may say ``ON CONFLICT``, which both engines know and SQL does not."""
    return sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert


def _message(row: sa.RowMapping) -> Message:
    return Message(**{name: row[name] for name in Message.__struct_fields__})


def _delivery(row: sa.RowMapping) -> Delivery:
    waits = row["state"] == WAITING
    named = {name: row[name] for name in Delivery.__struct_fields__ if name != "next_at"}
    return Delivery(**named, next_at=row["next_at"] if waits else None)
