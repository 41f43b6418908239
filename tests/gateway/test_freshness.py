"""Cache-control in HTTP's words and meaning, capped by the policy; stale answers where the policy allows them."""

from typing import Any

import pytest
from inside import CHAT, EMBEDDINGS, MESSAGES, World, inside, question, settle

TTL = "[policies.p]\nttl = 100.0\nttl_jitter = 0.0\n"
ALL = [
    (CHAT, {}),
    (CHAT, {"stream": True}),
    (MESSAGES, {"max_tokens": 9}),
    (MESSAGES, {"max_tokens": 9, "stream": True}),
]


def cc(value: str) -> dict[str, str]:
    return {"cache-control": value}


@pytest.mark.parametrize(("path", "fields"), ALL)
async def test_only_if_cached(path: str, fields: Any) -> None:
    async with inside(TTL) as world:
        body = question("fresh", **fields)
        got = await world.ask(path, body, cc("only-if-cached"))
        assert got.status == 504
        error = got.json()["error"]
        assert "cache" in error["message"]
        assert got.headers["content-type"] == "application/json", "an error is no stream"
        assert world.fake.calls == 0
        await world.ask(path, body)
        got = await world.ask(path, body, cc("only-if-cached"))
        assert (got.status, got.cache) == (200, "hit-exact")
        world.clock.advance(101)
        assert (await world.ask(path, body, cc("only-if-cached"))).status == 504


async def test_no_cache_asks_anew_and_keeps_the_answer() -> None:
    async with inside(TTL) as world:
        await world.chat("anew")
        world.clock.advance(60)
        got = await world.chat("anew", cc("no-cache"))
        assert got.cache == "miss"
        assert world.fake.calls == 2
        world.clock.advance(60)
        again = await world.chat("anew")
        assert (again.cache, again.headers["age"]) == ("hit-exact", "60")
        assert world.fake.calls == 2


async def test_no_store_keeps_and_reads_nothing() -> None:
    async with inside(TTL) as world:
        for _ in range(2):
            got = await world.chat("secret", cc("no-store"))
            assert (got.cache, got.reason) == ("bypass", "no-store")
        assert (await world.chat("secret", cc("only-if-cached"))).status == 504
        await world.chat("secret")
        assert (await world.chat("secret", cc("no-store"))).cache == "bypass"
        assert (await world.chat("secret")).cache == "hit-exact", "what was there stays"


async def test_max_age() -> None:
    async with inside(TTL) as world:
        await world.chat("old")
        world.clock.advance(30)
        assert (await world.chat("old", cc("max-age=30"))).cache == "hit-exact"
        assert (await world.chat("old", cc("max-age=29"))).cache == "miss"
        assert (await world.chat("old", cc("max-age=29"))).cache == "hit-exact", "the new answer took its place"
        assert (await world.chat("old", cc("max-age=0"))).cache == "hit-exact", "it is no second old"
        world.clock.advance(1)
        assert (await world.chat("old", cc("max-age=0"))).cache == "miss"
        world.clock.advance(101)
        assert (await world.chat("old", cc("max-age=9999"))).cache == "miss", "it can only shorten"
        assert (await world.chat("old", cc("max-age=5, only-if-cached"))).cache == "hit-exact"
        world.clock.advance(6)
        assert (await world.chat("old", cc("max-age=5, only-if-cached"))).status == 504


async def test_the_policy_decides_which_words_are_heard() -> None:
    async with inside('[policies.p]\nallow_directives = ["max-age"]\nttl_jitter = 0.0\n') as world:
        await world.chat("capped")
        for word in ("no-cache", "no-store", "only-if-cached"):
            assert (await world.chat("capped", cc(word))).cache == "hit-exact"
        assert (await world.chat("other", cc("only-if-cached"))).status == 200
        world.clock.advance(10)
        assert (await world.chat("capped", cc("max-age=5"))).cache == "miss"


async def test_what_expires_is_asked_again() -> None:
    async with inside(TTL) as world:
        await world.chat("expires")
        world.clock.advance(99.9)
        assert (await world.chat("expires")).cache == "hit-exact"
        world.clock.advance(0.2)
        assert (await world.chat("expires")).cache == "miss"
        assert world.fake.calls == 2


@pytest.mark.parametrize(("path", "fields"), ALL)
async def test_stale_while_revalidate(path: str, fields: Any) -> None:
    async with inside(TTL + "stale_while_revalidate = 50.0\n") as world:
        body = question("revalidated", **fields)
        first = await world.ask(path, body)
        world.clock.advance(120)
        stale = await world.ask(path, body)
        assert (stale.status, stale.cache, stale.headers["age"]) == (200, "stale", "120")
        assert stale.text == first.text
        await settle()
        assert world.fake.calls == 2, "a new one was fetched meanwhile"
        fresh = await world.ask(path, body)
        assert (fresh.cache, fresh.headers["age"]) == ("hit-exact", "0")
        assert world.fake.calls == 2
        world.clock.advance(151)
        assert (await world.ask(path, body)).cache == "miss", "too old even for that"
        rows = await world.rows(5)
        assert [row.cache for row in rows].count("stale") == 1


