"""``/prompts`` and ``/labels``: versions, diffs, dependants, and where labels point.

A name with slashes is one part of the path: ``support%2Fanswer``, or ``support~answer``; a prompt's id does as well.
"""

from typing import Annotated, Any, Literal

import msgspec
from litestar import delete, get, patch, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato.core.errors import Invalid
from ostinato.prompts import (
    Assignment,
    Changes,
    Dependants,
    Diff,
    Draft,
    Filters,
    Label,
    LabelMove,
    Prompt,
    Protection,
    Saved,
    Version,
)
from ostinato.prompts.prompts import Shown
from ostinato.templates import Finding
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page
from ostinato.web.api.slashes import slashed

Project = Annotated[
    str | None,
    QueryParameter(max_length=200, description="Id, short name or organization/project; left out: the key's own."),
]
Seen = Annotated[int | None, QueryParameter(description="The version that you saw; 409 if it moved on.")]
Latest = Annotated[
    int | None, QueryParameter(description="The newest version that you saw (0: none); 409 if there is a newer one.")
]
Number = Annotated[int, QueryParameter(ge=1, description="A version's number.")]
Reason = Annotated[str, QueryParameter(max_length=4000, description="Why; goes into the history.")]


class NewVersion(Draft, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version as its author writes it."""

    message: str = ""
    """What changes, and why."""
    source: Literal["person", "optimizer", "import"] = "person"


class NewPrompt(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A prompt, with its first version or without."""

    name: str
    kind: Literal["text", "chat", "partial"] = "chat"
    description: str = ""
    tags: tuple[str, ...] = ()
    intent: str = ""
    """Key of the intent that it serves."""
    version: NewVersion | None = None


class MadePrompt(msgspec.Struct):
    prompt: Prompt
    saved: Saved | None
    """What came of the version, where one was given."""


class LintedDraft(Draft, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version to look at; nothing is stored."""

    kind: Literal["text", "chat", "partial"] = "chat"


class Target(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Where a label is to point."""

    version: int
    reason: str = ""
    evidence: Any = None
    """Whatever supports the move: references, figures."""


class Values(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to render a prompt with."""

    variables: dict[str, Any] = {}
    label: str | None = None
    """Left out, with ``version``: ``production``."""
    version: int | None = None
    seed: str = ""
    """Session or user, from which the arm of a canary is drawn."""


class NewLabel(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A label's declaration."""

    description: str = ""
    protection: Protection = Protection()
    immutable: bool = False
    """Set once on a prompt, and never moved there."""


@get("/prompts", opt={PERMISSION: "prompts:read"})
async def list_prompts(
    request: Req,
    project: Project = None,
    kind: FromQuery[Literal["text", "chat", "partial"] | None] = None,
    intent: FromQuery[str | None] = None,
    tag: FromQuery[str | None] = None,
    prefix: FromQuery[str | None] = None,
    archived: FromQuery[bool] = False,
    after: After = None,
    limit: Limit = 100,
) -> Page[Prompt]:
    """The prompts of a project by name, with where their labels point. ``prefix``: names that begin so."""
    filters = Filters(kind=kind, intent=intent, tag=tag, prefix=prefix, archived=archived)
    found, following = await plane_of(request).prompts.list(
        caller_of(request), project, filters=filters, after=after, limit=limit
    )
    return Page(found, following)


@post("/prompts", opt={PERMISSION: "prompts:write"})
async def create_prompt(request: Req, data: JSONBody[NewPrompt], project: Project = None) -> MadePrompt:
    """A new prompt. Names are lowercase, with slashes for order: ``support/answer``."""
    version = data.version
    made, saved = await plane_of(request).prompts.create(
        caller_of(request),
        project,
        data.name,
        kind=data.kind,
        description=data.description,
        tags=data.tags,
        intent=data.intent,
        draft=version,
        message=version.message if version is not None else "",
        source=version.source if version is not None else "person",
    )
    return MadePrompt(made, saved)


@post("/prompts/lint", opt={PERMISSION: "prompts:read"}, status_code=200)
async def lint_prompt(request: Req, data: JSONBody[LintedDraft], project: Project = None) -> list[Finding]:
    """What the linter says of a version that is not saved yet: what would keep caches from working."""
    return list(await plane_of(request).prompts.lint(caller_of(request), project, data.kind, data))


@get("/prompts/{ref:str}", opt={PERMISSION: "prompts:read"})
async def show_prompt(request: Req, ref: FromPath[str], project: Project = None) -> Prompt:
    """One prompt, by name or id."""
    return await plane_of(request).prompts.show(caller_of(request), project, slashed(ref))


@patch("/prompts/{ref:str}", opt={PERMISSION: "prompts:write"})
async def update_prompt(
    request: Req, ref: FromPath[str], data: JSONBody[Changes], project: Project = None, version: Seen = None
) -> Prompt:
    """Change what is said about a prompt; what is left out stays. Its content changes by another version."""
    return await plane_of(request).prompts.update(caller_of(request), project, slashed(ref), data, version)


@post("/prompts/{ref:str}/archive", opt={PERMISSION: "prompts:write"}, status_code=200)
async def archive_prompt(request: Req, ref: FromPath[str], project: Project = None) -> Prompt:
    """Take a prompt out of use. Refused while a label that needs a release points at it."""
    return await plane_of(request).prompts.archive(caller_of(request), project, slashed(ref))


@post("/prompts/{ref:str}/restore", opt={PERMISSION: "prompts:write"}, status_code=200)
async def restore_prompt(request: Req, ref: FromPath[str], project: Project = None) -> Prompt:
    """Take an archived prompt back into use, with its labels where they were."""
    return await plane_of(request).prompts.restore(caller_of(request), project, slashed(ref))


@get("/prompts/{ref:str}/versions", opt={PERMISSION: "prompts:read"})
async def list_versions(
    request: Req, ref: FromPath[str], project: Project = None, after: After = None, limit: Limit = 100
) -> Page[Version]:
    """The versions of a prompt without their contents, newest first."""
    found, following = await plane_of(request).prompts.versions(
        caller_of(request), project, slashed(ref), after=_cursor(after), limit=limit
    )
    return Page(found, None if following is None else str(following))


@post("/prompts/{ref:str}/versions", opt={PERMISSION: "prompts:write"})
async def add_version(
    request: Req, ref: FromPath[str], data: JSONBody[NewVersion], project: Project = None, latest: Latest = None
) -> Saved:
    """Save a version. One that says the same already is given back instead (``created`` is false)."""
    return await plane_of(request).prompts.add_version(
        caller_of(request), project, slashed(ref), data, message=data.message, source=data.source, expect=latest
    )


@get("/prompts/{ref:str}/versions/{number:int}", opt={PERMISSION: "prompts:read"})
async def show_version(request: Req, ref: FromPath[str], number: FromPath[int], project: Project = None) -> Version:
    """One version with its content."""
    return await plane_of(request).prompts.version(caller_of(request), project, slashed(ref), number)


@get("/prompts/{ref:str}/diff", opt={PERMISSION: "prompts:read"})
async def diff_versions(request: Req, ref: FromPath[str], old: Number, new: Number, project: Project = None) -> Diff:
    """What changed from one version to another: text, variables, parameters, tools, partials."""
    return await plane_of(request).prompts.diff(caller_of(request), project, slashed(ref), old, new)


@get("/prompts/{ref:str}/dependants", opt={PERMISSION: "prompts:read"})
async def prompt_dependants(request: Req, ref: FromPath[str], project: Project = None) -> Dependants:
    """What would feel a change: prompts that take this partial, labels and releases that point at this prompt."""
    return await plane_of(request).prompts.dependants(caller_of(request), project, slashed(ref))


@post("/prompts/{ref:str}/render", opt={PERMISSION: "prompts:read"}, status_code=200)
async def render_prompt(request: Req, ref: FromPath[str], data: JSONBody[Values], project: Project = None) -> Shown:
    """The messages that a version comes to with these variables. No model is called."""
    if data.label is not None and data.version is not None:
        raise Invalid("Name a label or a version, not both.", param="version")
    which = data.label or "" if data.version is None else str(data.version)
    return await plane_of(request).prompts.render(
        caller_of(request), project, slashed(ref), which, data.variables, data.seed.encode()
    )


@get("/prompts/{ref:str}/labels", opt={PERMISSION: "prompts:read"})
async def list_assignments(request: Req, ref: FromPath[str], project: Project = None) -> list[Assignment]:
    """Where the labels of a prompt point, with release and canary."""
    return await plane_of(request).prompts.assignments(caller_of(request), project, slashed(ref))


@put("/prompts/{ref:str}/labels/{label:str}", opt={PERMISSION: "labels:move"})
async def move_label(
    request: Req,
    ref: FromPath[str],
    label: FromPath[str],
    data: JSONBody[Target],
    project: Project = None,
    version: Seen = None,
) -> LabelMove:
    """Let a label point at a version. A protected label is moved by releases only."""
    if data.version < 1:
        raise Invalid("Versions are counted from 1.", param="version", hint="DELETE takes a label away.")
    return await plane_of(request).prompts.move_label(
        caller_of(request),
        project,
        slashed(ref),
        label,
        data.version,
        reason=data.reason,
        evidence=data.evidence,
        expect=version,
    )


@delete("/prompts/{ref:str}/labels/{label:str}", opt={PERMISSION: "labels:move"}, status_code=200)
async def clear_label(
    request: Req,
    ref: FromPath[str],
    label: FromPath[str],
    project: Project = None,
    version: Seen = None,
    reason: Reason = "",
) -> LabelMove:
    """Take a label away from a prompt. A protected one also takes ``labels:write``."""
    return await plane_of(request).prompts.clear_label(
        caller_of(request), project, slashed(ref), label, reason=reason, expect=version
    )


@get("/prompts/{ref:str}/history", opt={PERMISSION: "prompts:read"})
async def label_history(
    request: Req,
    ref: FromPath[str],
    project: Project = None,
    label: FromQuery[str | None] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[LabelMove]:
    """Every move of a prompt's labels, newest first: who, why, on what evidence."""
    found, following = await plane_of(request).prompts.history(
        caller_of(request), project, slashed(ref), label=label, after=_cursor(after), limit=limit
    )
    return Page(found, None if following is None else str(following))


@get("/labels", opt={PERMISSION: "prompts:read"})
async def list_labels(request: Req, project: Project = None) -> list[Label]:
    """The labels of a project and what a move of each takes. Those like ``v1.2.3`` need no declaration."""
    return await plane_of(request).prompts.labels(caller_of(request), project)


@put("/labels/{name:str}", opt={PERMISSION: "labels:write"})
async def declare_label(
    request: Req, name: FromPath[str], data: JSONBody[NewLabel], project: Project = None, version: Seen = None
) -> Label:
    """Declare a label, or declare it anew."""
    return await plane_of(request).prompts.declare_label(
        caller_of(request),
        project,
        name,
        description=data.description,
        protection=data.protection,
        immutable=data.immutable,
        version=version,
    )


def _cursor(after: str | None) -> int | None:
    if after is None:
        return None
    if not (after.isascii() and after.isdigit() and len(after) < 19):
        raise Invalid("This cursor is none of ours.", param="after", hint="Give the `next` of the page before.")
    return int(after)


HANDLERS = (
    list_prompts,
    create_prompt,
    lint_prompt,
    show_prompt,
    update_prompt,
    archive_prompt,
    restore_prompt,
    list_versions,
    add_version,
    show_version,
    diff_versions,
    prompt_dependants,
    render_prompt,
    list_assignments,
    move_label,
    clear_label,
    label_history,
    list_labels,
    declare_label,
)
