"""Objects of retention: see ``objects``."""

import asyncio
from typing import Any

from control import Plane
from governed import Body, Factory, Made, counted, fixed
from inside import SYSTEM

from ostinato import retention


def _home(plane: Plane, tenant: str) -> str:
    return plane.projects[tenant]


async def rule(plane: Plane, tenant: str, _: Made) -> str:
    wanted = retention.NewRule(keep=retention.Keep(signals=36_000.0), project=_home(plane, tenant))
    return (await plane.app.governing.retention.declare(SYSTEM, f"made-{counted(plane)}", wanted)).name


async def hold(plane: Plane, tenant: str, _: Made) -> str:
    wanted = retention.NewHold(matter=f"case {counted(plane)}", project=_home(plane, tenant))
    return (await plane.app.governing.retention.hold(SYSTEM, wanted)).id


async def erasure(plane: Plane, tenant: str, _: Made) -> str:
    """One that is done."""
    room = plane.app.governing.retention
    wish = retention.Wish(user=f"user-{counted(plane)}", project=_home(plane, tenant))
    made = (await room.erase(SYSTEM, wish)).erasure
    for _try in range(500):
        if (await room.erasure(SYSTEM, made.id)).state != "running":
            return made.id
        await asyncio.sleep(0.01)
    raise AssertionError(room.failing)


def wished(plane: Plane, tenant: str, _: Made) -> Any:
    return {"user": f"user-{counted(plane)}", "project": _home(plane, tenant), "reason": "The tests need it."}


FACTORIES: dict[str, Factory] = {
    "/retention/rules/{name:str}": rule,
    "/retention/holds/{ref:str}": hold,
    "/retention/erasures/{ref:str}": erasure,
}

BODIES: dict[str, Body] = {
    "PUT /retention/rules/{name:str}": lambda plane, tenant, _m: {
        "keep": {"signals": 30_000 + counted(plane) / 10},
        "project": _home(plane, tenant),
    },
    "POST /retention/sweeps": lambda plane, tenant, _m: {"project": _home(plane, tenant)},
    "POST /retention/holds": lambda plane, tenant, _m: {"matter": "case 7", "project": _home(plane, tenant)},
    "POST /retention/holds/{ref:str}/lift": fixed({"reason": "The tests need it."}),
    "POST /retention/erasures": wished,
}

NAMED_IN_BODY = frozenset({"POST /retention/sweeps", "POST /retention/holds", "POST /retention/erasures"})
