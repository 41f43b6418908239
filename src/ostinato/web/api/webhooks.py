"""``/webhooks``: where messages go, and how their deliveries fare."""

from typing import Annotated

import msgspec
from litestar import delete, get, patch, post
from litestar.params import FromPath, JSONBody, QueryParameter

from ostinato.notifying import Changes, Delivery, Endpoint, Message, NewEndpoint
from ostinato.notifying.model import Kind
from ostinato.web.api.access import Req, Version, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.idempotency import SECRET
from ostinato.web.api.paging import After, Limit, Page, page
from ostinato.web.api.slashes import slashed

Reason = Annotated[str, QueryParameter(max_length=2000, description="Why; kept beside the audit leaf.")]
State = Annotated[str, QueryParameter(name="state", description="`waiting`, `delivered` or `dead`.")]


class NewWebhook(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Where messages shall go."""

    name: str
    kind: Kind = "webhook"
    """`webhook` (Standard Webhooks), `slack` (an incoming webhook) or `email`."""
    address: str
    """An https URL, or e-mail addresses with commas. Sealed: of a URL only the host is shown again."""
    events: tuple[str, ...]
    """`resource:verb`, `resource:*` or `*`."""
    project: str | None = None
    """Id or short name; the key's own if left out."""
    organization: bool = False
    """For messages of every project of the organization: takes ``projects:write``. ``project`` then names the
    organization."""
    reason: str = ""


class WebhookSecret(msgspec.Struct):
    """An endpoint with its secret, which is shown this once."""

    endpoint: Endpoint
    secret: str
    """`whsec_...`; empty for kinds that sign nothing."""


class Rotation(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


class Tested(msgspec.Struct):
    message: str
    """Id: the header `webhook-id` of the delivery."""
    event: str


class Resend(msgspec.Struct, forbid_unknown_fields=True):
    messages: tuple[str, ...] = ()
    """Ids of dead letters; left out: all of them, a thousand at a time."""


class Resent(msgspec.Struct):
    resent: int


@get("/webhooks", opt={PERMISSION: "webhooks:read"})
async def list_webhooks(request: Req, after: After = None, limit: Limit = 100) -> Page[Endpoint]:
    """Where messages go, as far as the key reaches, oldest first, each with how it fares. No secrets."""
    room = plane_of(request).governing.notifying
    found = await room.fares(await room.endpoints.list(caller_of(request), after=after or "", limit=limit))
    return page(found, limit, lambda one: one.id)


@post("/webhooks", opt={PERMISSION: "webhooks:write", SECRET: True})
async def create_webhook(request: Req, data: JSONBody[NewWebhook]) -> WebhookSecret:
    """Have messages sent somewhere. The secret that they are signed with is told in this answer alone."""
    wish = NewEndpoint(name=data.name, kind=data.kind, address=data.address, events=data.events)
    made, secret = await plane_of(request).governing.notifying.endpoints.create(
        caller_of(request), wish, project=data.project, organization=data.organization, reason=data.reason
    )
    return WebhookSecret(made, secret)


@get("/webhooks/{ref:str}", opt={PERMISSION: "webhooks:read"})
async def show_webhook(request: Req, ref: FromPath[str]) -> Endpoint:
    """One endpoint, by id or name, with how it fares."""
    room = plane_of(request).governing.notifying
    return (await room.fares([await room.endpoints.show(caller_of(request), slashed(ref))]))[0]


@patch("/webhooks/{ref:str}", opt={PERMISSION: "webhooks:write"})
async def change_webhook(
    request: Req, ref: FromPath[str], data: JSONBody[Changes], version: Version = None, reason: Reason = ""
) -> Endpoint:
    """Another address, other events; disable it, or enable it again: then what waits is sent."""
    return await plane_of(request).governing.notifying.endpoints.change(
        caller_of(request), slashed(ref), data, version=version, reason=reason
    )


@delete("/webhooks/{ref:str}", opt={PERMISSION: "webhooks:write"}, status_code=200)
async def remove_webhook(request: Req, ref: FromPath[str], reason: Reason = "") -> Endpoint:
    """Send nothing there any more; what was on its way is forgotten."""
    return await plane_of(request).governing.notifying.endpoints.remove(caller_of(request), slashed(ref), reason=reason)


@post("/webhooks/{ref:str}/rotate", opt={PERMISSION: "webhooks:write", SECRET: True}, status_code=200)
async def rotate_webhook(
    request: Req, ref: FromPath[str], data: JSONBody[Rotation | None] = None, version: Version = None
) -> WebhookSecret:
    """A new secret, told in this answer alone; for a day the old one signs beside it."""
    made, secret = await plane_of(request).governing.notifying.endpoints.rotate(
        caller_of(request), slashed(ref), version=version, reason=data.reason if data is not None else ""
    )
    return WebhookSecret(made, secret)


@post("/webhooks/{ref:str}/test", opt={PERMISSION: "webhooks:write"}, status_code=200)
async def test_webhook(request: Req, ref: FromPath[str]) -> Tested:
    """Send it a message `webhooks:test`, whatever events it is for; its deliveries tell how that went."""
    made: Message = await plane_of(request).governing.notifying.effects.test(caller_of(request), slashed(ref))
    return Tested(made.id, made.event)


@get("/webhooks/{ref:str}/deliveries", opt={PERMISSION: "webhooks:read"})
async def list_deliveries(
    request: Req, ref: FromPath[str], standing: State = "", after: After = None, limit: Limit = 100
) -> Page[Delivery]:
    """An endpoint's deliveries, the newest first: what waits, what has arrived, and dead letters."""
    found = await plane_of(request).governing.notifying.deliveries(
        caller_of(request), slashed(ref), state=standing, before=after or "", limit=limit
    )
    return page(found, limit, lambda one: one.message)


@post("/webhooks/{ref:str}/resend", opt={PERMISSION: "webhooks:write"}, status_code=200)
async def resend_deliveries(request: Req, ref: FromPath[str], data: JSONBody[Resend | None] = None) -> Resent:
    """Send dead letters again, under their old ids."""
    named = data.messages if data is not None else ()
    return Resent(await plane_of(request).governing.notifying.effects.resend(caller_of(request), slashed(ref), named))


HANDLERS = (
    list_webhooks,
    create_webhook,
    show_webhook,
    change_webhook,
    remove_webhook,
    rotate_webhook,
    test_webhook,
    list_deliveries,
    resend_deliveries,
)
