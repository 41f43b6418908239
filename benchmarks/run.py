"""Measures everything that was asked, each figure as a ratio inside one run, and prints one table.

    make bench                          all of it, some twenty minutes; SHARED=DIR names the yardstick's place
    make bench ARGS=--no-peers          without LiteLLM and MLflow, whose environments (1.1 GB) are made on first use
    make bench ARGS='--only hits misses'

What is not here (wrk, nginx, the yardstick) is named with the way to get it, and its rows are skipped: a run
never fails for it. JSON lies in benchmarks/out/.

A hit that reaches the upstream, or a miss that does not, ends its section: a figure is what it says, or is not there.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import audit
import comparison
import drift
import encoder
import figures
import hits
import kpis
import ledger
import loop
import machine
import memory
import misses
import optimization
import proofs
import registry
import results
import retention
import retrieval
import servers
import steady
import streams
import triage
from bench import Bench, Sizes, progress
from rich.console import Console
from yardstick import Yardstick

HERE = Path(__file__).resolve().parent
SECTIONS = {
    "hits": hits.measure,
    "misses": misses.measure,
    "streams": streams.measure,
    "steady": steady.measure,
    "ledger": ledger.measure,
    "memory": memory.measure,
    "kpis": kpis.measure,
    "registry": registry.measure,
    "audit": audit.measure,
    "gate": proofs.measure_gate,
    "canary": proofs.measure_canary,
    "drift": drift.measure,
    "retention": retention.measure,
    "encoder": encoder.measure,
    "retrieval": retrieval.measure,
    "optimization": optimization.measure,
    "loop": loop.measure,
    "triage": triage.measure,
    "comparison": comparison.measure,
}


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    whole = Sizes()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=HERE.parent.parent / "shared", help="where bench/ is")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections to run")
    parser.add_argument("--no-peers", action="store_true", help="leave out the comparison with other gateways")
    parser.add_argument("--rounds", type=int, default=whole.rounds)
    parser.add_argument("--seconds", type=float, default=whole.seconds, help="of one round of one case")
    parser.add_argument("--ledger-rows", type=int, default=whole.ledger_rows)
    parser.add_argument("--entries", type=int, default=whole.entries, help="in memory and in cache.db")
    parser.add_argument("--steady-seconds", type=float, default=whole.steady_seconds)
    parser.add_argument("--out", type=Path, default=HERE / "out", help="where the JSON goes")
    parser.add_argument(
        "--nice", type=int, default=0, help="of all processes; below 0, as root, on a machine with other work"
    )
    parser.add_argument("--record", nargs="?", const="all", help="write the table into RESULTS.md, under this name")
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> int:
    """Run the sections and show the table."""
    options = arguments(given)
    console = Console()
    if not console.is_terminal:
        console = Console(width=180)
    described = machine.describe()
    described["niceness"] = os.nice(options.nice)
    began = time.monotonic()
    # A stop from outside must end the servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="ostinato-bench-") as place, progress(console) as bars:
        sizes = Sizes(options.rounds, options.seconds, options.ledger_rows, options.entries, options.steady_seconds)
        bench = Bench(Path(place), options.shared, sizes, bars)
        try:
            bench.yardstick = Yardstick(options.shared.resolve(), bench.place)
        except servers.Missing as missing:
            bench.without = str(missing)
            bars.console.print(f"[yellow]Not here: {missing}")
        found: list[figures.Figure] = []
        for name in options.only:
            if name == "comparison" and options.no_peers:
                continue
            try:
                found += SECTIONS[name](bench)
            except servers.Missing as missing:
                found.append(figures.skipped(name, name, str(missing)))
            except Exception as error:  # one section's trouble must not cost the others
                bars.console.print(f"[red]{name}: {error}")
                found.append(figures.skipped(name, name, f"failed: {str(error).splitlines()[0][:200]}"))
    described["minutes"] = round((time.monotonic() - began) / 60, 1)
    figures.show(console, found, "Ostinato, measured")
    console.print(machine.sentence(described), style="dim")
    console.print(f"JSON: {figures.save(options.out, described, found)}", style="dim")
    if options.record:
        results.record(HERE / "RESULTS.md", options.record, described, found)
        console.print("The table is in benchmarks/RESULTS.md.", style="dim")
    return 0


if __name__ == "__main__":
    sys.exit(main())
