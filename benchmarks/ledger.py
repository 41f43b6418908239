"""What the ledger costs a hit, and what it loses."""

import random
import signal
import sqlite3
import threading
import time
from contextlib import ExitStack
from typing import Any

import child
import servers
from bench import Bench
from figures import Figure
from yardstick import Case, Yardstick, difference

KILL_ROUNDS = 3
CONNECTIONS = 32


def cost(bench: Bench) -> list[Figure]:
    """CPU per hit row, the writer's thread included, in a process that does nothing else."""
    tick = bench.ticker("ledger rows", 1)
    tick(f"{bench.sizes.ledger_rows:,} rows")
    place = bench.place / "ledger"
    place.mkdir()
    found = child.run("ledger_rows.py", place, bench.sizes.ledger_rows, core=0)
    tick("")
    missing = found["rows"] - found["written"]
    return [
        Figure(
            id="ledger-row",
            what="ledger, CPU per hit row, writer's thread included",
            value=found["cpu_us_row"],
            unit="us",
            asked=12,
            note=f"{found['rows']:,} rows, {missing} missing after the stop, {found['bytes_row']:.0f} bytes a row",
            detail=found,
        )
    ]


def in_server(bench: Bench) -> list[Figure]:
    """The same as a difference: hits on a gateway, and on one whose recorder was taken out."""
    with ExitStack() as stack:
        yardstick = bench.start_mock(stack)
        cases: dict[str, Case] = {}
        for name in ("with", "without"):
            gateway = stack.enter_context(bench.gateway(f"ledger-{name}", yardstick.upstream, ledger=name == "with"))
            cases[name] = Case(name, gateway.url, "4k", key=gateway.key, pid=gateway.pid, upstream=True)
        rounds = bench.sizes.rounds
        tick = bench.ticker("ledger in the server", 2 * rounds)
        yardstick.rounds(cases.values(), rounds, bench.sizes.seconds, tick)
        tick("")
    costs = {name: case.median("cpu_us") or 0 for name, case in cases.items()}
    return [
        Figure(
            id="ledger-server",
            what="ledger, CPU per hit in the server, with and without",
            value=difference(cases["with"], cases["without"], "cpu_us"),
            unit="us",
            asked=12,
            note=f"{costs['with']:.1f} us with, {costs['without']:.1f} us without",
            detail={name: case.summary() for name, case in cases.items()},
        )
    ]


def losses(bench: Bench) -> list[Figure]:
    """Rows after a stop under load, and after ``kill -9`` under load: written, or counted as lost."""
    with ExitStack() as stack:
        yardstick = bench.start_mock(stack)
        tick = bench.ticker("ledger losses", 1 + KILL_ROUNDS)
        tick("SIGTERM")
        stopped = _end_under_load(bench, yardstick, stack, signal.SIGTERM, "stopped")
        killed: list[dict[str, Any]] = []
        for number in range(KILL_ROUNDS):
            tick("kill -9")
            killed.append(_end_under_load(bench, yardstick, stack, signal.SIGKILL, f"killed-{number}"))
        tick("")
    uncounted = max(max(0, row["answered"] - row["written"] - row["lost"]) for row in killed)
    worst = max(row["lost"] / max(1.0, row["rate"]) for row in killed)
    lost = ", ".join(f"{row['lost']:,} of {row['answered']:,}" for row in killed)
    return [
        Figure(
            id="ledger-stop",
            what="ledger, answered requests without a row after SIGTERM under load",
            value=float(max(0, stopped["answered"] - stopped["written"])),
            asked=0,
            note=f"{stopped['answered']:,} answered, {stopped['written']:,} rows",
            detail=stopped,
        ),
        Figure(
            id="ledger-kill",
            what="ledger, rows neither written nor counted as lost after kill -9 under load",
            value=float(uncounted),
            asked=0,
            note=f"counted as lost: {lost}",
            detail={"rounds": killed},
        ),
        Figure(
            id="ledger-kill-seconds",
            what="ledger, rows lost by kill -9, in seconds of traffic, worst of the rounds",
            value=worst,
            unit="s",
            asked=1.0,
        ),
    ]


def _end_under_load(
    bench: Bench, yardstick: Yardstick, stack: ExitStack, how: signal.Signals, name: str
) -> dict[str, Any]:
    gateway = bench.gateway(name, yardstick.upstream)
    stack.callback(gateway.stop)
    gateway.launch()
    gateway.wait()
    case = Case(name, gateway.url, "4k", key=gateway.key, connections=CONNECTIONS, upstream=True)
    warm = 0
    for _ in range(3):
        warm += yardstick.post(case)[0] == 200
    seconds = max(2, round(bench.sizes.seconds))
    done: dict[str, Any] = {}

    def work() -> None:
        body = yardstick.body("4k")
        done.update(yardstick.lib.wrk(case.url, body, "hit", CONNECTIONS, seconds, gateway.key, hit_tag=yardstick.tag))

    load = threading.Thread(target=work)
    began = time.monotonic()
    load.start()
    time.sleep(random.uniform(0.5, seconds - 0.5))
    elapsed = time.monotonic() - began
    gateway.stop(how)
    load.join()
    if how == signal.SIGKILL:
        # The next start counts what is missing.
        gateway.launch()
        gateway.wait()
        gateway.stop()
    answered = int(done["requests"]) + warm
    with sqlite3.connect(f"file:{gateway.data / 'traces.db'}?mode=ro", uri=True) as connection:
        hits = connection.execute("SELECT count(*) FROM hit").fetchone()[0]
        calls = connection.execute("SELECT count(*) FROM call").fetchone()[0]
        lost = connection.execute("SELECT coalesce(sum(rows), 0) FROM ledger_loss").fetchone()[0]
    return {
        "answered": answered,
        "written": hits + calls,
        "lost": lost,
        "rate": answered / elapsed,
        "seconds": elapsed,
    }


def measure(bench: Bench) -> list[Figure]:
    """All of it; without the yardstick, the first part."""
    found = cost(bench)
    try:
        return [*found, *in_server(bench), *losses(bench)]
    except servers.Missing as missing:
        bench.progress.console.print(f"[yellow]ledger in the server: skipped, {missing}")
        return found
