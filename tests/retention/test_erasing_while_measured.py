"""Somebody is erased whose examples an experiment asks about: it goes on without them and keeps none of their words."""

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "evals"))

import retention_kit as kit
from experiment_kit import BAD, GOOD, SYSTEM, lab
from retention_kit import ALICE, CANARY

from ostinato import datasets


async def test_an_experiment_under_way_goes_on_without_the_erased_examples() -> None:
    async with lab() as it:
        project = await it.world.first_project()
        made = [
            datasets.NewExample(
                inputs={"text": f"{CANARY} number {n}" if n % 4 == 0 else f"somebody's number {n}"},
                reference="yes",
                metadata={"subject": ALICE if n % 4 == 0 else "bob"},
            )
            for n in range(60)
        ]
        await it.world.app.datasets.create(SYSTEM, "topics", project=project, examples=made)
        it.model.say = lambda prompt: f"so you say: {prompt}"  # what was asked stands in what was answered, too
        gate, reached = asyncio.Event(), asyncio.Event()

        async def held(number: int) -> None:
            if number > 20:
                reached.set()
                await gate.wait()

        it.model.before = held
        begun = await it.begin(GOOD, BAD)
        await asyncio.wait_for(reached.wait(), 30)
        assert any(CANARY in one for one in it.model.asked), "some of theirs were asked about already"
        erasing = asyncio.create_task(kit.erased(it.world, user=ALICE, project=project))
        done = await asyncio.wait_for(erasing, 60)
        assert done.state == "done" and {one.store: one.found for one in done.stores}["datasets"] == 15
        assert kit.where(it.world, CANARY) == []
        before = len(it.model.asked)
        gate.set()
        told = await it.ended(begun.id)
        assert told.experiment.state == "done"
        # What was on its way when it was erased may have come back; the next look takes it.
        await it.world.app.governing.retention.tend()
        assert kit.where(it.world, CANARY) == []
        assert kit.in_files(it.world.app.directory.path, CANARY) == [] or await _scrubbed(it.world)
        more = it.model.asked[before:]
        assert more and not any(CANARY in one for one in more), "no model is asked about what was erased"


async def _scrubbed(world: Any) -> bool:
    """What followed is overwritten; the log beside the file is folded in by the next erasure or stop."""
    for database in (world.app.control, world.app.work, world.app.ledger_database):
        await database.scrub()
    return kit.in_files(world.app.directory.path, CANARY) == []
