"""The other rooms, as runs need them: see ``needs`` for what each of these is asked."""

import functools
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from statistics import NormalDist

import msgspec

from ostinato import audit, calls, datasets, evals, intents, jobs, releases, reviews, scorers, statistics
from ostinato.access import Actor, SystemActor
from ostinato.calls.model import Asked, Purpose, Spent
from ostinato.core import hashing
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.datasets.model import DatasetVersion, Example, Finding, Split
from ostinato.embeddings import Embedder
from ostinato.evals.model import Cell, Variant
from ostinato.optimization import proving, releasing
from ostinato.optimization.needs import Ask, Decision, Rooms, Whose
from ostinato.optimization.optimizers import Search
from ostinato.optimization.planning import Provable
from ostinato.optimization.reviewing import Reviewing
from ostinato.optimization.run import Notice, Run, Wish
from ostinato.optimization.runs import JOB, Optimizations
from ostinato.optimization.settings import Settings
from ostinato.optimization.verdicts import JudgeCalibration
from ostinato.prompts import Prompts, contents
from ostinato.releases import Release
from ostinato.releases.rights import standing_rights
from ostinato.routing import Catalog
from ostinato.scorers.model import Spec
from ostinato.storage import Current, Database
from ostinato.traces import PriceBook
from ostinato.wire.model import ChatRequest, Message, Text

Scoring = Callable[[str, str, str, calls.Budget | None], scorers.Context]
"""``scoring(org, project, namespace, budget)``: what scorers may use, and for whom they work."""

_FAR_BEYOND = 6_500
"""Pairs, by the normal approximation, above which the exact figure (at most 5,000) need not be looked for."""
_DISCORDANCE = 0.225


@functools.lru_cache(maxsize=1_000)
def _smallest_gain(pairs: int, alpha: float) -> float | None:
    return statistics.smallest_gain(pairs, alpha)


@functools.lru_cache(maxsize=1_000)
def _pairs_needed(gain: float, alpha: float) -> int | None:
    z = NormalDist().inv_cdf(1 - alpha) + NormalDist().inv_cdf(0.8)
    if z * z * _DISCORDANCE / (gain * gain) > _FAR_BEYOND:
        return None
    return statistics.pairs_needed(gain, alpha)


PROVABLE = Provable(smallest_gain=_smallest_gain, pairs_needed=_pairs_needed)

_SYSTEM = SystemActor("optimizer")
_REFLECTION_TOKENS = 4_096


class Data:
    """Datasets."""

    def __init__(self, rooms: datasets.Datasets) -> None:
        self._datasets = rooms

    async def version(self, actor: Actor, project: str, name: str, number: int | None) -> DatasetVersion:
        """See ``needs.Data``."""
        return await self._datasets.version(actor, name, number, project=project)

    async def findings(self, version_id: str) -> Sequence[Notice]:
        """See ``needs.Data``."""
        return [_notice(one) for one in await self._datasets.leaks(version_id)]

    async def load(self, version_id: str, splits: tuple[Split, ...]) -> tuple[Example, ...]:
        """See ``needs.Data``."""
        return await self._datasets.load(version_id, splits)

    async def alpha_left(self, project: str, prompt: str, version: DatasetVersion) -> float | None:
        """See ``needs.Data``."""
        return await self._datasets.alpha_left(version.id, prompt)

    async def open_holdout(self, run: Run, alpha: float) -> tuple[Example, ...]:
        """See ``needs.Data``."""
        return await self._datasets.open_holdout(
            run.dataset_version, prompt=run.prompt, run=run.id, alpha=alpha, actor=_SYSTEM
        )


def _notice(found: Finding) -> Notice:
    examples = f"Such as {', '.join(found.examples[:5])}." if found.examples else ""
    return Notice(level=found.severity, code=found.kind.replace("-", "_"), message=found.message, hint=examples)


class Measuring:
    """Runner and scorers, with the journal."""

    def __init__(
        self,
        rooms: calls.Calls,
        runner: evals.Runner,
        context: Scoring,
        concurrency: int,
    ) -> None:
        self._calls = rooms
        self._runner = runner
        self._context = context
        self._concurrency = concurrency

    def check(self, wish: Wish, project: str) -> bool:
        """See ``needs.Measuring``."""
        scorers.build_all(wish.scorers, self._context("", project, "", None))
        counting = [spec for spec in wish.scorers if spec.weight]
        return any("reference" in scorers.KINDS[spec.kind].needs for spec in counting if spec.kind in scorers.KINDS)

    def fits(self, variant: Variant, example: Example, project: str) -> None:
        """See ``needs.Measuring``."""
        self._runner.check(variant, example, project=project)

    async def measure(
        self,
        run: Run,
        variant: Variant,
        examples: Sequence[Example],
        *,
        purpose: Purpose,
        budget: calls.Budget,
        confidence: bool = False,
    ) -> Sequence[Cell]:
        """See ``needs.Measuring``."""
        context = self._context(run.org, run.project, run.id, budget)
        if purpose == "gate":
            context = msgspec.structs.replace(context, fallbacks=False)
        return await self._runner.run_many(
            [(variant, example) for example in examples],
            scorers.build_all(run.wish.scorers, context),
            specs=run.wish.scorers,
            org=run.org,
            project=run.project,
            namespace=run.id,
            purpose=purpose,
            budget=budget,
            confidence=confidence,
            samples=run.wish.samples,
            labels=evals.labels_of(examples) if confidence else (),
            concurrency=self._concurrency,
        )

    async def recall(self, run: Run, variant: Variant, examples: Sequence[Example]) -> Sequence[str | None]:
        """See ``needs.Measuring``."""
        how = evals.Measure(org=run.org, project=run.project, namespace=run.id, purpose="search", scorers=())
        return [await self._runner.recall(variant, one, how) for one in examples]

    def reflect(self, run: Run, budget: calls.Budget) -> Ask:
        """See ``needs.Measuring``."""
        asked: dict[str, int] = {}

        async def ask(prompt: str) -> str:
            # The same question again is another one: a reflection model shall think anew.
            replicate = asked.get(prompt, 0)
            asked[prompt] = replicate + 1
            request = ChatRequest(
                model=run.wish.reflection,
                messages=(Message("user", (Text(prompt),)),),
                max_tokens=_REFLECTION_TOKENS,
            )
            found = await self._calls.ask(
                Asked(
                    org=run.org,
                    project=run.project,
                    alias=run.wish.reflection,
                    request=request,
                    purpose="reflection",
                    namespace=run.id,
                    replicate=replicate,
                    prompt=run.prompt,
                ),
                budget,
                timeout=300.0,
            )
            return found.text

        return ask

    async def spent(self, run_id: str) -> Spent:
        """See ``needs.Measuring``."""
        return await self._calls.journal(run_id)

    async def forget(self, run_id: str) -> None:
        """See ``needs.Measuring``."""
        await self._calls.erase(namespace=run_id)


