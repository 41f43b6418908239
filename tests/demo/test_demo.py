"""The whole demo, on the provider that needs no model: a real gateway as a child, real traffic, real files."""

import json
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from ostinato.demo import __main__ as demo
from ostinato.demo import loop, task, worth
from ostinato.demo.child import MODELS, Child, DemoError
from ostinato.demo.desk import People


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
        assert len(lines) <= 24
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


def test_the_whole_loop_is_weighed_in_four_random_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With a second version released by hand: what a model that guesses could not have earned."""
    monkeypatch.delenv("OSTINATO_SAVINGS_HOLDOUT_SHARE", raising=False)  # here the demo's own holds
    labelled, fresh = loop.split(task.questions())
    with Child(MODELS["fake"], tmp_path / "demo") as child:
        child.wait()
        people = People(child.url, child.key)
        try:
            loop.register(people, labelled[:80])
            better = {**loop.version(), "message": "Another one"}
            better["messages"][0]["template"] += "\nName one of them."
            made = people.ana.post(f"/prompts/{loop.PROMPT.replace(chr(47), chr(126))}/versions", better)
            release = people.ana.post(
                "/releases", {"prompt": loop.PROMPT, "number": made["version"]["number"], "reason": "Try it."}
            )
            loop.approve_and_start(people, release["id"])
            levels = loop.weigh(child, people, fresh, 60, lambda _: None)
        finally:
            people.close()
    found = worth.account(levels, 0.01, 0.001, draws=50)
    assert [one.name for one in found.levels] == ["little", "some", "much"]
    whole = found.whole
    sides = (whole.first_plain, whole.first_cached, whole.better_plain, whole.better_cached)
    assert sum(one.requests for one in sides) == 180
    assert all(one.requests for one in sides), sides
    assert whole.first_plain.hits == whole.better_plain.hits == 0, "held out: answered without the cache"
    assert whole.better_cached.hits > 0 and whole.first_cached.hits > 0, "each release has its own answers"
    assert not [one.error for _, some in levels for one in some if one.error]
