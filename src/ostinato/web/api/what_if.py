"""``/what-if``: recorded traffic again, under another policy."""

from typing import Literal

import msgspec
from litestar import post
from litestar.params import JSONBody

from ostinato.assessing import Change, WhatIf, what_if
from ostinato.core.errors import Invalid
from ostinato.traces import Filter, Window
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.cache import project_within_reach
from ostinato.web.api.guarding import PERMISSION, caller_of

_DAY = 86_400_000_000
_LONGEST = 400 * _DAY
_MOST = 1_000_000


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A window, whose traffic, and what shall be other than now; what is left out is as it is."""

    since: int | None = None
    """UTC microseconds, included; left out: seven days before ``until``."""
    until: int | None = None
    """Excluded; left out: now."""
    project: str = ""
    """Id or short name; the key's own if left out."""
    alias: str = ""
    intent: str = ""
    prompt: str = ""
    mode: Literal["off", "exact"] | None = None
    ttl: float | None = None
    """Seconds."""
    scope: Literal["user", "project"] | None = None
    temperature_limit: float | None = None
    target: str = ""
    """``provider/model``: priced as if this one had answered."""
    most: int = 200_000
    """Rows to read, at most."""


@post("/what-if", opt={PERMISSION: "kpis:read"}, status_code=200)
async def ask_what_if(request: Req, data: JSONBody[Wanted]) -> WhatIf:
    """Replay a window of the ledger under another policy, beside what really happened. Changes nothing.

    Reads the rows of the window: some seconds for a hundred thousand.
    """
    plane = plane_of(request)
    until = plane.clock.now() if data.until is None else data.until
    since = until - 7 * _DAY if data.since is None else data.since
    if not 0 <= since < until < 2**53 or until - since > _LONGEST:
        raise Invalid(
            "This is no window of time.",
            code="invalid_window",
            param="since",
            hint="`since` comes before `until`, both UTC microseconds, at most 400 days apart.",
        )
    if not 1 <= data.most <= _MOST:
        raise Invalid(f"From 1 to {_MOST:,} rows can be read.", code="invalid_what_if", param="most")
    within = await project_within_reach(request, data.project)
    filters = Filter(
        org=caller_of(request).org, project=within, alias=data.alias, intent=data.intent, prompt=data.prompt
    )
    change = Change(
        mode=data.mode,
        ttl=data.ttl,
        scope=data.scope,
        temperature_limit=data.temperature_limit,
        target=data.target,
    )
    return await what_if(
        plane.ledger,
        Window(since, until),
        filters,
        change,
        policies=plane.policies.value,
        intents=plane.intents.value,
        prices=plane.prices.value,
        most=data.most,
    )


HANDLERS = (ask_what_if,)
