"""Erasures: intended, carried out store after store, confirmed by a second look, and written down as done."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from ostinato import access, audit
from ostinato.access import Actor, Resource
from ostinato.access.permissions import require
from ostinato.cache import Scope
from ostinato.cache.scope import user_digest
from ostinato.core import ids
from ostinato.core.errors import Invalid, NotFound, OstinatoError, Unavailable
from ostinato.retention import receipts, store
from ostinato.retention.declaring import own_project
from ostinato.retention.model import Begun, Erased, Erasure, Receipt, Wish
from ostinato.retention.of_ledger import Ledger
from ostinato.retention.ruling import Ruling
from ostinato.retention.stores import Counted, Subject
from ostinato.retention.sweeping import SWEEPER, Sweeping
from ostinato.reviews.sealing import Sealer
from ostinato.storage import Database
from ostinato.verify import receipts as offline

_log = logging.getLogger("ostinato.retention")

KIND = "retention:erase"
"""The kind of erasures' effects in the audit log; the payload names the erasure and nobody."""
_MOST = 100
"""Conversations or requests named in one wish."""
_LONGEST = 512
_LONGEST_TEXT = 2_000
_CLAIM_US = 20_000_000
"""How long an erasure waits for a process that is silent."""
_BEAT = 5.0
"""Seconds between two signs of life of a process that works on one."""
_ROUNDS = 3
"""Looks after which something that keeps coming is told instead of waited for."""

Tell = Callable[[str, str, str, str, dict[str, Any]], object]
"""``tell(org, project, event, subject, data)``: has others told; must not wait."""


