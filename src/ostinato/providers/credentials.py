"""The keys that a provider may use, and which of them rest at the moment."""

from ostinato.core.clock import Clock
from ostinato.core.secret import ApiKey
from ostinato.providers.model import ProviderFailure

__all__ = ["ApiKey", "Credentials"]

_MAX_RESTS = 4096


class Credentials:
    """Keys in order. One is used until it must rest, so that the provider's prefix cache stays with its account.

    A key that was refused (401) rests for every model, one that lacks a permission or money (402, 403) for that model,
    one that reached its rate limit (429) is passed over while there is another. After its rest a key is tried again.
    """

    def __init__(self, provider: str, keys: tuple[ApiKey, ...], clock: Clock, rest: float) -> None:
        self._provider = provider
        self._keys = keys or (ApiKey(""),)
        self._clock = clock
        self._rest = rest
        self._current = 0
        self._resting: dict[int, float] = {}
        self._resting_model: dict[tuple[int, str], float] = {}
        self._limited: dict[tuple[int, str], float] = {}

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def resting(self) -> int:
        """Keys that rest for every model."""
        now = self._clock.monotonic()
        return sum(until > now for until in self._resting.values())

    def choose(self, model: str, tried: frozenset[int] = frozenset()) -> int:
        """The number of the key to use for ``model``; raises ``ProviderFailure`` where none is left."""
        if not (tried or self._resting or self._resting_model or self._limited):
            return self._current
        now = self._clock.monotonic()
        soonest = float("inf")
        limited: tuple[float, int] | None = None
        for offset in range(len(self._keys)):
            index = (self._current + offset) % len(self._keys)
            if index in tried:
                continue
            until = max(self._resting.get(index, 0.0), self._resting_model.get((index, model), 0.0))
            if until > now:
                soonest = min(soonest, until)
                continue
            until = self._limited.get((index, model), 0.0)
            if until <= now:
                return index
            if limited is None or until < limited[0]:
                limited = (until, index)
        if limited is not None:
            return limited[1]
        wait = soonest - now if soonest != float("inf") else self._rest
        raise ProviderFailure(
            f"No usable API key is left for {self._provider}.",
            failure="credential",
            retry_after=wait,
            hint=f"The keys were refused. They are tried again in {wait:.0f} s; check them and the account.",
        )

    def key(self, index: int) -> ApiKey:
        return self._keys[index]

    def spare(self, model: str, tried: frozenset[int]) -> bool:
        """Whether a key is left that was not tried and does not rest."""
        now = self._clock.monotonic()
        return any(
            index not in tried
            and self._resting.get(index, 0.0) <= now
            and self._resting_model.get((index, model), 0.0) <= now
            and self._limited.get((index, model), 0.0) <= now
            for index in range(len(self._keys))
        )

    def failed(self, index: int, model: str, failure: ProviderFailure) -> bool:
        """Note what happened to the key; tells whether another key might fare better."""
        now = self._clock.monotonic()
        if failure.failure == "credential":
            self._resting[index] = now + self._rest
        elif failure.failure == "forbidden":
            _put(self._resting_model, (index, model), now + self._rest)
        elif failure.failure == "rate":
            if len(self._keys) == 1:
                return False
            wait = failure.retry_after if failure.retry_after is not None else 1.0
            _put(self._limited, (index, model), now + min(wait, self._rest))
        else:
            return False
        if index == self._current:
            self._current = (index + 1) % len(self._keys)
        return True

    def worked(self, index: int, model: str) -> None:
        """The key did its work: whatever it rested from is over."""
        if self._resting or self._resting_model or self._limited:
            self._resting.pop(index, None)
            self._resting_model.pop((index, model), None)
            self._limited.pop((index, model), None)


def _put(table: dict[tuple[int, str], float], key: tuple[int, str], until: float) -> None:
    if len(table) >= _MAX_RESTS:
        table.clear()
    table[key] = until
