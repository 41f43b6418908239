"""Figures of a window and their course over time, from rollups alone: however many rows there are."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.intents.model import Kpi as Wanted
from ostinato.kpis import catalogue
from ostinato.kpis.cache import hits
from ostinato.kpis.measuring import none
from ostinato.kpis.model import CUTS, Facts, Figure, Kpi, Marker, Page, Point, Reading, Reviewed, Scope, Target, Verdict
from ostinato.kpis.settings import Settings
from ostinato.signals import Signals, summing
from ostinato.signals.summing import Sum
from ostinato.traces import Ledger, Window, interactions
from ostinato.traces.cubes import TRAFFIC
from ostinato.traces.rollup import FINEST, GRAINS, SECOND, Cell, add_cell
from ostinato.traces.tables import SUMS

Source: TypeAlias = Callable[[Scope, Window], Awaitable[Reading]]
"""A figure that another room tells."""
Reviewing: TypeAlias = Callable[[Scope, Window, int], Awaitable[Sequence[Reviewed]]]
"""``reviewing(scope, window, seconds)``: reviewers' time by intent, prompt and bucket (0 seconds: one)."""
Marking: TypeAlias = Callable[[Scope, Window], Awaitable[Sequence[Marker]]]
"""Where releases began and ended in a window, oldest first."""
Targets: TypeAlias = Callable[[str, str], Sequence[Wanted]]
"""Project and intent -> what that intent wants."""
Key: TypeAlias = tuple[str, ...]

_HIT_SUMS = ("hit_raw", "hit_memory", "hit_shared", "hit_joined", "hit_stale", "avoided", "saved")
_MOST_POINTS = 2_000
_REVIEWED = ("cost_per_success", "cost_per_interaction", "avoided_manual_work")
"""Figures that reviewers' time is part of."""
_SLOW = "it is worked out apart, and takes longer: ask for it by name"


