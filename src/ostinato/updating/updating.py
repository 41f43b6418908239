"""The room's one object with a life: :class:`Updating` plans, compares, begins, judges and ends changes of models."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol, TypeVar, cast

import msgspec
import sqlalchemy as sa

from ostinato import access, approvals, audit, evals, intents, routing, storage
from ostinato.access import Actor, Caller, Resource, manage, permissions
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound, OstinatoError
from ostinato.releases import Outcome, Reading
from ostinato.releases.turn import Rights
from ostinato.storage import Current
from ostinato.traces import PriceBook
from ostinato.updating import reporting, store, traffic
from ostinato.updating.model import OPEN, Arm, NewUpdate, Report, Start, Trial, Update, Wish
from ostinato.updating.observing import Observing
from ostinato.updating.planning import ACTOR, Planner
from ostinato.updating.settings import Settings

T = TypeVar("T")

TOPIC = "routes"
_DAY = 86_400_000_000
_APPROVAL = 72 * 3_600_000_000
_REASON = 2_000
_MOST_TARGETS = 32
_MOST_INTENTS = 200
_STRICT = ("high", "critical")

Tell = Callable[[str, str, str, str, object, str], Awaitable[None]]
"""``tell(org, project, event, subject, data, key)``."""


class Standing(Protocol):
    """The declarations that stand, as far as this room needs them."""

    declaring: asyncio.Lock

    def judge_candidate(self, candidate: routing.Candidate) -> routing.Route:
        """The route that a candidate would be. Raises what cannot be obeyed."""
        ...

    async def follow(self, kind: str) -> None:
        """Wait until what is declared of a kind now is obeyed in this process."""
        ...

    async def place(self, declared: Sequence[storage.Declared]) -> Sequence[object]:
        """The bodies of declarations, each with the id of the project that it names."""
        ...


class Updating:
    """Changes of models of all projects. Every change of an update is one transaction with its leaf."""

    def __init__(
        self,
        control: storage.Database,
        ledger: storage.Database,
        clock: Clock,
        notices: storage.Notices,
        log: audit.Log,
        *,
        planner: Planner,
        observing: Observing,
        experiments: evals.Experiments,
        declarations: storage.Declarations,
        standing: Standing,
        catalog: Current[routing.Catalog],
        intents: Current[intents.Intents],
        prices: Current[PriceBook],
        rights: Rights,
        settings: Settings,
    ) -> None:
        settings.check()
        self.clock = clock
        self.settings = settings
        self.tell: Tell | None = None
        self._control = control
        self._ledger = ledger
        self._notices = notices
        self._log = log
        self._planner = planner
        self._observing = observing
        self._experiments = experiments
        self._declarations = declarations
        self._standing = standing
        self._catalog = catalog
        self._intents = intents
        self._prices = prices
        self._rights = rights

    # -- before anything changes ---------------------------------------------------------------------------------

    async def plan(self, actor: Actor, wish: NewUpdate) -> Update:
        """A new update: who uses the alias, by what each can be judged, and what comparing would cost. Asks no model,
        moves no traffic; the new targets can be asked as ``ALIAS@ID`` from now on."""
        home = await self._control.read(lambda c: manage.find_project(c, actor, wish.project))
        permissions.require(actor, "updates:run", Resource(project=home.id))
        if not 1 <= len(wish.targets) <= _MOST_TARGETS:
            raise Invalid(f"An alias has 1 to {_MOST_TARGETS} targets.", code="invalid_targets", param="targets")
        route = self._catalog.value.route(home.id, wish.alias)
        update = self._fresh(actor, home.org_id, home.id, route, wish.targets, _reason(wish.reason))
        new = self._standing.judge_candidate(update.candidate)
        if routing.key_digest(new, new.targets[0]) == routing.key_digest(route, route.targets[0]):
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
            standing = await self._control.read(lambda c, s=f"{home.id}/{alias}": store.open_at(c, s))
            if standing is None:
                fresh = self._fresh(ACTOR, home.org_id, home.id, route, (target,), "The model seems to have changed.")
                fresh = msgspec.structs.replace(fresh, kind="silent", evidence=dict(evidence), hint=_SILENT)
                fresh = await self._looked(fresh, (route.targets,))
                standing = await self._insert(ACTOR, fresh, "updates:suspect")
            found.append(standing)
        return tuple(found)

    async def run(self, actor: Actor, update_id: str, wish: Wish, version: int | None = None) -> Update:
        """Compare old and new on every prompt that can be judged: one durable experiment each, on the open part ``dev``
        of its dataset, with the scorers that it was last judged by."""
        found = await self._own(actor, update_id, "updates:run", version)
        if found.state not in ("planned", "waiting"):
            raise _state(found, "compared")
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
                made.append(await self._compare(found, use.prompt, wish))
            except OstinatoError as error:
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
            _void(connection, standing, "It was compared again.", self.clock.now())
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

    # -- from start to end ---------------------------------------------------------------------------------------

    async def start(self, actor: Actor, update_id: str, wish: Start, version: int | None = None) -> Update:
        """Begin the canary of each intent. Where one has high or critical stakes, the first call asks for approval
        (state ``waiting``), and another one begins once somebody else has agreed to exactly this.

        Refused while a comparison is not done, and where a prompt loses, unless ``accept`` says why.
        """
        found = await self._own(actor, update_id, "updates:run", version)
        if found.kind == "silent" or found.state not in ("planned", "waiting"):
            raise _state(found, "begun")
        if found.state == "planned":
            found = await self._ready(actor, found, wish)
            if found.state == "waiting":
                return found
        return await self._begin(actor, found)

    async def approve(self, actor: Actor, update_id: str, digest: str, comment: str = "") -> Update:
        """Agree to what waits. It takes ``releases:approve`` on every intent of high or critical stakes."""
        found = await self._own(actor, update_id, "updates:read")
        if found.state != "waiting":
            raise _state(found, "approved")
        for one in self._strict(found):
            permissions.require(actor, "releases:approve", Resource(project=found.project, intent=one))

        def work(connection: sa.Connection, standing: Update) -> tuple[Update, str]:
            approvals.decide(
                connection,
                now=self.clock.now(),
                actor=actor,
                request_id=standing.request_id,
                decision=approvals.APPROVE,
                comment=comment,
                digest=digest,
            )
            return store.change(connection, standing), "updates:approve"

        return await self._change(actor, found, work)

    async def abandon(self, actor: Actor, update_id: str, reason: str = "", version: int | None = None) -> Update:
        """Everything back to the old targets, wherever the update stands: here when this returns. What lay in the cache
        for them is warm. A declaration that was rewritten is put back, unless somebody changed it since."""
        found = await self._own(actor, update_id, "updates:run", version)
        if found.state == "abandoned":
            return found
        async with self._standing.declaring:
            if found.declared:
                await self._put_back(found)

            def work(connection: sa.Connection, standing: Update) -> tuple[Update, str]:
                _void(connection, standing, "The update was abandoned.", self.clock.now())
                ended = store.change(
                    connection,
                    standing,
                    state="abandoned",
                    declared=False,
                    why=_reason(reason),
                    ended_at=self.clock.now(),
                )
                return ended, "updates:abandon"

            ended = await self._change(actor, found, work, reason)
        for one in found.trials:
            await self._cancel(one.experiment)
        return ended

    async def look(self) -> None:
        """One round over all canaries: each intent goes on, waits, or goes back; an update all of whose intents have
        ended is concluded."""
        for update in await self._control.read(store.running):
            standing = update
            for arm in update.arms:
                if arm.state == "canary":
                    standing = await self._step(standing, arm)
            if all(arm.state != "canary" for arm in standing.arms):
                await self._conclude(standing)

    # -- questions -----------------------------------------------------------------------------------------------

    async def show(self, actor: Actor, update_id: str) -> Update:
        """One update."""
        return await self._own(actor, update_id, "updates:read")

    async def list(
        self, actor: Actor, *, project: str | None = None, state: str = "", after: str = "", limit: int = 100
    ) -> Sequence[Update]:
        """A page of a project's updates, the newest first."""

        def read(connection: sa.Connection) -> Sequence[Update]:
            home = manage.find_project(connection, actor, project)
            permissions.require(actor, "updates:read", Resource(project=home.id))
            return store.page(connection, home.id, state=state, after=after, limit=limit)

        return await self._control.read(read)

    async def candidates(self) -> Sequence[routing.Candidate]:
        """What the catalog of routes must know of all updates."""
        return await self._control.read(store.candidates)

    # -- inside --------------------------------------------------------------------------------------------------

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
        used = await self._ledger.read(lambda c: traffic.used(c, update.project, update.alias, since, settings.rows))
        uses = await self._planner.uses(
            update.project, update.alias, used, targets=sides, prices=self._prices.value, now=now
        )
        seen = {one.intent for one in used} | {one.intent for one in uses}
        return msgspec.structs.replace(update, uses=uses, traffic=tuple(used), intents=tuple(sorted(seen | {""})))

    async def _insert(self, actor: Actor, update: Update, action: str) -> Update:
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> None:
            store.insert(connection, update)
            self._log.append(connection, _deed(actor, None, update, action, update.reason, {}), occasion)
            self._notices.mark(connection, TOPIC)

        await self._control.run(transaction)
        await self._obey()
        return update

    async def _compare(self, update: Update, prompt: str, wish: Wish) -> Trial:
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
            ACTOR,
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

    async def _ready(self, actor: Actor, found: Update, wish: Start) -> Update:
        """The update with how it begins; ``waiting`` where others must agree first."""
        wish.rollout.plan.check()
        if not wish.rollout.steps:
            raise Invalid("A canary needs at least one step.", code="invalid_plan", param="rollout.steps")
        chosen = found.intents if wish.intents is None else tuple(sorted(set(wish.intents)))
        if not chosen or len(chosen) > _MOST_INTENTS:
            raise Invalid(f"1 to {_MOST_INTENTS} intents.", code="invalid_intents", param="intents")
        for one in chosen:
            if one:
                self._intents.value.require(found.project, one)
        accepted = _reason(wish.accept)
        if not accepted:
            _must_be_proven((await self.report(ACTOR, found.id)), chosen)
        taken = await self._control.read(store.candidates)
        for other in taken:
            both = set(other.shares) & set(chosen)
            if other.id != found.id and (other.project, other.alias) == (found.project, found.alias) and both:
                raise Conflict(
                    f"The update {other.id} still answers {_named(sorted(both))} of {found.alias!r} by its targets.",
                    code="update_in_force",
                    hint="Write its targets into the alias's declaration, or abandon it; then begin.",
                )
        wanted = msgspec.structs.replace(found, intents=chosen, rollout=wish.rollout, accepted=accepted)
        digest, strict = wanted.bundle(), self._strict(wanted)

        def work(connection: sa.Connection, standing: Update) -> tuple[Update, str]:
            changes: dict[str, object] = {
                "intents": chosen,
                "rollout": wish.rollout,
                "accepted": accepted,
                "digest": digest,
            }
            if strict:
                now = self.clock.now()
                request = approvals.open_request(
                    connection,
                    now=now,
                    actor=actor,
                    kind="update",
                    target=standing.resource,
                    digest=digest,
                    body={"alias": standing.alias, "old": list(standing.old), "new": list(standing.names)},
                    needed=max(1, *(self._intents.value.requirements(found.project, one).approvals for one in strict)),
                    org=standing.org,
                    project=standing.project,
                    expires=now + _APPROVAL,
                )
                changes |= {"state": "waiting", "request_id": request.id}
            return store.change(connection, standing, **changes), "updates:ask" if strict else "updates:prepare"

        return await self._change(actor, found, work, wish.reason)

    async def _begin(self, actor: Actor, found: Update) -> Update:
        strict = self._strict(found)
        if strict and not found.request_id:
            raise Conflict("Its stakes were raised meanwhile.", code="approval_needed", hint="Abandon it, plan again.")

        def work(connection: sa.Connection, standing: Update) -> tuple[Update, str]:
            now = self.clock.now()
            if standing.request_id:
                may = self._rights(connection, now)

                def allowed(principal: str) -> bool:
                    return all(
                        may(principal, "releases:approve", Resource(project=standing.project, intent=one), standing.org)
                        for one in strict
                    )

                tally = approvals.tally(connection, standing.request_id, now=now, allowed=allowed)
                if not tally.reached:
                    raise Conflict(
                        f"The update waits: {tally.sentence}.",
                        code="approvals_missing",
                        hint=f"Somebody else agrees by `ostinato updates approve {standing.id}`.",
                    )
                approvals.complete(connection, standing.request_id, now=now)
            arms = tuple(Arm(intent=one, step_since=now, started_at=now) for one in standing.intents)
            return store.change(connection, standing, state="canary", arms=arms), "updates:start"

        return await self._change(actor, found, work)

    async def _step(self, update: Update, arm: Arm) -> Update:
        """One intent's next step, or its way back."""
        now = self.clock.now()
        judged = await self._observing.judged(update, arm, now)
        if judged.outcome is Outcome.WAIT:
            return update
        if judged.outcome is Outcome.HARM:
            moved, action = msgspec.structs.replace(arm, state="failed", why=judged.why[:_REASON]), "updates:roll_back"
        elif arm.step + 1 >= len(update.rollout.steps):
            moved, action = msgspec.structs.replace(arm, state="passed", why=judged.why), "updates:pass"
        else:
            moved = msgspec.structs.replace(arm, step=arm.step + 1, step_since=now, why=judged.why)
            action = "updates:advance"
        arms = tuple(moved if one.intent == arm.intent else one for one in update.arms)

        def work(connection: sa.Connection, standing: Update) -> tuple[Update, str]:
            if standing.version != update.version:
                return standing, ""  # somebody was quicker
            return store.change(connection, standing, arms=arms), action

        return await self._change(ACTOR, update, work, judged.why)

    async def _conclude(self, update: Update) -> None:
        """All intents have ended: the declaration is rewritten where all passed and it is this project's own; else the
        intents that passed stay on the new targets beside it."""
        passed = [one.intent for one in update.arms if one.state == "passed"]
        hint, declared, before = "", False, None
        async with self._standing.declaring:
            if passed and len(passed) == len(update.arms) and set(_seen(update)) <= set(passed):
                name, before = await self._declaration(update)
                declared = before is not None
                if declared:
                    body = {**cast("dict[str, object]", before), "targets": list(update.targets)}
                    await self._declarations.put("models", name, body, access.actor_name(ACTOR))
            if passed and not declared:
                hint = (
                    f"Its new targets answer {_named(passed)} beside the declaration of {update.alias!r}. Where that "
                    "shall name them, change it there, then abandon this update."
                )

            def work(connection: sa.Connection, standing: Update) -> tuple[Update, str]:
                if standing.version != update.version:
                    return standing, ""
                return store.change(
                    connection,
                    standing,
                    state="done" if passed else "abandoned",
                    declared=declared,
                    before=before,
                    hint=hint,
                    why="" if passed else "No intent passed.",
                    ended_at=self.clock.now(),
                ), "updates:finish" if passed else "updates:abandon"

            await self._change(ACTOR, update, work, passed=len(passed), failed=len(update.arms) - len(passed))

    async def _declaration(self, update: Update) -> tuple[str, object]:
        """The alias's own declaration, where it is this project's alone and may be changed; its body as it stood."""
        entries = await self._declarations.entries("models")
        placed = await self._standing.place(entries)
        for one, body in zip(entries, placed, strict=True):
            fields = cast("dict[str, object]", body) if isinstance(body, dict) else {}
            if fields.get("alias", one.name) == update.alias and fields.get("project", "") == update.project:
                return one.name, None if one.read_only else one.body
        return "", None

    async def _put_back(self, update: Update) -> None:
        name, now = await self._declaration(update)
        body = cast("dict[str, object]", now) if isinstance(now, dict) else {}
        if name and body.get("targets") == msgspec.to_builtins(list(update.targets)):
            await self._declarations.put("models", name, update.before, access.actor_name(ACTOR))

    async def _cancel(self, experiment: str) -> None:
        try:
            await self._experiments.cancel(ACTOR, experiment, "The update was abandoned.")
        except OstinatoError:
            return  # over already

    def _strict(self, update: Update) -> Sequence[str]:
        """Its intents of high or critical stakes."""
        known = self._intents.value
        found = ((one, known.of(update.project, one)) for one in update.intents if one)
        return [name for name, intent in found if intent is not None and intent.stakes in _STRICT]

    async def _own(self, actor: Actor, update_id: str, permission: str, version: int | None = None) -> Update:
        def read(connection: sa.Connection) -> Update:
            found = store.find(connection, update_id)
            try:
                manage.find_project(connection, actor, found.project)
            except NotFound:
                raise store.unknown(update_id) from None
            permissions.require(actor, permission, Resource(project=found.project))
            return found

        found = await self._control.read(read)
        if version is not None and version != found.version:
            raise Conflict(f"The update has moved on: it is {found.state}.", code="version_moved")
        return found

    async def _change(
        self,
        actor: Actor,
        seen: Update,
        work: Callable[[sa.Connection, Update], tuple[Update, str]],
        reason: str = "",
        **facts: int,
    ) -> Update:
        """One transaction with its leaf and its notice; returns when this process acts by it. What ``work`` decided on
        ``seen`` holds only while that is what stands."""
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> tuple[Update, str]:
            standing = store.find(connection, seen.id, lock=True)
            if standing.version != seen.version and not isinstance(actor, access.SystemActor):
                raise Conflict(f"The update has moved on: it is {standing.state}.", code="version_moved")
            changed, action = work(connection, standing)
            if action:
                self._log.append(connection, _deed(actor, standing, changed, action, reason, facts), occasion)
                self._notices.mark(connection, TOPIC)
            return changed, action

        changed, action = await self._control.run(transaction)
        if action:
            await self._obey()
            if self.tell is not None:
                data = {"alias": changed.alias, "state": changed.state, "version": changed.version}
                key = f"{changed.id}-{changed.version}"
                await self.tell(changed.org, changed.project, action, changed.resource, data, key)
        return changed

    async def _obey(self) -> None:
        self._notices.publish(TOPIC, marked=True)
        await self._standing.follow("models")


