"""What must not be promoted however the run was stopped, gone on with, or disturbed while it proved."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from run_kit import PROMPT, Kit, Painter, opened, place

from ostinato import access
from ostinato.core.errors import Conflict, Denied, Unavailable
from ostinato.optimization import binding, releasing, runs
from ostinato.optimization.carrying import subject_of
from ostinato.optimization.run import PHASES, Run
from ostinato.prompts import Draft
from ostinato.prompts.model import Turn
from ostinato.providers.model import ChatCall
from ostinato.scorers.model import Spec

FALLBACK = """
[providers.spare]
kind = "fake"
[models.pair]
targets = ["fake/plain", "spare/plain"]
[calls]
patience = 0.2
backoff = 0.05
"""


@pytest.fixture
async def kit() -> Any:
    async with opened(300, FALLBACK) as made:
        yield made


async def through(kit: Kit, run: Run, *phases: str) -> Run:
    """The phases of a run's present turn."""
    for phase in phases:
        await kit.runs.carrier.step(phase, subject_of(run))
    return await kit.runs.carrier.find(run.id)


async def versions(kit: Kit, actor: Any) -> int:
    return (await kit.world.app.prompts.show(actor, kit.project, PROMPT)).latest


@pytest.mark.parametrize("after", ["search", "prove"])
async def test_who_cancels_between_two_phases_gets_no_release(kit: Kit, after: str) -> None:
    ann = await kit.caller()
    run = await kit.runs.start(ann, kit.wish(), kit.project)
    await through(kit, run, *PHASES[: PHASES.index(after) + 1])  # type: ignore[arg-type]  # a phase's name
    await kit.runs.cancel(ann, run.id, "enough")
    with pytest.raises(Conflict, match="being cancelled"):
        await kit.runs.pause(ann, run.id)
    ended = await through(kit, run, *PHASES[PHASES.index(after) + 1 :])  # type: ignore[arg-type]
    assert ended.state == "cancelled" and not ended.release and await versions(kit, ann) == 1


async def test_a_pause_during_the_proof_holds_before_anything_is_released(kit: Kit) -> None:
    ann = await kit.caller()
    run = await kit.runs.start(ann, kit.wish(), kit.project)
    await through(kit, run, "select", "headroom", "search", "prove")
    await kit.runs.pause(ann, run.id)
    assert (await through(kit, run, "review", "release")).state == "paused"
    assert await versions(kit, ann) == 1
    again = await kit.runs.resume(ann, run.id)
    ended = await through(kit, again, *PHASES)
    assert ended.state == "proposed", ended.sentence


async def test_the_job_of_an_earlier_turn_does_not_touch_a_resumed_run(kit: Kit) -> None:
    ann = await kit.caller()
    run = await kit.runs.start(ann, kit.wish(), kit.project)
    await through(kit, run, "select", "headroom")

    async def hook(_: ChatCall) -> None:
        await kit.runs.pause(ann, run.id)
        kit.painter.hook = None

    kit.painter.hook = hook
    assert (await through(kit, run, "search")).state == "paused"
    again = await kit.runs.resume(ann, run.id)
    # Its old job has still to end: what it finds is no longer its own.
    late = await through(kit, run, "prove", "review", "release")
    assert late.state == "planned" and late.version == again.version
    assert (await through(kit, again, *PHASES)).state == "proposed"


async def test_sealed_examples_are_answered_by_one_model_or_waited_for(kit: Kit) -> None:
    ann = await kit.caller()
    spare = kit.world.app.providers["spare"] = Painter(kit.world.clock)
    spare.base = 1.0
    run = await kit.runs.start(ann, kit.wish(alias="pair"), kit.project)
    await through(kit, run, "select", "headroom", "search")
    told = await kit.runs.carrier.records.decision(run.id, "search")
    assert told is not None and told["finalists"]
    paid, holdout = len(kit.painter.asked), run.plan.pairs

    async def hook(_: ChatCall) -> None:
        # The incumbent is measured; then its model goes away, and a better one would stand in for it.
        kit.painter.away = len(kit.painter.asked) - paid >= holdout

    kit.painter.hook = hook
    stopped = await through(kit, run, "prove")
    assert stopped.state == "paused" and "has not answered" in stopped.why
    assert not spare.asked
    kit.painter.hook, kit.painter.away = None, False
    for _ in range(100):
        again = await kit.runs.resume(ann, run.id)
        ended = await through(kit, again, *PHASES)
        if ended.state != "paused":
            break
        await asyncio.sleep(0.1)
    assert ended.state in ("proposed", "refused"), ended.sentence


