"""Taking items, handing them back, and what a reviewer is shown."""

import msgspec
import sqlalchemy as sa

from ostinato.access import Actor, Resource, actor_name, permissions
from ostinato.core import hashing
from ostinato.core.errors import Conflict, Denied
from ostinato.reviews import queues, store, tables
from ostinato.reviews.model import Content, Declaration, Item, Queue, Task, Verdict
from ostinato.reviews.turn import Turn

_TRIED = 50
"""Items that are looked at before a reviewer is told that there is nothing: others are taking them this moment."""


def take_next(turn: Turn, queue: Queue) -> Task | None:
    """The most urgent item that the actor may judge, the one in hand first; ``None``: there is none."""
    if queue.declared.closed:
        raise queues.closed(queue)
    connection, now, principal = turn.connection, turn.now, turn.principal
    item, verdict, reservation = tables.item, tables.verdict, tables.reservation
    open_here = [item.c.queue_id == queue.id, item.c.state == "open"]
    in_hand = connection.scalar(
        sa.select(item.c.id)
        .join(reservation, reservation.c.item_id == item.c.id)
        .where(*open_here, reservation.c.principal == principal, reservation.c.until > now)
        .order_by(reservation.c.taken_at)
        .limit(1)
    )
    if in_hand is not None:
        return show(turn, *turn.item(in_hand, "reviews:decide"))
    others = (
        sa.select(sa.func.count())
        .select_from(reservation)
        .where(reservation.c.item_id == item.c.id, reservation.c.until > now)
        .scalar_subquery()
    )
    said = sa.exists().where(verdict.c.item_id == item.c.id, verdict.c.principal == principal)
    query = sa.select(item.c.id).where(*open_here, ~said, item.c.needed > item.c.given + others)
    query = query.where(sa.or_(item.c.due_at.is_(None), item.c.due_at > now, sa.literal(not _defaults(queue))))
    if queue.declared.exclude_author:
        query = query.where(item.c.author != principal)
    soonest = sa.func.coalesce(item.c.due_at, 2**62)
    candidates = connection.execute(query.order_by(item.c.priority.desc(), soonest, item.c.id).limit(_TRIED)).scalars()
    for item_id in list(candidates):
        found = store.find_item(connection, item_id, lock=True, skip_locked=True)
        # Between the question and the lock somebody may have taken the last seat.
        if found is not None and not obstacle(turn, queue, found[0]):
            _reserve(turn, queue, found[0])
            return show(turn, *found)
    return None


def _defaults(queue: Queue) -> bool:
    """Whether overdue items come to an outcome by themselves."""
    return bool(queue.declared.default_outcome)


def take(turn: Turn, item_id: str) -> Task:
    """The item, in the actor's hands. Raises ``Conflict`` where others have every seat, ``Denied`` to its author."""
    item, sealed = turn.item(item_id, "reviews:decide", lock=True)
    queue = store.queue_by_id(turn.connection, item.queue_id)
    why = obstacle(turn, queue, item)
    if why is not None:
        raise why
    _reserve(turn, queue, item)
    return show(turn, item, sealed)


def obstacle(turn: Turn, queue: Queue, item: Item) -> Conflict | Denied | None:
    """Why the actor cannot take the item, which is locked."""
    if queue.declared.closed:
        return queues.closed(queue)
    if item.state != "open":
        return over(item)
    if turn.principal in store.spoken(turn.connection, item.id):
        return Conflict("You have given your verdict on this item already.", code="already_decided")
    if queue.declared.exclude_author and item.author and item.author == turn.principal:
        return Denied("Whoever made what is judged does not judge it.", code="own_work")
    if not seat_free(turn, item):
        return Conflict(
            "Others have this item in their hands.",
            code="item_reserved",
            hint="Take the next one; what they do not decide in time comes back.",
        )
    return None


def seat_free(turn: Turn, item: Item) -> bool:
    """Whether verdicts and other people's reservations leave a seat for the actor."""
    others = store.live_reservations(turn.connection, item.id, turn.now)
    others.pop(turn.principal, None)
    return item.given + len(others) < item.needed


def _reserve(turn: Turn, queue: Queue, item: Item) -> None:
    table = tables.reservation
    connection, principal = turn.connection, turn.principal
    until = turn.now + int(queue.declared.reservation_seconds * 1_000_000)
    before = held_before(turn, item.id)
    connection.execute(table.delete().where(table.c.item_id == item.id, table.c.principal == principal))
    connection.execute(
        table.insert(),
        {
            "item_id": item.id,
            "principal": principal,
            "actor": actor_name(turn.actor),
            "taken_at": turn.now - before,
            "until": until,
        },
    )
    # Who has read a text is told like who has changed one.
    turn.done("take", f"review:{item.id}", item.org, item.project, facts={"queue": item.queue})


