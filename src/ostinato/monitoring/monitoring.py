"""The room's one object with a life: :class:`Monitoring`."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato import audit, storage
from ostinato.access import Actor
from ostinato.calls import Calls
from ostinato.cases.model import Alarm
from ostinato.core.clock import Clock
from ostinato.datasets import Datasets
from ostinato.embeddings import Embedder
from ostinato.intents import Intents
from ostinato.monitoring import kinds, registry, store, tables
from ostinato.monitoring.asking import Nights
from ostinato.monitoring.budgets import MONTH, arls
from ostinato.monitoring.means import MeanState
from ostinato.monitoring.model import DAY, Declaration, Declared, State, Watched
from ostinato.monitoring.registry import Registry
from ostinato.monitoring.sampling import Vectors
from ostinato.monitoring.settings import Settings
from ostinato.monitoring.shapes import NewsState, PsiState
from ostinato.monitoring.silences import SilenceState
from ostinato.monitoring.store import Kept
from ostinato.monitoring.watching import RaiseAlarm, Watch, opened
from ostinato.scorers.registry import Registry as Scorers
from ostinato.storage import Current
from ostinato.traces import Metrics, semconv
from ostinato.wire.model import Json

_MOST = 20_000
"""Rows of states that are read at once: more than ``[monitoring] series`` keeps by default, with those of before."""


class Monitoring:
    """Detectors of all projects: what is declared, what they know, and the watch that feeds them."""

    def __init__(
        self,
        control: storage.Database,
        traces: storage.Database,
        clock: Clock,
        notices: storage.Notices,
        log: audit.Log,
        *,
        intents: Current[Intents],
        settings: Settings,
        raise_alarm: RaiseAlarm,
        embedder: Embedder | None = None,
    ) -> None:
        settings.check()
        self.settings = settings
        self.clock = clock
        self.registry = Registry(control, clock, notices, log, intents)
        self.watch = Watch(traces, self.registry, clock, settings, raise_alarm)
        self.vectors = Vectors(self.watch, embedder)
        self.watch.sampled = self.vectors.take
        self._traces = traces

    def bind(self, calls: Calls, scorers: Scorers, datasets: Datasets) -> None:
        """What the nightly detectors ask with."""
        self.nights = Nights(self.watch, calls, scorers, datasets, self.vectors)
        self.watch.nights = self.nights.look

    async def start(self) -> None:
        """Read what is declared, and follow changes."""
        await self.registry.snapshot.start()

    def go_on(self) -> None:
        """Begin to watch."""
        self.watch.start()

    async def stop(self) -> None:
        """End."""
        await self.watch.stop()
        await self.registry.snapshot.close()

    # -- for people ------------------------------------------------------------------------------------------------

    async def list(
        self, actor: Actor, *, project: str | None = None, intent: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Declared]:
        """The detectors of a project by name: what watches requests of one intent (``""``: of none), or all that is
        declared and what watches requests of no intent."""
        home = await self.registry.find(actor, project)
        found = self.registry.effective(home.id, intent or "")
        if intent is None:
            found = {**found, **{one.name: one for one in self.registry.snapshot.value.projects.get(home.id, ())}}
        told = [msgspec.structs.replace(one, org=home.org_id, project=home.id) for one in found.values()]
        return registry.page(told, after, limit)

    async def show(self, actor: Actor, name: str, *, project: str | None = None) -> Declared:
        """One detector."""
        return self.registry.show(await self.registry.find(actor, project), name)

    async def declare(
        self,
        actor: Actor,
        name: str,
        wish: Declaration,
        *,
        project: str | None = None,
        version: int | None = None,
        reason: str = "",
    ) -> Declared:
        """See :meth:`Registry.declare`."""
        return await self.registry.declare(actor, name, wish, project=project, version=version, reason=reason)

    async def remove(self, actor: Actor, name: str, *, project: str | None = None, reason: str = "") -> Declared:
        """See :meth:`Registry.remove`."""
        return await self.registry.remove(actor, name, project=project, reason=reason)

    async def state(
        self,
        actor: Actor,
        *,
        project: str | None = None,
        intent: str | None = None,
        detector: str = "",
        after: str = "",
        limit: int = 100,
    ) -> Sequence[tuple[str, Watched]]:
        """What detectors know now, with a key to page by: those nearest to an alarm are not first, names are."""
        home = await self.registry.find(actor, project)
        kept = await self._kept(home.id, intent)
        days = arls(kept, self.clock.now(), self.settings)
        told = [
            (f"{one.detector} {key}", self._watched(one, days))
            for key, one in kept.items()
            if detector in ("", one.detector) and self._current(one)
        ]
        return [one for one in sorted(told, key=lambda one: one[0]) if one[0] > after][:limit]

    async def alarms(
        self, actor: Actor, *, project: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Alarm]:
        """A page of the alarms that detectors have raised, newest first."""
        home = await self.registry.find(actor, project)
        return await self._traces.read(lambda connection: store.alarms(connection, home.id, after, limit))

    # -- for other rooms -------------------------------------------------------------------------------------------

    async def index(self, project: str, intent: str | None = None) -> float | None:
        """The drift index: the largest statistic over its threshold, at least 1 for a day after an alarm. ``None``:
        nothing is known well enough. ``intent`` ``None``: of the whole project."""
        kept = await self._kept(project, intent)
        now = self.clock.now()
        found = [_index(one.state, now) for one in kept.values() if self._current(one) and not one.state.learning]
        return max(found) if found else None

    async def judge_failing(self, project: str) -> str:
        """Why this project's judges may not promote by themselves now; empty: they may."""
        for one in (await self._kept(project, None, kind="judge")).values():
            state = one.state
            if self._current(one) and state.threshold and state.statistic >= state.threshold:
                kappa = 1 - state.statistic
                return f"{one.detector}: {one.series.part} agrees with people by a kappa of {kappa:.2f}"
        return ""

    async def erase_subject(self, user_digest: str) -> int:
        """Forget the vectors of an end user's questions; gives how many there were."""
        statement = sa.delete(tables.vector).where(tables.vector.c.user_digest == user_digest)
        work: Callable[[sa.Connection], int] = lambda connection: connection.execute(statement).rowcount  # noqa: E731
        return await self._traces.run(work) if user_digest else 0

    # -- how -------------------------------------------------------------------------------------------------------

    async def _kept(self, project: str, intent: str | None, kind: str = "") -> dict[str, Kept]:
        def read(connection: sa.Connection) -> dict[str, Kept]:
            # Decoded in the thread that reads: thousands of states take longer than the event loop may stand still.
            rows = store.rows(connection, project=project, intent=intent, kind=kind)[:_MOST]
            return {row["key"]: one for row in rows if (one := opened(row)) is not None}

        return await self._traces.read(read)

    def _current(self, one: Kept) -> bool:
        """Whether this is what watches now: not a version or a detector that is gone."""
        series = one.series
        found = self.registry.effective(series.project, series.intent, series.prompt).get(one.detector)
        return found is not None and found.version == one.version and found.declared.enabled

    def _watched(self, one: Kept, days: dict[tuple[str, str], float]) -> Watched:
        state, now = one.state, self.clock.now()
        index = _index(state, now)
        part = days.get((one.series.project, one.series.intent), MONTH / self.settings.false_alarms_per_month)
        return Watched(
            detector=one.detector,
            kind=one.kind,
            series=one.series,
            status="alarm" if index >= 1 else "learning" if state.learning else "watching",
            statistic=state.statistic,
            threshold=state.threshold,
            index=index,
            days_between_false_alarms=part / one.weight,
            samples=state.n,
            ignored=state.ignored,
            late=state.late,
            last=state.last,
            alarms=state.alarms,
            alarmed_at=state.alarmed_at,
            learnt=_learnt(state),
        )


