"""Jinja2 by choice: what is let through means what it means there; nothing else gets in (S6)."""

import tracemalloc

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.templates import LARGEST_OUTPUT, TemplateInvalid, Unrenderable, compile_template, infer_schema

REAL = jinja2.Environment(keep_trailing_newline=True)


def rendered(text, values=None):
    return compile_template(text, "jinja2").render(values or {})


SAME = [
    "Hello {{ name }}!\n",
    "{{ user.name }} {{ user['name'] }} {{ items[0] }} {{ items[-1] }} {{ items[99] }}{{ gone }}",
    "{% if n > 3 %}many{% elif n == 3 %}three{% else %}few{% endif %}",
    "{% for i in items %}{{ loop.index }}/{{ loop.length }}:{{ i }}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{% for i in items if i != 2 %}{{ i }};{% else %}none{% endfor %}",
    "{% for i in gone %}x{% else %}none{% endfor %}",
    "{% for k, v in user|items %}{{ k }}={{ v }} {% endfor %}",
    "{% for k in user %}{{ k }} {% endfor %}",
    "{% for row in rows %}{% for cell in row %}{{ cell }}{{ loop.index0 }}{% endfor %}|{% endfor %}",
    "{% for i in items %}{% for i in rows %}{% endfor %}{{ i }}{% endfor %}".replace("{{ loop.first }}", ""),
    "{{ name|upper }} {{ name|lower }} {{ name|title }} {{ name|capitalize }} {{ '  x '|trim }}|",
    "{{ items|join(', ') }} {{ items|length }} {{ items|first }} {{ items|last }} {{ name|replace('n', 'm') }}",
    "{{ gone|default('x') }} {{ ''|default('x') }} {{ ''|d('x', true) }} {{ price|round(1) }} {{ '7'|int }}",
    "{{ 'a\nb'|indent(2) }} {{ '3.7'|int }} {{ 'x'|int }} {{ '2.5'|float }} {{ 5|string }}",
    "{% if name and n or gone %}a{% endif %}{% if not gone %}b{% endif %}{{ 'y' if n else 'n' }}",
    "{% if 'n' in name %}a{% endif %}{% if 2 in items %}b{% endif %}{% if 'name' not in user %}c{% endif %}",
    "{% if 1 < n < 5 %}between{% endif %}{% if name is defined and gone is undefined %}d{% endif %}",
    "{% if name is string and n is number and user is mapping %}t{% endif %}{% if n in [1, 3, 5] %}odd{% endif %}",
    "{# a comment #}{% raw %}{{ not }}{% endraw %}{{ '{{' }}",
    "a  {%- if n -%}  b  {%- endif -%}  c",
    "{{ user.name.first }}",
    "{{ 'it''s' }}",
]
VALUES = {
    "name": "Anna",
    "n": 3,
    "items": [1, 2, 3],
    "user": {"name": "Bo", "age": 7},
    "rows": [[1], [2, 3]],
    "price": 2.25,
}


@pytest.mark.parametrize("text", SAME)
def test_it_means_what_jinja_means(text):
    assert rendered(text, VALUES) == REAL.from_string(text).render(VALUES)


OUTPUTS = ["a", "c", "i", "a|upper", "b|join('-')", "b|length", "a|replace('x','yy')", "'z' if c > 0 else a"]
TESTS = ["a", "c > 1", "not b", "c == 2 or a == 'x'", "i is defined", "c in b"]
texts = st.text(alphabet="xy <>&'\"{}%\n", max_size=8)
values_ = st.fixed_dictionaries(
    {"a": texts, "b": st.lists(st.integers(-5, 5) | texts, max_size=4), "c": st.integers(-5, 5)}
)


@st.composite
def template_texts(draw, depth=2):
    pieces = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.integers(0, 3 if depth else 1))
        if kind == 0:
            pieces.append(draw(st.text(alphabet="xyz \n", max_size=6)))
        elif kind == 1:
            pieces.append("{{ " + draw(st.sampled_from(OUTPUTS)) + " }}")
        elif kind == 2:
            yes, no = draw(template_texts(depth - 1)), draw(template_texts(depth - 1))
            pieces.append("{% if " + draw(st.sampled_from(TESTS)) + " %}" + yes + "{% else %}" + no + "{% endif %}")
        else:
            pieces.append("{% for i in b %}" + draw(template_texts(depth - 1)) + "{{ loop.index }}{% endfor %}")
    return "".join(pieces)


