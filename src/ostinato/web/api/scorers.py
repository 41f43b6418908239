"""``/scorers`` and ``/sampling``: what says how good answers are, which share of the traffic it looks at, and how far
judges agree with people."""

from typing import Annotated

import msgspec
from litestar import delete, get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter

from ostinato import scorers
from ostinato.core.errors import Invalid
from ostinato.scorers import Calibrated, Declared, NewRule, Rule, Spec
from ostinato.web.api.access import Req, Version, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page
from ostinato.web.api.slashes import slashed

Project = Annotated[
    str | None,
    QueryParameter(max_length=200, description="Id, short name or organization/project; left out: the key's own."),
]
Reason = Annotated[str, QueryParameter(max_length=2000, description="Why; kept beside the audit leaf.")]


class NewScorer(Spec, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scorer as it is to be declared."""

    note: str = ""


class ScorerKind(msgspec.Struct):
    name: str
    title: str
    options: list[str]
    """Names of its configuration."""
    needs: list[str]
    """What an answer or its example must have, for it to be scored."""


class NewCalibration(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What a judge is held against."""

    dataset: str = ""
    """Its examples have the judged answer as ``metadata.answer`` and what people said as reference."""
    queue: str = ""
    """In the place of a dataset: a review queue, with the verdicts on sampled answers that this version has judged."""
    number: int | None = None
    """Of its version; left out: the newest."""
    limit: int = 200
    """Examples at most, up to 500; the sealed holdout takes no part."""
    cut: float = 0.5
    """From this value on an answer is good."""


class SamplingRule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Which share of the traffic is scored, and by what."""

    share: float
    """From 0 to 1, of the answers that it is about; 0 switches it off."""
    scorers: tuple[str, ...]
    """Names of declared scorers."""
    intent: str = ""
    """Key of the intent that it is about; left out: every one."""
    prompt: str = ""
    """Name of the prompt that it is about; left out: every one, and requests without."""
    quarantine: float | None = None
    """A stored answer is withdrawn from the cache where its mean falls below this; left out: none is."""
    review: str = ""
    """Review queue that answers go into, as its sampling draws them; only of projects that keep texts. Takes
    ``reviews:write``."""
    reason: str = ""


@get("/scorers/kinds", opt={PERMISSION: "scorers:read"}, sync_to_thread=False)
def list_kinds() -> list[ScorerKind]:
    """The kinds of scorers that there are, with what each can be told."""
    return [
        ScorerKind(kind.name, kind.title, list(kind.config.__struct_fields__), list(kind.needs))
        for kind in sorted(scorers.KINDS.values(), key=lambda one: one.name)
    ]


@get("/scorers", opt={PERMISSION: "scorers:read"})
async def list_scorers(
    request: Req, project: Project = None, after: After = None, limit: Limit = 100
) -> Page[Declared]:
    """The scorers of a project that are used now, by name."""
    found = await plane_of(request).scorers.list(caller_of(request), project=project, after=after or "", limit=limit)
    return page(found, limit, lambda one: one.name)


@post("/scorers", opt={PERMISSION: "scorers:write"})
async def declare_scorer(
    request: Req, data: JSONBody[NewScorer], project: Project = None, version: Version = None
) -> Declared:
    """Declare a scorer, or another version of one. What cannot work is refused, naming the field."""
    spec = Spec(kind=data.kind, name=data.name, config=data.config, weight=data.weight)
    return await plane_of(request).scorers.declare(
        caller_of(request), spec, project=project, note=data.note, version=version
    )


@get("/scorers/{ref:str}", opt={PERMISSION: "scorers:read"})
async def show_scorer(request: Req, ref: FromPath[str], project: Project = None) -> Declared:
    """One scorer, as it is used now."""
    return await plane_of(request).scorers.show(caller_of(request), slashed(ref), project=project)


@get("/scorers/{ref:str}/versions", opt={PERMISSION: "scorers:read"})
async def list_scorer_versions(request: Req, ref: FromPath[str], project: Project = None) -> list[Declared]:
    """Every version of a scorer, newest first."""
    return list(await plane_of(request).scorers.versions(caller_of(request), slashed(ref), project=project))


@delete("/scorers/{ref:str}", opt={PERMISSION: "scorers:write"}, status_code=200)
async def remove_scorer(request: Req, ref: FromPath[str], project: Project = None, reason: Reason = "") -> Declared:
    """Use a scorer no more. 409 while a rule of sampling uses it; its versions stay for the scores that name them."""
    return await plane_of(request).scorers.remove(caller_of(request), slashed(ref), project=project, reason=reason)


@get("/scorers/{ref:str}/calibration", opt={PERMISSION: "scorers:read"})
async def list_calibrations(request: Req, ref: FromPath[str], project: Project = None) -> list[Calibrated]:
    """How versions of a judge agreed with people, newest first: kappa with its interval, and n."""
    return list(await plane_of(request).scorers.calibrations(caller_of(request), slashed(ref), project=project))


@post("/scorers/{ref:str}/calibration", opt={PERMISSION: "scorers:write"})
async def calibrate_scorer(
    request: Req, ref: FromPath[str], data: JSONBody[NewCalibration], project: Project = None
) -> Calibrated:
    """Hold a judge against people's labels; with a dataset it calls models, and answers when it is done. It may promote
    from a kappa of 0.6 on, on at least 30 labels."""
    plane, caller = plane_of(request), caller_of(request)
    if bool(data.dataset) == bool(data.queue):
        raise Invalid("Name a dataset or a review queue: one of them.", code="calibrate_what", param="dataset")
    if data.queue:
        scorer = await plane.scorers.show(caller, slashed(ref), project=project, permission="scorers:write")
        said = await plane.reviews.calibration(
            caller, data.queue, f"{scorer.name}@{scorer.version}", project=scorer.project, measured=True
        )
        labelled = [(one.judge, one.human) for one in said]
        return await scorers.calibrating.from_reviews(
            plane.scorers, caller, scorer, labelled, queue=data.queue, cut=data.cut
        )
    return await scorers.calibrating.run(
        plane.scorers,
        plane.datasets,
        caller_of(request),
        slashed(ref),
        dataset=data.dataset,
        number=data.number,
        limit=data.limit,
        cut=data.cut,
        project=project,
    )


@get("/sampling", opt={PERMISSION: "scorers:read"})
async def list_sampling(request: Req, project: Project = None) -> list[Rule]:
    """Which share of the project's traffic is scored, and by what."""
    return list(await plane_of(request).scorers.rules(caller_of(request), project=project))


@get("/sampling/{ref:str}", opt={PERMISSION: "scorers:read"})
async def show_sampling(request: Req, ref: FromPath[str], project: Project = None) -> Rule:
    """One rule of sampling."""
    return await plane_of(request).scorers.rule(caller_of(request), slashed(ref), project=project)


@put("/sampling/{ref:str}", opt={PERMISSION: "scorers:write"})
async def put_sampling(
    request: Req,
    ref: FromPath[str],
    data: JSONBody[SamplingRule],
    project: Project = None,
    version: Version = None,
) -> Rule:
    """Declare a rule of sampling, or change it."""
    wish = NewRule(
        name=slashed(ref),
        share=data.share,
        scorers=data.scorers,
        intent=data.intent,
        prompt=data.prompt,
        quarantine=data.quarantine,
        review=data.review,
    )
    if data.review:
        await plane_of(request).reviews.must_take(caller_of(request), data.review, project=project)
    return await plane_of(request).scorers.put_rule(
        caller_of(request), wish, project=project, version=version, reason=data.reason
    )


@delete("/sampling/{ref:str}", opt={PERMISSION: "scorers:write"}, status_code=200)
async def remove_sampling(request: Req, ref: FromPath[str], project: Project = None, reason: Reason = "") -> Rule:
    """Sample by this rule no more."""
    return await plane_of(request).scorers.remove_rule(caller_of(request), slashed(ref), project=project, reason=reason)


HANDLERS = (
    list_kinds,
    list_scorers,
    declare_scorer,
    show_scorer,
    list_scorer_versions,
    remove_scorer,
    list_calibrations,
    calibrate_scorer,
    list_sampling,
    show_sampling,
    put_sampling,
    remove_sampling,
)
