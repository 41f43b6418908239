"""Exports of other registries: what they come to here, what is told about it, and what is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato import templates
from ostinato.core.errors import Invalid
from ostinato.prompts import importers, importing, langfuse, mlflow
from ostinato.prompts.importing import Standing

EXPORTS = Path(__file__).parent / "exports"


def by_name(imported: importers.Imported) -> dict[str, Any]:
    return {prompt.name: prompt for prompt in imported.collection.prompts}


def planned(imported: importers.Imported) -> None:
    """Everything compiles, and could be saved."""

    def nothing(name: str, number: int) -> Any:
        raise AssertionError(name)

    importing.plan(imported.collection, Standing({}, {}, {}), nothing, foreign=True, declare=True)


def test_langfuse():
    imported = langfuse.read((EXPORTS / "langfuse.json").read_bytes())
    planned(imported)
    found = by_name(imported)
    assert list(found) == ["movie-critic", "support/answer"]
    first, second = found["movie-critic"].versions
    assert (first.number, second.number, second.message) == (1, 3, "Shorter")
    assert first.draft.params == {"model": "gpt-4o-mini", "temperature": 0.5}
    assert second.draft.response_schema == {"type": "object", "properties": {"rating": {"type": "integer"}}}
    assert found["movie-critic"].tags == ("movies",)
    rendered = templates.compile_template(first.draft.text).render({"criticLevel": "harsh", "movie": "Dune"})
    assert rendered == 'As a harsh movie critic, do you like Dune? Answer as {"rating": 1}.'
    system, user = found["support/answer"].versions[0].draft.messages
    assert templates.compile_template(system.template).render({"company": "Acme"}) == (
        'You answer for Acme. Never print {{#raw}} or {{"json": 1}}.'
    )
    assert (system.role, user.role) == ("system", "user")
    labels = imported.collection.labels
    assert {name: {label: pin.version for label, pin in found.items()} for name, found in labels.items()} == {
        "movie-critic": {"production": 3},
        "support/answer": {"production": 1, "staging": 1},
    }
    assert imported.notes == (
        "'Movie Critic', version 1 calls the model 'gpt-4o-mini': an alias of this name must be declared.",
        "'Movie Critic', version 3 calls the model 'gpt-4o-mini': an alias of this name must be declared.",
        "'support/answer', version 1: the placeholder is left out: messages of a request follow the prompt's own.",
        "The prompt 'Movie Critic' becomes 'movie-critic'.",
        "'Movie Critic' has gaps in its versions: they are numbered anew.",
    )


def test_mlflow_as_its_registry_answers():
    imported = mlflow.read((EXPORTS / "mlflow-rest.json").read_bytes())
    planned(imported)
    prompt = by_name(imported)["summarize"]
    assert (prompt.description, prompt.tags) == ("Summaries of articles", ("team:news", "author:ada"))
    first, second = prompt.versions
    assert first.draft.text == "Summarize: {{article.text}}"
    assert second.draft.params == {"model": "gpt-4o-mini", "temperature": 0.3, "stop": ["END"]}
    assert second.draft.response_schema == {"type": "object", "properties": {"s": {"type": "string"}}}
    assert (first.message, second.message) == ("Initial commit", "As a conversation")
    pins = imported.collection.labels["summarize"]
    assert {label: pin.version for label, pin in pins.items()} == {"production": 1, "candidate": 2}


def test_mlflow_as_its_export_tool_writes():
    imported = mlflow.read((EXPORTS / "mlflow-prompt.json").read_bytes())
    planned(imported)
    prompt = by_name(imported)["qa_chat"]
    assert prompt.kind == "chat" and prompt.tags == ("task:qa",)
    assert [turn.template for turn in prompt.versions[0].draft.messages] == [
        "You are a concise assistant for {{product}}.",
        "{{question}}",
    ]


def test_mlflow_in_pieces():
    one = json.loads((EXPORTS / "mlflow-prompt.json").read_bytes())
    other = json.loads((EXPORTS / "mlflow-rest.json").read_bytes())
    assert sorted(by_name(mlflow.read(json.dumps([one, other]).encode()))) == ["qa_chat", "summarize"]


def langfuse_prompt(**more: Any) -> dict[str, Any]:
    return {"name": "a", "version": 1, "type": "text", "prompt": "hi", "config": {}, "labels": [], "tags": [], **more}


CHAT = [{"role": "user", "content": "x"}]


@pytest.mark.parametrize(
    ("export", "told", "param"),
    [
        (b"{", "no JSON", None),
        (b"3", "no list", None),
        ([3], "Prompt 1 is no object", None),
        ([langfuse_prompt(name="")], "Prompt 1 has no name", "name"),
        ([langfuse_prompt(folder="x")], "'a', version 1: the field 'folder' has no counterpart", "folder"),
        ([langfuse_prompt(config={"supported": [1]})], "the field 'config.supported'", "config.supported"),
        ([langfuse_prompt(config={"response_format": {"type": "json_object"}})], "config.response_format", None),
        ([langfuse_prompt(version="x")], "the version is no number", "version"),
        ([langfuse_prompt(version=0)], "the version is no number", "version"),
        ([langfuse_prompt(type="image")], "no type 'image'", "type"),
        ([langfuse_prompt(prompt=3)], "prompt is no text", "prompt"),
        ([langfuse_prompt(prompt="{{user name}}")], "'user name' has a name", None),
        ([langfuse_prompt(prompt="@@@langfusePrompt:name=x|version=1@@@")], "refers to another prompt", "prompt"),
        ([langfuse_prompt(type="chat", prompt="x")], "the chat prompt is no list", None),
        ([langfuse_prompt(type="chat", prompt=[{"role": "tool", "content": "x"}])], "no role 'tool'", "prompt.role"),
        ([langfuse_prompt(type="chat", prompt=[{"role": "user", "content": []}])], "the content is no text", None),
        ([langfuse_prompt(type="chat", prompt=[{**CHAT[0], "name": "y"}])], "'prompt.name'", "prompt.name"),
        (
            [langfuse_prompt(type="chat", prompt=[{"type": "placeholder", "name": "h"}, *CHAT])],
            "'h' stands before",
            None,
        ),
        ([langfuse_prompt(), langfuse_prompt()], "Version 1 of 'a' is there twice", "version"),
        ([langfuse_prompt(), langfuse_prompt(name="A")], "would both be named 'a'", "name"),
        (
            [langfuse_prompt(), langfuse_prompt(version=2, type="chat", prompt=CHAT)],
            "is a text prompt in version 1",
            None,
        ),
        ([langfuse_prompt(name="?!")], "cannot be turned into a name", "name"),
        ({"prompts": [], "exportedBy": "x"}, "'exportedBy' has no counterpart", "exportedBy"),
        ([langfuse_prompt(labels="x")], "labels is no list", None),
    ],
)
def test_what_langfuse_has_and_we_have_not(export: Any, told: str, param: str | None):
    data = export if isinstance(export, bytes) else json.dumps(export).encode()
    with pytest.raises(Invalid) as caught:
        langfuse.read(data)
    assert told in caught.value.message, caught.value.message
    if param is not None:
        assert caught.value.param == param


def test_what_may_be_left_out_is_left_out():
    odd = langfuse_prompt(folder="x", config={"supported": [1], "temperature": 1, "tools": 3, "response_format": 4})
    left = ["folder", "config.supported", "config.tools", "config.response_format"]
    imported = langfuse.read(json.dumps([odd]).encode(), left)
    assert by_name(imported)["a"].versions[0].draft.params == {"temperature": 1}
    with pytest.raises(Invalid) as caught:
        langfuse.read(json.dumps([odd]).encode())
    assert caught.value.hint.startswith("To import without it: --leave-out ")


def mlflow_version(**more: Any) -> dict[str, Any]:
    return {"name": "a", "version": 1, "template": "hi", "tags": {}, **more}


@pytest.mark.parametrize(
    ("export", "told"),
    [
        ({}, "no MLflow export"),
        ({"mlflow": {"prompt": 3}}, "mlflow.prompt is no object"),
        ({"mlflow": {"prompt": mlflow_version(), "runs": []}}, "'mlflow.runs'"),
        ({"mlflow": {"prompt": mlflow_version(owner="x")}}, "'owner'"),
        ({"model_versions": [{"name": "m", "version": "1", "tags": []}]}, "a model, not a prompt"),
        ({"model_versions": [{"name": "m", "version": "1", "tags": [], "colour": 1}]}, "'colour'"),
        (
            mlflow_version(model_config={"model_name": "x", "anthropic_version": "y"}),
            "'model_config.anthropic_version'",
        ),
        (mlflow_version(template=[{"role": "user", "content": "{% if x %}{% endif %}"}]), "is not imported"),
        ([mlflow_version(), {"name": "a"}], "no MLflow export"),
    ],
)
def test_what_mlflow_has_and_we_have_not(export: Any, told: str):
    with pytest.raises(Invalid) as caught:
        mlflow.read(json.dumps(export).encode())
    assert told in caught.value.message, caught.value.message


def test_jinja_of_mlflow_stays_jinja():
    imported = mlflow.read(json.dumps(mlflow_version(template="{% if x %}{{ x }}{% endif %}")).encode())
    assert by_name(imported)["a"].versions[0].draft.format == "jinja2"
    planned(imported)


PIECES = ["{{x}}", "{{ x }}", "{{", "}}", "\\", "{", "a", "{{#x}}", "{{/x}}", "{{>y}}", "{{!c}}", '{{"j":1}}', "\n"]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_only_names_are_filled_in(source: str):
    """A foreign template renders to itself with its names replaced, whatever else is in it."""
    import re

    try:
        ours = importers.template("here", source)
    except Invalid:
        return
    expected = re.sub(r"\{\{[ \t]*x[ \t]*\}\}", "VALUE", source)
    assert templates.compile_template(ours).render({"x": "VALUE"}) == expected
