"""A release from its proposal to its end, on both engines: what each step needs, does, and leaves behind."""

from typing import Any

import msgspec
import pytest
from release_kit import (
    ALICE,
    ALICE_AGAIN,
    BOB,
    CANARY,
    CAROL,
    HIGH,
    LOW,
    ORG,
    OTHER,
    PROJECT,
    Process,
    Shared,
    add_prompt,
    add_version,
    caller,
    declare,
    point,
)

from ostinato.access import Resource, Rule
from ostinato.approvals import tables as approval_tables
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound, OstinatoError
from ostinato.prompts.model import Content, Protection
from ostinato.releases import NewEvidence, Plan, Proposal, Release, Step, tables
from ostinato.templates import Finding

SEEDS = [f"session {index}".encode() for index in range(200)]


def arms(process: Process) -> dict[str, int]:
    found: dict[str, int] = {}
    for seed in SEEDS:
        arm = process.resolve(seed=seed).arm
        found[arm] = found.get(arm, 0) + 1
    return found


def code(caught: pytest.ExceptionInfo[OstinatoError]) -> str:
    return caught.value.code


def test_tables_are_those_of_the_revision(one: Process, schema_drift: Any) -> None:
    assert schema_drift(one.database, tables.metadata) == []
    assert schema_drift(one.database, approval_tables.metadata) == []


async def test_the_whole_way_of_a_canary(one: Process) -> None:
    release = await one.proposed(plan=CANARY)
    assert (release.state, release.base_number, release.number) == ("proposed", 1, 2)
    release = await one.releases.approve(BOB, release.id, release.digest, "fine")
    assert release.state == "approved"
    assert one.resolve().number == 1
    release = await one.releases.start(CAROL, release.id)
    assert (release.state, release.step) == ("canary", 0)
    assert 0 < arms(one)["canary"] < 60
    release = await one.releases.advance(CAROL, release.id)
    assert 60 < arms(one)["canary"] < 140
    with pytest.raises(Conflict) as caught:
        await one.releases.advance(CAROL, release.id)
    assert code(caught) == "release_state"
    release = await one.releases.promote(CAROL, release.id)
    assert release.state == "active"
    resolved = one.resolve()
    assert (resolved.number, resolved.release, resolved.generation, resolved.arm) == (2, release.id, release.id, "")
    assert one.leaves() == [f"releases:{verb}" for verb in ("propose", "approve", "start", "advance", "promote")]
    dossier = await one.releases.show(ALICE, release.id)
    assert dossier.in_force and dossier.request.state == "done"
    assert [event.leaf for event in dossier.history] == [0, 1, 2, 3, 4]


async def test_without_steps_the_label_moves_at_once(one: Process) -> None:
    release = await one.started()
    assert release.state == "active" and one.resolve().number == 2


async def test_a_rollback_brings_back_the_release_before_with_its_generation(one: Process) -> None:
    first, second = await one.started(2), await one.started(3)
    assert (await one.releases.show(ALICE, first.id)).release.state == "superseded"
    assert one.resolve().generation == second.id
    back = await one.releases.rollback(CAROL, second.id, "worse")
    assert (back.state, back.ended_why) == ("rolled_back", "worse")
    assert (one.resolve().number, one.resolve().generation) == (2, first.id)
    assert (await one.releases.show(ALICE, first.id)).release.state == "active"
    back = await one.releases.rollback(CAROL, first.id)
    assert one.resolve().number == 1 and one.resolve().generation.startswith("version:")
    assert one.leaves()[-2:] == ["releases:rollback", "releases:rollback"]


async def test_a_rollback_of_a_canary_gives_all_traffic_back(one: Process) -> None:
    release = await one.started(plan=Plan(steps=(Step(0.1, min_samples=20), Step(0.5))))
    assert (await one.releases.show(ALICE, release.id)).waits == "this step has 0 of 20 samples"
    await one.releases.rollback(CAROL, release.id)
    assert (await one.releases.show(ALICE, release.id)).waits == ""
    assert arms(one) == {"": len(SEEDS)}
    await one.started(2)  # and the label is free again


