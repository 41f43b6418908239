"""The room's one object with a life for those who ask: :class:`Savings`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

import msgspec
import sqlalchemy as sa

from ostinato.access import Caller
from ostinato.access import tables as of_access
from ostinato.core.clock import Clock
from ostinato.intents import Intents
from ostinato.savings import accounting, costs, holdout, reconcile, releasing, roi, summed
from ostinato.savings.costs import Costs
from ostinato.savings.model import Account, HoldOut, Line, Quality, Reconciliation
from ostinato.savings.releasing import Effect
from ostinato.savings.roi import BudgetReport, Payback, Report, Workflow
from ostinato.savings.settings import Settings
from ostinato.storage import Current, Database
from ostinato.traces import Filter, Ledger, PriceBook, Stats, Window
from ostinato.traces.cubes import TRAFFIC

_DAY = 86_400_000_000

Figures = Callable[[Filter, Window], Awaitable[Mapping[str, Workflow]]]
"""``figures(filters, window)``: what the KPIs know of how interactions ended, by name."""

Embedding = Callable[[str], Sequence[str]]
"""``embedding(project)``: aliases that stand for embedding models."""


class Savings:
    """What was saved, by account and by experiment. Permissions and reach are the caller's matter, but for costs."""

    def __init__(
        self,
        *,
        control: Database,
        traces: Database,
        work: Database,
        clock: Clock,
        ledger: Ledger,
        prices: Current[PriceBook],
        intents: Current[Intents],
        costs: Costs,
        embedding: Embedding,
        catch_up: Callable[[], object],
        settings: Settings,
        operating_cost: float | None = None,
    ) -> None:
        """``catch_up``: writes what the recorder still holds; blocking. ``operating_cost``: dollars a month that the
        installation costs beside what is declared; ``None``: nobody has said."""
        self._control = control
        self._traces = traces
        self._work = work
        self._clock = clock
        self._ledger = ledger
        self._prices = prices
        self._intents = intents
        self._embedding = embedding
        self._catch_up = catch_up
        self._settings = settings
        self._operating_cost = operating_cost
        self.costs = costs
        self.figures: Figures | None = None
        """Set by whoever builds the KPIs."""

    async def holdout(self, window: Window, filters: Filter, confidence: float = 0.95) -> HoldOut:
        """What the cache saves by experiment, from sums: however many rows there are."""
        share = await self._traces.read(lambda connection: holdout.last_share(connection, window.until))
        return await holdout.read(self._ledger, window, filters, share, confidence)

    async def accounted(self, window: Window, filters: Filter) -> Account:
        """What the ledger accounts for, line by line."""
        stats = (await self._ledger.traffic(window, filters))[""]
        return await self._account(window, filters, stats, await self.effects(window, filters))

    async def _account(self, window: Window, filters: Filter, stats: Stats, effects: Sequence[Effect]) -> Account:
        return accounting.account(window, stats, await self._lines(window, filters, stats, effects))

    async def effects(self, window: Window, filters: Filter) -> list[Effect]:
        """What each release of the window does against the one before."""
        await asyncio.to_thread(self._catch_up)
        found = await self._control.read(lambda connection: releasing.changes(connection, window, filters))
        margin, prices = self._settings.margin, self._prices.value
        sides = [await summed.told(self._ledger, prices, one, margin) for one in found]
        return await self._traces.read(
            lambda connection: [
                releasing.effect(connection, one, margin, prices, told) for one, told in zip(found, sides, strict=True)
            ]
        )

    async def qualities(self, window: Window, filters: Filter) -> list[Quality | None]:
        """What is known of the quality of each release of the window beside the one before."""
        return [one.quality for one in await self.effects(window, filters)]

    async def payback(self, window: Window, filters: Filter) -> Payback:
        """When optimization has paid for itself."""
        return roi.payback(await self.accounted(window, filters))

    async def operating(self, window: Window, filters: Filter) -> dict[str, int]:
        """What running it costs for this time as far as somebody has said, nano-dollars by kind; empty: nobody has."""
        seconds, declared = await self._governed(window, filters)
        lines = accounting.declared(declared, window, filters)
        if seconds:
            lines.append(accounting.people(seconds, declared, self._settings.review_rate, window, filters))
        return {one.name: -one.nano for one in lines if one.nano is not None}

    async def reviewed(
        self, window: Window, filters: Filter, seconds: int = 0
    ) -> list[tuple[int, str, str, float, int | None]]:
        """(Bucket, intent, prompt, seconds, nano-dollars) of people's time on reviews, in buckets of ``seconds`` (0: in
        one); ``None``: nobody has said what an hour costs."""

        def work(connection: sa.Connection) -> list[tuple[int, str, str, float, int | None]]:
            # Rates are an organization's: of all of them together, each counts at its own.
            orgs = [filters.org] if filters.org else accounting.reviewing_organizations(connection, window)
            made: list[tuple[int, str, str, float, int | None]] = []
            for org in orgs:
                own = msgspec.structs.replace(filters, org=org)
                declared = costs.of_org(connection, org)
                rate = accounting.review_rate(declared, self._settings.review_rate, window, own)
                found = accounting.reviewed(connection, window, own, seconds * 1_000_000)
                made += [(*one, round(one[3] / 3_600 * rate) if rate or not one[3] else None) for one in found]
            return made

        return await self._control.read(work)

    async def reconcile(self, actor: Caller, ref: str, project: str = "") -> Reconciliation:
        """The ledger beside an invoice that was handed in; ``project``: id of the only one that the actor reaches."""
        invoice, lines = await self.costs.invoice(actor, ref)
        await asyncio.to_thread(self._catch_up)
        prices = self._prices.value
        books = await self._traces.read(
            lambda connection: reconcile.read(
                connection, prices, actor.org, project, invoice.provider, invoice.since, invoice.until
            )
        )
        return reconcile.compare(invoice, lines, books)

    async def roi(self, window: Window, filters: Filter) -> Report:
        """With and without caching, at each level of optimization, model metrics beside those of the workflow."""
        stats = (await self._ledger.traffic(window, filters))[""]
        effects = await self.effects(window, filters)
        account = await self._account(window, filters, stats, effects)
        estimate = await self.holdout(window, filters)
        workflow: Mapping[str, Workflow] = {}
        if self.figures is not None:
            workflow = await self.figures(filters, window)
        return roi.report(account, stats, effects, estimate, workflow)

    async def budgets(self, window: Window, filters: Filter) -> list[BudgetReport]:
        """What the budgets of intents touched in a window, and what they cost and buy."""
        limited = [one for one in self._intents.value.all if roi.has_budget(one.declared.budgets)]
        if filters.intent:
            limited = [one for one in limited if one.key == filters.intent]
        if not limited:
            return []
        # Intents of all organizations are in one snapshot: only those of the asker's own projects may be told of.
        projects = {filters.project} if filters.project else await self._control.read(partial(_projects, filters.org))
        own = [
            (one, sorted(projects & {one.project} if one.project else projects))
            for one in limited
            if not one.project or one.project in projects
        ]
        keys, of_all = [one.key for one, _ in own], sorted({project for _, of in own for project in of})
        equal = {"org": filters.org, "purpose": "", **({"project": filters.project} if filters.project else {})}
        if filters.intent:
            equal["intent"] = filters.intent
        _, cells = await self._ledger.cells(TRAFFIC, window, equal, ("intent", "project"))
        touched = await self._traces.read(lambda connection: roi.touches(connection, keys, window, of_all))
        return [roi.budget(one, of, cells, touched, filters.project) for one, of in own if of]

    async def _lines(self, window: Window, filters: Filter, stats: Stats, effects: Sequence[Effect]) -> list[Line]:
        embedded = await self._embedded(window, filters)
        made = [
            Line(
                name="exact cache",
                nano=stats.saved - (embedded.nano or 0),
                count=stats.hits - (embedded.count or 0),
                detail="what the calls behind the hits would cost now",
            ),
            Line(name="semantic cache", nano=0, state="off", detail="there is none yet"),
            embedded,
        ]
        made.append(await self._prefix_cache(window, filters))
        made += releasing.lines(effects)
        return [*made, *await self._overheads(window, filters)]

    async def _prefix_cache(self, window: Window, filters: Filter) -> Line:
        prices = self._prices.value
        everybody = (await self._ledger.traffic(window)).values()  # whose rows lie between
        if sum(one.misses + one.bypasses for one in everybody) <= summed.FEW:
            return await self._traces.read(lambda c: accounting.prefix_cache(c, prices, window, filters))
        return Line(
            name="provider prefix cache",
            nano=await summed.discount(self._ledger, prices, window, filters),
            detail="tokens read at the cache's price instead of as input, less what writing them cost extra; at the "
            "rates of each target, as these are too many calls to price one by one",
        )

    async def _embedded(self, window: Window, filters: Filter) -> Line:
        aliases = self._embedding(filters.project)
        wanted = [alias for alias in aliases if not filters.alias or alias == filters.alias]
        found = [await self._ledger.stats(window, msgspec.structs.replace(filters, alias=alias)) for alias in wanted]
        return Line(
            name="embedding cache",
            nano=sum(one.saved for one in found),
            state="counted" if wanted else "off",
            count=sum(one.hits for one in found),
            detail="vectors that were not asked for again" if wanted else "no alias stands for an embedding model",
        )

    async def _governed(self, window: Window, filters: Filter) -> tuple[float, list[costs.Cost]]:
        """Seconds that people spent on reviews, and declared costs."""

        def work(connection: sa.Connection) -> tuple[float, list[costs.Cost]]:
            return accounting.reviewing(connection, window, filters), costs.of_org(connection, filters.org)

        return await self._control.read(work)

    async def _overheads(self, window: Window, filters: Filter) -> list[Line]:
        narrow = filters.intent or filters.prompt or filters.release
        if narrow:
            loops = accounting.loops_of(
                await self._ledger.traffic(window, msgspec.structs.replace(filters, release="", arm=""))
            )
        else:
            loops = await self._work.read(lambda c: accounting.loops(c, window, filters))
        seconds, declared = await self._governed(window, filters)
        wrong = await self._traces.read(lambda c: accounting.wrong_hits(c, window, filters))
        monthly = None if narrow else self._operating_cost
        return [
            *loops,
            accounting.people(seconds, declared, self._settings.review_rate, window, filters),
            accounting.wrong(wrong, declared, window, filters),
            *([] if narrow else accounting.declared(declared, window, filters)),
            *([] if monthly is None else [accounting.configured(monthly, window, filters)]),
        ]


def _projects(org: str, connection: sa.Connection) -> set[str]:
    """The projects of an organization."""
    table = of_access.project
    return set(connection.scalars(sa.select(table.c.id).where(table.c.org_id == org)))
