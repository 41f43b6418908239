"""The rooms of the loop that improves prompts, built and started as one: calls of our own, scorers, experiments, runs.

``app`` hands over what they lean on (:class:`Parts`), starts them before the gateway, and lets durable work go on once
everything stands.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from ostinato import (
    cache,
    calls,
    datasets,
    embeddings,
    evals,
    jobs,
    opening,
    optimization,
    outbound,
    prompts,
    releases,
    reviews,
    routing,
    scorers,
    signals,
    traces,
)
from ostinato.audit import Keeper, Log
from ostinato.config import Config
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.datasets import forgetting as of_datasets
from ostinato.evals import retrieval
from ostinato.gateway.referring import Referrer
from ostinato.gateway.sampling import Sampler
from ostinato.intents import Intents, Requirements
from ostinato.storage import Current, Database, DataDirectory, Notices

_DAY = 86_400_000_000
_OF_LATE = 28 * _DAY
"""Microseconds."""

Later = Callable[[str, Callable[[], Awaitable[None]]], None]
"""``later(name, undo)``: what is to be undone when the process stops, in reverse order."""


class Parts(Protocol):
    """What the loop leans on: a part of ``app``, by its shape."""

    config: Config
    clock: Clock
    embedded: bool
    directory: DataDirectory
    control: Database
    work: Database
    notices: Notices
    audit: Log
    keeper: Keeper
    client: outbound.Client
    router: routing.Router
    recorder: traces.Recorder
    cache: cache.ResponseCache
    prompts: prompts.Prompts
    releases: releases.Releases
    datasets: datasets.Datasets
    reviews: reviews.Reviews
    signals: signals.Signals

    @property
    def catalog(self) -> Current[routing.Catalog]: ...

    @property
    def intents(self) -> Current[Intents]: ...

    @property
    def prices(self) -> Current[traces.PriceBook]: ...

    def requirements_of(self, project: str, intent: str) -> Requirements:
        """What an intent asks of releases."""
        ...


class Improving:
    """Built once by ``app``; what it holds is used through ``app``'s own names."""

    def __init__(self, parts: Parts) -> None:
        config, clock = parts.config, parts.clock
        self._parts = parts
        self.jobs = jobs.Jobs(
            parts.directory.jobs if parts.embedded else config.storage.url,
            clock,
            "embedded" if parts.embedded else ids.new(clock.now()),
            settings=config.jobs,
            leases=None if parts.embedded else parts.work,
        )
        self.calls = calls.Calls(
            parts.work, parts.router, parts.catalog, parts.prices, parts.recorder, clock, config.calls
        )
        self._functions = scorers.load_functions(config.scorers.functions)
        with opening.about("embeddings"):
            self.embedder = embeddings.build(config.embeddings, parts.client, clock)
        self.retrieval = retrieval.build(config.retrievers, self.embedder, parts.client)
        self.runner = evals.Runner(
            self.calls,
            clock,
            pieces=lambda project, name, n: parts.prompts.snapshot.value.content(project, name, n),  # noqa: PLW0108 - swapped
            retrieval=self.retrieval,
            confident=scorers.confidence.of,
        )
        self.scorers = scorers.Registry(
            parts.control,
            clock,
            parts.notices,
            parts.audit,
            contexts=lambda org, project: self.scoring(org, project, "", None),
        )
        config.scorers.check()
        self.sampler = Sampler(
            config.scorers,
            clock,
            self.scorers,
            signals=parts.signals,
            cache=parts.cache,
            referrer=Referrer(parts.reviews, parts.intents),
        )
        self.experiments = self._experiments()
        self.optimizations = self._optimizations()
        parts.datasets.copies = self._erase_copies

    async def start(self, later: Later) -> None:
        """Before the first request: what was intended to be erased is, scorers are known, samples can be taken."""
        later("our own calls", self.calls.stop)
        if self.embedder is not None:
            later("the embedder", self.embedder.close)
        later("retrieval", self.retrieval.close)
        self.runner.follow(self._parts.notices, self._erased_lately)
        later("what others erase", self.runner.stop)
        await self._parts.keeper.resume(datasets.ERASURE, self._erase_copies)
        await self.scorers.start()
        later("declared scorers", self.scorers.stop)
        self.sampler.start()
        later("sampling", self.sampler.stop)

    async def go_on(self, later: Later) -> None:
        """When everything stands: durable work goes on where it was."""
        await self.jobs.start()
        later("jobs", self.jobs.stop)
        await self.experiments.start()
        later("experiments", self.experiments.stop)
        await self.optimizations.start_looking()
        later("optimization runs", self.optimizations.stop)

    def scoring(self, org: str, project: str, namespace: str, budget: calls.Budget | None) -> scorers.Context:
        """What scorers may use that work for a run or an experiment."""
        return scorers.Context(
            clock=self._parts.clock,
            calls=self.calls,
            client=self._parts.client,
            embedder=self.embedder,
            functions=self._functions,
            hooks=self._parts.config.scorers.hooks,
            org=org,
            project=project,
            budget=budget,
            namespace=namespace,
        )

    def _experiments(self) -> evals.Experiments:
        parts = self._parts
        return evals.Experiments(
            parts.control,
            parts.work,
            parts.clock,
            parts.audit,
            datasets=parts.datasets,
            calls=self.calls,
            runner=self.runner,
            jobs=self.jobs,
            now=lambda: evals.Standing(
                parts.prompts.snapshot.value, parts.catalog.value, parts.prices.value, parts.clock.now()
            ),
            context_of=self.scoring,
            declared=self.scorers.specs,
            settings=parts.config.evals,
        )

    def _optimizations(self) -> optimization.Optimizations:
        parts = self._parts
        return optimization.build(
            control=parts.control,
            work=parts.work,
            log=parts.audit,
            clock=parts.clock,
            prompts=parts.prompts,
            releases=parts.releases,
            datasets=parts.datasets,
            calls=self.calls,
            runner=self.runner,
            scoring=self.scoring,
            requirements_of=parts.requirements_of,
            intents=parts.intents,
            catalog=parts.catalog,
            prices=parts.prices,
            jobs=self.jobs,
            reviews=parts.reviews,
            embedder=self.embedder,
            settings=parts.config.optimization,
            registry=lambda: self.scorers,
            heard=self._heard,
        )

    async def _heard(self, project: str, prompt: str) -> bool:
        """Whether a value was told of some answer of a prompt, of late."""
        since = self._parts.clock.now() - _OF_LATE
        chosen = signals.Filter(project=project, prompt=prompt, since=since, least=0.0)
        return bool((await self._parts.signals.query(chosen, limit=1, newest=True)).signals)

    async def _erase_copies(self, payload: Any) -> dict[str, str | int]:
        """Erase what was made of examples that are erased; once intended, it is done in the end."""
        self.runner.forget_everywhere(payload["examples"])
        cells = sum([await self.experiments.erase(one) for one in payload["examples"]])
        return {
            "cells": cells,
            "items": await self._parts.reviews.erase_examples(payload["project"], payload["examples"]),
        }

    async def _erased_lately(self) -> list[str]:
        """Examples that somebody erased within a day."""
        since = self._parts.clock.now() - _DAY
        return [name for name, _ in await self._parts.control.read(lambda c: of_datasets.lately(c, since))]
