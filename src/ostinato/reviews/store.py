"""Rows to structs and back. Every change of an item goes through :func:`change`, which notices who was quicker."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.core import ids
from ostinato.core.errors import Conflict, NotFound
from ostinato.reviews import tables
from ostinato.reviews.model import Content, Counts, Declaration, Held, Item, Queue, Verdict
from ostinato.reviews.sealing import Sealer

_encode = msgspec.json.Encoder(order="deterministic").encode


class Words(msgspec.Struct, frozen=True):
    """What of a verdict may be erased."""

    comment: str = ""
    edited: str | None = None
    texts: dict[str, str] = {}


def queue_of(row: sa.RowMapping) -> Queue:
    named = {name: row[name] for name in Queue.__struct_fields__ if name != "declared"}
    return Queue(**named, declared=msgspec.convert(row["declared"], Declaration))


def find_queue(connection: sa.Connection, project: str, name: str, *, lock: bool = False) -> Queue | None:
    """The queue of this name. ``lock``: nobody else changes it until this transaction ends."""
    query = sa.select(tables.queue).where(tables.queue.c.project == project, tables.queue.c.name == name)
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return None if row is None else queue_of(row)


def queue_by_id(connection: sa.Connection, queue_id: str) -> Queue:
    return queue_of(connection.execute(sa.select(tables.queue).where(tables.queue.c.id == queue_id)).mappings().one())


def unknown_queue(name: str) -> NotFound:
    """The same words for what is not there and what is out of reach."""
    return NotFound(
        f"There is no review queue {name[:80]!r}.",
        code="queue_not_found",
        hint="`ostinato review queues` lists those that there are.",
    )


def unknown_item(item_id: str) -> NotFound:
    """The same, of an item."""
    return NotFound(f"There is no review item {item_id[:80]!r}.", code="review_item_not_found")


def item_of(row: sa.RowMapping) -> Item:
    return msgspec.convert({name: row[name] for name in Item.__struct_fields__}, Item)


def find_item(
    connection: sa.Connection, item_id: str, *, lock: bool = False, skip_locked: bool = False
) -> tuple[Item, bytes | None] | None:
    """One item with its sealed texts. ``skip_locked``: as if it were not there while somebody else changes it."""
    if not ids.is_id(item_id):
        return None
    query = sa.select(tables.item).where(tables.item.c.id == item_id)
    if lock:
        query = query.with_for_update(skip_locked=skip_locked)
    row = connection.execute(query).mappings().first()
    return None if row is None else (item_of(row), row["sealed"])


def item_row(item: Item) -> dict[str, Any]:
    row = msgspec.structs.asdict(item)
    return {**row, "why": list(item.why)}


def change(connection: sa.Connection, item: Item, **changes: Any) -> Item:
    """``item`` with ``changes``, one version further. Raises ``Conflict`` if it is not the one that stands."""
    table = tables.item
    extra = {"sealed": changes.pop("sealed")} if "sealed" in changes else {}
    changed = msgspec.structs.replace(item, **changes, version=item.version + 1)
    result = connection.execute(
        table.update()
        .where(table.c.id == item.id, table.c.version == item.version)
        .values(**{name: getattr(changed, name) for name in changes}, version=changed.version, **extra)
    )
    if result.rowcount != 1:
        raise Conflict(
            f"Somebody changed the review item {item.id} at the same moment.",
            code="version_moved",
            hint="Look again, then repeat.",
        )
    return changed


def open_content(sealer: Sealer, sealed: bytes | None, item_id: str) -> Content | None:
    """The texts of an item; ``None`` where they were erased."""
    data = sealer.open(sealed, f"item {item_id}")
    return None if data is None else msgspec.json.decode(data, type=Content)


def seal_content(sealer: Sealer, content: Content, item_id: str) -> bytes:
    return sealer.seal(_encode(content), f"item {item_id}")


def verdicts(connection: sa.Connection, sealer: Sealer, item_ids: Sequence[str]) -> dict[str, list[Verdict]]:
    """What was said of each of these items, oldest first."""
    table = tables.verdict
    found: dict[str, list[Verdict]] = {}
    query = sa.select(table).where(table.c.item_id.in_(item_ids)).order_by(table.c.at, table.c.principal)
    for row in connection.execute(query).mappings():
        one = _verdict(row, sealer)
        found.setdefault(one.item, []).append(one)
    return found


def _verdict(row: sa.RowMapping, sealer: Sealer) -> Verdict:
    data = sealer.open(row["sealed"], f"verdict {row['item_id']} {row['principal']}")
    told = Words() if data is None else msgspec.json.decode(data, type=Words)
    return Verdict(
        item=row["item_id"],
        principal=row["principal"],
        decision=row["decision"],
        values={**row["values"], **told.texts},
        edited=told.edited,
        comment=told.comment,
        seconds=row["seconds"],
        swapped=row["swapped"],
        at=row["at"],
        actor=row["actor"],
    )


def add_verdict(connection: sa.Connection, sealer: Sealer, one: Verdict, free: frozenset[str]) -> None:
    """Write a verdict; ``free``: criteria whose values are texts. A second one of a principal is a ``Conflict``."""
    texts = {name: str(value) for name, value in one.values.items() if name in free}
    told = Words(one.comment, one.edited, texts)
    row = msgspec.structs.asdict(one)
    for name in ("item", "edited", "comment"):
        del row[name]
    sealed = sealer.seal(_encode(told), f"verdict {one.item} {one.principal}")
    kept = {name: value for name, value in one.values.items() if name not in free}
    connection.execute(tables.verdict.insert(), {**row, "item_id": one.item, "values": kept, "sealed": sealed})


def live_reservations(connection: sa.Connection, item_id: str, now: int) -> dict[str, int]:
    """Who has the item in hand, and until when."""
    table = tables.reservation
    query = sa.select(table.c.principal, table.c.until).where(table.c.item_id == item_id, table.c.until > now)
    return {str(principal): int(until) for principal, until in connection.execute(query)}


def spoken(connection: sa.Connection, item_id: str) -> set[str]:
    """Who has given a verdict."""
    query = sa.select(tables.verdict.c.principal).where(tables.verdict.c.item_id == item_id)
    return set(connection.execute(query).scalars())


def open_items(connection: sa.Connection, queue_id: str) -> int:
    """How many items of a queue are open."""
    mine = (tables.item.c.queue_id == queue_id, tables.item.c.state == "open")
    return connection.scalar(sa.select(sa.func.count()).select_from(tables.item).where(*mine)) or 0


def pending(connection: sa.Connection, limit: int) -> list[Item]:
    """Items that ended, and of which something is still to be done."""
    # Not ``!= ""``: for what is unequal, SQLite reads every item.
    query = sa.select(tables.item).where(tables.item.c.pending > "").limit(limit)
    return [item_of(row) for row in connection.execute(query).mappings()]


def counts(connection: sa.Connection, queue_id: str, now: int) -> Counts:
    """How a queue stands."""
    item, verdict, reservation = tables.item, tables.verdict, tables.reservation
    mine = item.c.queue_id == queue_id
    by_state = {
        str(state): int(count)
        for state, count in connection.execute(
            sa.select(item.c.state, sa.func.count()).where(mine).group_by(item.c.state)
        )
    }
    opened = sa.and_(mine, item.c.state == "open")

    def count(condition: sa.ColumnElement[bool]) -> int:
        return connection.scalar(sa.select(sa.func.count()).select_from(item).where(opened, condition)) or 0

    in_hand = sa.exists().where(reservation.c.item_id == item.c.id, reservation.c.until > now)
    seconds = sorted(
        connection.execute(
            sa.select(verdict.c.seconds)
            .join(item, item.c.id == verdict.c.item_id)
            .where(mine)
            .order_by(verdict.c.at.desc())
            .limit(1_000)
        ).scalars()
    )
    said = connection.scalar(
        sa.select(sa.func.count()).select_from(verdict).join(item, item.c.id == verdict.c.item_id).where(mine)
    )
    return Counts(
        open=by_state.get("open", 0),
        reserved=count(in_hand),
        overdue=count(item.c.due_at <= now),
        escalated=count(item.c.escalated),
        done=by_state.get("done", 0),
        expired=by_state.get("expired", 0),
        withdrawn=by_state.get("withdrawn", 0),
        verdicts=said or 0,
        median_seconds=seconds[len(seconds) // 2] if seconds else None,
    )


def held_of(row: sa.RowMapping) -> Held:
    return msgspec.convert({name: row[name] for name in Held.__struct_fields__}, Held)


def find_held(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> tuple[Held, bytes | None] | None:
    """The held answer that meets a condition, with its sealed answer."""
    row = connection.execute(sa.select(tables.held).where(condition)).mappings().first()
    return None if row is None else (held_of(row), row["sealed"])
