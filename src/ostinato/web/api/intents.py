"""``/intents``: business purposes, the rules that hold for them, and changes that wait for others to agree."""

from collections.abc import Mapping
from typing import Annotated, Any, cast

import msgspec
from litestar import Response, delete, get, post, put
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from ostinato import intents
from ostinato.access import SystemActor
from ostinato.access.permissions import require
from ostinato.approvals import APPROVE, REJECT, Decision, Request
from ostinato.core import money
from ostinato.core.errors import Conflict, NotFound
from ostinato.intents import Change, Effective, Intent, Requirements, Wanted
from ostinato.intents.changes import KIND
from ostinato.prompts import Prompts
from ostinato.storage import Change as Step
from ostinato.storage import Declared
from ostinato.web.api import declared
from ostinato.web.api.access import Req, plane_of
from ostinato.web.api.guarding import PERMISSION, caller_of
from ostinato.web.api.paging import After, Limit, Page, page

Expect = Annotated[int | None, QueryParameter(description="The version that you saw; 0: none yet.")]


class IntentSummary(msgspec.Struct):
    """One intent in a list."""

    name: str
    key: str
    """What requests and prompts call it."""
    project: str
    """Id; empty: everybody's."""
    title: str
    owner: str
    stakes: str
    version: int
    source: str
    """``config``: the configuration file, read-only here; else ``api``."""
    changed_at: int
    """UTC microseconds."""


class PendingChange(msgspec.Struct):
    """A change that waits for others to approve it."""

    request: str
    """Id of the request for approval."""
    digest: str
    """SHA-256 of the change: what is approved, and what `approve` and `reject` must name."""
    needed: int
    """How many principals must approve; the author is never one of them."""
    author: str
    opened_at: int
    expires_at: int
    """UTC microseconds."""
    state: str
    """``open``, ``done``, ``rejected`` or ``void``."""
    version: int
    """Of the declaration that it changes; 0: there is none yet."""
    body: dict[str, Any] | None
    """What is to stand; ``null``: the intent is to be removed."""
    decisions: list[Decision]


class ShownIntent(msgspec.Struct):
    """One intent, with every rule that holds for it and where the rule comes from."""

    name: str
    key: str
    project: str
    declared: Declared
    stakes: str
    value_per_success: str | None
    """Dollars."""
    requirements: Requirements
    """What a release of one of its prompts needs."""
    alias: str
    """The model alias whose cache policy lies behind the rules; empty: any that has no policy of its own."""
    rules: list[Effective]
    waiting: PendingChange | None


class Word(msgspec.Struct, forbid_unknown_fields=True):
    """A decision on the change that waits."""

    digest: str
    """Of the change that was looked at."""
    comment: str = ""


async def _standing(request: Req) -> dict[str, tuple[Declared, Intent]]:
    """The intents that the caller may see, by name."""
    plane, reach = plane_of(request), await declared.reach_of(request)
    compiled = {one.name: one for one in plane.intents.value.all}
    found = await declared.standing_of(request, KIND)
    return {
        name: (one, compiled[name])
        for name, (one, body) in found.items()
        if name in compiled and declared.within(body, reach)
    }


@get("/intents", opt={PERMISSION: "intents:read"})
async def list_intents(
    request: Req, stakes: FromQuery[str] = "", project: FromQuery[str] = "", after: After = None, limit: Limit = 100
) -> Page[IntentSummary]:
    """The intents that the key reaches, by name; ``stakes`` and ``project`` (an id) choose some."""
    items = [
        IntentSummary(
            name,
            intent.key,
            intent.project,
            intent.declared.title,
            intent.declared.owner,
            intent.stakes,
            one.version,
            one.source,
            one.changed_at,
        )
        for name, (one, intent) in sorted((await _standing(request)).items())
        if name > (after or "") and stakes in ("", intent.stakes) and project in ("", intent.project)
    ]
    return page(items[:limit], limit, lambda item: item.name)


