"""What a hit's row costs, in a process of its own: ``ledger_rows.py DIRECTORY ROWS`` prints one JSON line.

CPU is the process's: the event loop's part (make the row, count it, queue it) and the writer's thread (batches, rollup,
metrics, SQLite), from the first row to the end of a clean stop.
"""

import json
import sqlite3
import sys
import time
from pathlib import Path

from ostinato import storage, traces
from ostinato.core import ids
from ostinato.core.clock import SystemClock

CALLS = 1_000
"""Answers that are repeated."""
PER_TICK = 150
"""Rows between two pauses of 10 ms: 15,000 hits a second, so that batches are as large as in a busy server."""


def main(directory: str, wanted: str) -> None:
    """Record, stop, count."""
    rows = int(wanted)
    clock = SystemClock()
    path = Path(directory) / "traces.db"
    database = storage.open_database("traces", path)
    storage.migrate(database)
    recorder = traces.Recorder(database, clock, traces.Settings(), watchers=[traces.Metrics()])
    recorder.start()
    origins = [ids.new(clock.now()) for _ in range(CALLS)]
    for origin in origins:
        recorder.call(traces.CallRow(request_id=origin, at=clock.now(), wire="openai-chat", alias="a", provider="p"))
    recorder.flush()
    names = [ids.new(clock.now()) for _ in range(rows)]
    key = "0" * 32

    def note(number: int) -> None:
        recorder.hit(
            traces.HitRow(names[number], clock.now(), key, origins[number * 7 % CALLS], 45, 31_000, 12, 0, False)
        )

    before = time.process_time()
    for number in range(rows):
        note(number)
        if number % PER_TICK == 0:
            time.sleep(0.01)
    fed = time.process_time()
    left = recorder.stop()
    spent = time.process_time() - before
    database.close()
    with sqlite3.connect(path) as connection:
        written = connection.execute("SELECT count(*) FROM hit").fetchone()[0]
    found = {
        "rows": rows,
        "written": written,
        "left": left,
        "dropped": recorder.dropped,
        "cpu_us_row": spent * 1e6 / rows,
        "cpu_us_row_until_stop": (fed - before) * 1e6 / rows,
        "bytes_row": path.stat().st_size / rows,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
