"""Objects of detectors: see ``objects``."""

from control import Plane
from governed import Body, Factory, Made, counted, fixed
from inside import SYSTEM

from ostinato import monitoring


async def detector(plane: Plane, tenant: str, _: Made) -> str:
    """A detector of the tenant's own."""
    wish = monitoring.Declaration(kind="quality")
    made = await plane.app.governing.monitoring.declare(
        SYSTEM, f"made-{counted(plane)}", wish, project=plane.projects[tenant]
    )
    return made.name


FACTORIES: dict[str, Factory] = {"/detectors/{ref:str}": detector}

BODIES: dict[str, Body] = {
    "PUT /detectors/{ref:str}": fixed({"kind": "errors", "config": {"warm_up": 300}, "reason": "The tests need it."}),
    "DELETE /detectors/{ref:str}": fixed(None),
}

QUERIES = {
    "/detectors": lambda plane, tenant: f"project={plane.projects[tenant]}",
    "/detectors/kinds": lambda _plane, _tenant: "",
    "/detectors/state": lambda plane, tenant: f"project={plane.projects[tenant]}",
    "/detectors/index": lambda plane, tenant: f"project={plane.projects[tenant]}",
    "/detectors/alarms": lambda plane, tenant: f"project={plane.projects[tenant]}",
}