async def test_rolling_the_active_release_back_takes_its_follower_along(one: Process) -> None:
    active = await one.started(2)
    canary = await one.started(3, plan=CANARY)
    await one.releases.rollback(CAROL, active.id)
    assert one.resolve().number == 1 and arms(one) == {"": len(SEEDS)}
    assert (await one.releases.show(ALICE, canary.id)).release.state == "rolled_back"
    waiting = await one.approved(4)
    with pytest.raises(Conflict):
        await one.releases.rollback(CAROL, canary.id)
    assert (await one.releases.show(ALICE, waiting.id)).release.state == "approved"
    again = await one.releases.start(CAROL, waiting.id)
    proposal = await one.proposed(5)
    await one.releases.rollback(CAROL, again.id)
    assert (await one.releases.show(ALICE, proposal.id)).release.state == "withdrawn"
    assert (await one.releases.show(ALICE, proposal.id)).request.state == "void"


async def test_the_first_release_of_a_label_has_no_way_back_and_no_canary(one: Process) -> None:
    one.transact(lambda c: declare(c, "staging"))
    with pytest.raises(Invalid) as caught:
        await one.proposed(label="staging", plan=CANARY)
    assert code(caught) == "no_base"
    release = await one.started(label="staging")
    assert one.resolve("greeting@staging").release == release.id
    with pytest.raises(Conflict) as conflict:
        await one.releases.rollback(CAROL, release.id)
    assert code(conflict) == "no_base"


# -- approvals ---------------------------------------------------------------------------------------------------------


async def test_nothing_starts_without_approval(one: Process) -> None:
    release = await one.proposed()
    with pytest.raises(Conflict) as caught:
        await one.releases.start(CAROL, release.id)
    assert code(caught) == "approvals_missing" and "0 of 1" in caught.value.message
    assert one.resolve().number == 1


async def test_the_author_approves_by_none_of_their_keys(one: Process) -> None:
    release = await one.proposed()
    for key in (ALICE, ALICE_AGAIN):
        with pytest.raises(Denied) as caught:
            await one.releases.approve(key, release.id, release.digest)
        assert code(caught) == "self_approval"
    assert one.leaves() == ["releases:propose"]


async def test_high_stakes_take_two_and_a_review(one: Process, shared: Shared) -> None:
    shared.requirements[""] = HIGH
    with pytest.raises(Invalid) as refused:
        await one.proposed(plan=Plan(steps=(Step(0.5),), auto=True))
    assert code(refused) == "automatic_refused"
    release = await one.proposed()
    with pytest.raises(Conflict) as caught:
        await one.releases.approve(BOB, release.id, release.digest)
    assert code(caught) == "gate_failed" and "diff-reviewed" in caught.value.message
    assert "ostinato releases review" in caught.value.hint
    seen = NewEvidence("diff-reviewed", release.digest, True)
    with pytest.raises(Denied) as denied:
        await one.releases.attach(ALICE_AGAIN, release.id, seen)
    assert code(denied) == "self_review"
    await one.releases.attach(BOB, release.id, seen)
    release = await one.releases.approve(BOB, release.id, release.digest)
    assert release.state == "proposed"
    await one.releases.approve(BOB, release.id, release.digest)
    with pytest.raises(Conflict, match="1 of 2"):
        await one.releases.start(CAROL, release.id)
    release = await one.releases.approve(CAROL, release.id, release.digest)
    assert release.state == "approved"
    assert (await one.releases.start(CAROL, release.id)).state == "active"


async def test_a_reviewer_who_lost_the_right_does_not_count(one: Process, shared: Shared) -> None:
    shared.requirements[""] = HIGH
    release = await one.proposed(plan=Plan(steps=(Step(0.5),)))
    dave = caller("dave")
    await one.releases.attach(dave, release.id, NewEvidence("diff-reviewed", release.digest, True))
    for approver in (BOB, CAROL):
        await one.releases.approve(approver, release.id, release.digest)
    shared.may_not.add("principal:dave")
    with pytest.raises(Conflict) as caught:
        await one.releases.start(CAROL, release.id)
    assert code(caught) == "gate_failed" and "diff-reviewed" in caught.value.message
    await one.releases.attach(BOB, release.id, NewEvidence("diff-reviewed", release.digest, True))
    assert (await one.releases.start(CAROL, release.id)).state == "canary"
    # What has begun goes on: people leave, and the canary is judged by what it does.
    shared.may_not.add("principal:bob")
    assert (await one.releases.promote(CAROL, release.id)).state == "active"


