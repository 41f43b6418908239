"""Principals, bindings and broken glass over the API: what is told, and to whom."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from control import Plane, judged, opened

from ostinato.access.permissions import DESCRIPTIONS, ROLES

REASON = "Nobody else is awake to fix the prices."


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with opened() as made:
        yield made


async def test_a_person_learns_what_they_may_do(plane: Plane) -> None:
    owner = await plane.key(ROLES["owner"])
    ana = (await plane.call("POST", "/principals", {"key": "ana", "name": "Ana"}, owner)).json()
    body = {"name": "ana's", "role": "prompt-editor", "principal": "ana", "allowed_intents": ["refunds"]}
    made = (await plane.call("POST", "/keys", body, owner)).json()
    bound = {"principal": "ana", "role": "prompt-editor"}
    assert (await plane.call("POST", "/bindings", bound, owner)).status_code == 201
    denied = {"principal": "ana", "permissions": ["labels:move"], "effect": "deny", "label": "production"}
    assert (await plane.call("POST", "/bindings", denied, owner)).status_code == 201
    me = (await plane.call("GET", "/whoami", None, made["secret"])).json()
    assert me["principal"] == f"principal:{ana['id']}" and me["roles"][0] == "prompt-editor"
    assert set(me["permissions"]) == ROLES["prompt-editor"] and me["allowed_intents"] == ["refunds"]
    assert [rule["on"]["label"] for rule in me["rules"]] == ["production"] and len(me["bindings"]) == 2
    assert me["breakglass_until"] is None
    page = (await plane.call("GET", "/bindings?principal=ana&limit=1", None, owner)).json()
    assert len(page["items"]) == 1 and page["next"]
    roles = (await plane.call("GET", "/roles", None, owner)).json()
    assert {role["name"]: set(role["permissions"]) for role in roles["roles"]} == {n: set(p) for n, p in ROLES.items()}
    assert roles["permissions"] == DESCRIPTIONS and "label" in roles["judged"]["labels:move"]
    await plane.call("PATCH", "/principals/ana", {"disabled": True}, owner)
    assert judged(await plane.call("GET", "/whoami", None, made["secret"]))["code"] == "principal_disabled"


async def test_broken_glass_is_told_everywhere(plane: Plane) -> None:
    key = await plane.key(ROLES["operator"] | {"breakglass:use"})
    before = await plane.call("GET", "/whoami", None, key)
    assert "ostinato-breakglass" not in before.headers
    assert (await plane.call("POST", "/principals", {"key": "x", "name": "X"}, key)).status_code == 403
    broken = (await plane.call("POST", "/breakglass", {"reason": REASON, "minutes": 5}, key)).json()
    me = await plane.call("GET", "/whoami", None, key)
    assert me.headers["ostinato-breakglass"] == f"{broken['id']}; until={broken['ends_at']}"
    assert me.json()["breakglass_until"] == broken["ends_at"]
    missing = await plane.call("GET", "/keys/nothing", None, key)
    assert missing.status_code == 404 and "ostinato-breakglass" in missing.headers
    health = (await plane.client.get("/readyz")).json()
    assert health["ready"] and before.json()["prefix"] in health["parts"]["breakglass"]
    assert "ostinato_breakglass_active 1.0" in plane.app.metrics_page().decode()
    created = await plane.call("POST", "/principals", {"key": "x", "name": "X"}, key)
    assert created.status_code == 201
    leaf = (await plane.leaves())[-1]
    assert leaf["action"] == "principals:create" and leaf["facts"]["breakglass"] == broken["id"]
    plane.world.clock.advance(300)
    after = await plane.call("POST", "/principals", {"key": "y", "name": "Y"}, key)
    assert after.status_code == 403 and "ostinato-breakglass" not in after.headers
    assert "breakglass" not in (await plane.client.get("/readyz")).json()["parts"]
    assert "ostinato_breakglass_active 0.0" in plane.app.metrics_page().decode()


async def test_a_changed_declaration_under_glass_says_so(plane: Plane) -> None:
    """Also where another room writes the leaf."""
    key = await plane.key(ROLES["owner"])
    broken = (await plane.call("POST", "/breakglass", {"reason": REASON, "minutes": 5}, key)).json()
    reply = await plane.call("PUT", "/models/made", {"targets": ["fake/plain"]}, key)
    assert reply.status_code == 200, reply.text
    leaf = (await plane.leaves())[-1]
    assert leaf["facts"].get("breakglass") == broken["id"], leaf
