"""The control plane with traffic behind it: what a key may make, secrets, withdrawing, wrong requests, odd pages.

Every route with every role and tenant is tried in ``tests/authorization``; what holds for all of them in
``test_api_platform``.
"""

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import control
from control import ROUTES, judged
from inside import SYSTEM

from ostinato import access
from ostinato.access.permissions import ROLES
from ostinato.web.api import guarding
from ostinato.web.api.application import build


class Plane(control.Plane):
    """The control plane over two organizations, ``acme`` and ``beta``, with a key and traffic in each."""

    async def prepare(self) -> None:
        await super().prepare()
        self.objects: dict[str, dict[str, str]] = {}
        for name in ("acme", "beta"):
            project = self.projects[f"{name}/main"]
            grant = access.Grant(permissions=frozenset({"chat:call"}), budget=access.MoneyBudget(10**9))
            key, secret = await self.app.access.create_key(SYSTEM, f"{name} app", grant, project)
            got = await self.world.chat(f"of {name}", {"ostinato-tags": name}, key=secret)
            assert got.status == 200
            row = max(await self.world.rows(len(self.objects) + 1), key=lambda row: row.at)
            self.objects[name] = {"project": project, "key": key.id, "request": row.request_id, "secret": secret}
            self.world.clock.advance(1)

    def path(self, template: str, whose: str) -> str:
        """A route's path with one organization's objects in it, where they are of the kind."""
        mine = self.objects[whose]
        ref = mine["key"] if template.startswith("/keys") else mine["project"]
        return (
            template.replace("{ref:str}", ref)
            .replace("{request_id:str}", mine["request"])
            .replace("{name:path}", "fake/made")
        )


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Plane]:
    async with control.opened(kind=Plane) as plane:
        yield plane


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with opened() as made:
        yield made


def test_a_route_without_a_permission_does_not_start() -> None:
    from litestar import get

    @get("/open")
    async def unguarded() -> None:
        """Open to everybody."""

    @get("/odd", opt={guarding.PERMISSION: "everything:do"})
    async def odd() -> None:
        """Guarded by nothing that there is."""

    for handler in (unguarded, odd):
        with pytest.raises(RuntimeError, match="permission"):
            guarding.refuse_unguarded([handler])


