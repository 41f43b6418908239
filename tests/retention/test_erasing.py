"""Erasing a subject: every store, both engines; holds win; receipts hold; a crash anywhere changes nothing."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parent))

import retention_kit as kit
from inside import SYSTEM, inside
from retention_kit import ALICE, CANARY, SESSION

from ostinato import cache, retention
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Conflict, Invalid, NotFound, Unavailable
from ostinato.reviews import Content, NewItem, Output
from ostinato.reviews import tables as review_tables
from ostinato.traces import Filter
from ostinato.verify.receipts import check_receipt, commits


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "sqlite":
        return ""
    return f'[storage]\nurl = "{request.getfixturevalue("postgres_url")}"\n'


async def test_nothing_of_a_subject_is_left_and_others_keep_theirs(engine: str) -> None:
    async with inside(engine) as world:
        project = await kit.seeded(world)
        assert "traces.call" in kit.where(world, CANARY) and "control.example" in kit.where(world, CANARY)
        done = await kit.erased(world, user=ALICE, project=project, reason=f"{CANARY} asked", reference="T-1")
        assert done.state == "done"
        stores = {one.store: one for one in done.stores}
        assert all(one.left == one.held == 0 for one in stores.values())
        assert stores["ledger"].found == 6, "four calls, a hit, and what was said without a name"
        assert (stores["signals"].found, stores["datasets"].found, stores["reviews"].found) == (4, 6, 1)
        assert stores["cache"].found == 5
        assert kit.where(world, CANARY) == []
        if not engine:
            assert kit.in_files(world.app.directory.path, CANARY) == []
        # Figures and other people's data stay.
        rows = await world.rows(14)
        assert sum(row.input_text is not None for row in rows if row.wire == "openai.chat") == 4
        assert len(await world.app.ledger.show(rows[0].request_id, Filter(project=project))) == 1
        assert (await world.chat("Bob's question 1", {"ostinato-user": "bob", "ostinato-session": "bobs"})).cache == (
            "hit-exact"
        )
        again = await world.chat(f"My secret {CANARY} is 1", {"ostinato-user": ALICE, "ostinato-session": SESSION})
        assert again.cache == "miss"
        version = await world.app.datasets.version(SYSTEM, "questions", project=project)
        living, _ = await world.app.datasets.examples(SYSTEM, "questions", project=project)
        assert version.digest and sum(not one.erased for one in living) <= 6


async def test_the_receipt_is_confirmed_and_any_change_of_it_is_seen() -> None:
    async with inside() as world:
        project = await kit.seeded(world)
        room = world.app.governing.retention
        begun = await room.erase(SYSTEM, retention.Wish(user=ALICE, project=project, sessions=("other",)))
        done = await kit.ended(world, begun.erasure.id)
        receipt: Any = msgspec.to_builtins(await room.receipt(SYSTEM, done.id))
        assert check_receipt(receipt) == []
        assert check_receipt(receipt, (world.app.audit.signer.verifier,)) == []
        assert commits(receipt, begun.opening, user=ALICE, sessions=["other"])
        assert not commits(receipt, begun.opening, user="bob", sessions=["other"])
        assert not commits(receipt, "00" * 32, user=ALICE, sessions=["other"])
        assert ALICE not in msgspec.json.encode(receipt).decode()

        def broken(change: Any) -> list[str]:
            copy = msgspec.json.decode(msgspec.json.encode(receipt))
            change(copy)
            return check_receipt(copy)

        assert broken(lambda one: one["erasure"]["stores"][0].update(found=99))
        assert broken(lambda one: one["erasure"].update(state="held"))
        assert broken(lambda one: one.update(digest="00"))
        assert broken(lambda one: one["proof"].update(root="00" * 32))
        assert broken(lambda one: one["proof"].update(index=0))
        assert broken(lambda one: one.update(leaf=one["leaf"].replace("retention:erase", "retention:other")))
        assert broken(lambda one: one.update(signature=receipt["proof"]["checkpoint"].split()[-1]))
        assert broken(lambda one: one.pop("proof"))
        assert check_receipt(receipt, ("somebody+00000000+else",))
        leaf = (await world.app.audit.show(done.outcome_leaf or 0)).leaf
        assert leaf.facts["found.ledger"] == 6 and leaf.outcome == "done"


async def test_the_audit_log_tells_nobody_who_it_was_and_forgets_why() -> None:
    async with inside() as world:
        project = await kit.seeded(world)
        done = await kit.erased(world, user=ALICE, project=project, reason=f"{CANARY} wrote to us", reference="T-2")
        begun = await world.app.audit.show(done.intent_leaf)
        assert begun.leaf.outcome == "intended" and begun.leaf.reason and begun.reason == ""
        ended = await world.app.audit.show(done.outcome_leaf or 0)
        assert ended.leaf.facts["intent"] == done.intent_leaf and ended.leaf.facts["reference"] == "T-2"
        commitment = await world.app.control.read(
            lambda c: world.app.audit.commits_to(c, done.intent_leaf, "reason", f"{CANARY} wrote to us".encode())
        )
        assert commitment is None, "the key is destroyed: nobody can tell any more"
        assert "control.audit_text" not in kit.where(world, CANARY)


async def test_by_session_and_by_request() -> None:
    async with inside() as world:
        project = await kit.project_of(world)
        for user in ("carl", "dora"):
            for session in ("one", "two"):
                said = {"ostinato-user": user, "ostinato-session": session}
                await world.chat(f"{user} in {session}", said)
        lone = await world.chat("nobody in none")
        rows = {row.request_id: row for row in await world.rows(5)}
        target = [one for one in rows.values() if one.input_text and "carl in one" in one.input_text]
        assert target
        done = await kit.erased(world, sessions=("two",), requests=(lone.headers["x-request-id"],), project=project)
        assert {one.store: one.found for one in done.stores}["ledger"] == 3
        left = [row.input_text for row in await world.rows(5) if row.input_text]
        assert len(left) == 2 and all("in one" in text for text in left)
        assert (await world.chat("nobody in none")).cache == "miss", "found by the call that made it"
        assert (await world.chat("carl in two", {"ostinato-user": "carl", "ostinato-session": "two"})).cache == "miss"
        kept = await world.chat("carl in one", {"ostinato-user": "carl", "ostinato-session": "one"})
        assert kept.cache == "hit-exact"


async def test_what_others_said_in_the_same_conversation_stays_in_reviews_too() -> None:
    """With one of two voices the other's texts do not go, and no hold on them is broken."""
    async with inside() as world:
        project = await kit.seeded(world)
        items = [
            NewItem(
                content=Content(input_text=who, outputs=(Output(text=who),)),
                mark=f"shared-{who}",
                subject=who,
                group=f"session:{SESSION}",
            )
            for who in (ALICE, "bob", "")
        ]
        await world.app.reviews.put(SYSTEM, "queue", items, project=project)
        assert (await kit.erased(world, user=ALICE, project=project)).state == "done"
        rows = await world.app.control.read(lambda c: c.execute(sa.select(review_tables.item)).mappings().all())
        left = {row["subject"] for row in rows if not row["erased"]}
        assert left == {"bob"} and sum(row["group"] != "" for row in rows if not row["erased"]) == 1


