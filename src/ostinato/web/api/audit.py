"""``/audit``: leaves, proofs, checkpoints, bundles, and checkpoints of other installations that are kept here.

A key sees the leaves of its own organization; with ``organizations:read`` those of all, and of the system itself. What
others' leaves are is told to nobody else, but their hashes are: they are part of every proof.
"""

from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from litestar.response import Stream

from ostinato.access import actor_name, principal_of
from ostinato.access.permissions import allows
from ostinato.audit import Checkpoint, Consistency, Deed, Entry, Filter, Inclusion, Offer, Witnessed
from ostinato.core.errors import Invalid, NotFound
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page

NDJSON = "application/x-ndjson"

Size = Annotated[int | None, QueryParameter(ge=0, description="Of the log; left out: the first checkpoint with it.")]
From = Annotated[int, QueryParameter(name="from", ge=0, description="Size of the older log.")]
To = Annotated[int, QueryParameter(name="to", ge=0, description="Size of the newer log.")]
Micros = Annotated[int, QueryParameter(ge=0, description="UTC microseconds; 0: not bounded.")]


class Keys(msgspec.Struct):
    """What checkpoints are signed with."""

    origin: str
    """The log's name."""
    keys: list[str]
    """Public keys as C2SP writes them, ``NAME+HASH+KEY``; the last is in use. Compare it by another way than this."""


class Extract(msgspec.Struct, forbid_unknown_fields=True):
    """Which leaves; widened to the checkpoints around them. Left out: all."""

    start: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Index of the first leaf."""
    end: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Index after the last leaf."""
    since: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Instead of ``start``: written at this time or later, in UTC microseconds."""
    until: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Instead of ``end``: written before this time."""


class Kept(msgspec.Struct):
    """A checkpoint that is kept here now."""

    origin: str
    size: int
    root: str
    note: str
    """With this installation's signature beside the log's own."""


def _own(request: Req) -> str | None:
    """The organization whose leaves the caller sees; ``None``: all."""
    caller = caller_of(request)
    return None if allows(caller, "organizations:read") else caller.org


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise Invalid(f"{cursor[:40]!r} is no cursor of this list.", code="invalid_cursor", param="after")
    return int(cursor)


async def _visible(request: Req, index: int) -> Entry:
    found = await plane_of(request).audit.show(index)
    if _own(request) not in (None, found.leaf.org):
        raise NotFound(f"There is no leaf {index}.", code="leaf_not_found", param="index")
    return found


def _deed(request: Req, action: str, resource: str, facts: dict[str, str | int] | None = None) -> Deed:
    caller = caller_of(request)
    return Deed(
        actor=actor_name(caller),
        principal=principal_of(caller),
        action=action,
        resource=resource,
        org=caller.org,
        facts=facts or {},
    )


@get("/audit/leaves", opt={PERMISSION: "audit:read"})
async def list_leaves(
    request: Req,
    after: After = None,
    limit: Limit = 100,
    actor: FromQuery[str] = "",
    principal: FromQuery[str] = "",
    action: FromQuery[str] = "",
    resource: FromQuery[str] = "",
    project: FromQuery[str] = "",
    outcome: FromQuery[str] = "",
    request_id: FromQuery[str] = "",
    since: Micros = 0,
    until: Micros = 0,
) -> Page[Entry]:
    """Leaves, the newest first; every filter must match."""
    wanted = Filter(
        org=_own(request),
        actor=actor,
        principal=principal,
        action=action,
        resource=resource,
        project=project,
        outcome=outcome,
        request_id=request_id,
        since=since,
        until=until,
    )
    found = await plane_of(request).audit.page(wanted, after=_number(after), limit=limit)
    return page(found, limit, lambda one: str(one.index))


@get("/audit/leaves/{index:int}", opt={PERMISSION: "audit:read"})
async def show_leaf(request: Req, index: FromPath[int]) -> Entry:
    """One leaf, with its reason where that was not erased."""
    return await _visible(request, index)


@get("/audit/leaves/{index:int}/proof", opt={PERMISSION: "audit:read"})
async def prove_leaf(request: Req, index: FromPath[int], size: Size = None) -> Inclusion:
    """The proof (RFC 9162, 2.1.3) that a leaf is in the log that a checkpoint signs."""
    await _visible(request, index)
    return await plane_of(request).audit.prove(index, size)


@get("/audit/consistency", opt={PERMISSION: "audit:read"})
async def prove_consistency(request: Req, old: From, new: To) -> Consistency:
    """The proof (RFC 9162, 2.1.4) that a log begins with what it was before."""
    return await plane_of(request).audit.consistency(old, new)


@get("/audit/checkpoints", opt={PERMISSION: "audit:read"})
async def list_checkpoints(request: Req, after: After = None, limit: Limit = 100) -> Page[Checkpoint]:
    """Signed checkpoints, the smallest first."""
    found = await plane_of(request).audit.checkpoints(after=_number(after) or 0, limit=limit)
    return page(found, limit, lambda one: str(one.size))


@post("/audit/checkpoints", opt={PERMISSION: "audit:export"})
async def make_checkpoint(request: Req) -> Checkpoint:
    """Sign all that is in the log now, this request among it."""
    log = plane_of(request).audit
    await log.record(_deed(request, "audit:checkpoint", f"log:{log.signer.name}"))
    made = await log.checkpoint()
    if made is None:
        raise NotFound("The log has no leaf.", code="no_checkpoint")
    return made


@get("/audit/keys", opt={PERMISSION: "audit:read"})
async def show_keys(request: Req) -> Keys:
    """The log's name and its public keys."""
    log = plane_of(request).audit
    return Keys(log.signer.name, await log.verifiers())


@post("/audit/bundles", opt={PERMISSION: "audit:export"}, status_code=200, media_type=NDJSON)
async def export(request: Req, data: JSONBody[Extract]) -> Stream:
    """The log as a bundle that `ostinato audit verify` checks without a server: lines of JSON.

    Leaves of other organizations come as hashes alone, unless the key has `organizations:read`.
    """
    log = plane_of(request).audit
    name = f"log:{log.signer.name}"
    await log.record(_deed(request, "audit:export", name, {"start": data.start, "end": data.end or 0}))
    chunks = await log.export(data.start, data.end, since=data.since, until=data.until, org=_own(request))
    return Stream(chunks, media_type=NDJSON)


@get("/audit/witnesses", opt={PERMISSION: "audit:read"})
async def list_witnessed(
    request: Req, origin: FromQuery[str] = "", after: After = None, limit: Limit = 100
) -> Page[Witnessed]:
    """Checkpoints of other installations that are kept here, the largest first."""
    found = await plane_of(request).audit.witnessed(origin, below=_number(after) or 0, limit=limit)
    return page(found, limit, lambda one: str(one.size))


@post("/audit/witnesses", opt={PERMISSION: "audit:witness"}, status_code=200)
async def witness(request: Req, data: JSONBody[Offer]) -> Kept:
    """Keep another installation's checkpoint, if its log continues the one that is known here."""
    kept, note = await plane_of(request).audit.witness(data, _deed(request, "audit:witness", ""))
    return Kept(kept.origin, kept.size, kept.root, note)


HANDLERS = (
    list_leaves,
    show_leaf,
    prove_leaf,
    prove_consistency,
    list_checkpoints,
    make_checkpoint,
    show_keys,
    export,
    list_witnessed,
    witness,
)
