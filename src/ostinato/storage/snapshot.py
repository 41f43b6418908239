"""A value that is loaded whole, read without waiting, and swapped when a notice says that something changed."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from ostinato.core.clock import Clock, SystemClock
from ostinato.core.errors import OstinatoError, Unavailable
from ostinato.storage.notices import Notices

_log = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0


class Current(Protocol, Generic[T_co]):
    """A snapshot as its readers see it: ``value`` is swapped whole."""

    @property
    def value(self) -> T_co: ...


class Snapshot(Generic[T]):
    """The last good value of ``load``; ``value`` costs an attribute look-up.

    ``load`` gives a new immutable value. A reload that fails keeps the last good one, says so in ``failing`` and tries
    again by itself (after 0.25 s, 0.5 s ... 5 s).
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[T]],
        notices: Notices | None = None,
        topic: str = "",
        clock: Clock | None = None,
    ) -> None:
        self._load = load
        self._notices = notices
        self._topic = topic
        self._clock = clock or SystemClock()
        self._value: T | None = None
        self._callbacks: list[Callable[[T], None]] = []
        self._wanted = 0
        self._loaded = 0
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._end: Callable[[], None] | None = None
        self.epoch = 0
        """Counts the swaps; 0: nothing was loaded yet."""
        self.failing = ""
        """Why the last reload failed; empty while all is well."""

    @property
    def value(self) -> T:
        """The value that stands. Raises ``Unavailable`` before the first successful load."""
        if self.epoch == 0:
            raise Unavailable(f"The snapshot of {self._topic or 'this value'!r} is not loaded yet.")
        return self._value  # pyright: ignore[reportReturnType] - loaded once the epoch counts; T may include None

    def on_swap(self, callback: Callable[[T], None]) -> None:
        """Call ``callback(value)`` after every swap, on the event loop; must return at once."""
        self._callbacks.append(callback)

    async def start(self) -> None:
        """Load for the first time (what ``load`` raises comes through) and follow the notices from then on."""
        if self._notices is not None and self._topic and self._end is None:
            # Subscribed before loading: a change in between causes one reload too many, never one too few.
            self._end = self._notices.subscribe(self._topic, self._hear)
        await self._renew()

    async def reload(self) -> None:
        """Load again and swap; returns when a load that began after this call is in place. Never raises for ``load``:
        see ``failing``. Calls at the same time share one load."""
        with contextlib.suppress(OstinatoError):
            await self._renew()

    async def close(self) -> None:
        """Stop following; ``value`` stays. May be called twice."""
        if self._end is not None:
            self._end()
            self._end = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _hear(self, _detail: str) -> None:
        self._wanted += 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._follow())

    async def _follow(self) -> None:
        """Reload until what is loaded is as new as the last notice."""
        pause = _FIRST_PAUSE
        while self._loaded < self._wanted or self.failing:
            with contextlib.suppress(OstinatoError):
                await self._renew()
                pause = _FIRST_PAUSE
                continue
            await self._clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _renew(self) -> None:
        self._wanted += 1
        ticket = self._wanted
        async with self._turn:
            if self._loaded >= ticket:
                return
            covered = self._wanted
            try:
                value = await self._load()
            except OstinatoError as error:
                self._fail(error.message)
                raise
            except Exception as error:
                self._fail(type(error).__name__)
                _log.exception("Loading %r failed; the last good value stays.", self._topic)
                raise Unavailable(f"Loading {self._topic!r} failed ({type(error).__name__}).") from error
            self._value = value
            self._loaded = covered
            self.epoch += 1
            self.failing = ""
        self._tell(value)

    def _fail(self, reason: str) -> None:
        self.failing = reason
        if self.epoch:
            _log.warning("Loading %r failed (%s); the last good value stays.", self._topic, reason)
            if self._task is None or self._task.done():
                self._task = asyncio.get_running_loop().create_task(self._follow())

    def _tell(self, value: T) -> None:
        for callback in tuple(self._callbacks):
            try:
                callback(value)
            except Exception:
                _log.exception("A follower of %r failed; the others are told all the same.", self._topic)
