"""A version with variables filled in, and a request that takes it."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato import prompts, wire
from ostinato.core.errors import Invalid
from ostinato.prompts import contents
from ostinato.prompts.compiled import Compiled
from ostinato.wire.model import ChatRequest, Message, Text


def compiled(kind="chat", **fields):
    draft = msgspec.convert(fields, prompts.Draft)
    return Compiled(contents.build(kind, draft, {}, lambda *_: None), lambda *_: None)


def chat(*texts, **fields):
    roles = ["system", "user", "assistant", "user"]
    turns = [{"role": role, "template": text} for role, text in zip(roles, texts, strict=False)]
    return compiled(messages=turns, **fields)


def said(rendered):
    return rendered.messages[0].content[0].text


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "age": {"type": "integer", "minimum": 0},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"type": "string"},
    },
    "required": ["name", "age"],
}


def test_messages_in_order_and_a_text_is_the_users():
    rendered = chat("Be {{tone}}.", "{{q}}", "Sure.", "And {{q}}?").render({"tone": "kind", "q": "why"})
    told = [(message.role, message.content[0].text) for message in rendered.messages]
    assert told == [("system", "Be kind."), ("user", "why"), ("assistant", "Sure."), ("user", "And why?")]
    (message,) = compiled("text", text="Hi {{a}}").render({"a": "b"}).messages
    assert message == Message("user", (Text("Hi b"),))
    assert compiled("text", text="fixed").render().messages == (Message("user", (Text("fixed"),)),)


@pytest.mark.parametrize(
    ("values", "code", "param"),
    [
        ({"age": 1}, "missing_variable", "name"),
        ({"name": "a"}, "missing_variable", "age"),
        ({}, "missing_variable", None),
        ({"name": "a", "age": "x"}, "invalid_variable", "age"),
        ({"name": "a", "age": -1}, "invalid_variable", "age"),
        ({"name": "s3cret value", "age": 1}, "invalid_variable", "name"),
        ({"name": "a", "age": 1, "tags": ["a", 7]}, "invalid_variable", "tags.1"),
        ({"name": "a", "age": 1, "tone": "x"}, "unknown_variable", "tone"),
        ({"name": None, "age": 1}, "invalid_variable", "name"),
    ],
)
def test_a_missing_or_wrong_variable_is_a_422_that_names_it(values, code, param):
    prompt = chat("{{name}} {{age}} {{#tags}}{{.}}{{/tags}} {{note}}", variables=SCHEMA)
    with pytest.raises(prompts.InvalidVariable) as caught:
        prompt.render(values)
    error = caught.value
    assert (error.status, error.code) == (422, code)
    assert error.param.startswith("prompt.variables")
    if param:
        assert error.param == f"prompt.variables.{param}"
        assert param in error.message
    assert "s3cret" not in error.sentence


def test_optional_variables_are_empty_and_open_schemas_take_more():
    assert said(chat("{{name}}|{{age}}|{{note}}", variables=SCHEMA).render({"name": "a", "age": 1})) == "a|1|"
    opened = chat("{{name}}", variables={**SCHEMA, "additionalProperties": True})
    opened.render({"name": "a", "age": 1, "tone": "x"})


def test_values_that_are_no_json_are_a_422():
    for value in (object(), {1, 2}, b"x", float("nan")):
        with pytest.raises(Invalid) as caught:
            chat("{{a}}", variables={"properties": {"a": {}}}).render({"a": value, "b": 1})
        assert caught.value.status == 422


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
ANYTHING = {"properties": {"a": {}, "b": {}, "c": {}}, "additionalProperties": True}


@given(st.dictionaries(st.text(max_size=5), st.recursive(plain, st.lists, max_leaves=5), max_size=4))
def test_any_json_renders_or_is_a_422(values):
    prompt = chat("{{a}} {{#b}}{{c}}{{/b}}", variables=ANYTHING)
    try:
        prompt.render(values)
    except Invalid as error:
        assert error.status == 422


PARAMS = {
    "model": "small",
    "temperature": 0,
    "max_tokens": 50,
    "stop": ["END"],
    "seed": 7,
    "reasoning_effort": "low",
    "tool_choice": "auto",
}
TOOL = {"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}


def test_a_request_takes_what_it_does_not_say_itself():
    schema = {"title": "The answer", "type": "object"}
    prompt = chat("Rules.", "{{q}}", params=PARAMS, tools=[TOOL], response_schema=schema)
    rendered = prompt.render({"q": "?"})
    assert rendered.model == "small"
    asked = wire.codec("openai.chat").read_request(
        {"model": "prompt:p", "messages": [{"role": "user", "content": "more"}], "prompt": {"variables": {"q": "?"}}}
    )
    made = rendered.into(asked)
    assert [message.content[0].text for message in made.messages] == ["Rules.", "?", "more"]
    assert (made.temperature, made.max_tokens, made.stop, made.reasoning) == (0, 50, ("END",), {"effort": "low"})
    assert made.extra == {"openai.chat": {"seed": 7}}
    assert made.tools[0].name == "find"
    assert made.response_format["json_schema"]["name"] == "The_answer"
    assert (made.model, made.original) == ("prompt:p", None)
    own = wire.codec("openai.chat").read_request(
        {
            "model": "prompt:p",
            "messages": [],
            "temperature": 0.7,
            "seed": 1,
            "logprobs": True,
            "tools": [{"type": "function", "function": {"name": "other"}}],
            "response_format": {"type": "text"},
        }
    )
    made = rendered.into(own)
    assert (made.temperature, made.max_tokens) == (0.7, 50)
    assert made.extra == {"openai.chat": {"seed": 1, "logprobs": True}}
    assert made.tools[0].name == "other" and made.response_format == {"type": "text"}


def test_fields_of_one_provider_go_into_extra_body_and_nothing_else_does():
    """OpenAI's own name for them, so the parameters of a prompt fit the SDK as they are."""
    prompt = chat("Yes or no?", params={"seed": 7, "extra_body": {"grammar": 'root ::= "yes" | "no"', "n_probs": 5}})
    made = prompt.render({}).into(ChatRequest("prompt:p", ()))
    assert made.extra == {"openai.chat": {"seed": 7, "grammar": 'root ::= "yes" | "no"', "n_probs": 5}}
    for hidden in ({"n": 2}, {"user": "somebody"}, {"max_tokens": 9}, {"stream": True}, {"model": "dear"}, ["grammar"]):
        with pytest.raises(Invalid):
            chat("Yes or no?", params={"extra_body": hidden})


def test_a_prompt_without_parameters_adds_messages_only():
    request = ChatRequest("prompt:p", (Message("user", (Text("x"),)),), temperature=0.5)
    made = chat("a").render().into(request)
    assert msgspec.structs.replace(made, messages=()) == msgspec.structs.replace(request, messages=())


def test_values_are_never_rendered_again():
    prompt = chat("{{a}} {{#b}}{{.}}{{/b}}", variables={"properties": {"a": {}, "b": {}}})
    hostile = "{{secret}} {{>tone}} {% for i in x %}"
    assert prompt.render({"a": hostile, "b": [hostile]}).messages[0].content[0].text == f"{hostile} {hostile}"
