"""One chat request, from the caller's bytes to the caller's bytes.

:meth:`Pipeline.chat` is the whole story; each step fills in the :class:`~ostinato.gateway.turn.Turn` and nothing below
calls back. No SQL and no network come before the cache's look-up: keys, routes, policies, checks and prices are
snapshots. A failing cache is a miss, a failing trace is a counter.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial

import msgspec

from ostinato import wire
from ostinato.cache import Flight, Flights, Seat, admission, directives
from ostinato.cache.memory import Entry
from ostinato.core import ids
from ostinato.core.errors import Denied, OstinatoError, Unavailable, UpstreamFailed
from ostinato.gateway import (
    addressing,
    asking,
    body,
    holding,
    inspecting,
    limiting,
    lottery,
    prompting,
    recording,
    resolving,
    sampling,
    tripping,
)
from ostinato.gateway.asking import Begun, Item, Outcome
from ostinato.gateway.controls import Controls
from ostinato.gateway.keepalive import Keepalive
from ostinato.gateway.repeat import KIND_MEMORY, KIND_SHARED, KIND_STALE, Repeater
from ostinato.gateway.replies import SSE_TYPE, Header, Reply, StreamReply
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import CHAT_WIRES, Turn
from ostinato.providers.model import ProviderFailure
from ostinato.wire import openai_responses
from ostinato.wire.model import Identity, Json

_log = logging.getLogger("ostinato.gateway")


class NotCached(OstinatoError):
    """``only-if-cached``, and it is not (RFC 9111, section 5.2.1.7)."""

    status = 504
    default_code = "not_cached"


def internal_error() -> Unavailable:
    """What a caller is told of a fault of ours."""
    return Unavailable("Ostinato failed on this request.", code="internal_error", hint="The server's log says why.")


class Place:
    """A caller's seat in a flight, and its slot among the requests of its key. Left once, whatever happens."""

    __slots__ = ("_free", "_keepalive", "_left", "_listening", "seat")

    def __init__(self, seat: Seat[Item, Outcome], free: Callable[[], None], keepalive: Keepalive) -> None:
        self.seat = seat
        self._free = free
        self._keepalive = keepalive
        self._listening = False
        self._left = False

    def listen(self) -> None:
        """Be kept alive while the provider is silent."""
        self._listening = True
        self._keepalive.watch(self.seat.flight)

    def leave(self) -> None:
        if self._left:
            return
        self._left = True
        if self._listening:
            self._keepalive.forget(self.seat.flight)
        self.seat.leave()
        self._free()


async def _begun(seat: Seat[Item, Outcome]) -> Begun:
    """Wait until an answer begins, or is there as a whole."""
    async for item in seat:
        if isinstance(item, Begun):
            return item
    outcome = await seat.outcome()
    return Begun(outcome.target, outcome.answer.wire, dict(outcome.headers))


