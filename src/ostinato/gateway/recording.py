"""From a finished turn to its row in the ledger, its counters and its headers."""

from ostinato import routing, wire
from ostinato.breakers import Trip
from ostinato.cache import fingerprint
from ostinato.core import money
from ostinato.core.errors import Denied, OstinatoError
from ostinato.gateway.replies import Header
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import Turn
from ostinato.providers.model import ProviderFailure
from ostinato.traces import AttemptRow, CallRow
from ostinato.traces.rollup import REFRESH
from ostinato.wire.model import Answer, Json, Usage

CALLER_LEFT = 499
"""The status that is written down for a request whose caller did not wait for the answer."""
_NAME = 120
"""Characters of the name that a provider gives to what answered."""


def elapsed(turn: Turn, now: float) -> int:
    """Microseconds from the turn's beginning to ``now`` (monotonic seconds)."""
    return int((now - turn.started) * 1e6)


def since(turn: Turn, rooms: Rooms) -> int:
    """Microseconds since the turn began."""
    return elapsed(turn, rooms.clock.monotonic())


def record(
    turn: Turn,
    rooms: Rooms,
    *,
    cache: str,
    reason: str = "",
    target: str = "",
    attempts: tuple[AttemptRow, ...] = (),
    stored: bool = False,
    usage: Usage | None = None,
    cost: int | None = None,
    saved: int = 0,
    status: int = 200,
    error: str = "",
    finish: str = "",
    system_fingerprint: str = "",
    answered_by: str = "",
    upstream_us: int = 0,
    first_token_us: int = 0,
    answer: Answer | None = None,
) -> None:
    """Write one wide row for a turn that was not a plain hit, and count it; once. Never fails, never waits."""
    if turn.recorded:
        return
    caller = turn.caller
    provider, _, model = target.partition("/")
    total_us = since(turn, rooms)
    controls, route, prompt = turn.controls, turn.route, turn.prompt
    if turn.background:
        # The hit that it was fetched behind is told to have saved a call: this is that call.
        reason, saved = REFRESH, -(cost or 0)
    # The recorder redacts texts, in its own thread.
    keeps_text = caller is not None and caller.store_text and turn.request is not None
    row = CallRow(
        request_id=turn.request_id,
        at=turn.at,
        client_request_id=controls.client_request_id.decode("latin-1") if controls.client_request_id else "",
        org=caller.org if caller else "",
        project=caller.project if caller else "",
        key_id=caller.key_id if caller else "",
        wire=turn.operation,
        stream=turn.stream,
        alias=route.alias if route else "",
        provider=provider,
        model=model,
        target=target,
        attempts=attempts,
        cache=cache,
        reason=reason,
        stored=stored,
        generation=turn.generation,
        fingerprint=turn.fingerprint[:16].hex(),
        # What was not kept can be accounted for as well: held out, too warm, cut short, or not to be stored.
        input_digest=turn.input_digest or (fingerprint.input_digest(turn.said, rooms.secret) if turn.said else ""),
        user_digest=turn.user_digest,
        session=turn.session,
        tags=",".join(turn.tags) if turn.tags else "",
        intent=turn.intent,
        prompt=prompt.prompt if prompt else "",
        prompt_version=prompt.number if prompt else 0,
        release=prompt.release if prompt else "",
        arm=prompt.arm if prompt else "",
        trial=turn.trial,
        family=turn.family,
        usage=usage,
        cost=cost,
        counterfactual=None if cost is None else cost + saved,
        saved=saved,
        status=status,
        error=error,
        finish=finish,
        auth_us=turn.auth_us,
        lookup_us=turn.lookup_us,
        upstream_us=upstream_us,
        first_token_us=first_token_us,
        total_us=total_us,
        system_fingerprint=system_fingerprint,
        answered_by=answered_by[:_NAME],
        input_text=wire.input_text(turn.request) if keeps_text and turn.request else None,
        output_text=wire.text_of(answer) if keeps_text and answer else None,
        extra=_extra(turn, keeps_text=keeps_text),
    )
    turn.recorded = True
    rooms.recorder.call(row)
    if turn.proving is not None and rooms.trials is not None:
        rooms.trials.report(turn.proving, row.request_id, turn.at, _went_well(turn.proving, status, error))


def _went_well(trip: Trip, status: int, error: str) -> bool | None:
    """What a trial shows of a tripped intent; ``None``: nothing, as a mistake of the caller's does."""
    if not error:
        return True
    if error == "content_blocked":
        return False if trip.cause == "policy" else None
    return False if status >= 500 and status != CALLER_LEFT else None


def _extra(turn: Turn, *, keeps_text: bool) -> Json | None:
    """What has no column of its own. Variables are texts of the caller's, as much as the prompt that they went into."""
    found: Json = {}
    if turn.controls.traceparent:
        found["traceparent"] = turn.controls.traceparent.decode()
    if turn.update:
        found["update"] = turn.update
    if keeps_text and turn.variables:
        found["variables"] = turn.variables
    return found or None


def record_refusal(turn: Turn, rooms: Rooms, error: OstinatoError) -> None:
    """Write down a turn that ended before a provider was asked."""
    attempts = routing.attempts_of(error)
    record(
        turn,
        rooms,
        cache="bypass",
        reason=turn.bypass or "refused",
        status=status_of(error),
        error=error.code,
        attempts=attempts,
        target=attempts[-1].target if attempts else "",
    )


def status_of(error: OstinatoError) -> int:
    """The HTTP status that the caller will see."""
    if isinstance(error, ProviderFailure):
        upstream = error.upstream_status
        if error.failure == "request" and upstream is not None:
            return upstream
        if error.failure == "rate":
            return 429
        if error.failure == "timeout":
            return 504
        if error.failure == "server" and upstream in (502, 503, 504, 529):
            return upstream
        return 502
    if isinstance(error, Denied) and not error.authenticated:
        return 401
    return error.status


def timing(turn: Turn, total_us: int, upstream_us: int = 0) -> Header:
    """``server-timing`` in milliseconds, as its specification says."""
    asked = b"upstream;dur=%d.%03d, " % divmod(upstream_us, 1000) if upstream_us else b""
    return b"server-timing", b"auth;dur=%d.%03d, lookup;dur=%d.%03d, %btotal;dur=%d.%03d" % (
        *divmod(turn.auth_us, 1000),
        *divmod(turn.lookup_us, 1000),
        asked,
        *divmod(total_us, 1000),
    )


OUR_RATE_HEADERS = frozenset(
    {"x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"}
)


def rate_headers(turn: Turn) -> list[Header]:
    """The caller's own rate, in OpenAI's names."""
    rate = turn.rate
    if rate is None:
        return []
    return [
        (b"x-ratelimit-limit-requests", b"%d" % rate.limit),
        (b"x-ratelimit-remaining-requests", b"%d" % rate.remaining),
        (b"x-ratelimit-reset-requests", b"%.3fs" % rate.reset_s),
    ]


def breaker_headers(turn: Turn) -> list[Header]:
    """``ostinato-breaker`` where the intent is tripped, or this is a trial of it."""
    trip = turn.trip or turn.proving
    return [] if trip is None else [(b"ostinato-breaker", trip.header(trial=turn.trip is None))]


def money_headers(cost: int | None, saved: int) -> list[Header]:
    """``ostinato-cost`` where the price is known, ``ostinato-saved`` always."""
    headers: list[Header] = [(b"ostinato-saved", money.to_dollars(saved).encode() if saved else b"0")]
    if cost is not None:
        headers.append((b"ostinato-cost", money.to_dollars(cost).encode()))
    return headers