class Erasing(Sweeping):
    """The half that forgets."""

    ledger: Ledger
    sealer: Sealer
    databases: tuple[Database, ...]
    settle: Callable[[], Awaitable[None]]
    """Writes down what is still in memory of the requests that this process has answered."""
    lag: float
    """Seconds until other processes have written down theirs; 0 where there is no other."""
    quoted: Callable[[Subject, Ruling], Awaitable[Sequence[str]]]
    """Versions of prompts that quote what will be erased."""
    tell: Tell | None = None

    async def erase(self, actor: Actor, wish: Wish) -> Begun:
        """Begin to forget somebody: :meth:`carry_out` does it, here or where a crash came between, elsewhere."""
        _check(wish)
        opening = secrets.token_bytes(32)
        occasion = audit.occasion()
        now = self.clock.now()
        erasure_id = ids.new(now)
        told = (wish.user, sorted(set(wish.sessions)), sorted(set(wish.requests)))

        def work(connection: sa.Connection) -> Erasure:
            home = own_project(connection, actor, wish.project or None)
            require(actor, "retention:erase", Resource(project=home.id))
            erasure = Erasure(
                id=erasure_id,
                org=home.org_id,
                project=home.id,
                state="running",
                subject=offline.commitment(opening, *told),
                reference=wish.reference,
                requested_at=now,
                requested_by=access.actor_name(actor),
            )
            deed = audit.Deed(
                actor=erasure.requested_by,
                principal=access.principal_of(actor),
                action=KIND,
                resource=f"erasure:{erasure_id}",
                org=erasure.org,
                project=erasure.project,
                reason=wish.reason,
                facts={"subject": erasure.subject, "reference": erasure.reference},
                # Keys and reason under a name of their own, to be destroyed at the end.
                subject=f"erasure:{erasure_id}",
            )
            effect = self.log.intend_within(connection, deed, KIND, {"erasure": erasure_id}, occasion)
            intent = store.intent_of(connection, effect)
            made = msgspec.structs.replace(erasure, intent_leaf=intent)
            sealed = self.sealer.seal(msgspec.msgpack.encode(told), f"erasure {erasure_id}")
            store.insert_erasure(connection, made, effect, sealed)
            return made

        made = await self.database.run(work)
        self.woken()
        return Begun(erasure=made, opening=opening.hex())

    async def erasure(self, actor: Actor, erasure_id: str) -> Erasure:
        """One erasure. Raises ``NotFound``."""

        def read(connection: sa.Connection) -> Erasure:
            org, project = self.reach(connection, actor, "", "retention:read")
            found = store.find_erasure(connection, erasure_id)
            if found is None or org not in ("", found.erasure.org) or project not in ("", found.erasure.project):
                raise store.unknown_erasure(erasure_id)
            require(actor, "retention:read", Resource(project=found.erasure.project))
            return found.erasure

        return await self.database.read(read)

    async def erasures(
        self, actor: Actor, *, project: str = "", state: str = "", before: str = "", limit: int = 100
    ) -> Sequence[Erasure]:
        """A page of erasures, newest first."""

        def read(connection: sa.Connection) -> Sequence[Erasure]:
            org, home = self.reach(connection, actor, project, "retention:read")
            return store.erasures(connection, org=org, project=home, state=state, before=before, limit=limit)

        return await self.database.read(read)

    async def receipt(self, actor: Actor, erasure_id: str) -> Receipt:
        """What was erased, with signature and proof. Raises ``Conflict`` while it is under way."""
        return await receipts.receipt(self.log, await self.erasure(actor, erasure_id))

    # -- carrying out --------------------------------------------------------------------------------------------

    async def carry_out(self, erasure_id: str) -> bool:
        """Do an erasure that is not done; whether it was ours to do. Killed anywhere, it is done again from the start:
        what is gone is not found, and what had been found is written down before anything goes."""
        name = f"erasure:{erasure_id}"
        if not await self._lease(name):
            return False
        alive = asyncio.create_task(self._beat(name))
        try:
            kept = await self.database.read(lambda c: store.find_erasure(c, erasure_id))
            if kept is None or kept.erasure.state != "running":
                return False
            asked = self._opened(kept)
            erasure = await self._taken_up(kept)
            await self._forget(erasure, asked)
            return True
        finally:
            alive.cancel()
            await asyncio.gather(alive, return_exceptions=True)
            await self.database.run(lambda c: store.drop_lease(c, name, self.owner))

    async def _beat(self, lease: str) -> None:
        """Keep a lease for as long as the work lasts, however long one store takes."""
        while True:
            await self.clock.sleep(_BEAT)
            # A database that is away for a moment must not end the signs of life of an erasure that goes on.
            with contextlib.suppress(OstinatoError):
                await self._lease(lease)

    async def _forget(self, erasure: Erasure, asked: Subject) -> None:
        # By the clock on the wall, as their writers' threads: a call that nobody knows yet leaves its answer behind.
        await asyncio.sleep(self.lag)
        subject, ruling = await self._resolved(asked)
        quoted = erasure.quoted
        if not erasure.stores:
            quoted = tuple(await self.quoted(subject, ruling))
            found = await self._counts(subject, ruling)
            erasure = await self._save(
                erasure,
                stores=tuple(
                    Erased(store=name, found=one.found, held=one.held, note=one.note) for name, one in found.items()
                ),
                quoted=quoted,
            )
        left: dict[str, Counted] = {}
        for _ in range(_ROUNDS):
            for one in self.stores:
                if await self._fresh(ruling) is not ruling:
                    # A hold holds from the moment it is placed.
                    subject, ruling = await self._resolved(asked, also=subject)
                await one.erase(subject, ruling)
            subject, ruling = await self._resolved(asked, also=subject)
            left = await self._counts(subject, ruling)
            if not any(one.found > one.held for one in left.values()):
                break
        else:
            still = sorted(name for name, one in left.items() if one.found > one.held)
            raise Unavailable(f"Something of the subject keeps coming: {', '.join(still)}.", code="erasure_unfinished")
        if not any(one.held for one in left.values()):
            await self.database.run(lambda c: self._forget_reason(c, erasure))
        for database in self.databases:
            await database.scrub([one.partition(".")[2] for one in self._tables_of(database)])
        await self._done(erasure, left, ruling, asked)

    def _tables_of(self, database: Database) -> list[str]:
        tables = [one for each in self.stores for one in each.tables if one.startswith(f"{database.name}.")]
        return [*tables, "control.audit_text"] if database is self.databases[0] else tables

    async def _resolved(self, asked: Subject, also: Subject | None = None) -> tuple[Subject, Ruling]:
        """Everything that the ledger knows to be the subject's, and what of it is held now."""
        await self.settle()
        ruling = await self.ruling()
        traffic = await self.ledger.search(asked.project, asked.digest, asked.sessions, asked.requests)
        rows = list(traffic.all())
        known = also or asked
        held = {
            row.request_id
            for row in rows
            if ruling.held(asked.project, intent=row.intent, at=row.at, subject=asked.digest or None)
        }
        named = {
            one for one in asked.requests if ruling.held(asked.project, at=_made(one), subject=asked.digest or None)
        }
        sessions = asked.sessions | {row.session for row in rows if row.session} | known.sessions
        return (
            msgspec.structs.replace(
                asked,
                sessions=frozenset(sessions),
                requests=frozenset({row.request_id for row in rows} | known.requests),
                held=frozenset(held | named | (also.held if also else frozenset())),
                places=frozenset(
                    {(row.alias, row.target, row.generation) for row in traffic.calls if row.alias} | known.places
                ),
            ),
            ruling,
        )

    async def _counts(self, subject: Subject, ruling: Ruling) -> dict[str, Counted]:
        return {one.name: await one.count(subject, ruling) for one in self.stores}

    async def _done(self, erasure: Erasure, left: dict[str, Counted], ruling: Ruling, asked: Subject) -> None:
        """The outcome: one transaction with its leaf, in which the subject's name goes too."""
        held = tuple(
            hold.id for hold in ruling.holds if hold.covers(asked.org, asked.project, subject=asked.digest or None)
        )
        kept = any(one.held for one in left.values())
        ended = msgspec.structs.replace(
            erasure,
            state="held" if kept else "done",
            done_at=self.clock.now(),
            holds=held if kept else (),
            stores=tuple(
                msgspec.structs.replace(one, held=found.held, left=found.found - found.held)
                for one in erasure.stores
                if (found := left.get(one.store)) is not None
            ),
        )

        def work(connection: sa.Connection) -> Erasure | None:
            now = store.find_erasure(connection, erasure.id, lock=True)
            if now is None or now.erasure.version != erasure.version:
                return None  # somebody else has done it
            facts: dict[str, str | int] = {f"found.{one.store}": one.found for one in ended.stores}
            facts |= {f"held.{one.store}": one.held for one in ended.stores if one.held}
            facts |= {"receipt": receipts.digest(ended), "subject": ended.subject, "state": ended.state}
            outcome = self.log.finish_within(connection, now.effect, "done" if not kept else "held", facts)
            values: dict[str, object] = {"effect": ""}
            if not kept:
                values["sealed"] = None
            return store.update_erasure(connection, msgspec.structs.replace(ended, outcome_leaf=outcome), **values)

        done = await self.database.run(work)
        await self.databases[0].scrub(["erasure", "audit_effect"])
        if done is not None and self.tell is not None:
            data = {"state": done.state, "reference": done.reference, "outcome_leaf": done.outcome_leaf}
            self.tell(done.org, done.project, "erasures:done", f"erasure:{done.id}", data)

    def _forget_reason(self, connection: sa.Connection, erasure: Erasure) -> None:
        deed = audit.Deed(
            actor=access.actor_name(SWEEPER),
            action="retention:forget",
            resource=f"erasure:{erasure.id}",
            org=erasure.org,
            project=erasure.project,
        )
        try:
            self.log.erase_subject(connection, f"erasure:{erasure.id}", deed)
        except NotFound:
            return  # no reason was given

    async def _taken_up(self, kept: store.Kept) -> Erasure:
        """One attempt more; and an intent of its own, where a hold had ended the last one."""

        def work(connection: sa.Connection) -> Erasure:
            erasure = msgspec.structs.replace(kept.erasure, attempts=kept.erasure.attempts + 1)
            if kept.effect:
                return store.update_erasure(connection, erasure)
            deed = audit.Deed(
                actor=access.actor_name(SWEEPER),
                action=KIND,
                resource=f"erasure:{erasure.id}",
                org=erasure.org,
                project=erasure.project,
                facts={"subject": erasure.subject, "reference": erasure.reference, "lifted": 1},
                subject=f"erasure:{erasure.id}",
            )
            effect = self.log.intend_within(connection, deed, KIND, {"erasure": erasure.id}, audit.Occasion())
            again = msgspec.structs.replace(
                erasure, intent_leaf=store.intent_of(connection, effect), stores=(), holds=(), outcome_leaf=None
            )
            return store.update_erasure(connection, again, effect=effect)

        return await self.database.run(work)

    async def _save(self, erasure: Erasure, **changed: Any) -> Erasure:
        moved = msgspec.structs.replace(erasure, **changed)
        return await self.database.run(lambda c: store.update_erasure(c, moved))

    def _opened(self, kept: store.Kept) -> Subject:
        data = self.sealer.open(kept.sealed, f"erasure {kept.erasure.id}")
        if data is None:
            raise Unavailable(
                "Who this erasure is about cannot be read: the installation's secret is another one.",
                code="erasure_sealed",
                hint="Restore keys/ from its backup.",
            )
        user, sessions, requests = msgspec.msgpack.decode(data, type=tuple[str, list[str], list[str]])
        org, project = kept.erasure.org, kept.erasure.project
        return Subject(
            org=org,
            project=project,
            user=user,
            digest=user_digest(Scope(org, project, user), self._secret),
            sessions=frozenset(sessions),
            requests=frozenset(requests),
        )

    async def _lease(self, name: str) -> bool:
        now = self.clock.now()
        return await self.database.run(lambda c: store.take_lease(c, name, self.owner, now, now + _CLAIM_US))


def _made(request_id: str) -> int | None:
    return ids.time_of(request_id) if ids.is_id(request_id) else None


def _check(wish: Wish) -> None:
    if not (wish.user or wish.sessions or wish.requests):
        raise Invalid("Nobody is named.", param="user", hint="Name a user, sessions or requests.")
    if len(wish.sessions) > _MOST or len(wish.requests) > _MOST:
        raise Invalid(f"At most {_MOST} sessions and {_MOST} requests are named at a time.", param="sessions")
    for name, texts in (("user", [wish.user]), ("sessions", wish.sessions), ("requests", wish.requests)):
        for text in texts:
            if len(text) > _LONGEST or "\x00" in text or (not text and name != "user"):
                # Not the text itself: it says who somebody is.
                raise Invalid(f"One of {name} is empty, too long, or holds a NUL.", param=name)
    for name, text in (("reference", wish.reference), ("reason", wish.reason)):
        if len(text) > (_LONGEST_TEXT if name == "reason" else 255) or "\x00" in text:
            raise Invalid(f"The {name} is too long, or holds a NUL.", param=name)
