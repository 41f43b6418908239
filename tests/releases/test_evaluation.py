"""The gate ``evaluation``: nobody's word but our own rooms', about exactly what is released and what it replaces."""

import msgspec
import pytest
from release_kit import ALICE, BOB, CAROL, LOW, PROJECT, Process, Shared

from ostinato import prompts
from ostinato.access import SystemActor
from ostinato.core.errors import Conflict, Denied, Invalid
from ostinato.releases import Evaluation, NewEvidence, Plan, Release, Step, Watcher
from ostinato.releases.gates import RESERVED

OURS = SystemActor("optimization")
REPORT = "a" * 64


def digest_of(process: Process, number: int) -> str:
    return process.database.query(lambda c: prompts.bundle(c, PROJECT, "greeting", number)).version.digest


def evaluation(process: Process, number: int = 2, base: int = 1, **fields: object) -> Evaluation:
    values = {"content": digest_of(process, number), "base": digest_of(process, base), "digest": REPORT, "passed": True}
    return Evaluation(**{**values, **fields})  # pyright: ignore[reportArgumentType] - fields of the struct


@pytest.fixture
async def asked(one: Process, shared: Shared) -> Release:
    """A proposal that the gate ``evaluation`` stands before."""
    shared.requirements[""] = msgspec.structs.replace(LOW, gates=("evaluation",))
    return await one.proposed()


async def test_only_what_we_measured_ourselves_passes(one: Process, asked: Release) -> None:
    assert "evaluation" in asked.gates
    with pytest.raises(Conflict, match="no evaluation of these contents"):
        await one.releases.approve(BOB, asked.id, asked.digest)
    await one.releases.attach_evaluation(OURS, asked.id, evaluation(one, facts={"gain": 0.08}))
    approved = await one.releases.approve(BOB, asked.id, asked.digest)
    assert approved.state == "approved"
    dossier = await one.releases.show(ALICE, asked.id)
    (evidence,) = dossier.evidence
    assert (evidence.actor, evidence.principal, evidence.facts["gain"]) == ("system:optimization",) * 2 + (0.08,)
    assert (await one.releases.start(CAROL, asked.id)).state == "active"


@pytest.mark.parametrize("name", sorted(RESERVED))
async def test_no_key_attaches_it(one: Process, asked: Release, name: str) -> None:
    word = NewEvidence(name, REPORT, True, {"content": digest_of(one, 2), "base": digest_of(one, 1)})
    for actor in (ALICE, BOB, OURS):
        with pytest.raises(Invalid, match="written by Ostinato itself"):
            await one.releases.attach(actor, asked.id, word)
    await one.releases.withdraw(ALICE, asked.id)
    with pytest.raises(Invalid, match="written by Ostinato itself"):
        await one.proposed(3, evidence=(word,))
    for actor in (ALICE, SystemActor("config")):
        with pytest.raises(Denied):
            await one.releases.attach_evaluation(actor, asked.id, evaluation(one))


@pytest.mark.parametrize("wrong", [{"number": 3}, {"base": 4}, {"base": 2}])
async def test_of_other_contents_it_is_refused(one: Process, asked: Release, wrong: dict[str, int]) -> None:
    with pytest.raises(Conflict) as told:
        await one.releases.attach_evaluation(OURS, asked.id, evaluation(one, **wrong))
    assert told.value.code == "evaluation_stale"


async def test_twice_is_once_and_the_last_word_counts(one: Process, asked: Release) -> None:
    before = len(one.leaves())
    for _ in range(3):
        await one.releases.attach_evaluation(OURS, asked.id, evaluation(one))
    assert len(one.leaves()) == before + 1
    await one.releases.attach_evaluation(OURS, asked.id, evaluation(one, passed=False, digest="b" * 64))
    with pytest.raises(Conflict, match="evaluation failed"):
        await one.releases.approve(BOB, asked.id, asked.digest)


async def test_verdicts_of_reviewers_are_a_gate_of_their_own(one: Process, shared: Shared) -> None:
    shared.requirements[""] = msgspec.structs.replace(LOW, gates=("evaluation", "review"))
    release = await one.proposed()
    await one.releases.attach_evaluation(OURS, release.id, evaluation(one))
    with pytest.raises(Conflict, match="no review of these contents"):
        await one.releases.approve(BOB, release.id, release.digest)
    await one.releases.attach_evaluation(SystemActor("reviews"), release.id, evaluation(one, name="review"))
    assert (await one.releases.approve(BOB, release.id, release.digest)).state == "approved"


async def test_a_plan_without_guardrails_is_digested_as_before(one: Process) -> None:
    release = await one.proposed(plan=Plan(steps=(Step(0.1),)))
    assert "guardrails" not in release.bundle["plan"]  # pyright: ignore[reportOperatorIssue] - a mapping


async def test_harm_that_is_found_at_the_last_moment_is_taken_back_and_not_paused(one: Process, shared: Shared) -> None:
    """Between the look and the step the judge changes its mind: the next round rolls back."""
    plan = Plan(steps=(Step(0.1), Step(0.5)), auto=True)
    release = await one.started(plan=plan)
    shared.samples[release.id] = {"canary": 5}
    minds = iter(["advance", "harm", "wait", "harm"])  # the third is told to who looks
    real = one.releases.judge

    class Fickle:
        def judge(self, *given: object, **_: object) -> object:
            from ostinato.releases import Judgement, Outcome

            return Judgement(Outcome(next(minds)), "it changed its mind")

    one.releases.judge = Fickle()  # pyright: ignore[reportAttributeAccessIssue] - a judge for this test
    watcher = Watcher(one.releases)
    await watcher.look()
    assert (await one.releases.show(ALICE, release.id)).release.state == "canary"
    await watcher.look()
    assert (await one.releases.show(ALICE, release.id)).release.state == "rolled_back"
    one.releases.judge = real
