"""The one place that knows DBOS: a workflow of one shape for all jobs, run in DBOS's threads, worked in our event loop.

DBOS is one per process. The first engine that opens runs jobs; another one (two gateways in one process, as tests have
them) can start, look at and cancel jobs meanwhile, and runs them once the first has closed.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ostinato.core.errors import OstinatoError, Unavailable
from ostinato.jobs.model import JobState, State
from ostinato.jobs.settings import Settings

_WORKFLOW = "ostinato.job"
_QUEUE = "ostinato"
_APPLICATION = "ostinato"
_VERSION = "1"
"""Constant: jobs of an older Ostinato go on after an upgrade."""
_RECOVERIES = 1_000_000
"""A job is never given up because its process was killed often."""
_LISTENING = 0.5
_SELDOM = 3_600.0
_STATES: dict[str, State] = {
    "DELAYED": "queued",
    "ENQUEUED": "queued",
    "PENDING": "running",
    "SUCCESS": "done",
    "ERROR": "failed",
    "MAX_RECOVERY_ATTEMPTS_EXCEEDED": "failed",
    "CANCELLED": "cancelled",
}

_place = threading.Lock()
"""Held by the engine that runs jobs in this process."""


class Ended(BaseException):
    """The phase was stopped from outside: nothing is to be written down, so that it can begin again. Not an
    ``Exception`` on purpose: DBOS writes those down as the job's failure."""


class JobFailed(Exception):
    """What DBOS writes down of a failure: a sentence and a code, never a text of somebody's."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


Work = Callable[[str, str, str, str], str]
"""``work(job_id, name, phase, subject)``: does one phase, in a thread of DBOS's; raises ``Ended`` or ``JobFailed``."""
Phases = Callable[[str], tuple[str, ...]]
"""Names of a job's phases, in order; raises ``JobFailed`` for a job that is not known."""


