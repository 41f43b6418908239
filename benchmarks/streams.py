"""Streams passed through: CPU per event, what is added to the first byte, and that nothing is held back."""

import http.client
import json
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import servers
from bench import Bench
from figures import Figure
from yardstick import Yardstick

STREAMS = 64
EVENTS = 51
GAP_MS = 10


def measure(bench: Bench) -> list[Figure]:
    """Sixty-four streams of 51 events, 10 ms apart."""
    with ExitStack() as stack:
        yardstick = bench.start_mock(stack)
        gateway = stack.enter_context(bench.gateway("streams", yardstick.upstream))
        rows: dict[str, list[dict[str, Any]]] = {"direct": [], "gateway": []}
        rounds = min(bench.sizes.rounds, 3)
        tick = bench.ticker("streams", 2 * rounds + 1)
        direct = f"{yardstick.upstream}/s{GAP_MS}/v1/chat/completions"
        through = f"{gateway.url}/v1/chat/completions"
        seconds = max(1.0, bench.sizes.seconds + 1)
        for _ in range(rounds):
            tick("direct")
            rows["direct"].append(load(yardstick, direct, "gpt-4o-mini", seconds))
            tick("gateway")
            rows["gateway"].append(load(yardstick, through, "sse", seconds, gateway.pid, gateway.key))
        tick("one stream")
        arrivals = watch(yardstick, through, gateway)
        tick("")

    def middle(server: str, what: str) -> float:
        return statistics.median(row[what] for row in rows[server])

    added50 = middle("gateway", "ttfb50") - middle("direct", "ttfb50")
    added99 = middle("gateway", "ttfb99") - middle("direct", "ttfb99")
    bad = sum(row["bad"] for row in rows["gateway"])
    return [
        Figure(
            id="sse-event",
            what=f"SSE, {STREAMS} streams, CPU per event",
            value=middle("gateway", "cpu_us_event"),
            unit="us",
            asked=80,
            note=f"{middle('gateway', 'eps'):,.0f} events/s, {bad} bad streams",
            detail=rows,
        ),
        Figure(
            id="sse-first",
            what="SSE, added to the first byte, p50",
            value=added50,
            unit="ms",
            asked=1.5,
            note=f"direct {middle('direct', 'ttfb50'):.2f} ms",
        ),
        Figure(id="P4", what="P4: SSE, added to the first byte, p99", value=added99, unit="ms", asked=10),
        Figure(
            id="sse-unbuffered",
            what="SSE, reads in which the events of one stream came",
            value=float(len(arrivals)),
            unit=f"of {EVENTS}",
            asked=EVENTS * 0.9,
            more=True,
            note="events sent 10 ms apart; held back, they would come in fewer",
        ),
    ]


def load(
    yardstick: Yardstick, url: str, model: str, seconds: float, pid: int = 0, key: str = "sk-test"
) -> dict[str, Any]:
    """One run of the yardstick's stream load, on the load's core."""
    body = yardstick.body("4k", model, stream=True)
    command = [sys.executable, "-B", str(yardstick.directory / "stream_bench.py"), url, str(body)]
    command += [str(STREAMS), str(seconds), str(pid), key]
    done = subprocess.run(
        servers.pinned(1, command), capture_output=True, text=True, check=False, timeout=60 + 10 * seconds
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"The stream load gave nothing: {done.stderr[-600:]}")
    row = json.loads(lines[-1])
    if not row["streams"] or row["ttfb50"] is None:
        raise RuntimeError(f"No stream came to its end within {seconds:g} s: {row}")
    return row


def watch(yardstick: Yardstick, url: str, gateway: servers.Gateway) -> list[float]:
    """When the pieces of one stream arrive, in seconds from the request: one item for each read that gave any."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    body = yardstick.body("200", "sse", stream=True).read_bytes().replace(b"@@NONCE@@", b"%d" % time.time_ns())
    connection.request(
        "POST", place.path, body, {"content-type": "application/json", "authorization": f"Bearer {gateway.key}"}
    )
    began, arrivals = time.perf_counter(), []
    reply = connection.getresponse()
    while reply.read1(65_536):
        arrivals.append(time.perf_counter() - began)
    connection.close()
    return arrivals
