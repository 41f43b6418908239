"""The room's one object with a life: :class:`Cases` takes alarms, moves cases on, and has actions carried out."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from ostinato import audit, storage
from ostinato.access import Actor, Resource, SystemActor, manage, permissions
from ostinato.cases import moves, playbooks, store
from ostinato.cases.model import (
    ACTIONS,
    OPEN,
    Action,
    ActionName,
    Alarm,
    Case,
    Dossier,
    Event,
    Fact,
    Handled,
    Kind,
    Severity,
)
from ostinato.cases.moves import About, Touched
from ostinato.cases.settings import Settings
from ostinato.cases.turn import Turn, text_of
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, Invalid, LimitReached, OstinatoError

T = TypeVar("T")

ACTOR = SystemActor("cases")
PEOPLE = "people:"
"""Of the detectors of cases that somebody opened."""
_log = logging.getLogger(__name__)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What an action is told when it is carried out. It may be called twice with the same one."""

    id: str
    """Of the action: the same each time."""
    case: Case
    params: dict[str, Fact]
    reason: str
    by: str
    """Principal who said yes."""


Effect = Callable[[Order], Awaitable[dict[str, Fact]]]
"""Carries an action out; gives what it did, in figures and ids. Raises ``OstinatoError`` where it cannot."""
Serves = Callable[[str, str, str], Awaitable[tuple[str, str]]]
"""``serves(project, prompt, release)``: the intent and the prompt of a release, else of a prompt; empty: none."""
Tell = Callable[[str, str, str, str, object, str], Awaitable[None]]
"""``tell(org, project, event, subject, data, key)``; with one key twice, it is one message."""


