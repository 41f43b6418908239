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
        self._budgets: dict[tuple[int, str], Budget] = {}
        self._owed = 0.0
        self._answered = 0
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
        """Ask again as many as the share of what was answered since the last round allows; gives how many."""
        answered = self._families.answered_count
        self._owed = min(_AT_ONCE, self._owed + (answered - self._answered) * self._settings.audit_share)
        self._answered = answered
        count = int(self._owed)
        self._owed -= count
        asked = 0
        for sample in self._families.samples(count):
            asked += await self._again(sample)
        return asked

    async def _again(self, sample: Sample) -> int:
        """Ask one sample again; 1 where an answer came."""
        day = self._clock.now() // _DAY
        namespace = f"{PASSING}audit-{sample.project}-{day}"
        asked = Asked(
            org=sample.org,
            project=sample.project,
            alias=sample.alias,
            request=sample.request,
            purpose="probe",
            namespace=namespace,
            # The journal keeps no answers of such a namespace; two at once must not be one call either.
            replicate=self._rng.randrange(1, 1 << 40),
            prompt=sample.prompt,
            prompt_version=sample.version,
            intent=sample.intent,
            fallbacks=False,
        )
        try:
            called = await self._calls.ask(asked, await self._budget(day, sample.project, namespace), timeout=_TIMEOUT)
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

    async def _budget(self, day: int, project: str, namespace: str) -> Budget:
        """What may be spent on a project today: from the journal, so that a restart does not begin it anew."""
        known = self._budgets.get((day, project))
        if known is None:
            limits = Limits(nano=int(self._settings.audit_budget_dollars * 1e9))
            for old in [key for key in self._budgets if key[0] != day]:
                del self._budgets[old]
            known = self._budgets[day, project] = calls.Budget(limits, await self._calls.journal(namespace))
        return known