async def test_an_approver_who_lost_the_right_does_not_count(one: Process, shared: Shared) -> None:
    release = await one.approved()
    shared.may_not.add("principal:bob")
    with pytest.raises(Conflict) as caught:
        await one.releases.start(CAROL, release.id)
    assert code(caught) == "approvals_missing" and "principal:bob does not count" in caught.value.message
    assert one.resolve().number == 1
    await one.releases.approve(CAROL, release.id, release.digest)
    assert (await one.releases.start(CAROL, release.id)).state == "active"


async def test_approvals_expire_with_their_proposal(one: Process, clock: ManualClock) -> None:
    release = await one.approved()
    clock.advance(72 * 3600)
    with pytest.raises(Conflict) as caught:
        await one.releases.start(CAROL, release.id)
    assert code(caught) == "release_void"
    assert (await one.releases.show(ALICE, release.id)).release.state == "withdrawn"
    assert one.leaves()[-1] == "releases:void"


async def test_an_expired_proposal_does_not_hold_the_label(one: Process, clock: ManualClock) -> None:
    old = await one.approved()
    clock.advance(72 * 3600)
    await one.proposed(3)
    assert (await one.releases.show(ALICE, old.id)).release.state == "withdrawn"


async def test_an_approval_is_bound_to_what_was_seen(one: Process) -> None:
    release = await one.proposed()
    with pytest.raises(Conflict) as caught:
        await one.releases.approve(BOB, release.id, "0" * 64)
    assert code(caught) == "approval_stale"


async def move(one: Process, _shared: Shared) -> None:
    point(one, 3)


async def protect(one: Process, _shared: Shared) -> None:
    one.transact(lambda c: declare(c, "production", Protection(release_required=True, approvals=2)))


async def raise_stakes(_one: Process, shared: Shared) -> None:
    shared.requirements[""] = HIGH


async def change_policy(_one: Process, shared: Shared) -> None:
    shared.requirements[""] = msgspec.structs.replace(LOW, version="another")


@pytest.mark.parametrize("change", [move, protect, raise_stakes, change_policy])
@pytest.mark.parametrize("when", ["before approval", "before start"])
async def test_any_change_voids_a_proposal(one: Process, shared: Shared, change: Any, when: str) -> None:
    release = await one.proposed()
    if when == "before start":
        await one.releases.approve(BOB, release.id, release.digest)
    await change(one, shared)
    assert (await one.releases.show(ALICE, release.id)).readiness.blockers
    with pytest.raises(Conflict) as caught:
        if when == "before start":
            await one.releases.start(CAROL, release.id)
        else:
            await one.releases.approve(BOB, release.id, release.digest)
    assert code(caught) == "release_void"
    dossier = await one.releases.show(ALICE, release.id)
    assert (dossier.release.state, dossier.request.state) == ("withdrawn", "void")
    assert dossier.release.ended_why.startswith("void: ")
    assert one.leaves()[-1] == "releases:void"
    assert one.resolve().release == ""


async def test_a_vanished_intent_voids_a_proposal(one: Process, shared: Shared) -> None:
    release = await one.approved()

    def vanished(_project: str, _intent: str) -> Any:
        raise NotFound("There is no intent 'refunds'.", code="intent_not_found")

    shared.requirements_of = vanished  # type: ignore[method-assign]
    one.releases._bench = msgspec.structs.replace(one.releases._bench, requirements_of=vanished)
    with pytest.raises(Conflict, match="no intent 'refunds'"):
        await one.releases.start(CAROL, release.id)


async def test_a_changed_policy_stops_a_canary_but_not_its_rollback(one: Process, shared: Shared) -> None:
    release = await one.started(plan=CANARY)
    await raise_stakes(one, shared)
    with pytest.raises(Conflict) as caught:
        await one.releases.advance(CAROL, release.id)
    assert code(caught) == "release_changed"
    assert (await one.releases.rollback(CAROL, release.id)).state == "rolled_back"


async def test_one_rejection_ends_a_proposal(one: Process) -> None:
    release = await one.approved()
    with pytest.raises(Invalid):
        await one.releases.reject(CAROL, release.id, release.digest, " ")
    release = await one.releases.reject(CAROL, release.id, release.digest, "too soon")
    assert (release.state, release.ended_why) == ("rejected", "too soon")
    for step in (one.releases.start(CAROL, release.id), one.releases.approve(BOB, release.id, release.digest)):
        with pytest.raises(Conflict):
            await step


# -- gates -------------------------------------------------------------------------------------------------------------


