"""What callers get while an intent is tripped, in every wire; and that nothing kept comes in its place."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import CHAT, EMBEDDINGS, MESSAGES, RESPONSES, SYSTEM, World, inside, question

TEXT = "A colleague will answer."
TOML = f"""
[models.strict]
targets = ["other/strict"]
[models.broken]
targets = ["fake/fake-500"]
[intents.soft]
safety = {{ on_trip = "fail-safe", text = "{TEXT}", cool_down_seconds = 60, trial_share = 0.5 }}
[intents.kept]
safety = {{ on_trip = "fail-safe", text = "{TEXT}", serve_cache = true }}
[intents.moved]
safety = {{ on_trip = "target", alias = "strict" }}
[intents.hard]
[intents.cool]
[intents.held]
[intents.ill]
safety = {{ on_trip = "target", alias = "broken", text = "Nobody is well." }}
[intents.gone]
safety = {{ on_trip = "target", alias = "nowhere", text = "Nobody is there." }}
"""
MESSAGE = {"model": "plain", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
RESPONSE = {"model": "plain", "input": "hello"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with inside(TOML) as world:
        yield world


async def trip(world: World, intent: str, **more: Any) -> Any:
    home = await world.first_project()
    return await world.app.governing.breakers.trip(SYSTEM, home, intent, **{"code": "by-hand", "held": True, **more})


def of(intent: str) -> dict[str, str]:
    return {"ostinato-intent": intent}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "body"), [(CHAT, question("hello")), (MESSAGES, MESSAGE), (RESPONSES, RESPONSE)])
async def test_the_safe_text_comes_in_every_wire(world: World, path: str, body: Any, stream: bool) -> None:
    await trip(world, "soft")
    got = await world.ask(path, {**body, "stream": stream}, of("soft"))
    assert got.status == 200 and got.text == TEXT
    assert got.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
    since = world.clock.now() // 1_000_000
    assert got.headers["ostinato-breaker"] == f"tripped; intent=soft; since={since}; reason=by-hand"
    assert got.headers["ostinato-cache"] == "bypass; reason=tripped"
    assert world.fake.calls == 0
    (row,) = await world.rows(1)
    assert (row.reason, row.cache, row.status, row.intent, row.cost) == ("tripped", "bypass", 200, "soft", None)


async def test_nothing_kept_is_served_while_tripped_and_all_of_it_afterwards(world: World) -> None:
    first = await world.chat("hello", of("soft"))
    again = await world.chat("hello", of("soft"))
    assert (first.cache, again.cache) == ("miss", "hit-exact")
    raw = await world.chat("hello", of("soft"))
    assert "ostinato-breaker" not in raw.headers and raw.cache == "hit-exact"
    tripped = await trip(world, "soft")
    for _ in range(3):
        got = await world.chat("hello", of("soft"))
        assert got.text == TEXT and got.headers["ostinato-breaker"].startswith("tripped;")
    await world.app.governing.breakers.close(SYSTEM, tripped.id, "it was looked into")
    back = await world.chat("hello", of("soft"))
    assert back.cache == "hit-exact" and back.text == first.text and "ostinato-breaker" not in back.headers
    assert world.fake.calls == 1


async def test_what_is_kept_is_served_where_the_intent_says_so(world: World) -> None:
    first = await world.chat("hello", of("kept"))
    await trip(world, "kept")
    for _ in range(2):
        got = await world.chat("hello", of("kept"))
        assert got.cache == "hit-exact" and got.text == first.text
        assert got.headers["ostinato-breaker"].startswith("tripped; intent=kept")
    fresh = await world.chat("something new", of("kept"))
    assert fresh.text == TEXT and world.fake.calls == 1


async def test_the_stricter_model_answers_and_its_answers_are_not_kept(world: World) -> None:
    kept = await world.chat("hello", of("moved"))
    assert kept.cache == "miss"
    await trip(world, "moved")
    for _ in range(2):
        got = await world.chat("hello", of("moved"))
        assert got.status == 200 and got.headers["ostinato-target"] == "other/strict"
        assert got.headers["ostinato-cache"] == "bypass; reason=tripped"
        assert got.headers["ostinato-breaker"].startswith("tripped; intent=moved")
    streamed = await world.chat("hello", of("moved"), stream=True)
    assert streamed.headers["ostinato-target"] == "other/strict" and streamed.headers["ostinato-breaker"]
    assert world.provider("other").calls == 3 and world.fake.calls == 1


async def test_a_key_that_may_use_one_model_is_answered_by_the_stricter_one_too(world: World) -> None:
    key = await world.new_key(allowed_models=frozenset({"plain"}))
    await trip(world, "moved")
    got = await world.chat("hello", of("moved"), key=key)
    assert got.status == 200 and got.headers["ostinato-target"] == "other/strict"


async def test_a_stricter_model_that_is_not_there_leaves_the_text(world: World) -> None:
    await trip(world, "gone")
    assert (await world.chat("hello", of("gone"))).text == "Nobody is there."


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stricter_model_that_fails_leaves_the_text(world: World, stream: bool) -> None:
    await trip(world, "ill")
    got = await world.patiently(CHAT, question("hello", stream=stream), of("ill"))
    assert (got.status, got.text) == (200, "Nobody is well.")
    assert got.headers["ostinato-breaker"].startswith("tripped; intent=ill")


async def test_vectors_stop_too_and_only_kept_ones_are_given_where_the_intent_says_so(world: World) -> None:
    async def embed(intent: str, *inputs: str, control: str = "") -> Any:
        headers = {**of(intent), **({"cache-control": control} if control else {})}
        return await world.ask(EMBEDDINGS, {"model": "vectors", "input": list(inputs)}, headers)

    for intent in ("hard", "soft", "kept", "moved"):
        assert (await embed(intent, "known")).status == 200
    asked = world.fake.calls
    for intent in ("hard", "soft", "kept", "moved"):
        await trip(world, intent)
    for intent in ("hard", "soft", "moved"):
        for control in ("", "no-store", "only-if-cached"):
            got = await embed(intent, "known", control=control)
            assert (got.status, got.json()["error"]["code"]) == (503, "intent_tripped"), (intent, control)
            assert got.headers["ostinato-breaker"].startswith(f"tripped; intent={intent}")
    kept = await embed("kept", "known")
    assert kept.status == 200 and kept.cache == "hit-exact"
    assert kept.headers["ostinato-breaker"].startswith("tripped; intent=kept")
    for inputs, control in ((("known", "new"), ""), (("known",), "no-cache"), (("known",), "no-store")):
        assert (await embed("kept", *inputs, control=control)).status == 503
    assert world.fake.calls == asked


async def test_an_intent_that_declares_nothing_refuses_and_says_so(world: World) -> None:
    await trip(world, "hard")
    got = await world.chat("hello", of("hard"))
    assert got.status == 503 and got.json()["error"]["code"] == "intent_tripped"
    assert got.headers["ostinato-breaker"].startswith("tripped; intent=hard")
    assert "retry-after" in got.headers and world.fake.calls == 0


async def test_callers_are_told_to_come_back_when_something_may_have_changed(world: World) -> None:
    """A used-up budget of a day stays so until the day is over; what a person holds open is not asked every second."""

    async def after(intent: str) -> int:
        return int((await world.chat("hello", of(intent))).headers["retry-after"])

    await trip(world, "hard", held=False, cause="budget", code="over-budget")
    midnight = 86_400 - world.clock.now() // 1_000_000 % 86_400
    assert midnight - 2 <= await after("hard") <= midnight + 1
    await trip(world, "cool", held=False)
    assert 599 <= await after("cool") <= 601
    world.clock.advance(599)
    assert await after("cool") <= 2
    await trip(world, "held")
    world.clock.advance(601)
    assert await after("held") == 60


async def test_other_intents_and_other_projects_go_on(world: World) -> None:
    other = await world.new_project("elsewhere")
    key = await world.new_key(other)
    await trip(world, "soft")
    assert (await world.chat("hello", of("hard"))).headers.get("ostinato-breaker") is None
    assert (await world.chat("hello", of("soft"), key=key)).text != TEXT
    assert (await world.chat("hello")).text != TEXT


async def test_trials_go_to_the_model_and_prove_it_well(world: World) -> None:
    """Whatever is in the cache: a trial that is answered from it would show nothing."""
    await world.chat("hello", of("soft"))
    await trip(world, "soft", held=False)
    watcher = world.app.governing.trials
    await watcher.look()
    assert (await world.chat("hello", of("soft"))).text == TEXT
    world.clock.advance(61)
    await watcher.look()
    told: list[str] = []
    for _ in range(120):
        got = await world.chat("hello", of("soft"))
        told.append(got.headers["ostinato-breaker"].partition(";")[0])
        assert got.cache == "bypass"
    assert told.count("trial") == world.fake.calls - 1
    assert 30 <= told.count("trial") <= 90, "about half are trials"
    await watcher.look()
    assert "ostinato-breaker" in (await world.chat("hello", of("soft"))).headers, "not twice in a minute"
    world.clock.advance(61)
    await watcher.look()
    back = await world.chat("hello", of("soft"))
    assert back.cache == "hit-exact" and "ostinato-breaker" not in back.headers


async def test_trials_that_fail_trip_it_again_for_longer(world: World) -> None:
    await trip(world, "soft", held=False)
    watcher, breakers = world.app.governing.trials, world.app.governing.breakers
    world.clock.advance(61)
    await watcher.look()
    (before,) = await breakers.standing()
    assert before.state == "half-open"
    for number in range(40):  # half of them are trials, drawn by the installation's secret
        await world.patiently(CHAT, question(f"fail {number}", model="broken"), of("soft"), step=5)
    world.clock.advance(61)
    await watcher.look()
    (after,) = await breakers.standing()
    assert (after.state, after.reopened) == ("tripped", 1) and after.bad >= 3
    assert after.cool_until - after.changed_at == 120_000_000, "twice as long"


async def test_half_open_conversations_are_all_trial_or_none(world: World) -> None:
    await trip(world, "soft", held=False)
    world.clock.advance(61)
    await world.app.governing.trials.look()
    for number in range(10):
        words = set()
        for turn in range(3):
            got = await world.chat(f"turn {turn}", {**of("soft"), "ostinato-session": f"s{number}"})
            words.add(got.headers["ostinato-breaker"].partition(";")[0])
        assert len(words) == 1
