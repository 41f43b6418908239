"""Durable work as rooms see it: register phases by name, start, look, cancel."""

import asyncio
import concurrent.futures
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from ostinato.core import hashing
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, Invalid, NotFound, OstinatoError, Unavailable
from ostinato.jobs.engine import Ended, Engine, JobFailed, failure_of
from ostinato.jobs.leases import Leases
from ostinato.jobs.model import JobState
from ostinato.jobs.settings import Settings
from ostinato.storage import Database

_log = logging.getLogger(__name__)

Phase = Callable[[str], Awaitable[str]]
"""An idempotent piece of work about the subject's id; gives a short JSON text (ids, counts) that is written down."""

_LONGEST = 200
_RESULT = 4_096
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_GRACE = 10.0


class Jobs:
    """The jobs of one process. ``register`` before ``start``; for one event loop, in which the phases run.

    ``where``: file of SQLite, or URL of PostgreSQL, which several processes share; then ``leases`` is a database of
    ours there, and ``executor`` differs from process to process. In a file, ``executor`` stays the same from start to
    start. A process that ends, however it ends, leaves its jobs where they are: the next start, or another process,
    goes on with them at the phase that had not ended.
    """

    def __init__(
        self,
        where: Path | str,
        clock: Clock,
        executor: str,
        *,
        settings: Settings | None = None,
        leases: Database | None = None,
    ) -> None:
        self._where = where
        self._clock = clock
        self._settings = settings or Settings()
        self._phases: dict[str, dict[str, Phase]] = {}
        self._engine = Engine(where, executor, self._settings, self._names, self._work)
        self._leases = Leases(leases, clock, executor, self._settings.lease) if leases is not None else None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._running: dict[str, asyncio.Task[str]] = {}
        self._unwanted: set[str] = set()
        self._stopping = False
        self.failing = ""
        """Why durable work is not ready; empty while all is well, or while nobody needed it."""

    @property
    def running(self) -> tuple[str, ...]:
        """Ids of the jobs that this process works on now."""
        return tuple(self._running)

    def register(self, name: str, phases: Mapping[str, Phase]) -> None:
        """Say what a job is made of. Phases run in order; one that has ended is not run again."""
        if self._loop is not None:
            raise Conflict(f"The job {name!r} is registered after the start.", code="jobs_started")
        if name in self._phases:
            raise Conflict(f"The job {name!r} is registered twice.", code="job_exists")
        if not phases or ":" in name:
            raise Invalid(f"The job {name!r} has no phases, or a colon in its name.", code="invalid_job")
        self._phases[name] = dict(phases)

    async def start(self) -> None:
        """Begin to work, in the background: nothing waits for it. In a file, only if there ever was a job."""
        self._loop = asyncio.get_running_loop()
        if self._settings.enabled and self._phases and (isinstance(self._where, str) or self._where.exists()):
            self._open()

    async def enqueue(self, name: str, subject_id: str, *, key: str) -> str:
        """Have a job done; gives its id. The same name and key are the same job, done once, whatever became of it.

        Raises ``Unavailable`` where durable work is off or cannot be reached.
        """
        if name not in self._phases:
            raise Invalid(f"There is no job {name[:80]!r}.", code="unknown_job")
        job_id = f"{name}:{key}"
        if len(job_id) > _LONGEST:
            job_id = f"{name}:{hashing.digest(key.encode()).hex()}"
        await self._opened()
        await asyncio.to_thread(self._engine.enqueue, job_id, name, subject_id)
        return job_id

    async def state(self, job_id: str) -> JobState:
        """A job, now. Raises ``NotFound``."""
        found: JobState | None = None
        if self._keeper is not None:
            await self._opened()
            found = await asyncio.to_thread(self._engine.state, job_id)
        if found is None:
            raise NotFound(f"There is no job {job_id[:80]!r}.", code="job_not_found")
        return found

    async def cancel(self, job_id: str) -> None:
        """Have a job not done, or not to its end: the phase that runs is cancelled, here at once, elsewhere shortly."""
        await self.state(job_id)
        await asyncio.to_thread(self._engine.cancel, job_id)
        self._drop(job_id)

    async def resume(self, job_id: str) -> None:
        """Go on with a job that failed or was cancelled, at the phase that had not ended."""
        found = await self.state(job_id)
        if found.state in ("failed", "cancelled"):
            self._unwanted.discard(job_id)
            await asyncio.to_thread(self._engine.resume, job_id)

    async def wait(self, job_id: str) -> JobState:
        """A job once it has ended."""
        while True:
            found = await self.state(job_id)
            if found.state not in ("queued", "running"):
                return found
            await asyncio.sleep(self._settings.polling)

    async def stop(self) -> None:
        """End. What runs is left as it is, to be gone on with."""
        self._stopping = True
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            with suppress(asyncio.CancelledError):
                await keeper
        running = list(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=_GRACE)
        if keeper is not None:
            if self._leases is not None and self._engine.running:
                # In good order: what this process was doing is up for others at once.
                with suppress(Exception):
                    await asyncio.to_thread(self._engine.recover, self._engine.executor)
                    await self._leases.bury(self._engine.executor)
            await asyncio.to_thread(self._engine.close)

    # --- in the event loop ----------------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._keeper is None and not self._stopping:
            self._keeper = asyncio.create_task(self._keep())

    async def _opened(self) -> None:
        if not self._settings.enabled:
            raise Unavailable(
                "This process does not run jobs.", code="jobs_off", hint="Set `enabled` under [jobs], or ask another."
            )
        if self._loop is None or self._stopping:
            raise Unavailable("Durable work is not started.", code="jobs_not_ready", retry_after=1.0)
        self._open()
        try:
            # Not `wait_for`: before Python 3.12 it takes no notice of a cancellation in the moment of success.
            async with asyncio.timeout(self._settings.opening):
                await self._ready.wait()
        except TimeoutError:
            raise Unavailable(
                f"Durable work cannot be reached: {self.failing or 'it is not ready yet'}.",
                code="jobs_not_ready",
                retry_after=5.0,
            ) from None

    async def _keep(self) -> None:
        """Open, begin to run, and look after what runs."""
        pause = _FIRST_PAUSE
        while True:
            try:
                if not self._ready.is_set():
                    await asyncio.to_thread(self._engine.open)
                    if self._leases is not None:
                        await self._leases.beat()
                    await asyncio.to_thread(self._engine.run)
                    self._ready.set()
                await self._look()
                self.failing, pause = "", _FIRST_PAUSE
            except Exception as error:
                self.failing = type(error).__name__
                _log.warning("Durable work cannot be reached (%s); trying again.", type(error).__name__)
                pause = min(pause * 2, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    async def _look(self) -> None:
        """Once a second: take the place of an engine that has closed, heed cancellations, go on for the dead."""
        if not self._engine.running and not await asyncio.to_thread(self._engine.run):
            return
        if self._leases is None:
            return
        for job_id in await asyncio.to_thread(self._engine.cancelled, list(self._running)):
            self._drop(job_id)
        if not await self._leases.beat():
            # Others went on with what was ours: two must not work on it.
            _log.warning("This process was held to be dead; others go on with its jobs.")
            for task in list(self._running.values()):
                task.cancel()
        for executor in await self._leases.dead():
            _log.warning("Going on with the jobs of a process that has ended.")
            await asyncio.to_thread(self._engine.recover, executor)
            await self._leases.bury(executor)

    def _drop(self, job_id: str) -> None:
        task = self._running.get(job_id)
        if task is not None:
            self._unwanted.add(job_id)
            task.cancel()

    async def _do(self, job_id: str, name: str, phase: str, subject: str) -> str:
        """One phase, as a task of its own."""
        task = asyncio.current_task()
        assert task is not None
        self._running[job_id] = task
        try:
            result = await self._phases[name][phase](subject)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if isinstance(error, OstinatoError):
                _log.warning("The phase %r of the job %r failed: %s", phase, job_id, error.message)
            elif not isinstance(error, JobFailed):
                _log.warning("The phase %r of the job %r failed.", phase, job_id, exc_info=error)
            raise
        finally:
            if self._running.get(job_id) is task:
                del self._running[job_id]
        if len(result) > _RESULT:
            raise JobFailed(f"The phase {phase!r} gave {len(result)} characters; at most {_RESULT}.", "result_too_long")
        return result

    # --- in threads of DBOS's -------------------------------------------------------------------------------------

    def _names(self, name: str) -> tuple[str, ...]:
        phases = self._phases.get(name)
        if phases is None:
            raise JobFailed(f"This version of Ostinato knows no job {name[:80]!r}.", "unknown_job")
        return tuple(phases)

    def _work(self, job_id: str, name: str, phase: str, subject: str) -> str:
        if self._stopping or self._loop is None:
            raise Ended
        try:
            future = asyncio.run_coroutine_threadsafe(self._do(job_id, name, phase, subject), self._loop)
        except RuntimeError:  # the loop is closed
            raise Ended from None
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            # Stopped from outside, by us: to be gone on with, or written down as cancelled already.
            raise Ended from None
        except Exception as error:
            raise failure_of(error) from None
