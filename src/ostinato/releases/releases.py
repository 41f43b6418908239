"""The room's one object with a life: :class:`Releases` carries out what people and pipelines ask for."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from ostinato import approvals, audit, prompts, storage
from ostinato.access import Actor, manage, permissions
from ostinato.core.clock import Clock
from ostinato.core.errors import OstinatoError
from ostinato.releases import bundles, gates, proposing, rolling, store
from ostinato.releases.judging import Guarded, Informed, Judge, Judgement, Outcome
from ostinato.releases.model import CANARY, Dossier, Reading, Release
from ostinato.releases.observing import Observing
from ostinato.releases.proposing import Evaluation, NewEvidence, Proposal
from ostinato.releases.rights import standing_rights
from ostinato.releases.settings import Settings
from ostinato.releases.turn import Bench, Rights, Turn, reach, reaches, resource

T = TypeVar("T")

Samples = Callable[[str, int], Awaitable[dict[str, int]]]
"""``samples(release_id, since)``: requests by arm (``canary``, ``stable``, ``control``) since UTC microseconds."""


class Releases:
    """Releases of all prompts. Every change is one transaction with its leaf of the audit log.

    Permissions are asked for here, on project, prompt, label and intent. A release beyond the actor's reach does not
    exist.
    """

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        notices: storage.Notices,
        log: audit.Log,
        *,
        requirements_of: bundles.RequirementsOf,
        samples: Samples,
        reload: Callable[[], Awaitable[None]],
        settings: Settings | None = None,
        rights: Rights = standing_rights,
        judge: Judge | None = None,
        observing: Observing | None = None,
        more_gates: Mapping[str, gates.Gate] | None = None,
    ) -> None:
        """``reload`` has this process act by the labels as they stand: the reload of the snapshot of prompts."""
        self.settings = settings or Settings()
        self.settings.check()
        self.judge: Judge = judge or Guarded()
        self.clock = clock
        self._database = database
        self._notices = notices
        self._samples = samples
        self._observing = observing
        self._reload = reload
        self._bench = Bench(
            log=log,
            rights=rights,
            requirements_of=requirements_of,
            gates={**gates.table(), **(more_gates or {})},
            settings=self.settings,
        )

    # -- from proposal to approval -------------------------------------------------------------------------------

    async def propose(self, actor: Actor, wish: Proposal, project: str | None = None) -> Release:
        """A new release of ``project`` (id or short name; ``None``: the actor's own); see :func:`proposing.propose`."""

        def work(turn: Turn) -> Release:
            home = manage.find_project(turn.connection, actor, project)
            return proposing.propose(turn, home.org_id, home.id, wish)

        return await self._change(actor, work)

    async def attach(self, actor: Actor, release_id: str, evidence: NewEvidence) -> Release:
        """One release with one more piece of evidence."""
        return await self._change(actor, lambda turn: proposing.attach(turn, release_id, evidence))

    async def attach_evaluation(self, actor: Actor, release_id: str, evaluation: Evaluation) -> Release:
        """One release with what our own rooms found out; ``actor``: their ``SystemActor``. See the gate ``evaluation``.

        Doing it twice is doing it once.
        """
        return await self._change(actor, lambda turn: proposing.attach_evaluation(turn, release_id, evaluation))

    async def approve(self, actor: Actor, release_id: str, digest: str, comment: str = "") -> Release:
        """One release with one more approval of the bundle ``digest``."""
        return await self._change(actor, lambda turn: proposing.approve(turn, release_id, digest, comment))

    async def reject(self, actor: Actor, release_id: str, digest: str, comment: str) -> Release:
        """One release, refused."""
        return await self._change(actor, lambda turn: proposing.reject(turn, release_id, digest, comment))

    async def withdraw(self, actor: Actor, release_id: str, reason: str = "") -> Release:
        """One release, taken back before it began."""
        return await self._change(actor, lambda turn: proposing.withdraw(turn, release_id, reason))

    # -- from start to end ---------------------------------------------------------------------------------------

    async def start(self, actor: Actor, release_id: str, reason: str = "", version: int | None = None) -> Release:
        """One approved release, with its first traffic; active at once where its plan has no steps."""
        return await self._change(actor, lambda turn: rolling.start(turn, release_id, reason, version))

    async def advance(self, actor: Actor, release_id: str, reason: str = "", version: int | None = None) -> Release:
        """One canary at its next step, if the minima of this one are met."""
        seen, samples, judge = await self._sampled(actor, release_id, version)
        return await self._change(actor, lambda turn: rolling.advance(turn, release_id, judge, samples, reason, seen))

    async def promote(self, actor: Actor, release_id: str, reason: str = "", version: int | None = None) -> Release:
        """One canary with all of the traffic, if its last step is done."""
        seen, samples, judge = await self._sampled(actor, release_id, version)
        return await self._change(actor, lambda turn: rolling.promote(turn, release_id, judge, samples, reason, seen))

    async def pause(self, actor: Actor, release_id: str, reason: str = "", version: int | None = None) -> Release:
        """One canary, kept at its share."""
        return await self._change(actor, lambda turn: rolling.pause(turn, release_id, reason, version))

    async def resume(self, actor: Actor, release_id: str, reason: str = "", version: int | None = None) -> Release:
        """One paused canary, going on."""
        return await self._change(actor, lambda turn: rolling.resume(turn, release_id, reason, version))

    async def rollback(self, actor: Actor, release_id: str, reason: str = "", version: int | None = None) -> Release:
        """One canary or active release taken back: here when this returns, elsewhere within two seconds."""
        return await self._change(actor, lambda turn: rolling.rollback(turn, release_id, reason, version))

    async def judged(self, release: Release) -> Judgement:
        """What the judge says of a canary's step now."""
        if release.state != CANARY:
            return Judgement(Outcome.WAIT, f"it is {release.state}")
        return await self._judged(release, await self.readings(release))

    async def _judged(self, release: Release, readings: Sequence[Reading]) -> Judgement:
        samples = await self._samples(release.id, release.step_since or 0)
        return Informed(self.judge, readings).judge(release, samples, self.clock.now())

    async def readings(self, release: Release) -> Sequence[Reading]:
        """What the guardrails of a canary show now; none where its plan has none, or it does not run."""
        return () if self._observing is None else await self._observing.readings(release)

    # -- questions -----------------------------------------------------------------------------------------------

    async def show(self, actor: Actor, release_id: str) -> Dossier:
        """All there is about one release, its readiness judged now."""
        turn_of, occasion = self._turn, audit.occasion()

        def read(connection: sa.Connection) -> Dossier:
            release = store.find(connection, release_id)
            if not reaches(actor, release):
                raise store.unknown(release_id)
            permissions.require(actor, "releases:read", resource(release))
            turn = turn_of(connection, actor, occasion)
            return Dossier(
                release=release,
                in_force=turn.in_force(release),
                readiness=turn.readiness(release),
                request=approvals.find(connection, release.request_id),
                evidence=store.evidence(connection, release.id),
                history=store.history(connection, release.id),
            )

        dossier = await self._database.read(read)
        release = dossier.release
        try:
            readings = await self.readings(release)
            judged = await self._judged(release, readings) if release.state == CANARY else None
        except OstinatoError as error:  # what is known of it is shown all the same
            return msgspec.structs.replace(dossier, waits=error.sentence)
        waits = judged.why if judged is not None and judged.outcome is Outcome.WAIT else ""
        return msgspec.structs.replace(dossier, readings=tuple(readings), waits=waits)

    async def list(
        self,
        actor: Actor,
        *,
        project: str | None = None,
        prompt: str = "",
        label: str = "",
        state: str = "",
        after: str = "",
        limit: int = 100,
    ) -> Sequence[Release]:
        """A page of the releases that the actor reaches, oldest first, from behind ``after``."""

        def read(connection: sa.Connection) -> Sequence[Release]:
            permissions.require(actor, "releases:read")
            home = manage.find_project(connection, actor, project).id if project else ""
            return store.page(
                connection,
                reach=reach(actor),
                project=home,
                prompt=prompt,
                label=label,
                state=state,
                after=after,
                limit=limit,
            )

        return await self._database.read(read)

    async def running(self) -> Sequence[Release]:
        """Every release in canary: for whoever watches over them."""
        return await self._database.read(store.running)

    async def came_into_force(self, releases: Sequence[str]) -> dict[str, int]:
        """When releases were first active (UTC microseconds), for other rooms; those that never were are left out."""
        return await self._database.read(lambda c: store.came_into_force(c, releases))

    async def _sampled(self, actor: Actor, release_id: str, version: int | None) -> tuple[int, dict[str, int], Judge]:
        """The version that the samples are of, the samples, and the judge who knows its guardrails: another change in
        between must not use them."""
        release = await self._database.read(lambda c: store.find(c, release_id))
        if not reaches(actor, release):
            raise store.unknown(release_id)
        samples, judge = {}, self.judge
        if release.state == CANARY:
            samples = await self._samples(release.id, release.step_since or 0)
            judge = Informed(judge, await self.readings(release))
        return release.version if version is None else version, samples, judge

    async def _change(self, actor: Actor, work: Callable[[Turn], T | OstinatoError]) -> T:
        """One transaction with its leaf and its notice; returns when this process acts by it.

        Where ``work`` gives an error instead of raising it, what it wrote stands, and the error is raised afterwards.
        """
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> tuple[T | OstinatoError, bool]:
            turn = self._turn(connection, actor, occasion)
            result = work(turn)
            if turn.moved:
                # A release has no snapshot of its own: what it does to traffic is data on the label.
                self._notices.mark(connection, prompts.TOPIC)
            return result, turn.moved

        result, moved = await self._database.run(transaction)
        if moved:
            self._notices.publish(prompts.TOPIC, marked=True)
            await self._reload()
        if isinstance(result, OstinatoError):
            raise result
        return result

    def _turn(self, connection: sa.Connection, actor: Actor, occasion: audit.Occasion) -> Turn:
        return Turn(self._bench, connection, actor, self.clock.now(), occasion)
