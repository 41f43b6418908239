"""An optimization run on two servers over PostgreSQL: the one that works on it is killed, the other goes on with it."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Running, Upstream, eventually

ENDED = ("proposed", "refused", "nothing-to-gain", "failed", "paused")
SCORER = '{"kind": "label", "config": {"labels": ["red", "green"]}}'


@pytest.fixture
def two(tmp_path: Path, upstream: Upstream, postgres_url: str) -> Iterator[tuple[Running, Running]]:
    """Two servers; neither is started."""
    made: list[Running] = []
    for name in ("one", "two"):
        directory = tmp_path / name
        directory.mkdir()
        extra = (
            f'[storage]\nurl = "{postgres_url}"\ndirectory = "{directory / "data"}"\n'
            "[optimization]\nconcurrency = 2\n[jobs]\nlease = 2.0\n"
        )
        made.append(Running(directory, upstream, extra, key=made[0].key if made else "", starts=False))
    try:
        yield made[0], made[1]
    finally:
        for server in made:
            server.stop(signal.SIGKILL)


def test_a_run_goes_on_in_the_other_server_and_nothing_is_paid_twice(
    two: tuple[Running, Running], tmp_path: Path
) -> None:
    one, other = two
    one.start()
    lines = [{"inputs": {"thing": f"thing {n}"}, "reference": ("red", "green")[n % 2]} for n in range(240)]
    file = tmp_path / "things.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    one.cli("prompts", "create", "paint", "--kind", "text", "--text", "Colour of {{thing}}?", "--model", "slowly")
    assert one.api("PUT", "/models/slowly", {"targets": ["openai/fake-latency=120ms"]})[0] < 300
    one.cli("labels", "declare", "live")
    one.cli("prompts", "label", "paint", "live", "1")
    one.cli("datasets", "create", "things", str(file))
    wish = ("paint@live", "--dataset", "things", "--scorer", SCORER)
    run = json.loads(one.cli("optimize", "start", *wish, "--detach", "--json"))["id"]

    def told(server: Running) -> Any:
        return server.api("GET", f"/optimizations/{run}")[1]

    eventually(lambda: told(one)["spent"].get("calls", 0) >= 5, within=40)
    other.start()
    before = told(other)
    assert before["run"]["state"] == "running", "it is in the middle of it"
    one.stop(signal.SIGKILL)
    ended = eventually(lambda: found if (found := told(other))["run"]["state"] in ENDED else None, within=60)
    assert ended["run"]["state"] == "nothing-to-gain", ended["run"]["why"]
    assert 5 <= before["spent"]["calls"] < 210
    assert ended["spent"]["calls"] == 210  # each question of the probe once, whoever asked it
    leaves = other.api("GET", "/audit/leaves?limit=500")[1]["items"]
    mine = [one["leaf"]["action"] for one in leaves if one["leaf"]["resource"] == f"optimization:{run}"]
    assert mine == ["optimizations:nothing-to-gain", "optimizations:start"]
    assert "Traceback" not in other.log.read_text()