def held_before(turn: Turn, item_id: str) -> int:
    """Microseconds for which the actor has had an item in hand before handing it back: that was work, too."""
    table = tables.reservation
    mine = sa.and_(table.c.item_id == item_id, table.c.principal == turn.principal, table.c.until == 0)
    return max(0, turn.connection.scalar(sa.select(table.c.taken_at).where(mine)) or 0)


def give_back(turn: Turn, item_id: str) -> Item:
    """The item, in nobody's hands of this principal. Raises ``Conflict`` where it was not."""
    item, _ = turn.item(item_id, "reviews:decide", lock=True)
    table = tables.reservation
    gone = turn.connection.execute(
        table.update()
        .where(table.c.item_id == item.id, table.c.principal == turn.principal, table.c.until > 0)
        .values(taken_at=turn.now - table.c.taken_at, until=0)
    ).rowcount
    if not gone:
        raise not_taken(item)
    turn.done("return", f"review:{item.id}", item.org, item.project, facts={"queue": item.queue})
    return blinded(turn.actor, item, store.queue_by_id(turn.connection, item.queue_id).declared)


def show(turn: Turn, item: Item, sealed: bytes | None) -> Task:
    """The item as the actor may see it."""
    queue = store.queue_by_id(turn.connection, item.queue_id)
    declared, principal = queue.declared, turn.principal
    hidden = declared.blind and item.state == "open"
    content = store.open_content(turn.bench.sealer, sealed, item.id)
    said = store.verdicts(turn.connection, turn.bench.sealer, [item.id]).get(item.id, [])
    return Task(
        item=item.id,
        queue=item.queue,
        mode=declared.mode,
        criteria=declared.criteria,
        state=item.state,
        until=store.live_reservations(turn.connection, item.id, turn.now).get(principal),
        due_at=item.due_at,
        content=None if content is None else _arranged(content, item, principal, queue, hidden=hidden),
        digest=item.digest,
        about=None if hidden else item,
        verdicts=tuple(
            _seen(_as_shown(one) if hidden and declared.mode == "pairwise" else one, principal)
            for one in said
            if not hidden or one.principal == principal
        ),
    )


def blinded(actor: Actor, item: Item, declared: Declaration) -> Item:
    """The item as the actor may see it without its texts: of one that it may still judge blind, not where it comes
    from, why it was drawn, or what a judge said. Whoever may put items in knows that anyway."""
    if item.state != "open" or not declared.blind or not judges_blind(actor, item.project):
        return item
    return msgspec.structs.replace(
        item, origin_ref="", request_id="", entry="", prompt="", prompt_version=0, author="", why=(), evidence={}
    )


def judges_blind(actor: Actor, project: str) -> bool:
    """Whether the actor judges what lies in a project's blind queues without putting anything there."""
    here = Resource(project=project)
    return permissions.allows(actor, "reviews:decide", here) and not permissions.allows(actor, "reviews:write", here)


def _as_shown(one: Verdict) -> Verdict:
    """A verdict on two answers in the words that its reviewer used: an ``a`` would tell which of them is the first."""
    words = {"a": "second", "b": "first"} if one.swapped else {"a": "first", "b": "second"}
    return msgspec.structs.replace(one, decision=words.get(one.decision, one.decision), swapped=False)


def _seen(one: Verdict, principal: str) -> Verdict:
    """A verdict as it is shown; who else gave it is nobody's business but the audit log's."""
    if one.principal == principal:
        return one
    return Verdict(
        item=one.item,
        principal="another reviewer",
        decision=one.decision,
        values=one.values,
        edited=one.edited,
        comment=one.comment,
        seconds=one.seconds,
        swapped=one.swapped,
        at=one.at,
        actor="",
    )


def _arranged(content: Content, item: Item, principal: str, queue: Queue, *, hidden: bool) -> Content:
    outputs = content.outputs
    if queue.declared.mode == "pairwise" and item.state == "open" and swapped(item.id, principal):
        outputs = outputs[::-1]
    if hidden:
        outputs = tuple(type(one)(text=one.text) for one in outputs)
    return Content(
        input_text=content.input_text,
        inputs=content.inputs,
        outputs=outputs,
        context=content.context,
        reference=content.reference,
        note=content.note,
    )


def swapped(item_id: str, principal: str) -> bool:
    """Whether this reviewer sees the two answers the other way round: as by a coin, and always the same."""
    return bool(hashing.digest(item_id.encode(), principal.encode())[0] & 1)


def over(item: Item) -> Conflict:
    return Conflict(
        f"The item is {item.state}{f': {item.outcome}' if item.outcome else ''}.",
        code="review_over",
        hint="Take the next one.",
    )


def not_taken(item: Item) -> Conflict:
    return Conflict(
        "You have not taken this item, or its time is over.",
        code="not_reserved",
        hint=f"Take it first: POST /api/v1/reviews/items/{item.id}/take.",
    )
