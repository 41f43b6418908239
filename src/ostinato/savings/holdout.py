"""What the hold-out has shown: read from the ledger's rows, one population on both sides.

Calls carry their side in ``trial``. Hits do not: whoever was held never hits, so every hit is a treated one, unless it
took no part at all: while nothing was held out, of an intent that forbids it, of a key that rested, of a request that
asked for the cache only. Those times and names are in this room's tables.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.savings import estimate, tables
from ostinato.savings.estimate import Cluster
from ostinato.savings.model import HoldOut, Side
from ostinato.statistics import Interval
from ostinato.traces import Filter, Window

_CHAT = "('openai.chat', 'openai.responses', 'anthropic.messages')"
_CALLER_LEFT = 499
_MILLI = 1_000


class Span(msgspec.Struct, frozen=True):
    """A time in which one rule held."""

    since: int
    until: int
    share: float
    refusing: frozenset[tuple[str, str]]
    """(Project, intent); an empty project: everybody's."""


class Stratum(msgspec.Struct):
    """Sessions while one share held."""

    held: dict[tuple[str, str], Cluster] = {}
    treated: dict[tuple[str, str], Cluster] = {}
    unpriced: list[int] = msgspec.field(default_factory=lambda: [0, 0])


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
    strata: list[Stratum] = []
    excluded: dict[str, int] = {}
    found = spans(connection, window)
    share: float | None = None
    for span in found:
        if not span.share:
            continue
        if share != span.share or not strata:
            strata.append(Stratum())
            share = span.share
        _calls(connection, span, filters, strata[-1])
        _hits(connection, span, filters, strata[-1], excluded)
    _excluded(connection, window, filters, excluded)
    return _told(window, found[-1].share if found else 0.0, strata, excluded, confidence)


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
    text = f"""
        SELECT project, session, CASE WHEN session = '' THEN fingerprint ELSE '' END AS alike, trial, count(*),
          coalesce(sum(cost), 0), sum(CASE WHEN status >= 400 AND status <> {_CALLER_LEFT} THEN 1 ELSE 0 END),
          sum(CASE WHEN cost IS NULL AND status < 400 THEN 1 ELSE 0 END)
        FROM call WHERE request_id >= :low AND request_id < :high AND at >= :since AND at < :until
          AND trial <> ''{more} GROUP BY 1, 2, 3, 4"""  # noqa: S608 - constants; values are bound
    for project, session, alike, trial, count, cost, errors, unpriced in connection.execute(
        sa.text(text), {**_bounds(span.since, span.until), **values}
    ):
        is_held = trial == "held"
        side = stratum.held if is_held else stratum.treated
        cluster = side.setdefault((project, session or f"\x00{alike}"), Cluster())
        cluster.requests += int(count)
        cluster.cost += int(cost)
        cluster.errors += int(errors)
        stratum.unpriced[is_held] += int(unpriced)


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
            cluster = stratum.treated.setdefault((project, session or f"\x00{alike}"), Cluster())
            cluster.requests += int(count)
            cluster.saved += int(saved)


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
        held, treated = _ratio(one.held, "cost"), _ratio(one.treated, "cost")
        untreated = estimate.ratio((c.requests, c.cost + c.saved) for c in one.treated.values())
        saving = estimate.difference(held, treated, untreated, confidence)
        failed = _ratio(one.held, "errors"), _ratio(one.treated, "errors")
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
    accounted = sum(cluster.saved for one in counted for cluster in one.treated.values())
    if left_out:
        excluded["too few sessions were held out while that share held"] = left_out
    low, ratio, high = _ratios(accounted, saving)
    return HoldOut(
        window=window,
        share=share,
        held=_side([one.held for one in strata], sum(one.unpriced[1] for one in strata)),
        treated=_side([one.treated for one in strata], sum(one.unpriced[0] for one in strata)),
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
    return estimate.ratio((one.requests, getattr(one, what)) for one in side.values())


def _ratios(accounted: int, saving: Interval | None) -> tuple[float | None, float | None, float | None]:
    """accounted / saving with its ends; none where 0 is not excluded, as then anything is possible."""
    if saving is None or saving.low <= 0 <= saving.high:
        middle = accounted / saving.mean if saving is not None and saving.mean else None
        return None, middle, None
    ends = sorted((accounted / saving.low, accounted / saving.high))
    return ends[0], accounted / saving.mean, ends[1]


def _clusters(sides: Sequence[dict[tuple[str, str], Cluster]]) -> Iterator[Cluster]:
    for side in sides:
        yield from side.values()


def _side(sides: Sequence[dict[tuple[str, str], Cluster]], unpriced: int) -> Side:
    requests = sum(one.requests for one in _clusters(sides))
    return Side(
        sessions=len({name for side in sides for name in side}),
        requests=requests,
        mean_cost=sum(one.cost for one in _clusters(sides)) / requests if requests else None,
        error_rate=sum(one.errors for one in _clusters(sides)) / requests if requests else None,
        unpriced=unpriced,
    )
