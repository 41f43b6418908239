"""The room's one object with a life: :class:`Experiments`."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec
import sqlalchemy as sa

from ostinato import audit, storage
from ostinato.access import Actor, Resource, SystemActor, actor_name, principal_of
from ostinato.access.manage import find_project
from ostinato.access.permissions import allows, require
from ostinato.calls import Budget, Calls, Exhausted, Limits, ModelAway
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, NotFound, OstinatoError
from ostinato.datasets import Datasets
from ostinato.datasets.model import Example
from ostinato.evals import results, store, sureness, wishes
from ostinato.evals.experiment import Comparison, Experiment, OpenSplit, Progress, Results, Wish
from ostinato.evals.model import Cell, State, Variant
from ostinato.evals.runner import Measure, Runner
from ostinato.evals.settings import Settings
from ostinato.jobs import Jobs
from ostinato.scorers import Context, Spec, build_all, model_of

_log = logging.getLogger(__name__)

T = TypeVar("T")

JOB = "experiment"
_SYSTEM = SystemActor("jobs")
_CHUNK = 64
_Todo = Sequence[tuple[int, Variant, Example]]
"""Cells between two commits of cells; their calls are in the journal as each is paid for."""
_OPEN: frozenset[State] = frozenset({"queued", "running"})

ContextOf = Callable[[str, str, str, Budget | None], Context]
"""``context_of(org, project, namespace, budget)``: what scorers may use."""


Declared = Callable[[str, Sequence[str]], Awaitable[tuple[Spec, ...]]]
"""``declared(project, names)``: what the project's declared scorers of these names are."""


class Now(Protocol):
    """What holds now, for judging a wish."""

    def __call__(self) -> wishes.Standing: ...


