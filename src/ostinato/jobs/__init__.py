"""Durable work: named jobs of several phases that go on where they were, however the process ended.

Rooms hand in functions by name (``register``), before ``start``; arguments and results are ids, never texts. A phase is
an idempotent coroutine about the subject's id and runs in the server's event loop; it resumes by journals of its own.
``enqueue`` is idempotent by key. Only the server runs jobs. On DBOS, in SQLite or in the PostgreSQL that several
processes share: the jobs of a process that has died are gone on with by the others.
"""

from ostinato.jobs.engine import JobFailed
from ostinato.jobs.jobs import Jobs, Phase
from ostinato.jobs.model import JobState, State
from ostinato.jobs.settings import Settings

__all__ = ["JobFailed", "JobState", "Jobs", "Phase", "Settings", "State"]
