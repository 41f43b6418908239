"""``/optimizations``: runs that look for a better prompt, prove it, and propose its release."""

from typing import Annotated

import msgspec
from litestar import Response, delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato.calls import Limits
from ostinato.optimization import Progress, Run, RunPlan, Wish
from ostinato.optimization.report import CSP
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page

State = Annotated[
    str,
    QueryParameter(
        name="state",
        description="`planned`, `running`, `paused`, `reviewing`, `proposed`, `refused`, `nothing-to-gain`, "
        "`cancelled`, `failed`, `deleted`.",
    ),
]


class NewRun(Wish, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What shall be improved, measured by what, within which bounds."""

    project: str | None = None
    """Id or short name; the key's own if left out."""

    def wish(self) -> Wish:
        """The same without the project, which is not part of what is improved."""
        return Wish(**{name: getattr(self, name) for name in Wish.__struct_fields__})


class Reason(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


class Continuation(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""
    limits: Limits | None = None
    """In all, what is spent already included; left out: as they were."""


def _reason(data: Reason | None) -> str:
    return data.reason if data is not None else ""


@post("/optimizations/plan", opt={PERMISSION: "optimizations:run"}, status_code=200)
async def plan_run(request: Req, data: JSONBody[NewRun]) -> RunPlan:
    """What a run would take, what it could prove, and what keeps it from beginning. Nothing is spent."""
    return await plane_of(request).optimizations.plan(caller_of(request), data.wish(), data.project)


@post("/optimizations", opt={PERMISSION: "optimizations:run"})
async def start_run(request: Req, data: JSONBody[NewRun]) -> Run:
    """Begin a run; it goes on by itself. 400 with all that keeps it from beginning, 409 while another run on the same
    prompt is open."""
    return await plane_of(request).optimizations.start(caller_of(request), data.wish(), data.project)


@get("/optimizations", opt={PERMISSION: "optimizations:read"})
async def list_runs(
    request: Req,
    project: FromQuery[str] = "",
    prompt: FromQuery[str] = "",
    standing: State = "",
    after: After = None,
    limit: Limit = 100,
) -> Page[Run]:
    """The runs that the key reaches, oldest first, a page at a time."""
    found = await plane_of(request).optimizations.list(
        caller_of(request), project=project or None, prompt=prompt, state=standing, after=after or "", limit=limit
    )
    return page(found, limit, lambda one: one.id)


@get("/optimizations/{ref:str}", opt={PERMISSION: "optimizations:read"})
async def show_run(request: Req, ref: FromPath[str]) -> Progress:
    """One run: its phase, what it has spent, the best so far, its learning curve."""
    return await plane_of(request).optimizations.show(caller_of(request), ref)


@get("/optimizations/{ref:str}/report", opt={PERMISSION: "optimizations:read"}, media_type="text/html")
async def run_report(request: Req, ref: FromPath[str]) -> Response[str]:
    """The run's report: one HTML page that needs nothing else. It shows prompts to those who may see examples."""
    made = await plane_of(request).optimizations.report(caller_of(request), ref)
    headers = {"content-security-policy": CSP, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
    return Response(made, media_type="text/html; charset=utf-8", headers=headers)


@post("/optimizations/{ref:str}/pause", opt={PERMISSION: "optimizations:run"}, status_code=200)
async def pause_run(request: Req, ref: FromPath[str], data: JSONBody[Reason | None] = None) -> Run:
    """Let a run begin no further call; it is paused when those under way have ended."""
    return await plane_of(request).optimizations.pause(caller_of(request), ref, _reason(data))


@post("/optimizations/{ref:str}/resume", opt={PERMISSION: "optimizations:run"}, status_code=200)
async def resume_run(request: Req, ref: FromPath[str], data: JSONBody[Continuation | None] = None) -> Run:
    """Go on with a paused run where it stopped; no call is paid for twice."""
    wanted = data or Continuation()
    return await plane_of(request).optimizations.resume(caller_of(request), ref, wanted.limits, wanted.reason)


@post("/optimizations/{ref:str}/cancel", opt={PERMISSION: "optimizations:run"}, status_code=200)
async def cancel_run(request: Req, ref: FromPath[str], data: JSONBody[Reason | None] = None) -> Run:
    """End a run for good once the calls under way have ended. What was paid for is kept, and its report can be read."""
    return await plane_of(request).optimizations.cancel(caller_of(request), ref, _reason(data))


@delete("/optimizations/{ref:str}", opt={PERMISSION: "optimizations:run"}, status_code=200)
async def delete_run(request: Req, ref: FromPath[str]) -> Run:
    """End a run and empty it: candidates, measurements and answers are gone; what it cost stays known."""
    return await plane_of(request).optimizations.delete(caller_of(request), ref)


HANDLERS = (
    plan_run,
    start_run,
    list_runs,
    show_run,
    run_report,
    pause_run,
    resume_run,
    cancel_run,
    delete_run,
)
