"""C5 and C6: any number of identical misses make one call, whoever hangs up; money is never spent twice or beyond."""

import asyncio
from typing import Any

import pytest
from inside import CHAT, MESSAGES, PROVIDERS, Got, Stream, World, inside, pass_time, question, settle

from ostinato.access import MoneyBudget

SLOW = """
[models.plain]
targets = ["fake/fake-latency=1s"]
[models.stream]
targets = ["fake/fake-latency=1s,gap=100ms"]
[prices."fake/fake-latency=1s"]
input = 1.0
output = 4.0
[prices."fake/fake-latency=1s,gap=100ms"]
input = 1.0
output = 4.0
"""


@pytest.mark.parametrize("stream", [False, True])
async def test_a_thousand_at_once_make_one_call(stream: bool) -> None:
    async with inside(SLOW, base=PROVIDERS) as world:
        key = await world.new_key(budget=MoneyBudget(10**9))
        body = question("stampede", model="stream" if stream else "plain", stream=stream)
        tasks = [asyncio.create_task(world.ask(CHAT, body, key=key)) for _ in range(1000)]
        await pass_time(world, tasks)
        replies = [task.result() for task in tasks]
        assert world.fake.calls == 1
        assert {got.status for got in replies} == {200}
        assert len({got.text for got in replies}) == 1
        assert len({got.headers["x-request-id"] for got in replies}) == 1000
        assert sorted(got.reason for got in replies) == [""] + ["joined"] * 999
        repeated = await world.ask(CHAT, body, key=key)
        assert repeated.cache == "hit-exact"
        if not stream:  # a stream's head is sent before it is known whether its answer is kept
            assert {got.headers["ostinato-entry"] for got in replies} == {repeated.headers["ostinato-entry"]}
        rows = await world.rows(1001)
        assert sum(row.cost or 0 for row in rows) == max(row.cost or 0 for row in rows) > 0, "one payer"
        state = await world.budget(key)
        assert state.spent == max(row.cost or 0 for row in rows)
        assert state.held >= 0


async def test_wires_and_streams_join_each_other() -> None:
    async with inside(SLOW, base=PROVIDERS) as world:
        text = question("mixed", max_tokens=99)
        asked = [(CHAT, {**text, "stream": stream}, {}) for stream in (False, True, False, True)] + [
            (MESSAGES, {**text, "stream": stream}, {}) for stream in (False, True)
        ]
        tasks = [asyncio.create_task(world.ask(*one)) for one in asked]
        await pass_time(world, tasks)
        assert world.fake.calls == 1
        assert len({task.result().text for task in tasks}) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_the_first_may_hang_up(stream: bool) -> None:
    async with inside(SLOW, base=PROVIDERS) as world:
        body = question("left", model="stream" if stream else "plain", stream=stream)
        first = asyncio.create_task(world.ask(CHAT, body))
        await settle()
        others = [asyncio.create_task(world.ask(CHAT, body)) for _ in range(50)]
        await settle()
        world.clock.advance(0.5)
        await settle()
        first.cancel()
        await pass_time(world, others)
        assert world.fake.calls == 1
        assert world.fake.cancelled == 0
        assert {task.result().status for task in others} == {200}
        assert len({task.result().text for task in others}) == 1
        assert world.app.gateway.flights.open == 0


async def test_the_last_who_hangs_up_ends_the_call() -> None:
    async with inside(SLOW, base=PROVIDERS) as world:
        key = await world.new_key()
        body = question("all leave", model="stream", stream=True)
        tasks = [asyncio.create_task(world.begin(CHAT, body, key=key)) for _ in range(5)]
        await pass_time(world, tasks)
        streams = [task.result() for task in tasks]
        assert all(isinstance(stream, Stream) for stream in streams)
        for stream in streams:
            await anext(stream.chunks)
        for stream in streams[:-1]:
            await stream.leave()
        await settle()
        assert world.fake.cancelled == 0
        await streams[-1].leave()
        await settle()
        assert world.fake.cancelled == 1
        assert world.app.gateway.flights.open == 0
        assert all(state.in_flight == 0 for state in world.app.router.states(world.app.catalog.value.targets()))
        assert world.in_flight(key) == 0
        await still_miss(world, body)


async def test_a_stream_that_is_never_read_gives_its_place_back() -> None:
    async with inside(SLOW, base=PROVIDERS) as world:
        key = await world.new_key()
        task = asyncio.create_task(world.begin(CHAT, question("unread", model="stream", stream=True), key=key))
        await pass_time(world, [task])
        assert world.in_flight(key) == 1
        await task.result().leave()
        await settle()
        assert world.in_flight(key) == 0
        assert world.app.gateway.flights.open == 0


async def still_miss(world: World, body: Any) -> None:
    """Nothing partial was kept."""
    got = await world.ask(CHAT, body, {"cache-control": "only-if-cached"})
    assert got.status == 504


