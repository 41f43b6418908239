"""The one file that knows every room: builds them from a ``Config``, starts them in order, stops them in reverse.

Nothing that a request needs is built on first use. A part whose server is optional (the shared cache, a provider's
network) does not keep the process from starting; a database that cannot be opened, or a configuration that cannot be
obeyed, does, with the reason.
"""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from ostinato import (
    access,
    approvals,
    audit,
    cache,
    datasets,
    explaining,
    governing,
    improving,
    intents,
    opening,
    outbound,
    prompts,
    providers,
    releases,
    reviews,
    routing,
    signals,
    storage,
    traces,
)
from ostinato.access import manage
from ostinato.cache.flights import Sharing
from ostinato.config import Config
from ostinato.core import ids
from ostinato.core.clock import Clock, SystemClock
from ostinato.gateway import Epoch, Gateway, Renderer, Rooms
from ostinato.gateway.asking import Item, Outcome
from ostinato.gateway.feedback import Feedback
from ostinato.providers import Provider
from ostinato.releases.rights import standing_rights
from ostinato.standing import TOPICS, Standing
from ostinato.storage import Database, DataDirectory, Declarations, Notices, RecordStore
from ostinato.web.api.cache import INVALIDATION
from ostinato.web.api.desk import Desk
from ostinato.web.server import Health

_log = logging.getLogger("ostinato")

_GRACE = 2.0
"""Seconds that calls nobody waits for (renewals in the background) may take when all connections are closed."""


