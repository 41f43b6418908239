"""``/v1/embeddings``: one upstream call for the inputs of a batch that nobody has asked for before.

Vectors are cached per input text, in the same tiers and under the same rules of scope as answers. The reply tells the
usage of the whole batch; the ledger tells what was spent on the inputs that were missing, and what the others saved.
All vectors of a reply come from one target: those of two models cannot be compared with each other.
"""

import asyncio
import random

import msgspec

from ostinato import routing, wire
from ostinato.cache import EmbeddingCache, Entry, EntryMeta, Fetched, admission, directives, fingerprint, scope
from ostinato.cache.embeddings import Embedded
from ostinato.core.errors import OstinatoError
from ostinato.gateway import addressing, asking, body, controls, inspecting, prompting, recording, resolving, tripping
from ostinato.gateway.asking import PriceUnknown
from ostinato.gateway.pipeline import NotCached
from ostinato.gateway.replies import JSON_TYPE, Header, Reply
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import Turn
from ostinato.routing import RoutedEmbedding
from ostinato.routing.model import Target
from ostinato.traces.model import AttemptRow
from ostinato.wire.model import EmbeddingRequest, Usage

_random = random.Random()  # noqa: S311 - spreads expiry, guards nothing

_Inputs = tuple[str | tuple[int, ...], ...]


