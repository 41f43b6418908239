"""Budgets across real processes, some of them killed."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ostinato import storage

SCRIPT = Path(__file__).with_name("spend.py")
LIMIT = 1_000_000_000


def start(url: str, out: Path) -> subprocess.Popen[bytes]:
    with out.open("ab") as stdout:
        command = [sys.executable, str(SCRIPT), url, "key:x", str(LIMIT)]
        return subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE)


def spent(out: Path) -> int:
    return sum(int(line) for line in out.read_bytes().split(b"\n")[:-1])


def leased(database: storage.Database) -> int:
    return database.query(lambda c: c.exec_driver_sql("SELECT leased FROM budget_period").scalar() or 0)


def killed_while_spending(url: str, out: Path, until: int, processes: int) -> None:
    """Some processes at once; all are killed once ``until`` is spent between them."""
    running = [start(url, out) for _ in range(processes)]
    try:
        deadline = time.monotonic() + 60
        while spent(out) < until and time.monotonic() < deadline:
            time.sleep(random.random() * 0.01)
        assert spent(out) >= until
    finally:
        for process in running:
            process.kill()
            process.communicate()
    time.sleep(0.3)  # PostgreSQL may still be busy with what a dead client asked for


def test_kill_9_never_overspends_and_forfeits_little(control: storage.Database, database_url: str, tmp_path: Path):
    """Money budgets lose nothing: what was spent by killed processes stays spent."""
    _kill_rounds(control, database_url, tmp_path / "costs", rounds=1)


@pytest.mark.soak
def test_kill_9_five_times_over(control: storage.Database, database_url: str, tmp_path: Path):
    _kill_rounds(control, database_url, tmp_path / "costs", rounds=5)


def _kill_rounds(control: storage.Database, database_url: str, out: Path, rounds: int) -> None:
    out.touch()
    processes = 1 if control.dialect == "sqlite" else 2  # an embedded server is one process
    for number in range(rounds):
        killed_while_spending(database_url, out, spent(out) + LIMIT // 40 + random.randint(0, LIMIT // 100), processes)
        before = spent(out)
        assert before <= leased(control) <= LIMIT
        assert leased(control) - before <= LIMIT * 0.15 * (number + 1), "a slice and the calls in flight, no more"
    forfeited = leased(control) - spent(out)
    last = [start(database_url, out) for _ in range(processes)]
    for process in last:
        _, said = process.communicate(timeout=120)
        assert (process.returncode, said) == (0, b"clean\n")
    assert spent(out) <= LIMIT
    assert leased(control) == spent(out) + forfeited, "who stops cleanly gives back what it did not spend"
    assert spent(out) + forfeited >= LIMIT * 0.99
