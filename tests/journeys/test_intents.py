"""Intents and explanations on a running server, by the command line and the API of OpenAI."""

import json
from typing import Any

import pytest
from click.testing import CliRunner
from harness import Running, eventually

from ostinato.cli.main import cli
from ostinato.core.errors import OstinatoError


class Person:
    """Somebody at a shell, with a key of their own."""

    def __init__(self, gateway: Running, key: str) -> None:
        self.environment = {"OSTINATO_URL": gateway.url, "OSTINATO_KEY": key, "COLUMNS": "200"}

    def run(self, *arguments: str) -> str:
        result = CliRunner().invoke(cli, list(arguments), env=self.environment)
        assert result.exit_code == 0, (arguments, result.output, result.exception)
        return result.output

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def refused(self, *arguments: str) -> OstinatoError:
        result = CliRunner().invoke(cli, list(arguments), env=self.environment)
        assert isinstance(result.exception, OstinatoError), (arguments, result.output, result.exception)
        return result.exception


@pytest.fixture(scope="module")
def owner(gateway: Running) -> Person:
    return Person(gateway, gateway.key)


@pytest.fixture(scope="module")
def approver(gateway: Running, owner: Person) -> Person:
    owner.run("principals", "create", "journey-bo", "--name", "Bo")
    owner.run("roles", "bind", "journey-bo", "approver")
    made = owner.json("keys", "create", "bo", "--principal", "journey-bo", "--role", "approver")
    return Person(gateway, made["secret"])


def test_an_intent_of_low_stakes_from_declaration_to_explanation(gateway: Running, owner: Person) -> None:
    body = {"title": "Chatter", "owner": "care", "stakes": "low", "cache": {"ttl": 60}}
    owner.run("intents", "set", "chatter", json.dumps(body))
    assert "chatter" in owner.run("intents", "list", "--stakes", "low")
    shown = owner.run("intents", "show", "chatter")
    assert "declared" in shown and "stakes: low" in shown and "cache policy" in shown
    ask = {"model": "plain", "messages": [{"role": "user", "content": "intents: hello"}]}
    assert gateway.send("POST", "/v1/chat/completions", ask)[1]["ostinato-cache"] == "miss"
    seen: list[str] = []
    for expected in ("miss", "hit-exact"):
        status, headers, _ = gateway.send("POST", "/v1/chat/completions", ask, headers={"ostinato-intent": "chatter"})
        assert status == 200
        assert headers["ostinato-cache"] == expected, "an intent has entries of its own"
        seen.append(headers["x-request-id"])
    status, _, body = gateway.send("POST", "/v1/chat/completions", ask, headers={"ostinato-intent": "nothing"})
    assert status == 404
    assert "chatter" in json.dumps(json.loads(body))
    rows = eventually(lambda: [row for row in _tail(owner, "chatter") if row["request_id"] in seen])
    assert {row["intent"] for row in rows} == {"chatter"}
    miss, hit = (owner.json("explain", name) for name in seen)
    assert miss["intent"]["key"] == hit["intent"]["key"] == "chatter"
    assert miss["cache"]["result"] == "miss"
    assert hit["cache"]["origin"]["request_id"] == seen[0]
    told = owner.run("explain", seen[1])
    for line in ("Chatter", "hit-exact", seen[0], "absent: the caller sent messages of its own"):
        assert line in told
    owner.run("prompts", "create", "small/talk", "--user", "{{said}}", "--intent", "chatter")
    held = owner.refused("intents", "remove", "chatter")
    assert held.code == "intent_in_use" and "small/talk" in held.message
    assert owner.refused("intents", "set", "chatter", '{"key": "gossip"}').code == "intent_in_use"
    owner.run("prompts", "archive", "small/talk")
    owner.run("intents", "remove", "chatter")
    assert "no longer declared" in owner.json("explain", seen[0])["absent"]["intent"]


def _tail(person: Person, intent: str) -> list[Any]:
    told = person.run("traces", "tail", "--intent", intent, "--json")
    return [json.loads(line) for line in told.splitlines()]


def test_high_stakes_take_two_people(owner: Person, approver: Person) -> None:
    body = '{"project": "default", "owner": "care", "stakes": "high"}'
    waits = owner.json("intents", "set", "payout", body)
    assert (waits["needed"], waits["state"]) == (1, "open")
    assert owner.refused("intents", "show", "payout").code == "declaration_unknown"
    assert owner.refused("intents", "set", "payout", body).code == "change_pending"
    digest = approver.json("intents", "waiting", "payout")["digest"]
    assert owner.refused("intents", "approve", "payout", "--digest", digest).code == "self_approval"
    assert approver.refused("intents", "approve", "payout", "--digest", "0" * 64).code == "approval_stale"
    assert "stands" in approver.run("intents", "approve", "payout", "--digest", digest, "--comment", "as agreed")
    shown = owner.json("intents", "show", "payout")
    assert shown["requirements"]["approvals"] == 2
    assert {rule["rule"]: rule["origin"] for rule in shown["rules"]}["cache.stale_if_error"] == "stakes: high"
    lowered = owner.json("intents", "set", "payout", body.replace("high", "low"))
    assert "rejected" in approver.run("intents", "reject", "payout", "--digest", lowered["digest"])
    assert owner.json("intents", "show", "payout")["stakes"] == "high"
    assert approver.refused("intents", "set", "payout", body).code == "permission_denied"
