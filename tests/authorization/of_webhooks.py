"""Objects of where messages go: see ``objects``."""

from typing import Any

from control import Plane
from governed import Body, Factory, Made, counted, fixed
from inside import SYSTEM

from ostinato import notifying


async def webhook(plane: Plane, tenant: str, _: Made) -> str:
    """An endpoint of the tenant's project, which nothing answers at."""
    wish = notifying.NewEndpoint(
        name=f"made-{counted(plane)}", address="https://hooks.example/x", events=("breakglass:begin",)
    )
    room = plane.app.governing.notifying
    made, _secret = await room.endpoints.create(SYSTEM, wish, project=plane.projects[tenant])
    return made.id


def wanted(plane: Plane, tenant: str, _made: Made) -> Any:
    return {
        "name": f"made-{counted(plane)}",
        "address": "https://hooks.example/y",
        "events": ["breakglass:begin"],
        "project": plane.projects[tenant],
    }


FACTORIES: dict[str, Factory] = {"/webhooks/{ref:str}": webhook}

BODIES: dict[str, Body] = {
    "POST /webhooks": wanted,
    "PATCH /webhooks/{ref:str}": fixed({"events": ["breakglass:end"]}),
    "DELETE /webhooks/{ref:str}": fixed(None),
    "POST /webhooks/{ref:str}/rotate": fixed({}),
    "POST /webhooks/{ref:str}/test": fixed(None),
    "POST /webhooks/{ref:str}/resend": fixed({}),
}

LEAVES = {"POST /webhooks/{ref:str}/test": 2, "POST /webhooks/{ref:str}/resend": 2}
"""What it does is in another database: intended, then done."""
