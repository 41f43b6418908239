"""``/alerts`` and ``/cases``: thresholds that raise alarms, and what becomes of an alarm until it is closed."""

from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato.cases import Alert, Case, Dossier, Kind, Severity, Standing
from ostinato.cases.model import ActionName
from ostinato.core.errors import Invalid
from ostinato.web.api.access import Req, Version, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page

State = Annotated[
    str,
    QueryParameter(
        name="state",
        description="`open`, `detected`, `triaged`, `proposed`, `approved`, `automatic`, `executed`, `verified`, "
        "`closed`, `dismissed`.",
    ),
]
Looks = Annotated[str, QueryParameter(name="state", description="`ok`, `pending`, `alarm` or `missing`.")]


class NewAlert(Alert, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A threshold: raise an alarm while a figure is beyond it."""

    name: str
    """Unique in its project; 1 to 64 characters of a-z, 0-9, dot, dash and underscore."""
    project: str | None = None
    """Id or short name; the key's own if left out."""

    def alert(self) -> Alert:
        """The same without the project."""
        return Alert(**{name: getattr(self, name) for name in Alert.__struct_fields__})


class NewCase(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Something that somebody must look into."""

    project: str | None = None
    """Id or short name; the key's own if left out."""
    kind: Kind = "other"
    title: str
    intent: str = ""
    prompt: str = ""
    release: str = ""
    severity: Severity | None = None
    """Left out: the stakes of the intent say."""


class Triage(msgspec.Struct, forbid_unknown_fields=True):
    """Who answers for it, and how severe it is; left out: as it was."""

    owner: str | None = None
    severity: Severity | None = None
    reason: str = ""


class Comment(msgspec.Struct, forbid_unknown_fields=True):
    text: str


class NewAction(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be done; what ``params`` leave out comes from the case."""

    action: ActionName
    params: dict[str, str | int | float | bool] = {}
    reason: str = ""


class Word(msgspec.Struct, forbid_unknown_fields=True):
    reason: str = ""


class Look(msgspec.Struct, forbid_unknown_fields=True):
    """What a look after the action has shown."""

    helped: bool
    reason: str = ""


def _reason(data: Word | None) -> str:
    return data.reason if data is not None else ""


@get("/alerts", opt={PERMISSION: "cases:read"})
async def list_alerts(
    request: Req, project: FromQuery[str] = "", standing: Looks = "", after: After = None, limit: Limit = 100
) -> Page[Standing]:
    """The alerts that the key reaches with what each has seen last, oldest first."""
    found = await plane_of(request).governing.alerts.list(
        caller_of(request), project=project or None, state=standing, after=after or "", limit=limit
    )
    return page(found, limit, lambda one: one.id)


@post("/alerts", opt={PERMISSION: "cases:write"})
async def declare_alert(request: Req, data: JSONBody[NewAlert], version: Version = None) -> Standing:
    """Declare an alert, or another threshold under its name; what it has seen is then forgotten."""
    return await plane_of(request).governing.alerts.declare(
        caller_of(request), data.project, data.name, data.alert(), version
    )


@get("/alerts/{ref:str}", opt={PERMISSION: "cases:read"})
async def show_alert(request: Req, ref: FromPath[str]) -> Standing:
    """One alert, by id."""
    return await plane_of(request).governing.alerts.show(caller_of(request), ref)


@delete("/alerts/{ref:str}", opt={PERMISSION: "cases:write"})
async def remove_alert(request: Req, ref: FromPath[str], version: Version = None) -> None:
    """Forget an alert. Its cases stay."""
    await plane_of(request).governing.alerts.remove(caller_of(request), ref, version)


@get("/cases", opt={PERMISSION: "cases:read"})
async def list_cases(
    request: Req,
    project: FromQuery[str] = "",
    standing: State = "",
    kind: FromQuery[str] = "",
    intent: FromQuery[str] = "",
    severity: FromQuery[str] = "",
    overdue: FromQuery[bool | None] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[Case]:
    """The cases that the key reaches, the newest first."""
    found = await plane_of(request).governing.cases.list(
        caller_of(request),
        project=project or None,
        state=standing,
        kind=kind,
        intent=intent,
        severity=severity,
        overdue=overdue,
        after=after or "",
        limit=limit,
    )
    return page(found, limit, lambda one: one.id)


@post("/cases", opt={PERMISSION: "cases:write"})
async def open_case(request: Req, data: JSONBody[NewCase]) -> Case:
    """Open a case that no alarm has opened."""
    return await plane_of(request).governing.cases.open(
        caller_of(request),
        data.project,
        kind=data.kind,
        title=data.title,
        intent=data.intent,
        prompt=data.prompt,
        release=data.release,
        severity=data.severity,
    )


@get("/cases/{ref:str}", opt={PERMISSION: "cases:read"})
async def show_case(request: Req, ref: FromPath[str]) -> Dossier:
    """One case with its evidence, its playbook, what was proposed, and its history."""
    return await plane_of(request).governing.cases.show(caller_of(request), ref)


@post("/cases/{ref:str}/triage", opt={PERMISSION: "cases:write"}, status_code=200)
async def triage(
    request: Req, ref: FromPath[str], data: JSONBody[Triage | None] = None, version: Version = None
) -> Case:
    """Say that somebody has looked: whose it is, and how severe."""
    wanted = data or Triage()
    return await plane_of(request).governing.cases.triage(
        caller_of(request), ref, owner=wanted.owner, severity=wanted.severity, reason=wanted.reason, version=version
    )


@post("/cases/{ref:str}/comments", opt={PERMISSION: "cases:write"}, status_code=200)
async def comment(request: Req, ref: FromPath[str], data: JSONBody[Comment]) -> Case:
    """Write a comment into the history of a case."""
    return await plane_of(request).governing.cases.comment(caller_of(request), ref, data.text)


@post("/cases/{ref:str}/propose", opt={PERMISSION: "cases:write"}, status_code=200)
async def propose_action(request: Req, ref: FromPath[str], data: JSONBody[NewAction], version: Version = None) -> Case:
    """Propose an action. It is carried out when somebody approves it; at high stakes, somebody else."""
    return await plane_of(request).governing.cases.propose(
        caller_of(request), ref, data.action, data.params, reason=data.reason, version=version
    )


@post("/cases/{ref:str}/approve", opt={PERMISSION: "cases:act"}, status_code=200)
async def approve_action(
    request: Req, ref: FromPath[str], data: JSONBody[Word | None] = None, version: Version = None
) -> Case:
    """Approve what was proposed, and have it carried out at once. Where it failed, the case is `triaged` again.

    `version` is needed: only what was read is approved.
    """
    if version is None:
        raise Invalid(
            "Say which version of the case you have read: only that is approved.",
            code="version_required",
            param="version",
            hint="`ostinato cases show` tells it; as `?version=N`.",
        )
    return await plane_of(request).governing.cases.approve(
        caller_of(request), ref, reason=_reason(data), version=version
    )


@post("/cases/{ref:str}/reject", opt={PERMISSION: "cases:act"}, status_code=200)
async def reject_action(request: Req, ref: FromPath[str], data: JSONBody[Word], version: Version = None) -> Case:
    """Reject what was proposed, saying why; something else may be proposed."""
    return await plane_of(request).governing.cases.reject(caller_of(request), ref, reason=data.reason, version=version)


@post("/cases/{ref:str}/verify", opt={PERMISSION: "cases:act"}, status_code=200)
async def verify_action(request: Req, ref: FromPath[str], data: JSONBody[Look], version: Version = None) -> Case:
    """Say whether the action has helped, before Ostinato looks itself."""
    return await plane_of(request).governing.cases.verify(
        caller_of(request), ref, helped=data.helped, reason=data.reason, version=version
    )


@post("/cases/{ref:str}/close", opt={PERMISSION: "cases:write"}, status_code=200)
async def close_case(
    request: Req, ref: FromPath[str], data: JSONBody[Word | None] = None, version: Version = None
) -> Case:
    """Close a case whose action was verified."""
    return await plane_of(request).governing.cases.close(caller_of(request), ref, reason=_reason(data), version=version)


@post("/cases/{ref:str}/dismiss", opt={PERMISSION: "cases:write"}, status_code=200)
async def dismiss_case(request: Req, ref: FromPath[str], data: JSONBody[Word], version: Version = None) -> Case:
    """End a case without an action, saying why: a false alarm, or something that is accepted."""
    return await plane_of(request).governing.cases.dismiss(caller_of(request), ref, reason=data.reason, version=version)


HANDLERS = (
    list_alerts,
    declare_alert,
    show_alert,
    remove_alert,
    list_cases,
    open_case,
    show_case,
    triage,
    comment,
    propose_action,
    approve_action,
    reject_action,
    verify_action,
    close_case,
    dismiss_case,
)
