"""One transaction of this room: who acts, when, what they reach, and what is written down of it."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato import access, approvals, audit, prompts
from ostinato.access import Actor, Resource, SystemActor, permissions
from ostinato.core.errors import Conflict, Invalid, NotFound, OstinatoError
from ostinato.prompts import Canary, Prompt, Version
from ostinato.prompts import store as prompt_rows
from ostinato.releases import bundles, gates, store, tables
from ostinato.releases.model import RUNNING, WITHDRAWN, Event, Evidence, Readiness, Release, Verdict
from ostinato.releases.settings import Settings

REASON = 2_000
"""Characters of a reason."""

May = Callable[[str, str, Resource, str], bool]
"""``may(principal, permission, on, org)``: whether a principal has a right now."""

Rights = Callable[[sa.Connection, int], May]
"""Reads all rights as they stand in this transaction."""


class Bench(msgspec.Struct, frozen=True):
    """What every transaction of this room needs."""

    log: audit.Log
    rights: Rights
    requirements_of: bundles.RequirementsOf
    gates: Mapping[str, gates.Gate]
    settings: Settings


class Turn:
    """A transaction under way. Lives as long as its connection is lent."""

    def __init__(
        self, bench: Bench, connection: sa.Connection, actor: Actor, now: int, occasion: audit.Occasion
    ) -> None:
        self.bench = bench
        self.connection = connection
        self.actor = actor
        self.now = now
        self.moved = False
        """Whether a label was moved: every process must hear of it."""
        self._occasion = occasion

    def release(self, release_id: str, permission: str, version: int | None = None) -> Release:
        """The release that the actor means, with its label held until the end of this transaction.

        Raises ``NotFound`` beyond the actor's reach, ``Denied`` without the permission, ``Conflict`` where ``version``
        is not the one that stands.
        """
        found = store.find(self.connection, release_id)
        if not reaches(self.actor, found):
            raise store.unknown(release_id)
        permissions.require(self.actor, permission, resource(found))
        self.hold(found.project, found.prompt)
        found = store.find(self.connection, release_id, lock=True)
        if version is not None and version != found.version:
            raise Conflict(
                f"The release has moved on since you looked: it is {found.state}, version {found.version}.",
                code="version_moved",
                hint="Look again, then repeat.",
            )
        return found

    def hold(self, project: str, prompt: str) -> Prompt:
        """The prompt, whose labels and releases nobody else touches until this transaction ends."""
        return prompt_rows.find(self.connection, project, prompt, lock=True)

    def version(self, release: Release, number: int) -> Version:
        """A version of the release's prompt, with its content."""
        return prompts.bundle(self.connection, release.project, release.prompt, number).version

    def stale(self, release: Release) -> str:
        """What has changed since the release was proposed, in words; empty: nothing."""
        try:
            now = bundles.compose(self.connection, release, self.bench.requirements_of)
        except NotFound as error:
            return error.message.rstrip(".")
        return "" if bundles.digest(now) == release.digest else bundles.difference(release.bundle, now)

    def judge(self, release: Release) -> tuple[Verdict, ...]:
        """What every required gate says."""
        context = gates.Context(
            connection=self.connection,
            release=release,
            evidence=self._evidence(release),
            version=self.version(release, release.number),
            base=None if release.base_number is None else self.version(release, release.base_number),
        )
        return gates.judge_all(self.bench.gates, release.gates, context)

    def _evidence(self, release: Release) -> tuple[Evidence, ...]:
        """What is attached. Before the start, no good review counts of somebody who may not approve any more."""
        found = store.evidence(self.connection, release.id)
        reviewers = {one.principal for one in found if one.name == gates.DIFF_REVIEWED and one.passed}
        if not reviewers or release.state in RUNNING:
            return found
        may, on = self.bench.rights(self.connection, self.now), resource(release)
        gone = {one for one in reviewers if not may(one, "releases:approve", on, release.org)}
        return tuple(
            one for one in found if not (one.name == gates.DIFF_REVIEWED and one.passed and one.principal in gone)
        )

    def tally(self, release: Release, *, lock: bool = True) -> approvals.Tally:
        """What the approvals come to, each giver's right judged anew."""
        may = self.bench.rights(self.connection, self.now)
        on = resource(release)
        return approvals.tally(
            self.connection,
            release.request_id,
            now=self.now,
            allowed=lambda principal: may(principal, "releases:approve", on, release.org),
            needed=release.approvals_needed,
            lock=lock,
        )

    def readiness(self, release: Release) -> Readiness:
        """What lies between the release and its next step."""
        verdicts = self.judge(release)
        tally = self.tally(release, lock=False)
        blockers = [f"gate {one.gate}: {one.message}" for one in verdicts if not one.passed]
        if release.state in ("proposed", "approved"):
            if not tally.reached:
                blockers.append(tally.sentence)
            stale = self.stale(release)
            if stale:
                blockers.append(stale)
        return Readiness(
            verdicts=verdicts, approvals=tally.sentence, approved_by=tally.approved_by, blockers=tuple(blockers)
        )

    def assign(self, release: Release, *, canary: Canary | None, back: bool = False, reason: str = "") -> None:
        """Point the label at the release's version, or ``back`` at its base; ``canary`` has a share beside it."""
        to_base = back or canary is not None
        number = release.base_number if to_base else release.number
        assert number is not None
        self.moved = True
        prompts.assign(
            self.connection,
            project=release.project,
            prompt=release.prompt,
            label=release.label,
            number=number,
            release=release.base_release if to_base else release.id,
            canary=canary,
            actor=self.actor,
            reason=reason,
            evidence={"release": release.id, "bundle": release.digest},
            now=self.now,
        )

    def in_force(self, release: Release) -> bool:
        """Whether the label sends traffic to the release now."""
        standing = prompts.assignment(self.connection, release.project, release.prompt, release.label)
        if standing is None:
            return False
        if release.state in RUNNING:
            canary = standing.canary
            return canary is not None and canary.release == release.id and standing.number == release.base_number
        return standing.release == release.id

    def change(self, release: Release, **changes: Any) -> Release:
        """Write a new state of the release."""
        return store.change(self.connection, release, **changes)

    def done(
        self,
        before: Release | None,
        release: Release,
        verb: str,
        reason: str = "",
        facts: Mapping[str, Any] | None = None,
    ) -> Release:
        """Write down what was done: one leaf of the audit log, and an event that tells where it is."""
        told: dict[str, str | int] = {
            "state": release.state,
            "prompt": release.prompt,
            "label": release.label,
            "number": release.number,
            "step": release.step + 1,
            "share_per_mille": round(release.share * 1000),
            "bundle": release.digest,
            **(facts or {}),
        }
        leaf = self.bench.log.append(
            self.connection,
            audit.Deed(
                actor=access.actor_name(self.actor),
                principal=access.principal_of(self.actor),
                action=f"releases:{verb}",
                resource=release.resource,
                org=release.org,
                project=release.project,
                before=None if before is None else _state(before),
                after=_state(release),
                reason=reason,
                facts=told,
            ),
            self._occasion,
        )
        self.note(release, verb, reason, dict(facts or {}), leaf)
        return release

    def note(
        self, release: Release, verb: str, reason: str, facts: dict[str, object] | None = None, leaf: int | None = None
    ) -> None:
        """Write an event only: for what another release's deed brings along."""
        store.add_event(
            self.connection,
            release.id,
            Event(
                number=0,
                action=f"releases:{verb}",
                state=release.state,
                step=release.step,
                actor=access.actor_name(self.actor),
                at=self.now,
                reason=reason,
                facts=facts or {},
                leaf=leaf,
            ),
        )

    def void(self, release: Release, why: str) -> OstinatoError:
        """End a release that was overtaken by a change; gives the error to raise once that is committed."""
        approvals.void(self.connection, release.request_id, why, now=self.now)
        ended = self.change(release, state=WITHDRAWN, ended_at=self.now, ended_why=f"void: {why}"[:REASON])
        self.done(release, ended, "void", why)
        return Conflict(
            f"The release {release.id} is void: {why}.",
            code="release_void",
            hint="Propose it again, as things are now.",
        )


