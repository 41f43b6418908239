"""G1: every route that changes something writes exactly one leaf, in the transaction of the change.

Generated from the route table as the matrix is. Where the leaf cannot be written, nothing is changed.
"""

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import objects
from control import ROUTES, TENANTS, Plane, Route, opened
from inside import SYSTEM

from ostinato.access.permissions import ROLES
from ostinato.core.errors import Unavailable

OWN = TENANTS[0]
JOBS = ("system:jobs", "system:optimization")
CHANGING = [route for route in ROUTES if route.changes and str(route) not in objects.READS]


@pytest.fixture
async def plane() -> AsyncIterator[Plane]:
    async with opened() as made:
        yield made


async def _leaves(plane: Plane) -> list[Any]:
    """All but those of jobs, which go on behind the requests that began them."""
    return [leaf for leaf in await plane.leaves() if leaf["actor"] not in JOBS and not _of_erasures(leaf)]


def _of_erasures(leaf: Any) -> bool:
    """Whether it tells how an erasure ended, or of a sweep: those go on behind the request, too."""
    return leaf["request_id"] == "" and leaf["action"] in ("retention:erase", "retention:forget", "retention:sweep")


async def _owner(plane: Plane) -> tuple[str, str]:
    """A key that may do everything, and its id."""
    key = await plane.key(ROLES["owner"], OWN)
    return key, plane.app.access.authenticate(key, plane.world.clock.now()).key_id


async def test_every_change_is_one_leaf(plane: Plane) -> None:
    key, key_id = await _owner(plane)
    wrong: list[str] = []
    for number, route in enumerate(CHANGING):
        path, body = await objects.request_of(plane, route, OWN)
        before = len(await _leaves(plane))
        reply = await plane.call(route.method, path, body, key, x_request_id=f"r-{number}", ostinato_reason="to see")
        assert reply.status_code < 300 or reply.status_code in objects.ALSO.get(str(route), ()), (route, reply.text)
        leaves = (await _leaves(plane))[before:]
        if len(leaves) != objects.LEAVES.get(str(route), 1):
            wrong.append(f"{route}: {[leaf['action'] for leaf in leaves]}")
        for leaf in leaves:
            assert leaf["request_id"] == f"r-{number}", route
            assert leaf["actor"] == f"key:{key_id}", route
            assert leaf["principal"] and leaf["outcome"] != "denied", route
            assert ":" in leaf["action"] and leaf["resource"], route
    assert not wrong, "exactly one leaf for each change: " + "; ".join(wrong)


async def test_reading_writes_none(plane: Plane) -> None:
    key, _ = await _owner(plane)
    asked: list[tuple[Route, str, Any]] = []
    for route in ROUTES:
        if not route.changes or str(route) in objects.READS:
            path, body = await objects.request_of(plane, route, OWN)
            asked.append((route, path, body))
    before = len(await _leaves(plane))
    for route, path, body in asked:
        await plane.call(route.method, path, body, key)
        assert len(await _leaves(plane)) == before, route


async def test_without_its_leaf_nothing_is_changed(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = await _owner(plane)
    asked = [(route, *await objects.request_of(plane, route, OWN)) for route in CHANGING]
    append_all = plane.app.audit.append_all
    calls: list[Any] = []

    def failing(connection: Any, deeds: Any, occasion: Any = None) -> list[int]:
        calls.append(append_all(connection, deeds, occasion))
        raise Unavailable("The leaf cannot be written.")

    monkeypatch.setattr(plane.app.audit, "append_all", failing)
    wrong: list[str] = []
    for route, path, body in asked:
        before, tried = await plane.state(), len(calls)
        reply = await plane.call(route.method, path, body, key)
        if objects.LEAVES.get(str(route), 1) == 0:
            continue
        after = await plane.state()
        changed = [name for name in after if after[name] != before[name]]
        if reply.status_code != 503 or len(calls) == tried or changed:
            wrong.append(f"{route}: {reply.status_code}, {changed}")
    assert not wrong, "a change without its leaf: " + "; ".join(wrong)


async def test_a_change_that_fails_leaves_no_leaf(plane: Plane) -> None:
    """Refused by what is there (a wrong version, a name that is taken): no leaf, as nothing was changed."""
    key, _ = await _owner(plane)
    project = plane.projects[OWN]
    before = len(await _leaves(plane))
    for method, path, body in (
        ("PATCH", f"/projects/{project}?version=99", {"name": "x"}),
        ("POST", "/projects", {"key": "main", "name": "x", "organization": "acme"}),
        ("DELETE", "/models/nothing", None),
        ("POST", "/keys", {"name": ""}),
    ):
        assert 400 <= (await plane.call(method, path, body, key)).status_code < 500
    assert len(await _leaves(plane)) == before


async def test_who_acts_for_the_system_is_named(plane: Plane) -> None:
    await plane.app.access.create_project(SYSTEM, "by-hand", "By hand", organization="acme")
    leaf = (await _leaves(plane))[-1]
    assert leaf["actor"] == "system:test" and leaf["request_id"] == ""
