"""S9, I5: seeded canaries. What is redacted is never written; what is somebody's is nowhere once they are erased."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from harness import Running, eventually

SECRETS = {
    "key": "AKIAIOSFODNN7EXAMPLE",
    "card": "4111 1111 1111 1111",
    "mail": "ada.canary@example.org",
}
"""What the built-in rules know."""
TOKEN = "canary-9d41f7"
"""What no rule knows: a person's, by their name."""
ADA = f"ada-{TOKEN}"

RULES = """
[rules.secrets]
kind = "secrets"
action = "redact"
[rules.pii]
kind = "pii"
action = "redact"
[policies.all]
checks = ["secrets", "pii"]
"""


def found(directory: Path, *words: str) -> list[str]:
    """(File, word) of everything beneath a directory."""
    hits: list[str] = []
    for path in sorted(directory.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            hits += [f"{path.name}: {word}" for word in words if word.encode() in data]
    return hits


def ask(gateway: Running, text: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    body = {"model": "plain", "messages": [{"role": "user", "content": text}]}
    return gateway.send("POST", "/v1/chat/completions", body, headers)


def test_no_canary_is_found_anywhere(new_gateway: Callable[..., Running]) -> None:
    gateway = new_gateway(RULES)
    _, projects = gateway.api("GET", "/projects")
    project = (projects if isinstance(projects, list) else projects["items"])[0]["id"]
    assert gateway.api("PATCH", f"/projects/{project}", {"store_text": True})[0] == 200
    said = " and ".join(SECRETS.values())
    ids: list[str] = []
    errors: list[bytes] = []
    for number in range(3):
        status, headers, _ = ask(
            gateway,
            f"{TOKEN} {number}: {said}",
            **{"ostinato-user": ADA, "ostinato-session": f"s-{TOKEN}", "ostinato-tags": f"t-{TOKEN}"},
        )
        assert status == 200
        ids.append(headers["x-request-id"])
    ask(gateway, f"{TOKEN} 1: {said}", **{"ostinato-user": ADA, "ostinato-session": f"s-{TOKEN}"})
    feedback = {"request_id": ids[0], "value": 1, "comment": f"{TOKEN} says {said}", "label": f"l-{TOKEN}"}
    eventually(lambda: gateway.send("POST", "/v1/feedback", feedback)[0] == 202)
    # Errors: of the caller's, of a model's, of the control plane's.
    errors.append(
        gateway.send(
            "POST",
            "/v1/chat/completions",
            {"model": "openai-500", "messages": [{"role": "user", "content": f"{TOKEN} {said}"}]},
            {"ostinato-user": ADA},
        )[2]
    )
    errors.append(gateway.send("POST", "/v1/feedback", {"request_id": "none", "comment": said})[2])
    errors.append(gateway.send("POST", "/api/v1/retention/erasures", {"user": ADA * 60, "project": project})[2])
    examples = [
        {"inputs": {"q": f"{TOKEN} asks {n}"}, "reference": "yes", "metadata": {"subject": ADA}} for n in range(5)
    ]
    made = gateway.api("POST", "/datasets", {"name": "mine", "examples": examples})
    assert made[0] == 201, made

    # Before any erasure: what the rules know was redacted before it was written.
    eventually(lambda: found(gateway.data, TOKEN))
    leaks = [one for one in found(gateway.directory, SECRETS["key"], SECRETS["card"]) if "ostinato.toml" not in one]
    assert leaks == []

    begun = json.loads(
        gateway.cli(
            "retention",
            "erase",
            "--user",
            ADA,
            "--project",
            project,
            "--reference",
            "T-9",
            "--reason",
            f"{TOKEN} wrote",
            "--json",
        )
    )
    erasure = begun["erasure"]["id"]
    shown = eventually(lambda: _ended(gateway, erasure), within=30.0)
    assert shown["state"] == "done" and all(one["left"] == 0 for one in shown["stores"])
    assert {one["store"]: one["found"] for one in shown["stores"]}["datasets"] == 5
    told = gateway.cli("retention", "receipt", erasure, "--verify", "--opening", begun["opening"], "--user", ADA)
    assert "holds" in told
    refused = gateway.cli(
        "retention", "receipt", erasure, "--verify", "--opening", begun["opening"], "--user", "bob", check=False
    )
    assert "somebody else" in refused

    metrics = gateway.send("GET", "/metrics")[2]
    bundle = gateway.send("POST", "/api/v1/audit/bundles", {})[2]
    for where, data in {
        "metrics": metrics,
        "bundle": bundle,
        **{f"error {n}": one for n, one in enumerate(errors)},
    }.items():
        assert not re.search("|".join(map(re.escape, (TOKEN, *SECRETS.values()))).encode(), data), where
    gateway.stop()
    # Every file: databases with their logs, the cache, journals, the server's own log.
    assert found(gateway.directory, TOKEN, *SECRETS.values()) == []


def _ended(gateway: Running, erasure: str) -> dict[str, object] | None:
    status, shown = gateway.api("GET", f"/retention/erasures/{erasure}")
    assert status == 200
    return shown if shown["state"] != "running" else None
