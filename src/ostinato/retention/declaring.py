"""Rules and holds, as people declare them: the changing half of :class:`~ostinato.retention.Retention`."""

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from ostinato import access, audit, storage
from ostinato.access import Actor, Project, Resource, SystemActor
from ostinato.access.manage import find_project
from ostinato.access.permissions import allows, require
from ostinato.cache import Scope
from ostinato.cache.scope import user_digest
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, Denied, Invalid, NotFound
from ostinato.retention import store
from ostinato.retention.model import Hold, NewHold, NewRule, Rule

T = TypeVar("T")

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LONGEST = 255
_LONGEST_REASON = 2_000
_LONGEST_DAYS = 36_525.0


class Declaring:
    """Every change is one transaction with its leaf of the audit log.

    ``project`` is an id or a short name. What is of a whole organization is declared by who may act in all of its
    projects (``projects:write``).
    """

    def __init__(self, database: storage.Database, clock: Clock, log: audit.Log, *, secret: bytes) -> None:
        self.clock = clock
        self.database = database
        self.log = log
        self._secret = secret

    # -- rules ---------------------------------------------------------------------------------------------------

    async def rules(self, actor: Actor, *, project: str = "", after: str = "", limit: int = 100) -> Sequence[Rule]:
        """A page of the rules that concern what the actor reaches, by name."""

        def read(connection: sa.Connection) -> Sequence[Rule]:
            org, home = self.reach(connection, actor, project, "retention:read")
            return store.rules(connection, org=org, project=home, after=after, limit=limit)

        return await self.database.read(read)

    async def rule(self, actor: Actor, name: str) -> Rule:
        """One rule."""

        def read(connection: sa.Connection) -> Rule:
            org, home = self.reach(connection, actor, "", "retention:read")
            found = [one for one in store.rules(connection, org=org, project=home) if one.name == name]
            if not found:
                raise store.unknown_rule(name)
            return found[0]

        return await self.database.read(read)

    async def declare(self, actor: Actor, name: str, wanted: NewRule, *, version: int | None = None) -> Rule:
        """A rule, as it holds from the next sweep on. ``version``: the one that was seen, 0 for none yet."""
        _check_rule(name, wanted)

        def work(connection: sa.Connection) -> tuple[Rule, audit.Deed]:
            org, project = self._home(connection, actor, wanted.project, "retention:write")
            before = store.find_rule(connection, org, name, lock=True)
            if before is not None:
                self._must_reach(actor, before.project, "retention:write", store.unknown_rule(name))
            _expect(before, version)
            rule = Rule(
                org=org,
                name=name,
                project=project,
                intent=wanted.intent,
                data_class=wanted.data_class or "",
                keep=wanted.keep,
                version=1 if before is None else before.version + 1,
                changed_at=self.clock.now(),
                changed_by=access.actor_name(actor),
            )
            store.put_rule(connection, rule)
            facts: dict[str, str | int] = {f"keep.{kind}": f"{days:g}" for kind, days in rule.keep.given().items()}
            facts |= {"version": rule.version, "intent": rule.intent, "data_class": rule.data_class}
            return rule, self.deed(
                actor, "retention:declare", f"retention-rule:{name}", rule, before=before, reason=wanted.reason,
                facts=facts,
            )  # fmt: skip

        return await self._change(work)

    async def remove(self, actor: Actor, name: str, *, reason: str = "", version: int | None = None) -> Rule:
        """A rule, taken away."""

        def work(connection: sa.Connection) -> tuple[Rule, audit.Deed]:
            org, _ = self.reach(connection, actor, "", "retention:write")
            found = store.find_rule(connection, org or self._org(connection, actor), name, lock=True)
            if found is None:
                raise store.unknown_rule(name)
            self._must_reach(actor, found.project, "retention:write", store.unknown_rule(name))
            _expect(found, version)
            store.remove_rule(connection, found)
            facts: dict[str, str | int] = {"version": found.version}
            return found, self.deed(
                actor, "retention:remove", f"retention-rule:{name}", found, before=found, reason=reason, facts=facts
            )

        return await self._change(work)

    # -- holds ---------------------------------------------------------------------------------------------------

    async def holds(
        self, actor: Actor, *, project: str = "", lifted: bool = False, after: str = "", limit: int = 100
    ) -> Sequence[Hold]:
        """A page of the holds that concern what the actor reaches, oldest first."""

        def read(connection: sa.Connection) -> Sequence[Hold]:
            org, home = self.reach(connection, actor, project, "retention:read")
            return store.holds(connection, org=org, project=home, lifted=lifted, after=after, limit=limit)

        return await self.database.read(read)

    async def hold(self, actor: Actor, wanted: NewHold) -> Hold:
        """A new hold; from now on no sweep and no erasure touches what it covers."""
        _check_hold(wanted)

        def work(connection: sa.Connection) -> tuple[Hold, audit.Deed]:
            org, project = self._home(connection, actor, wanted.project, "retention:hold")
            if wanted.user and not project:
                raise Invalid("An end user is known by project: name the project too.", param="project")
            now = self.clock.now()
            hold = Hold(
                id=ids.new(now),
                org=org,
                project=project,
                matter=wanted.matter,
                intent=wanted.intent,
                subject=user_digest(Scope(org, project, wanted.user), self._secret),
                since=wanted.since,
                until=wanted.until,
                placed_at=now,
                placed_by=access.actor_name(actor),
            )
            store.put_hold(connection, hold)
            facts: dict[str, str | int] = {
                "matter": hold.matter,
                "intent": hold.intent,
                "of_user": int(bool(hold.subject)),
            }
            deed = self.deed(
                actor, "retention:hold", f"hold:{hold.id}", hold, after=hold, reason=wanted.reason, facts=facts
            )
            return hold, deed

        return await self._change(work)

    async def lift(self, actor: Actor, hold_id: str, *, reason: str = "") -> Hold:
        """A hold, lifted; what waited for it is swept and erased from now on."""

        def work(connection: sa.Connection) -> tuple[Hold, audit.Deed]:
            found = store.find_hold(connection, hold_id, lock=True)
            org, _ = self.reach(connection, actor, "", "retention:hold")
            if found is None or (org and found.org != org):
                raise store.unknown_hold(hold_id)
            self._must_reach(actor, found.project, "retention:hold", store.unknown_hold(hold_id))
            if found.lifted_at is not None:
                raise Conflict("This hold has been lifted already.", code="hold_lifted")
            lifted = msgspec.structs.replace(found, lifted_at=self.clock.now(), lifted_by=access.actor_name(actor))
            store.lift(connection, lifted)
            woken = store.wake(connection, lifted)
            facts: dict[str, str | int] = {"matter": found.matter, "erasures": woken}
            return lifted, self.deed(
                actor, "retention:lift", f"hold:{found.id}", found, before=found, reason=reason, facts=facts
            )

        lifted = await self._change(work)
        self.woken()
        return lifted

    def woken(self) -> None:
        """Called where erasures that waited may go on."""

    # -- shared --------------------------------------------------------------------------------------------------

    def reach(self, connection: sa.Connection, actor: Actor, project: str, permission: str) -> tuple[str, str]:
        """(organization, project) of what the actor means; empty: all of them."""
        if project:
            home = own_project(connection, actor, project)
            require(actor, permission, Resource(project=home.id))
            return home.org_id, home.id
        require(actor, permission)
        if isinstance(actor, SystemActor):
            return "", ""
        if allows(actor, "projects:write"):
            return actor.org, ""
        return actor.org, actor.project

    def deed(
        self,
        actor: Actor,
        action: str,
        resource: str,
        of: Rule | Hold,
        *,
        before: object = None,
        after: object = None,
        reason: str = "",
        facts: dict[str, str | int] | None = None,
    ) -> audit.Deed:
        told = None if before is None else msgspec.to_builtins(before)
        return audit.Deed(
            actor=access.actor_name(actor),
            principal=access.principal_of(actor),
            action=action,
            resource=resource,
            org=of.org,
            project=of.project,
            before=told,
            after=None if after is None else msgspec.to_builtins(after),
            reason=reason,
            facts={name: value for name, value in (facts or {}).items() if value != ""},
        )

    def _home(self, connection: sa.Connection, actor: Actor, project: str, permission: str) -> tuple[str, str]:
        """(organization, project) that something is declared for; an empty project: all of them."""
        if project:
            home = own_project(connection, actor, project)
            require(actor, permission, Resource(project=home.id))
            return home.org_id, home.id
        self._must_reach(actor, "", permission, None)
        return self._org(connection, actor), ""

    def _org(self, connection: sa.Connection, actor: Actor) -> str:
        if isinstance(actor, SystemActor):
            return find_project(connection, actor, None).org_id
        return actor.org

    def _must_reach(self, actor: Actor, project: str, permission: str, unknown: Exception | None) -> None:
        if isinstance(actor, SystemActor):
            return
        if project and not allows(actor, "projects:write") and project != actor.project:
            raise unknown or Denied("Another project's.")
        require(actor, permission, Resource(project=project) if project else Resource())
        if not project and not allows(actor, "projects:write"):
            raise Denied(
                "What holds for a whole organization takes the permission projects:write.",
                code="permission_denied",
                hint="Name a project.",
            )

    async def _change(self, work: Callable[[sa.Connection], tuple[T, audit.Deed]]) -> T:
        """One transaction with its leaf."""
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> T:
            result, deed = work(connection)
            self.log.append(connection, deed, occasion)
            return result

        return await self.database.run(transaction)


