"""Answers that wait until somebody has looked: who gets what meanwhile, and what becomes of them."""

import asyncio
from typing import Any

import pytest
from inside import CHAT, MESSAGES, RESPONSES, SYSTEM, Got, World, inside, question

from ostinato import access, reviews
from ostinato.cache.model import Selector
from ostinato.core.errors import Conflict, Invalid, OstinatoError
from ostinato.reviews import NewVerdict

INTENT = {"stakes": "high", "owner": "care", "match": {"aliases": ["plain"]}, "review": {"hold": True}}
HELD = "/v1/held/"
TEXT = "Somebody will look into it and come back to you."


async def declare(world: World, **review: Any) -> None:
    await world.declare("intents", "care", {**INTENT, "review": {"hold": True, **review}})


async def fetch(world: World, held: str, key: str = "", **headers: str) -> Got:
    """``GET /v1/held/ID`` through the data plane's application."""
    sent = {"authorization": f"Bearer {key or world.key}", **{name.replace("_", "-"): v for name, v in headers.items()}}
    pairs = [(name.encode(), value.encode()) for name, value in sent.items()]
    reply = await world.app.gateway.handle("held", HELD + held, pairs, b"", None)
    found = {name.decode(): value.decode("latin-1") for name, value in reply.headers}
    return Got(reply.status, found, reply.body)  # pyright: ignore


async def reviewer(world: World, name: str = "Rita") -> access.Caller:
    secret = await world.new_key(permissions=frozenset({"reviews:decide", "reviews:read"}))
    return world.app.access.authenticate(secret, world.clock.now())


async def decide(world: World, held: str, decision: str, **more: Any) -> reviews.Item:
    who = await reviewer(world)
    task = await world.app.reviews.next(who, "held")
    assert task is not None
    found, _ = await world.app.reviews.held(held)
    assert found.item == task.item
    return await world.app.reviews.decide(who, task.item, NewVerdict(decision=decision, **more))


async def test_202_then_the_answer_then_a_hit() -> None:
    async with inside() as world:
        await declare(world)
        got = await world.chat("Block my card")
        assert got.status == 202 and got.headers["cache-control"] == "no-store"
        told = got.json()
        assert told["status"] == "pending" and told["poll"] == HELD + told["id"] == got.headers["location"]
        assert got.headers["ostinato-held"] == told["id"] and got.cache == "bypass"
        assert b"choices" not in got.body
        waiting = await fetch(world, told["id"])
        assert waiting.status == 202 and waiting.json()["id"] == told["id"]
        assert world.app.cache.stats()["memory_entries"] == 0

        again = await world.chat("Block my card")
        assert again.status == 202 and again.json()["id"] == told["id"], "an equal request waits for the same answer"
        assert world.fake.calls == 1, "and nothing is paid twice"

        done = await decide(world, told["id"], "approve")
        assert (done.state, done.outcome, done.pending) == ("done", "approve", "admit")
        answer = await fetch(world, told["id"])
        assert answer.status == 200 and answer.headers["ostinato-review"] == "verified"
        assert answer.json()["object"] == "chat.completion" and answer.json()["model"] == "plain" and answer.text
        hit = await world.chat("Block my card")
        assert hit.cache == "hit-exact" and hit.text == answer.text and hit.headers["ostinato-review"] == "verified"
        assert (await world.chat("Block my card")).cache == "hit-exact", "by raw body, too"
        assert world.fake.calls == 1
        page = await world.app.cache.list(_everything(world))
        assert page.items[0].meta.quality == {"verified": True, "review": done.id, "edited": False}


def _everything(world: World) -> Selector:
    return Selector(org=world.app.access.authenticate(world.key, world.clock.now()).org)


