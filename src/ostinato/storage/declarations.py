"""What is declared (routes, policies, prices ...): named bodies of a kind, versioned, with their history.

A declaration comes from a *source*. The source ``config`` is the configuration file: it is applied whole at every
start, wins over others, and is read-only afterwards. Everything else comes and goes one by one.
"""

import contextvars
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias, TypeVar

import msgspec
import sqlalchemy as sa

from ostinato.core import hashing
from ostinato.core.clock import Clock, SystemClock
from ostinato.core.errors import Conflict, NotFound
from ostinato.storage import tables
from ostinato.storage.database import Database
from ostinato.storage.notices import Notices

T = TypeVar("T")

CONFIG = "config"
"""The source whose declarations are read-only, and the actor who made them."""

_TRIES = 5


class Declared(msgspec.Struct, frozen=True):
    """One declaration as it stands."""

    kind: str
    name: str
    version: int
    body: object
    """Any JSON value."""
    source: str
    actor: str
    changed_at: int
    """UTC microseconds."""
    read_only: bool


class Change(msgspec.Struct, frozen=True):
    """One step of a declaration's history; ``body`` is ``None`` where it was removed."""

    kind: str
    name: str
    version: int
    action: Literal["put", "remove"]
    body: object
    source: str
    actor: str
    changed_at: int


class Edit(msgspec.Struct, frozen=True):
    """One change, as it is told to who writes it down too."""

    kind: str
    name: str
    version: int
    action: Literal["put", "remove"]
    before: object
    """The body until now; ``None`` where there was none."""
    after: object
    """The body from now on; ``None`` where it was removed."""
    source: str
    actor: str


OnChange: TypeAlias = Callable[[sa.Connection, Edit], None]
"""Called for each change, in its transaction; what it raises undoes the change."""


class Declarations:
    """Declarations in the database ``control``. Every change is one transaction together with its history.

    ``topics`` maps a kind to the topic of its notices (``{"route": "routes"}``); a change of a kind that is not there
    is announced under the kind itself. ``on_change`` is called within each change's transaction, with the context
    variables of the task that asked for it.
    """

    on_change: OnChange | None

    def __init__(
        self,
        database: Database,
        clock: Clock | None = None,
        notices: Notices | None = None,
        topics: Mapping[str, str] | None = None,
        on_change: OnChange | None = None,
    ) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._notices = notices
        self._topics = dict(topics or {})
        self.on_change = on_change

    async def load(self, kind: str) -> dict[str, object]:
        """Everything of ``kind`` that stands now: name to body."""
        return await self._database.read(lambda connection: load(connection, kind))

    async def entries(self, kind: str) -> list[Declared]:
        """As ``load``, with version, source and actor; by name."""
        return await self._database.read(lambda connection: entries(connection, kind))

    async def show(self, kind: str, name: str) -> Declared:
        """One declaration. Raises ``NotFound``."""
        for found in await self.entries(kind):
            if found.name == name:
                return found
        raise _unknown(kind, name)

    async def history(self, kind: str, name: str) -> list[Change]:
        """Every change of one name, oldest first; also of one that was removed."""
        return await self._database.read(lambda connection: history(connection, kind, name))

    async def apply(self, kind: str, bodies: Mapping[str, object], actor: str, source: str = CONFIG) -> list[str]:
        """Make ``bodies`` all that ``source`` declares of ``kind``; gives the names that changed.

        New and altered ones are put, those of the same source that are missing are removed, equal ones are left alone
        (so a restart with the same file changes nothing). ``config`` takes over a name that another source declared;
        any other source raises ``Conflict`` on a name of ``config``.
        """
        now = self._clock.now()
        tell = self._telling()

        def work(connection: sa.Connection) -> list[str]:
            changed = apply(connection, kind, bodies, actor=actor, source=source, now=now, on_change=tell)
            self._mark(connection, kind, changed)
            return changed

        # Processes that start together declare the same: one was first, and the others then find nothing to change.
        tries = 1
        while True:
            try:
                changed = await self._database.run(work)
                break
            except Conflict as error:
                if error.code != "already_exists" or tries == _TRIES:
                    raise
                tries += 1
        self._publish(kind, changed)
        return changed

    async def put(
        self,
        kind: str,
        name: str,
        body: object,
        actor: str,
        source: str = "api",
        *,
        expect: int | None = None,
    ) -> int:
        """Declare one; gives its version. ``expect``: the version the caller saw (0: none).

        Raises ``Conflict`` where the name is read-only (declared in the configuration) or was changed meanwhile.
        """
        now = self._clock.now()
        tell = self._telling()

        def work(connection: sa.Connection) -> tuple[int, bool]:
            result = put(
                connection, kind, name, body, actor=actor, source=source, now=now, expect=expect, on_change=tell
            )
            self._mark(connection, kind, [name] if result[1] else [])
            return result

        version, changed = await self._database.run(work)
        self._publish(kind, [name] if changed else [])
        return version

    async def remove(self, kind: str, name: str, actor: str, source: str = "api") -> None:
        """Withdraw one; its history stays. Raises ``NotFound``, or ``Conflict`` where it is read-only."""
        now = self._clock.now()
        tell = self._telling()

        def work(connection: sa.Connection) -> None:
            remove(connection, kind, name, actor=actor, source=source, now=now, on_change=tell)
            self._mark(connection, kind, [name])

        await self._database.run(work)
        self._publish(kind, [name])

    def _telling(self) -> OnChange | None:
        """``on_change`` in the context of the task that is running now: the database's threads have another."""
        on_change, context = self.on_change, contextvars.copy_context()
        if on_change is None:
            return None
        return lambda connection, edit: context.run(on_change, connection, edit)

    def _mark(self, connection: sa.Connection, kind: str, changed: list[str]) -> None:
        if changed and self._notices is not None:
            self._notices.mark(connection, self._topics.get(kind, kind))

    def _publish(self, kind: str, changed: list[str]) -> None:
        if changed and self._notices is not None:
            self._notices.publish(self._topics.get(kind, kind), marked=True)