class Kpis:
    """All figures. ``bind`` takes those that other rooms tell; the others come from sums."""

    def __init__(
        self,
        ledger: Ledger,
        signals: Signals,
        clock: Clock,
        settings: Settings | None = None,
        *,
        targets: Targets | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.settings.check()
        self._ledger = ledger
        self._signals = signals
        self._clock = clock
        self._targets = targets
        self._sources: dict[str, Source] = {}
        self.reviewing: Reviewing | None = None
        """Set by whoever knows what people spend on reviews."""
        self.marking: Marking | None = None
        """Set by whoever knows the releases."""

    def bind(self, name: str, source: Source) -> None:
        """Have another room tell the figure ``name``. Raises ``Invalid`` for one that is made from sums."""
        kpi = catalogue.CATALOGUE.get(name)
        if kpi is None or kpi.of is not None:
            raise Invalid(f"The figure {name!r} is not told by another room.", code="unknown_kpi")
        self._sources[name] = source

    async def figures(
        self,
        scope: Scope,
        window: Window,
        *,
        by: Sequence[str] = (),
        names: Sequence[str] = (),
        preset: str = "",
    ) -> Page:
        """Figures of a window, group by group where they are cut ``by`` some of ``CUTS``.

        Every figure comes with what it is paired with. Figures that cannot be cut so are told of the whole scope.
        Raises ``Invalid`` for unknown names, cuts and presets.
        """
        kpis = catalogue.chosen(names, preset)
        cuts = _cuts(by)
        covered, groups = await self._facts(scope, window, cuts)
        if not cuts and not groups:
            groups[()] = self._empty(scope, covered)  # missing figures are shown, too
        if any(one.name in _REVIEWED for one in kpis):
            await self._review(groups, scope, covered, cuts)
        fresh = await self._freshness(scope, window.until)
        left_out = max(0, len(groups) - self.settings.groups)
        largest = sorted(groups, key=lambda key: (-groups[key].traffic["requests"], key))[: self.settings.groups]
        whole = [one for one in kpis if not set(cuts) <= set(one.cuts)]
        found: list[Figure] = []
        everything = self._empty(scope, covered)

        def measure() -> None:
            if whole:
                for facts in groups.values():
                    _join(everything, facts)
            for key in largest:
                named = dict(zip(cuts, key, strict=True))
                found.extend(
                    self._figure(one, one.of(groups[key]), covered, fresh, named)
                    for one in kpis
                    if one.of is not None and one not in whole
                )

        await asyncio.to_thread(measure)
        for one in kpis:
            if one.of is None:
                told = none(_SLOW) if one.slow and not (names or preset) else await self._told(one, scope, covered)
                found.append(self._figure(one, told, covered, fresh, {}))
            elif one in whole:
                found.append(self._figure(one, one.of(everything), covered, fresh, {}))
        judged = [self._judged(one, scope) for one in found]
        return Page(figures=tuple(judged), left_out=left_out, unknown=self._unknown(scope, groups, cuts))

    async def markers(self, scope: Scope, window: Window) -> Sequence[Marker]:
        """Where releases began to answer and ceased to: what stands beside a figure's course."""
        return () if self.marking is None else await self.marking(scope, window)

    async def series(
        self, name: str, scope: Scope, window: Window, *, step: int = 3_600, by: Sequence[str] = ()
    ) -> tuple[Point, ...]:
        """A figure per bucket of ``step`` seconds (10, 60, 3600 or 86400), oldest first; empty buckets are left out.

        Raises ``Invalid`` for figures that are not made from sums, for other steps, and for more than 2,000 buckets.
        """
        kpi = catalogue.chosen([name])[0]
        if kpi.of is None:
            raise Invalid(f"{name!r} has no course: it is told of a whole window.", param="name")
        if step not in GRAINS:
            raise Invalid("Buckets have 10, 60, 3600 or 86400 seconds.", param="step")
        if (window.until - window.since) // (step * SECOND) > _MOST_POINTS:
            raise Invalid(f"These are more than {_MOST_POINTS:,} buckets.", param="step", hint="Ask for longer ones.")
        cuts = _cuts(by)
        covered, groups = await self._facts(scope, window, cuts, grain=step)
        if kpi.name in _REVIEWED:
            await self._review(groups, scope, covered, cuts, grain=step)
        found: list[Point] = []

        def measure() -> None:
            for (at, *key), facts in sorted(groups.items(), key=lambda item: item[0]):
                told = kpi.of(facts) if kpi.of is not None else none()
                named = dict(zip(cuts, key, strict=True))
                found.append(
                    Point(
                        at=int(at),
                        value=told.value,
                        n=told.n,
                        low=told.low,
                        high=told.high,
                        by=named,
                        missing=told.missing,
                    )
                )

        await asyncio.to_thread(measure)
        return tuple(found)

    # -- what was counted ----------------------------------------------------------------------------------------

    def _empty(self, scope: Scope, window: Window) -> Facts:
        settings = self.settings
        return Facts(
            scope=scope,
            window=window,
            own={},
            signals={},
            checked={},
            confidence=settings.confidence,
            hourly_rate=settings.hourly_rate,
        )

    async def _facts(
        self, scope: Scope, window: Window, cuts: Key, *, grain: int = 0
    ) -> tuple[Window, dict[Any, Facts]]:
        """What was counted, by the cuts (and, with ``grain``, by bucket first)."""
        await self._signals.catch_up()
        equal = _equal(scope)
        flat = tuple(one for one in cuts if one != "tier")
        tiered = "tier" in cuts
        untiered = {name: value for name, value in equal.items() if name != "tier"}
        told = (*cuts, "source", "name") if tiered else (*cuts, "source", "name", "tier")
        asked = (
            (TRAFFIC, untiered, (*flat, "purpose")),
            (interactions.LAYOUT, equal, cuts),
            (summing.LAYOUT, equal, told),
        )
        covered, found = await self._ledger.several(asked, window, grain=grain)
        traffic, tallies, sums = found
        groups: dict[Any, Facts] = {}

        def of(key: tuple[Any, ...]) -> Facts:
            if key not in groups:
                groups[key] = self._empty(scope, covered)
            return groups[key]

        for (*start, purpose), cell in traffic.items():
            tiers = ("hit", "miss") if tiered else (scope.tier,)
            for tier in tiers:
                key = _with_tier(start, cuts, tier, grain) if tiered else tuple(start)
                if purpose == "":
                    of(key).traffic.add(of_tier(cell, tier))
                elif tier != "hit":
                    add_cell(of(key).own, purpose, cell)
        for key, tally in tallies.items():
            of(key).interactions.add(tally)
        self._add_signals(of, sums, cuts, grain, tiered=tiered)
        return covered, groups

    async def _review(
        self, groups: Mapping[Any, Facts], scope: Scope, window: Window, cuts: Key, *, grain: int = 0
    ) -> None:
        """Add reviewers' time to what was counted, where it can be told apart so."""
        apart = {*cuts, *(name for name in CUTS if getattr(scope, name))} - {"intent", "prompt"}
        why = f"reviewers' time is not told apart by {min(apart)}" if apart else "nothing here tells reviewers' time"
        if apart or self.reviewing is None:
            for facts in groups.values():
                facts.review_missing = why
            return
        for facts in groups.values():
            facts.review = 0.0
        for one in await self.reviewing(scope, window, grain):
            key = tuple(one.intent if cut == "intent" else one.prompt for cut in cuts)
            facts = groups.get((one.bucket, *key) if grain else key)
            if facts is None or facts.review is None:
                continue
            facts.review = None if one.dollars is None else facts.review + one.dollars
            facts.review_missing = "" if one.dollars is not None else "nobody has said what an hour of a reviewer costs"

    def _add_signals(
        self, of: Callable[[tuple[Any, ...]], Facts], sums: Mapping[Any, Sum], cuts: Key, grain: int, *, tiered: bool
    ) -> None:
        place = (1 if grain else 0) + (cuts.index("tier") if tiered else 0)
        for key, found in sums.items():
            if tiered:
                *start, source, name = key
                tier = start[place]
            else:
                *start, source, name, tier = key
            facts = of(tuple(start))
            add_cell(facts.signals, (source, name), found)
            if tier == "hit":
                add_cell(facts.checked, (source, name), found)

    async def _freshness(self, scope: Scope, until: int) -> float | None:
        newest = await self._ledger.newest(TRAFFIC, _equal(scope, tier=False), until)
        return None if newest is None else max(0.0, (self._clock.now() - newest - FINEST) / SECOND)

    async def _told(self, kpi: Kpi, scope: Scope, window: Window) -> Reading:
        source = self._sources.get(kpi.name)
        if source is None:
            return none("nothing here tells it: the part of the platform that does is not in use")
        try:
            return await source(scope, window)
        except OstinatoError as error:
            return none(error.message)

    # -- how it is told ------------------------------------------------------------------------------------------

    def _figure(
        self, kpi: Kpi, told: Reading, window: Window, freshness: float | None, by: Mapping[str, str]
    ) -> Figure:
        return Figure(
            name=kpi.name,
            value=told.value,
            unit=kpi.unit,
            n=told.n,
            low=told.low,
            high=told.high,
            window=window,
            freshness=freshness,
            detail=told.detail,
            missing=told.missing,
            by=dict(by),
        )

    def _judged(self, figure: Figure, scope: Scope) -> Figure:
        intent = figure.by.get("intent", scope.intent)
        for one in self._wanted(scope.project, intent):
            if one.name == figure.name:
                told = Target(intent, one.target, one.direction, verdict(figure, one, self.settings.least))
                return msgspec.structs.replace(figure, target=told)
        return figure

    def _wanted(self, project: str, intent: str) -> Sequence[Wanted]:
        return self._targets(project, intent) if self._targets is not None and intent else ()

    def _unknown(self, scope: Scope, groups: Mapping[Any, Facts], cuts: Key) -> tuple[str, ...]:
        """Targets that no figure has the name of."""
        seen = {scope.intent}
        if "intent" in cuts:
            seen |= {key[cuts.index("intent")] for key in groups}
        named = {f"{intent}: {one.name}" for intent in seen for one in self._wanted(scope.project, intent)}
        return tuple(sorted(one for one in named if one.partition(": ")[2] not in catalogue.CATALOGUE))


def verdict(figure: Figure, wanted: Wanted, least: int) -> Verdict:
    """Whether a target is met: by the whole interval, where there is one. Between the two more data is needed."""
    if figure.value is None or figure.n < least:
        return "not enough data"
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    good, bad = (low, high) if wanted.direction == "at-least" else (-high, -low)
    goal = wanted.target if wanted.direction == "at-least" else -wanted.target
    if good >= goal:
        return "met"
    return "missed" if bad < goal else "not enough data"


def of_tier(cell: Cell, tier: str) -> Cell:
    """The part of traffic that was answered from cache (``hit``), or that was not; ``""``: all of it."""
    if not tier:
        return cell
    found = Cell()
    answered = hits(Facts(scope=Scope(org=""), window=Window(0, 0), traffic=cell))
    for number, name in enumerate(SUMS):
        of_hits = name in _HIT_SUMS
        found.sums[number] = cell.sums[number] if of_hits == (tier == "hit") else 0
    requests, counterfactual, priced = (SUMS.index(name) for name in ("requests", "counterfactual", "priced"))
    saved = cell["saved"]
    found.sums[requests] = answered if tier == "hit" else cell["requests"] - answered
    found.sums[counterfactual] = saved if tier == "hit" else cell["counterfactual"] - saved
    # Tokens are priced on both sides of the cache alike, as far as one can tell afterwards.
    every = cell["avoided"] + sum(cell[name] for name in ("input", "cache_read", "cache_write", "output", "reasoning"))
    of_hit = round(cell["priced"] * cell["avoided"] / every) if every else 0
    found.sums[priced] = of_hit if tier == "hit" else cell["priced"] - of_hit
    detail = cell.copy().detail
    if tier == "hit":
        found.detail.hit = detail.hit
    else:
        detail.hit = {}
        found.detail = detail
    return found


def _join(into: Facts, facts: Facts) -> None:
    """Add what was counted of one group to all of it; reviewers' time is no part of a figure of the whole."""
    into.traffic.add(facts.traffic)
    into.interactions.add(facts.interactions)
    for purpose, cell in facts.own.items():
        add_cell(into.own, purpose, cell)
    for mine, theirs in ((into.signals, facts.signals), (into.checked, facts.checked)):
        for key, one in theirs.items():
            add_cell(mine, key, one)


def _cuts(by: Sequence[str]) -> Key:
    for one in by:
        if one not in CUTS:
            raise Invalid(f"Figures are not told apart by {one[:40]!r}.", param="by", hint=", ".join(CUTS))
    return tuple(dict.fromkeys(by))


def _equal(scope: Scope, *, tier: bool = True) -> dict[str, str]:
    found = {name: value for name, value in msgspec.structs.asdict(scope).items() if value}
    if not tier:
        found.pop("tier", None)
    return found


def _with_tier(start: Sequence[Any], cuts: Key, tier: str, grain: int) -> tuple[Any, ...]:
    place = (1 if grain else 0) + cuts.index("tier")
    return (*start[:place], tier, *start[place:])
