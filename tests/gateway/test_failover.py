"""Targets that fail: who answers instead, when it is too late for that, what is kept, and what is written down."""

import asyncio
import collections
import json
from typing import Any

import pytest
from inside import CHAT, MESSAGES, RESPONSES, inside, pass_time, question, settle

WIRES = [(CHAT, {}), (MESSAGES, {"max_tokens": 9}), (RESPONSES, {})]
BEFORE = ["500", "503", "429", "401", "403", "html", "half", "empty", "garbage", "reset=0", "cut=0"]


PATIENT = "[routing]\nbreaker_row = 1000\nbreaker_volume = 1000\n"
"""Breakers that stay closed."""


def two(first: str) -> str:
    targets = f'[{{ provider = "fake", model = "fake-{first}", retries = 0 }}, "other/plain"]'
    return f"[models.two]\ntargets = {targets}\n"


def asked(path: str, fields: Any, text: str = "who answers?", **more: Any) -> Any:
    body = {"model": "two", "input": text} if path == RESPONSES else question(text, model="two")
    return {**body, **fields, **more}


@pytest.mark.parametrize("how", BEFORE)
@pytest.mark.parametrize("stream", [False, True])
async def test_another_target_takes_over_before_the_first_word(how: str, stream: bool) -> None:
    async with inside(two(how)) as world:
        for path, fields in WIRES:
            got = await world.patiently(path, asked(path, fields, stream=stream))
            assert (got.status, got.headers["ostinato-target"]) == (200, "other/plain")
            assert len(got.text.split()) == 12
            # What a fallback says is not kept: the first target may say something else tomorrow.
            again = await world.patiently(path, asked(path, fields, stream=stream))
            assert again.cache == "miss"
        row = max(await world.rows(6), key=lambda row: len(tried(row)))
        assert (row.target, row.reason, row.stored) == ("other/plain", "fallback", False)
        assert [attempt[0] for attempt in tried(row)] == [f"fake/fake-{how}", "other/plain"]


def tried(row: Any) -> list[tuple[str, str]]:
    attempts = json.loads(row.attempts) if isinstance(row.attempts, str) else row.attempts
    return [(a["target"], a["outcome"]) if isinstance(a, dict) else (a.target, a.outcome) for a in attempts]


async def test_a_fallback_is_kept_where_the_policy_says_so_for_its_own_time() -> None:
    policy = "[policies.p]\nstore_fallback = true\nfallback_ttl = 60.0\nttl_jitter = 0.0\n"
    async with inside(two("500") + policy) as world:
        assert (await world.patiently(CHAT, asked(CHAT, {}))).cache == "miss"
        got = await world.ask(CHAT, asked(CHAT, {}))
        assert (got.cache, got.headers["ostinato-target"]) == ("hit-exact", "other/plain")
        world.clock.advance(61)
        assert (await world.patiently(CHAT, asked(CHAT, {}))).cache == "miss"


@pytest.mark.parametrize("how", ["cut=3", "reset=3", "error200", "half"])
async def test_after_the_first_word_nobody_takes_over(how: str) -> None:
    """One commit point: what has begun ends, well or as an error event; nothing partial is kept."""
    async with inside(two(how) + PATIENT) as world:
        for path, fields in WIRES:
            for _ in range(2):
                got = await world.patiently(path, asked(path, fields, stream=True))
                if how == "half" and got.headers.get("ostinato-target") == "other/plain":
                    continue  # broken before its first word
                assert (got.status, got.cache) == (200, "miss")
                assert got.text
                last = [part for part in got.body.decode().split("\n\n") if part][-1]
                assert "error" in last
                assert all(word not in got.body.decode() for word in ("[DONE]", "message_stop", "response.completed"))
            assert (
                await world.ask(path, asked(path, fields, stream=True), {"cache-control": "only-if-cached"})
            ).status == 504
        if how != "half":
            assert world.provider("other").calls == 0
            row = (await world.rows(1))[0]
            assert row.error
            assert not row.stored
            assert row.status >= 500


async def test_the_breaker_opens_and_closes_again() -> None:
    async with inside(two("flaky=1")) as world:
        states: list[str] = []

        def state() -> str:
            targets = world.app.catalog.value.targets()
            return next(s.breaker for s in world.app.router.states(targets) if s.target == "fake/fake-flaky=1")

        for number in range(60):
            world.clock.advance(0.05)
            got = await world.patiently(CHAT, asked(CHAT, {}, f"breaker {number}"))
            assert got.status == 200, "nobody notices"
            states.append(state())
        assert "open" in states
        before = world.fake.calls
        for number in range(20):
            await world.patiently(CHAT, asked(CHAT, {}, f"open {number}"))
        assert world.fake.calls - before <= 3, "it is left alone"
        page = world.app.metrics_page().decode()
        assert "target_state" in page
        assert "fake/fake-flaky=1" in page
        assert world.app.health().ready


