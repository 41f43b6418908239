"""Giving verdicts, and what an item comes to: by its verdicts, by its due time, or because it is withdrawn."""

from collections import Counter
from collections.abc import Sequence

import sqlalchemy as sa

from ostinato.access import actor_name
from ostinato.core.errors import Conflict
from ostinato.reviews import desk, held, rubrics, store, tables
from ostinato.reviews.model import ESCALATE, PAIRWISE, SINGLE, Item, NewVerdict, Verdict
from ostinato.reviews.turn import Turn, expect

_URGENT = 1_000_000
"""Added to the priority of what was escalated."""


def decide(turn: Turn, item_id: str, said: NewVerdict, version: int | None = None) -> Item:
    """The item with one more verdict; done with the last that it needs.

    Whoever may take it may speak as long as a seat is free, also when a reservation's time is over. Raises ``Conflict``
    (in others' hands, spoken already, over, overdue with a default) and ``Invalid`` naming the field.
    """
    item, _ = turn.item(item_id, "reviews:decide", lock=True)
    expect(item.version, version)
    connection, principal = turn.connection, turn.principal
    if item.state != "open":
        raise desk.over(item)
    if principal in store.spoken(connection, item.id):
        raise Conflict("You have given your verdict on this item already.", code="already_decided")
    queue = store.queue_by_id(connection, item.queue_id)
    if late(turn, item, queue.declared.default_outcome):
        raise Conflict(
            "The item was due before you spoke, and comes to its default.",
            code="review_over",
            hint="Take the next one.",
        )
    table = tables.reservation
    mine = sa.and_(table.c.item_id == item.id, table.c.principal == principal)
    taken_at = connection.scalar(sa.select(table.c.taken_at).where(mine, table.c.until > 0))
    worked = turn.now - taken_at if taken_at is not None else desk.held_before(turn, item.id)
    if taken_at is None:
        obstacle = desk.obstacle(turn, queue, item)
        if obstacle is not None:
            raise obstacle
    elif not desk.seat_free(turn, item):
        raise desk.not_taken(item)
    if item.origin == "hold" and said.edited is not None:
        held.judge_edit(connection, item, said.edited)
    connection.execute(table.delete().where(mine))
    swapped = queue.declared.mode == "pairwise" and desk.swapped(item.id, principal)
    verdict = Verdict(
        item=item.id,
        principal=principal,
        decision=rubrics.decision(queue.declared, said, swapped),
        values=said.values,
        edited=said.edited,
        comment=said.comment,
        seconds=worked / 1e6 if said.seconds is None else said.seconds,
        swapped=swapped,
        at=turn.now,
        actor=actor_name(turn.actor),
    )
    free = frozenset(one.name for one in queue.declared.criteria if not one.labels and one.range is None)
    store.add_verdict(connection, turn.bench.sealer, verdict, free)
    after = _counted(turn, item, verdict)
    turn.done(
        "decide",
        f"review:{item.id}",
        item.org,
        item.project,
        before={"state": item.state, "given": item.given},
        after={"state": after.state, "outcome": after.outcome, "decision": verdict.decision, "values": said.values},
        reason=said.comment[:2_000],
        facts={
            "queue": item.queue,
            "decision": verdict.decision,
            "given": after.given,
            "needed": after.needed,
            "state": after.state,
            **({"outcome": after.outcome} if after.outcome else {}),
            **({"origin": item.origin} if item.origin == "hold" else {}),
        },
    )
    return after


def _counted(turn: Turn, item: Item, verdict: Verdict) -> Item:
    """The item with the verdict counted."""
    given, needed = item.given + 1, item.needed
    if verdict.decision == ESCALATE and needed < rubrics.SEATS:
        return store.change(
            turn.connection,
            item,
            given=given,
            needed=needed + 1,
            escalated=True,
            priority=item.priority if item.escalated else item.priority + _URGENT,
        )
    if given < needed:
        return store.change(turn.connection, item, given=given)
    said = store.verdicts(turn.connection, turn.bench.sealer, [item.id])[item.id]
    return close(turn, item, "done", outcome_of([one.decision for one in said]), said, given=given)


def outcome_of(decisions: Sequence[str]) -> str:
    """What several decisions come to: the most frequent; of a draw on one answer the most severe, on two a tie."""
    counted = Counter(one for one in decisions if one != ESCALATE)
    if not counted:
        return ESCALATE
    most = max(counted.values())
    first = [one for one in counted if counted[one] == most]
    if len(first) == 1:
        return first[0]
    return max(first, key=SINGLE.index) if first[0] in SINGLE else PAIRWISE[2]


def close(turn: Turn, item: Item, state: str, outcome: str, said: Sequence[Verdict] = (), *, given: int = 0) -> Item:
    """The item as it ends, with what that brings about: for a held answer here, elsewhere as something pending."""
    pending = ""
    if item.origin == "hold":
        admit = held.settle(turn, item, state, outcome, said)
        pending = "admit" if admit else ""
    elif outcome == "reject" and item.entry and state == "done":
        pending = "quarantine"
    gone = tables.reservation.delete().where(tables.reservation.c.item_id == item.id)
    turn.connection.execute(gone)
    return store.change(
        turn.connection,
        item,
        state=state,
        outcome=outcome,
        given=given or item.given,
        done_at=turn.now,
        pending=pending,
    )


def late(turn: Turn, item: Item, default: str) -> bool:
    """Whether the item has come to its default by the clock."""
    return item.due_at is not None and item.due_at <= turn.now and (bool(default) or item.origin == "hold")


def expire(turn: Turn, item_id: str) -> Item | None:
    """The item as its due time leaves it, with a leaf; ``None`` where somebody was quicker."""
    found = store.find_item(turn.connection, item_id, lock=True)
    if found is None or found[0].state != "open":
        return None
    item = found[0]
    default = store.queue_by_id(turn.connection, item.queue_id).declared.default_outcome
    if not late(turn, item, default):
        return None
    after = close(turn, item, "expired", "" if item.origin == "hold" else default)
    turn.done(
        "expire",
        f"review:{item.id}",
        item.org,
        item.project,
        facts={"queue": item.queue, "outcome": after.outcome, "given": after.given, "needed": after.needed},
    )
    return after


def overdue(connection: sa.Connection, now: int, limit: int) -> list[str]:
    """Open items that are due and come to something by themselves, the oldest first."""
    item = tables.item
    queues = [store.queue_of(row) for row in connection.execute(sa.select(tables.queue)).mappings()]
    settled = [queue.id for queue in queues if queue.declared.default_outcome]
    query = sa.select(item.c.id).where(
        item.c.state == "open", item.c.due_at <= now, sa.or_(item.c.origin == "hold", item.c.queue_id.in_(settled))
    )
    return [str(one) for one in connection.execute(query.order_by(item.c.due_at).limit(limit)).scalars()]


def withdraw(turn: Turn, item_id: str, reason: str) -> Item:
    """An open item, taken out of its queue. A held answer comes to its default by time, not so: ``Conflict``."""
    item, _ = turn.item(item_id, "reviews:write", lock=True)
    if item.state != "open":
        raise desk.over(item)
    if item.origin == "hold":
        raise Conflict("Somebody waits for this answer: it can only be decided.", code="answer_held")
    after = close(turn, item, "withdrawn", "")
    turn.done("withdraw", f"review:{item.id}", item.org, item.project, reason=reason, facts={"queue": item.queue})
    return after