def own_project(connection: sa.Connection, actor: Actor, ref: str | None) -> Project:
    """The project that the actor means, of its own organization: nobody keeps or erases what is another one's."""
    found = find_project(connection, actor, ref)
    if not isinstance(actor, SystemActor) and found.org_id != actor.org:
        raise NotFound(f"There is no project {(ref or '')[:80]!r}.", code="project_not_found", param="project")
    return found


def _check_rule(name: str, wanted: NewRule) -> None:
    if _NAME.fullmatch(name) is None:
        raise Invalid(
            f"{name[:80]!r} is no name for a rule.", param="name", hint="Lowercase letters, digits, dots and dashes."
        )
    given = wanted.keep.given()
    if not given:
        raise Invalid("The rule says nothing.", param="keep", hint='Such as {"texts": 30, "rows": 365}, in days.')
    for kind, days in given.items():
        if not 0 < days <= _LONGEST_DAYS:
            raise Invalid(f"{kind}: {days:g} days; above 0, to {_LONGEST_DAYS:g}.", param=f"keep.{kind}")
    if wanted.intent and wanted.data_class:
        raise Invalid("A rule is about an intent or about a class of data, not both.", param="data_class")
    _texts(intent=wanted.intent, reason=wanted.reason)


def _check_hold(wanted: NewHold) -> None:
    if not wanted.matter.strip():
        raise Invalid("A hold says what it is for.", param="matter", hint="The number of a case, say.")
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise Invalid("The range of time is empty.", param="until")
    for moment in (wanted.since, wanted.until):
        if moment is not None and not 0 <= moment < 2**62:
            raise Invalid("Times are UTC microseconds.", param="since")
    _texts(matter=wanted.matter, intent=wanted.intent, user=wanted.user, reason=wanted.reason)


def _texts(**given: str) -> None:
    for name, text in given.items():
        if len(text) > (_LONGEST_REASON if name == "reason" else _LONGEST) or "\x00" in text:
            raise Invalid(f"{name} is too long, or holds a NUL.", param=name)


def _expect(found: Rule | None, wanted: int | None) -> None:
    at = 0 if found is None else found.version
    if wanted is not None and wanted != at:
        raise Conflict(
            f"It has moved on since you looked: it is at version {at}.", code="version_moved", hint="Look again."
        )
