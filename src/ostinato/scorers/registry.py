"""The room's one object with a life: :class:`Registry`, what is declared of scorers in every project."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec
import sqlalchemy as sa

from ostinato import access, audit, storage
from ostinato.access import Actor, Project, Resource
from ostinato.access.manage import find_project
from ostinato.access.permissions import require
from ostinato.core import ids
from ostinato.core.clock import Clock
from ostinato.core.errors import Conflict, Invalid, OstinatoError
from ostinato.scorers import building, store, tables
from ostinato.scorers.calibration import Agreement
from ostinato.scorers.declared import Active, Calibrated, Declared, NewRule, Rule, Sampling
from ostinato.scorers.kinds import Context
from ostinato.scorers.model import Spec

T = TypeVar("T")

TOPIC = "scorers"
_NOTE = 2_000
_MOST_SCORERS, _MOST_RULES = 200, 100
"""Of one project."""
_MOST_OF_RULE = 20
_WHOLE = 1 << 32
"""Of the random bits of a request's id that are drawn by."""

Contexts = Callable[[str, str], Context]
"""``contexts(org, project)``: what scorers of a project may use."""


class Registry:
    """Declared scorers, rules of sampling, calibrations. Every change is one transaction with its audit leaf.

    ``project`` is an id, a short name or ``organization/project``; ``None``: the actor's own. Another project's
    scorers do not exist (``NotFound``).
    """

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        notices: storage.Notices,
        log: audit.Log,
        *,
        contexts: Contexts,
    ) -> None:
        self.contexts = contexts
        self.clock = clock
        self._database = database
        self._notices = notices
        self._log = log
        self.sampling: storage.Snapshot[Sampling] = storage.Snapshot(self._load, notices, TOPIC, clock)
        """What the gateway follows."""

    async def start(self) -> None:
        """Read the rules and follow changes. Raises ``Unavailable`` if the database cannot be read."""
        await self.sampling.start()

    async def stop(self) -> None:
        """Stop following changes."""
        await self.sampling.close()

    # -- scorers -------------------------------------------------------------------------------------------------

    async def declare(
        self, actor: Actor, spec: Spec, *, project: str | None = None, note: str = "", version: int | None = None
    ) -> Declared:
        """A new scorer, or a new version of one; the very one that stands where nothing changes.

        ``version``: the number that the caller saw (0: none); ``Conflict`` if it has moved on. Raises ``Invalid``
        naming the field of what cannot work.
        """
        note = _text(note, "note")

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Declared, audit.Deed | None]:
            built = building.build(spec, self.contexts(home.org_id, home.id))
            before = next((one for one in store.all_standing(connection, home.id) if one.name == built.name), None)
            _expect(before.number if before is not None else 0, version)
            kept = msgspec.structs.replace(spec, name=built.name)
            if before is not None and before.spec == kept and before.version == built.version:
                return before, None
            if before is None and len(store.all_standing(connection, home.id)) >= _MOST_SCORERS:
                raise Invalid(f"A project has at most {_MOST_SCORERS} scorers.", code="too_many_scorers")
            made = Declared(
                id=ids.new(now),
                org=home.org_id,
                project=home.id,
                name=built.name,
                number=store.last_number(connection, home.id, built.name) + 1,
                version=built.version,
                spec=kept,
                note=note,
                created_at=now,
                created_by=access.actor_name(actor),
            )
            self._unseat(connection, home.id, built.name)
            row = {**msgspec.structs.asdict(made), "spec": msgspec.to_builtins(kept)}
            connection.execute(tables.scorer.insert(), row)
            facts: dict[str, str | int] = {"number": made.number, "version": made.version, "kind": spec.kind}
            deed = _deed(actor, home, f"scorer:{home.id}/{made.name}", "scorers:declare", before, made, note, facts)
            return made, deed

        return await self._change(actor, project, "scorers:write", work)

    async def remove(self, actor: Actor, name: str, *, project: str | None = None, reason: str = "") -> Declared:
        """Use a scorer no more; its versions stay, for the scores that name them. ``Conflict`` while a rule uses it."""
        reason = _text(reason, "reason")

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Declared, audit.Deed]:
            found = store.standing(connection, home.id, name, lock=True)
            using = [rule.name for rule in store.rules(connection, home.id) if found.name in rule.scorers]
            if using:
                raise Conflict(
                    f"The scorer {found.name!r} is used by sampling: {', '.join(using)}.",
                    code="scorer_in_use",
                    hint="Change or remove these rules first.",
                )
            self._unseat(connection, home.id, found.name)
            gone = msgspec.structs.replace(found, standing=False)
            facts: dict[str, str | int] = {"number": found.number, "version": found.version}
            return gone, _deed(
                actor, home, f"scorer:{home.id}/{found.name}", "scorers:remove", found, None, reason, facts
            )

        return await self._change(actor, project, "scorers:write", work)

    async def list(
        self, actor: Actor, *, project: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Declared]:
        """A page of the scorers that stand, by name."""
        found = await self._read(actor, project, lambda c, home: store.all_standing(c, home.id))
        return [one for one in found if one.name > after][:limit]

    async def show(
        self, actor: Actor, name: str, *, project: str | None = None, permission: str = "scorers:read"
    ) -> Declared:
        """The version of a scorer that stands. ``permission``: what the actor needs, where it is to be changed."""
        return await self._read(actor, project, lambda c, home: store.standing(c, home.id, name), permission)

    async def versions(self, actor: Actor, name: str, *, project: str | None = None) -> Sequence[Declared]:
        """Every version of a scorer, newest first, those of one that was removed too."""

        def read(connection: sa.Connection, home: Project) -> list[Declared]:
            table = tables.scorer
            query = sa.select(table).where(table.c.project == home.id, table.c.name == store.plain(name))
            found = [
                store.declared(row) for row in connection.execute(query.order_by(table.c.number.desc())).mappings()
            ]
            return found or [store.standing(connection, home.id, name)]

        return await self._read(actor, project, read)

    async def specs(self, project_id: str, names: Sequence[str]) -> tuple[Spec, ...]:
        """The specs of declared scorers, in order; for other rooms, which have asked for permission themselves."""
        return await self._database.read(
            lambda c: tuple(store.standing(c, project_id, name).spec for name in dict.fromkeys(names))
        )

    # -- sampling ------------------------------------------------------------------------------------------------

    async def put_rule(
        self, actor: Actor, wish: NewRule, *, project: str | None = None, version: int | None = None, reason: str = ""
    ) -> Rule:
        """A new rule of sampling, or a rule changed. ``version``: as in :meth:`declare`."""
        _check(wish)
        reason = _text(reason, "reason")

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Rule, audit.Deed]:
            before = store.find_rule(connection, home.id, wish.name, lock=True)
            _expect(before.version if before is not None else 0, version)
            if before is None and len(store.rules(connection, home.id)) >= _MOST_RULES:
                raise Invalid(f"A project has at most {_MOST_RULES} rules of sampling.", code="too_many_rules")
            for name in wish.scorers:
                # Locked, so that nobody removes it meanwhile.
                store.standing(connection, home.id, name, lock=True)
            made = Rule(
                **msgspec.structs.asdict(wish),
                id=ids.new(now) if before is None else before.id,
                org=home.org_id,
                project=home.id,
                version=1 if before is None else before.version + 1,
                created_at=now if before is None else before.created_at,
                created_by=access.actor_name(actor) if before is None else before.created_by,
            )
            row = {**msgspec.structs.asdict(made), "scorers": list(made.scorers)}
            table = tables.sampling
            if before is None:
                connection.execute(table.insert(), row)
            else:
                connection.execute(table.update().where(table.c.id == made.id).values(**row))
            facts: dict[str, str | int] = {"version": made.version, "share_per_million": round(made.share * 1_000_000)}
            resource = f"sampling:{home.id}/{made.name}"
            return made, _deed(actor, home, resource, "scorers:sample", before, made, reason, facts)

        return await self._change(actor, project, "scorers:write", work)

    async def remove_rule(self, actor: Actor, name: str, *, project: str | None = None, reason: str = "") -> Rule:
        """Sample by this rule no more."""
        reason = _text(reason, "reason")

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Rule, audit.Deed]:
            before = store.find_rule(connection, home.id, name, lock=True)
            if before is None:
                raise store.unknown_rule(name)
            connection.execute(tables.sampling.delete().where(tables.sampling.c.id == before.id))
            facts: dict[str, str | int] = {"version": before.version}
            resource = f"sampling:{home.id}/{before.name}"
            return before, _deed(actor, home, resource, "scorers:unsample", before, None, reason, facts)

        return await self._change(actor, project, "scorers:write", work)

    async def rules(self, actor: Actor, *, project: str | None = None) -> Sequence[Rule]:
        """The rules of a project, by name."""
        return await self._read(actor, project, lambda c, home: store.rules(c, home.id))

    async def rule(self, actor: Actor, name: str, *, project: str | None = None) -> Rule:
        """One rule."""

        def read(connection: sa.Connection, home: Project) -> Rule:
            found = store.find_rule(connection, home.id, name)
            if found is None:
                raise store.unknown_rule(name)
            return found

        return await self._read(actor, project, read)

    # -- calibration ---------------------------------------------------------------------------------------------

    async def keep_calibration(
        self,
        actor: Actor,
        scorer: Declared,
        result: Agreement,
        *,
        dataset: str = "",
        number: int = 0,
        dataset_version: str = "",
        queue: str = "",
        cost: int = 0,
    ) -> Calibrated:
        """Write down how a version of a judge agreed with people."""

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Calibrated, audit.Deed]:
            made = Calibrated(
                id=ids.new(now),
                scorer=scorer.name,
                version=scorer.version,
                dataset=dataset,
                number=number,
                dataset_version=dataset_version,
                result=result,
                cost=cost,
                at=now,
                by=access.actor_name(actor),
                queue=queue,
            )
            row = {**msgspec.structs.asdict(made), "result": msgspec.to_builtins(result)}
            connection.execute(tables.calibration.insert(), {**row, "org": home.org_id, "project": home.id})
            facts: dict[str, str | int] = {
                "version": scorer.version,
                "n": result.n,
                "kappa_per_mille": round(result.kappa * 1000),
                "passed": int(result.passed),
            }
            resource = f"scorer:{home.id}/{scorer.name}"
            return made, _deed(actor, home, resource, "scorers:calibrate", None, made, "", facts)

        return await self._change(actor, scorer.project, "scorers:write", work)

    async def calibrations(
        self, actor: Actor, name: str, *, project: str | None = None, limit: int = 100
    ) -> Sequence[Calibrated]:
        """How versions of a scorer agreed with people, newest first."""

        def read(connection: sa.Connection, home: Project) -> list[Calibrated]:
            found = store.standing(connection, home.id, name)
            return _calibrations(connection, home.id, found.name, "", limit)

        return await self._read(actor, project, read)

    async def calibrated(self, project_id: str, name: str, version: str) -> Calibrated | None:
        """The newest calibration of this very version of a judge; for other rooms. ``None``: there is none."""
        found = await self._database.read(lambda c: _calibrations(c, project_id, name, version, 1))
        return found[0] if found else None

    # -- how -----------------------------------------------------------------------------------------------------

    async def quarantined(self, org: str, project: str, entry: str, facts: dict[str, str | int]) -> None:
        """Write down that a stored answer was withdrawn for its quality."""
        occasion = audit.occasion()
        deed = audit.Deed(
            actor="system:scorers",
            action="cache:quarantine",
            resource=f"entry:{entry}",
            org=org,
            project=project,
            facts=facts,
        )
        await self._database.run(lambda connection: self._log.append(connection, deed, occasion))

    @staticmethod
    def _unseat(connection: sa.Connection, project: str, name: str) -> None:
        table = tables.scorer
        of = (table.c.project == project, table.c.name == name, table.c.standing)
        connection.execute(table.update().where(*of).values(standing=False))

    async def _load(self) -> Sampling:
        def read(connection: sa.Connection) -> Sampling:
            active: dict[str, list[Active]] = {}
            specs: dict[str, dict[str, Spec]] = {}
            for rule in store.rules(connection):
                if rule.project not in specs:
                    specs[rule.project] = {one.name: one.spec for one in store.all_standing(connection, rule.project)}
                known = specs[rule.project]
                used = tuple(known[name] for name in rule.scorers if name in known)
                if rule.share > 0 and (used or (rule.review and not rule.scorers)):
                    active.setdefault(rule.project, []).append(Active(rule, round(rule.share * _WHOLE), used))
            bar = max((one.bar for some in active.values() for one in some), default=0)
            return Sampling({project: tuple(some) for project, some in active.items()}, bar)

        return await self._database.read(read)

    async def _read(
        self,
        actor: Actor,
        project: str | None,
        work: Callable[[sa.Connection, Project], T],
        permission: str = "scorers:read",
    ) -> T:
        def read(connection: sa.Connection) -> T:
            home = find_project(connection, actor, project)
            require(actor, permission, Resource(project=home.id))
            return work(connection, home)

        return await self._database.read(read)

    async def _change(
        self,
        actor: Actor,
        project: str | None,
        permission: str,
        work: Callable[[sa.Connection, Project, int], tuple[T, audit.Deed | None]],
    ) -> T:
        """One transaction with its leaf and its notice; returns when this process acts by it."""
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> tuple[T, bool]:
            home = find_project(connection, actor, project)
            require(actor, permission, Resource(project=home.id))
            result, deed = work(connection, home, self.clock.now())
            if deed is None:
                return result, False
            self._log.append(connection, deed, occasion)
            self._notices.mark(connection, TOPIC)
            return result, True

        result, changed = await self._database.run(transaction)
        if changed:
            self._notices.publish(TOPIC, marked=True)
            await self.sampling.reload()
        return result