def _index(state: State, now: int) -> float:
    fresh = bool(state.alarmed_at) and now - state.alarmed_at < DAY
    return max(state.index, 1.0) if fresh else state.index


def _learnt(state: State) -> Json:
    """What is usual, in figures."""
    found: dict[str, Any] = {}
    if isinstance(state, MeanState):
        found = {"samples": int(state.known), "bound": round(state.bound, 6)}
        if state.known:
            found["mean"] = round(state.total / state.known, 6)
        if state.cut:
            found["cut"] = round(1.05**state.cut)
    elif isinstance(state, PsiState):
        found = {"samples": int(sum(state.usual.values())), "labels": len(state.usual), "windows": state.windows}
    elif isinstance(state, NewsState):
        found = {"labels": len(state.labels)}
    elif isinstance(state, SilenceState):
        hours = sum(state.hours)
        found = {
            "watched_days": round(hours / 24, 2),
            "per_day": round(24 * sum(state.counts) / hours, 2) if hours else 0,
        }
    return found


def kinds_of() -> list[tuple[str, str, str, list[str]]]:
    """Name, title, feed and options of every kind, for people."""
    found = [kinds.find(name) for name in kinds.names()]
    return [(one.name, one.title, one.feed, list(one.config.__struct_fields__)) for one in found]


def show(room: Monitoring, metrics: Metrics) -> None:
    """Show how the watch fares beside the ledger's numbers."""
    watch = room.watch
    metrics.gauge("detectors_watching", "Whether this process watches for drift.", lambda: int(watch.lease is not None))
    metrics.gauge("detectors_series", "Detectors and series that are watched here.", lambda: len(watch.kept))
    metrics.view(semconv.DRIFT_ALARMS, lambda: {(): float(watch.raised)})
    metrics.counter("detectors_unwatched", "Times that no room was for a new series.", lambda: watch.unwatched)
    metrics.counter("detectors_unsampled", "Questions not turned into vectors.", lambda: room.vectors.skipped)
