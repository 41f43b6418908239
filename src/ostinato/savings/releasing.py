"""What a release saves against the one before: by shorter prompts, and by a cheaper target. Only while quality holds.

Compared are calls that reached a model: those of the release, and those of the release before. Where a canary's control
or the baseline hold-out answered at the same time, they are the comparison (drawn at random); otherwise what the old
release's calls cost in the thirty days before the new one began, and the line says so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato.releases import tables as release_tables
from ostinato.savings import accounting
from ostinato.savings.model import Line, Quality
from ostinato.signals import tables as signal_tables
from ostinato.signals.summing import Sum
from ostinato.traces import Filter, PriceBook, Window
from ostinato.traces import tables as ledger

LEAST = 30
"""Calls, and signals, on each side."""
BEFORE = 30 * 86_400_000_000
_MOST = 100
_SIGNALS = 5_000
_READ = 10_000
"""Rows of the ledger that are read at once, and calls of a release that are enough for a mean."""
_PAGES = 30
"""How often, at most: a release few of whose calls are in that many of the newest rows says so."""
_Z = 1.959964
_OUTCOMES = ("csat", "task_success")
"""Outcomes that are told of good and bad answers alike, and are the better the higher."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A release that was in force in the window, and the one before it."""

    id: str
    project: str
    prompt: str
    base: str
    base_number: int
    began: int
    """When the release began: before ``since``, where it is older than the window."""
    since: int
    until: int


class Calls(msgspec.Struct, frozen=True, kw_only=True):
    """Calls of one release, summed up."""

    n: int = 0
    input: float = 0.0
    """Tokens a call, those of the provider's cache among them."""
    output: float = 0.0
    cost: float = 0.0
    """Nano-dollars a call."""
    us: float = 0.0
    """Upstream microseconds a call."""
    discount: float = 0.0
    """Nano-dollars a call that the provider's prefix cache took off: a line of its own."""

    @property
    def plain(self) -> float:
        """What a call would cost without the provider's prefix cache."""
        return self.cost + self.discount


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """A release beside the one before."""

    change: Change
    new: Calls
    old: Calls
    randomized: bool
    quality: Quality | None
    shorter: int
    """Nano-dollars over the window's calls, below 0 where prompts grew."""
    cheaper: int

    @property
    def counts(self) -> bool:
        return self.quality is not None and self.quality.holds


class Sides(msgspec.Struct, frozen=True):
    """What sums tell of a release and the one before."""

    calls: tuple[Calls, Calls, bool] | None
    """Of the release, of the one before, and whether these were drawn at random; ``None``: rows must be read."""
    quality: Quality | None


def changes(connection: sa.Connection, window: Window, filters: Filter) -> list[Change]:
    """Releases in force at some time of the window that replaced another, newest first. From ``control``."""
    table = release_tables.release
    query = (
        sa.select(table)
        .where(
            table.c.org == filters.org,
            table.c.state.in_(("active", "superseded", "rolled_back")),
            table.c.base_number.is_not(None),
            table.c.started_at.is_not(None),
            table.c.started_at < window.until,
            sa.or_(table.c.ended_at.is_(None), table.c.ended_at > window.since, table.c.state == "active"),
        )
        .order_by(table.c.started_at.desc())
        .limit(_MOST)
    )
    for name in ("project", "prompt", "intent"):
        if getattr(filters, name):
            query = query.where(table.c[name] == getattr(filters, name))
    if filters.release:
        query = query.where(table.c.id == filters.release)
    return [
        Change(
            id=row.id,
            project=row.project,
            prompt=row.prompt,
            base=row.base_release,
            base_number=row.base_number,
            began=row.started_at,
            since=max(window.since, row.started_at),
            until=min(window.until, row.ended_at if row.ended_at and row.state != "active" else window.until),
        )
        for row in connection.execute(query)
    ]


def rows(connection: sa.Connection, change: Change, prices: PriceBook) -> tuple[Calls, Calls, bool]:
    """Calls of a release, those of the one before, and whether these were drawn at random; the newest. Blocking."""
    new = _calls(connection, prices, change, change.since, change.until, release=change.id)
    old = _calls(connection, prices, change, change.since, change.until, control=True)
    randomized = old.n >= LEAST
    if not randomized:
        old = _calls(connection, prices, change, change.began - BEFORE, change.began)
    return new, old, randomized


