"""The upstream half of a miss: reserve money, call the targets, settle, offer the answer to the cache, write it down.

:func:`ask` runs for one payer, and perhaps for followers who wait for the same answer. However it ends, the money is
settled once and one row is written.
"""

import asyncio
import random
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from ostinato import checks, routing, wire
from ostinato.cache import Flight, Private, admission, fingerprint
from ostinato.cache.memory import Entry
from ostinato.cache.model import EntryMeta
from ostinato.core import ids
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.families import Families
from ostinato.gateway import controls, holding, inspecting, recording
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import Turn
from ostinato.reviews import Held
from ostinato.routing import Routed, RoutedStream
from ostinato.routing.model import Target
from ostinato.wire.model import Answer, Delta, Event, Usage

_random = random.Random()  # noqa: S311 - spreads expiry, guards nothing

_EVENT_BYTES = 96
"""What an event weighs in a flight's buffer, beside its text."""


class Begun(msgspec.Struct, frozen=True):
    """What is known when an answer begins: sent in the headers of a stream."""

    target: str
    wire: str
    headers: dict[str, str]


Item: TypeAlias = Begun | list[Event]
"""What a flight hands out: once what has begun, then batches of events."""


class Outcome(msgspec.Struct, frozen=True):
    """How an upstream call ended well."""

    answer: Answer
    target: str
    headers: Mapping[str, str]
    usage: Usage | None
    cost: int | None
    upstream_us: int
    origin: str
    """Request id of the one who paid."""
    entry: Entry | None
    """Where the answer is kept, if it is."""
    entry_name: str
    """The opaque name of ``entry``."""
    not_stored: str
    """Why not, in one word."""
    held: Held | None = None
    """Where the answer waits for a person's word: nobody gets it before."""


class PriceUnknown(Invalid):
    """A key with a money budget asked for a model that has no price."""

    status = 403
    default_code = "price_unknown"


def estimate(turn: Turn, rooms: Rooms, target: Target) -> int | None:
    """Nano-dollars that an answer may cost at most, as far as can be told beforehand; ``None``: unknown price."""
    request = turn.request
    assert request is not None
    output = request.max_tokens or target.max_tokens or rooms.settings.default_max_tokens
    return rooms.prices.value.price(
        target.provider, target.model, Usage(input=wire.count_input(request), output=output), turn.at
    )


async def ask(turn: Turn, rooms: Rooms, flight: Flight[Item, Outcome]) -> Outcome:
    """Make the upstream call of ``turn`` for everybody who waits in ``flight``.

    Raises ``Private`` where the money of this caller does not suffice: a follower may have more.
    """
    caller = turn.caller
    assert caller is not None
    if turn.hold is not None:
        # Whoever asked the same before may have been answered between this caller's look and its start.
        earlier = await _held(turn, rooms)
        if earlier is not None:
            flight.recalled = True
            return earlier
    reservation = None
    if rooms.access.budgets.required(caller):
        try:
            reservation = await rooms.access.budgets.reserve(caller, max_estimate(turn, rooms))
        except OstinatoError as error:
            raise Private(error) from None
    if turn.recorded:
        # Whose means these are has left and been written down; the call gets a row of its own.
        turn.request_id, turn.recorded = ids.new(rooms.clock.now()), False
    turn.asking = True
    call = Call(turn, rooms)
    cost: int | None = None
    try:
        if turn.stream:
            await call.streamed(flight)
        else:
            call.answered(await rooms.router.chat(turn.targets, call.request, call.deadline, call.headers))
        held = await call.hold() if turn.hold is not None else None
        outcome = call.succeeded(flight.begun, held)
        cost = outcome.cost
        return outcome
    except BaseException as error:
        cost = call.failed(error)
        raise
    finally:
        if reservation is not None:
            rooms.access.budgets.settle(reservation, cost or 0)


