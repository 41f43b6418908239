"""What a model's name stands for, and whether the caller's key may use it."""

from typing import Literal

from ostinato.core.errors import Denied, NotFound
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import Turn
from ostinato.routing.model import Route


def resolve(turn: Turn, rooms: Rooms, kind: Literal["chat", "embedding"] = "chat") -> Route:
    """The route of ``turn.model``, also set on the turn. Raises ``NotFound``, ``Denied``, ``Invalid`` (wrong kind)."""
    caller = turn.caller
    assert caller is not None
    if turn.model.startswith("prompt:"):
        raise NotFound(
            f"There is no prompt {turn.model[7:87]!r}.",
            code="prompt_not_found",
            hint="No prompt is registered here; name a model alias and send messages.",
        )
    route = rooms.catalog.value.route(caller.project, turn.model, kind, caller.allowed_models)
    if caller.allowed_models is not None and route.alias not in caller.allowed_models:
        raise Denied(
            f"This key may not use the model {route.alias!r}.",
            code="model_not_allowed",
            hint=f"It may use: {', '.join(sorted(caller.allowed_models))}.",
        )
    turn.route = route
    return route
