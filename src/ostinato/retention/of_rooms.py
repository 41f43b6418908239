"""Signals, datasets with what was made of them, reviews, and answers kept for repetitions: as stores."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import sqlalchemy as sa

from ostinato import signals
from ostinato.calls import forgetting as of_calls
from ostinato.core.clock import Clock
from ostinato.datasets import forgetting as of_datasets
from ostinato.evals import forgetting as of_experiments
from ostinato.retention.model import Kind, Limit, Swept
from ostinato.retention.ruling import Ruling
from ostinato.retention.stores import Counted, Effort, Subject
from ostinato.retention.walking import walk
from ostinato.reviews import forgetting as of_reviews
from ostinato.signals import forgetting as of_signals
from ostinato.storage import Database
from ostinato.storage.answers import omit
from ostinato.traces import forgetting as of_traces

_BATCH = 200

Copies = Callable[[Sequence[str], str], Awaitable[None]]
"""``copies(examples, project)``: forgets what other rooms have made of examples. May be asked again for the same."""


def bound(at: int) -> str:
    """What ids made before ``at`` (UTC microseconds) are below."""
    return f"{max(0, at) // 1000:012x}"


class Signals:
    """What was said of answers: comments, labels, figures."""

    name = "signals"
    tables = ("traces.signal", "traces.signal_rollup")
    kinds: tuple[Kind, ...] = ("texts", "signals")

    def __init__(self, traces: Database, heard: signals.Signals) -> None:
        self._traces = traces
        self._heard = heard

    async def sweep(self, kind: Kind, ruling: Ruling, effort: Effort) -> Swept:
        """Old comments go by ``texts``, old signals by ``signals``."""

        def judge(row: of_signals.Old) -> tuple[Limit | None, bool]:
            if effort.project and row.project != effort.project:
                return None, False
            held = ruling.held(row.project, intent=row.intent, at=row.at)
            return ruling.limit(kind, row.project, row.intent), held

        def look(c: sa.Connection, since: str, before: int, limit: int) -> list[of_signals.Old]:
            return of_signals.old(c, since, bound(before), limit, texts=kind == "texts")

        def change(rows: list[of_signals.Old]) -> Callable[[sa.Connection], int]:
            act = of_signals.empty if kind == "texts" else of_signals.delete
            return lambda connection: act(connection, [row.seq for row in rows])

        swept = await walk(
            self._traces,
            f"signals.{kind}",
            kind,
            ruling,
            effort,
            look=look,
            behind=lambda row: row.id,
            begin=bound,
            judge=judge,
            change=change,
        )
        return msgspec.structs.replace(swept, store=self.name)

    async def count(self, subject: Subject, ruling: Ruling) -> Counted:
        """Signals of their requests that say something in words."""
        found = await self._theirs(subject, subject.requests)
        held = await self._theirs(subject, subject.held) if subject.held else []
        return Counted(len(found), len(held))

    async def erase(self, subject: Subject, ruling: Ruling) -> None:
        """Comments, labels and fingerprints go, figures stay."""
        seqs = await self._theirs(subject, subject.requests - subject.held)
        labels = await self._traces.read(lambda c: of_signals.own_labels(c, subject.project, seqs))
        if labels:
            await asyncio.to_thread(self._heard.forget_labels, subject.project, labels)
        for start in range(0, len(seqs), _BATCH):
            part = seqs[start : start + _BATCH]
            await self._traces.run(lambda c, some=part: of_signals.forget(c, some))

    async def _theirs(self, subject: Subject, requests: frozenset[str]) -> list[int]:
        wanted = sorted(requests)
        return await self._traces.read(lambda c: of_signals.of_requests(c, subject.project, wanted))


class Conversations:
    """How far conversations have come: by session, and by single requests that outcomes were told of."""

    name = "conversations"
    tables = ("traces.conversation",)
    kinds: tuple[Kind, ...] = ("rows",)

    def __init__(self, traces: Database) -> None:
        self._traces = traces

    async def sweep(self, kind: Kind, ruling: Ruling, effort: Effort) -> Swept:
        """Those that have been silent for as long as rows are kept; what they added to sums stays."""

        def judge(row: of_traces.Talk) -> tuple[Limit | None, bool]:
            if effort.project and row.project != effort.project:
                return None, False
            held = ruling.held(row.project, intent=row.intent, at=row.at)
            return ruling.limit(kind, row.project, row.intent), held

        def change(rows: list[of_traces.Talk]) -> Callable[[sa.Connection], int]:
            return lambda c: of_traces.delete_talks(c, rows)

        return await walk(
            self._traces,
            self.name,
            kind,
            ruling,
            effort,
            look=of_traces.talks,
            behind=lambda row: (row.at, row.project, row.name),
            begin=lambda at: (at, "", ""),
            judge=judge,
            change=change,
        )

    async def count(self, subject: Subject, ruling: Ruling) -> Counted:
        """Conversations of theirs."""
        found = await self._theirs(subject)
        return Counted(len(found), sum(self._held(one, subject, ruling) for one in found))

    async def erase(self, subject: Subject, ruling: Ruling) -> None:
        """They go whole: sums do not need them any more."""
        found = [one for one in await self._theirs(subject) if not self._held(one, subject, ruling)]
        for start in range(0, len(found), _BATCH):
            part = found[start : start + _BATCH]
            await self._traces.run(lambda c, some=part: of_traces.delete_talks(c, some))

    async def _theirs(self, subject: Subject) -> list[of_traces.Talk]:
        names = sorted(subject.sessions | subject.requests)
        return await self._traces.read(lambda c: of_traces.talked(c, subject.project, names))

    @staticmethod
    def _held(one: of_traces.Talk, subject: Subject, ruling: Ruling) -> bool:
        return ruling.held(one.project, intent=one.intent, at=one.at, subject=subject.digest or None)


class Bound:
    """A store of a room that this one does not know: bound by whoever knows both."""

    kinds: tuple[Kind, ...] = ()

    def __init__(
        self,
        name: str,
        tables: tuple[str, ...],
        count: Callable[[Subject], Awaitable[int]],
        erase: Callable[[Subject], Awaitable[object]],
        held: Callable[[Subject], Awaitable[int]] | None = None,
    ) -> None:
        """``count`` is about all of a subject's; where a hold covers the subject, none of it goes.

        ``erase`` leaves what belongs to ``Subject.held``, where the room knows requests; ``held`` counts that.
        """
        self.name = name
        self.tables = tables
        self._count = count
        self._erase = erase
        self._held = held

    async def sweep(self, kind: Kind, ruling: Ruling, effort: Effort) -> Swept:
        """It looks after its age itself."""
        return Swept(store=self.name, kind=kind)

    async def count(self, subject: Subject, ruling: Ruling) -> Counted:
        """As the room counts."""
        found = await self._count(subject)
        if _any_hold(subject, ruling):
            return Counted(found, found)
        return Counted(found, await self._held(subject) if self._held is not None and subject.held else 0)

    async def erase(self, subject: Subject, ruling: Ruling) -> None:
        """As the room erases."""
        if not _any_hold(subject, ruling):
            await self._erase(subject)


class Datasets:
    """Examples, and what experiments, runs, our own calls and reviews have made of them."""

    name = "datasets"
    tables = (
        "control.dataset",
        "control.dataset_version",
        "control.example",
        "control.dataset_member",
        "control.experiment",
        "work.paid_call",
        "work.cell",
        "work.optimization_candidate",
        "work.optimization_round",
        "work.optimization_measured",
        "work.optimization_decided",
    )
    kinds: tuple[Kind, ...] = ("datasets",)

    def __init__(self, control: Database, clock: Clock, copies: Copies) -> None:
        self._control = control
        self._clock = clock
        self._copies = copies

    async def sweep(self, kind: Kind, ruling: Ruling, effort: Effort) -> Swept:
        """Tombstones stay, with digests."""

        def judge(row: of_datasets.Old) -> tuple[Limit | None, bool]:
            if effort.project and row.project != effort.project:
                return None, False
            if not row.subject:
                return ruling.limit(kind, row.project), ruling.held(row.project, at=row.at)
            return ruling.limit(kind, row.project), ruling.held_named(row.project, at=row.at, subject=row.subject)

        async def copies(rows: list[of_datasets.Old]) -> None:
            for project in sorted({row.project for row in rows}):
                await self._copies([row.id for row in rows if row.project == project], project)

        def change(rows: list[of_datasets.Old]) -> Callable[[sa.Connection], int]:
            return lambda c: of_datasets.erase(c, [row.id for row in rows], self._clock.now())

        return await walk(
            self._control,
            self.name,
            kind,
            ruling,
            effort,
            look=of_datasets.old,
            behind=lambda row: row.id,
            begin=bound,
            judge=judge,
            change=change,
            commit=copies,
        )

    async def count(self, subject: Subject, ruling: Ruling) -> Counted:
        """Living examples of theirs."""
        found, kept = await self.theirs(subject, ruling)
        return Counted(len(found) + len(kept), len(kept))

    async def erase(self, subject: Subject, ruling: Ruling) -> None:
        """Copies first: a crash in between leaves the examples to be found again, and their copies with them."""
        found, _ = await self.theirs(subject, ruling)
        if found:
            await self._copies(found, subject.project)
        for start in range(0, len(found), _BATCH):
            part = found[start : start + _BATCH]
            await self._control.run(lambda c, some=part: of_datasets.erase(c, some, self._clock.now()))

    async def theirs(self, subject: Subject, ruling: Ruling) -> tuple[list[str], list[str]]:
        """(Examples to erase, examples that are held)."""
        sources = [f"request:{one}" for one in sorted(subject.requests)]
        found = await self._control.read(lambda c: of_datasets.of_subject(c, subject.project, subject.names, sources))
        kept = {one for one, at in found if ruling.held(subject.project, at=at, subject=subject.digest or None)}
        return [one for one, _ in found if one not in kept], sorted(kept)


class Journal:
    """Answers that calls of our own have paid for, and cells of experiments. Somebody's go with their examples."""

    name = "journal"
    tables = ()
    kinds: tuple[Kind, ...] = ("journal",)

    def __init__(self, control: Database, work: Database, clock: Clock) -> None:
        self._control = control
        self._work = work
        self._clock = clock

    async def sweep(self, kind: Kind, ruling: Ruling, effort: Effort) -> Swept:
        """What they cost, and what they scored, stays."""

        def judge(row: of_calls.Old | of_experiments.Old) -> tuple[Limit | None, bool]:
            if effort.project and row.project != effort.project:
                return None, False
            return ruling.limit(kind, row.project), ruling.held(row.project, at=row.at)

        def change(rows: list[of_calls.Old]) -> Callable[[sa.Connection], int]:
            return lambda c: of_calls.empty(c, [row.key for row in rows], self._clock.now())

        async def cells(rows: list[of_experiments.Old]) -> None:
            for row in rows:
                await self._work.run(lambda c, one=row.id: of_experiments.empty(c, one))

        async def still(rows: list[of_experiments.Old]) -> list[of_experiments.Old]:
            # One by one: whether its cells hold answers takes reading them, and nobody shall wait for that.
            return [row for row in rows if await self._work.read(lambda c, one=row.id: of_experiments.telling(c, one))]

        calls = await walk(
            self._work,
            "journal.calls",
            kind,
            ruling,
            effort,
            look=of_calls.old,
            behind=lambda row: (row.at, row.key),
            begin=lambda at: (at, ""),
            judge=judge,
            change=change,
        )
        experiments = await walk(
            self._control,
            "journal.cells",
            kind,
            ruling,
            effort,
            look=of_experiments.old,
            behind=lambda row: row.id,
            begin=bound,
            judge=judge,
            change=lambda rows: lambda _: len(rows),
            commit=cells,
            still=still,
        )
        return msgspec.structs.replace(calls.plus(experiments), store=self.name)

    async def count(self, subject: Subject, ruling: Ruling) -> Counted:
        """Of somebody it is reached through their examples."""
        return Counted(0, note="reached through the examples")

    async def erase(self, subject: Subject, ruling: Ruling) -> None:
        """See ``Datasets``."""


