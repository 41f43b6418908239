"""What an intent's budget for one request means for this one: a shorter answer, or a refusal."""

import msgspec

from ostinato import wire
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import Turn


def cap(turn: Turn, rooms: Rooms) -> None:
    """Cut ``max_tokens`` to what the input leaves of the budget, and say so in a header.

    Raises ``savings.OverBudget`` where the input alone is too long. What is cut is part of the fingerprint.
    """
    request, caller = turn.request, turn.caller
    if rooms.budgets is None or not turn.intent or request is None or caller is None:
        return
    intent = rooms.intents.value.of(caller.project, turn.intent)
    if intent is None or intent.declared.budgets.tokens_per_request is None:
        return
    left = rooms.budgets.output_left(caller.project, intent, wire.count_input(request), request.max_tokens, turn.at)
    if left is not None:
        turn.request = msgspec.structs.replace(request, max_tokens=left)
        turn.capped = left
