"""The router: one call in, the answer of one of several targets out."""

import math
import random
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from blake3 import blake3

from ostinato.core.clock import Clock
from ostinato.providers.model import ChatCall, EmbedCall, Provider
from ostinato.routing.attempts import Asked, Asker
from ostinato.routing.lanes import Lanes
from ostinato.routing.model import Route, Routed, RoutedCount, RoutedEmbedding, Target, TargetState
from ostinato.routing.settings import Settings
from ostinato.routing.streams import StreamContext
from ostinato.traces.model import AttemptRow
from ostinato.wire.model import ChatRequest, EmbeddingRequest

T = TypeVar("T")

_NO_HEADERS: Mapping[str, str] = {}
_ONE = 2.0**64


class Router:
    """Chooses targets and asks them. For one event loop; ``providers`` may change while it lives.

    Deadlines are seconds of ``clock.monotonic()``. Every error that comes out carries its attempts
    (``routing.attempts_of``).
    """

    def __init__(
        self, providers: Mapping[str, Provider], clock: Clock, settings: Settings, rng: random.Random | None = None
    ) -> None:
        self._monotonic: Callable[[], float] = clock.monotonic
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        self._lanes = Lanes(settings)
        self._asker = Asker(providers, self._lanes, clock, settings, self._rng)

    def draw(self, route: Route, seed: bytes | None = None) -> tuple[Target, ...]:
        """The route's targets in the order in which to ask them.

        A weighted route draws: every target comes first as often as its weight says, the same seed gives the same
        order, and a changed weight moves as few seeds as can be. A target of weight 0 is only fallen back on.
        """
        targets = route.targets
        if route.strategy == "ordered" or len(targets) == 1:
            return targets
        ranked = sorted(range(len(targets)), key=lambda index: self._rank(targets[index], seed))
        return tuple(targets[index] for index in ranked)

    async def chat(
        self,
        targets: tuple[Target, ...],
        request: ChatRequest,
        deadline: float,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> Routed:
        """A complete answer. Raises the last ``ProviderFailure``, or ``Unavailable`` if nobody could be asked."""
        rows: list[AttemptRow] = []
        started = self._monotonic()
        asked = await self._asker.ask(
            targets,
            deadline,
            lambda provider, target, timeout: provider.chat(
                ChatCall(request=request, model=target.model, timeout=timeout, headers=headers)
            ),
            rows,
        )
        ended = self._finish(asked, rows)
        reply = asked.result
        upstream_us = _us(ended - started)
        return Routed(
            answer=reply.answer,
            target=asked.target,
            attempts=tuple(rows),
            is_fallback=_other(asked.target, targets),
            upstream_us=upstream_us,
            # A provider may measure on another clock than ours.
            first_byte_us=min(_us(asked.begun - started + reply.first_byte), upstream_us),
            headers=reply.headers,
        )

    def chat_stream(
        self,
        targets: tuple[Target, ...],
        request: ChatRequest,
        deadline: float,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> StreamContext:
        """A stream, as an asynchronous context. The deadline holds to the first content; leaving cancels upstream."""
        return StreamContext(
            self._asker, self._monotonic, targets=targets, request=request, deadline=deadline, headers=headers
        )

    async def embed(
        self,
        targets: tuple[Target, ...],
        request: EmbeddingRequest,
        deadline: float,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> RoutedEmbedding:
        """Vectors for all inputs of ``request``. Raises like :meth:`chat`."""
        rows: list[AttemptRow] = []
        started = self._monotonic()
        asked = await self._asker.ask(
            targets,
            deadline,
            lambda provider, target, timeout: provider.embed(
                EmbedCall(request=request, model=target.model, timeout=timeout, headers=headers)
            ),
            rows,
        )
        ended = self._finish(asked, rows)
        return RoutedEmbedding(
            vectors=asked.result.vectors,
            usage=asked.result.usage,
            target=asked.target,
            attempts=tuple(rows),
            is_fallback=_other(asked.target, targets),
            upstream_us=_us(ended - started),
            headers=asked.result.headers,
        )

    async def count_tokens(
        self,
        targets: tuple[Target, ...],
        request: ChatRequest,
        deadline: float,
        headers: Mapping[str, str] = _NO_HEADERS,
    ) -> RoutedCount:
        """The input tokens of ``request`` as the first target that answers counts them. Raises like :meth:`chat`."""
        rows: list[AttemptRow] = []
        started = self._monotonic()
        asked = await self._asker.ask(
            targets,
            deadline,
            lambda provider, target, timeout: provider.count_tokens(
                ChatCall(request=request, model=target.model, timeout=timeout, headers=headers)
            ),
            rows,
        )
        ended = self._finish(asked, rows)
        return RoutedCount(asked.result, asked.target, tuple(rows), _other(asked.target, targets), _us(ended - started))

    def states(self, targets: Iterable[Target] = ()) -> tuple[TargetState, ...]:
        """The state of every target asked so far, and of ``targets``, by name."""
        return self._lanes.states(self._monotonic(), targets)

    def hold(self, names: frozenset[str]) -> None:
        """Do not ask these targets (``provider/model``) until a later call leaves them out, however well they do."""
        self._lanes.hold(names)

    def keep(self, targets: Iterable[Target]) -> None:
        """Forget what is known of targets that are no longer declared."""
        self._lanes.keep(targets)

    def _finish(self, asked: Asked[T], rows: list[AttemptRow]) -> float:
        """Leave the lane of a whole answer; when that was."""
        now = self._monotonic()
        asked.lane.places.give_back()
        asked.lane.answered(asked.permit, now)
        rows.append(AttemptRow(asked.target.name, _us(now - asked.begun), "ok", 200))
        return now

    def _rank(self, target: Target, seed: bytes | None) -> float:
        """Weighted rendezvous hashing: the smallest of ``-ln(u) / weight`` comes first."""
        if target.weight <= 0:
            return math.inf
        if seed is None:
            drawn = self._rng.random()
        else:
            name = target.name.encode()
            drawn = (
                int.from_bytes(blake3(len(seed).to_bytes(4, "little") + seed + name).digest(length=8), "little") / _ONE
            )
        return -math.log(max(drawn, 1e-300)) / target.weight


def _other(target: Target, targets: tuple[Target, ...]) -> bool:
    return target is not targets[0] and target != targets[0]


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)
