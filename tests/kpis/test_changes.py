"""Figures of changes: from what was found to be wrong to an improvement in force, and back from a bad release."""

from collections.abc import Sequence

import pytest
import sqlalchemy as sa

from ostinato import storage
from ostinato.cases import store as of_cases
from ostinato.cases import tables as cases
from ostinato.kpis import Way, changes
from ostinato.kpis.model import Scope
from ostinato.optimization import store as of_runs
from ostinato.optimization import tables as runs
from ostinato.releases import Release
from ostinato.releases import store as of_releases
from ostinato.releases import tables as released
from ostinato.traces import Window
from ostinato.traces.cubes import TRAFFIC

_S = 1_000_000
_SCOPE = Scope(org="acme", project="support")


def release(name: str, **fields: object) -> Release:
    values = {
        "org": "acme",
        "project": "support",
        "prompt": "greeting",
        "label": "live",
        "number": 2,
        "digest": "",
        "author": "",
        "proposed_by": "",
        "request_id": "",
        "salt": "",
        "proposed_at": 400 * _S,
        "started_at": 500 * _S,
        "state": "active",
    }
    return Release(id=name, **{**values, **fields})  # type: ignore[arg-type]


class Listed:
    def __init__(self, *found: Release) -> None:
        self.found = found

    async def list(self, *_: object, after: str = "", **__: object) -> Sequence[Release]:
        return [one for one in self.found if one.id > after]


async def test_a_cycle_begins_where_the_issue_was_detected() -> None:
    """The canary was promoted at 900: nothing of the release itself says so."""
    way = Way(detected=100 * _S, begun=150 * _S, searched=250 * _S, active=900 * _S)
    waiting = release("b", state="canary")

    async def ways(ids: Sequence[str]) -> dict[str, Way]:
        return {"a": way, "b": Way()}

    read = changes.cycle_times(Listed(release("a"), waiting), ways)
    found = await read(_SCOPE, Window(0, 1_000 * _S))
    assert (found.value, found.n) == (800, 1)
    parts = {"detect": 50, "propose": 100, "evaluate": 150, "approve": 100, "roll_out": 400}
    assert {name: found.detail[name] for name in parts} == parts
    assert sum(parts.values()) == found.value and "detect_missing" not in found.detail


async def test_a_release_that_no_case_began_says_so() -> None:
    async def ways(ids: Sequence[str]) -> dict[str, Way]:
        return {"a": Way(active=500 * _S), "b": Way(begun=300 * _S, active=500 * _S)}

    read = changes.cycle_times(Listed(release("a"), release("b")), ways)
    found = await read(_SCOPE, Window(0, 1_000 * _S))
    assert (found.value, found.n) == (150, 2)
    assert found.detail["detect_missing"].startswith("of 2 of 2") and "detect" not in found.detail


async def test_markers_tell_where_releases_began_and_ended_within_the_window() -> None:
    before = release("a", number=1, started_at=100 * _S, ended_at=500 * _S, state="superseded")
    bad = release("b", ended_at=900 * _S, state="rolled_back", ended_why="errors")
    elsewhere, proposed = release("c", prompt="farewell"), release("d", started_at=None, state="proposed")
    read = changes.marking(Listed(before, bad, elsewhere, proposed, release("e", org="beta")))
    found = await read(Scope(org="acme", project="support", prompt="greeting"), Window(200 * _S, 901 * _S))
    assert [(one.at // _S, one.number, one.what, one.why) for one in found] == [
        (500, 1, "superseded", ""),
        (500, 2, "started", ""),
        (900, 2, "rolled_back", "errors"),
    ]
    assert [one.at // _S for one in await read(_SCOPE, Window(0, 500 * _S))] == [100]


async def test_a_rollback_takes_until_the_last_answer_of_any_process(house) -> None:
    """A week it stood; two processes answered with it for 25 seconds more."""
    house.clock.advance(7 * 86_400)
    decided = house.clock.now()
    bad = release("r1", state="rolled_back", started_at=decided - 7 * 86_400 * _S, ended_at=decided)
    house.call("before", release="r1", total_us=0)
    house.clock.advance(25)
    house.call("after", release="r1", total_us=0)
    house.call("other", release="r2", total_us=0)
    house.recorder.flush()

    async def answered(one: Release, until: int) -> int | None:
        return await house.ledger.newest(TRAFFIC, {"org": one.org, "project": one.project, "release": one.id}, until)

    window = Window(bad.started_at or 0, decided + 1)
    found = await changes.rollback_times(Listed(bad), answered)(_SCOPE, window)
    assert found.n == 1 and 25 <= found.value <= 35
    assert found.detail["stood"] == pytest.approx(7 * 86_400)


def row(table: sa.Table, **given: object) -> sa.Insert:
    """One row, of which only these columns matter."""
    filler = {int: 0, str: "", bool: False, dict: {}, bytes: b""}
    other = {one.name: filler[one.type.python_type] for one in table.c if not one.nullable and one.name not in given}
    return table.insert().values(**other, **given)


async def test_rooms_tell_how_a_release_came_about(control: storage.Database) -> None:
    """The case's action names the run, the run its release, and the release's history when it was in force."""
    one = "r" * 32
    facts = {"run": "run1", "already": False}
    action = {"name": "start-optimization", "executed_at": 150 * _S, "facts": facts}

    def write(connection: sa.Connection) -> None:
        connection.execute(row(cases.case, id="c1", opened_at=100 * _S, evidence={}, latest={}))
        connection.execute(row(cases.action, id="a1", case="c1", params={}, **action))
        connection.execute(row(runs.run, id="run1", release=one, created_at=150 * _S, wish={}, plan={}))
        connection.execute(row(released.release, id=one, plan={}, bundle={}, gates=[]))
        for number, (state, at) in enumerate((("canary", 500), ("active", 900), ("active", 950))):
            event = {"release_id": one, "number": number, "state": state, "at": at * _S, "facts": {}}
            connection.execute(row(released.release_event, **event))

    await control.run(write)
    assert await control.read(lambda c: of_releases.came_into_force(c, [one, "none"])) == {one: 900 * _S}
    assert await control.read(lambda c: of_runs.behind(c, [one])) == {one: ("run1", 150 * _S)}
    assert await control.read(lambda c: of_cases.began_runs(c, {"run1", "run2"})) == {"run1": 100 * _S}
