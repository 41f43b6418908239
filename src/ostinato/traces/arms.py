"""What the arms of a canary have answered, call by call: for those who compare them."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.traces import tables

_SCANNED = 100_000
"""Rows that one page looks through."""
_FIRST = 1_000
"""Requests among which the first row of a time is looked for: they are written in the order in which they end."""
_AT_ONCE = 500


class Arms(msgspec.Struct, frozen=True, kw_only=True):
    """Which canary: its own calls, and those of the control that was drawn beside it."""

    project: str
    prompt: str
    release: str
    base_release: str
    """In force for the control; empty: none."""
    base_number: int
    """The control's version."""
    since: int
    """UTC microseconds."""


class ArmCall(msgspec.Struct, frozen=True, gc=False):
    """One call of an arm that was not answered from cache."""

    request_id: str
    at: int
    arm: str
    """``canary`` or ``control``."""
    session: str
    user_digest: str
    fingerprint: str
    cache: str
    status: int
    error: str
    cost: int | None
    """Nano-dollars; ``None``: no price is known."""
    total_us: int
    tags: tuple[str, ...]


class ArmPage(msgspec.Struct, frozen=True):
    """Some calls in the order of the ledger, and the place behind them."""

    calls: tuple[ArmCall, ...]
    after: int
    more: bool
    """Whether the ledger goes on behind it."""


class Asker(msgspec.Struct, frozen=True, gc=False):
    """Who sent a request, as far as the ledger knows, and what it was about."""

    session: str
    user_digest: str
    fingerprint: str
    tags: tuple[str, ...]


def beginning(connection: sa.Connection, since: int) -> int:
    """The place behind which every call stands that was asked from ``since`` on, but for a thousand at once."""
    call = tables.call
    # Ids begin with their millisecond.
    first = sa.select(call.c.seq).where(call.c.request_id >= f"{since // 1000:012x}").order_by(call.c.request_id)
    found = connection.execute(sa.select(sa.func.min(first.limit(_FIRST).subquery().c.seq))).scalar()
    if found is not None:
        return int(found) - 1
    return int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(call.c.seq), 0))).scalar() or 0)


def page(connection: sa.Connection, arms: Arms, after: int | None, limit: int) -> ArmPage:
    """Calls behind ``after`` (``None``: from the beginning), at most ``limit``."""
    call = tables.call
    low = beginning(connection, arms.since) if after is None else after
    head = int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(call.c.seq), 0))).scalar() or 0)
    high = min(head, low + _SCANNED)
    columns = (call.c[name] for name in (*ArmCall.__struct_fields__, "seq"))
    canary = sa.and_(call.c.arm == "canary", call.c.release == arms.release)
    control = sa.and_(
        call.c.arm == "control", call.c.release == arms.base_release, call.c.prompt_version == arms.base_number
    )
    query = (
        sa.select(*columns)
        .where(
            call.c.seq > low,
            call.c.seq <= high,
            call.c.project == arms.project,
            call.c.prompt == arms.prompt,
            call.c.at >= arms.since,
            sa.or_(canary, control),
        )
        .order_by(call.c.seq)
        .limit(limit)
    )
    rows = connection.execute(query).mappings().all()
    end = int(rows[-1]["seq"]) if len(rows) == limit else high
    return ArmPage(tuple(_call(row) for row in rows), end, end < head)


def askers(connection: sa.Connection, request_ids: Sequence[str]) -> dict[str, Asker]:
    """Who sent these requests; those that the ledger does not have are left out. A hit is about what its call was."""
    found: dict[str, Asker] = {}
    chosen = sa.bindparam("ids", expanding=True, type_=sa.Text())
    call = "SELECT request_id, session, user_digest, fingerprint, tags FROM call WHERE request_id IN :ids"
    hit = (
        "SELECT hit.request_id, hit.session, hit.user_digest, call.fingerprint, call.tags "
        "FROM hit LEFT JOIN call ON call.request_id = hit.origin WHERE hit.request_id IN :ids"
    )
    for at in range(0, len(request_ids), _AT_ONCE):
        some = list(request_ids[at : at + _AT_ONCE])
        for text in (call, hit):
            for row in connection.execute(sa.text(text).bindparams(chosen), {"ids": some}):
                found[row[0]] = Asker(row[1], row[2], row[3] or "", _tags(row[4] or ""))
    return found


def _call(row: Mapping[Any, Any]) -> ArmCall:
    values = {name: row[name] for name in ArmCall.__struct_fields__}
    values["tags"] = _tags(values["tags"])
    return ArmCall(**values)


def _tags(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()