@get("/intents/{name:str}", opt={PERMISSION: "intents:read"})
async def show_intent(request: Req, name: FromPath[str], alias: FromQuery[str] = "") -> ShownIntent:
    """One intent with the rules that hold for it, each with where it comes from.

    ``alias`` says whose cache policy lies behind them; left out, that of the first alias that the intent matches.
    """
    plane = plane_of(request)
    one, intent = _find(await _standing(request), name)
    matched = intent.declared.match.aliases
    behind = alias or (matched[0] if matched else "")
    project = intent.project or caller_of(request).project
    base = plane.policies.value.for_(project, behind)
    waiting = await plane.intent_changes.waiting(name)
    return ShownIntent(
        name=name,
        key=intent.key,
        project=intent.project,
        declared=one,
        stakes=intent.stakes,
        value_per_success=None if intent.value is None else money.to_dollars(intent.value),
        requirements=intent.requirements,
        alias=behind,
        rules=list(plane.intents.value.effective(intent, base)),
        waiting=None if waiting is None else _pending(waiting),
    )


@get("/intents/{name:str}/history", opt={PERMISSION: "intents:read"})
async def intent_history(request: Req, name: FromPath[str]) -> list[Step]:
    """Every version of an intent that the key may see, oldest first."""
    return await declared.history_of(request, KIND, name)


@get("/intents/{name:str}/waiting", opt={PERMISSION: "intents:read"})
async def waiting_change(request: Req, name: FromPath[str]) -> PendingChange:
    """The change of an intent that waits for approval; also of one that does not exist yet."""
    return _pending(await _waiting(request, name))


@put("/intents/{name:str}", opt={PERMISSION: "intents:write"})
async def put_intent(
    request: Req, name: FromPath[str], data: JSONBody[dict[str, Any]], version: Expect = None
) -> Response[Declared | PendingChange]:
    """Declare an intent, or change it. With high or critical stakes, before or after, others must approve it first.

    The answer is then 202 with the request for approval.
    """
    return await _make(request, name, data, version)


@delete("/intents/{name:str}", opt={PERMISSION: "intents:write"}, status_code=200)
async def remove_intent(request: Req, name: FromPath[str], version: Expect = None) -> Response[PendingChange | None]:
    """Withdraw an intent; its history stays. With high or critical stakes others must approve it first (202)."""
    return await _make(request, name, None, version)


@post("/intents/{name:str}/approve", opt={PERMISSION: "releases:approve"}, status_code=200)
async def approve_intent(request: Req, name: FromPath[str], data: JSONBody[Word]) -> PendingChange:
    """Approve the change that waits. With the last approval that it needs, it stands."""
    return await _decide(request, name, data, APPROVE)


@post("/intents/{name:str}/reject", opt={PERMISSION: "releases:approve"}, status_code=200)
async def reject_intent(request: Req, name: FromPath[str], data: JSONBody[Word]) -> PendingChange:
    """Reject the change that waits, which ends it. Its author may do so too."""
    return await _decide(request, name, data, REJECT)


async def _decide(request: Req, name: str, word: Word, decision: str) -> PendingChange:
    plane, caller = plane_of(request), caller_of(request)
    async with plane.standing.declaring:
        change = intents.change_of(await _waiting(request, name))
        standing = await declared.standing_of(request, KIND)
        if decision == APPROVE:
            # Others may have changed meanwhile: what is approved must still hold together with them.
            await _judge(request, standing, name, change.body)
        wanted = await _told(request, change, standing[name][1] if name in standing else None)
        if not wanted.on.project:
            # What holds for every organization is decided by those who may act everywhere.
            declared.require_everywhere(request)
        require(caller, "releases:approve", wanted.on)
        decided = await plane.intent_changes.decide(
            caller, wanted, decision=decision, digest=word.digest, comment=word.comment
        )
        if decided.state == "done":
            await plane.standing.follow(KIND)
    return _pending(decided)


async def _waiting(request: Req, name: str) -> Request:
    """The request for approval of a change, where the caller reaches both what stands and what would stand."""
    plane, reach = plane_of(request), await declared.reach_of(request)
    found = await plane.intent_changes.waiting(name)
    standing = (await declared.standing_of(request, KIND)).get(name)
    bodies = [] if found is None else [intents.change_of(found).body, standing[1] if standing is not None else None]
    if found is None or not all(declared.within(body, reach) for body in bodies if body is not None):
        raise NotFound(f"No change of the intent {name[:80]!r} waits for approval.", code="approval_not_found")
    return found


