"""Asking again what was asked before, to see whether answers agree: a small share of the calls, within a budget.

They are calls of our own (``calls``), in a namespace whose journal keeps what they cost and no answer. They never join
a flight, are never cached, and are no traffic: families do not count them.
"""

import asyncio
import contextlib
import logging
import random

from ostinato import calls
from ostinato.calls import Asked, Budget, Calls, Exhausted, Limits
from ostinato.calls.model import PASSING
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError
from ostinato.families import Families, Sample, agree
from ostinato.triage.settings import Settings

_DAY = 86_400_000_000
_AT_ONCE = 20
"""Requests asked again in one round, at most."""
_TIMEOUT = 60.0
_log = logging.getLogger(__name__)


class Audits:
    """Asks a share of the requests again. For one event loop."""

    def __init__(
        self, families: Families, room: Calls, clock: Clock, settings: Settings, *, seed: int | None = None
    ) -> None:
        self._families = families
        self._calls = room
        self._clock = clock
        self._settings = settings
        self._rng = random.Random(seed)  # noqa: S311 - draws samples, guards nothing
        self._budgets: dict[str, Budget] = {}
        self._owed: dict[str, float] = {}
        self._answered: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self.asked = 0
        """Requests asked again since the start."""
        self.agreed = 0
        """Of these: whose answer agreed."""
        self.failing = ""
        """Why the last one could not be asked; empty while all is well."""

    def start(self) -> None:
        """Begin to ask, where a share is set."""
        if self._settings.enabled and self._settings.audit_share > 0 and self._settings.audit_budget_dollars > 0:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._settings.audit_seconds)
            try:
                await self.round()
            except OstinatoError as error:
                self.failing = error.message
            except Exception:
                self.failing = "answers could not be compared"
                _log.exception("Answers could not be compared.")

    async def round(self) -> int:
        """Ask again as many as the share of what was answered since the last round allows; gives how many.

        Each project's calls allow for its own: nobody pays because others ask much.
        """
        asked, left = 0, _AT_ONCE
        due = list(self._due().items())
        self._rng.shuffle(due)
        for project, owed in due:
            count = min(int(owed), left)
            if not count:
                continue
            self._owed[project] = owed - count
            left -= count
            # In a thread: whoever adds up may be waiting for a database.
            samples = await asyncio.to_thread(self._families.samples, count, project)
            budget = await self._budget(project) if samples else None
            for sample in samples:
                assert budget is not None
                asked += await self._again(sample, budget)
        return asked

    def _due(self) -> dict[str, float]:
        """How many of each project's calls may be made again by now."""
        for project, answered in self._families.answered_by.items():
            new = answered - self._answered.get(project, 0)
            self._answered[project] = answered
            owed = self._owed.get(project, 0.0) + new * self._settings.audit_share
            self._owed[project] = min(float(_AT_ONCE), owed)
        return self._owed

    async def _again(self, sample: Sample, budget: Budget) -> int:
        """Ask one sample again; 1 where an answer came."""
        asked = Asked(
            org=sample.org,
            project=sample.project,
            alias=sample.alias,
            request=sample.request,
            purpose="probe",
            namespace=self._namespace(sample.project),
            # The journal keeps no answers of such a namespace; two at once must not be one call either.
            replicate=self._rng.randrange(1, 1 << 40),
            prompt=sample.prompt,
            prompt_version=sample.version,
            intent=sample.intent,
            fallbacks=False,
        )
        try:
            called = await self._calls.ask(asked, budget, timeout=_TIMEOUT)
        except Exhausted:
            return 0
        except OstinatoError as error:
            self.failing = error.message
            return 0
        self.failing = ""
        agreed = agree(sample.answer, called.text)
        self.asked += 1
        self.agreed += agreed
        age = max(0, self._clock.now() - sample.at)
        self._families.compared(sample.org, sample.project, sample.family, age, agreed)
        return 1

    def _namespace(self, project: str) -> str:
        return f"{PASSING}audit-{project}-{self._clock.now() // _DAY}"

    async def _budget(self, project: str) -> Budget:
        """What may be spent on a project today: from the journal, which knows what other processes spent, and what
        this one did before a restart."""
        namespace = self._namespace(project)
        spent, known = await self._calls.journal(namespace), self._budgets.get(namespace)
        if known is not None and known.spent.nano > spent.nano:
            spent = known.spent  # of which not all is written down yet
        today = namespace.rpartition("-")[2]
        self._budgets = {name: one for name, one in self._budgets.items() if name.endswith(f"-{today}")}
        limits = Limits(nano=int(self._settings.audit_budget_dollars * 1e9))
        self._budgets[namespace] = calls.Budget(limits, spent)
        return self._budgets[namespace]