async def test_missing_evidence_is_a_failure(one: Process) -> None:
    one.transact(lambda c: declare(c, "production", Protection(True, 1, ("evidence:safety", "no-such-gate"))))
    release = await one.proposed()
    with pytest.raises(Conflict) as caught:
        await one.releases.approve(BOB, release.id, release.digest)
    assert code(caught) == "gate_failed"
    assert "no evidence 'safety'" in caught.value.message and "no such gate" in caught.value.message
    assert f"ostinato releases attach {release.prompt}@production safety" in caught.value.hint


async def test_the_last_evidence_of_a_name_counts_at_every_step(one: Process) -> None:
    one.transact(lambda c: declare(c, "production", Protection(True, 1, ("evidence:safety",))))
    report = "d" * 64
    release = await one.proposed(plan=CANARY, evidence=(NewEvidence("safety", report, False, {"failed": 3}),))
    with pytest.raises(Conflict, match="safety failed"):
        await one.releases.approve(BOB, release.id, release.digest)
    await one.releases.attach(ALICE, release.id, NewEvidence("safety", report, True))
    await one.releases.approve(BOB, release.id, release.digest)
    await one.releases.attach(ALICE, release.id, NewEvidence("safety", report, False))
    with pytest.raises(Conflict) as caught:
        await one.releases.start(CAROL, release.id)
    assert code(caught) == "gate_failed"
    await one.releases.attach(ALICE, release.id, NewEvidence("safety", report, True))
    await one.releases.start(CAROL, release.id)
    await one.releases.advance(CAROL, release.id)
    await one.releases.attach(ALICE, release.id, NewEvidence("safety", report, False))
    with pytest.raises(Conflict) as caught:
        await one.releases.promote(CAROL, release.id)
    assert code(caught) == "gate_failed"
    assert (await one.releases.rollback(CAROL, release.id)).state == "rolled_back"


async def test_the_linter_and_the_schema_are_gates(one: Process) -> None:
    one.transact(lambda c: declare(c, "production", Protection(True, 1, ("schema",))))
    told = Finding(code="cache-buster", level="error", message="A date.", where="text")
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}

    def write(connection: Any) -> None:
        identifier = add_prompt(connection, 1, "letter", 1)
        add_version(connection, 1, identifier, Content(kind="text", text="{{name}}", variables=schema), [told])

    one.transact(write)
    point(one, 1, prompt="letter")
    release = await one.releases.propose(ALICE, Proposal(prompt="letter", number=2, reason="names"))
    with pytest.raises(Conflict) as caught:
        await one.releases.approve(BOB, release.id, release.digest)
    assert "text: A date" in caught.value.message and "needs the variable 'name'" in caught.value.message


async def test_a_gate_that_breaks_is_not_passed(open_process: Any) -> None:
    class Broken:
        def judge(self, _context: Any) -> Any:
            raise KeyError("a bug")

    process = await open_process(more_gates={"lint": Broken()})
    release = await process.proposed()
    with pytest.raises(Conflict, match="KeyError"):
        await process.releases.approve(BOB, release.id, release.digest)


@pytest.mark.parametrize(
    "wrong",
    [
        NewEvidence("Bad Name", "d" * 64, True),
        NewEvidence("safety", "xyz", True),
        NewEvidence("safety", "d" * 64, True, {f"f{n}": 1 for n in range(51)}),
        NewEvidence("safety", "d" * 64, True, {"text": "a\x00b"}),
    ],
)
async def test_evidence_of_the_wrong_shape_is_refused(one: Process, wrong: NewEvidence) -> None:
    release = await one.proposed()
    with pytest.raises(Invalid):
        await one.releases.attach(ALICE, release.id, wrong)
    assert (await one.releases.show(ALICE, release.id)).evidence == ()


# -- one at a time -----------------------------------------------------------------------------------------------------


async def test_a_second_release_of_a_label_is_told_of_the_first(one: Process) -> None:
    release = await one.started(plan=CANARY)
    with pytest.raises(Conflict) as caught:
        await one.proposed(3)
    assert code(caught) == "release_open"
    assert release.id in caught.value.message and "canary, step 1 of 2" in caught.value.message
    one.transact(lambda c: declare(c, "staging"))
    await one.proposed(3, label="staging")


async def test_a_moved_label_ends_a_canary(one: Process) -> None:
    release = await one.started(plan=CANARY)
    point(one, 4)
    with pytest.raises(Conflict) as caught:
        await one.releases.advance(CAROL, release.id)
    assert code(caught) == "release_void"
    assert (await one.releases.show(ALICE, release.id)).release.state == "withdrawn"
    await one.prompts.reload()
    assert one.resolve().number == 4