class Pipeline:
    """Chat, in any wire, streamed or not."""

    def __init__(self, rooms: Rooms, repeater: Repeater, keepalive: Keepalive, flights: Flights[Item, Outcome]) -> None:
        self._rooms = rooms
        self._repeater = repeater
        self._keepalive = keepalive
        self._flights = flights
        self._refreshing = 0

    async def chat(self, turn: Turn, data: bytes) -> Reply | StreamReply:
        """Answer a chat request. Raises what the caller must be told; ``Gateway.refuse`` puts it into their wire."""
        self.authenticate(turn)
        self.read(turn, data)
        prompting.render(turn, self._rooms)
        resolving.resolve(turn, self._rooms)
        tripping.heed(turn, self._rooms)
        inspecting.inspect(turn, self._rooms)
        limiting.cap(turn, self._rooms)
        found = await self.look_up(turn)
        if found is not None:
            return self.repeat(turn, *found)
        safe = tripping.safe(turn, self._rooms)
        if safe is not None:
            return safe
        try:
            return await self.ask(turn)
        except (UpstreamFailed, Unavailable):
            instead = tripping.instead(turn, self._rooms)
            if instead is None:
                raise
            return instead

    def authenticate(self, turn: Turn) -> None:
        """Who calls, and whether they may now."""
        rooms = self._rooms
        caller = turn.caller
        if caller is None:
            turn.caller = caller = rooms.access.authenticate(turn.controls.token.decode("latin-1"), turn.at)
        if "chat:call" not in caller.permissions:
            raise Denied(
                "This key may not call models.", hint="It lacks the permission chat:call; use a key that has it."
            )
        turn.rate = rooms.access.admit(caller, turn.at)
        turn.auth_us = recording.since(turn, rooms)

    def read(self, turn: Turn, data: bytes) -> None:
        """The body as a canonical request, and for whom it is."""
        codec = wire.codec(CHAT_WIRES[turn.operation])
        request = codec.read_request(body.read(data, turn.controls))
        turn.request = request
        turn.stream = request.stream
        turn.model = request.model
        addressing.name_parties(turn, request.user, self._rooms.secret)

    async def look_up(self, turn: Turn) -> tuple[Entry, int] | None:
        """The entry that answers this request, and from which tier; ``None`` on a miss."""
        rooms, request = self._rooms, turn.request
        assert request is not None
        addressing.address(turn, rooms, request)
        tripping.bar(turn)
        asked, policy = turn.directives, turn.policy
        assert asked is not None and policy is not None
        found: tuple[Entry, int] | None = None
        stale: Entry | None = None
        if not turn.bypass and not asked.no_cache:
            now = turn.at
            entry = rooms.cache.get_now(turn.key, now)
            kind = KIND_MEMORY
            if entry is None:
                entry = await rooms.cache.get(turn.key, turn.scope_digest, now)
                kind = KIND_SHARED
            if entry is not None:
                if directives.accepts(asked, created=entry.created, expires=entry.expires, now=now):
                    found = entry, kind
                else:
                    stale = entry
        turn.lookup_us = recording.since(turn, rooms) - turn.auth_us
        if found is None and stale is not None and turn.trip is None and self._serve_stale(turn, stale):
            found = stale, KIND_STALE
        if found is not None:
            lottery.hit(turn, rooms)
            return found
        if asked.only_if_cached:
            raise NotCached("The answer is not in the cache, and only-if-cached was asked.")
        return None

    def repeat(self, turn: Turn, entry: Entry, kind: int) -> Reply:
        """The reply of a hit that the short cut did not know; it will the next time."""
        rooms, request = self._rooms, turn.request
        assert request is not None
        answer = wire.decode_answer(entry.answer)
        rendered = rooms.renderer.render(
            answer,
            entry_name=rooms.cache.entry_name(entry.key, turn.scope_digest),
            target=entry.target,
            wire_name=CHAT_WIRES[turn.operation],
            model=turn.model,
            stream=turn.stream,
            include_usage=request.include_usage,
            saved=self._worth(turn, entry),
            user_digest=turn.user_digest,
            session=turn.session,
            echo=_echo(turn),
            result=b"stale" if kind == KIND_STALE else b"hit-exact",
            arm="" if turn.prompt is None else turn.prompt.arm,
            told=[*prompting.headers(turn), *([] if turn.hold is None else [holding.VERIFIED])],
            about=sampling.about(turn),
        )
        if turn.raw_key and kind != KIND_STALE:
            rooms.cache.raw.put(turn.raw_key, entry, rendered, rendered.weight)
        return self._repeater.reply(turn, entry, rendered, kind)

    def _worth(self, turn: Turn, entry: Entry) -> int:
        """Nano-dollars that the call behind ``entry`` would cost now; what it did cost where no price is known now."""
        provider, _, model = entry.target.partition("/")
        now = self._rooms.prices.value.price(provider, model, entry.meta().usage, turn.at)
        return now if now is not None else entry.cost or 0

    async def ask(self, turn: Turn) -> Reply | StreamReply:
        """Call a model, or join whoever is already asking the same."""
        rooms, caller, policy = self._rooms, turn.caller, turn.policy
        assert caller is not None and policy is not None
        if turn.hold is not None:
            waiting = await holding.waiting(turn, rooms)
            if waiting is not None:
                return holding.joined(turn, rooms, waiting)
            await holding.must_have_room(turn, rooms)
            turn.stream = False  # nothing of it is heard before somebody has looked
        rooms.access.enter(caller)
        seat = self._seat(turn, finish=policy.finish_and_store and not turn.bypass)
        place = Place(seat, partial(rooms.access.leave, caller), self._keepalive)
        handed_over = False
        try:
            if turn.stream:
                reply = await self._stream(turn, place)
                handed_over = True
                return reply
            return self._plain(turn, seat, await seat.outcome())
        except OstinatoError as error:
            old = self._stale_if_error(turn, error)
            if old is None:
                raise
            return old
        finally:
            if not handed_over:
                place.leave()

    def _seat(self, turn: Turn, *, finish: bool) -> Seat[Item, Outcome]:
        """A place in the flight of this request's key; one of its own where nothing may be shared."""
        rooms, asked = self._rooms, turn.directives
        produce = partial(asking.ask, turn, rooms)
        if turn.bypass or turn.no_store or (asked is not None and asked.no_cache):
            return self._flights.start_or_join(turn.request_id.encode(), produce, stream=turn.stream, finish=finish)
        recall = None if self._flights.sharing is None else partial(asking.recall, turn, rooms)
        return self._flights.start_or_join(turn.key, produce, stream=turn.stream, finish=finish, recall=recall)

    def _plain(self, turn: Turn, seat: Seat[Item, Outcome], outcome: Outcome) -> Reply:
        rooms = self._rooms
        if outcome.held is not None:
            if not seat.pays:
                self._repeater.note_joined(turn, outcome)
            return holding.reply(turn, rooms, outcome.held)
        identity = _identity(turn)
        data = wire.codec(CHAT_WIRES[turn.operation]).write_answer(outcome.answer, identity)
        headers: list[Header] = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(data)),
            *self._answered_headers(turn, seat, outcome.target, outcome.headers),
        ]
        if seat.pays:
            headers += recording.money_headers(outcome.cost, 0)
        else:
            headers += recording.money_headers(0, outcome.cost or 0)
            self._repeater.note_joined(turn, outcome)
        headers.append(recording.timing(turn, recording.since(turn, rooms), outcome.upstream_us))
        if outcome.entry is not None:
            headers.append((b"ostinato-entry", outcome.entry_name.encode()))
        return Reply(200, headers, data)

    async def _stream(self, turn: Turn, place: Place) -> StreamReply:
        """A reply that begins when the answer does. Whoever sends it gives up the place by ``release``."""
        seat = place.seat
        begun = await _begun(seat)
        headers: list[Header] = [
            (b"content-type", SSE_TYPE),
            (b"cache-control", b"no-cache"),
            (b"x-accel-buffering", b"no"),
            *self._answered_headers(turn, seat, begun.target, begun.headers),
            recording.timing(turn, recording.since(turn, self._rooms)),
        ]
        place.listen()
        return StreamReply(200, headers, self._chunks(turn, seat), place.leave)

    async def _chunks(self, turn: Turn, seat: Seat[Item, Outcome]) -> AsyncGenerator[bytes, None]:
        """The answer in the caller's wire, as it comes; a failure on the way is told in the stream."""
        rooms, request = self._rooms, turn.request
        assert request is not None
        writer = wire.codec(CHAT_WIRES[turn.operation]).stream_writer(
            _identity(turn), include_usage=request.include_usage
        )
        relayed = False
        try:
            async for item in seat:
                if isinstance(item, Begun):
                    continue
                relayed = relayed or bool(item)
                data = writer.write(item) if item else writer.ping()
                if data:
                    yield data
            outcome = await seat.outcome()
            if not relayed:
                # A plain call, or another process, had the answer as a whole.
                yield writer.write(list(outcome.answer.events))
            if not seat.pays:
                self._repeater.note_joined(turn, outcome)
            yield writer.end()
        except OstinatoError as error:
            recording.record_refusal(turn, rooms, error)
            yield writer.fail(error)
        except (asyncio.CancelledError, GeneratorExit):
            self._left(turn, seat)
            raise
        except Exception:
            _log.exception("A stream failed inside the gateway")
            failure = internal_error()
            recording.record_refusal(turn, rooms, failure)
            yield writer.fail(failure)

    def _left(self, turn: Turn, seat: Seat[Item, Outcome]) -> None:
        """Write down a caller who left a call that somebody else pays; the call has a row of its own."""
        if not seat.leads:
            recording.record(
                turn,
                self._rooms,
                cache="miss",
                reason="caller-left",
                status=recording.CALLER_LEFT,
                error="caller_left",
            )

    def _answered_headers(
        self, turn: Turn, seat: Seat[Item, Outcome], target: str, upstream: Mapping[str, str]
    ) -> list[Header]:
        """Headers that every answer of a model carries."""
        if turn.bypass or turn.no_store:
            state = f"bypass; reason={turn.bypass or turn.no_store}".encode()
        else:
            state = b"miss" if seat.leads else b"miss; reason=joined"
        headers: list[Header] = [
            (b"x-request-id", turn.controls.client_request_id or turn.request_id.encode()),
            (b"ostinato-cache", state),
            (b"ostinato-target", target.encode()),
            *recording.rate_headers(turn),
            *prompting.headers(turn),
        ]
        if turn.controls.traceparent:
            headers.append((b"traceparent", turn.controls.traceparent))
        for name, value in upstream.items():
            lowered = name.lower()
            if not (turn.rate is not None and lowered in recording.OUR_RATE_HEADERS):
                headers.append((lowered.encode(), value.encode("latin-1", "replace")))
        return headers

    def _serve_stale(self, turn: Turn, entry: Entry) -> bool:
        """Whether to answer from an entry past its time while a new answer is fetched; starts the fetching."""
        policy, asked = turn.policy, turn.directives
        assert policy is not None and asked is not None
        now_allowed, _ = admission.stale_use(policy, expires=entry.expires, now=turn.at, directives=asked)
        if not now_allowed:
            return False
        if self._refreshing < self._rooms.settings.refreshes:
            self._refresh(turn)
        return True

    def _refresh(self, turn: Turn) -> None:
        """Ask for a new answer in the background; whoever misses meanwhile joins."""
        rooms = self._rooms
        own = msgspec.structs.replace(
            turn,
            request_id=ids.new(turn.at),
            stream=False,
            lookup_us=0,
            background=True,
            started=rooms.clock.monotonic(),
            controls=Controls(forwarded=turn.controls.forwarded),
        )

        async def produce(flight: "Flight[Item, Outcome]") -> Outcome:  # quoted: evaluated per request
            self._refreshing += 1
            try:
                return await asking.ask(own, rooms, flight)
            finally:
                self._refreshing -= 1

        recall = None if self._flights.sharing is None else partial(asking.recall, own, rooms)
        self._flights.start_or_join(turn.key, produce, finish=True, recall=recall).leave()

    def _stale_if_error(self, turn: Turn, error: OstinatoError) -> Reply | None:
        """The entry past its time, where the policy prefers it to this error."""
        policy, asked = turn.policy, turn.directives
        assert policy is not None and asked is not None
        if turn.bypass or (isinstance(error, ProviderFailure) and error.failure == "request"):
            return None
        if not isinstance(error, UpstreamFailed | Unavailable):
            return None
        now = self._rooms.clock.now()
        entry = self._rooms.cache.get_now(turn.key, now)
        if entry is None:
            return None
        _, if_error = admission.stale_use(policy, expires=entry.expires, now=now, directives=asked)
        fresh = directives.accepts(asked, created=entry.created, expires=entry.expires, now=now)
        if not if_error and not fresh:
            return None
        if turn.recorded:
            # The failed call keeps its row; this answer gets one of its own.
            turn.request_id, turn.recorded = ids.new(now), False
            lottery.stand_in(turn, self._rooms)
        return self.repeat(turn, entry, KIND_MEMORY if fresh else KIND_STALE)


def _identity(turn: Turn) -> Identity:
    """What is new in the answer to this request."""
    return Identity(id=turn.request_id, created=turn.at // 1_000_000, model=turn.model, echo=_echo(turn))


def _echo(turn: Turn) -> Json | None:
    """Fields of the request that its wire repeats in the answer."""
    if turn.operation != "openai.responses" or turn.request is None:
        return None
    return openai_responses.echo(turn.request)
