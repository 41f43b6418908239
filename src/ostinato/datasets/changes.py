"""What people and pipelines do to datasets: the changing half of :class:`~ostinato.datasets.Datasets`."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeAlias, TypeVar, cast

import msgspec
import sqlalchemy as sa

from ostinato import access, audit, storage
from ostinato.access import Actor, Resource
from ostinato.access.manage import find_project
from ostinato.access.permissions import require
from ostinato.core.clock import Clock
from ostinato.core.errors import Unavailable
from ostinato.datasets import store, traffic, writing
from ostinato.datasets.model import Dataset, DatasetVersion, NewExample, Shares
from ostinato.datasets.settings import Settings
from ostinato.datasets.traffic import Near, Traffic
from ostinato.signals import Signals
from ostinato.traces import Ledger
from ostinato.wire.model import Json

_log = logging.getLogger("ostinato.datasets")

T = TypeVar("T")

ERASURE = "datasets:erase"
"""The kind of erasures' effects in the audit log; the payload names the project and the examples."""

Copies: TypeAlias = Callable[[Any], Awaitable[dict[str, str | int]]]
"""Erases what was made of the examples that such a payload names, and gives counts. May be asked again for the same."""

Base: TypeAlias = int | Literal["latest"] | None
"""The version that a new one begins with: its number, the newest, or none."""


class Changes:
    """Every change is one transaction with its leaf of the audit log."""

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        log: audit.Log,
        settings: Settings | None = None,
        *,
        ledger: Ledger | None = None,
        signals: Signals | None = None,
    ) -> None:
        """``ledger`` and ``signals``: what recorded traffic is read from; without them there is none."""
        self.settings = settings or Settings()
        self.settings.check()
        self.clock = clock
        self.database = database
        self._log = log
        self._ledger = ledger
        self._signals = signals
        self.copies: Copies | None = None
        """Reaches what other rooms have made of examples; set by whoever builds them."""

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
            return made, self.deed(actor, made, "datasets:create", after=made, facts=facts)

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
            return version, self.deed(actor, of, "datasets:version", reason=note, facts=_facts(version))

        return await self.change(work)

    async def from_traffic(
        self,
        actor: Actor,
        name: str,
        wanted: Traffic,
        *,
        base: Base = None,
        note: str = "",
        project: str | None = None,
        near: Near | None = None,
    ) -> DatasetVersion:
        """A new version of recorded traffic; takes ``traces:text`` as well. See :func:`traffic.gather`."""
        if self._ledger is None or self._signals is None:
            raise Unavailable("There is no ledger to read traffic from.", code="no_ledger")

        def read(connection: sa.Connection) -> Dataset:
            of = self.own(connection, actor, project, name, "datasets:write")
            require(actor, "traces:text", Resource(project=of.project))
            return of

        home = await self.database.read(read)
        gathered = await traffic.gather(
            self._ledger,
            self._signals,
            wanted,
            org=home.org,
            project=home.project,
            most=self.settings.traffic_rows,
            near=near,
        )
        chosen: Json = msgspec.to_builtins(wanted)

        def work(connection: sa.Connection, now: int) -> tuple[DatasetVersion, audit.Deed]:
            of = self.own(connection, actor, project, name, "datasets:write", lock=True)
            origin: Json = {"traffic": chosen, "requests": gathered.seen}
            version = self._begun(connection, actor, of, base=base, note=note, now=now, origin=origin)
            version = msgspec.structs.replace(version, dropped=gathered.dropped)
            for start in range(0, len(gathered.examples), self.settings.part):
                some = gathered.examples[start : start + self.settings.part]
                version = writing.fill(connection, of, version, some, self.settings, now)
            version = writing.seal(connection, of, version)
            return version, self.deed(actor, of, "datasets:traffic", reason=note, facts=_facts(version))

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
            return filled, self.deed(actor, of, "datasets:add", facts=facts)

        return await self.change(work)

    async def seal(self, actor: Actor, name: str, number: int, *, project: str | None = None) -> DatasetVersion:
        """An open version, closed for good: from now on it has a digest, and can be used."""

        def work(connection: sa.Connection, now: int) -> tuple[DatasetVersion, audit.Deed]:
            of = self.own(connection, actor, project, name, "datasets:write", lock=True)
            version = store.find_version(connection, of, number, lock=True)
            sealed = writing.seal(connection, of, version)
            return sealed, self.deed(actor, of, "datasets:seal", facts=_facts(sealed))

        return await self.change(work)

    async def discard(self, actor: Actor, name: str, number: int, *, project: str | None = None) -> DatasetVersion:
        """Throw away a version that was never used, open or sealed."""

        def work(connection: sa.Connection, now: int) -> tuple[DatasetVersion, audit.Deed]:
            of = self.own(connection, actor, project, name, "datasets:write", lock=True)
            version = store.find_version(connection, of, number, lock=True)
            writing.discard(connection, of, version)
            return version, self.deed(actor, of, "datasets:discard", facts=_facts(version))

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
        """Erase examples in every version: by id, by whose they are, or by source. Tombstones stay, with digests.

        Copies (answers of our calls, cells, review items) go as well, before this returns or, where that fails, later:
        the audit log keeps the erasure as intended until they have.
        """
        occasion = audit.occasion()

        def work(connection: sa.Connection) -> tuple[tuple[str, ...], str, Json]:
            of = self.own(connection, actor, project, name, "datasets:write", lock=True)
            now = self.clock.now()
            gone = writing.erase(connection, of, named=examples, subject=subject, source=source, now=now)
            told = writing.text_of(reason, "reason")
            facts: dict[str, str | int] = {"examples": len(gone)}
            deed = self.deed(actor, of, "datasets:erase", after=gone, reason=told, facts=facts)
            if not gone or self.copies is None:
                self._log.append(connection, deed, occasion)
                return tuple(gone), "", {}
            payload: Json = {"project": of.project, "examples": gone}
            return tuple(gone), self._log.intend_within(connection, deed, ERASURE, payload, occasion), payload

        gone, effect, payload = await self.database.run(work)
        if effect and self.copies is not None:
            try:
                done = await self.copies(payload)
                await self._log.finish(effect, "done", done)
            except Exception as error:
                # Written down as intended: whoever looks after the log does it again.
                _log.warning("Copies of erased examples are still to be erased: %s.", type(error).__name__)
        return gone

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
        version = self._begun(connection, actor, of, base=base, without=without, note=note, now=now, origin=origin)
        if examples:
            version = writing.fill(connection, of, version, examples, self.settings, now)
        return version if leave_open else writing.seal(connection, of, version)

    def _begun(
        self,
        connection: sa.Connection,
        actor: Actor,
        of: Dataset,
        *,
        base: Base,
        note: str,
        now: int,
        without: Sequence[str] = (),
        origin: Json | None = None,
    ) -> DatasetVersion:
        start = None
        if base is not None:
            start = store.find_version(connection, of, None if base == "latest" else base)
        by = access.actor_name(actor)
        return writing.begin(
            connection, of, base=start, without=without, note=note, origin=origin or {}, now=now, by=by
        )

    def deed(
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