def load(connection: sa.Connection, kind: str) -> dict[str, object]:
    """See :meth:`Declarations.load`; inside a transaction of the caller's."""
    return {found.name: found.body for found in entries(connection, kind)}


def entries(connection: sa.Connection, kind: str) -> list[Declared]:
    """See :meth:`Declarations.entries`; inside a transaction of the caller's."""
    table = tables.declaration
    rows = connection.execute(sa.select(table).where(table.c.kind == kind).order_by(table.c.name))
    return [
        Declared(
            kind=row.kind,
            name=row.name,
            version=row.version,
            body=row.body,
            source=row.source,
            actor=row.actor,
            changed_at=row.changed_at,
            read_only=row.source == CONFIG,
        )
        for row in rows
    ]


def history(connection: sa.Connection, kind: str, name: str) -> list[Change]:
    """See :meth:`Declarations.history`; inside a transaction of the caller's."""
    table = tables.declaration_change
    chosen = sa.select(table).where(table.c.kind == kind, table.c.name == name).order_by(table.c.version)
    return [
        Change(
            kind=row.kind,
            name=row.name,
            version=row.version,
            action=row.action,
            body=row.body,
            source=row.source,
            actor=row.actor,
            changed_at=row.changed_at,
        )
        for row in connection.execute(chosen)
    ]


def apply(
    connection: sa.Connection,
    kind: str,
    bodies: Mapping[str, object],
    *,
    actor: str,
    source: str,
    now: int,
    on_change: OnChange | None = None,
) -> list[str]:
    """See :meth:`Declarations.apply`; inside a transaction of the caller's, which may add its audit leaf."""
    table = tables.declaration
    chosen = sa.select(table.c.name).where(table.c.kind == kind, table.c.source == source)
    gone = sorted(set(connection.scalars(chosen)) - set(bodies))
    changed = [
        name
        for name, body in sorted(bodies.items())
        if put(connection, kind, name, body, actor=actor, source=source, now=now, on_change=on_change)[1]
    ]
    for name in gone:
        remove(connection, kind, name, actor=actor, source=source, now=now, on_change=on_change)
    return changed + gone


