"""What a dry run says is what the sweep then takes, store by store; and a hold keeps its part in every one of them."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import msgspec
import retention_kit as kit
import sqlalchemy as sa
from inside import SYSTEM, World, inside
from retention_kit import ALICE

from ostinato.calls.tables import paid_call
from ostinato.core import ids
from ostinato.datasets import tables as dataset_tables
from ostinato.evals import tables as experiment_tables
from ostinato.evals.model import Cell
from ostinato.retention import Keep, NewHold, NewRule, Swept
from ostinato.reviews import Content, NewItem, Output

DAY = 86_400.0


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return ""
    return f'[storage]\nurl = "{request.getfixturevalue("postgres_url")}"\n'


async def _made_of_examples(world: World, project: str) -> None:
    """A paid call for each example, and a review item of a run for each of the first three."""
    query = sa.select(dataset_tables.example.c.id).order_by(dataset_tables.example.c.id)
    found = await world.app.control.read(lambda c: c.execute(query).all())
    rows = [
        {
            "key": f"call-{number}",
            "namespace": "n",
            "example": one.id,
            "org": "o",
            "project": project,
            "alias": "plain",
            "target": "fake/plain",
            "purpose": "experiment",
            "replicate": 0,
            "answer": b"words",
            "usage": b"",
            "tokens": 1,
            "cost": 1,
            "upstream_us": 1,
            "at": world.clock.now(),
        }
        for number, one in enumerate(found)
    ]
    await world.app.work.run(lambda c: c.execute(sa.insert(paid_call), rows) and None)
    items = [
        NewItem(
            content=Content(input_text="asked", outputs=(Output(text="said"),)),
            origin="run",
            origin_ref="run-1",
            mark=f"run-1:{one.id}",
        )
        for one in found[:3]
    ]
    await world.app.reviews.put(SYSTEM, "queue", items, project=project)


async def _as_told(world: World, project: str) -> Sequence[Swept]:
    """Sweep, and see that it takes what a dry run has told just before."""
    room = world.app.governing.retention
    assert (await room.preview(SYSTEM, project=project)).stores
    told, again = await room.preview(SYSTEM), await room.preview(SYSTEM)
    assert told.stores == again.stores, "looking changes nothing"
    done = await room.sweep(SYSTEM)
    assert not done.failed and not told.failed
    for before, after in zip(told.stores, done.stores, strict=True):
        assert (after.store, after.kind) == (before.store, before.kind)
        assert (after.due, after.held, after.oldest) == (before.due, before.held, before.oldest), after
        assert (before.done, after.done) == (0, before.due), after
    return done.stores


async def test_a_dry_run_counts_what_the_sweep_then_takes(engine: str) -> None:
    async with inside(engine) as world:
        room = world.app.governing.retention
        await room.stop()
        project = await kit.seeded(world)
        await _made_of_examples(world, project)
        for item in await world.app.reviews.list(SYSTEM):
            await world.app.reviews.withdraw(SYSTEM, item.id)
        world.clock.advance(5 * DAY)
        for number in range(3):
            await world.chat(f"later {number}", {"ostinato-user": "dora", "ostinato-session": "hers"})
        await world.rows(17)
        world.clock.advance(5 * DAY)
        everything = dict.fromkeys(("texts", "signals", "datasets", "reviews", "journal"), 4.0)
        await room.declare(SYSTEM, "all", NewRule(keep=Keep(**everything, rows=7.0), project=project))
        await room.declare(SYSTEM, "short", NewRule(keep=Keep(texts=2.0, rows=9.0), project=project))
        hold = await room.hold(SYSTEM, NewHold(matter="case 4", project=project, user=ALICE))
        held = {one.store for one in await _as_told(world, project) if one.held}
        # A hold on her keeps what is hers, and all of what knows of nobody whose it is.
        assert held == {"ledger", "signals", "datasets", "reviews", "journal", "conversations"}
        await room.lift(SYSTEM, hold.id)
        assert not any(one.held for one in await _as_told(world, project))
        assert not any(one.due for one in (await room.preview(SYSTEM)).stores)


async def test_a_hold_on_somebody_keeps_every_store_and_the_receipt_says_of_each_what() -> None:
    async with inside() as world:
        room = world.app.governing.retention
        project = await kit.seeded(world)
        before = kit.where(world, kit.CANARY)
        hold = await room.hold(SYSTEM, NewHold(matter="case 5", project=project, user=ALICE))
        done = await kit.erased(world, user=ALICE, project=project)
        told = {one.store: (one.found, one.held, one.left) for one in done.stores}
        assert done.state == "held" and done.holds == (hold.id,)
        assert {name: found for name, found in told.items() if found[0]} == {
            "ledger": (6, 6, 0),
            "signals": (4, 4, 0),
            "datasets": (6, 6, 0),
            "reviews": (1, 1, 0),
            "conversations": (told["conversations"][0], told["conversations"][0], 0),
            "cache": (told["cache"][0], told["cache"][0], 0),
        }
        assert kit.where(world, kit.CANARY) == before
        receipt: Any = (await room.receipt(SYSTEM, done.id)).erasure
        assert {one["store"]: one["held"] for one in receipt["stores"] if one["held"]} == {
            name: held for name, (_, held, _) in told.items() if held
        }
        await room.lift(SYSTEM, hold.id)
        assert (await kit.ended(world, done.id)).state == "done"
        assert kit.where(world, kit.CANARY) == []


async def test_an_experiment_that_is_emptied_is_not_counted_again() -> None:
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        project = await world.first_project()
        name = ids.new(world.clock.now())
        row = {"id": name, "org": "o", "project": project, "name": "e", "dataset": "d", "version_id": name}
        told = {"state": "done", "body": {}, "variants": [], "created_at": world.clock.now()}
        body = msgspec.msgpack.encode(Cell(example="x", variant="v", value=1.0, output="somebody's words"))
        cell = {"experiment": name, "variant": 0, "example": "x", "body": body}
        await world.app.control.run(lambda c: c.execute(sa.insert(experiment_tables.experiment), [{**row, **told}]))
        await world.app.work.run(lambda c: c.execute(sa.insert(experiment_tables.cell), [cell]))
        world.clock.advance(10 * DAY)
        await room.declare(SYSTEM, "short", NewRule(keep=Keep(journal=4.0), project=project))
        (before,) = [one.due for one in (await room.preview(SYSTEM, project=project)).stores if one.kind == "journal"]
        assert before == 1
        done = await room.sweep(SYSTEM, project=project)
        assert [one.done for one in done.stores if one.kind == "journal"] == [1]
        again = await room.preview(SYSTEM, project=project)
        assert [(one.due, one.held) for one in again.stores if one.kind == "journal"] == [(0, 0)]
        repeated = await room.sweep(SYSTEM, project=project)
        assert [one.done for one in repeated.stores if one.kind == "journal"] == [0]
