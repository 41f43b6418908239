"""Requests and decisions on a connection, inside the transaction of the change that they are about."""

from collections.abc import Callable, Sequence
from typing import cast

import sqlalchemy as sa

from ostinato import access
from ostinato.access import Actor
from ostinato.approvals import tables
from ostinato.approvals.model import APPROVE, DONE, OPEN, REJECT, REJECTED, VOID, Decision, Discounted, Request, Tally
from ostinato.core import ids
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound

COMMENT = 2_000
"""Characters of a comment."""
DECISIONS = 200
"""Decisions that one request may gather: principals who think again and again do not fill the disk."""
_WHY = 1_000


def open_request(
    connection: sa.Connection,
    *,
    now: int,
    actor: Actor,
    kind: str,
    target: str,
    digest: str,
    body: object = None,
    needed: int,
    org: str = "",
    project: str = "",
    expires: int,
) -> Request:
    """A new request of ``actor``'s principal. ``expires``: UTC microseconds; ``digest``: hexadecimal SHA-256."""
    value = Request(
        id=ids.new(now),
        org=org,
        project=project,
        kind=kind,
        target=target,
        digest=digest,
        body=body,
        needed=needed,
        author=access.principal_of(actor),
        opened_by=access.actor_name(actor),
        opened_at=now,
        expires_at=expires,
    )
    row = {column.name: getattr(value, column.name) for column in tables.approval_request.c}
    connection.execute(tables.approval_request.insert(), row)
    return value


def decide(
    connection: sa.Connection, *, now: int, actor: Actor, request_id: str, decision: str, comment: str = "", digest: str
) -> Request:
    """The request with one more decision; a rejection ends it.

    Whether ``actor`` has the permission is for the caller to judge, before. Raises ``NotFound``, ``Denied`` (the author
    approves: ``self_approval``), ``Conflict`` (over, expired, or ``digest`` is not the request's: the change is not the
    one that was looked at) and ``Invalid``.
    """
    if decision not in (APPROVE, REJECT):
        raise Invalid("A decision is 'approve' or 'reject'.", code="invalid_decision", param="decision")
    comment = comment.strip()
    if len(comment) > COMMENT or "\x00" in comment:
        raise Invalid(f"A comment has at most {COMMENT} characters.", code="invalid_comment", param="comment")
    request = find(connection, request_id, lock=True)
    _still_open(request, now)
    principal = access.principal_of(actor)
    if decision == APPROVE and principal == request.author:
        raise Denied(
            "Who asks for a change does not approve it, by no key of theirs.",
            code="self_approval",
            hint="Ask somebody else who may approve.",
        )
    if digest != request.digest:
        raise Conflict(
            "What waits for approval is not what you looked at: the digests differ.",
            code="approval_stale",
            hint=f"Look at {request.target} again, then decide on its digest.",
        )
    if len(request.decisions) >= DECISIONS:
        raise Conflict("This request has gathered too many decisions.", code="too_many_decisions", hint="Open another.")
    value = Decision(
        number=len(request.decisions) + 1,
        principal=principal,
        actor=access.actor_name(actor),
        decision=decision,
        digest=digest,
        comment=comment,
        decided_at=now,
    )
    row = {name: getattr(value, name) for name in Decision.__struct_fields__}
    connection.execute(tables.approval_decision.insert(), {**row, "request_id": request_id})
    if decision == REJECT:
        _close(connection, request_id, REJECTED, comment or f"rejected by {value.actor}", now)
    return find(connection, request_id)


def tally(
    connection: sa.Connection,
    request_id: str,
    *,
    now: int,
    allowed: Callable[[str], bool],
    needed: int | None = None,
    lock: bool = True,
) -> Tally:
    """What the decisions come to at ``now``.

    ``allowed(principal)`` says whether a principal may approve *now*: an approval whose giver has lost the right does
    not count. ``needed``: how many are asked for now, where that is more than when the request was opened. ``lock``:
    nothing is decided until this transaction ends; not needed by who only looks.
    """
    request = find(connection, request_id, lock=lock)
    last: dict[str, Decision] = {one.principal: one for one in request.decisions}
    counted: list[str] = []
    discounted: list[Discounted] = []
    for principal, one in last.items():
        if one.decision != APPROVE:
            continue
        why = _doubt(request, one, allowed)
        if why:
            discounted.append(Discounted(principal, why))
        else:
            counted.append(principal)
    return Tally(
        standing=request.standing(now),
        needed=max(request.needed, needed or 0),
        approved_by=tuple(counted),
        discounted=tuple(discounted),
    )


