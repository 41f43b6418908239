"""What the hold-out has shown: read from the ledger's rows, one population on both sides.

Calls carry their side in ``trial``. Hits do not: whoever was held never hits, so every hit is a treated one, unless it
took no part at all: while nothing was held out, of an intent that forbids it, of a key that rested, of a request that
asked for the cache only. Those times and names are in this room's tables.
"""

import math
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.savings import estimate, tables
from ostinato.savings.estimate import Cluster
from ostinato.savings.model import HoldOut, Side
from ostinato.statistics import Interval
from ostinato.traces import Filter, Window
from ostinato.traces.rollup import REFRESH

_CHAT = "('openai.chat', 'openai.responses', 'anthropic.messages')"
_CALLER_LEFT = 499
_MILLI = 1_000
_DAY = 86_400_000_000
_KEPT = 200_000
"""Rows whose sessions are all kept by themselves; of more, a part."""


class Span(msgspec.Struct, frozen=True):
    """A time in which one rule held."""

    since: int
    until: int
    share: float
    refusing: frozenset[tuple[str, str]]
    """(Project, intent); an empty project: everybody's."""


class Stratum(msgspec.Struct):
    """Sessions while one share held. Of many treated ones, the sums are of all, and one in ``one_in`` is kept by itself
    for the spread."""

    one_in: int = 1
    held: dict[tuple[str, str], Cluster] = {}
    treated: dict[tuple[str, str], Cluster] = {}
    everything: Cluster = msgspec.field(default_factory=Cluster)
    """All treated ones together."""
    unpriced: list[int] = msgspec.field(default_factory=lambda: [0, 0])

    def add(self, trial: str, key: tuple[str, str], more: Cluster) -> None:
        """Add what a session did."""
        if trial != "held":
            _sum(self.everything, more)
            # The same sessions are kept in every chunk of time.
            if self.one_in > 1 and zlib.crc32(f"{key[0]}\x00{key[1]}".encode("utf-8", "replace")) % self.one_in:
                return
        side = self.held if trial == "held" else self.treated
        _sum(side.setdefault(key, Cluster()), more)

    def ratio(self, what: str) -> estimate.Ratio:
        """The treated side: its exact mean, with the spread of the sessions that were kept."""
        sample = estimate.ratio((one.requests, _value(one, what)) for one in self.treated.values())
        if self.one_in == 1 or not self.everything.requests:
            return sample
        return estimate.Ratio(
            sample.clusters * self.one_in,
            self.everything.requests,
            _value(self.everything, what) / self.everything.requests,
            sample.variance / self.one_in,
        )


