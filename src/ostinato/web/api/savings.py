"""``/savings``: what was saved, by account and by experiment; declared costs; invoices beside the ledger."""

from litestar import delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody

from ostinato.access.permissions import allows
from ostinato.core.errors import Invalid
from ostinato.savings import (
    Account,
    BudgetReport,
    Cost,
    HoldOut,
    Invoice,
    NewCost,
    NewInvoice,
    Reconciliation,
    Report,
)
from ostinato.traces import Filter, Window
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.cache import project_within_reach
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page

_DAY = 86_400_000_000
_LONGEST = 400 * _DAY


def _window(request: Req, since: int | None, until: int | None) -> Window:
    now = plane_of(request).clock.now()
    end = until if until is not None else now
    start = since if since is not None else end - 30 * _DAY
    if not 0 <= start < end <= now + _DAY or end - start > _LONGEST:
        raise Invalid(
            "This is no window of time.",
            code="invalid_window",
            param="since",
            hint="`since` comes before `until`, both UTC microseconds, not in the future, at most 400 days apart.",
        )
    return Window(start, min(end, now + 1))


async def _reach(request: Req, project: str, **more: str) -> Filter:
    """What the caller may see: never beyond its organization."""
    return Filter(org=caller_of(request).org, project=await project_within_reach(request, project), **more)


@get("/savings", opt={PERMISSION: "kpis:read"})
async def show_savings(
    request: Req,
    since: FromQuery[int | None] = None,
    until: FromQuery[int | None] = None,
    project: FromQuery[str] = "",
    intent: FromQuery[str] = "",
    prompt: FromQuery[str] = "",
    release: FromQuery[str] = "",
) -> Account:
    """Accounted net saving of a window (30 days by default), by source, less every overhead; lines may be below 0."""
    filters = await _reach(request, project, intent=intent, prompt=prompt, release=release)
    return await plane_of(request).governing.savings.accounted(_window(request, since, until), filters)


@get("/savings/holdout", opt={PERMISSION: "kpis:read"})
async def show_holdout(
    request: Req,
    since: FromQuery[int | None] = None,
    until: FromQuery[int | None] = None,
    project: FromQuery[str] = "",
    intent: FromQuery[str] = "",
    prompt: FromQuery[str] = "",
    confidence: FromQuery[float] = 0.95,
) -> HoldOut:
    """What the cache saves by experiment, with a confidence sequence, beside what is accounted; and whom it leaves out.

    From sums by the hour, however many rows there are: the window is widened to whole hours.
    """
    if not 0.5 <= confidence <= 0.999:
        raise Invalid("A confidence is from 0.5 to 0.999.", code="invalid_confidence", param="confidence")
    filters = await _reach(request, project, intent=intent, prompt=prompt)
    return await plane_of(request).governing.savings.holdout(_window(request, since, until), filters, confidence)


@get("/savings/roi", opt={PERMISSION: "kpis:read"})
async def show_roi(
    request: Req,
    since: FromQuery[int | None] = None,
    until: FromQuery[int | None] = None,
    project: FromQuery[str] = "",
    intent: FromQuery[str] = "",
    prompt: FromQuery[str] = "",
) -> Report:
    """With and without caching, at each level of optimization; model metrics beside those of the workflow; payback."""
    filters = await _reach(request, project, intent=intent, prompt=prompt)
    return await plane_of(request).governing.savings.roi(_window(request, since, until), filters)


@get("/savings/budgets", opt={PERMISSION: "kpis:read"})
async def show_budgets(
    request: Req,
    since: FromQuery[int | None] = None,
    until: FromQuery[int | None] = None,
    project: FromQuery[str] = "",
    intent: FromQuery[str] = "",
) -> list[BudgetReport]:
    """What the budgets of intents touched, and what they cost and buy."""
    filters = await _reach(request, project, intent=intent)
    return await plane_of(request).governing.savings.budgets(_window(request, since, until), filters)


@get("/savings/costs", opt={PERMISSION: "kpis:read"})
async def list_costs(request: Req) -> list[Cost]:
    """Declared costs of the organization, and of the projects that the key reaches."""
    return list(await plane_of(request).governing.savings.costs.list(caller_of(request)))


@get("/savings/costs/{name:str}", opt={PERMISSION: "kpis:read"})
async def show_cost(request: Req, name: FromPath[str]) -> Cost:
    """One declared cost."""
    return await plane_of(request).governing.savings.costs.show(caller_of(request), name)


@post("/savings/costs", opt={PERMISSION: "savings:write"})
async def declare_cost(request: Req, data: JSONBody[NewCost]) -> Cost:
    """Declare what the ledger cannot know: infrastructure and tooling a month, a reviewer's hour, a wrong hit.

    A name that is there already gets the new amount.
    """
    return await plane_of(request).governing.savings.costs.declare(caller_of(request), data)


@delete("/savings/costs/{name:str}", opt={PERMISSION: "savings:write"})
async def remove_cost(request: Req, name: FromPath[str]) -> None:
    """Take a declaration back, as if it had never been; to end a cost, declare its ``until``."""
    await plane_of(request).governing.savings.costs.remove(caller_of(request), name)


@post("/savings/invoices", opt={PERMISSION: "savings:write"})
async def hand_in_invoice(request: Req, data: JSONBody[NewInvoice]) -> Invoice:
    """Hand in what a provider billed, by day, model and class of tokens. The same again is the same invoice."""
    return await plane_of(request).governing.savings.costs.hand_in(caller_of(request), data)


@get("/savings/invoices", opt={PERMISSION: "kpis:read"})
async def list_invoices(request: Req, after: After = None, limit: Limit = 100) -> Page[Invoice]:
    """Invoices of the organization, oldest first."""
    found = await plane_of(request).governing.savings.costs.invoices(caller_of(request), after=after or "", limit=limit)
    return page(found, limit, lambda one: one.id)


@get("/savings/invoices/{ref:str}", opt={PERMISSION: "kpis:read"})
async def reconcile_invoice(request: Req, ref: FromPath[str]) -> Reconciliation:
    """An invoice beside the ledger as it is now: sums, where they differ, and what is missing on which side."""
    caller = caller_of(request)
    project = "" if allows(caller, "projects:write") else caller.project
    return await plane_of(request).governing.savings.reconcile(caller, ref, project)


HANDLERS = (
    show_savings,
    show_holdout,
    show_roi,
    show_budgets,
    list_costs,
    show_cost,
    declare_cost,
    remove_cost,
    hand_in_invoice,
    list_invoices,
    reconcile_invoice,
)
