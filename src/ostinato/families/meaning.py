"""Questions that mean nearly the same, by the packaged encoder where it is installed: a few a second, off the hot path.

MinHash (``likeness``) finds what differs in a word; this finds what says the same in other words. A question is chosen
before anybody knows whether it is new, so that what is found of those that were chosen holds for all.
"""

import asyncio
import contextlib
import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from ostinato.core.clock import Clock
from ostinato.embeddings import Embedder

if TYPE_CHECKING:
    from ostinato.embeddings.model import Vectors

ALIKE = 0.85
"""Cosine from which on two questions are of one meaning: of pairs of banking questions, 95 % have the same intent (of
those that MinHash finds, 77 %)."""
_FAMILIES, _FIRSTS = 500, 16
"""Families whose questions are compared, and vectors kept of each: some 12 MB."""
_WAITING = 64
_LONGEST = 1_000
"""Characters of a question that are looked at."""
_PAUSE = 0.25
_log = logging.getLogger(__name__)


class Chosen(msgspec.Struct, frozen=True, gc=False):
    """A question on its way to the encoder."""

    org: str
    project: str
    family: str
    user: str
    text: str


class _First(msgspec.Struct, gc=False):
    user: str
    vector: "Vectors"


class Meaning:
    """Compares the questions of a family by their meaning. ``choose`` and ``offer``: of the thread that adds up."""

    def __init__(self, embedder: Embedder, clock: Clock, per_second: int, tell: Callable[[Chosen, bool], None]) -> None:
        """``tell(question, near)``: called on the event loop; ``near``: whether one like it came before."""
        self.id = embedder.id
        self._embedder = embedder
        self._clock = clock
        self._per_second = per_second
        self._tell = tell
        self._waiting: deque[Chosen] = deque()
        self._firsts: OrderedDict[tuple[str, str], list[_First]] = OrderedDict()
        self._lock = threading.Lock()
        self._second = self._chosen = 0
        self._task: asyncio.Task[None] | None = None
        self.passed_over = 0
        """Chosen questions that could not be compared: no room, or the encoder failed."""

    def choose(self) -> bool:
        """Whether this second has room for one more."""
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second, self._chosen = second, 0
        self._chosen += 1
        return self._chosen <= self._per_second

    def offer(self, one: Chosen) -> None:
        """Compare a new question, later."""
        if len(self._waiting) >= _WAITING:
            self.passed_over += 1
            return
        self._waiting.append(msgspec.structs.replace(one, text=one.text[:_LONGEST]))

    def forget(self, project: str, user: str) -> None:
        """Drop what an end user asked; empty: what anybody asked."""
        with self._lock:
            for one in [one for one in self._waiting if user in ("", one.user) and project in ("", one.project)]:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(one)
            for (home, _), firsts in self._firsts.items():
                if project in ("", home):
                    firsts[:] = [one for one in firsts if user and one.user != user]

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE)
            try:
                await self.compare()
            except Exception as error:
                _log.warning("Questions could not be compared by their meaning (%s).", type(error).__name__)

    async def compare(self) -> None:
        """Compare what waits."""
        while self._waiting:
            one = self._waiting[0]
            try:
                vector = (await self._embedder.embed([one.text]))[0]
            except Exception:
                self.passed_over += 1
                with self._lock:
                    self._done(one)
                raise
            near = self._joined(one, vector)
            if near is not None:
                self._tell(one, near)

    def _done(self, one: Chosen) -> bool:
        """Whether a question still waited: it does no more. With the lock held."""
        if self._waiting and self._waiting[0] is one:
            self._waiting.popleft()
            return True
        return False

    def _joined(self, one: Chosen, vector: "Vectors") -> bool | None:
        """Whether a question is like one that came before; one that is not is kept. ``None``: it was forgotten."""
        place = (one.project, one.family)
        # In one go: between the two, somebody could be forgotten whose question then would be kept.
        with self._lock:
            if not self._done(one):
                return None
            firsts = self._firsts.setdefault(place, [])
            self._firsts.move_to_end(place)
            while len(self._firsts) > _FAMILIES:
                self._firsts.popitem(last=False)
            if any(float(vector @ first.vector) >= ALIKE for first in firsts):
                return True
            if len(firsts) >= _FIRSTS:
                del firsts[0]
            firsts.append(_First(one.user, vector.copy()))
            return False
