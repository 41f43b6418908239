"""Declaring queues, and putting items into them."""

import hashlib
import math
from collections.abc import Sequence

import msgspec

from ostinato.access import SystemActor, actor_name
from ostinato.core import hashing, ids
from ostinato.core.errors import Conflict, Invalid, LimitReached
from ostinato.reviews import rubrics, store, tables
from ostinato.reviews.model import Declaration, Item, NewItem, Queue
from ostinato.reviews.turn import Turn, expect

AT_ONCE = 500
"""Items of one call."""
OURS = frozenset({"run", "online", "hold"})
"""Origins that nobody can give an item but the system itself."""
_SHORT = ("origin_ref", "entry", "prompt", "intent", "stratum", "group", "author", "subject", "mark", "request_id")
_LONGEST = {"entry": 64, "request_id": 64}
_NAME = 255
_FIGURES = 50


def declare(
    turn: Turn, org: str, project: str, name: str, declared: Declaration, version: int | None, reason: str
) -> Queue:
    """The queue as it stands from now on; see :class:`Declaration`. Items that are there keep their number of seats."""
    rubrics.judge(name, declared)
    connection, now, who = turn.connection, turn.now, actor_name(turn.actor)
    before = store.find_queue(connection, project, name, lock=True)
    expect(0 if before is None else before.version, version)
    if before is None:
        queue = Queue(
            id=ids.new(now),
            org=org,
            project=project,
            name=name,
            declared=declared,
            version=1,
            created_at=now,
            created_by=who,
            changed_at=now,
            changed_by=who,
        )
        connection.execute(tables.queue.insert(), _row(queue))
    else:
        if before.declared.mode != declared.mode:
            raise Conflict(
                f"The queue {name!r} is {before.declared.mode}, and its items are judged so.",
                code="queue_mode",
                hint="Declare another queue under another name.",
            )
        queue = msgspec.structs.replace(
            before, declared=declared, version=before.version + 1, changed_at=now, changed_by=who
        )
        connection.execute(tables.queue.update().where(tables.queue.c.id == queue.id).values(**_row(queue)))
    turn.done(
        "declare",
        f"queue:{project}/{name}",
        org,
        project,
        before=None if before is None else before.declared,
        after=declared,
        reason=reason,
        facts={"version": queue.version},
    )
    return queue


def _row(queue: Queue) -> dict[str, object]:
    return {**msgspec.structs.asdict(queue), "declared": msgspec.to_builtins(queue.declared)}


def put(turn: Turn, queue: Queue, wanted: Sequence[NewItem], reason: str = "") -> tuple[Item, ...]:
    """The items, in the order given; one with a mark that is there already is the one that is there."""
    if not 1 <= len(wanted) <= AT_ONCE:
        raise Invalid(f"Put 1 to {AT_ONCE} items at once.", param="items")
    ours = sorted({one.origin for one in wanted} & OURS)
    if ours and not isinstance(turn.actor, SystemActor):
        raise Invalid(
            f"Items of the origin {ours[0]!r} are put by the system alone.",
            code="invalid_item",
            param="origin",
            hint="Leave it out, or say `experiment`.",
        )
    must_have_room(turn, queue, len(wanted))
    found: list[Item] = []
    added = 0
    for place, one in enumerate(wanted):
        try:
            item, new = insert(turn, queue, one)
        except Invalid as error:
            said = f"items[{place}]: {error.message}"
            raise Invalid(said, code=error.code, hint=error.hint, param=error.param) from None
        found.append(item)
        added += new
    turn.done(
        "put",
        f"queue:{queue.project}/{queue.name}",
        queue.org,
        queue.project,
        after=[one.digest for one in found],
        reason=reason,
        facts={"items": added, "there": len(found) - added},
    )
    return tuple(found)


def must_have_room(turn: Turn, queue: Queue, more: int) -> None:
    """Raise ``Conflict`` where the queue is closed, ``LimitReached`` where so many more are too many."""
    if queue.declared.closed:
        raise closed(queue)
    waiting, most = store.open_items(turn.connection, queue.id), turn.bench.settings.open_items
    if waiting + more > most:
        raise LimitReached(
            f"The queue {queue.name!r} has {waiting} open items, and may hold {most}.",
            code="queue_full",
            hint="Have some decided first, or draw a smaller share.",
        )


