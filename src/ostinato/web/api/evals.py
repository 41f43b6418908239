"""``/experiments``: datasets, prompts, models and scorers put together; their progress, figures and comparisons."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato.calls import Limits
from ostinato.evals import Cell, Comparison, Experiment, Progress, Results, Wish
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page

Project = Annotated[str, QueryParameter(description="Id or short name; the key's own if left out.")]
State = Annotated[
    str,
    QueryParameter(name="state", description="`queued`, `running`, `paused`, `done`, `failed`, `cancelled`."),
]
Variant = Annotated[str, QueryParameter(description="Name of a variant; left out: the first.")]
Base = Annotated[str, QueryParameter(description="Name of the variant that is compared with; left out: the first.")]
Other = Annotated[
    str, QueryParameter(description="Id of another experiment on the same dataset; left out: the same one.")
]


class NewExperiment(Wish, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What is to be tried."""

    project: str | None = None
    """Id or short name; the key's own if left out."""


class Reason(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


class Resumption(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""
    limits: Limits | None = None
    """In all, what is spent already included; left out: as they were."""


@get("/experiments", opt={PERMISSION: "evals:read"})
async def list_experiments(
    request: Req,
    project: Project = "",
    standing: State = "",
    dataset: FromQuery[str] = "",
    after: After = None,
    limit: Limit = 100,
) -> Page[Experiment]:
    """A project's experiments, newest first, a page at a time."""
    found = await plane_of(request).experiments.list(
        caller_of(request),
        project=project or None,
        state=standing,
        dataset=dataset,
        after=after or "",
        limit=limit,
    )
    return page(found, limit, lambda one: one.id)


@post("/experiments", opt={PERMISSION: "evals:run"})
async def run_experiment(request: Req, data: JSONBody[NewExperiment]) -> Experiment:
    """Begin an experiment. What is wrong with it is told before anything is spent; it then goes on by itself."""
    return await plane_of(request).experiments.create(caller_of(request), data, project=data.project)


@get("/experiments/{ref:str}", opt={PERMISSION: "evals:read"})
async def show_experiment(request: Req, ref: FromPath[str]) -> Progress:
    """One experiment: how far it has come, and what it has spent."""
    return await plane_of(request).experiments.show(caller_of(request), ref)


@get("/experiments/{ref:str}/results", opt={PERMISSION: "evals:read"})
async def experiment_results(request: Req, ref: FromPath[str]) -> Results:
    """The figures of every variant, and every variant compared with the first in pairs, as far as it is done."""
    return await plane_of(request).experiments.results(caller_of(request), ref)


@get("/experiments/{ref:str}/comparison", opt={PERMISSION: "evals:read"})
async def compare_variants(
    request: Req, ref: FromPath[str], base: Base = "", other: Other = "", variant: Variant = ""
) -> Comparison:
    """Two variants on the same examples: difference with its interval, wins and losses, each stratum by itself."""
    return await plane_of(request).experiments.compare(caller_of(request), (ref, base), (other or ref, variant))


@get("/experiments/{ref:str}/cells", opt={PERMISSION: "datasets:text"})
async def experiment_cells(
    request: Req, ref: FromPath[str], variant: Variant = "", after: After = None, limit: Limit = 100
) -> Page[Cell]:
    """One variant's cells: answers and scores, by example."""
    found = await plane_of(request).experiments.cells(caller_of(request), ref, variant, after=after or "", limit=limit)
    return page(found, limit, lambda one: one.example)


@post("/experiments/{ref:str}/cancel", opt={PERMISSION: "evals:run"}, status_code=200)
async def cancel_experiment(request: Req, ref: FromPath[str], data: JSONBody[Reason | None] = None) -> Experiment:
    """End an experiment. What was paid for is kept, and its figures can be read."""
    return await plane_of(request).experiments.cancel(caller_of(request), ref, data.reason if data else "")


@post("/experiments/{ref:str}/resume", opt={PERMISSION: "evals:run"}, status_code=200)
async def resume_experiment(request: Req, ref: FromPath[str], data: JSONBody[Resumption | None] = None) -> Experiment:
    """Go on with an experiment that is paused, failed or was cancelled; no call is paid for twice."""
    wanted = data or Resumption()
    return await plane_of(request).experiments.resume(caller_of(request), ref, wanted.limits, wanted.reason)


HANDLERS = (
    list_experiments,
    run_experiment,
    show_experiment,
    experiment_results,
    compare_variants,
    experiment_cells,
    cancel_experiment,
    resume_experiment,
)
