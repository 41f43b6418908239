"""Rollups in the database: cells of one writer per grain, read once, added to in memory, and written whole.

Every rollup has the same keys - grain, bucket, writer - before its own dimensions, and the same way to be added up.
Only one writer touches a row, so nothing is locked, and any number of processes add to one window.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec
import sqlalchemy as sa

from ostinato.traces import rollup, tables, write
from ostinato.traces.rollup import GRAINS, Cell, Summed

S = TypeVar("S", bound=Summed)

Dimensions: TypeAlias = tuple[str, ...]
CellsOf: TypeAlias = dict[tuple[int, Dimensions], S]
"""By start of the bucket (UTC microseconds) and dimensions."""

_OPEN_BUCKETS = 6
"""Buckets of time per grain that are kept in memory to be added to."""
_ENCODER = msgspec.msgpack.Encoder()


class Layout(Generic[S]):
    """How the cells of one rollup stand in its table."""

    def __init__(
        self,
        table: str,
        dimensions: Collection[str],
        sums: Collection[str],
        cell: Callable[[list[Any], Any], S],
        detail: type[Any],
        grains: tuple[int, ...] = GRAINS,
    ) -> None:
        """``cell(sums, detail)``: sums in the order of ``sums``; ``detail`` is kept as msgpack. ``grains``: seconds of
        the buckets that are kept, the finest first."""
        self.grains = grains
        self.table = table
        self.dimensions = tuple(dimensions)
        self.sums = tuple(sums)
        self.keys = ("grain", "bucket", "writer", *self.dimensions)
        self.columns = (*self.keys, *self.sums, "detail")
        self._cell = cell
        self._decoder = msgspec.msgpack.Decoder(detail)

    def cell(self, sums: Collection[Any], detail: bytes) -> S:
        """A cell as it stands in a row."""
        return self._cell(list(sums), self._decoder.decode(detail))

    def detail(self, blob: bytes) -> Any:
        """What of a cell is no plain sum."""
        return self._decoder.decode(blob)

    def blank(self) -> bytes:
        """The ``detail`` of a cell without any."""
        return _ENCODER.encode(self._decoder.type())

    def load(self, connection: sa.Connection, writer: str, grain: int, buckets: Collection[int]) -> CellsOf[S]:
        """This writer's cells of some buckets of time."""
        mark = write.places(connection, 1)
        statement = (
            f"SELECT {', '.join(self.columns)} FROM {self.table} "  # noqa: S608 - names are constants
            f"WHERE grain = {mark} AND bucket IN ({write.places(connection, len(buckets))}) AND writer = {mark}"
        )
        first = len(self.keys)
        found: CellsOf[S] = {}
        for row in connection.exec_driver_sql(statement, (grain, *buckets, writer)):
            found[row[1], tuple(row[3:first])] = self.cell(row[first:-1], bytes(row[-1]))
        return found

    def put(
        self, connection: sa.Connection, writer: str, grain: int, cells: Mapping[tuple[int, Dimensions], Any]
    ) -> None:
        """Write cells whole, over what this writer wrote of them before."""
        if not cells:
            return
        updates = ", ".join(f"{name} = excluded.{name}" for name in (*self.sums, "detail"))
        statement = (
            f"INSERT INTO {self.table} ({', '.join(self.columns)}) "  # noqa: S608 - names are constants
            f"VALUES ({write.places(connection, len(self.columns))}) "
            f"ON CONFLICT ({', '.join(self.keys)}) DO UPDATE SET {updates}"
        )
        rows = [
            (
                grain,
                bucket,
                writer,
                *map(write.clean, dimensions),
                *map(write.clean, cell.sums),
                _ENCODER.encode(cell.detail),
            )
            for (bucket, dimensions), cell in cells.items()
        ]
        connection.exec_driver_sql(statement, rows)


ROLLUP = Layout("rollup", tables.DIMENSIONS, tables.SUMS, Cell, rollup.Detail)
TRAFFIC = Layout("traffic", ("org", "project", *tables.TRAFFIC_DIMENSIONS), tables.SUMS, Cell, rollup.Detail)


class Cube(Generic[S]):
    """The open cells of one writer in one rollup. Used by one thread at a time."""

    def __init__(self, layout: Layout[S]) -> None:
        self.layout = layout
        self._open: dict[int, CellsOf[S]] = {grain: {} for grain in layout.grains}
        self._loaded: dict[int, set[int]] = {grain: set() for grain in layout.grains}

    def add(self, connection: sa.Connection, writer: str, fresh: CellsOf[S]) -> dict[int, CellsOf[S]]:
        """Add the finest cells to all grains, in the caller's transaction; what it gives is for :meth:`keep`."""
        grains = self.layout.grains
        return {grain: self._add(connection, writer, grain, fresh) for grain in grains} if fresh else {}

    def _add(self, connection: sa.Connection, writer: str, grain: int, finest: CellsOf[S]) -> CellsOf[S]:
        fresh = finest if grain == self.layout.grains[0] else rollup.coarser(finest, grain)
        unread = {bucket for bucket, _ in fresh} - self._loaded[grain]
        stored = self.layout.load(connection, writer, grain, unread) if unread else {}
        merged: CellsOf[S] = {}
        for key, cell in fresh.items():
            before = self._open[grain].get(key) or stored.get(key)
            merged[key] = cell.copy()
            if before is not None:
                merged[key].add(before)
        self.layout.put(connection, writer, grain, merged)
        return {**stored, **merged}

    def keep(self, merged: Mapping[int, CellsOf[S]]) -> None:
        """Once it is committed: these cells are what stands."""
        for grain, cells in merged.items():
            self._open[grain].update(cells)
            self._loaded[grain].update(bucket for bucket, _ in cells)
            self._forget_old(grain)

    def forget(self) -> None:
        """Read the open cells again before they are next added to: what was committed is in doubt."""
        for grain in self.layout.grains:
            self._open[grain].clear()
            self._loaded[grain].clear()

    def _forget_old(self, grain: int) -> None:
        loaded = self._loaded[grain]
        if len(loaded) <= _OPEN_BUCKETS:
            return
        kept = set(sorted(loaded)[-_OPEN_BUCKETS:])
        self._loaded[grain] = kept
        self._open[grain] = {key: cell for key, cell in self._open[grain].items() if key[0] in kept}
