"""The room's one object with a life: :class:`Datasets`."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar, cast

import msgspec
import sqlalchemy as sa

from ostinato import access, audit, storage
from ostinato.access import Actor, Resource, SystemActor
from ostinato.access.manage import find_project
from ostinato.access.permissions import require
from ostinato.core.clock import Clock
from ostinato.core.errors import Denied
from ostinato.datasets import holdout, leakage, store, tables, writing
from ostinato.datasets.leakage import Embed
from ostinato.datasets.model import Dataset, DatasetVersion, Example, Finding, Look, NewExample, Shares, Split
from ostinato.datasets.settings import Settings
from ostinato.wire.model import Json

T = TypeVar("T")

Base: TypeAlias = int | Literal["latest"] | None
"""The version that a new one begins with: its number, the newest, or none."""

_GATE = SystemActor("gate")
_PAGE_BYTES = 2_000_000
"""Examples of one page, roughly; fewer come where they are large."""


class Datasets:
    """Datasets of all projects.

    ``project`` is an id, a short name or ``organization/project``; ``None``: the actor's own. Another project's
    datasets do not exist (``NotFound``). Every change is one transaction with its leaf of the audit log. Methods
    without an actor are for other rooms, which have asked for permission themselves; none of them but
    :meth:`open_holdout` gives out what is sealed.
    """

    def __init__(
        self, database: storage.Database, clock: Clock, log: audit.Log, settings: Settings | None = None
    ) -> None:
        self.settings = settings or Settings()
        self.settings.check()
        self.clock = clock
        self.database = database
        self._log = log

    # -- changes -------------------------------------------------------------------------------------------------

    async def create(
        self,
        actor: Actor,
        name: str,
        *,
        project: str | None = None,
        description: str = "",
        shares: Shares | None = None,
        examples: Sequence[NewExample] = (),
        note: str = "",
    ) -> Dataset:
        """A new dataset, with its first version where examples are given. Raises ``Conflict`` for a name in use."""

        def work(connection: sa.Connection, now: int) -> tuple[Dataset, audit.Deed]:
            home = find_project(connection, actor, project)
            require(actor, "datasets:write", Resource(project=home.id))
            by = access.actor_name(actor)
            made = writing.create(
                connection, home, name, description=description, shares=shares or Shares(), now=now, by=by
            )
            facts: dict[str, str | int] = {"version": 0}
            if examples:
                version = self._whole(connection, actor, made, examples, base=None, note=note, now=now)
                made = msgspec.structs.replace(made, latest=version.number)
                facts = _facts(version)
            return made, self._deed(actor, made, "datasets:create", after=made, facts=facts)

        return await self.change(work)

    async def add_version(
        self,
        actor: Actor,
        name: str,
        examples: Sequence[NewExample],
        *,
        base: Base = None,
        without: Sequence[str] = (),
        note: str = "",
        project: str | None = None,
        leave_open: bool = False,
        origin: Json | None = None,
    ) -> DatasetVersion:
        """A new version of ``examples``, or of those of ``base`` with these beside them, ``without`` some (ids).

        ``leave_open``: more come by :meth:`add_examples`; :meth:`seal` ends it. Raises ``Invalid`` telling which
        example cannot be used and why.
        """

        def work(connection: sa.Connection, now: int) -> tuple[DatasetVersion, audit.Deed]:
            of = self.own(connection, actor, project, name, "datasets:write", lock=True)
            version = self._whole(
                connection,
                actor,
                of,
                examples,
                base=base,
                without=without,
                note=note,
                now=now,
                leave_open=leave_open,
                origin=origin,
            )
            return version, self._deed(actor, of, "datasets:version", reason=note, facts=_facts(version))

        return await self.change(work)

    async def add_examples(
        self, actor: Actor, name: str, number: int, examples: Sequence[NewExample], *, project: str | None = None
    ) -> DatasetVersion:
        """An open version with more examples."""

        def work(connection: sa.Connection, now: int) -> tuple[DatasetVersion, audit.Deed]:
            of = self.own(connection, actor, project, name, "datasets:write", lock=True)
            version = store.find_version(connection, of, number, lock=True)
            filled = writing.fill(connection, of, version, examples, self.settings, now)
            facts: dict[str, str | int] = {"version": number, "examples": len(examples)}
            return filled, self._deed(actor, of, "datasets:add", facts=facts)

        return await self.change(work)

    async def seal(self, actor: Actor, name: str, number: int, *, project: str | None = None) -> DatasetVersion:
        """An open version, closed for good: from now on it has a digest, and can be used."""

        def work(connection: sa.Connection, now: int) -> tuple[DatasetVersion, audit.Deed]:
            of = self.own(connection, actor, project, name, "datasets:write", lock=True)
            version = store.find_version(connection, of, number, lock=True)
            sealed = writing.seal(connection, of, version)
            return sealed, self._deed(actor, of, "datasets:seal", facts=_facts(sealed))

        return await self.change(work)

    async def discard(self, actor: Actor, name: str, number: int, *, project: str | None = None) -> DatasetVersion:
        """Throw away a version that was never used, open or sealed."""

        def work(connection: sa.Connection, now: int) -> tuple[DatasetVersion, audit.Deed]:
            of = self.own(connection, actor, project, name, "datasets:write", lock=True)
            version = store.find_version(connection, of, number, lock=True)
            writing.discard(connection, of, version)
            return version, self._deed(actor, of, "datasets:discard", facts=_facts(version))

        return await self.change(work)

    async def erase(
        self,
        actor: Actor,
        name: str,
        *,
        examples: Sequence[str] = (),
        subject: str = "",
        source: str = "",
        reason: str = "",
        project: str | None = None,
    ) -> tuple[str, ...]:
        """Erase examples in every version: by id, by whose they are, or by source. Tombstones stay, with digests."""

        def work(connection: sa.Connection, now: int) -> tuple[tuple[str, ...], audit.Deed]:
            of = self.own(connection, actor, project, name, "datasets:write", lock=True)
            gone = writing.erase(connection, of, named=examples, subject=subject, source=source, now=now)
            facts: dict[str, str | int] = {"examples": len(gone)}
            told = writing.text_of(reason, "reason")
            return tuple(gone), self._deed(actor, of, "datasets:erase", after=gone, reason=told, facts=facts)

        return await self.change(work)

    # -- questions -----------------------------------------------------------------------------------------------

    async def list(
        self, actor: Actor, *, project: str | None = None, after: str = "", limit: int = 100
    ) -> Sequence[Dataset]:
        """A page of a project's datasets by name."""

        def read(connection: sa.Connection) -> list[Dataset]:
            home = find_project(connection, actor, project)
            require(actor, "datasets:read", Resource(project=home.id))
            table = tables.dataset
            query = sa.select(table).where(table.c.project == home.id, table.c.name > after.replace("\x00", ""))
            return [
                store.dataset(row) for row in connection.execute(query.order_by(table.c.name).limit(limit)).mappings()
            ]

        return await self.database.read(read)

    async def show(self, actor: Actor, name: str, *, project: str | None = None) -> Dataset:
        """One dataset, by name or id."""
        return await self.database.read(lambda c: self.own(c, actor, project, name, "datasets:read"))

    async def versions(
        self, actor: Actor, name: str, *, project: str | None = None, after: int | None = None, limit: int = 100
    ) -> Sequence[DatasetVersion]:
        """A page of versions, newest first, from before number ``after``."""

        def read(connection: sa.Connection) -> Sequence[DatasetVersion]:
            of = self.own(connection, actor, project, name, "datasets:read")
            table = tables.dataset_version
            query = sa.select(table).where(table.c.dataset_id == of.id)
            if after is not None:
                query = query.where(table.c.number < after)
            rows = connection.execute(query.order_by(table.c.number.desc()).limit(limit)).mappings()
            return [store.version(of, row) for row in rows]

        return await self.database.read(read)

    async def version(
        self, actor: Actor, name: str, number: int | None = None, *, project: str | None = None
    ) -> DatasetVersion:
        """One version; ``None``: the newest that is sealed."""
        return await self.database.read(
            lambda c: store.find_version(c, self.own(c, actor, project, name, "datasets:read"), number)
        )

    async def examples(
        self,
        actor: Actor,
        name: str,
        number: int | None = None,
        *,
        split: Split | None = None,
        after: int = 0,
        limit: int = 100,
        project: str | None = None,
    ) -> tuple[Sequence[Example], int | None]:
        """A page of a version's examples, tombstones among them, and what to give as ``after`` for the next one.

        What is sealed is never given: ``None`` stands for train and dev. Raises ``Denied`` for the holdout.
        """
        if split == "holdout":
            raise _sealed()
        splits = ("train", "dev") if split is None else (split,)

        def read(connection: sa.Connection) -> tuple[Sequence[Example], int | None]:
            of = self.own(connection, actor, project, name, "datasets:text")
            version = store.find_version(connection, of, number)
            found: list[Example] = []
            size = 0
            for position, one in store.load(connection, version.id, splits, after=after, limit=limit, living=False):
                found.append(one)
                size += len(msgspec.json.encode(one))
                if len(found) == limit or size >= _PAGE_BYTES:
                    return found, position
            return found, None

        return await self.database.read(read)

    async def leakage(
        self, actor: Actor, name: str, number: int | None = None, *, project: str | None = None
    ) -> tuple[Finding, ...]:
        """What of one split can be known from another one. Ids and counts only, none of the sealed part."""
        version = await self.version(actor, name, number, project=project)
        return await self.leaks(version.id)

    async def looks(
        self, actor: Actor, name: str, number: int | None = None, *, project: str | None = None
    ) -> tuple[Look, ...]:
        """Every look at a version's holdout, oldest first."""
        version = await self.version(actor, name, number, project=project)
        return await self.database.read(lambda c: holdout.looks(c, version.id))

    # -- for other rooms -----------------------------------------------------------------------------------------

    async def find(self, version_id: str) -> DatasetVersion:
        """A version by its id. Raises ``NotFound``."""
        return await self.database.read(lambda c: store.by_version(c, version_id)[1])

    async def load(self, version_id: str, splits: Sequence[Split] = ("train", "dev")) -> tuple[Example, ...]:
        """The examples of a sealed version that still have their texts, in their order; marks it as used.

        Raises ``Denied`` where ``splits`` names the holdout.
        """
        if "holdout" in splits:
            raise _sealed()
        now = self.clock.now()

        def read(connection: sa.Connection) -> tuple[bool, tuple[Example, ...]]:
            _, version = store.by_version(connection, version_id)
            holdout.must_be_sealed(version)
            found = tuple(one for _, one in store.load(connection, version_id, splits))
            return version.used_at is None, found

        first, found = await self.database.read(read)
        if first:
            await self.database.run(lambda c: _mark_used(c, version_id, now))
        return found

    async def open_holdout(
        self, version_id: str, *, prompt: str, run: str, alpha: float, actor: Actor = _GATE
    ) -> tuple[Example, ...]:
        """The sealed examples, for the gate: the look is written down, and spends ``alpha`` of what ``prompt`` has.

        Once for each run: asked again, the same examples come and nothing more is spent. Raises ``HoldoutSpent``
        where the prompt would have spent more than ``[datasets] alpha`` on these examples.
        """

        def work(connection: sa.Connection, now: int) -> tuple[tuple[Example, ...], audit.Deed | None]:
            of, _ = store.by_version(connection, version_id, lock=True)
            _, version = store.by_version(connection, version_id)
            looked = holdout.look(
                connection,
                of,
                version,
                prompt=prompt,
                run=run,
                alpha=alpha,
                most=self.settings.alpha,
                now=now,
                by=access.actor_name(actor),
            )
            _mark_used(connection, version_id, now)
            found = tuple(one for _, one in store.load(connection, version_id, ("holdout",)))
            if looked is None:
                return found, None
            facts: dict[str, str | int] = {
                "version": version.number,
                "holdout": version.holdout_digest,
                "prompt": prompt,
                "run": run,
                "alpha_ppm": round(alpha * 1e6),
                "spent_ppm": round(looked.spent * 1e6),
            }
            return found, self._deed(actor, of, "datasets:look", facts=facts)

        return await self.change(work)

    async def alpha_left(self, version_id: str, prompt: str) -> float:
        """What ``prompt`` may still spend on the holdout of a version: for plans, before anything is paid for."""

        def read(connection: sa.Connection) -> float:
            _, version = store.by_version(connection, version_id)
            return max(0.0, self.settings.alpha - holdout.spent(connection, version, prompt))

        return await self.database.read(read)

    async def leaks(
        self, version_id: str, *, shots: Sequence[str] = (), text: str = "", embed: Embed | None = None
    ) -> tuple[Finding, ...]:
        """The leakage report; with a candidate's ``shots`` (ids of examples in it) and ``text``, that of the candidate.

        ``embed``: texts to vectors of length one, so that what says the same in other words is found, too.
        """

        def read(connection: sa.Connection) -> list[Example]:
            splits = ("train", "dev", "holdout")
            return [one for _, one in store.load(connection, version_id, splits)]

        found = await self.database.read(read)
        result = await asyncio.to_thread(leakage.check, found, shots=shots, text=text)
        if embed is not None:
            result += await leakage.check_meaning(found, embed)
        return result

    # -- shared --------------------------------------------------------------------------------------------------

    def own(
        self,
        connection: sa.Connection,
        actor: Actor,
        project: str | None,
        name: str,
        permission: str,
        *,
        lock: bool = False,
    ) -> Dataset:
        """The dataset that the actor means, and has ``permission`` on."""
        home = find_project(connection, actor, project)
        require(actor, permission, Resource(project=home.id))
        return store.find(connection, home.id, name, lock=lock)

    async def change(self, work: Callable[[sa.Connection, int], tuple[T, audit.Deed | None]]) -> T:
        """One transaction with its leaf."""
        occasion = audit.occasion()

        def transaction(connection: sa.Connection) -> T:
            result, deed = work(connection, self.clock.now())
            if deed is not None:
                self._log.append(connection, deed, occasion)
            return result

        return await self.database.run(transaction)

    def _whole(
        self,
        connection: sa.Connection,
        actor: Actor,
        of: Dataset,
        examples: Sequence[NewExample],
        *,
        base: Base,
        note: str,
        now: int,
        without: Sequence[str] = (),
        leave_open: bool = False,
        origin: Json | None = None,
    ) -> DatasetVersion:
        start = None
        if base is not None:
            start = store.find_version(connection, of, None if base == "latest" else base)
        version = writing.begin(
            connection,
            of,
            base=start,
            without=without,
            note=note,
            origin=origin or {},
            now=now,
            by=access.actor_name(actor),
        )
        if examples:
            version = writing.fill(connection, of, version, examples, self.settings, now)
        return version if leave_open else writing.seal(connection, of, version)

    def _deed(
        self,
        actor: Actor,
        of: Dataset,
        action: str,
        *,
        after: object = None,
        reason: str = "",
        facts: dict[str, str | int] | None = None,
    ) -> audit.Deed:
        return audit.Deed(
            actor=access.actor_name(actor),
            principal=access.principal_of(actor),
            action=action,
            resource=f"dataset:{of.project}/{of.name}",
            org=of.org,
            project=of.project,
            after=after,
            reason=reason,
            facts=facts or {},
        )


def _facts(version: DatasetVersion) -> dict[str, str | int]:
    """What the audit log tells of a version."""
    counts = cast("dict[str, Any]", version.counts)
    return {"version": version.number, "digest": version.digest, **counts}


def _mark_used(connection: sa.Connection, version_id: str, now: int) -> None:
    table = tables.dataset_version
    statement = table.update().where(table.c.id == version_id, table.c.used_at.is_(None))
    connection.execute(statement.values(used_at=now))


def _sealed() -> Denied:
    return Denied(
        "The holdout is sealed: only the gate of an optimization run opens it.",
        code="holdout_sealed",
        hint="Ask for train or dev.",
    )
