"""From answers to a dataset and back: feedback through the client, traffic, files, the command line."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from harness import Running

from ostinato import AsyncClient, Client
from ostinato.cli.main import cli
from ostinato.core.errors import Denied, Invalid, NotFound, OstinatoError


@pytest.fixture
def keeping(new_gateway: Any) -> Running:
    """A gateway whose first project keeps texts, with a prompt."""
    gateway: Running = new_gateway()
    project = gateway.api("GET", "/projects")[1][0]["id"]
    assert gateway.api("PATCH", f"/projects/{project}", {"store_text": True})[0] == 200
    assert gateway.api("PUT", "/labels/staging", {"description": "For tests"})[0] == 200
    version = {
        "messages": [{"role": "user", "template": "Which intent? {{question}}"}],
        "params": {"model": "plain", "temperature": 0.0},
    }
    assert gateway.api("POST", "/prompts", {"name": "bank/intent", "version": version})[0] == 201
    assert gateway.api("PUT", "/prompts/bank~intent/labels/staging", {"version": 1})[0] == 200
    return gateway


class Shell:
    def __init__(self, gateway: Running) -> None:
        self.environment = {"OSTINATO_URL": gateway.url, "OSTINATO_KEY": gateway.key, "COLUMNS": "200"}

    def run(self, *arguments: str, ok: bool = True) -> str:
        result: Result = CliRunner().invoke(cli, list(arguments), env=self.environment)
        assert (result.exit_code == 0) is ok, (arguments, result.output, result.exception)
        error = result.exception
        return error.sentence if isinstance(error, OstinatoError) else result.output


def test_feedback_chooses_what_becomes_a_dataset(keeping: Running) -> None:
    with Client(keeping.url, keeping.key, push=False) as client:
        for number in range(6):
            question = f"Where is card number {number * 1_000_003}? Mail me@example.org"
            reply = client.chat(prompt="bank/intent", label="staging", variables={"question": question})
            told = client.feedback(reply, number % 2 == 0, label="card", outcome="resolved", outcome_value=0.5)
            assert len(told) == 2
            told_about = reply.provenance.request_id
        with pytest.raises(NotFound, match="no request"):
            client.feedback("f" * 32, True)
        with pytest.raises(Invalid, match="neither"):
            client.feedback(reply, "sideways")
    asyncio.run(_disliked(keeping))

    shell = Shell(keeping)
    summary = json.loads(shell.run("signals", "summary", "--source", "feedback", "--json"))
    assert [(one["count"], one["mean"], one["labels"]) for one in summary] == [(7, pytest.approx(3 / 7), {"card": 6})]
    assert "No: ask [EMAIL]" in shell.run("signals", "list")
    shown = json.loads(shell.run("signals", "show", told_about, "--json"))
    assert [one["source"] for one in shown] == ["feedback", "outcome"]

    shell.run("datasets", "create", "cards", "--shares", "60/40/0")
    chosen = ("--prompt", "bank/intent", "--signal", "feedback", "--least", "0.5", "--reference", "label")
    made = shell.run("datasets", "from-traffic", "cards", *chosen, "--note", "Liked.")
    assert "one class" in made
    lines = [json.loads(line) for line in shell.run("datasets", "examples", "cards").splitlines()]
    assert len(lines) == 3
    assert {one["inputs"]["question"] for one in lines} == {
        f"Where is card number {number * 1_000_003}? Mail [EMAIL]" for number in (0, 2, 4)
    }
    assert {one["reference"] for one in lines} == {"card"}
    rows = keeping.api("GET", "/traces")[1]["items"]
    assert any("variables" in (row["extra"] or {}) for row in rows)
    without = keeping.api("POST", "/keys", {"name": "k", "permissions": ["traces:read"]})[1]["secret"]
    told = keeping.api("GET", "/traces", key=without)[1]["items"]
    assert not any("Where is card" in json.dumps(row) for row in told)


async def _disliked(gateway: Running) -> None:
    async with AsyncClient(gateway.url, gateway.key, push=False) as client:
        reply = await client.chat(
            prompt="bank/intent", label="staging", variables={"question": "Own id?"}, request_id="mine-1"
        )
        assert await client.feedback(reply, "down", comment="No: ask me@example.org")


def test_files_go_there_and_back_in_parts(gateway: Running, tmp_path: Path) -> None:
    shell = Shell(gateway)
    file = tmp_path / "bank.csv"
    rows = [f'"Question {n * n}, and {n}?",{"card" if n % 2 else "loan"},c{n // 2}' for n in range(1_300)]
    file.write_text("\n".join(["question,label,customer", *rows]))
    columns = ("--input", "question", "--reference", "label", "--group", "customer")
    printed = shell.run("datasets", "create", "bank/intents", str(file), *columns, "--note", "First.")
    assert "card (650), loan (650)" in printed
    (version,) = json.loads(shell.run("datasets", "versions", "bank/intents", "--json"))["items"]
    assert (sum(version["counts"].values()), version["open"], version["note"]) == (1_300, False, "First.")
    exported = tmp_path / "out.jsonl"
    shell.run("datasets", "examples", "bank/intents", "--output", str(exported))
    lines = [json.loads(line) for line in exported.read_text().splitlines()]
    assert len(lines) == version["counts"]["train"] + version["counts"]["dev"]
    assert {one["split"] for one in lines} == {"train", "dev"}
    shell.run("datasets", "add", "bank/intents", str(exported), "--base", "1", "--json")
    second = json.loads(shell.run("datasets", "show", "bank/intents", "--version", "2", "--json"))
    assert (second["digest"], second["dropped"]) == (version["digest"], {"duplicates": len(lines)})

    broken = tmp_path / "broken.jsonl"
    many = [{"inputs": {"q": n}} for n in range(1_200)]
    broken.write_text("\n".join(json.dumps(one) for one in [*many, {"inputs": {"q": "x" * 70_000}}]))
    assert "70,0" in shell.run("datasets", "add", "bank/intents", str(broken), ok=False)
    assert len(json.loads(shell.run("datasets", "versions", "bank/intents", "--json"))["items"]) == 2

    assert "sealed" in str(gateway.api("GET", "/datasets/bank%2Fintents/versions/1/examples?split=holdout"))
    assert "Nothing leaks" in shell.run("datasets", "leakage", "bank/intents")
    assert "Nobody has looked" in shell.run("datasets", "looks", "bank/intents")
    assert "Erased 1" in shell.run("datasets", "erase", "bank/intents", "--example", lines[0]["id"], "--reason", "x")
    assert "Threw away version 2" in shell.run("datasets", "discard", "bank/intents", "2")
    assert "bank/intents" in shell.run("datasets", "list")


async def test_the_client_pushes_and_pulls(gateway: Running) -> None:
    examples = [{"inputs": {"q": f"What is {n} and {n * n}?"}, "reference": n % 3} for n in range(1_100)]
    with Client(gateway.url, gateway.key, push=False) as client:
        version = client.push_dataset("pushed", examples, shares={"train": 0.5, "dev": 0.5, "holdout": 0})
        assert (version["number"], sum(version["counts"].values())) == (1, 1_100)
        found = client.pull_dataset("pushed")
        assert sorted(one["inputs"]["q"] for one in found) == sorted(one["inputs"]["q"] for one in examples)
        with pytest.raises(Invalid, match="unknown field 'label'"):
            client.push_dataset("pushed", [{"inputs": {"q": 1}, "label": 2}])
        with pytest.raises(Invalid, match="no inputs"):
            client.push_dataset("pushed", [{"inputs": {}}] * 600)
        with pytest.raises(NotFound, match="no dataset"):
            client.pull_dataset("nothing")
    async with AsyncClient(gateway.url, gateway.key, push=False) as other:
        again = await other.push_dataset("pushed", found[:3], base=1, note="More.")
        assert (again["number"], again["dropped"]) == (3, {"duplicates": 3})
        assert len(await other.pull_dataset("pushed", 1, "dev")) == version["counts"]["dev"]
        with pytest.raises(Denied, match="sealed"):
            await other.pull_dataset("pushed", 1, "holdout")  # pyright: ignore - what a type checker would refuse
