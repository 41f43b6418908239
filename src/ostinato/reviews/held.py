"""Answers that are held until somebody looked: kept here, sealed, and nowhere else meanwhile."""

from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato import wire
from ostinato.cache import schemas
from ostinato.core import hashing, ids
from ostinato.core.errors import Invalid
from ostinato.reviews import queues, store, tables
from ostinato.reviews.model import (
    Content,
    Declaration,
    Held,
    HeldState,
    HoldDefault,
    Item,
    NewItem,
    Output,
    Queue,
    Verdict,
)
from ostinato.reviews.turn import Turn
from ostinato.wire.model import Answer, BlockStart, BlockStop, Delta, Event, Finish, Json, Start, Usage

QUEUE = "held"
"""Where held answers wait, unless the intent names another queue."""

DECLARED = Declaration(
    title="Held answers",
    description="Answers that somebody waits for. Made by the gateway; declare it again to change it.",
    priority=1_000,
    blind=False,
)

_UNDECIDED: dict[str, HeldState] = {"release": "unreviewed", "fallback": "expired", "reject": "expired"}


class NewHeld(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to be held, as the gateway hands it in."""

    org: str
    project: str
    principal: str
    private: bool
    request_id: str
    intent: str
    wire: str
    model: str
    echo: Json | None
    key: str
    """Scoped cache key, hexadecimal; empty: it is not shared with equal requests."""
    answer: Answer
    input_text: str
    inputs: Json
    """Variables that a prompt was filled with, where the caller sent nothing else."""
    queue: str
    fallback: str
    default: HoldDefault
    seconds: float
    subject: str
    prompt: str
    prompt_version: int
    admit: Json | None
    format: Json | None = None


def hold(turn: Turn, queue: Queue, wanted: NewHeld) -> Held:
    """The answer, held; an equal one that waits already is that one."""
    connection, now = turn.connection, turn.now
    # Whoever else is about to hold the same waits here, and then finds it.
    store.find_queue(connection, queue.project, queue.name, lock=True)
    slot = f"{wanted.project} {wanted.key}" if wanted.key else None
    if slot is not None:
        found = waiting(connection, wanted.project, wanted.key, now)
        if found is not None:
            return found
        # One whose time is over, and that nobody has written down yet, makes room.
        connection.execute(tables.held.update().where(tables.held.c.open_key == slot).values(open_key=None))
    queues.must_have_room(turn, queue, 1)
    held_id, deadline = ids.new(now), now + int(wanted.seconds * 1_000_000)
    item, _ = queues.insert(
        turn,
        queue,
        NewItem(
            content=_content(wanted, turn.bench.settings.max_item_bytes),
            mark=held_id,
            origin="hold",
            request_id=wanted.request_id,
            prompt=wanted.prompt,
            prompt_version=wanted.prompt_version,
            intent=wanted.intent,
            subject=wanted.subject,
            why=("hold",),
        ),
        due_at=deadline,
    )
    held = Held(
        id=held_id,
        item=item.id,
        state="pending",
        created_at=now,
        deadline_at=deadline,
        decided_at=None,
        **{
            name: getattr(wanted, name)
            for name in (
                "org",
                "project",
                "principal",
                "private",
                "request_id",
                "intent",
                "wire",
                "model",
                "echo",
                "key",
                "fallback",
                "default",
                "admit",
                "format",
            )
        },
    )
    sealed = turn.bench.sealer.seal(wire.encode_answer(wanted.answer), f"held {held_id}")
    connection.execute(tables.held.insert(), {**msgspec.structs.asdict(held), "sealed": sealed, "open_key": slot})
    turn.done(
        "hold",
        f"review:{item.id}",
        held.org,
        held.project,
        facts={"queue": queue.name, "intent": held.intent, "request": held.request_id},
    )
    return held


def _content(wanted: NewHeld, most: int) -> Content:
    """What the reviewer reads: nobody may escape review by sending much, so what is too long is cut, and says so."""
    room = max(1, most // 24)  # a character takes up to six bytes in JSON, and there are three texts
    return Content(
        input_text=_cut(wanted.input_text, room),
        inputs=wanted.inputs if len(hashing.canonical_json(wanted.inputs)) <= room else {},
        outputs=(Output(text=_cut(described(wanted.answer), room)),),
    )


def _cut(text: str, most: int) -> str:
    text = text.replace("\x00", "\ufffd")
    return text if len(text) <= most else f"{text[:most]}\n[cut: {len(text) - most} more characters]"


def waiting(connection: sa.Connection, project: str, key: str, now: int) -> Held | None:
    """The held answer that an equal request would wait for."""
    found = store.find_held(connection, tables.held.c.open_key == f"{project} {key}")
    return found[0] if found is not None and found[0].standing(now) == "pending" else None


def judge_edit(connection: sa.Connection, item: Item, text: str) -> None:
    """Raise ``Invalid`` where an edited text is not of the format that the caller has asked for."""
    found = store.find_held(connection, tables.held.c.item == item.id)
    if found is not None and found[0].format is not None and not schemas.conforms(text, found[0].format):
        raise Invalid(
            "The edited text is not of the format that the caller asked for.",
            code="invalid_verdict",
            param="edited",
            hint="Write JSON of the schema that the request names.",
        )


def settle(turn: Turn, item: Item, state: str, outcome: str, said: Sequence[Verdict]) -> bool:
    """Write down what became of a held answer; gives whether it is now to go into the cache."""
    table = tables.held
    found = store.find_held(turn.connection, table.c.item == item.id)
    if found is None or found[0].state != "pending":
        return False
    one, sealed = found
    became: HeldState = _UNDECIDED[one.default]
    values: dict[str, Any] = {"open_key": None, "decided_at": turn.now}
    if state == "done":
        became = {"approve": "approved", "edit": "edited"}.get(outcome, "rejected")  # pyright: ignore[reportAssignmentType]: names of states
    if became == "edited":
        edits = [verdict.edited for verdict in said if verdict.decision == "edit" and verdict.edited is not None]
        data = turn.bench.sealer.open(sealed, f"held {one.id}")
        if data is None or not edits:
            became = "rejected"
        else:
            edited = wire.encode_answer(text_answer(edits[-1], wire.decode_answer(data)))
            values["sealed"] = turn.bench.sealer.seal(edited, f"held {one.id}")
    turn.connection.execute(table.update().where(table.c.id == one.id).values(**values, state=became))
    if one.admit is None or became not in ("approved", "edited"):
        return False
    # What was cut, or is no JSON, is not kept as it is, whoever approves it; a person's own text is complete.
    return became == "edited" or not one.admit.get("only_edited", False)


def text_answer(text: str, of: Answer | None = None) -> Answer:
    """A plain text as an answer, with the model and the usage of the one whose place it takes."""
    model = next((event.model for event in of.events if isinstance(event, Start)), "") if of is not None else ""
    usage = [event for event in of.events if isinstance(event, Usage)] if of is not None else []
    events: tuple[Event, ...] = (
        Start(model),
        BlockStart(0, "text"),
        Delta(0, text),
        BlockStop(0),
        Finish("stop"),
        usage[-1] if usage else Usage(),
    )
    # Of no wire: none has said why it ended in words of its own, and each tells it in its own.
    return Answer(wire="", events=events)


def described(answer: Answer) -> str:
    """An answer as a reviewer reads it: its text, and the tool calls that it would have made."""
    parts = [wire.text_of(answer)]
    names: dict[int, str] = {}
    arguments: dict[int, list[str]] = {}
    for event in answer.events:
        if isinstance(event, BlockStart) and event.kind == "tool_use":
            names[event.index], arguments[event.index] = event.name, []
        elif isinstance(event, Delta) and event.index in arguments:
            arguments[event.index].append(event.text)
    parts += [f"[calls the tool {name} with {''.join(arguments[index])}]" for index, name in names.items()]
    return "\n".join(part for part in parts if part)
