"""Answers that wait until somebody has looked at them, for intents that say so.

The model is asked as always, never streamed; then the answer is kept in ``reviews`` and nowhere else. The caller gets
202 with the place to ask again, or the intent's fallback text; equal requests meanwhile wait for the same answer. An
approved one is handed out by ``GET /v1/held/ID`` and, where the policy would have kept it, goes into the cache.
"""

import msgspec

from ostinato import wire
from ostinato.access import principal_of
from ostinato.cache.model import EntryMeta
from ostinato.core.errors import Conflict, Invalid, LimitReached, NotFound, OstinatoError, Unavailable
from ostinato.gateway import controls, prompting, recording, tripping
from ostinato.gateway.replies import JSON_TYPE, SSE_TYPE, Header, Reply
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import CHAT_WIRES, Turn
from ostinato.reviews import Held, NewHeld, text_answer
from ostinato.wire import openai_responses
from ostinato.wire.model import Answer, Identity, Json

PATH = "/v1/held/"
VERIFIED: Header = (b"ostinato-review", b"verified")
"""On hits of such an intent: only what somebody approved is in the cache."""
NOTHING = text_answer("")
"""In the place of an answer that another process holds."""

_POLL = b"5"
"""Seconds after which to ask again."""
_encode = msgspec.json.Encoder().encode


class Withheld(OstinatoError):
    """A person said no, or nobody spoke in time."""

    status = 410
    default_code = "held_rejected"


async def hold(turn: Turn, rooms: Rooms, answer: Answer, meta: EntryMeta | None, *, only_edited: bool = False) -> Held:
    """Keep an answer from its caller. ``meta``: as the cache may keep it once it is approved, or ``only_edited``;
    ``None``: it may not."""
    rule, caller, request, prompt = turn.hold, turn.caller, turn.request, turn.prompt
    assert rule is not None and caller is not None and request is not None
    admit: Json | None = None
    if meta is not None:
        admit = {"meta": msgspec.to_builtins(meta), "scope": turn.scope_digest.hex(), "only_edited": only_edited}
    wanted = NewHeld(
        org=caller.org,
        project=caller.project,
        principal=principal_of(caller),
        private=bool(turn.user),
        request_id=turn.request_id,
        intent=turn.intent,
        wire=turn.operation,
        model=turn.model,
        echo=openai_responses.echo(request) if turn.operation == "openai.responses" else None,
        key=_shared_key(turn),
        answer=answer,
        input_text=wire.input_text(request),
        inputs=turn.variables or {},
        queue=rule.hold_queue,
        fallback=rule.hold_fallback,
        default=rule.hold_default,
        seconds=rule.hold_seconds,
        subject=turn.user_digest,
        prompt="" if prompt is None else prompt.prompt,
        prompt_version=0 if prompt is None else prompt.number,
        admit=admit,
        format=request.response_format,
    )
    try:
        return await rooms.reviews.hold(wanted)
    except (Invalid, Conflict, LimitReached) as error:
        raise _cannot(error) from None


def _cannot(error: OstinatoError) -> Unavailable:
    """Not the caller's mistake: the queue that the intent names cannot take it."""
    return Unavailable(
        "This answer must be looked at first, and the review queue does not take it.",
        code="cannot_hold",
        hint=f"{error.message} The intent names its queue as review.hold_queue.",
    )


async def must_have_room(turn: Turn, rooms: Rooms) -> None:
    """Raise ``Unavailable`` where the answer could not be held: before a model is asked and paid."""
    caller, rule = turn.caller, turn.hold
    assert caller is not None and rule is not None
    try:
        await rooms.reviews.must_have_room(caller.project, rule.hold_queue)
    except (Conflict, LimitReached) as error:
        raise _cannot(error) from None


async def waiting(turn: Turn, rooms: Rooms) -> Held | None:
    """The held answer of an equal request, where one waits."""
    caller, key = turn.caller, _shared_key(turn)
    if turn.hold is None or caller is None or not key:
        return None
    return await rooms.reviews.waiting(caller.project, key)


def _shared_key(turn: Turn) -> str:
    """By what equal requests are one; empty where the cache takes no part, or the caller wants a new answer."""
    asked = turn.directives
    alone = turn.bypass or turn.no_store or asked is None or asked.no_cache
    return "" if alone else turn.key.hex()