class Cases:
    """Cases of all projects. Each step is one transaction with its leaf; its effect elsewhere is intended in it."""

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        log: audit.Log,
        *,
        about: About,
        settings: Settings | None = None,
        tell: Tell | None = None,
        serves: Serves | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.settings.check()
        self.clock = clock
        self.tell = tell
        self.refused = 0
        """Alarms that no room was for."""
        self.wake = asyncio.Event()
        """Set when there is something to be done at once."""
        self._database = database
        self._log = log
        self._about = about
        self._serves = serves
        self._effects: dict[str, Effect] = {}

    def bind(self, name: ActionName, effect: Effect) -> None:
        """From now on an action is carried out by ``effect``."""
        if name not in ACTIONS:
            raise Invalid(f"There is no action {name!r}.")
        self._effects[name] = effect

    # -- alarms ----------------------------------------------------------------------------------------------------

    async def on_alarm(self, alarm: Alarm) -> str:
        """The id of the alarm's case: the open one of the same key (which counts it), one that has ended lately (which
        opens again), or a new one. Empty where the project has no room for another. Never acts by itself: see
        :class:`~ostinato.cases.watching.Watcher`."""
        served = "" if alarm.intent else (await self._served(alarm.project, alarm.prompt, alarm.release)).intent
        for last in (False, True):
            try:
                case, done = await self._change(ACTOR, lambda turn: moves.take(turn, alarm, self._about, served))
            except LimitReached:
                self.refused += 1
                return ""
            except Conflict:
                if last:
                    raise
                continue  # another process has opened it at the same moment
            if done:
                self.wake.set()
                await self.retell()
            return case.id
        return ""

    async def knows(self, alarm: Alarm) -> bool:
        """Whether the alarm, as it was at its time, is in an open case already: a process that has just begun to look
        finds what stood before."""
        standing = await self._database.read(lambda c: store.open_at(c, store.digest(alarm.key)))
        return standing is not None and standing.last_at >= alarm.at

    async def open(
        self, actor: Actor, project: str | None, *, kind: Kind, title: str, intent: str = "", prompt: str = "",
        release: str = "", severity: Severity | None = None,
    ) -> Case:  # fmt: skip
        """A case that somebody opens."""
        title = text_of(title, required=True, what="title")
        if len(title) > 500:
            raise Invalid("A title has at most 500 characters.", code="invalid_title", param="title")

        home = await self._database.read(lambda c: manage.find_project(c, actor, project))
        served = "" if intent else (await self._served(home.id, prompt, release)).intent

        def work(turn: Turn) -> Case:
            home = manage.find_project(turn.connection, actor, project)
            permissions.require(actor, "cases:write", Resource(project=home.id, intent=intent, prompt=prompt))
            if intent and self._about(home.id, intent) is None:
                raise Invalid(f"There is no intent {intent[:80]!r}.", code="intent_not_found", param="intent")
            number = ids.new(turn.now)
            alarm = Alarm(
                id=number, at=turn.now, org=home.org_id, project=home.id, kind=kind, detector=f"{PEOPLE}{number}",
                title=title, intent=intent, prompt=prompt, release=release, severity=severity,
            )  # fmt: skip
            return moves.take(turn, alarm, self._about, served)[0]

        return await self._moved(actor, work)

    # -- steps -----------------------------------------------------------------------------------------------------

    async def triage(
        self, actor: Actor, case_id: str, *, owner: str | None = None, severity: Severity | None = None,
        reason: str = "", version: int | None = None,
    ) -> Case:  # fmt: skip
        """One case that somebody has looked at."""
        return await self._moved(
            actor,
            lambda turn: moves.triage(turn, case_id, owner=owner, severity=severity, reason=reason, version=version),
        )

    async def comment(self, actor: Actor, case_id: str, text: str) -> Case:
        """One case with one more comment."""
        return await self._moved(actor, lambda turn: moves.comment(turn, case_id, text))

    async def propose(
        self, actor: Actor, case_id: str, name: ActionName, params: Mapping[str, Fact] | None = None, *,
        reason: str = "", version: int | None = None,
    ) -> Case:  # fmt: skip
        """One case with an action that waits for somebody's word."""
        if name not in ACTIONS:
            raise Invalid(f"There is no action {name[:80]!r}.", param="action", hint=", ".join(ACTIONS))
        touched = await self._touched(case_id, params or {})
        return await self._moved(
            actor,
            lambda turn: moves.propose(
                turn, case_id, name, params or {}, reason=reason, version=version, stakes=self._stakes(touched)
            ),
        )

    async def approve(self, actor: Actor, case_id: str, *, reason: str = "", version: int | None = None) -> Case:
        """One case whose action has been carried out, or has failed: its state says which."""
        seen = await self._database.read(lambda c: store.find(c, case_id))
        action = await self._database.read(lambda c: store.find_action(c, seen.action))
        touched = await self._touched(case_id, action.params if action is not None else {})
        case, effect = await self._change(
            actor,
            lambda turn: moves.approve(
                turn, case_id, reason=reason, version=version, action=seen.action, touched=touched
            ),
        )
        return await self._go(actor, case, effect)

    async def reject(self, actor: Actor, case_id: str, *, reason: str, version: int | None = None) -> Case:
        """One case without its proposal."""
        return await self._moved(actor, lambda turn: moves.reject(turn, case_id, reason=reason, version=version))

    async def verify(
        self, actor: Actor, case_id: str, *, helped: bool, reason: str = "", version: int | None = None
    ) -> Case:
        """One case after a look at what its action came to."""
        return await self._moved(
            actor, lambda turn: moves.verify(turn, case_id, helped=helped, reason=reason, version=version)
        )

    async def close(self, actor: Actor, case_id: str, *, reason: str = "", version: int | None = None) -> Case:
        """One case, over."""
        return await self._moved(actor, lambda turn: moves.close(turn, case_id, reason=reason, version=version))

    async def dismiss(self, actor: Actor, case_id: str, *, reason: str, version: int | None = None) -> Case:
        """One case, over without an action."""
        return await self._moved(actor, lambda turn: moves.dismiss(turn, case_id, reason=reason, version=version))

    async def act_by_itself(self, case: Case, name: ActionName, params: Mapping[str, Fact], reason: str) -> Case:
        """Propose and carry out what a rule of the configuration allows."""
        stakes = self._stakes(await self._touched(case.id, params))
        proposed = await self._moved(
            ACTOR,
            lambda turn: moves.propose(
                turn, case.id, name, params, reason=reason, version=case.version, automatic=True, stakes=stakes
            ),
        )
        if stakes in ("high", "critical"):
            return proposed  # what it reaches is of higher stakes than the case: that takes somebody's word
        begun, effect = await self._change(ACTOR, lambda turn: moves.go_by_itself(turn, proposed.id))
        return await self._go(ACTOR, begun, effect)

    async def overdue(self, case_id: str) -> None:
        """Note that nobody came in time."""
        await self._moved(ACTOR, lambda turn: moves.overdue(turn, case_id))

    async def correct(self, case_id: str) -> None:
        """Bring times of a case back that lie further ahead than they can."""
        await self._change(ACTOR, lambda turn: moves.correct(turn, case_id))

    # -- questions -------------------------------------------------------------------------------------------------

    async def show(self, actor: Actor, case_id: str) -> Dossier:
        """All there is about one case."""

        def read(connection: sa.Connection) -> Dossier:
            case = store.find(connection, case_id)
            if not store.reaches(actor, case.org, case.project):
                raise store.unknown(case_id)
            permissions.require(actor, "cases:read", Resource(case.project, intent=case.intent, prompt=case.prompt))
            return Dossier(
                case=case,
                playbook=playbooks.advice(case.kind),
                actions=store.actions(connection, case.id),
                history=store.events(connection, case.id),
            )

        return await self._database.read(read)

    async def list(
        self, actor: Actor, *, project: str | None = None, state: str = "", kind: str = "", intent: str = "",
        severity: str = "", overdue: bool | None = None, after: str = "", limit: int = 100,
    ) -> Sequence[Case]:  # fmt: skip
        """Cases that the actor reaches, the newest first. ``state``: ``open`` for all that have not ended."""

        def read(connection: sa.Connection) -> Sequence[Case]:
            permissions.require(actor, "cases:read")
            home = manage.find_project(connection, actor, project).id if project else ""
            return store.page(
                connection, actor, project=home, state=state, kind=kind, intent=intent, severity=severity,
                overdue=overdue, after=after, limit=limit,
            )  # fmt: skip

        return await self._database.read(read)

    async def standing(self, *states: str) -> Sequence[Case]:
        """Every case in these states; without any, every open one."""
        return await self._database.read(lambda c: store.standing(c, states or OPEN))

    async def actions(self, case_id: str) -> tuple[Action, ...]:
        """What was proposed in a case."""
        return await self._database.read(lambda c: store.actions(c, case_id))

    async def began_runs(self, runs: Sequence[str]) -> dict[str, int]:
        """When the cases were opened that began these optimization runs; for other rooms."""
        return await self._database.read(lambda c: store.began_runs(c, frozenset(runs))) if runs else {}

    async def handled(
        self, org: str, project: str, intent: str, since: int, until: int, kinds: Collection[str]
    ) -> Sequence[Handled]:
        """How cases opened in a window came about and were answered, the newest first; for other rooms."""
        return await self._database.read(lambda c: store.handled(c, org, project, intent, since, until, kinds))

    async def _served(self, project: str, prompt: str, release: str) -> Touched:
        """What a release is of, else a prompt: nothing is known of neither."""
        if self._serves is None or not (prompt or release):
            return Touched(prompt=prompt)
        intent, of = await self._serves(project, prompt, release)
        return Touched(project, intent, of or prompt)

    async def _touched(self, case_id: str, params: Mapping[str, Fact]) -> Sequence[Touched]:
        """All that an action of a case may reach: what the case is about, and what the action names instead."""
        case = await self._database.read(lambda c: store.find(c, case_id))
        named = str(params.get("intent") or "")
        prompt, release = str(params.get("prompt") or ""), str(params.get("release") or "")
        found = [
            Touched(case.project, case.intent, case.prompt),
            Touched(case.project, named),
            await self._served(case.project, case.prompt, case.release),
            await self._served(case.project, prompt, release),
        ]
        return [one for one in dict.fromkeys(found) if one.intent or one.prompt]

    def _stakes(self, touched: Sequence[Touched]) -> Severity:
        """The highest stakes of what is reached."""
        known = [self._about(one.project, one.intent) for one in touched if one.intent]
        return playbooks.worst([one[1] for one in known if one is not None])

    async def of_action(self, action_id: str) -> tuple[Case, Action] | None:
        """An action with its case."""

        def read(connection: sa.Connection) -> tuple[Case, Action] | None:
            action = store.find_action(connection, action_id)
            return None if action is None else (store.find(connection, action.case), action)

        return await self._database.read(read)

    # -- effects ---------------------------------------------------------------------------------------------------

    async def carry_out(self, payload: Mapping[str, str], actor: Actor = ACTOR) -> dict[str, str | int]:
        """Carry an approved action out, and write down what it came to; for the keeper of the audit log too, which
        does so where a process ended in between. It may be called twice."""
        case = await self._database.read(lambda c: store.find(c, payload["case"]))
        action = await self._database.read(lambda c: store.find_action(c, payload["action"]))
        if action is None or action.state != "executing":
            return {"repeated": 1}
        facts, failed = await self._effect(case, action)
        await self._moved(actor, lambda turn: moves.executed(turn, case.id, action.id, facts, failed=failed))
        plain = {name: value if isinstance(value, int) else str(value)[:200] for name, value in facts.items()}
        return {"action": action.name, "failed": int(failed), **plain}

    async def _go(self, actor: Actor, case: Case, effect: str) -> Case:
        facts = await self.carry_out({"case": case.id, "action": case.action}, actor)
        await self._log.finish(effect, "failed" if facts.get("failed") else "done", facts)
        return await self._database.read(lambda c: store.find(c, case.id))

    async def _effect(self, case: Case, action: Action) -> tuple[dict[str, Fact], bool]:
        effect = self._effects.get(action.name)
        if effect is None:
            return {"code": "action_not_available", "why": f"{action.name} cannot be carried out here"}, True
        order = Order(id=action.id, case=case, params=action.params, reason=action.reason, by=action.decided_by)
        try:
            async with asyncio.timeout(self.settings.action_seconds):
                return await effect(order), False
        except OstinatoError as error:
            return {"code": error.code, "why": error.message[:500]}, True
        except TimeoutError:
            return {"code": "timeout", "why": f"it took more than {self.settings.action_seconds:g} seconds"}, True
        except Exception as error:
            _log.exception("The action %s of the case %s failed.", action.name, case.id)
            return {"code": "internal_error", "why": type(error).__name__}, True

    # -- telling ---------------------------------------------------------------------------------------------------

    async def retell(self) -> int:
        """Tell what happened to whoever wants to know; what a crash left untold too. Gives how much."""
        tell = self.tell
        if tell is None:
            return 0
        waiting = await self._database.read(store.untold)
        done: list[tuple[str, int]] = []
        for case, event in waiting:
            key = f"case:{case.id}:{event.number}"
            await tell(case.org, case.project, f"cases:{event.verb}", case.resource, _told(case, event), key)
            done.append((case.id, event.number))
        if done:
            await self._database.run(lambda c: store.told(c, done))
        return len(done)

    async def _moved(self, actor: Actor, work: Callable[[Turn], T]) -> T:
        result = await self._change(actor, work)
        await self.retell()
        return result

    async def _change(self, actor: Actor, work: Callable[[Turn], T]) -> T:
        """One transaction with its leaf."""
        occasion = audit.occasion()
        return await self._database.run(
            lambda connection: work(Turn(self._log, connection, actor, self.clock.now(), occasion, self.settings))
        )


def _told(case: Case, event: Event) -> dict[str, object]:
    """What a message says: ids and figures, no texts of people."""
    return {
        "case": case.id,
        "kind": case.kind,
        "detector": case.detector,
        "severity": case.severity,
        "state": event.state,
        "intent": case.intent,
        "prompt": case.prompt,
        "release": case.release,
        "target": case.target,
        "owner": case.owner,
        "alarms": case.alarms,
        "escalated": case.escalated,
        "reopened": case.reopened,
        "at": event.at,
        "facts": event.facts,
    }
