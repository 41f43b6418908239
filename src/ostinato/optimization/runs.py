"""The room's one object with a life: :class:`Optimizations` carries out what people ask of runs."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from ostinato import access, audit, prompts, releases
from ostinato.access import Actor, Resource, manage, permissions
from ostinato.calls.model import Limits
from ostinato.core import ids
from ostinato.core.errors import Conflict, Invalid, OstinatoError
from ostinato.datasets.model import DatasetVersion
from ostinato.evals import sureness
from ostinato.evals.model import Variant
from ostinato.optimization import asking, findings, optimizers, planning, proving, report, sampling, store, wishes
from ostinato.optimization.carrying import Carrier, subject_of
from ostinato.optimization.needs import Rooms
from ostinato.optimization.planning import Ground
from ostinato.optimization.quoting import Quoted, quoting
from ostinato.optimization.run import OPEN, Detail, Progress, Run, RunPlan, Wish
from ostinato.optimization.search.model import Round
from ostinato.optimization.stages import Ending
from ostinato.prompts import Compiled, Version
from ostinato.prompts import store as prompt_rows

T = TypeVar("T")

JOB = "optimization"
"""What a run's job is called."""
_REASON = 2_000
_SYSTEM = access.SystemActor("optimizer")
_LOOK_SECONDS = 15.0

_log = logging.getLogger("ostinato.optimization")


class _Found(msgspec.Struct, frozen=True):
    """What a wish means: for whom, and what."""

    org: str
    project: str
    prompt: prompts.Prompt
    base: Version
    assigned: int | None
    id: str = ""
    """Of the run, which is not there yet."""


