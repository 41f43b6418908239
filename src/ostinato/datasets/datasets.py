"""The room's one object with a life: :class:`Datasets`."""

import asyncio
from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from ostinato import access, audit
from ostinato.access import Actor, Resource, SystemActor
from ostinato.access.manage import find_project
from ostinato.access.permissions import require
from ostinato.core.errors import Denied
from ostinato.datasets import holdout, leakage, store, tables
from ostinato.datasets.changes import Changes
from ostinato.datasets.leakage import Embed
from ostinato.datasets.model import Dataset, DatasetVersion, Example, Finding, Look, Split

_GATE = SystemActor("gate")
_PAGE_BYTES = 2_000_000
"""Examples of one page, roughly; fewer come where they are large."""


class Datasets(Changes):
    """Datasets of all projects.

    ``project`` is an id, a short name or ``organization/project``; ``None``: the actor's own. Another project's
    datasets do not exist (``NotFound``). Every change is one transaction with its leaf of the audit log. Methods
    without an actor are for other rooms, which have asked for permission themselves; none of them but
    :meth:`open_holdout` gives out what is sealed.
    """

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
            return found, self.deed(actor, of, "datasets:look", facts=facts)

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
