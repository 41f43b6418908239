"""The benchmarks' modules, importable; a gateway on a fake model inside it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import servers

INSIDE = """
[providers.inside]
kind = "fake"
[models."inside"]
targets = ["inside/plain"]
[prices."inside/plain"]
input = 1.0
output = 4.0
"""


@pytest.fixture
def new_gateway(tmp_path: Path) -> Iterator[Callable[..., servers.Gateway]]:
    """Gateways, not started, that answer the model ``inside`` themselves; whatever runs at the end is ended."""
    made: list[servers.Gateway] = []

    def make(more: str = "") -> servers.Gateway:
        gateway = servers.Gateway(tmp_path / f"gateway{len(made)}", "http://127.0.0.1:9", core=None, more=INSIDE + more)
        made.append(gateway)
        return gateway

    yield make
    for gateway in made:
        gateway.stop()