async def test_a_hold_wins_and_what_it_kept_goes_when_it_is_lifted() -> None:
    async with inside() as world:
        project = await kit.seeded(world)
        room = world.app.governing.retention
        hold = await room.hold(SYSTEM, retention.NewHold(matter="case 7", project=project, user=ALICE))
        done = await kit.erased(world, user=ALICE, project=project)
        assert done.state == "held" and done.holds == (hold.id,)
        stores = {one.store: one for one in done.stores}
        assert (stores["ledger"].held, stores["datasets"].held, stores["reviews"].held) == (6, 6, 1)
        assert (stores["cache"].found, stores["cache"].held) == (5, 5), "a hold wins over cached answers too"
        asked = f"My secret {CANARY} is 1", {"ostinato-user": ALICE, "ostinato-session": SESSION}
        assert (await world.chat(*asked)).cache == "hit-exact"
        assert {"traces.call", "traces.signal", "control.example"} <= set(kit.where(world, CANARY))
        receipt: Any = msgspec.to_builtins(await room.receipt(SYSTEM, done.id))
        assert check_receipt(receipt) == [] and list(receipt["erasure"]["holds"]) == [hold.id]
        await room.lift(SYSTEM, hold.id, reason="over")
        done = await kit.ended(world, done.id)
        assert done.state == "done" and done.holds == ()
        assert kit.where(world, CANARY) == [] and (await world.chat(*asked)).cache == "miss"
        again: Any = msgspec.to_builtins(await room.receipt(SYSTEM, done.id))
        assert check_receipt(again) == [] and again["proof"]["index"] > receipt["proof"]["index"]
        assert check_receipt(receipt) == [], "the first one stays true of what it tells"