@pytest.mark.parametrize(("decision", "more"), [("edit", {"edited": "Your card is blocked."}), ("approve", {})])
async def test_what_a_person_wrote_in_place_of_a_cut_answer_is_complete(decision: str, more: dict[str, Any]) -> None:
    async with inside('[models.odd]\ntargets = ["fake/fake-length"]\n') as world:
        await world.declare("intents", "care", {**INTENT, "match": {"aliases": ["odd"]}})
        body = {"model": "odd", "messages": [{"role": "user", "content": "Block my card"}]}
        got = await world.ask(CHAT, body)
        assert got.status == 202
        done = await decide(world, got.json()["id"], decision, **more)
        edited = decision == "edit"
        assert done.pending == ("admit" if edited else ""), "what is cut is not kept, whoever approves it"
        answer = await fetch(world, got.json()["id"])
        assert answer.json()["choices"][0]["finish_reason"] == ("stop" if edited else "length")
        again = await world.ask(CHAT, body)
        assert again.status == (200 if edited else 202) and world.fake.calls == (1 if edited else 2)
        if edited:
            assert again.cache == "hit-exact" and again.text == "Your card is blocked."


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
@pytest.mark.parametrize("stream", [False, True])
async def test_fallback_text_in_every_wire(path: str, stream: bool) -> None:
    async with inside() as world:
        await declare(world, hold_fallback=TEXT)
        body: dict[str, Any] = {"model": "plain", "stream": stream, "max_tokens": 50}
        body |= {"input": "Hello"} if path == RESPONSES else {"messages": [{"role": "user", "content": "Hello"}]}
        got = await world.ask(path, body)
        assert got.status == 200 and got.text == TEXT, got.body
        assert got.headers["content-type"].startswith("text/event-stream" if stream else "application/json")
        held = got.headers["ostinato-held"]
        assert got.headers["ostinato-cache"] == "bypass; reason=held" and got.headers["cache-control"] == "no-store"
        again = await world.ask(path, body)
        assert again.text == TEXT and again.headers["ostinato-held"] == held and world.fake.calls == 1
        assert world.app.cache.stats()["memory_entries"] == 0 and world.app.cache.raw is not None
        await decide(world, held, "edit", edited="Hold on, we call you.")
        answer = await fetch(world, held)
        assert answer.status == 200 and answer.text == "Hold on, we call you."
        hit = await world.ask(path, body)
        assert hit.cache == "hit-exact" and hit.text == "Hold on, we call you."
        other = {CHAT: MESSAGES, MESSAGES: CHAT}.get(path)
        if other is not None:
            assert (await world.ask(other, body)).text == "Hold on, we call you.", "one answer, many wires"


async def test_a_stream_without_fallback_gets_202() -> None:
    async with inside() as world:
        await declare(world)
        got = await world.chat("Hello", stream=True)
        assert got.status == 202 and got.headers["content-type"] == "application/json"


async def test_rejected_answers_are_never_given() -> None:
    async with inside() as world:
        await declare(world, hold_fallback=TEXT)
        held = (await world.chat("Hello")).headers["ostinato-held"]
        await decide(world, held, "reject", comment="wrong")
        gone = await fetch(world, held)
        told = gone.json()
        assert gone.status == 410 and told["status"] == "rejected" and told["fallback"] == TEXT
        assert told["error"]["code"] == "held_rejected"
        assert world.app.cache.stats()["memory_entries"] == 0
        again = await world.chat("Hello")
        assert again.headers["ostinato-held"] != held and world.fake.calls == 2, "asked anew, and held anew"


