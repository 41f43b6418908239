"""What keeps a run from beginning, and what ends or stops one that has begun: a clear word each, and nothing lost."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from inside import SYSTEM
from run_kit import LABELS, PROMPT, Kit, examples, opened, place

from ostinato.calls.model import Limits
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound
from ostinato.datasets.model import NewExample
from ostinato.optimization.run import Margins
from ostinato.prompts import Draft
from ostinato.prompts.model import Turn
from ostinato.providers.model import ChatCall
from ostinato.scorers.building import Built
from ostinato.scorers.model import Score, Spec


@pytest.fixture
async def kit() -> Any:
    async with opened() as made:
        yield made


async def codes(kit: Kit, **more: Any) -> set[str]:
    """Codes of the errors of a plan; starting refuses with the same."""
    ann = await kit.caller()
    plan = await kit.runs.plan(ann, kit.wish(**more), kit.project)
    if plan.errors:
        with pytest.raises(Invalid) as refused:
            await kit.runs.start(ann, kit.wish(**more), kit.project)
        assert refused.value.code == plan.errors[0].code
        assert all(one.message in refused.value.message for one in plan.errors)
    return {one.code for one in plan.errors}


async def dataset(kit: Kit, name: str, found: list[NewExample]) -> str:
    await kit.data.create(SYSTEM, name, project=kit.project, examples=found)
    return name


async def test_what_is_refused_before_anything_is_spent(kit: Kit) -> None:
    assert await codes(kit) == set()
    assert await codes(kit, limits=Limits(calls=0)) == {"budget_zero"}
    assert await codes(kit, limits=Limits(nano=0)) == {"budget_zero"}
    assert await codes(kit, limits=Limits(tokens=0)) == {"budget_zero"}
    assert await codes(kit, limits=Limits(calls=100)) == {"budget_too_small"}
    assert await codes(kit, scorers=()) == {"no_scorers"}
    assert await codes(kit, gain=0.01) == {"holdout_too_small"}
    few = await dataset(kit, "few", examples(40))
    assert "too_few_examples" in await codes(kit, dataset=few)
    same = [NewExample(inputs={"thing": f"item s{n}"}, reference="red") for n in range(200)]
    assert "one_class" in await codes(kit, dataset=await dataset(kit, "same", same))
    torn = [*examples(200), *(NewExample(inputs={"thing": f"item a{n}"}, reference="purple") for n in range(80))]
    assert await codes(kit, dataset=await dataset(kit, "torn", torn)) & {"contradictions", "contradictory_examples"}
    bare = [NewExample(inputs={"thing": f"item b{n}"}) for n in range(200)]
    assert "no_reference" in await codes(kit, dataset=await dataset(kit, "bare", bare))
    other = [NewExample(inputs={"object": f"item o{n}"}, reference=LABELS[n % 3]) for n in range(200)]
    assert "variables_do_not_fit" in await codes(kit, dataset=await dataset(kit, "other", other))
    assert not kit.painter.asked


async def test_what_could_only_end_in_a_refusal_is_told_before_it_is_paid_for(kit: Kit) -> None:
    ann = await kit.caller()
    for more, param in (
        ({"min_gain": 5.0}, "min_gain"),
        ({"min_gain": -0.1}, "min_gain"),
        ({"margins": Margins(cost=-1.0)}, "margins.cost"),
        ({"margins": Margins(slight_ms=-1.0)}, "margins.slight_ms"),
        ({"margins": Margins(policy=7.0)}, "margins.policy"),
        ({"note": "a\x00b"}, "note"),
        ({"note": "n" * 2_001}, "note"),
        ({"optimizer": "gepa"}, "reflection"),
        ({"retrieval": {"x": 1}}, "retrieval"),
    ):
        with pytest.raises(Invalid) as refused:
            await kit.runs.plan(ann, kit.wish(**more), kit.project)
        assert (refused.value.param or "").startswith(param), refused.value.sentence
    with pytest.raises(NotFound, match="nowhere"):
        chain = {"retriever": "nowhere", "query": "{{thing}}", "into": "thing"}
        await kit.runs.plan(ann, kit.wish(retrieval=chain), kit.project)

    assert await codes(kit, slices=("red", "*")) == set()
    assert await codes(kit, slices=("purple",)) == {"unknown_slice"}
    plan = await kit.runs.plan(ann, kit.wish(waived={"purple": "nobody minds"}), kit.project)
    assert [(one.level, one.code) for one in plan.notices if one.code == "unknown_slice"] == [
        ("warning", "unknown_slice")
    ]
    plan = await kit.runs.plan(ann, kit.wish(gain=0.001), kit.project)
    assert "that takes more than 5,000." in plan.errors[0].message
    plan = await kit.runs.plan(ann, kit.wish(limits=Limits(calls=-1)), kit.project)
    assert [one.code for one in plan.errors] == ["invalid_budget"]
    assert all(one.about <= one.calls for one in (await kit.runs.plan(ann, kit.wish(), kit.project)).stages)
    assert not kit.painter.asked


@pytest.mark.parametrize("limits", [Limits(tokens=40), Limits(tokens=1_500)])
async def test_a_budget_that_ends_too_early_pauses_and_decides_nothing(kit: Kit, limits: Limits) -> None:
    ann = await kit.caller()
    run = await kit.finished(ann, limits=limits)
    assert (run.state, run.phase) == ("paused", "headroom"), run.sentence
    assert "budget is exhausted" in run.why
    spent = (await kit.runs.show(ann, run.id)).spent
    assert spent.tokens <= (limits.tokens or 0)
    with pytest.raises(Invalid, match="0 or less"):
        await kit.runs.resume(ann, run.id, Limits(calls=-1))
    await kit.runs.resume(ann, run.id, Limits())
    ended = await kit.runs.carrier.carry_on(run.id)
    assert ended.state == "proposed", ended.sentence


async def test_a_scorer_that_says_nothing_pauses_the_run_after_the_probe_and_is_heard_once_mended(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await kit.caller()
    scored = Built.score

    async def seven(self: Any, subject: Any) -> Score:
        return Score(scorer=self.id, value=7.0)

    monkeypatch.setattr(Built, "score", seven)
    run = await kit.finished(ann)
    assert (run.state, run.phase) == ("paused", "headroom"), run.sentence
    assert "It gave 7.0, which is not from 0 to 1 (210 times)" in run.why
    assert "Mend the scorer" in run.why
    asked = len(kit.painter.asked)
    assert asked == 210, "nothing beyond the probe was paid for"

    monkeypatch.setattr(Built, "score", scored)
    await kit.runs.resume(ann, run.id)
    ended = await kit.runs.carrier.carry_on(run.id)
    assert ended.state == "proposed", ended.sentence
    rows = kit.journal()
    assert len({row["key"] for row in rows}) == len(rows)
    assert len(kit.painter.asked) == len(rows), "the probe was not paid for again"


async def test_an_archived_prompt_holds_its_run_up_until_it_is_restored(kit: Kit) -> None:
    async def archived(at: str) -> None:
        query = f"UPDATE prompt SET archived_at = {at}"
        await kit.world.app.control.run(lambda connection: connection.exec_driver_sql(query))

    ann = await kit.caller()
    run = await kit.runs.start(ann, kit.wish(), kit.project)
    await archived("1")
    held = await kit.runs.carrier.carry_on(run.id)
    assert held.state == "paused" and "archived" in held.why, held.sentence
    await archived("NULL")
    await kit.runs.resume(ann, run.id)
    assert (await kit.runs.carrier.carry_on(run.id)).state == "proposed"


async def test_what_is_not_there_is_told(kit: Kit) -> None:
    ann = await kit.caller()
    for more, kind in (
        ({"prompt": "nobody"}, NotFound),
        ({"dataset": "nothing"}, NotFound),
        ({"alias": "nowhere"}, NotFound),
        ({"reflection": "nowhere"}, NotFound),
        ({"label": "nowhere"}, NotFound),
        ({"number": 7, "release": False}, NotFound),
        ({"optimizer": "magic"}, Invalid),
        ({"scorers": (Spec(kind="magic"),)}, (Invalid, NotFound)),
        ({"alpha": 0.9}, Invalid),
    ):
        with pytest.raises(kind):
            await kit.runs.plan(ann, kit.wish(**more), kit.project)
    with pytest.raises(Denied):
        await kit.runs.plan(await kit.caller("optimizations:run", "projects:read"), kit.wish(), kit.project)


async def test_a_second_run_on_one_prompt_is_refused_with_the_state_of_the_first(kit: Kit) -> None:
    ann = await kit.caller()
    first = await kit.runs.start(ann, kit.wish(), kit.project)
    with pytest.raises(Conflict, match=first.id) as refused:
        await kit.runs.start(ann, kit.wish(), kit.project)
    assert refused.value.code == "run_open" and "waits for its turn" in refused.value.message
    await kit.runs.cancel(ann, first.id, "not now")
    assert (await kit.runs.show(ann, first.id)).run.state == "cancelled"
    await kit.runs.start(ann, kit.wish(), kit.project)


async def test_whoever_started_it_cannot_approve_what_comes_of_it(kit: Kit) -> None:
    ann, bob = await kit.caller(), await kit.caller()
    run = await kit.finished(ann)
    assert run.state == "proposed", run.sentence
    app = kit.world.app
    dossier = await app.releases.show(ann, run.release)
    assert dossier.release.author == ann.principal
    version = await app.prompts.version(ann, kit.project, PROMPT, run.number)
    assert version.source == "optimizer" and version.author == ann.principal
    with pytest.raises((Denied, Conflict)):
        await app.releases.approve(ann, run.release, dossier.release.digest)
    assert (await app.releases.approve(bob, run.release, dossier.release.digest)).state == "approved"


async def test_who_lost_the_right_to_propose_proposes_nothing(kit: Kit) -> None:
    ann, root = await kit.caller(), SYSTEM
    run = await kit.runs.start(ann, kit.wish(), kit.project)
    await kit.world.app.access.revoke_key(root, ann.key_id)
    run = await kit.runs.carrier.carry_on(run.id)
    assert run.state == "failed" and "prompts:write" in run.why
    assert run.release == "" and (await kit.world.app.prompts.show(SYSTEM, kit.project, PROMPT)).latest == 1


async def test_a_label_that_moved_meanwhile_makes_the_proposal_void(kit: Kit) -> None:
    ann = await kit.caller()
    run = await kit.runs.start(ann, kit.wish(), kit.project)
    draft = Draft(messages=(Turn("user", "Colour of {{thing}}?"),), params={"model": "plain", "max_tokens": 8})
    await kit.world.app.prompts.add_version(ann, kit.project, PROMPT, draft)
    await place(kit, 2)
    run = await kit.runs.carrier.carry_on(run.id)
    assert run.state == "refused" and "moved from version 1 to version 2" in run.why
    assert run.champion and not run.release


async def test_a_run_pauses_between_two_calls_and_goes_on(kit: Kit) -> None:
    ann = await kit.caller()
    run = await kit.runs.start(ann, kit.wish(), kit.project)

    async def hook(_: ChatCall) -> None:
        if len(kit.painter.asked) == 50:
            await kit.runs.pause(ann, run.id, "lunch")

    kit.painter.hook = hook
    stopped = await kit.runs.carrier.carry_on(run.id)
    assert stopped.state == "paused"
    paid = len(kit.painter.asked)
    assert 50 <= paid <= 60
    assert (await kit.runs.show(ann, run.id)).spent.calls == paid
    kit.painter.hook = None
    again = await kit.runs.resume(ann, run.id)
    assert again.state == "planned" and len(kit.queue.keys) == 2
    ended = await kit.runs.carrier.carry_on(run.id)
    assert ended.state == "proposed", ended.sentence
    texts = kit.painter.asked
    assert len(texts) == len(set(texts)), "nothing was asked twice"


async def test_a_run_that_is_deleted_while_it_runs_leaves_nothing_behind(kit: Kit) -> None:
    ann = await kit.caller()
    run = await kit.runs.start(ann, kit.wish(), kit.project)

    async def hook(_: ChatCall) -> None:
        if len(kit.painter.asked) == 50:
            await kit.runs.delete(ann, run.id)

    kit.painter.hook = hook
    ended = await kit.runs.carrier.carry_on(run.id)
    assert ended.state == "deleted"
    assert len(kit.painter.asked) < 70
    detail = await kit.runs.detail(ann, run.id)
    assert not detail.candidates and not detail.records and not detail.rounds
    assert detail.spent.calls == len(kit.painter.asked), "what it cost stays known"


async def test_a_budget_is_never_exceeded_and_the_gate_has_its_share(kit: Kit) -> None:
    ann = await kit.caller()
    plan = await kit.runs.plan(ann, kit.wish(), kit.project)
    proof = next(one.calls for one in plan.stages if one.stage == "holdout")
    limits = Limits(calls=proof + 260, tokens=2_000_000)
    run = await kit.finished(ann, limits=limits)
    spent = (await kit.runs.show(ann, run.id)).spent
    assert spent.calls <= limits.calls
    assert run.state in ("proposed", "refused"), run.sentence


async def test_a_model_that_goes_away_pauses_the_run_and_what_was_paid_is_kept() -> None:
    async with opened(extra="[calls]\npatience = 0.2\nbackoff = 0.05\n") as kit:
        ann = await kit.caller()
        run = await kit.runs.start(ann, kit.wish(), kit.project)

        async def hook(_: ChatCall) -> None:
            kit.painter.away = len(kit.painter.asked) >= 60

        kit.painter.hook = hook
        stopped = await kit.runs.carrier.carry_on(run.id)
        assert stopped.state == "paused" and "has not answered" in stopped.why
        paid = set(kit.painter.asked)
        kit.painter.hook, kit.painter.away = None, False
        for _ in range(200):
            # The breaker rests the target for a while.
            await kit.runs.resume(ann, run.id)
            ended = await kit.runs.carrier.carry_on(run.id)
            if ended.state != "paused":
                break
            await asyncio.sleep(0.1)
        assert ended.state == "proposed", ended.sentence
        assert len(kit.painter.asked) == len(set(kit.painter.asked)) and paid <= set(kit.painter.asked)


async def test_nothing_to_gain_is_an_honest_result(kit: Kit) -> None:
    kit.painter.base, kit.painter.gain = 1.0, 0.0
    run = await kit.finished(await kit.caller())
    assert run.state == "nothing-to-gain" and run.why
    assert len(kit.painter.asked) <= 210


async def test_nothing_unproven_is_promoted(kit: Kit) -> None:
    kit.painter.base, kit.painter.gain = 0.6, 0.0
    run = await kit.finished(await kit.caller())
    assert run.state in ("refused", "nothing-to-gain") and not run.release
    assert (await kit.world.app.prompts.show(SYSTEM, kit.project, PROMPT)).latest == 1
