"""The logic-less format: what it means, what it refuses, and where."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.core.errors import Invalid
from ostinato.templates import (
    LARGEST_OUTPUT,
    LARGEST_TEMPLATE,
    TemplateInvalid,
    Unrenderable,
    compile_template,
    infer_schema,
    undeclared,
)


def rendered(text, values=None, **partials):
    compiled = {}
    for name, inner in partials.items():
        compiled[name] = compile_template(inner, partials=compiled)
    return compile_template(text, partials=compiled).render(values or {})


@pytest.mark.parametrize(
    ("text", "values", "result"),
    [
        ("Dear {{name}},", {"name": "Ann"}, "Dear Ann,"),
        ("{{ name }}{{name}}", {"name": "x"}, "xx"),
        ("{{a.b.c}}", {"a": {"b": {"c": 1}}}, "1"),
        ("{{a.b}}|{{a.x}}|{{y}}", {"a": {"b": None}}, "||"),
        ("{{t}} {{f}} {{n}} {{i}} {{r}}", {"t": True, "f": False, "n": None, "i": 7, "r": 0.5}, "true false  7 0.5"),
        ("{{o}} {{l}}", {"o": {"a": "ü"}, "l": [1, "b"]}, '{"a":"ü"} [1,"b"]'),
        ("{{#x}}yes{{/x}}{{^x}}no{{/x}}", {"x": 0}, "yes"),
        ("{{#x}}yes{{/x}}{{^x}}no{{/x}}", {"x": ""}, "no"),
        ("{{#x}}yes{{/x}}{{^x}}no{{/x}}", {"x": {}}, "no"),
        ("{{#x}}yes{{/x}}{{^x}}no{{/x}}", {}, "no"),
        ("{{#l}}{{.}},{{/l}}", {"l": [1, 2, 3]}, "1,2,3,"),
        ("{{#l}}{{name}} of {{house}};{{/l}}", {"l": [{"name": "a"}, {"name": "b"}], "house": "H"}, "a of H;b of H;"),
        ("{{#l}}{{#.}}{{.}}{{/.}};{{/l}}", {"l": [[1, 2], [3]]}, "12;3;"),
        ("{{#a}}{{b}}{{/a}}", {"a": {"b": "in"}, "b": "out"}, "in"),
        ("a{{! not this }}b", {}, "ab"),
        ("a\n{{! alone }}\nb", {}, "a\nb"),
        ("a\n  {{#x}}  \nb\n{{/x}}\nc", {"x": 1}, "a\nb\nc"),
        ("{{#x}}\r\nb\r\n{{/x}}\r\n", {"x": 1}, "b\r\n"),
        ("- {{#x}}b{{/x}}\n", {"x": 1}, "- b\n"),
        ("{{! a }}{{! b }}\nc", {}, "\nc"),
        ("\\{{name}}", {"name": "x"}, "{{name}}"),
        ("\\\\{{name}}", {"name": "x"}, "\\x"),
        ("\\\\\\{{name}}", {"name": "x"}, "\\{{name}}"),
        ('{"a": {"b": 1}}', {}, '{"a": {"b": 1}}'),
        ("{ {{x}}}", {"x": 1}, "{ 1}"),
        ("{{a-b}}", {"a-b": "x"}, "x"),
        ("", {}, ""),
    ],
)
def test_what_it_means(text, values, result):
    assert rendered(text, values) == result


def test_nothing_is_escaped_and_no_value_is_rendered_again():
    hostile = "<b>&\"'{{secret}}{{#x}}{{>p}}{% raw %}\\{{"
    values = {"name": hostile, "secret": "s3cret", "l": [hostile], "o": {hostile: hostile}}
    assert rendered("{{name}}", values) == hostile
    assert rendered("{{#l}}{{.}}{{/l}}", values) == hostile
    assert "s3cret" not in rendered("{{o}} {{#l}}{{.}}{{/l}}", values)


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_a_value_comes_out_as_it_is_wherever_it_stands(one, two, many):
    values = {"one": one, "two": two, "many": many}
    assert rendered("<{{one}}|{{two}}>", values) == f"<{one}|{two}>"
    assert rendered("{{#many}}[{{.}}]{{/many}}{{one}}", values) == "".join(f"[{i}]" for i in many) + one


@given(st.text(alphabet=st.sampled_from("{}\\#^/>!. \nab"), max_size=40))
def test_any_text_is_a_template_or_says_where_it_is_not(text):
    try:
        template = compile_template(text, partials={"a": compile_template("x")})
    except TemplateInvalid as error:
        assert error.message
        return
    assert isinstance(template.render({"a": "{{b}}", "b": [1]}), str)


@given(st.text(alphabet=st.sampled_from("{}ab\n"), max_size=30))
def test_escaped_braces_come_out_as_braces(text):
    escaped = text.replace("{{", "\\{{")
    assert rendered(escaped) == text


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("{{a", 1, "never closed"),
        ("x\n{{ }}", 2, "without a name"),
        ("{{a b}}", 1, "no name"),
        ('{{"a": 1}}', 1, "no name"),
        ("{{{a}}}", 1, "three braces"),
        ("{{&a}}", 1, "escaped"),
        ("{{=<% %>=}}", 1, "delimiters"),
        ("{{#a}}x", 1, "never closed"),
        ("x\n\n{{/a}}", 3, "no section"),
        ("{{#a}}{{/b}}", 1, "open is 'a'"),
        ("{{.}}", 1, "item of a section"),
        ("{{a.}}", 1, "no name"),
        ("{{>../secret}}", 1, "no name of a partial"),
        ("{{a()}}", 1, "no name"),
        ("{{" + "a" * 201 + "}}", 1, "no name"),
        ("\ud800", 1, "surrogate"),
    ],
)
def test_what_it_refuses_and_where(text, line, says):
    with pytest.raises(TemplateInvalid, match=f"Line {line}, column") as caught:
        compile_template(text, partials={})
    assert says in caught.value.message


def test_partials_stand_where_they_are_named():
    assert rendered("{{>a}} {{x}}", {"x": 1}, a="[{{x}}]") == "[1] 1"
    assert rendered("{{#l}}{{>a}}{{/l}}", {"l": [{"x": 1}, {"x": 2}], "x": 3}, a="[{{x}}]") == "[1][2]"
    assert rendered("{{>b}}", {"x": 1}, a="({{x}})", b="{{#x}}{{>a}}{{/x}}") == "(1)"
    with pytest.raises(TemplateInvalid, match="does not exist"):
        compile_template("{{>gone}}")


def test_partials_are_nested_eight_deep_and_no_deeper():
    compiled = {"p0": compile_template("x")}
    for depth in range(1, 9):
        compiled[f"p{depth}"] = compile_template(f"{{{{>p{depth - 1}}}}}", partials=compiled)
    assert compiled["p8"].render({}) == "x"
    with pytest.raises(TemplateInvalid, match="8 deep"):
        compile_template("{{>p8}}", partials=compiled)


def test_a_bomb_of_partials_is_bounded_by_counts():
    compiled = {"p0": compile_template("{{#x}}boom{{/x}}")}
    for depth in range(1, 8):
        compiled[f"p{depth}"] = compile_template(f"{{{{>p{depth - 1}}}}}" * 1000, partials=compiled)
    for values in ({}, {"x": 1}):
        with pytest.raises(Unrenderable):
            compiled["p7"].render(values)


def test_sections_are_bounded_by_counts():
    nested = "{{#l}}" * 10 + "{{/l}}" * 10
    with pytest.raises(Unrenderable, match="steps"):
        compile_template(nested).render({"l": list(range(50))})
    with pytest.raises(TemplateInvalid, match="nested"):
        compile_template("{{#l}}" * 17 + "{{/l}}" * 17)


@pytest.mark.parametrize("text", ["{{x}}" * 3, "{{#l}}{{x}}{{/l}}", "{{o}}{{o}}{{o}}"])
def test_at_most_a_mebibyte_comes_out(text):
    value = "ü" * (LARGEST_OUTPUT // 6)
    values = {"x": value, "l": [1, 2, 3], "o": [value]}
    fits = {"x": value[:-9], "l": [1, 2, 3], "o": [value[:-9]]}
    assert len(compile_template(text).render(fits).encode()) <= LARGEST_OUTPUT
    with pytest.raises(Unrenderable) as caught:
        compile_template(text).render({**values, "x": value + "ü", "o": [value + "ü"]})
    assert caught.value.status == 422
    assert caught.value.code == "render_too_large"


def test_bounds_of_the_text_itself():
    compile_template("x" * LARGEST_TEMPLATE)
    with pytest.raises(TemplateInvalid) as caught:
        compile_template("x" * LARGEST_TEMPLATE + "x")
    assert caught.value.code == "template_too_large"
    with pytest.raises(TemplateInvalid) as caught:
        compile_template("".join(f"{{{{v{number}}}}}" for number in range(1001)))
    assert caught.value.code == "too_many_variables"
    with pytest.raises(TemplateInvalid, match="no template format"):
        compile_template("x", "ejs")  # type: ignore[arg-type]: what a caller may send


@pytest.mark.parametrize(
    "text", ["{{! x }}" * 30_000, " " * 100_000 + "{{#a}}{{/a}}" * 10_000, "\\" * 200_000 + "{{a}}"]
)
def test_reading_takes_linear_time(text):
    # Quadratic reading of any of these would take minutes.
    compile_template(text)


def test_values_that_are_no_json_are_refused():
    for value in (object(), {1, object()}):
        with pytest.raises(Invalid):
            rendered("{{x}}", {"x": value})


def schema_of(text, **partials):
    compiled = {name: compile_template(inner) for name, inner in partials.items()}
    return infer_schema(compile_template(text, partials=compiled).uses)


def test_the_schema_of_what_a_template_takes():
    assert schema_of("{{a}} {{b.c}} {{#d}}{{e}}{{/d}}{{>p}}", p="{{f}}") == {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "object", "properties": {"c": {"type": "string"}}, "required": ["c"]},
            "d": {},
            "e": {},
            "f": {"type": "string"},
        },
        "required": ["a", "b", "f"],
        "additionalProperties": False,
    }
    assert schema_of("{{#a}}{{a}}{{/a}} {{a}}")["properties"]["a"] == {}
    assert schema_of("fixed") == {"type": "object", "properties": {}, "additionalProperties": False}


@pytest.mark.parametrize(
    ("text", "schema", "missing"),
    [
        ("{{a}}", {"properties": {"a": {}}}, []),
        ("{{a}}{{b}}", {"properties": {"a": {}}}, ["b"]),
        ("{{a.x}}", {"properties": {"a": {"properties": {"y": {}}}}}, ["a.x"]),
        ("{{a.x}}", {"properties": {"a": {}}}, []),
        ("{{a.x}}", {"properties": {"a": {"type": "string"}}}, ["a.x"]),
        ("{{#l}}{{x}}{{/l}}", {"properties": {"l": {"items": {"properties": {"x": {}}}}}}, []),
        ("{{#l}}{{x}}{{/l}}", {"properties": {"l": {"items": {"properties": {"y": {}}}}}}, ["x"]),
        ("{{#l}}{{x}}{{/l}}", {"properties": {"l": {"items": {"properties": {}}}, "x": {}}}, []),
        ("{{#l}}{{x}}{{/l}}", {"properties": {"l": {"type": "array", "items": {"type": "string"}}}}, ["x"]),
        ("{{a}}", {"properties": {}, "additionalProperties": True}, []),
        ("{{a.x}}", {"properties": {"a": {"$ref": "#/$defs/A"}}}, []),
    ],
)
def test_names_that_a_schema_does_not_declare(text, schema, missing):
    found = undeclared(compile_template(text).uses, schema)
    assert [".".join(use.path) for use in found] == missing


def test_rendering_is_the_same_flat_and_by_steps():
    # The same names, once in the form that is filled in and once in the form that is run.
    values = {"a": "x", "b": {"c": [1, {"d": None}]}, "e": 1.5}
    flat = "{{a}}-{{b.c}}-{{e}}-{{gone}}-{{b.gone}}"
    assert rendered(flat, values) == rendered("{{#always}}" + flat + "{{/always}}", {**values, "always": True})
    assert rendered(flat, values) == f"x-{json.dumps([1, {'d': None}], separators=(',', ':'))}-1.5--"


def test_long_runs_of_backslashes_are_read_in_linear_time():
    # In quadratic time this would take minutes, with the whole process waiting.
    run = "\\" * 250_000
    assert rendered(run) == run
    assert rendered(run + "{{a}}", {"a": "x"}) == run[: len(run) // 2] + "x"
    assert rendered(run + "\\{{a}}", {"a": "x"}) == run[: len(run) // 2] + "{{a}}"
