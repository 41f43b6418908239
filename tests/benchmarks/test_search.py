"""The search on a real model, in full: five seeds of each task, and twenty runs in which there is nothing to find."""

import asyncio
import os
import statistics as plain
from collections.abc import Callable
from pathlib import Path

import optimization
import pytest

Record = Callable[[str, object], None]

SHARED = Path(os.environ.get("OSTINATO_SHARED", Path(__file__).parents[3] / "shared"))


def test_a_null_task_deals_the_same_labels_to_other_questions():
    (real,), (null,) = (optimization.tasks(SHARED, ["banking"], null=null) for null in (False, True))
    parts = [[one for part in task.split(3) for one in part] for task in (real, null)]
    assert [one.inputs for one in parts[0]] == [one.inputs for one in parts[1]]
    assert sorted(str(one.reference) for one in parts[0]) == sorted(str(one.reference) for one in parts[1])
    same = sum(a.reference == b.reference for a, b in zip(*parts, strict=True))
    assert same < len(parts[0]) / 3, "eight labels, dealt at random"


@pytest.mark.soak
def test_five_seeds_of_three_tasks(record_property: Record):
    rows = asyncio.run(optimization.all_of(SHARED / "data", optimization.TASKS, range(5), print, []))
    for figure in optimization.told(rows):
        record_property(figure.what, figure.value)
    assert plain.fmean(row["gain"] for row in rows) >= 18
    assert plain.fmean(row["over_eight"] for row in rows) >= 5
    assert max(row["calls"] for row in rows) <= 540
    assert sum(row["cached"] for row in rows) / sum(row["tokens"] for row in rows) >= 0.85


@pytest.mark.soak
def test_nothing_is_promoted_where_there_is_nothing_to_find(record_property: Record):
    rows = asyncio.run(optimization.all_of(SHARED / "data", ["banking"], range(20), print, [], null=True))
    record_property("promoted of 20", sum(row["promoted"] for row in rows))
    assert not any(row["promoted"] for row in rows)
