"""From the start of a release to its end: canary steps, promotion, pause, and the way back."""

from collections.abc import Mapping

from ostinato import approvals
from ostinato.core.errors import Conflict, OstinatoError
from ostinato.prompts import Canary
from ostinato.releases import store
from ostinato.releases.judging import Judge, Outcome
from ostinato.releases.model import (
    ACTIVE,
    APPROVED,
    CANARY,
    PAUSED,
    PROPOSED,
    ROLLED_BACK,
    RUNNING,
    SUPERSEDED,
    WITHDRAWN,
    Release,
)
from ostinato.releases.proposing import refuse_failed
from ostinato.releases.turn import Turn, reason_of, wrong_state

OPERATE = "releases:operate"


def start(turn: Turn, release_id: str, reason: str = "", version: int | None = None) -> Release | OstinatoError:
    """The release, with its first share of the traffic, or active at once where its plan has no steps.

    Everything is judged anew: that nothing has changed since the proposal, every required gate, every approval and the
    right of whoever gave it.
    """
    release = turn.release(release_id, OPERATE, version)
    if release.state not in (PROPOSED, APPROVED):
        raise wrong_state(release, "started")
    reason = reason_of(reason)
    stale = turn.stale(release)
    if stale:
        return turn.void(release, stale)
    tally = turn.tally(release)
    if tally.standing == "expired":
        return turn.void(release, "the time for its approval is over")
    refuse_failed(release, turn.judge(release))
    if not tally.reached:
        raise Conflict(
            f"The release {release.id} is not approved: {tally.sentence}.",
            code="approvals_missing",
            hint="Ask those who may approve releases, the author not among them.",
        )
    approvals.complete(turn.connection, release.request_id, now=turn.now)
    facts = {"approvals": len(tally.approved_by)}
    if not release.plan.steps:
        return _activate(turn, release, "start", reason, facts)
    started = turn.change(release, state=CANARY, step=0, step_since=turn.now, started_at=turn.now)
    turn.assign(started, canary=_canary(started), reason=reason)
    return turn.done(release, started, "start", reason, facts)


def advance(
    turn: Turn,
    release_id: str,
    judge: Judge,
    samples: Mapping[str, int],
    reason: str = "",
    version: int | None = None,
) -> Release | OstinatoError:
    """The release at its next step. ``samples``: requests by arm since this step began."""
    release = turn.release(release_id, OPERATE, version)
    ended = _may_go_on(turn, release, "advanced", judge, samples)
    if ended is not None:
        return ended
    if release.step + 1 >= len(release.plan.steps):
        raise Conflict(
            f"The release {release.id} is at its last step.", code="release_state", hint="Promote it, or roll it back."
        )
    further = turn.change(release, step=release.step + 1, step_since=turn.now)
    turn.assign(further, canary=_canary(further), reason=reason_of(reason))
    return turn.done(release, further, "advance", reason_of(reason), {"samples": samples.get("canary", 0)})


def promote(
    turn: Turn,
    release_id: str,
    judge: Judge,
    samples: Mapping[str, int],
    reason: str = "",
    version: int | None = None,
) -> Release | OstinatoError:
    """The release with all of the traffic: after its last step, whose minima must be met like any other's."""
    release = turn.release(release_id, OPERATE, version)
    ended = _may_go_on(turn, release, "promoted", judge, samples)
    if ended is not None:
        return ended
    left = len(release.plan.steps) - release.step - 1
    if left:
        raise Conflict(
            f"The release {release.id} has {left} of its {len(release.plan.steps)} steps still before it.",
            code="steps_left",
            hint="Advance it, or propose it again with fewer steps.",
        )
    return _activate(turn, release, "promote", reason_of(reason), {"samples": samples.get("canary", 0)})


def pause(turn: Turn, release_id: str, reason: str = "", version: int | None = None) -> Release:
    """The release, kept at its share until it is resumed or rolled back."""
    release = turn.release(release_id, OPERATE, version)
    if release.state != CANARY:
        raise wrong_state(release, "paused")
    return turn.done(release, turn.change(release, state=PAUSED), "pause", reason_of(reason))


def resume(turn: Turn, release_id: str, reason: str = "", version: int | None = None) -> Release | OstinatoError:
    """The release, going on; its step begins anew, with new samples."""
    release = turn.release(release_id, OPERATE, version)
    if release.state != PAUSED:
        raise wrong_state(release, "resumed")
    if not turn.in_force(release):
        return _overtaken(turn, release)
    return turn.done(release, turn.change(release, state=CANARY, step_since=turn.now), "resume", reason_of(reason))


