"""Objects of experiments: see ``objects``."""

from typing import Any

import msgspec
from control import Plane
from governed import Body, Factory, Made, counted, fixed
from inside import SYSTEM

from ostinato import datasets, evals, scorers
from ostinato.calls import Limits
from ostinato.evals import store
from ostinato.evals.wishes import Standing, arm, variants_of
from ostinato.web.api.evals import NewExperiment


async def dataset(plane: Plane, tenant: str) -> datasets.DatasetVersion:
    """A version with examples enough that some are open."""
    name = f"made-{counted(plane)}"
    examples = [datasets.NewExample(inputs={"text": f"t{n}"}, reference="a") for n in range(8)]
    await plane.app.datasets.create(SYSTEM, name, project=plane.projects[tenant], examples=examples)
    version = await plane.app.datasets.version(SYSTEM, name, project=plane.projects[tenant])
    await plane.app.datasets.load(version.id)  # marks it as used, which is no change of anybody's
    return version


async def wish(plane: Plane, tenant: str, _: Made) -> Any:
    """What may be asked for."""
    version = await dataset(plane, tenant)
    return {
        "project": plane.projects[tenant],
        "dataset": version.dataset,
        "splits": ["train", "dev"],
        "variants": [{"content": {"text": "Say {{text}}."}, "model": "plain"}],
        "scorers": [{"kind": "exact"}],
        "limits": {"nano": 10**9},
    }


def experiment(state: evals.State = "running") -> Factory:
    """An experiment that has come so far; no job is behind it."""

    async def make(plane: Plane, tenant: str, made: Made) -> str:
        wanted = msgspec.convert({**await wish(plane, tenant, made), "project": None}, NewExperiment)
        app, home = plane.app, plane.projects[tenant]
        version = await app.datasets.version(SYSTEM, wanted.dataset, project=home)
        now = app.clock.now()
        standing = Standing(app.prompts.snapshot.value, app.catalog.value, app.prices.value, now)
        variants = variants_of(wanted, home, SYSTEM, standing, evals.Settings())
        one = evals.Experiment(
            id=f"{now:x}{counted(plane):x}".rjust(32, "0"),
            org=plane.organizations[tenant],
            project=home,
            name="made",
            dataset=version.dataset,
            version=version.number,
            version_id=version.id,
            splits=wanted.splits,
            arms=tuple(arm(variant) for variant in variants),
            scorers=(scorers.Spec(kind="exact"),),
            limits=Limits(nano=10**9),
            examples=4,
            state=state,
            created_at=now,
            created_by="system:test",
        )
        await app.control.run(lambda connection: store.insert(connection, one, variants))
        return one.id

    return make


FACTORIES: dict[str, Factory] = {
    "/experiments/{ref:str}": experiment(),
    "POST /experiments/{ref:str}/resume": experiment("paused"),
}

BODIES: dict[str, Body] = {
    "POST /experiments": wish,
    "POST /experiments/{ref:str}/cancel": fixed({"reason": "The tests need it."}),
    "POST /experiments/{ref:str}/resume": fixed({"reason": "The tests need it."}),
}
