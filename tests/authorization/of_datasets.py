"""Datasets, and the traffic that they are made of: see ``objects``."""

from typing import Any

from control import Plane
from governed import Body, Factory, Made, counted, fixed
from inside import SYSTEM

from ostinato import traces
from ostinato.core import ids
from ostinato.datasets import NewExample


def question(plane: Plane) -> dict[str, Any]:
    return {"inputs": {"question": f"How many is {counted(plane)}?"}, "reference": "enough"}


def examples(plane: Plane) -> list[NewExample]:
    return [NewExample(**question(plane)) for _ in range(8)]


def dataset(*, leave_open: bool = False) -> Factory:
    """A dataset of one version; and that version, where the path names the dataset already."""

    async def make(plane: Plane, tenant: str, made: Made) -> str:
        if "ref" in made:
            return "1"
        name, home = f"made-{counted(plane)}", plane.projects[tenant]
        await plane.app.datasets.create(SYSTEM, name, project=home)
        await plane.app.datasets.add_version(SYSTEM, name, examples(plane), project=home, leave_open=leave_open)
        return name

    return make


def recorded(plane: Plane, tenant: str, _: Made) -> Any:
    """What chooses a request of the tenant, which is recorded with its texts."""
    now = plane.world.clock.now()
    row = traces.CallRow(
        request_id=ids.new(now),
        at=now,
        org=plane.organizations[tenant],
        project=plane.projects[tenant],
        key_id="somebody",
        wire="openai.chat",
        input_text="How are you?",
        output_text="Well.",
    )
    plane.app.recorder.call(row)
    return {"traffic": {"since": now - 1_000_000, "until": now + 1_000_000}}


FACTORIES: dict[str, Factory] = {
    "/datasets/{ref:str}": dataset(),
    "/datasets/{ref:str}/versions/{number:int}": dataset(),
    **{
        f"POST /datasets/{{ref:str}}/versions/{{number:int}}/{step}": dataset(leave_open=True)
        for step in ("examples", "seal")
    },
}
BODIES: dict[str, Body] = {
    "POST /datasets": lambda plane, _t, _m: {"name": f"made-{counted(plane)}", "examples": [question(plane)]},
    "POST /datasets/{ref:str}/versions": lambda plane, _t, _m: {"examples": [question(plane)]},
    "POST /datasets/{ref:str}/versions/{number:int}/examples": lambda plane, _t, _m: {"examples": [question(plane)]},
    "POST /datasets/{ref:str}/versions/{number:int}/seal": fixed(None),
    "POST /datasets/{ref:str}/traffic": recorded,
    "POST /datasets/{ref:str}/erasures": fixed({"subject": "somebody", "reason": "They asked for it."}),
}
ALSO = {"POST /datasets/{ref:str}/traffic": frozenset({403})}
"""Real texts take ``traces:text`` as well."""
