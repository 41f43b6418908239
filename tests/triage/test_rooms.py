"""Audits within their budget, the inventory and its cases, decisions by themselves; families on both engines."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import CHAT, SYSTEM, World, inside
from triage_kit import BASE, PRICED, asked, look, repeat

from ostinato import prompts, storage
from ostinato.cases import Alarm
from ostinato.core.clock import ManualClock
from ostinato.families import Families
from ostinato.families import Settings as FamilySettings
from ostinato.triage import Item, store, tables
from ostinato.wire.model import Answer, BlockStart, ChatRequest, Delta, Message, Text

DAY = 86_400.0


# -- families over processes, on both engines -----------------------------------------------------------------------


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_two_processes_see_one_family_and_the_past_is_folded_once(
    engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    where: Any = tmp_path / "traces.db"
    if engine == "postgresql":
        where = request.getfixturevalue("postgres_url")
    database = storage.open_database("traces", where)
    await asyncio.to_thread(storage.migrate, database)
    clock = ManualClock()
    rooms = [Families(database, clock, FamilySettings(), seed=number) for number in range(2)]
    try:
        for number in range(100):
            rooms[number % 2].observe_batch([], [row(clock, number % 10)], {}, {})
            clock.advance(60)
        for room in rooms:
            room.flush()
        (both,) = await rooms[0].list("p" * 32)
        assert both.requests == 100
        assert both.repetition.value == 0.9  # ten different ones: each process saw half of the requests
        clock.advance(2 * DAY)
        for _ in range(3):
            (later,) = await rooms[0].list("p" * 32)
            (same,) = await rooms[1].list("p" * 32)
        assert later.requests == pytest.approx(same.requests)
        assert 75 < later.requests < 100
        assert later.repetition.value == pytest.approx(0.9)
        assert (await rooms[0].projects())[0] == ("o" * 32, "p" * 32)
    finally:
        for room in rooms:
            await room.stop()
        database.close()


def row(clock: ManualClock, number: int) -> Any:
    from ostinato.traces import CallRow
    from ostinato.wire.model import Usage

    return CallRow(
        request_id=str(number),
        at=clock.now(),
        org="o" * 32,
        project="p" * 32,
        wire="openai.chat",
        alias="plain",
        fingerprint=f"{number + 1:032x}"[::-1],
        family="family",
        usage=Usage(input=1),
        cost=1_000,
    )


# -- audits ---------------------------------------------------------------------------------------------------------


AUDITED = BASE.replace("[models.plain]", "[models.plain]\n") + '[prices."fake/plain"]\ninput = 10.0\noutput = 40.0\n'


async def test_audits_ask_again_within_share_and_budget_and_store_nothing() -> None:
    extra = "[triage]\naudit_share = 0.2\n"
    async with inside(extra, base=AUDITED) as world:
        await repeat(world, "You are a bank.", 50, 50)
        audits, room = world.app.governing.triaging.audits, world.app.governing.families
        room.flush()
        assert await audits.round() == 10
        assert await audits.round() == 0  # nothing was asked since
        (found,) = await room.list(await world.first_project())
        assert found.requests == 50  # our own calls are no traffic
        assert found.stability is not None
        assert found.stability.n == 10
        spent = [one for one in await world.rows(60) if "loop:probe" in one.tags]
        assert len(spent) == 10
        assert all("sample-audit-" in one.tags and not one.stored for one in spent)


async def test_an_empty_purse_ends_the_audits_of_the_day() -> None:
    extra = "[triage]\naudit_share = 1.0\naudit_budget_dollars = 0.000001\n"
    async with inside(extra, base=AUDITED) as world:
        await repeat(world, "You are a bank.", 20, 20)
        world.app.governing.families.flush()
        assert await world.app.governing.triaging.audits.round() == 0


# -- by itself --------------------------------------------------------------------------------------------------------


async def test_at_low_stakes_a_policy_lets_it_pass_and_nowhere_else() -> None:
    quick = PRICED.replace("audit_share = 0.0", 'audit_share = 0.0\nautomatic = ["low"]')
    async with inside(quick, base=BASE) as world:
        project = await world.first_project()
        await world.declare("intents", "chat", {"project": project, "stakes": "low", "cache": {"mode": "off"}})
        await repeat(world, "You are a bank.", 80, 8, **{"ostinato-intent": "chat"})
        (made,) = await look(world)
        assert (made.choice, made.state, made.automatic) == ("cache", "applied", True)
        intent = world.app.intents.value.require(project, "chat")
        assert intent.declared.cache.mode == "exact"
        await repeat(world, "You are a shop.", 80, 8)
        (other,) = [one for one in await look(world) if one.family != made.family]
        assert (other.stakes, other.state) == ("medium", "proposed")


# -- the inventory --------------------------------------------------------------------------------------------------


async def prompt(world: World, name: str) -> None:
    draft = msgspec.convert({"messages": [{"role": "user", "template": "{{question}}"}]}, prompts.Draft)
    await world.app.prompts.create(SYSTEM, await world.first_project(), name, draft=draft)


async def test_the_owner_is_asked_attests_and_is_left_alone_for_ninety_days() -> None:
    async with inside(PRICED, base=BASE) as world:
        inventory = world.app.governing.triaging.inventory
        project = await world.first_project()
        await prompt(world, "greeting")
        (item,) = await inventory.list(SYSTEM, project, look=True)
        assert (item.findings, item.state) == (("unowned",), "waiting")
        done = await inventory.attest(SYSTEM, "greeting", "kept", project=project)
        assert done.state == "attested"
        world.clock.advance(40 * DAY)
        (still,) = await inventory.list(SYSTEM, project, look=True)
        assert still.state == "attested"
        world.clock.advance(51 * DAY)
        (again,) = await inventory.list(SYSTEM, project, look=True)
        assert again.state == "waiting"
        assert set(again.findings) == {"unowned", "unused"}


async def test_who_is_late_gets_a_case() -> None:
    async with inside(PRICED, base=BASE) as world:
        inventory = world.app.governing.triaging.inventory
        project, opened = await world.first_project(), list[Item]()
        bound = inventory.open_case

        async def told(item: Item) -> None:
            opened.append(item)
            await bound(item)

        inventory.open_case = told
        await prompt(world, "greeting")
        await inventory.list(SYSTEM, project, look=True)
        assert not opened
        world.clock.advance(15 * DAY)
        (late,) = await inventory.list(SYSTEM, project, look=True)
        assert late.state == "overdue"
        assert {one.prompt for one in opened} == {"greeting"}
        (case,) = await world.app.governing.cases.list(SYSTEM, project=project, kind="inventory")
        assert case.prompt == "greeting"


async def test_forgetting_a_user_takes_their_requests_out_of_memory() -> None:
    async with inside(PRICED, base=BASE) as world:
        for number in range(3):
            await world.ask(CHAT, asked("You are a bank.", f"question {number}"), {"ostinato-user": "ann"})
        room = world.app.governing.families
        room.flush()
        (one, *_) = room.samples(5)
        assert one.user
        assert room.forget(one.project, one.user) == 3
        assert room.samples(5) == []


async def test_an_erasure_by_request_leaves_nothing_in_memory_of_a_user_it_does_not_name() -> None:
    async with inside(PRICED, base=BASE) as world:
        await world.ask(CHAT, asked("You are a bank.", "a question"), {"ostinato-user": "ann"})
        room = world.app.governing.families
        room.flush()
        (one,) = room.samples(5)
        assert await room.forget_everywhere("elsewhere", "") == 0
        assert await room.forget_everywhere(one.project, "") == 1
        await world.ask(CHAT, asked("You are a bank.", "another question"), {"ostinato-user": "ann"})
        await room.forget_everywhere(one.project, "")  # maybe still on its way
        room.flush()
        assert room.samples(5) == []


async def test_what_one_process_is_told_to_forget_all_forget(tmp_path: Path, postgres_url: str) -> None:
    control = storage.open_database("control", postgres_url)
    await asyncio.to_thread(storage.migrate, control)
    database = storage.open_database("traces", tmp_path / "traces.db")
    await asyncio.to_thread(storage.migrate, database)
    notices = [storage.Notices(control, poll_seconds=0.1) for _ in range(2)]
    rooms = [Families(database, ManualClock(), FamilySettings(), seed=number) for number in range(2)]
    try:
        heard: tuple[list[str], list[str]] = ([], [])
        for told, words in zip(notices, heard, strict=True):
            await told.start()
            told.subscribe("families", words.append)
        while len(heard[0]) < 2 or len(heard[1]) < 2:  # both wires stand
            notices[1].publish("families", "hello")
            await asyncio.sleep(0.05)
        before = -1
        while before != sum(map(len, heard)):  # none is on its way any more
            before = sum(map(len, heard))
            await asyncio.sleep(0.4)
        for words in heard:
            words.clear()
        for told, room in zip(notices, rooms, strict=True):
            room.follow(told)
            for user in ("a" * 32, "b" * 32):
                request = ChatRequest("plain", (Message("user", (Text(f"question of {user}"),)),))
                answer = Answer("openai.chat", (BlockStart(0, "text"), Delta(0, "yes")))
                room.answered("o", "p", "family", user, request, answer, user=user)
            room.flush()
            assert len(room.samples(9)) == 2
        assert await rooms[0].forget_everywhere("p", "a" * 32) == 1
        await until(lambda: "a" * 32 not in {one.user for one in rooms[1].samples(9)})
        # A notice without detail, as after a wire was away, has everything forgotten: that is right, too.
        assert "" in heard[1] or [one.user for one in rooms[1].samples(9)] == ["b" * 32]
        notices[1].fire_all()  # as after a time of not hearing: nobody knows whom others have forgotten
        await until(lambda: not rooms[1].samples(9))
        assert "" in heard[0] or len(rooms[0].samples(9)) == 1
    finally:
        for room in rooms:
            await room.stop()
        for told in notices:
            await told.close()
        control.close()
        database.close()


async def until(holds: Any) -> None:
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to that")


async def test_only_what_a_detector_says_of_the_prompt_or_its_intent_is_drift() -> None:
    async with inside(PRICED, base=BASE) as world:
        project = await world.first_project()
        org = (await world.app.access.list_organizations(SYSTEM))[0].id
        await world.declare("intents", "chat", {"project": project, "stakes": "low", "owner": "ann"})
        for name, intent in (("greeting", "chat"), ("other", "")):
            draft = msgspec.convert({"messages": [{"role": "user", "template": "{{question}}"}]}, prompts.Draft)
            await world.app.prompts.create(SYSTEM, project, name, draft=draft, intent=intent)

        async def opened(kind: Any, detector: str, **where: str) -> None:
            number = f"{kind}-{detector}-{where}"
            at = world.clock.now()
            told = Alarm(id=number, at=at, org=org, project=project, kind=kind, detector=detector, title="it", **where)
            await world.app.governing.cases.on_alarm(told)

        async def drifts() -> set[str]:
            items = await world.app.governing.triaging.inventory._known(project)
            return {one.prompt.name for one in items if one.drift}

        for detector in ("alert:errors-high", "people:1", "breaker:errors"):
            await opened("errors", detector, prompt="greeting", intent="chat")
        await opened("budget", "money", intent="chat")
        await opened("errors", "errors", intent="elsewhere")
        await opened("quality", "quality", prompt="third", intent="chat")  # of another prompt of that intent
        assert await drifts() == set()
        await opened("latency", "latency", intent="chat")
        assert await drifts() == {"greeting"}
        await opened("mix", "mix", prompt="other")
        assert await drifts() == {"greeting", "other"}


def test_a_round_begins_though_the_clock_was_years_ahead_once() -> None:
    day = 86_400_000_000
    engine = sa.create_engine("sqlite://")
    with engine.begin() as connection:
        tables.triage_round.create(connection)
        assert store.begin(connection, "inventory", 1_000 * day, day)
        assert not store.begin(connection, "inventory", 1_000 * day - 5, day)  # another process, a little behind
        assert store.begin(connection, "inventory", 600 * day, day)
        assert not store.begin(connection, "inventory", 600 * day + 5, day)
