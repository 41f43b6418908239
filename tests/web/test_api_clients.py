"""Prompts resolved for clients: the arm that a call would get, the stable version for nobody, entity tags."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import control
from inside import CHAT, SYSTEM, World

from ostinato import prompts
from ostinato.prompts import Canary, Draft, Turn


@pytest.fixture
async def plane() -> AsyncIterator[control.Plane]:
    """A prompt ``a`` with 40 % of ``production`` in a canary and 20 % set apart as control."""
    async with control.opened() as opened:
        app = opened.world.app
        project = app.access.authenticate(opened.world.key, app.clock.now()).project
        for text in ("one", "two"):
            draft = Draft(messages=(Turn("user", text),), params={"model": "plain", "temperature": 0.0})
            if text == "one":
                await app.prompts.create(SYSTEM, project, "a", draft=draft)
            else:
                await app.prompts.add_version(SYSTEM, project, "a", draft)

        def point(connection: Any) -> None:
            for release, canary in (("r1", None), ("r1", Canary(2, "r2", 0.4, 0.2, "salt"))):
                prompts.assign(
                    connection, project=project, prompt="a", label="production", number=1, release=release,
                    canary=canary, actor=SYSTEM, reason="", evidence=None, now=app.clock.now(),
                )  # fmt: skip

        await app.control.run(point)
        await app.prompts.snapshot.reload()
        yield opened


async def resolved(world: World, plane: control.Plane, headers: dict[str, str] | None = None, **query: str) -> Any:
    sent = {"authorization": f"Bearer {world.key}", **(headers or {})}
    return await plane.client.get("/api/v1/prompts/a/resolved", params=query, headers=sent)


async def test_the_arm_is_the_one_that_a_call_gets(plane: control.Plane):
    world = plane.world
    seen: set[str] = set()
    for number in range(40):
        who = {"user": f"u{number}"} if number % 2 else {"session": f"s{number}", "user": "u"}
        told = (await resolved(world, plane, **who)).json()
        headers = {f"ostinato-{name}": value for name, value in who.items()}
        got = await world.ask(CHAT, {"model": "prompt:a", "messages": [], "prompt": {"variables": {}}}, headers)
        assert got.status == 200, got.body
        said = f"a; version={told['version']}; release={told['release']}; arm={told['arm']}"
        assert got.headers["ostinato-prompt"] == said
        seen.add(told["arm"])
    assert seen == {"stable", "canary", "control"}


async def test_nobody_gets_the_stable_version(plane: control.Plane):
    told = (await resolved(plane.world, plane)).json()
    assert (told["version"], told["release"], told["arm"]) == (1, "r1", "stable")
    assert told["messages"] == [{"role": "user", "template": "one"}]
    assert (told["model"], told["params"]) == ("plain", {"temperature": 0.0})


async def test_every_arm_has_an_entity_tag_of_its_own(plane: control.Plane):
    tags: dict[str, str] = {}
    for number in range(20):
        got = await resolved(plane.world, plane, user=f"u{number}")
        assert tags.setdefault(got.json()["arm"], got.headers["etag"]) == got.headers["etag"]
    assert len(set(tags.values())) == len(tags) == 3
    again = await resolved(plane.world, plane, {"if-none-match": tags["stable"]})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tags["stable"])


async def test_label_or_version(plane: control.Plane):
    assert (await resolved(plane.world, plane, version="2")).json()["label"] == ""
    both = await resolved(plane.world, plane, version="2", label="production")
    assert (both.status_code, both.json()["param"]) == (400, "version")
    missing = await resolved(plane.world, plane, label="nothing")
    assert missing.status_code == 404 and "production" in missing.json()["hint"]
