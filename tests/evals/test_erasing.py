"""Erasing examples reaches what was made of them, also where a crash comes between."""

import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent))

from experiment_kit import GOOD, Lab, lab
from inside import SYSTEM, until

from ostinato import datasets
from ostinato.calls.tables import paid_call
from ostinato.evals.runner import TOPIC
from ostinato.reviews import Content, Declaration, NewItem, Output
from ostinato.reviews import tables as review_tables


async def made(room: Lab) -> tuple[str, str]:
    """An experiment over some examples, and the id of one with an answer, which reviewers of a run have, too."""
    await room.dataset(30)
    begun = await room.begin(GOOD)
    await room.ended(begun.id)
    app, project = room.world.app, await room.world.first_project()
    found, _ = await app.datasets.examples(SYSTEM, "topics", project=project)
    await app.reviews.declare(SYSTEM, "optimization", Declaration(), project=project)
    items = [
        NewItem(
            content=Content(input_text="secret", outputs=(Output(text="secret"),)),
            mark=f"some-run:{one.id}",
            origin="run",
            origin_ref="some-run",
        )
        for one in found[:2]
    ]
    await app.reviews.put(SYSTEM, "optimization", items, project=project)
    return begun.id, found[0].id


def kept(room: Lab, example: str) -> tuple[list[Any], list[Any]]:
    """Answers in the journal about an example; which review items are erased."""
    query = sa.select(paid_call.c.answer).where(paid_call.c.example == example, paid_call.c.answer.is_not(None))
    item = review_tables.item
    return (
        room.world.app.work.query(lambda c: list(c.scalars(query))),
        room.world.app.control.query(lambda c: sorted(c.scalars(sa.select(item.c.erased)))),
    )


async def leaves(room: Lab) -> list[tuple[str, str]]:
    """What the audit log tells of the erasure: action and outcome."""
    page = await room.world.app.audit.database.read(
        lambda c: c.exec_driver_sql("SELECT action, outcome FROM audit_leaf ORDER BY seq").all()
    )
    return [(action, outcome) for action, outcome in page if action == "datasets:erase"]


async def test_answers_cells_and_review_items_go_with_the_example() -> None:
    async with lab() as room:
        _, example = await made(room)
        assert kept(room, example) != ([], [False, True])
        project = await room.world.first_project()
        gone = await room.world.app.datasets.erase(SYSTEM, "topics", examples=[example], project=project)
        assert gone == (example,)
        assert kept(room, example) == ([], [False, True])
        assert [outcome for _, outcome in await leaves(room)] == ["intended", "done"]


async def test_other_processes_are_told_and_find_out_what_they_did_not_hear() -> None:
    async with lab() as room:
        _, example = await made(room)
        app, heard = room.world.app, list[str]()
        app.notices.subscribe(TOPIC, heard.append)
        project = await room.world.first_project()
        await app.datasets.erase(SYSTEM, "topics", examples=[example], project=project)
        assert heard == [example]
        runner = app.improving.runner
        runner._forgotten.clear()  # as one that was started since, or heard nothing
        app.notices.publish(TOPIC)
        await until(lambda: list(runner._forgotten) == [example])


async def test_what_a_crash_leaves_is_erased_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async with lab() as room:
        _, example = await made(room)
        app, project = room.world.app, await room.world.first_project()

        async def fails(_: str) -> int:
            raise OSError("the database is gone")

        with monkeypatch.context() as patch:
            patch.setattr(app.experiments, "erase", fails)
            assert await app.datasets.erase(SYSTEM, "topics", examples=[example], project=project) == (example,)
        before, _ = kept(room, example)
        assert before
        assert app.datasets.copies is not None
        await app.keeper.resume(datasets.ERASURE, app.datasets.copies)
        assert kept(room, example) == ([], [False, True])
        assert [outcome for _, outcome in await leaves(room)] == ["intended", "done"]
        assert await app.audit.unfinished(2**60, [datasets.ERASURE]) == []
