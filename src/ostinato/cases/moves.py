"""Every step of a case, as functions on a transaction; :class:`~ostinato.cases.cases.Cases` carries them out."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from ostinato import access, audit
from ostinato.access import Resource, SystemActor, permissions
from ostinato.cases import playbooks, store
from ostinato.cases.model import (
    APPROVED,
    AUTOMATIC,
    CLOSED,
    DETECTED,
    DISMISSED,
    EXECUTED,
    OPEN,
    PROPOSED,
    SEVERITIES,
    TRIAGED,
    VERIFIED,
    Action,
    ActionName,
    Alarm,
    Case,
    Fact,
    Severity,
)
from ostinato.cases.turn import AHEAD, Turn, late, text_of, timed
from ostinato.core import ids
from ostinato.core.errors import Conflict, Denied, Invalid, LimitReached

EFFECT = "cases:act"
"""Kind of the effects in the audit log; the payload names case and action."""
_HOUR = 3_600_000_000
_DAY = 24 * _HOUR

About = Callable[[str, str], tuple[str, Severity] | None]
"""``about(project, intent)``: its owner and its stakes; ``None``: there is no such intent."""


class Touched(msgspec.Struct, frozen=True):
    """Something that an action reaches."""

    project: str = ""
    intent: str = ""
    prompt: str = ""


def take(turn: Turn, alarm: Alarm, about: About, served: str = "") -> tuple[Case, str]:
    """The case of an alarm, and what became of it: ``open``, ``reopen``, or nothing (it joined). ``served``: the intent
    that the alarm's prompt or release serves, where it names none: its stakes are the case's."""
    connection, settings, key = turn.connection, turn.settings, store.digest(alarm.key)
    standing = store.open_at(connection, key)
    if standing is not None:
        store.join(connection, standing, alarm.at, alarm.evidence)
        if standing.state == VERIFIED and not standing.detector.startswith("alert:"):
            back = turn.move(_find(turn, standing), TRIAGED, "return", "the alarm came back", verify_at=None)
            return back, "return"
        return standing, ""
    last = store.last_at(connection, key)
    ended = 0 if last is None or (last.closed_at or 0) > turn.now + AHEAD else last.closed_at or 0
    if last is not None and alarm.at <= ended:
        return last, ""  # it was known when the case ended
    if last is not None and turn.now - (last.closed_at or 0) < settings.reopen_days * _DAY:
        store.join(connection, last, alarm.at, alarm.evidence)
        quiet = turn.now + int(settings.quiet_hours * _HOUR) + AHEAD
        if last.quiet_until is not None and turn.now < last.quiet_until <= quiet:
            return last, ""
        again = turn.move(
            _find(turn, last),
            DETECTED,
            "reopen",
            facts={"reopened": last.reopened + 1},
            reopened=last.reopened + 1,
            closed_why="",
            quiet_until=None,
            verify_at=None,
        )
        return again, "reopen"
    if store.count_open(connection, alarm.org, alarm.project) >= settings.open_cases:
        raise LimitReached(
            f"The project has {settings.open_cases:,} cases open.",
            code="too_many_cases",
            hint="Close some, or raise [cases] open_cases.",
        )
    concerns = alarm.intent or served
    owner, stakes = (about(alarm.project, concerns) if concerns else None) or ("", "medium")
    severity = playbooks.severity(alarm, stakes)
    case = Case(
        id=ids.new(turn.now),
        org=alarm.org,
        project=alarm.project,
        kind=alarm.kind,
        detector=alarm.detector,
        key=key,
        title=playbooks.title(alarm)[:500],
        intent=alarm.intent,
        prompt=alarm.prompt,
        release=alarm.release,
        target=alarm.target,
        severity=severity,
        stakes=stakes,
        owner=owner or settings.operator,
        evidence=_snapshot(alarm),
        latest=alarm.evidence,
        first_at=alarm.since or alarm.at,
        last_at=alarm.at,
        opened_at=turn.now,
        due_at=turn.now + settings.due(severity),
    )
    store.insert(connection, case)
    return turn.write("open", None, case, facts={"detector": case.detector, "intent": case.intent}), "open"


def triage(
    turn: Turn, case_id: str, *, owner: str | None, severity: Severity | None, reason: str, version: int | None
) -> Case:
    """Somebody has looked: it is so, this severe, and this person's. May be said again while nothing is proposed."""
    case = turn.case(case_id, "cases:write", version)
    reason = text_of(reason)
    if severity is not None and severity not in SEVERITIES:
        raise Invalid(f"There is no severity {severity[:40]!r}.", param="severity", hint=", ".join(SEVERITIES))
    if owner is not None and not (0 < len(owner.strip()) <= 200 and owner.isprintable()):
        raise Invalid("An owner has 1 to 200 printable characters.", param="owner")
    changes: dict[str, object] = {
        "owner": owner.strip() if owner is not None else case.owner,
        "severity": severity or case.severity,
    }
    if case.state == TRIAGED:
        named = msgspec.structs.replace(case, **changes)  # pyright: ignore[reportArgumentType]: of their fields
        # What is found to be worse has less time from now on, and is not late at once.
        due = min(case.due_at, turn.now + turn.settings.due(named.severity))
        changed = store.change(turn.connection, case, owner=named.owner, severity=named.severity, due_at=due)
        return turn.write("triage", case, changed, reason)
    return turn.move(case, TRIAGED, "triage", reason, **changes)


