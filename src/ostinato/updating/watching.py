"""Canaries that go on by themselves: a task that looks at all of them, again and again."""

import asyncio
import contextlib
import logging

from ostinato.core.errors import OstinatoError
from ostinato.updating.updating import Updating

_log = logging.getLogger(__name__)


class Watcher:
    """Looks every ``watch_seconds``. Every process may run one: of two that are as quick only one takes a step."""

    def __init__(self, room: Updating) -> None:
        self._room = room
        self._task: asyncio.Task[None] | None = None
        self.failing = ""
        """Why the last round could not be finished; empty while all is well."""

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End; a step that was begun is finished or undone by its transaction."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            await self._room.clock.sleep(self._room.settings.watch_seconds)
            try:
                await self._room.look()
                self.failing = ""
            except OstinatoError as error:
                if not self.failing:
                    _log.warning("Changes of models are not looked at: %s", error.message)
                self.failing = error.message
            except Exception:
                self.failing = "a canary could not be judged"
                _log.exception("Watching over changes of models failed.")