def rollback(turn: Turn, release_id: str, reason: str = "", version: int | None = None) -> Release:
    """The release taken back: the label points where it pointed before, with the generation that it had then.

    Asks for ``releases:operate`` only: no gate, no approval, no evidence stands in the way back. An active release
    takes an open one of the same label with it, which was made to follow it.
    """
    release = turn.release(release_id, OPERATE, version)
    reason = reason_of(reason)
    if release.state in RUNNING:
        return _end_canary(turn, release, reason)
    if release.state == ACTIVE:
        return _reinstate(turn, release, reason)
    raise wrong_state(release, "rolled back")


def _may_go_on(
    turn: Turn, release: Release, verb: str, judge: Judge, samples: Mapping[str, int]
) -> OstinatoError | None:
    """Raise ``Conflict`` where a canary may not go on; give an error where it had to be ended."""
    if release.state != CANARY:
        raise wrong_state(release, verb)
    if not turn.in_force(release):
        return _overtaken(turn, release)
    stale = turn.stale(release)
    if stale:
        raise Conflict(
            f"The release {release.id} cannot go on: {stale}.",
            code="release_changed",
            hint="Roll it back and propose it again, as things are now.",
        )
    refuse_failed(release, turn.judge(release))
    judged = judge.judge(release, samples, turn.now)
    if judged.outcome is not Outcome.ADVANCE:
        raise Conflict(
            f"The release {release.id} cannot be {verb} yet: {judged.why}.",
            code="minima_not_met" if judged.outcome is Outcome.WAIT else "harm_found",
            hint="Wait, or roll it back." if judged.outcome is Outcome.WAIT else "Roll it back.",
        )
    return None


def _activate(turn: Turn, release: Release, verb: str, reason: str, facts: Mapping[str, int]) -> Release:
    before = store.active_at(turn.connection, release.slot)
    if before is not None:
        superseded = turn.change(
            before, state=SUPERSEDED, ended_at=turn.now, ended_why=f"superseded by the release {release.id}"
        )
        turn.note(superseded, "supersede", superseded.ended_why)
    active = turn.change(
        release,
        state=ACTIVE,
        step=len(release.plan.steps),
        step_since=None,
        started_at=release.started_at or turn.now,
    )
    turn.assign(active, canary=None, reason=reason)
    return turn.done(release, active, verb, reason, facts)


def _end_canary(turn: Turn, release: Release, reason: str) -> Release:
    if turn.in_force(release):
        turn.assign(release, canary=None, back=True, reason=reason)
    ended = turn.change(release, state=ROLLED_BACK, ended_at=turn.now, ended_why=reason or "rolled back")
    return turn.done(release, ended, "rollback", reason)


def _reinstate(turn: Turn, release: Release, reason: str) -> Release:
    if release.base_number is None:
        raise Conflict(
            f"Before the release {release.id} the label pointed at nothing: there is no way back.",
            code="no_base",
            hint="Release another version, or archive the prompt.",
        )
    if not turn.in_force(release):
        raise Conflict(
            f"The label {release.label!r} has been moved since the release {release.id}.",
            code="label_moved",
            hint="Move the label to the version that it shall point at.",
        )
    follower = store.open_at(turn.connection, release.slot)
    if follower is not None:
        _take_along(turn, follower, release)
    turn.assign(release, canary=None, back=True, reason=reason)
    ended = turn.change(release, state=ROLLED_BACK, ended_at=turn.now, ended_why=reason or "rolled back")
    if release.base_release:
        base = store.find(turn.connection, release.base_release, lock=True)
        back = turn.change(base, state=ACTIVE, ended_at=None, ended_why="")
        turn.note(back, "reinstate", f"the release {release.id} was rolled back")
    return turn.done(release, ended, "rollback", reason, {"reinstated": release.base_release})


def _take_along(turn: Turn, follower: Release, release: Release) -> None:
    """End an open release whose base is about to go."""
    why = f"the release {release.id}, which it was to follow, was rolled back"
    approvals.void(turn.connection, follower.request_id, why, now=turn.now)
    state = ROLLED_BACK if follower.state in RUNNING else WITHDRAWN
    ended = turn.change(follower, state=state, ended_at=turn.now, ended_why=why)
    turn.note(ended, "rollback" if state == ROLLED_BACK else "void", why)


def _overtaken(turn: Turn, release: Release) -> OstinatoError:
    """A canary whose label somebody has moved: it has no traffic any more."""
    why = f"the label {release.label!r} was moved meanwhile"
    ended = turn.change(release, state=WITHDRAWN, ended_at=turn.now, ended_why=why)
    turn.done(release, ended, "void", why)
    return Conflict(
        f"The release {release.id} is void: {why}.", code="release_void", hint="Propose it again, as things are now."
    )


def _canary(release: Release) -> Canary:
    return Canary(
        number=release.number,
        release=release.id,
        share=release.share,
        control=release.plan.control_at(release.step),
        salt=release.salt,
    )
