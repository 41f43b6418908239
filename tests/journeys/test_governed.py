"""From a prompt to an answer that can be explained and proven: released by two people, asked through an SDK."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
from harness import Running


def test_an_answer_leads_to_its_release_and_to_a_proof_that_needs_no_server(gateway: Running, tmp_path: Path) -> None:
    draft = {
        "messages": [{"role": "system", "template": "Name the intent."}, {"role": "user", "template": "{{question}}"}],
        "params": {"model": "plain", "temperature": 0},
    }
    gateway.api("PUT", "/intents/naming", {"title": "Naming", "owner": "care", "stakes": "low"})
    made = {"name": "governed/intent", "kind": "chat", "intent": "naming", "version": draft}
    assert gateway.api("POST", "/prompts", made)[0] == 201
    gateway.api("POST", "/principals", {"key": "governed-ann", "name": "Ann"})
    gateway.api("POST", "/bindings", {"principal": "governed-ann", "role": "approver"})
    ann = gateway.api("POST", "/keys", {"name": "ann", "principal": "governed-ann", "role": "approver"})[1]["secret"]
    wish = {"prompt": "governed/intent", "number": 1, "reason": "the first one"}
    release = gateway.api("POST", "/releases", wish)[1]
    status, told = gateway.api("POST", f"/releases/{release['id']}/start")
    assert status == 409, (told, "nobody has approved it")
    word = {"digest": release["digest"], "comment": "read it"}
    assert gateway.api("POST", f"/releases/{release['id']}/approve", word)[0] == 403
    status, told = gateway.api("POST", f"/releases/{release['id']}/approve", word, key=ann)
    assert status == 200, told
    assert gateway.api("POST", f"/releases/{release['id']}/start")[0] == 200

    client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key)
    asked: dict[str, Any] = {
        "model": "prompt:governed/intent",
        "messages": [],
        "extra_body": {"prompt": {"variables": {"question": "Where is my card?"}}},
    }
    first, again = (client.chat.completions.with_raw_response.create(**asked) for _ in range(2))
    assert again.headers["ostinato-cache"] == "hit-exact"
    assert again.parse().choices[0].message.content == first.parse().choices[0].message.content
    assert again.headers["ostinato-prompt"] == f"governed/intent; version=1; release={release['id']}"
    assert again.headers["ostinato-intent"] == "naming"

    explained = json.loads(gateway.cli("explain", again.headers["x-request-id"], "--json"))
    assert explained["prompt"]["name"] == "governed/intent" and explained["prompt"]["number"] == 1
    assert explained["intent"]["key"] == "naming"
    assert explained["cache"]["origin"]["request_id"] == first.headers["x-request-id"]
    approvals = [one for one in explained["release"]["approvals"] if one["decision"] == "approve"]
    assert len(approvals) == 1 and approvals[0]["bound"], explained["release"]
    assert explained["audit"]

    bundle = tmp_path / "audit.jsonl"
    gateway.cli("audit", "export", str(bundle))
    assert "chain valid" in verified(bundle, 0).lower()
    lines = bundle.read_bytes().split(b"\n")
    where = next(number for number, line in enumerate(lines) if b"releases:approve" in line)
    lines[where] = lines[where].replace(b"releases:approve", b"releases:withdra")
    bundle.write_bytes(b"\n".join(lines))
    assert "chain valid" not in verified(bundle, 1).lower()


def verified(bundle: Path, code: int) -> str:
    """What the verifier alone says of a bundle."""
    ran = subprocess.run(
        [sys.executable, "-m", "ostinato.verify", str(bundle)], capture_output=True, text=True, check=False
    )
    assert (ran.returncode != 0) == bool(code), ran.stdout + ran.stderr
    return ran.stdout + ran.stderr
