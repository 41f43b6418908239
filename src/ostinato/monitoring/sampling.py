"""A sample of each day's questions as vectors, and whether it is like the past's. Nothing but vectors is kept.

Which requests are in the sample is said by the random bits of their ids: those with the smallest, up to its size. Only
projects that keep texts have any. Rows name their request and user, so that they can be erased.
"""

import asyncio
import bisect
import math
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ostinato.core.errors import OstinatoError
from ostinato.embeddings import Embedder
from ostinato.monitoring import feeds, kinds, nightly, store, tables
from ostinato.monitoring.feeds import Candidate
from ostinato.monitoring.model import Observation, Series
from ostinato.monitoring.watching import Watch
from ostinato.statistics import drift

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PERMUTATIONS = 9_999
_KIND = "embeddings"
_LIKE = 0.05
"""P-value from which on a day may be added to the past."""


class Vectors:
    """The sample of the process that watches."""

    def __init__(self, watch: Watch, embedder: Embedder | None) -> None:
        self._watch = watch
        self._embedder = embedder
        self._days: dict[str, list[tuple[int, str]]] = {}
        """By state's key: random bits and id of today's requests, in order."""
        self.skipped = 0
        """Questions that there was no time for."""

    async def take(self, candidates: list[Candidate]) -> None:
        """Draw from what one look has read. A failing embedder leaves a hole, never an error."""
        embedder = self._embedder
        if embedder is None:
            return
        chosen: list[tuple[str, Candidate, int]] = []
        # Thousands of candidates are of a few series: what watches each is asked once.
        detectors = {series: self._detector(series) for series in {one.series for one in candidates}}
        for one in candidates:
            found = detectors[one.series]
            if found is not None:
                key, config = found
                day = await self._day(key)
                bits = int(one.request_id[24:] or "0", 16)
                if len(day) < config.size or bits < day[-1][0]:
                    chosen.append((key, one, config.size))
        most = self._watch.settings.vectors_per_look
        self.skipped += max(0, len(chosen) - most)
        chosen = chosen[:most]
        if not chosen:
            return
        try:
            texts = await self._watch.database.read(lambda c: feeds.texts(c, [one.request_id for _, one, _ in chosen]))
            known = [(key, one, size) for key, one, size in chosen if one.request_id in texts]
            rows = await embedder.embed([texts[one.request_id] for _, one, _ in known])
        except OstinatoError:
            self.skipped += len(chosen)
            return
        for (key, one, size), row in zip(known, rows, strict=True):
            await self._put(key, one, size, embedder.id, row.astype("float16").tobytes())

    def _detector(self, series: Series) -> tuple[str, nightly.Vectors] | None:
        for one in self._watch.registry.effective(series.project, series.intent).values():
            if one.declared.kind == _KIND and one.declared.enabled:
                key = store.key_of(one.name, _KIND, one.version, series)
                return key, kinds.configured(kinds.find(_KIND), one.declared.config)
        return None

    async def _day(self, key: str) -> list[tuple[int, str]]:
        if key not in self._days:
            table = tables.vector
            query = sa.select(table.c.request_id).where(table.c.state_key == key, sa.not_(table.c.past))
            rows = await self._watch.database.read(lambda c: c.execute(query).scalars().all())
            self._days[key] = sorted((int(one[24:] or "0", 16), one) for one in rows)
        return self._days[key]

    async def _put(self, key: str, one: Candidate, size: int, embedder: str, vector: bytes) -> None:
        day, table = self._days[key], tables.vector
        entry = (int(one.request_id[24:] or "0", 16), one.request_id)
        if entry in day:
            return
        bisect.insort(day, entry)
        over = [day.pop()[1] for _ in range(max(0, len(day) - size))]

        def write(connection: sa.Connection) -> None:
            mine = (table.c.state_key == key, table.c.request_id.in_([*over, one.request_id]))
            connection.execute(table.delete().where(*mine))
            if one.request_id not in over:
                connection.execute(
                    table.insert().values(
                        state_key=key,
                        request_id=one.request_id,
                        at=one.at,
                        user_digest=one.user_digest,
                        past=False,
                        embedder=embedder,
                        vector=vector,
                    )
                )

        await self._watch.database.run(write)

    # -- at night --------------------------------------------------------------------------------------------------

    async def compare(self) -> None:
        """Hold every intent's day against its past, and begin a new day."""
        self._days.clear()
        mine: list[str] = []
        for home in {(one.series.org, one.series.project, one.series.intent) for one in self._watch.kept.values()}:
            series = Series(*home)
            found = self._detector(series)
            if found is not None and self._embedder is not None:
                mine.append(found[0])
                await self._compare(*found, series, self._embedder.id)
        # What was kept for a detector that is gone, or for another version of it.
        strange = sa.delete(tables.vector).where(tables.vector.c.state_key.not_in(mine))
        await self._watch.database.run(lambda connection: connection.execute(strange))

    async def _compare(self, key: str, config: nightly.Vectors, series: Series, embedder: str) -> None:
        table = tables.vector
        # Vectors of another encoder mean nothing beside these.
        strange = sa.delete(table).where(table.c.state_key == key, table.c.embedder != embedder)
        await self._watch.database.run(lambda connection: connection.execute(strange))
        query = sa.select(table.c.past, table.c.vector).where(table.c.state_key == key)
        rows = await self._watch.database.read(lambda connection: connection.execute(query).all())
        past, today = ([bytes(row[1]) for row in rows if bool(row[0]) is wanted] for wanted in (True, False))
        if len(past) < config.least:
            await self._learn(key, config.size - len(past), keep=True)
            return
        if len(today) < config.least:
            return
        now = self._watch.clock.now()
        p = await asyncio.to_thread(_alike, past, today, now)
        await self._watch.observe("vectors", series, (Observation(now, p, n=len(today)),), {})
        kept = self._watch.kept.get(key)
        if kept is not None and kept.state.alarmed_at == now:
            # What is new is usual from now on, or the same change would be told of every night.
            await self._learn(key, config.size, keep=False)
        else:
            await self._learn(key, config.size - len(past) if p > _LIKE else 0, keep=True)

    async def _learn(self, key: str, room: int, *, keep: bool) -> None:
        """Make the day, as far as there is room, part of the past; the rest of it goes."""
        table = tables.vector

        def write(connection: sa.Connection) -> None:
            mine = table.c.state_key == key
            if not keep:
                connection.execute(table.delete().where(mine, table.c.past))
            query = sa.select(table.c.request_id).where(mine, sa.not_(table.c.past)).order_by(table.c.request_id)
            some = list(connection.execute(query).scalars())[: max(0, room)]
            if some:
                connection.execute(table.update().where(mine, table.c.request_id.in_(some)).values(past=True))
            connection.execute(table.delete().where(mine, sa.not_(table.c.past)))

        await self._watch.database.run(write)


def _alike(past: list[bytes], today: list[bytes], seed: int) -> float:
    """P-value that two samples have one distribution. Blocking."""
    return drift.mmd(_array(past), _array(today), seed=seed % (1 << 32), permutations=_PERMUTATIONS)[1]


def _array(rows: list[bytes]) -> "NDArray[np.float32]":
    import numpy as np  # noqa: PLC0415 - with the extra only

    width = min(len(row) for row in rows) // 2
    found: Any = np.stack([np.frombuffer(row, np.float16)[:width] for row in rows]).astype(np.float32)
    return found if math.isfinite(float(found.sum())) else np.nan_to_num(found)
