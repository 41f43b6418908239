"""From a proposal to its approval: propose, attach evidence, approve, reject, withdraw."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from ostinato import access, approvals, prompts
from ostinato.access import Resource, SystemActor, permissions
from ostinato.core import hashing, ids
from ostinato.core.errors import Conflict, Denied, Invalid, OstinatoError
from ostinato.intents.model import Requirements
from ostinato.releases import bundles, gates, store
from ostinato.releases.model import (
    APPROVED,
    PROPOSED,
    REJECTED,
    RUNNING,
    WITHDRAWN,
    Evidence,
    Plan,
    Release,
    Verdict,
)
from ostinato.releases.turn import Turn, reason_of, resource, wrong_state

_HOUR = 3_600_000_000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FACTS = 50
_FACT = 500


class NewEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The result of an evaluation or a review, as its maker hands it in."""

    name: str
    """What the gate ``evidence:NAME`` looks for; ``diff-reviewed``: a reviewer has read the differences."""
    digest: str
    """SHA-256 of the report, in hexadecimal; for ``diff-reviewed``, of the bundle that was reviewed."""
    passed: bool
    facts: dict[str, str | int | float | bool] = {}
    """Figures of the report; shown to approvers and kept in the history."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What our own rooms have found out about a version and the one that it is to replace."""

    content: str
    """SHA-256 of the version's content, in hexadecimal."""
    base: str
    """The same of what it was compared with; empty: the label pointed at nothing."""
    digest: str
    """SHA-256 of the report."""
    passed: bool
    name: Literal["evaluation", "review"] = "evaluation"
    facts: dict[str, str | int | float | bool] = {}
    """Figures of the report, for approvers."""


