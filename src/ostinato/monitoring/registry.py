"""What is declared of detectors: :class:`Registry`, and which of them watch a series."""

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
from ostinato.core.errors import Conflict, Invalid, NotFound
from ostinato.intents import Intents
from ostinato.monitoring import defaults, kinds, tables
from ostinato.monitoring.model import Declaration, Declared, refuse
from ostinato.storage import Current

T = TypeVar("T")

TOPIC = "detectors"
_MOST = 200
"""Of one project."""
_NAME = 64
_NOTE = 2_000


class Standing(msgspec.Struct, frozen=True):
    """All that is declared, by id of the project: a snapshot."""

    projects: dict[str, tuple[Declared, ...]] = {}


class Registry:
    """Declared detectors. Every change is one transaction with its audit leaf.

    ``project`` is an id, a short name or ``organization/project``; ``None``: the actor's own.
    """

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        notices: storage.Notices,
        log: audit.Log,
        intents: Current[Intents],
    ) -> None:
        self.clock = clock
        self._database = database
        self._notices = notices
        self._log = log
        self._intents = intents
        self.snapshot: storage.Snapshot[Standing] = storage.Snapshot(self._load, notices, TOPIC, clock)

    # -- what holds ------------------------------------------------------------------------------------------------

    def effective(self, project: str, intent: str, prompt: str = "") -> dict[str, Declared]:
        """The detectors that watch requests of an intent (``""``: of none), by name: declared ones, and defaults.

        Those that are switched off are among them.
        """
        known = self._intents.value.of(project, intent) if intent else None
        found = defaults.declared("medium" if known is None else known.stakes, known is not None)
        for one in self.snapshot.value.projects.get(project, ()):
            told = one.declared
            if told.intent not in ("", intent) or told.prompt not in ("", prompt):
                continue
            found.pop(told.replaces or one.name, None)
            found[one.name] = one
        return found

    def intents_of(self, project: str) -> list[str]:
        """Keys of the intents that a project may name, and ``""``."""
        return ["", *self._intents.value.keys(project)]

    async def find(self, actor: Actor, project: str | None, permission: str = "monitoring:read") -> Project:
        """The project that the actor means, and may see the detectors of."""

        def read(connection: sa.Connection) -> Project:
            home = find_project(connection, actor, project)
            require(actor, permission, Resource(project=home.id))
            return home

        return await self._database.read(read)

    def show(self, home: Project, name: str) -> Declared:
        """A detector by name: declared, or a default of some intent. Raises ``NotFound``."""
        for one in self.snapshot.value.projects.get(home.id, ()):
            if one.name == name:
                return one
        for intent in self.intents_of(home.id):
            found = self.effective(home.id, intent).get(name)
            if found is not None:
                return msgspec.structs.replace(found, org=home.org_id, project=home.id)
        raise _unknown(name)

    # -- changes -----------------------------------------------------------------------------------------------------

    async def declare(
        self,
        actor: Actor,
        name: str,
        wish: Declaration,
        *,
        project: str | None = None,
        version: int | None = None,
        reason: str = "",
    ) -> Declared:
        """A new detector, or a detector changed; what it learnt before is forgotten, even where nothing else changes.

        ``version``: the one that the caller saw (0: none); ``Conflict`` if it has moved on. Raises ``Invalid`` naming
        the field of what cannot work.
        """
        _check(name, wish)
        reason = _text(reason)

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Declared, audit.Deed]:
            if wish.intent and self._intents.value.of(home.id, wish.intent) is None:
                raise refuse("intent", f"There is no intent {wish.intent[:80]!r}.")
            before = _row(connection, home.id, name, lock=True)
            _expect(0 if before is None else before.version, version)
            table = tables.detector
            if before is None:
                count = connection.execute(sa.select(sa.func.count()).where(table.c.project == home.id)).scalar() or 0
                if count >= _MOST:
                    raise Invalid(f"A project has at most {_MOST} detectors of its own.", code="too_many_detectors")
            made = Declared(
                id=ids.new(now) if before is None else before.id,
                org=home.org_id,
                project=home.id,
                name=name,
                declared=wish,
                # A name that was removed before counts on: what was learnt under it then is not taken up again.
                version=now // 1_000_000 if before is None else before.version + 1,
                created_at=now,
                created_by=access.actor_name(actor),
            )
            row = {**msgspec.structs.asdict(made), "declared": msgspec.to_builtins(wish)}
            row.pop("origin")
            if before is None:
                connection.execute(table.insert(), row)
            else:
                connection.execute(table.update().where(table.c.id == made.id).values(**row))
            return made, _deed(actor, home, name, "monitoring:declare", before, made, reason)

        return await self._change(actor, project, work)

    async def remove(self, actor: Actor, name: str, *, project: str | None = None, reason: str = "") -> Declared:
        """Watch by this declaration no more; a default that it took the place of comes back."""
        reason = _text(reason)

        def work(connection: sa.Connection, home: Project, now: int) -> tuple[Declared, audit.Deed]:
            before = _row(connection, home.id, name, lock=True)
            if before is None:
                raise _unknown(name)
            connection.execute(tables.detector.delete().where(tables.detector.c.id == before.id))
            return before, _deed(actor, home, name, "monitoring:remove", before, None, reason)

        return await self._change(actor, project, work)

    async def _load(self) -> Standing:
        def read(connection: sa.Connection) -> Standing:
            found: dict[str, list[Declared]] = {}
            query = sa.select(tables.detector).order_by(tables.detector.c.project, tables.detector.c.name)
            for row in connection.execute(query).mappings():
                found.setdefault(row["project"], []).append(_declared(row))
            return Standing({project: tuple(some) for project, some in found.items()})

        return await self._database.read(read)

    async def _change(
        self,
        actor: Actor,
        project: str | None,
        work: Callable[[sa.Connection, Project, int], tuple[T, audit.Deed]],
    ) -> T:
        """One transaction with its leaf and its notice; returns when this process acts by it."""
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> T:
            home = find_project(connection, actor, project)
            require(actor, "monitoring:write", Resource(project=home.id))
            result, deed = work(connection, home, self.clock.now())
            self._log.append(connection, deed, occasion)
            self._notices.mark(connection, TOPIC)
            return result

        result = await self._database.run(transaction)
        self._notices.publish(TOPIC, marked=True)
        await self.snapshot.reload()
        return result


