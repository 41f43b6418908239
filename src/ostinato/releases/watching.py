"""Rollouts that go on by themselves: a task that looks at every automatic canary, again and again.

Every process may run one: each step names the version of the release that it was judged for, so of two that are as
quick only one takes it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from ostinato.access import SystemActor
from ostinato.core.errors import Conflict, OstinatoError
from ostinato.releases.judging import Outcome
from ostinato.releases.model import Release
from ostinato.releases.releases import Releases

ACTOR = SystemActor("releases")

_log = logging.getLogger(__name__)


class Watcher:
    """Judges automatic canaries every ``watch_seconds``, and takes the next step, or the way back."""

    def __init__(self, releases: Releases) -> None:
        self._releases = releases
        self._task: asyncio.Task[None] | None = None
        self._waiting: dict[str, str] = {}
        self.doubts: Callable[[str], Awaitable[str]] | None = None
        """Why nothing of a project may go on by itself now (its judges no longer agree with people); empty: it may."""
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

    async def look(self) -> None:
        """One round over all automatic canaries. Does not raise: a database that is away is asked again next time."""
        try:
            canaries = await self._releases.running()
        except OstinatoError as error:
            self._fail(error)
            return
        self.failing = ""
        for release in canaries:
            if not release.plan.auto:
                continue
            try:
                await self._step(release)
            except Conflict as error:
                await self._refused(release, error)
            except OstinatoError as error:
                self._fail(error)
            except Exception:
                self.failing = f"the release {release.id} could not be judged"
                _log.exception("Watching over the release %s failed.", release.id)

    async def _run(self) -> None:
        while True:
            await self._releases.clock.sleep(self._releases.settings.watch_seconds)
            await self.look()

    async def _step(self, release: Release) -> None:
        """What its judge says, done. A judge without data does not let it go on."""
        rooms = self._releases
        judged = await rooms.judged(release)
        if judged.outcome is Outcome.HARM:
            await rooms.rollback(ACTOR, release.id, judged.why, release.version)
            _log.warning("Rolled the release %s of %s back: %s.", release.id, release.prompt, judged.why)
        elif judged.outcome is Outcome.ADVANCE and not await self._doubted(release):
            last = release.step + 1 >= len(release.plan.steps)
            await (rooms.promote if last else rooms.advance)(ACTOR, release.id, judged.why, release.version)
            _log.info("Release %s of %s: %s.", release.id, release.prompt, "promoted" if last else "one step further")

    async def _doubted(self, release: Release) -> bool:
        """Whether it waits at the share that it has; told once for each reason."""
        why = "" if self.doubts is None else await self.doubts(release.project)
        if why and self._waiting.get(release.id) != why:
            _log.warning("The release %s of %s does not go on by itself: %s.", release.id, release.prompt, why)
        self._waiting = (
            {**self._waiting, release.id: why}
            if why
            else {known: one for known, one in self._waiting.items() if known != release.id}
        )
        return bool(why)

    async def _refused(self, release: Release, error: Conflict) -> None:
        """Somebody was quicker, harm was found since (the next round takes it back), or something stands in the way:
        then it waits for people, at the share that it has."""
        if error.code in ("version_moved", "release_state", "release_void", "minima_not_met", "harm_found"):
            return
        _log.warning("The release %s of %s does not go on by itself: %s", release.id, release.prompt, error.message)
        with contextlib.suppress(OstinatoError):
            await self._releases.pause(ACTOR, release.id, error.message, release.version)

    def _fail(self, error: OstinatoError) -> None:
        if not self.failing:
            _log.warning("Automatic rollouts are not looked at: %s", error.message)
        self.failing = error.message