def resource(release: Release) -> Resource:
    """What rules of permissions are matched against."""
    return Resource(project=release.project, prompt=release.prompt, label=release.label, intent=release.intent)


def reaches(actor: Actor, release: Release) -> bool:
    """Whether the release exists for the actor at all."""
    if isinstance(actor, SystemActor) or permissions.allows(actor, "organizations:write"):
        return True
    if release.org != actor.org:
        return False
    return release.project == actor.project or permissions.allows(actor, "projects:write")


def reach(actor: Actor) -> sa.ColumnElement[bool]:
    """The same as a condition on the table."""
    table = tables.release
    if isinstance(actor, SystemActor) or permissions.allows(actor, "organizations:write"):
        return sa.true()
    if permissions.allows(actor, "projects:write"):
        return table.c.org == actor.org
    return sa.and_(table.c.org == actor.org, table.c.project == actor.project)


def reason_of(text: str, *, required: bool = False) -> str:
    """A reason, trimmed. Raises ``Invalid`` where it is too long, or missing where one is asked for."""
    text = text.strip()
    if len(text) > REASON or "\x00" in text:
        raise Invalid(f"A reason has at most {REASON} characters.", code="invalid_reason", param="reason")
    if required and not text:
        raise Invalid("Say why.", code="reason_required", param="reason")
    return text


def wrong_state(release: Release, verb: str) -> Conflict:
    """What cannot be done in this state, and what can."""
    ways = {
        "proposed": "It waits for its gates and approvals.",
        "approved": "Start it, or withdraw it.",
        "canary": "Advance, promote, pause or roll it back.",
        "paused": "Resume it, or roll it back.",
        "active": "Roll it back, or release another version.",
    }
    why = f" ({release.ended_why})" if release.ended_why else ""
    return Conflict(
        f"The release {release.id} cannot be {verb}: it is {release.state}{why}.",
        code="release_state",
        hint=ways.get(release.state, "It is over: propose another one."),
    )


def _state(release: Release) -> dict[str, object]:
    return {
        "state": release.state,
        "number": release.number,
        "step": release.step,
        "share": release.share,
        "version": release.version,
    }
