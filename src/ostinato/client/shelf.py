"""Prompts at hand: fresh for a time, confirmed cheaply, and served stale while the server is away.

No I/O and no clock of its own, so that both clients share it and tests wind it. Safe for threads.
"""

import threading
import warnings
from typing import NamedTuple, Protocol

from ostinato.client.prompt import Prompt
from ostinato.core.errors import OstinatoError

SETTLING = 3.0
"""Seconds after a notice in which nothing counts as fresh for long: another process may not have heard it yet."""

_PAUSES = (0.5, 30.0)
"""The first and the longest pause between two tries of a server that does not answer."""


class StalePrompt(UserWarning):
    """The server cannot be reached; a prompt is used as it was last seen."""


class Key(NamedTuple):
    """What a prompt was asked for by."""

    name: str
    label: str
    version: int
    """0: by label."""
    session: str
    user: str
    """Who asks, from whom the arm of a canary is drawn; empty: it is not."""


class Monotonic(Protocol):
    """Seconds that never jump; ``core.clock.Clock`` is one."""

    def monotonic(self) -> float: ...


class _Kept:
    __slots__ = ("confirmed", "etag", "fresh_until", "pause", "prompt", "retry_at")

    def __init__(self, prompt: Prompt, etag: str) -> None:
        self.prompt = prompt
        self.etag = etag
        self.confirmed = 0.0
        """When the server last said that it is so."""
        self.fresh_until = 0.0
        self.retry_at = 0.0
        """While the server is away: when it is asked again."""
        self.pause = 0.0


class Shelf:
    """At most ``most`` prompts, the least recently used leave first."""

    def __init__(self, clock: Monotonic, *, ttl: float, max_stale: float, most: int = 1024) -> None:
        self._clock = clock
        self._ttl = ttl
        self._max_stale = max_stale
        self._most = most
        self._lock = threading.Lock()
        self._kept: dict[Key, _Kept] = {}
        self._notices = 0
        self._settled_at = 0.0
        self._warned = False

    def renew_lock(self) -> None:
        """After a fork: the old lock may be held by a thread that does not exist here."""
        self._lock = threading.Lock()

    def fresh(self, key: Key) -> Prompt | None:
        """The prompt, if the server need not be asked: it is fresh, or the server has just failed to answer."""
        now = self._clock.monotonic()
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            self._kept[key] = self._kept.pop(key)
            if now < kept.fresh_until:
                return kept.prompt
            if now < kept.retry_at and now - kept.confirmed <= self._max_stale:
                return kept.prompt.as_stale()
            return None

    def etag(self, key: Key) -> str:
        """What to ask the server with: it need not send again what we have."""
        with self._lock:
            kept = self._kept.get(key)
            return kept.etag if kept is not None else ""

    @property
    def notices(self) -> int:
        """Counts the notices; read it before asking and give it to ``keep`` or ``confirm``."""
        return self._notices

    def keep(self, key: Key, prompt: Prompt, etag: str, notices: int) -> Prompt:
        """What the server sent."""
        with self._lock:
            self._kept.pop(key, None)
            while len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]
            kept = self._kept[key] = _Kept(prompt, etag)
            self._stamp(kept, notices)
        return prompt

    def confirm(self, key: Key, notices: int) -> Prompt | None:
        """The server says that nothing has changed; ``None`` if the prompt has left meanwhile."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                return None
            self._stamp(kept, notices)
            return kept.prompt

    def _stamp(self, kept: _Kept, notices: int) -> None:
        now = self._clock.monotonic()
        kept.confirmed = now
        kept.retry_at = kept.pause = 0.0
        self._warned = False
        if notices != self._notices:
            # Something changed while the server was being asked: what it said may be older than that.
            kept.fresh_until = now
        elif now < self._settled_at:
            kept.fresh_until = min(self._settled_at, now + self._ttl)
        else:
            kept.fresh_until = now + self._ttl

    def evict(self, key: Key) -> None:
        """It does not exist any more, or not for us."""
        with self._lock:
            self._kept.pop(key, None)

    def without_server(self, key: Key, error: OstinatoError) -> Prompt:
        """The prompt as it was last seen, if that is not too long ago; else raises ``error``."""
        now = self._clock.monotonic()
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or now - kept.confirmed > self._max_stale:
                raise error
            kept.pause = min(max(2 * kept.pause, _PAUSES[0]), _PAUSES[1])
            kept.retry_at = now + kept.pause
            warn, self._warned = not self._warned, True
            age = now - kept.confirmed
        if warn:
            warnings.warn(
                f"{error.message} Prompts are used as they were last seen ({age:.0f} s ago), "
                f"for at most {self._max_stale:.0f} s.",
                StalePrompt,
                stacklevel=4,
            )
        return kept.prompt.as_stale()

    def notice(self) -> None:
        """Some prompt or label has changed, or may have while we could not hear: everything is asked for again."""
        now = self._clock.monotonic()
        with self._lock:
            self._notices += 1
            self._settled_at = now + SETTLING
            for kept in self._kept.values():
                kept.fresh_until = min(kept.fresh_until, now)
                kept.retry_at = 0.0
