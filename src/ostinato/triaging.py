"""How decisions of triage are carried out: by cache rules, optimization runs, review queues."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, cast

import msgspec

from ostinato import access, intents, reviews, scorers
from ostinato.access import Actor, SystemActor
from ostinato.audit import Log
from ostinato.cache.model import Policy
from ostinato.cache.policy import Policies
from ostinato.calls import Calls
from ostinato.cases import Cases
from ostinato.cases.model import Alarm
from ostinato.config import Config
from ostinato.core import hashing
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, Invalid, NotFound
from ostinato.families import Families
from ostinato.optimization import Optimizations, Wish
from ostinato.prompts import Prompts
from ostinato.signals import Signals
from ostinato.storage import Change, Current, Database, Declarations, Declared
from ostinato.traces import Metrics
from ostinato.triage import Audits, Decision, Drifting, Gained, Inventory, Item, Rooms, Served, Triage
from ostinato.wire.model import Json

SYSTEM = SystemActor("triage")
_MOSTLY = 0.9
"""Share of the requests under a rule that must be of the family: others would be changed with it."""
_DRIFTS = frozenset({"quality", "errors", "refusals", "format", "latency", "cost", "mix", "model"})
_NO_DETECTORS = ("alert:", "people:", "breaker:")
"""Who else opens cases of the same kinds."""
_PAGE = 500
QUEUE = "triage"
"""The review queue that is made where a family's quality is not known."""


class Standing(Protocol):
    """The declarations that stand, as this process obeys them."""

    declaring: asyncio.Lock

    async def place(self, declared: Sequence[Declared | Change]) -> list[object]: ...

    async def judge(self, kind: str, declared: Mapping[str, object]) -> None: ...

    async def follow(self, kind: str) -> None: ...


class Caching(msgspec.Struct, frozen=True):
    """Changes cache rules: those of the family's intent, else the policy of its model in its project."""

    declarations: Declarations
    changes: intents.Changes
    standing: Standing
    intents: Current[intents.Intents]
    policies: Current[Policies]
    families: Families

    async def __call__(self, actor: Actor, decision: Decision, rules: Json) -> Json:
        """Declare ``rules`` (mode, ttl, scope) for the family. Doing it twice changes nothing the second time.

        Raises ``Conflict`` where others would be changed along with it, or the rule stands in the configuration.
        """
        async with self.standing.declaring:
            if decision.intent:
                return await self._intent(actor, decision, rules)
            return await self._policy(actor, decision, rules)

    async def _intent(self, actor: Actor, decision: Decision, rules: Json) -> Json:
        await self._alone(decision, "intent")
        intent = self.intents.value.require(decision.project, decision.intent)
        if intent.project != decision.project:
            raise Conflict(
                f"The intent {intent.key!r} is everybody's: its rules hold for other projects too.",
                code="triage_shared",
                hint="Declare an intent of the same key for this project, then approve again.",
            )
        bodies = await self._bodies("intents")
        version, before = bodies[intent.name]
        body = cast("dict[str, Any]", before)
        after: Json = {**body, "cache": {**body.get("cache", {}), **rules}}
        await self.standing.judge("intents", {**{name: one for name, (_, one) in bodies.items()}, intent.name: after})
        change = intents.Change(intent.name, version, after)
        asked = await self.changes.waiting(intent.name)
        if asked is not None and asked.digest == change.digest():
            return {"intent": intent.name, "request": asked.id}  # before a crash, or by somebody with the same wish
        made = await self.changes.make(actor, intents.Wanted.of(change, before, decision.org))
        if not isinstance(made, int):
            return {"intent": intent.name, "request": made.id}
        await self.standing.follow("intents")
        return {"intent": intent.name, "version": made}

    async def _policy(self, actor: Actor, decision: Decision, rules: Json) -> Json:
        alias = str(decision.figures.get("alias", ""))
        await self._alone(decision, "alias")
        bodies = await self._bodies("policies")
        name = next(
            (name for name, (_, body) in bodies.items() if _for(body) == (decision.project, alias)),
            f"triage-{decision.project}-{alias}",
        )
        version, before = bodies.get(name, (0, None))
        after = {**(cast("Json", before) if before is not None else self._as_now(decision.project, alias)), **rules}
        await self.standing.judge("policies", {**{key: one for key, (_, one) in bodies.items()}, name: after})
        made = await self.declarations.put("policies", name, after, access.actor_name(actor), expect=version)
        await self.standing.follow("policies")
        return {"policy": name, "version": made}

    def _as_now(self, project: str, alias: str) -> Json:
        """What holds for the alias now, as a declaration of its own: a more specific one wins whole."""
        now, built_in = self.policies.value.for_(project, alias), Policy()
        differing = {
            name: getattr(now, name)
            for name in Policy.__struct_fields__
            if name != "version" and getattr(now, name) != getattr(built_in, name)
        }
        return {"project": project, "alias": alias, **msgspec.to_builtins(differing)}

    async def _bodies(self, kind: str) -> dict[str, tuple[int, object]]:
        entries = await self.declarations.entries(kind)
        placed = await self.standing.place(entries)
        return {one.name: (one.version, body) for one, body in zip(entries, placed, strict=True)}

    async def _alone(self, decision: Decision, by: str) -> None:
        """Raise ``Conflict`` where the rule would change what is decided of other families."""
        found = await self.families.list(decision.project)
        own = next((one for one in found if one.family == decision.family), None)
        if own is None:
            raise NotFound("Nothing is known of this family any more.", code="triage_not_found")
        # What it is of by now may be another than when it was decided on: the rule is the one that was decided.
        name = decision.intent if by == "intent" else str(decision.figures.get("alias", ""))
        under = sum(one.per_month for one in found if getattr(one, by) == name)
        mine = own.per_month if getattr(own, by) == name else 0.0
        if mine < _MOSTLY * under or not mine:
            raise Conflict(
                f"The rule for the {by} {name!r} holds for other families too: this one is "
                f"{100 * mine / under if under else 0:.0f} % of the requests under it.",
                code="triage_shared",
                hint="Give these requests an intent of their own (header ostinato-intent, or a prompt with it), "
                "then approve again.",
            )


