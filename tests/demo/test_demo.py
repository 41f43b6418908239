"""The whole demo, on the provider that needs no model: a real gateway as a child, real traffic, real files."""

import json
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from ostinato.demo import __main__ as demo
from ostinato.demo.child import MODELS, Child, DemoError


def test_every_repeat_is_a_hit_and_no_level_helps_another(tmp_path: Path):
    figures = tmp_path / "figures.json"
    console = Console(file=(tmp_path / "out.txt").open("w"), width=120)
    assert demo.run(console, "fake", 60, tmp_path / "demo", figures) == 0
    console.file.close()
    levels = json.loads(figures.read_text())["levels"]
    assert [level["requests"] for level in levels] == [60, 60, 60]
    for level in levels:
        assert level["hits"] + level["joined"] == level["repeats"], "every repeat, and only repeats, costs nothing"
        assert level["hits"] > 0
        assert level["errors"] == 0
        assert level["spent"] > 0
    assert levels[-1]["saved"] > levels[0]["saved"] > 0
    loop = json.loads(figures.read_text())["loop"]
    assert loop["state"] == "nothing-to-gain" and loop["calls"] > 0, "a model that guesses has nothing to learn"
    assert (loop["release"], loop["worth"], loop["errors"]) == ("", None, [])
    page = Path(loop["report"]).read_text()
    assert page.startswith("<!doctype html>") and "nothing to gain" in page.lower()
    told = (tmp_path / "out.txt").read_text()
    assert "level of repetition is ours" in told and "exact hits" in told and "base_url=" in told
    assert "about a minute" in told and "With much repetition" in told and "make serve" in told
    log = (tmp_path / "demo/server.log").read_text()
    assert "Traceback" not in log, log


def test_the_configuration_is_less_than_a_page_of_toml(tmp_path: Path):
    for model in MODELS.values():
        lines = Child(model, tmp_path).configuration().splitlines()
        assert len(lines) <= 20
        assert tomllib.loads("\n".join(lines))["models"]["support"]["targets"] == [f"local/{model.name}"]


def test_missing_weights_are_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert demo.main(["--model", "gemma"]) == 1
    told = capsys.readouterr().err
    assert "make demo MODEL=gemma" in told and "253 MB" in told and "Gemma Terms of Use" in told


def test_a_gateway_that_does_not_start_says_why(tmp_path: Path):
    class Broken(Child):
        def configuration(self) -> str:
            return super().configuration().replace('kind = "fake"', 'kind = "nonsense"')

    with Broken(MODELS["fake"], tmp_path / "demo") as child, pytest.raises(DemoError, match="nonsense"):
        child.wait()
