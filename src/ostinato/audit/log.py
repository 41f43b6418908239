"""The audit log of one installation: everything that may be asked of it."""

from collections.abc import AsyncIterator

import msgspec
import sqlalchemy as sa

from ostinato import storage
from ostinato.audit import checkpoints, effects, exporting, proofs, reading, signing, subjects, tables, witnesses
from ostinato.audit.checkpoints import Checkpoint
from ostinato.audit.denials import Denials, deeds
from ostinato.audit.effects import Effect
from ostinato.audit.model import Deed, Occasion, occasion
from ostinato.audit.proofs import Consistency, Inclusion
from ostinato.audit.reading import Entry, Filter
from ostinato.audit.sequencer import HEAD, Sequencer, lock
from ostinato.audit.settings import Settings
from ostinato.audit.signing import Signer
from ostinato.audit.witnesses import Offer, Witnessed
from ostinato.core.clock import Clock
from ostinato.core.errors import NotFound, Unavailable

_AT_ONCE = 500


class Log(Sequencer):
    """Leaves can be appended at once; for checkpoints and bundles :meth:`open` has found the signing key first.

    Rooms take it in their constructor and call :meth:`append`; the rest is for the control plane, and for the keeper.
    """

    def __init__(
        self,
        database: storage.Database,
        clock: Clock,
        notices: storage.Notices | None = None,
        settings: Settings | None = None,
        *,
        secret: bytes = b"",
    ) -> None:
        super().__init__(database, clock, notices, settings, secret=secret)
        self.denials = Denials()
        """Refusals of the data plane: ``denials.note(key_id, code)``."""
        self._signer: Signer | None = None

    async def open(self, directory: storage.DataDirectory | None = None) -> None:
        """Find the signing key, or make it: in ``directory``, or where there is none, in the database for all processes
        to share. A key that is new to the log is told in a leaf."""
        settings = self.settings

        def work(connection: sa.Connection) -> Signer:
            lock(connection)
            now = self.clock.now()
            name = settings.origin or f"ostinato.audit/{_origin(connection)}"
            wrapped = None
            if settings.signing_key:
                signer = signing.from_file(name, settings.signing_path)
            elif directory is not None:
                signer = signing.from_directory(name, directory)
            else:
                signer, wrapped = signing.shared(connection, name, self.vault)
            if signing.register(connection, signer, now, wrapped):
                facts: dict[str, str | int] = {"key": signer.verifier}
                self.append(
                    connection, Deed(actor="system:audit", action="audit:sign", resource=f"log:{name}", facts=facts)
                )
            return signer

        self._signer = await self.database.run(work)

    @property
    def signer(self) -> Signer:
        """What signs. Raises ``Unavailable`` before :meth:`open`."""
        if self._signer is None:
            raise Unavailable("The audit log is not opened yet.", code="audit_not_open")
        return self._signer

    # -- checkpoints and proofs --------------------------------------------------------------------------------

    async def checkpoint(self) -> Checkpoint | None:
        """Sign what is committed now, unless that is signed already; ``None`` for an empty log."""
        return (await self.sign())[0]

    async def sign(self) -> tuple[Checkpoint | None, bool]:
        """The same, and whether the checkpoint is new."""
        signer = self.signer
        return await self.database.run(lambda c: checkpoints.make(c, signer, self.clock.now()))

    async def newest(self) -> Checkpoint | None:
        """The last checkpoint."""
        return await self.database.read(checkpoints.newest)

    async def checkpoints(self, *, after: int = -1, limit: int = 100) -> list[Checkpoint]:
        """Checkpoints of more than ``after`` leaves, by size."""
        return await self.database.read(lambda c: checkpoints.page(c, after=after, limit=limit))

    async def prove(self, index: int, size: int | None = None) -> Inclusion:
        """That leaf ``index`` is in the log of ``size`` leaves; by default in the first checkpoint that covers it.

        A leaf that no checkpoint covers yet is proven in the log as it is; ``checkpoint`` is empty then.
        """

        def work(connection: sa.Connection) -> Inclusion:
            signed = checkpoints.covering(connection, index + 1 if size is None else size)
            wanted = size if size is not None else signed.size if signed else proofs.size_of(connection)
            note = signed.note if signed is not None and signed.size == wanted else ""
            return proofs.inclusion(connection, index, wanted, note)

        return await self.database.read(work)

    async def consistency(self, old: int, size: int) -> Consistency:
        """That the log of ``size`` leaves begins with that of ``old``."""
        return await self.database.read(lambda c: proofs.consistency(c, old, size))

    async def receipts(self, size: int) -> dict[str, object]:
        """By anchor: what it said when it took the checkpoint of ``size`` leaves."""
        table = tables.receipt
        chosen = sa.select(table.c.anchor, table.c.receipt).where(table.c.size == size)
        rows = await self.database.read(lambda c: c.execute(chosen).all())
        return {str(anchor): receipt for anchor, receipt in rows}

    async def receive(self, size: int, anchor: str, receipt: dict[str, object]) -> None:
        """Write down what an anchor said; the last word holds."""
        table = tables.receipt

        def work(connection: sa.Connection) -> None:
            lock(connection)
            connection.execute(sa.delete(table).where(table.c.size == size, table.c.anchor == anchor[:255]))
            values = {"size": size, "anchor": anchor[:255], "at": self.clock.now(), "receipt": receipt}
            connection.execute(sa.insert(table).values(values))

        await self.database.run(work)

    # -- reading -----------------------------------------------------------------------------------------------

    async def size(self) -> int:
        """How many leaves there are."""
        return await self.database.read(proofs.size_of)

    async def page(self, wanted: Filter, *, after: int | None = None, limit: int = 100) -> list[Entry]:
        """Leaves that match, the newest first; ``after``: the index of the last one seen."""
        return await self.database.read(lambda c: reading.page(c, wanted, after=after, limit=limit))

    async def show(self, index: int) -> Entry:
        """One leaf. Raises ``NotFound``."""
        return await self.database.read(lambda c: reading.show(c, index))

    async def verifiers(self) -> list[str]:
        """Every public key that has signed checkpoints, the oldest first."""
        return await self.database.read(signing.verifiers)

    async def export(
        self, start: int = 0, end: int | None = None, *, since: int = 0, until: int = 0, org: str | None = None
    ) -> AsyncIterator[bytes]:
        """A bundle of the leaves from ``start`` up to ``end`` (not included), or written between two times in UTC
        microseconds; widened to checkpoints on both sides. What is committed now is signed first. ``org``: leaves of
        other organizations come as hashes alone.

        Raises ``NotFound`` where there is nothing; the bundle itself comes in chunks.
        """
        await self.sign()

        def work(connection: sa.Connection) -> exporting.Part:
            first = reading.index_at(connection, since) if since else start
            last = reading.index_at(connection, until) if until else end
            return exporting.part_of(connection, first, last)

        return exporting.lines(self.database, self.signer, await self.database.read(work), org)

    # -- effects outside the database --------------------------------------------------------------------------

    async def intend(self, deed: Deed, kind: str, payload: object) -> str:
        """Write down that an effect of this kind is about to happen; gives its id for :meth:`finish`.

        ``payload``: JSON with all that is needed to carry it out again; it is dropped with the outcome.
        """
        seen = occasion()
        return await self.database.run(lambda c: effects.intend(self, c, deed, kind, payload, seen))

    def intend_within(
        self, connection: sa.Connection, deed: Deed, kind: str, payload: object, seen: Occasion | None
    ) -> str:
        """:meth:`intend` in the caller's transaction: what it changes and what is to follow stand together."""
        return effects.intend(self, connection, deed, kind, payload, seen)

    async def finish(self, effect: str, outcome: str = "done", facts: dict[str, str | int] | None = None) -> int | None:
        """Write the outcome down; gives its leaf's index, ``None`` where another process has done so."""
        seen = occasion()
        return await self.database.run(lambda c: effects.finish(self, c, effect, outcome, facts or {}, seen))

    def finish_within(
        self, connection: sa.Connection, effect: str, outcome: str, facts: dict[str, str | int]
    ) -> int | None:
        """:meth:`finish` in the caller's transaction."""
        return effects.finish(self, connection, effect, outcome, facts, Occasion())

    async def unfinished(self, before: int, kinds: list[str]) -> list[Effect]:
        """Effects of these kinds that were intended before then and have no outcome."""
        return await self.database.read(lambda c: effects.open_since(c, before, kinds))

    # -- for others --------------------------------------------------------------------------------------------

    async def witness(self, offer: Offer, deed: Deed) -> tuple[Witnessed, str]:
        """Keep another installation's checkpoint; gives it with our own signature beside theirs.

        Raises ``Conflict`` where that log contradicts what is known of it here; that too is written down.
        """
        seen: Occasion = occasion()
        kept, refusal = await self.database.run(lambda c: witnesses.accept(self, c, offer, deed, seen))
        if refusal is not None:
            raise refusal
        text = kept.note.partition("\n\n")[0] + "\n"
        return kept, kept.note + self.signer.line(text)

    async def witnessed(self, origin: str = "", *, below: int = 0, limit: int = 100) -> list[Witnessed]:
        """Checkpoints of others that are kept here, the largest first."""
        return await self.database.read(lambda c: witnesses.page(c, origin, below=below, limit=limit))

    async def write_denials(self) -> int:
        """Write down what was counted since the last time; gives the number of leaves. What fails is kept."""
        counts = self.denials.take()
        written = list(deeds(counts))
        names = list(counts)
        for at in range(0, len(written), _AT_ONCE):
            chosen = written[at : at + _AT_ONCE]
            try:
                await self.database.run(lambda c, some=chosen: self.append_all(c, some))
            except BaseException:
                self.denials.put_back({name: counts[name] for name in names[at:]})
                raise
        return len(written)

    def erase_subject(self, connection: sa.Connection, subject: str, deed: Deed) -> int:
        """Destroy a subject's keys and texts, in the caller's transaction; gives the index of the leaf that tells it.

        All proofs stay valid; nobody can tell any more what the subject's commitments were made to. ``deed`` says who
        did it; its resource should not name the person. Raises ``NotFound`` where nothing is kept of the subject.
        """
        lock(connection)
        gone, texts = subjects.destroy(connection, subject, self.clock.now())
        if not gone and not texts:
            raise NotFound("The audit log keeps nothing of this subject.", code="subject_unknown")
        facts: dict[str, str | int] = {**deed.facts, "keys": gone, "texts": texts}
        return self.append(connection, msgspec.structs.replace(deed, facts=facts))

    def commits_to(self, connection: sa.Connection, index: int, field: str, value: bytes) -> bool | None:
        """Whether the commitment in ``field`` (``before``, ``after``, ``reason``) of a leaf was made to ``value``:
        canonical JSON, or the reason's text. ``None`` where that cannot be told any more."""
        row = connection.execute(
            sa.select(tables.leaf.c.subject, tables.leaf.c.generation).where(tables.leaf.c.seq == index)
        ).first()
        key = None if row is None else subjects.key_of(connection, self.vault, row.subject, row.generation)
        found = getattr(reading.show(connection, index).leaf, field)
        return None if key is None or not found else subjects.matches(key, index, field, value, found)


def _origin(connection: sa.Connection) -> str:
    return str(connection.scalar(sa.select(tables.head.c.origin).where(tables.head.c.id == HEAD)))
