"""Going through a table by time, in short transactions: what every sweep does."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from ostinato.retention.model import Kind, Limit, Swept
from ostinato.retention.ruling import Ruling
from ostinato.retention.stores import Effort
from ostinato.storage import Database

_PAUSE = 0.002
_FOLDED = 100
"""Rows after which the log is folded: each touches a page or two, and at a thousand pages a commit has to do it. The
more there is to fold, the longer whoever commits meanwhile waits for the disk: 27 ms at four hundred rows (p99), 13
here."""
READ = 500
"""Rows of one look. Judging them takes the interpreter, which others wait for as well."""
_SLACK = 3_600_000_000
"""A mark stays so far behind (an hour): rows may be written later than they were made."""


class Row(Protocol):
    """What a look gives."""

    @property
    def at(self) -> int: ...


R = TypeVar("R", bound=Row)


async def walk(
    database: Database,
    name: str,
    kind: Kind,
    ruling: Ruling,
    effort: Effort,
    *,
    look: Callable[[sa.Connection, Any, int, int], list[R]],
    behind: Callable[[R], Any],
    begin: Callable[[int], Any],
    judge: Callable[[R], tuple[Limit | None, bool]],
    change: Callable[[list[R]], Callable[[sa.Connection], int]],
    commit: Callable[[list[R]], Any] | None = None,
    still: Callable[[list[R]], Awaitable[list[R]]] | None = None,
) -> Swept:
    """Go through a table once for each period that something may be kept.

    ``look(connection, behind, before, limit)`` gives rows in the order of time, ``behind`` where one goes on after a
    row, ``begin`` where one goes on after a time, ``judge`` a row's limit and whether a hold keeps it, ``change`` what
    deletes some. ``commit``: what is awaited before the rows of a batch are changed.
    ``still``: gives those of some rows that there is still something of, where a look cannot tell.
    """
    total = Swept(store=name, kind=kind)
    for days in ruling.periods(kind):
        before = ruling.cut(days)
        cursor = begin(await effort.upto(name, days))
        while rows := await database.read(lambda c, at=cursor, end=before: look(c, at, end, READ)):
            cursor = behind(rows[-1])
            await effort.renew()
            due: list[R] = []
            held: list[R] = []
            for row in rows:
                limit, kept = judge(row)
                if limit is None or limit.days != days or row.at >= before:
                    continue
                (held if kept else due).append(row)
            if still is not None:
                due, held = await still(due), await still(held)
            part = Swept(
                store=name, kind=kind, due=len(due), held=len(held), oldest=min((row.at for row in due), default=None)
            )
            if due and not effort.dry_run:
                if commit is not None:
                    await commit(due)
                done, longest = await gently(database, due, change, effort)
                part = part.plus(Swept(store=name, kind=kind, done=done, longest_us=longest))
            total = total.plus(part)
            if len(rows) < READ:
                break
        if not effort.dry_run:
            await effort.mark(name, days, max(0, before - _SLACK))
    return total


async def gently(
    database: Database, rows: Sequence[R], change: Callable[[list[R]], Callable[[sa.Connection], int]], effort: Effort
) -> tuple[int, int]:
    """Change rows in transactions that keep nobody waiting for long; gives (changed, microseconds of the longest)."""
    done = longest = at = changed = 0
    batch = max(1, effort.batch // 4)
    while at < len(rows):
        some = list(rows[at : at + batch])
        at += len(some)
        work = change(some)

        def timed(connection: sa.Connection, work: Callable[[sa.Connection], int] = work) -> tuple[int, int]:
            began = time.perf_counter_ns()
            count = work(connection)
            return count, (time.perf_counter_ns() - began) // 1_000

        count, took = await database.run(timed)
        done += count
        longest = max(longest, took)
        if took > effort.batch_us:
            batch = max(1, batch // 2)
        elif took < effort.batch_us // 3:
            batch = min(effort.batch, batch * 2)
        changed += len(some)
        rest = took / 1e6
        if changed >= _FOLDED:
            changed = 0
            began = time.perf_counter()
            await database.fold_beside()
            rest += time.perf_counter() - began
        # Whoever waits for the writer, or for the disk, comes before the next batch.
        await asyncio.sleep(max(rest, _PAUSE))
    return done, longest