class Optimizations:
    """Optimization runs. Every change that somebody asks for is one transaction with its leaf of the audit log.

    A run beyond the actor's reach does not exist. ``carrier.phases()`` is what ``jobs`` runs under the name ``JOB``.
    """

    def __init__(self, rooms: Rooms) -> None:
        rooms.settings.check()
        self.carrier = Carrier(rooms)
        self.failing = ""
        """Why runs could not be looked after; empty: they are."""
        self._rooms = rooms
        self._task: asyncio.Task[None] | None = None

    # -- before and at the beginning -------------------------------------------------------------------------------

    async def plan(self, actor: Actor, wish: Wish, project: str | None = None) -> RunPlan:
        """What a run would do and take. Nothing is spent or written; errors stand among its notices.

        Raises ``NotFound`` (prompt, version, dataset, model), ``Invalid`` (scorers), ``Denied``.
        """
        plan, *_ = await self._plan(actor, wish, project)
        return plan

    async def start(self, actor: Actor, wish: Wish, project: str | None = None) -> Run:
        """A new run, waiting for its turn.

        Raises ``Invalid`` with all that keeps it from beginning, and ``Conflict`` where a run on this prompt is open.
        """
        plan, wish, found, version = await self._plan(actor, wish, project)
        planning.refuse(plan)
        now = self._rooms.clock.now()
        run = Run(
            id=ids.new(now),
            org=found.org,
            project=found.project,
            prompt=found.prompt.name,
            prompt_id=found.prompt.id,
            label=wish.label,
            intent=found.prompt.intent,
            alias=plan.alias,
            dataset=version.dataset,
            dataset_number=version.number,
            dataset_version=version.id,
            holdout_digest=version.holdout_digest,
            base_number=found.base.number,
            base_digest=found.base.digest,
            assigned_number=found.assigned,
            wish=wish,
            plan=plan,
            turns=1,
            author=access.principal_of(actor),
            started_by=access.actor_name(actor),
            created_at=now,
        )
        occasion = audit.occasion()

        def work(connection: sa.Connection) -> None:
            # The prompt's row is what two who start at once wait for.
            prompt_rows.find(connection, found.project, found.prompt.name, lock=True)
            store.insert(connection, run)
            self.carrier.leaf(connection, actor, None, run, "start", occasion, wish.note[:_REASON])

        await self._rooms.control.run(work)
        await self._enqueue(run)
        return run

    # -- while it lasts --------------------------------------------------------------------------------------------

    async def pause(self, actor: Actor, run_id: str, reason: str = "") -> Run:
        """The run, which begins no further call; it is paused when those under way have ended."""
        run = await self._change(actor, run_id, "pause", reason, _pause)
        self.carrier.pull(run_id, run.wanted)
        return run

    async def resume(self, actor: Actor, run_id: str, limits: Limits | None = None, reason: str = "") -> Run:
        """A paused run, going on where it stopped; with other ``limits`` where some are given."""

        def work(connection: sa.Connection, run: Run) -> Run:
            if run.state not in ("paused", "reviewing"):
                raise _wrong_state(run, "resumed")
            wish = run.wish if limits is None else msgspec.structs.replace(run.wish, limits=limits)
            asking.check_money(actor, wish.limits)
            if any(one is not None and one <= 0 for one in msgspec.structs.astuple(wish.limits)):
                raise Invalid("A budget of 0 or less lets nothing be tried.", code="budget_zero", param="limits")
            return store.change(connection, run, state="planned", wanted="", wish=wish, turns=run.turns + 1, why="")

        run = await self._change(actor, run_id, "resume", reason, work)
        await self._enqueue(run)
        return run

    async def cancel(self, actor: Actor, run_id: str, reason: str = "") -> Run:
        """The run, ended for good once the calls under way have ended. What was paid for is kept."""

        def work(connection: sa.Connection, run: Run) -> Run:
            if run.state not in OPEN:
                raise _wrong_state(run, "cancelled")
            if run.state == "running":
                return store.change(connection, run, wanted="cancel")
            now = self._rooms.clock.now()
            return store.change(connection, run, state="cancelled", wanted="", ended_at=now, why=reason[:_REASON])

        run = await self._change(actor, run_id, "cancel", reason, work)
        self.carrier.pull(run_id, "cancel")
        return run

    async def delete(self, actor: Actor, run_id: str, reason: str = "") -> Run:
        """The run, ended and emptied: its candidates, measurements and answers are gone; what it cost stays known."""

        def work(connection: sa.Connection, run: Run) -> Run:
            if run.state == "deleted":
                raise _wrong_state(run, "deleted")
            now = self._rooms.clock.now()
            return store.change(connection, run, state="deleted", wanted="", ended_at=run.ended_at or now, why="")

        run = await self._change(actor, run_id, "delete", reason, work)
        self.carrier.pull(run_id, "cancel")
        await self.carrier.records.forget(run_id)
        await self._rooms.measuring.forget(run_id)
        return run

    # -- by itself -------------------------------------------------------------------------------------------------

    async def start_looking(self) -> None:
        """Begin to look after runs: set going again what a process left behind, and what reviewers have decided."""
        self._task = asyncio.get_running_loop().create_task(self._look())

    async def stop(self) -> None:
        """End. What is under way goes on in the next process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _look(self) -> None:
        while True:
            try:
                await self.look()
                self.failing = ""
            except OstinatoError as error:
                self.failing = error.sentence
                _log.warning("Optimization runs could not be looked after: %s", error.sentence)
            except Exception:
                _log.exception("Optimization runs could not be looked after")
            await self._rooms.clock.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Once: every open run has a job that lives, or waits for somebody."""

        def work(connection: sa.Connection) -> list[Run]:
            found: list[Run] = []
            for state in ("planned", "running", "reviewing"):
                found += store.page(connection, reach=sa.true(), state=state, limit=1_000)
            return found

        trouble: list[Exception] = []
        for run in await self._rooms.control.read(work):
            try:
                await (self.reviewed(run.id) if run.state == "reviewing" else self._revive(run))
            except Exception as error:  # told below: the runs behind it are looked after all the same
                trouble.append(error)
        if trouble:
            raise trouble[0]

    async def reviewed(self, run_id: str) -> None:
        """Let a run go on that waits for reviewers, once they have said all."""
        run = await self.carrier.find(run_id)
        reviewing = self._rooms.reviewing
        if run.state != "reviewing" or reviewing is None or (await reviewing.verdict(run))[0] is None:
            return
        await self._again(run)

    async def _revive(self, run: Run) -> None:
        """See that the job of a run lives: it may have failed with the process, or never have been made."""
        job = await self._rooms.jobs.enqueue(JOB, subject_of(run), key=subject_of(run))
        if (await self._rooms.jobs.state(job)).state not in ("queued", "running"):
            await self._again(run)

    async def _again(self, run: Run) -> None:
        """Another turn, unless the run was changed meanwhile."""

        def work(connection: sa.Connection) -> Run | None:
            standing = store.find(connection, run.id, lock=True)
            if standing.version != run.version:
                return None
            return store.change(connection, standing, state="planned", turns=run.turns + 1, why="")

        again = await self._rooms.control.run(work)
        if again is not None:
            await self._enqueue(again)

    # -- questions -------------------------------------------------------------------------------------------------

    async def list(
        self,
        actor: Actor,
        *,
        project: str | None = None,
        prompt: str = "",
        state: str = "",
        after: str = "",
        limit: int = 100,
    ) -> Sequence[Run]:
        """A page of the runs that the actor reaches, oldest first, from behind ``after``."""

        def read(connection: sa.Connection) -> Sequence[Run]:
            permissions.require(actor, "optimizations:read")
            home = manage.find_project(connection, actor, project).id if project else ""
            return store.page(
                connection, reach=store.reach(actor), project=home, prompt=prompt, state=state, after=after, limit=limit
            )

        return await self._rooms.control.read(read)

    async def without_gain(self, project: str, since: int) -> frozenset[tuple[str, int]]:
        """Prompts of a project, with the versions that runs since a moment (UTC microseconds) found nothing better
        than. For rooms of ours: asks for no permission."""
        states = ("refused", "nothing-to-gain")
        found = await self._rooms.control.read(lambda connection: store.versions(connection, project, states, since))
        return frozenset(found)

    async def behind(self, releases: Sequence[str]) -> dict[str, tuple[str, int, int | None]]:
        """The run behind each release, when it began and when it had its candidates. For rooms of ours."""
        found = await self._rooms.control.read(lambda connection: store.behind(connection, releases))
        searched = await self.carrier.records.decided_at([run for run, _ in found.values()], "search")
        return {release: (run, begun, searched.get(run)) for release, (run, begun) in found.items()}

    async def show(self, actor: Actor, run_id: str) -> Progress:
        """One run, and how far it has come."""
        run = await self._find(actor, run_id)
        rounds = await self.carrier.records.all_rounds(run.id)
        candidates = await self.carrier.records.all_candidates(run.id)
        spent = await self._rooms.measuring.spent(run.id)
        base = incumbent(run)
        last = rounds[-1] if rounds else None
        return Progress(
            run=run,
            calls_planned=run.plan.calls,
            spent=spent,
            best=None if last is None else _best(last),
            base=None if last is None else next((one.mean for one in last.standings if one.candidate == base), None),
            curve=tuple((one.calls, best) for one in rounds if (best := _best(one)) is not None),
            candidates=len(candidates),
            share=1.0 if run.state in findings.FINAL else min(1.0, spent.calls / max(1, run.plan.calls)),
        )

    async def detail(self, actor: Actor, run_id: str) -> Detail:
        """Everything that is known of a run."""
        run = await self._find(actor, run_id)
        return await findings.gather(run, self.carrier.records, self._rooms.measuring)

    async def quoting(self, actor: Actor, project: str | None, examples: Sequence[str]) -> tuple[Quoted, ...]:
        """Prompts of a project that examples stand in, as its runs have put them there: what erasing them does not
        reach. See :func:`quoting.quoting`."""
        home = await self._rooms.control.read(lambda connection: manage.find_project(connection, actor, project))
        return await quoting(self._rooms.control, self._rooms.work, home.id, examples)

    async def report(self, actor: Actor, run_id: str) -> str:
        """The run's report: one HTML page that needs nothing else. Prompts are on it for those who may see examples."""
        detail = await self.detail(actor, run_id)
        texts = permissions.allows(actor, "datasets:text", store.resource(detail.run))
        if texts and await self._keeps_texts(detail.run):
            detail = msgspec.structs.replace(detail, samples=await sampling.samples(self._rooms, detail))
        return await asyncio.to_thread(report.page, detail, texts=texts)

    async def _keeps_texts(self, run: Run) -> bool:
        """Whether the run's project lets texts be kept."""
        home = await self._rooms.control.read(lambda connection: manage.find_project(connection, _SYSTEM, run.project))
        return home.store_text

    # -- inside ----------------------------------------------------------------------------------------------------

    async def _plan(
        self, actor: Actor, wish: Wish, project: str | None
    ) -> tuple[RunPlan, Wish, _Found, DatasetVersion]:
        """The plan, and what it is a plan of: the wish with its declared scorers as they stand now."""
        rooms = self._rooms
        wishes.check(wish)
        found = await rooms.control.read(lambda connection: _mean(connection, actor, wish, project))
        if wish.declared:
            specs = await rooms.declared(found.project, wish.declared)
            wish = msgspec.structs.replace(wish, scorers=wish.scorers + tuple(specs), declared=())
        needs_reference = rooms.measuring.check(wish, found.project)
        version = await rooms.data.version(actor, found.project, wish.dataset, wish.dataset_version)
        content = found.base.content
        assert content is not None
        alias = wish.alias or str(content.params.get("model") or "")
        if not alias:
            raise Invalid(
                f"Version {found.base.number} of {found.prompt.name!r} names no model.",
                code="no_model",
                param="alias",
                hint="Say which alias to ask.",
            )
        route = asking.check(actor, found.project, wish, alias, rooms.catalog.value)
        optimizers.find(wish.optimizer)
        sureness.check(wish.samples)
        snapshot = rooms.prompts.snapshot.value

        def pieces(name: str, number: int) -> prompts.Content:
            return snapshot.content(found.project, name, number)

        requirements = rooms.requirements_of(found.project, found.prompt.intent)
        slices = tuple(dict.fromkeys([*rooms.slices_of(found.project, found.prompt.intent), *wish.slices]))
        judges = proving.judges_of(wish)
        variant = Variant(name=found.prompt.name, content=content, digest="", alias=alias, retrieval=wish.retrieval)
        examples = await rooms.data.load(version.id, ("train", "dev"))
        if wish.retrieval is not None and examples:
            # What is wrong with the chain itself is wrong with every example; variables are counted below.
            with contextlib.suppress(prompts.InvalidVariable):
                rooms.measuring.fits(variant, examples[0], found.project)
        ground = Ground(
            wish=wish,
            version=version,
            examples=examples,
            base_number=found.base.number,
            compiled=Compiled(content, pieces),
            pieces=pieces,
            alias=alias,
            targets=route.targets,
            others=asking.beside(found.project, wish, rooms.catalog.value),
            judges=await rooms.calibrations(found, judges) if judges else (),
            fits=None
            if wish.retrieval is None
            else lambda example: rooms.measuring.fits(variant, example, found.project),
            slices=slices,
            review=requirements.human_review or bool(wish.review),
            alpha_left=await rooms.data.alpha_left(found.project, found.prompt.name, version),
            findings=await rooms.data.findings(version.id),
            needs_reference=needs_reference,
            prices=rooms.prices.value,
            settings=rooms.settings,
            provable=rooms.provable,
            now=rooms.clock.now(),
            unheard=await self._unheard(wish, found),
        )
        # Powers are computed exactly, with libraries that take a second to import.
        return await asyncio.to_thread(planning.make, ground), wish, found, version

    async def _unheard(self, wish: Wish, found: _Found) -> bool:
        """Whether its release would be watched for quality (see ``releasing.rollout``) that nobody tells of."""
        guardrails = releases.Guardrails() if found.assigned is not None else None
        if wish.rollout is not None:
            guardrails = wish.rollout.guardrails
        if guardrails is None or "quality" not in guardrails.watch or self._rooms.heard is None:
            return False
        return not await self._rooms.heard(found.project, found.prompt.name)

    async def _find(self, actor: Actor, run_id: str) -> Run:
        run = await self._rooms.control.read(lambda connection: store.find(connection, run_id))
        if not store.reaches(actor, run):
            raise store.unknown(run_id)
        permissions.require(actor, "optimizations:read", store.resource(run))
        return run

    async def _change(
        self, actor: Actor, run_id: str, verb: str, reason: str, work: Callable[[sa.Connection, Run], Run]
    ) -> Run:
        """One change that somebody asks for, with its leaf."""
        occasion = audit.occasion()
        if len(reason) > _REASON or "\x00" in reason:
            raise Invalid(f"A reason has at most {_REASON} characters.", code="invalid_reason", param="reason")

        def transaction(connection: sa.Connection) -> Run:
            run = store.find(connection, run_id)
            if not store.reaches(actor, run):
                raise store.unknown(run_id)
            permissions.require(actor, "optimizations:run", store.resource(run))
            run = store.find(connection, run_id, lock=True)
            changed = work(connection, run)
            self.carrier.leaf(connection, actor, run, changed, verb, occasion, reason)
            return changed

        return await self._rooms.control.run(transaction)

    async def _enqueue(self, run: Run) -> None:
        try:
            await self._rooms.jobs.enqueue(JOB, subject_of(run), key=subject_of(run))
        except OstinatoError as error:
            # Nothing would ever carry it out: say so now, and let it be resumed.
            await self.carrier.end(run.id, Ending("paused", error.sentence))
            raise