def _calibrations(connection: sa.Connection, project: str, name: str, version: str, limit: int) -> list[Calibrated]:
    table = tables.calibration
    query = sa.select(table).where(table.c.project == project, table.c.scorer == name)
    if version:
        query = query.where(table.c.version == version)
    rows = connection.execute(query.order_by(table.c.id.desc()).limit(limit)).mappings()
    return [store.calibrated(row) for row in rows]


def _check(wish: NewRule) -> None:
    def refuse(field: str, message: str) -> OstinatoError:
        return Invalid(message, code="invalid_sampling", param=field)

    if not building.is_name(wish.name):
        raise refuse("name", f"{wish.name[:80]!r} cannot be the name of a rule.")
    if not 0 <= wish.share <= 1:
        raise refuse("share", "The share is from 0 to 1.")
    least = 0 if wish.review else 1  # people may look where nothing else does
    if not least <= len(wish.scorers) <= _MOST_OF_RULE or len(set(wish.scorers)) != len(wish.scorers):
        raise refuse("scorers", f"A rule names 1 to {_MOST_OF_RULE} scorers, each once, or a review queue.")
    for field, text in (("intent", wish.intent), ("prompt", wish.prompt), ("review", wish.review)):
        if len(text) > 255 or (text and not text.isprintable()):
            raise refuse(field, f"This cannot be the name of a {field}.")
    if wish.quarantine is not None and not 0 <= wish.quarantine <= 1:
        raise refuse("quarantine", "The bound of quality is from 0 to 1.")


def _expect(found: int, wanted: int | None) -> None:
    if wanted is not None and wanted != found:
        raise Conflict(
            f"It has moved on since you looked: it is at version {found}.",
            code="version_moved",
            hint="Look again, then repeat.",
        )


def _text(text: str, field: str) -> str:
    text = text.strip()
    if len(text) > _NOTE or "\x00" in text:
        raise Invalid(f"At most {_NOTE} characters.", code=f"invalid_{field}", param=field)
    return text


def _deed(
    actor: Actor,
    home: Project,
    resource: str,
    action: str,
    before: msgspec.Struct | None,
    after: msgspec.Struct | None,
    reason: str,
    facts: dict[str, str | int],
) -> audit.Deed:
    return audit.Deed(
        actor=access.actor_name(actor),
        principal=access.principal_of(actor),
        action=action,
        resource=resource,
        org=home.org_id,
        project=home.id,
        before=None if before is None else msgspec.to_builtins(before),
        after=None if after is None else msgspec.to_builtins(after),
        reason=reason,
        facts=facts,
    )