async def test_a_hold_holds_from_the_moment_it_is_placed_in_the_middle_of_an_erasure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with inside() as world:
        project = await kit.seeded(world)
        room = world.app.governing.retention
        first = room.stores[0]
        erase = first.erase

        async def held(*arguments: Any) -> None:
            await erase(*arguments)
            if not await room.holds(SYSTEM):
                await room.hold(SYSTEM, retention.NewHold(matter="in a hurry", project=project, user=ALICE))

        monkeypatch.setattr(first, "erase", held)
        done = await kit.erased(world, user=ALICE, project=project)
        assert done.state == "held" and {one.store: one.held for one in done.stores}["ledger"] == 6
        assert "traces.call" in kit.where(world, CANARY)


async def test_a_hold_of_some_time_keeps_that_and_no_more() -> None:
    async with inside() as world:
        project = await kit.project_of(world)
        for number in range(4):
            await world.chat(f"{CANARY} {number}", {"ostinato-user": ALICE})
            world.clock.advance(3_600)
        rows = await world.rows(4)
        room = world.app.governing.retention
        middle = retention.NewHold(matter="case 8", project=project, since=rows[1].at, until=rows[3].at)
        await room.hold(SYSTEM, middle)
        done = await kit.erased(world, user=ALICE, project=project)
        assert done.state == "held"
        stores = {one.store: (one.found, one.held, one.left) for one in done.stores}
        assert stores["ledger"] == stores["cache"] == (4, 2, 0)
        listed = await world.app.cache.list(cache.Selector(rows[0].org, project, user=ALICE))
        assert {one.meta.origin for one in listed.items} == {rows[1].request_id, rows[2].request_id}
        kept = [row.input_text for row in await world.rows(4) if row.input_text]
        assert len(kept) == 2 and not any(f"{CANARY} {gone}" in text for text in kept for gone in (0, 3))


class Killed(BaseException):
    """What a kill looks like from inside."""


async def test_killed_before_or_after_any_step_it_is_done_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        project = await kit.seeded(world)
        begun = await room.erase(SYSTEM, retention.Wish(user=ALICE, project=project))
        first: dict[str, int] = {}
        for number, one in enumerate(room.stores):
            for late in (False, True):
                real = one.erase

                async def dies(subject: Any, ruling: Any, *, real: Any = real, late: bool = late) -> None:
                    if late:
                        await real(subject, ruling)
                    raise Killed

                with monkeypatch.context() as patch:
                    patch.setattr(one, "erase", dies)
                    with pytest.raises(Killed):
                        await room.carry_out(begun.erasure.id)
                found = await room.erasure(SYSTEM, begun.erasure.id)
                assert found.state == "running" and found.attempts == 2 * number + late + 1
                first = first or {each.store: each.found for each in found.stores}
        assert await room.carry_out(begun.erasure.id)
        done = await room.erasure(SYSTEM, begun.erasure.id)
        assert done.state == "done" and {one.store: one.found for one in done.stores} == first
        assert first["ledger"] == 6 and first["signals"] == 4
        assert kit.where(world, CANARY) == []
        assert check_receipt(msgspec.to_builtins(await room.receipt(SYSTEM, done.id))) == []


