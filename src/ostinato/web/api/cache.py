"""``/cache``: what is kept, and withdrawing it."""

from typing import Any

import msgspec
from litestar import get, post
from litestar.params import FromQuery, JSONBody

from ostinato import audit
from ostinato.access import actor_name, principal_of
from ostinato.access.permissions import allows
from ostinato.cache import Report, Selector
from ostinato.cache.invalidation import check
from ostinato.core.errors import NotFound, OstinatoError
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of

INVALIDATION = "cache:invalidate"
"""The kind of its effects in the audit log; the payload is a selector."""


class Invalidation(msgspec.Struct, forbid_unknown_fields=True):
    """Which entries to withdraw: all given fields must match. Nothing is withdrawn unless ``dry_run`` is false."""

    dry_run: bool = True
    project: str = ""
    """Left out: the key's own, or with ``projects:write`` every project of its organization."""
    entry: str = ""
    user: str = ""
    target: str = ""
    alias: str = ""
    tag: str = ""
    context: str = ""
    generation: str = ""
    everything: bool = False


class Entry(msgspec.Struct):
    """An entry with its metadata; neither its key nor its answer is told. Times are UTC microseconds."""

    entry: str
    """Opaque name, as in the header ``ostinato-entry``."""
    hits: int
    last_hit: int
    """0: never."""
    bytes: int
    meta: dict[str, Any]


class Entries(msgspec.Struct):
    items: list[Entry]
    more: bool


async def project_within_reach(request: Req, ref: str) -> str:
    """The id of a project that the caller may touch; ``""`` for all of its organization, where it may."""
    caller = caller_of(request)
    if ref:
        found = await plane_of(request).access.show_project(caller, ref)
        if found.org_id != caller.org:
            raise NotFound(f"There is no project {ref[:70]!r}.", code="project_not_found", param="project")
        return found.id
    return "" if allows(caller, "projects:write") else caller.project


@get("/cache/entries", opt={PERMISSION: "cache:read"})
async def list_entries(
    request: Req,
    project: FromQuery[str] = "",
    user: FromQuery[str] = "",
    target: FromQuery[str] = "",
    alias: FromQuery[str] = "",
    tag: FromQuery[str] = "",
    context: FromQuery[str] = "",
    generation: FromQuery[str] = "",
    limit: FromQuery[int] = 50,
    offset: FromQuery[int] = 0,
) -> Entries:
    """Entries, newest first, with their metadata. Neither keys nor answers are told."""
    selector = Selector(
        org=caller_of(request).org,
        project=await project_within_reach(request, project),
        user=user,
        target=target,
        alias=alias,
        tag=tag,
        context=context,
        generation=generation,
    )
    page = await plane_of(request).cache.list(selector, limit=limit, offset=offset)
    items = [
        Entry(found.entry, found.hits, found.last_hit, found.size, msgspec.structs.asdict(found.meta))
        for found in page.items
    ]
    return Entries(items, page.more)


@get("/cache/stats", opt={PERMISSION: "cache:read"})
async def cache_stats(request: Req) -> dict[str, int]:
    """Counters of the cache's tiers, in this process."""
    return plane_of(request).cache.stats()


@post("/cache/invalidations", opt={PERMISSION: "cache:write"}, status_code=200)
async def invalidate(request: Req, data: JSONBody[Invalidation]) -> Report:
    """Withdraw entries from every tier, generation and process; by default only count them."""
    selector = Selector(
        org=caller_of(request).org,
        project=await project_within_reach(request, data.project),
        entry=data.entry,
        user=data.user,
        target=data.target,
        alias=data.alias,
        tag=data.tag,
        context=data.context,
        generation=data.generation,
        everything=data.everything,
    )
    plane, caller = plane_of(request), caller_of(request)
    check(selector)
    if data.dry_run:
        return await plane.cache.invalidate(selector, dry_run=True)
    deed = audit.Deed(
        actor=actor_name(caller),
        principal=principal_of(caller),
        action="cache:write",
        resource=f"cache:{selector.project or selector.org}",
        org=selector.org,
        project=selector.project,
        # Whom it was about is nobody's business once it is done.
        after={**msgspec.structs.asdict(data), "user": bool(data.user)},
    )
    # The cache is no part of the database: intended, done, told. What a crash leaves open is done at the next start.
    effect = await plane.audit.intend(deed, INVALIDATION, msgspec.structs.asdict(selector))
    try:
        report = await plane.cache.invalidate(selector, dry_run=False)
    except OstinatoError as error:
        await plane.audit.finish(effect, "failed", {"code": error.code})
        raise
    await plane.audit.finish(effect, "done", {"total": report.total})
    return report


HANDLERS = (list_entries, cache_stats, invalidate)
