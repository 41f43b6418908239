"""Triage in the whole gateway: from traffic to a decision, to the rule that it changes."""

import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import SYSTEM, World, inside
from triage_kit import BASE, PRICED, look, repeat

from ostinato import audit
from ostinato.core.errors import Conflict


async def test_what_repeats_and_agrees_is_proposed_and_carried_out_once_approved() -> None:
    async with inside(PRICED, base=BASE) as world:
        await repeat(world, "You are a bank.")
        (made,) = await look(world)
        assert (made.choice, made.state) == ("cache", "proposed")
        assert all(reason.holds for reason in made.reasons)
        assert made.saving.low <= made.saving.expected <= made.saving.high
        triage = world.app.governing.triaging.triage
        done = await triage.approve(SYSTEM, made.id, "worth it")
        assert done.state == "applied"
        project = await world.first_project()
        assert world.app.policies.value.for_(project, "plain").ttl == done.policy["cache"]["ttl"]
        assert await look(world) == []  # what stands, stands
        with pytest.raises(Conflict):
            await triage.approve(SYSTEM, made.id)
        entries = await world.app.audit.page(audit.Filter(), limit=500)
        actions = [one.leaf.action for one in entries if one.leaf.action.startswith("triage:")]
        assert actions == ["triage:apply", "triage:propose"]  # the newest first


async def test_a_rule_that_others_live_under_is_not_changed() -> None:
    async with inside(PRICED, base=BASE) as world:
        await repeat(world, "You are a bank.")
        await repeat(world, "You are a shop.", different=80)
        made = next(one for one in await look(world) if one.choice == "cache")
        with pytest.raises(Conflict, match="other families"):
            await world.app.governing.triaging.triage.approve(SYSTEM, made.id)
        (still,) = [one for one in await _rows(world) if one.decision and one.decision.id == made.id]
        assert still.decision.state == "proposed"


async def _rows(world: World) -> Any:
    return await world.app.governing.triaging.triage.list(SYSTEM, await world.first_project())


async def test_a_rejected_proposal_does_not_come_again() -> None:
    async with inside(PRICED, base=BASE) as world:
        await repeat(world, "You are a bank.")
        (made,) = await look(world)
        done = await world.app.governing.triaging.triage.reject(SYSTEM, made.id, "no")
        assert done.state == "rejected"
        await repeat(world, "You are a bank.")
        assert await look(world) == []


async def test_a_list_costs_the_same_questions_however_many_families() -> None:
    async with inside(PRICED, base=BASE) as world:
        triage, room = world.app.governing.triaging.triage, world.app.governing.families
        counts: list[int] = []
        for number, families in enumerate((3, 9)):
            for family in range(families):
                await repeat(world, f"You are number {number} and {'x' * family}.", times=2, different=1)
            asked: list[str] = []
            engine = world.app.control._reader

            def told(_c: Any, _u: Any, statement: str, *_: Any, into: list[str] = asked) -> None:
                into.append(statement)

            sa.event.listen(engine, "before_cursor_execute", told)
            rows = await triage.list(SYSTEM, await world.first_project())
            sa.event.remove(engine, "before_cursor_execute", told)
            counts.append(len(asked))
            assert len(rows) >= families
        assert counts[0] == counts[1]
        before = room._listing.worked_out
        await triage.list(SYSTEM, await world.first_project())
        assert room._listing.worked_out == before  # nothing has changed: nothing is worked out again
        await repeat(world, "You are number 1 and xx.", times=1)
        await triage.list(SYSTEM, await world.first_project())
        assert room._listing.worked_out == before + 1


async def test_one_family_is_shown_with_what_waits_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside(PRICED, base=BASE) as world:
        await repeat(world, "You are a bank.")
        (made,) = await look(world)
        triage, settled = world.app.governing.triaging.triage, list[str]()
        settle = triage._settle

        async def told(project: str = "") -> None:
            settled.append(project)
            await settle(project)

        monkeypatch.setattr(triage, "_settle", told)
        row, decisions = await triage.show(SYSTEM, made.id)
        assert settled == [made.project]
        (listed,) = await triage.list(SYSTEM, made.project)
        assert row == listed and row is not None and row.decision == decisions[0]


async def test_what_is_left_alone_says_whether_intent_or_model_keeps_it_from_the_cache() -> None:
    async with inside(PRICED, base=BASE) as world:
        project = await world.first_project()
        await world.declare("intents", "chat", {"project": project, "stakes": "low", "cache": {"mode": "off"}})
        await repeat(world, "You are a bank.", 60, 60)
        await repeat(world, "You are a shop.", 60, 60, **{"ostinato-intent": "chat"})
        made = await look(world)
        assert [one.choice for one in made] == ["leave", "leave"]
        said = {one.intent: reason.text for one in made for reason in one.reasons if reason.name == "cache-off"}
        assert said.keys() == {"", "chat"}
        assert "the intent 'chat'" in said["chat"] and "the model 'plain'" in said[""]