class Proposal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody wants to release."""

    prompt: str
    number: int
    """The version."""
    label: str = "production"
    plan: Plan = Plan()
    reason: str
    """Why; it stays in the history."""
    evidence: tuple[NewEvidence, ...] = ()


def propose(turn: Turn, org: str, project: str, wish: Proposal) -> Release:
    """A new release, waiting for its gates and approvals.

    Raises ``NotFound`` (prompt, version, label), ``Invalid`` (plan, reason, evidence), ``Denied``, and ``Conflict``
    where another release of this prompt and label is open or the label points at this version already.
    """
    connection = turn.connection
    head = turn.hold(project, wish.prompt)
    permissions.require(
        turn.actor,
        "releases:propose",
        Resource(project=project, prompt=head.name, label=wish.label, intent=head.intent),
    )
    reason = reason_of(wish.reason, required=True)
    requirements = turn.bench.requirements_of(project, head.intent)
    plan = _plan(wish, requirements)
    label = prompts.label(connection, project, wish.label)
    draft = Release(
        id=ids.new(turn.now),
        org=org,
        project=project,
        prompt=head.name,
        label=wish.label,
        number=wish.number,
        plan=plan,
        intent=head.intent,
        reason=reason,
        author=access.principal_of(turn.actor),
        proposed_by=access.actor_name(turn.actor),
        proposed_at=turn.now,
        request_id="",
        salt=ids.new(turn.now),
        digest="",
    )
    _make_way(turn, draft.slot)
    standing = prompts.assignment(connection, project, head.name, wish.label)
    _see_a_purpose(wish, head.name, standing)
    required = gates.required(turn.bench.settings.gates, label.protection.gates, requirements)
    draft = msgspec.structs.replace(
        draft,
        base_number=None if standing is None else standing.number,
        base_release="" if standing is None else standing.release,
        gates=required,
        approvals_needed=max(label.protection.approvals, requirements.approvals),
    )
    bundle = bundles.compose(connection, draft, turn.bench.requirements_of)
    request = approvals.open_request(
        connection,
        now=turn.now,
        actor=turn.actor,
        kind="release",
        target=draft.resource,
        digest=bundles.digest(bundle),
        body=bundle,
        needed=draft.approvals_needed,
        org=org,
        project=project,
        expires=turn.now + int(turn.bench.settings.approval_hours * _HOUR),
    )
    release = msgspec.structs.replace(
        draft, bundle=bundle, digest=bundles.digest(bundle), request_id=request.id, state=PROPOSED
    )
    store.insert(connection, release)
    for one in wish.evidence:
        _attach(turn, release, one)
    return turn.done(None, release, "propose", reason, {"approvals_needed": release.approvals_needed})


def _plan(wish: Proposal, requirements: Requirements) -> Plan:
    """The plan as it comes back from the database: a whole number given for a share must not make another digest."""
    plan = msgspec.convert(msgspec.to_builtins(wish.plan.check()), Plan)
    if plan.auto and not requirements.auto_rollout:
        raise Invalid(
            "This prompt's intent does not let a rollout go on by itself.",
            code="automatic_refused",
            param="plan.auto",
            hint="Leave auto out; somebody who may operate releases advances it.",
        )
    return plan


def _see_a_purpose(wish: Proposal, prompt: str, standing: prompts.Assignment | None) -> None:
    """Refuse what would change nothing, and a canary that has nothing to stand beside."""
    if standing is not None and standing.number == wish.number and standing.canary is None:
        raise Conflict(
            f"The label {wish.label!r} of {prompt!r} points at version {wish.number} already.",
            code="nothing_to_release",
            hint="Propose another version.",
        )
    if standing is None and wish.plan.steps:
        raise Invalid(
            f"The label {wish.label!r} of {prompt!r} points at nothing yet: a canary has nothing to stand beside.",
            code="no_base",
            param="plan.steps",
            hint="Leave the steps out for the first release.",
        )


def _make_way(turn: Turn, slot: str) -> None:
    """End a proposal that can never start any more; raise ``Conflict`` for any other that is open."""
    standing = store.open_at(turn.connection, slot)
    if standing is None:
        return
    if standing.state not in (PROPOSED, APPROVED):
        raise store.frozen(standing)
    request = approvals.find(turn.connection, standing.request_id)
    why = turn.stale(standing) or ("its time is over" if request.standing(turn.now) == "expired" else "")
    if not why:
        raise store.frozen(standing)
    approvals.void(turn.connection, standing.request_id, why, now=turn.now)
    ended = turn.change(standing, state=WITHDRAWN, ended_at=turn.now, ended_why=f"void: {why}")
    turn.note(ended, "void", why)


def attach(turn: Turn, release_id: str, wish: NewEvidence) -> Release:
    """The release with one more piece of evidence; of several of one name the last counts.

    ``diff-reviewed`` comes from somebody who may approve and is not the author; all else from who may propose.
    """
    reviewed = wish.name == gates.DIFF_REVIEWED
    release = turn.release(release_id, "releases:approve" if reviewed else "releases:propose")
    if release.state not in (PROPOSED, APPROVED, *RUNNING):
        raise wrong_state(release, "given evidence")
    one = _attach(turn, release, wish)
    changed = turn.change(release)
    facts = {"evidence": one.name, "evidence_digest": one.digest, "passed": int(one.passed)}
    return turn.done(release, changed, "attach", "", facts)


def attach_evaluation(turn: Turn, release_id: str, wish: Evaluation) -> Release:
    """The release with what our own rooms found out. Raises ``Denied`` for anybody else.

    Raises ``Conflict`` where something else was compared than what is to be released with what it would replace.
    Attached again, it is what it was.
    """
    if not isinstance(turn.actor, SystemActor) or access.actor_name(turn.actor) not in gates.WRITERS:
        raise Denied(f"Evidence named {wish.name!r} is written by Ostinato itself.", code="reserved_evidence")
    release = turn.release(release_id, "releases:propose")
    if release.state not in (PROPOSED, APPROVED, *RUNNING):
        raise wrong_state(release, "given evidence")
    base = "" if release.base_number is None else turn.version(release, release.base_number).digest
    if (wish.content, wish.base) != (turn.version(release, release.number).digest, base):
        raise Conflict(
            f"What was evaluated is not what {release.resource} releases, or not against what it replaces.",
            code="evaluation_stale",
            hint="Evaluate the version again, against what the label points at now.",
        )
    facts = {**wish.facts, "content": wish.content, "base": wish.base}
    for one in store.evidence(turn.connection, release.id):
        if (one.name, one.digest, one.passed, one.about) == (wish.name, wish.digest, wish.passed, release.digest):
            return release
    one = _write(turn, release, NewEvidence(wish.name, wish.digest, wish.passed, facts))
    changed = turn.change(release)
    told = {"evidence": one.name, "evidence_digest": one.digest, "passed": int(one.passed)}
    return turn.done(release, changed, "attach", "", told)


def _attach(turn: Turn, release: Release, wish: NewEvidence) -> Evidence:
    if wish.name in gates.RESERVED:
        raise Invalid(
            f"Evidence named {wish.name!r} is written by Ostinato itself.",
            code="reserved_evidence",
            param="evidence.name",
            hint="Give it another name, and have it asked for by the gate evidence:NAME.",
        )
    return _write(turn, release, wish)


def _write(turn: Turn, release: Release, wish: NewEvidence) -> Evidence:
    if _NAME.fullmatch(wish.name) is None:
        raise Invalid(
            "Evidence is named by 1 to 100 lowercase letters, digits, dots, hyphens and underscores.",
            code="invalid_evidence",
            param="evidence.name",
        )
    if _DIGEST.fullmatch(wish.digest) is None:
        raise Invalid(
            "The digest of evidence is a SHA-256 in 64 hexadecimal digits.",
            code="invalid_evidence",
            param="evidence.digest",
        )
    principal = access.principal_of(turn.actor)
    if wish.name == gates.DIFF_REVIEWED:
        if principal == release.author:
            raise Denied(
                "Who proposes a change does not review it, by no key of theirs.",
                code="self_review",
                hint="Ask somebody else who may approve releases.",
            )
        permissions.require(turn.actor, "releases:approve", resource(release))
        if wish.digest != release.digest:
            raise Conflict(
                "What you reviewed is not what is proposed: the digests differ.",
                code="approval_stale",
                hint=f"Look at {release.resource} again.",
            )
    present = store.evidence(turn.connection, release.id)
    if len(present) >= store.EVIDENCE:
        raise Conflict("This release has gathered too much evidence.", code="too_much_evidence")
    one = Evidence(
        number=len(present) + 1,
        name=wish.name,
        about=release.digest,
        digest=wish.digest,
        passed=wish.passed,
        facts=_facts(wish.facts),
        principal=principal,
        actor=access.actor_name(turn.actor),
        at=turn.now,
    )
    store.add_evidence(turn.connection, release.id, one)
    return one


def approve(turn: Turn, release_id: str, digest: str, comment: str) -> Release | OstinatoError:
    """The release with one more approval; approved where that makes enough. Its gates must have passed.

    ``digest``: of the bundle that the approver looked at. Raises as :func:`approvals.decide`, and ``Conflict`` where a
    required gate has not passed: approvers judge with the evidence before them.
    """
    release = turn.release(release_id, "releases:approve")
    if release.state not in (PROPOSED, APPROVED):
        raise wrong_state(release, "approved")
    stale = turn.stale(release)
    if stale:
        return turn.void(release, stale)
    _decide(turn, release, approvals.APPROVE, digest, comment)
    refuse_failed(release, turn.judge(release))
    tally = turn.tally(release)
    approved = turn.change(release, state=APPROVED if tally.reached else PROPOSED)
    facts = {"approvals": len(tally.approved_by), "approvals_needed": tally.needed}
    return turn.done(release, approved, "approve", comment.strip(), facts)


def reject(turn: Turn, release_id: str, digest: str, comment: str) -> Release:
    """The release, refused: one word of somebody who may approve is enough."""
    release = turn.release(release_id, "releases:approve")
    if release.state not in (PROPOSED, APPROVED):
        raise wrong_state(release, "rejected")
    reason = reason_of(comment, required=True)
    _decide(turn, release, approvals.REJECT, digest, reason)
    rejected = turn.change(release, state=REJECTED, ended_at=turn.now, ended_why=reason)
    return turn.done(release, rejected, "reject", reason)


def withdraw(turn: Turn, release_id: str, reason: str) -> Release:
    """The release, taken back before it began."""
    release = turn.release(release_id, "releases:propose")
    if release.state not in (PROPOSED, APPROVED):
        raise wrong_state(release, "withdrawn")
    reason = reason_of(reason)
    approvals.void(turn.connection, release.request_id, reason or "withdrawn", now=turn.now)
    withdrawn = turn.change(release, state=WITHDRAWN, ended_at=turn.now, ended_why=reason or "withdrawn")
    return turn.done(release, withdrawn, "withdraw", reason)


def refuse_failed(release: Release, verdicts: Sequence[Verdict]) -> None:
    """Raise ``Conflict`` naming the required gates that have not passed, and how each is passed."""
    failed = [one for one in verdicts if not one.passed]
    if failed:
        raise Conflict(
            "; ".join(f"The gate {one.gate!r} has not passed: {one.message}" for one in failed) + ".",
            code="gate_failed",
            hint=" ".join(dict.fromkeys(_way_out(release, one.gate) for one in failed)),
        )


def _way_out(release: Release, gate: str) -> str:
    where = f"{release.prompt}@{release.label}"
    if gate == gates.DIFF_REVIEWED:
        return f"Somebody who may approve, not the author, reads them and says so: ostinato releases review {where}."
    if gate == gates.EVALUATION:
        return f"Evaluate it: ostinato optimize proposes versions with their proof ({where})."
    if gate == gates.REVIEW:
        return "Have reviewers look at its answers: ostinato review."
    if gate.startswith(gates.EVIDENCE):
        return f"Attach it: ostinato releases attach {where} {gate.removeprefix(gates.EVIDENCE)} --report FILE."
    return f"Propose a version that passes {gate!r}."


def _decide(turn: Turn, release: Release, decision: str, digest: str, comment: str) -> None:
    approvals.decide(
        turn.connection,
        now=turn.now,
        actor=turn.actor,
        request_id=release.request_id,
        decision=decision,
        comment=comment,
        digest=digest,
    )


def _facts(facts: Mapping[str, str | int | float | bool]) -> dict[str, str | int | float | bool]:
    fits = len(facts) <= _FACTS and len(hashing.canonical_json(facts)) <= _FACTS * _FACT
    if not fits or "\\u0000" in hashing.canonical_json(facts).decode():
        raise Invalid(
            f"Evidence has at most {_FACTS} facts, short ones.", code="invalid_evidence", param="evidence.facts"
        )
    return dict(facts)
