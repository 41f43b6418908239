"""``/v1/embeddings``: one upstream call for the inputs of a batch that nobody has asked for before.

Vectors are cached per input text, in the same tiers and under the same rules of scope as answers. The reply tells the
usage of the whole batch; the ledger tells what was spent on the inputs that were missing, and what the others saved.
"""

import random

import msgspec

from ostinato import routing, wire
from ostinato.access import Caller
from ostinato.cache import (
    EmbeddingCache,
    Entry,
    EntryMeta,
    Fetched,
    Policy,
    Scope,
    admission,
    directives,
    fingerprint,
    scope,
)
from ostinato.cache.directives import Directives
from ostinato.gateway import addressing, asking, body, controls, inspecting, recording
from ostinato.gateway.asking import PriceUnknown
from ostinato.gateway.replies import JSON_TYPE, Header, Reply
from ostinato.gateway.rooms import Rooms
from ostinato.gateway.turn import Turn
from ostinato.routing import RoutedEmbedding
from ostinato.wire.model import EmbeddingRequest, Usage

_random = random.Random()  # noqa: S311 - spreads expiry, guards nothing


class Vectors:
    """``/v1/embeddings``: one upstream call for the inputs that nobody has asked for before."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._cache = EmbeddingCache(rooms.cache, rooms.clock)

    async def embed(self, turn: Turn, data: bytes) -> Reply:
        """Answer a request for embeddings; ``turn`` is authenticated."""
        rooms, caller = self._rooms, turn.caller
        assert caller is not None
        request = wire.embeddings.read_request(body.read(data, turn.controls))
        turn.model = request.model
        addressing.name_parties(turn, request.user)
        turn.route = route = rooms.catalog.value.route(
            caller.project, request.model, "embedding", caller.allowed_models
        )
        request = inspecting.inspect_embedding(turn, rooms, request)
        turn.targets = rooms.router.draw(route, turn.session.encode() or None)
        turn.policy = policy = rooms.policies.value.for_(caller.project, route.alias)
        turn.directives = asked = directives.parse(turn.controls.cache_control, policy)
        turn.scope = within = scope.scope_of(
            caller, user=turn.user, session=turn.session, context=turn.context, policy=policy
        )
        turn.bypass = _bypass(caller, policy, within, asked) or turn.no_store
        turn.lookup_us = recording.since(turn, rooms) - turn.auth_us
        batch = Batch(turn, rooms, request)
        rooms.access.enter(caller)
        try:
            if turn.bypass or asked.no_cache or within is None:
                turn.bypass = turn.bypass or "no-cache"
                everything = list(range(len(request.inputs)))
                vectors = tuple((await batch.fetch(everything)).vectors)
                known = 0
            else:
                digest = scope.digest(within)
                batch.address(within, policy)
                keys = [batch.key(within, text) for text in request.inputs]
                embedded = await self._cache.embed(keys, digest, batch.fetch)
                vectors, known = embedded.vectors, embedded.known
                batch.remember(embedded.entries)
            return batch.reply(vectors, known)
        finally:
            rooms.access.leave(caller)


def _bypass(caller: Caller, policy: Policy, within: Scope | None, asked: Directives) -> str:
    if policy.mode == "off":
        return "policy-off"
    if asked.no_store:
        return "no-store"
    if within is None:
        return "no-end-user" if caller.end_user_required else "no-session"
    return ""


class Batch:
    """One request for vectors, and what is known of it so far."""

    def __init__(self, turn: Turn, rooms: Rooms, request: EmbeddingRequest) -> None:
        self.turn = turn
        self.rooms = rooms
        self.request = request
        self.routed: RoutedEmbedding | None = None
        self.route_digest = b""
        self.known_usage = 0
        self.saved = 0
        self.cost: int | None = 0

    def address(self, within: Scope, policy: Policy) -> None:
        """Work out the generation that all inputs share."""
        turn = self.turn
        assert turn.route is not None
        self.route_digest = routing.key_digest(turn.route, turn.targets[0])
        turn.generation = fingerprint.generation(
            release="",
            route_digest=self.route_digest,
            policy_version=policy.version,
            epoch=self.rooms.cache.epoch,
        )
        turn.scope_digest = scope.digest(within)
        turn.user_digest = scope.user_digest(within, self.rooms.secret)

    def key(self, within: Scope, text: str | tuple[int, ...]) -> bytes:
        turn, request = self.turn, self.request
        assert turn.route is not None
        extra = request.extra
        headers = controls.forwarded(turn.controls)
        if headers:
            extra = {**(extra or {}), "headers": headers}
        return fingerprint.embedding_key(
            within, turn.route.alias, self.route_digest, turn.generation, text, request.dimensions, extra
        )

    async def fetch(self, positions: list[int]) -> Fetched:
        """Ask a model for the inputs at ``positions``; one meta each, with its share of usage and cost."""
        turn, rooms, caller = self.turn, self.rooms, self.turn.caller
        assert caller is not None
        inputs = tuple(self.request.inputs[position] for position in positions)
        request = msgspec.structs.replace(self.request, inputs=inputs)
        budgets = rooms.access.budgets
        reservation = await budgets.reserve(caller, self._estimate(inputs)) if budgets.required(caller) else None
        cost: int | None = None
        try:
            deadline = rooms.clock.monotonic() + rooms.settings.deadline_seconds
            routed = await rooms.router.embed(turn.targets, request, deadline, controls.forwarded(turn.controls))
            cost = rooms.prices.value.price(routed.target.provider, routed.target.model, routed.usage, turn.at)
        finally:
            if reservation is not None:
                budgets.settle(reservation, cost or 0)
        self._add(routed, cost)
        if turn.bypass:
            return Fetched(routed.vectors)
        return Fetched(routed.vectors, self._metas(routed, cost, inputs))

    def _estimate(self, inputs: tuple[str | tuple[int, ...], ...]) -> int:
        turn = self.turn
        dearest = 0
        tokens = sum(len(text) if isinstance(text, tuple) else len(text.encode()) // 3 + 1 for text in inputs)
        for target in turn.targets:
            cost = self.rooms.prices.value.price(target.provider, target.model, Usage(input=tokens), turn.at)
            if cost is None:
                raise PriceUnknown(
                    f"{target.name} has no price, and this key has a money budget.",
                    hint="Declare its price under [prices], or use a key without a budget.",
                )
            dearest = max(dearest, cost)
        return dearest

    def _add(self, routed: RoutedEmbedding, cost: int | None) -> None:
        self.routed = routed
        self.cost = None if cost is None or self.cost is None else self.cost + cost

    def _metas(
        self, routed: RoutedEmbedding, cost: int | None, inputs: tuple[str | tuple[int, ...], ...]
    ) -> list[EntryMeta]:
        turn, caller, policy, rooms = self.turn, self.turn.caller, self.turn.policy, self.rooms
        assert caller is not None and policy is not None and turn.route is not None
        if routed.is_fallback and not policy.store_fallback:
            return []
        now = rooms.clock.now()
        weights = [max(1, len(text)) for text in inputs]
        tokens = asking.shares(routed.usage.input, weights)
        costs = asking.shares(cost, weights) if cost is not None else [None] * len(inputs)
        metas: list[EntryMeta] = []
        for share, price in zip(tokens, costs, strict=True):
            expires, stale_until = admission.expiry(policy, now, _random, is_fallback=routed.is_fallback)
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

    def remember(self, entries: tuple[Entry, ...]) -> None:
        """What the inputs that were known would have cost."""
        for entry in entries:
            self.known_usage += entry.meta().usage.input
            self.saved += entry.cost or 0

    def reply(self, vectors: tuple[bytes, ...], known: int) -> Reply:
        """The reply and the row."""
        turn, routed = self.turn, self.routed
        spent = routed.usage if routed is not None else Usage()
        usage = Usage(input=spent.input + self.known_usage)
        data = wire.embeddings.write_reply(self.request, vectors, usage, turn.model)
        everything = known == len(vectors)
        state = f"bypass; reason={turn.bypass}" if turn.bypass else ("hit-exact" if everything else "miss")
        headers: list[Header] = [
            (b"content-type", JSON_TYPE),
            (b"content-length", b"%d" % len(data)),
            (b"x-request-id", turn.controls.client_request_id or turn.request_id.encode()),
            (b"ostinato-cache", state.encode()),
            (b"ostinato-cached-inputs", b"%d" % known),
            *recording.money_headers(self.cost, self.saved),
            *recording.rate_headers(turn),
            recording.timing(turn, recording.since(turn, self.rooms), routed.upstream_us if routed is not None else 0),
        ]
        target = routed.target.name if routed is not None else turn.targets[0].name
        headers.append((b"ostinato-target", target.encode()))
        recording.record(
            turn,
            self.rooms,
            cache="bypass" if turn.bypass else ("hit-exact" if everything else "miss"),
            reason=turn.bypass or ("" if everything or not known else "partial"),
            target=target,
            attempts=routed.attempts if routed is not None else (),
            stored=routed is not None and not turn.bypass,
            usage=spent,
            cost=self.cost,
            saved=self.saved,
            upstream_us=routed.upstream_us if routed is not None else 0,
        )
        return Reply(200, headers, data)
