"""Objects of alerts, cases and breakers: see ``objects``."""

from collections.abc import Callable
from typing import Any

from control import Plane
from governed import Body, Factory, Made, counted, fixed
from inside import SYSTEM

from ostinato import cases

ALERT = {"metric": "error_rate", "threshold": 2.0}
"""Which never is so."""


async def intent(plane: Plane, tenant: str) -> str:
    """An intent of the tenant's project."""
    name = f"made-{counted(plane)}"
    await plane.world.declare("intents", name, {"project": plane.projects[tenant]})
    return name


async def alert(plane: Plane, tenant: str, _: Made) -> str:
    wanted = cases.Alert(metric="error_rate", threshold=2.0)
    room = plane.app.governing.alerts
    return (await room.declare(SYSTEM, plane.projects[tenant], f"made-{counted(plane)}", wanted)).id


def case(state: str = "detected") -> Factory:
    """A case in some state."""

    async def make(plane: Plane, tenant: str, _: Made) -> str:
        room = plane.app.governing.cases
        one = await room.open(SYSTEM, plane.projects[tenant], kind="other", title="It is so.")
        if state != "detected":
            await room.propose(SYSTEM, one.id, "notify")
        if state in ("executed", "verified"):
            await room.approve(SYSTEM, one.id)
        if state == "verified":
            await room.verify(SYSTEM, one.id, helped=True)
        return one.id

    return make


async def trip(plane: Plane, tenant: str, _: Made) -> str:
    room = plane.app.governing.breakers
    made = await room.trip(SYSTEM, plane.projects[tenant], await intent(plane, tenant), code="test", held=True)
    return made.id


async def tripped(plane: Plane, tenant: str, _: Made) -> Any:
    return {"intent": await intent(plane, tenant), "project": plane.projects[tenant]}


def declared(plane: Plane, tenant: str, _: Made) -> Any:
    return {**ALERT, "name": f"made-{counted(plane)}", "project": plane.projects[tenant]}


FACTORIES: dict[str, Factory] = {
    "/alerts/{ref:str}": alert,
    "/cases/{ref:str}": case(),
    "POST /cases/{ref:str}/approve": case("proposed"),
    "POST /cases/{ref:str}/reject": case("proposed"),
    "POST /cases/{ref:str}/verify": case("executed"),
    "POST /cases/{ref:str}/close": case("verified"),
    "/breakers/{ref:str}": trip,
}

BODIES: dict[str, Body] = {
    "POST /alerts": declared,
    "POST /cases": lambda plane, tenant, _m: {"title": "It is so.", "project": plane.projects[tenant]},
    "POST /cases/{ref:str}/triage": fixed({"owner": "somebody"}),
    "POST /cases/{ref:str}/comments": fixed({"text": "Seen."}),
    "POST /cases/{ref:str}/propose": fixed({"action": "notify"}),
    "POST /cases/{ref:str}/approve": fixed({}),
    "POST /cases/{ref:str}/reject": fixed({"reason": "Not so."}),
    "POST /cases/{ref:str}/verify": fixed({"helped": True}),
    "POST /cases/{ref:str}/close": fixed({}),
    "POST /cases/{ref:str}/dismiss": fixed({"reason": "A false alarm."}),
    "POST /breakers": tripped,
    "POST /breakers/{ref:str}/close": fixed({}),
}

NAMED_IN_BODY = frozenset({"POST /alerts", "POST /cases", "POST /breakers"})

QUERIES: dict[str, Callable[[Plane, str], str]] = {"/cases/{ref:str}/approve": lambda _plane, _tenant: "version=2"}
"""Opened, and then proposed."""

LEAVES = {"POST /cases/{ref:str}/approve": 4}
"""Approved; intended elsewhere; executed; and what came of it."""