@pytest.mark.parametrize(
    ("default", "status", "review"), [("fallback", 410, None), ("reject", 410, None), ("release", 200, "unreviewed")]
)
async def test_the_deadline_has_a_default(default: str, status: int, review: str | None) -> None:
    async with inside() as world:
        rules = {"hold": True, "hold_seconds": 60, "hold_default": default, "hold_fallback": TEXT}
        await world.declare("intents", "care", {**INTENT, "stakes": "medium", "review": rules})
        held = (await world.chat("Hello")).headers["ostinato-held"]
        who = await reviewer(world)
        task = await world.app.reviews.next(who, "held")
        assert task is not None
        world.clock.advance(61)
        for swept in (False, True):
            if swept:
                await world.app.reviews.sweep()
            got = await fetch(world, held)
            assert got.status == status and got.headers.get("ostinato-review") == review, "by the clock, at once"
            if status == 410:
                assert got.json()["status"] == "expired"
                assert got.json().get("fallback") == (TEXT if default == "fallback" else None)
        with pytest.raises(Conflict):
            await world.app.reviews.decide(who, task.item, NewVerdict(decision="approve"))
        assert world.app.cache.stats()["memory_entries"] == 0, "what nobody approved is not cached"
        again = await world.chat("Hello")
        assert again.headers["ostinato-held"] != held


async def test_what_nobody_looked_at_is_not_handed_out_while_the_intent_is_tripped() -> None:
    async with inside() as world:
        rules = {"hold": True, "hold_seconds": 60, "hold_default": "release"}
        await world.declare("intents", "care", {**INTENT, "stakes": "medium", "review": rules})
        held = (await world.chat("Hello")).headers["ostinato-held"]
        world.clock.advance(61)
        breakers, home = world.app.governing.breakers, await world.first_project()
        trip = await breakers.trip(SYSTEM, home, "care", code="wrong", held=True)
        got = await fetch(world, held)
        assert (got.status, got.json()["error"]["code"]) == (503, "intent_tripped")
        assert got.headers["ostinato-breaker"].startswith("tripped; intent=care")
        await breakers.close(SYSTEM, trip.id)
        assert (await fetch(world, held)).headers["ostinato-review"] == "unreviewed"


async def test_who_may_fetch_it() -> None:
    async with inside() as world:
        await declare(world)
        sibling = await world.new_key()
        stranger = await world.new_key(await world.new_project("other"))
        plain = (await world.chat("Hello")).json()["id"]
        named = (await world.chat("Hello", {"ostinato-user": "ann"})).json()["id"]
        assert plain != named
        assert (await fetch(world, plain, sibling)).status == 202
        assert (await fetch(world, named, sibling)).status == 404, "asked for an end user: the same principal only"
        assert (await fetch(world, named)).status == 202
        for held in (plain, named, "0" * 32, "nonsense", "a" * 5000):
            assert (await fetch(world, held, stranger)).status == 404
        assert (await fetch(world, plain, "ost_wrong")).status == 401


async def test_followers_get_the_same_treatment() -> None:
    async with inside() as world:
        await declare(world, hold_fallback=TEXT)
        keys = [await world.new_key() for _ in range(3)]
        asked = [world.ask(CHAT, question("Hello", stream=at % 2 == 0), key=keys[at % 3]) for at in range(12)]
        got = await asyncio.gather(*asked)
        assert {one.text for one in got} == {TEXT}
        assert len({one.headers["ostinato-held"] for one in got}) == 1 and world.fake.calls == 1
        rows = await world.rows(12)
        assert sum(row.cost or 0 for row in rows) == max(row.cost or 0 for row in rows), "one payer"


async def test_who_wants_a_new_answer_waits_alone() -> None:
    async with inside() as world:
        await declare(world)
        first = (await world.chat("Hello")).json()["id"]
        fresh = (await world.chat("Hello", {"cache-control": "no-cache"})).json()["id"]
        private = (await world.chat("Hello", {"cache-control": "no-store"})).json()["id"]
        assert len({first, fresh, private}) == 3 and world.fake.calls == 3
        who = await reviewer(world)
        for _ in range(3):
            task = await world.app.reviews.next(who, "held")
            assert task is not None
            await world.app.reviews.decide(who, task.item, NewVerdict(decision="approve"))
        assert (await fetch(world, private)).status == 200
        assert world.app.cache.stats()["memory_entries"] <= 1, "no-store is kept out of the cache by a verdict, too"