async def test_finish_and_store_goes_on_when_everybody_has_left() -> None:
    policy = "[policies.p]\nfinish_and_store = true\n"
    async with inside(SLOW + policy, base=PROVIDERS) as world:
        body = question("unfinished", model="stream", stream=True)
        task = asyncio.create_task(world.begin(CHAT, body))
        await pass_time(world, [task])
        await anext(task.result().chunks)
        await task.result().leave()
        for _ in range(40):
            world.clock.advance(0.1)
            await settle()
        assert world.fake.cancelled == 0
        assert (await world.ask(CHAT, body)).cache == "hit-exact"


async def test_errors_are_everybodys_and_nobody_pays() -> None:
    target = "fake/fake-500,latency=1s"
    models = f'[models.bad]\ntargets = ["{target}"]\n[prices."{target}"]\ninput = 1\noutput = 1\n'
    async with inside(models) as world:
        key = await world.new_key(budget=MoneyBudget(10**9))
        tasks = [asyncio.create_task(world.chat("fails", model="bad", key=key)) for _ in range(20)]
        await pass_time(world, tasks)
        assert {task.result().status for task in tasks} == {502}
        assert world.fake.calls == 2, "one call, retried once"
        assert (await world.budget(key)).spent == 0


async def test_a_poor_starter_does_not_fail_a_rich_follower() -> None:
    """A failure that is private to the starter elects a follower."""
    async with inside(SLOW, base=PROVIDERS) as world:
        poor = await world.new_key(budget=MoneyBudget(1))
        rich = await world.new_key(budget=MoneyBudget(10**9))
        tasks = [asyncio.create_task(world.chat("means", key=key)) for key in (poor, rich, rich)]
        await pass_time(world, tasks)
        first, *others = [task.result() for task in tasks]
        assert first.status == 429
        assert first.headers["x-should-retry"] == "false"
        assert first.json()["error"]["code"] == "budget_exceeded"
        assert [got.status for got in others] == [200, 200]
        assert world.fake.calls == 1


async def test_no_store_and_no_cache_never_join() -> None:
    async with inside(SLOW, base=PROVIDERS) as world:
        asked = [{"cache-control": "no-store"}] * 3 + [{"cache-control": "no-cache"}] * 3 + [{}] * 3
        tasks = [asyncio.create_task(world.chat("alone", headers)) for headers in asked]
        await pass_time(world, tasks)
        assert world.fake.calls == 7


@pytest.mark.parametrize("stream", [False, True])
async def test_budgets_are_never_overshot_by_64_at_once(stream: bool) -> None:
    """C6: 64-way, each request different; what is spent stays below the budget, and what is refused costs nothing."""
    async with inside(SLOW, base=PROVIDERS) as world:
        alias = "stream" if stream else "plain"
        price = await cost_of_one(world, alias, stream)
        budget = price * 20
        key = await world.new_key(budget=MoneyBudget(budget))
        done: list[Got] = []
        for turn in range(3):
            tasks = [
                asyncio.create_task(
                    world.chat(f"number {turn} {n:02}", key=key, model=alias, stream=stream, max_tokens=30)
                )
                for n in range(64)
            ]
            await pass_time(world, tasks, step=0.3)
            done += [task.result() for task in tasks]
            state = await world.budget(key)
            assert state.spent <= budget
            assert state.spent + state.held <= budget
            rows = await world.rows(64 * (turn + 1))
            assert state.spent == sum(row.cost or 0 for row in rows if row.key_id == world.key_id(key))
        passed = [got for got in done if got.status == 200]
        refused = [got for got in done if got.status == 429]
        assert len(passed) + len(refused) == len(done)
        assert 10 <= len(passed) <= 20
        for got in refused:
            assert got.json()["error"]["code"] == "budget_exceeded"
            assert got.headers["x-should-retry"] == "false"
            assert int(got.headers["retry-after"]) >= 1
        # What was answered once is answered again, for nothing.
        again = await world.chat("number 0 00", key=key, model=alias, stream=stream, max_tokens=30)
        if any(got.status == 200 for got in done[:1]):
            assert again.cache == "hit-exact"


async def cost_of_one(world: World, alias: str, stream: bool) -> int:
    task = asyncio.create_task(world.chat("number 0 --", model=alias, stream=stream, max_tokens=30))
    await pass_time(world, [task])
    rows = await world.rows(1)
    return int(rows[0].cost)


async def test_a_model_without_a_price_is_refused_to_keys_with_a_budget() -> None:
    async with inside('[models.free]\ntargets = ["other/unknown"]\n') as world:
        key = await world.new_key(budget=MoneyBudget(10**9))
        got = await world.chat("what does it cost?", model="free", key=key)
        assert (got.status, got.json()["error"]["code"]) == (403, "price_unknown")
        assert world.provider("other").calls == 0
        assert (await world.chat("what does it cost?", model="free")).status == 200
