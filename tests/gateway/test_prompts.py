"""Prompts through the whole gateway: resolved, rendered, released; what is cached belongs to the release."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from inside import CHAT, MESSAGES, RESPONSES, SYSTEM, Got, World, inside

from ostinato import prompts
from ostinato.cache.model import Selector
from ostinato.core.errors import Conflict
from ostinato.prompts import Canary, Draft, Turn
from ostinato.providers.model import ChatCall, ChatReply
from ostinato.releases import Guardrails, Plan, Release, Step
from ostinato.wire.model import ChatRequest

SERVICE = frozenset({"chat:call", "prompts:call"})


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with inside() as found:
        found.key = await found.new_key(permissions=SERVICE)
        yield found


@pytest.fixture
def sent(world: World, monkeypatch: pytest.MonkeyPatch) -> list[ChatRequest]:
    """What the provider was asked, in order."""
    told: list[ChatRequest] = []
    chat = world.fake.chat

    async def listening(call: ChatCall) -> ChatReply:
        told.append(call.request)
        return await chat(call)

    monkeypatch.setattr(world.fake, "chat", listening)
    return told


async def add(world: World, name: str, system: str, **fields: Any) -> int:
    """A chat prompt with this system text and a question; gives the version's number."""
    project = await world.first_project()
    draft = Draft(
        messages=(Turn("system", system), Turn("user", "{{question}}")),
        **{"params": {"model": "plain", "temperature": 0.0}, **fields},
    )
    try:
        await world.app.prompts.create(SYSTEM, project, name, draft=draft)
        return 1
    except Conflict:
        return (await world.app.prompts.add_version(SYSTEM, project, name, draft)).version.number


async def point(
    world: World, name: str, number: int, release: str = "", canary: Canary | None = None, label: str = "production"
) -> None:
    """Let a label point at a version, as a release does."""
    project = await world.first_project()
    await world.app.control.run(
        lambda connection: prompts.assign(
            connection,
            project=project,
            prompt=name,
            label=label,
            number=number,
            release=release,
            canary=canary,
            actor=SYSTEM,
            now=world.clock.now(),
        )
    )
    await world.app.prompts.snapshot.reload()


async def ask(world: World, model: str, question: str = "Where is my card?", **options: Any) -> Got:
    body = {"model": model, "prompt": {"variables": {"question": question}}, **options.pop("body", {})}
    return await world.ask(options.pop("path", CHAT), body, options.pop("headers", None), **options)


async def test_a_prompt_is_rendered_sent_and_told(world: World, sent: list[ChatRequest]) -> None:
    await add(world, "support/intent", "Name the intent. {braces} stay.")
    await point(world, "support/intent", 1, "r1")
    got = await ask(world, "prompt:support/intent")
    assert got.status == 200, got.body
    assert got.headers["ostinato-prompt"] == "support/intent; version=1; release=r1"
    assert got.headers["ostinato-target"] == "fake/plain"
    assert got.json()["model"] == "prompt:support/intent"
    (request,) = sent
    assert [(m.role, m.content[0].text) for m in request.messages] == [
        ("system", "Name the intent. {braces} stay."),
        ("user", "Where is my card?"),
    ]
    assert request.temperature == 0.0
    again = await ask(world, "prompt:support/intent")
    assert again.cache == "hit-exact"
    assert again.headers["ostinato-prompt"] == got.headers["ostinato-prompt"]
    call, hit = await world.rows(2)
    assert (call.prompt, call.prompt_version, call.release, call.arm) == ("support/intent", 1, "r1", "")
    assert (hit.prompt, hit.release) == ("support/intent", "r1")


@pytest.mark.parametrize("raw", [True, False])
async def test_every_wire_asks_the_same_prompt(world: World, raw: bool) -> None:
    await add(world, "p", "Answer.")
    await point(world, "p", 1, "r1")
    first = await ask(world, "prompt:p@production", raw=raw)
    other = await ask(world, "prompt:p", path=MESSAGES, body={"max_tokens": 50}, raw=raw)
    assert other.text and other.headers["ostinato-prompt"] == first.headers["ostinato-prompt"]
    named = {"prompt": {"id": "p", "version": "production", "variables": {"question": "Where is my card?"}}}
    responses = await world.ask(RESPONSES, named, raw=raw)
    assert responses.status == 200, responses.body
    assert responses.headers["ostinato-prompt"] == first.headers["ostinato-prompt"]
    streamed = await ask(world, "prompt:p", body={"stream": True}, raw=raw)
    assert streamed.cache == "hit-exact" and streamed.text == first.text


async def test_own_messages_follow_the_template(world: World, sent: list[ChatRequest]) -> None:
    await add(world, "p", "Answer.")
    await point(world, "p", 1)
    await ask(world, "prompt:p@1", body={"messages": [{"role": "user", "content": "And this."}]})
    assert [m.content[0].text for m in sent[-1].messages][-1] == "And this."


