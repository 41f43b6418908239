"""Intents whose breaker is open: their declared safe behaviour in the place of an answer, in every wire.

Asked once the intent is known, and before the cache is: nothing that was kept for a tripped intent is served unless it
says ``serve_cache``. The raw-body short cut need not know: each change of a breaker moves the epoch, and what is
answered meanwhile is not indexed. In half-open state a share of the requests goes the ordinary way as a trial, always
to the model; what becomes of it is reported where its row is written.
"""

from blake3 import blake3

from ostinato import wire
from ostinato.breakers import Trip
from ostinato.core import ids
from ostinato.core.errors import Invalid, NotFound, Unavailable
from ostinato.gateway import controls, prompting, recording
from ostinato.gateway.replies import JSON_TYPE, SSE_TYPE, Header, Reply
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import CHAT_WIRES, Turn
from ostinato.reviews import text_answer
from ostinato.wire import openai_responses
from ostinato.wire.model import Identity

_DAY = 86_400_000_000
_SOONEST = 60.0
"""Seconds until it is worth asking again where only a person closes it."""


class Tripped(Unavailable):
    """The intent's breaker is open, and it declares no answer for that."""

    default_code = "intent_tripped"


def heed(turn: Turn, rooms: Rooms) -> None:
    """See whether the intent is tripped, and whether this request is one of the trials that may close it again."""
    trips, caller = rooms.trips, turn.caller
    if trips is None or caller is None or not turn.intent:
        return
    trip = trips.value.tripped(caller.project, turn.intent)
    if trip is None:
        return
    turn.raw_key = b""  # the short cut would repeat it without asking again
    if trip.state == "half-open" and _drawn(turn, trip):
        turn.proving = trip
    else:
        turn.trip = trip


def standing(rooms: Rooms, project: str, intent: str) -> Trip | None:
    """The trip of an intent whose breaker is open, trials or not."""
    return None if rooms.trips is None or not intent else rooms.trips.value.tripped(project, intent)


def bar(turn: Turn) -> None:
    """Keep a tripped intent's request from the cache, once it is addressed; and out of the hold-out."""
    if turn.trip is None and turn.proving is None:
        return
    turn.trial = ""
    if turn.proving is not None:
        turn.bypass = "trial"
    elif turn.trip is not None and not turn.trip.safety.serve_cache:
        turn.bypass = "tripped"


def safe(turn: Turn, rooms: Rooms) -> Reply | None:
    """What a tripped intent answers instead; ``None`` where a model is asked: the ordinary one where nothing is
    tripped, else the stricter one, which is set on the turn. Raises :class:`Tripped`."""
    trip = turn.trip
    if trip is None:
        return None
    declared = trip.safety
    turn.bypass = "tripped"
    if declared.on_trip == "target" and _reroute(turn, rooms, declared.alias):
        return None
    if declared.on_trip != "refuse" and declared.text:
        recording.record(turn, rooms, cache="bypass", reason="tripped")
        return _told(turn, declared.text)
    raise refusal(turn, trip)


def instead(turn: Turn, rooms: Rooms) -> Reply | None:
    """The text of a tripped intent whose stricter model has failed, too; ``None`` where there is none."""
    trip = turn.trip
    if trip is None or trip.safety.on_trip != "target" or not trip.safety.text:
        return None
    if turn.recorded:
        # The failed call keeps its row; this answer gets one of its own.
        turn.request_id, turn.recorded = ids.new(rooms.clock.now()), False
    recording.record(turn, rooms, cache="bypass", reason="tripped")
    return _told(turn, trip.safety.text)


def must_answer(turn: Turn) -> None:
    """Refuse vectors of a tripped intent: no text stands in for them, and those of another model cannot be compared
    with them. Where it says ``serve_cache``, those that are kept are given, and no model is asked."""
    trip = turn.trip
    if trip is None:
        return
    if not trip.safety.serve_cache or turn.directives is None or turn.bypass or turn.directives.no_cache:
        raise refusal(turn, trip)


def refusal(turn: Turn, trip: Trip) -> Tripped:
    """What the caller is told where nothing else is declared, or nothing is to be had."""
    return Tripped(
        f"The intent {turn.intent!r} does not answer now: its breaker is open ({trip.code}).",
        hint="Try again later. Whoever keeps the intent can say what is answered meanwhile: `safety`.",
        retry_after=max(_SOONEST if trip.held else 1.0, (_until(trip, turn.at) - turn.at) / 1e6),
    )


def _until(trip: Trip, now: int) -> int:
    """Until when nothing changes by itself: a budget of a day that is used up stays so until the (UTC) day is over."""
    return max(trip.cool_until, now - now % _DAY + _DAY) if trip.cause == "budget" else trip.cool_until


def _drawn(turn: Turn, trip: Trip) -> bool:
    """Whether this request is a trial: whole conversations are, or none of their requests."""
    seed = b"%b\x00%b" % (trip.id.encode(), (turn.session or turn.request_id).encode())
    return int.from_bytes(blake3(seed).digest(length=4), "big") < trip.safety.trial_share * 2**32


def _reroute(turn: Turn, rooms: Rooms, alias: str) -> bool:
    """Have the stricter model asked, whichever models the key may name: whoever keeps the intent has chosen it."""
    caller = turn.caller
    assert caller is not None
    try:
        route = rooms.catalog.value.route(caller.project, alias, "chat", None)
    except (NotFound, Invalid):
        return False
    turn.alias, turn.route = alias, route
    turn.targets = rooms.router.draw(route, turn.session.encode() or turn.fingerprint)
    return True


def _told(turn: Turn, text: str) -> Reply:
    """A text as an answer, in the caller's wire, streamed or not."""
    request = turn.request
    assert request is not None
    identity = Identity(
        id=turn.request_id,
        created=turn.at // 1_000_000,
        model=turn.model,
        echo=openai_responses.echo(request) if turn.operation == "openai.responses" else None,
    )
    codec, answer = wire.codec(CHAT_WIRES[turn.operation]), text_answer(text)
    if request.stream:
        writer = codec.stream_writer(identity, include_usage=request.include_usage)
        kind, data = SSE_TYPE, writer.write(list(answer.events)) + writer.end()
    else:
        kind, data = JSON_TYPE, codec.write_answer(answer, identity)
    headers: list[Header] = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(data)),
        (b"cache-control", b"no-store"),
        (b"ostinato-cache", b"bypass; reason=tripped"),
        *controls.echoed(turn.controls, turn.request_id),
        *recording.rate_headers(turn),
        *prompting.headers(turn),
        *recording.money_headers(0, 0),
    ]
    return Reply(200, headers, data)
