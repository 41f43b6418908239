"""The account: every source of savings a line, every overhead a line, negative ones shown. Sums are exact; what is not
known is missing, never zero."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
import sqlalchemy as sa

from ostinato.calls import tables as journal
from ostinato.core import money
from ostinato.reviews import tables as reviews
from ostinato.savings import costs, reconcile
from ostinato.savings.model import Account, Cost, Line
from ostinato.signals import tables as signals
from ostinato.traces import Filter, PriceBook, Stats, Window
from ostinato.traces import tables as ledger
from ostinato.wire.model import Usage

PURPOSES: Final = {
    "probe": "optimizer",
    "search": "optimizer",
    "reflection": "optimizer",
    "polish": "optimizer",
    "gate": "optimizer",
    "experiment": "evaluation",
    "judge": "judge",
    "retrieval": "retrieval",
}
OVERHEADS: Final = ("optimizer", "evaluation", "judge", "retrieval")
_WRONG = 0.5
"""Below this a signal says that an answer was wrong."""


def prefix_cache(connection: sa.Connection, prices: PriceBook, window: Window, filters: Filter) -> Line:
    """What the provider's prefix cache saved: what the same tokens would have cost as plain input, less what they did.

    Writing costs extra where providers charge for it, so the line can be below 0. Calls of our own are not among them:
    their overhead is what they really cost. Blocking; reads those calls.
    """
    saved, count, unknown = discount(connection, prices, *_within(window, filters), ledger.call.c.key_id != "")
    detail = "tokens read at the cache's price instead of as input, less what writing them cost extra"
    if unknown:
        detail += f"; {unknown} calls have no price any more"
    return Line(name="provider prefix cache", nano=saved, count=count, detail=detail)


def discount(connection: sa.Connection, prices: PriceBook, *where: sa.ColumnElement[bool]) -> tuple[int, int, int]:
    """What the provider's prefix cache took off some calls, over how many; and how many have no price any more."""
    call = ledger.call
    query = sa.select(
        call.c.at,
        call.c.provider,
        call.c.model,
        call.c.input,
        call.c.cache_read,
        call.c.cache_write,
        call.c.output,
        call.c.reasoning,
        call.c.usage_raw,
    ).where(*where, call.c.cost.is_not(None), call.c.cache_read + call.c.cache_write > 0)
    saved = count = unknown = 0
    for row in connection.execution_options(yield_per=2_000).execute(query):
        usage = reconcile.usage_of(row)
        raw = {name: value for name, value in (usage.raw or {}).items() if name == "service_tier"}
        plain = Usage(
            usage.input + usage.cache_read + usage.cache_write, 0, 0, usage.output, usage.reasoning, raw or None
        )
        with_it = prices.price(row.provider, row.model, usage, row.at)
        without = prices.price(row.provider, row.model, plain, row.at)
        if with_it is None or without is None:
            unknown += 1
            continue
        count += 1
        saved += without - with_it
    return saved, count, unknown


def loops(connection: sa.Connection, window: Window, filters: Filter) -> list[Line]:
    """What our own calls to models cost, by purpose. From the journal (``work``)."""
    table = journal.paid_call
    query = (
        sa.select(
            table.c.purpose,
            sa.func.count(),
            sa.func.coalesce(sa.func.sum(table.c.cost), 0),
            sa.func.sum(sa.case((table.c.cost.is_(None), 1), else_=0)),
        )
        .where(table.c.org == filters.org, table.c.at >= window.since, table.c.at < window.until)
        .group_by(table.c.purpose)
    )
    if filters.project:
        query = query.where(table.c.project == filters.project)
    return _by_purpose((row[0], int(row[1]), int(row[2]), int(row[3])) for row in connection.execute(query))


def loops_of(own: Mapping[str, Stats]) -> list[Line]:
    """The same for an intent or a prompt: from the ledger's sums by purpose, which know both."""
    lines = _by_purpose((purpose, one.requests, one.cost, 0) for purpose, one in own.items() if purpose)
    if all(one.pricing_coverage in (None, 1.0) for purpose, one in own.items() if purpose):
        return lines
    note = "calls of our own; some of their tokens have no price"
    return [msgspec.structs.replace(one, detail=note) if one.count else one for one in lines]


