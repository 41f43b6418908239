"""What is asked beside answers and vectors: token counts, and the list of models."""

import msgspec

from ostinato import wire
from ostinato.core.errors import NotFound, OstinatoError
from ostinato.gateway import body, controls, recording
from ostinato.gateway.replies import JSON_TYPE, Header, Reply
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import Turn
from ostinato.wire.model import Json

_encode = msgspec.json.Encoder().encode
_MODELS = "/v1/models"


async def count_tokens(turn: Turn, rooms: Rooms, data: bytes) -> Reply:
    """Anthropic's ``count_tokens``: what the provider counts, else our estimate, said to be one in a header."""
    caller = turn.caller
    assert caller is not None
    request = wire.codec("anthropic.messages").read_request({"max_tokens": 1, **body.read(data, turn.controls)})
    turn.model = request.model
    turn.route = rooms.catalog.value.route(caller.project, request.model, "chat", caller.allowed_models)
    turn.targets = rooms.router.draw(turn.route, None)
    deadline = rooms.clock.monotonic() + rooms.settings.deadline_seconds
    estimated = False
    try:
        counted = await rooms.router.count_tokens(turn.targets, request, deadline, controls.forwarded(turn.controls))
        tokens, target = counted.tokens, counted.target.name
    except OstinatoError:
        tokens, target, estimated = wire.count_input(request), turn.targets[0].name, True
    headers: list[Header] = [(b"ostinato-target", target.encode())]
    if estimated:
        headers.append((b"ostinato-estimated", b"true"))
    recording.record(turn, rooms, cache="bypass", reason="count-tokens", target=target)
    return json_reply(turn, {"input_tokens": tokens}, headers)


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
    if wanted:
        if wanted not in names:
            raise NotFound(
                f"The model {wanted[:80]!r} does not exist.",
                code="model_not_found",
                hint=f"Available: {', '.join(names)}." if names else "No model is available to this key.",
            )
        return json_reply(turn, _model(wanted), [])
    listed = [_model(name) for name in names]
    return json_reply(
        turn,
        {
            "object": "list",
            "data": listed,
            "has_more": False,
            "first_id": names[0] if names else None,
            "last_id": names[-1] if names else None,
        },
        [],
    )


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


def json_reply(turn: Turn, value: object, extra: list[Header]) -> Reply:
    data = _encode(value)
    headers: list[Header] = [
        (b"content-type", JSON_TYPE),
        (b"content-length", b"%d" % len(data)),
        (b"x-request-id", turn.controls.client_request_id or turn.request_id.encode()),
        *recording.rate_headers(turn),
        *extra,
    ]
    return Reply(200, headers, data)
