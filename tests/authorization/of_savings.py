"""Declared costs and invoices: see ``objects``."""

from typing import Any

from control import Plane
from governed import Body, Factory, Made, counted

from ostinato import access, savings

MAY = frozenset({"savings:write", "kpis:read", "projects:write"})


async def _caller(plane: Plane, tenant: str) -> access.Caller:
    if (tenant, "costs") not in plane.people:
        secret = await plane.key(MAY, tenant)
        plane.people[tenant, "costs"] = plane.app.access.authenticate(secret, plane.world.clock.now())
    return plane.people[tenant, "costs"]


async def cost(plane: Plane, tenant: str, _: Made) -> str:
    declared = savings.NewCost(name=f"made-{counted(plane)}", kind="tooling", dollars=1.0)
    return (await plane.app.governing.savings.costs.declare(await _caller(plane, tenant), declared)).name


async def invoice(plane: Plane, tenant: str, _: Made) -> str:
    line = savings.InvoiceLine(day="2026-11-01", model=f"made-{counted(plane)}", token="total", nano=1)
    wanted = savings.NewInvoice(provider="fake", lines=(line,))
    return (await plane.app.governing.savings.costs.hand_in(await _caller(plane, tenant), wanted)).id


def lines(plane: Plane, _tenant: str, _made: Made) -> Any:
    line = {"day": "2026-11-01", "model": f"made-{counted(plane)}", "token": "total", "nano": 1}
    return {"provider": "fake", "lines": [line]}


FACTORIES: dict[str, Factory] = {
    "/savings/costs/{name:str}": cost,
    "/savings/invoices/{ref:str}": invoice,
}

BODIES: dict[str, Body] = {
    "POST /savings/costs": lambda plane, tenant, _made: {
        "name": f"made-{counted(plane)}",
        "kind": "infrastructure",
        "dollars": 100.0,
        "project": plane.projects[tenant],
    },
    "POST /savings/invoices": lines,
    "DELETE /savings/costs/{name:str}": lambda _plane, _tenant, _made: None,
}