async def test_all_targets_down() -> None:
    targets = [f'{{ provider = "{provider}", model = "fake-500", retries = 0 }}' for provider in ("fake", "other")]
    async with inside(f"[models.two]\ntargets = [{', '.join(targets)}]\n") as world:
        seen: list[int] = []
        for number in range(20):
            got = await world.patiently(CHAT, asked(CHAT, {}, f"down {number}"))
            seen.append(got.status)
            assert got.headers.get("x-should-retry") == "false" or got.status == 503
        assert seen[0] == 502
        assert seen[-1] == 503, "the breakers are open"
        assert int(got.headers["retry-after"]) >= 1
        assert got.json()["error"]["code"] == "targets_unavailable"


async def test_the_callers_deadline_bounds_everything() -> None:
    first = '{ provider = "fake", model = "fake-latency=8s", timeout = 5 }'
    slow = f'[models.two]\ntargets = [{first}, "other/fake-latency=8s"]\n'
    async with inside(slow + "[gateway]\ndeadline_seconds = 9.0\n") as world:
        for stream in (False, True):
            begun = world.clock.monotonic()
            got = await world.patiently(CHAT, asked(CHAT, {}, stream=stream))
            assert got.status == 504
            assert world.clock.monotonic() - begun <= 9.5


async def test_a_silent_stream_is_kept_alive_and_cut_at_last() -> None:
    silent = '[models.two]\ntargets = [{ provider = "fake", model = "fake-hang=2", timeout = 45 }]\n'
    async with inside(silent) as world:
        for path, fields in WIRES:
            got = await world.patiently(path, asked(path, fields, stream=True), step=1.0)
            assert got.status == 200
            assert got.body.count(b": ") + got.body.count(b"event: ping") >= 3, "keep-alives"
            assert b"error" in got.body.split(b"\n\n")[-2]


@pytest.mark.parametrize("share", [0.2])
async def test_weights_are_kept_and_conversations_stick(share: float) -> None:
    weighted = (
        '[models.two]\nstrategy = "weighted"\ntargets = ['
        f'{{ provider = "fake", model = "plain", weight = {share} }}, '
        f'{{ provider = "other", model = "plain", weight = {1 - share} }}]\n'
    )
    async with inside(weighted) as world:
        drawn = collections.Counter()
        for number in range(400):
            drawn[(await world.ask(CHAT, asked(CHAT, {}, f"weight {number}"))).headers["ostinato-target"]] += 1
        assert 0.12 < drawn["fake/plain"] / 400 < 0.28
        for session in range(20):
            targets = {
                (await world.ask(CHAT, asked(CHAT, {}, f"turn {turn}"), {"ostinato-session": f"s{session}"})).headers[
                    "ostinato-target"
                ]
                for turn in range(6)
            }
            assert len(targets) == 1, "no conversation changes its model"
        assert (await world.ask(CHAT, asked(CHAT, {}, "weight 1"))).cache == "hit-exact"


async def test_places_are_given_back_however_it_ends() -> None:
    models = '[models.two]\ntargets = [{ provider = "fake", model = "fake-gap=1s", max_concurrency = 2 }]\n'
    async with inside(models) as world:
        key = await world.new_key()

        async def opened(number: int) -> Any:
            task = asyncio.create_task(world.begin(CHAT, asked(CHAT, {}, f"place {number}", stream=True), key=key))
            await settle()
            world.clock.advance(0.01)
            await settle()
            return task

        first, second = await opened(1), await opened(2)
        third = await opened(3)
        assert world.in_flight(key) == 3
        assert not third.done(), "it waits for a place"
        await (await first).leave()
        await pass_time(world, [third])
        assert third.result().status == 200
        await (await second).leave()
        await third.result().leave()
        await settle()
        assert world.in_flight(key) == 0
        targets = world.app.catalog.value.targets()
        assert all(state.in_flight == state.waiting == 0 for state in world.app.router.states(targets))
        rows = await world.rows(3)
        assert {row.error for row in rows} == {"caller_left"}
        assert not any(row.stored for row in rows)


async def test_unknown_headers_and_fields_reach_a_provider_of_the_same_wire(monkeypatch: pytest.MonkeyPatch) -> None:
    async with inside() as world:
        seen: list[Any] = []
        real = world.fake.chat

        async def chat(call: Any) -> Any:
            seen.append(call)
            return await real(call)

        monkeypatch.setattr(world.fake, "chat", chat)
        headers = {"anthropic-beta": "b1", "ostinato-user": "ann", "ostinato-tags": "a", "x-api-key": "ost_x"}
        await world.chat("headers", headers)
        assert dict(seen[0].headers) == {"anthropic-beta": "b1"}
        assert (await world.chat("headers", {**headers, "anthropic-beta": "b2"})).cache == "miss"


async def test_a_failing_ledger_and_a_failing_cache_never_fail_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing cache is a miss, a failing trace is a counter."""
    async with inside() as world:
        await world.chat("sturdy")

        def broken(*_: Any) -> Any:
            raise sqlite_error()

        monkeypatch.setattr(world.app.store, "get", broken)
        monkeypatch.setattr(world.app.store, "put_many", broken)
        for number in range(3):
            assert (await world.chat(f"sturdy {number}")).status == 200
        assert (await world.chat("sturdy")).cache == "hit-exact"


def sqlite_error() -> Exception:
    from ostinato.core.errors import Unavailable

    return Unavailable("The disk has gone.")
