"""Experiments and the journal of calls on PostgreSQL: the same statements, the same results."""

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from experiment_kit import BAD, GOOD, SYSTEM, lab

from ostinato import storage, wire
from ostinato.calls.journal import Journal, Row
from ostinato.core.clock import SystemClock
from ostinato.wire.model import Answer, BlockStart, BlockStop, Delta, Finish, Start, Usage

USAGE = Usage(input=4, output=1)


async def test_an_experiment_on_postgresql(postgres_url: str) -> None:
    async with lab(f'[storage]\nurl = "{postgres_url}"\n') as room:
        assert room.world.app.work.dialect == "postgresql"
        await room.dataset()
        made = await room.begin(BAD, GOOD)
        told = await room.ended(made.id)
        assert (told.experiment.state, told.done, told.total) == ("done", made.cells, made.cells)
        assert told.spent.calls == made.cells == len(room.model.asked)
        (comparison,) = (await room.door.results(SYSTEM, made.id)).comparisons
        assert comparison.wins and not comparison.losses and comparison.p is not None and comparison.p < 1e-4
        home = await room.world.first_project()
        assert [one.id for one in await room.door.list(SYSTEM, project=home)] == [made.id]


@pytest.mark.parametrize("writers", [4])
async def test_two_processes_that_pay_for_one_call_are_both_written_down(database_url: str, writers: int) -> None:
    """Neither batch is lost: what was paid for twice is two calls spent, and one answer."""
    setup = storage.open_database("work", database_url)
    storage.migrate(setup)
    rooms = [storage.open_database("work", database_url) for _ in range(writers)]
    try:
        journals = [Journal(room, SystemClock()) for room in rooms]
        for turn in range(20):
            await asyncio.gather(*(journal.add(row(f"k{turn}")) for journal in journals))
        spent = await journals[0].spent("ns")
        assert (spent.calls, spent.tokens) == (20 * writers, 100 * writers)
        assert all([await journals[1].find(f"k{turn}") for turn in range(20)])
        assert await journals[2].erase(namespace="ns") == 20
        assert (await journals[3].spent("ns")).calls == 20 * writers
    finally:
        for room in (*rooms, setup):
            room.close()


def row(key: str) -> Row:
    events = (Start("m"), BlockStart(0, "text"), Delta(0, "yes"), BlockStop(0), Finish("stop"), USAGE)
    return Row(
        key=key, namespace="ns", example="e", org="o", project="p", alias="a", target="fake/m", purpose="search",
        replicate=0, answer=wire.encode_answer(Answer("openai.chat", events)), usage=msgspec.msgpack.encode(USAGE),
        tokens=5, cost=1, upstream_us=1, at=1,
    )  # fmt: skip
