"""``gateway`` is shared by the journeys of a module; ``new_gateway`` makes one of a test's own, with other settings."""

import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness import Running, Upstream


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    running = Upstream(tmp_path_factory.mktemp("upstream"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("gateway"), upstream)
    yield running
    assert running.stop() == 0, running.log.read_text()[-4000:]


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