async def test_nothing_is_served_but_the_route_table(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is registered past the table, with the framework's own means, does not start either."""
    from litestar import Litestar, get

    @get("/api/v1/back-door")
    async def back_door() -> None:
        """Registered by nobody."""

    class Open(Litestar):
        def __init__(self, handlers: Any, **options: Any) -> None:
            super().__init__([*handlers, back_door], **options)

    monkeypatch.setattr("ostinato.web.api.application.Litestar", Open)
    with pytest.raises(RuntimeError, match="back-door"):
        build(plane.app)


async def test_withdrawing_reaches_no_other_organization(plane: Plane) -> None:
    key = await plane.key(ROLES["operator"])
    for selector in ({"everything": True}, {"tag": "beta"}, {"alias": "plain"}, {"target": "fake/plain"}):
        reply = await plane.call("POST", "/cache/invalidations", {**selector, "dry_run": False}, key)
        assert reply.status_code == 200
    assert (
        await plane.world.chat("of beta", {"ostinato-tags": "beta"}, key=plane.objects["beta"]["secret"])
    ).cache == "hit-exact"
    assert (
        await plane.world.chat("of acme", {"ostinato-tags": "acme"}, key=plane.objects["acme"]["secret"])
    ).cache == "miss"


async def test_a_key_makes_none_that_can_do_more(plane: Plane) -> None:
    """S4: by role, by permission, by model, by rate, by budget, by project, by organization, by expiry."""
    grant = access.Grant(
        permissions=frozenset({"keys:write", "keys:read", "chat:call"}),
        allowed_models=frozenset({"plain"}),
        rate=access.RateLimit(10, 60.0),
        budget=access.MoneyBudget(10**6),
        expires_at=plane.world.clock.now() + 10**9,
        end_user_required=True,
        may_act_for_users=False,
    )
    _, key = await plane.world.app.access.create_key(SYSTEM, "issuer", grant, plane.objects["acme"]["project"])
    greedy: list[Any] = [
        {"role": "owner"},
        {"role": "operator"},
        {"permissions": ["organizations:write"]},
        {"permissions": ["chat:call", "traces:text"]},
        {"permissions": ["everything"]},
        {"allowed_models": ["plain", "other"]},
        {"project": plane.objects["beta"]["project"]},
        {"project": "beta/main"},
        {"expires_at": plane.world.clock.now() + 10**12},
        {"end_user_required": False, "may_act_for_users": True},
        {"rate": {"requests": 1000, "seconds": 60.0}},
        {"rate": {"requests": 0, "seconds": 60.0}},
        {"rate": {"requests": -5, "seconds": -1}},
        {"budget": {"nano": -1, "period": "month"}},
        {"budget": {"nano": 10, "period": "eon"}},
        {"unknown": 1},
        {"name": ""},
        {"name": 5},
    ]
    for fields in greedy:
        plane.world.clock.advance(10)  # it has a rate of its own
        reply = await plane.call("POST", "/keys", {"name": "greedy", **fields}, key)
        if reply.status_code == 201:
            made = reply.json()["key"]
            assert set(made["permissions"]) <= grant.permissions
            assert made["allowed_models"] == ["plain"]
            assert made["expires_at"] is not None and made["expires_at"] <= (grant.expires_at or 0)
            assert made["end_user_required"] and not made["may_act_for_users"]
            assert made["rate"] is not None and made["rate"]["requests"] / made["rate"]["seconds"] <= 10 / 60
            assert made["project_id"] == plane.objects["acme"]["project"]
        else:
            assert reply.status_code in (400, 403, 404), (fields, reply.text)
    plane.world.clock.advance(10)
    reply = await plane.call("POST", "/keys", {"name": "modest"}, key)
    assert reply.status_code == 201


async def test_secrets_are_shown_once(plane: Plane) -> None:
    key = await plane.key(ROLES["operator"])
    made = (await plane.call("POST", "/keys", {"name": "once"}, key)).json()
    secret, reference = made["secret"], made["key"]["id"]
    for route in ROUTES:
        if route.method == "GET":
            target = plane.path(route.path, "acme").replace(plane.objects["acme"]["key"], reference)
            told = (await plane.call(route.method, target, None, key)).text
            assert secret not in told
            assert secret[16:] not in told
    database = (plane.world.app.directory.path / "control.db").read_bytes()
    assert secret.encode() not in database and secret[16:].encode() not in database


async def test_wrong_requests_are_problem_documents(plane: Plane) -> None:
    key = await plane.key(ROLES["owner"])
    odd: list[tuple[str, str, Any]] = [
        ("GET", "/nothing", None),
        ("GET", "/keys/nothing", None),
        ("GET", "/keys/%00", None),
        ("GET", "/keys/" + "x" * 5000, None),
        ("GET", "/keys?limit=-1", None),
        ("GET", "/audit/leaves/1761945276424500730134528", None),
        ("GET", "/audit/leaves?until=9999999999999999999", None),
        ("GET", "/keys?limit=many", None),
        ("GET", "/keys?after=%27;--", None),
        ("GET", "/traces?after=nonsense", None),
        ("GET", "/traces/%27%20OR%201=1", None),
        ("GET", "/stats?since=yesterday", None),
        ("GET", "/cache/entries?limit=0", None),
        ("GET", "/cache/entries?offset=-5", None),
        ("GET", "/cache/entries?limit=10000000", None),
        ("POST", "/keys", None),
        ("POST", "/keys", []),
        ("POST", "/keys", "name"),
        ("POST", "/projects", {"key": "../../etc", "name": "x"}),
        ("POST", "/projects", {"key": "x" * 1000, "name": "x"}),
        ("POST", "/projects", {"key": "a b", "name": "x"}),
        ("PATCH", "/projects/main?version=99", {"name": "x"}),
        ("PUT", "/models/x", {"targets": ["nowhere/x"]}),
        ("PUT", "/models/x", {"targets": 5}),
        ("PUT", "/models/x", []),
        ("PUT", "/prices/x", {"input": "cheap"}),
        ("PUT", "/policies/x", {"ttl": -1}),
        ("PUT", "/rules/x", {"kind": "virus", "action": "block"}),
        ("PUT", "/models/plain", {"targets": ["fake/plain"]}),
        ("DELETE", "/models/plain", None),
        ("DELETE", "/models/nothing", None),
        ("POST", "/cache/invalidations", {}),
        ("POST", "/cache/invalidations", {"everything": "yes please"}),
        ("POST", "/cache/invalidations", {"unknown": 1}),
        ("BREW", "/keys", None),
        ("POST", "/stats", {}),
    ]
    for method, path, body in odd:
        reply = await plane.call(method, path, body, key)
        assert 400 <= reply.status_code < 500, (method, path, reply.status_code, reply.text)
    for content in (b"{", b"\xff\xfe", b"[" * 100_000, b"{" + b" " * 2_000_000 + b"}", b'{"name": "\\ud800"}'):
        reply = await plane.client.post(
            "/api/v1/keys",
            content=content,
            headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
        )
        assert 400 <= reply.status_code < 500, content[:20]
        judged(reply)
    reply = await plane.call("GET", "/keys", None, key, x_forwarded_for="127.0.0.1", x_http_method_override="DELETE")
    assert reply.status_code == 200


async def test_operational_pages(plane: Plane) -> None:
    assert (await plane.client.get("/healthz")).json() == {"alive": True}
    ready = await plane.client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    for key, status in ((None, 401), ("ost_x", 401), (plane.objects["acme"]["secret"], 403)):
        headers = {"authorization": f"Bearer {key}"} if key else {}
        assert (await plane.client.get("/metrics", headers=headers)).status_code == status
    key = await plane.key(frozenset({"metrics:read"}))
    page = await plane.client.get("/metrics", headers={"authorization": f"Bearer {key}"})
    assert page.status_code == 200
    lines = [line for line in page.text.splitlines() if line and not line.startswith("#")]
    assert len(lines) > 20
    assert all(len(line.rsplit(" ", 1)) == 2 and float(line.rsplit(" ", 1)[1]) >= 0 for line in lines)
    assert "0.0005" in page.text, "buckets begin at half a millisecond"
    assert json.dumps(plane.objects["acme"]["secret"]) not in page.text
    await plane.world.app.drain()
    assert (await plane.client.get("/readyz")).status_code == 503
    assert (await plane.client.get("/healthz")).status_code == 200