class Engine:
    """DBOS on one database. Everything here blocks: call it from threads."""

    def __init__(self, where: Path | str, executor: str, settings: Settings, phases: Phases, work: Work) -> None:
        self.url = f"sqlite:///{where}" if isinstance(where, Path) else where
        self._path = where if isinstance(where, Path) else None
        self.executor = executor
        self._settings = settings
        self._phases = phases
        self._work = work
        self._client: Any = None
        self.running = False
        """Whether jobs run here."""

    def open(self) -> None:
        """Bring the database up to date, and be able to start and look at jobs."""
        import dbos  # noqa: PLC0415 - takes a second to import: only who has jobs needs it

        quiet()
        dbos.DBOS.migrate(self.url)
        if self._path is not None:
            self._path.chmod(0o600)
        self._client = dbos.DBOSClient(
            system_database_url=self.url,
            serializer=dbos.DBOSPortableJSONSerializer(),
            application_name=_APPLICATION,
            retry_connection_errors=False,
        )
        self._client.register_queue(
            _QUEUE,
            worker_concurrency=self._settings.concurrency,
            polling_interval_sec=self._settings.polling,
            on_conflict="always_update",
        )

    def run(self) -> bool:
        """Begin to run jobs, those that a crash interrupted first; false while another engine of this process does."""
        if self.running:
            return True
        if not _place.acquire(blocking=False):
            return False
        try:
            self._launch()
        except BaseException:
            self._destroy()
            _place.release()
            raise
        self.running = True
        return True

    def close(self) -> None:
        """End. What runs must have been told to end before."""
        if self.running:
            self.running = False
            try:
                self._destroy()
            finally:
                _place.release()
        client, self._client = self._client, None
        if client is not None:
            client.destroy()

    def enqueue(self, job_id: str, name: str, subject: str) -> None:
        """Have a job done; nothing happens where there is one of this id."""
        options = {
            "workflow_name": _WORKFLOW,
            "queue_name": _QUEUE,
            "workflow_id": job_id,
            "app_version": _VERSION,
        }
        self._opened().enqueue(options, name, subject)

    def state(self, job_id: str) -> JobState | None:
        """A job, now; ``None`` where there is none."""
        found = self._opened().list_workflows(workflow_ids=[job_id])
        if not found:
            return None
        status = found[0]
        name, subject = (*status.input["args"], "", "")[:2] if status.input else ("", "")
        state = _STATES.get(status.status, "running")
        error: Any = status.error
        return JobState(
            id=job_id,
            name=name,
            subject=subject,
            state=state,
            phase=self._phase(job_id, name) if state in ("queued", "running", "failed") else "",
            error=str(getattr(error, "message", error)) if error is not None else "",
            code=str(getattr(error, "code", "") or "") if error is not None else "",
            attempts=status.recovery_attempts or 0,
        )

    def cancel(self, job_id: str) -> None:
        """Have a job not done, or not to its end; one that has ended stays as it is."""
        self._opened().cancel_workflow(job_id)

    def resume(self, job_id: str) -> None:
        """Go on with a job that failed or was cancelled, at the phase that had not ended."""
        self._opened().resume_workflow(job_id)

    def cancelled(self, job_ids: list[str]) -> list[str]:
        """Which of these somebody has cancelled."""
        if not job_ids:
            return []
        return [one.workflow_id for one in self._opened().list_workflows(workflow_ids=job_ids, status="CANCELLED")]

    def recover(self, executor: str) -> None:
        """Put what a dead process was doing back into the queue. May be done twice."""
        import dbos  # noqa: PLC0415

        owner: Any = dbos.DBOS
        owner._recover_pending_workflows([executor])

    def _opened(self) -> Any:
        if self._client is None:
            raise Unavailable("Durable work is not ready.", code="jobs_not_ready", retry_after=1.0)
        return self._client

    def _phase(self, job_id: str, name: str) -> str:
        """The first phase that has not ended well."""
        done = {step["function_name"] for step in self._opened().list_workflow_steps(job_id) if step["error"] is None}
        try:
            return next((phase for phase in self._phases(name) if phase not in done), "")
        except JobFailed:
            return ""

    def _launch(self) -> None:
        import dbos  # noqa: PLC0415

        config: Any = {
            "name": _APPLICATION,
            "system_database_url": self.url,
            "executor_id": self.executor,
            "application_version": _VERSION,
            "serializer": dbos.DBOSPortableJSONSerializer(),
            "log_level": "ERROR",
            "enable_otlp": False,
            "notification_listener_polling_interval_sec": _LISTENING,
            "scheduler_polling_interval_sec": _SELDOM,
        }
        dbos.DBOS(config=config)
        phases, work = self._phases, self._work

        def job(name: str, subject: str) -> str:
            identifier = dbos.DBOS.workflow_id or ""
            result = ""
            for phase in phases(name):
                result = dbos.DBOS.run_step({"name": phase}, work, identifier, name, phase, subject)
            return result

        dbos.DBOS.workflow(name=_WORKFLOW, max_recovery_attempts=_RECOVERIES)(job)
        dbos.DBOS.launch()

    def _destroy(self) -> None:
        import dbos  # noqa: PLC0415

        dbos.DBOS.destroy(destroy_registry=True)


def quiet() -> None:
    """Let DBOS's log go where ours goes; of a job's failure we tell ourselves, in a line."""
    log = logging.getLogger("dbos")
    if not any(isinstance(one, _Quiet) for one in log.filters):
        log.addFilter(_Quiet())
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    log.setLevel(logging.ERROR)


class _Quiet(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "background workflow" not in str(record.msg)


def failure_of(error: Exception) -> JobFailed:
    """An error as it may be written down."""
    if isinstance(error, JobFailed):
        return error
    if isinstance(error, OstinatoError):
        return JobFailed(error.sentence, error.code)
    return JobFailed(f"A phase failed ({type(error).__name__}); the server's log says more.", "internal_error")
