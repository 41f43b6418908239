"""Where a request meets the hold-out: once before its prompt is rendered, once before the cache is asked.

Whoever is drawn is left out of the index by raw body, whatever is then decided: so the short cut, which asks nobody,
never serves them, and every decision is the same with it and without it.
"""

import msgspec

from ostinato.cache import fingerprint
from ostinato.cache.directives import Directives
from ostinato.core.errors import OstinatoError
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
    if asked.no_cache or asked.only_if_cached:
        return
    rate = turn.rate
    if lottery.rests(caller, rate.limit if rate else 0, rate.remaining if rate else 0, turn.at):
        return
    turn.trial = HELD if held else TREATED
    if held:
        turn.bypass = HOLDOUT


def hit(turn: Turn, rooms: Rooms) -> None:
    """Write down a hit that is on neither side though its row does not show it: its calls are left out as well."""
    asked, lottery = turn.directives, rooms.lottery
    if lottery is None or not lottery.holds_out or asked is None:
        return
    if asked.only_if_cached or turn.trip is not None:
        lottery.leave_out(turn.request_id)


def stand_in(turn: Turn, rooms: Rooms) -> None:
    """Write down a hit that answers a request whose failed call has a row of its own: one request, and no error."""
    if rooms.lottery is not None and turn.trial:
        rooms.lottery.stand_in(turn.request_id)


def before(turn: Turn, rooms: Rooms, found: Resolved, request: ChatRequest) -> Resolved:
    """The version that answers: the release before, where this session is drawn for it and its intent allows it."""
    lottery, caller = rooms.lottery, turn.caller
    if lottery is None or not lottery.has_baseline or not found.release or found.arm or caller is None:
        return found
    if not lottery.baseline(caller.project, turn.session.encode() or fingerprint.fingerprint(request)):
        return found
    turn.raw_key = b""  # first: which release was before is known a moment later than which one is in force
    last = rooms.baselines().get(found.release)
    if last is None:
        return found
    earlier = rooms.prompts.value.stable(caller.project, f"{found.prompt}@{last.number}")
    rate = turn.rate
    if not (_allowed(turn, rooms, found) and _allowed(turn, rooms, earlier)) or lottery.rests(
        caller, rate.limit if rate else 0, rate.remaining if rate else 0, turn.at
    ):
        return found
    return msgspec.structs.replace(
        earlier, release=last.release, arm=BASELINE, label=found.label, generation=last.release
    )


def _allowed(turn: Turn, rooms: Rooms, version: Resolved) -> bool:
    """Whether the intent that a version would be asked under allows it: the prompt's, the header's, or its alias's."""
    caller = turn.caller
    assert caller is not None
    alias = version.compiled.content.params.get("model") or ""
    try:
        intent = rooms.intents.value.for_request(caller.project, turn.intent, version.intent, str(alias), turn.tags)
    except OstinatoError:
        return False  # whoever asked is told so in a moment
    if intent is None:
        return rooms.intents.value.requirements(caller.project, "").baseline_holdout
    return intent.requirements.baseline_holdout