async def test_a_moved_label_is_not_rolled_back(one: Process) -> None:
    release = await one.started(2)
    point(one, 4)
    with pytest.raises(Conflict) as caught:
        await one.releases.rollback(CAROL, release.id)
    assert code(caught) == "label_moved"
    canary = await one.started(5, plan=CANARY)
    point(one, 6)
    await one.releases.rollback(CAROL, canary.id)
    await one.prompts.reload()
    assert one.resolve().number == 6, "what somebody has pointed at since stays"


async def test_an_old_look_is_refused(one: Process) -> None:
    release = await one.started(plan=CANARY)
    await one.releases.pause(CAROL, release.id, version=release.version)
    with pytest.raises(Conflict) as caught:
        await one.releases.resume(CAROL, release.id, version=release.version)
    assert code(caught) == "version_moved" and "paused" in caught.value.message


async def test_pause_holds_and_resume_begins_the_step_anew(one: Process, clock: ManualClock) -> None:
    release = await one.started(plan=CANARY)
    release = await one.releases.pause(CAROL, release.id)
    for step in (one.releases.advance, one.releases.promote, one.releases.pause, one.releases.start):
        with pytest.raises(Conflict):
            await step(CAROL, release.id)
    assert arms(one)["canary"]
    clock.advance(60)
    release = await one.releases.resume(CAROL, release.id)
    assert release.step_since == clock.now()


async def test_minima_are_kept(one: Process, shared: Shared, clock: ManualClock) -> None:
    release = await one.started(plan=Plan(steps=(Step(0.1, min_samples=100, min_minutes=30),)))
    shared.samples[release.id] = {"canary": 99}
    clock.advance(3600)
    with pytest.raises(Conflict) as caught:
        await one.releases.promote(CAROL, release.id)
    assert code(caught) == "minima_not_met" and "99 of 100" in caught.value.message
    shared.samples[release.id] = {"canary": 100}
    assert (await one.releases.promote(CAROL, release.id)).state == "active"


async def test_steps_are_not_skipped(one: Process) -> None:
    release = await one.started(plan=CANARY)
    with pytest.raises(Conflict) as caught:
        await one.releases.promote(CAROL, release.id)
    assert code(caught) == "steps_left"


async def test_a_proposal_can_be_withdrawn_until_it_starts(one: Process) -> None:
    release = await one.approved()
    assert (await one.releases.withdraw(ALICE, release.id, "a slip")).state == "withdrawn"
    running = await one.started(2, plan=CANARY)
    with pytest.raises(Conflict):
        await one.releases.withdraw(ALICE, running.id)


# -- who may -----------------------------------------------------------------------------------------------------------


async def test_every_step_asks_for_its_permission(one: Process) -> None:
    release = await one.proposed()
    proposer = caller("p", without="releases:propose")
    approver = caller("q", without="releases:approve")
    operator = caller("r", without="releases:operate")
    reader = caller("s", without="releases:read")
    steps = [
        one.proposed(3, who=proposer),
        one.releases.attach(proposer, release.id, NewEvidence("x", "d" * 64, True)),
        one.releases.withdraw(proposer, release.id),
        one.releases.approve(approver, release.id, release.digest),
        one.releases.reject(approver, release.id, release.digest, "no"),
        one.releases.attach(approver, release.id, NewEvidence("diff-reviewed", release.digest, True)),
        *(
            step(operator, release.id)
            for step in (
                one.releases.start,
                one.releases.advance,
                one.releases.promote,
                one.releases.pause,
                one.releases.resume,
                one.releases.rollback,
            )
        ),
        one.releases.show(reader, release.id),
        one.releases.list(reader),
    ]
    for step in steps:
        with pytest.raises(Denied):
            await step
    assert one.leaves() == ["releases:propose"]


async def test_a_deny_on_one_label_holds(one: Process) -> None:
    one.transact(lambda c: declare(c, "staging"))
    rule = Rule(permissions=frozenset({"releases:propose"}), effect="deny", on=Resource(label="production"), layer="x")
    careful = caller("careful", rules=(rule,))
    await one.proposed(who=careful, label="staging")
    with pytest.raises(Denied):
        await one.proposed(who=careful)