class Experiments:
    """Experiments of all projects. Every change that a person makes is one transaction with its leaf.

    ``project`` is an id, a short name or ``organization/project``; ``None``: the actor's own. Another project's
    experiments do not exist (``NotFound``).
    """

    def __init__(
        self,
        control: storage.Database,
        work: storage.Database,
        clock: Clock,
        log: audit.Log,
        *,
        datasets: Datasets,
        calls: Calls,
        runner: Runner,
        jobs: Jobs,
        now: Now,
        context_of: ContextOf,
        declared: Declared | None = None,
        settings: Settings | None = None,
    ) -> None:
        self._control = control
        self._work = work
        self._clock = clock
        self._log = log
        self._datasets = datasets
        self._calls = calls
        self._runner = runner
        self._jobs = jobs
        self._now = now
        self._context_of = context_of
        self._declared = declared
        self.settings = settings or Settings()
        self._recovering: asyncio.Task[None] | None = None
        self._unsaved: dict[str, int] = {}
        """Cells that are measured in this process and not yet written down, by experiment."""
        jobs.register(JOB, {"measure": self._measure, "conclude": self._conclude})

    # -- changes -------------------------------------------------------------------------------------------------

    async def create(self, actor: Actor, wish: Wish, *, project: str | None = None) -> Experiment:
        """A new experiment, which begins at once. Raises what is wrong with it before anything is spent."""
        home = await self._control.read(lambda c: find_project(c, actor, project))
        require(actor, "evals:run", Resource(project=home.id))
        wishes.check_limits(wish.limits)
        sureness.check(wish.samples)
        if wish.declared and self._declared is not None:
            specs = await self._declared(home.id, wish.declared)
            wish = msgspec.structs.replace(wish, scorers=wish.scorers + specs)
        standing = self._now()
        variants = wishes.variants_of(wish, home.id, actor, standing, self.settings)
        for judge in filter(None, map(model_of, wish.scorers)):
            wishes.check_model(actor, home.id, judge, standing, wish.limits)
        version = await self._datasets.version(actor, wish.dataset, wish.version, project=home.id)
        examples = await self._examples(version.id, wish.splits, wish.examples, wish.seed)
        wishes.check_examples(wish, version, examples)
        cells = len(examples) * len(variants)
        asked = cells * (wish.samples if wish.confidence else 1)
        if asked > self.settings.most_cells:
            raise Conflict(
                f"{len(examples)} examples times {len(variants)} variants are {cells} cells"
                f"{f', asked up to {wish.samples} times each' if asked > cells else ''}; "
                f"at most {self.settings.most_cells}.",
                code="too_many_cells",
                hint="Draw a sample with `examples`.",
            )
        identifier = ids.new(self._clock.now())
        context = self._context_of(home.org_id, home.id, identifier, None)
        chain = any(variant.retrieval is not None for variant in variants)
        wishes.check_scorers(wish, context, examples, self.settings, chain=chain)
        await asyncio.to_thread(wishes.check_variables, self._runner, variants, examples, home.id)

        def work(connection: sa.Connection, now: int) -> tuple[Experiment, audit.Deed]:
            made = Experiment(
                id=identifier,
                org=home.org_id,
                project=home.id,
                name=wish.name or f"{version.dataset}@{version.number}",
                dataset=version.dataset,
                version=version.number,
                version_id=version.id,
                splits=wish.splits,
                arms=tuple(wishes.arm(variant) for variant in variants),
                scorers=wish.scorers,
                limits=wish.limits,
                examples=len(examples),
                confidence=wish.confidence,
                samples=wish.samples,
                seed=wish.seed,
                note=wish.note,
                created_at=now,
                created_by=actor_name(actor),
            )
            store.insert(connection, made, variants)
            return made, self._deed(actor, made, "evals:run", wish.note, cells=cells)

        made = await self._change(work)
        return await self._enqueue(made)

    async def cancel(self, actor: Actor, experiment_id: str, reason: str = "") -> Experiment:
        """End an experiment; what was paid for is kept, and its figures with it."""

        def work(connection: sa.Connection, now: int) -> tuple[Experiment, audit.Deed]:
            found = self._own(connection, actor, experiment_id, "evals:run", lock=True)
            if found.state not in _OPEN and found.state != "paused":
                raise Conflict(f"The experiment is {found.state} already.", code="experiment_over")
            ended = msgspec.structs.replace(found, state="cancelled", why=reason, ended_at=now)
            store.update(connection, ended)
            return ended, self._deed(actor, ended, "evals:cancel", reason)

        ended = await self._change(work)
        if ended.job:
            with contextlib.suppress(NotFound):
                await self._jobs.cancel(ended.job)
        return ended

    async def resume(
        self, actor: Actor, experiment_id: str, limits: Limits | None = None, reason: str = ""
    ) -> Experiment:
        """Go on with an experiment that is paused, failed or was cancelled, perhaps with other limits (in all)."""
        if limits is not None:
            wishes.check_limits(limits)

        def work(connection: sa.Connection, now: int) -> tuple[Experiment, audit.Deed]:
            found = self._own(connection, actor, experiment_id, "evals:run", lock=True)
            if found.state in ("queued", "running", "done"):
                raise Conflict(f"The experiment is {found.state}.", code="experiment_state")
            again = msgspec.structs.replace(
                found,
                state="queued",
                why="",
                ended_at=None,
                limits=found.limits if limits is None else limits,
                round=found.round + 1,
            )
            wishes.check_money(actor, again.limits)
            store.update(connection, again)
            return again, self._deed(actor, again, "evals:resume", reason, round=again.round)

        return await self._enqueue(await self._change(work))

    # -- questions -----------------------------------------------------------------------------------------------

    async def show(self, actor: Actor, experiment_id: str) -> Progress:
        """One experiment and how far it has come."""
        found = await self._control.read(lambda c: self._own(c, actor, experiment_id, "evals:read"))
        done = await self._work.read(lambda c: store.count(c, found.id))
        done = min(found.cells, done + self._unsaved.get(found.id, 0))
        return Progress(experiment=found, done=done, total=found.cells, spent=await self._calls.journal(found.id))

    async def list(
        self,
        actor: Actor,
        *,
        project: str | None = None,
        state: str = "",
        dataset: str = "",
        after: str = "",
        limit: int = 100,
    ) -> Sequence[Experiment]:
        """A page of a project's experiments, newest first."""

        def read(connection: sa.Connection) -> Sequence[Experiment]:
            home = find_project(connection, actor, project)
            require(actor, "evals:read", Resource(project=home.id))
            return store.page(connection, home.id, state=state, dataset=dataset, after=after, limit=limit)

        return await self._control.read(read)

    async def results(self, actor: Actor, experiment_id: str) -> Results:
        """The figures of every variant, and every variant compared with the first, as far as it is done."""
        found = await self._control.read(lambda c: self._own(c, actor, experiment_id, "evals:read"))
        cells = await self._cells(found)
        texts = allows(actor, "datasets:text", Resource(project=found.project))
        return await asyncio.to_thread(_results, found, cells, texts)

    async def compare(self, actor: Actor, base: tuple[str, str], other: tuple[str, str]) -> Comparison:
        """Two variants on the examples that both answered: each an experiment's id and a variant's name (or empty:
        its first). They may be of two experiments, on one dataset."""
        sides: list[tuple[str, Mapping[str, Cell]]] = []
        of: list[Experiment] = []
        seed = 0
        for experiment_id, name in (base, other):
            found = await self._control.read(lambda c, i=experiment_id: self._own(c, actor, i, "evals:read"))
            place = _place(found, name)
            cells = await self._work.read(lambda c, i=found.id, p=place: store.cells(c, i, p))
            sides.append((found.arms[place].name, cells))
            of.append(found)
            seed = found.seed
        (one, old), (two, new) = sides
        compared = await asyncio.to_thread(results.compare, one, two, old, new, seed=seed)
        if compared.pairs:
            return compared
        return msgspec.structs.replace(compared, why=results.why_none(of[0], of[1], old, new))

    async def cells(
        self, actor: Actor, experiment_id: str, variant: str = "", *, after: str = "", limit: int = 100
    ) -> Sequence[Cell]:
        """A page of one variant's cells, answers included, by example."""
        found = await self._control.read(lambda c: self._own(c, actor, experiment_id, "datasets:text"))
        place = _place(found, variant)
        return await self._work.read(lambda c: store.cell_page(c, found.id, place, after=after, limit=limit))

    async def erase(self, example: str) -> int:
        """Forget what was answered about an example, in every experiment and journal; figures stay."""
        await self._calls.erase(example=example)
        return await self._work.run(lambda c: store.erase(c, example))

    # -- its job -------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Have every experiment go on that should, in the background: one may have been written down just before a
        crash, and its job not yet."""
        unfinished = await self._control.read(store.unfinished)
        if unfinished:
            self._recovering = asyncio.create_task(self._recover(unfinished))

    async def stop(self) -> None:
        """Go on no further."""
        if self._recovering is not None:
            self._recovering.cancel()
            await asyncio.gather(self._recovering, return_exceptions=True)

    async def _recover(self, unfinished: Sequence[Experiment]) -> None:
        for one in unfinished:
            try:
                await self._enqueue(one)
            except OstinatoError as error:
                _log.warning("The experiment %s does not go on: %s", one.id, error.sentence)

    async def _enqueue(self, made: Experiment) -> Experiment:
        job = await self._jobs.enqueue(JOB, made.id, key=f"{made.id}.{made.round}")
        if job == made.job:
            return made
        return await self._set(made.id, lambda found: msgspec.structs.replace(found, job=job))

    async def _measure(self, experiment_id: str) -> str:
        """Measure the cells that are missing. What ends the money or the patience pauses the experiment."""

        def begin(found: Experiment) -> Experiment:
            started = found.started_at or self._clock.now()
            return msgspec.structs.replace(found, state="running", started_at=started)

        found = await self._set(experiment_id, begin)
        if found.state != "running":
            return '{"skipped":true}'
        variants = await self._control.read(lambda c: store.variants(c, found.id))
        examples = await self._examples(found.version_id, found.splits, found.examples, found.seed)
        done = await self._work.read(lambda c: store.done(c, found.id))
        todo = [
            (place, variant, example)
            for place, variant in enumerate(variants)
            for example in examples
            if (place, example.id) not in done
        ]
        try:
            await self._ask(found, todo, sureness.labels_of(examples) if found.confidence else ())
        except (Exhausted, ModelAway) as error:
            await self._end(found.id, "paused", error.sentence)
            return '{"paused":true}'
        except Exception as error:
            told = error.sentence if isinstance(error, OstinatoError) else f"It raised {type(error).__name__}."
            await self._end(found.id, "failed", told)
            raise
        return msgspec.json.encode({"cells": len(todo)}).decode()

    async def _ask(self, found: Experiment, todo: _Todo, labels: Sequence[str]) -> None:
        budget = Budget(found.limits, await self._calls.journal(found.id))
        how = Measure(
            org=found.org,
            project=found.project,
            namespace=found.id,
            purpose="experiment",
            scorers=build_all(found.scorers, self._context_of(found.org, found.project, found.id, budget)),
            specs=found.scorers,
            budget=budget,
            confidence=found.confidence,
            samples=found.samples,
            labels=labels,
            timeout=self.settings.timeout,
        )
        for start in range(0, len(todo), _CHUNK):
            chunk = todo[start : start + _CHUNK]
            cells: list[tuple[int, Cell]] = []
            pairs = [(variant, example) for _, variant, example in chunk]

            def keep(at: int, cell: Cell, kept: list[tuple[int, Cell]] = cells, of: _Todo = chunk) -> None:
                kept.append((of[at][0], cell))
                self._unsaved[found.id] = len(kept)

            try:
                await self._runner.measure_many(pairs, how, concurrency=self.settings.concurrency, on_cell=keep)
            finally:
                self._unsaved.pop(found.id, None)
                if cells:
                    await asyncio.shield(self._work.run(lambda c, kept=cells: store.save(c, found.id, kept)))

    async def _conclude(self, experiment_id: str) -> str:
        found = await self._control.read(lambda c: store.find(c, experiment_id))
        if found.state != "running":
            return msgspec.json.encode({"state": found.state}).decode()
        await self._end(experiment_id, "done", "")
        return '{"state":"done"}'

    async def _end(self, experiment_id: str, state: State, why: str) -> None:
        """Write down how the machine ended; nothing where a person was quicker."""

        def work(connection: sa.Connection, now: int) -> tuple[Experiment, audit.Deed | None]:
            found = store.find(connection, experiment_id, lock=True)
            if found.state != "running":
                return found, None
            ended = msgspec.structs.replace(
                found, state=state, why=why[:2000], ended_at=now if state != "paused" else None
            )
            store.update(connection, ended)
            return ended, self._deed(_SYSTEM, ended, f"evals:{state}", why)

        await self._change(work)

    async def _set(self, experiment_id: str, change: Callable[[Experiment], Experiment]) -> Experiment:
        """A mark of the machine's own on an experiment that goes on; no leaf: nobody decided anything."""

        def work(connection: sa.Connection) -> Experiment:
            found = store.find(connection, experiment_id, lock=True)
            if found.state not in _OPEN:
                return found
            changed = change(found)
            store.update(connection, changed)
            return changed

        return await self._control.run(work)

    # -- shared --------------------------------------------------------------------------------------------------

    async def _examples(
        self, version_id: str, splits: Sequence[OpenSplit], most: int | None, seed: int
    ) -> tuple[Example, ...]:
        examples = await self._datasets.load(version_id, splits) if splits else ()
        return wishes.chosen(examples, most, seed)

    async def _cells(self, found: Experiment) -> Sequence[Mapping[str, Cell]]:
        def read(connection: sa.Connection) -> Sequence[Mapping[str, Cell]]:
            return [store.cells(connection, found.id, place) for place in range(len(found.arms))]

        return await self._work.read(read)

    def _own(
        self, connection: sa.Connection, actor: Actor, experiment_id: str, permission: str, *, lock: bool = False
    ) -> Experiment:
        """The experiment that the actor means, and has ``permission`` on."""
        found = store.find(connection, experiment_id, lock=lock)
        try:
            find_project(connection, actor, found.project)
        except NotFound:
            raise store.unknown(experiment_id) from None
        require(actor, permission, Resource(project=found.project))
        return found

    async def _change(self, work: Callable[[sa.Connection, int], tuple[T, audit.Deed | None]]) -> T:
        """One transaction with its leaf."""
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> T:
            result, deed = work(connection, self._clock.now())
            if deed is not None:
                self._log.append(connection, deed, occasion)
            return result

        return await self._control.run(transaction)

    def _deed(self, actor: Actor, about: Experiment, action: str, reason: str, **facts: int) -> audit.Deed:
        return audit.Deed(
            actor=actor_name(actor),
            principal=principal_of(actor),
            action=action,
            resource=about.resource,
            org=about.org,
            project=about.project,
            reason=reason[:2000],
            facts={"state": about.state, "dataset": about.dataset, "version": about.version, **facts},
        )


def _place(found: Experiment, name: str) -> int:
    """The place of a variant by its name; empty: the first. Raises ``NotFound``."""
    for place, one in enumerate(found.arms):
        if not name or one.name == name:
            return place
    raise NotFound(
        f"The experiment has no variant {name[:80]!r}.",
        code="variant_not_found",
        hint=f"Its variants: {', '.join(one.name for one in found.arms)}.",
    )


def _results(found: Experiment, cells: Sequence[Mapping[str, Cell]], texts: bool) -> Results:
    names = [one.name for one in found.arms]
    return Results(
        experiment=found.id,
        state=found.state,
        figures=tuple(
            results.figures(name, tuple(of.values()), seed=found.seed, texts=texts)
            for name, of in zip(names, cells, strict=True)
        ),
        comparisons=tuple(
            results.compare(names[0], name, cells[0], of, seed=found.seed)
            for name, of in zip(names[1:], cells[1:], strict=True)
        ),
    )