def _by_purpose(rows: Iterable[tuple[str, int, int, int]]) -> list[Line]:
    sums = {name: [0, 0, 0] for name in OVERHEADS}
    for purpose, count, cost, unpriced in rows:
        into = sums.setdefault(PURPOSES.get(purpose, purpose), [0, 0, 0])
        for index, value in enumerate((count, cost, unpriced)):
            into[index] += value
    return [
        Line(
            name=name,
            nano=-cost,
            kind="overhead",
            count=count,
            detail=f"calls of our own; {unpriced} of them have no price" if unpriced else "calls of our own",
        )
        for name, (count, cost, unpriced) in sums.items()
    ]


def reviewing(connection: sa.Connection, window: Window, filters: Filter) -> float:
    """Seconds that people spent on reviews. From ``control``."""
    verdict, item = reviews.verdict, reviews.item
    query = (
        sa.select(sa.func.coalesce(sa.func.sum(verdict.c.seconds), 0.0))
        .join(item, item.c.id == verdict.c.item_id)
        .where(item.c.org == filters.org, verdict.c.at >= window.since, verdict.c.at < window.until)
    )
    for name in ("project", "intent", "prompt"):
        if getattr(filters, name):
            query = query.where(item.c[name] == getattr(filters, name))
    return float(connection.execute(query).scalar() or 0.0)


def reviewing_organizations(connection: sa.Connection, window: Window) -> list[str]:
    """Organizations whose people reviewed anything in a window."""
    verdict, item = reviews.verdict, reviews.item
    joined = verdict.join(item, item.c.id == verdict.c.item_id)
    query = sa.select(item.c.org).distinct().select_from(joined)
    return list(connection.scalars(query.where(verdict.c.at >= window.since, verdict.c.at < window.until)))


def reviewed(
    connection: sa.Connection, window: Window, filters: Filter, width: int
) -> list[tuple[int, str, str, float]]:
    """(Bucket, intent, prompt, seconds) that people spent on reviews; buckets of ``width`` microseconds, or 0."""
    verdict, item = reviews.verdict, reviews.item
    bucket = verdict.c.at - verdict.c.at % width if width else sa.literal(0)
    inner = (
        sa.select(bucket.label("bucket"), item.c.intent, item.c.prompt, verdict.c.seconds)
        .join(item, item.c.id == verdict.c.item_id)
        .where(item.c.org == filters.org, verdict.c.at >= window.since, verdict.c.at < window.until)
    )
    for name in ("project", "intent", "prompt"):
        if getattr(filters, name):
            inner = inner.where(item.c[name] == getattr(filters, name))
    rows = inner.subquery()
    query = sa.select(rows.c.bucket, rows.c.intent, rows.c.prompt, sa.func.sum(rows.c.seconds))
    grouped = query.group_by(rows.c.bucket, rows.c.intent, rows.c.prompt)
    return [(int(row[0]), str(row[1]), str(row[2]), float(row[3])) for row in connection.execute(grouped)]


def wrong_hits(connection: sa.Connection, window: Window, filters: Filter) -> float:
    """Hits that reviewers or scorers found wrong, each counted for as many as its sample stands for."""
    table = signals.signal
    one = (
        sa.select(sa.func.max(table.c.weight).label("weight"))
        .where(
            table.c.org == filters.org,
            table.c.at >= window.since,
            table.c.at < window.until,
            table.c.origin != "",
            table.c.source.in_(("review", "scorer")),
            table.c.value < _WRONG,
        )
        .group_by(table.c.request_id)
    )
    for name in ("project", "intent", "prompt", "release", "arm"):
        if getattr(filters, name):
            one = one.where(table.c[name] == getattr(filters, name))
    return float(
        connection.execute(sa.select(sa.func.coalesce(sa.func.sum(one.subquery().c.weight), 0.0))).scalar() or 0
    )


def declared(found: Sequence[Cost], window: Window, filters: Filter) -> list[Line]:
    """Costs per month, as much as falls into the window."""
    made: list[Line] = []
    for kind in ("infrastructure", "tooling", "other"):
        mine = [
            one for one in found if one.kind == kind and (not filters.project or one.project in ("", filters.project))
        ]
        nano = sum(costs.per_month(one, window.since, window.until) for one in mine)
        made.append(
            Line(
                name=kind,
                nano=-nano if mine else None,
                state="counted" if mine else "missing",
                kind="overhead",
                count=len(mine),
                detail=_as_declared(mine, filters) if mine else "none is declared: ostinato savings costs set",
            )
        )
    return [one for one in made if one.name != "other" or one.count]