async def test_two_processes_do_not_work_on_one_and_a_dead_ones_lease_ends() -> None:
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        project = await kit.seeded(world)
        begun = await room.erase(SYSTEM, retention.Wish(user=ALICE, project=project))
        mine, room.owner = room.owner, "another"
        assert await room._lease(f"erasure:{begun.erasure.id}")
        room.owner = mine
        assert not await room.carry_out(begun.erasure.id)
        world.clock.advance(121)
        assert await room.carry_out(begun.erasure.id)


async def test_a_database_that_is_away_for_a_moment_ends_no_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        tries: list[str] = []

        async def lease(name: str) -> bool:
            tries.append(name)
            if len(tries) == 1:
                raise Unavailable("The database is away.")
            return True

        clock = ManualClock()
        monkeypatch.setattr(room, "_lease", lease)
        monkeypatch.setattr(room, "clock", clock)
        alive = asyncio.create_task(room._beat("erasure:one"))
        for _ in range(20):
            await asyncio.sleep(0)
            clock.advance(5)
        alive.cancel()
        await asyncio.gather(alive, return_exceptions=True)
        assert len(tries) > 1


async def test_a_running_experiment_goes_on_without_the_example() -> None:
    async with inside() as world:
        room = world.app.governing.retention
        project = await kit.seeded(world)
        asked: list[Any] = []

        async def copies(payload: Any) -> dict[str, str | int]:
            asked.append(payload)
            return {}

        world.app.datasets.copies = copies
        await kit.erased(world, user=ALICE, project=project)
        assert len(asked) >= 1 and len(asked[0]["examples"]) == 6 and asked[0]["project"] == project
        await room.tend()


async def test_what_quotes_an_example_is_rewritten_or_named() -> None:
    async with inside() as world:
        from ostinato import prompts

        project = await kit.seeded(world)
        text = f"{ALICE} asks 3: {CANARY}"
        draft = msgspec.convert({"messages": [{"role": "user", "template": f"Like {text}: {{{{q}}}}"}]}, prompts.Draft)
        await world.app.prompts.create(SYSTEM, project, "shots", draft=draft)
        done = await kit.erased(world, user=ALICE, project=project)
        assert done.quoted == ("shots@1",)
        assert kit.where(world, CANARY) == ["control.prompt_version"], "what is governed is named, to be revoked"


async def test_what_cannot_be_wished() -> None:
    async with inside() as world:
        room = world.app.governing.retention
        project = await world.first_project()
        for wish in (
            retention.Wish(project=project),
            retention.Wish(user="a\x00", project=project),
            retention.Wish(user="x" * 600, project=project),
            retention.Wish(sessions=("",), project=project),
            retention.Wish(requests=tuple(map(str, range(101))), project=project),
        ):
            with pytest.raises(Invalid) as refused:
                await room.erase(SYSTEM, wish)
            assert "xxx" not in refused.value.sentence
        with pytest.raises(NotFound):
            await room.erase(SYSTEM, retention.Wish(user="a", project="nowhere"))
        with pytest.raises(NotFound):
            await room.erasure(SYSTEM, "0" * 32)
        nobody = await kit.erased(world, user="nobody-there", project=project)
        assert nobody.state == "done" and not any(one.found for one in nobody.stores)


async def test_a_receipt_waits_for_the_end() -> None:
    async with inside() as world:
        room = world.app.governing.retention
        await room.stop()
        begun = await room.erase(SYSTEM, retention.Wish(user=ALICE, project=await world.first_project()))
        with pytest.raises(Conflict):
            await room.receipt(SYSTEM, begun.erasure.id)
        await asyncio.sleep(0)
