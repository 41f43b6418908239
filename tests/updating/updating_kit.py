"""An alias that is about to stand for another model."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from inside import BASE, SYSTEM, World, inside

from ostinato import releases, updating

MODELS = (
    BASE
    + """
[models.used]
targets = ["fake/plain"]
[prices."fake/mirror"]
input = 1.0
output = 4.0
[prices."other/plain"]
input = 1.0
output = 4.0
[intents.billing]
stakes = "low"
[intents.legal]
stakes = "high"
owner = "somebody"
"""
)
QUICK = updating.Rollout(
    steps=tuple(releases.Step(share, min_samples=5, min_minutes=1.0) for share in (0.05, 0.25, 0.5, 1.0)),
    control=0.5,
    watch=("error",),
)


@contextlib.asynccontextmanager
async def world(extra: str = "") -> AsyncIterator[World]:
    """A gateway whose canaries nobody looks at but the test."""
    async with inside(extra + "\n[updates]\nwatch_seconds = 86400\n", base=MODELS) as made:
        yield made


def room(at: World) -> updating.Updating:
    return at.app.governing.updating


async def planned(at: World, target: str = "other/plain", alias: str = "used") -> updating.Update:
    wish = updating.NewUpdate(alias=alias, targets=(target,), project=await at.first_project())
    return await room(at).plan(SYSTEM, wish)


async def begun(at: World, target: str = "other/plain", **how: Any) -> updating.Update:
    """A change whose canary runs."""
    made = await planned(at, target)
    wish = updating.Start(**{"rollout": QUICK, "intents": ("",), **how})
    return await room(at).start(SYSTEM, made.id, wish)


async def only(at: World, share: float, target: str = "other/plain", control: float = 0.0) -> updating.Update:
    """A change with one step that takes ``share`` of the traffic."""
    steps = (releases.Step(share, min_samples=5, min_minutes=1.0),)
    rollout = updating.Rollout(steps=steps, control=control or 0.01, watch=("error",))
    return await begun(at, target, rollout=rollout)
