"""Long runs of the whole server: it does not grow, and a killed process loses nothing that it had promised."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import servers

REQUESTS = int(os.environ.get("OSTINATO_SOAK_REQUESTS", "5000000"))
KILLS = int(os.environ.get("OSTINATO_SOAK_KILLS", "50"))
"""Of each of the twenty parts: a thousand in all."""
FILLING = int(os.environ.get("OSTINATO_SOAK_FILLING", "150000"))
"""New questions before that: everything that is bounded is full then. The largest bound is 100,000 remembered calls."""
WARM = 0.2
"""Share of the requests after which the usual peaks (rows that wait for a slow disk) have been seen too."""
SMALL = """
[cache]
memory_bytes = 50000000
raw_bytes = 30000000
shared_bytes = 200000000
"""
"""Small enough to be full before the measuring begins: what grows afterwards is a leak."""

New = Callable[..., servers.Gateway]
Note = Callable[[str, object], None]


def load(
    gateway: servers.Gateway, requests: int, connections: int = 16, seed: int = 1, new: float = 0.1
) -> "subprocess.Popen[str]":
    command = [sys.executable, str(servers.CHILDREN / "mixed_load.py"), f"{gateway.url}/v1/chat/completions"]
    command += [gateway.key, "inside", str(requests), str(connections), str(seed), str(new)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def grow(gateway: servers.Gateway, requests: int) -> dict[str, Any]:
    """Fill it, send ``requests``; what the process took when it was warm, and at the end."""
    with load(gateway, FILLING, seed=2, new=1.0) as child:
        child.communicate()
    process = psutil.Process(gateway.pid)
    warm: tuple[int, int, int] | None = None
    told: dict[str, int] = {}
    highest = 0
    with load(gateway, requests) as child:
        assert child.stdout is not None
        for line in child.stdout:
            told = json.loads(line)
            now = (process.memory_info().rss, process.num_fds(), process.num_threads())
            highest = max(highest, now[0])
            if warm is None and told["answered"] >= requests * WARM:
                warm = now
    assert child.returncode == 0
    time.sleep(1)
    assert warm is not None
    end = (process.memory_info().rss, process.num_fds(), process.num_threads())
    return {**told, "warm": warm, "end": end, "highest": highest, "growth": end[0] / warm[0] - 1}


@pytest.mark.soak
def test_five_million_requests_do_not_make_it_grow(new_gateway: New, record_property: Note) -> None:
    """P7 in short: resident memory at the end is at most 5 % above that of the warm process; no descriptor leaks."""
    with new_gateway(SMALL) as gateway:
        found = grow(gateway, REQUESTS)
        # The load is gone: its connections are closed, or will be when their time is up.
        descriptors = found["end"][1]
    record_property("requests", f"{found['answered']:,}")
    record_property("hits", f"{found['hits'] / found['answered']:.1%}")
    record_property("resident MB", f"{found['warm'][0] / 1e6:.0f} -> {found['end'][0] / 1e6:.0f}")
    record_property("growth", f"{found['growth']:+.2%}")
    record_property("descriptors", f"{found['warm'][1]} -> {descriptors}")
    assert found["bad"] == found["broken"] == 0
    assert found["growth"] <= 0.05, found
    assert descriptors <= found["warm"][1] + 2, found
    assert found["end"][2] <= found["warm"][2] + 2, found


class Writer(threading.Thread):
    """Makes keys as fast as it is answered; remembers which the server said were made."""

    def __init__(self, gateway: servers.Gateway) -> None:
        super().__init__(daemon=True)
        self.gateway = gateway
        self.acknowledged: list[str] = []
        self.stopped = False

    def run(self) -> None:
        number = 0
        while not self.stopped:
            number += 1
            try:
                status, made = call(self.gateway, "POST", "/api/v1/keys", {"name": f"k{time.time_ns()}-{number}"})
            except (OSError, ValueError):
                time.sleep(0.01)
                continue
            if status == 201:
                self.acknowledged.append(made["key"]["id"])


def call(gateway: servers.Gateway, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    headers = {"content-type": "application/json", "authorization": f"Bearer {gateway.key}"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(gateway.url + path, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def killed(gateway: servers.Gateway, rounds: int, seed: int) -> dict[str, Any]:
    """Kill it ``rounds`` times at random moments under load; what was promised and is gone, and how it came back."""
    dice = random.Random(seed)
    acknowledged: set[str] = set()
    missing: set[str] = set()
    slowest = 0.0
    gateway.launch()
    gateway.wait()
    for number in range(rounds):
        writer = Writer(gateway)
        child = load(gateway, 10_000_000, connections=4, seed=seed * 10_000 + number)
        writer.start()
        time.sleep(dice.uniform(0.05, 1.0))
        gateway.stop(signal.SIGKILL)
        writer.stopped = True
        child.kill()
        child.wait()
        writer.join()
        acknowledged.update(writer.acknowledged)
        began = time.perf_counter()
        gateway.launch()
        gateway.wait()
        slowest = max(slowest, time.perf_counter() - began)
        missing |= acknowledged - stored(gateway)
    status, told = call(gateway, "GET", "/api/v1/stats")
    assert status == 200, told
    gateway.stop()
    with sqlite3.connect(f"file:{gateway.data / 'control.db'}?mode=ro", uri=True) as connection:
        whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
    return {"acknowledged": len(acknowledged), "missing": missing, "slowest": slowest, "whole": whole, "stats": told}


def stored(gateway: servers.Gateway) -> set[str]:
    with sqlite3.connect(f"file:{gateway.data / 'control.db'}?mode=ro", uri=True) as connection:
        return {row[0] for row in connection.execute("SELECT id FROM api_key")}


@pytest.mark.soak
@pytest.mark.parametrize("part", range(20))
def test_a_thousand_kills_lose_no_acknowledged_write(part: int, new_gateway: New, record_property: Note) -> None:
    """D1, at twenty times fifty random points."""
    found = killed(new_gateway(), KILLS, part)
    record_property("kills", KILLS)
    record_property("acknowledged writes", f"{found['acknowledged']:,}")
    record_property("slowest restart", f"{found['slowest']:.2f} s")
    record_property("ledger rows lost and counted", found["stats"]["rows_lost"])
    assert found["acknowledged"] > 0
    assert found["missing"] == set()
    assert found["whole"] == "ok"
