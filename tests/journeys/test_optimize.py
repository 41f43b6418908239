"""An optimization run on the running server, over the command line; the server is killed in the middle of it."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from harness import Running, eventually

ENDED = ("proposed", "refused", "nothing-to-gain", "failed", "paused")
SCORER = '{"kind": "label", "config": {"labels": ["red", "green"]}}'


def test_a_run_goes_on_where_it_was_when_the_server_is_killed(
    new_gateway: Callable[..., Running], tmp_path: Path
) -> None:
    gateway = new_gateway("[optimization]\nconcurrency = 2\n")
    lines = [{"inputs": {"thing": f"thing {n}"}, "reference": ("red", "green")[n % 2]} for n in range(240)]
    file = tmp_path / "things.jsonl"
    file.write_text("\n".join(json.dumps(line) for line in lines))
    gateway.cli("prompts", "create", "paint", "--kind", "text", "--text", "Colour of {{thing}}?", "--model", "slowly")
    model = {"targets": ["openai/fake-latency=20ms"]}
    assert gateway.api("PUT", "/models/slowly", model)[0] < 300
    gateway.cli("labels", "declare", "live")
    gateway.cli("prompts", "label", "paint", "live", "1")
    gateway.cli("datasets", "create", "things", str(file))
    wish = ("paint@live", "--dataset", "things", "--scorer", SCORER)

    plan = json.loads(gateway.cli("optimize", "plan", *wish, "--json"))
    assert not [one for one in plan["notices"] if one["level"] == "error"], plan["notices"]
    assert plan["unpriced"] == ["openai/fake-latency=20ms"] and plan["nano"] is None
    run = json.loads(gateway.cli("optimize", "start", *wish, "--detach", "--json"))["id"]

    def told() -> Any:
        return gateway.api("GET", f"/optimizations/{run}")[1]

    eventually(lambda: told()["spent"].get("calls", 0) >= 40, within=40)
    gateway.stop(signal.SIGKILL)
    gateway.start()
    ended = eventually(lambda: told() if told()["run"]["state"] in ENDED else None, within=60)
    assert ended["run"]["state"] == "nothing-to-gain", ended["run"]["why"]
    # The probe is 210 calls; at most those under way at the kill were paid for and not written down.
    assert ended["spent"]["calls"] == 210
    assert "nothing-to-gain" in gateway.cli("optimize", "show", run)
    out = tmp_path / "report.html"
    gateway.cli("optimize", "report", run, "--out", str(out))
    assert "found nothing to gain here" in out.read_text()
    reply = httpx.get(
        f"{gateway.url}/api/v1/optimizations/{run}/report", headers={"authorization": f"Bearer {gateway.key}"}
    )
    assert reply.headers["content-type"].startswith("text/html")
    assert reply.headers["content-security-policy"].startswith("default-src 'none'")
    leaves = gateway.api("GET", "/audit/leaves?limit=500")[1]["items"]
    mine = [one["leaf"] for one in leaves if one["leaf"]["resource"] == f"optimization:{run}"]
    assert [one["action"] for one in mine] == ["optimizations:nothing-to-gain", "optimizations:start"], "newest first"
    assert mine[0]["facts"]["findings"] == ended["run"]["digest"]

    again = repeated_by_a_case(gateway)
    assert again["id"] != run and again["wish"]["scorers"] == ended["run"]["wish"]["scorers"]
    eventually(lambda: told_of(gateway, again["id"])["spent"].get("calls", 0) > 0, within=40)
    assert told_of(gateway, again["id"])["run"]["dataset_version"] == ended["run"]["dataset_version"]


def told_of(gateway: Running, run: str) -> Any:
    return gateway.api("GET", f"/optimizations/{run}")[1]


def repeated_by_a_case(gateway: Running) -> Any:
    """The run that a case's action has begun: what was last wished for the prompt, once more."""
    case = gateway.api("POST", "/cases", {"title": "The colours have changed.", "kind": "mix", "prompt": "paint"})[1]
    wish = {"action": "start-optimization", "reason": "What is asked has changed."}
    proposed = gateway.api("POST", f"/cases/{case['id']}/propose", wish)[1]
    status, done = gateway.api("POST", f"/cases/{case['id']}/approve?version={proposed['version']}", {})
    assert status == 200 and done["state"] == "executed", gateway.api("GET", f"/cases/{case['id']}")[1]["actions"]
    (action,) = gateway.api("GET", f"/cases/{case['id']}")[1]["actions"]
    assert action["facts"]["already"] is False
    return told_of(gateway, action["facts"]["run"])["run"]