def searching(prompts: Prompts) -> Callable[[str], Search]:
    """``needs.Rooms.searching``: the search for a project, with the contents of its partials."""

    def of(project: str) -> Search:
        def pieces() -> contents.Pieces:
            snapshot = prompts.snapshot.value
            return lambda name, number: snapshot.content(project, name, number)

        return Search(pieces)

    return of


def calibrations(
    registry: Callable[[], scorers.Registry] | None, context: Scoring
) -> Callable[[Whose, Sequence[Spec]], Awaitable[Sequence[JudgeCalibration]]]:
    """``needs.Rooms.calibrations``: of exactly the versions that a run scores with."""

    async def of(run: Whose, specs: Sequence[Spec]) -> Sequence[JudgeCalibration]:
        found: list[JudgeCalibration] = []
        for built in scorers.build_all(specs, context(run.org, run.project, run.id, None)):
            one = None if registry is None else await registry().calibrated(run.project, built.name, built.version)
            if one is None:
                found.append(JudgeCalibration(scorer=built.id, kappa=0.0, n=0))
            else:
                said = one.result
                found.append(
                    JudgeCalibration(scorer=built.id, kappa=said.kappa, n=said.n, low=said.low, high=said.high)
                )
        return found

    return of


def declared(
    registry: Callable[[], scorers.Registry] | None,
) -> Callable[[str, Sequence[str]], Awaitable[Sequence[Spec]]]:
    """``needs.Rooms.declared``: as the registry has them."""

    async def of(project: str, names: Sequence[str]) -> Sequence[Spec]:
        if registry is None:
            raise Invalid("Nothing is declared here.", code="no_registry", param="declared")
        return await registry().specs(project, names)

    return of


def evaluated(rooms: releases.Releases) -> Callable[[Release, Run, Decision], Awaitable[None]]:
    """``needs.Rooms.evaluated``: the gate's word, as evidence that only we can write."""

    async def attach(release: Release, run: Run, decision: Decision) -> None:
        content = str(release.bundle["content"])
        digest = hashlib.sha256(hashing.canonical_json(decision.body)).hexdigest()
        told = releasing.facts(run, decision)
        evaluation = releases.Evaluation(
            content=content,
            base=run.base_digest if run.assigned_number is not None else "",
            digest=digest,
            passed=bool(decision.promoted),
            facts=dict(told),
        )
        await rooms.attach_evaluation(_SYSTEM, release.id, evaluation)

    return attach


def build(
    *,
    control: Database,
    work: Database,
    log: audit.Log,
    clock: Clock,
    prompts: Prompts,
    releases: releases.Releases,
    datasets: datasets.Datasets,
    calls: calls.Calls,
    runner: evals.Runner,
    scoring: Scoring,
    requirements_of: Callable[[str, str], intents.Requirements],
    intents: Current[intents.Intents],
    catalog: Current[Catalog],
    prices: Current[PriceBook],
    jobs: jobs.Jobs,
    reviews: reviews.Reviews | None = None,
    embedder: Embedder | None = None,
    registry: Callable[[], scorers.Registry] | None = None,
    settings: Settings | None = None,
    heard: Callable[[str, str], Awaitable[bool]] | None = None,
) -> Optimizations:
    """Optimization runs over the rooms of a process, registered as a job: before ``jobs`` is started."""
    chosen = settings or Settings()

    def slices_of(project: str, intent: str) -> tuple[str, ...]:
        found = intents.value.of(project, intent) if intent else None
        return () if found is None else found.declared.slices

    runs = Optimizations(
        Rooms(
            control=control,
            work=work,
            log=log,
            clock=clock,
            prompts=prompts,
            releases=releases,
            data=Data(datasets),
            measuring=Measuring(calls, runner, scoring, chosen.concurrency),
            searching=searching(prompts),
            judging=proving.judge,
            provable=PROVABLE,
            calibrations=calibrations(registry, scoring),
            declared=declared(registry),
            requirements_of=requirements_of,
            slices_of=slices_of,
            catalog=catalog,
            prices=prices,
            rights=standing_rights,
            evaluated=evaluated(releases),
            jobs=jobs,
            settings=chosen,
            reviewing=None if reviews is None else Reviewing(reviews, embedder),
            heard=heard,
        )
    )
    jobs.register(JOB, runs.carrier.phases())
    return runs