class Reading:
    """One reading of a window, in chunks of a day: each is a query of its own, so that none takes long."""

    def __init__(self, window: Window, filters: Filter, confidence: float = 0.95) -> None:
        self._window = window
        self._filters = filters
        self._confidence = confidence
        self._strata: list[Stratum] = []
        self._excluded: dict[str, int] = {}
        self._share = 0.0
        self._last: float | None = None
        self._one_in = 1

    def plan(self, connection: sa.Connection) -> list[Span]:
        """The chunks, in order. Blocking."""
        bounds = _bounds(self._window.since, self._window.until)
        rows = 0
        for table in ("hit", "call"):
            count = sa.text(f"SELECT count(*) FROM {table} WHERE request_id >= :low AND request_id < :high")  # noqa: S608 - constants
            rows += int(connection.execute(count, bounds).scalar() or 0)
        self._one_in = max(1, rows // _KEPT)
        found = spans(connection, self._window)
        self._share = found[-1].share if found else 0.0
        return [
            msgspec.structs.replace(span, since=at, until=min(at + _DAY, span.until))
            for span in found
            for at in range(span.since, span.until, _DAY)
        ]

    def step(self, connection: sa.Connection, chunk: Span) -> None:
        """Read one chunk. Blocking."""
        _excluded(connection, Window(chunk.since, chunk.until), self._filters, self._excluded)
        if not chunk.share:
            return
        if self._last != chunk.share:
            self._strata.append(Stratum(one_in=self._one_in))
            self._last = chunk.share
        _calls(connection, chunk, self._filters, self._strata[-1])
        _hits(connection, chunk, self._filters, self._strata[-1], self._excluded)

    def told(self) -> HoldOut:
        """What it comes to."""
        return _told(self._window, self._share, self._strata, self._excluded, self._confidence)


def spans(connection: sa.Connection, window: Window) -> list[Span]:
    """Which rules held in a window, in order."""
    table = tables.rule
    columns = (table.c.at, table.c.share, table.c.refusing)
    before = sa.select(*columns).where(table.c.at <= window.since).order_by(table.c.seq.desc()).limit(1)
    within = (
        sa.select(*columns)
        .where(table.c.at > window.since, table.c.at < window.until)
        .order_by(table.c.at, table.c.seq)
    )
    rows = [*connection.execute(before), *connection.execute(within)]
    ends = [*(row.at for row in rows[1:]), window.until][: len(rows)]
    return [
        Span(
            max(row.at, window.since),
            end,
            row.share,
            frozenset((str(project), str(key)) for project, key in row.refusing),
        )
        for row, end in zip(rows, ends, strict=True)
        if end > max(row.at, window.since)
    ]


def read(connection: sa.Connection, window: Window, filters: Filter, confidence: float = 0.95) -> HoldOut:
    """The estimate over a window. Blocking; reads the window's rows."""
    reading = Reading(window, filters, confidence)
    for chunk in reading.plan(connection):
        reading.step(connection, chunk)
    return reading.told()


def _sum(into: Cluster, more: Cluster) -> None:
    into.requests += more.requests
    into.cost += more.cost
    into.saved += more.saved
    into.errors += more.errors


def _value(one: Cluster, what: str) -> int:
    return one.cost + one.saved if what == "untreated" else one.errors if what == "errors" else one.cost


def _conditions(table: str, filters: Filter) -> tuple[str, dict[str, Any]]:
    values = {name: value for name, value in msgspec.structs.asdict(filters).items() if value}
    own = ("key_id", "arm")
    text = "".join(f" AND {table if name in own else 'call'}.{name} = :{name}" for name in values)
    return text, values


def _bounds(since: int, until: int) -> dict[str, Any]:
    """Ids begin with their millisecond: what makes the index on them one on time."""
    low, high = since // _MILLI, -(-until // _MILLI)
    return {"low": f"{low:012x}", "high": f"{high:012x}", "since": since, "until": until}


def _calls(connection: sa.Connection, span: Span, filters: Filter, stratum: Stratum) -> None:
    more, values = _conditions("call", filters)
    # What is fetched in the background costs, and is nobody's request: the hit before it was.
    asked = f"CASE WHEN reason = '{REFRESH}' THEN 0 ELSE 1 END"
    text = f"""
        SELECT project, session, CASE WHEN session = '' THEN fingerprint ELSE '' END AS alike, trial,
          sum({asked}), coalesce(sum(cost), 0), sum(saved),
          sum(CASE WHEN status >= 400 AND status <> {_CALLER_LEFT} THEN {asked} ELSE 0 END),
          sum(CASE WHEN cost IS NULL AND status < 400 THEN {asked} ELSE 0 END)
        FROM call WHERE request_id >= :low AND request_id < :high AND at >= :since AND at < :until
          AND trial <> ''{more} GROUP BY 1, 2, 3, 4"""  # noqa: S608 - constants; values are bound
    for project, session, alike, trial, count, cost, saved, errors, unpriced in connection.execute(
        sa.text(text), {**_bounds(span.since, span.until), **values}
    ):
        more_of_it = Cluster(requests=int(count), cost=int(cost), saved=int(saved), errors=int(errors))
        stratum.add(trial, (project, session or f"\x00{alike}"), more_of_it)
        stratum.unpriced[trial == "held"] += int(unpriced)


def _hits(connection: sa.Connection, span: Span, filters: Filter, stratum: Stratum, excluded: dict[str, int]) -> None:
    more, values = _conditions("hit", filters)
    bounds = _bounds(span.since, span.until)
    absent = connection.execute(
        sa.text("SELECT 1 FROM holdout_absence WHERE until > :since AND since < :until LIMIT 1"), bounds
    ).first()
    rests = "0"
    if absent is not None:
        rests = """CASE WHEN EXISTS (SELECT 1 FROM holdout_absence a WHERE a.what IN (hit.key_id, hit.request_id)
          AND hit.at >= a.since AND hit.at < a.until) THEN 1 ELSE 0 END"""
    text = f"""
        SELECT call.project, call.intent, hit.session, CASE WHEN hit.session = '' THEN call.fingerprint ELSE '' END,
          {rests}, count(*), sum(hit.saved)
        FROM hit JOIN call ON call.request_id = hit.origin
        WHERE hit.request_id >= :low AND hit.request_id < :high AND hit.at >= :since AND hit.at < :until
          AND call.wire IN {_CHAT}{more} GROUP BY 1, 2, 3, 4, 5"""  # noqa: S608 - as above
    for project, intent, session, alike, resting, count, saved in connection.execute(
        sa.text(text), {**bounds, **values}
    ):
        if intent and ((project, intent) in span.refusing or ("", intent) in span.refusing):
            _add(excluded, "the intent takes no part", int(count))
        elif resting:
            _add(excluded, "near a limit, or the cache only was asked", int(count))
        else:
            stratum.add("treated", (project, session or f"\x00{alike}"), Cluster(requests=int(count), saved=int(saved)))


def _excluded(connection: sa.Connection, window: Window, filters: Filter, excluded: dict[str, int]) -> None:
    """Calls of the data plane that are on neither side, by reason."""
    more, values = _conditions("call", filters)
    text = f"""
        SELECT cache, reason, count(*) FROM call WHERE request_id >= :low AND request_id < :high AND at >= :since
          AND at < :until AND trial = '' AND key_id <> '' AND wire IN {_CHAT}{more} GROUP BY 1, 2"""  # noqa: S608 - as above
    for cache, reason, count in connection.execute(sa.text(text), {**_bounds(window.since, window.until), **values}):
        if cache == "bypass":
            _add(excluded, f"the cache took no part: {reason or 'unknown'}", int(count))
        else:
            _add(excluded, "the intent forbids it, the key was near a limit, or nothing was held out", int(count))


def _add(counts: dict[str, int], name: str, count: int) -> None:
    counts[name] = counts.get(name, 0) + count


def _told(
    window: Window, share: float, strata: Sequence[Stratum], excluded: dict[str, int], confidence: float
) -> HoldOut:
    costs: list[tuple[float, Interval]] = []
    errors: list[tuple[float, Interval]] = []
    left_out = 0
    for one in strata:
        held, treated = _ratio(one.held, "cost"), one.ratio("cost")
        saving = estimate.difference(held, treated, one.ratio("untreated"), confidence)
        failed = _ratio(one.held, "errors"), one.ratio("errors")
        fewer = estimate.difference(*failed, failed[1], confidence)
        if saving is None or fewer is None or not math.isfinite(saving.high):
            left_out += treated.requests
            continue
        costs.append((float(treated.requests), saving))
        errors.append((float(treated.requests), fewer))
    whole = sum(weight for weight, _ in costs)
    saving = estimate.total(costs, confidence)
    reduction = estimate.total([(weight / whole, one) for weight, one in errors], confidence) if whole else None
    counted = [one for one in strata if _counts(one)]
    accounted = sum(one.everything.saved for one in counted)
    if left_out:
        excluded["too few sessions were held out while that share held"] = left_out
    low, ratio, high = _ratios(accounted, saving)
    return HoldOut(
        window=window,
        share=share,
        held=_held(strata),
        treated=_treated(strata),
        saving=saving,
        error_reduction=reduction,
        accounted=accounted,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        excluded=dict(sorted(excluded.items())),
        confidence=confidence,
        why="" if saving is not None else _why(strata),
    )


def _counts(one: Stratum) -> bool:
    return min(len(one.held), len(one.treated)) >= estimate.LEAST


def _why(strata: Sequence[Stratum]) -> str:
    if not strata:
        return "Nothing was held out in this time ([savings] holdout_share)."
    held = sum(len(one.held) for one in strata)
    return f"{held} sessions were held out; below {estimate.LEAST} nothing is claimed."


def _ratio(side: dict[tuple[str, str], Cluster], what: str) -> estimate.Ratio:
    return estimate.ratio((one.requests, _value(one, what)) for one in side.values())


def _ratios(accounted: int, saving: Interval | None) -> tuple[float | None, float | None, float | None]:
    """accounted / saving with its ends; none where 0 is not excluded, as then anything is possible."""
    if saving is None or saving.low <= 0 <= saving.high:
        middle = accounted / saving.mean if saving is not None and saving.mean else None
        return None, middle, None
    ends = sorted((accounted / saving.low, accounted / saving.high))
    return ends[0], accounted / saving.mean, ends[1]


def _treated(strata: Sequence[Stratum]) -> Side:
    whole = Cluster()
    for one in strata:
        _sum(whole, one.everything)
    one_in = max((one.one_in for one in strata), default=1)
    sessions = len({name for one in strata for name in one.treated}) * one_in
    return _side(sessions, whole, sum(one.unpriced[0] for one in strata))


def _held(strata: Sequence[Stratum]) -> Side:
    whole = Cluster()
    for one in strata:
        for cluster in one.held.values():
            _sum(whole, cluster)
    sessions = len({name for one in strata for name in one.held})
    return _side(sessions, whole, sum(one.unpriced[1] for one in strata))


def _side(sessions: int, whole: Cluster, unpriced: int) -> Side:
    n = whole.requests
    return Side(
        sessions=sessions,
        requests=n,
        mean_cost=whole.cost / n if n else None,
        error_rate=whole.errors / n if n else None,
        unpriced=unpriced,
    )