async def test_a_key_starts_no_run_on_models_that_it_may_not_call(kit: Kit) -> None:
    home = kit.project
    secret = await kit.world.new_key(
        home, permissions=access.permissions.ROLES["owner"], allowed_models=frozenset({"plain"})
    )
    narrow = kit.world.app.access.authenticate(secret, kit.world.clock.now())
    await kit.runs.plan(narrow, kit.wish(), home)
    judge = Spec(kind="judge", config={"model": "pair", "rubric": "Is it right?"})
    chain = {"retriever": "x", "rewrite": {"alias": "pair"}}
    for more in ({"alias": "pair"}, {"reflection": "pair"}, {"scorers": (judge,)}, {"retrieval": chain}):
        with pytest.raises(Denied, match="pair"):
            await kit.runs.plan(narrow, kit.wish(**more), home)


async def test_a_proof_by_another_model_is_void(kit: Kit) -> None:
    ann = await kit.caller()
    run = await kit.runs.start(ann, kit.wish(), kit.project)
    await through(kit, run, "select", "headroom", "search", "prove", "review")
    catalog = kit.world.app.catalog
    route = catalog.value.route(kit.project, "plain")
    other = catalog.value.route(kit.project, "pair")

    class Changed:
        value = catalog.value

        def route(self, *_: Any, **__: Any) -> Any:
            return other

    assert route.digest != other.digest
    kit.world.app.catalog._value = Changed()  # type: ignore[assignment]  # as a change of routes swaps it
    ended = await through(kit, run, "release")
    assert ended.state == "refused" and "since the proof" in ended.why and not ended.release


async def test_a_database_that_is_away_for_a_moment_needs_nobody(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = await kit.caller()
    run = await kit.runs.start(ann, kit.wish(), kit.project)
    await through(kit, run, "select", "headroom", "search")
    records, real = kit.runs.carrier.records, kit.runs.carrier.records.decide

    async def away(*_: Any) -> Any:
        raise Unavailable("The database does not answer.", code="storage_unreachable")

    monkeypatch.setattr(records, "decide", away)
    with pytest.raises(Unavailable):
        await through(kit, run, "prove")
    monkeypatch.setattr(records, "decide", real)
    assert (await kit.runs.carrier.find(run.id)).state == "running"
    kit.queue.standing = "failed"
    await kit.runs.look()
    again = await kit.runs.carrier.find(run.id)
    assert again.turns == 2 and kit.queue.keys[-1] == subject_of(again)
    paid = len(kit.painter.asked)
    ended = await through(kit, again, *PHASES)
    assert ended.state == "proposed" and len(kit.painter.asked) == paid, ended.sentence


async def test_a_run_that_cannot_be_looked_after_keeps_no_other_from_it(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = await kit.caller()
    run = await kit.runs.start(ann, kit.wish(), kit.project)
    some = [run, msgspec.structs.replace(run, id="0" * 32)]
    monkeypatch.setattr(runs.store, "page", lambda _, state, **__: [one for one in some if one.state == state])
    seen: list[str] = []

    async def revive(one: Any) -> None:
        seen.append(one.id)
        if len(seen) == 1:
            raise Unavailable("The database does not answer.", code="storage_unreachable")

    monkeypatch.setattr(kit.runs, "_revive", revive)
    with pytest.raises(Unavailable):
        await kit.runs.look()
    assert seen == [one.id for one in some]


async def test_a_label_that_moves_while_it_is_proposed_leaves_no_release_behind(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann, real = await kit.caller(), releasing.propose
    evaluated = binding.evaluated(kit.world.app.releases)
    kit.runs.carrier.rooms = msgspec.structs.replace(kit.rooms, evaluated=evaluated)

    async def moving(*given: Any) -> Any:
        draft = Draft(messages=(Turn("user", "Colour of {{thing}}?"),), params={"model": "plain", "max_tokens": 8})
        await kit.world.app.prompts.add_version(ann, kit.project, PROMPT, draft)
        await place(kit, 3)
        return await real(*given)

    monkeypatch.setattr(releasing, "propose", moving)
    ended = await kit.finished(ann)
    assert ended.state == "refused" and "moved from version 1 to version 3" in ended.why, ended.sentence
    releases = await kit.world.app.releases.list(ann, project=kit.project)
    assert [one.state for one in releases] == ["withdrawn"] and not ended.release