async def recall(turn: Turn, rooms: Rooms) -> Outcome | None:
    """The answer that another process has stored meanwhile, as if we had been told it."""
    now = rooms.clock.now()
    entry = await rooms.cache.get(turn.key, turn.scope_digest, now)
    if entry is None or entry.expires <= now:
        return await _held(turn, rooms)
    return Outcome(
        answer=wire.decode_answer(entry.answer),
        target=entry.target,
        headers={},
        usage=entry.meta().usage,
        cost=entry.cost,
        upstream_us=0,
        origin=entry.origin,
        entry=entry,
        entry_name=rooms.cache.entry_name(turn.key, turn.scope_digest),
        not_stored="",
    )


async def _held(turn: Turn, rooms: Rooms) -> Outcome | None:
    """What another process has found out meanwhile where the answer waits for somebody's word."""
    held = await holding.waiting(turn, rooms)
    if held is None:
        return None
    return Outcome(
        answer=holding.NOTHING,
        target="",
        headers={},
        usage=None,
        cost=None,
        upstream_us=0,
        origin=held.request_id,
        entry=None,
        entry_name="",
        not_stored="held",
        held=held,
    )


def max_estimate(turn: Turn, rooms: Rooms) -> int:
    """The dearest of the targets that may be asked. Raises :class:`PriceUnknown` where one has no price."""
    dearest = 0
    for target in turn.targets:
        cost = estimate(turn, rooms, target)
        if cost is None:
            raise PriceUnknown(
                f"{target.name} has no price, and this key has a money budget.",
                hint="Declare its price under [prices], or use a key without a budget.",
            )
        dearest = max(dearest, cost)
    return dearest


