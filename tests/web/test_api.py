"""The control plane from its route table: every route, every role, without a key, and with objects of somebody else."""

import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from inside import BASE, SYSTEM, World, inside

from ostinato import access
from ostinato.access.permissions import ALL, ROLES
from ostinato.web import api
from ostinato.web.api import guarding
from ostinato.web.api.application import HANDLERS
from ostinato.web.operations import Operations

ROUTES = sorted(
    (method, path, str(handler.opt[guarding.PERMISSION]))
    for handler in HANDLERS
    for path in handler.paths
    for method in handler.http_methods
)
"""(method, path below ``/api/v1``, permission)."""

BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/organizations"): {"key": "made", "name": "Made"},
    ("POST", "/projects"): {"key": "made", "name": "Made"},
    ("PATCH", "/projects/{ref:str}"): {"name": "Renamed"},
    ("POST", "/keys"): {"name": "made"},
    ("PATCH", "/keys/{ref:str}"): {"name": "Renamed"},
    ("POST", "/keys/{ref:str}/rotate"): {},
    ("PUT", "/models/{name:path}"): {"targets": ["fake/plain"]},
    ("PUT", "/prices/{name:path}"): {"input": 1.0, "output": 1.0},
    ("PUT", "/policies/{name:path}"): {"ttl": 60.0, "alias": "made"},
    ("PUT", "/rules/{name:path}"): {"kind": "pii", "action": "redact"},
    ("POST", "/cache/invalidations"): {"everything": True},
}


class Plane:
    """The control plane over two organizations, ``acme`` and ``beta``, each with a project, keys and traffic."""

    def __init__(self, world: World) -> None:
        self.world = world
        transport = httpx.ASGITransport(Operations(world.app, api.build(world.app), loopback=False))  # pyright: ignore
        self.client = httpx.AsyncClient(transport=transport, base_url="http://ostinato")
        self.objects: dict[str, dict[str, str]] = {}

    async def prepare(self) -> None:
        for name in ("acme", "beta"):
            await self.world.app.access.create_organization(SYSTEM, name, name)
            project = await self.world.app.access.create_project(SYSTEM, "main", "Main", organization=name)
            grant = access.Grant(permissions=frozenset({"chat:call"}), budget=access.MoneyBudget(10**9))
            key, secret = await self.world.app.access.create_key(SYSTEM, f"{name} app", grant, project.id)
            got = await self.world.chat(f"of {name}", {"ostinato-tags": name}, key=secret)
            assert got.status == 200
            row = max(await self.world.rows(len(self.objects) + 1), key=lambda row: row.at)
            self.objects[name] = {"project": project.id, "key": key.id, "request": row.request_id, "secret": secret}
            self.world.clock.advance(1)

    async def key(self, organization: str, permissions: frozenset[str]) -> str:
        grant = access.Grant(permissions=permissions)
        _, secret = await self.world.app.access.create_key(
            SYSTEM, "a role", grant, self.objects[organization]["project"]
        )
        return secret

    async def call(
        self, method: str, path: str, body: Any = None, key: str | None = None, **headers: str
    ) -> httpx.Response:
        sent = {**headers, **({"authorization": f"Bearer {key}"} if key is not None else {})}
        reply = await self.client.request(method, f"/api/v1{path}", json=body, headers=sent)
        if reply.status_code >= 400:
            judged(reply)
        return reply

    def path(self, template: str, whose: str) -> str:
        """A route's path with one organization's objects in it."""
        mine = self.objects[whose]
        ref = mine["key"] if template.startswith("/keys") else mine["project"]
        return (
            template.replace("{ref:str}", ref)
            .replace("{request_id:str}", mine["request"])
            .replace("{name:path}", "fake/made")
        )


def judged(reply: httpx.Response) -> Any:
    """The problem document of a reply, whose shape is always the same."""
    assert reply.headers["content-type"] == "application/problem+json"
    told = reply.json()
    assert set(told) <= {"type", "title", "status", "detail", "code", "hint", "param"}
    assert told["status"] == reply.status_code
    assert told["type"] == f"urn:ostinato:{told['code']}"
    assert len(told["detail"]) > 5
    assert "Traceback" not in reply.text
    assert reply.status_code != 500, told
    return told


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[Plane]:
    async with inside(base=BASE.replace("[models.", "[models.file-").replace("file-plain]", "plain]")) as world:
        plane = Plane(world)
        await plane.prepare()
        yield plane
        await plane.client.aclose()


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with opened() as made:
        yield made


def test_every_route_names_a_permission_that_there_is() -> None:
    assert len(ROUTES) > 25
    for method, path, permission in ROUTES:
        assert permission in ALL or permission == guarding.ANY_KEY, (method, path)
        if method not in ("GET", "HEAD"):
            assert not permission.endswith(":read"), (method, path)


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


async def test_nobody_gets_in_without_a_key(plane: Plane) -> None:
    dead = await plane.key("acme", ROLES["owner"])
    await plane.world.app.access.revoke_key(SYSTEM, dead[:12])
    short = access.Grant(permissions=ROLES["owner"], expires_at=plane.world.clock.now() + 1_000_000)
    _, expired = await plane.world.app.access.create_key(SYSTEM, "short", short, plane.objects["acme"]["project"])
    plane.world.clock.advance(2)
    for method, path, _ in ROUTES:
        for key in (None, "", "ost_nothing", "sk-other", "ost_" + "A" * 58, dead, expired, "ost_'; DROP TABLE keys;--"):
            reply = await plane.call(method, plane.path(path, "acme"), BODIES.get((method, path)), key)
            assert reply.status_code == 401, (method, path, key)
            assert reply.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("role", ROLES)
