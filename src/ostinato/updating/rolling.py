"""From start to end: what must be agreed to, canaries by intent, and what the alias stands for afterwards."""

from collections.abc import Sequence
from typing import cast

import msgspec
import sqlalchemy as sa

from ostinato import access, approvals
from ostinato.access import Actor, Resource, permissions
from ostinato.core.errors import Conflict, Invalid, OstinatoError
from ostinato.releases import Outcome
from ostinato.updating import store
from ostinato.updating.comparing import Comparing
from ostinato.updating.model import Arm, Report, Start, Update
from ostinato.updating.planning import ACTOR
from ostinato.updating.turn import named, reason_of, void, wrong_state

_APPROVAL = 72 * 3_600_000_000
_REASON = 2_000
_MOST_INTENTS = 200


class Rolling(Comparing):
    """Updates on their way."""

    async def start(self, actor: Actor, update_id: str, wish: Start, version: int | None = None) -> Update:
        """Begin the canary of each intent. Where one has high or critical stakes, the first call asks for approval
        (state ``waiting``), and another one begins once somebody else has agreed to exactly this.

        Refused while a comparison is not done, and where a prompt loses, unless ``accept`` says why.
        """
        found = await self._own(actor, update_id, "updates:run", version)
        if found.kind == "silent" or found.state not in ("planned", "waiting"):
            raise wrong_state(found, "begun")
        if found.state == "waiting":
            await self._free(found)
            return await self._begin(actor, found, wish.reason)
        wanted = await self._ready(found, wish)
        return await (self._ask if self._strict(wanted) else self._begin)(actor, wanted, wish.reason)

    async def approve(self, actor: Actor, update_id: str, digest: str, comment: str = "") -> Update:
        """Agree to what waits. It takes ``releases:approve`` on every intent of high or critical stakes."""
        return await self._decide(actor, update_id, approvals.APPROVE, digest, comment)

    async def reject(self, actor: Actor, update_id: str, digest: str, comment: str) -> Update:
        """Say no to what waits, with the right to agree to it: the request ends, and the update is planned again, as it
        was before anybody was asked. Who asked may take it back by ``abandon``."""
        if not reason_of(comment):
            raise Invalid("Say why not.", code="reason_needed", param="comment")
        return await self._decide(actor, update_id, approvals.REJECT, digest, comment)

    async def _decide(self, actor: Actor, update_id: str, word: str, digest: str, comment: str) -> Update:
        found = await self._own(actor, update_id, "releases:approve")
        if found.state != "waiting":
            raise wrong_state(found, f"{word}ed" if word == approvals.REJECT else "approved")
        for one in self._strict(found):
            permissions.require(actor, "releases:approve", Resource(project=found.project, intent=one))

        def work(connection: sa.Connection, standing: Update) -> tuple[Update, str]:
            approvals.decide(
                connection,
                now=self.clock.now(),
                actor=actor,
                request_id=standing.request_id,
                decision=word,
                comment=comment,
                digest=digest,
            )
            if word == approvals.APPROVE:
                return store.change(connection, standing), "updates:approve"
            why = reason_of(comment)
            return (
                store.change(connection, standing, state="planned", request_id="", digest="", why=why),
                "updates:reject",
            )

        return await self._change(actor, found, work, comment)

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
                void(connection, standing, "The update was abandoned.", self.clock.now())
                ended = store.change(
                    connection,
                    standing,
                    state="abandoned",
                    declared=False,
                    why=reason_of(reason),
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

    async def _ready(self, found: Update, wish: Start) -> Update:
        """The update with how it shall begin; nothing is written yet. Raises what stands in the way."""
        wish.rollout.plan.check()
        if not wish.rollout.steps:
            raise Invalid("A canary needs at least one step.", code="invalid_plan", param="rollout.steps")
        chosen = found.intents if wish.intents is None else tuple(sorted(set(wish.intents)))
        if not chosen or len(chosen) > _MOST_INTENTS:
            raise Invalid(f"1 to {_MOST_INTENTS} intents.", code="invalid_intents", param="intents")
        for one in chosen:
            if one:
                self._intents.value.require(found.project, one)
        accepted = reason_of(wish.accept)
        if not accepted:
            _must_be_proven((await self.report(ACTOR, found.id)), chosen)
        wanted = msgspec.structs.replace(found, intents=chosen, rollout=wish.rollout, accepted=accepted)
        wanted = msgspec.structs.replace(wanted, digest=wanted.bundle())
        await self._free(wanted)
        return wanted

    async def _free(self, wanted: Update) -> None:
        """Raise ``Conflict`` where the alias stands otherwise by now, or another update has some of the traffic."""
        route = self._catalog.value.route(wanted.project, wanted.alias)
        if tuple(one.name for one in route.targets) != wanted.old:
            raise Conflict(
                f"{wanted.alias!r} stands for {', '.join(one.name for one in route.targets)} by now.",
                code="alias_moved",
                hint="Abandon this update and plan it again: it was compared with something else.",
            )
        for other in await self._control.read(store.candidates):
            both = set(other.shares) & set(wanted.intents)
            if other.id != wanted.id and (other.project, other.alias) == (wanted.project, wanted.alias) and both:
                raise Conflict(
                    f"The update {other.id} still answers {named(sorted(both))} of {wanted.alias!r} by its targets.",
                    code="update_in_force",
                    hint="Write its targets into the alias's declaration, or abandon it; then begin.",
                )

    async def _ask(self, actor: Actor, wanted: Update, reason: str) -> Update:
        """Ask others to agree to exactly this."""
        asked = [self._intents.value.requirements(wanted.project, one).approvals for one in self._strict(wanted)]

        def work(connection: sa.Connection, standing: Update) -> tuple[Update, str]:
            now = self.clock.now()
            request = approvals.open_request(
                connection,
                now=now,
                actor=actor,
                kind="update",
                target=standing.resource,
                digest=wanted.digest,
                body={"alias": standing.alias, "old": list(standing.old), "new": list(standing.names)},
                needed=max([1, *asked]),
                org=standing.org,
                project=standing.project,
                expires=now + _APPROVAL,
            )
            changes = {**_how(wanted), "state": "waiting", "request_id": request.id}
            return store.change(connection, standing, **changes), "updates:ask"

        return await self._change(actor, wanted, work, reason)

    async def _begin(self, actor: Actor, wanted: Update, reason: str) -> Update:
        """The first step of every intent."""
        strict = self._strict(wanted)
        if strict and not wanted.request_id:
            raise Conflict("Its stakes were raised meanwhile.", code="approval_needed", hint="Abandon it, plan again.")

        def work(connection: sa.Connection, standing: Update) -> tuple[Update, str]:
            now = self.clock.now()
            if wanted.request_id:
                self._must_be_agreed(connection, standing, strict, now)
            arms = tuple(Arm(intent=one, step_since=now, started_at=now) for one in wanted.intents)
            return store.change(connection, standing, **_how(wanted), state="canary", arms=arms), "updates:start"

        return await self._change(actor, wanted, work, reason)

    def _must_be_agreed(self, connection: sa.Connection, standing: Update, strict: Sequence[str], now: int) -> None:
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
                    f"Its new targets answer {named(passed)} beside the declaration of {update.alias!r}. Where that "
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


def _how(wanted: Update) -> dict[str, object]:
    """What is written down of how it begins."""
    return {name: getattr(wanted, name) for name in ("intents", "rollout", "accepted", "digest")}


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
            f"By this change {named(losers)} loses.",
            code="prompts_lose",
            hint="Leave out their intents, improve them first, or say in `accept` who accepts the loss and why.",
        )
    if pending:
        raise Conflict(
            f"It is not known yet what the change does to {named(pending)}.",
            code="not_compared",
            hint="`ostinato updates run` compares; or say in `accept` why it may begin without.",
        )