class Call:
    """One upstream call, and what is known of it so far."""

    def __init__(self, turn: Turn, rooms: Rooms) -> None:
        assert turn.request is not None
        self.turn = turn
        self.request = turn.request
        self.rooms = rooms
        self.deadline = rooms.clock.monotonic() + rooms.settings.deadline_seconds
        self.headers = controls.forwarded(turn.controls)
        self.routed: Routed | RoutedStream | None = None
        self.answer: Answer | None = None
        self.events: list[Event] = []
        self.upstream_us = 0
        self.first_token_us = 0

    def answered(self, routed: Routed) -> None:
        """A whole answer has come. Raises ``Invalid`` where a rule blocks it."""
        self.routed = routed
        self.upstream_us = routed.upstream_us
        self.first_token_us = routed.first_byte_us
        self.answer = routed.answer  # before it is judged: a blocked answer has been paid for too
        self.answer = inspecting.checked_answer(self.turn, routed.answer)

    async def streamed(self, flight: Flight[Item, Outcome]) -> None:
        turn, rooms = self.turn, self.rooms
        events = self.events
        filtering = turn.checker.stream_filter() if turn.checker is not None else None
        begun = rooms.clock.monotonic()
        async with rooms.router.chat_stream(turn.targets, self.request, self.deadline, self.headers) as stream:
            self.routed = stream
            self.first_token_us = int((rooms.clock.monotonic() - begun) * 1e6)
            await flight.emit(Begun(stream.target.name, stream.wire, dict(stream.headers)), 0)
            async for batch in stream:
                safe = batch if filtering is None else filtering.feed(batch)
                if safe:
                    events.extend(safe)
                    await flight.emit(safe, _EVENT_BYTES * len(safe))
                elif filtering is not None and filtering.blocked:
                    raise checks.refusal(filtering.findings, "answer")
            self.answer = Answer(wire=stream.wire, events=tuple(events))
        self.upstream_us = int((rooms.clock.monotonic() - begun) * 1e6)

    async def hold(self) -> Held:
        """Keep the answer until somebody has looked at it, with what it takes to cache it afterwards."""
        routed, answer = self.routed, self.answer
        assert routed is not None and answer is not None
        summary = wire.summary(answer)
        usage = summary.usage or counted(self.turn, list(answer.events))
        cost = self.rooms.prices.value.price(routed.target.provider, routed.target.model, usage, self.turn.at)
        kept = self._keepable(answer, summary, usage, cost)
        cured = isinstance(kept, str) and kept in admission.OF_FORM
        if cured:
            kept = self._keepable(answer, summary, usage, cost, edited=True)
        meta = None if isinstance(kept, str) else kept[0]
        return await holding.hold(self.turn, self.rooms, answer, meta, only_edited=cured)

    def _tell(self, families: Families, answer: Answer) -> None:
        """Let somebody look, later, what was asked and answered alike."""
        turn, caller, prompt = self.turn, self.turn.caller, self.turn.prompt
        assert caller is not None and turn.request is not None
        families.answered(
            caller.org,
            caller.project,
            turn.family,
            turn.fingerprint[:16].hex(),
            turn.request,
            answer,
            user=turn.user_digest,
            alias=turn.route.alias if turn.route is not None else "",
            intent=turn.intent,
            prompt=prompt.prompt if prompt is not None else "",
            version=prompt.number if prompt is not None else 0,
        )

    def succeeded(self, begun: int, held: Held | None = None) -> Outcome:
        """Price the answer, offer it to the cache, write the row."""
        if self.turn.stream and self.answer is not None:
            self.answer = inspecting.checked_stream(self.turn, self.answer)
        turn, rooms, routed, answer = self.turn, self.rooms, self.routed, self.answer
        assert routed is not None
        assert answer is not None
        target = routed.target
        summary = wire.summary(answer)
        # A provider that tells no usage is charged by what we count: a budget must not be spent unseen.
        usage = summary.usage or counted(turn, list(answer.events))
        cost = rooms.prices.value.price(target.provider, target.model, usage, turn.at)
        entry, name, reason = self._offer(answer, summary, usage, cost, begun)
        recording.record(
            turn,
            rooms,
            cache="bypass" if turn.bypass else "miss",
            reason=turn.bypass or reason,
            target=target.name,
            attempts=routed.attempts,
            stored=entry is not None,
            usage=usage,
            cost=cost,
            finish=summary.finish or "",
            system_fingerprint=summary.system_fingerprint,
            answered_by=summary.model,
            upstream_us=self.upstream_us,
            first_token_us=self.first_token_us,
            answer=answer,
        )
        sampler = rooms.sampler
        if sampler is not None and sampler.bar and held is None:
            sampler.answered(turn, answer, usage=usage, cost=cost, latency_us=self.upstream_us, entry=entry)
        if rooms.families is not None and held is None and not turn.no_store and turn.bypass != "no-store":
            self._tell(rooms.families, answer)
        return Outcome(
            answer=answer,
            target=target.name,
            headers=routed.headers,
            usage=usage,
            cost=cost,
            upstream_us=self.upstream_us,
            origin=turn.request_id,
            entry=entry,
            entry_name=name,
            not_stored=reason,
            held=held,
        )

    def _offer(
        self, answer: Answer, summary: wire.Summary, usage: Usage, cost: int | None, begun: int
    ) -> tuple[Entry | None, str, str]:
        """The entry and its name, or why there is none."""
        turn, rooms = self.turn, self.rooms
        if turn.hold is not None:
            return None, "", "held"
        kept = self._keepable(answer, summary, usage, cost)
        if isinstance(kept, str):
            return None, "", kept
        meta, packed = kept
        name = rooms.cache.entry_name(turn.key, turn.scope_digest)
        entry = rooms.cache.put(turn.key, turn.scope_digest, meta, packed, begun=begun, name=name)
        return entry, name, "" if entry is not None else "withdrawn"

    def _keepable(
        self, answer: Answer, summary: wire.Summary, usage: Usage, cost: int | None, *, edited: bool = False
    ) -> tuple[EntryMeta, bytes] | str:
        """The answer as the cache may keep it, or why it may not. ``edited``: with a person's text in its place."""
        turn, rooms, routed = self.turn, self.rooms, self.routed
        if turn.bypass or turn.no_store:
            return turn.bypass or turn.no_store
        policy, within, caller, request = turn.policy, turn.scope, turn.caller, self.request
        assert routed is not None and policy is not None and within is not None and caller is not None
        packed = wire.encode_answer(answer)
        reason = admission.admissible(
            summary,
            policy=policy,
            is_fallback=routed.is_fallback,
            status=200,
            complete=True,
            size=len(packed),
            request=request,
            answer=answer,
        )
        if edited and reason in admission.OF_FORM:
            reason = "fallback" if routed.is_fallback and not policy.store_fallback else ""
        if reason:
            return reason
        now = rooms.clock.now()
        expires, stale_until = admission.expiry(policy, now, _random, is_fallback=routed.is_fallback)
        turn.input_digest = fingerprint.input_digest(turn.said, rooms.secret)
        meta = EntryMeta(
            fingerprint_version=fingerprint.VERSION,
            alias=turn.route.alias if turn.route else "",
            target=routed.target.name,
            release="" if turn.prompt is None else turn.prompt.release,
            generation=turn.generation,
            org=caller.org,
            project=caller.project,
            user_digest=turn.user_digest,
            context=turn.context,
            tags=turn.tags,
            created=now,
            expires=expires,
            stale_until=stale_until,
            input_digest=turn.input_digest,
            usage=usage,
            cost=cost,
            origin=turn.request_id,
        )
        return meta, packed

    def failed(self, error: BaseException) -> int | None:
        """Write the row of a call that failed, was cut or was left; gives what it has cost all the same."""
        turn, rooms, routed = self.turn, self.rooms, self.routed
        left = isinstance(error, asyncio.CancelledError)
        target = routed.target if routed is not None else None
        if target is None and left and turn.targets:
            target = turn.targets[0]
        usage, cost = None, None
        if target is not None and (self.answer is not None or self.events or left):
            # The provider was asked: it charges for what it read at least, whether or not anybody hears the answer.
            events = self.events or (list(self.answer.events) if self.answer is not None else [])
            usage = counted(turn, events)
            cost = rooms.prices.value.price(target.provider, target.model, usage, turn.at)
        known = error if isinstance(error, OstinatoError) else None
        attempts = routing.attempts_of(error) or (routed.attempts if routed is not None else ())
        recording.record(
            turn,
            rooms,
            cache="bypass" if turn.bypass else "miss",
            reason=turn.bypass or ("caller-left" if left else "error"),
            target=target.name if target is not None else (attempts[-1].target if attempts else ""),
            attempts=attempts,
            usage=usage,
            cost=cost,
            status=recording.CALLER_LEFT if left else (recording.status_of(known) if known else 500),
            error="caller_left" if left else (known.code if known else "internal_error"),
            first_token_us=self.first_token_us,
        )
        return cost


def counted(turn: Turn, events: list[Event]) -> Usage:
    """Usage of an answer that was cut: the larger of what the provider reported and what was counted."""
    assert turn.request is not None
    reported = wire.summary(events).usage or Usage()
    letters = sum(len(event.text) for event in events if isinstance(event, Delta))
    return Usage(
        input=max(reported.input, wire.count_input(turn.request) - reported.cache_read - reported.cache_write),
        cache_read=reported.cache_read,
        cache_write=reported.cache_write,
        output=max(reported.output, letters // 4),
        reasoning=reported.reasoning,
        raw=reported.raw,
    )


def shares(total: int, weights: list[int]) -> list[int]:
    """``total`` split by weight into whole parts that add up to it."""
    whole = sum(weights)
    parts: list[int] = []
    given = seen = 0
    for weight in weights:
        seen += weight
        upto = total * seen // whole
        parts.append(upto - given)
        given = upto
    return parts