def comment(turn: Turn, case_id: str, text: str) -> Case:
    """The case with one more comment; it may have ended."""
    case = turn.case(case_id, "cases:write")
    return turn.write(
        "comment", case, store.change(turn.connection, case), text_of(text, required=True, what="comment")
    )


def propose(
    turn: Turn,
    case_id: str,
    name: ActionName,
    params: Mapping[str, Fact],
    *,
    reason: str,
    version: int | None,
    automatic: bool = False,
    stakes: Severity = "low",
) -> Case:
    """The case with an action that waits for somebody's word. ``stakes``: of all that the action reaches, which may be
    more than the case is about."""
    case = turn.case(case_id, "cases:write", version)
    playbooks.check_params(name, params)
    needs_other = playbooks.worst([case.stakes, case.severity, stakes]) in ("high", "critical")
    action = Action(
        id=ids.new(turn.now),
        case=case.id,
        name=name,
        params=dict(params),
        reason=text_of(reason),
        automatic=automatic,
        needs_other=needs_other,
        proposed_by=turn.principal,
        proposed_at=turn.now,
    )
    store.add_action(turn.connection, action)
    facts: dict[str, Fact] = {"action": name, "needs_other": needs_other}
    return turn.move(case, PROPOSED, "propose", action.reason, facts=facts, action=action.id)


def approve(
    turn: Turn, case_id: str, *, reason: str, version: int | None, action: str, touched: Sequence[Touched]
) -> tuple[Case, str]:
    """The case, approved, and the id of the effect that is about to happen. Stakes permitting, the proposer may.

    Whoever says yes needs the permission of what is done, too: a case is no way around a right that was denied.
    ``action``: the one that is meant, so that no other is approved that took its place; ``touched``: what it reaches.
    """
    case = turn.case(case_id, "cases:act", version)
    if case.action != action:
        raise Conflict("Another action is proposed by now.", code="version_moved", hint="Look again, then repeat.")
    return _approved(turn, case, _proposed(turn, case), reason, touched)


def _approved(turn: Turn, case: Case, action: Action, reason: str, touched: Sequence[Touched]) -> tuple[Case, str]:
    needed = playbooks.NEEDS.get(action.name)
    if needed:
        for one in touched or (Touched(case.project),):
            permissions.require(turn.actor, needed, Resource(case.project, prompt=one.prompt, intent=one.intent))
    if action.needs_other and action.proposed_by == turn.principal:
        raise Denied(
            "At these stakes somebody else than who proposed it must approve it.",
            code="self_approval",
            hint="Ask somebody who may act on cases.",
        )
    if action.name == "open-breaker" and action.params.get("target") and not _everywhere(turn):
        raise Denied(
            "A target is everybody's: only who may act in every organization may have it held open.",
            code="permission_missing",
            hint="It takes organizations:write. The breaker of the intent needs no more than cases:act.",
        )
    return _begin(turn, case, action, APPROVED, "approve", text_of(reason))


def go_by_itself(turn: Turn, case_id: str) -> tuple[Case, str]:
    """The same where a rule of the configuration allows it without anybody's word."""
    case = turn.case(case_id, "cases:act")
    return _begin(turn, case, _proposed(turn, case), AUTOMATIC, "automatic", "")


def reject(turn: Turn, case_id: str, *, reason: str, version: int | None) -> Case:
    """The case without its proposal; another one may be made."""
    case = turn.case(case_id, "cases:act", version)
    action = _proposed(turn, case)
    store.change_action(turn.connection, action, state="rejected", decided_by=turn.principal, decided_at=turn.now)
    facts: dict[str, Fact] = {"action": action.name}
    return turn.move(case, TRIAGED, "reject", text_of(reason, required=True), facts=facts)


def executed(turn: Turn, case_id: str, action_id: str, facts: Mapping[str, Fact], *, failed: bool) -> Case | None:
    """The case after its action; ``None`` where that was written down already."""
    case = store.find(turn.connection, case_id, lock=True)
    action = store.find_action(turn.connection, action_id)
    if action is None or action.state != "executing" or case.state not in (APPROVED, AUTOMATIC):
        return None
    state = "failed" if failed else "done"
    store.change_action(turn.connection, action, state=state, executed_at=turn.now, facts=dict(facts))
    told: dict[str, Fact] = {"action": action.name, **facts}
    if failed:
        return turn.move(case, TRIAGED, "fail", facts=told, escalated=case.escalated + 1)
    verify_at = turn.now + int(turn.settings.verify_seconds * 1_000_000)
    return turn.move(case, EXECUTED, "execute", facts=told, verify_at=verify_at)


