"""What is known of each target's health, shared by all routes that lead to it."""

from collections.abc import Iterable

from ostinato.providers.model import FailureClass, ProviderFailure
from ostinato.routing.breaker import Breaker
from ostinato.routing.model import Target, TargetState
from ostinato.routing.places import Places
from ostinato.routing.settings import Settings

_UNHEALTHY: frozenset[FailureClass] = frozenset({"server", "timeout", "network", "malformed", "cut"})


class Lane:
    """One target's breaker, places and rest."""

    __slots__ = ("_rest_for", "_settings", "breaker", "last_failure", "name", "places", "rest_until")

    def __init__(self, target: Target, settings: Settings) -> None:
        self.name = target.name
        self.breaker = Breaker(settings)
        self.places = Places(target.max_concurrency or settings.max_concurrency, settings.max_waiting)
        self.rest_until = 0.0
        self.last_failure = ""
        self._settings = settings
        self._rest_for = settings.rest

    def answered(self, permit: int, now: float) -> None:
        """The target did what it was asked."""
        self.breaker.leave(permit, now, True)
        self._rest_for = self._settings.rest

    def failed(self, permit: int, now: float, failure: ProviderFailure, *, fair: bool) -> None:
        """The target failed. A refusal shows health; a rate limit or a credential says nothing about it."""
        kind = failure.failure
        self.last_failure = kind
        if kind == "timeout" and not fair:
            self.breaker.leave(permit, now, None)
        elif kind in _UNHEALTHY:
            self.breaker.leave(permit, now, False)
        else:
            self.breaker.leave(permit, now, True if kind == "request" else None)
            if kind == "rate":
                asked = failure.retry_after if failure.retry_after is not None else self._rest_for
                self.rest_until = now + min(asked, self._settings.rest_longest)
                self._rest_for = min(self._rest_for * 2, self._settings.rest_longest)

    def broke_off(self, now: float, failure: ProviderFailure) -> None:
        """A stream that was reported as answered has failed after all."""
        self.last_failure = failure.failure
        self.breaker.strike(now)

    def state(self, now: float) -> TargetState:
        calls, failures = self.breaker.counts(now)
        return TargetState(
            target=self.name,
            breaker="open" if self.breaker.held else self.breaker.state,
            calls=calls,
            failures=failures,
            retry_in=self.breaker.retry_in(now),
            resting=max(0.0, self.rest_until - now),
            in_flight=self.places.taken,
            waiting=self.places.waiting,
            transitions=self.breaker.transitions,
            last_failure=self.last_failure,
        )


class Lanes:
    """Lanes by target, made on first use; bounded by the targets that are declared."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lanes: dict[str, Lane] = {}
        self._held: frozenset[str] = frozenset()

    def of(self, target: Target) -> Lane:
        name = target.name
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = Lane(target, self._settings)
            lane.breaker.held = name in self._held
        return lane

    def in_order(self, targets: tuple[Target, ...], now: float) -> tuple[Target, ...]:
        """The targets, those that rest after a rate limit last."""
        if len(targets) == 1:
            return targets
        ready = tuple(target for target in targets if self.of(target).rest_until <= now)
        if len(ready) in (0, len(targets)):
            return targets
        return ready + tuple(target for target in targets if target not in ready)

    def hold(self, names: frozenset[str]) -> None:
        """From now on let nobody call these targets, and everybody the others."""
        self._held = names
        for name, lane in self._lanes.items():
            lane.breaker.held = name in names

    def keep(self, targets: Iterable[Target]) -> None:
        """Forget idle targets that are no longer declared."""
        names = {target.name for target in targets}
        for name in [name for name, lane in self._lanes.items() if name not in names and not lane.places.taken]:
            del self._lanes[name]

    def states(self, now: float, targets: Iterable[Target] = ()) -> tuple[TargetState, ...]:
        """Of every target used so far and of ``targets``, by name."""
        for target in targets:
            self.of(target)
        return tuple(self._lanes[name].state(now) for name in sorted(self._lanes))
