"""The rooms that see, decide and act, built and started as one: families, triage, KPIs, savings, detectors, cases.

``app`` hands over what they lean on (:class:`Parts`). They stand before the gateway does, which asks some of them in a
request's path; what works in the background starts when everything stands.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

from ostinato import (
    access,
    acting,
    breakers,
    cache,
    calls,
    cases,
    datasets,
    embeddings,
    evals,
    explaining,
    families,
    intents,
    kpis,
    monitoring,
    notifying,
    optimization,
    outbound,
    prompts,
    releases,
    retention,
    reviews,
    routing,
    savings,
    scorers,
    signals,
    storage,
    traces,
    triaging,
    updating,
    viewing,
)
from ostinato.audit import Keeper, Log
from ostinato.cache.policy import Policies
from ostinato.cases.figures import Figures
from ostinato.cases.model import Alarm
from ostinato.config import Config
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.intents.model import Kpi as Wanted
from ostinato.monitoring import forgetting as of_vectors
from ostinato.optimization.forgetting import rewrite_runs
from ostinato.releases.rights import standing_rights
from ostinato.savings.roi import Workflow
from ostinato.storage import Current, Database
from ostinato.triage import Decision

Later = Callable[[str, Callable[[], Awaitable[None]]], None]
"""``later(name, undo)``: what is to be undone when the process stops, in reverse order."""


class Loop(Protocol):
    """What detectors ask with, of the loop that improves prompts."""

    embedder: embeddings.Embedder | None
    calls: calls.Calls
    scorers: scorers.Registry


class Parts(Protocol):
    """What they lean on: a part of ``app``, by its shape."""

    config: Config
    clock: Clock
    control: Database
    ledger_database: Database
    work: Database
    notices: storage.Notices
    audit: Log
    keeper: Keeper
    client: outbound.Client
    metrics: traces.Metrics
    recorder: traces.Recorder
    reviews: reviews.Reviews
    embedded: bool
    secret: bytes
    access: access.Access
    cache: cache.ResponseCache
    datasets: datasets.Datasets
    prompts: prompts.Prompts
    ledger: traces.Ledger
    explainer: explaining.Explainer
    router: routing.Router
    signals: signals.Signals
    watcher: releases.Watcher
    releases: releases.Releases
    optimizations: optimization.Optimizations
    experiments: evals.Experiments
    calls: calls.Calls
    declarations: storage.Declarations
    intent_changes: intents.Changes
    standing: Any

    @property
    def improving(self) -> Loop: ...

    @property
    def catalog(self) -> Current[routing.Catalog]: ...

    @property
    def prices(self) -> Current[traces.PriceBook]: ...

    @property
    def intents(self) -> Current[intents.Intents]: ...

    @property
    def policies(self) -> Current[Policies]: ...


class Governing:
    """Built once by ``app``; what it holds is used as ``app.governing.NAME``."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.notifying = self._notifying()
        parts.config.savings.check()
        self.lottery = savings.Lottery(parts.config.savings, parts.secret)
        self.budgets = savings.Budgets()
        self.keeping = self._keeping()
        parts.recorder.draws = self.lottery
        self.savings = self._savings()
        self.outcomes = kpis.Outcomes(parts.signals, parts.ledger, parts.clock)
        self.kpis = self._kpis()
        self.figures = Figures(parts.ledger.stats, acting.quality(parts.signals))
        self.families = self._families()
        self.breakers = self._breakers()
        self.trials = self._trials()
        self.cases = self._cases()
        self.notifying.on_disabled = self._deaf
        self.alerts = cases.Alerts(parts.control, parts.clock, parts.audit, self.figures, parts.config.cases)
        self.case_watcher = self._case_watcher()
        self.monitoring = self._monitoring()
        parts.watcher.doubts = self.monitoring.judge_failing
        self.triaging = triaging.Triaging(parts, self.families, self.cases)
        self.triaging.triage.on_decision = self._decided
        self.kpis.bind("drift_index", kpis.drifting.drift(self.monitoring.index, self._projects, self.cases.handled))

        self.retention = self._retention()
        self.updating = self._updating()
        self.update_watcher = updating.Watcher(self.updating)
        views = viewing.Views(
            self.cases, self.alerts, self.kpis, self.savings, lambda: self.breakers.snapshot.value, parts.clock
        )
        views.show(parts.metrics)
        self.notifying.watch(views.look)

    async def start(self, later: Later) -> None:
        """Before the first request: what the gateway asks is loaded."""
        self._parts.standing.candidates = self.updating.candidates
        await self._parts.standing.follow("models")
        await self.notifying.start()
        later("notifying", self.notifying.stop)
        await self._parts.keeper.resume(notifying.TEST, self.notifying.effects.carry_out_test)
        await self._parts.keeper.resume(notifying.RESEND, self.notifying.effects.carry_out_resend)
        await self.keeping.start()
        later("the hold-out", self.keeping.stop)
        self._parts.prompts.snapshot.on_swap(lambda _: self.keeping.hear())
        self._parts.recorder.watch(self.families)
        self.families.follow(self._parts.notices)
        embedder = self._parts.improving.embedder
        if embedder is not None and self._parts.config.embeddings.kind in ("auto", "packaged"):
            self.families.compare_by(embedder)  # on this machine: questions are sent nowhere
        self.families.start()
        later("families", self._stop_families)
        await self.monitoring.start()
        later("detectors", self.monitoring.stop)
        await self._parts.keeper.resume(cases.EFFECT, self.cases.carry_out)
        await self.breakers.start()
        later("breakers", self.breakers.stop)
        self._parts.router.hold(self.breakers.snapshot.value.targets)
        self.breakers.snapshot.on_swap(lambda trips: self._parts.router.hold(trips.targets))

    async def go_on(self, later: Later) -> None:
        """When everything stands: background work begins."""
        self.update_watcher.start()
        later("changes of models", self.update_watcher.stop)
        await self.retention.start()
        later("retention", self.retention.stop)
        self.trials.start()
        later("trials of tripped intents", self.trials.stop)
        self.case_watcher.start()
        later("cases", self.case_watcher.stop)
        self.monitoring.go_on()
        self.triaging.start()
        later("triage", self.triaging.stop)

    def _kpis(self) -> kpis.Kpis:
        parts = self._parts
        room = kpis.Kpis(parts.ledger, parts.signals, parts.clock, parts.config.kpis, targets=self._targets)
        kpis.told.bind(
            room,
            releases=parts.releases,
            ways=lambda found: acting.ways(parts.releases, parts.optimizations, self.cases, found),
            answered=acting.answered(parts.ledger, parts.clock, parts.config.traces.keep_10s_hours),
            rows=parts.ledger,
            explainer=parts.explainer,
            scorers=parts.improving.scorers,
            projects=self._projects,
            newest=parts.audit.newest,
            now=parts.clock.now,
        )
        room_of = self.savings
        told = room_of.accounted, room_of.holdout, room_of.qualities, room_of.payback, room_of.operating
        kpis.told.bind_savings(room, *told)
        room.reviewing = kpis.told.reviewing(room_of.reviewed)
        self.savings.figures = self._workflow
        return room

    async def _workflow(self, filters: traces.Filter, window: traces.Window) -> dict[str, Workflow]:
        """How interactions ended, beside what they cost."""
        page = await self.kpis.figures(kpis.told.scope_of(filters), window, names=kpis.told.WORKFLOW)
        found = {one.name: Workflow(one.value, one.unit, one.n) for one in page.figures}
        for one in page.figures:
            if one.name == "first_pass_success" and one.n:
                found["rework"] = Workflow(one.detail["reworked"] / one.n, one.unit, one.n)
        return found

    async def _projects(self, org: str) -> Sequence[tuple[str, str]]:
        found = await self._parts.access.list_projects(access.SystemActor("kpis"), org)
        return [(one.id, one.key) for one in found]

    def _targets(self, project: str, intent: str) -> Sequence[Wanted]:
        found = self._parts.intents.value.of(project, intent)
        return () if found is None else found.declared.kpi_targets

    def _notifying(self) -> notifying.Notifying:
        parts = self._parts
        room = notifying.Notifying(
            parts.control,
            parts.work,
            parts.clock,
            parts.notices,
            parts.audit,
            parts.client,
            parts.config.notifying,
            secret=parts.secret,
            alone=parts.embedded,
        )
        room.watch(self._tell_overdue_reviews)
        notifying.show(room, parts.metrics)
        return room

    async def _tell_overdue_reviews(self) -> None:
        """One message for each item of a review queue whose time is over."""
        for one in await self._parts.reviews.list(access.SystemActor("notifying"), overdue=True, limit=500):
            data = {"queue": one.queue, "due_at": one.due_at}
            self.notifying.tell(one.org, one.project, "reviews:overdue", f"review:{one.id}", data, key=one.id)

    def _retention(self) -> retention.Retention:
        parts = self._parts
        room = retention.build(
            parts.config.retention,
            parts.clock,
            control=parts.control,
            traces_database=parts.ledger_database,
            work=parts.work,
            log=parts.audit,
            secret=parts.secret,
            intents=parts.intents,
            accounts=parts.access,
            recorder=parts.recorder,
            heard=parts.signals,
            examples=parts.datasets,
            responses=lambda: parts.cache,
        )
        room.quoting.rewriting.append(partial(rewrite_runs, parts.control, parts.work))
        room.tell = self.notifying.tell
        room.cover(self._vectors(), self._texts_in_memory())
        return room

    def _vectors(self) -> retention.Bound:
        """Questions that detectors keep as vectors."""
        read, run = self._parts.ledger_database.read, self._parts.ledger_database.run
        return retention.Bound(
            "vectors",
            ("traces.detector_vector",),
            lambda one: read(lambda c: of_vectors.count(c, one.project, one.digest, one.requests)),
            lambda one: run(lambda c: of_vectors.erase(c, one.project, one.digest, one.requests, one.held)),
            lambda one: read(lambda c: of_vectors.count(c, one.project, "", one.held)),
        )

    def _texts_in_memory(self) -> retention.Bound:
        """What families keep of questions, to ask them again: in memory alone."""

        async def nothing(_: retention.Subject) -> int:
            return 0

        async def forget(one: retention.Subject) -> None:
            await self.families.forget_everywhere(one.project, one.digest)

        return retention.Bound("families", ("traces.family",), nothing, forget)

    def _updating(self) -> updating.Updating:
        parts = self._parts
        registry, catch_up = parts.prompts, parts.recorder.catch_up
        room = updating.Updating(
            parts.control,
            parts.ledger_database,
            parts.clock,
            parts.notices,
            parts.audit,
            planner=updating.Planner(registry, parts.experiments, self._runs, parts.datasets),
            observing=updating.Observing(parts.ledger_database, parts.signals.query, parts.ledger.askers, catch_up),
            experiments=parts.experiments,
            declarations=parts.declarations,
            standing=parts.standing,
            catalog=parts.catalog,
            intents=parts.intents,
            prices=parts.prices,
            rights=standing_rights,
            settings=parts.config.updates,
        )
        room.tell = self._tell
        return room

    async def _runs(self, project: str, after: str, limit: int) -> list[tuple[str, updating.Yardstick]]:
        """By what optimization runs have judged prompts."""
        system = access.SystemActor("updates")
        runs = await self._parts.optimizations.list(system, project=project, after=after, limit=limit)
        return [(one.prompt, updating.Yardstick(one.dataset, one.wish.scorers, one.resource)) for one in runs]

    def _savings(self) -> savings.Savings:
        parts = self._parts
        return savings.Savings(
            control=parts.control,
            traces=parts.ledger_database,
            work=parts.work,
            clock=parts.clock,
            ledger=parts.ledger,
            prices=parts.prices,
            intents=parts.intents,
            costs=savings.Costs(parts.control, parts.clock, parts.audit),
            embedding=lambda project: parts.catalog.value.aliases(project, "embedding"),
            catch_up=parts.recorder.catch_up,
            settings=parts.config.savings,
            operating_cost=parts.config.kpis.operating_cost,
        )

    def _keeping(self) -> savings.Keeping:
        parts = self._parts
        return savings.Keeping(
            control=parts.control,
            traces=parts.ledger_database,
            clock=parts.clock,
            settings=parts.config.savings,
            lottery=self.lottery,
            limits=self.budgets,
            intents=parts.intents,
            state=parts.access.budgets.state,
        )

    def _decided(self, decision: Decision) -> None:
        """What triage proposes, and what became of it."""
        data = {"choice": decision.choice, "number": decision.number, "state": decision.state}
        subject = f"family:{decision.project}/{decision.family}"
        key = f"{decision.id}-{decision.state}"
        self.notifying.tell(decision.org, decision.project, f"triage:{decision.state}", subject, data, key=key)

    def _families(self) -> families.Families:
        parts = self._parts
        room = families.Families(parts.ledger_database, parts.clock, parts.config.families)
        parts.metrics.counter(
            "families_dropped", "Batches and answers that families passed over.", lambda: room.dropped
        )
        return room

    async def _stop_families(self) -> None:
        """What the ledger has still to write is seen before the end."""
        await asyncio.to_thread(self._parts.recorder.flush)
        await self.families.stop()

    def _breakers(self) -> breakers.Breakers:
        parts = self._parts
        return breakers.Breakers(
            parts.control,
            parts.clock,
            parts.notices,
            parts.audit,
            safety_of=acting.safety_of(parts.intents),
            settings=parts.config.breakers,
            target_exists=lambda name: any(one.name == name for one in parts.catalog.value.targets()),
        )

    def _trials(self) -> breakers.Watcher:
        parts = self._parts
        return breakers.Watcher(
            self.breakers,
            places=acting.places(parts.intents, parts.access),
            figure=acting.budget_figure(self.figures),
            scores=acting.scores(parts.signals),
            over=self.budgets.over,
        )

    def _monitoring(self) -> monitoring.Monitoring:
        parts = self._parts
        room = monitoring.Monitoring(
            parts.control,
            parts.ledger_database,
            parts.clock,
            parts.notices,
            parts.audit,
            intents=parts.intents,
            settings=parts.config.monitoring,
            raise_alarm=self._alarm,
            embedder=parts.improving.embedder,
        )
        room.bind(parts.improving.calls, parts.improving.scorers, parts.datasets)
        monitoring.show(room, parts.metrics)
        return room

    async def _alarm(self, alarm: Alarm) -> None:
        """What a detector has found."""
        data = {"kind": alarm.kind, "intent": alarm.intent, "release": alarm.release, "samples": alarm.samples}
        subject = f"detector:{alarm.detector}"
        await self.notifying.tell(alarm.org, alarm.project, "monitoring:alarm", subject, data, key=alarm.id)
        await self.cases.on_alarm(alarm)
        target = alarm.evidence.get("part", "")
        if alarm.kind == "model" and alarm.project and isinstance(target, str) and "/" in target:
            facts = {name: one for name, one in alarm.evidence.items() if isinstance(one, str | int | float)}
            await self.updating.suspect(target, facts, project=alarm.project)

    async def _deaf(self, one: notifying.Endpoint) -> None:
        """A receiver of messages was disabled: somebody must look, as nobody is told any more."""
        await self.cases.on_alarm(
            Alarm(
                id=ids.new(self._parts.clock.now()),
                at=self._parts.clock.now(),
                org=one.org,
                project=one.project,
                kind="other",
                detector=f"webhook:{one.id}",
                title=f"The endpoint {one.name} of messages was disabled: {one.why}.",
                evidence={"endpoint": one.id, "kind": one.kind},
            )
        )

    async def _tell(self, org: str, project: str, event: str, subject: str, data: object, key: str) -> None:
        """Have a message written down."""
        await self.notifying.tell(org, project, event, subject, data, key=key)

    def _cases(self) -> cases.Cases:
        parts = self._parts
        room = cases.Cases(
            parts.control,
            parts.clock,
            parts.audit,
            about=acting.about(parts.intents),
            settings=parts.config.cases,
            tell=self._tell,
            serves=acting.serves(parts.prompts.snapshot, parts.releases),
        )
        self._actions = acting.Effects(
            responses=lambda: parts.cache,
            breakers=self.breakers,
            releases=parts.releases,
            registry=parts.improving.scorers,
            optimizations=parts.optimizations,
            tell=self._tell,
        )
        self._actions.bind(room)
        return room

    def _case_watcher(self) -> cases.Watcher:
        parts = self._parts
        watcher = cases.Watcher(self.cases, self.alerts)
        watches = acting.Watches(
            parts.clock,
            glasses=parts.access.glasses,
            log=parts.audit,
            keeper=parts.keeper,
            room=parts.reviews,
            on_alarm=self.cases.on_alarm,
            trips=lambda: self.breakers.snapshot.value.all,
        )
        watcher.watch("broken glass", watches.glass)
        watcher.watch("the audit log", watches.audit)
        watcher.watch("releases", watches.rolled_back, lasting=False)
        watcher.watch("reviews", watches.overdue_reviews)
        watcher.watch("breakers", watches.breakers)
        watcher.watch("raised sampling", self._actions.lower_sampling, lasting=False)
        self.breakers.told.append(watches.tripped)
        return watcher
