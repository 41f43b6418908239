"""Sweeps: the strictest rule holds, a hold is above it, a dry run changes nothing, rows go in short transactions."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import retention_kit as kit
from hypothesis import given
from hypothesis import strategies as st
from inside import SYSTEM, inside

from ostinato import intents, retention
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound
from ostinato.retention import Hold, Keep, NewHold, NewRule, Rule
from ostinato.retention.ruling import Ruling
from ostinato.traces import Window

DAY = 86_400.0


def rule(name: str, **fields: Any) -> Rule:
    values = {"org": "acme", "name": name, "project": "", "version": 1, "changed_at": 0, "changed_by": "test"}
    return Rule(**{**values, **fields})


NONE = intents.Intents((), {})


@given(st.lists(st.tuples(st.sampled_from(["", "p", "q"]), st.sampled_from(["", "i", "j"]), st.floats(0.1, 999))))
def test_the_strictest_rule_that_speaks_of_a_thing_holds(said: list[tuple[str, str, float]]) -> None:
    rules = [
        rule(f"r{n}", project=project, intent=intent, keep=Keep(rows=days))
        for n, (project, intent, days) in enumerate(said)
    ]
    ruling = Ruling(rules, (), NONE, {"p": "acme", "other": "beta"}, 0)
    for intent in ("", "i", "k"):
        found = ruling.limit("rows", "p", intent)
        speaking = [days for project, of, days in said if project in ("", "p") and of in ("", intent)]
        assert (None if found is None else found.days) == (min(speaking) if speaking else None)
    assert ruling.limit("rows", "other", "i") is None and ruling.limit("texts", "p", "i") is None
    assert set(ruling.periods("rows")) == {days for *_, days in said}


def test_what_is_not_known_of_a_thing_speaks_for_keeping_it() -> None:
    hold = Hold(
        id="1",
        org="acme",
        project="p",
        matter="m",
        intent="i",
        subject="s",
        since=10,
        until=20,
        placed_at=0,
        placed_by="",
    )
    assert hold.covers("acme", "p", intent="i", at=10, subject="s")
    assert hold.covers("acme", "p") and hold.covers("acme", "p", intent="i") and hold.covers("acme", "p", at=19)
    for other in ({"intent": "j"}, {"at": 9}, {"at": 20}, {"subject": "t"}):
        assert not hold.covers("acme", "p", **other)
    assert not hold.covers("acme", "q") and not hold.covers("beta", "p")


async def test_texts_go_before_rows_and_what_is_held_stays() -> None:
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        project = await kit.project_of(world)
        for day in range(6):
            await world.chat(f"day {day}", {"ostinato-user": "carl" if day % 2 else "dora"})
            await world.chat(f"day {day}", {"ostinato-user": "carl" if day % 2 else "dora"})  # a hit
            await world.rows(2 * day + 2)
            world.clock.advance(DAY)
        await room.declare(SYSTEM, "short", NewRule(keep=Keep(texts=1.5, rows=3.5), project=project))
        await room.declare(SYSTEM, "shorter", NewRule(keep=Keep(texts=2.5), project=project))
        hold = await room.hold(SYSTEM, NewHold(matter="case 1", project=project, user="carl"))
        told = await room.preview(SYSTEM, project=project)
        found = {(one.store, one.kind): one for one in told.stores}
        assert (found["ledger", "texts"].due, found["ledger", "texts"].held) == (3, 2)
        assert (found["ledger", "rows"].due, found["ledger", "rows"].held) == (4, 2)
        assert found["ledger", "rows"].oldest and told.holds == (hold.id,) and told.dry_run
        assert len(await world.rows(12)) == 12, "a dry run changes nothing"
        done = await room.sweep(SYSTEM)
        found = {(one.store, one.kind): one for one in done.stores}
        assert (found["ledger", "texts"].done, found["ledger", "rows"].done) == (3, 4)
        rows = await world.rows(8)
        assert len(rows) == 8 and sum(row.input_text is not None for row in rows) == 3
        stats = await world.app.ledger.stats(Window(0, world.clock.now() + 1))
        assert stats.requests == 12, "figures stay"
        again = await room.sweep(SYSTEM)
        assert not any(one.done or one.due for one in again.stores)
        await room.lift(SYSTEM, hold.id)
        rest = {(one.store, one.kind): one for one in (await room.sweep(SYSTEM)).stores}
        assert (rest["ledger", "texts"].done, rest["ledger", "rows"].done) == (2, 2)
        reports = await room.sweeps(SYSTEM)
        assert len(reports) == 3 and reports[0].stores


async def test_datasets_reviews_signals_and_the_journal_are_swept_by_their_rules() -> None:
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        project = await kit.seeded(world)
        await world.app.reviews.withdraw(SYSTEM, (await world.app.reviews.list(SYSTEM))[0].id)
        world.clock.advance(10 * DAY)
        await room.declare(
            SYSTEM, "all", NewRule(keep=Keep(signals=5, datasets=5, reviews=5, journal=5, texts=5), project=project)
        )
        asked: list[Any] = []

        async def copies(payload: Any) -> dict[str, str | int]:
            asked.append(payload)
            return {}

        world.app.datasets.copies = copies
        done = {(one.store, one.kind): one for one in (await room.sweep(SYSTEM)).stores}
        assert done["datasets", "datasets"].done == 12 and sum(len(one["examples"]) for one in asked) >= 12
        assert done["signals", "signals"].done + done["signals", "texts"].done >= 4
        assert done["reviews", "reviews"].done == 1
        assert not any(one.due for one in (await room.sweep(SYSTEM)).stores)


async def test_what_an_intent_declares_is_obeyed() -> None:
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        await kit.project_of(world)
        await world.declare("intents", "care", {"retention": {"rows": 1}, "match": {"aliases": ["plain"]}})
        await world.chat("of care")
        await world.rows(1)
        world.clock.advance(2 * DAY)
        swept = await room.sweep(SYSTEM)
        assert {one.kind: one.done for one in swept.stores if one.store == "ledger"} == {"rows": 1}


async def test_a_rule_for_a_class_of_data_is_about_intents_that_declare_it() -> None:
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        project = await kit.project_of(world)
        for name, classes in (("care", ["personal"]), ("shop", ["public"])):
            await world.declare("intents", name, {"data_classes": classes})
            await world.chat(f"of {name}", {"ostinato-intent": name, "ostinato-user": "u"})
        await world.rows(2)
        world.clock.advance(2 * DAY)
        await room.declare(SYSTEM, "personal", NewRule(keep=Keep(rows=1), project=project, data_class="personal"))
        swept = await room.sweep(SYSTEM)
        assert sum(one.done for one in swept.stores if one.store == "ledger") == 1
        assert [row.intent for row in await world.rows(1)] == ["shop"]


async def test_it_sweeps_by_itself_once_a_day_and_one_process_at_a_time() -> None:
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        project = await kit.project_of(world)
        await room.declare(SYSTEM, "r", NewRule(keep=Keep(rows=1), project=project))
        await room.tend()
        await room.tend()
        assert len(await room.sweeps(SYSTEM)) == 1
        world.clock.advance(DAY + 1)
        mine, room.owner = room.owner, "another"
        await world.app.control.run(lambda c: _take(c, world.clock.now()))
        with pytest.raises(Conflict):
            room.owner = mine
            await room.sweep(SYSTEM)
        await room.tend()
        assert len(await room.sweeps(SYSTEM)) == 1
        world.clock.advance(121)
        await room.tend()
        assert len(await room.sweeps(SYSTEM)) == 2


def _take(connection: Any, now: int) -> bool:
    from ostinato.retention import store

    return store.take_lease(connection, "sweep", "another", now, now + 120_000_000)


async def test_a_store_that_fails_does_not_keep_the_others_from_being_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        project = await kit.seeded(world)
        world.clock.advance(10 * DAY)
        await room.declare(SYSTEM, "all", NewRule(keep=Keep(signals=5, datasets=5), project=project))
        datasets = next(one for one in room.stores if one.name == "datasets")

        async def fails(*_: Any) -> Any:
            raise OSError("the disk")

        monkeypatch.setattr(datasets, "sweep", fails)
        swept = await room.sweep(SYSTEM)
        assert swept.failed == ("datasets",) and any(one.done for one in swept.stores)


async def test_rules_and_holds_within_reach() -> None:
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        project = await world.first_project()
        side = await world.new_project("side")
        secret = await world.new_key(
            side, permissions=frozenset({"retention:read", "retention:write", "retention:hold"})
        )
        narrow = world.app.access.authenticate(secret, world.clock.now())
        await room.declare(SYSTEM, "theirs", NewRule(keep=Keep(rows=9), project=project))
        mine = await room.declare(narrow, "mine", NewRule(keep=Keep(rows=9), project="side"))
        assert [one.name for one in await room.rules(narrow)] == ["mine"]
        with pytest.raises(NotFound):
            await room.declare(narrow, "theirs", NewRule(keep=Keep(rows=1), project="side"))
        with pytest.raises(NotFound):
            await room.remove(narrow, "theirs")
        with pytest.raises(Denied):
            await room.declare(narrow, "wide", NewRule(keep=Keep(rows=1)))
        with pytest.raises(Denied):
            await room.hold(narrow, NewHold(matter="all"))
        with pytest.raises(Conflict):
            await room.declare(narrow, "mine", NewRule(keep=Keep(rows=1), project="side"), version=mine.version + 1)
        for wrong in (
            NewRule(keep=Keep()),
            NewRule(keep=Keep(rows=0)),
            NewRule(keep=Keep(rows=float("nan"))),
            NewRule(keep=Keep(rows=1), intent="a", data_class="personal"),
        ):
            with pytest.raises(Invalid):
                await room.declare(
                    SYSTEM,
                    "wrong",
                    retention.NewRule(
                        keep=wrong.keep, project=project, intent=wrong.intent, data_class=wrong.data_class
                    ),
                )
        with pytest.raises(Invalid):
            await room.hold(SYSTEM, NewHold(matter="m", project=project, since=5, until=5))


async def test_a_hold_on_somebody_covers_what_people_wrote_their_name_on() -> None:
    """Uploaded examples and items have users by name where a hold knows them by digest."""
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        project = await kit.seeded(world)
        for item in await world.app.reviews.list(SYSTEM):
            await world.app.reviews.withdraw(SYSTEM, item.id)
        await room.hold(SYSTEM, NewHold(matter="case 1", project=project, user=kit.ALICE))
        world.clock.advance(10 * DAY)
        await room.declare(SYSTEM, "short", NewRule(keep=Keep(datasets=1, reviews=1), project=project))
        found = {one.store: one for one in (await room.sweep(SYSTEM)).stores if one.kind in ("datasets", "reviews")}
        assert (found["datasets"].done, found["datasets"].held) == (6, 6)
        assert (found["reviews"].done, found["reviews"].held) == (1, 1)


async def test_a_hold_holds_from_the_moment_it_is_placed_in_the_middle_of_a_sweep(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        project = await kit.seeded(world)
        world.clock.advance(10 * DAY)
        await room.declare(SYSTEM, "short", NewRule(keep=Keep(texts=1, datasets=1), project=project))
        found = next(one for one in room.stores if one.name == "ledger")
        before = next(one for one in room.stores if "datasets" in one.kinds)
        assert room.stores.index(before) < room.stores.index(found)
        sweep = before.sweep

        async def held(*arguments: Any) -> Any:
            done = await sweep(*arguments)
            await room.hold(SYSTEM, NewHold(matter="in a hurry", project=project))
            return done

        monkeypatch.setattr(before, "sweep", held)
        stores = {(one.store, one.kind): one for one in (await room.sweep(SYSTEM)).stores}
        assert stores["datasets", "datasets"].done and not stores["ledger", "texts"].done
        assert stores["ledger", "texts"].held
