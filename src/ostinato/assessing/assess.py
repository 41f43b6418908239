"""From files to an :class:`Assessment`: read, put in order, replay, decide, and say what could not be known."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from ostinato import storage, triage
from ostinato.assessing import formats, told
from ostinato.assessing.model import Assessment, Exchange, Family, FileReport, Rates, Rules, Simulated, Skipped
from ostinato.assessing.model import Money as Spent
from ostinato.assessing.ordering import in_time
from ostinato.assessing.raw import Raw, Unusable
from ostinato.assessing.replay import PROJECT, Moving, Replay
from ostinato.assessing.shelf import TTLS, Shelf, Tally
from ostinato.assessing.sources import Source
from ostinato.core.clock import Clock
from ostinato.core.errors import Invalid
from ostinato.families import OTHER, Families, Figures
from ostinato.families import tables as family_tables
from ostinato.families.figures import share
from ostinato.intents.model import Stakes

Progress = Callable[[str, float], None]
"""Told what is being done, and how far it is (0 to 1). Often: it must be cheap."""

_SHOWN = 5
_MOST_KEYS = 1_000_000
_MONTH = 30 * 86_400_000_000
_DAY = 86_400_000_000
_EPOCH = 1_767_225_600_000_000
"""2026: where nothing tells the time, that is when it was."""
_QUEUE = 10_000
_SEED = 7
_EVERY = 512


class _Reading:
    """Reads files one after the other and keeps account of them."""

    def __init__(self, paths: Sequence[Path], form: str, now: int, progress: Progress) -> None:
        self._sources = [Source(path) for path in paths]
        self._form = form
        self._now = now
        self._progress = progress
        self._whole = sum(source.size for source in self._sources) or 1
        self._number = 0
        self._last = 0
        self.reports: list[FileReport] = []

    def exchanges(self) -> Iterator[tuple[Exchange, int]]:
        """Every recorded request that can be used, with its size in characters."""
        batch = formats.Batch()
        before = 0
        for source in self._sources:
            counted: Counter[str] = Counter()
            skipped: list[Skipped] = []
            bare = missed = 0
            try:
                for line, found, size in self._records(source, batch):
                    if isinstance(found, Skipped):
                        missed += 1
                        if len(skipped) < _SHOWN:
                            skipped.append(found)
                        continue
                    name, raw = found
                    try:
                        one = self._exchange(raw)
                    except Unusable as error:
                        missed += 1
                        if len(skipped) < _SHOWN:
                            skipped.append(Skipped(line, str(error)))
                        continue
                    counted[name] += 1
                    bare += one.answer is None
                    yield one, size
                    if self._number % _EVERY == 0:
                        self._progress("reading", (before + source.done) / self._whole)
            finally:
                before += source.size
                source.close()
            self.reports.append(
                FileReport(
                    name=str(source.path),
                    formats=dict(counted),
                    read=counted.total(),
                    skipped=missed,
                    reasons=tuple(skipped),
                    without_answer=bare,
                    note=source.broken or ("" if counted or missed else "It is empty."),
                )
            )

    def _records(self, source: Source, batch: formats.Batch) -> Iterator[tuple[int, tuple[str, Raw] | Skipped, int]]:
        line = 0
        for line, record, size in source.records():
            if isinstance(record, Skipped):
                yield line, record, size
                continue
            try:
                for name, one in formats.raws(record, self._form, self._now, batch):
                    yield line, (Skipped(line, str(one)) if isinstance(one, Unusable) else (name, one)), size
            except Unusable as error:
                yield line, Skipped(line, str(error)), size
            except (AttributeError, TypeError, ValueError, KeyError, RecursionError):
                yield line, Skipped(line, "it is in no shape that is known"), size
        if source is self._sources[-1]:
            for one in batch.rest(self._now):
                yield line, (Skipped(line, str(one)) if isinstance(one, Unusable) else ("openai-batch", one)), 0

    def _exchange(self, raw: Raw) -> Exchange:
        self._number += 1
        timed = raw.at > 0
        # Without a time it stands where it was read: right behind what came before it.
        at = raw.at if timed else (self._last + 1 if self._last else _EPOCH)
        one = formats.exchange(raw, self._number, at, timed=timed)
        self._last = at
        return one


def assess(
    paths: Sequence[Path],
    rules: Rules,
    clock: Clock,
    *,
    form: str = "",
    samples: bool = False,
    top: int = 20,
    progress: Progress = lambda what, share: None,
    most_keys: int = _MOST_KEYS,
) -> Assessment:
    """What Ostinato would make of the traffic in ``paths``. Blocking; memory is bounded however long they are.

    ``form``: one of ``FORMATS``, where looking would be wrong. ``samples``: with a redacted question of each family.
    Raises ``Invalid`` for a file that cannot be opened.
    """
    if not paths:
        raise Invalid("No file is named.", code="no_file")
    reading = _Reading(paths, form, clock.now(), progress)
    moving = Moving()
    settings = msgspec.structs.replace(rules.families, enabled=True, queue=max(_QUEUE, rules.families.queue))
    with tempfile.TemporaryDirectory(prefix="ostinato-assess-") as folder:
        database = storage.open_database("traces", Path(folder) / "traces.db")
        try:
            database.transact(family_tables.metadata.create_all)
            watching = Families(database, moving, settings, seed=_SEED)
            replay = Replay(rules, watching, moving, most=most_keys, samples=samples)
            for one in in_time(reading.exchanges()):
                replay.take(one)
                if replay.counts.requests % _EVERY == 0:
                    progress("replaying", replay.counts.requests / max(1, reading._number))  # pyright: ignore[reportPrivateUsage] - of this module
            replay.flush()
            figures = asyncio.run(watching.list(PROJECT)) if replay.counts.requests else ()
        finally:
            database.close()
    found = _families(replay, rules, figures)
    return _assessment(replay, reading, rules, found, top)


def _families(replay: Replay, rules: Rules, figures: Sequence[Figures]) -> list[Family]:
    """Each family with what triage would decide of it, those that cost most first."""
    spent, whole = replay.counts.spent, replay.counts.requests
    found: list[Family] = []
    for one in figures:
        known = replay.sums.get(one.family)
        if known is None:
            continue
        intent = rules.intents.of(rules.project or PROJECT, known.intent) if known.intent else None
        stakes: Stakes = intent.stakes if intent is not None else "medium"
        evidence = triage.Evidence(
            figures=one,
            stakes=stakes,
            value=None if intent is None or intent.value is None else intent.value / 1e9,
            policy=msgspec.structs.replace(known.policy, mode="off"),  # nothing is cached yet
        )
        found.append(
            Family(
                figures=one,
                verdict=triage.decide(evidence, rules.triage),
                model=known.model,
                share=known.spent / spent if spent else known.requests / whole,
                spent=known.spent,
                saved=known.saved,
                requests=known.requests,
                sample=known.sample,
            )
        )
    return sorted(found, key=lambda one: (one.figures.family == OTHER, -one.spent, -one.requests, one.figures.family))


def _simulated(name: str, scope: str, ttl: float | None, tally: Tally, whole: int) -> Simulated:
    return Simulated(
        name=name,
        scope=scope,
        ttl=ttl,
        requests=whole,
        eligible=tally.eligible,
        hits=tally.hits,
        rate=share(tally.hits, whole),
        saved=tally.saved,
    )


def _lives(shelf: Shelf, scope: str, whole: int) -> list[Simulated]:
    names = ("1 hour", "1 day", "7 days")
    return [
        _simulated(f"{scope}, {name}", scope, ttl, tally, whole)
        for name, ttl, tally in zip(names, TTLS, shelf.tallies[1:], strict=True)
    ]


def _assessment(replay: Replay, reading: _Reading, rules: Rules, found: list[Family], top: int) -> Assessment:
    counts = replay.counts
    whole = counts.requests
    looked = sum(one.figures.near.n for one in found if one.figures.near is not None)
    near = sum(one.figures.near.value * one.figures.near.n for one in found if one.figures.near is not None)
    declared = _simulated("as declared", "declared", None, replay.declared.tallies[0], whole)
    span = counts.last - counts.first
    timed = counts.no_time < whole
    saved = replay.declared.tallies[0].saved
    money = Spent(
        spent=counts.spent,
        saved=saved,
        share_saved=saved / counts.spent if counts.spent else None,
        coverage=counts.priced / counts.tokens if counts.tokens else 0.0,
        estimated=counts.estimated,
        unpriced=dict(counts.unpriced.most_common(20)),
        days=span / _DAY if timed else 0.0,
        per_month=round(saved * _MONTH / max(span, _DAY)) if timed and whole else None,
    )
    rates = Rates(
        declared=declared,
        others=(*_lives(replay.user, "user", whole), *_lives(replay.anybody, "project", whole)),
        ever=share(replay.user.ever.hits, whole),
        ever_anybody=share(replay.anybody.ever.hits, whole),
        near=share(near, looked) if looked else None,
    )
    return Assessment(
        files=tuple(reading.reports),
        requests=whole,
        since=counts.first if timed and whole else None,
        until=counts.last if timed and whole else None,
        rates=rates,
        money=money,
        families=tuple(found[:top]),
        families_known=len(replay.sums),
        not_eligible=dict(counts.not_eligible.most_common()),
        not_kept=dict(counts.not_kept.most_common()),
        unknown=told.unknown(counts, found, rules),
        forgotten=max(replay.user.forgotten, replay.anybody.forgotten),
    )
