"""Objects of scorers and of sampling: see ``objects``."""

from typing import Any

from control import Plane
from governed import Body, Factory, Made, counted, fixed
from inside import SYSTEM

from ostinato import datasets, scorers


async def scorer(plane: Plane, tenant: str, _: Made) -> str:
    """A scorer that no rule uses."""
    spec = scorers.Spec(kind="exact", name=f"made-{counted(plane)}")
    return (await plane.app.scorers.declare(SYSTEM, spec, project=plane.projects[tenant])).name


async def rule(plane: Plane, tenant: str, made: Made) -> str:
    """A rule of sampling."""
    wish = scorers.NewRule(name=f"made-{counted(plane)}", share=0.5, scorers=(await scorer(plane, tenant, made),))
    return (await plane.app.scorers.put_rule(SYSTEM, wish, project=plane.projects[tenant])).name


async def changed(plane: Plane, tenant: str, made: Made) -> Any:
    """What a rule may become."""
    return {"share": 0.1, "scorers": [await scorer(plane, tenant, made)], "reason": "The tests need it."}


async def calibration(plane: Plane, tenant: str, _: Made) -> Any:
    """Answers that people have judged."""
    name, home = f"made-{counted(plane)}", plane.projects[tenant]
    examples = [
        datasets.NewExample(inputs={"n": str(n)}, reference=n % 2, metadata={"answer": str(n)}) for n in range(8)
    ]
    await plane.app.datasets.create(SYSTEM, name, project=home, examples=examples)
    version = await plane.app.datasets.version(SYSTEM, name, project=home)
    await plane.app.datasets.load(version.id)  # marks it as used, which is no change of anybody's
    return {"dataset": name}


FACTORIES: dict[str, Factory] = {"/scorers/{ref:str}": scorer, "/sampling/{ref:str}": rule}

BODIES: dict[str, Body] = {
    "POST /scorers": lambda plane, _t, _m: {"kind": "exact", "name": f"made-{counted(plane)}"},
    "POST /scorers/{ref:str}/calibration": calibration,
    "PUT /sampling/{ref:str}": changed,
    "DELETE /scorers/{ref:str}": fixed(None),
    "DELETE /sampling/{ref:str}": fixed(None),
}

QUERIES = {
    "/scorers": lambda plane, tenant: f"project={plane.projects[tenant]}",
    "/scorers/kinds": lambda _plane, _tenant: "",
    "/sampling": lambda plane, tenant: f"project={plane.projects[tenant]}",
}