_SILENT = "Compare it with the answers of its last experiments: `ostinato updates run`."


def _seen(update: Update) -> set[str]:
    return {one.intent for one in update.traffic} | {one.intent for one in update.uses}


def _must_be_proven(report: Report, chosen: Sequence[str]) -> None:
    """Raise ``Conflict`` where a comparison is missing or a prompt loses."""
    uses = {one.prompt: one for one in report.update.uses}
    about = [one for one in report.lines if one.prompt in uses and uses[one.prompt].intent in chosen]
    losers = [one.prompt for one in about if one.verdict == "loses"]
    pending = [one.prompt for one in about if one.verdict == "unknown" and not uses[one.prompt].unknown]
    if losers:
        raise Conflict(
            f"By this change {_named(losers)} loses.",
            code="prompts_lose",
            hint="Leave out their intents, improve them first, or say in `accept` who accepts the loss and why.",
        )
    if pending:
        raise Conflict(
            f"It is not known yet what the change does to {_named(pending)}.",
            code="not_compared",
            hint="`ostinato updates run` compares; or say in `accept` why it may begin without.",
        )


def _void(connection: sa.Connection, update: Update, why: str, now: int) -> None:
    if update.request_id and update.state == "waiting":
        approvals.void(connection, update.request_id, why, now=now)


