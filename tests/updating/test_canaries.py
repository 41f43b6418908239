"""Canaries by intent: harm takes one back, proof lets it go on, and the declaration follows where all have passed."""

import asyncio
from typing import Any

import msgspec
import pytest
from inside import SYSTEM, World
from updating_kit import QUICK, begun, planned, room, world

from ostinato import audit, releases, updating
from ostinato.access import Caller
from ostinato.cases.model import Alarm
from ostinato.core import ids
from ostinato.core.errors import Conflict, Denied, Invalid

ALL_AT_ONCE = updating.Rollout(
    steps=(releases.Step(1.0, min_samples=5, min_minutes=1.0),), control=0.01, watch=("error",)
)
ASKED = 120
"""Sessions of one step."""


async def traffic(at: World, name: str, intent: str = "", count: int = ASKED) -> None:
    """One question of each of many conversations; ledger written, and the minute of a step over."""
    headers = {"ostinato-intent": intent} if intent else {}
    for n in range(count):
        await at.chat(f"{name} {n}", {**headers, "ostinato-session": f"{name}{n}"}, model="used")
    at.clock.advance(61)


async def told(at: World, update: updating.Update) -> updating.Update:
    await room(at).look()
    return await room(at).show(SYSTEM, update.id)


async def through(at: World, update: updating.Update, intents: tuple[str, ...] = ("",)) -> updating.Update:
    """The update after as many steps as it takes."""
    for step in range(20):
        for intent in intents:
            await traffic(at, f"{intent}{step}-", intent)
        update = await told(at, update)
        if update.state != "canary":
            return update
    return update


async def test_targets_that_harm_nothing_get_all_and_the_declaration_names_them() -> None:
    async with world() as at:
        project = await at.first_project()
        await at.declare("models", "own", {"targets": ["fake/plain"], "alias": "mine", "project": project})
        made = await planned(at, alias="mine")
        await room(at).start(SYSTEM, made.id, updating.Start(rollout=QUICK))
        shares: list[float] = []
        for step in range(20):
            now = await room(at).show(SYSTEM, made.id)
            if now.state != "canary":
                break
            shares.append(now.rollout.steps[now.arms[0].step].share)
            for n in range(ASKED):
                await at.chat(f"{step} {n}", {"ostinato-session": f"{step}-{n}"}, model="mine")
            at.clock.advance(61)
            await room(at).look()
        done = await room(at).show(SYSTEM, made.id)
        assert (list(dict.fromkeys(shares)), done.state, done.declared) == ([0.05, 0.25, 0.5, 1.0], "done", True)
        declared = await at.app.declarations.show("models", "own")
        assert declared.body == {"targets": ["other/plain"], "alias": "mine", "project": project}
        route = at.app.catalog.value.route(project, "mine")
        assert (route.targets[0].name, route.trials) == ("other/plain", ())
        back = await room(at).abandon(SYSTEM, made.id, "we do not like it")
        assert back.state == "abandoned"
        assert (await at.app.declarations.show("models", "own")).body["targets"] == ["fake/plain"]  # type: ignore[index]