async def test_releases_of_other_projects_do_not_exist(one: Process) -> None:
    release = await one.proposed()
    stranger = caller("stranger", project=OTHER)
    foreign = caller("foreign", org="f" * 32, project="d" * 32)
    for who in (stranger, foreign):
        for step in (
            one.releases.show(who, release.id),
            one.releases.rollback(who, release.id),
            one.releases.advance(who, release.id),
            one.releases.approve(who, release.id, release.digest),
            one.releases.propose(who, Proposal(prompt="greeting", number=2, reason="x"), PROJECT),
        ):
            with pytest.raises(NotFound):
                await step
        assert list(await one.releases.list(who)) == []
    wide = caller("wide", project=OTHER, and_=frozenset({"projects:write"}))
    assert [found.id for found in await one.releases.list(wide)] == [release.id]
    assert (await one.releases.show(wide, release.id)).release.org == ORG


async def test_pages_and_filters(one: Process, clock: ManualClock) -> None:
    one.transact(lambda c: declare(c, "staging"))
    found: list[Release] = []
    for number in (2, 3, 4):
        found.append(await one.started(number))
        clock.advance(1)
    staging = await one.proposed(2, label="staging")
    ids = [release.id for release in found] + [staging.id]
    assert [release.id for release in await one.releases.list(ALICE)] == ids
    assert [release.id for release in await one.releases.list(ALICE, after=ids[0], limit=2)] == ids[1:3]
    assert [release.id for release in await one.releases.list(ALICE, state="active")] == ids[2:3]
    assert [release.id for release in await one.releases.list(ALICE, label="staging", project="main")] == ids[3:]
    assert list(await one.releases.list(ALICE, prompt="unknown")) == []


# -- bad input ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wish", "kind", "expected"),
    [
        ({"prompt": "nobody"}, NotFound, "prompt_not_found"),
        ({"number": 99}, NotFound, "version_not_found"),
        ({"number": -1}, NotFound, "version_not_found"),
        ({"number": 1}, Conflict, "nothing_to_release"),
        ({"label": "nowhere"}, NotFound, "label_not_found"),
        ({"reason": "  "}, Invalid, "reason_required"),
        ({"reason": "x" * 2001}, Invalid, "invalid_reason"),
        ({"plan": Plan(steps=(Step(0.5), Step(0.5)))}, Invalid, "invalid_plan"),
        ({"plan": Plan(steps=(Step(0),))}, Invalid, "invalid_plan"),
        ({"plan": Plan(steps=(Step(1.1),))}, Invalid, "invalid_plan"),
        ({"plan": Plan(steps=(Step(float("nan")),))}, Invalid, "invalid_plan"),
        ({"plan": Plan(steps=(Step(0.6),), control=0.5)}, Invalid, "invalid_plan"),
        ({"plan": Plan(control=0.5)}, Invalid, "invalid_plan"),
        ({"plan": Plan(auto=True)}, Invalid, "invalid_plan"),
        ({"plan": Plan(steps=(Step(0.5, min_samples=-1),))}, Invalid, "invalid_plan"),
        ({"plan": Plan(steps=(Step(0.5, min_minutes=float("inf")),))}, Invalid, "invalid_plan"),
        ({"plan": Plan(steps=tuple(Step((n + 1) / 100) for n in range(21)))}, Invalid, "invalid_plan"),
        ({"plan": Plan(no_data_minutes=0)}, Invalid, "invalid_plan"),
        ({"evidence": (NewEvidence("x", "y", True),)}, Invalid, "invalid_evidence"),
    ],
)
async def test_wrong_proposals_are_refused_and_leave_nothing(
    one: Process, wish: dict[str, Any], kind: type[OstinatoError], expected: str
) -> None:
    with pytest.raises(kind) as caught:
        await one.releases.propose(ALICE, Proposal(**{"prompt": "greeting", "number": 2, "reason": "x", **wish}))
    assert code(caught) == expected
    assert list(await one.releases.list(ALICE)) == [] and one.leaves() == []
    left = one.database.query(lambda c: c.exec_driver_sql("SELECT count(*) FROM approval_request").scalar())
    assert left == 0


async def test_unknown_releases(one: Process) -> None:
    for name in ("f" * 32, "", "x", "a\x00", "' OR 1=1 --"):
        with pytest.raises(NotFound) as caught:
            await one.releases.rollback(CAROL, name)
        assert code(caught) == "release_not_found"
