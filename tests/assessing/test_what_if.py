"""Replays of the ledger: what they say of a policy is what the gateway does under it."""

import random
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import World, inside

from ostinato.assessing import Change, WhatIf, what_if
from ostinato.core.errors import Invalid
from ostinato.traces import Filter, Window

HOUR = {"ttl": 3_600.0, "ttl_jitter": 0.0}


async def asked(world: World, seed: int = 3, count: int = 200) -> int:
    """Ask the same things in the same rhythm; gives the hits."""
    rng = random.Random(seed)
    hits = 0
    for _ in range(count):
        world.clock.advance(rng.choice([5.0, 60.0, 900.0]))
        fields: dict[str, Any] = {"user": f"u{rng.randrange(3)}"}
        if rng.random() < 0.2:
            fields["temperature"] = 1.6
        got = await world.chat(f"question {rng.randrange(5)}", **fields)
        hits += got.cache == "hit-exact"
    return hits


async def replayed(world: World, change: Change, since: int = 0, **options: Any) -> WhatIf:
    world.app.recorder.flush()
    filters = Filter(project=await world.first_project())
    app = world.app
    return await what_if(
        app.ledger,
        Window(since, world.clock.now() + 1),
        filters,
        change,
        policies=app.policies.value,
        intents=app.intents.value,
        prices=app.prices.value,
        **options,
    )


OTHERS = [
    {**HOUR, "ttl": 600.0},
    {**HOUR, "ttl": 86_400.0},
    {**HOUR, "scope": "project"},
    {**HOUR, "temperature_limit": 2.0},
    {**HOUR, "mode": "off"},
]


@pytest.mark.parametrize("other", OTHERS, ids=["short", "long", "shared", "hot", "off"])
async def test_the_change_gives_the_hits_that_the_gateway_gives_under_it(other: dict[str, Any]) -> None:
    async with inside() as world:
        await world.declare("policies", "all", other)
        truth = await asked(world)
    change = Change(
        **{name: value for name, value in other.items() if name != "ttl_jitter" and HOUR.get(name) != value}
    )
    async with inside() as world:
        await world.declare("policies", "all", HOUR)
        hits = await asked(world)
        found = await replayed(world, change)
    assert found.requests == 200
    assert found.actual.hits == hits == found.now.hits
    assert found.changed.hits == truth
    assert found.complete
    assert hits != truth
    assert found.now.cost == found.actual.cost
    assert found.changed.cost + found.changed.saved == found.actual.cost + found.actual.saved


async def test_a_window_begins_where_it_says_with_what_was_kept_before() -> None:
    async with inside() as world:
        await world.declare("policies", "all", HOUR)
        await asked(world, count=100)
        since = world.clock.now() + 1
        hits = await asked(world, seed=4, count=100)
        found = await replayed(world, Change(ttl=3_600.0), since)
    assert found.requests == 100
    assert found.actual.hits == found.now.hits == found.changed.hits == hits


async def test_other_prices_and_too_many_rows() -> None:
    async with inside() as world:
        await world.declare("prices", "fake/dear", {"input": 10.0, "output": 40.0})
        await asked(world, count=60)
        found = await replayed(world, Change(target="fake/dear"))
        assert found.changed.cost == 10 * found.actual.cost
        assert found.changed.saved == 10 * found.actual.saved
        cut = await replayed(world, Change(ttl=60.0), most=20)
        assert (cut.requests, cut.complete) == (20, False)
        assert cut.until < found.until
        with pytest.raises(Invalid, match="no price"):
            await replayed(world, Change(target="fake/unheard-of"))
        with pytest.raises(Invalid):
            await replayed(world, Change())


async def test_an_empty_window() -> None:
    async with inside() as world:
        found = await replayed(world, Change(ttl=1.0))
    assert found.requests == 0
    assert found.changed.p50_us is None
    assert found.complete