def _state(update: Update, verb: str) -> Conflict:
    what = "a silent change" if update.kind == "silent" and update.state in OPEN else update.state
    return Conflict(f"The update is {what}: it cannot be {verb}.", code="update_state")


def _named(names: Sequence[str]) -> str:
    shown = [one or "requests without an intent" for one in names]
    return ", ".join(shown[:10]) + (f" and {len(shown) - 10} more" if len(shown) > 10 else "")


def _reason(text: str) -> str:
    text = text.strip()
    if len(text) > _REASON or "\x00" in text:
        raise Invalid(f"A reason has at most {_REASON} characters.", code="invalid_reason", param="reason")
    return text


def _deed(
    actor: Actor, before: Update | None, after: Update, action: str, reason: str, facts: Mapping[str, int]
) -> audit.Deed:
    return audit.Deed(
        actor=access.actor_name(actor),
        principal=access.principal_of(actor),
        action=action,
        resource=after.resource,
        org=after.org,
        project=after.project,
        before=None if before is None else _told(before),
        after=_told(after),
        reason=reason[:_REASON],
        facts={"alias": after.alias, "state": after.state, "kind": after.kind, **facts},
    )


def _told(update: Update) -> dict[str, object]:
    return {
        "state": update.state,
        "old": list(update.old),
        "new": msgspec.to_builtins(update.targets),
        "arms": [[one.intent, one.state, one.step] for one in update.arms],
        "declared": update.declared,
        "version": update.version,
    }
