"""S2: every route x every seed role x own, foreign and another organization's objects, generated from the route table.

What is expected follows from the page of permissions alone. A route that comes is tried without a word here, as soon as
``objects`` can make what it names; until then these tests fail by its name.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import objects
from control import ROUTES, TENANTS, Plane, Route, judged, opened

from ostinato.access.permissions import ALL, ROLES
from ostinato.web.api import guarding

OWN, SIDE, ABROAD = TENANTS


# One server for all of it: what a test has made keeps no other from what it tries.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plane() -> AsyncIterator[Plane]:
    async with opened() as made:
        yield made


def names_a_tenant(route: Route) -> bool:
    named = "{" in route.path or str(route) in objects.NAMED_IN_BODY
    return named and not route.path.startswith(objects.EVERYBODYS)


def forbidden_for_all(route: Route, permissions: frozenset[str]) -> bool:
    """Whether the route would change something for everybody, which takes a key that may act everywhere."""
    return route.changes and route.path.startswith(objects.EVERYBODYS) and "organizations:write" not in permissions


def reaches(route: Route, permissions: frozenset[str], tenant: str) -> bool:
    """Whether who has ``permissions`` in ``OWN`` reaches objects of ``tenant``: by the page of permissions."""
    if tenant == OWN:
        return True
    if tenant == ABROAD:
        return "organizations:write" in permissions and not route.path.startswith(objects.OWN_ORGANIZATION_ONLY)
    if str(route) == "POST /projects" or route.path.startswith(objects.OF_ORGANIZATIONS):
        return True  # names the organization, which is one's own
    return "projects:write" in permissions or "organizations:write" in permissions


@pytest.mark.parametrize("role", ROLES)
async def test_every_role_gets_what_it_may_and_nothing_else(plane: Plane, role: str) -> None:
    permissions = ROLES[role]
    key = await plane.key(permissions)
    for route in ROUTES:
        fresh = route.changes and route.allowed(permissions)
        path, body = await objects.request_of(plane, route, OWN, fresh=fresh)
        reply = await plane.call(route.method, path, body, key)
        if route.allowed(permissions) and forbidden_for_all(route, permissions):
            assert reply.status_code == 403, (role, str(route), reply.status_code, reply.text)
        elif route.allowed(permissions):
            right = reply.status_code < 300 or reply.status_code in objects.ALSO.get(str(route), ())
            assert right, (role, str(route), reply.status_code, reply.text)
        else:
            assert reply.status_code == 403, (role, str(route), reply.status_code, reply.text)
            assert route.permission in judged(reply)["detail"]


@pytest.mark.parametrize("tenant", [SIDE, ABROAD])
@pytest.mark.parametrize("role", ROLES)
async def test_objects_of_others_do_not_exist(plane: Plane, role: str, tenant: str) -> None:
    permissions = ROLES[role]
    key = await plane.key(permissions)
    tried = [route for route in ROUTES if names_a_tenant(route) and not reaches(route, permissions, tenant)]
    asked = [(route, *await objects.request_of(plane, route, tenant, fresh=False)) for route in tried]
    before = await plane.state(*AUDIT)
    for route, path, body in asked:
        reply = await plane.call(route.method, path, body, key)
        expected = (404, 403) if route.allowed(permissions) else (403,)
        if route.method == "PUT" and route.allowed(permissions):
            expected = (404, 403, 409)  # the name is taken, by somebody whom one does not see
        assert reply.status_code in expected, (role, str(route), reply.status_code, reply.text)
        _tells_nothing(plane, reply.text, path, body, tenant)
    assert await plane.state(*AUDIT) == before, "nothing of theirs has changed"


@pytest.mark.parametrize("tenant", [SIDE, ABROAD])
@pytest.mark.parametrize("role", ROLES)
async def test_who_reaches_others_objects_does_so(plane: Plane, role: str, tenant: str) -> None:
    permissions = ROLES[role]
    key = await plane.key(permissions)
    for route in ROUTES:
        if names_a_tenant(route) and route.allowed(permissions) and reaches(route, permissions, tenant):
            path, body = await objects.request_of(plane, route, tenant, fresh=route.changes)
            reply = await plane.call(route.method, path, body, key)
            right = reply.status_code < 300 or reply.status_code in objects.ALSO.get(str(route), ())
            assert right, (role, str(route), reply.status_code, reply.text)


@pytest.mark.parametrize("role", ROLES)
async def test_lists_hold_nothing_of_others(plane: Plane, role: str) -> None:
    permissions = ROLES[role]
    for route in ROUTES:
        for tenant in (SIDE, ABROAD):
            if "{" in route.path:
                await objects.request_of(plane, route, tenant, fresh=False)
    key = await plane.key(permissions)
    for route in ROUTES:
        if route.method != "GET" or "{" in route.path or not route.allowed(permissions):
            continue
        reply = await plane.call("GET", route.path, None, key)
        for tenant in (SIDE, ABROAD):
            if not reaches(route, permissions, tenant):
                _tells_nothing(plane, reply.text, "", None, tenant)
        for tenant in (SIDE, ABROAD):
            for ref in (plane.projects[tenant], tenant):
                narrowed = await plane.call("GET", f"{route.path}?project={ref}", None, key)
                if not reaches(route, permissions, tenant):
                    _tells_nothing(plane, narrowed.text, ref, None, tenant)


async def test_each_permission_opens_its_routes_alone(plane: Plane) -> None:
    for permission in sorted(ALL):
        key = await plane.key(frozenset({permission}))
        for route in ROUTES:
            if route.permission not in (permission, guarding.ANY_KEY):
                path = route.path
                for _, part in objects.parameters(route):
                    path = path.replace(part, "1")
                reply = await plane.call(route.method, path, {}, key)
                assert reply.status_code == 403, (permission, str(route), reply.text)


async def test_nobody_gets_in_without_a_living_key(plane: Plane) -> None:
    from inside import SYSTEM

    dead = await plane.key(ROLES["owner"])
    await plane.app.access.revoke_key(SYSTEM, dead[:12])
    expired = await plane.key(ROLES["owner"], expires_at=plane.world.clock.now() + 1_000_000)
    plane.world.clock.advance(2)
    before = await plane.state(*AUDIT)
    for route in ROUTES:
        path, body = route.path, BODY_OF_NOBODY
        for _, part in objects.parameters(route):
            path = path.replace(part, "1")
        for key in (None, "", "ost_nothing", "sk-other", "ost_" + "A" * 58, dead, expired, "ost_'; DROP TABLE keys;--"):
            reply = await plane.call(route.method, path, body, key)
            assert reply.status_code == 401, (str(route), key)
            assert reply.headers["www-authenticate"].startswith("Bearer")
    assert await plane.state(*AUDIT) == before


BODY_OF_NOBODY = {"name": "x"}
AUDIT = ("audit_head", "audit_leaf", "audit_node", "audit_text", "audit_subject_key", "audit_checkpoint")
"""What a refusal may change."""


def _tells_nothing(plane: Plane, text: str, path: str, body: object, tenant: str) -> None:
    """No id of a tenant in an answer, but what was asked for by that name."""
    asked = f"{path} {body}"
    names = {plane.projects[tenant], plane.requests.get(tenant, "")} - {""}
    if tenant == ABROAD:
        names.add(plane.organizations[tenant])
    told = [name for name in names if name in text and name not in asked]
    assert not told, (path, text)
