"""What goes on by itself: alerts and watches are looked at, actions that need nobody are begun, and what was done is
looked at again.

Every process may do it. Each step names the version of the case that it was judged for, so of two only one takes it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

from ostinato.cases.alerts import PREFIX, Alerts
from ostinato.cases.cases import ACTOR, PEOPLE, Cases
from ostinato.cases.model import APPROVED, AUTOMATIC, DETECTED, EXECUTED, OPEN, SEVERITIES, VERIFIED, Alarm, Case
from ostinato.cases.store import digest
from ostinato.cases.turn import AHEAD, late, timed
from ostinato.core.errors import Conflict, NotFound, OstinatoError

_log = logging.getLogger(__name__)

Watch = Callable[[], Awaitable[Sequence[Alarm]]]
"""Something that is looked at: gives the alarms that stand now. Alarms of the same key join their open case."""

_PATIENCE = 4
"""So many times ``verify_seconds`` after an action somebody is asked, where no figure tells whether it helped."""


class Watcher:
    """Looks every ``watch_seconds``, and at once when a case was opened."""

    def __init__(self, cases: Cases, alerts: Alerts) -> None:
        self._cases = cases
        self._alerts = alerts
        self._watches: dict[str, Watch] = {}
        self._known: dict[str, set[str]] = {}
        self._lasting: set[str] = set()
        self._looked = False
        self._task: asyncio.Task[None] | None = None
        self._failing: dict[str, str] = {}

    @property
    def failing(self) -> str:
        """What does not work now; empty while all is well."""
        return "; ".join(self._failing.values())

    def watch(self, name: str, look: Watch, *, lasting: bool = True) -> None:
        """From now on look at something more. An alarm that stands as it did at the last look is not raised again.

        ``lasting``: what it tells of is a state, and not over while it is told: no action has helped before, and no
        case of it is closed. Else it is something that has happened.
        """
        self._watches[name] = look
        if lasting:
            self._lasting.add(name)

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """End; a step that was begun is finished or undone by its transaction."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def look(self) -> None:
        """One round. Does not raise: what fails is told, and tried again the next time round."""
        await self._guarded("alerts", self._look_at_alerts())
        for name, look in self._watches.items():
            await self._guarded(name, self._look_at(name, look))
        self._looked = True
        await self.act()
        await self._guarded("messages", self._cases.retell())

    async def act(self) -> None:
        """What is to be done with the cases that stand."""
        for case in await self._standing():
            await self._guarded(f"the case {case.id}", self._step(case))

    async def _run(self) -> None:
        cases = self._cases
        while True:
            sleeping = asyncio.ensure_future(cases.clock.sleep(cases.settings.watch_seconds))
            waking = asyncio.ensure_future(cases.wake.wait())
            try:
                await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                sleeping.cancel()
                waking.cancel()
            woken = cases.wake.is_set()
            cases.wake.clear()
            await (self.act() if woken and not sleeping.done() else self.look())

    async def _standing(self) -> Sequence[Case]:
        try:
            return await self._cases.standing(*OPEN)
        except OstinatoError as error:
            self._failing["cases"] = error.sentence
            return ()

    async def _look_at_alerts(self) -> None:
        for alarm in await self._alerts.look():
            await self._cases.on_alarm(alarm)

    async def _look_at(self, name: str, look: Watch) -> None:
        alarms = await look()
        known = self._known.get(name, set())
        for alarm in alarms:
            if alarm.key not in known and not await self._cases.knows(alarm):
                await self._cases.on_alarm(alarm)
        self._known[name] = {alarm.key for alarm in alarms}

    async def _step(self, case: Case) -> None:
        now = self._cases.clock.now()
        if timed(case, now, self._cases.settings):
            await self._cases.correct(case.id)
            return
        if case.state == DETECTED and not case.action:
            await self._act_by_itself(case)
        elif case.state == EXECUTED and case.verify_at is not None and now >= case.verify_at:
            await self._verify(case)
        elif case.state == VERIFIED and await self._is_over(case):
            await self._cases.close(ACTOR, case.id, reason="it helped, and nothing has come back", version=case.version)
        if late(case, now) and not case.overdue and case.state not in (EXECUTED, VERIFIED, APPROVED, AUTOMATIC):
            await self._cases.overdue(case.id)

    async def _is_over(self, case: Case) -> bool:
        """Whether what a verified case is about tells of nothing any more."""
        if case.detector.startswith(PREFIX):
            return await self._alerts.calm(case)
        return self._looked and not self._stands(case)

    def _stands(self, case: Case) -> bool:
        """Whether something that is watched is still as it was when it opened the case."""
        return any(digest(key) == case.key for name in self._lasting for key in self._known.get(name, ()))

    async def _act_by_itself(self, case: Case) -> None:
        for rule in self._cases.settings.automatic:
            if rule.kind == case.kind and SEVERITIES.index(case.stakes) <= SEVERITIES.index(rule.stakes):
                why = f"[cases] automatic: {rule.action} for {rule.kind} up to {rule.stakes} stakes"
                await self._cases.act_by_itself(case, rule.action, rule.params, why)
                return

    async def _verify(self, case: Case) -> None:
        """Look whether the action has helped."""
        if not self._looked:
            return  # what stands is not known yet
        now, settings = self._cases.clock.now(), self._cases.settings
        action = next((one for one in await self._cases.actions(case.id) if one.id == case.action), None)
        since = action.executed_at if action is not None and action.executed_at is not None else case.opened_at
        # Where a clock was ahead, it was some time before now; nobody knows when.
        since = since if since <= now + AHEAD else now - int(settings.verify_seconds * 1_000_000)
        if case.detector.startswith(PREFIX):
            helped = await self._alerts.recheck(case, since)
        elif case.detector.startswith(PEOPLE):
            helped = None  # nobody but people looks
        else:
            # Whoever found it looks on: what comes within the first half may be of what was before.
            helped = not self._stands(case) and case.last_at <= since + int(settings.verify_seconds * 500_000)
        if helped is None and now - since < _PATIENCE * settings.verify_seconds * 1_000_000:
            return
        why = "no figure tells whether it has helped" if helped is None else ""
        why = why or ("the figure is back" if helped else "it is as it was before")
        await self._cases.verify(ACTOR, case.id, helped=bool(helped), reason=why, version=case.version)

    async def _guarded(self, what: str, work: Awaitable[object]) -> None:
        try:
            await work
        except (Conflict, NotFound):
            pass  # somebody was quicker
        except OstinatoError as error:
            if self._failing.get(what) != error.sentence:
                _log.warning("Cases, %s: %s", what, error.sentence)
            self._failing[what] = error.sentence
            return
        except Exception as error:
            if what not in self._failing:
                _log.exception("Cases, %s failed.", what)
            self._failing[what] = f"{what} failed ({type(error).__name__})"
            return
        self._failing.pop(what, None)
