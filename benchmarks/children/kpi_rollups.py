"""CPU per hit row with or without the rollups of KPIs: ``kpi_rollups.py DIRECTORY ROWS with|without|sessions``.

With the sums of the hold-out, as it is by default. ``sessions``: every eighth hit begins another conversation, which
costs a row that is read and written.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import money_pages

from ostinato import storage, traces
from ostinato.core import ids
from ostinato.core.clock import SystemClock
from ostinato.traces import adding, journal

CALLS = 1_000
PER_TICK = 150


def main(directory: str, wanted: str, kind: str) -> None:
    """Record, stop, print."""
    rows, clock = int(wanted), SystemClock()
    if kind == "without":
        _take_out()
    path = Path(directory) / "traces.db"
    database = storage.open_database("traces", path)
    storage.migrate(database)
    recorder = traces.Recorder(database, clock, traces.Settings(), watchers=[traces.Metrics()])
    recorder.draws = None if kind == "without" else money_pages.lottery()
    recorder.start()
    origins = [ids.new(clock.now()) for _ in range(CALLS)]
    for number, origin in enumerate(origins):
        about = {"intent": f"i{number % 4}", "project": "p", "org": "o", "key_id": "k", "wire": "openai.chat"}
        recorder.call(traces.CallRow(request_id=origin, at=clock.now(), alias="a", provider="p", **about))
    recorder.flush()
    names = [ids.new(clock.now()) for _ in range(rows)]
    before = time.process_time()
    for number in range(rows):
        session = f"s{number // 8}" if kind == "sessions" else ""
        origin = origins[number * 7 % CALLS]
        recorder.hit(traces.HitRow(names[number], clock.now(), "k", origin, 45, 31_000, 12, 0, False, "", session))
        if number % PER_TICK == 0:
            time.sleep(0.01)
    recorder.stop()
    spent = time.process_time() - before
    database.close()
    print(json.dumps({"rows": rows, "cpu_us_row": spent * 1e6 / rows}))


def _take_out() -> None:
    """The writer as it was before there were KPIs: the ledger's own rollup alone."""

    def only_the_ledgers(self: Any, connection: Any, added: adding.Added) -> list[Any]:
        cube = self._rollup
        return [(cube, cube.add(connection, self._mark.writer, added.cells))]

    journal.Journal._add_to_rollups = only_the_ledgers  # type: ignore[method-assign]
    adding._add_single_hits = lambda *_: None


if __name__ == "__main__":
    main(*sys.argv[1:])