def put(
    connection: sa.Connection,
    kind: str,
    name: str,
    body: object,
    *,
    actor: str,
    source: str,
    now: int,
    expect: int | None = None,
    on_change: OnChange | None = None,
) -> tuple[int, bool]:
    """See :meth:`Declarations.put`; gives (version, whether anything changed)."""
    table = tables.declaration
    standing = connection.execute(
        sa.select(table.c.version, table.c.digest, table.c.source, table.c.body)
        .where(table.c.kind == kind, table.c.name == name)
        .with_for_update()
    ).first()
    if standing is not None and standing.source == CONFIG and source != CONFIG:
        raise _read_only(kind, name)
    if expect is not None and expect != (standing.version if standing is not None else 0):
        raise _moved_on(kind, name)
    digest = hashing.digest_of(body)
    if standing is not None and standing.digest == digest and standing.source == source:
        return standing.version, False
    version = _next_version(connection, kind, name)
    values = {
        "version": version,
        "digest": digest,
        "body": body,
        "source": source,
        "actor": actor,
        "changed_at": now,
    }
    if standing is None:
        connection.execute(sa.insert(table).values(kind=kind, name=name, **values))
    else:
        connection.execute(sa.update(table).where(table.c.kind == kind, table.c.name == name).values(**values))
    connection.execute(sa.insert(tables.declaration_change).values(kind=kind, name=name, action="put", **values))
    if on_change is not None:
        before = standing.body if standing is not None else None
        on_change(connection, Edit(kind, name, version, "put", before, body, source, actor))
    return version, True


def remove(
    connection: sa.Connection,
    kind: str,
    name: str,
    *,
    actor: str,
    source: str,
    now: int,
    expect: int | None = None,
    on_change: OnChange | None = None,
) -> None:
    """See :meth:`Declarations.remove`; inside a transaction of the caller's. ``expect``: the version that it saw."""
    table = tables.declaration
    chosen = (table.c.kind == kind) & (table.c.name == name)
    found = sa.select(table.c.source, table.c.body, table.c.version)
    standing = connection.execute(found.where(chosen).with_for_update()).first()
    if standing is None:
        raise _unknown(kind, name)
    if standing.source == CONFIG and source != CONFIG:
        raise _read_only(kind, name)
    if expect is not None and expect != standing.version:
        raise _moved_on(kind, name)
    version = _next_version(connection, kind, name)
    connection.execute(sa.delete(table).where(chosen))
    connection.execute(
        sa.insert(tables.declaration_change).values(
            kind=kind, name=name, version=version, action="remove", source=source, actor=actor, changed_at=now
        )
    )
    if on_change is not None:
        on_change(connection, Edit(kind, name, version, "remove", standing.body, None, source, actor))


def _next_version(connection: sa.Connection, kind: str, name: str) -> int:
    table = tables.declaration_change
    last = connection.scalar(sa.select(sa.func.max(table.c.version)).where(table.c.kind == kind, table.c.name == name))
    return (last or 0) + 1


def one_of(kind: str) -> str:
    """What one of a kind is called: kinds are named in the plural."""
    return kind[:-3] + "y" if kind.endswith("ies") else kind.removesuffix("s")


def _unknown(kind: str, name: str) -> NotFound:
    return NotFound(f"There is no {one_of(kind)} {name!r}.", code="declaration_unknown")


def _read_only(kind: str, name: str) -> Conflict:
    return Conflict(
        f"The {one_of(kind)} {name!r} is declared in the configuration file and read-only here.",
        code="declared_in_configuration",
        hint="Change it in the file and restart, or take it out of the file first.",
    )


def _moved_on(kind: str, name: str) -> Conflict:
    return Conflict(
        f"The {one_of(kind)} {name!r} was changed meanwhile.", code="declaration_changed", hint="Load it again."
    )