def joined(turn: Turn, rooms: Rooms, held: Held) -> Reply:
    """The reply to a request whose answer waits already: nobody is asked again."""
    recording.record(turn, rooms, cache="bypass", reason="held", status=200 if held.fallback else 202)
    return reply(turn, rooms, held)


def reply(turn: Turn, rooms: Rooms, held: Held) -> Reply:
    """What a caller gets while the answer waits: the fallback text in their wire, or where to ask for the answer."""
    request = turn.request
    assert request is not None
    if not held.fallback:
        told = {
            "id": held.id,
            "object": "held",
            "status": "pending",
            "poll": PATH + held.id,
            "deadline": held.deadline_at // 1_000_000,
        }
        more: list[Header] = [(b"location", (PATH + held.id).encode()), (b"retry-after", _POLL)]
        return _reply(turn, held, 202, JSON_TYPE, _encode(told), more)
    identity = Identity(
        id=turn.request_id,
        created=turn.at // 1_000_000,
        model=turn.model,
        echo=openai_responses.echo(request) if turn.operation == "openai.responses" else None,
    )
    codec, answer = wire.codec(CHAT_WIRES[turn.operation]), text_answer(held.fallback)
    if not request.stream:
        return _reply(turn, held, 200, JSON_TYPE, codec.write_answer(answer, identity), [])
    writer = codec.stream_writer(identity, include_usage=request.include_usage)
    return _reply(turn, held, 200, SSE_TYPE, writer.write(list(answer.events)) + writer.end(), [])


def _reply(turn: Turn, held: Held, status: int, kind: bytes, data: bytes, more: list[Header]) -> Reply:
    headers: list[Header] = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(data)),
        (b"cache-control", b"no-store"),
        (b"ostinato-cache", b"bypass; reason=held"),
        (b"ostinato-held", held.id.encode()),
        *controls.echoed(turn.controls, turn.request_id),
        *recording.rate_headers(turn),
        *prompting.headers(turn),
        *more,
    ]
    return Reply(status, headers, data)


async def fetch(turn: Turn, rooms: Rooms, path: str) -> Reply:
    """``GET /v1/held/ID``: 202 while it waits, 200 with the answer in the wire that was asked, 410 where there is none.

    It is there for keys of the project that asked; where a named end user had asked, for the same principal only.
    """
    caller = turn.caller
    assert caller is not None
    held, answer = await rooms.reviews.held(path[len(PATH) :])
    if held.project != caller.project or (held.private and held.principal != principal_of(caller)):
        raise NotFound(f"There is no held answer {held.id!r}.", code="held_not_found")
    turn.intent, turn.model = held.intent, held.model
    state = held.standing(rooms.clock.now())
    if state == "pending":
        recording.record(turn, rooms, cache="bypass", reason="held", status=202)
        told = {
            "id": held.id,
            "object": "held",
            "status": state,
            "poll": path,
            "deadline": held.deadline_at // 1_000_000,
        }
        return _reply(turn, held, 202, JSON_TYPE, _encode(told), [(b"retry-after", _POLL)])
    if state == "unreviewed":
        # Nobody has looked at it, and the intent does not answer now.
        turn.trip = tripping.standing(rooms, held.project, held.intent)
        if turn.trip is not None and not turn.trip.safety.serve_cache:
            raise tripping.refusal(turn, turn.trip)
    codec = wire.codec(CHAT_WIRES[held.wire])
    if state in ("rejected", "expired"):
        recording.record(turn, rooms, cache="bypass", reason="held", status=Withheld.status, error=f"held_{state}")
        why = "somebody looked at it and said no" if state == "rejected" else "nobody looked at it in time"
        error = Withheld(f"This answer is not given: {why}.", code=f"held_{state}")
        told = {**msgspec.json.decode(codec.write_error(error), type=Json), "id": held.id, "status": state}
        if state == "rejected" or held.default == "fallback":
            told["fallback"] = held.fallback
        return _reply(turn, held, Withheld.status, JSON_TYPE, _encode(told), [])
    if answer is None:
        raise Unavailable("The text of this answer is not kept any more.", code="held_erased")
    recording.record(turn, rooms, cache="bypass", reason="held")
    identity = Identity(id=held.request_id, created=held.created_at // 1_000_000, model=held.model, echo=held.echo)
    # By its default it was released without anybody's word: the caller is told which it is.
    word = VERIFIED if state != "unreviewed" else (b"ostinato-review", b"unreviewed")
    return _reply(turn, held, 200, JSON_TYPE, codec.write_answer(answer, identity), [word])
