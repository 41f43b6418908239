"""Lists for people tell names: of prompts, intents, models and projects; JSON keeps ids."""

import json
from typing import Any

import pytest

from ostinato.cli import client, main, naming, signals, triage, updates

HERE, THERE = "0" * 31 + "1", "0" * 31 + "2"
SIGNAL: dict[str, Any] = {
    "at": 1, "request_id": "r" * 32, "source": "scorer", "name": "exact", "value": 1.0, "label": "", "comment": None,
    "prompt": "support", "prompt_version": 3, "intent": "cards", "arm": "stable",
}  # fmt: skip
UPDATE: dict[str, Any] = {
    "id": "u" * 32, "alias": "plain", "kind": "change", "state": "planned", "intents": ["cards", ""],
    "targets": ["fake/new"], "created_at": 1, "created_by": "key:k",
}  # fmt: skip
FAMILY = "f" * 32
SHARE = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9.0}
FIGURES = {
    "family": FAMILY, "alias": "plain", "intent": "cards", "per_month": 9.0, "cost_share": 1.0, "repetition": SHARE,
    "stability": None,
}  # fmt: skip
DECISION = {
    "family": FAMILY, "choice": "cache", "state": "proposed", "saving": {"expected": 1.0}, "id": "d" * 32,
    "intent": "cards", "figures": FIGURES,
}  # fmt: skip
PROJECTS = [{"id": HERE, "key": "shop"}, {"id": THERE, "key": "bank"}]


def of(*rows: dict[str, Any]) -> dict[str, Any]:
    return {"items": list(rows), "next": None}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """``said(answers, *arguments)``: what a command prints, by line, where the server answers so."""

    def run(answers: dict[str, Any], *arguments: str) -> list[str]:
        def call(_: str, path: str, *__: Any, **___: Any) -> Any:
            if isinstance(answers[path], Exception):
                raise answers[path]
            return answers[path]

        for module in (signals, triage, updates, naming):
            monkeypatch.setattr(module, "call", call)
        with pytest.raises(SystemExit):
            main(list(arguments))
        return capsys.readouterr().out.splitlines()

    return run


@pytest.mark.parametrize(("command", "row"), [("signals", SIGNAL), ("updates", UPDATE)])
def test_rows_of_several_projects_name_theirs(said: Any, command: str, row: dict[str, Any]) -> None:
    both = of({**row, "project": HERE}, {**row, "project": THERE})
    answers = {f"/{command}": both, "/projects": PROJECTS}
    lines = said(answers, command, "list")
    assert "project" in lines[0] and "shop" in lines[1] and "bank" in lines[2]
    assert "cards" in lines[1] and HERE not in "".join(lines)
    one = said({f"/{command}": of({**row, "project": HERE})}, command, "list")  # nobody is asked for names
    assert "project" not in one[0] and HERE not in "".join(one)
    unseen = said({**answers, "/projects": client.Refused("No.")}, command, "list")
    assert HERE in unseen[1] and THERE in unseen[2]
    assert {HERE, THERE} == {one["project"] for one in _items(said(answers, command, "list", "--json"))}


def _items(lines: list[str]) -> Any:
    found = json.loads("\n".join(lines))
    return found["items"] if isinstance(found, dict) else found


def test_a_signal_names_the_version_of_its_prompt(said: Any) -> None:
    assert "support@3" in said({"/signals": of({**SIGNAL, "project": HERE})}, "signals", "list")[1]
    none = of({**SIGNAL, "project": HERE, "prompt": "", "prompt_version": 0})
    assert "@" not in said({"/signals": none}, "signals", "list")[1]


def test_a_family_without_a_prompt_is_known_by_its_model_and_intent(said: Any) -> None:
    row = {"figures": FIGURES, "decision": DECISION, "quality": None, "stakes": "low"}
    lines = said({"/triage": of(row)}, "triage", "list")
    assert lines[1].split()[:3] == [FAMILY, "plain", "cards"]
    lines = said({"/triage/look": [DECISION]}, "triage", "look")
    assert lines[1].split()[:3] == [FAMILY, "plain", "cards"]