@settings(max_examples=200)
@given(template_texts(), values_)
def test_random_templates_mean_what_jinja_means(text, values):
    assert rendered(text, values) == REAL.from_string(text).render(values)


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''['__class__']['__base__'] }}",
    "{{ x.__init__.__globals__ }}",
    "{{ self.__init__.__globals__.__builtins__ }}",
    "{{ self._TemplateReference__context.cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ config }}",
    "{{ request.application.__globals__ }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ url_for.__globals__ }}",
    "{{ x.format }}",
    "{{ '{0.__class__}'.format(x) }}",
    "{{ '%s'|format(x) }}",
    "{{ [].append(1) }}",
    "{{ x|map('upper')|list }}",
    "{{ x|map(attribute='__class__') }}",
    "{{ x|selectattr('__class__') }}",
    "{{ x|groupby('__class__') }}",
    "{{ x|sort(attribute='__class__') }}",
    "{{ x|xmlattr }}",
    "{{ range(10) }}",
    "{% for i in range(999999999) %}{% endfor %}",
    "{% for i in [].__class__.__base__.__subclasses__() %}{% endfor %}",
    "{% set x = 1 %}",
    "{% set ns = namespace(a=1) %}",
    "{% macro m() %}{% endmacro %}{{ m() }}",
    "{% call x() %}{% endcall %}",
    "{% filter upper %}x{% endfilter %}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import system %}",
    "{% extends 'base' %}",
    "{% block b %}{% endblock %}",
    "{% autoescape true %}x{% endautoescape %}",
    "{% with a = 1 %}{% endwith %}",
    "{% do x.append(1) %}",
    "{% debug %}",
    "{% trans %}x{% endtrans %}",
    "{% for i in x recursive %}{{ loop(i) }}{% endfor %}",
    "{{ loop.__class__ }}{{ x() }}",
    "{% for i in x %}{{ loop.cycle('a') }}{% endfor %}",
    "{% for i in x %}{{ loop.previtem }}{% endfor %}",
    "{% for loop in x %}{% endfor %}",
    "{% for a, b, c in x %}{% endfor %}",
    "{{ 1 + 1 }}",
    "{{ 'a' * 999999999 }}",
    "{{ 9**9**9**9 }}",
    "{{ 'a' ~ 'b' }}",
    "{{ -x }}",
    "{{ x[1:2] }}",
    "{{ x[y] }}",
    "{{ {'a': 1} }}",
    "{{ x is callable }}",
    "{{ x is sameas(y) }}",
    "{{ x is divisibleby 3 }}",
    "{{ caller() }}",
    "{{ varargs.x() }}",
    "{{ x|default(value=1) }}",
    "{{ x|tojson(indent=99999999) }}",
    "{{ x|upper(1) }}",
    "{{ x|replace('a') }}",
    "{{ x|random }}",
    "{{ x|pprint }}",
    "{{ x|safe }}",
    "{{ x|urlize }}",
    "{{ x|wordwrap(1) }}",
    "{{ x|center(999999999) }}",
    "{{ x|truncate(3) }}",
    "{% if x %}",
    "{% endif %}",
    "{{",
    "{{ }}",
    "{% %}",
    "{{ (1 }}",
]
"""What sandboxes were broken by, and what is not on the list."""


@pytest.mark.parametrize("text", ESCAPES)
def test_nothing_but_the_list_gets_in(text):
    # Refused when it is saved; or, where it is a plain dotted name, a look-up of a key that no value has.
    values = {"x": {"a": [1]}, "y": "a"}
    try:
        template = compile_template(text, "jinja2")
    except TemplateInvalid as error:
        assert error.message.startswith("Line 1")
        return
    assert template.render(values) == ""


def test_names_reach_keys_and_never_attributes():
    class Leak:
        secret = "s3cret"

    values = {"x": Leak(), "d": {"__class__": "a key", "items": "another"}, "t": "text", "l": [1]}
    assert rendered("{{ x.secret }}{{ t.upper }}{{ l.append }}{{ t.__class__ }}{{ l['__len__'] }}", values) == ""
    assert rendered("{{ d.__class__ }} {{ d.items }}", values) == "a key another"


BOMBS = [
    "{% for a in x %}{% for b in x %}{% for c in x %}{% for d in x %}{% endfor %}{% endfor %}{% endfor %}{% endfor %}",
    "{% for a in x %}{% for b in x %}{{ t }}{% endfor %}{% endfor %}",
    "{% for a in x if t|upper == 'x' %}{% else %}{% for a in x if t|lower == 'y' %}{% endfor %}{% endfor %}",
    "{{ t|replace('a', t)|replace('a', t) }}",
    "{{ t|replace('', t) }}",
    "{{ x|join(t) }}",
    "{% for a in x %}{% if t|upper|lower|title == t %}{% endif %}{% endfor %}",
    "{% for a in x %}{% if t in u %}{% endif %}{% endfor %}",
    "{{ x|tojson|replace(',', t) }}",
    "{{ t|indent(100)|replace('a', '\n')|indent(100) }}",
    "{{ t|replace('a', '\n')|indent(100, true)|indent(100, true) }}",
]