def configured(monthly: float, window: Window, filters: Filter) -> Line:
    """``[kpis] operating_cost``: what the whole installation costs, for the window's part of the month.

    ``monthly``: dollars. No part of it can be called a project's; of an organization's account it is a part in full,
    so that no net saving is told too high.
    """
    nano = round(monthly * money.NANO * (window.until - window.since) / costs.MONTH)
    told = "[kpis] operating_cost, by the share of the month"
    if filters.project:
        detail = (
            f"${money.to_dollars(nano)} of the whole installation ({told}): nothing says how much is this project's"
        )
        return Line(name="operating cost", nano=None, state="missing", kind="overhead", detail=detail)
    return Line(name="operating cost", nano=-nano, kind="overhead", detail=f"{told}; the whole installation's, in full")


def _as_declared(found: Sequence[Cost], filters: Filter) -> str:
    shared = sum(not one.project for one in found) if filters.project else 0
    told = "as declared, by the share of the month"
    return f"{told}; {shared} of them the whole organization's, in full" if shared else told


def people(seconds: float, found: Sequence[Cost], settled: float, window: Window, filters: Filter) -> Line:
    """Time of reviewers at their declared rate; ``settled``: dollars an hour where none is declared."""
    rate = review_rate(found, settled, window, filters)
    minutes = round(seconds / 60)
    if seconds and not rate:
        detail = "nobody has said what an hour of a reviewer costs: ostinato savings costs set NAME --kind reviewer"
        return Line(name="reviews", nano=None, state="missing", kind="overhead", count=minutes, detail=detail)
    detail = f"{minutes} minutes at ${money.to_dollars(rate)} an hour"
    return Line(name="reviews", nano=-round(seconds / 3600 * rate), kind="overhead", count=minutes, detail=detail)


def review_rate(found: Sequence[Cost], settled: float, window: Window, filters: Filter) -> int:
    """Nano-dollars an hour of a reviewer; 0: nobody has said."""
    rates = [one for one in found if one.kind == "reviewer" and _holds(one, window, filters)]
    return max((one.nano for one in rates), default=round(settled * money.NANO))


def wrong(count: float, found: Sequence[Cost], window: Window, filters: Filter) -> Line:
    """What wrong hits cost, as far as somebody has said."""
    each = [one for one in found if one.kind == "wrong-hit" and _holds(one, window, filters)]
    if count and not each:
        detail = (
            "nobody has said what a wrong answer from cache costs: ostinato savings costs set NAME --kind wrong-hit"
        )
        return Line(name="wrong hits", nano=None, state="missing", kind="overhead", count=round(count), detail=detail)
    nano = max((one.nano for one in each), default=0)
    detail = "hits that reviewers or scorers found wrong, weighed by how readily they are looked at"
    return Line(name="wrong hits", nano=-round(count * nano), kind="overhead", count=round(count), detail=detail)


def _holds(cost: Cost, window: Window, filters: Filter) -> bool:
    """Whether a rate holds at some time of the window."""
    if filters.project and cost.project not in ("", filters.project):
        return False
    return cost.since < window.until and (cost.until is None or cost.until > window.since)


def account(window: Window, stats: Stats, lines: Sequence[Line]) -> Account:
    """All of it, added up."""
    counting = [one for one in lines if one.nano is not None and one.state != "off"]
    gross = sum(one.nano or 0 for one in counting if one.kind == "saving")
    overheads = sum(one.nano or 0 for one in counting if one.kind == "overhead")
    return Account(
        window=window,
        lines=tuple(lines),
        net=gross + overheads,
        gross=gross,
        overheads=overheads,
        cost=stats.cost,
        counterfactual=stats.counterfactual,
        pricing_coverage=stats.pricing_coverage,
    )


def _within(window: Window, filters: Filter) -> list[sa.ColumnElement[bool]]:
    call = ledger.call
    names = ("org", "project", "alias", "target", "intent", "prompt", "key_id", "release", "arm")
    return [
        call.c.request_id >= f"{max(0, window.since) // 1000:012x}",
        call.c.request_id < f"{-(-max(0, window.until) // 1000):012x}",
        *(call.c[name] == getattr(filters, name) for name in names if getattr(filters, name)),
    ]
