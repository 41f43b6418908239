"""Reading the ledger: the last rows, one row, and what a window of time adds up to.

Sums come from the rollup alone, however many rows there are. Rows are read in the order they were written, or by id.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from ostinato.core.clock import Clock, SystemClock
from ostinato.core.errors import Invalid
from ostinato.storage import Database
from ostinato.traces import arms as arm_rows
from ostinato.traces import cells as cell_rows
from ostinato.traces import conversations, rollup, samples, tables
from ostinato.traces.arms import ArmPage, Arms, Asker
from ostinato.traces.cells import Segment
from ostinato.traces.cubes import TRAFFIC, Layout
from ostinato.traces.interactions import State, Turn
from ostinato.traces.model import HIT_KINDS, AttemptRow, Filter, Own, Page, RequestEvent, Stats, Window
from ostinato.traces.rollup import FINEST, GRAINS, SECOND, Cell, Summed
from ostinato.traces.settings import Settings

_MOST_ROWS = 1_000
_SCANNED = 100_000
"""Rows of each table that a filtered ``tail`` looks through."""
_SHOWN = 20
"""Rows that ``show`` gives where a caller used the same ``x-request-id`` more than once."""
_JSON = ("attempts", "usage_raw", "extra")
_ATTEMPTS = msgspec.json.Decoder(tuple[AttemptRow, ...])
_ANY = msgspec.json.Decoder(dict[str, Any] | None)

_EDGES = ((12 * 3_600 * SECOND, 10), (7 * 86_400 * SECOND, 60), (2**63, 3_600))
"""How exact the ends of a window are: to ten seconds, if it is up to twelve hours long; to a minute, up to a week."""

T = TypeVar("T")
S = TypeVar("S", bound=Summed)


class Ledger:
    """The reader's side. Answers lag other processes' requests by ``Settings.batch_seconds``, this one's not at all."""

    def __init__(
        self,
        database: Database,
        clock: Clock | None = None,
        settings: Settings | None = None,
        *,
        catch_up: Callable[[], object] | None = None,
    ) -> None:
        """``catch_up``: writes what this process still holds; blocking, called in a thread before every read."""
        self._database = database
        self._clock = clock or SystemClock()
        self._settings = settings or Settings()
        self._catch_up = catch_up

    async def _read(self, work: Callable[[sa.Connection], T]) -> T:
        """Run ``work`` on the database, with all that was recorded before: who asks looks for what they just did."""
        if self._catch_up is not None:
            await asyncio.to_thread(self._catch_up)
        return await self._database.read(work)

    async def tail(self, after: str = "", limit: int = 50, filters: Filter | None = None) -> Page:
        """The newest rows; or, with the cursor of an earlier page, those written after it. Oldest first.

        At most ``limit`` rows (1 to 1000), and with a cursor as many of hits and of calls. With filters at most the
        last 100,000 rows of each are looked through. Raises ``Invalid`` for a cursor that is none.
        """
        most = max(1, min(limit, _MOST_ROWS))
        cursor = _cursor(after) if after else None
        chosen = filters or Filter()

        def read(connection: sa.Connection) -> Page:
            found: list[RequestEvent] = []
            reached: list[int] = []
            for number, table in enumerate(("hit", "call")):
                rows, end = _walk(connection, table, cursor[number] if cursor else None, most, chosen)
                found += rows
                reached.append(end)
            found.sort(key=lambda row: (row.at, row.request_id))
            return Page(tuple(found if cursor else found[-most:]), f"{reached[0]}.{reached[1]}")

        return await self._read(read)

    async def show(self, request_id: str, filters: Filter | None = None) -> tuple[RequestEvent, ...]:
        """The row with this request id; or those whose caller sent it as ``x-request-id``, newest first."""
        chosen = filters or Filter()

        def read(connection: sa.Connection) -> tuple[RequestEvent, ...]:
            found: list[RequestEvent] = []
            for table, events in (("hit", tables.HIT_EVENTS), ("call", tables.CALL_EVENTS)):
                conditions, values = _conditions(table, chosen)
                # The second condition on the name is what lets the partial index be used.
                named = f"{table}.client_request_id = :id AND {table}.client_request_id <> ''"
                for match in (f"{table}.request_id = :id", named):
                    text = " AND ".join((match, *conditions))
                    statement = f"{events} WHERE {text} ORDER BY {table}.seq DESC LIMIT {_SHOWN}"
                    result = connection.execute(sa.text(statement), {"id": request_id, **values})
                    found += [_event(row._mapping) for row in result]  # pyright: ignore[reportPrivateUsage] - public in spite of its name
            by_id = {row.request_id: row for row in found}
            return tuple(sorted(by_id.values(), key=lambda row: row.at, reverse=True)[:_SHOWN])

        return await self._read(read)

    async def sample(self, window: Window, filters: Filter | None = None, n: int = 20) -> tuple[RequestEvent, ...]:
        """Up to ``n`` answers of a window, hits and calls, evenly over its time and oldest first.

        A few rows of each ``n``-th of it are looked at, so that little traffic among much may not be found.
        """
        chosen = {table: _conditions(table, filters or Filter()) for table in ("hit", "call")}
        values = chosen["hit"][1]

        def read(connection: sa.Connection) -> tuple[RequestEvent, ...]:
            conditions = {table: found for table, (found, _) in chosen.items()}
            named = samples.request_ids(connection, window, conditions, values, n)
            found: list[RequestEvent] = []
            if not named:
                return ()
            for table, events in (("hit", tables.HIT_EVENTS), ("call", tables.CALL_EVENTS)):
                text = sa.text(f"{events} WHERE {table}.request_id IN :ids").bindparams(
                    sa.bindparam("ids", expanding=True)
                )
                rows = connection.execute(text, {"ids": named})
                found += [_event(row._mapping) for row in rows]  # pyright: ignore[reportPrivateUsage] - public in spite of its name
            found = [row for row in found if window.since <= row.at < window.until]
            found.sort(key=lambda row: (row.at, row.request_id))
            step = max(1, -(-len(found) // n))
            return tuple(found[::step])

        return await self._read(read)

    async def answered(
        self, window: Window, filters: Filter | None = None, *, after: str = "", limit: int = _MOST_ROWS
    ) -> tuple[RequestEvent, ...]:
        """Calls of a window that were answered and whose texts were kept, oldest first, from behind request ``after``.

        Hits repeat a call; our own loops' calls (which no key made) and refusals are left out.
        """
        conditions, values = _conditions("call", filters or Filter())
        wanted = (
            "call.request_id >= :low AND call.request_id > :after AND call.request_id < :high",
            "call.input_text IS NOT NULL AND call.output_text IS NOT NULL",
            "call.status = 200 AND call.error = '' AND call.key_id <> ''",
            *conditions,
        )
        statement = f"{tables.CALL_EVENTS} WHERE {' AND '.join(wanted)} ORDER BY call.request_id LIMIT {int(limit)}"
        # A request's id begins with its time, and is what there is an index on.
        low, high = (f"{max(0, moment) // 1000:012x}" for moment in (window.since, window.until))
        bound = {"low": low, "high": high, "after": after, **values}

        def read(connection: sa.Connection) -> tuple[RequestEvent, ...]:
            rows = connection.execute(sa.text(statement), bound)
            return tuple(_event(row._mapping) for row in rows)  # pyright: ignore[reportPrivateUsage] - public in spite of its name

        return await self._read(read)

    async def stats(self, window: Window, filters: Filter | None = None) -> Stats:
        """What a window adds up to. Its ends are widened to whole buckets, of ten seconds to an hour."""
        chosen = filters or Filter()
        covered, segments = self._segments(window)

        def read(connection: sa.Connection) -> tuple[Cell, Cell, dict[str, int]]:
            traffic, own = (_sum(connection, segments, chosen, own=which) for which in (False, True))
            return traffic, own, _losses(connection, covered)

        cell, own, losses = await self._read(read)
        return _stats(covered, cell, losses, own)

    async def traffic(self, window: Window, filters: Filter | None = None) -> dict[str, Stats]:
        """The same told apart by what calls were made for: ``""`` what callers asked, else our own calls, by purpose.

        Raises ``Invalid`` for filters by key, alias or target: these sums are not told apart by them.
        """
        equal = {name: value for name, value in msgspec.structs.asdict(filters or Filter()).items() if value}
        if unknown := set(equal) - set(TRAFFIC.dimensions):
            raise Invalid(f"Traffic is not told apart by {min(unknown)}.", param=min(unknown))
        covered, segments = self._segments(window)

        def read(connection: sa.Connection) -> tuple[Mapping[tuple[Any, ...], Cell], dict[str, int]]:
            return cell_rows.read(connection, TRAFFIC, segments, equal, ("purpose",)), _losses(connection, covered)

        cells, losses = await self._read(read)
        found = {str(purpose): _stats(covered, cell, losses) for (purpose,), cell in cells.items()}
        return {"": _stats(covered, Cell(), losses), **found}

    async def samples(self, release: str, since: int, until: int | None = None) -> dict[str, int]:
        """Requests that a release has answered, by arm: those refused before a look-up are not counted.

        ``since`` (UTC microseconds) is rounded *up* to a bucket of the rollup, of ten seconds in the last days: what
        was asked before it never counts.
        """
        now = self._clock.now()
        grain = _grain(since, GRAINS[0], self._kept(now)) * SECOND
        if until is None or until > now:
            # Nothing is later than now: the bucket of today holds what there is, and is one row.
            widest = GRAINS[-1] * SECOND
            until = now - now % widest + widest
        segments = list(_cover(since + -since % grain, until + -until % (GRAINS[0] * SECOND)))
        return await self._read(lambda connection: _by_arm(connection, segments, release))

    async def cells(
        self,
        layout: Layout[S],
        window: Window,
        equal: Mapping[str, str],
        by: Sequence[str] = (),
        *,
        grain: int = 0,
        details: bool = True,
    ) -> tuple[Window, dict[tuple[Any, ...], S]]:
        """Sums of any rollup over a window, told apart by the dimensions ``by``; and what that really covers.

        ``equal``: dimensions that must have a value. ``grain`` (one of ``GRAINS``, seconds): by the start of buckets of
        that size as well, which is the first part of the key then. ``details``: with histograms, which take longest.
        """
        covered, segments, first = self._asked(layout, window, grain)
        return covered, await self._read(
            lambda connection: cell_rows.read(connection, layout, segments, equal, (*first, *by), details=details)
        )

    async def several(
        self, asked: Sequence[tuple[Layout[Any], Mapping[str, str], Sequence[str]]], window: Window, *, grain: int = 0
    ) -> tuple[Window, list[dict[tuple[Any, ...], Any]]]:
        """The same of several rollups that have the same buckets, in one read: (layout, ``equal``, ``by``) each."""
        covered, segments, first = self._asked(asked[0][0], window, grain)

        def read(connection: sa.Connection) -> list[dict[tuple[Any, ...], Any]]:
            return [cell_rows.read(connection, one, segments, equal, (*first, *by)) for one, equal, by in asked]

        return covered, await self._read(read)

    def _asked(self, layout: Layout[Any], window: Window, grain: int) -> tuple[Window, list[Segment], tuple[str, ...]]:
        """What a window covers, in which buckets, and whether these are told apart."""
        if (finest := layout.grains[0] * SECOND) > FINEST:
            window = Window(window.since - window.since % finest, window.until + -window.until % finest)
        covered, segments = self._segments(window)
        if not grain:
            return covered, segments, ()
        width = grain * SECOND
        since, until = window.since - window.since % width, covered.until + -covered.until % width
        return Window(since, until), [(grain, since, until)] if until > since else [], ("bucket",)

    async def newest(self, layout: Layout[Any], equal: Mapping[str, str], until: int) -> int | None:
        """The start of the newest bucket before ``until`` that holds anything, UTC microseconds."""
        return await self._read(lambda connection: cell_rows.newest(connection, layout, equal, until))

    async def questions(self, requests: Sequence[str]) -> dict[str, Turn]:
        """Requests that are questions, by id; others, and those that are not there, are left out."""
        return await self._read(lambda connection: conversations.questions(connection, requests))

    async def conversation(self, project: str, session: str) -> State | None:
        """A conversation by the name of its session; ``None``: the project had none of it."""
        return await self._read(lambda connection: conversations.find(connection, project, session))

    async def arms(self, which: Arms, after: int | None = None, limit: int = 1_000) -> ArmPage:
        """Calls of a canary and its control in the order of writing, from behind ``after`` (``None``: the beginning).

        Answers from cache are not among them: a new arm starts cold, so only calls can be compared.
        """
        return await self._read(lambda connection: arm_rows.page(connection, which, after, limit))

    async def askers(self, request_ids: Sequence[str]) -> dict[str, Asker]:
        """Who sent some requests, as far as the ledger has them."""
        return await self._read(lambda connection: arm_rows.askers(connection, request_ids))

    def _kept(self, now: int) -> dict[int, int]:
        """Since when there are buckets of a size (seconds), with an hour to spare."""
        return {
            10: now - (self._settings.keep_10s_hours - 1) * 3_600 * SECOND,
            60: now - (self._settings.keep_1m_days * 24 - 1) * 3_600 * SECOND,
        }

    def _segments(self, window: Window) -> tuple[Window, list[Segment]]:
        """The window as few buckets: days inside, smaller ones at the ends. Also what that really covers."""
        now = self._clock.now()
        finest, widest = GRAINS[0] * SECOND, GRAINS[-1] * SECOND
        present = now - now % finest + finest
        since, until = window.since, min(window.until, present)
        if until <= since:
            return Window(since, since), []
        edge = next(grain for longest, grain in _EDGES if until - since <= longest)
        kept = self._kept(now)
        since -= since % (_grain(since, edge, kept) * SECOND)
        if until + finest > now:
            # Nothing is later than now: the bucket of today holds what there is, and is one row.
            return Window(since, present), list(_cover(since, present + -present % widest))
        until += -until % (_grain(until, edge, kept) * SECOND)
        return Window(since, until), list(_cover(since, until))


def _cover(since: int, until: int) -> Iterator[Segment]:
    """Buckets of every size that fill the time from ``since`` to ``until`` exactly: the widest in the middle."""
    at = since
    for grain, wider in zip(GRAINS, (*GRAINS[1:], 0), strict=True):
        end = min(until, at + -at % (wider * SECOND)) if wider else until - until % (grain * SECOND)
        end -= end % (grain * SECOND)
        if end > at:
            yield grain, at, end
            at = end
    for grain in GRAINS[-2::-1]:
        end = until - until % (grain * SECOND)
        if end > at:
            yield grain, at, end
            at = end


def _grain(moment: int, edge: int, kept: Mapping[int, int]) -> int:
    """The bucket at an end of a window: no finer than ``edge``, nor than what is still kept of that time."""
    return next((grain for grain in GRAINS[:2] if grain >= edge and moment >= kept[grain]), GRAINS[2])


def _cursor(text: str) -> tuple[int, int]:
    first, dot, second = text.partition(".")
    if not (dot and first.isdecimal() and second.isdecimal() and len(text) < 40):
        raise Invalid(
            "This is no cursor of the ledger.", param="after", hint="Use the one that came with the last page."
        )
    return int(first), int(second)


def _conditions(table: str, filters: Filter) -> tuple[list[str], dict[str, str]]:
    """Conditions by bound parameters. What a hit row does not hold is that of the call it repeats."""
    values = {name: value for name, value in msgspec.structs.asdict(filters).items() if value}
    return [f"{table if name in ('key_id', 'arm') else 'call'}.{name} = :{name}" for name in values], values


def _walk(
    connection: sa.Connection, table: str, after: int | None, limit: int, filters: Filter
) -> tuple[list[RequestEvent], int]:
    """Rows of one table: the newest, or those after a place in the order of writing; and how far that has come."""
    head = connection.exec_driver_sql(f"SELECT coalesce(max(seq), 0) FROM {table}").scalar() or 0  # noqa: S608 - a constant
    low = max(0, head - _SCANNED) if after is None else after
    high = head if after is None else min(head, after + _SCANNED)
    conditions, values = _conditions(table, filters)
    where = " AND ".join((f"{table}.seq > :low", f"{table}.seq <= :high", *conditions))
    events = tables.HIT_EVENTS if table == "hit" else tables.CALL_EVENTS
    statement = events.replace("SELECT ", f"SELECT {table}.seq AS seq, ", 1)
    statement += f" WHERE {where} ORDER BY {table}.seq {'DESC' if after is None else 'ASC'} LIMIT {limit}"
    rows = connection.execute(sa.text(statement), {"low": low, "high": high, **values}).all()
    end = rows[-1].seq if after is not None and len(rows) == limit else max(high, low)
    return [_event(row._mapping) for row in rows], end  # pyright: ignore[reportPrivateUsage] - public in spite of its name


def _event(row: Mapping[Any, Any]) -> RequestEvent:
    values: dict[str, Any] = {name: row[name] for name in tables.EVENT_COLUMNS}
    values["stream"], values["stored"] = bool(values["stream"]), bool(values["stored"])
    values["attempts"] = _ATTEMPTS.decode(values["attempts"])
    for name in ("usage_raw", "extra"):
        values[name] = None if values[name] is None else _ANY.decode(values[name])
    return RequestEvent(**values)


def _sum(connection: sa.Connection, segments: Sequence[Segment], filters: Filter, *, own: bool) -> Cell:
    """Sums of traffic, or of calls of our own: those reach a target without a key, which no request does."""
    cell = Cell()
    if not segments:
        return cell
    table = tables.rollup
    times = [
        sa.and_(table.c.grain == grain, table.c.bucket >= since, table.c.bucket < until)
        for grain, since, until in segments
    ]
    chosen = [table.c[name] == value for name, value in msgspec.structs.asdict(filters).items() if value]
    ours = sa.and_(table.c.key_id == "", table.c.target != "")
    where = sa.and_(sa.or_(*times), ours if own else sa.not_(ours), *chosen)
    sums = connection.execute(sa.select(*(sa.func.sum(table.c[name]) for name in tables.SUMS)).where(where)).one()
    cell.sums = [int(value or 0) for value in sums]
    for (blob,) in connection.execute(sa.select(table.c.detail).where(where)):
        cell.add_detail(rollup.decode(bytes(blob)))
    return cell


def _by_arm(connection: sa.Connection, segments: Sequence[Segment], release: str) -> dict[str, int]:
    if not segments:
        return {}
    table = tables.rollup
    times = [
        sa.and_(table.c.grain == grain, table.c.bucket >= since, table.c.bucket < until)
        for grain, since, until in segments
    ]
    counted = sa.select(table.c.arm, sa.func.sum(table.c.requests - table.c.refused))
    chosen = counted.where(sa.or_(*times), table.c.release == release).group_by(table.c.arm)
    return {arm: int(count) for arm, count in connection.execute(chosen)}


def _losses(connection: sa.Connection, window: Window) -> dict[str, int]:
    table = tables.ledger_loss
    statement = (
        sa.select(table.c.kind, sa.func.sum(table.c.rows))
        .where(table.c.at >= window.since, table.c.at < window.until)
        .group_by(table.c.kind)
    )
    return {kind: int(rows) for kind, rows in connection.execute(statement)}


def _stats(window: Window, cell: Cell, losses: Mapping[str, int], ours: Cell | None = None) -> Stats:
    own = ours or Cell()
    kinds = {kind: cell[f"hit_{kind}"] for kind in HIT_KINDS}
    hits = sum(kinds.values())
    tokens = {name: cell[name] for name in ("input", "cache_read", "cache_write", "output", "reasoning")}
    spent, avoided = sum(tokens.values()), cell["avoided"]
    detail = cell.detail
    return Stats(
        window=window,
        requests=cell["requests"],
        asides=cell["asides"],
        hits=hits,
        hits_by_kind=kinds,
        misses=cell["misses"],
        bypasses=cell["bypasses"],
        refused=cell["refused"],
        hit_rate=_share(hits, hits + cell["misses"]),
        token_hit_rate=_share(avoided, avoided + spent),
        tokens=tokens,
        tokens_avoided=avoided,
        cost=cell["cost"],
        saved=cell["saved"],
        counterfactual=cell["counterfactual"],
        pricing_coverage=_share(cell["priced"], avoided + spent),
        latency={
            name: rollup.percentiles(getattr(detail, name))
            for name in ("hit", "miss", "first_token", "upstream", "overhead")
        },
        errors=cell["errors"],
        errors_by_class=detail.errors,
        reasons=detail.reasons,
        rows_dropped=losses.get("dropped", 0),
        rows_lost=losses.get("crash", 0),
        rows_refused=losses.get("refused", 0),
        unattributed=cell["unattributed"],
        own=Own(
            calls=own["requests"],
            tokens=sum(own[name] for name in tokens),
            cost=own["cost"],
            errors=own["errors"],
        ),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
