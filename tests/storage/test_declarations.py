"""Declarations: versioned, with history; those of the configuration file are read-only."""

import asyncio

import pytest

from ostinato import storage
from ostinato.core.errors import Conflict, NotFound
from ostinato.storage import Declarations, Notices
from ostinato.storage.declarations import remove


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def declarations(control, clock, told):
    notices = Notices()
    notices.subscribe("routes", told.append)
    return Declarations(control, clock, notices, {"route": "routes"})


async def test_what_is_applied_is_loaded(declarations, told):
    bodies = {"fast": {"targets": ["a", "b"]}, "slow": {"targets": []}}
    assert await declarations.apply("route", bodies, "config") == ["fast", "slow"]
    assert await declarations.load("route") == bodies
    assert await declarations.load("policy") == {}
    assert told == [""]


async def test_the_same_file_again_changes_nothing(declarations, told):
    await declarations.apply("route", {"fast": {"b": 1, "a": 2}}, "config")
    assert await declarations.apply("route", {"fast": {"a": 2, "b": 1}}, "config") == []
    assert (await declarations.show("route", "fast")).version == 1
    assert told == [""]


async def test_what_left_the_file_is_removed_and_what_changed_is_a_new_version(declarations, clock):
    await declarations.apply("route", {"a": 1, "b": 2}, "config")
    clock.advance(5)
    assert await declarations.apply("route", {"b": 3}, "config") == ["b", "a"]
    assert await declarations.load("route") == {"b": 3}
    assert [(c.version, c.action, c.body) for c in await declarations.history("route", "a")] == [
        (1, "put", 1),
        (2, "remove", None),
    ]
    assert [(c.version, c.body) for c in await declarations.history("route", "b")] == [(1, 2), (2, 3)]
    assert (await declarations.history("route", "b"))[1].changed_at == clock.now()


async def test_a_name_that_returns_goes_on_counting(declarations):
    assert await declarations.put("route", "a", 1, "ada") == 1
    await declarations.remove("route", "a", "ada")
    assert await declarations.put("route", "a", 1, "bob") == 3
    assert [c.actor for c in await declarations.history("route", "a")] == ["ada", "ada", "bob"]


async def test_what_was_changed_meanwhile_is_not_removed(declarations, control, clock):
    await declarations.put("route", "a", 1, "ada")
    await declarations.put("route", "a", 2, "bob")

    def work(connection, seen):
        remove(connection, "route", "a", actor="ada", source="api", now=clock.now(), expect=seen)

    with pytest.raises(Conflict):
        await control.run(lambda connection: work(connection, 1))
    assert await declarations.load("route") == {"a": 2}
    await control.run(lambda connection: work(connection, 2))
    assert await declarations.load("route") == {}


async def test_the_configuration_is_read_only(declarations):
    await declarations.apply("route", {"a": 1}, "config")
    for call in (declarations.put("route", "a", 2, "ada"), declarations.remove("route", "a", "ada")):
        with pytest.raises(Conflict) as caught:
            await call
        assert caught.value.code == "declared_in_configuration"
        assert caught.value.hint
    with pytest.raises(Conflict):
        await declarations.apply("route", {"a": 2}, "ada", source="import")
    assert (await declarations.show("route", "a")).read_only
    await declarations.apply("route", {}, "config")
    assert await declarations.put("route", "a", 2, "ada") == 3
    assert not (await declarations.show("route", "a")).read_only


async def test_the_configuration_takes_over_and_leaves_others_alone(declarations):
    await declarations.put("route", "mine", 1, "ada")
    await declarations.put("route", "both", 1, "ada")
    assert await declarations.apply("route", {"both": 1}, "config") == ["both"]
    assert (await declarations.show("route", "both")).source == "config"
    assert await declarations.load("route") == {"both": 1, "mine": 1}
    await declarations.apply("route", {}, "config")
    assert await declarations.load("route") == {"mine": 1}


async def test_a_refused_change_leaves_nothing_behind(declarations, told):
    await declarations.apply("route", {"b": 1}, "config")
    told.clear()
    with pytest.raises(Conflict):
        await declarations.apply("route", {"a": 1, "b": 2}, "ada", source="import")
    assert await declarations.load("route") == {"b": 1}
    assert await declarations.history("route", "a") == []
    assert told == []


async def test_what_is_unknown(declarations):
    with pytest.raises(NotFound):
        await declarations.show("route", "nobody")
    with pytest.raises(NotFound):
        await declarations.remove("route", "nobody", "ada")
    assert await declarations.history("route", "nobody") == []


async def test_who_looked_before_another_changed_it_is_told(declarations):
    assert await declarations.put("route", "a", 1, "ada", expect=0) == 1
    assert await declarations.put("route", "a", 2, "ada", expect=1) == 2
    for stale in (0, 1, 3):
        with pytest.raises(Conflict) as caught:
            await declarations.put("route", "a", 3, "bob", expect=stale)
        assert caught.value.code == "declaration_changed"


async def test_of_many_at_once_one_wins_each_version(declarations):
    await declarations.put("route", "a", 0, "ada")
    calls = (declarations.put("route", "a", n, "ada", expect=1) for n in range(1, 21))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict"] * 19 + ["int"]
    fresh = (declarations.put("route", "new", n, "ada", expect=0) for n in range(1, 11))
    answers = await asyncio.gather(*fresh, return_exceptions=True)
    assert sum(answer == 1 for answer in answers) == 1
    assert all(answer == 1 or isinstance(answer, Conflict) for answer in answers)
    versions = [change.version for change in await declarations.history("route", "a")]
    assert versions == [1, 2]


async def test_kinds_do_not_mix(declarations):
    await declarations.apply("route", {"x": 1}, "config")
    await declarations.apply("policy", {"x": 2}, "config")
    await declarations.apply("route", {}, "config")
    assert await declarations.load("policy") == {"x": 2}


async def test_processes_that_start_together_declare_the_same(postgres_url, clock):
    databases = [storage.open_database("control", postgres_url) for _ in range(4)]
    storage.migrate(databases[0])
    bodies = {f"model {number}": {"targets": [number]} for number in range(30)}
    try:
        changed = await asyncio.gather(
            *(Declarations(database, clock).apply("route", bodies, "config") for database in databases)
        )
        assert sorted(name for names in changed for name in names) == sorted(bodies), "each by one of them"
        assert {d.version for d in await Declarations(databases[0], clock).entries("route")} == {1}
    finally:
        for database in databases:
            database.close()