async def test_harm_takes_an_intent_back_and_leaves_the_other() -> None:
    async with world() as at:
        made = await begun(at, "other/fail500", intents=("", "billing"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(at.app.providers["other"], "chat", _right_for(at, "billing"))
            ended = await through(at, made, ("", "billing"))
        states = {one.intent: one.state for one in ended.arms}
        assert states == {"": "failed", "billing": "passed"}
        assert ended.state == "done" and not ended.declared and "beside the declaration" in ended.hint
        left = await at.chat("after", {"ostinato-session": "z"}, model="used")
        moved = await at.chat("after", {"ostinato-session": "z", "ostinato-intent": "billing"}, model="used")
        assert (left.headers["ostinato-target"], moved.headers["ostinato-target"]) == ("fake/plain", "other/fail500")
        actions = [one.leaf.action for one in await at.app.audit.page(audit.Filter(), limit=500)]
        assert actions.count("updates:roll_back") == 1 and actions.count("updates:pass") == 1


def _right_for(at: World, marker: str) -> Any:
    """A model that answers where the question holds ``marker``, and else fails."""
    from ostinato.providers.model import ChatCall, ChatReply, ProviderFailure
    from ostinato.wire.model import Text

    async def chat(call: ChatCall) -> ChatReply:
        block = call.request.messages[-1].content[0]
        assert isinstance(block, Text)
        if marker in block.text or block.text == "after":
            return await at.fake.chat(ChatCall(request=call.request, model="plain", timeout=9.0))
        raise ProviderFailure("no", failure="request", provider="other", upstream_status=400)

    return chat


async def test_nobody_asks_so_it_waits_and_then_goes_back() -> None:
    async with world() as at:
        made = await begun(at)
        assert (await told(at, made)).arms[0].step == 0
        at.clock.advance(13 * 3_600)
        ended = await told(at, made)
        assert (ended.state, ended.arms[0].state) == ("abandoned", "failed")
        assert (await at.chat("x", model="used")).headers["ostinato-target"] == "fake/plain"


async def somebody(at: World) -> Caller:
    """A person of the project who may run updates and approve."""
    may = frozenset({"updates:run", "updates:read", "releases:approve", "evals:run"})
    return at.app.access.authenticate(await at.new_key(permissions=may), at.clock.now())


async def test_high_stakes_wait_for_somebody_else() -> None:
    async with world() as at:
        author, legal = await somebody(at), {"ostinato-intent": "legal"}
        made = await room(at).plan(author, updating.NewUpdate(alias="used", targets=("other/plain",)))
        wish = updating.Start(rollout=ALL_AT_ONCE, intents=("legal",))
        waiting = await room(at).start(author, made.id, wish)
        assert waiting.state == "waiting"
        with pytest.raises(Conflict, match="approvals"):
            await room(at).start(author, made.id, wish)
        with pytest.raises(Denied):
            await room(at).approve(author, made.id, waiting.digest)
        assert (await at.chat("x", legal, model="used")).headers["ostinato-target"] == "fake/plain"
        with pytest.raises(Conflict):
            await room(at).approve(await somebody(at), made.id, "0" * 64)  # not what they looked at
        for _ in range(2):
            await room(at).approve(await somebody(at), made.id, waiting.digest, "looked at")
        assert (await room(at).start(author, made.id, wish)).state == "canary"
        assert (await at.chat("x", legal, model="used")).headers["ostinato-target"] == "other/plain"


async def test_somebody_says_no_and_it_is_planned_again() -> None:
    async with world() as at:
        author = await somebody(at)
        made = await room(at).plan(author, updating.NewUpdate(alias="used", targets=("other/plain",)))
        wish = updating.Start(rollout=ALL_AT_ONCE, intents=("legal",))
        with pytest.raises(Conflict):
            await room(at).reject(await somebody(at), made.id, made.digest, "no")  # nothing waits
        waiting = await room(at).start(author, made.id, wish)
        with pytest.raises(Invalid, match="why"):
            await room(at).reject(await somebody(at), made.id, waiting.digest, " ")
        with pytest.raises(Conflict):
            await room(at).reject(await somebody(at), made.id, "0" * 64, "not what I saw")
        refused = await room(at).reject(await somebody(at), made.id, waiting.digest, "not before the audit")
        assert (refused.state, refused.request_id, refused.why) == ("planned", "", "not before the audit")
        again = await room(at).start(author, made.id, wish)
        assert again.state == "waiting"
        assert again.request_id != waiting.request_id
        with pytest.raises(Conflict):
            await room(at).start(author, made.id, wish)  # what was agreed to or refused before does not count


async def test_of_two_processes_that_look_at_once_one_takes_the_step() -> None:
    async with world() as at:
        made = await begun(at, rollout=ALL_AT_ONCE)
        await traffic(at, "q", count=20)
        await asyncio.gather(room(at).look(), room(at).look())
        ended = await room(at).show(SYSTEM, made.id)
        actions = [one.leaf.action for one in await at.app.audit.page(audit.Filter(), limit=500)]
        assert (ended.state, actions.count("updates:pass"), actions.count("updates:finish")) == ("done", 1, 1)


async def test_an_alias_that_moved_meanwhile_is_planned_again() -> None:
    async with world() as at:
        project = await at.first_project()
        body = {"targets": ["fake/plain"], "alias": "mine", "project": project}
        await at.declare("models", "own", body)
        made = await planned(at, alias="mine")
        await at.declare("models", "own", {**body, "targets": ["fake/echo"]})
        with pytest.raises(Conflict, match="by now"):
            await room(at).start(SYSTEM, made.id, updating.Start())


async def test_what_cannot_be_is_refused() -> None:
    async with world() as at:
        for targets in (("nowhere/plain",), (), ("fake/plain",)):
            with pytest.raises(Invalid):
                wish = updating.NewUpdate(alias="used", targets=targets, project=await at.first_project())
                await room(at).plan(SYSTEM, wish)
        with pytest.raises(Invalid):
            await planned(at, "other/vectors", alias="vectors")
        await planned(at)
        with pytest.raises(Conflict, match="already"):
            await planned(at)


async def test_a_suspected_model_is_looked_into_once_and_moves_nothing() -> None:
    async with world() as at:
        project = await at.first_project()
        (first,) = [
            one
            for one in await room(at).suspect("fake/plain", {"statistic": 9.5}, project=project)
            if one.alias == "used"
        ]
        again = await room(at).suspect("fake/plain", {"statistic": 11.0}, project=project)
        assert first.id in {one.id for one in again}
        assert (first.kind, first.evidence) == ("silent", {"statistic": 9.5})
        with pytest.raises(Conflict):
            await room(at).start(SYSTEM, first.id, updating.Start())


async def test_a_suspicion_keeps_nobody_from_changing_the_model() -> None:
    async with world() as at:
        project = await at.first_project()
        found = await room(at).suspect("fake/plain", {}, project=project)
        (silent,) = [one for one in found if one.alias == "used"]
        made = await planned(at)
        assert made.kind == "change"
        with pytest.raises(Conflict, match="already"):
            await planned(at)
        joined = await room(at).suspect("fake/plain", {}, project=project)
        assert made.id in {one.id for one in joined}
        await room(at).abandon(SYSTEM, silent.id)
        assert (await room(at).show(SYSTEM, made.id)).state == "planned"


async def test_an_alarm_of_a_model_that_changed_opens_an_update() -> None:
    async with world() as at:
        project = await at.first_project()
        alarm = Alarm(
            id=ids.new(at.clock.now()),
            at=at.clock.now(),
            org=(await room(at).list(SYSTEM, project=project) or [await planned(at)])[0].org,
            project=project,
            kind="model",
            detector="model",
            evidence={"part": "fake/plain", "new": "plain fp_2"},
        )
        await at.app.governing._alarm(alarm)
        await at.app.governing._alarm(msgspec.structs.replace(alarm, id=ids.new(at.clock.now())))
        opened = [one for one in await room(at).list(SYSTEM, project=project) if one.kind == "silent"]
        assert [one.alias for one in opened] == ["plain"]  # `used` is being changed already
        assert opened[0].evidence["new"] == "plain fp_2"