def _for(body: object) -> tuple[object, object]:
    """The project and alias that a placed policy is for."""
    named = cast("Json", body) if isinstance(body, dict) else {}
    return named.get("project"), named.get("alias")


def starting(runs: Optimizations) -> Callable[[Actor, Decision, Json], Awaitable[Json]]:
    """Start an optimization run on the family's prompt, as its last run was wished for where nothing else is said."""

    async def start(actor: Actor, decision: Decision, wanted: Json) -> Json:
        if not decision.prompt:
            raise Invalid(
                "These requests carry their instructions themselves: only a registered prompt can be optimized.",
                code="triage_no_prompt",
                hint="Save the instructions as a prompt (`ostinato prompts create`), and ask for it by name.",
            )
        known = await runs.list(SYSTEM, project=decision.project, prompt=decision.prompt, limit=500)
        open_one = next((one for one in known if one.state in ("planned", "running", "paused", "reviewing")), None)
        if open_one is not None:
            return {"run": open_one.id, "was_open": True}
        before: Json = msgspec.to_builtins(known[-1].wish) if known else {}
        wish: Json = {**before, **wanted, "prompt": decision.prompt}
        if "dataset" not in wish:
            raise Invalid(
                f"No run on {decision.prompt!r} tells which dataset and scorers to take.",
                code="triage_no_dataset",
                hint="Say so, as for `ostinato optimize start`: a dataset, scorers, and limits of what may be spent.",
            )
        try:
            wished = msgspec.convert({"note": f"triage {decision.id}", **wish}, Wish)
        except msgspec.ValidationError as error:
            raise Invalid(f"What shall be optimized is told wrongly: {error}.", param="optimize") from None
        run = await runs.start(actor, wished, decision.project)
        return {"run": run.id}

    return start


def gained(runs: Optimizations, clock: Clock, days: float) -> Gained:
    """What runs on a project's prompts have found to be gained in the last ``days``: nothing, where they proved nothing
    better.

    Else it is not known, and how good answers are now says what there is to gain.
    """

    async def find(project: str) -> Mapping[tuple[str, int], float]:
        return dict.fromkeys(await runs.without_gain(project, clock.now() - int(days * 86_400e6)), 0.0)

    return find


def asking(
    room: reviews.Reviews, registry: scorers.Registry, keeps: Callable[[str], Awaitable[bool]]
) -> Callable[[Actor, Decision, Json], Awaitable[Json]]:
    """Have people look at a share of a family's answers: a queue, and the rule of sampling that fills it.

    ``keeps(project)``: whether texts are kept there; without them nothing can be looked at later.
    """

    async def ask(_: Actor, decision: Decision, wanted: Json) -> Json:
        share, project, why = float(wanted.get("share", 0.05)), decision.project, f"triage {decision.id}"
        if not await keeps(project):
            raise Conflict(
                "This project keeps no texts: nobody could look at its answers.",
                code="triage_no_texts",
                hint="Set `store_text` of the project (PATCH /api/v1/projects/ID), then approve again.",
            )
        declared = reviews.Declaration(
            title="Answers of families whose quality nobody knows",
            # The rule draws the share; whatever of it is of high stakes is looked at.
            sampling=reviews.Sampling(random=1.0, least_confident=0.0),
        )
        try:
            standing = (await room.queue(SYSTEM, QUEUE, project=project)).queue.declared
        except NotFound:
            standing = (await room.declare(SYSTEM, QUEUE, declared, project=project, reason=why)).declared
        if standing.closed or standing.mode != "single":
            raise Conflict(
                f"The queue {QUEUE!r} takes no single answers.",
                code="triage_queue",
                hint=f"Declare the queue {QUEUE!r} open and of mode `single`, then approve again.",
            )
        rule = scorers.NewRule(
            name=f"triage-{hashing.digest_of([decision.intent, decision.prompt]).hex()[:12]}",
            share=share,
            scorers=(),
            intent=decision.intent,
            prompt=decision.prompt,
            review=QUEUE,
        )
        known = {one.name for one in await registry.rules(SYSTEM, project=project)}
        if rule.name not in known:  # one that stands may have been changed since, by somebody who knew why
            await registry.put_rule(SYSTEM, rule, project=project, reason=why)
        return {"queue": QUEUE, "rule": rule.name}

    return ask


