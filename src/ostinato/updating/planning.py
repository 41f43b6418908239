"""Who is concerned by a change of models: prompts, intents, traffic, and by what each can be judged."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from ostinato import evals, prompts
from ostinato.access import SystemActor
from ostinato.core.errors import OstinatoError
from ostinato.datasets import Datasets
from ostinato.routing import Target
from ostinato.scorers.model import Spec
from ostinato.traces import PriceBook
from ostinato.updating.model import Traffic, Use
from ostinato.wire.model import Usage

ACTOR = SystemActor("updates")
_PAGE = 200
_MOST = 1_000
"""Prompts, experiments and runs, each, that are looked at."""


class Yardstick(msgspec.Struct, frozen=True):
    """By what a prompt's answers were last judged."""

    dataset: str
    scorers: tuple[Spec, ...]
    source: str


Runs = Callable[[str, str, int], Awaitable[Sequence[tuple[str, Yardstick]]]]
"""``runs(project, after, limit)``: prompts of optimization runs, oldest first, each with the run's yardstick; from
behind the run of the id ``after``."""


class Planner:
    """Looks; asks no model."""

    def __init__(
        self,
        registry: prompts.Prompts,
        experiments: evals.Experiments,
        runs: Runs,
        examples: Datasets,
    ) -> None:
        self._prompts = registry
        self._experiments = experiments
        self._runs = runs
        self._datasets = examples

    async def uses(
        self,
        project: str,
        alias: str,
        traffic: Sequence[Traffic],
        *,
        own: Sequence[Traffic] = (),
        targets: Sequence[Sequence[Target]],
        prices: PriceBook,
        now: int,
    ) -> tuple[Use, ...]:
        """Every prompt that names the alias, or was asked of it lately. ``targets``: of each side of a comparison;
        ``own``: calls of our own, for the length of what has no traffic."""
        calls: dict[str, list[Traffic]] = {}
        for one in traffic:
            if one.prompt:
                calls.setdefault(one.prompt, []).append(one)
        asked: dict[str, list[Traffic]] = {}
        for one in own:
            asked.setdefault(one.prompt, []).append(one)
        known = await self._yardsticks(project)
        found: list[Use] = []
        for prompt in await self._all(project):
            use = self._use(project, prompt, alias, calls.get(prompt.name, []))
            if use is None:
                continue
            yardstick = known.get(prompt.name)
            if yardstick is None:
                why = "No experiment or optimization run has judged it by a dataset yet."
                found.append(msgspec.structs.replace(use, unknown=why))
                continue
            use = msgspec.structs.replace(
                use, dataset=yardstick.dataset, scorers=yardstick.scorers, source=yardstick.source
            )
            lengths = calls.get(prompt.name) or asked.get(prompt.name, [])
            found.append(await self._counted(project, use, lengths, targets, prices, now))
        return tuple(sorted(found, key=lambda one: (-one.calls, one.prompt)))

    async def _all(self, project: str) -> list[prompts.Prompt]:
        found: list[prompts.Prompt] = []
        after: str | None = None
        while len(found) < _MOST:
            page, after = await self._prompts.list(ACTOR, project, after=after, limit=_PAGE)
            found += page
            if after is None:
                break
        return found

    def _resolved(self, project: str, prompt: prompts.Prompt) -> prompts.Resolved | None:
        """The version in production; where there is none, the newest. ``None``: archived meanwhile, or empty."""
        for reference in (prompt.name, f"{prompt.name}@{prompt.latest}"):
            with contextlib.suppress(OstinatoError):
                return self._prompts.snapshot.value.stable(project, reference)
        return None

    def _use(self, project: str, prompt: prompts.Prompt, alias: str, calls: Sequence[Traffic]) -> Use | None:
        resolved = self._resolved(project, prompt)
        if resolved is None or resolved.kind == "partial":
            return None
        if resolved.compiled.content.params.get("model", "") != alias and not calls:
            return None
        costs = [one.cost for one in calls]
        return Use(
            prompt=prompt.name,
            number=resolved.number,
            intent=resolved.intent,
            calls=sum(one.calls for one in calls),
            cost=sum(one or 0 for one in costs) if costs and None not in costs else None,
        )

    async def _yardsticks(self, project: str) -> Mapping[str, Yardstick]:
        """Prompt -> the newest experiment's dataset and scorers, else the newest run's."""
        found: dict[str, Yardstick] = {}
        after, seen = "", 0
        while seen < _MOST:
            page = await self._experiments.list(ACTOR, project=project, after=after, limit=_PAGE)
            for one in page:
                for arm in one.arms:
                    if arm.prompt and one.scorers and not arm.chain:
                        found.setdefault(arm.prompt, Yardstick(one.dataset, one.scorers, one.resource))
            seen += len(page)
            if len(page) < _PAGE:
                break
            after = page[-1].id
        ran: dict[str, Yardstick] = {}
        after, seen = "", 0
        while seen < _MOST:
            runs = await self._runs(project, after, _PAGE)
            ran.update(runs)
            seen += len(runs)
            if len(runs) < _PAGE:
                break
            after = runs[-1][1].source.partition(":")[2]
        return {**ran, **found}

    async def _counted(
        self,
        project: str,
        use: Use,
        calls: Sequence[Traffic],
        targets: Sequence[Sequence[Target]],
        prices: PriceBook,
        now: int,
    ) -> Use:
        try:
            version = await self._datasets.version(ACTOR, use.dataset, None, project=project)
        except OstinatoError as error:
            return msgspec.structs.replace(use, unknown=f"Its dataset {use.dataset!r} cannot be read: {error.message}")
        examples = version.counts.get("dev", 0)
        if not examples:
            return msgspec.structs.replace(
                use, unknown=f"Its dataset {use.dataset!r} has no open examples (`dev`); the holdout stays sealed."
            )
        answered = sum(one.calls for one in calls)
        cost: int | None = None
        if answered:
            length = Usage(
                input=sum(one.input for one in calls) // answered, output=sum(one.output for one in calls) // answered
            )
            each = [prices.price(side[0].provider, side[0].model, length, now) if side else None for side in targets]
            cost = sum(one or 0 for one in each) * examples if None not in each else None
        return msgspec.structs.replace(
            use, examples=examples, calls_needed=examples * len(targets), cost_estimated=cost
        )
