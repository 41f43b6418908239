"""What clients ask that keep prompts at hand: a prompt as it is now, whole, and to be told of changes.

Rendering through the data plane stays the recommended way: there the gateway draws the arm of a canary, and nothing
needs to be refreshed.
"""

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final

import msgspec
from litestar import Response, get
from litestar.params import FromPath, QueryParameter
from litestar.response import Stream

from ostinato.access.permissions import require
from ostinato.core.errors import Denied, Invalid
from ostinato.gateway import controls
from ostinato.prompts.telling import Told, etag, tell
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.prompts import Project
from ostinato.web.api.slashes import slashed

ALIVE: Final = 15.0
"""Seconds of silence after which a stream says that it is still there."""
_STREAM: Final = "text/event-stream"

Label = Annotated[str | None, QueryParameter(max_length=64, description="Left out, with `version`: `production`.")]
Number = Annotated[int | None, QueryParameter(ge=1, description="Instead of a label: this version.")]
Session = Annotated[
    str, QueryParameter(max_length=512, description="The conversation, from which the arm of a canary is drawn.")
]
User = Annotated[
    str,
    QueryParameter(
        max_length=512, description="The end user, from whom it is drawn where there is no session; else none is drawn."
    ),
]


class Mark(msgspec.Struct, frozen=True):
    """The state of a project's prompts."""

    mark: str
    """Opaque; another one after every change, the same in every process."""


@get("/prompts/{ref:str}/resolved", opt={PERMISSION: "prompts:read"})
async def resolve_prompt(
    request: Req,
    ref: FromPath[str],
    label: Label = None,
    version: Number = None,
    session: Session = "",
    user: User = "",
    project: Project = None,
) -> Response[Told | None]:
    """What a label means now, complete, so that a client can render it. 304 where `if-none-match` says it already."""
    if label is not None and version is not None:
        raise Invalid("Name a label or a version, not both.", param="version")
    plane = plane_of(request)
    found = await plane.prompts.show(caller_of(request), project, slashed(ref))
    snapshot = plane.prompts.snapshot.value
    reference = f"{found.name}@{label or '' if version is None else version}"
    # As the data plane draws it, so that who renders at home gets the arm that a call would get.
    if session:
        resolved = snapshot.resolve(found.project_id, reference, b"session\x00" + session.encode())
    elif user:
        resolved = snapshot.resolve(found.project_id, reference, b"user\x00" + user.encode())
    else:
        resolved = snapshot.stable(found.project_id, reference)
    tag = etag(resolved)
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if tag in _tags(request.headers.get("if-none-match", "")):
        return Response(None, status_code=304, headers=headers)
    return Response(tell(snapshot, found.project_id, resolved), headers=headers)


@get("/prompts/events", opt={PERMISSION: "prompts:read"})
async def prompt_events(request: Req, project: Project = None) -> Response[Any]:
    """The mark of a project's prompts; with `accept: text/event-stream`, an event `change` after each change of it.

    The stream's events carry the mark as `id` and as data. The first comes at once; every 15 seconds a comment says
    that the stream is alive. It ends when the server stops, or the key does.
    """
    plane = plane_of(request)
    home = (await plane.prompts.home(caller_of(request), project)).id
    if _STREAM not in request.headers.get("accept", ""):
        return Response(Mark(plane.following.mark(home)))
    plane.following.refuse_if_full()
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return Stream(_events(request, home), media_type=_STREAM, headers=headers)


async def _events(request: Req, project: str) -> AsyncGenerator[bytes, None]:
    with plane_of(request).following.follow(project) as follower:
        yield _event(follower.mark)
        while True:
            changed = await follower.next(ALIVE)
            if follower.ended or not _may_still(request):
                return
            yield _event(follower.mark) if changed else b": alive\n\n"


def _event(mark: str) -> bytes:
    return b'id: %b\nevent: change\ndata: {"mark":"%b"}\n\n' % (mark.encode(), mark.encode())


def _may_still(request: Req) -> bool:
    """Whether the key that opened the stream lives, and may see prompts."""
    plane = plane_of(request)
    token = controls.read(request.scope["headers"]).token.decode("latin-1")
    try:
        require(plane.access.authenticate(token, plane.clock.now()), "prompts:read")
    except Denied:
        return False
    return True


def _tags(header: str) -> list[str]:
    return [tag.strip().removeprefix("W/") for tag in header.split(",")]


HANDLERS = (resolve_prompt, prompt_events)