def case_of(on_alarm: Callable[[Alarm], Awaitable[str]]) -> Callable[[Item], Awaitable[None]]:
    """Open a case for a prompt that its owner has not looked at in time."""

    async def open_case(item: Item) -> None:
        what = ", ".join(item.findings)
        await on_alarm(
            Alarm(
                id=f"inventory-{item.project}-{item.prompt}-{item.asked_at}",
                at=item.due_at,
                org=item.org,
                project=item.project,
                kind="inventory",
                detector="inventory",
                title=f"Nobody has attested the prompt {item.prompt}: {what}.",
                intent=item.intent,
                prompt=item.prompt,
                since=item.asked_at,
                evidence={"findings": what, "owner": item.owner, "due_at": item.due_at},
            )
        )

    return open_case


def serving(prompts: Prompts) -> Served:
    """Which versions of prompts are served now."""

    def served(project: str, prompt: str) -> tuple[int, Collection[int]]:
        return prompts.snapshot.value.served(project, prompt)

    return served


def drifting(room: Cases) -> Drifting:
    """What open cases of detectors say of a project's prompts and intents: a threshold that was passed, a breaker that
    tripped and what somebody opened by hand are no drift."""

    async def find(project: str) -> Mapping[tuple[str, str], str]:
        said: dict[tuple[str, str], str] = {}
        after = ""
        while True:
            page = await room.list(SYSTEM, project=project, state="open", after=after, limit=_PAGE)
            for one in page:
                if one.kind in _DRIFTS and not one.detector.startswith(_NO_DETECTORS) and (one.prompt or one.intent):
                    # A case of one prompt says nothing of the others of its intent.
                    place = (one.prompt, one.intent) if one.prompt else ("", one.intent)
                    said.setdefault(place, f"An open case tells of {one.kind}: {one.title}")
            if len(page) < _PAGE:
                return said
            after = page[-1].id

    return find


class Parts(Protocol):
    """What triage leans on: a part of ``app``, by its shape."""

    config: Config
    clock: Clock
    control: Database
    audit: Log
    metrics: Metrics
    access: access.Access
    prompts: Prompts
    signals: Signals
    reviews: reviews.Reviews
    declarations: Declarations
    standing: Any
    intent_changes: intents.Changes
    optimizations: Optimizations
    calls: Calls
    improving: Any

    @property
    def intents(self) -> Current[intents.Intents]: ...

    @property
    def policies(self) -> Current[Policies]: ...


class Triaging:
    """Triage with its audits and its inventory, bound to what carries decisions out."""

    def __init__(self, parts: Parts, families: Families, cases: Cases) -> None:
        settings = parts.config.triage
        rooms = Rooms(parts.control, parts.clock, parts.audit, families, parts.signals, parts.intents, parts.policies)
        self.triage = Triage(rooms, settings)
        caching = Caching(
            parts.declarations, parts.intent_changes, parts.standing, parts.intents, parts.policies, families
        )
        self.triage.bind("cache", caching)
        self.triage.bind("optimize", starting(parts.optimizations))
        self.triage.bind("review", asking(parts.reviews, parts.improving.scorers, partial(_keeps, parts.access)))
        self.triage.gained = gained(parts.optimizations, parts.clock, settings.inventory_days)
        self.triage.served = serving(parts.prompts)
        self.audits = Audits(families, parts.calls, parts.clock, settings)
        self.inventory = Inventory(rooms, settings, parts.prompts, lambda: _projects(parts.access))
        self.inventory.drifting = drifting(cases)
        self.inventory.open_case = case_of(cases.on_alarm)
        parts.metrics.counter("answers_audited", "Requests asked again to compare answers.", lambda: self.audits.asked)

    def start(self) -> None:
        """Begin to look."""
        self.triage.start()
        self.audits.start()
        self.inventory.start()

    async def stop(self) -> None:
        await self.inventory.stop()
        await self.audits.stop()
        await self.triage.stop()


async def _projects(door: access.Access) -> Sequence[tuple[str, str]]:
    return [(one.org_id, one.id) for one in await door.list_projects(SYSTEM)]


async def _keeps(door: access.Access, project: str) -> bool:
    """Whether a project keeps texts."""
    return any(one.store_text for one in await door.list_projects(SYSTEM) if one.id == project)