def _doubt(request: Request, one: Decision, allowed: Callable[[str], bool]) -> str:
    """Why an approval does not count; empty where it does."""
    if one.principal == request.author:
        return "it is the author's own"
    if one.digest != request.digest:
        return "it was given to something else"
    if not allowed(one.principal):
        return "they may not approve this any more"
    return ""


def void(connection: sa.Connection, request_id: str, why: str, *, now: int | None = None) -> None:
    """End an open request, with all its approvals, because what it is about has changed. Nothing if it is over."""
    _close(connection, request_id, VOID, why, now)


def complete(connection: sa.Connection, request_id: str, *, now: int) -> None:
    """The change was carried out: its approvals serve for nothing else. Raises ``Conflict`` if the request is over."""
    if not _close(connection, request_id, DONE, "", now):
        _still_open(find(connection, request_id), now)


def find(connection: sa.Connection, request_id: str, *, lock: bool = False) -> Request:
    """One request with its decisions, oldest first. ``lock``: nobody else changes it until this transaction ends."""
    table = tables.approval_request
    query = sa.select(table).where(table.c.id == request_id)
    if lock:
        query = query.with_for_update()
    row = connection.execute(query).mappings().first() if ids.is_id(request_id) else None
    if row is None:
        raise NotFound(f"There is no request for approval {request_id[:80]!r}.", code="approval_not_found")
    return _request(row, _decisions(connection, [request_id]).get(request_id, ()))


def page(
    connection: sa.Connection,
    *,
    org: str | None,
    project: str | None = None,
    state: str = "",
    kind: str = "",
    target: str = "",
    after: str = "",
    limit: int = 100,
) -> list[Request]:
    """Requests of an organization (``None``: of any), oldest first, from behind ``after``. ``project``: of this one."""
    table = tables.approval_request
    query = sa.select(table)
    if org is not None:
        query = query.where(table.c.org == org)
    if project is not None:
        query = query.where(table.c.project == project)
    for column, wanted in ((table.c.state, state), (table.c.kind, kind), (table.c.target, target)):
        if wanted:
            query = query.where(column == wanted)
    if after:
        query = query.where(table.c.id > after)
    rows = connection.execute(query.order_by(table.c.id).limit(limit)).mappings().all()
    decisions = _decisions(connection, [row["id"] for row in rows])
    return [_request(row, decisions.get(row["id"], ())) for row in rows]


def _decisions(connection: sa.Connection, requests: Sequence[str]) -> dict[str, tuple[Decision, ...]]:
    table = tables.approval_decision
    found: dict[str, tuple[Decision, ...]] = {}
    if not requests:
        return found
    query = sa.select(table).where(table.c.request_id.in_(requests)).order_by(table.c.number)
    for row in connection.execute(query).mappings():
        one = Decision(**{name: row[name] for name in Decision.__struct_fields__})
        found[row["request_id"]] = (*found.get(row["request_id"], ()), one)
    return found


def _request(row: sa.RowMapping, decisions: tuple[Decision, ...]) -> Request:
    values = cast("dict[str, object]", dict(row))
    return Request(**values, decisions=decisions)  # pyright: ignore[reportArgumentType] - the table's columns are its fields


def _close(connection: sa.Connection, request_id: str, state: str, why: str, now: int | None) -> bool:
    table = tables.approval_request
    closing = table.update().where(table.c.id == request_id, table.c.state == OPEN)
    result = connection.execute(closing.values(state=state, closed_why=why[:_WHY], closed_at=now))
    return result.rowcount == 1


def _still_open(request: Request, now: int) -> None:
    standing = request.standing(now)
    if standing != OPEN:
        why = f" ({request.closed_why})" if request.closed_why else ""
        raise Conflict(
            f"The request for approval of {request.target} is {standing}{why}.",
            code="approval_closed",
            hint="Propose the change again.",
        )
