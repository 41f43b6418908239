"""``/retention``: rules, what a sweep would take, holds, erasures and their receipts."""

from typing import Annotated

import msgspec
from litestar import delete, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato.retention import Begun, Erasure, Hold, NewHold, NewRule, Receipt, Rule, Sweep, Wish
from ostinato.web.api.access import Req, Version, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.idempotency import SECRET
from ostinato.web.api.paging import After, Limit, Page, page

Project = Annotated[str, QueryParameter(name="project", description="Id or short name; left out: all within reach.")]


class Reason(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


class NewSweep(msgspec.Struct, forbid_unknown_fields=True):
    project: str = ""
    """Left out: every project that the key reaches."""
    reason: str = ""


@get("/retention/rules", opt={PERMISSION: "retention:read"})
async def list_rules(request: Req, project: Project = "", after: After = None, limit: Limit = 100) -> Page[Rule]:
    """The rules that concern what the key reaches, by name. Of several that speak of a thing the strictest holds."""
    room = plane_of(request).governing.retention
    found = await room.rules(caller_of(request), project=project, after=after or "", limit=limit)
    return page(found, limit, lambda one: one.name)


@get("/retention/rules/{name:str}", opt={PERMISSION: "retention:read"})
async def show_rule(request: Req, name: FromPath[str]) -> Rule:
    """One rule."""
    return await plane_of(request).governing.retention.rule(caller_of(request), name)


@put("/retention/rules/{name:str}", opt={PERMISSION: "retention:write"})
async def declare_rule(request: Req, name: FromPath[str], data: JSONBody[NewRule], version: Version = None) -> Rule:
    """Declare a rule; it holds from the next sweep on."""
    return await plane_of(request).governing.retention.declare(caller_of(request), name, data, version=version)


@delete("/retention/rules/{name:str}", opt={PERMISSION: "retention:write"}, status_code=200)
async def remove_rule(request: Req, name: FromPath[str], reason: FromQuery[str] = "", version: Version = None) -> Rule:
    """Take a rule away."""
    room = plane_of(request).governing.retention
    return await room.remove(caller_of(request), name, reason=reason, version=version)


@get("/retention/preview", opt={PERMISSION: "retention:read"})
async def preview(request: Req, project: Project = "") -> Sweep:
    """What a sweep would take now: counts by store, the oldest, and what is held. Nothing is changed."""
    return await plane_of(request).governing.retention.preview(caller_of(request), project=project)


@get("/retention/sweeps", opt={PERMISSION: "retention:read"})
async def list_sweeps(request: Req, project: Project = "", after: After = None, limit: Limit = 100) -> Page[Sweep]:
    """Reports of sweeps, newest first."""
    room = plane_of(request).governing.retention
    found = await room.sweeps(caller_of(request), project=project, before=after or "", limit=limit)
    return page(found, limit, lambda one: one.id)


@post("/retention/sweeps", opt={PERMISSION: "retention:write"})
async def sweep(request: Req, data: JSONBody[NewSweep]) -> Sweep:
    """Sweep now what the key reaches. 409 while another process does."""
    room = plane_of(request).governing.retention
    return await room.sweep(caller_of(request), project=data.project, reason=data.reason)


@get("/retention/holds", opt={PERMISSION: "retention:read"})
async def list_holds(
    request: Req, project: Project = "", lifted: FromQuery[bool] = False, after: After = None, limit: Limit = 100
) -> Page[Hold]:
    """Legal holds, oldest first; with ``lifted`` those that were lifted, too."""
    room = plane_of(request).governing.retention
    found = await room.holds(caller_of(request), project=project, lifted=lifted, after=after or "", limit=limit)
    return page(found, limit, lambda one: one.id)


@post("/retention/holds", opt={PERMISSION: "retention:hold"})
async def place_hold(request: Req, data: JSONBody[NewHold]) -> Hold:
    """Keep something whatever rules and erasures say: of a user, an intent, a project, a range of time."""
    return await plane_of(request).governing.retention.hold(caller_of(request), data)


@post("/retention/holds/{ref:str}/lift", opt={PERMISSION: "retention:hold"}, status_code=200)
async def lift_hold(request: Req, ref: FromPath[str], data: JSONBody[Reason]) -> Hold:
    """Lift a hold. What it kept from rules is swept, what it kept from erasures is erased."""
    return await plane_of(request).governing.retention.lift(caller_of(request), ref, reason=data.reason)


@get("/retention/erasures", opt={PERMISSION: "retention:read"})
async def list_erasures(
    request: Req,
    project: Project = "",
    standing: Annotated[str, QueryParameter(name="state", description="`running`, `done`, `held`.")] = "",
    after: After = None,
    limit: Limit = 100,
) -> Page[Erasure]:
    """Erasures, newest first. Who was forgotten is not told: only a commitment to it."""
    room = plane_of(request).governing.retention
    found = await room.erasures(caller_of(request), project=project, state=standing, before=after or "", limit=limit)
    return page(found, limit, lambda one: one.id)


@post("/retention/erasures", opt={PERMISSION: "retention:erase", SECRET: True}, status_code=202)
async def erase(request: Req, data: JSONBody[Wish]) -> Begun:
    """Forget somebody in every store. It is carried out in the background; ``opening`` is told this once."""
    return await plane_of(request).governing.retention.erase(caller_of(request), data)


@get("/retention/erasures/{ref:str}", opt={PERMISSION: "retention:read"})
async def show_erasure(request: Req, ref: FromPath[str]) -> Erasure:
    """One erasure: what was found, and what is left."""
    return await plane_of(request).governing.retention.erasure(caller_of(request), ref)


@get("/retention/erasures/{ref:str}/receipt", opt={PERMISSION: "retention:read"})
async def show_receipt(request: Req, ref: FromPath[str]) -> Receipt:
    """The signed receipt, with the proof of its leaf in the audit log. 409 while the erasure is under way."""
    return await plane_of(request).governing.retention.receipt(caller_of(request), ref)


HANDLERS = (
    list_rules,
    show_rule,
    declare_rule,
    remove_rule,
    preview,
    list_sweeps,
    sweep,
    list_holds,
    place_hold,
    lift_hold,
    list_erasures,
    erase,
    show_erasure,
    show_receipt,
)
