"""``/datasets``: examples in versions, made of uploads and of recorded traffic; leakage, looks, erasure.

A name with slashes is one part of the path: ``support%2Ftickets``, or ``support~tickets``. A body holds at most 1 MiB:
larger versions come in parts, into a version that is left open until it is sealed.
"""

from typing import Annotated, Literal

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato.core.errors import Invalid
from ostinato.datasets import Dataset, DatasetVersion, Example, Finding, Look, NewExample, Shares, Split, Traffic
from ostinato.optimization.quoting import Quoted
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page
from ostinato.web.api.slashes import slashed

Project = Annotated[
    str | None,
    QueryParameter(max_length=200, description="Id, short name or organization/project; left out: the key's own."),
]


class NewDataset(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A dataset, with its first version where examples are given."""

    name: str
    description: str = ""
    shares: Shares = Shares()
    """How much of it is train, dev and holdout. Chosen once."""
    examples: tuple[NewExample, ...] = ()
    note: str = ""


class NewDatasetVersion(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What another version holds."""

    examples: tuple[NewExample, ...] = ()
    base: int | Literal["latest"] | None = None
    """The version whose examples it takes over; left out: none."""
    without: tuple[str, ...] = ()
    """Ids of examples of the base that it leaves out."""
    note: str = ""
    open: bool = False
    """More examples follow; it can be used once it is sealed."""


class MoreExamples(msgspec.Struct, forbid_unknown_fields=True):
    examples: tuple[NewExample, ...]


class FromTraffic(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which requests become examples of another version."""

    traffic: Traffic
    base: int | Literal["latest"] | None = None
    note: str = ""


class Erasure(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What is erased: one of the three."""

    examples: tuple[str, ...] = ()
    subject: str = ""
    """Whose data it is: the ``subject`` of an example's metadata."""
    source: str = ""
    """Where it came from: ``request:ID``, a file and line."""
    reason: str = ""


class Erased(msgspec.Struct):
    examples: list[str]
    """Ids of what is a tombstone now."""
    quoted_by: list[Quoted] = []
    """Prompts that some of them stand in, as optimization runs have put them there: retire those by hand."""


@get("/datasets", opt={PERMISSION: "datasets:read"})
async def list_datasets(
    request: Req, project: Project = None, after: After = None, limit: Limit = 100
) -> Page[Dataset]:
    """The datasets of a project by name."""
    found = await plane_of(request).datasets.list(
        caller_of(request), project=project or None, after=after or "", limit=limit
    )
    return page(found, limit, lambda one: one.name)


@post("/datasets", opt={PERMISSION: "datasets:write"})
async def create_dataset(request: Req, data: JSONBody[NewDataset], project: Project = None) -> Dataset:
    """A new dataset. Each example's split follows from its group, or else its inputs, and never changes."""
    return await plane_of(request).datasets.create(
        caller_of(request),
        data.name,
        project=project,
        description=data.description,
        shares=data.shares,
        examples=data.examples,
        note=data.note,
    )


@get("/datasets/{ref:str}", opt={PERMISSION: "datasets:read"})
async def show_dataset(request: Req, ref: FromPath[str], project: Project = None) -> Dataset:
    """One dataset, by name or id."""
    return await plane_of(request).datasets.show(caller_of(request), slashed(ref), project=project)


@get("/datasets/{ref:str}/versions", opt={PERMISSION: "datasets:read"})
async def list_dataset_versions(
    request: Req, ref: FromPath[str], project: Project = None, after: After = None, limit: Limit = 100
) -> Page[DatasetVersion]:
    """The versions of a dataset, newest first, with counts and what was seen when they were sealed."""
    found = await plane_of(request).datasets.versions(
        caller_of(request), slashed(ref), project=project, after=_cursor(after), limit=limit
    )
    return page(found, limit, lambda one: str(one.number))


@post("/datasets/{ref:str}/versions", opt={PERMISSION: "datasets:write"})
async def add_dataset_version(
    request: Req, ref: FromPath[str], data: JSONBody[NewDatasetVersion], project: Project = None
) -> DatasetVersion:
    """Another version: of these examples, of those of a base, or of both."""
    return await plane_of(request).datasets.add_version(
        caller_of(request),
        slashed(ref),
        data.examples,
        base=data.base,
        without=data.without,
        note=data.note,
        project=project,
        leave_open=data.open,
    )


@post("/datasets/{ref:str}/traffic", opt={PERMISSION: "datasets:write"})
async def add_dataset_traffic(
    request: Req, ref: FromPath[str], data: JSONBody[FromTraffic], project: Project = None
) -> DatasetVersion:
    """Another version, of recorded requests. Takes ``traces:text`` too, and a project that keeps texts."""
    return await plane_of(request).datasets.from_traffic(
        caller_of(request), slashed(ref), data.traffic, base=data.base, note=data.note, project=project
    )


@get("/datasets/{ref:str}/versions/{number:int}", opt={PERMISSION: "datasets:read"})
async def show_dataset_version(
    request: Req, ref: FromPath[str], number: FromPath[int], project: Project = None
) -> DatasetVersion:
    """One version, without its examples."""
    return await plane_of(request).datasets.version(caller_of(request), slashed(ref), number, project=project)


@delete("/datasets/{ref:str}/versions/{number:int}", opt={PERMISSION: "datasets:write"}, status_code=200)
async def discard_dataset_version(
    request: Req, ref: FromPath[str], number: FromPath[int], project: Project = None
) -> DatasetVersion:
    """Throw away a version that was never used, open or sealed."""
    return await plane_of(request).datasets.discard(caller_of(request), slashed(ref), number, project=project)


@get("/datasets/{ref:str}/versions/{number:int}/examples", opt={PERMISSION: "datasets:text"})
async def list_examples(
    request: Req,
    ref: FromPath[str],
    number: FromPath[int],
    split: FromQuery[Split | None] = None,
    project: Project = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[Example]:
    """The examples of train and dev, or of one of them; those erased as tombstones. The holdout is sealed."""
    found, following = await plane_of(request).datasets.examples(
        caller_of(request),
        slashed(ref),
        number,
        split=split,
        after=_cursor(after) or 0,
        limit=limit,
        project=project,
    )
    return Page(list(found), None if following is None else str(following))


@post("/datasets/{ref:str}/versions/{number:int}/examples", opt={PERMISSION: "datasets:write"}, status_code=200)
async def add_examples(
    request: Req, ref: FromPath[str], number: FromPath[int], data: JSONBody[MoreExamples], project: Project = None
) -> DatasetVersion:
    """More examples of a version that is open."""
    return await plane_of(request).datasets.add_examples(
        caller_of(request), slashed(ref), number, data.examples, project=project
    )


@post("/datasets/{ref:str}/versions/{number:int}/seal", opt={PERMISSION: "datasets:write"}, status_code=200)
async def seal_dataset_version(
    request: Req, ref: FromPath[str], number: FromPath[int], project: Project = None
) -> DatasetVersion:
    """Close an open version for good: it gets its digest, and can be used."""
    return await plane_of(request).datasets.seal(caller_of(request), slashed(ref), number, project=project)


@get("/datasets/{ref:str}/versions/{number:int}/leakage", opt={PERMISSION: "datasets:read"})
async def dataset_leakage(
    request: Req, ref: FromPath[str], number: FromPath[int], project: Project = None
) -> list[Finding]:
    """What of one split can be known from another one. Nothing of the sealed part is told but counts."""
    return list(await plane_of(request).datasets.leakage(caller_of(request), slashed(ref), number, project=project))


@get("/datasets/{ref:str}/versions/{number:int}/looks", opt={PERMISSION: "datasets:read"})
async def holdout_looks(request: Req, ref: FromPath[str], number: FromPath[int], project: Project = None) -> list[Look]:
    """Every look at the sealed part: for which prompt and run, and how much of alpha it spent."""
    return list(await plane_of(request).datasets.looks(caller_of(request), slashed(ref), number, project=project))


@post("/datasets/{ref:str}/erasures", opt={PERMISSION: "datasets:write"}, status_code=200)
async def erase_examples(request: Req, ref: FromPath[str], data: JSONBody[Erasure], project: Project = None) -> Erased:
    """Erase the texts of examples in every version. Tombstones stay, with digests and splits."""
    plane, caller = plane_of(request), caller_of(request)
    gone = await plane.datasets.erase(
        caller,
        slashed(ref),
        examples=data.examples,
        subject=data.subject,
        source=data.source,
        reason=data.reason,
        project=project,
    )
    return Erased(list(gone), list(await plane.optimizations.quoting(caller, project, gone)))


def _cursor(after: str | None) -> int | None:
    if after is None:
        return None
    if not (after.isascii() and after.isdigit() and len(after) < 10):
        raise Invalid("This cursor is none of ours.", param="after", hint="Give the `next` of the page before.")
    return int(after)


HANDLERS = (
    list_datasets,
    create_dataset,
    show_dataset,
    list_dataset_versions,
    add_dataset_version,
    add_dataset_traffic,
    show_dataset_version,
    discard_dataset_version,
    list_examples,
    add_examples,
    seal_dataset_version,
    dataset_leakage,
    holdout_looks,
    erase_examples,
)