async def test_many_stale_answers_fetch_one_new() -> None:
    async with inside(TTL + "stale_while_revalidate = 50.0\n") as world:
        await world.chat("many")
        world.clock.advance(120)
        assert {(await world.begin(CHAT, question("many"))).headers["ostinato-cache"] for _ in range(20)} <= {
            "stale",
            "hit-exact",
        }
        await settle()
        assert world.fake.calls == 2


async def test_who_asks_for_fresh_gets_nothing_stale() -> None:
    async with inside(TTL + "stale_while_revalidate = 50.0\nstale_if_error = 50.0\n") as world:
        for word in ("no-cache", "max-age=500"):
            await world.chat(word)
            world.clock.advance(120)
            assert (await world.chat(word, cc(word))).cache == "miss"
        await world.chat("cached only")
        world.clock.advance(120)
        assert (await world.chat("cached only", cc("only-if-cached"))).cache == "stale"


@pytest.mark.parametrize("failure", ["500", "429", "401", "html", "reset=0"])
@pytest.mark.parametrize("stream", [False, True])
async def test_stale_if_error(failure: str, stream: bool) -> None:
    async with inside(TTL + "stale_if_error = 50.0\n") as world:
        body = question("in need", stream=stream)
        first = await world.ask(CHAT, body)
        fails(world, failure)
        world.clock.advance(120)
        old = await world.patiently(CHAT, body)
        assert (old.status, old.cache) == (200, "stale")
        assert 120 <= int(old.headers["age"]) < 125
        assert old.text == first.text
        world.clock.advance(31)
        assert (await world.patiently(CHAT, body)).status >= 429, "too old even for that"


async def test_the_callers_own_mistake_is_no_reason_for_a_stale_answer() -> None:
    async with inside(TTL + "stale_if_error = 50.0\n") as world:
        await world.chat("my fault")
        fails(world, "400")
        world.clock.advance(120)
        assert (await world.chat("my fault")).status == 400


def fails(world: World, how: str) -> None:
    """Let the provider fail from now on, whatever it is asked."""
    from ostinato.providers import fake_script

    world.fake._base = fake_script.read(how)


async def test_weights_jitter_and_temperature() -> None:
    async with inside("[policies.p]\nttl = 100.0\nttl_jitter = 0.5\ntemperature_limit = 0.5\n") as world:
        for number in range(30):
            await world.chat(f"jitter {number}")
        world.clock.advance(75)
        kept = sum([(await world.chat(f"jitter {n}", cc("only-if-cached"))).status == 200 for n in range(30)])
        assert 3 < kept < 27, "entries made together do not expire together"
        got = await world.chat("hot", temperature=0.6)
        assert (got.cache, got.reason) == ("bypass", "temperature")
        assert (await world.chat("hot", temperature=0.5)).cache == "miss"


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("fake-length", "truncated"), ("fake-refusal", "refusal"), ("fake-filtered", "content-filter"),
        ("fake-silent", "empty"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_not_kept(model: str, reason: str, stream: bool) -> None:
    async with inside(f'[models.odd]\ntargets = ["fake/{model}"]\n') as world:
        for _ in range(2):
            assert (await world.chat("odd", model="odd", stream=stream)).cache == "miss"
        assert {(row.cache, row.reason, row.stored) for row in await world.rows(2)} == {("miss", reason, False)}


async def test_a_batch_of_ten_with_seven_known_costs_three() -> None:
    async with inside() as world:
        texts = [f"text {number}" for number in range(10)]
        first = await world.ask(EMBEDDINGS, {"model": "vectors", "input": texts[:7]})
        got = await world.ask(EMBEDDINGS, {"model": "vectors", "input": texts})
        assert got.headers["ostinato-cached-inputs"] == "7"
        assert [item["embedding"] for item in got.json()["data"][:7]] == [
            item["embedding"] for item in first.json()["data"]
        ]
        assert float(got.headers["ostinato-cost"]) == pytest.approx(float(first.headers["ostinato-cost"]) * 3 / 7)
        again = await world.ask(EMBEDDINGS, {"model": "vectors", "input": texts, "encoding_format": "base64"})
        assert (again.cache, again.headers["ostinato-cost"]) == ("hit-exact", "0")
        assert world.fake.calls == 2
