"""Objects of optimization runs: see ``objects``."""

from typing import Any

import msgspec
from control import Plane
from governed import Body, Factory, Made, counted, fixed
from inside import SYSTEM

from ostinato import datasets, optimization, prompts
from ostinato.optimization import store

SLOW = {"targets": ["fake/fake-latency=3600s"]}
"""A model that does not answer within a test: a run that begins goes no further, and ends with the process."""


async def ground(plane: Plane, tenant: str) -> None:
    """A model for everybody, and a dataset of the tenant that is large enough."""
    if ("slow",) not in plane.kept:
        plane.kept["slow",] = "made"
        await plane.world.declare("models", "slow", SLOW)
        await plane.world.declare("prices", SLOW["targets"][0], {"input": 0.1, "output": 0.1})
    if ("examples", tenant) not in plane.kept:
        plane.kept["examples", tenant] = "made"
        examples = [datasets.NewExample(inputs={"question": f"q{n}"}, reference=f"a{n % 3}") for n in range(240)]
        await plane.app.datasets.create(SYSTEM, "for-runs", project=plane.projects[tenant], examples=examples)
        version = await plane.app.datasets.version(SYSTEM, "for-runs", project=plane.projects[tenant])
        await plane.app.datasets.load(version.id)  # marks it as used, which is no change of anybody's


LIMITS = {"nano": 10**12}
"""Of money: the keys of these tests have budgets, so their runs need a limit, too."""


async def wish(plane: Plane, tenant: str, _: Made) -> dict[str, Any]:
    """What a run asks for."""
    await ground(plane, tenant)
    home, name = plane.projects[tenant], f"made-{counted(plane)}"
    draft = msgspec.convert({"messages": [{"role": "user", "template": "{{question}}"}]}, prompts.Draft)
    await plane.app.prompts.create(SYSTEM, home, name, draft=draft)
    label = f"made-{counted(plane)}"
    await plane.app.prompts.declare_label(SYSTEM, home, label)
    await plane.app.prompts.move_label(SYSTEM, home, name, label, 1)
    return {
        "prompt": name,
        "label": label,
        "dataset": "for-runs",
        "alias": "slow",
        "scorers": [{"kind": "exact"}],
        "limits": LIMITS,
        "project": home,
    }


def run(state: str = "paused") -> Factory:
    """A run in some state; no job is behind it."""

    async def make(plane: Plane, tenant: str, made: Made) -> str:
        told = await wish(plane, tenant, made)
        home = told.pop("project")
        wanted = msgspec.convert(told, optimization.Wish)
        plan = await plane.app.optimizations.plan(SYSTEM, wanted, home)
        version = await plane.app.datasets.version(SYSTEM, "for-runs", project=home)
        found = await plane.app.prompts.show(SYSTEM, home, wanted.prompt)
        one = optimization.Run(
            id=f"{plane.app.clock.now():x}{counted(plane):x}".rjust(32, "0"),
            org=plane.organizations[tenant],
            project=home,
            prompt=found.name,
            prompt_id=found.id,
            label=wanted.label,
            alias="slow",
            dataset=version.dataset,
            dataset_number=version.number,
            dataset_version=version.id,
            holdout_digest=version.holdout_digest,
            base_number=1,
            base_digest="0" * 64,
            assigned_number=1,
            wish=wanted,
            plan=plan,
            state=state,
            author="principal:somebody",
            started_by="key:somebody",
            created_at=plane.app.clock.now(),
        )
        await plane.app.control.run(lambda connection: store.insert(connection, one))
        return one.id

    return make


FACTORIES: dict[str, Factory] = {
    "/optimizations/{ref:str}": run(),
    "POST /optimizations/{ref:str}/pause": run("planned"),
}

BODIES: dict[str, Body] = {
    "POST /optimizations": wish,
    "POST /optimizations/plan": wish,
    **{
        f"POST /optimizations/{{ref:str}}/{step}": fixed({"reason": "The tests need it."})
        for step in ("pause", "cancel")
    },
    "POST /optimizations/{ref:str}/resume": fixed({"reason": "The tests need it.", "limits": LIMITS}),
}

NAMED_IN_BODY = frozenset({"POST /optimizations", "POST /optimizations/plan"})
READS = frozenset({"POST /optimizations/plan"})
QUERIES = {"/optimizations": lambda plane, tenant: f"project={plane.projects[tenant]}"}

__all__ = ["BODIES", "FACTORIES", "NAMED_IN_BODY", "QUERIES", "READS"]
