"""Declarations over two organizations: whose they are, who sees and changes them, and what two at once may do.

Every route of ``/models``, ``/policies``, ``/prices`` and ``/rules`` is tried by keys of another organization, of
another project, and of the right one.
"""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from control import control_plane
from inside import BASE, SYSTEM, World, configured, inside, settle

from ostinato import access
from ostinato.access.permissions import ROLES
from ostinato.app import App
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Invalid
from ostinato.web.operations import Operations

READS = frozenset({"targets:read", "prices:read", "policies:read"})
WRITES = READS | {"targets:write", "prices:write", "policies:write", "projects:read"}

BODIES: dict[str, dict[str, Any]] = {
    "models": {"alias": "fast", "targets": ["fake/plain"]},
    "policies": {"alias": "fast", "ttl": 60.0},
}
"""What may be declared for a project."""
GLOBAL: dict[str, dict[str, Any]] = {
    **BODIES,
    "prices": {"input": 1.0, "output": 2.0},
    "rules": {"kind": "pii", "action": "redact"},
}
NAMES = {"models": "standing", "policies": "standing", "prices": "fake/standing", "rules": "standing"}


class Site:
    """The control plane over two organizations: ``acme`` (projects ``main`` and ``side``) and ``beta`` (``main``)."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.app = world.app
        transport = httpx.ASGITransport(Operations(world.app, control_plane(world.app), loopback=True))  # pyright: ignore
        self.client = httpx.AsyncClient(transport=transport, base_url="http://ostinato")
        self.keys = {"owner": world.key}
        self.projects: dict[str, str] = {}

    async def found(self) -> None:
        for name, projects in (("acme", ("main", "side")), ("beta", ("main",))):
            await self.app.access.create_organization(SYSTEM, name, name)
            for project in projects:
                await self.new_project(name, project)
        for name, project, permissions in (
            ("acme", "acme/main", ROLES["operator"]),
            ("acme-main", "acme/main", WRITES),
            ("acme-side", "acme/side", WRITES),
            ("beta", "beta/main", ROLES["operator"]),
            ("beta-analyst", "beta/main", ROLES["analyst"]),
            ("acme-reader", "acme/main", READS),
        ):
            grant = access.Grant(permissions=permissions)
            _, self.keys[name] = await self.app.access.create_key(SYSTEM, name, grant, self.projects[project])

    async def new_project(self, organization: str, key: str) -> None:
        made = await self.app.access.create_project(SYSTEM, key, key, organization=organization)
        self.projects[f"{organization}/{key}"] = made.id

    async def call(self, who: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        reply = await self.client.request(
            method, f"/api/v1{path}", json=body, headers={"authorization": f"Bearer {self.keys[who]}"}
        )
        return reply.status_code, reply.json() if reply.content else None

    async def put(self, who: str, kind: str, name: str, /, **body: Any) -> tuple[int, Any]:
        return await self.call(who, "PUT", f"/{kind}/{name}", body)

    async def names(self, who: str, kind: str) -> set[str]:
        status, found = await self.call(who, "GET", f"/{kind}")
        assert status == 200, found
        return {one["name"] for one in found}

    async def body(self, kind: str, name: str) -> Any:
        return (await self.app.declarations.load(kind)).get(name)

    async def alias(self, project: str, alias: str) -> str:
        """The target behind an alias."""
        await self.app.catalog.reload()
        found = self.app.catalog.value.get(self.projects[project], alias)
        return found.targets[0].name if found is not None else ""


@contextlib.asynccontextmanager
async def opened(extra: str = "") -> AsyncIterator[Site]:
    async with inside(extra) as world:
        site = Site(world)
        await site.found()
        yield site
        await site.client.aclose()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with opened() as made:
        yield made


# --- what belongs to one project ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BODIES)
async def test_anothers_declaration_does_not_exist(site: Site, kind: str) -> None:
    assert (await site.put("acme", kind, "ours", project="acme/main", **BODIES[kind]))[0] == 200
    before = await site.app.declarations.show(kind, "ours")
    for stranger in ("beta", "beta-analyst", "acme-side"):
        assert "ours" not in await site.names(stranger, kind)
        for path in (f"/{kind}/ours", f"/{kind}/ours?history=true"):
            status, told = await site.call(stranger, "GET", path)
            assert (status, told["code"]) == (404, "declaration_unknown")
            assert told["detail"] == (await site.call(stranger, "GET", path.replace("ours", "none")))[1][
                "detail"
            ].replace("none", "ours"), "as if there were none"
        refused = {"beta-analyst": 403}.get(stranger, 404)
        assert (await site.call(stranger, "DELETE", f"/{kind}/ours"))[0] == refused
        for project in ("acme/main", "beta/main", "acme/side", None):
            for version in ("", "?version=0", "?version=1", "?version=2"):
                body = {**BODIES[kind], "project": project} if project else BODIES[kind]
                status, told = await site.call(stranger, "PUT", f"/{kind}/ours{version}", body)
                assert status in (403, 404, 409), told
                assert "acme" not in str(told)
    assert await site.app.declarations.show(kind, "ours") == before


@pytest.mark.parametrize("kind", BODIES)
async def test_who_reaches_the_project_has_every_route(site: Site, kind: str) -> None:
    for who in ("acme", "acme-main", "owner"):
        await every_route(site, kind, f"of-{who}", who)


async def every_route(site: Site, kind: str, name: str, who: str) -> None:
    assert (await site.put("acme", kind, name, project="acme/main", **BODIES[kind]))[0] == 200
    assert name in await site.names(who, kind)
    assert (await site.call(who, "GET", f"/{kind}/{name}"))[1]["version"] == 1
    changed = {**BODIES[kind], "alias": "other", "project": "acme/main"}
    status, told = await site.call(who, "PUT", f"/{kind}/{name}?version=1", changed)
    assert (status, told["version"], told["body"]["alias"]) == (200, 2, "other")
    assert (await site.call(who, "PUT", f"/{kind}/{name}?version=1", changed))[1]["code"] == "declaration_changed"
    assert (await site.call(who, "DELETE", f"/{kind}/{name}"))[0] == 204
    status, told = await site.call(who, "GET", f"/{kind}/{name}?history=true")
    assert (status, [one["action"] for one in told]) == (200, ["put", "put", "remove"])
    assert (await site.call("beta", "GET", f"/{kind}/{name}?history=true"))[0] == 404


@pytest.mark.parametrize("kind", BODIES)
async def test_reading_takes_no_permission_about_projects(site: Site, kind: str) -> None:
    await site.put("acme", kind, "ours", project="acme/main", **BODIES[kind])
    await site.put("acme", kind, "side", project="acme/side", **BODIES[kind])
    names = await site.names("acme-reader", kind)
    assert "ours" in names and "side" not in names
    assert (await site.call("acme-reader", "GET", f"/{kind}/ours"))[0] == 200


async def test_a_taken_name_is_told_with_the_way_out(site: Site) -> None:
    await site.put("acme", "models", "fast", project="acme/main", targets=["fake/plain"])
    status, told = await site.put("beta", "models", "fast", project="beta/main", targets=["other/plain"])
    assert (status, told["code"]) == (409, "name_taken")
    status, _ = await site.put(
        "beta", "models", "beta-fast", alias="fast", project="beta/main", targets=["other/plain"]
    )
    assert status == 200
    assert await site.alias("acme/main", "fast") == "fake/plain"
    assert await site.alias("beta/main", "fast") == "other/plain"


async def test_nobody_gives_a_declaration_to_a_project_out_of_reach(site: Site) -> None:
    await site.put("beta", "models", "mine", project="beta/main", targets=["fake/plain"])
    assert (await site.put("beta", "models", "mine", project="acme/main", targets=["fake/plain"]))[0] == 404
    assert (await site.put("beta", "models", "mine", targets=["fake/plain"]))[0] == 403
    assert (await site.body("models", "mine"))["project"] == site.projects["beta/main"]


# --- what holds for everybody -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GLOBAL)
async def test_what_holds_for_everybody_is_seen_by_all_and_changed_by_few(site: Site, kind: str) -> None:
    name = NAMES[kind]
    assert (await site.put("owner", kind, name, **GLOBAL[kind]))[0] == 200
    before = await site.app.declarations.show(kind, name)
    for who in ("acme", "acme-main", "beta"):
        assert name in await site.names(who, kind)
        assert (await site.call(who, "GET", f"/{kind}/{name}"))[0] == 200
        assert len((await site.call(who, "GET", f"/{kind}/{name}?history=true"))[1]) == 1
        for project in ({}, {"project": ""}, {"project": "*"}, {"project": None}, {"project": "main"}):
            for version in ("", "?version=0", "?version=1"):
                body = {**GLOBAL[kind], **project}
                assert (await site.call(who, "PUT", f"/{kind}/{name}{version}", body))[0] == 403
                if project != {"project": "main"}:
                    assert (await site.call(who, "PUT", f"/{kind}/fake/new{version}", body))[0] == 403
        assert (await site.call(who, "DELETE", f"/{kind}/{name}"))[0] == 403
    assert await site.app.declarations.show(kind, name) == before
    assert (await site.call("owner", "DELETE", f"/{kind}/{name}"))[0] == 204


@pytest.mark.parametrize("kind", ["prices", "rules"])
async def test_prices_and_rules_are_never_a_projects_own(site: Site, kind: str) -> None:
    status, _ = await site.put("beta", kind, "fake/x", project="beta/main", **GLOBAL[kind])
    assert status == 400
    assert await site.body(kind, "fake/x") is None


@pytest.mark.parametrize("kind", BODIES)
async def test_history_shows_each_only_what_was_within_their_reach(site: Site, kind: str) -> None:
    for project in ("acme/main", "beta/main", "", "acme/side"):
        body = {**BODIES[kind], "project": project} if project else BODIES[kind]
        assert (await site.call("owner", "PUT", f"/{kind}/moved", body))[0] == 200
    assert (await site.call("owner", "DELETE", f"/{kind}/moved"))[0] == 204

    async def versions(who: str) -> list[int]:
        return [one["version"] for one in (await site.call(who, "GET", f"/{kind}/moved?history=true"))[1]]

    assert await versions("owner") == [1, 2, 3, 4, 5]
    assert await versions("acme") == [1, 3, 4, 5]
    assert await versions("acme-main") == [1, 3]
    assert await versions("acme-side") == [3, 4, 5]
    assert await versions("beta") == [2, 3]


async def test_names_that_cannot_be(site: Site) -> None:
    calls = (("GET", ""), ("GET", "?history=true"), ("PUT", ""), ("DELETE", ""))
    for name, (method, path) in itertools.product(("%00", "a%0d%0ab", "x" * 256), calls):
        status, told = await site.call("owner", method, f"/models/{name}{path}", {"targets": ["fake/plain"]})
        assert (status, told["code"]) == (400, "invalid_request")


# --- what the file declares ---------------------------------------------------------------------------------------

OF_ACME = """
[models.filed]
project = "acme/main"
targets = ["fake/plain"]
[policies.filed]
project = "acme/main"
ttl = 5
"""


async def test_what_the_file_declares_for_a_project_that_comes_later_holds_once_it_is_there() -> None:
    async with opened(OF_ACME) as site:
        for _ in range(100):
            await settle()
            found = site.app.catalog.value.get(site.projects["acme/main"], "filed")
            if found and site.app.policies.value.for_(site.projects["acme/main"], "x").ttl == 5:
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError("it does not hold")
        assert site.app.catalog.value.get(site.projects["beta/main"], "filed") is None
        assert site.app.policies.value.for_(site.projects["beta/main"], "x").ttl == 86_400
        epoch = site.app.catalog.epoch
        await site.new_project("beta", "more")
        await settle()
        assert site.app.catalog.epoch == epoch, "nothing waits for a project any more"
        for kind, own in BODIES.items():
            assert "filed" in await site.names("acme-main", kind)
            assert "filed" not in await site.names("beta", kind)
            assert (await site.call("beta", "GET", f"/{kind}/filed?history=true"))[0] == 404
            body = {**own, "project": "acme/main"}
            assert (await site.call("acme", "PUT", f"/{kind}/filed", body))[1]["code"] == "declared_in_configuration"
            assert (await site.call("acme", "DELETE", f"/{kind}/filed"))[1]["code"] == "declared_in_configuration"
        # The same project, written once as its name and once as its id.
        status, told = await site.put(
            "acme", "models", "twice", alias="filed", project="acme/main", targets=["fake/plain"]
        )
        assert (status, told["code"]) == (400, "alias_conflict")


SHORT = """
[models.filed]
project = "late"
targets = ["fake/plain"]
"""


async def test_a_short_name_that_two_organizations_have_means_neither(caplog: pytest.LogCaptureFixture) -> None:
    async with opened(SHORT) as site:
        site.world.clock.advance(1)
        await site.new_project("beta", "late")
        assert await site.alias("beta/late", "filed") == "fake/plain"
        await site.new_project("acme", "late")
        assert await site.alias("beta/late", "filed") == ""
        assert await site.alias("acme/late", "filed") == ""
        assert "models.filed holds for nobody" in caplog.text
        assert caplog.text.count("holds for nobody") == 1


async def test_nobody_changes_what_a_short_name_means_by_making_another(tmp_path: Path) -> None:
    """Neither now nor after the next start; and declaring it now would be refused."""
    clock = ManualClock()
    app = App(configured(BASE, str(tmp_path)), clock)
    await app.start()
    await app.access.create_organization(SYSTEM, "acme", "acme")
    ours = await app.access.create_project(SYSTEM, "late", "late", organization="acme")
    await app.stop()
    clock.advance(1)
    for turn in range(2):
        app = App(configured(BASE + SHORT, str(tmp_path)), clock)
        await app.start()
        clock.advance(1)
        if turn == 0:
            await app.access.create_organization(SYSTEM, "beta", "beta")
            await app.access.create_project(SYSTEM, "late", "late", organization="beta")
            await app.catalog.reload()
        assert app.catalog.value.get(ours.id, "filed") is not None
        await app.stop()
    app = App(configured(BASE + SHORT.replace("plain", "other"), str(tmp_path)), clock)
    with pytest.raises(Invalid) as caught:
        await app.start()
    assert (caught.value.code, caught.value.param) == ("ambiguous_project", "models.filed.project")
    assert "organization/project" in caught.value.hint


async def test_a_file_that_contradicts_what_stands_changes_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    app = App(configured(BASE, str(tmp_path)), clock)
    await app.start()
    await app.declarations.put("models", "ours", {"alias": "fast", "targets": ["fake/plain"]}, "test")
    await app.stop()
    again = '[models.fast]\ntargets = ["other/plain"]\n[models.new]\ntargets = ["other/plain"]\n'
    app = App(configured(BASE + again, str(tmp_path)), clock)
    with pytest.raises(Invalid, match="same alias"):
        await app.start()
    app = App(configured(BASE, str(tmp_path)), clock)
    await app.start()
    assert {change.version for change in await app.declarations.history("models", "new")} == set()
    await app.stop()


# --- two at once --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BODIES)
async def test_of_two_at_once_for_the_same_alias_one_is_refused(site: Site, kind: str) -> None:
    for turn in range(5):
        body = {**BODIES[kind], "alias": f"alias-{turn}", "project": "acme/main"}
        told = await asyncio.gather(*(site.put("acme", kind, f"{turn}-{n}", **body) for n in range(4)))
        assert sorted(status for status, _ in told) == [200, 400, 400, 400]
    await site.app.catalog.reload()
    await site.app.standing.follow("policies")
    assert not site.app.catalog.failing and not site.app.policies.failing


async def test_a_rule_can_be_named_as_soon_as_it_is_declared_and_not_removed_while_it_is(site: Site) -> None:
    for turn in range(5):
        assert (await site.put("owner", "rules", f"r{turn}", **GLOBAL["rules"]))[0] == 200
        named = {"alias": f"a{turn}", "project": "acme/main", "checks": [f"r{turn}"]}
        gone, stands = await asyncio.gather(
            site.call("owner", "DELETE", f"/rules/r{turn}"), site.put("acme", "policies", f"p{turn}", **named)
        )
        assert (gone[0], stands[0]) in ((204, 400), (400, 200))
    await site.app.standing.follow("policies")
    assert not site.app.policies.failing


async def test_what_changed_after_it_was_judged_is_not_overwritten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process makes the name its own between the look and the change."""
    await site.put("beta", "models", "mine", project="beta/main", targets=["fake/plain"])
    judge = site.app.standing.judge

    async def meanwhile(kind: str, declared: Any) -> None:
        await judge(kind, declared)
        await site.app.declarations.put(kind, name, {"alias": name, "targets": ["other/plain"]}, "another process")

    monkeypatch.setattr(site.app.standing, "judge", meanwhile)
    for name in ("mine", "new"):
        status, told = await site.put("beta", "models", name, project="beta/main", targets=["fake/plain"])
        assert (status, told["code"]) == (409, "declaration_changed")
        assert "project" not in await site.body("models", name)


