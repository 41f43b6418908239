"""``gateway`` is shared by all journeys of a test process; ``new_gateway`` makes one of a test's own."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import Running, Upstream


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    running = Upstream()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("gateway"), upstream)
    yield running
    code = running.stop()
    log = running.log.read_text()
    assert code == 0, log[-4000:]
    assert "Traceback" not in log, log[-4000:]
    assert running.key not in log


@pytest.fixture
def new_gateway(tmp_path: Path, upstream: Upstream) -> Iterator[Callable[..., Running]]:
    made: list[Running] = []

    def make(extra: str = "", **options: Any) -> Running:
        directory = tmp_path / f"gateway{len(made)}"
        directory.mkdir()
        running = Running(directory, options.pop("upstream", upstream), extra, **options)
        made.append(running)
        return running

    yield make
    for running in made:
        running.stop(signal.SIGKILL)