def insert(
    turn: Turn, queue: Queue, wanted: NewItem, item_id: str = "", due_at: int | None = None
) -> tuple[Item, bool]:
    """One item, and whether it is new. No leaf: the caller writes one."""
    judge(wanted, queue, turn.bench.settings.max_item_bytes)
    digest = hashlib.sha256(hashing.canonical_json(wanted.content)).hexdigest()
    mark = mark_of(wanted.origin, wanted.origin_ref, wanted.mark or [digest, wanted.request_id, wanted.prompt_version])
    connection, now = turn.connection, turn.now
    found = (
        connection.execute(tables.item.select().where(tables.item.c.queue_id == queue.id, tables.item.c.mark == mark))
        .mappings()
        .first()
    )
    if found is not None:
        return store.item_of(found), False
    declared = queue.declared
    due = due_at if declared.due_seconds is None or due_at is not None else now + int(declared.due_seconds * 1e6)
    item = Item(
        id=item_id or ids.new(now),
        queue=queue.name,
        queue_id=queue.id,
        org=queue.org,
        project=queue.project,
        state="open",
        outcome="",
        mark=mark,
        digest=digest,
        needed=declared.reviews_required,
        given=0,
        escalated=False,
        erased=False,
        created_at=now,
        due_at=due,
        done_at=None,
        version=1,
        **{
            name: getattr(wanted, name)
            for name in NewItem.__struct_fields__
            if name not in ("content", "mark", "priority")
        },
        priority=wanted.priority + declared.priority,
    )
    sealed = store.seal_content(turn.bench.sealer, wanted.content, item.id)
    connection.execute(tables.item.insert(), {**store.item_row(item), "sealed": sealed})
    return item, True


def mark_of(origin: str, origin_ref: str, mark: object) -> str:
    """What makes an item one with others of its queue."""
    return hashing.digest_of([origin, origin_ref, mark]).hex()


def judge(wanted: NewItem, queue: Queue, most: int) -> None:
    """Raise ``Invalid`` where it cannot be an item of the queue."""
    outputs = 2 if queue.declared.mode == "pairwise" else 1
    if len(wanted.content.outputs) != outputs:
        raise Invalid(
            f"The queue {queue.name!r} is {queue.declared.mode}: an item has {outputs} "
            f"output{'s' if outputs > 1 else ''}, not {len(wanted.content.outputs)}.",
            code="invalid_item",
            param="content.outputs",
        )
    size = len(hashing.canonical_json(wanted.content))
    if size > most:
        raise Invalid(
            f"The texts of an item have {size} bytes; up to {most} are taken.",
            code="item_too_large",
            param="content",
            hint="Cut them, or raise [reviews] max_item_bytes.",
        )
    if not (math.isfinite(wanted.weight) and 0 < wanted.weight <= 1):
        raise Invalid("The weight is the probability of having been drawn: above 0, to 1.", param="weight")
    if abs(wanted.priority) > 1_000_000:
        raise Invalid("Priorities are from -1,000,000 to 1,000,000.", param="priority")
    for name in _SHORT:
        text: str = getattr(wanted, name)
        if len(text) > _LONGEST.get(name, _NAME) or "\x00" in text:
            raise Invalid(f"{name!r} has at most {_LONGEST.get(name, _NAME)} characters.", param=name)
    if len(wanted.evidence) > _FIGURES or any(
        len(name) > _NAME or (isinstance(value, str) and len(value) > _NAME) for name, value in wanted.evidence.items()
    ):
        raise Invalid(f"Evidence is up to {_FIGURES} short figures.", param="evidence")
    if len(wanted.why) > 20 or any(len(one) > 64 for one in wanted.why):
        raise Invalid("`why` names up to 20 rules.", param="why")


def closed(queue: Queue) -> Conflict:
    return Conflict(
        f"The queue {queue.name!r} is closed.", code="queue_closed", hint="Declare it again without `closed`."
    )
