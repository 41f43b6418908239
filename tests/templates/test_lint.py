"""What the linter has to say."""

import pytest

from ostinato.templates import Source, compile_template, lint


def findings(*texts, format="plain", **options):
    sources = [Source(f"messages.{i}", compile_template(text, format)) for i, text in enumerate(texts)]
    return lint(sources, **options)


@pytest.mark.parametrize(
    "name", ["date", "current_time", "now", "createdAt", "request_id", "user.uuid", "nonce", "random_seed", "today"]
)
def test_what_changes_with_every_request_is_named_with_its_place(name):
    (found,) = findings("Fixed.\n{{question}} at {{" + name + "}}")
    assert (found.code, found.level, found.where, found.line) == ("cache-buster", "warning", "messages.0", 2)
    assert found.column == 17
    assert name in found.message


@pytest.mark.parametrize(
    "name", ["question", "update", "candidate", "timeline", "customer_id", "mandate", "brand", "sandwich"]
)
def test_innocent_names_are_left_alone(name):
    assert findings("{{" + name + "}}") == []


def test_formats_of_variables_tell_too():
    schema = {"properties": {"due": {"type": "string", "format": "date-time"}}}
    assert [one.code for one in findings("{{due}}", schema=schema)] == ["cache-buster"]
    assert findings("{{due}}") == []


def test_fixed_text_behind_what_varies():
    fixed = "You are a careful assistant. " * 10
    assert findings(fixed, "{{question}}") == []
    (found,) = findings("{{question}} " + fixed)
    assert found.code == "late-static" and "{{question}}" in found.message
    (found,) = findings("Hi {{#vip}}dear{{/vip}}", fixed)
    assert found.code == "late-static" and (found.line, found.column) == (1, 4)
    assert findings("{{question}} " + fixed[:200]) == []


def test_tools_out_of_order():
    tools = [{"type": "function", "function": {"name": name}} for name in ("b", "a")]
    assert [one.code for one in findings("x", tools=tools)] == ["unordered-tools"]
    assert findings("x", tools=tools[::-1]) == []


def test_keys_in_the_order_of_the_caller():
    found = findings("{% for k, v in x|items %}{{ k }}{% endfor %}", format="jinja2")
    assert [one.code for one in found] == ["unordered-keys"]


def test_expressions_of_jinja_are_looked_into():
    found = findings("{% if x %}{{ now|upper }}{% endif %}", format="jinja2")
    assert [one.code for one in found] == ["cache-buster"]
