"""One transaction of this room: who acts, when, what they reach, and what is written down of it."""

from collections.abc import Mapping

import sqlalchemy as sa

from ostinato import access, audit
from ostinato.access import Actor, Resource, permissions
from ostinato.cases import store
from ostinato.cases.model import ENDED, EXECUTED, NEXT, Case, Event, Fact
from ostinato.cases.settings import Settings
from ostinato.core.errors import Conflict, Invalid

AHEAD = 300_000_000
"""Microseconds: a time of the past that lies further ahead was written while a clock was wrong, and binds nobody."""
TEXT = 2_000
"""Characters of a reason or a comment."""


class Turn:
    """A transaction under way. Lives as long as its connection is lent."""

    def __init__(
        self,
        log: audit.Log,
        connection: sa.Connection,
        actor: Actor,
        now: int,
        occasion: audit.Occasion,
        settings: Settings,
    ) -> None:
        self.log = log
        self.connection = connection
        self.actor = actor
        self.now = now
        self.occasion = occasion
        self.settings = settings

    @property
    def principal(self) -> str:
        """Who stands behind the actor."""
        return access.principal_of(self.actor) or access.actor_name(self.actor)

    def case(self, case_id: str, permission: str, version: int | None = None) -> Case:
        """The case that the actor means, held until the end of this transaction.

        Raises ``NotFound`` beyond the actor's reach, ``Denied`` without the permission, ``Conflict`` where ``version``
        is not the one that stands.
        """
        found = store.find(self.connection, case_id, lock=True)
        if not store.reaches(self.actor, found.org, found.project):
            raise store.unknown(case_id)
        permissions.require(self.actor, permission, resource(found))
        if version is not None and version != found.version:
            raise Conflict(
                f"The case has moved on since you looked: it is {found.state}, version {found.version}.",
                code="version_moved",
                hint="Look again, then repeat.",
            )
        return found

    def move(self, case: Case, state: str, verb: str, text: str = "", **changes: object) -> Case:
        """The case in another state, with its leaf and its event. Raises ``Conflict`` where it cannot get there."""
        facts = changes.pop("facts", {})
        if state not in NEXT[case.state]:
            raise Conflict(
                f"The case {case.id} is {case.state}: it cannot become {state}.",
                code="case_state",
                hint=f"From here it can become: {', '.join(sorted(NEXT[case.state]))}.",
            )
        severity = changes.get("severity", case.severity)
        moved = store.change(
            self.connection,
            case,
            **{
                "state": state,
                "due_at": self.now + self.settings.due(severity),  # pyright: ignore[reportArgumentType]: a severity
                "overdue": False,
                "closed_at": self.now if state in ENDED else None,
                **changes,
            },
        )
        return self.write(verb, case, moved, text, facts)  # pyright: ignore[reportArgumentType]: as it was given

    def write(
        self, verb: str, before: Case | None, case: Case, text: str = "", facts: Mapping[str, Fact] | None = None
    ) -> Case:
        """Write down what was done: one leaf of the audit log, and an event that tells where it is."""
        told: dict[str, str | int] = {
            "state": case.state,
            "kind": case.kind,
            "severity": case.severity,
            "alarms": case.alarms,
            **({"case_action": case.action} if case.action else {}),
            **{name: _plain(value) for name, value in (facts or {}).items()},
        }
        deed = audit.Deed(
            actor=access.actor_name(self.actor),
            principal=access.principal_of(self.actor),
            action=f"cases:{verb}",
            resource=case.resource,
            org=case.org,
            project=case.project,
            before=None if before is None else _state(before),
            after=_state(case),
            reason=text,
            facts=told,
        )
        leaf = self.log.append(self.connection, deed, self.occasion)
        event = Event(
            number=0,
            verb=verb,
            state=case.state,
            actor=access.actor_name(self.actor),
            at=self.now,
            text=text,
            facts=dict(facts or {}),
            leaf=leaf,
        )
        store.add_event(self.connection, case.id, event)
        return case


def late(case: Case, now: int) -> bool:
    """Whether a case has been in its state for longer than it may."""
    return now >= case.due_at


def timed(case: Case, now: int, settings: Settings) -> dict[str, int]:
    """Times of a case that lie further ahead than they can by now, brought back; empty where there are none.

    They were set by a clock that was ahead, or while it might take longer. It has its whole time from now on: it is
    neither late at once, nor later than what is configured allows.
    """
    found: dict[str, int] = {}
    due, verify = now + settings.due(case.severity), now + int(settings.verify_seconds * 1_000_000)
    if not case.overdue and case.due_at > due + AHEAD:
        found["due_at"] = due
    if case.state == EXECUTED and case.verify_at is not None and case.verify_at > verify + AHEAD:
        found["verify_at"] = verify
        found["last_at"] = min(case.last_at, now)
    return found


def resource(case: Case) -> Resource:
    """What rules of permissions are matched against."""
    return Resource(project=case.project, prompt=case.prompt, intent=case.intent)


def text_of(text: str, *, required: bool = False, what: str = "reason") -> str:
    """A reason or a comment, trimmed. Raises ``Invalid`` where it is too long, or missing where one is asked for."""
    text = text.strip()
    if len(text) > TEXT or "\x00" in text:
        raise Invalid(f"A {what} has at most {TEXT} characters.", code=f"invalid_{what}", param=what)
    if required and not text:
        raise Invalid("Say why." if what == "reason" else "Say something.", code=f"{what}_required", param=what)
    return text


def _plain(value: Fact) -> str | int:
    """A fact as leaves have them."""
    if isinstance(value, bool):
        return int(value)
    return value if isinstance(value, int) else "" if value is None else str(value)[:500]


def _state(case: Case) -> dict[str, object]:
    return {
        "state": case.state,
        "severity": case.severity,
        "owner": case.owner,
        "action": case.action,
        "version": case.version,
    }