def verify(turn: Turn, case_id: str, *, helped: bool, reason: str, version: int | None) -> Case:
    """What a look after the action showed: it helped, or the case goes back and is more severe than before."""
    case = turn.case(case_id, "cases:act", version)
    if case.state != EXECUTED:
        raise Conflict(
            f"The case {case.id} is {case.state}: there is no action whose effect could be judged.", code="case_state"
        )
    action = store.find_action(turn.connection, case.action)
    if action is not None:
        store.change_action(turn.connection, action, helped=helped)
    reason = text_of(reason)
    if helped:
        return turn.move(case, VERIFIED, "verify", reason, verify_at=None)
    return turn.move(
        case,
        TRIAGED,
        "escalate",
        reason,
        severity=playbooks.raised(case.severity),
        owner=turn.settings.operator,
        escalated=case.escalated + 1,
        verify_at=None,
    )


def close(turn: Turn, case_id: str, *, reason: str, version: int | None) -> Case:
    """The case, over: its action was verified."""
    case = turn.case(case_id, "cases:write", version)
    reason = text_of(reason)
    return turn.move(case, CLOSED, "close", reason, closed_why=reason or "verified")


def dismiss(turn: Turn, case_id: str, *, reason: str, version: int | None) -> Case:
    """The case, over without an action: a false alarm, or something that is accepted."""
    case = turn.case(case_id, "cases:write", version)
    reason = text_of(reason, required=True)
    if case.state == PROPOSED:
        _withdraw(turn, case)
    quiet = turn.now + int(turn.settings.quiet_hours * _HOUR)
    return turn.move(case, DISMISSED, "dismiss", reason, closed_why=reason, quiet_until=quiet, verify_at=None)


def overdue(turn: Turn, case_id: str) -> Case | None:
    """The case that nobody took to its next state in time; ``None`` where somebody did meanwhile."""
    case = store.find(turn.connection, case_id, lock=True)
    if case.state not in OPEN or case.overdue or not late(case, turn.now):
        return None
    told = store.change(turn.connection, case, overdue=True, escalated=case.escalated + 1)
    return turn.write("overdue", case, told, facts={"due_at": case.due_at})


def correct(turn: Turn, case_id: str) -> None:
    """Bring times back that lie too far ahead (see :func:`timed`): nothing has happened to the case."""
    case = store.find(turn.connection, case_id, lock=True)
    changes = timed(case, turn.now, turn.settings) if case.state in OPEN else {}
    if not changes:
        return
    store.change(turn.connection, case, **changes)
    action = store.find_action(turn.connection, case.action) if "verify_at" in changes else None
    if action is not None:
        store.change_action(turn.connection, action, executed_at=min(action.executed_at or turn.now, turn.now))


def _begin(turn: Turn, case: Case, action: Action, state: str, verb: str, reason: str) -> tuple[Case, str]:
    store.change_action(
        turn.connection,
        action,
        state="executing",
        automatic=state == AUTOMATIC,
        decided_by=turn.principal,
        decided_at=turn.now,
    )
    moved = turn.move(case, state, verb, reason, facts={"action": action.name})
    deed = _deed(turn, moved, action)
    payload = {"case": case.id, "action": action.id}
    return moved, turn.log.intend_within(turn.connection, deed, EFFECT, payload, turn.occasion)


def _deed(turn: Turn, case: Case, action: Action) -> audit.Deed:
    return audit.Deed(
        actor=access.actor_name(turn.actor),
        principal=access.principal_of(turn.actor),
        action=EFFECT,
        resource=case.resource,
        org=case.org,
        project=case.project,
        after={"action": action.name, "params": action.params},
        facts={"action": action.name, "case_action": action.id},
    )


def _proposed(turn: Turn, case: Case) -> Action:
    action = store.find_action(turn.connection, case.action) if case.state == PROPOSED else None
    if action is None or action.state != "proposed":
        raise Conflict(
            f"The case {case.id} is {case.state}: no action waits for somebody's word.",
            code="case_state",
            hint="Propose one first.",
        )
    return action


def _withdraw(turn: Turn, case: Case) -> None:
    action = store.find_action(turn.connection, case.action)
    if action is not None:
        store.change_action(turn.connection, action, state="withdrawn", decided_by=turn.principal, decided_at=turn.now)


def _find(turn: Turn, case: Case) -> Case:
    """The case as it is after a join."""
    return store.find(turn.connection, case.id, lock=True)


def _everywhere(turn: Turn) -> bool:
    return isinstance(turn.actor, SystemActor) or permissions.allows(turn.actor, "organizations:write")


def _snapshot(alarm: Alarm) -> dict[str, Fact]:
    """What is known now, frozen."""
    known: dict[str, Fact] = {
        "statistic": alarm.statistic,
        "threshold": alarm.threshold,
        "samples": alarm.samples,
        "since": alarm.since,
        "alarm": alarm.id,
    }
    return {**{name: value for name, value in known.items() if value not in (None, 0, "")}, **alarm.evidence}