def effect(
    connection: sa.Connection,
    change: Change,
    margin: float,
    prices: PriceBook,
    told: Sides | None = None,
) -> Effect:
    """What one release does; ``told``: where sums tell. From ``traces``; blocking."""
    new, old, randomized = (told.calls if told else None) or rows(connection, change, prices)
    shorter = cheaper = 0
    if new.n >= LEAST and old.n >= LEAST:
        # Without the provider's prefix cache on either side: what that spares is a line of its own, and counted there.
        saved = (old.plain - new.plain) * new.n
        # What an input token costs is what the old calls' tokens did, all classes alike: a split, not another sum.
        tokens = old.input + old.output
        shorter = round((old.input - new.input) * (old.plain / tokens if tokens else 0.0) * new.n)
        cheaper = round(saved) - shorter
    quality = _quality(connection, change, margin) if told is None else told.quality
    return Effect(
        change=change, new=new, old=old, randomized=randomized, quality=quality, shorter=shorter, cheaper=cheaper
    )


def lines(found: Sequence[Effect]) -> list[Line]:
    """Two lines per release; what must not count says why."""
    made: list[Line] = []
    for one in found:
        how = (
            "against its control, drawn at random" if one.randomized else "against the calls before it; not randomized"
        )
        why = _withheld(one)
        # The two lines are a split of one sum: they count, or are withheld, together.
        withheld = bool(why) and one.shorter + one.cheaper >= 0
        for name, nano in (("shorter prompts", one.shorter), ("cheaper target or answer", one.cheaper)):
            made.append(
                Line(
                    name=name,
                    nano=0 if withheld else nano,
                    state="withheld" if withheld else "counted",
                    count=one.new.n,
                    detail=why or how,
                    project=one.change.project,
                    prompt=one.change.prompt,
                    release=one.change.id,
                )
            )
    return made


def _withheld(one: Effect) -> str:
    if min(one.new.n, one.old.n) < LEAST:
        return f"{one.new.n} calls of it and {one.old.n} before it; {LEAST} of each are needed."
    quality = one.quality
    if quality is None:
        return "No signal of quality tells both releases apart: a saving counts only while quality is shown to hold."
    if not quality.holds:
        return (
            f"Quality is not shown to hold: {quality.mean:+.3f} ({quality.low:+.3f} to {quality.high:+.3f}), "
            f"and the margin is {quality.margin:g}."
        )
    return ""


def _calls(
    connection: sa.Connection,
    prices: PriceBook,
    change: Change,
    since: int,
    until: int,
    *,
    release: str = "",
    control: bool = False,
) -> Calls:
    call = ledger.call
    low, high = f"{max(0, since) // 1000:012x}", f"{until // 1000:012x}"
    where = [
        call.c.project == change.project,
        call.c.prompt == change.prompt,
        call.c.status < 400,
        call.c.key_id != "",
        call.c.cost.is_not(None),
    ]
    if release:
        where += [call.c.release == release, call.c.arm != "baseline"]
    else:
        where += [call.c.release == change.base, call.c.prompt_version == change.base_number]
        if control:
            where.append(call.c.arm.in_(("control", "baseline")))
    columns = (
        sa.func.count(),
        sa.func.sum(call.c.input + call.c.cache_read + call.c.cache_write),
        sa.func.sum(call.c.output + call.c.reasoning),
        sa.func.sum(call.c.cost),
        sa.func.sum(call.c.upstream_us),
        sa.func.sum(call.c.cache_read + call.c.cache_write),
    )
    sums, off = [0] * len(columns), 0
    # Of many calls the newest are enough for a mean: how many there were, sums tell where there are any. The ledger has
    # no index on prompts: its newest rows are read, by pages, until enough of them are this prompt's.
    for _ in range(_PAGES):
        within = sa.select(call.c.request_id).where(call.c.request_id >= low, call.c.request_id < high)
        last = connection.execute(within.order_by(call.c.request_id.desc()).limit(1).offset(_READ)).scalar()
        page = [call.c.request_id >= (last or low), call.c.request_id < high, *where]
        found = connection.execute(sa.select(*columns).where(*page)).one()
        sums = [had + int(more or 0) for had, more in zip(sums, found, strict=True)]
        off += accounting.discount(connection, prices, *page)[0] if found[-1] else 0
        if last is None or sums[0] >= _READ:
            break
        high = last
    n, read, made, cost, us, _ = sums
    if not n:
        return Calls()
    return Calls(n=n, input=read / n, output=made / n, cost=cost / n, us=us / n, discount=off / n)


