"""``/releases`` and ``/approvals``: governed moves of labels, and what waits for somebody's word."""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato.approvals import Request as ApprovalRequest
from ostinato.releases import Dossier, NewEvidence, Plan, Proposal, Release
from ostinato.web.api.access import Req, Version, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page

State = Annotated[
    str,
    QueryParameter(
        name="state",
        description="`proposed`, `approved`, `canary`, `paused`, `active`, `rolled_back`, `superseded`, `withdrawn`, "
        "`rejected`.",
    ),
]


class NewRelease(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What shall be released, and how it reaches its traffic."""

    prompt: str
    number: int
    """The version."""
    label: str = "production"
    project: str | None = None
    """Id or short name; the key's own if left out."""
    plan: Plan = Plan()
    reason: str
    evidence: tuple[NewEvidence, ...] = ()


class Opinion(msgspec.Struct, forbid_unknown_fields=True):
    digest: str
    """The release's ``digest``, as it was when you looked: the approval is bound to it."""
    comment: str = ""


class Review(msgspec.Struct, forbid_unknown_fields=True):
    digest: str
    """The release's ``digest``, as it was when you read the differences."""
    passed: bool = True
    facts: dict[str, str | int | float | bool] = {}


class Command(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


def _reason(data: Command | None) -> str:
    return data.reason if data is not None else ""


@get("/releases", opt={PERMISSION: "releases:read"})
async def list_releases(
    request: Req,
    project: FromQuery[str] = "",
    prompt: FromQuery[str] = "",
    label: FromQuery[str] = "",
    standing: State = "",
    after: After = None,
    limit: Limit = 100,
) -> Page[Release]:
    """The releases that the key reaches, oldest first, a page at a time."""
    found = await plane_of(request).releases.list(
        caller_of(request),
        project=project or None,
        prompt=prompt,
        label=label,
        state=standing,
        after=after or "",
        limit=limit,
    )
    return page(found, limit, lambda one: one.id)


@post("/releases", opt={PERMISSION: "releases:propose"})
async def propose(request: Req, data: JSONBody[NewRelease]) -> Release:
    """Propose that a label move to another version. 409 while another release of the same label is open."""
    wish = Proposal(
        prompt=data.prompt,
        number=data.number,
        label=data.label,
        plan=data.plan,
        reason=data.reason,
        evidence=data.evidence,
    )
    return await plane_of(request).releases.propose(caller_of(request), wish, data.project)


@get("/releases/{ref:str}", opt={PERMISSION: "releases:read"})
async def show_release(request: Req, ref: FromPath[str]) -> Dossier:
    """One release with its evidence, approvals and history, and what lies between it and its next step."""
    return await plane_of(request).releases.show(caller_of(request), ref)


@post("/releases/{ref:str}/evidence", opt={PERMISSION: "releases:propose"}, status_code=200)
async def attach(request: Req, ref: FromPath[str], data: JSONBody[NewEvidence]) -> Release:
    """Attach the result of something done elsewhere, such as an evaluation; of one name the last counts."""
    return await plane_of(request).releases.attach(caller_of(request), ref, data)


@post("/releases/{ref:str}/review", opt={PERMISSION: "releases:approve"}, status_code=200)
async def review(request: Req, ref: FromPath[str], data: JSONBody[Review]) -> Release:
    """Say that the differences were read, by somebody who is not the author: evidence ``diff-reviewed``."""
    evidence = NewEvidence("diff-reviewed", data.digest, data.passed, data.facts)
    return await plane_of(request).releases.attach(caller_of(request), ref, evidence)


@post("/releases/{ref:str}/approve", opt={PERMISSION: "releases:approve"}, status_code=200)
async def approve(request: Req, ref: FromPath[str], data: JSONBody[Opinion]) -> Release:
    """Approve what somebody else proposed. Its required gates must have passed."""
    return await plane_of(request).releases.approve(caller_of(request), ref, data.digest, data.comment)


@post("/releases/{ref:str}/reject", opt={PERMISSION: "releases:approve"}, status_code=200)
async def reject(request: Req, ref: FromPath[str], data: JSONBody[Opinion]) -> Release:
    """Reject a proposal, saying why; one rejection ends it."""
    return await plane_of(request).releases.reject(caller_of(request), ref, data.digest, data.comment)


@post("/releases/{ref:str}/withdraw", opt={PERMISSION: "releases:propose"}, status_code=200)
async def withdraw(request: Req, ref: FromPath[str], data: JSONBody[Command | None] = None) -> Release:
    """Take a proposal back before it begins."""
    return await plane_of(request).releases.withdraw(caller_of(request), ref, _reason(data))


@post("/releases/{ref:str}/start", opt={PERMISSION: "releases:operate"}, status_code=200)
async def start(
    request: Req, ref: FromPath[str], data: JSONBody[Command | None] = None, version: Version = None
) -> Release:
    """Begin: with the first step of its canary, or with all traffic where the plan has no steps."""
    return await plane_of(request).releases.start(caller_of(request), ref, _reason(data), version)


@post("/releases/{ref:str}/advance", opt={PERMISSION: "releases:operate"}, status_code=200)
async def advance(
    request: Req, ref: FromPath[str], data: JSONBody[Command | None] = None, version: Version = None
) -> Release:
    """The canary's next step, if the minima of this one are met."""
    return await plane_of(request).releases.advance(caller_of(request), ref, _reason(data), version)


@post("/releases/{ref:str}/promote", opt={PERMISSION: "releases:operate"}, status_code=200)
async def promote(
    request: Req, ref: FromPath[str], data: JSONBody[Command | None] = None, version: Version = None
) -> Release:
    """All of the traffic, after the last step."""
    return await plane_of(request).releases.promote(caller_of(request), ref, _reason(data), version)


@post("/releases/{ref:str}/pause", opt={PERMISSION: "releases:operate"}, status_code=200)
async def pause(
    request: Req, ref: FromPath[str], data: JSONBody[Command | None] = None, version: Version = None
) -> Release:
    """Keep the canary at its share; nothing advances it meanwhile."""
    return await plane_of(request).releases.pause(caller_of(request), ref, _reason(data), version)


@post("/releases/{ref:str}/resume", opt={PERMISSION: "releases:operate"}, status_code=200)
async def resume(
    request: Req, ref: FromPath[str], data: JSONBody[Command | None] = None, version: Version = None
) -> Release:
    """Go on with a paused canary; its step begins anew."""
    return await plane_of(request).releases.resume(caller_of(request), ref, _reason(data), version)


@post("/releases/{ref:str}/rollback", opt={PERMISSION: "releases:operate"}, status_code=200)
async def rollback(
    request: Req, ref: FromPath[str], data: JSONBody[Command | None] = None, version: Version = None
) -> Release:
    """Take a canary or an active release back: here at once, in every other process within two seconds."""
    return await plane_of(request).releases.rollback(caller_of(request), ref, _reason(data), version)


@get("/approvals", opt={PERMISSION: "releases:read"})
async def list_approvals(
    request: Req,
    standing: Annotated[str, QueryParameter(name="state", description="`open`, `rejected`, `void` or `done`.")] = "",
    kind: Annotated[str, QueryParameter(description="`release` or `intent`.")] = "",
    target: FromQuery[str] = "",
    after: After = None,
    limit: Limit = 100,
) -> Page[ApprovalRequest]:
    """Requests for approval that the key reaches, oldest first: of releases, and of intents with high stakes."""
    found = await plane_of(request).approvals.list(
        caller_of(request), state=standing, kind=kind, target=target, after=after or "", limit=limit
    )
    return page(found, limit, lambda one: one.id)


@get("/approvals/{ref:str}", opt={PERMISSION: "releases:read"})
async def show_approval(request: Req, ref: FromPath[str]) -> ApprovalRequest:
    """One request for approval with its decisions."""
    return await plane_of(request).approvals.show(caller_of(request), ref)


HANDLERS = (
    list_releases,
    propose,
    show_release,
    attach,
    review,
    approve,
    reject,
    withdraw,
    start,
    advance,
    promote,
    pause,
    resume,
    rollback,
    list_approvals,
    show_approval,
)