async def _make(request: Req, name: str, body: dict[str, Any] | None, seen: int | None) -> Response[Any]:
    """Put (or remove, without a body) what the caller may change, if it holds together with everything else."""
    plane, caller = plane_of(request), caller_of(request)
    async with plane.standing.declaring:
        standing = await declared.standing_of(request, KIND)
        old, before = standing.get(name, (None, None))
        hidden = old is not None and not declared.within(before, await declared.reach_of(request))
        if body is None and (old is None or hidden):
            raise declared.unknown(KIND, name)
        if hidden:
            raise Conflict(
                f"The name {name!r} is taken.",
                code="name_taken",
                hint="Choose another name; the `key` in the body may be the same, as each project has its own.",
            )
        if old is not None and declared.owner_of(before) == "":
            declared.require_everywhere(request)
        placed = None if body is None else await declared.own_project(request, body)
        change = Change(name, _expected(name, old.version if old is not None else 0, seen), placed)
        await _judge(request, standing, name, placed)
        wanted = await _told(request, change, before)
        require(caller, "intents:write", wanted.on)
        made = await plane.intent_changes.make(caller, wanted)
        if isinstance(made, Request):
            return Response(_pending(made), status_code=202)
        await plane.standing.follow(KIND)
    return Response(None if placed is None else await plane.declarations.show(KIND, name))


async def _told(request: Req, change: Change, before: object) -> Wanted:
    """The change with the organization that its intent belongs to (empty: everybody's), and whose place it takes."""
    wanted = Wanted.of(change, before, "")
    if not wanted.on.project:
        return wanted
    try:
        project = await plane_of(request).access.show_project(SystemActor("api"), wanted.on.project)
    except NotFound:
        return wanted
    over = plane_of(request).intents.value.of("", wanted.on.intent)
    return msgspec.structs.replace(wanted, org=project.org_id, over=None if over is None else over.stakes)


async def _judge(request: Req, standing: dict[str, tuple[Declared, object]], name: str, body: object) -> None:
    """Raise ``Invalid`` if all that stands, with this one changed, cannot be obeyed; ``Conflict`` if prompts
    need what it takes away."""
    bodies = {other: placed for other, (_, placed) in standing.items() if other != name}
    after = bodies if body is None else {**bodies, name: body}
    await plane_of(request).standing.judge(KIND, after)
    if name in standing:
        _keep_for_prompts(plane_of(request).prompts, _place(name, standing[name][1]), after)


def _keep_for_prompts(prompts: Prompts, before: tuple[str, str], after: Mapping[str, object]) -> None:
    """Raise ``Conflict`` if prompts in use would be left with an intent that there is not: every call would fail."""
    owner, key = before
    places = {_place(name, body) for name, body in after.items()}
    found = prompts.snapshot.value.of_intent(key) if ("", key) not in places else []
    left = [name for project, name in found if owner in ("", project) and (project, key) not in places]
    if left:
        raise Conflict(
            f"Prompts in use belong to the intent {key!r}: {', '.join(left[:5])}{', ...' if len(left) > 5 else ''}.",
            code="intent_in_use",
            hint="Give them another one first (`ostinato prompts edit NAME --intent OTHER`), or archive them.",
        )


def _place(name: str, body: object) -> tuple[str, str]:
    """Whose an intent is (empty: everybody's), and what requests call it."""
    owner = declared.owner_of(body)
    key = cast("dict[str, object]", body).get("key") if isinstance(body, dict) else None
    return owner, key if isinstance(key, str) and key else name


def _expected(name: str, standing: int, seen: int | None) -> int:
    if seen is not None and seen != standing:
        raise Conflict(
            f"The intent {name!r} was changed meanwhile: it is at version {standing}, not {seen}.",
            code="declaration_changed",
            hint="Look again, then repeat.",
        )
    return standing


def _find(standing: dict[str, tuple[Declared, Intent]], name: str) -> tuple[Declared, Intent]:
    found = standing.get(name)
    if found is None:
        raise declared.unknown(KIND, name)
    return found


def _pending(request: Request) -> PendingChange:
    change = intents.change_of(request)
    return PendingChange(
        request=request.id,
        digest=request.digest,
        needed=request.needed,
        author=request.author,
        opened_at=request.opened_at,
        expires_at=request.expires_at,
        state=request.state,
        version=change.version,
        body=cast("dict[str, Any] | None", change.body),
        decisions=list(request.decisions),
    )


HANDLERS = (
    list_intents,
    show_intent,
    intent_history,
    waiting_change,
    put_intent,
    remove_intent,
    approve_intent,
    reject_intent,
)