async def test_what_two_processes_declared_at_once_is_told_and_can_be_mended(site: Site) -> None:
    for name in ("one", "two", "three"):
        body = {"alias": "same", "targets": ["fake/plain"]}
        await site.app.declarations.put("models", name, body, "another process")
    await site.app.catalog.reload()
    assert site.app.catalog.value.get(site.projects["beta/main"], "plain") is not None, "the last good one stays"
    reply = await site.client.get("/readyz")
    assert reply.status_code == 200
    assert "declare the same alias 'same'" in reply.json()["parts"]["routes"]
    for name in ("one", "two"):
        assert (await site.call("owner", "DELETE", f"/models/{name}"))[0] == 204
    await site.app.catalog.reload()
    assert (await site.client.get("/readyz")).json()["parts"]["routes"] == "ok"
    assert await site.alias("beta/main", "same") == "fake/plain"


# --- policies and rules together ----------------------------------------------------------------------------------


async def test_policies_and_rules_change_together_or_not_at_all(site: Site) -> None:
    app = site.app
    await site.put("owner", "rules", "guard", **GLOBAL["rules"])
    await site.put("acme", "policies", "ours", project="acme/main", checks=["guard"])
    await app.standing.follow("policies")
    project = site.projects["acme/main"]
    old = app.policies.value.for_(project, "x").version
    checker = app.checkers.value.of(("guard",))
    assert old and checker is not None
    # A policy that cannot be obeyed, and a new rule that can be read: the old checker must not serve a new version.
    await app.declarations.put("policies", "bad", {"checks": ["none"]}, "another process")
    await app.declarations.put("rules", "guard", {"kind": "pii", "action": "block"}, "another process")
    await app.standing.follow("policies")
    assert app.policies.value.for_(project, "x").version == old
    assert app.checkers.value.of(("guard",)) is checker
    assert "none" in (await site.client.get("/readyz")).json()["parts"]["policies"]
    await app.declarations.remove("policies", "bad", "another process")
    await app.standing.follow("policies")
    assert app.policies.value.for_(project, "x").version != old
    assert app.checkers.value.of(("guard",)) is not checker
    assert (await site.client.get("/readyz")).json()["parts"]["policies"] == "ok"


async def test_a_wrong_method_is_told_which_are_right(site: Site) -> None:
    headers = {"authorization": f"Bearer {site.keys['owner']}"}
    reply = await site.client.post("/api/v1/models/x", headers=headers)
    assert reply.status_code == 405
    assert {"GET", "PUT", "DELETE"} <= {word.strip() for word in reply.headers["allow"].split(",")}
    assert reply.json()["code"] == "method_not_allowed"
    reply = await site.client.post("/healthz")
    assert (reply.status_code, reply.headers["allow"]) == (405, "GET, HEAD")
