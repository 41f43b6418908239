"""What approving comes to: a change that waits for others, and people who look at answers."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import CHAT, SYSTEM, World, inside
from triage_kit import BASE, PRICED, asked, look, repeat

from ostinato import access, approvals
from ostinato.access.manage import ProjectChanges
from ostinato.core.errors import Conflict

CHATTING = {"ostinato-intent": "chat"}


async def waiting(world: World) -> Any:
    """A decision that was approved, of an intent whose change needs the word of others."""
    project = await world.first_project()
    intent = {"project": project, "stakes": "medium", "cache": {"mode": "off"}}
    await world.declare("intents", "chat", intent)
    await repeat(world, "You are a bank.", 80, 8, **CHATTING)
    (made,) = await look(world)
    assert made.choice == "cache"
    await world.declare("intents", "chat", {**intent, "stakes": "high", "owner": "ann"})
    done = await world.app.governing.triaging.triage.approve(SYSTEM, made.id, "worth it")
    assert done.state == "waiting"
    assert done.closed_at is None
    return done


async def test_what_waits_for_others_is_not_called_applied_until_they_agree() -> None:
    async with inside(PRICED, base=BASE) as world:
        made = await waiting(world)
        triage = world.app.governing.triaging.triage
        assert (await triage.decision(SYSTEM, made.id)).state == "waiting"
        assert await look(world) == []  # nothing else is decided meanwhile
        with pytest.raises(Conflict, match="waiting") as refused:
            await triage.reject(SYSTEM, made.id, "no")
        request = made.effects["cache"]["request"]
        assert request in str(refused.value.hint)
        world.app.control.transact(lambda c: approvals.complete(c, request, now=world.clock.now()))
        (row,) = await triage.list(SYSTEM, await world.first_project())
        assert (row.decision.state, row.decision.closed_at is None) == ("applied", False)


async def test_what_others_refuse_is_rejected_in_their_words_and_does_not_come_again() -> None:
    async with inside(PRICED, base=BASE) as world:
        made = await waiting(world)
        request = await world.app.intent_changes.waiting("chat")

        def refuse(connection: Any) -> None:
            approvals.decide(
                connection,
                now=world.clock.now(),
                actor=access.SystemActor("others"),
                request_id=request.id,
                decision=approvals.REJECT,
                digest=request.digest,
                comment="not before the audit",
            )

        world.app.control.transact(refuse)
        done = await world.app.governing.triaging.triage.decision(SYSTEM, made.id)
        assert (done.state, done.comment, done.closed_by) == ("rejected", "not before the audit", "system:others")
        await repeat(world, "You are a bank.", 80, 8, **CHATTING)
        assert [one for one in await look(world) if one.choice == "cache"] == []


async def test_where_nobody_answers_in_time_it_may_be_approved_again() -> None:
    async with inside(PRICED, base=BASE) as world:
        made = await waiting(world)
        await world.app.governing.triaging.triage._settle_all()
        assert (await world.app.governing.triaging.triage.decision(SYSTEM, made.id)).state == "waiting"
        world.clock.advance(8 * 86_400)
        done = await world.app.governing.triaging.triage.decision(SYSTEM, made.id)
        assert (done.state, done.effects) == ("proposed", {})
        again = await world.app.governing.triaging.triage.approve(SYSTEM, made.id)
        assert again.state == "waiting"
        assert again.effects["cache"]["request"] != made.effects["cache"]["request"]


async def test_approving_a_review_puts_a_share_of_the_answers_before_people() -> None:
    async with inside(PRICED.replace("audit_share = 0.0", "audit_share = 0.0\nreview_share = 0.5"), base=BASE) as world:
        project = await world.first_project()
        await world.declare(
            "intents", "chat", {"project": project, "stakes": "high", "owner": "ann", "cache": {"mode": "off"}}
        )
        await repeat(world, "You are a bank.", 80, 8, **CHATTING)
        (made,) = await look(world)
        assert made.choice == "review"
        triage = world.app.governing.triaging.triage
        with pytest.raises(Conflict, match="keeps no texts"):
            await triage.approve(SYSTEM, made.id)
        await world.app.access.update_project(SYSTEM, project, ProjectChanges(store_text=True))
        done = await triage.approve(SYSTEM, made.id)
        assert done.state == "applied"
        for number in range(60):
            await world.ask(CHAT, asked("You are a bank.", f"another {number}"), CHATTING)
            await world.ask(CHAT, asked("You are a shop.", f"another {number}"))  # of no intent: nobody looks
        await world.app.sampler.drain()
        items = await world.app.reviews.list(SYSTEM, queue=done.effects["review"]["queue"], project=project, limit=500)
        assert 12 < len(items) < 48
        assert {(one.intent, one.weight, one.origin) for one in items} == {("chat", 0.5, "online")}
