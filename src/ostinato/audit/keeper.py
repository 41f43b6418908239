"""What goes on by itself: checkpoints, anchors, counts of refusals, and effects that a crash has interrupted."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ostinato import outbound, storage
from ostinato.audit import anchors
from ostinato.audit.anchors import Anchor
from ostinato.audit.checkpoints import Checkpoint
from ostinato.audit.effects import Effect
from ostinato.audit.log import Log
from ostinato.core.errors import OstinatoError

Handler = Callable[[Any], Awaitable[dict[str, str | int]]]
"""Carries an effect out, given its payload; gives the facts of its outcome. It may be called twice for one effect."""

_MINUTE = 60.0
_STALE_SECONDS = 120.0
"""An effect without an outcome for so long belongs to a process that is gone, where several share the log."""
_LAST_SECONDS = 10.0
"""What the last checkpoint and its anchors may take at a stop."""

_log = logging.getLogger(__name__)


class Keeper:
    """One background task for each process; any number of them may keep one log."""

    def __init__(self, log: Log, client: outbound.Client, directory: storage.DataDirectory | None = None) -> None:
        self._log = log
        self._directory = directory
        self._alone = directory is not None
        self._anchors: list[Anchor] = anchors.build(log.settings, client)
        self._handlers: dict[str, Handler] = {}
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._signed_at = 0
        self._signed_leaves = 0
        self._minute = 0.0
        self._failing: dict[str, str] = {}

    @property
    def failing(self) -> str:
        """What does not work now; empty while all is well."""
        return "; ".join(self._failing.values())

    async def start(self) -> None:
        """Find the signing key and begin."""
        await self._log.open(self._directory)
        self._signed_at = self._log.clock.now()
        self._minute = self._log.clock.monotonic()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Write down what is counted, sign and anchor what is committed. May be called twice."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_SECONDS):
                await self._guarded("denials", self._log.write_denials())
                await self._guarded("checkpoint", self._sign())

    async def resume(self, kind: str, handler: Handler) -> None:
        """From now on carry out effects of this kind that nobody has finished; first those of earlier processes."""
        self._handlers[kind] = handler
        await self._guarded("effects", self._finish_others(0.0 if self._alone else _STALE_SECONDS))

    async def _run(self) -> None:
        settings, clock = self._log.settings, self._log.clock
        pause = min(1.0, settings.checkpoint_seconds)
        while True:
            await clock.sleep(pause)
            fresh = self._log.appended - self._signed_leaves >= settings.checkpoint_leaves
            if fresh or clock.now() - self._signed_at >= settings.checkpoint_seconds * 1_000_000:
                await self._guarded("checkpoint", self._sign())
            if clock.monotonic() - self._minute >= _MINUTE:
                self._minute = clock.monotonic()
                await self._guarded("denials", self._log.write_denials())
                await self._guarded("effects", self._finish_others(_STALE_SECONDS))

    async def _sign(self) -> None:
        """A checkpoint, if there is anything new; then every anchor that does not have it."""
        self._signed_at, self._signed_leaves = self._log.clock.now(), self._log.appended
        checkpoint, _ = await self._log.sign()
        if checkpoint is None or not self._anchors:
            return
        have = await self._log.receipts(checkpoint.size)
        for anchor in self._anchors:
            if anchor.name not in have:
                await self._guarded(f"anchor {anchor.name}", self._anchor(anchor, checkpoint))

    async def _anchor(self, anchor: Anchor, checkpoint: Checkpoint) -> None:
        await self._log.receive(checkpoint.size, anchor.name, await anchor.keep(self._log, checkpoint))

    async def _finish_others(self, age: float) -> None:
        async with self._turn:
            before = self._log.clock.now() - int(age * 1_000_000) + 1
            for effect in await self._log.unfinished(before, list(self._handlers)):
                await self._guarded(f"effect {effect.kind}", self._carry_out(effect))

    async def _carry_out(self, effect: Effect) -> None:
        facts = await self._handlers[effect.kind](effect.payload)
        if await self._log.finish(effect.id, "done", {**facts, "resumed": 1}) is not None:
            _log.warning("An effect that had been interrupted, %s, was carried out.", effect.kind)

    async def _guarded(self, what: str, work: Awaitable[object]) -> None:
        """What fails is told once, and tried again the next time round."""
        try:
            await work
        except OstinatoError as error:
            reason = error.sentence
        except Exception as error:
            reason = f"{what} failed ({type(error).__name__})"
            if what not in self._failing:
                _log.exception("The audit log's %s failed.", what)
        else:
            self._failing.pop(what, None)
            return
        if self._failing.get(what) != reason:
            _log.warning("The audit log's %s: %s", what, reason)
        self._failing[what] = reason