class Reviews:
    """Review items, verdicts and held answers."""

    name = "reviews"
    tables = ("control.review_item", "control.review_verdict", "control.held_answer")
    kinds: tuple[Kind, ...] = ("reviews",)

    def __init__(self, control: Database) -> None:
        self._control = control

    async def sweep(self, kind: Kind, ruling: Ruling, effort: Effort) -> Swept:
        """Texts of ended items; ``reviews.retention_days`` is a bound of its own, for all of them."""

        def judge(row: of_reviews.Old) -> tuple[Limit | None, bool]:
            if effort.project and row.project != effort.project:
                return None, False
            held = ruling.held_named(row.project, intent=row.intent, at=row.at, subject=row.subject)
            return ruling.limit(kind, row.project, row.intent), held

        def change(rows: list[of_reviews.Old]) -> Callable[[sa.Connection], int]:
            return lambda c: of_reviews.forget(c, [row.id for row in rows])

        return await walk(
            self._control,
            self.name,
            kind,
            ruling,
            # Items are looked at by when they ended, and found by id: none is passed over for good.
            msgspec.structs.replace(effort, upto=_never),
            look=of_reviews.old,
            behind=lambda row: row.id,
            begin=bound,
            judge=judge,
            change=change,
        )

    async def count(self, subject: Subject, ruling: Ruling) -> Counted:
        """Items of theirs that still have texts, or tell whose they are."""
        found, kept = await self._theirs(subject, ruling)
        return Counted(len(found) + len(kept), len(kept))

    async def erase(self, subject: Subject, ruling: Ruling) -> None:
        """Texts go, of held answers too; decisions and figures stay."""
        found, _ = await self._theirs(subject, ruling)
        for start in range(0, len(found), _BATCH):
            part = found[start : start + _BATCH]
            await self._control.run(lambda c, some=part: of_reviews.forget(c, some))

    async def _theirs(self, subject: Subject, ruling: Ruling) -> tuple[list[str], list[str]]:
        groups = [f"session:{one}" for one in sorted(subject.sessions)]
        requests = sorted(subject.requests)
        found = await self._control.read(
            lambda c: of_reviews.of_subject(c, subject.project, subject.names, requests, groups)
        )
        kept = {
            one for one, intent in found
            if ruling.held(subject.project, intent=intent, subject=subject.digest or None)
        }  # fmt: skip
        return [one for one, _ in found if one not in kept], sorted(kept)


class Repetitions:
    """Answers of the control plane that are kept a day for repetitions: any of them may tell of anybody."""

    name = "repetitions"
    tables = ("control.kept_answer",)
    kinds: tuple[Kind, ...] = ()

    def __init__(self, control: Database, clock: Clock) -> None:
        self._control = control
        self._clock = clock

    async def sweep(self, kind: Kind, ruling: Ruling, effort: Effort) -> Swept:
        """They go after a day by themselves."""
        return Swept(store=self.name, kind=kind)

    async def count(self, subject: Subject, ruling: Ruling) -> Counted:
        """Not known: they are not looked into."""
        return Counted(0, note="all answers kept for repetitions are emptied")

    async def erase(self, subject: Subject, ruling: Ruling) -> None:
        """Whoever repeats a request of the last day is told that its answer was not kept."""
        await self._control.run(lambda c: omit(c, self._clock.now()))


def _any_hold(subject: Subject, ruling: Ruling) -> bool:
    return ruling.held(subject.project, subject=subject.digest or None)


async def _never(_store: str, _days: float) -> int:
    return 0
