"""Prompts over the API: names with slashes, conflicts with the current state, pages, and what cannot be used."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parents[1]))

from control import Plane, opened


class Editor:
    """Somebody who edits prompts of ``acme/main``."""

    def __init__(self, plane: Plane, key: str) -> None:
        self.plane = plane
        self.key = key

    async def __call__(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = await self.plane.client.request(
            method, f"/api/v1{path}", json=body, headers={"authorization": f"Bearer {self.key}"}
        )
        return answer.status_code, answer.json()


@pytest_asyncio.fixture
async def editor() -> AsyncIterator[Editor]:
    async with opened() as plane:
        permissions = frozenset({"prompts:read", "prompts:write", "labels:write", "labels:move"})
        yield Editor(plane, await plane.key(permissions, "acme/main"))


def said(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "template": text}]}


async def test_a_name_with_slashes_is_one_part_of_the_path(editor: Editor) -> None:
    status, made = await editor("POST", "/prompts", {"name": "support/de/answer", "version": said("{{q}}")})
    assert (status, made["saved"]["version"]["number"]) == (201, 1)
    for name in ("support%2Fde%2Fanswer", "support%2fde%2fanswer", "support~de~answer", made["prompt"]["id"]):
        assert (await editor("GET", f"/prompts/{name}"))[1]["name"] == "support/de/answer"
        assert (await editor("GET", f"/prompts/{name}/versions/1"))[0] == 200
    assert (await editor("GET", "/prompts/support/de/answer"))[0] == 404
    assert (await editor("GET", "/prompts/support%2Fde%2Fanswer%2Fversions%2F1"))[0] == 404


async def test_conflicts_tell_how_things_stand(editor: Editor) -> None:
    await editor("POST", "/prompts", {"name": "p", "version": said("a")})
    status, told = await editor("POST", "/prompts", {"name": "p"})
    assert (status, told["code"]) == (409, "name_taken")
    assert (await editor("POST", "/prompts/p/versions?latest=1", said("b")))[0] == 201
    status, told = await editor("POST", "/prompts/p/versions?latest=1", said("c"))
    assert (status, told["code"]) == (409, "version_moved") and "version is 2" in told["detail"]
    assert (await editor("PUT", "/prompts/p/labels/v1?version=0", {"version": 1}))[0] == 200
    status, told = await editor("PUT", "/prompts/p/labels/v2?version=3", {"version": 1})
    assert status == 409 and "points nowhere" in told["detail"]
    status, told = await editor("PATCH", "/prompts/p?version=7", {"description": "x"})
    assert status == 409


async def test_what_cannot_be_used_is_named(editor: Editor) -> None:
    await editor("POST", "/prompts", {"name": "p", "version": said("{{q}}")})
    for method, path, body, status in (
        ("POST", "/prompts/p/versions", {**said("x"), "colour": "red"}, 400),
        ("POST", "/prompts/p/versions", {"messages": [{"role": "robot", "template": "x"}]}, 400),
        ("POST", "/prompts", {"name": "q", "kind": "poem"}, 400),
        ("PUT", "/prompts/p/labels/v1", {"version": 0}, 400),
        ("PUT", "/prompts/p/labels/v1", {"version": 9}, 404),
        ("PUT", "/prompts/p/labels/nowhere", {"version": 1}, 404),
        ("PUT", "/prompts/p/labels/production", {"version": 1}, 403),
        ("GET", "/prompts/p/versions?after=x", None, 400),
        ("GET", "/prompts/p/history?after=-1", None, 400),
        ("GET", "/prompts/p/diff?old=1&new=2", None, 404),
        ("GET", "/prompts?project=gone", None, 404),
        ("POST", "/prompts/p/render", {"version": 1}, 422),
        ("POST", "/prompts/p/render", {"version": 1, "variables": {"q": 7}}, 422),
        ("POST", "/prompts/p/render", {"version": 1, "label": "v1"}, 400),
        ("POST", "/prompts/p/render", {"variables": {"q": "x"}}, 404),
    ):
        found, told = await editor(method, path, body)
        assert found == status, (method, path, told)
        assert told["code"] and told["detail"]
    _, told = await editor("POST", "/prompts/p/render", {"version": 1})
    assert (told["code"], told["param"]) == ("missing_variable", "prompt.variables.q")


async def test_versions_and_moves_are_paged_with_cursors(editor: Editor) -> None:
    await editor("POST", "/prompts", {"name": "p"})
    await editor("PUT", "/labels/staging", {})
    for number in range(1, 6):
        assert (await editor("POST", "/prompts/p/versions", said(f"text {number}")))[0] == 201
        assert (await editor("PUT", "/prompts/p/labels/staging", {"version": number, "reason": "next"}))[0] == 200
    for path, field in (("versions", "number"), ("history", "number")):
        seen: list[int] = []
        after = ""
        while True:
            _, page = await editor("GET", f"/prompts/p/{path}?limit=2{after}")
            seen += [item[field] for item in page["items"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert seen == [5, 4, 3, 2, 1]
    _, found = await editor("GET", "/prompts")
    assert found["items"][0]["labels"] == {"staging": 5}
    status, shown = await editor("POST", "/prompts/p/render", {"label": "staging"})
    assert (status, shown["messages"]) == (200, [{"role": "user", "content": "text 5"}])
