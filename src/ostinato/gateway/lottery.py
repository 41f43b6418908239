"""Where a request meets the hold-out: once before its prompt is rendered, once before the cache is asked.

Whoever is drawn is left out of the index by raw body, whatever is then decided: so the short cut, which asks nobody,
never serves them, and every decision is the same with it and without it.
"""

import msgspec

from ostinato.cache import fingerprint
from ostinato.cache.directives import Directives
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import Turn
from ostinato.prompts import Resolved
from ostinato.wire.model import ChatRequest

HELD, TREATED = "held", "treated"
HOLDOUT = "holdout"
"""Why the cache is not asked."""
BASELINE = "baseline"


def draw(turn: Turn, rooms: Rooms, asked: Directives) -> None:
    """Set ``trial``, and ``bypass`` where this session is answered without the cache.

    Only what the cache would take part in is drawn, so that both sides are made of the same requests.
    """
    lottery = rooms.lottery
    caller = turn.caller
    if lottery is None or not lottery.holds_out or turn.bypass or turn.hold is not None or caller is None:
        return
    if turn.intent:
        intent = rooms.intents.value.of(caller.project, turn.intent)
        if intent is not None and intent.declared.cache.holdout is False:
            return
    held = lottery.held(caller.project, turn.session.encode() or turn.fingerprint)
    if held:
        turn.raw_key = b""
    if asked.no_cache:
        return
    if asked.only_if_cached:
        lottery.leave_out(turn.request_id, turn.at)
        return
    rate = turn.rate
    if lottery.rests(caller, rate.limit if rate else 0, rate.remaining if rate else 0, turn.at):
        return
    turn.trial = HELD if held else TREATED
    if held:
        turn.bypass = HOLDOUT


def before(turn: Turn, rooms: Rooms, found: Resolved, request: ChatRequest) -> Resolved:
    """The version that answers: the release before, where this session is drawn for it and its intent allows it."""
    lottery, caller = rooms.lottery, turn.caller
    if lottery is None or not lottery.has_baseline or not found.release or found.arm or caller is None:
        return found
    last = rooms.baselines().get(found.release)
    if last is None or not lottery.baseline(caller.project, turn.session.encode() or fingerprint.fingerprint(request)):
        return found
    turn.raw_key = b""
    intents = rooms.intents.value
    if found.intent and intents.of(caller.project, found.intent) is None:
        return found
    rate = turn.rate
    if not intents.requirements(caller.project, found.intent).baseline_holdout or lottery.rests(
        caller, rate.limit if rate else 0, rate.remaining if rate else 0, turn.at
    ):
        return found
    earlier = rooms.prompts.value.stable(caller.project, f"{found.prompt}@{last.number}")
    return msgspec.structs.replace(
        earlier, release=last.release, arm=BASELINE, label=found.label, generation=last.release
    )
