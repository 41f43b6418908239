"""The shared harness, and runs of it that refuse to be mistaken: a hit must not reach the upstream, a miss must."""

import importlib
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import servers

FILES = ("perflib.py", "post.lua", "bodies.py", "mock_upstream.py", "stream_bench.py", "nginx_mock.conf")
TOLERANCE = 2
"""Calls that may reach the upstream during a run of hits: those that were under way when it began."""


class Case:
    """One thing to measure, again and again: a server, a body, a mode."""

    def __init__(
        self,
        name: str,
        url: str,
        size: str,
        *,
        mode: str = "hit",
        key: str = "sk-test",
        pid: int = 0,
        connections: int = 32,
        headers: str = "",
        upstream: bool = False,
        model: str = "gpt-4o-mini",
        path: str = "/v1/chat/completions",
    ) -> None:
        """``upstream``: whether calls of mode ``miss`` must arrive there, and those of mode ``hit`` must not."""
        self.name, self.url, self.size, self.mode, self.key, self.pid = name, url + path, size, mode, key, pid
        self.connections, self.headers, self.upstream, self.model = connections, headers, upstream, model
        self.rows: list[dict[str, Any]] = []

    def median(self, what: str) -> float | None:
        """Median over the rounds of a column: ``cpu_us``, ``p50``, ``p99``, ``rps``."""
        values = [row[what] for row in self.rows if row.get(what) is not None]
        return statistics.median(values) if values else None

    def summary(self) -> dict[str, Any]:
        """What goes into the JSON."""
        kept = ("rps", "cpu_us", "cpu_util", "p50", "p99", "bad", "requests", "upstream")
        return {
            "cpu_us": self.median("cpu_us"),
            "p50_us": self.median("p50"),
            "p99_us": self.median("p99"),
            "rps": self.median("rps"),
            "rounds": [{name: row.get(name) for name in kept} for row in self.rows],
        }


class Yardstick:
    """The files of the shared harness, the bodies made by them, and the mock upstream."""

    def __init__(self, directory: Path, place: Path) -> None:
        """Raises ``servers.Missing`` where it cannot be used."""
        self.directory = directory / "bench"
        lost = [name for name in FILES if not (self.directory / name).is_file()]
        if lost:
            raise servers.Missing(
                f"the yardstick ({', '.join(lost)} in {self.directory}): name its place with make bench SHARED=DIR"
            )
        for program, way in (("wrk", "apt-get install wrk"), ("taskset", "apt-get install util-linux")):
            if shutil.which(program) is None:
                raise servers.Missing(f"{program}: {way}")
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        sys.path.insert(0, str(self.directory))
        try:
            self.lib = importlib.import_module("perflib")
        finally:
            sys.path.remove(str(self.directory))
            sys.dont_write_bytecode = before
        self.place = place
        self.upstream = ""
        self.patience = 0.1
        """Seconds in which whatever was left under way by a run shows itself at the upstream."""
        self.tag = str(time.time_ns())

    def body(self, size: str, model: str = "gpt-4o-mini", *, stream: bool = False) -> Path:
        """The template of a request body."""
        place = self.place / f"bodies-{model.replace('/', '_')}"
        if not place.exists():
            command = [sys.executable, "-B", str(self.directory / "bodies.py"), str(place), model]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return place / f"body_{size}{'_stream' if stream else ''}.json"

    def hit_body(self, size: str, model: str = "gpt-4o-mini") -> bytes:
        """The very body that a run of hits sends."""
        return self.body(size, model).read_bytes().replace(b"@@NONCE@@", b"fixednonce" + self.tag.encode())

    def count(self) -> int:
        """Completions that the mock has served."""
        with urllib.request.urlopen(self.upstream + "/count", timeout=10) as reply:
            return int(reply.read())

    def settled(self) -> int:
        """The count once nothing arrives any more: what a run left under way must not be taken for the next one's."""
        end, before = time.monotonic() + 5.0, -1
        while (now := self.count()) != before and time.monotonic() < end:
            before = now
            time.sleep(self.patience)
        return now

    def post(self, case: Case) -> tuple[int, dict[str, str], bytes]:
        """One request of a case."""
        body = self.hit_body(case.size, case.model)
        status, headers, content = self.lib.post(case.url, body, case.key, case.headers)
        return status, {name.lower(): value for name, value in headers.items()}, content

    def run(self, case: Case, seconds: float) -> None:
        """One round of a case. Raises ``RuntimeError`` if what was measured is not what the case says it is."""
        if case.mode == "hit":
            # A small cache may have lost the answer to the misses of another round.
            self._warm(case)
        before = self.settled()
        row = self.lib.wrk(
            case.url,
            self.body(case.size, case.model),
            case.mode,
            case.connections,
            max(1, round(seconds)),
            case.key,
            case.headers,
            "1",
            self.lib.tree(case.pid) if case.pid else (),
            self.tag,
        )
        if "error" in row:
            raise RuntimeError(f"{case.name}: wrk gave nothing: {row['error']}")
        reached = row["upstream"] = self.settled() - before
        if row["bad"] > row["requests"] * 0.001:
            raise RuntimeError(f"{case.name}: {row['bad']} of {row['requests']} answers were bad")
        if case.upstream and case.mode == "hit" and reached > TOLERANCE:
            raise RuntimeError(f"{case.name}: called hits, but {reached} of {row['requests']} reached the upstream")
        if case.upstream and case.mode == "miss" and reached < 0.98 * row["requests"]:
            raise RuntimeError(f"{case.name}: called misses, but {reached} of {row['requests']} reached the upstream")
        case.rows.append(row)

    def rounds(self, cases: Iterable[Case], rounds: int, seconds: float, tick: Callable[[str], None]) -> None:
        """All cases in turn, again and again: what drifts, drifts for all of them."""
        cases = list(cases)
        for _ in range(rounds):
            for case in cases:
                tick(case.name)
                self.run(case, seconds)

    def _warm(self, case: Case) -> None:
        for _ in range(3):
            status, _, content = self.post(case)
            if status != 200:
                raise RuntimeError(f"{case.name} answers {status}: {content[:300]!r}")


def ratio(one: Case, other: Case, what: str = "cpu_us") -> float | None:
    """How many times more ``one`` takes than ``other``: the median of the ratios of neighbouring rounds."""
    pairs = [(a[what], b[what]) for a, b in zip(one.rows, other.rows, strict=False) if a.get(what) and b.get(what)]
    return statistics.median(a / b for a, b in pairs) if pairs else None


def difference(one: Case, other: Case, what: str = "p50") -> float | None:
    """By how much ``one`` is above ``other``: the median over neighbouring rounds, in the column's unit."""
    pairs = [(a[what], b[what]) for a, b in zip(one.rows, other.rows, strict=False)]
    return statistics.median(a - b for a, b in pairs) if pairs else None
