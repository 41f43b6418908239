"""The actions of cases, each an idempotent effect in the room that has it."""

import contextlib
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from ostinato import breakers, cache, optimization, releases, scorers
from ostinato.acting.measuring import SYSTEM
from ostinato.cases import Action, Alarm, Case, Cases, Order
from ostinato.cases.model import ENDED, Fact
from ostinato.core import ids
from ostinato.core.errors import Conflict, Invalid, NotFound
from ostinato.optimization.run import OPEN as RUNNING

Tell = Callable[[str, str, str, str, object, str], Awaitable[None]]

_RAISED = "case-"
"""How names of rules begin that a case has made."""
_TIMES = 5.0
"""So many times as many answers are scored, where nobody says how many."""


class Effects:
    """Carries actions out. What an order does not say comes from its case; nothing reaches beyond its project."""

    def __init__(
        self,
        *,
        responses: Callable[[], cache.ResponseCache],
        breakers: breakers.Breakers,
        releases: releases.Releases,
        registry: scorers.Registry,
        optimizations: optimization.Optimizations,
        tell: Tell,
    ) -> None:
        self._responses = responses
        self._breakers = breakers
        self._releases = releases
        self._registry = registry
        self._optimizations = optimizations
        self._tell = tell
        self._cases: Cases | None = None

    def bind(self, room: Cases) -> None:
        """Have cases' actions carried out here."""
        self._cases = room
        room.bind("flush-scope", self.flush_scope)
        room.bind("close-semantic", self.close_semantic)
        room.bind("raise-sampling", self.raise_sampling)
        room.bind("open-breaker", self.open_breaker)
        room.bind("roll-back", self.roll_back)
        room.bind("start-optimization", self.start_optimization)
        room.bind("notify", self.notify)

    async def flush_scope(self, order: Order) -> dict[str, Fact]:
        """Withdraw what is kept for the project; with a target, an alias, a tag, a context or a generation, that."""
        case = order.case
        named = {name: str(order.params[name]) for name in ("alias", "target", "tag", "context", "generation")
                 if order.params.get(name)}  # fmt: skip
        if not named and case.target:
            named = {"target": case.target}
        if not case.project:
            raise Invalid("The case is of no project: there is nothing of its own to withdraw.", code="no_project")
        selector = cache.Selector(org=case.org, project=case.project, everything=not named, **named)
        report = await self._responses().invalidate(selector, dry_run=False)
        return {"total": report.total, **named}

    async def close_semantic(self, order: Order) -> dict[str, Fact]:
        """There is an exact cache only."""
        raise Conflict(
            f"No semantic tier is open for the project of case {order.case.id}.",
            code="semantic_not_available",
            hint="This version of Ostinato answers equal requests only.",
        )

    async def raise_sampling(self, order: Order) -> dict[str, Fact]:
        """Have more answers of the case's intent or prompt scored, by the scorers that do so already."""
        case = order.case
        standing = [one.rule for one in self._registry.sampling.value.rules.get(case.project, ())]
        base = [
            one for one in standing
            if not one.name.startswith(_RAISED) and one.intent in ("", case.intent) and one.prompt in ("", case.prompt)
        ]  # fmt: skip
        if not base:
            raise Conflict(
                "Nothing is sampled there, so there is nothing to raise.",
                code="nothing_sampled",
                hint="Declare a scorer and a rule of sampling first: `ostinato scorers sample`.",
            )
        share = float(order.params.get("share") or min(1.0, max(one.share for one in base) * _TIMES))
        names = tuple(dict.fromkeys(name for one in base for name in one.scorers))
        wish = scorers.NewRule(
            name=f"{_RAISED}{order.id}", share=share, scorers=names, intent=case.intent, prompt=case.prompt
        )
        await self._registry.put_rule(SYSTEM, wish, project=case.project, reason=f"case {case.id}")
        return {"rule": wish.name, "share": share, "scorers": len(names)}

    async def lower_sampling(self) -> Sequence[Alarm]:
        """Take away what :meth:`raise_sampling` has made once its case has ended, or its ``hours`` are over: scoring
        may cost money. No alarm comes of it."""
        cases = self._cases
        if cases is None:
            return ()
        for project, standing in list(self._registry.sampling.value.rules.items()):
            for name in [one.rule.name for one in standing if one.rule.name.startswith(_RAISED)]:
                identifier = name.removeprefix(_RAISED)
                found = await cases.of_action(identifier) if ids.is_id(identifier) else None
                if found is None or not _is_over(*found, cases.clock.now()):
                    continue
                with contextlib.suppress(NotFound):  # another process was quicker
                    await self._registry.remove_rule(SYSTEM, name, project=project, reason=f"case {found[0].id}")
        return ()

    async def open_breaker(self, order: Order) -> dict[str, Fact]:
        """Trip the intent, or have a target not asked by anybody."""
        case = order.case
        target = str(order.params.get("target") or "")
        reason = order.reason or case.title
        code = "case-" + case.kind
        if target:
            trip = await self._breakers.hold_target(SYSTEM, target, code=code, reason=reason, case=case.id)
            return {"trip": trip.id, "target": target}
        intent = str(order.params.get("intent") or case.intent)
        if not (intent and case.project):
            raise Invalid("The case names no intent.", code="no_intent", hint="Say which: `intent`, or `target`.")
        held = bool(order.params.get("held"))
        trip = await self._breakers.trip(
            SYSTEM, case.project, intent, code=code, reason=reason[:2_000], cause="case", case=case.id, held=held
        )
        return {"trip": trip.id, "intent": intent, "way": trip.safety.on_trip}

    async def roll_back(self, order: Order) -> dict[str, Fact]:
        """Take a release back."""
        case = order.case
        ref = str(order.params.get("release") or case.release)
        found = (await self._releases.show(SYSTEM, ref)).release if ref else await self._active(order)
        if found.project != case.project:
            raise NotFound(f"There is no release {ref[:80]!r}.", code="release_not_found")
        if found.state != "rolled_back":
            found = await self._releases.rollback(SYSTEM, found.id, f"case {case.id}: {order.reason}"[:2_000])
        return {"release": found.id, "prompt": found.prompt, "label": found.label, "state": found.state}

    async def start_optimization(self, order: Order) -> dict[str, Fact]:
        """Run again what was last wished for the prompt: its dataset, scorers and bounds have been thought about."""
        case = order.case
        prompt = str(order.params.get("prompt") or case.prompt)
        if not prompt:
            raise Invalid("The case names no prompt.", code="no_prompt", hint="Say which: `prompt`.")
        last = await self._last_run(case.project, prompt)
        if last is None:
            raise Conflict(
                f"No run was ever made for the prompt {prompt!r}: there is no dataset, scorer or budget to repeat.",
                code="no_run_to_repeat",
                hint="Start the first one yourself: `ostinato optimize start`.",
            )
        if last.state in RUNNING or last.id > order.id:
            # Under way, or begun by this very order before a crash: once is enough.
            return {"run": last.id, "already": True}
        wish = msgspec.structs.replace(last.wish, label=last.label)
        run = await self._optimizations.start(SYSTEM, wish, case.project)
        return {"run": run.id, "already": False}

    async def _last_run(self, project: str, prompt: str) -> optimization.Run | None:
        """The newest run on a prompt; pages begin with the oldest."""
        last: optimization.Run | None = None
        while True:
            found = await self._optimizations.list(
                SYSTEM, project=project, prompt=prompt, after="" if last is None else last.id, limit=500
            )
            last = found[-1] if found else last
            if len(found) < 500:
                return last

    async def notify(self, order: Order) -> dict[str, Fact]:
        """Tell whoever wants to know once more."""
        case = order.case
        data = {"case": case.id, "kind": case.kind, "severity": case.severity, "owner": case.owner, **order.params}
        await self._tell(case.org, case.project, "cases:notify", case.resource, data, f"notify:{order.id}")
        return {"told": 1}

    async def _active(self, order: Order) -> releases.Release:
        """The release of the case's prompt that is under way, else the active one."""
        case = order.case
        if not case.prompt:
            raise Invalid("The case names no release.", code="no_release", hint="Say which: `release`.")
        for state in ("canary", "paused", "active"):
            found = await self._releases.list(SYSTEM, project=case.project, prompt=case.prompt, state=state)
            if found:
                return found[-1]
        raise NotFound(f"No release of {case.prompt!r} is in force.", code="release_not_found")


def _is_over(case: Case, action: Action, now: int) -> bool:
    """Whether more need not be sampled any more."""
    if case.state in ENDED:
        return True
    hours = action.params.get("hours")
    if not isinstance(hours, int | float) or action.executed_at is None:
        return False
    return now >= action.executed_at + int(hours * 3_600_000_000)