async def test_an_answer_that_cannot_be_held_is_not_given() -> None:
    async with inside() as world:
        await declare(world)

        async def fail(_: Any) -> Any:
            raise OSError

        world.app.reviews.hold = fail  # type: ignore[method-assign]
        got = await world.chat("Hello")
        assert got.status == 503 and b"choices" not in got.body
        (row,) = await world.rows(1)
        assert row.cost and row.status == 500, "it was paid for, and the row says so"


async def test_a_reviewer_sees_question_and_answer_and_is_told_on_signals() -> None:
    async with inside() as world:
        await declare(world)
        told = (await world.chat("Block my card")).json()["id"]
        who = await reviewer(world)
        task = await world.app.reviews.next(who, "held")
        assert task is not None and task.content is not None
        assert task.content.input_text == "Block my card" and len(task.content.outputs[0].text) > 5
        await world.app.reviews.decide(who, task.item, NewVerdict(decision="approve"))
        found, _ = await world.app.reviews.held(told)
        for _ in range(200):
            signals = await world.app.signals.of(found.request_id)
            if signals:
                break
            await asyncio.sleep(0.01)
            world.clock.advance(1)
        assert [(one.source, one.value, one.label) for one in signals] == [("review", 1.0, "approve")]


async def test_a_queue_that_cannot_take_it_is_not_the_callers_mistake() -> None:
    async with inside() as world:
        project = await world.first_project()
        wrong = reviews.Declaration(mode="pairwise")
        await world.app.reviews.declare(SYSTEM, "pairs", wrong, project=project)
        await declare(world, hold_queue="pairs")
        got = await world.chat("Hello")
        assert got.status == 503 and got.json()["error"]["code"] == "cannot_hold" and b"choices" not in got.body


async def test_a_full_or_closed_queue_holds_no_more_and_no_model_is_paid() -> None:
    async with inside("[reviews]\nopen_items = 2\n") as world:
        await declare(world)
        first = (await world.chat("one")).json()["id"]
        await world.chat("two")
        full = await world.chat("three")
        assert full.status == 503 and full.json()["error"]["code"] == "cannot_hold" and world.fake.calls == 2
        assert (await world.chat("one")).json()["id"] == first, "an equal request joins one that waits"
        project = await world.first_project()
        await world.app.reviews.declare(SYSTEM, "held", reviews.Declaration(closed=True), project=project)
        world.clock.advance(4_000)
        await world.app.reviews.sweep()
        assert (await world.chat("four")).status == 503 and world.fake.calls == 2


async def test_an_edited_answer_is_of_the_format_that_was_asked_for() -> None:
    async with inside() as world:
        await declare(world)
        schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        held = (await world.chat("Hello", response_format=wanted)).json()["id"]
        for text in ("no JSON", "{}"):
            with pytest.raises(Invalid) as caught:
                await decide(world, held, "edit", edited=text)
            assert caught.value.param == "edited"
            world.clock.advance(1_000)
        done = await decide(world, held, "edit", edited='{"ok": true}')
        assert done.state == "done"
        assert (await fetch(world, held)).text == '{"ok": true}'


async def test_release_without_a_word_is_refused_at_high_stakes() -> None:
    async with inside() as world:
        with pytest.raises(OstinatoError) as caught:
            await world.app.standing.judge(
                "intents", {"care": {**INTENT, "review": {"hold": True, "hold_default": "release"}}}
            )
        assert caught.value.code == "stakes_bound"


async def test_nothing_is_held_where_nothing_says_so() -> None:
    async with inside() as world:
        await world.declare("intents", "care", {**INTENT, "review": {}})
        assert (await world.chat("Hello")).status == 200
        assert (await world.chat("Hello")).cache == "hit-exact"
        await declare(world)
        assert (await world.chat("Hello")).status == 202, "what was cached before anybody looked is not served"
