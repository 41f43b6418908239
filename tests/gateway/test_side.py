"""Token counts and the list of models: the same rules as for messages, one row each."""

import asyncio
from typing import Any

import pytest
from inside import COUNT, MESSAGES, Got, World, inside, question, settle

from ostinato import access
from ostinato.providers import fake_script

MODELS = "/v1/models"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CHECKED = """
[models.open]
targets = ["fake/open"]
[checks.rules.secret]
kind = "banned"
terms = ["xylophone"]
action = "block"
[checks.rules.mail]
kind = "pii"
action = "redact"
[policies.plain]
alias = "plain"
checks = ["secret", "mail"]
"""


async def count(world: World, text: str, key: str | None = None, **fields: Any) -> Got:
    world.clock.advance(0.001)  # rows are listed by their time
    return await world.ask(COUNT, question(text, **fields), {}, key)


async def test_a_key_counts_only_for_the_models_that_it_may() -> None:
    async with inside(CHECKED) as world:
        limited = await world.new_key(allowed_models=frozenset({"open"}))
        refused = await count(world, "a", limited)
        assert (refused.status, world.fake.calls) == (403, 0)
        assert (await count(world, "a", limited, model="open")).status == 200
        rows = await world.rows(2)
        assert [(row.status, row.error) for row in rows] == [(403, "model_not_allowed"), (200, "")]


async def test_what_is_blocked_in_a_message_is_blocked_in_a_count() -> None:
    async with inside(CHECKED) as world:
        message = await world.ask(MESSAGES, question("my xylophone", max_tokens=9))
        refused = await count(world, "my xylophone")
        assert (refused.status, refused.json()["error"]["type"]) == (message.status, message.json()["error"]["type"])
        assert refused.status == 400
        assert world.fake.calls == 0
        assert len({row.error for row in await world.rows(2)}) == 1


async def test_a_count_sends_the_redacted_text(monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside(CHECKED) as world:
        sent: list[Any] = []
        original = world.fake.count_tokens

        async def spy(call: Any) -> int:
            sent.append(call.request)
            return await original(call)

        monkeypatch.setattr(world.fake, "count_tokens", spy)
        assert (await count(world, "write to ann.miller@example.com")).status == 200
        assert len(sent) == 1
        assert "ann.miller" not in repr(sent)


async def test_a_refusal_is_told_and_a_failure_is_estimated() -> None:
    once = '[models.once]\ntargets = [{provider = "fake", model = "once", retries = 0}]\n'
    async with inside(once) as world:
        world.fake._base = fake_script.read("400")
        refused = await count(world, "a question", model="once")
        assert (refused.status, "ostinato-estimated" in refused.headers) == (400, False)
        for failure in ("500", "401", "429"):
            world.fake._base = fake_script.read(failure)
            estimated = await count(world, "a question", model="once")
            assert (estimated.status, estimated.headers["ostinato-estimated"]) == (200, "true")
            assert estimated.json()["input_tokens"] > 0
        rows = await world.rows(4)
        assert [row.status for row in rows] == [400, 200, 200, 200]
        assert all(row.attempts for row in rows)


async def test_a_count_takes_one_of_the_keys_places() -> None:
    async with inside("[access]\nrequests_per_minute = 1000000\nconcurrent_requests = 1\n", base=PROVIDERS) as world:
        world.fake._base = fake_script.read("latency=5s")
        held = asyncio.create_task(count(world, "a"))
        await settle()
        refused = await count(world, "b")
        assert (refused.status, world.fake.calls) == (429, 1)
        held.cancel()
        with pytest.raises(asyncio.CancelledError):
            await held
        world.fake._base = fake_script.read("")
        assert (await count(world, "b")).status == 200, "the place was given back"
        assert [row.status for row in await world.rows(3)] == [499, 429, 200], "by arrival"


async def test_models_and_counts_are_recognizable_tell_the_rate_and_leave_a_row() -> None:
    async with inside() as world:
        key = await world.new_key(rate=access.RateLimit(10), allowed_models=frozenset({"plain"}))
        for path, body in ((MODELS, None), (COUNT, question("a"))):
            world.clock.advance(0.001)
            got = await world.ask(path, body, {"traceparent": TRACE, "x-request-id": "mine"}, key)
            assert (got.status, got.headers["traceparent"], got.headers["x-request-id"]) == (200, TRACE, "mine")
            assert got.headers["x-ratelimit-limit-requests"] == "10"
        world.clock.advance(0.001)
        listed = await world.ask(MODELS, None, {}, key)
        assert [model["id"] for model in listed.json()["data"]] == ["plain"]
        rows = await world.rows(3)
        assert [(row.wire, row.reason, row.cache) for row in rows] == [
            ("models", "models", "bypass"),
            ("anthropic.count_tokens", "count-tokens", "bypass"),
            ("models", "models", "bypass"),
        ]


PROVIDERS = """
[providers.fake]
kind = "fake"
[models.plain]
targets = ["fake/plain"]
"""
