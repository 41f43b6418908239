"""SIGKILL at random points: no recorded call is paid for twice, none is lost (issue: optimization, crash-proof)."""

import asyncio
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from calls_kit import bench

CALLS = 200
CHILD = Path(__file__).parent / "child.py"


def run(directory: Path, kill_after: int | None) -> bool:
    """Run the child; kill it once the log has grown by so many lines. Whether it came to its end."""
    log = directory / "log"
    before = len(log.read_bytes().splitlines()) if log.exists() else 0
    child = subprocess.Popen([sys.executable, str(CHILD), str(directory), str(CALLS)])
    ended = threading.Event()
    threading.Thread(target=lambda: (child.wait(), ended.set()), daemon=True).start()
    while not ended.wait(0.002):
        if kill_after is not None and log.exists() and len(log.read_bytes().splitlines()) >= before + kill_after:
            child.kill()
            break
    return child.wait(30) == 0


def killed(directory: Path, times: int, seed: int) -> None:
    rng = random.Random(seed)
    kills = 0
    for _ in range(times):
        kills += not run(directory, rng.randint(1, CALLS // 4))
    assert kills >= times // 2, "the child was meant to be killed"
    assert run(directory, None)
    recorded: set[str] = set()
    paid: dict[str, int] = {}
    for line in (directory / "log").read_text().splitlines():
        kind, _, question = line.partition(" ")
        if kind == "paid":
            assert question not in recorded, f"{question} was recorded, and paid for again"
            paid[question] = paid.get(question, 0) + 1
        elif question:
            recorded.add(question)
    assert len(recorded) == CALLS
    assert sum(paid.values()) - CALLS <= 8 * kills, "more than what was under way was paid for again"

    async def look() -> None:
        async with bench(directory) as room:
            assert (await room.calls.journal("run")).calls == CALLS
            for number in range(CALLS):
                answer = await room.ask(f"q{number}")
                assert not answer.paid and answer.text == f"re: q{number}"
            assert not room.provider.asked

    asyncio.run(look())


def test_kill(tmp_path: Path) -> None:
    killed(tmp_path, 4, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_kill_often(tmp_path: Path, seed: int) -> None:
    killed(tmp_path, 10, seed)
