"""SIGKILL at random points of a run: nothing that was written down is paid for again, and the findings are the same."""

import json
import os
import random
import select
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

CHILD = Path(__file__).parent / "child_run.py"
MOST_SECONDS = 120


class Nursery:
    """Processes that carry out runs, one at a time."""

    def __init__(self, errors: Path) -> None:
        self.errors = errors
        self._log = errors.open("ab")
        self._server = subprocess.Popen(
            [sys.executable, str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )

    def begin(self, verb: str, directory: Path) -> int:
        """The process id of a new one."""
        assert self._server.stdin is not None
        self._server.stdin.write(f"{verb} {directory}\n".encode())
        self._server.stdin.flush()
        return int(self._line()[1])

    def end(self) -> int:
        """Its exit code, once it has ended."""
        return int(self._line()[2])

    def ended(self) -> bool:
        """Whether it has ended, and its code can be asked for."""
        return bool(select.select([self._server.stdout], [], [], 0.002)[0])

    def do(self, verb: str, directory: Path) -> None:
        """From its beginning to its end."""
        self.begin(verb, directory)
        assert self.end() == 0, self.errors.read_text()[-3000:]

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(MOST_SECONDS)
        self._log.close()

    def _line(self) -> list[bytes]:
        assert self._server.stdout is not None
        ready, _, _ = select.select([self._server.stdout], [], [], MOST_SECONDS)
        line = self._server.stdout.readline() if ready else b""
        assert line, self.errors.read_text()[-3000:]
        return line.split()


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    made = Nursery(tmp_path / "errors.log")
    yield made
    made.close()


def asked(directory: Path) -> int:
    """Calls that have reached the model."""
    log = directory / "asked.log"
    return log.stat().st_size // 2 if log.exists() else 0


def recorded(directory: Path) -> tuple[int, int]:
    """Calls in the journal: all, and different ones."""
    path = directory / "data" / "work.db"
    if not path.exists():
        return 0, 0
    with sqlite3.connect(path, timeout=10) as connection:
        try:
            return connection.execute("SELECT count(*), count(DISTINCT key) FROM paid_call").fetchone()
        except sqlite3.OperationalError:
            return 0, 0


def finish(nursery: Nursery, directory: Path) -> dict[str, object]:
    nursery.do("run", directory)
    found: dict[str, object] = json.loads((directory / "outcome.json").read_text())
    return found


def kill_at(nursery: Nursery, directory: Path, calls: int, delay: float) -> bool:
    """Let a process work until so many calls were made, and a moment longer; ``False``: it ended before."""
    pid = nursery.begin("run", directory)
    until = time.monotonic() + MOST_SECONDS
    while not nursery.ended() and asked(directory) < calls and time.monotonic() < until:
        pass
    time.sleep(delay)
    if nursery.ended():
        assert nursery.end() == 0, nursery.errors.read_text()[-3000:]
        return False
    os.kill(pid, signal.SIGKILL)
    nursery.end()
    return True


def try_kills(nursery: Nursery, tmp_path: Path, kills: int, seed: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    nursery.do("prepare", whole)
    # Examples have ids of their own in every installation, and searches draw by them: both begin with the same.
    shutil.copytree(whole, broken)
    wanted = finish(nursery, whole)
    total = asked(whole)
    assert recorded(whole) == (total, total)
    assert wanted["state"] == "proposed", wanted
    rng = random.Random(seed)
    points = sorted(rng.randrange(total + 20) for _ in range(kills))
    lost, done = 0, 0
    for point in points:
        before = recorded(broken)
        if not kill_at(nursery, broken, point + lost, rng.random() * 0.02):
            break
        done += 1
        rows, different = recorded(broken)
        assert rows == different
        assert rows >= before[0], "what was written down stays"
        # What reached the model and is not written down was under way at a kill, this one or one before.
        assert asked(broken) - rows <= 8 * done
        lost = asked(broken) - rows
    found = finish(nursery, broken)
    rows, different = recorded(broken)
    assert rows == different == total, "none is lost, none is there twice"
    assert asked(broken) - rows == lost, "since the last kill, nothing was paid for that was written down"
    assert found == wanted
    assert done >= kills // 2


def test_ten_kills(nursery: Nursery, tmp_path: Path) -> None:
    try_kills(nursery, tmp_path, kills=10, seed=20)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_two_hundred_kills(nursery: Nursery, tmp_path: Path, seed: int) -> None:
    try_kills(nursery, tmp_path, kills=10, seed=seed)
