"""The room's one object with a life: :class:`Triage` looks at families, writes decisions down and carries them out."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import sqlalchemy as sa

from ostinato import access, audit, storage
from ostinato.access import Actor, Resource, SystemActor, permissions
from ostinato.access.manage import find_project
from ostinato.cache.policy import Policies
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, OstinatoError
from ostinato.families import OTHER, Families, Figures, Share
from ostinato.intents import Intents
from ostinato.signals import Signals
from ostinato.storage import Current, Database
from ostinato.triage import deciding, store, value, waiting
from ostinato.triage.model import Decision, Evidence, Row, Verdict
from ostinato.triage.quality import Quality
from ostinato.triage.settings import Settings
from ostinato.wire.model import Json

ACTOR = SystemActor("triage")

Effect: TypeAlias = Callable[[Actor, Decision, Json], Awaitable[Json]]
"""``effect(actor, decision, part of its policy)``: changes what is proposed; may be done twice; gives names and ids.

Raises ``OstinatoError`` where that cannot be, with the way out."""
Gained: TypeAlias = Callable[[str], Awaitable[Mapping[tuple[str, int], float]]]
"""``gained(project)``: prompt and version -> what a run on it found to be gained, as a share; left out: not known."""
Served: TypeAlias = Callable[[str, str], tuple[int, Collection[int]]]
"""``served(project, prompt)``: the version in production (0: none), and all that some label points at."""

_COMMENT = 2_000
_SETTLE = 30.0
"""Seconds between two looks at what waits for others; who asks for it looks at once."""
_MOSTLY = 0.5
_DEEDS = {
    "applied": "triage:apply",
    "waiting": "triage:ask",
    "rejected": "triage:reject",
    "proposed": "triage:propose",
}
"""What the audit log calls it when a decision comes to a state."""
_log = logging.getLogger(__name__)


class Rooms(msgspec.Struct, frozen=True):
    """What triage leans on."""

    control: Database
    clock: Clock
    log: audit.Log
    families: Families
    signals: Signals
    intents: Current[Intents]
    policies: Current[Policies]


class Triage:
    """Decisions on every family of every project. Every change is one transaction with its leaf of the audit log."""

    def __init__(self, rooms: Rooms, settings: Settings) -> None:
        settings.check()
        self.settings = settings
        self._rooms = rooms
        self._quality = Quality(rooms.signals, rooms.families, rooms.clock)
        self._effects: dict[str, Effect] = {}
        self.gained: Gained | None = None
        self.served: Served | None = None
        self.on_decision: Callable[[Decision], None] | None = None
        """Told of every decision that is written or closed."""
        self._task: asyncio.Task[None] | None = None
        self.failing = ""
        """Why the last round could not be finished; empty while all is well."""

    def bind(self, name: str, effect: Effect) -> None:
        """Who carries out a part of a decision: ``cache``, ``optimize`` or ``review``."""
        self._effects[name] = effect

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look, again and again."""
        if self.settings.enabled:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        due = self._rooms.clock.monotonic() + self.settings.look_seconds
        while True:
            await self._rooms.clock.sleep(min(_SETTLE, self.settings.look_seconds))
            await self._settle_all()
            if self._rooms.clock.monotonic() >= due:
                due = self._rooms.clock.monotonic() + self.settings.look_seconds
                await self.look()

    async def _settle_all(self) -> None:
        """Finish what others have agreed to, or refused, since it was asked of them. Does not raise."""
        try:
            await self._settle()
        except OstinatoError as error:
            _log.warning("What waits for approval could not be looked at: %s", error.message)
        except Exception:
            _log.exception("What waits for approval could not be looked at.")

    async def look(self) -> None:
        """One round over all projects, if it is due and no other process makes it. Does not raise."""
        now, pause = self._rooms.clock.now(), int(self.settings.look_seconds * 0.9e6)
        try:
            if not await self._rooms.control.run(lambda connection: store.begin(connection, "look", now, pause)):
                return
            for org, project in await self._rooms.families.projects():
                await self.look_at(org, project)
        except OstinatoError as error:
            self.failing = error.message
            _log.warning("Families could not be looked at: %s", error.message)
        except Exception:
            self.failing = "families could not be looked at"
            _log.exception("Families could not be looked at.")
        else:
            self.failing = ""

    async def look_at(self, org: str, project: str) -> Sequence[Decision]:
        """Decide anew on the families of one project; gives the decisions that are new."""
        made: list[Decision] = []
        await self._settle(project)
        standing = await self._rooms.control.read(lambda connection: store.newest(connection, project))
        for evidence in await self._evidence(project):
            verdict = deciding.decide(evidence, self.settings)
            old = standing.get(evidence.figures.family)
            if not self._is_news(old, verdict, evidence):
                continue
            decision = await self._write(org, project, evidence, verdict, old)
            if decision is not None:
                made.append(await self._by_itself(decision))
        return made

    def _is_news(self, old: Decision | None, verdict: Verdict, evidence: Evidence) -> bool:
        if old is None:
            return bool(verdict.worth)  # too little is known of it: nothing is written down
        if old.state == "waiting":
            return False  # what others are asked for stands until they have spoken
        if not verdict.worth:
            return False  # what faded away keeps its last word
        if old.state == "rejected" and old.choice == verdict.choice:
            return False
        return deciding.changes(old, verdict, self.settings, evidence)

    async def _write(
        self, org: str, project: str, evidence: Evidence, verdict: Verdict, old: Decision | None
    ) -> Decision | None:
        """One more decision on a family, in place of the one before. ``None``: another process was quicker."""
        now = self._rooms.clock.now()
        figures = evidence.figures
        idle = not verdict.policy
        decision = Decision(
            id=ids.new(now),
            org=org,
            project=project,
            family=figures.family,
            number=old.number + 1 if old is not None else 1,
            choice=verdict.choice,
            state="applied" if idle else "proposed",
            reasons=verdict.reasons,
            saving=verdict.saving,
            wrong=verdict.wrong,
            risk=verdict.risk,
            policy=verdict.policy,
            figures=deciding.figures_of(evidence),
            worth=verdict.worth,
            stakes=evidence.stakes,
            intent=figures.intent if figures.intent_share >= _MOSTLY else "",
            prompt=figures.prompt,
            automatic=idle,
            decided_at=now,
            closed_at=now if idle else None,
            closed_by=access.actor_name(ACTOR) if idle else "",
        )

        def work(connection: sa.Connection) -> None:
            if old is not None:
                store.change(connection, old, state="superseded", closed_at=now, closed_by=access.actor_name(ACTOR))
            store.insert(connection, decision)
            self._leaf(connection, ACTOR, decision, "triage:propose", audit.occasion())

        try:
            await self._rooms.control.run(work)
        except Conflict:
            return None
        self._told(decision)
        return decision

    async def _by_itself(self, decision: Decision) -> Decision:
        """The decision, carried out where a policy lets it pass without asking anybody."""
        if decision.state != "proposed" or decision.stakes not in self.settings.automatic:
            return decision
        if set(decision.policy) != {"cache"}:
            return decision  # money is spent, or people are asked to work: that is somebody's word
        try:
            return await self._close(ACTOR, decision, "applied", "by policy", automatic=True)
        except OstinatoError as error:
            _log.info("The decision %s waits for somebody: %s", decision.id, error.message)
            return decision

    # -- questions -------------------------------------------------------------------------------------------------

    async def list(self, actor: Actor, project: str | None = None, choice: str = "") -> Sequence[Row]:
        """The families of a project with the decision that stands on each, those that cost most first."""
        home = await self._home(actor, project, "triage:read")
        await self._settle(home[1])
        standing = await self._rooms.control.read(lambda connection: store.newest(connection, home[1]))
        found = [self._row(one, standing.get(one.figures.family)) for one in await self._evidence(home[1])]
        return [one for one in found if not choice or (one.decision is not None and one.decision.choice == choice)]

    async def show(self, actor: Actor, ref: str, project: str | None = None) -> tuple[Row | None, Sequence[Decision]]:
        """One family, by its name or a decision's id: what is known now, and all decisions, the newest first."""
        if ids.is_id(ref):
            decision = await self._find(actor, ref, "triage:read")
            home, family = (decision.org, decision.project), decision.family
        else:
            home, family = await self._home(actor, project, "triage:read"), ref
        await self._settle(home[1])
        decisions = await self._rooms.control.read(lambda connection: store.history(connection, home[1], family))
        known = [one for one in await self._evidence(home[1]) if one.figures.family == family]
        if not known and not decisions:
            raise store.unknown(ref)
        return self._row(known[0], decisions[0] if decisions else None) if known else None, decisions

    async def decision(self, actor: Actor, decision_id: str) -> Decision:
        """One decision."""
        found = await self._find(actor, decision_id, "triage:read")
        await self._settle(found.project)
        return await self._find(actor, decision_id, "triage:read")

    async def now(self, actor: Actor, project: str | None = None) -> Sequence[Decision]:
        """Decide anew on a project's families, without waiting for the next round."""
        org, home = await self._home(actor, project, "triage:decide")
        return await self.look_at(org, home)

    # -- somebody's word -------------------------------------------------------------------------------------------

    async def approve(
        self, actor: Actor, decision_id: str, comment: str = "", *, version: int | None = None, more: Json | None = None
    ) -> Decision:
        """Carry a proposed decision out. ``more``: what its parts need beside what is proposed, by their names.

        Where a change that it makes needs the word of others, it is ``waiting`` until they have spoken: then it is
        applied, or rejected, or proposed again where nobody said anything in time.

        Raises what keeps a part from being carried out: the decision stays proposed then.
        """
        decision = await self._find(actor, decision_id, "triage:decide")
        if more:
            policy = {name: {**part, **more.get(name, {})} for name, part in decision.policy.items()}
            decision = msgspec.structs.replace(decision, policy=policy)
        return await self._close(actor, _seen(decision, version), "applied", comment)

    async def reject(self, actor: Actor, decision_id: str, comment: str, *, version: int | None = None) -> Decision:
        """Say that a decision is not to be carried out: it is not proposed again until another choice is better."""
        decision = await self._find(actor, decision_id, "triage:decide")
        return await self._close(actor, _seen(decision, version), "rejected", comment)

    async def _close(
        self, actor: Actor, decision: Decision, state: str, comment: str, *, automatic: bool = False
    ) -> Decision:
        """Carry out, then write down: whoever comes after a crash does the same again, and finds it done."""
        if decision.state != "proposed":
            raise Conflict(
                f"This decision is {decision.state} already.",
                code="triage_closed",
                hint=f"Others must agree to the request {waiting.requests_of(decision.effects)[0]}, or reject it."
                if decision.state == "waiting"
                else "`ostinato triage show FAMILY` tells what stands.",
            )
        effects: dict[str, Any] = waiting.without_waiting(decision.effects)
        if state == "applied":
            for name, part in decision.policy.items():
                effect = self._effects.get(name)
                if name not in effects:  # done before, where others did not answer in time
                    effects[name] = await effect(actor, decision, part) if effect is not None else {}
            if waiting.requests_of(effects):
                state = "waiting"
        occasion, now = audit.occasion(), self._rooms.clock.now()

        def work(connection: sa.Connection) -> Decision:
            standing = store.find(connection, decision.id, lock=True)
            changed = store.change(
                connection,
                msgspec.structs.replace(standing, version=decision.version),
                state=state,
                policy=decision.policy,
                effects=effects,
                comment=comment.strip()[:_COMMENT],
                automatic=automatic,
                closed_at=None if state == "waiting" else now,
                closed_by=access.actor_name(actor),
            )
            self._leaf(connection, actor, changed, _DEEDS[state], occasion)
            return changed

        closed = await self._rooms.control.run(work)
        self._told(closed)
        return closed

    async def _settle(self, project: str = "") -> None:
        """Finish decisions that waited for others and were answered, of a project or of all."""
        found = await self._rooms.control.read(lambda connection: store.waiting(connection, project))
        ended = [done for one in found if (done := await self._settled(one)) is not None]
        for one in ended:
            self._told(one)

    async def _settled(self, decision: Decision) -> Decision | None:
        now, occasion = self._rooms.clock.now(), audit.occasion()

        def work(connection: sa.Connection) -> Decision | None:
            what = waiting.became(connection, decision, now)
            if not what.state:
                return None
            again = what.state == "proposed"
            changed = store.change(
                connection,
                decision,
                state=what.state,
                effects=waiting.without_waiting(decision.effects) if again else decision.effects,
                comment=(what.why or decision.comment)[:_COMMENT],
                closed_at=None if again else now,
                closed_by="" if again else what.by or decision.closed_by,
            )
            self._leaf(connection, ACTOR, changed, _DEEDS[what.state], occasion)
            return changed

        try:
            return await self._rooms.control.run(work)
        except Conflict:
            return None  # another process was quicker

    # -- shared ----------------------------------------------------------------------------------------------------

    async def _evidence(self, project: str) -> Sequence[Evidence]:
        """All that is known of a project's families now."""
        rooms = self._rooms
        figures = [one for one in await rooms.families.list(project) if one.family != OTHER]
        if not figures:
            return []
        known = await self._quality.by_family(project)
        gained: Mapping[tuple[str, int], float] = await self.gained(project) if self.gained is not None else {}
        return [self._evidence_of(one, known, gained) for one in figures]

    def _row(self, one: Evidence, decision: Decision | None) -> Row:
        headroom = _first(value.headroom(one, self.settings))
        return Row(figures=one.figures, stakes=one.stakes, quality=one.quality, headroom=headroom, decision=decision)

    def _evidence_of(
        self, figures: Figures, known: Mapping[str, Share], gained: Mapping[tuple[str, int], float]
    ) -> Evidence:
        intents, policies = self._rooms.intents.value, self._rooms.policies.value
        key = figures.intent if figures.intent_share >= _MOSTLY else ""
        intent = intents.of(figures.project, key) if key else None
        base = policies.for_(figures.project, figures.alias)
        by_intent = intent is not None and (base.mode != "off" or intent.declared.cache.mode == "off")
        return Evidence(
            figures=figures,
            stakes=intent.stakes if intent is not None else "medium",
            value=None if intent is None or intent.value is None else intent.value / 1e9,
            quality=known.get(figures.family),
            gained=gained.get((figures.prompt, figures.version)) if figures.prompt else None,
            replaced_by=self._replaced_by(figures),
            policy=base if intent is None else intents.policy(figures.project, intent.key, base),
            off_by=f"the intent {key!r}" if by_intent else f"the model {figures.alias!r} in this project",
        )

    def _replaced_by(self, figures: Figures) -> int:
        if not figures.prompt or self.served is None:
            return 0
        production, others = self.served(figures.project, figures.prompt)
        return 0 if figures.version == production or figures.version in others else production

    async def _home(self, actor: Actor, project: str | None, permission: str) -> tuple[str, str]:
        found = await self._rooms.control.read(lambda connection: find_project(connection, actor, project))
        permissions.require(actor, permission, Resource(project=found.id))
        return found.org_id, found.id

    async def _find(self, actor: Actor, decision_id: str, permission: str) -> Decision:
        """The decision; one beyond the actor's reach does not exist."""

        def read(connection: sa.Connection) -> Decision:
            decision = store.find(connection, decision_id)
            try:
                find_project(connection, actor, decision.project)
            except OstinatoError:
                raise store.unknown(decision_id) from None
            return decision

        found = await self._rooms.control.read(read)
        permissions.require(actor, permission, Resource(project=found.project))
        return found

    def _leaf(
        self, connection: storage.Connection, actor: Actor, decision: Decision, action: str, occasion: audit.Occasion
    ) -> None:
        deed = audit.Deed(
            actor=access.actor_name(actor),
            principal=access.principal_of(actor),
            action=action,
            resource=f"family:{decision.project}/{decision.family}",
            org=decision.org,
            project=decision.project,
            after={"choice": decision.choice, "policy": decision.policy, "figures": decision.figures},
            reason=decision.comment,
            facts={
                "decision": decision.id,
                "number": decision.number,
                "choice": decision.choice,
                "state": decision.state,
                "automatic": int(decision.automatic),
            },
        )
        self._rooms.log.append(connection, deed, occasion)

    def _told(self, decision: Decision) -> None:
        if self.on_decision is not None:
            self.on_decision(decision)


def _seen(decision: Decision, version: int | None) -> Decision:
    if version is not None and version != decision.version:
        raise Conflict(
            f"The decision has moved on since you looked: it is {decision.state}, version {decision.version}.",
            code="version_moved",
            hint="Look again, then repeat.",
        )
    return decision


def _first(known: tuple[float, float] | None) -> float | None:
    return None if known is None else known[0]
