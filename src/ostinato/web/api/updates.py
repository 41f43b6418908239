"""``/updates``: a new model or snapshot behind an alias."""

from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato.optimization.report import CSP
from ostinato.updating import NewUpdate, Report, Start, Update, Wish
from ostinato.updating.reporting import page as html
from ostinato.web.api.access import Req, Version, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page

State = Annotated[
    str, QueryParameter(name="state", description="`planned`, `waiting`, `canary`, `done` or `abandoned`.")
]


class Agreement(msgspec.Struct, forbid_unknown_fields=True):
    """What is agreed to, or refused."""

    digest: str
    """As the update shows it: of exactly what was looked at."""
    comment: str = ""


class Why(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


@get("/updates", opt={PERMISSION: "updates:read"})
async def list_updates(
    request: Req, project: FromQuery[str] = "", standing: State = "", after: After = None, limit: Limit = 100
) -> Page[Update]:
    """Changes of models of a project, the newest first."""
    found = await plane_of(request).governing.updating.list(
        caller_of(request), project=project or None, state=standing, after=after or "", limit=limit
    )
    return page(found, limit, lambda one: one.id)


@post("/updates", opt={PERMISSION: "updates:run"})
async def plan_update(request: Req, data: JSONBody[NewUpdate]) -> Update:
    """Who uses an alias, by what each can be judged, and what comparing would cost. Asks no model, moves no traffic."""
    return await plane_of(request).governing.updating.plan(caller_of(request), data)


@get("/updates/{ref:str}", opt={PERMISSION: "updates:read"})
async def show_update(request: Req, ref: FromPath[str]) -> Update:
    """One change of models."""
    return await plane_of(request).governing.updating.show(caller_of(request), ref)


@get("/updates/{ref:str}/report", opt={PERMISSION: "updates:read"})
async def update_report(request: Req, ref: FromPath[str]) -> Report:
    """Who gains and who loses, as far as the comparison is done; and what the canaries show."""
    return await plane_of(request).governing.updating.report(caller_of(request), ref)


@get("/updates/{ref:str}/page", opt={PERMISSION: "updates:read"}, media_type="text/html")
async def update_page(request: Req, ref: FromPath[str]) -> Response[str]:
    """The report as one HTML page that needs nothing else."""
    made = html(await plane_of(request).governing.updating.report(caller_of(request), ref))
    headers = {"content-security-policy": CSP, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
    return Response(made, media_type="text/html; charset=utf-8", headers=headers)


@post("/updates/{ref:str}/run", opt={PERMISSION: "updates:run"}, status_code=200)
async def run_update(
    request: Req, ref: FromPath[str], data: JSONBody[Wish | None] = None, version: Version = None
) -> Update:
    """Compare old and new targets on every prompt that has a dataset: one experiment each, which calls models."""
    return await plane_of(request).governing.updating.run(caller_of(request), ref, data or Wish(), version)


@post("/updates/{ref:str}/start", opt={PERMISSION: "updates:run"}, status_code=200)
async def start_update(
    request: Req, ref: FromPath[str], data: JSONBody[Start | None] = None, version: Version = None
) -> Update:
    """Begin a canary for each intent; where stakes are high or critical, ask for approval first, and begin the second
    time."""
    return await plane_of(request).governing.updating.start(caller_of(request), ref, data or Start(), version)


@post("/updates/{ref:str}/approve", opt={PERMISSION: "releases:approve"}, status_code=200)
async def approve_update(request: Req, ref: FromPath[str], data: JSONBody[Agreement]) -> Update:
    """Agree to a change of models that waits; never one's own."""
    room = plane_of(request).governing.updating
    return await room.approve(caller_of(request), ref, data.digest, data.comment)


@post("/updates/{ref:str}/reject", opt={PERMISSION: "releases:approve"}, status_code=200)
async def reject_update(request: Req, ref: FromPath[str], data: JSONBody[Agreement]) -> Update:
    """Say no to a change of models that waits, and why (`comment`): it is planned again, as before it was asked for."""
    room = plane_of(request).governing.updating
    return await room.reject(caller_of(request), ref, data.digest, data.comment)


@post("/updates/{ref:str}/abandon", opt={PERMISSION: "updates:run"}, status_code=200)
async def abandon_update(
    request: Req, ref: FromPath[str], data: JSONBody[Why | None] = None, version: Version = None
) -> Update:
    """Everything back to the old targets, wherever the update stands."""
    reason = data.reason if data is not None else ""
    return await plane_of(request).governing.updating.abandon(caller_of(request), ref, reason, version)


HANDLERS = (
    list_updates,
    plan_update,
    show_update,
    update_report,
    update_page,
    run_update,
    start_update,
    approve_update,
    reject_update,
    abandon_update,
)
