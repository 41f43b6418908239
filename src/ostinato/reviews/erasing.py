"""Texts that go: because somebody's data are erased, or because they are old. Digests, decisions and figures stay."""

from collections.abc import Sequence

import sqlalchemy as sa

from ostinato.core.errors import Invalid, NotFound
from ostinato.reviews import queues, store, tables
from ostinato.reviews.turn import Turn


def erase(turn: Turn, project: str | None, *, item: str, request_id: str, subject: str, reason: str) -> int:
    """How many items have lost their texts: the one named, or those of a request or a subject in a project."""
    if sum(map(bool, (item, request_id, subject))) != 1:
        raise Invalid("Name an item, a request or a subject: one of them.", code="erasure_unclear")
    if item:
        found, _ = turn.item(item, "reviews:write", lock=True)
        _erase(turn.connection, [found.id])
        turn.done("erase", f"review:{found.id}", found.org, found.project, reason=reason, facts={"items": 1})
        return 1
    home, table = turn.home(project, "reviews:write"), tables.item
    named = table.c.request_id == request_id if request_id else table.c.subject == subject
    query = sa.select(table.c.id).where(table.c.project == home.id, named).with_for_update()
    ids = [str(one) for one in turn.connection.execute(query).scalars()]
    if not ids:
        raise NotFound("No review item is of this request or subject.", code="review_item_not_found")
    _erase(turn.connection, ids)
    # Whose they were is not told again in the log.
    turn.done("erase", f"reviews:{home.id}", home.org_id, home.id, reason=reason, facts={"items": len(ids)})
    return len(ids)


def erase_examples(turn: Turn, project: str, examples: Sequence[str]) -> int:
    """The same for items that runs have made of these examples of a dataset; gives how many there were."""
    table, connection = tables.item, turn.connection
    of_runs = (table.c.project == project, table.c.origin == "run")
    runs = [str(one) for one in connection.execute(sa.select(table.c.origin_ref).where(*of_runs).distinct()).scalars()]
    marks = [queues.mark_of("run", run, f"{run}:{one}") for run in runs for one in examples]
    found: list[str] = []
    for begin in range(0, len(marks), 500):
        query = sa.select(table.c.id).where(
            *of_runs, table.c.mark.in_(marks[begin : begin + 500]), table.c.erased.is_(False)
        )
        found += [str(one) for one in connection.execute(query.with_for_update()).scalars()]
    if found:
        home = turn.home(project, "reviews:write")
        _erase(connection, found)
        facts: dict[str, str | int] = {"items": len(found)}
        turn.done("erase", f"reviews:{home.id}", home.org_id, home.id, reason="their examples were erased", facts=facts)
    return len(found)


def old(connection: sa.Connection, before: int, limit: int) -> list[str]:
    """Ended items whose texts have been kept long enough."""
    table = tables.item
    query = sa.select(table.c.id).where(table.c.state != "open", table.c.done_at < before, table.c.erased.is_(False))
    return [str(one) for one in connection.execute(query.limit(limit)).scalars()]


def unseen(connection: sa.Connection, before: int, limit: int) -> list[str]:
    """Sampled answers that nobody has looked at for as long as decided ones are kept."""
    table = tables.item
    query = sa.select(table.c.id).where(
        table.c.state == "open", table.c.origin == "online", table.c.created_at < before, table.c.given == 0
    )
    return [str(one) for one in connection.execute(query.limit(limit)).scalars()]


def give_up(turn: Turn, ids: Sequence[str]) -> int:
    """Withdraw them, with their texts; whoever has one in hand is not disturbed. One leaf for all of them."""
    gone: list[str] = []
    for one in ids:
        found = store.find_item(turn.connection, one, lock=True, skip_locked=True)
        if found is None or found[0].state != "open" or store.live_reservations(turn.connection, one, turn.now):
            continue
        store.change(turn.connection, found[0], state="withdrawn", done_at=turn.now)
        gone.append(one)
    if gone:
        expire(turn, gone)
    return len(gone)


def expire(turn: Turn, ids: Sequence[str]) -> int:
    """The same for items that are old, with one leaf for all of them."""
    _erase(turn.connection, ids)
    turn.done("expire-texts", "reviews:retention", "", "", facts={"items": len(ids)})
    return len(ids)


def _erase(connection: sa.Connection, ids: Sequence[str]) -> None:
    item, verdict, held = tables.item, tables.verdict, tables.held
    for begin in range(0, len(ids), 500):
        part = ids[begin : begin + 500]
        connection.execute(
            item.update()
            .where(item.c.id.in_(part))
            .values(sealed=None, erased=True, subject="", version=item.c.version + 1)
        )
        connection.execute(verdict.update().where(verdict.c.item_id.in_(part)).values(sealed=None))
        connection.execute(held.update().where(held.c.item.in_(part)).values(sealed=None, admit=None))
