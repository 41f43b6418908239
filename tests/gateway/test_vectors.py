"""Embeddings: who may ask, what the caller's directives mean for a batch, one model per reply, one row and one bill."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from inside import EMBEDDINGS, SYSTEM, Got, World, inside, settle, until

from ostinato import access
from ostinato.core.clock import ManualClock, SystemClock
from ostinato.providers import fake_script
from ostinato.providers.fake_server import FakeServer

FOREVER = access.MoneyBudget(10**9, "total")
TWO = """
[models.two]
targets = [{provider = "fake", model = "first", retries = 0}, {provider = "other", model = "second", retries = 0}]
kind = "embedding"
[policies.two]
alias = "two"
ttl = 1000.0
ttl_jitter = 0.0
"""
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def embed(world: World, inputs: Any, control: str = "", *, key: str | None = None, model: str = "vectors") -> Got:
    if isinstance(world.clock, ManualClock):
        world.clock.advance(0.001)  # rows are listed by their time
    headers = {"cache-control": control} if control else {}
    return await world.ask(EMBEDDINGS, {"model": model, "input": inputs}, headers, key)


def vectors(got: Got) -> list[list[float]]:
    assert got.status == 200, got.body
    return [item["embedding"] for item in got.json()["data"]]


def known(got: Got) -> int:
    return int(got.headers["ostinato-cached-inputs"])


async def test_a_key_asks_only_the_models_that_it_may() -> None:
    async with inside() as world:
        limited = await world.new_key(allowed_models=frozenset({"plain"}))
        refused = await embed(world, "a", key=limited)
        assert (refused.status, refused.json()["error"]["code"]) == (403, "model_not_allowed")
        assert world.fake.calls == 0
        (row,) = await world.rows(1)
        assert (row.status, row.error, row.wire) == (403, "model_not_allowed", "openai.embeddings")


async def test_only_if_cached_asks_nobody() -> None:
    async with inside() as world:
        await embed(world, ["a", "b"])
        for inputs in ("c", ["a", "c"]):
            refused = await embed(world, inputs, "only-if-cached")
            assert (refused.status, refused.json()["error"]["code"]) == (504, "not_cached")
        answered = await embed(world, ["b", "a", "b"], "only-if-cached")
        assert (answered.cache, known(answered)) == ("hit-exact", 3)
        for control in ("only-if-cached, no-cache", "only-if-cached, no-store", "only-if-cached, max-age=0"):
            world.clock.advance(1)
            assert (await embed(world, "a", control)).status == 504
        assert world.fake.calls == 1
        rows = await world.rows(7)
        assert [row.status for row in rows] == [200, 504, 504, 200, 504, 504, 504]
        assert rows[3].saved > 0


async def test_max_age_holds_for_each_input() -> None:
    async with inside() as world:
        await embed(world, "old")
        world.clock.advance(100)
        await embed(world, "new")
        world.clock.advance(10)
        assert known(await embed(world, ["old", "new"], "max-age=200")) == 2
        first = await embed(world, ["old", "new"], "max-age=60")
        assert (first.cache, known(first)) == ("miss", 1)
        assert known(await embed(world, ["old", "new"], "max-age=60")) == 2, "what was asked anew has been stored"
        assert world.fake.calls == 3


async def test_no_cache_asks_anew_and_stores() -> None:
    async with inside() as world:
        before = await embed(world, ["a", "b"])
        world.clock.advance(100)
        again = await embed(world, ["a", "b", "a"], "no-cache")
        assert (again.cache, known(again)) == ("miss", 1)
        assert vectors(again)[:2] == vectors(before)
        assert known(await embed(world, ["a", "b"], "max-age=50, only-if-cached")) == 2
        assert world.fake.calls == 2
        rows = await world.rows(3)
        assert [(row.cache, row.stored, row.cost > 0) for row in rows] == [
            ("miss", True, True), ("miss", True, True), ("hit-exact", False, False)
        ]  # fmt: skip


async def test_no_store_neither_reads_nor_stores() -> None:
    async with inside() as world:
        for _ in range(2):
            got = await embed(world, "a", "no-store")
            assert (got.cache, got.reason, known(got)) == ("bypass", "no-store", 0)
        assert (await embed(world, "a")).cache == "miss"
        assert (await embed(world, "a", "no-store")).cache == "bypass"
        assert world.fake.calls == 4


async def test_a_batch_partly_known_is_not_mixed_with_a_fallbacks_vectors() -> None:
    async with inside(TWO) as world:
        first = vectors(await embed(world, ["a", "b"], model="two"))
        world.fake._base = fake_script.read("500")
        mended = await embed(world, ["a", "c", "b", "c"], model="two")
        assert world.provider("other").calls == 2, "once for what was missing, once for all"
        other = vectors(await embed(world, ["a", "c", "b", "c"], "no-store", model="two"))
        assert vectors(mended) == other
        assert other[0] != first[0]
        assert (known(mended), mended.headers["ostinato-target"]) == (1, "other/second"), "the input that came twice"
        assert mended.json()["usage"]["prompt_tokens"] == 3
        assert vectors(await embed(world, ["a", "b"], model="two")) == first, "the better target's are kept"
        rows = await world.rows(4)
        assert [row.target for row in rows][:2] == ["fake/first", "other/second"]
        assert (rows[1].input, len(rows[1].attempts), rows[1].stored) == (4, 3, False)


async def test_vectors_stored_from_two_targets_are_not_mixed() -> None:
    async with inside(TWO + "store_fallback = true\nfallback_ttl = 500.0\n") as world:
        await embed(world, "a", model="two")
        world.fake._base = fake_script.read("500")
        await embed(world, "b", model="two")
        assert (await embed(world, ["a", "b"], "only-if-cached", model="two")).status == 504
        alone = await embed(world, "b", "only-if-cached", model="two")
        assert alone.headers["ostinato-target"] == "other/second"
        # While the first target is away, all come from the other; then all from the first, and that is remembered.
        away = await embed(world, ["a", "b"], model="two")
        assert (away.headers["ostinato-target"], known(away)) == ("other/second", 0)
        world.fake._base = fake_script.read("")
        back = await embed(world, ["a", "b"], model="two")
        assert (back.headers["ostinato-target"], known(back)) == ("fake/first", 0)
        assert vectors(back) == vectors(await embed(world, ["a", "b"], "no-store", model="two"))
        assert known(await embed(world, ["a", "b"], model="two")) == 2
        assert [row.stored for row in (await world.rows(8))[:6]] == [True, True, False, False, False, True]


async def test_who_joins_calls_of_two_targets_gets_vectors_of_one() -> None:
    async with inside(TWO) as world:
        world.fake._base = fake_script.read("latency=5s")
        slow = asyncio.create_task(embed(world, "a", model="two"))
        await until(lambda: world.fake.calls == 1)
        world.fake._base = fake_script.read("500")
        joined = asyncio.create_task(embed(world, ["a", "b"], model="two"))
        await until(lambda: world.provider("other").calls == 1)
        world.clock.advance(6)
        assert (await slow).headers["ostinato-target"] == "fake/first"
        expected = vectors(await embed(world, ["a", "b"], "no-store", model="two"))
        assert vectors(await joined) == expected
        assert (await joined).headers["ostinato-target"] == "other/second"


async def test_a_failure_leaves_one_row_and_costs_nothing() -> None:
    unpriced = '[models.unpriced]\ntargets = ["fake/unpriced"]\nkind = "embedding"\n'
    async with inside(unpriced) as world:
        key = await world.new_key(budget=FOREVER)
        world.fake._base = fake_script.read("400")
        refused = await embed(world, ["a"], key=key)
        assert refused.status == 400
        world.fake._base = fake_script.read("garbage")
        assert (await embed(world, ["a"], key=key)).status == 502
        assert (await embed(world, ["a"], key=key, model="unpriced")).json()["error"]["code"] == "price_unknown"
        rows = await world.rows(3)
        await settle()
        assert len(await world.rows(3)) == 3
        assert [(row.status, row.target, row.cost) for row in rows] == [
            (400, "fake/vectors", None), (502, "fake/vectors", None), (403, "", None)
        ]  # fmt: skip
        assert await spent(world, key) == 0


async def test_a_request_is_recognizable_and_tells_its_rate() -> None:
    async with inside() as world:
        key = await world.new_key(rate=access.RateLimit(10))
        for body in ({"model": "vectors", "input": "a"}, {"model": "vectors", "input": ["a", "b"]}):
            got = await world.ask(EMBEDDINGS, body, {"traceparent": TRACE, "x-request-id": "mine"}, key)
            assert (got.headers["traceparent"], got.headers["x-request-id"]) == (TRACE, "mine")
            assert got.headers["x-ratelimit-limit-requests"] == "10"
        assert got.headers["x-ratelimit-remaining-requests"] == "8"


async def test_too_many_inputs_are_refused() -> None:
    async with inside() as world:
        refused = await embed(world, ["a"] * 2049)
        assert (refused.status, refused.json()["error"]["param"]) == (400, "input")
        assert known(await embed(world, ["a"] * 2048)) == 2047
        assert world.fake.calls == 1


# --- callers who leave, against a real server -------------------------------------------------------------------------

SERVED = """
[providers.served]
kind = "openai-compatible"
base_url = "{url}"
[models.slow]
targets = [{{provider = "served", model = "slow", max_concurrency = 1}}]
kind = "embedding"
[models.spare]
targets = [{{provider = "fake", model = "fake-500", retries = 0}}, "served/slow"]
kind = "embedding"
[prices."served/slow"]
input = 2.0
output = 0.0
[prices."fake/fake-500"]
input = 9.0
output = 0.0
"""


@contextlib.asynccontextmanager
async def served(spec: str) -> AsyncIterator[tuple[World, FakeServer]]:
    fake = FakeServer(spec)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(fake, log_level="critical", access_log=False, lifespan="off"))  # type: ignore[arg-type]
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with inside(
            SERVED.format(url=f"http://127.0.0.1:{listener.getsockname()[1]}/v1"), SystemClock()
        ) as world:
            yield world, fake
    finally:
        server.should_exit = server.force_exit = True
        await task


async def arrived(fake: FakeServer, calls: int) -> None:
    for _ in range(500):
        if fake.gate.calls >= calls:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{fake.gate.calls} calls, not {calls}")


async def leave(task: "asyncio.Task[Got]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def spent(world: World, key: str) -> int:
    found = next(one for one in await world.app.access.list_keys(SYSTEM) if key.startswith(one.prefix))
    await world.app.access.budgets.tidy()
    return (await world.app.access.key_budget(SYSTEM, found.id)).spent


@pytest.mark.parametrize("model", ["slow", "spare"])
async def test_who_leaves_pays_for_the_inputs_that_were_sent(model: str) -> None:
    async with served("hang") as (world, fake):
        key = await world.new_key(budget=FOREVER)
        task = asyncio.create_task(embed(world, ["x" * 299, [1, 2, 3]], key=key, model=model))
        await arrived(fake, 1)
        await leave(task)
        (row,) = await world.rows(1)
        assert (row.status, row.error, row.reason, row.target) == (499, "caller_left", "caller-left", "served/slow")
        assert (row.input, row.cost) == (103, 206_000)
        assert await spent(world, key) == 206_000
        assert len(await world.rows(1)) == 1


async def test_who_leaves_before_anything_was_sent_pays_nothing() -> None:
    async with served("hang") as (world, fake):
        first, second = await world.new_key(budget=FOREVER), await world.new_key(budget=FOREVER)
        held = asyncio.create_task(embed(world, "a", key=first, model="slow"))
        await arrived(fake, 1)
        waits = asyncio.create_task(embed(world, "b", key=second, model="slow"))
        await asyncio.sleep(0.05)
        await leave(waits)
        (row,) = await world.rows(1)
        assert (row.status, row.cost, row.attempts) == (499, None, ())
        assert await spent(world, second) == 0
        await leave(held)
        assert [one.status for one in await world.rows(2)] == [499, 499]


async def test_who_joined_a_call_whose_payer_left_makes_it_and_pays() -> None:
    async with served("latency=300ms") as (world, fake):
        first, second = await world.new_key(budget=FOREVER), await world.new_key(budget=FOREVER)
        payer = asyncio.create_task(embed(world, "a", key=first, model="slow"))
        await arrived(fake, 1)
        follower = asyncio.create_task(embed(world, "a", key=second, model="slow"))
        await asyncio.sleep(0.02)
        await leave(payer)
        assert (await follower).status == 200
        rows = {row.status: row for row in await world.rows(2)}
        assert (rows[499].cost, rows[200].cost) == (2_000, 2_000)
        assert [await spent(world, first), await spent(world, second)] == [2_000, 2_000]
