"""Every command of the CLI against a running server, and what somebody would read."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from harness import Running, eventually

from ostinato.cli.main import cli
from ostinato.core.errors import OstinatoError


class Shell:
    """Runs commands in this process, as the given key."""

    def __init__(self, gateway: Running) -> None:
        self.gateway = gateway
        self.environment = {"OSTINATO_URL": gateway.url, "OSTINATO_KEY": gateway.key, "COLUMNS": "200"}

    def run(self, *arguments: str, ok: bool = True) -> str:
        result: Result = CliRunner().invoke(cli, list(arguments), env=self.environment)
        if ok:
            assert result.exit_code == 0, (arguments, result.output, result.exception)
            return result.output
        assert result.exit_code != 0
        error = result.exception
        return error.sentence if isinstance(error, OstinatoError) else result.output

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))


@pytest.fixture(scope="module")
def shell(gateway: Running) -> Shell:
    return Shell(gateway)


def test_keys_from_first_to_last(shell: Shell, gateway: Running) -> None:
    made = shell.json("keys", "create", "cli app", "--model", "plain", "--rate", "100", "--budget", "5", "--days", "1")
    secret, prefix = made["secret"], made["key"]["prefix"]
    assert made["key"]["allowed_models"] == ["plain"]
    assert made["key"]["budget"] == {"nano": 5_000_000_000, "period": "month"}
    ask = {"model": "plain", "messages": [{"role": "user", "content": "cli: hello"}]}
    assert gateway.send("POST", "/v1/chat/completions", ask, key=secret)[0] == 200
    listed = shell.run("keys", "list")
    assert "cli app" in listed and prefix in listed
    assert secret not in listed
    assert shell.json("keys", "show", prefix)["name"] == "cli app"
    assert eventually(lambda: shell.json("keys", "budget", prefix)["spent"] > 0)
    rotated = shell.json("keys", "rotate", prefix)
    assert rotated["secret"] != secret
    assert gateway.send("POST", "/v1/chat/completions", ask, key=secret)[0] == 401
    assert gateway.send("POST", "/v1/chat/completions", ask, key=rotated["secret"])[0] == 200
    assert "Revoked" in shell.run("keys", "revoke", rotated["key"]["prefix"])
    assert gateway.send("POST", "/v1/chat/completions", ask, key=rotated["secret"])[0] == 401
    shell.run("keys", "revoke", "ost_nothing", ok=False)


def test_projects(shell: Shell) -> None:
    made = shell.json("projects", "create", "cli-project", "--name", "CLI", "--store-text", "--budget", "10")
    assert made["store_text"] is True
    assert "cli-project" in shell.run("projects", "list")
    assert shell.json("projects", "show", "cli-project")["id"] == made["id"]
    assert "cli-project" in shell.run("projects", "create", "cli-project", ok=False)
    assert "no project" in shell.run("projects", "show", "nowhere", ok=False).lower()


def test_targets_and_declarations(shell: Shell, gateway: Running) -> None:
    assert "openai/plain" in shell.run("targets", "list")
    states = shell.json("targets", "list")["states"]
    assert {"openai/plain", "anthropic/plain"} <= {state["target"] for state in states}
    shell.run("models", "set", "cli-model", '{"targets": ["openai/plain"]}')
    status, found, _ = gateway.chat("cli: another alias", model="cli-model")
    assert (status, found["ostinato-target"]) == (200, "openai/plain")
    assert "cli-model" in shell.run("models", "list")
    assert shell.json("models", "show", "cli-model")["body"]["targets"] == ["openai/plain"]
    shell.run("models", "set", "cli-model", '{"targets": ["anthropic/plain"]}')
    assert gateway.chat("cli: another alias", model="cli-model")[1]["ostinato-target"] == "anthropic/plain"
    assert len(shell.json("models", "show", "cli-model", "--history")) == 2
    assert "anthropic/plain" in shell.run("models", "show", "cli-model")
    assert "openai/plain" in shell.run("models", "show", "cli-model", "--history")
    assert "unknown provider" in shell.run("models", "set", "cli-model", '{"targets": ["nowhere/x"]}', ok=False)
    assert "read-only" in shell.run("models", "set", "plain", '{"targets": ["openai/plain"]}', ok=False)
    shell.run("models", "remove", "cli-model")
    assert gateway.chat("cli: another alias", model="cli-model")[0] == 404
    shell.run("rules", "set", "cli-rule", '{"kind": "pii", "action": "block"}')
    shell.run("policies", "set", "cli-policy", '{"alias": "inside", "checks": ["cli-rule"]}')
    assert gateway.chat("cli: my mail is ann@example.com", model="inside")[0] == 400
    assert "still needed" in shell.run("rules", "remove", "cli-rule", ok=False)
    shell.run("policies", "remove", "cli-policy")
    shell.run("rules", "remove", "cli-rule")
    assert gateway.chat("cli: my mail is ann@example.com", model="inside")[0] == 200
    shell.run("prices", "set", "openai/cli", '{"input": 2.5, "output": 10}')
    assert "openai/cli" in shell.run("prices", "list")
    shell.run("prices", "remove", "openai/cli")


def test_cache(shell: Shell, gateway: Running) -> None:
    for _ in range(2):
        gateway.chat("cli: cached", headers={"ostinato-tags": "cli"})
    _, found, _ = gateway.chat("cli: cached", headers={"ostinato-tags": "cli"})
    listed = shell.json("cache", "list", "--tag", "cli")
    assert [item["entry"] for item in listed["items"]] == [found["ostinato-entry"]]
    assert listed["items"][0]["meta"]["target"] == "openai/plain"
    assert found["ostinato-entry"] in shell.run("cache", "list", "--tag", "cli")
    assert shell.json("cache", "stats")["memory_entries"] > 0
    assert "1" in shell.run("cache", "invalidate", "--tag", "cli")
    assert gateway.chat("cli: cached", headers={"ostinato-tags": "cli"})[1]["ostinato-cache"] == "hit-exact"
    assert "withdrawn" in shell.run("cache", "invalidate", "--entry", found["ostinato-entry"], "--yes")
    assert gateway.chat("cli: cached", headers={"ostinato-tags": "cli"})[1]["ostinato-cache"] == "miss"
    assert shell.run("cache", "invalidate", "--yes", ok=False), "of nothing there is nothing to withdraw"


def test_traces_and_stats(shell: Shell, gateway: Running) -> None:
    _, miss, _ = gateway.chat("cli: traced", headers={"x-request-id": "cli-1"})
    _, hit, _ = gateway.chat("cli: traced")
    gateway.row(hit["x-request-id"])
    shown = shell.json("traces", "show", "cli-1")
    assert shown[0]["cache"] == "miss"
    assert shown[0]["cost"] > 0
    text = shell.run("traces", "show", hit["x-request-id"])
    assert "hit-exact" in text and "openai/plain" in text
    tail = shell.run("traces", "tail", "--limit", "5")
    assert "hit-exact" in tail
    assert len(tail.splitlines()) >= 2
    assert "no request" in shell.run("traces", "show", "nothing", ok=False).lower()
    told = shell.json("stats", "--since", "1h")
    assert told["requests"] >= 2
    assert told["hits"] >= 1
    assert told["saved"] > 0
    text = shell.run("stats")
    for word in ("hit", "p50", "saved", "%"):
        assert word in text.lower(), text
    assert miss["x-request-id"] == "cli-1"


def test_a_key_of_little_power_is_told_what_it_lacks(shell: Shell, gateway: Running) -> None:
    weak = Shell(gateway)
    weak.environment["OSTINATO_KEY"] = gateway.new_key("weak", role="service")
    for command, needed in (
        (["keys", "list"], "keys:read"),
        (["stats"], "stats:read"),
        (["cache", "invalidate", "--everything", "--yes"], "cache:write"),
        (["models", "set", "x", '{"targets": ["openai/plain"]}'], "targets:write"),
    ):
        assert needed in weak.run(*command, ok=False)


def test_an_invoice_that_nothing_of_the_ledger_answers_to_is_no_reconciliation(
    shell: Shell, gateway: Running, tmp_path: Path
) -> None:
    assert gateway.chat("cli: to be billed")[0] == 200
    bill = tmp_path / "bill.csv"
    bill.write_text(f"day,model,input,output\n{datetime.now(UTC):%Y-%m-%d},plain,1000,50\n")
    refused = shell.run("savings", "reconcile", str(bill), "--provider", "misnamed", ok=False)
    assert "no call to 'misnamed'" in refused
    named = shell.json("savings", "reconcile", str(bill), "--provider", "openai")
    assert named["calls"] > 0
    # A sum that nothing differs from, as the calls have no price, is a comparison all the same.
    assert "missing in" in shell.run("savings", "invoices", named["invoice"]["id"])
    [kept] = [one for one in shell.json("savings", "invoices") if one["provider"] == "misnamed"]
    assert "no call to 'misnamed'" in shell.run("savings", "invoices", kept["id"], ok=False)
