"""The first hours with a server: ask, ask again, look at what it cost, withdraw, revoke, restart."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from harness import Running


def test_a_repeated_question_is_answered_from_cache(gateway: Running) -> None:
    before = gateway.upstream.count()
    status, first, asked = gateway.chat("What is your refund policy?")
    assert status == 200
    assert first["ostinato-cache"] == "miss"
    assert float(first["ostinato-cost"]) > 0
    for _ in range(3):
        status, again, repeated = gateway.chat("What is your refund policy?")
        assert status == 200
        assert again["ostinato-cache"] == "hit-exact"
        assert again["ostinato-cost"] == "0"
        assert float(again["ostinato-saved"]) == float(first["ostinato-cost"])
        assert again["ostinato-entry"] == first["ostinato-entry"]
        assert repeated["id"] != asked["id"]
        assert {**repeated, "id": "", "created": 0} == {**asked, "id": "", "created": 0}
    assert gateway.upstream.count() == before + 1


def test_every_request_leaves_a_row(gateway: Running) -> None:
    _, miss, _ = gateway.chat("How do I close my account?", headers={"x-request-id": "mine-1"})
    _, hit, _ = gateway.chat("How do I close my account?")
    assert miss["x-request-id"] == "mine-1"
    deadline = time.monotonic() + 5
    while True:
        status, rows = gateway.api("GET", f"/traces/{hit['x-request-id']}")
        if status == 200 or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert status == 200, rows
    assert rows[0]["cache"] == "hit-exact"
    assert rows[0]["target"] == "openai/plain"
    _, origin = gateway.api("GET", "/traces/mine-1")
    assert origin[0]["request_id"] == rows[0]["origin"]
    assert origin[0]["cost"] == rows[0]["saved"] > 0
    told = json.loads(gateway.cli("stats", "--json"))
    assert told["hits"] >= 1
    assert told["pricing_coverage"] == 1.0
    assert told["rows_dropped"] == told["rows_lost"] == 0


def test_an_entry_is_counted_then_withdrawn(gateway: Running) -> None:
    tagged = {"ostinato-tags": "cards"}
    gateway.chat("Which cards do you take?", headers=tagged)
    status, report = gateway.api("POST", "/cache/invalidations", {"tag": "cards"})
    assert (status, report["total"], report["dry_run"]) == (200, 1, True)
    assert gateway.chat("Which cards do you take?", headers=tagged)[1]["ostinato-cache"] == "hit-exact"
    assert "1 entry withdrawn" in gateway.cli("cache", "invalidate", "--tag", "cards", "--yes")
    assert gateway.chat("Which cards do you take?", headers=tagged)[1]["ostinato-cache"] == "miss"


def test_a_revoked_key_stops(gateway: Running) -> None:
    secret = gateway.new_key("leaver")
    body = {"model": "plain", "messages": [{"role": "user", "content": "once more"}]}
    assert gateway.send("POST", "/v1/chat/completions", body, key=secret)[0] == 200
    assert gateway.send("POST", "/v1/chat/completions", body, key=secret)[1]["ostinato-cache"] == "hit-exact"
    gateway.cli("keys", "revoke", secret[:12])
    status, _, told = gateway.send("POST", "/v1/chat/completions", body, key=secret)
    assert status == 401
    assert json.loads(told)["error"]["code"]


def test_the_key_in_use_is_not_revoked_by_a_slip(gateway: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    made = json.loads(gateway.cli("keys", "create", "second hand", "--role", "owner", "--json"))
    monkeypatch.setitem(gateway.environment, "OSTINATO_KEY", made["secret"])
    for ref in (made["key"]["prefix"], made["key"]["id"]):
        assert "--yes" in gateway.cli("keys", "revoke", ref, check=False)
    assert "Revoked" in gateway.cli("keys", "revoke", made["key"]["prefix"], "--yes")


def test_a_slip_in_a_new_key_is_told(gateway: Running) -> None:
    assert "x>=1" in gateway.cli("keys", "create", "none", "--rate", "0", check=False)
    environment, directory = gateway.environment, gateway.directory
    command = [sys.executable, "-m", "ostinato.cli", "keys", "create", "new", "--model", "plain", "--model", "gpt-9"]
    made = subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True, check=True)
    assert "'gpt-9'" in made.stderr and "'plain'" not in made.stderr


def test_a_restart_is_warm_and_loses_nothing(new_gateway: Callable[..., Running]) -> None:
    gateway = new_gateway()
    _, first, _ = gateway.chat("Is it open on Sunday?")
    assert gateway.stop() == 0
    gateway.start()
    _, again, _ = gateway.chat("Is it open on Sunday?")
    assert again["ostinato-cache"] == "hit-exact"
    assert again["ostinato-entry"] == first["ostinato-entry"]
    assert json.loads(gateway.cli("stats", "--json"))["requests"] == 2  # and so their rows are written
    gateway.stop(signal.SIGKILL)
    gateway.start()
    assert gateway.chat("Is it open on Sunday?")[1]["ostinato-cache"] == "hit-exact"
    told = json.loads(gateway.cli("stats", "--json"))
    assert told["requests"] == 3
    assert told["hits"] == 2
    assert told["rows_lost"] == 0


def test_two_projects_share_nothing(gateway: Running) -> None:
    assert gateway.api("POST", "/projects", {"key": "elsewhere", "name": "Elsewhere"})[0] == 201
    secret = gateway.new_key("stranger", project="elsewhere")
    body = {"model": "plain", "messages": [{"role": "user", "content": "a shared question"}]}
    assert gateway.send("POST", "/v1/chat/completions", body)[1]["ostinato-cache"] == "miss"
    assert gateway.send("POST", "/v1/chat/completions", body, key=secret)[1]["ostinato-cache"] == "miss"
    assert gateway.send("POST", "/v1/chat/completions", body, key=secret)[1]["ostinato-cache"] == "hit-exact"
