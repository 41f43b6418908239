"""Being told of changes: whoever follows a project hears that something of its prompts is different now.

What is told is a *mark*: it is the same in every process for the same state of a project, and another one after every
change. A follower that is slow hears of several changes as one, so nothing queues up.
"""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from ostinato.core.errors import Unavailable
from ostinato.prompts.snapshot import PromptSnapshot
from ostinato.storage import Snapshot

MOST: Final = 1_000
"""Followers of one process."""


class Follower:
    """One that listens. Belongs to the event loop."""

    def __init__(self, project: str, mark: str) -> None:
        self.project = project
        self.mark = mark
        """What was heard last."""
        self.ended = False
        """Whether nothing more will be told: the server stops."""
        self._changed = asyncio.Event()

    async def next(self, seconds: float) -> bool:
        """Wait for a change of the project; whether there was one within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return not self.ended

    def tell(self, mark: str) -> None:
        """The project's mark, now."""
        if mark != self.mark:
            self.mark = mark
            self._changed.set()

    def end(self) -> None:
        """Nothing more will be told."""
        self.ended = True
        self._changed.set()


class Following:
    """Everybody who follows, in this process."""

    def __init__(self, snapshot: Snapshot[PromptSnapshot], most: int = MOST) -> None:
        self._snapshot = snapshot
        self._most = most
        self._followers: set[Follower] = set()
        self._marks: dict[str, str] = {}
        self._marked = -1
        """The epoch of the snapshot that the marks are of."""
        self._ended = False
        snapshot.on_swap(lambda _: self._tell())

    def __len__(self) -> int:
        return len(self._followers)

    def mark(self, project: str) -> str:
        """The mark of a project (its id) as this process knows it."""
        if self._marked != self._snapshot.epoch:
            self._marks = self._snapshot.value.marks()
            self._marked = self._snapshot.epoch
        return self._marks.get(project, "0")

    def refuse_if_full(self) -> None:
        """Raise ``Unavailable`` where no more can follow."""
        if self._ended or len(self._followers) >= self._most:
            raise Unavailable(
                "The server stops." if self._ended else f"{self._most} clients follow changes here already.",
                code="too_many_followers",
                hint="Ask for prompts again after a time of your own; nothing else is affected.",
                retry_after=30.0,
            )

    @contextmanager
    def follow(self, project: str) -> Generator[Follower]:
        """Hear of changes of a project while inside. Raises ``Unavailable`` where no more can follow."""
        self.refuse_if_full()
        follower = Follower(project, self.mark(project))
        self._followers.add(follower)
        try:
            yield follower
        finally:
            self._followers.discard(follower)

    def end(self) -> None:
        """Let everybody go, and nobody come: the server drains."""
        self._ended = True
        for follower in self._followers:
            follower.end()

    def _tell(self) -> None:
        for follower in self._followers:
            follower.tell(self.mark(follower.project))