def _quality(connection: sa.Connection, change: Change, margin: float) -> Quality | None:
    """What signals say of both releases, read one by one: where sums do not tell the one before apart."""
    sides: list[dict[tuple[str, str], Sum]] = []
    for release, since in ((change.id, change.since), (change.base, change.began - BEFORE)):
        found: dict[tuple[str, str], Sum] = {}
        known: set[tuple[str, ...]] = set()
        for row in connection.execute(_signals(change, release, since)):
            same = row.source, row.name, row.request_id, row.scorer, row.actor
            if same in known:
                continue  # said again by the same: the last word, which comes first here, counts
            known.add(same)
            value, w = float(row.value), float(row.weight) if row.weight and row.weight > 0 else 1.0
            moments = [w, w * value, w * value * value, w * w, w * w * value, w * w * value * value]
            found.setdefault((row.source, row.name), Sum()).add(Sum([1, 1, int(value < 0.5), *moments]))
        sides.append(found)
    return worst(sides[0], sides[1], margin)


def worst(new: Mapping[tuple[str, str], Sum], old: Mapping[tuple[str, str], Sum], margin: float) -> Quality | None:
    """The worst of the signals that are there for both releases, by source and name; ``None``: none is."""
    found: Quality | None = None
    for name in new.keys() & old.keys():
        ours, theirs = new[name], old[name]
        if min(ours["valued"], theirs["valued"]) < LEAST or (name[0] == "outcome" and name[1] not in _OUTCOMES):
            continue
        (mine, my_half), (other, other_half) = _mean(ours), _mean(theirs)
        half = (my_half**2 + other_half**2) ** 0.5
        told = Quality(
            n_new=ours["valued"],
            n_old=theirs["valued"],
            low=mine - other - half,
            high=mine - other + half,
            mean=ours["wv"] / ours["w"] - theirs["wv"] / theirs["w"],
            margin=margin,
        )
        if found is None or told.low < found.low:
            found = told
    return found


def _mean(one: Sum) -> tuple[float, float]:
    """Weighted mean and half of its interval (Hájek's, linearized: ``statistics.weighted_mean``), with one good and one
    bad answer added (Agresti and Caffo 2000): thirty of thirty are not known to be perfect."""
    n, each = one["valued"] + 2, one["w"] / one["valued"]
    w, wv = one["w"] + 2 * each, one["wv"] + each
    w2, w2v, w2vv = one["w2"] + 2 * each * each, one["w2v"] + each * each, one["w2vv"] + each * each
    mean = wv / w
    spread = max(0.0, w2vv - 2 * mean * w2v + mean * mean * w2) * n / (n - 1)
    return mean, _Z * spread**0.5 / w


def _signals(change: Change, release: str, since: int) -> "sa.Select[Any, Any, Any, Any, Any, Any, Any]":
    table = signal_tables.signal
    query = sa.select(
        table.c.source, table.c.name, table.c.value, table.c.weight, table.c.request_id, table.c.scorer, table.c.actor
    ).where(
        table.c.release == release,
        table.c.at >= since,
        table.c.at < change.until,
        table.c.project == change.project,
        table.c.prompt == change.prompt,
        table.c.value.is_not(None),
        table.c.value == table.c.value,
        # Other outcomes are told where they happen only, or are the worse the more there are.
        sa.or_(table.c.source != "outcome", table.c.name.in_(_OUTCOMES)),
    )
    if not release:
        query = query.where(table.c.prompt_version == change.base_number)
    return query.order_by(table.c.at.desc(), table.c.seq.desc()).limit(_SIGNALS)
