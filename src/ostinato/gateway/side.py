"""What is asked beside answers and vectors: token counts, the list of models, and what became of answers."""

import asyncio

import msgspec

from ostinato import routing, wire
from ostinato.core.errors import NotFound, OstinatoError
from ostinato.gateway import addressing, body, controls, inspecting, prompting, recording, resolving
from ostinato.gateway.replies import JSON_TYPE, Header, Reply
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import Turn
from ostinato.providers.model import ProviderFailure
from ostinato.wire.model import ChatRequest, Json

_encode = msgspec.json.Encoder().encode
_MODELS = "/v1/models"


async def count_tokens(turn: Turn, rooms: Rooms, data: bytes) -> Reply:
    """Anthropic's ``count_tokens``: what the provider counts, else our estimate, said to be one in a header.

    The prompt passes the same checks as a message would: it is sent to the same provider. Where that refuses the
    request itself, the caller is told so: it would refuse the message, too.
    """
    caller = turn.caller
    assert caller is not None
    turn.request = wire.codec("anthropic.messages").read_request({"max_tokens": 1, **body.read(data, turn.controls)})
    turn.model = turn.request.model
    addressing.name_parties(turn, turn.request.user, rooms.secret)
    prompting.render(turn, rooms)
    route = resolving.resolve(turn, rooms, "chat")
    inspecting.inspect(turn, rooms)
    turn.targets = rooms.router.draw(route, turn.session.encode() or None)
    rooms.access.enter(caller)
    try:
        return await _counted(turn, rooms, turn.request)
    except asyncio.CancelledError as error:
        attempts = routing.attempts_of(error)
        recording.record(
            turn,
            rooms,
            cache="bypass",
            reason="count-tokens",
            target=attempts[-1].target if attempts else "",
            attempts=attempts,
            status=recording.CALLER_LEFT,
            error="caller_left",
        )
        raise
    finally:
        rooms.access.leave(caller)


async def _counted(turn: Turn, rooms: Rooms, request: ChatRequest) -> Reply:
    deadline = rooms.clock.monotonic() + rooms.settings.deadline_seconds
    estimated: list[Header] = []
    upstream_us = 0
    try:
        counted = await rooms.router.count_tokens(turn.targets, request, deadline, controls.forwarded(turn.controls))
        tokens, target, attempts = counted.tokens, counted.target.name, counted.attempts
        upstream_us = counted.upstream_us
    except OstinatoError as error:
        if isinstance(error, ProviderFailure) and error.failure == "request":
            raise
        tokens, target, attempts = wire.count_input(request), turn.targets[0].name, routing.attempts_of(error)
        estimated = [(b"ostinato-estimated", b"true")]
    recording.record(
        turn,
        rooms,
        cache="bypass",
        reason="count-tokens",
        target=target,
        attempts=attempts,
        upstream_us=upstream_us,
    )
    return json_reply(turn, {"input_tokens": tokens}, [(b"ostinato-target", target.encode()), *estimated])


def models(turn: Turn, rooms: Rooms, path: str) -> Reply:
    """The aliases that this key may name, in a form that OpenAI's and Anthropic's clients both read."""
    caller = turn.caller
    assert caller is not None
    names = [
        name
        for name in rooms.catalog.value.aliases(caller.project)
        if caller.allowed_models is None or name in caller.allowed_models
    ]
    wanted = path[len(_MODELS) + 1 :]
    listed: object
    if wanted:
        if wanted not in names:
            raise NotFound(
                f"The model {wanted[:80]!r} does not exist.",
                code="model_not_found",
                hint=f"Available: {', '.join(names)}." if names else "No model is available to this key.",
            )
        listed = _model(wanted)
    else:
        listed = {
            "object": "list",
            "data": [_model(name) for name in names],
            "has_more": False,
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
        }
    recording.record(turn, rooms, cache="bypass", reason="models")
    return json_reply(turn, listed, [])


async def feedback(turn: Turn, rooms: Rooms, data: bytes) -> Reply:
    """What an end user thought of an answer. Takes ``feedback:write``, and no right to call models."""
    turn.caller = caller = rooms.access.authenticate(turn.controls.token.decode("latin-1"), turn.at)
    turn.rate = rooms.access.admit(caller, turn.at)
    turn.auth_us = recording.since(turn, rooms)
    if rooms.feedback is None:
        raise NotFound("This server takes no feedback.", code="no_feedback")
    told = await rooms.feedback.take(caller, body.read(data, turn.controls))
    recording.record(turn, rooms, cache="bypass", reason="feedback", status=202)
    return json_reply(turn, told, [], 202)


def _model(name: str) -> Json:
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "ostinato",
        "type": "model",
        "display_name": name,
        "created_at": "1970-01-01T00:00:00Z",
    }


def json_reply(turn: Turn, value: object, extra: list[Header], status: int = 200) -> Reply:
    data = _encode(value)
    headers: list[Header] = [
        (b"content-type", JSON_TYPE),
        (b"content-length", b"%d" % len(data)),
        *controls.echoed(turn.controls, turn.request_id),
        *recording.rate_headers(turn),
        *extra,
    ]
    return Reply(status, headers, data)
