"""Breaking the glass: every right of the organization, for an hour at most, for a reason that everybody sees.

It holds for the one key that broke it, and ends by itself. What is borrowed cannot be given on: keys, bindings and
principals that are made meanwhile get no more than the key has without it. It approves nobody's own requests: those
are judged by who stands behind the key, which does not change. Each use is told in the log, the audit log, on
``/readyz``, in the metrics, and in a header of every answer of the control plane.
"""

import logging

import msgspec
import sqlalchemy as sa

from ostinato.access import authority, fields, permissions, store, tables
from ostinato.access.change import Change
from ostinato.access.model import Actor, BreakGlass, Caller, actor_name, principal_of
from ostinato.core import ids
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound

LONGEST_MINUTES = 60
SHORTEST_REASON = 10
LONGEST_REASON = 500
PAGE = 500

_log = logging.getLogger(__name__)


def begin(change: Change, reason: str, minutes: int) -> BreakGlass:
    """Give the actor's key every right of its organization for ``minutes`` (1 to 60).

    Raises :class:`Conflict` where it has them already.
    """
    actor = change.actor
    permissions.require(actor, "breakglass:use")
    if not isinstance(actor, Caller):
        raise Denied("The system needs no glass to break.", code="permission_denied")
    if not 1 <= minutes <= LONGEST_MINUTES:
        raise Invalid(
            f"The glass can be broken for 1 to {LONGEST_MINUTES} minutes.", code="invalid_minutes", param="minutes"
        )
    told = _reason(reason)
    table = tables.breakglass
    # Asked of the database, not of the actor, who may have been looked up before another request broke it.
    query = sa.select(table).where(table.c.key_id == actor.key_id, table.c.ends_at > change.now)
    for row in change.connection.execute(query.where(table.c.ended_at.is_(None))).mappings():
        raise Conflict(
            f"This key has broken the glass already: {row['id']}.",
            code="glass_broken",
            hint="End that one first; the new one then says why it must go on.",
        )
    value = BreakGlass(
        id=ids.new(change.now),
        org_id=actor.org,
        key_id=actor.key_id,
        key_prefix=actor.key_prefix,
        principal=principal_of(actor),
        reason=told,
        began_at=change.now,
        ends_at=change.now + minutes * 60_000_000,
    )
    change.connection.execute(table.insert(), msgspec.structs.asdict(value))
    change.note(
        "breakglass:begin",
        f"breakglass:{value.id}",
        org=value.org_id,
        after=value,
        reason=told,
        facts={"breakglass": value.id, "minutes": minutes, "ends_at": value.ends_at},
    )
    return value


def end(change: Change, ref: str) -> BreakGlass:
    """End it before its time: one's own, or anybody's for who could have broken it. Ended ones stay as they are."""
    permissions.require(change.actor, "breakglass:use")
    old = _find(change.connection, change.actor, ref)
    if not old.live(change.now):
        return old
    new = msgspec.structs.replace(old, ended_at=change.now, ended_by=actor_name(change.actor))
    table = tables.breakglass
    change.connection.execute(
        table.update().where(table.c.id == old.id).values(ended_at=new.ended_at, ended_by=new.ended_by)
    )
    change.note(
        "breakglass:end",
        f"breakglass:{new.id}",
        org=new.org_id,
        before=old,
        after=new,
        facts={"breakglass": new.id},
    )
    return new


def list_all(
    connection: sa.Connection, actor: Actor, *, after: str | None = None, limit: int = 100
) -> list[BreakGlass]:
    """Every time that it was broken in the organizations that the actor reaches, oldest first."""
    permissions.require(actor, "principals:read")
    fields.page(after, limit, PAGE)
    table = tables.breakglass
    query = sa.select(table).where(authority.visible_glasses(actor)).order_by(table.c.id).limit(limit)
    if after is not None:
        query = query.where(table.c.id > after)
    return [store.breakglass(row) for row in connection.execute(query).mappings()]


def shout(value: BreakGlass) -> None:
    """Tell the log, as loudly as it can be told."""
    _log.critical(
        "BREAK-GLASS %s: the key %s (%s) has every right of the organization %s for %d minutes. Reason: %r",
        value.id,
        value.key_prefix,
        value.principal,
        value.org_id,
        round((value.ends_at - value.began_at) / 60_000_000),
        value.reason,
    )


def _reason(text: str) -> str:
    told = text.strip()
    if not SHORTEST_REASON <= len(told) <= LONGEST_REASON or not told.isprintable():
        raise Invalid(
            f"Say why, in {SHORTEST_REASON} to {LONGEST_REASON} printable characters: everybody will see it.",
            code="invalid_reason",
            param="reason",
        )
    return told


def _find(connection: sa.Connection, actor: Actor, ref: str) -> BreakGlass:
    table = tables.breakglass
    row = None
    if ids.is_id(ref):
        query = sa.select(table).where(authority.visible_glasses(actor)).where(table.c.id == ref)
        row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(f"There is no broken glass {ref[:70]!r}.", code="breakglass_not_found", param="breakglass")
    return store.breakglass(row)
