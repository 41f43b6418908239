"""What the control plane remembers between requests, with the one task that tidies it: built by ``app``."""

import asyncio
import contextlib
import logging

from ostinato import audit
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError
from ostinato.storage import Answers, Database
from ostinato.web.api.denials import Denials

_log = logging.getLogger("ostinato.web")

_FLUSH_SECONDS = 60.0
_SWEEP_EVERY = 10
"""Flushes between two sweeps."""


class Desk:
    """Refusals that are counted, and answers that may be asked for again."""

    def __init__(self, control: Database, clock: Clock, log: audit.Log, *, secret: bytes) -> None:
        self.secret = secret
        """Keys the digests of requests."""
        self.denials = Denials(log, clock)
        self.answers = Answers(control, clock, self._carried_out)
        self._log = log
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tidy."""
        self._task = asyncio.get_running_loop().create_task(self._tidy())

    async def stop(self) -> None:
        """Write down what was only counted, and end."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        await self.denials.flush()

    async def _carried_out(self, request_id: str, since: int) -> bool:
        """Whether a request has made its change: then there is its leaf, written with it."""
        leaves = await self._log.page(audit.Filter(request_id=request_id, since=since), limit=10)
        return any(one.leaf.outcome != "denied" for one in leaves)

    async def _tidy(self) -> None:
        rounds = 0
        while True:
            await self._clock.sleep(_FLUSH_SECONDS)
            await self.denials.flush()
            rounds += 1
            if rounds % _SWEEP_EVERY == 0:
                try:
                    await self.answers.sweep()
                except OstinatoError as error:
                    _log.warning("Old idempotency keys could not be forgotten: %s", error.sentence)