async def test_every_role_gets_what_it_may_and_nothing_else(plane: Plane, role: str) -> None:
    permissions = ROLES[role]
    for method, path, needed in ROUTES:
        key = await plane.key("acme", permissions)
        reply = await plane.call(method, plane.path(path, "acme"), BODIES.get((method, path)), key)
        allowed = needed == guarding.ANY_KEY or needed in permissions
        if not allowed:
            assert reply.status_code == 403, (method, path, reply.text)
            assert needed in judged(reply)["detail"]
        elif (method, path) in GLOBAL and "organizations:write" not in permissions:
            assert reply.status_code == 403, (method, path, reply.text)
        else:
            assert reply.status_code < 300 or reply.status_code in (404, 409), (method, path, reply.text)
            assert reply.status_code != 404 or "{name:path}" in path or "budget" in path, (method, path, reply.text)


GLOBAL = {
    (method, f"/{kind}/{{name:path}}") for kind in ("models", "prices", "policies", "rules") for method in ("PUT",)
}
"""Without a project such a declaration holds for everybody: it takes a key that may act everywhere."""


async def test_each_permission_opens_its_routes_alone(plane: Plane) -> None:
    for permission in sorted(ALL):
        key = await plane.key("acme", frozenset({permission}))
        for method, path, needed in ROUTES:
            if needed in (permission, guarding.ANY_KEY) or method != "GET":
                continue
            reply = await plane.call(method, plane.path(path, "acme"), None, key)
            assert reply.status_code == 403, (permission, method, path)


@pytest.mark.parametrize("role", ["operator", "analyst", "service"])
async def test_objects_of_another_organization_do_not_exist(plane: Plane, role: str) -> None:
    theirs = plane.objects["beta"]
    names = [theirs["project"], theirs["key"], theirs["request"], theirs["secret"], "beta"]
    for method, path, _ in ROUTES:
        key = await plane.key("acme", ROLES[role])
        mine = key
        reply = await plane.call(method, plane.path(path, "beta"), BODIES.get((method, path)), mine)
        if "{ref" in path or "{request_id" in path:
            assert reply.status_code in (403, 404), (method, path, reply.text)
        told = reply.text
        asked_for = plane.path(path, "beta")
        assert not [name for name in names if name in told and name not in asked_for], (method, path, told)
    for query in (f"project={theirs['project']}", "project=beta/main", f"key={theirs['key']}"):
        for path in ("/keys", "/traces", "/stats", "/cache/entries"):
            reply = await plane.call("GET", f"{path}?{query}", None, await plane.key("acme", ROLES["operator"]))
            assert reply.status_code in (200, 400, 404)
            assert not [name for name in names if name in reply.text and name not in query], (path, query, reply.text)
    # And nothing of theirs has changed meanwhile.
    again = await plane.world.chat("of beta", {"ostinato-tags": "beta"}, key=theirs["secret"])
    assert again.cache == "hit-exact"


async def test_withdrawing_reaches_no_other_organization(plane: Plane) -> None:
    key = await plane.key("acme", ROLES["operator"])
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
    key = await plane.key("acme", ROLES["operator"])
    made = (await plane.call("POST", "/keys", {"name": "once"}, key)).json()
    secret, reference = made["secret"], made["key"]["id"]
    for method, path, _ in ROUTES:
        if method == "GET":
            target = plane.path(path, "acme").replace(plane.objects["acme"]["key"], reference)
            told = (await plane.call(method, target, None, key)).text
            assert secret not in told
            assert secret[16:] not in told
    database = (plane.world.app.directory.path / "control.db").read_bytes()
    assert secret.encode() not in database and secret[16:].encode() not in database


async def test_wrong_requests_are_problem_documents(plane: Plane) -> None:
    key = await plane.key("acme", ROLES["owner"])
    odd: list[tuple[str, str, Any]] = [
        ("GET", "/nothing", None),
        ("GET", "/keys/nothing", None),
        ("GET", "/keys/%00", None),
        ("GET", "/keys/" + "x" * 5000, None),
        ("GET", "/keys?limit=-1", None),
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
    reply = await plane.call(
        "GET", "/keys", None, key, **{"x-forwarded-for": "127.0.0.1", "x-http-method-override": "DELETE"}
    )
    assert reply.status_code == 200


async def test_the_openapi_document_tells_of_every_route(plane: Plane) -> None:
    document = (await plane.client.get("/api/v1/schema/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    for method, path, _ in ROUTES:
        plain = "/api/v1" + path.replace(":str}", "}").replace(":path}", "}")
        assert (method, plain) in told, (method, plain)
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    for operation in operations:
        assert operation.get("summary") or operation.get("description"), operation["operationId"]
        assert operation["responses"]
    references = set(_references(document))
    for reference in references:
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part.replace("~1", "/").replace("~0", "~")]
    assert references


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        found = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return found + [one for value in node.values() for one in _references(value)]
    return [one for value in node for one in _references(value)] if isinstance(node, list) else []


async def test_operational_pages(plane: Plane) -> None:
    assert (await plane.client.get("/healthz")).json() == {"alive": True}
    ready = await plane.client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (200, True)
    for key, status in ((None, 401), ("ost_x", 401), (plane.objects["acme"]["secret"], 403)):
        headers = {"authorization": f"Bearer {key}"} if key else {}
        assert (await plane.client.get("/metrics", headers=headers)).status_code == status
    key = await plane.key("acme", frozenset({"metrics:read"}))
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
