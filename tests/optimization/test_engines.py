"""The same on PostgreSQL: a run from start to end, and two processes at one run do not disturb each other."""

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from run_kit import opened

from ostinato import storage
from ostinato.optimization.carrying import Carrier, subject_of
from ostinato.optimization.run import PHASES


@pytest.fixture
def scaled_out(postgres_url: str) -> str:
    """Configuration of a gateway on PostgreSQL."""
    return f'[storage]\nurl = "{postgres_url}"\n'


async def test_a_run_from_its_plan_to_its_deletion(scaled_out: str) -> None:
    async with opened(extra=scaled_out) as kit:
        assert kit.world.app.work.dialect == "postgresql"
        ann = await kit.caller()
        run = await kit.finished(ann)
        assert run.state == "proposed" and len(run.digest) == 64, run.sentence
        assert (await kit.runs.show(ann, run.id)).spent.calls == len(kit.painter.asked) == len(set(kit.painter.asked))
        assert [one.id for one in await kit.runs.list(ann, prompt=run.prompt, state="proposed")] == [run.id]
        assert len(await kit.runs.report(ann, run.id)) > 10_000
        assert (await kit.runs.delete(ann, run.id)).state == "deleted"
        assert not (await kit.runs.detail(ann, run.id)).records


async def test_two_processes_at_one_run_come_to_one_result(scaled_out: str) -> None:
    """As when one was held to be dead and was not: both go through every phase at once."""
    async with opened(extra=scaled_out) as kit:
        ann = await kit.caller()
        run = await kit.runs.start(ann, kit.wish(), kit.project)
        other = Carrier(kit.rooms)
        for phase in PHASES:
            await asyncio.gather(*(one.step(phase, subject_of(run)) for one in (kit.runs.carrier, other)))
        ended = await kit.runs.carrier.find(run.id)
        assert ended.state == "proposed", ended.sentence
        assert (await kit.world.app.prompts.show(ann, kit.project, run.prompt)).latest == 2
        releases = await kit.world.app.releases.list(ann, project=kit.project)
        assert [one.id for one in releases] == [ended.release]


async def test_records_of_two_processes_are_one(scaled_out: str) -> None:
    async with opened(0, extra=scaled_out) as kit:
        one = kit.runs.carrier.records
        url = kit.world.app.config.storage.url
        database = storage.open_database("work", url)
        try:
            other = type(one)(database, kit.world.clock)
            for turn in range(20):
                told = await asyncio.gather(
                    *(room.decide("r" * 32, f"n{turn}", {"by": at}) for at, room in enumerate((one, other, one, other)))
                )
                assert len({said["by"] for said in told}) == 1
        finally:
            database.close()