class App:
    """One server process."""

    def __init__(self, config: Config, clock: Clock | None = None) -> None:
        self.config = config
        self.clock = clock or SystemClock()
        self.embedded = not config.storage.url
        self.directory = DataDirectory(config.storage.directory, self.clock)
        self.ready = False
        self.draining = False
        self._ending: asyncio.Task[None] | None = None
        self._undo: list[tuple[str, Callable[[], Awaitable[None]]]] = []

    async def start(self) -> None:
        """Build and start everything. Raises the reason if that cannot be; what had been started is stopped again."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        # What has been built stays until the end: the collector need not look at it again (12-36 ms each time).
        gc.collect()
        gc.freeze()
        # A request makes and drops some hundred small objects: looking at them less often saves a miss 7 us.
        gc.set_threshold(50_000, 20, 100)
        self.ready = True

    async def drain(self) -> None:
        """Say that no new work should be sent here; end in good order what would outlast the drain."""
        self.draining = True
        self.ready = False
        self.following.end()
        self._ending = asyncio.create_task(self._end_late_streams())

    async def _end_late_streams(self) -> None:
        """Shortly before the server cuts connections: whoever still waits for a model is told why it ends."""
        await self.clock.sleep(max(0.0, self.config.server.drain_seconds - 1.0))
        await self.gateway.flights.stop()

    async def stop(self) -> None:
        """Stop everything in reverse order. A part that fails to stop does not keep the others from stopping."""
        self.ready = False
        if self._ending is not None:
            self._ending.cancel()
        while self._undo:
            name, undo = self._undo.pop()
            try:
                await undo()
            except Exception:
                _log.exception("Stopping %s failed", name)

    async def _start(self) -> None:
        config, clock = self.config, self.clock
        if self.embedded:
            self.directory.acquire()
            self._later("the data directory", opening.plain(self.directory.release))
        else:
            self.directory.prepare()
        self.control = await self._database("control", self.directory.control)
        self.ledger_database = await self._database("traces", self.directory.traces)
        self.work = await self._database("work", self.directory.work)
        with opening.about("storage.valkey"):
            self.notices = Notices(
                None if self.embedded else self.control,
                config.storage.valkey,
                poll_seconds=config.storage.notice_poll_seconds,
            )
            await self.notices.start()
        self._later("notices", self.notices.close)
        self.declarations = Declarations(self.control, clock, self.notices, topics=TOPICS)
        self.secret = await opening.installation_secret(self.directory if self.embedded else None, self.declarations)
        self.audit = audit.Log(self.control, clock, self.notices, config.audit, secret=self.secret)
        self.declarations.on_change = audit.follow(self.audit)
        self.epoch = Epoch()
        await self._start_providers()
        await self._start_keeper()
        self.access = access.Access(self.control, self.notices, clock, config.access, self.audit)
        await self._start_standing()
        await self.access.start()
        self._later("access", self.access.stop)
        self.access.snapshot.on_swap(lambda _: self.epoch.advance())
        await self._start_prompts()
        await self._start_cache()
        await self.keeper.resume(INVALIDATION, self._withdraw)
        await self._start_ledger()
        self._start_releases()
        self.router = routing.Router(self.providers, clock, config.routing)
        self.catalog.on_swap(lambda catalog: self.router.keep(catalog.targets()))
        await self._start_improving()
        self.governing = governing.Governing(self)
        self.governing.breakers.snapshot.on_swap(lambda _: self.epoch.advance())
        self.governing.keeping.on_share = self.epoch.advance
        await self.governing.start(self._later)
        await self._start_gateway()
        self.desk = Desk(self.control, clock, self.audit, secret=self.secret)
        self.desk.start()
        self._later("the control plane's desk", self.desk.stop)
        await self.improving.go_on(self._later)
        await self.governing.go_on(self._later)

    async def _database(self, name: str, path: Path) -> Database:
        where = path if self.embedded else self.config.storage.url
        with opening.about("storage.url"):
            database = await asyncio.to_thread(opening.open_migrated, name, where)
        self._later(f"database {name}", lambda: asyncio.to_thread(database.close))
        return database

    async def _start_keeper(self) -> None:
        # Stopped after whatever may still add a leaf, so that the last checkpoint covers it.
        self.keeper = audit.Keeper(self.audit, self.client, self.directory if self.embedded else None)
        self._later("the audit log", self.keeper.stop)
        await self.keeper.start()

    async def _withdraw(self, payload: Any) -> dict[str, str | int]:
        """Carry out an invalidation that was written down as intended, and not as done."""
        report = await self.cache.invalidate(msgspec.convert(payload, cache.Selector), dry_run=False)
        return {"total": report.total}

    async def _start_providers(self) -> None:
        self.client = outbound.Client(self.config.outbound, self.clock)
        await self.client.start()
        self._later("the outbound client", self.client.close)
        self.providers: dict[str, Provider] = {}
        for name, settings in self.config.providers.items():
            with opening.about(f"providers.{name}"):
                provider = providers.build(name, settings, self.client, self.clock)
            self.providers[name] = provider
            self._later(f"provider {name}", provider.close)
        await asyncio.gather(*(provider.start() for provider in self.providers.values()))

    async def _start_standing(self) -> None:
        self.standing = Standing(
            self.config,
            self.clock,
            declarations=self.declarations,
            accounts=self.access,
            notices=self.notices,
            epoch=self.epoch,
        )
        self._later("the declarations", self.standing.close)
        await self.standing.start()
        self.catalog = self.standing.catalog
        self.policies = self.standing.policies
        self.checkers = self.standing.checkers
        self.intents = self.standing.intents
        self.prices = self.standing.prices

    @property
    def provider_kinds(self) -> dict[str, str]:
        """Configured providers: name -> kind."""
        return {name: settings.kind for name, settings in self.config.providers.items()}

    def _start_releases(self) -> None:
        self.approvals = approvals.Approvals(self.control)
        self.releases = releases.Releases(
            self.control,
            self.clock,
            self.notices,
            self.audit,
            requirements_of=self.requirements_of,
            samples=self.ledger.samples,
            reload=self.prompts.snapshot.reload,
            settings=self.config.releases,
            observing=releases.Observing(self.ledger.arms, self.ledger.askers, self.signals.query),
        )
        self.watcher = releases.Watcher(self.releases)
        self.watcher.start()
        self._later("automatic rollouts", self.watcher.stop)
        self.intent_changes = intents.Changes(
            self.control, self.clock, self.notices, self.audit, self._may_approve_intent
        )
        self.explainer = explaining.Explainer(self.ledger, self.audit, self.intents, self.prompts, self.releases)

    def requirements_of(self, project: str, intent: str) -> intents.Requirements:
        """What an intent asks of releases, as it stands when it is asked."""
        return self.intents.value.requirements(project, intent)

    def _may_approve_intent(
        self, connection: storage.Connection, principal: str, org: str, on: access.Resource
    ) -> bool:
        """Whether a principal may approve a change of an intent, as the database has it now."""
        may = standing_rights(connection, self.clock.now())
        if on.project:
            return may(principal, "releases:approve", on, org)
        # Everybody's: decided by those who may act everywhere, whichever organization they are of.
        system = access.SystemActor("approvals")
        return any(
            may(principal, "releases:approve", on, one.id) and may(principal, "organizations:write", on, one.id)
            for one in manage.list_organizations(connection, system)
        )

    async def _start_prompts(self) -> None:
        self.prompts = prompts.Prompts(
            self.control,
            self.clock,
            self.notices,
            self.audit,
            intent_exists=lambda project, key: self.intents.value.of(project, key) is not None,
            alias_exists=lambda project, alias: alias in self.catalog.value.aliases(project, "chat"),
            intent_binds=lambda project, key: self.intents.value.binds(project, key),  # noqa: PLW0108 - swapped
        )
        self._later("prompts", self.prompts.stop)
        await self.prompts.start()
        self.following = prompts.Following(self.prompts.snapshot)
        self.prompts.snapshot.on_swap(lambda _: self.epoch.advance())

    async def _start_cache(self) -> None:
        settings = self.config.cache
        self.store = self._record_store()
        self.cache = cache.ResponseCache(settings, self.clock, self.store, secret=self.secret, notices=self.notices)
        await self.cache.start()
        self._later("the cache", self.cache.stop)

    def _record_store(self) -> RecordStore | None:
        settings = self.config.cache
        if settings.url == "off":
            return None
        if settings.url:
            from ostinato.storage.records_valkey import ValkeyRecordStore  # noqa: PLC0415 - only with the extra

            with opening.about("cache.url"):
                return ValkeyRecordStore(settings.url, clock=self.clock)
        if not self.embedded:
            return None
        return storage.SqliteRecordStore(self.directory.cache, max_bytes=settings.shared_bytes, clock=self.clock)

    async def _start_ledger(self) -> None:
        settings = self.config.traces
        self.metrics = traces.Metrics()
        watchers: list[traces.Watcher] = [self.metrics]
        exporter = traces.exporter(settings, self.clock)
        if exporter is not None:
            exporter.views = self.metrics.views
            exporter.start()
            self._later("the exporter", lambda: asyncio.to_thread(exporter.stop))
            watchers.append(exporter)
        self.recorder = traces.Recorder(
            self.ledger_database, self.clock, settings, directory=self.directory.path, watchers=watchers
        )
        self.recorder.start()
        self._later("the ledger", self._stop_recorder)
        self.ledger = traces.Ledger(self.ledger_database, self.clock, settings, catch_up=self.recorder.catch_up)
        window = settings.interaction_minutes * 60_000_000
        self.signals = signals.Signals(self.ledger_database, self.clock, self.config.signals, window=window)
        self.signals.start()
        self._later("signals", self.signals.close)
        self.datasets = datasets.Datasets(
            self.control, self.clock, self.audit, self.config.datasets, ledger=self.ledger, signals=self.signals
        )
        self.reviews = reviews.Reviews(self.control, self.clock, self.audit, self.config.reviews, secret=self.secret)
        reviews.follow(self.reviews, self.cache, self.signals)
        self.reviews.start()
        self._later("reviews", self.reviews.stop)

    async def _start_improving(self) -> None:
        self.improving = rooms = improving.Improving(self)
        self.calls, self.jobs, self.runner, self.scoring = rooms.calls, rooms.jobs, rooms.runner, rooms.scoring
        self.scorers, self.sampler = rooms.scorers, rooms.sampler
        self.experiments, self.optimizations = rooms.experiments, rooms.optimizations
        await rooms.start(self._later)

    async def _start_gateway(self) -> None:
        config = self.config
        flights: cache.Flights[Item, Outcome] = cache.Flights(
            self.clock, withdrawals=lambda: self.cache.withdrawals, most=config.cache.flights
        )
        if self.store is not None and self.store.shared and self.cache.shared is not None:
            flights.sharing = Sharing(
                self.store, ids.new(self.clock.now()), config.cache.lease, self.cache.shared.flush
            )
        self.gateway = Gateway(
            Rooms(
                access=self.access,
                cache=self.cache,
                router=self.router,
                recorder=self.recorder,
                denials=self.audit.denials,
                catalog=self.catalog,
                policies=self.policies,
                checkers=self.checkers,
                intents=self.intents,
                prompts=self.prompts.snapshot,
                prices=self.prices,
                renderer=Renderer(),
                epoch=self.epoch,
                clock=self.clock,
                settings=config.gateway,
                secret=self.secret,
                reviews=self.reviews,
                feedback=Feedback(self.signals, self.ledger, self.clock, self.governing.outcomes),
                sampler=self.sampler,
                lottery=self.governing.lottery,
                baselines=self.governing.keeping.before,
                budgets=self.governing.budgets,
                families=self.governing.families,
                trips=self.governing.breakers.snapshot,
                trials=self.governing.trials,
            ),
            flights,
        )
        self.gateway.start()
        self._watch()
        self._later("the gateway", lambda: self.gateway.stop(_GRACE))

    async def _stop_recorder(self) -> None:
        lost = await asyncio.to_thread(self.recorder.stop)
        if lost:
            _log.error("%d rows of the ledger could not be written before the end.", lost)

    def _watch(self) -> None:
        """Show other rooms' numbers beside the ledger's."""
        metrics = self.metrics
        metrics.gauge("cache_entries", "Entries in the in-process tier.", lambda: self.cache.stats()["memory_entries"])
        metrics.gauge("cache_bytes", "Bytes of the in-process tier.", lambda: self.cache.stats()["memory_bytes"])
        metrics.gauge("raw_index_bytes", "Bytes of the raw-body index.", lambda: self.cache.stats()["raw_bytes"])
        metrics.counter("cache_evicted", "Entries evicted for room.", lambda: self.cache.stats()["memory_evicted"])
        metrics.gauge("flights_open", "Upstream calls under way.", lambda: self.gateway.flights.open)
        metrics.counter("flights_joined", "Requests that joined another's call.", lambda: self.gateway.flights.joined)
        metrics.gauge("ledger_queue_rows", "Rows not yet written.", lambda: self.recorder.depth)
        metrics.counter("ledger_dropped_rows", "Rows shed because the queue was full.", lambda: self.recorder.dropped)
        metrics.gauge("ledger_lost_rows", "Rows that the last crash took.", lambda: self.recorder.lost_before)
        metrics.counter("signals", "Signals of quality taken.", lambda: self.signals.counts, label="source")
        metrics.counter("signals_dropped", "Signals that could not be taken.", lambda: self.signals.dropped)
        metrics.counter("samples_drawn", "Answers drawn to be scored.", lambda: self.sampler.drawn)
        metrics.counter("samples_dropped", "Drawn answers that no room was for.", lambda: self.sampler.dropped)
        metrics.gauge("breakglass_active", "Keys that have broken the glass.", lambda: len(self.access.glasses()))
        metrics.states(
            "target_state",
            "State of each target's breaker.",
            lambda: {state.target: state.breaker for state in self.router.states(self.catalog.value.targets())},
        )

    def health(self) -> Health:
        """What works and what does not: for ``/readyz``."""
        parts = {
            "keys": self.access.snapshot.failing or "ok",
            "routes": self.catalog.failing or "ok",
            "policies": self.policies.failing or "ok",
            "prices": self.prices.failing or "ok",
            "prompts": self.prompts.snapshot.failing or "ok",
            "rollouts": self.watcher.failing or "ok",
            "ledger": self.recorder.failing or "ok",
            "audit": self.keeper.failing or "ok",
            "signals": self.signals.failing or "ok",
            "reviews": self.reviews.failing or "ok",
            "jobs": self.jobs.failing or "ok",
            "cases": self.governing.case_watcher.failing or "ok",
            "breakers": self.governing.breakers.snapshot.failing or self.governing.trials.failing or "ok",
            "notifying": self.governing.notifying.failing or "ok",
        }
        if self.store is not None:
            parts["cache"] = "ok" if self.store.healthy else "the shared tier cannot be reached: answered from memory"
        broken = self.access.glasses()
        if broken:
            # For everybody who looks, and not a fault: the process can be sent work.
            parts["breakglass"] = "; ".join(one.sentence for one in broken)
        if self.draining:
            parts["server"] = "draining"
        return Health(ready=self.ready, parts=parts)

    def metrics_page(self) -> bytes:
        """All counters, as Prometheus reads them."""
        return self.metrics.render()

    def _later(self, name: str, undo: Callable[[], Awaitable[None]]) -> None:
        self._undo.append((name, undo))
