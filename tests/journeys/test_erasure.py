"""An erasure on a real server that is killed in the middle: it goes on, and its receipt tells the whole."""

import json
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from harness import Running, eventually

TOKEN = "canary-58e20b"
ADA = f"ada-{TOKEN}"
QUESTIONS = 400


def kept(gateway: Running, erasure: str) -> tuple[dict[str, Any], str]:
    """An erasure as it stands in the file, whatever the server is doing: its body, and who holds it."""
    with sqlite3.connect(f"file:{gateway.data / 'control.db'}?mode=ro", uri=True, timeout=10) as connection:
        body = connection.execute("SELECT body FROM erasure WHERE id = ?", (erasure,)).fetchone()
        owner = connection.execute(
            "SELECT owner FROM retention_lease WHERE name = ?", (f"erasure:{erasure}",)
        ).fetchone()
    return json.loads(body[0]), owner[0] if owner else ""


def found(directory: Path, word: str) -> list[str]:
    return [path.name for path in directory.rglob("*") if path.is_file() and word.encode() in path.read_bytes()]


def ask(gateway: Running, text: str, **headers: str) -> dict[str, str]:
    body = {"model": "inside", "messages": [{"role": "user", "content": text}]}
    status, told, _ = gateway.send("POST", "/v1/chat/completions", body, headers)
    assert status == 200
    return told


def keep_texts(gateway: Running) -> str:
    _, page = gateway.api("GET", "/projects")
    project = page[0]["id"]
    assert gateway.api("PATCH", f"/projects/{project}", {"store_text": True})[0] == 200
    return project


def test_killed_in_the_middle_it_goes_on_after_the_restart(new_gateway: Callable[..., Running]) -> None:
    gateway = new_gateway()
    project = keep_texts(gateway)
    hers = {"ostinato-user": ADA, "ostinato-session": f"s-{TOKEN}"}
    for number in range(QUESTIONS):
        last = ask(gateway, f"{TOKEN} {number}", **hers)
    gateway.row(last["x-request-id"])
    examples = [
        {"inputs": {"q": f"{TOKEN} asks {n}"}, "reference": "yes", "metadata": {"subject": ADA}} for n in range(200)
    ]
    assert gateway.api("POST", "/datasets", {"name": "mine", "examples": examples})[0] == 201

    status, begun = gateway.api("POST", "/retention/erasures", {"user": ADA, "project": project, "reference": "T-1"})
    assert status in (200, 201, 202), begun
    erasure = begun["erasure"]["id"]
    until = time.monotonic() + 20
    while not kept(gateway, erasure)[0]["stores"] and time.monotonic() < until:
        pass
    gateway.stop(signal.SIGKILL)
    body, owner = kept(gateway, erasure)
    assert body["state"] == "running" and body["attempts"] == 1 and owner, "in the middle of it"
    counted = {one["store"]: one["found"] for one in body["stores"]}
    assert counted["ledger"] == QUESTIONS and counted["datasets"] == 200
    assert found(gateway.data, TOKEN)

    gateway.start()
    shown = eventually(lambda: _ended(gateway, erasure), within=30.0)
    assert shown["state"] == "done" and shown["attempts"] == 2
    assert {one["store"]: one["found"] for one in shown["stores"]} == counted, "what was found before stays told"
    assert not any(one["left"] or one["held"] for one in shown["stores"])
    told = gateway.cli("retention", "receipt", erasure, "--verify", "--opening", begun["opening"], "--user", ADA)
    assert "holds" in told
    receipt = gateway.api("GET", f"/retention/erasures/{erasure}/receipt")[1]
    leaf = json.loads(receipt["leaf"])
    assert leaf["facts"]["found.ledger"] == QUESTIONS and leaf["facts"]["receipt"] == receipt["digest"]
    leaves = gateway.api("GET", "/audit/leaves?limit=500")[1]["items"]
    ours = [one for one in leaves if erasure in msgspec.json.encode(one).decode()]
    assert len(ours) == 2, "one leaf that it was intended, one that it is done, whatever came between"
    gateway.stop()
    assert found(gateway.directory, TOKEN) == []


def _ended(gateway: Running, erasure: str) -> dict[str, Any] | None:
    status, shown = gateway.api("GET", f"/retention/erasures/{erasure}")
    assert status == 200
    return shown if shown["state"] != "running" else None