async def test_refusals_say_what_there_is(world: World) -> None:
    await add(world, "p", "Answer.")
    await world.app.prompts.declare_label(SYSTEM, await world.first_project(), "staging")
    await point(world, "p", 1, label="staging")
    missing = await ask(world, "prompt:nothing")
    assert missing.status == 404 and missing.json()["error"]["code"] == "prompt_not_found"
    label = await ask(world, "prompt:p")
    assert label.status == 404 and "staging" in label.json()["error"]["message"]
    wrong = await world.ask(CHAT, {"model": "prompt:p@staging", "prompt": {"variables": {"q": 1}}})
    assert wrong.status == 422 and "question" in wrong.json()["error"]["message"]
    lost = await world.ask(
        CHAT, {"model": "plain", "messages": [{"role": "user", "content": "x"}], "prompt": {"variables": {}}}
    )
    assert lost.status == 400 and lost.json()["error"]["param"] == "prompt"
    plain = await world.new_key(permissions=frozenset({"chat:call"}))
    denied = await ask(world, "prompt:p@staging", key=plain)
    assert denied.status == 403 and "prompts:call" in denied.json()["error"]["message"]


async def test_another_project_does_not_see_it(world: World) -> None:
    await add(world, "p", "Answer.")
    await point(world, "p", 1)
    foreign = await world.new_key(await world.new_project("other"), permissions=SERVICE)
    assert (await ask(world, "prompt:p", key=foreign)).status == 404


async def test_promotion_hides_the_old_generation_and_rollback_brings_it_back_warm(world: World) -> None:
    """C3, by raw body and by fingerprint: equal texts under two releases do not share an answer either."""
    await add(world, "p", "Same words.")
    await point(world, "p", 1, "r1")
    first = await ask(world, "prompt:p")
    assert (await ask(world, "prompt:p")).cache == "hit-exact"
    await point(world, "p", 1, "r2")
    second = await ask(world, "prompt:p")
    assert second.cache == "miss" and "release=r2" in second.headers["ostinato-prompt"]
    await point(world, "p", 1, "r1")
    back = await ask(world, "prompt:p")
    assert back.cache == "hit-exact" and back.headers["ostinato-entry"] == first.headers["ostinato-entry"]
    assert "release=r1" in back.headers["ostinato-prompt"]


async def test_a_dormant_generation_hears_invalidations(world: World) -> None:
    await add(world, "p", "Same words.")
    await point(world, "p", 1, "r1")
    first = await ask(world, "prompt:p", headers={"ostinato-tags": "faq"})
    await point(world, "p", 1, "r2")
    project = await world.first_project()
    org = (await world.app.access.list_organizations(SYSTEM))[0].id
    found = await world.app.cache.invalidate(Selector(org=org, project=project, tag="faq"), dry_run=False)
    assert found
    await point(world, "p", 1, "r1")
    assert first.cache == "miss"
    assert (await ask(world, "prompt:p", headers={"ostinato-tags": "faq"})).cache == "miss"


async def test_arms_are_sticky_and_never_read_each_others_answers(world: World, sent: list[ChatRequest]) -> None:
    """C4: whoever comes back in a session gets the same arm, also while the share grows, by raw body or not."""
    await add(world, "p", "Old words.")
    await add(world, "p", "New words.")
    arms: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for share in (0.25, 0.5):
        await point(world, "p", 1, "r1", Canary(number=2, release="r2", share=share, salt="s"))
        for number in range(60):
            session = f"s{number}"
            seen = set()
            for raw in (True, False, True):
                got = await ask(world, "prompt:p", headers={"ostinato-session": session}, raw=raw)
                seen.add(got.headers["ostinato-prompt"].partition("arm=")[2])
            (arm,) = seen
            if arms.get(session) == "canary":
                assert arm == "canary", "nobody leaves the canary while it grows"
            arms[session] = arm
            counts[f"{share} {arm}"] += 1
    assert 5 <= counts["0.25 canary"] < counts["0.5 canary"] <= 45, counts
    # Everybody asked the same question: each arm has one entry, and it is its own.
    assert sorted(request.messages[0].content[0].text for request in sent) == ["New words.", "Old words."]
    hits = [row for row in await world.rows(360) if row.cache == "hit-exact"]
    assert {(row.arm, row.release) for row in hits} == {("stable", "r1"), ("canary", "r2")}


async def test_without_session_or_user_the_request_itself_draws(world: World) -> None:
    await add(world, "p", "Old words.")
    await add(world, "p", "New words.")
    await point(world, "p", 1, "r1", Canary(number=2, release="r2", share=0.5, salt="s"))
    arms = {}
    for _ in range(2):
        for number in range(40):
            got = await ask(world, "prompt:p", f"question {number}")
            arm = got.headers["ostinato-prompt"].partition("arm=")[2]
            assert arms.setdefault(number, arm) == arm
    assert set(arms.values()) == {"stable", "canary"}