def incumbent(run: Run) -> str:
    """Id of the run's incumbent among its candidates."""
    return run.base_digest[:16]


def _mean(connection: sa.Connection, actor: Actor, wish: Wish, project: str | None) -> _Found:
    home = manage.find_project(connection, actor, project)
    head = prompt_rows.find(connection, home.id, wish.prompt)
    on = Resource(project=home.id, prompt=head.name, label=wish.label, intent=head.intent)
    for permission in ("optimizations:run", "prompts:write", "releases:propose"):
        permissions.require(actor, permission, on)
    if head.archived_at is not None:
        raise Conflict(f"The prompt {head.name!r} is archived.", code="prompt_archived", hint="Restore it first.")
    if head.kind == "partial":
        raise Invalid(f"{head.name!r} is a partial: it is never asked by itself.", code="is_partial", param="prompt")
    prompts.label(connection, home.id, wish.label)
    standing = prompts.assignment(connection, home.id, head.name, wish.label)
    if standing is not None and wish.number not in (None, standing.number) and wish.release:
        raise Invalid(
            f"The label {wish.label!r} points at version {standing.number}: what takes its place must be better "
            "than that.",
            code="not_the_incumbent",
            param="number",
            hint="Leave the number out, or ask for a report only (`release`: false).",
        )
    number = wish.number or (standing.number if standing is not None else 0)
    if not number:
        raise Invalid(
            f"The label {wish.label!r} of {head.name!r} points at nothing yet.",
            code="no_base",
            param="label",
            hint="Name the version to begin with, or release one first.",
        )
    base = prompt_rows.find_version(connection, head, number)
    return _Found(home.org_id, home.id, head, base, None if standing is None else standing.number)


def _pause(connection: sa.Connection, run: Run) -> Run:
    if run.state == "planned":
        return store.change(connection, run, state="paused", wanted="", why="somebody asked for it")
    if run.state != "running" or run.wanted == "cancel":
        raise _wrong_state(run, "paused")
    return store.change(connection, run, wanted="pause")


def _wrong_state(run: Run, verb: str) -> Conflict:
    ways: Mapping[str, str] = {
        "paused": "Resume it, or cancel it.",
        "running": "Pause it, or cancel it.",
        "planned": "Pause it, or cancel it.",
        "reviewing": "It goes on when the reviewers are done; or cancel it.",
    }
    standing = "being cancelled" if run.wanted == "cancel" else run.state
    return Conflict(
        f"The run {run.id} cannot be {verb}: it is {standing}.",
        code="run_state",
        hint=ways.get(run.state, "It is over: start another one."),
    )


def _best(found: Round) -> float | None:
    means = [one.mean for one in found.standings if one.mean is not None and not one.out]
    return max(means, default=None)
