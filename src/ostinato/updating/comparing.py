"""Before anything changes: who is concerned, and who gains and who loses."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec
import sqlalchemy as sa

from ostinato import access, evals, routing
from ostinato.access import Actor, Caller, Resource, manage, permissions
from ostinato.core import ids
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound
from ostinato.releases import Reading
from ostinato.updating import reporting, store, traffic
from ostinato.updating.model import NewUpdate, Report, Trial, Update, Wish, slot_of
from ostinato.updating.planning import ACTOR
from ostinato.updating.turn import Turns, reason_of, void, wrong_state

_DAY = 86_400_000_000
_MOST_TARGETS = 32
_SILENT = "Compare it with the answers of its last experiments: `ostinato updates run`."


class Comparing(Turns):
    """Plans and comparisons. Everything that is paid for here goes through experiments."""

    async def plan(self, actor: Actor, wish: NewUpdate) -> Update:
        """A new update: who uses the alias, by what each can be judged, and what comparing would cost. Asks no model,
        moves no traffic; the new targets can be asked as ``ALIAS@ID`` from now on."""
        home = await self._control.read(lambda c: manage.find_project(c, actor, wish.project))
        permissions.require(actor, "updates:run", Resource(project=home.id))
        if not 1 <= len(wish.targets) <= _MOST_TARGETS:
            raise Invalid(f"An alias has 1 to {_MOST_TARGETS} targets.", code="invalid_targets", param="targets")
        route = self._catalog.value.route(home.id, wish.alias)
        update = self._fresh(actor, home.org_id, home.id, route, wish.targets, reason_of(wish.reason))
        new = self._standing.judge_candidate(update.candidate)
        if new.digest == route.digest:
            raise Invalid(
                f"{wish.alias!r} stands for {', '.join(update.old)} already.",
                code="nothing_changes",
                param="targets",
                hint="Where a model has changed without a new name, give its target another `revision`.",
            )
        update = await self._looked(update, (route.targets, new.targets))
        return await self._insert(actor, update, "updates:plan")

    async def suspect(
        self, target: str, evidence: Mapping[str, str | int | float | bool], *, project: str
    ) -> tuple[Update, ...]:
        """Open a silent update for each alias of ``project`` (id) that stands for ``target`` (``provider/model``): the
        model seems to have changed behind our back. What is open already is joined. Proposes a comparison with the last
        experiments' answers; runs nothing."""
        home = await self._control.read(lambda c: manage.find_project(c, ACTOR, project))
        found: list[Update] = []
        for alias in self._catalog.value.aliases(home.id, "chat"):
            route = self._catalog.value.route(home.id, alias)
            if "@" in alias or all(one.name != target for one in route.targets):
                continue
            standing = await self._open_at(home.id, alias)
            if standing is None:
                fresh = self._fresh(ACTOR, home.org_id, home.id, route, (target,), "The model seems to have changed.")
                fresh = msgspec.structs.replace(fresh, kind="silent", evidence=dict(evidence), hint=_SILENT)
                fresh = await self._looked(fresh, (route.targets,))
                try:
                    standing = await self._insert(ACTOR, fresh, "updates:suspect")
                except Conflict:
                    continue  # another process was quicker, and has told the same
            found.append(standing)
        return tuple(found)

    async def _open_at(self, project: str, alias: str) -> Update | None:
        """What is open of an alias: a change, else a suspicion."""

        def read(connection: sa.Connection) -> Update | None:
            change = store.open_at(connection, slot_of(project, alias, "change"))
            return change or store.open_at(connection, slot_of(project, alias, "silent"))

        return await self._control.read(read)

    async def run(self, actor: Actor, update_id: str, wish: Wish, version: int | None = None) -> Update:
        """Compare old and new on every prompt that can be judged: one durable experiment each, on the open part ``dev``
        of its dataset, with the scorers that it was last judged by."""
        found = await self._own(actor, update_id, "updates:run", version)
        if found.state not in ("planned", "waiting"):
            raise wrong_state(found, "compared")
        if isinstance(actor, Caller) and actor.accounts and wish.limits.nano is None:
            raise Denied(
                "This key has a money budget: its comparisons need a limit on money, too.",
                code="limit_needed",
                hint="Set `limits.nano`, in nano-dollars.",
            )
        able = [one for one in found.uses if not one.unknown and (not wish.prompts or one.prompt in wish.prompts)]
        if not able:
            raise Conflict(
                "None of its prompts can be judged beforehand.",
                code="nothing_to_compare",
                hint="Make a dataset of a prompt and run an experiment on it; then plan the update again.",
            )
        made: list[Trial] = []
        refused: dict[str, str] = {}
        for use in able:
            try:
                made.append(await self._compare(actor, found, use.prompt, wish))
            except (Invalid, NotFound, Conflict) as error:
                refused[use.prompt] = error.sentence
        if not made:
            prompt, why = next(iter(refused.items()))
            raise Conflict(f"No comparison could begin; {prompt}: {why}", code="nothing_to_compare")
        uses = tuple(
            msgspec.structs.replace(one, unknown=refused[one.prompt]) if one.prompt in refused else one
            for one in found.uses
        )
        names = {one.prompt for one in made}
        trials = (*(one for one in found.trials if one.prompt not in names), *made)

        def work(connection: sa.Connection, standing: Update) -> tuple[Update, str]:
            void(connection, standing, "It was compared again.", self.clock.now())
            return store.change(
                connection, standing, trials=trials, uses=uses, state="planned", request_id="", digest=""
            ), "updates:run"

        return await self._change(actor, found, work, experiments=len(made))

    async def report(self, actor: Actor, update_id: str) -> Report:
        """Who gains and who loses, as far as the comparison is done; and what the canaries show."""
        found = await self._own(actor, update_id, "updates:read")
        measured = {one.experiment: await self._measured(one) for one in found.trials}
        kept = {name: one for name, one in measured.items() if one is not None}
        rows = await asyncio.to_thread(reporting.lines, found, kept)
        readings: dict[str, tuple[Reading, ...]] = {}
        if found.state == "canary":
            for arm in found.arms:
                if arm.state == "canary":
                    readings[arm.intent] = await self._observing.readings(found, arm)
        return Report(update=found, lines=rows, alpha=reporting.ALPHA, readings=readings)

    def _fresh(
        self, actor: Actor, org: str, project: str, route: routing.Route, targets: Sequence[object], reason: str
    ) -> Update:
        now = self.clock.now()
        return Update(
            id=ids.new(now),
            org=org,
            project=project,
            alias=route.alias,
            old=tuple(one.name for one in route.targets),
            targets=tuple(cast("str | dict[str, object]", one) for one in targets),
            reason=reason,
            author=access.principal_of(actor),
            created_at=now,
            created_by=access.actor_name(actor),
        )

    async def _looked(self, update: Update, sides: Sequence[Sequence[routing.Target]]) -> Update:
        now, settings = self.clock.now(), self.settings
        since = now - int(settings.days * _DAY)
        of = update.project, update.alias, since, settings.rows
        used = await self._ledger.read(lambda c: traffic.used(c, *of))
        own = await self._ledger.read(lambda c: traffic.used(c, *of, own=True))
        uses = await self._planner.uses(
            update.project, update.alias, used, own=own, targets=sides, prices=self._prices.value, now=now
        )
        seen = {one.intent for one in used} | {one.intent for one in uses}
        return msgspec.structs.replace(update, uses=uses, traffic=tuple(used), intents=tuple(sorted(seen | {""})))

    async def _compare(self, actor: Actor, update: Update, prompt: str, wish: Wish) -> Trial:
        use = next(one for one in update.uses if one.prompt == prompt)
        named = f"{prompt}@{use.number}"
        variants: tuple[evals.Contender, ...] = (evals.Contender(name="old", prompt=named, model=update.alias),)
        against, variant = "", ""
        if update.kind == "silent":
            variants = (evals.Contender(name="now", prompt=named, model=update.alias),)
            against, variant = await self._before(update, prompt, use.dataset, use.number)
        else:
            other = routing.trials.name_of(update.alias, update.id)
            variants += (evals.Contender(name="new", prompt=named, model=other),)
        made = await self._experiments.create(
            actor,
            evals.Wish(
                name=f"update {update.alias}: {prompt}"[:200],
                dataset=use.dataset,
                splits=("dev",),
                variants=variants,
                scorers=use.scorers,
                limits=wish.limits,
                examples=wish.examples,
                seed=wish.seed,
                note=f"update {update.id}",
            ),
            project=update.project,
        )
        return Trial(prompt=prompt, number=use.number, experiment=made.id, against=against, against_variant=variant)

    async def _before(self, update: Update, prompt: str, dataset: str, number: int) -> tuple[str, str]:
        """The newest finished experiment that asked this alias with this version of the prompt, and its variant."""
        page = await self._experiments.list(ACTOR, project=update.project, state="done", dataset=dataset, limit=200)
        for one in page:
            for arm in one.arms:
                if (arm.prompt, arm.number, arm.model) == (prompt, number, update.alias):
                    return one.id, arm.name
        raise NotFound(
            f"No finished experiment has asked {update.alias!r} with {prompt}@{number}.",
            code="nothing_before",
            hint="A silent change can only be measured against answers from before it.",
        )

    async def _measured(self, trial: Trial) -> reporting.Measured | None:
        try:
            results = await self._experiments.results(ACTOR, trial.experiment)
            if not trial.against:
                old, new = results.figures
                return reporting.Measured(results.state, old, new, results.comparisons[0])
            before = await self._experiments.results(ACTOR, trial.against)
            pair = await self._experiments.compare(
                ACTOR, (trial.against, trial.against_variant), (trial.experiment, "now")
            )
        except (NotFound, ValueError):
            return None
        old = next((one for one in before.figures if one.name == trial.against_variant), None)
        return reporting.Measured(results.state, old, results.figures[0], pair)