def page(found: Sequence[Declared], after: str, limit: int) -> list[Declared]:
    """Some detectors by name, from behind ``after``."""
    return [one for one in sorted(found, key=lambda one: one.name) if one.name > after][:limit]


def _row(connection: sa.Connection, project: str, name: str, *, lock: bool = False) -> Declared | None:
    table = tables.detector
    query = sa.select(table).where(table.c.project == project, table.c.name == name.replace("\x00", ""))
    row = connection.execute(query.with_for_update() if lock else query).mappings().first()
    return None if row is None else _declared(row)


def _declared(row: sa.RowMapping) -> Declared:
    fields = ("id", "org", "project", "name", "declared", "version", "created_at", "created_by")
    return msgspec.convert({name: row[name] for name in fields}, Declared)


def _unknown(name: str) -> NotFound:
    return NotFound(
        f"There is no detector {name[:80]!r} in this project.",
        code="detector_not_found",
        hint="`ostinato detectors list` shows them.",
    )


def _check(name: str, wish: Declaration) -> None:
    if not 0 < len(name) <= _NAME or not all(c.isascii() and (c.isalnum() or c in "._-/") for c in name):
        raise refuse("name", f"{name[:80]!r} cannot be the name of a detector.", "Letters, digits and . _ - /")
    for field in ("intent", "prompt", "replaces"):
        text = getattr(wish, field)
        if len(text) > 255 or (text and not text.isprintable()):
            raise refuse(field, f"This cannot be the name of a {field}.")
    kinds.configured(kinds.find(wish.kind), wish.config)


def _expect(found: int, wanted: int | None) -> None:
    if wanted is not None and wanted != found:
        raise Conflict(
            f"It has moved on since you looked: it is at version {found}.",
            code="version_moved",
            hint="Look again, then repeat.",
        )


def _text(text: str) -> str:
    text = text.strip()
    if len(text) > _NOTE or "\x00" in text:
        raise Invalid(f"At most {_NOTE} characters.", code="invalid_reason", param="reason")
    return text


def _deed(
    actor: Actor, home: Project, name: str, action: str, before: Declared | None, after: Declared | None, reason: str
) -> audit.Deed:
    standing = after or before
    facts: dict[str, str | int] = {}
    if standing is not None:
        facts = {"version": standing.version, "kind": standing.declared.kind}
    return audit.Deed(
        actor=access.actor_name(actor),
        principal=access.principal_of(actor),
        action=action,
        resource=f"detector:{home.id}/{name}",
        org=home.org_id,
        project=home.id,
        before=None if before is None else msgspec.to_builtins(before),
        after=None if after is None else msgspec.to_builtins(after),
        reason=reason,
        facts=facts,
    )
