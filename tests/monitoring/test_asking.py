"""What is asked at night, in a whole gateway: probes, the gold set; and what questions mean, held against the past."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from feeding import DAY, Alarms, call_row, insert, room
from inside import SYSTEM, inside

from ostinato import datasets, monitoring, scorers
from ostinato.core.errors import Invalid
from ostinato.monitoring import forgetting, tables
from ostinato.monitoring.asking import Nights
from ostinato.traces.tables import call

NIGHT = 4 * 3_600.0


@pytest.fixture
async def world() -> AsyncIterator[Any]:
    async with inside() as made:
        await made.app.governing.monitoring.watch.stop()  # the tests look themselves
        await made.declare("models", "probed", {"targets": ["fake/plain"]})
        yield made


async def tonight(world: Any) -> None:
    """Go to four in the morning of the next day, look, and ask."""
    now = world.clock.now() / 1e6
    world.clock.advance(DAY - now % DAY + NIGHT)
    watched = world.app.governing.monitoring
    assert await watched.watch.look(), watched.watch.failing
    await watched.nights.look()


async def home(world: Any) -> str:
    found = await world.app.access.list_projects(SYSTEM)
    return found[0].id


async def test_probes_are_asked_once_a_night_and_a_changed_model_is_told_of(world: Any) -> None:
    room, project = world.app.governing.monitoring, await home(world)
    wish = monitoring.Declaration(kind="probes", config={"model": "probed", "warm_up": 1})
    await room.declare(SYSTEM, "same-model", wish, project=project)
    paid = world.app.calls.paid
    await tonight(world)
    asked = world.app.calls.paid - paid
    assert asked == 8
    await room.nights.look()
    assert world.app.calls.paid - paid == asked  # once a night
    await tonight(world)
    assert world.app.calls.paid - paid == 2 * asked  # and anew every night
    ((_, told),) = await room.state(SYSTEM, project=project, detector="same-model")
    assert (told.kind, told.alarms, told.series.part) == ("probes", 0, "probed")
    # Another model behind the same alias.
    await world.declare("models", "probed", {"targets": ["fake/fake-words=5"]})
    for _ in range(3):
        await tonight(world)
    found = await room.alarms(SYSTEM, project=project)
    assert [one.kind for one in found] == ["model"]
    assert room.nights.failed == {}


async def test_a_probe_that_cannot_ask_is_told_of_and_asks_again_tomorrow(world: Any) -> None:
    room, project = world.app.governing.monitoring, await home(world)
    wish = monitoring.Declaration(kind="probes", config={"model": "nobody"})
    await room.declare(SYSTEM, "same-model", wish, project=project)
    await tonight(world)
    assert list(room.nights.failed.values()) == ["model_not_found"]
    for _ in range(4):
        assert [one.kind for one in await room.alarms(SYSTEM, project=project)] in ([], ["missing-data"])
        await tonight(world)
    (alarm,) = await room.alarms(SYSTEM, project=project)  # told once, of three nights in a row
    assert (alarm.kind, alarm.statistic) == ("missing-data", 3.0)
    await world.declare("models", "nobody", {"targets": ["fake/plain"]})
    await tonight(world)
    assert room.nights.failed == {}


async def gold(world: Any, project: str, wrong: bool) -> str:
    """A dataset of judged answers, and a rule in the place of a judge that agrees with people, or does not."""
    name = f"gold-{wrong}".lower()
    examples = [
        datasets.NewExample(
            inputs={"n": str(n)},
            reference=float((n % 2 == 0) != wrong),
            metadata={"answer": f"yes {n}" if n % 2 == 0 else f"no {n}"},
        )
        for n in range(60)
    ]
    await world.app.datasets.create(SYSTEM, name, project=project, examples=examples)
    return name


async def test_a_judge_is_judged_anew_every_night(world: Any) -> None:
    room, project = world.app.governing.monitoring, await home(world)
    spec = scorers.Spec(kind="regex", name="judge", config={"pattern": "^yes"})
    await world.app.scorers.declare(SYSTEM, spec, project=project)
    config = {"scorer": "judge", "dataset": await gold(world, project, wrong=False), "items": 40}
    await room.declare(SYSTEM, "gold", monitoring.Declaration(kind="judge", config=config), project=project)
    await tonight(world)
    ((_, told),) = await room.state(SYSTEM, project=project, detector="gold")
    assert told.index < 1
    assert await room.judge_failing(project) == ""
    config["dataset"] = await gold(world, project, wrong=True)
    await room.declare(SYSTEM, "gold", monitoring.Declaration(kind="judge", config=config), project=project)
    assert await room.judge_failing(project) == ""  # not known yet
    await tonight(world)
    assert "kappa of -" in await room.judge_failing(project)
    (alarm,) = await room.alarms(SYSTEM, project=project)
    assert alarm.kind == "judge"
    assert alarm.evidence["figure"] < 0.6


async def test_defaults_are_shown_replaced_and_come_back(world: Any) -> None:
    room, project = world.app.governing.monitoring, await home(world)
    names = {one.name for one in await room.list(SYSTEM, project=project)}
    assert {"quality", "errors", "silence", "mix"} <= names
    off = monitoring.Declaration(kind="quality", enabled=False)
    made = await room.declare(SYSTEM, "quality", off, project=project, version=0)
    (found,) = [one for one in await room.list(SYSTEM, project=project) if one.name == "quality"]
    assert (found.declared.enabled, found.origin) == (False, "declared")
    again = await room.declare(SYSTEM, "quality", off, project=project, version=made.version)
    assert again.version == made.version + 1
    await room.remove(SYSTEM, "quality", project=project)
    (found,) = [one for one in await room.list(SYSTEM, project=project) if one.name == "quality"]
    assert found.origin == "no intent"
    with pytest.raises(Invalid) as told:
        await room.declare(SYSTEM, "x", monitoring.Declaration(kind="quality", intent="nope"), project=project)
    assert told.value.param == "intent"


class Embedder:
    """Vectors by what a question is about."""

    id, dimensions = "test@1", 8

    async def embed(self, texts: list[str]) -> Any:
        draw = np.random.default_rng(len(texts) + len(texts[0]) if texts else 0)
        base = np.array([[3.0 if "weather" in text else 0.0] + [0.0] * 7 for text in texts])
        return (base + draw.normal(size=(len(texts), 8))).astype(np.float32)

    async def close(self) -> None: ...


async def test_questions_that_mean_other_things_are_found_and_can_be_forgotten(control, traces, clock) -> None:
    alarms = Alarms()
    watched = room(control, traces, clock, alarms, vectors_per_look=100)
    watched.vectors._embedder = Embedder()
    await watched.start()
    project = "support"
    home = watched.registry.snapshot.value
    wish = monitoring.Declared(
        id="1",
        org="acme",
        project=project,
        name="meaning",
        declared=monitoring.Declaration(kind="embeddings", config={"least": 50, "size": 60}),
    )
    home.projects[project] = (wish,)
    nights = Nights(watched.watch, None, None, None, watched.vectors)  # pyright: ignore[reportArgumentType]

    async def day(text: str) -> None:
        now = clock.now() / 1e6
        clock.advance(DAY - now % DAY + NIGHT)
        rows = [
            call_row(clock.now() + at * 1000, input_text=f"{text} {at}", user_digest=f"u{at % 3}") for at in range(90)
        ]
        insert(traces, call, rows)
        for _ in range(3):
            clock.advance(10)
            assert await watched.watch.look(), watched.watch.failing
        clock.advance(DAY)
        assert await watched.watch.look(), watched.watch.failing
        await nights.look()

    await day("banking")
    rows = traces.query(lambda c: c.execute(sa.select(tables.vector.c.past)).all())
    assert [bool(row[0]) for row in rows] == [True] * 60  # the sample is bounded, and is the past now
    await day("banking")
    assert [one for one in alarms.taken if one.kind == "mix"] == []
    await day("weather")
    (alarm,) = [one for one in alarms.taken if one.kind == "mix"]
    assert alarm.detector == "meaning"
    assert alarm.evidence["p"] < 0.01
    await day("weather")
    assert len([one for one in alarms.taken if one.kind == "mix"]) == 1  # usual by now
    named = traces.query(lambda c: c.execute(sa.select(tables.vector.c.request_id)).scalars().all())
    # Another project cannot name them away.
    assert traces.query(lambda c: forgetting.count(c, "elsewhere", "", named)) == 0
    assert await traces.run(lambda c: forgetting.erase(c, "elsewhere", "", named)) == 0
    assert traces.query(lambda c: forgetting.count(c, project, "", named)) == len(named) > 0
    # What a hold keeps of somebody stays, found by whichever name.
    theirs = traces.query(
        lambda c: (
            c.execute(sa.select(tables.vector.c.request_id).where(tables.vector.c.user_digest == "u2")).scalars().all()
        )
    )
    assert len(theirs) > 1
    went = await traces.run(lambda c: forgetting.erase(c, project, "u2", theirs, theirs[:1]))
    assert went == len(theirs) - 1
    assert traces.query(lambda c: forgetting.count(c, project, "", theirs)) == 1
    gone = await watched.erase_subject("u1")
    assert gone > 0
    left = traces.query(lambda c: c.execute(sa.select(tables.vector.c.user_digest)).scalars().all())
    assert "u1" not in left
    assert await watched.erase_subject("") == 0
