"""``/reviews``: queues, what waits in them, verdicts, and what is made of these."""

from typing import Annotated

import msgspec
from litestar import get, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato.core.errors import Invalid, NotFound
from ostinato.releases import NewEvidence
from ostinato.reviews import Declaration, Figures, Item, Labelled, NewItem, NewVerdict, Queue, QueueState, Summary, Task
from ostinato.web.api.access import Req, Version, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page

Project = Annotated[str, QueryParameter(description="Id or short name; the key's own if left out.")]
Origin = Annotated[str, QueryParameter(name="origin", description="Id of the run or experiment that items came from.")]


class NewItems(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be looked at."""

    items: tuple[NewItem, ...]
    """Up to 500; what is there already, by its mark, is not put again."""


class Reason(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


class Erasure(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Whose texts are to go: one of the three."""

    item: str = ""
    request_id: str = ""
    subject: str = ""
    project: str | None = None
    reason: str = ""


class Erased(msgspec.Struct):
    items: int


class NewDataset(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where decided items go as examples."""

    dataset: str
    """Its name; made where there is none."""
    origin_ref: str = ""
    """Items of this run or experiment only."""
    extend: bool = True
    """Beside the examples of its newest version; else in the place of them."""
    note: str = ""


class MadeDataset(msgspec.Struct):
    dataset: str
    number: int
    """Of the new version."""
    examples: int
    """Of decided items; those that were there are the same ones again."""


@get("/reviews/queues", opt={PERMISSION: "reviews:read"})
async def list_queues(request: Req, project: Project = "", after: After = None, limit: Limit = 100) -> Page[Queue]:
    """The review queues of a project, by name."""
    found = await plane_of(request).reviews.queues(
        caller_of(request), project=project or None, after=after or "", limit=limit
    )
    return page(found, limit, lambda one: one.name)


@put("/reviews/queues/{name:str}", opt={PERMISSION: "reviews:write"})
async def declare_queue(
    request: Req, name: FromPath[str], data: JSONBody[Declaration], project: Project = "", version: Version = None
) -> Queue:
    """Declare a queue, or change it. Items that are there keep the number of reviews that they were put in with."""
    return await plane_of(request).reviews.declare(
        caller_of(request), name, data, project=project or None, version=version
    )


@get("/reviews/queues/{name:str}", opt={PERMISSION: "reviews:read"})
async def show_queue(request: Req, name: FromPath[str], project: Project = "") -> QueueState:
    """One queue, and how it stands."""
    return await plane_of(request).reviews.queue(caller_of(request), name, project=project or None)


@get("/reviews/queues/{name:str}/figures", opt={PERMISSION: "reviews:read"})
async def queue_figures(request: Req, name: FromPath[str], project: Project = "") -> Figures:
    """Outcomes, estimates weighted by how items were drawn, and agreement on each criterion."""
    return await plane_of(request).reviews.figures(caller_of(request), name, project=project or None)


@get("/reviews/queues/{name:str}/summary", opt={PERMISSION: "reviews:read"})
async def queue_summary(request: Req, name: FromPath[str], origin: Origin = "", project: Project = "") -> Summary:
    """What people said of one run's or experiment's answers, with a digest to bind evidence to."""
    return await plane_of(request).reviews.summary(caller_of(request), name, origin_ref=origin, project=project or None)


@get("/reviews/queues/{name:str}/evidence", opt={PERMISSION: "reviews:read"})
async def queue_evidence(
    request: Req,
    name: FromPath[str],
    origin: Origin = "",
    least: Annotated[float, QueryParameter(ge=0, le=1, description="The estimate that passes.")] = 0.8,
    project: Project = "",
) -> NewEvidence:
    """The summary as evidence ``human-review``: what `POST /releases/{ref}/evidence` takes."""
    return await plane_of(request).reviews.evidence(
        caller_of(request), name, origin_ref=origin, least=least, project=project or None
    )


@get("/reviews/queues/{name:str}/calibration", opt={PERMISSION: "reviews:read"})
async def judge_calibration(
    request: Req, name: FromPath[str], scorer: FromQuery[str], project: Project = ""
) -> list[Labelled]:
    """What a judge, found in the items' evidence under its name, and people said of the same answers."""
    found = await plane_of(request).reviews.calibration(caller_of(request), name, scorer, project=project or None)
    return list(found)


@post("/reviews/queues/{name:str}/items", opt={PERMISSION: "reviews:write"})
async def put_items(request: Req, name: FromPath[str], data: JSONBody[NewItems], project: Project = "") -> list[Item]:
    """Put items into a queue; gives them in the same order, without their texts."""
    return list(await plane_of(request).reviews.put(caller_of(request), name, data.items, project=project or None))


@post("/reviews/queues/{name:str}/next", opt={PERMISSION: "reviews:decide"}, status_code=200)
async def next_item(request: Req, name: FromPath[str], project: Project = "") -> Task | None:
    """Take the most urgent item that you may judge; ``null``: there is none. What you have in hand comes first."""
    return await plane_of(request).reviews.next(caller_of(request), name, project=project or None)


@post("/reviews/queues/{name:str}/dataset", opt={PERMISSION: "datasets:write"})
async def make_dataset(
    request: Req, name: FromPath[str], data: JSONBody[NewDataset], project: Project = ""
) -> MadeDataset:
    """Make decided items examples of a dataset: with the rubric's reference, else the edited or approved answer.
    Takes ``reviews:decide`` too: whoever may read the dataset reads their texts there."""
    plane, caller, home = plane_of(request), caller_of(request), project or None
    examples = await plane.reviews.as_examples(caller, name, project=home, origin_ref=data.origin_ref)
    if not examples:
        raise Invalid(
            "No decided item of this queue says what the right answer is.",
            code="nothing_to_learn",
            hint="Approved and edited answers do, and a criterion that is the rubric's `reference`.",
        )
    try:
        version = await plane.datasets.add_version(
            caller, data.dataset, examples, base="latest" if data.extend else None, note=data.note, project=home
        )
        number = version.number
    except NotFound:
        made = await plane.datasets.create(caller, data.dataset, project=home, examples=examples, note=data.note)
        number = made.latest
    return MadeDataset(data.dataset, number, len(examples))


@get("/reviews/items", opt={PERMISSION: "reviews:read"})
async def list_items(
    request: Req,
    queue: FromQuery[str] = "",
    standing: Annotated[
        str, QueryParameter(name="state", description="`open`, `done`, `expired` or `withdrawn`.")
    ] = "",
    overdue: FromQuery[bool] = False,
    origin: Origin = "",
    project: Project = "",
    after: After = None,
    limit: Limit = 100,
) -> Page[Item]:
    """The review items that the key reaches, oldest first, without their texts."""
    found = await plane_of(request).reviews.list(
        caller_of(request),
        project=project or None,
        queue=queue,
        state=standing,
        overdue=overdue,
        origin_ref=origin,
        after=after or "",
        limit=limit,
    )
    return page(found, limit, lambda one: one.id)


@get("/reviews/items/{ref:str}", opt={PERMISSION: "reviews:decide"})
async def show_item(request: Req, ref: FromPath[str]) -> Task:
    """One item with its texts, as its reviewer sees it."""
    return await plane_of(request).reviews.show(caller_of(request), ref)


@post("/reviews/items/{ref:str}/take", opt={PERMISSION: "reviews:decide"}, status_code=200)
async def take_item(request: Req, ref: FromPath[str]) -> Task:
    """Take one item in hand, for as long as its queue says."""
    return await plane_of(request).reviews.take(caller_of(request), ref)


@post("/reviews/items/{ref:str}/return", opt={PERMISSION: "reviews:decide"}, status_code=200)
async def return_item(request: Req, ref: FromPath[str]) -> Item:
    """Hand one item back without a verdict."""
    return await plane_of(request).reviews.give_back(caller_of(request), ref)


@post("/reviews/items/{ref:str}/verdict", opt={PERMISSION: "reviews:decide"}, status_code=200)
async def give_verdict(request: Req, ref: FromPath[str], data: JSONBody[NewVerdict], version: Version = None) -> Item:
    """Give your verdict on an item that you have taken. A held answer goes to its caller by the last one needed."""
    return await plane_of(request).reviews.decide(caller_of(request), ref, data, version=version)


@post("/reviews/items/{ref:str}/withdraw", opt={PERMISSION: "reviews:write"}, status_code=200)
async def withdraw_item(request: Req, ref: FromPath[str], data: JSONBody[Reason | None] = None) -> Item:
    """Take an open item out of its queue."""
    reason = data.reason if data is not None else ""
    return await plane_of(request).reviews.withdraw(caller_of(request), ref, reason)


@post("/reviews/erasures", opt={PERMISSION: "reviews:write"}, status_code=200)
async def erase_texts(request: Req, data: JSONBody[Erasure]) -> Erased:
    """Erase the texts of an item, of a request, or of a subject, for good; digests, decisions and figures stay."""
    return Erased(
        await plane_of(request).reviews.erase(
            caller_of(request),
            item=data.item,
            request_id=data.request_id,
            subject=data.subject,
            project=data.project,
            reason=data.reason,
        )
    )


HANDLERS = (
    list_queues,
    declare_queue,
    show_queue,
    queue_figures,
    queue_summary,
    queue_evidence,
    judge_calibration,
    put_items,
    next_item,
    make_dataset,
    list_items,
    show_item,
    take_item,
    return_item,
    give_verdict,
    withdraw_item,
    erase_texts,
)
