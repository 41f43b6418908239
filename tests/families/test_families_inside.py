"""Families in the whole gateway: what is asked is what is told of them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import CHAT, World, inside


async def told(world: World) -> dict[str, object]:
    world.app.recorder.flush()
    found = await world.app.governing.families.list(await world.first_project())
    return {one.family: one for one in found}


def asked(system: str, question: str) -> dict[str, object]:
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
    return {"model": "plain", "messages": messages}


async def test_hits_and_calls_of_one_set_of_instructions_are_one_family() -> None:
    async with inside() as world:
        for question in ("How do I pay?", "How do I pay?", "How do I pay?!", "Where is my card 17?", "How do I pay?"):
            await world.ask(CHAT, asked("You are a bank. Today is 2026-11-23.", question))
        await world.ask(CHAT, asked("You are a bank. Today is 2026-11-24.", "How do I pay?"))
        await world.ask(CHAT, asked("You are a shop.", "Write to ann@example.org"))
        found = await told(world)
        assert len(found) == 2
        bank, shop = sorted(found.values(), key=lambda one: -one.requests)
        assert (bank.requests, shop.requests) == (6, 1)
        assert bank.hits.value == 2 / 6
        assert bank.repetition.value == 2 / 6  # of six requests, four are different: another date is another request
        assert bank.near.value >= 1 / 4  # "How do I pay?!", and the one of the next day
        assert bank.personal.value == 0.0
        assert shop.personal.value == 1.0
        assert bank.alias == "plain"
        assert bank.cost is not None and bank.cost > 0
        assert 0 < bank.cost_share < 1


async def test_what_was_seen_is_there_after_a_restart_and_fades() -> None:
    async with inside() as world:
        for number in range(4):
            await world.ask(CHAT, asked("You are a bank.", f"What is {number % 2}?"))
        (before,) = (await told(world)).values()
        world.clock.advance(8 * 86_400)
        (after,) = (await told(world)).values()
        assert before.requests == 4.0
        assert 1.5 < after.requests < 2.1  # a little more than one half-life
        assert after.repetition.value == before.repetition.value == 0.5
        await world.ask(CHAT, asked("You are a bank.", "What is 1?"))
        (again,) = (await told(world)).values()
        assert again.requests > after.requests + 0.9


async def test_what_is_looked_at_costs_no_more_than_it_may() -> None:
    async with inside("[families]\nlooked_per_second = 2\n") as world:
        for number in range(5):
            await world.ask(CHAT, asked("You are a bank.", f"What is {number}?"))
        (bank,) = (await told(world)).values()
        families = world.app.governing.families
        assert families.dropped == 3
        assert bank.requests == 5.0, "sums are exact all the same"
        world.clock.advance(1)
        await world.ask(CHAT, asked("You are a bank.", "What is 6?"))
        assert families.dropped == 3
