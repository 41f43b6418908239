"""The route table itself: a permission for every route, and something to try it with."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

import objects
from control import ROUTES

from ostinato.access.permissions import ALL
from ostinato.web.api import guarding


def test_there_is_an_object_for_every_route() -> None:
    missing = {walked for route in ROUTES for walked, _ in objects.parameters(route)} - set(objects.FACTORIES)
    assert not missing, f"tests/authorization/objects.py has no factory for: {sorted(missing)}"
    bodies = {str(route) for route in ROUTES if route.method in ("POST", "PUT", "PATCH")} - set(objects.BODIES)
    assert not bodies, f"tests/authorization/objects.py has no body for: {sorted(bodies)}"
    known = {str(route) for route in ROUTES}
    told = set(objects.BODIES) | set(objects.LEAVES) | set(objects.ALSO) | objects.NAMED_IN_BODY | objects.READS
    assert told <= known, f"no longer routes: {sorted(told - known)}"


def test_every_route_names_a_permission_that_there_is() -> None:
    assert len(ROUTES) == len({(route.method, route.path) for route in ROUTES})
    for route in ROUTES:
        assert route.permission in ALL or route.permission == guarding.ANY_KEY, route
        if route.changes and str(route) not in objects.READS:
            assert not route.permission.endswith(":read"), f"{route} changes something with a permission to look"