@pytest.mark.parametrize("text", BOMBS)
def test_bombs_are_ended_by_counts(text):
    values = {"x": list(range(1000)), "t": "a" * 20_000, "u": "b" * 500_000}
    template = compile_template(text, "jinja2")
    tracemalloc.start()
    try:
        with pytest.raises(Unrenderable) as caught:
            template.render(values)
        # Ended before the large text is made, not when it is there.
        assert tracemalloc.get_traced_memory()[1] < 32 * LARGEST_OUTPUT
    finally:
        tracemalloc.stop()
    assert caught.value.status == 422


@pytest.mark.parametrize(
    "text",
    ["{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "{{ " + "not " * 3000 + "x }}", "{{ x" + "|upper" * 3000 + " }}"]
    + ["{% if x %}" * depth + "{% endif %}" * depth for depth in (17, 2000)]
    + ["{{ x" + ".a" * 60 + " }}", "{{ " + "x and " * 3000 + "x }}", "{{ x if " * 200 + "1" + " else 1" * 200 + " }}"],
)
def test_deep_templates_are_refused(text):
    with pytest.raises(TemplateInvalid):
        compile_template(text, "jinja2")


def test_long_digits_are_no_numbers():
    assert rendered("{{ x|int }} {{ x|float }}", {"x": "9" * 100_000}) == "0 0.0"
    assert rendered("{{ x|int }}", {"x": "1e999"}) == "0"


def test_a_mebibyte_at_most():
    twice, values = "{% for i in x %}{{ t }}{% endfor %}", {"x": [1, 2], "t": "a" * (LARGEST_OUTPUT // 2)}
    assert len(rendered(twice, values)) == LARGEST_OUTPUT
    with pytest.raises(Unrenderable):
        rendered(twice + "!", values)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("{% for i in x %}{% endfor %}", {"x": "text"}),
        ("{% for i in x %}{% endfor %}", {"x": 7}),
        ("{% for a, b in x %}{% endfor %}", {"x": [1]}),
        ("{{ x|join }}", {"x": 7}),
        ("{{ x|round }}", {"x": "a"}),
        ("{{ x|round(99) }}", {"x": 1.5}),
        ("{{ x|round }}", {"x": 10**400}),
        ("{{ x < 'a' }}", {"x": 1}),
        ("{{ x == y }}", {"x": [1], "y": [1]}),
        ("{{ x in y }}", {"x": [1], "y": [1]}),
        ("{{ x|length }}", {"x": 5}),
        ("{{ x|items }}", {"x": [1]}),
    ],
)
def test_values_that_cannot_be_used_are_a_422(text, values):
    with pytest.raises(Unrenderable) as caught:
        rendered(text, values)
    assert caught.value.status == 422


@pytest.mark.parametrize(
    "body",
    [
        "{% if [" + "x," * 20_000 + "] %}{% endif %}",
        "{% if [" + "1," * 20_000 + "] %}{% endif %}",
        "{% if 0 %}" + "{% elif 0 %}" * 10_000 + "{% endif %}",
        "{% if x" + " == x" * 20_000 + " %}{% endif %}",
    ],
)
def test_long_expressions_in_loops_are_ended_by_counts(body):
    template = compile_template("{% for i in items %}" + body + "{% endfor %}", "jinja2")
    with pytest.raises(Unrenderable) as caught:
        template.render({"items": [0] * 40_000, "x": 1})
    assert caught.value.code == "render_too_long"


def test_a_number_that_python_does_not_read_is_the_authors_mistake():
    with pytest.raises(TemplateInvalid):
        compile_template("{{ " + "9" * 5_000 + " }}", "jinja2")


def test_the_schema_of_what_a_template_takes():
    schema = infer_schema(
        compile_template(
            "{{ a }}{{ b|upper }}{% if c %}{{ d }}{% endif %}{% for i in e %}{{ i.x }}{{ loop.index }}{% endfor %}"
            "{{ f.g }}{{ h|default('x') }}{{ j[0] }}",
            "jinja2",
        ).uses
    )
    assert schema["required"] == ["a", "b", "f", "j"]
    assert sorted(schema["properties"]) == ["a", "b", "c", "d", "e", "f", "h", "j"]
    assert schema["properties"]["a"] == {"type": "string"}
    assert schema["properties"]["b"] == {} == schema["properties"]["c"] == schema["properties"]["j"]