async def test_intents_rule_the_cache_and_who_may_ask(world: World) -> None:
    await world.declare("intents", "billing", {"stakes": "low", "cache": {"mode": "off"}})
    await world.declare("intents", "faq", {"stakes": "low"})
    off = await world.chat("hello", {"ostinato-intent": "billing"})
    assert off.headers["ostinato-intent"] == "billing"
    assert (await world.chat("hello", {"ostinato-intent": "billing"})).cache == "bypass"
    await world.chat("hello", {"ostinato-intent": "faq"})
    assert (await world.chat("hello", {"ostinato-intent": "faq"})).cache == "hit-exact"
    unknown = await world.chat("hello", {"ostinato-intent": "nope"})
    assert unknown.status == 404 and "billing" in unknown.json()["error"]["message"]
    bound = await world.new_key(permissions=SERVICE, allowed_intents=frozenset({"faq"}))
    assert (await world.chat("hello", {"ostinato-intent": "billing"}, key=bound)).status == 403
    told = Counter((row.intent, row.cache) for row in await world.rows(6) if row.status == 200)
    assert told == {("billing", "bypass"): 2, ("faq", "miss"): 1, ("faq", "hit-exact"): 1}


async def test_the_linter_knows_what_could_not_be_called(world: World) -> None:
    project = await world.first_project()

    async def codes(**params: Any) -> list[str]:
        draft = Draft(messages=(Turn("user", "{{question}}"),), params=params)
        return [one.code for one in await world.app.prompts.lint(SYSTEM, project, "chat", draft)]

    assert await codes(model="plain") == []
    assert await codes() == ["no-model"]
    assert await codes(model="vectors") == ["unknown-model"], "an alias for embeddings cannot be asked"
    assert await codes(model="nothing") == ["unknown-model"]


async def test_the_control_of_a_canary_takes_no_part_in_the_cache(world: World) -> None:
    """A canary starts with an empty cache, and is compared with a control that has none; all others go on as before."""
    await add(world, "p", "Old words.")
    await add(world, "p", "New words.")
    await point(world, "p", 1, "r1", Canary(number=2, release="r2", share=0.3, control=0.3, salt="s"))
    seen: dict[str, list[tuple[str, str]]] = {}
    session: dict[str, str] = {}
    for number in range(40):
        for _ in range(2):
            got = await ask(world, "prompt:p", headers={"ostinato-session": f"s{number}"})
            arm = got.headers["ostinato-prompt"].partition("arm=")[2]
            seen.setdefault(arm, []).append((got.cache, got.reason))
            session[arm] = f"s{number}"
    assert set(seen) == {"stable", "canary", "control"}
    assert set(seen["control"]) == {("bypass", "control")}
    for arm in ("stable", "canary"):
        assert seen[arm][0][0] == "miss"
        assert {cache for cache, _ in seen[arm][1:]} == {"hit-exact"}
    told = {"ostinato-session": session["control"], "cache-control": "only-if-cached"}
    kept = await ask(world, "prompt:p", headers=told)
    assert kept.cache == "hit-exact", "who takes nothing but the cache is not sent away for a comparison"


async def test_guardrails_see_what_the_gateway_wrote_down(world: World) -> None:
    """From requests to figures: a canary that says much more is dearer than its control, and nothing else."""
    await add(world, "p", "Old words.")
    await add(world, "p", "New words. " * 60)
    began = world.clock.now()
    await point(world, "p", 1, "r1", Canary(number=2, release="r2", share=0.4, control=0.4, salt="s"))
    for number in range(150):
        asked = await ask(world, "prompt:p", f"question {number}", headers={"ostinato-session": f"s{number}"})
        assert asked.status == 200
    rails = Guardrails(watch=("error", "policy", "cost"))
    canary = Release(
        id="r2",
        org="",
        project=await world.first_project(),
        prompt="p",
        label="production",
        number=2,
        base_number=1,
        base_release="r1",
        plan=Plan(steps=(Step(0.4),), control=0.4, guardrails=rails),
        digest="",
        author="",
        proposed_by="",
        proposed_at=began,
        request_id="",
        salt="s",
        state="canary",
        step=0,
        started_at=began,
    )
    found = {one.guardrail: one for one in await world.app.releases.readings(canary)}
    assert found["cost"].pairs >= 40
    assert found["cost"].harmful
    assert (found["cost"].canary or 0) > 1.1 * (found["cost"].control or 0)
    assert not found["error"].harmful
    assert not found["policy"].harmful
    assert found["error"].pairs == found["cost"].pairs
