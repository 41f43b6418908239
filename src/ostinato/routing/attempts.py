"""Asking targets in turn: deadline, retries, breakers, places, and who is to blame.

What decides is the class of a failure (``wire.md``, errors and retries). A refused credential or a rate limit goes to
the next target; a server or network failure is retried at the same one, then goes to the next; the caller's own mistake
goes back to the caller; anything else goes to the next target. Nothing here makes a task or a timer on the good path.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

import msgspec

from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid, OstinatoError, Unavailable
from ostinato.providers.model import Provider, ProviderFailure
from ostinato.routing.lanes import Lane, Lanes
from ostinato.routing.model import Target
from ostinato.routing.settings import Settings
from ostinato.traces.model import AttemptRow

T = TypeVar("T")

OPEN = "open"
"""Outcome of an attempt that was not made because the breaker was open."""
BUSY = "busy"
"""Outcome of an attempt that was not made because no place became free."""
CANCELLED = "cancelled"


class Asked(msgspec.Struct, Generic[T]):
    """A target that answered. Its lane is still entered: whoever holds this must leave it."""

    result: T
    target: Target
    lane: Lane
    permit: int
    begun: float
    """Start of this attempt, monotonic seconds."""


def attempts_of(error: BaseException) -> tuple[AttemptRow, ...]:
    """Every attempt that was made before ``error`` came out of the router."""
    return vars(error).get("attempts", ())


def attach(error: BaseException, rows: list[AttemptRow]) -> None:
    """Let the error carry the attempts that led to it."""
    vars(error)["attempts"] = tuple(rows)


class Asker:
    """Asks targets in turn until one answers."""

    def __init__(
        self, providers: Mapping[str, Provider], lanes: Lanes, clock: Clock, settings: Settings, rng: random.Random
    ) -> None:
        self._providers = providers
        self._lanes = lanes
        self._clock = clock
        self._monotonic = clock.monotonic
        self._settings = settings
        self._rng = rng

    async def ask(
        self,
        targets: tuple[Target, ...],
        deadline: float,
        operate: Callable[[Provider, Target, float], Awaitable[T]],
        rows: list[AttemptRow],
    ) -> Asked[T]:
        """The first target's answer that comes; failed attempts are added to ``rows``.

        Raises the last failure, or ``Unavailable`` where nobody could be asked; the error carries ``rows``.
        """
        try:
            last: OstinatoError | None = None
            for target in targets if len(targets) == 1 else self._lanes.in_order(targets, self._monotonic()):
                provider = self._providers.get(target.provider)
                if provider is None:
                    rows.append(AttemptRow(target.name, 0, "unknown-provider"))
                    continue
                got = await self._ask_one(provider, target, deadline, operate, rows, last=last)
                if isinstance(got, Asked):
                    return got
                last = got or last
            if last is None:
                last = self._nobody(targets, rows)
            raise last
        except BaseException as error:
            attach(error, rows)
            raise

    async def _ask_one(
        self,
        provider: Provider,
        target: Target,
        deadline: float,
        operate: Callable[[Provider, Target, float], Awaitable[T]],
        rows: list[AttemptRow],
        *,
        last: OstinatoError | None,
    ) -> Asked[T] | OstinatoError | None:
        """One target, with its retries: its answer, its last failure, or ``None`` if it could not be asked."""
        lane = self._lanes.of(target)
        tries = 0
        while True:
            now = self._monotonic()
            if now >= deadline:
                raise last or _late()
            permit = lane.breaker.enter(now)
            if not permit:
                rows.append(AttemptRow(target.name, 0, OPEN))
                return last if tries else None
            if not lane.places.take():
                if not await self._wait(lane, permit, deadline - now):
                    rows.append(AttemptRow(target.name, _us(self._monotonic() - now), BUSY))
                    return last if tries else None
                now = self._monotonic()
                if now >= deadline:
                    lane.places.give_back()
                    lane.breaker.leave(permit, now, None)
                    raise last or _late()
            allotted = min(target.timeout, deadline - now)
            try:
                return Asked(await operate(provider, target, allotted), target, lane, permit, now)
            except ProviderFailure as failure:
                ended = self._monotonic()
                lane.places.give_back()
                lane.failed(permit, ended, failure, fair=allotted >= min(target.timeout, self._settings.breaker_fair))
                rows.append(AttemptRow(target.name, _us(ended - now), failure.failure, failure.upstream_status))
                if failure.failure == "request":
                    raise
                last = failure
                if failure.failure not in ("server", "network") or tries >= target.retries:
                    return failure
                wait = self._backoff(failure, tries)
                if wait is None or ended + wait >= deadline:
                    return failure
                tries += 1
            except BaseException as error:
                ended = self._monotonic()
                lane.places.give_back()
                lane.breaker.leave(permit, ended, None)
                rows.append(AttemptRow(target.name, _us(ended - now), _word(error)))
                # A target that cannot take this request at all does not hide why the one before it failed.
                if not isinstance(error, OstinatoError) or (isinstance(error, Invalid) and last is None):
                    raise
                return last if isinstance(error, Invalid) else error
            await self._clock.sleep(wait)

    async def _wait(self, lane: Lane, permit: int, remaining: float) -> bool:
        """Wait for a place; give the permit back if none came."""
        got = False
        try:
            got = await lane.places.wait(min(self._settings.wait, remaining))
        finally:
            if not got:
                lane.breaker.leave(permit, self._monotonic(), None)
        return got

    def _backoff(self, failure: ProviderFailure, tries: int) -> float | None:
        """Seconds to wait before trying the same target again; ``None``: not worth it."""
        settings = self._settings
        asked = failure.retry_after or 0.0
        if asked > settings.backoff_longest:
            return None
        drawn = self._rng.random() * min(settings.backoff * 2**tries, settings.backoff_longest)
        return max(asked, drawn)

    def _nobody(self, targets: tuple[Target, ...], rows: list[AttemptRow]) -> OstinatoError:
        """Why nobody was asked."""
        if any(row.outcome == BUSY for row in rows):
            return Unavailable(
                "Every target of this model is busy.",
                code="targets_busy",
                hint="Try again, or raise `max_concurrency`.",
                retry_after=1.0,
            )
        now = self._monotonic()
        soonest = [self._lanes.of(t).breaker.retry_in(now) for t in targets if t.provider in self._providers]
        if not soonest:
            return Unavailable(
                "No target of this model has a configured provider.",
                code="no_provider",
                hint="Declare the provider, or change the model's targets.",
            )
        return Unavailable(
            "Every target of this model is failing; its circuit breakers are open.",
            code="targets_unavailable",
            hint="The state of each is shown by `ostinato targets list`.",
            retry_after=max(1.0, min(soonest)),
        )


def _late() -> ProviderFailure:
    return ProviderFailure("The deadline passed before any target answered.", failure="timeout")


def _word(error: BaseException) -> str:
    if isinstance(error, asyncio.CancelledError):
        return CANCELLED
    return error.code if isinstance(error, OstinatoError) else "internal"


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)
