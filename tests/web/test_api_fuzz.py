"""S1: every operation of the control plane fuzzed by its own OpenAPI document, on a running server.

No server error, no answer that the document does not tell of, no request let through without a key. A reduced count
runs always; the whole one with ``-m soak``.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "journeys"))

from harness import Running, Upstream

HERE = Path(__file__).parent
# A valid request may be refused for what it means (a name that is taken, a model that is not there): that is no fault.
LEFT_OUT = "positive_data_acceptance"
KEYS = 40
KINDS = ("models", "policies", "rules", "intents", "labels")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    upstream = Upstream()
    running = Running(tmp_path_factory.mktemp("fuzz"), upstream)
    yield running
    running.stop()
    upstream.stop()


def names(server: Running) -> dict[str, Any]:
    """Something of every kind, so that half of the paths lead somewhere."""
    own = server.api("GET", "/whoami")[1]
    made = [server.api("POST", "/keys", {"name": f"key {number}"})[1]["key"]["id"] for number in range(KEYS)]
    for number in range(4):
        for kind, body in (
            ("models", {"targets": ["fake/plain"]}),
            ("prices", {"input": 1.0, "output": 1.0}),
            ("policies", {"ttl": 60.0, "alias": f"made-{number}"}),
            ("rules", {"kind": "pii", "action": "redact"}),
            ("intents", {}),
        ):
            name = f"fake/made-{number}" if kind == "prices" else f"made-{number}"
            assert server.api("PUT", f"/{kind}/{name}", body)[0] in (200, 201, 202), kind
    draft = {"messages": [{"role": "user", "template": "{{question}}"}]}
    releases: list[str] = []
    for number in range(4):
        named = f"made-{number}"
        assert server.api("POST", "/prompts", {"name": named, "version": draft})[0] == 201
        other = {**draft, "params": {"temperature": 0.5}}
        assert server.api("POST", f"/prompts/{named}/versions", other)[0] == 201
        assert server.api("PUT", f"/labels/{named}", {})[0] == 200
        assert server.api("PUT", f"/prompts/{named}/labels/{named}", {"version": 1})[0] == 200
        wish = {"prompt": named, "number": 2, "label": named, "reason": "It is better."}
        releases.append(server.api("POST", "/releases", wish)[1]["id"])
    people = [server.api("POST", "/principals", {"key": f"p{n}", "name": "P"})[1]["id"] for n in range(4)]
    bindings = [server.api("POST", "/bindings", {"principal": one, "role": "service"})[1]["id"] for one in people]
    projects = [server.api("POST", "/projects", {"key": f"p{n}", "name": "p"})[1]["id"] for n in range(3)]
    server.send("POST", "/v1/chat/completions", {"model": "plain", "messages": [{"role": "user", "content": "hi"}]})
    rows = server.api("GET", "/traces")[1]["items"]
    return {
        "own": [own["key_id"], own["prefix"]],
        "names": {
            "keys ref": made,
            "projects ref": [*projects, "p0"],
            "traces request_id": [row["request_id"] for row in rows] or ["none"],
            **{f"{kind} name": [f"made-{n}" for n in range(4)] for kind in KINDS},
            "prompts number": ["1", "2"],
            "prompts label": ["made-0", "made-1"],
            "releases ref": releases,
            "approvals ref": [one["id"] for one in server.api("GET", "/approvals")[1]["items"]],
            "principals ref": people,
            "bindings ref": bindings,
            "audit index": ["0", "1", "17"],
            "prompts ref": [f"made-{n}" for n in range(4)],
            "prices name": [f"fake/made-{n}" for n in range(4)],
        },
    }


def fuzz(server: Running, tmp_path: Path, *options: str, seconds: float) -> dict[str, Any]:
    """Run it; gives its report."""
    told, report = tmp_path / "told.json", tmp_path / "report.json"
    told.write_text(json.dumps(names(server)))
    before = server.api("GET", "/whoami")[1]
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/api/v1/schema/openapi.json"),
            *("-H", f"Authorization: Bearer {server.key}", "--no-color", "--checks", "all"),
            *("--exclude-checks", LEFT_OUT, "--warnings", "off", "--suppress-health-check", "all"),
            *("--generation-database", "none", "--report", "json", "--report-json-path", str(report)),
            *("--continue-on-failure", "--no-shrink", *options),
        ],
        capture_output=True,
        text=True,
        timeout=seconds,
        cwd=tmp_path,
        check=False,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "fuzz_hooks.py"), "OSTINATO_FUZZ": str(told)},
    )
    output = done.stdout + done.stderr
    assert report.exists(), output[-4000:]
    found = json.loads(report.read_text())
    assert done.returncode == 0 and not found["failures"] and not found["errors"], output[-12_000:]
    assert found["operations"]["tested"] == found["operations"]["total"]
    # The key that asked has lived all the time with all of its rights: what was tried was not refused for want of one.
    after = server.api("GET", "/whoami")[1]
    assert after["permissions"] == before["permissions"]
    log = server.log.read_text()
    assert "Traceback" not in log and "failed" not in log, log[-4000:]
    return found


def test_the_document_is_kept_to(server: Running, tmp_path: Path) -> None:
    found = fuzz(server, tmp_path, "--phases", "coverage,fuzzing", "-n", "2", "--seed", "1", seconds=120)
    assert found["test_cases"]["generated"] > 1_000


@pytest.mark.soak
def test_the_document_is_kept_to_on_postgresql(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, postgres_url: str
) -> None:
    upstream = Upstream()
    where = f'[storage]\nurl = "{postgres_url}"\ndirectory = "{tmp_path / "data"}"\n'
    running = Running(tmp_path_factory.mktemp("fuzz"), upstream, where)
    try:
        found = fuzz(running, tmp_path, "--phases", "coverage,fuzzing", "-n", "20", seconds=1_200)
        assert found["test_cases"]["generated"] > 4_000
    finally:
        running.stop()
        upstream.stop()


@pytest.mark.soak
def test_the_document_is_kept_to_in_a_hundred_thousand_cases(server: Running, tmp_path: Path) -> None:
    most = os.environ.get("FUZZ_EXAMPLES", "2500")
    found = fuzz(server, tmp_path, "--phases", "coverage,fuzzing,stateful", "-n", most, seconds=7_200)
    assert found["test_cases"]["generated"] >= 40 * int(most), found["test_cases"]
    print(found["test_cases"], found["phases"], f"{found['running_time']:.0f} s")
