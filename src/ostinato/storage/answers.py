"""Answers kept under idempotency keys, so that a request that is sent twice is carried out once.

A row is begun before the request is carried out and finished after it, in transactions of their own. Between the two
a repetition is told to wait; where the process died in between, the key is free again after ``ABANDONED_SECONDS``,
unless ``carried_out`` knows that the change was made. After ``KEPT_SECONDS`` a key is forgotten.
"""

from collections.abc import Awaitable, Callable
from typing import cast

import msgspec
import sqlalchemy as sa

from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, Invalid, LimitReached
from ostinato.storage.database import Database
from ostinato.storage.tables import kept_answer

KEPT_SECONDS = 86_400
ABANDONED_SECONDS = 60
"""Longer than any change takes: a row that is not finished by then belongs to a process that died."""
MOST = 10_000
"""Keys of one principal that are remembered at a time."""
_SWEPT = 500
"""Rows that one transaction of a sweep removes: it must not keep writers waiting."""
_TRIES = 3

CarriedOut = Callable[[str, int], Awaitable[bool]]
"""Whether the request with this id, begun at that time (UTC microseconds), has made its change."""


class Kept(msgspec.Struct, frozen=True):
    """The answer to a request that was carried out."""

    status: int
    headers: dict[str, str]
    body: bytes | None
    """``None``: the answer cannot be repeated; ``omitted`` says why."""
    omitted: str
    """``secret``, ``large`` or ``erased``, where there is no body."""
    request_id: str
    """Of the request that was carried out."""


class Begun(msgspec.Struct, frozen=True):
    """A request that its caller now carries out, and nobody else."""

    principal: str
    key: str
    holder: str
    request_id: str


class _Abandoned(msgspec.Struct, frozen=True):
    """A request whose process has died, as it seems."""

    request_id: str
    begun_at: int
    holder: str


class KeyReused(Invalid):
    """An idempotency key came with another request than before."""

    status = 422
    default_code = "idempotency_key_reused"


class Answers:
    """What was answered under idempotency keys within the last day; on both engines, shared by all processes."""

    def __init__(self, database: Database, clock: Clock, carried_out: CarriedOut | None = None) -> None:
        self._database = database
        self._clock = clock
        self._carried_out = carried_out

    async def begin(self, principal: str, key: str, digest: bytes, request_id: str) -> Begun | Kept:
        """Claim ``key`` for a request, or give the answer that it had. ``digest``: of everything the request says.

        Raises :class:`KeyReused` where the key came with another request; ``Conflict`` where that request is under
        way, or died after its change; ``LimitReached`` where the principal has too many keys.
        """
        now = self._clock.now()
        holder = ids.new(now)

        def work(connection: sa.Connection) -> Begun | Kept | _Abandoned:
            row = _find(connection, principal, key)
            if row is not None and row["begun_at"] <= now - KEPT_SECONDS * 1_000_000:
                connection.execute(kept_answer.delete().where(_same(principal, key)))
                row = None
            if row is None:
                _refuse_too_many(connection, principal)
                connection.execute(
                    kept_answer.insert(),
                    {
                        "principal": principal,
                        "key": key,
                        "digest": digest,
                        "request_id": request_id,
                        "holder": holder,
                        "begun_at": now,
                    },
                )
                return Begun(principal, key, holder, request_id)
            if bytes(row["digest"]) != digest:
                raise KeyReused(
                    "This idempotency key came with another request before.",
                    hint="Use a new key for every request, and the same one only to repeat it unchanged.",
                )
            if row["finished_at"] is not None:
                return _kept(row)
            return _abandoned(row, now)

        for left in reversed(range(_TRIES)):
            try:
                found = await self._database.run(work)
                if isinstance(found, _Abandoned):
                    return await self._take_over(Begun(principal, key, holder, request_id), found, now)
                return found
            except Conflict as error:
                # Two requests at the same moment: the other one's row is there at the next look.
                if error.code != "already_exists" or not left:
                    raise
        raise AssertionError("unreachable")

    async def _take_over(self, begun: Begun, left: "_Abandoned", now: int) -> Begun:
        if self._carried_out is not None and await self._carried_out(left.request_id, left.begun_at):
            raise Conflict(
                f"The request with this idempotency key was carried out as {left.request_id}, but its answer was lost"
                " when the server ended.",
                code="idempotency_answer_lost",
                hint="Look at what there is now; use a new key for another change.",
            )

        def work(connection: sa.Connection) -> None:
            taken = connection.execute(
                kept_answer.update()
                .where(_same(begun.principal, begun.key), kept_answer.c.holder == left.holder)
                .values(holder=begun.holder, begun_at=now, request_id=begun.request_id)
            )
            if taken.rowcount != 1:
                raise _under_way()

        await self._database.run(work)
        return begun

    async def finish(
        self, begun: Begun, status: int, headers: dict[str, str], body: bytes | None, omitted: str = ""
    ) -> bool:
        """Keep the answer; ``False`` where the claim was lost to somebody else meanwhile."""
        values = {
            "finished_at": self._clock.now(),
            "status": status,
            "headers": headers,
            "body": body,
            "omitted": omitted,
        }

        def work(connection: sa.Connection) -> bool:
            changed = connection.execute(kept_answer.update().where(_held(begun)).values(**values))
            return changed.rowcount == 1

        return await self._database.run(work)

    async def release(self, begun: Begun) -> None:
        """Give the claim up: nothing was done, and the request may be repeated with the same key."""

        def work(connection: sa.Connection) -> None:
            connection.execute(kept_answer.delete().where(_held(begun)))

        await self._database.run(work)

    async def sweep(self) -> int:
        """Forget what is older than ``KEPT_SECONDS``; gives how many keys that were."""
        before = self._clock.now() - KEPT_SECONDS * 1_000_000
        old = (
            sa.select(kept_answer.c.principal, kept_answer.c.key)
            .where(kept_answer.c.begun_at <= before)
            .order_by(kept_answer.c.begun_at)
            .limit(_SWEPT)
        )

        def work(connection: sa.Connection) -> int:
            rows = connection.execute(old).all()
            for principal, key in rows:
                same = _same(principal, key)
                connection.execute(kept_answer.delete().where(same, kept_answer.c.begun_at <= before))
            return len(rows)

        swept = 0
        while True:
            count = await self._database.run(work)
            swept += count
            if count < _SWEPT:
                return swept


