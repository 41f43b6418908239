"""What a model's name stands for, whether the caller's key may use it, for which intent, and under which policy."""

from typing import Literal

from ostinato.core.errors import Denied, Invalid
from ostinato.gateway import prompting
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import Turn
from ostinato.routing.model import Route


def resolve(turn: Turn, rooms: Rooms, kind: Literal["chat", "embedding"] = "chat") -> Route:
    """The route of what is to be called; sets it, the intent and the policy on the turn.

    The intent is the prompt's, else the one that a header names, else what alias and tags say. Raises ``NotFound``,
    ``Denied``, and ``Invalid`` (wrong kind; prompt and header disagree on the intent).
    """
    caller = turn.caller
    assert caller is not None
    alias = turn.alias or turn.model
    if kind == "embedding" and alias.startswith(prompting.MARK):
        raise Invalid("Prompts are for chat; an embedding is of texts.", param="model", hint="Name a model alias.")
    route = rooms.catalog.value.route(caller.project, alias, kind, caller.allowed_models)
    if caller.allowed_models is not None and route.alias not in caller.allowed_models:
        raise Denied(
            f"This key may not use the model {route.alias!r}.",
            code="model_not_allowed",
            hint=f"It may use: {', '.join(sorted(caller.allowed_models))}.",
        )
    turn.route = route
    policy = rooms.policies.value.for_(caller.project, route.alias)
    intents = rooms.intents.value
    if turn.intent or turn.prompt is not None or intents.all:
        prompt = None if turn.prompt is None else turn.prompt.intent
        found = intents.for_request(
            caller.project, turn.intent, prompt, route.alias, turn.tags, allowed=caller.allowed_intents
        )
        turn.intent = "" if found is None else found.key
        if found is not None and found.declared.review.hold:
            turn.hold = found.declared.review
        policy = intents.policy(caller.project, turn.intent, policy)
    turn.policy = policy
    return route
