"""``/triage``: families of requests, what is to be done with them and why; and the inventory of prompts."""

from typing import Annotated, Any

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato.triage import Decision, Item, Row
from ostinato.web.api.access import Req, Version, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page

Choice = Annotated[str, QueryParameter(description="`cache`, `optimize`, `both`, `review` or `leave`.")]


class ShownFamily(msgspec.Struct):
    """One family: what is known of it now, and everything that was decided."""

    now: Row | None
    """``null`` where its requests have faded away."""
    decisions: list[Decision]
    """The newest first."""


class Approval(msgspec.Struct, forbid_unknown_fields=True):
    """Somebody's word on a proposal."""

    comment: str = ""
    optimize: dict[str, Any] = {}
    """Where a run is to be started: fields of its wish (dataset, scorers, limits ...) that the last run on the prompt
    does not tell, or tells otherwise."""


class Refusal(msgspec.Struct, forbid_unknown_fields=True):
    comment: str
    """Why not."""


class Where(msgspec.Struct, forbid_unknown_fields=True):
    project: str | None = None
    """Id or short name; the key's own if left out."""


class Attestation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What somebody says who has looked at a prompt."""

    prompt: str
    comment: str
    project: str | None = None
    version: int | None = None
    """Of the item that you saw; 409 if it moved on."""


@get("/triage", opt={PERMISSION: "triage:read"})
async def list_families(
    request: Req, project: FromQuery[str] = "", choice: Choice = "", after: After = None, limit: Limit = 100
) -> Page[Row]:
    """The families of a project, those that cost most first, each with the decision that stands."""
    rows = await plane_of(request).governing.triaging.triage.list(caller_of(request), project or None, choice)
    names = [one.figures.family for one in rows]
    begin = names.index(after) + 1 if after in names else 0
    some = list(rows[begin : begin + limit])
    return Page(some, some[-1].figures.family if begin + limit < len(rows) else None)


@get("/triage/families/{name:path}", opt={PERMISSION: "triage:read"})
async def show_family(request: Req, name: FromPath[str], project: FromQuery[str] = "") -> ShownFamily:
    """One family, by its name or by the id of a decision on it."""
    triage = plane_of(request).governing.triaging.triage
    row, decisions = await triage.show(caller_of(request), name.removeprefix("/"), project or None)
    return ShownFamily(row, list(decisions))


@post("/triage/look", opt={PERMISSION: "triage:decide"}, status_code=200)
async def look_at_families(request: Req, data: JSONBody[Where | None] = None) -> list[Decision]:
    """Decide anew on the families of a project, without waiting for the next round; gives what is new."""
    triage = plane_of(request).governing.triaging.triage
    return list(await triage.now(caller_of(request), data.project if data is not None else None))


@get("/triage/decisions/{ref:str}", opt={PERMISSION: "triage:read"})
async def show_decision(request: Req, ref: FromPath[str]) -> Decision:
    """One decision, with its reasons, its figures and what it proposes."""
    return await plane_of(request).governing.triaging.triage.decision(caller_of(request), ref)


@post("/triage/decisions/{ref:str}/approve", opt={PERMISSION: "triage:decide"}, status_code=200)
async def approve_decision(
    request: Req, ref: FromPath[str], data: JSONBody[Approval | None] = None, version: Version = None
) -> Decision:
    """Carry a proposal out: change cache rules, start an optimization run, have people look at answers."""
    said = data or Approval()
    triage = plane_of(request).governing.triaging.triage
    more = {"optimize": said.optimize} if said.optimize else None
    return await triage.approve(caller_of(request), ref, said.comment, version=version, more=more)


@post("/triage/decisions/{ref:str}/reject", opt={PERMISSION: "triage:decide"}, status_code=200)
async def reject_decision(
    request: Req, ref: FromPath[str], data: JSONBody[Refusal], version: Version = None
) -> Decision:
    """Say that a proposal is not to be carried out."""
    triage = plane_of(request).governing.triaging.triage
    return await triage.reject(caller_of(request), ref, data.comment, version=version)


@get("/triage/inventory", opt={PERMISSION: "triage:read"})
async def list_inventory(request: Req, project: FromQuery[str] = "") -> list[Item]:
    """Prompts that somebody is asked to look at: stale, unowned, unused or drifting."""
    inventory = plane_of(request).governing.triaging.inventory
    return list(await inventory.list(caller_of(request), project or None))


@post("/triage/inventory/look", opt={PERMISSION: "triage:decide"}, status_code=200)
async def look_at_inventory(request: Req, data: JSONBody[Where | None] = None) -> list[Item]:
    """Look at all prompts of a project now, without waiting for the next day."""
    inventory = plane_of(request).governing.triaging.inventory
    return list(await inventory.list(caller_of(request), data.project if data is not None else None, look=True))


@post("/triage/inventory/attest", opt={PERMISSION: "triage:decide"}, status_code=200)
async def attest(request: Req, data: JSONBody[Attestation]) -> Item:
    """Say that you have looked at a prompt, and what is to become of it."""
    inventory = plane_of(request).governing.triaging.inventory
    return await inventory.attest(
        caller_of(request), data.prompt, data.comment, project=data.project, version=data.version
    )


HANDLERS = (
    list_families,
    show_family,
    look_at_families,
    show_decision,
    approve_decision,
    reject_decision,
    list_inventory,
    look_at_inventory,
    attest,
)