def omit(connection: sa.Connection, before: int) -> int:
    """Empty the answers that were kept until then, whatever they tell; the keys stay used. Gives how many."""
    found = (kept_answer.c.begun_at <= before, kept_answer.c.body.is_not(None))
    return connection.execute(kept_answer.update().where(*found).values(body=None, omitted="erased")).rowcount


def _same(principal: str, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(kept_answer.c.principal == principal, kept_answer.c.key == key)


def _held(begun: Begun) -> sa.ColumnElement[bool]:
    return sa.and_(
        _same(begun.principal, begun.key), kept_answer.c.holder == begun.holder, kept_answer.c.finished_at.is_(None)
    )


def _abandoned(row: sa.RowMapping, now: int) -> _Abandoned:
    """A row that nobody finishes any more. Raises ``Conflict`` while somebody may."""
    begun_at = cast("int", row["begun_at"])
    if begun_at > now - ABANDONED_SECONDS * 1_000_000:
        raise _under_way()
    return _Abandoned(row["request_id"], begun_at, row["holder"])


def _under_way() -> Conflict:
    return Conflict(
        "The request with this idempotency key is still under way.",
        code="idempotency_in_progress",
        hint="Repeat it in a moment, with the same key.",
        retry_after=1.0,
    )


def _find(connection: sa.Connection, principal: str, key: str) -> sa.RowMapping | None:
    return connection.execute(sa.select(kept_answer).where(_same(principal, key))).mappings().first()


def _kept(row: sa.RowMapping) -> Kept:
    body = None if row["body"] is None else bytes(row["body"])
    return Kept(row["status"], dict(row["headers"] or {}), body, row["omitted"] or "", row["request_id"])


def _refuse_too_many(connection: sa.Connection, principal: str) -> None:
    count = sa.select(sa.func.count()).select_from(kept_answer).where(kept_answer.c.principal == principal)
    if connection.execute(count).scalar_one() >= MOST:
        raise LimitReached(
            f"This key used {MOST} idempotency keys within a day, as many as are remembered.",
            code="too_many_idempotency_keys",
            hint="Send requests that need no repeating without a key, or wait.",
            retry_after=600.0,
        )
