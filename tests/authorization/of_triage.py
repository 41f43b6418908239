"""Objects of triage: see ``objects``."""

from typing import Any

from control import Plane
from governed import Body, Factory, Made, counted, fixed

from ostinato.core import ids
from ostinato.triage import Decision, Item, store
from ostinato.triage.model import Span

NOTHING = Span(0.0, 0.0, 0.0)


async def decision(plane: Plane, tenant: str, _: Made) -> str:
    """A proposal on a family of the tenant's, which changes nothing when it is carried out."""
    now = plane.world.clock.now()
    made = Decision(
        id=ids.new(now),
        org=plane.organizations[tenant],
        project=plane.projects[tenant],
        family=f"family-{counted(plane)}",
        number=1,
        choice="optimize",
        state="proposed",
        reasons=(),
        saving=NOTHING,
        wrong=NOTHING,
        risk=0.0,
        policy={},
        figures={},
        decided_at=now,
    )
    await plane.app.control.run(lambda connection: store.insert(connection, made))
    return made.id


async def family(plane: Plane, tenant: str, made: Made) -> str:
    """A family that something was decided about."""
    number = await decision(plane, tenant, made)
    found = await plane.app.control.read(lambda connection: store.find(connection, number))
    return found.family


async def attestation(plane: Plane, tenant: str, _: Made) -> Any:
    """What is said of a prompt that the inventory asks about."""
    now, name = plane.world.clock.now(), f"asked-{counted(plane)}"
    item = Item(
        org=plane.organizations[tenant],
        project=plane.projects[tenant],
        prompt=name,
        findings=("unowned",),
        asked_at=now,
        due_at=now + 1,
    )
    await plane.app.control.run(lambda connection: store.put_item(connection, item))
    return {"prompt": name, "comment": "Looked at.", "project": plane.projects[tenant]}


def where(plane: Plane, tenant: str, _made: Made) -> Any:
    return {"project": plane.projects[tenant]}


FACTORIES: dict[str, Factory] = {
    "/triage/decisions/{ref:str}": decision,
    "/triage/families/{name:path}": family,
}

BODIES: dict[str, Body] = {
    "POST /triage/look": where,
    "POST /triage/decisions/{ref:str}/approve": fixed({"comment": "Worth it."}),
    "POST /triage/decisions/{ref:str}/reject": fixed({"comment": "Not worth it."}),
    "POST /triage/inventory/look": where,
    "POST /triage/inventory/attest": attestation,
}

QUERIES = {"/triage": lambda plane, tenant: f"project={plane.projects[tenant]}", "/triage/decisions": lambda *_: ""}

NAMED_IN_BODY = frozenset({"POST /triage/look", "POST /triage/inventory/look", "POST /triage/inventory/attest"})

LEAVES = {"POST /triage/look": 0, "POST /triage/inventory/look": 0}
"""What is new leaves a leaf; in a tenant without traffic nothing is."""