class Vectors:
    """``/v1/embeddings``: one upstream call for the inputs that nobody has asked for before."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._cache = EmbeddingCache(rooms.cache, rooms.clock)

    async def embed(self, turn: Turn, data: bytes) -> Reply:
        """Answer a request for embeddings; ``turn`` is authenticated. However it ends, it leaves one row."""
        rooms, caller = self._rooms, turn.caller
        assert caller is not None
        request = wire.embeddings.read_request(body.read(data, turn.controls))
        turn.model = request.model
        addressing.name_parties(turn, request.user, rooms.secret)
        resolving.resolve(turn, rooms, "embedding")
        tripping.heed(turn, rooms)
        batch = Batch(turn, rooms, inspecting.inspect_embedding(turn, rooms, request))
        batch.address()
        tripping.must_answer(turn)
        rooms.access.enter(caller)
        try:
            return batch.reply(await batch.embedded(self._cache))
        except BaseException as error:
            batch.failed(error)
            raise
        finally:
            rooms.access.leave(caller)


class Batch:
    """One request for vectors, and what is known of it so far."""

    def __init__(self, turn: Turn, rooms: Rooms, request: EmbeddingRequest) -> None:
        self.turn = turn
        self.rooms = rooms
        self.request = request
        self.deadline = rooms.clock.monotonic() + rooms.settings.deadline_seconds
        self.keys: list[bytes] = []
        self.routed: RoutedEmbedding | None = None
        """The last call that was answered."""
        self.attempts: tuple[AttemptRow, ...] = ()
        """Of all calls that were answered."""
        self.spent: Usage | None = None
        """Of all calls."""
        self.cost: int | None = 0
        """Of all calls; ``None``: the price of one is unknown."""
        self.upstream_us = 0
        self.told = 0
        """Input tokens of the batch as the caller is told them."""
        self.saved = 0
        self.stored = False

    def address(self) -> None:
        """Work out targets, policy, scope and the inputs' keys; say why where the cache takes no part."""
        turn, rooms, caller, route = self.turn, self.rooms, self.turn.caller, self.turn.route
        policy = turn.policy
        assert caller is not None and route is not None and policy is not None
        turn.targets = rooms.router.draw(route, turn.session.encode() or None)
        turn.directives = asked = directives.parse(turn.controls.cache_control, policy)
        turn.scope = within = scope.scope_of(
            caller, user=turn.user, session=turn.session, context=turn.context, policy=policy
        )
        if policy.mode == "off":
            turn.bypass = "policy-off"
        elif asked.no_store:
            turn.bypass = "no-store"
        elif within is None:
            turn.bypass = "no-end-user" if caller.end_user_required else "no-session"
        else:
            turn.bypass = turn.no_store
        tripping.bar(turn)
        if turn.bypass or within is None:
            return
        drawn = routing.key_digest(route, turn.targets[0])
        turn.generation = fingerprint.generation(
            release="", route_digest=drawn, policy_version=policy.version, epoch=rooms.cache.epoch
        )
        turn.scope_digest = scope.digest(within)
        request, extra = self.request, self.request.extra
        headers = controls.forwarded(turn.controls)
        if headers:
            extra = {**(extra or {}), "headers": headers}
        self.keys = [
            fingerprint.embedding_key(within, route.alias, drawn, turn.generation, text, request.dimensions, extra)
            for text in request.inputs
        ]

    async def embedded(self, cache: EmbeddingCache) -> Embedded:
        """The vectors, from the cache as far as the caller's directives let it. Raises :class:`NotCached`."""
        turn, asked = self.turn, self.turn.directives
        assert asked is not None

        def accepts(entry: Entry) -> bool:
            return directives.accepts(asked, created=entry.created, expires=entry.expires, now=turn.at)

        if asked.only_if_cached or turn.trip is not None:
            found = None
            if not (turn.bypass or asked.no_cache):
                found = await cache.recall(self.keys, turn.scope_digest, accepts=accepts)
            if found is None:
                if turn.trip is not None:
                    raise tripping.refusal(turn, turn.trip)
                raise NotCached("Not every input's vector is in the cache, and only-if-cached was asked.")
        elif turn.bypass:
            fetched = await self.fetch(list(range(len(self.request.inputs))))
            return Embedded(tuple(fetched.vectors), 0, (), fetched.target)
        elif asked.no_cache:
            return await cache.renew(self.keys, turn.scope_digest, self.fetch)
        else:
            found = await cache.embed(self.keys, turn.scope_digest, self.fetch, accepts=accepts, whole=self.whole)
        for entry in found.entries:
            self.told += entry.meta().usage.input
            self.saved += entry.cost or 0
        return found

    async def fetch(self, positions: list[int]) -> Fetched:
        """Ask a model for the inputs at ``positions``; one meta each, with its share of usage and cost."""
        return await self._ask(positions, self.turn.targets)

    async def whole(self, positions: list[int], target: str) -> Fetched:
        """Ask one target, at best the named one, for all inputs: what was known came from another."""
        self.told = 0
        before = self.stored
        fetched = await self._ask(positions, tuple(sorted(self.turn.targets, key=lambda one: one.name != target)))
        if not self._is_fallback():
            return fetched
        # A fallback's vectors would take the place of those that its better has given.
        self.stored = before
        return msgspec.structs.replace(fetched, metas=())

    def _is_fallback(self) -> bool:
        return self.routed is not None and self.routed.target != self.turn.targets[0]

    async def _ask(self, positions: list[int], targets: tuple[Target, ...]) -> Fetched:
        turn, rooms, caller = self.turn, self.rooms, self.turn.caller
        assert caller is not None
        self._looked_up()
        inputs = tuple(self.request.inputs[position] for position in positions)
        request = msgspec.structs.replace(self.request, inputs=inputs)
        budgets = rooms.access.budgets
        reservation = await budgets.reserve(caller, self._dearest(inputs)) if budgets.required(caller) else None
        cost: int | None = None
        try:
            routed = await rooms.router.embed(targets, request, self.deadline, controls.forwarded(turn.controls))
            cost = rooms.prices.value.price(routed.target.provider, routed.target.model, routed.usage, turn.at)
        except asyncio.CancelledError as error:
            cost = self._broken_off(error, inputs)
            raise
        finally:
            if reservation is not None:
                budgets.settle(reservation, cost or 0)
        self.routed = routed
        self.attempts += routed.attempts
        self.upstream_us += routed.upstream_us
        self.told += routed.usage.input
        self._charge(routed.usage, cost)
        return Fetched(routed.vectors, self._metas(routed, cost, inputs), routed.target.name)

    def _charge(self, usage: Usage, cost: int | None) -> None:
        before = self.spent or Usage()
        self.spent = msgspec.structs.replace(
            usage,
            input=usage.input + before.input,
            cache_read=usage.cache_read + before.cache_read,
            cache_write=usage.cache_write + before.cache_write,
            output=usage.output + before.output,
        )
        self.cost = None if cost is None or self.cost is None else self.cost + cost

    def _broken_off(self, error: asyncio.CancelledError, inputs: _Inputs) -> int | None:
        """What a call costs whose caller left: its inputs, if they had been sent to somebody."""
        name = next((row.target for row in routing.attempts_of(error) if row.outcome == routing.CANCELLED), "")
        target = next((target for target in self.turn.targets if target.name == name), None)
        if target is None:
            return None
        usage = Usage(input=_tokens(inputs))
        cost = self.rooms.prices.value.price(target.provider, target.model, usage, self.turn.at)
        self._charge(usage, cost)
        return cost

    def _dearest(self, inputs: _Inputs) -> int:
        """Nano-dollars that ``inputs`` may cost at the dearest target."""
        usage = Usage(input=_tokens(inputs))
        dearest = 0
        for target in self.turn.targets:
            cost = self.rooms.prices.value.price(target.provider, target.model, usage, self.turn.at)
            if cost is None:
                raise PriceUnknown(
                    f"{target.name} has no price, and this key has a money budget.",
                    hint="Declare its price under [prices], or use a key without a budget.",
                )
            dearest = max(dearest, cost)
        return dearest

    def _metas(self, routed: RoutedEmbedding, cost: int | None, inputs: _Inputs) -> list[EntryMeta]:
        turn, caller, policy, rooms = self.turn, self.turn.caller, self.turn.policy, self.rooms
        assert caller is not None and policy is not None and turn.route is not None
        is_fallback = self._is_fallback()
        if turn.bypass or (is_fallback and not policy.store_fallback):
            return []
        self.stored = True
        now = rooms.clock.now()
        weights = [max(1, len(text)) for text in inputs]
        tokens = asking.shares(routed.usage.input, weights)
        costs = asking.shares(cost, weights) if cost is not None else [None] * len(inputs)
        metas: list[EntryMeta] = []
        for share, price in zip(tokens, costs, strict=True):
            expires, stale_until = admission.expiry(policy, now, _random, is_fallback=is_fallback)
            metas.append(
                EntryMeta(
                    fingerprint_version=fingerprint.VERSION,
                    alias=turn.route.alias,
                    target=routed.target.name,
                    release="",
                    generation=turn.generation,
                    org=caller.org,
                    project=caller.project,
                    user_digest=turn.user_digest,
                    context=turn.context,
                    tags=turn.tags,
                    created=now,
                    expires=expires,
                    stale_until=stale_until,
                    input_digest="",
                    usage=Usage(input=share),
                    cost=price,
                    origin=turn.request_id,
                )
            )
        return metas

    def _looked_up(self) -> None:
        turn = self.turn
        turn.lookup_us = turn.lookup_us or recording.since(turn, self.rooms) - turn.auth_us

    def reply(self, found: Embedded) -> Reply:
        """The reply and the row."""
        turn, routed = self.turn, self.routed
        self._looked_up()
        known = found.known
        everything = known == len(found.vectors)
        data = wire.embeddings.write_reply(self.request, found.vectors, Usage(input=self.told), turn.model)
        state = "bypass" if turn.bypass else ("hit-exact" if everything else "miss")
        target = found.target or turn.targets[0].name
        headers: list[Header] = [
            (b"content-type", JSON_TYPE),
            (b"content-length", b"%d" % len(data)),
            *controls.echoed(turn.controls, turn.request_id),
            (b"ostinato-cache", f"{state}; reason={turn.bypass}".encode() if turn.bypass else state.encode()),
            (b"ostinato-cached-inputs", b"%d" % known),
            (b"ostinato-target", target.encode()),
            *recording.money_headers(self.cost, self.saved),
            *recording.rate_headers(turn),
            *prompting.headers(turn),
            recording.timing(turn, recording.since(turn, self.rooms), self.upstream_us),
        ]
        for name, value in routed.headers.items() if routed is not None else ():
            if not (turn.rate is not None and name.lower() in recording.OUR_RATE_HEADERS):
                headers.append((name.lower().encode(), value.encode("latin-1", "replace")))
        recording.record(
            turn,
            self.rooms,
            cache=state,
            reason=turn.bypass or ("" if everything or not known else "partial"),
            target=target,
            attempts=self.attempts,
            stored=self.stored,
            usage=self.spent or Usage(),
            cost=self.cost,
            saved=self.saved,
            upstream_us=self.upstream_us,
        )
        return Reply(200, headers, data)

    def failed(self, error: BaseException) -> None:
        """Write the row of a batch that failed or was left, unless nobody was asked: that is a plain refusal."""
        turn = self.turn
        attempts = (*self.attempts, *routing.attempts_of(error))
        known = error if isinstance(error, OstinatoError) else None
        if known is not None and not attempts:
            return
        left = isinstance(error, asyncio.CancelledError)
        recording.record(
            turn,
            self.rooms,
            cache="bypass" if turn.bypass else "miss",
            reason=turn.bypass or ("caller-left" if left else "error"),
            target=attempts[-1].target if attempts else "",
            attempts=attempts,
            stored=self.stored,
            usage=self.spent,
            cost=self.cost if self.spent is not None else None,
            status=recording.CALLER_LEFT if left else (recording.status_of(known) if known else 500),
            error="caller_left" if left else (known.code if known else "internal_error"),
            upstream_us=self.upstream_us,
        )


def _tokens(inputs: _Inputs) -> int:
    """How many tokens ``inputs`` may be: an estimate on the safe side for text."""
    return sum(len(text) if isinstance(text, tuple) else len(text.encode()) // 3 + 1 for text in inputs)
