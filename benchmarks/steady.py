"""Latency at a constant rate, from when a request was due: P1 and P2 of the reliability page."""

import statistics
from contextlib import ExitStack
from typing import Any

import child
from bench import Bench
from figures import Figure
from yardstick import Case

HITS_A_SECOND = 500
MISSES_A_SECOND = 200


def measure(bench: Bench) -> list[Figure]:
    """P1: hits at 500 a second. P2: misses at 200 a second, beside the same load on the upstream itself."""
    seconds = bench.sizes.steady_seconds
    with ExitStack() as stack:
        yardstick = bench.start_mock(stack)
        gateway = stack.enter_context(bench.gateway("steady", yardstick.upstream))
        through, direct = f"{gateway.url}/v1/chat/completions", f"{yardstick.upstream}/v1/chat/completions"
        case = Case("steady", gateway.url, "4k", key=gateway.key, upstream=True)
        for _ in range(3):
            yardstick.post(case)
        body = yardstick.body("4k")
        tick = bench.ticker("steady rate", 5)

        def load(url: str, mode: str, rate: int, part: float) -> dict[str, Any]:
            row = child.run("steady_load.py", url, body, gateway.key, mode, rate, part, yardstick.tag, core=1)
            if row["bad"] or row["answered"] != row["sent"]:
                raise RuntimeError(f"Not every request was answered: {row}")
            return row

        tick(f"{HITS_A_SECOND} hits/s")
        before = yardstick.count()
        hits = load(through, "hit", HITS_A_SECOND, seconds)
        if yardstick.count() - before > 2:
            raise RuntimeError("Called hits, but they reached the upstream.")
        rows: dict[str, list[dict[str, Any]]] = {"direct": [], "through": []}
        for _ in range(2):
            for name, url in (("direct", direct), ("through", through)):
                tick(f"{MISSES_A_SECOND} misses/s, {name}")
                rows[name].append(load(url, "miss", MISSES_A_SECOND, seconds / 2))
        tick("")

    def middle(name: str, what: str) -> float:
        return statistics.median(row[what] for row in rows[name])

    return [
        Figure(
            id="P1-p50",
            what=f"P1: exact hit at {HITS_A_SECOND}/s, p50",
            value=hits["p50"],
            unit="ms",
            asked=2,
            note=f"{hits['sent']:,} requests, latency from when each was due",
            detail=hits,
        ),
        Figure(id="P1-p99", what=f"P1: exact hit at {HITS_A_SECOND}/s, p99", value=hits["p99"], unit="ms", asked=10),
        Figure(
            id="P2",
            what=f"P2: miss at {MISSES_A_SECOND}/s, added to the upstream's own p99",
            value=middle("through", "p99") - middle("direct", "p99"),
            unit="ms",
            asked=15,
            note=f"p50 {middle('through', 'p50'):.2f} ms, direct {middle('direct', 'p50'):.2f} ms; "
            f"p99 {middle('through', 'p99'):.1f} ms, direct {middle('direct', 'p99'):.1f} ms",
            detail=rows,
        ),
    ]
