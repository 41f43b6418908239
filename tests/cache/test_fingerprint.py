"""Fingerprints and keys: equal requests meet, different ones never do."""

import copy
import itertools
import json
import math
import random
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ostinato import wire
from ostinato.cache import fingerprint as fp
from ostinato.cache import scope as scopes
from ostinato.cache.model import Scope
from ostinato.core.errors import Invalid
from ostinato.wire.model import (
    NOT_IN_FINGERPRINT,
    ChatRequest,
    Image,
    Message,
    Opaque,
    Text,
    Thinking,
    Tool,
    ToolChoice,
    ToolResult,
    ToolUse,
)

WORDS = st.sampled_from(["", "a", "b", "ab", "A", "1", "null", "\u00e9", "e\u0301", "a\x00b", '"', "card?", "card"])
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.integers(2**63, 2**70), WORDS)
JSONS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3), max_leaves=4
)
TABLES = st.none() | st.dictionaries(WORDS, JSONS, max_size=3)
SHARES = st.none() | st.sampled_from([0.0, 0.1, 0.2, 0.7, 1.0, 2.0])
COUNTS = st.none() | st.integers(0, 5)

TEXTS = st.builds(Text, WORDS, TABLES)
IMAGES = st.builds(Image, WORDS, WORDS, WORDS, WORDS, TABLES)
OPAQUES = st.builds(Opaque, WORDS, st.dictionaries(WORDS, JSONS, max_size=2))


def tuples(of: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(of, max_size=2).map(tuple)


BLOCKS = st.one_of(
    TEXTS,
    IMAGES,
    st.builds(ToolUse, WORDS, WORDS, WORDS, TABLES),
    st.builds(ToolResult, WORDS, tuples(TEXTS | IMAGES | OPAQUES), st.booleans(), TABLES),
    st.builds(Thinking, WORDS, WORDS, WORDS, TABLES),
    OPAQUES,
)
MESSAGES = st.builds(
    Message, st.sampled_from(["system", "developer", "user", "assistant", "tool"]), tuples(BLOCKS), WORDS, TABLES
)
TOOLS = st.builds(Tool, WORDS, WORDS, TABLES, st.none() | st.booleans(), TABLES, st.none() | OPAQUES)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "model": WORDS,
    "messages": tuples(MESSAGES),
    "tools": tuples(TOOLS),
    "tool_choice": st.none()
    | st.builds(ToolChoice, st.sampled_from(["auto", "none", "required", "named"]), WORDS, TABLES),
    "parallel_tool_calls": st.none() | st.booleans(),
    "temperature": SHARES,
    "top_p": SHARES,
    "top_k": COUNTS,
    "max_tokens": COUNTS,
    "stop": tuples(WORDS),
    "response_format": TABLES,
    "reasoning": TABLES,
    "extra": TABLES,
    "wire": st.sampled_from(["openai.chat", "anthropic.messages", "openai.responses"]),
    "stream": st.booleans(),
    "include_usage": st.booleans(),
    "user": st.none() | WORDS,
    "prompt": TABLES,
    "original": TABLES,
}
REQUESTS = st.builds(ChatRequest, **FIELDS)
OUTSIDE = NOT_IN_FINGERPRINT | {"model"}


def exact(value: Any) -> Any:
    """A form in which equality is JSON's: ``1``, ``1.0`` and ``True`` are three things."""
    if isinstance(value, msgspec.Struct):
        return (type(value).__name__, [exact(getattr(value, f)) for f in value.__struct_fields__])
    if isinstance(value, dict):
        return {key: exact(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [exact(one) for one in value]
    return (type(value).__name__, value)


def test_every_field_has_a_strategy():
    assert set(FIELDS) == set(ChatRequest.__struct_fields__), "a new field: say how it may differ"


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(st.data(), REQUESTS, st.sampled_from(sorted(set(FIELDS) - OUTSIDE)))
def test_a_changed_field_changes_the_fingerprint(data: st.DataObject, request: ChatRequest, field: str):
    other = data.draw(FIELDS[field])
    assume(exact(other) != exact(getattr(request, field)))
    changed = msgspec.structs.replace(request, **{field: other})
    assert fp.fingerprint(changed) != fp.fingerprint(request)


@settings(max_examples=60, deadline=None)
@given(REQUESTS, REQUESTS)
def test_what_is_left_out_is_left_out_and_nothing_else(one: ChatRequest, other: ChatRequest):
    outside = {field: getattr(other, field) for field in OUTSIDE}
    assert fp.fingerprint(msgspec.structs.replace(one, **outside)) == fp.fingerprint(one)
    inside_equal = all(exact(getattr(one, f)) == exact(getattr(other, f)) for f in set(FIELDS) - OUTSIDE)
    assert (fp.fingerprint(one) == fp.fingerprint(other)) == inside_equal


def test_the_list_of_what_is_left_out_is_the_declared_one():
    assert frozenset({"wire", "stream", "include_usage", "user", "original"}) == NOT_IN_FINGERPRINT


@settings(max_examples=80, deadline=None)
@given(REQUESTS)
def test_a_request_read_again_has_the_same_fingerprint(request: ChatRequest):
    again = msgspec.json.decode(msgspec.json.encode(request), type=ChatRequest)
    assert fp.fingerprint(again) == fp.fingerprint(request)


def test_a_whole_number_is_the_real_one():
    def at(temperature: Any, top_p: Any = None) -> bytes:
        return fp.fingerprint(ChatRequest("m", (), temperature=temperature, top_p=top_p))

    assert at(1) == at(1.0)
    assert at(0, 1) == at(0.0, 1.0)
    assert at(1) != at(None)
    assert at(0) != at(None)
    assert at(0.3, None) != at(None, 0.3)
    assert at(math.nextafter(1.0, 2.0)) != at(1)


def test_the_order_of_keys_matters_only_where_it_steers_the_model():
    def of(**fields: Any) -> bytes:
        return fp.fingerprint(ChatRequest("m", (), **fields))

    assert of(extra={"w": {"a": 1, "b": 2}}) == of(extra={"w": {"b": 2, "a": 1}})
    assert of(reasoning={"a": 1, "b": 2}) == of(reasoning={"b": 2, "a": 1})
    first = {"type": "object", "properties": {"reason": {}, "answer": {}}}
    second = {"type": "object", "properties": {"answer": {}, "reason": {}}}
    assert of(tools=(Tool("t", schema=first),)) != of(tools=(Tool("t", schema=second),))
    assert of(response_format=first) != of(response_format=second)


def test_tools_and_format_do_not_stand_for_each_other():
    def of(**fields: Any) -> bytes:
        return fp.fingerprint(ChatRequest("m", (), **fields))

    prints = [of(), of(response_format={}), of(tools=(Tool(""),)), of(tools=(Tool(""),), response_format={})]
    assert len(set(prints)) == len(prints)


def test_unicode_forms_differ():
    composed, combined = "\u00e9", "e\u0301"
    prints = [fp.fingerprint(ChatRequest("m", (Message("user", (Text(text),)),))) for text in (composed, combined)]
    assert prints[0] != prints[1]


def test_the_fingerprint_is_pinned():
    """A change here must come with a new VERSION: entries in shared tiers are found by it."""
    request = ChatRequest(
        "m",
        (Message("system", (Text("Be brief."),)), Message("user", (Text("Where is my card?"),))),
        temperature=0.5,
        tools=(Tool("look", schema={"type": "object"}),),
        extra={"openai.chat": {"seed": 1}},
    )
    assert (fp.VERSION, fp.fingerprint(request).hex()[:16]) == (2, "d6bbb88a350f1896")


# --- raw bodies through the codecs ------------------------------------------------------------------------------

TOOL_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
OPENAI_BODY: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "user", "content": "Then?"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "weather", "description": "d", "parameters": TOOL_SCHEMA, "strict": True},
        }
    ],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "parallel_tool_calls": False,
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 20,
    "stop": ["x", "y"],
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    "reasoning_effort": "low",
    "seed": 7,
    "logit_bias": {"5": 1},
    "logprobs": True,
    "top_logprobs": 2,
    "frequency_penalty": 0.25,
    "presence_penalty": 0.25,
    "service_tier": "default",
    "metadata": {"team": "a"},
    "somebody_elses_field": {"deep": [1, {"deeper": "x"}]},
    "user": "u1",
    "stream": True,
    "stream_options": {"include_usage": True},
}
ANTHROPIC_BODY: dict[str, Any] = {
    "model": "m",
    "max_tokens": 20,
    "system": [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "B"},
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Ulm"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "rain", "is_error": True}],
        },
    ],
    "tools": [{"name": "weather", "description": "d", "input_schema": TOOL_SCHEMA}],
    "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "stop_sequences": ["x", "y"],
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "metadata": {"user_id": "u1", "team": "a"},
    "somebody_elses_field": {"deep": [1, {"deeper": "x"}]},
    "stream": True,
}
RESPONSES_BODY: dict[str, Any] = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Look"},
                {"type": "input_image", "image_url": "https://x.test/a.png", "detail": "low"},
            ],
        },
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "rain"},
        {"role": "user", "content": "Then?"},
    ],
    "tools": [{"type": "function", "name": "weather", "description": "d", "parameters": TOOL_SCHEMA, "strict": True}],
    "tool_choice": {"type": "function", "name": "weather"},
    "parallel_tool_calls": False,
    "temperature": 0.5,
    "top_p": 0.9,
    "max_output_tokens": 20,
    "reasoning": {"effort": "low"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}, "verbosity": "low"},
    "include": ["reasoning.encrypted_content"],
    "service_tier": "default",
    "metadata": {"team": "a"},
    "somebody_elses_field": {"deep": [1, {"deeper": "x"}]},
    "user": "u1",
    "store": False,
    "stream": True,
}
LEFT_OUT = {
    "openai.chat": {("model",), ("user",), ("stream",), ("stream_options",)},
    "anthropic.messages": {("model",), ("metadata", "user_id"), ("stream",)},
    "openai.responses": {("model",), ("user",), ("stream",), ("stream_options",), ("store",)},
}
DEFAULTS_WRITTEN_OUT = {("messages", 2, "content"), ("messages", 2, "tool_calls", 0, "type")}
"""Places whose value is what their absence means: a turn of tool calls alone has no content, a tool is a function."""
BODIES = {"openai.chat": OPENAI_BODY, "anthropic.messages": ANTHROPIC_BODY, "openai.responses": RESPONSES_BODY}


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value below the top."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for key, child in children for path in ((*at, key), *paths(child, (*at, key)))]


def variants(value: Any) -> list[Any]:
    """Other values of the same type, near by."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1]
    if isinstance(value, float):
        return [value / 2, value + 1e-9]
    if isinstance(value, str):
        return [value + " ", value.upper() if value.upper() != value else value + "X"]
    if isinstance(value, dict):
        return [{**value, "unheard_of": 1}]
    return [[*value, *value[-1:]]] if value else []


def put(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(body)
    node = changed
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    return changed


def look(body: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        body = body[step]
    return body


def print_of(name: str, body: Any) -> bytes | None:
    """The fingerprint of a body, or ``None`` where the codec refuses it."""
    try:
        return fp.fingerprint(wire.codec(name).read_request(json.loads(json.dumps(body))))  # type: ignore[arg-type]
    except Invalid:
        return None


@pytest.mark.parametrize("name", sorted(BODIES))
def test_any_changed_place_of_a_body_changes_the_fingerprint(name: str):
    body = BODIES[name]
    original = print_of(name, body)
    assert original is not None
    told_apart, wrong = 0, []
    for path in paths(body):
        changed = [put(body, path, other) for other in variants(look(body, path))]
        if isinstance(path[-1], str) and path not in DEFAULTS_WRITTEN_OUT:
            without = copy.deepcopy(body)
            del look(without, path[:-1])[path[-1]]
            changed.append(without)
        left_out = any(path[: len(prefix)] == prefix for prefix in LEFT_OUT[name])
        for one in changed:
            found = print_of(name, one)
            if found is not None:
                told_apart += 1
                if (found == original) != left_out:
                    wrong.append(path)
    assert not wrong
    assert told_apart > 100


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(BODIES)), st.text(min_size=1, max_size=12), JSONS, JSONS)
def test_a_field_nobody_knows_makes_a_request_more_specific(name: str, field: str, one: Any, other: Any):
    assume(field not in BODIES[name])
    prints = [print_of(name, {**BODIES[name], field: value}) for value in (one, other)]
    bare = print_of(name, BODIES[name])
    assume(None not in prints)
    if one is not None:
        assert prints[0] != bare
    assert (prints[0] == prints[1]) == (exact(one) == exact(other))


@pytest.mark.parametrize("name", sorted(BODIES))
def test_the_order_of_a_bodys_keys_does_not_matter(name: str):
    body = BODIES[name]
    turned = {key: body[key] for key in reversed(body)}
    assert print_of(name, turned) == print_of(name, body)


# --- keys -------------------------------------------------------------------------------------------------------


def key_of(scope: Scope, **changes: Any) -> bytes:
    parts: dict[str, Any] = {"alias": "a", "route_digest": b"r" * 32, "generation": "g"}
    print_ = changes.pop("fingerprint", b"f" * 32)
    return fp.key(scope, print_, **{**parts, **changes})


def assert_no_two_scopes_share_a_key(pairs: int, seed: int) -> None:
    """Scopes drawn so that joined without lengths they would often collide."""
    rng = random.Random(seed)
    pieces = ["", "a", "b", "ab", "ba", "aa", "\x00", "a\x00", "\x00a", "/", "a/b", "\u00e9", "0" * 32]
    seen: dict[bytes, Scope] = {}
    met_again = 0
    for _ in range(pairs):
        scope = Scope(*("".join(rng.choices(pieces, k=rng.randrange(3))) for _ in range(5)))
        for made in (key_of(scope), scopes.digest(scope)):
            first = seen.setdefault(made, scope)
            assert first == scope
            met_again += first is not scope
    assert met_again, "equal scopes must meet, or this tells nothing"


def test_no_two_scopes_share_a_key():
    assert_no_two_scopes_share_a_key(20_000, seed=1)


@pytest.mark.soak
def test_no_two_scopes_share_a_key_in_a_million():
    assert_no_two_scopes_share_a_key(1_000_000, seed=2)


def assert_no_two_identities_meet(pairs: int, seed: int) -> None:
    """T1: two requests that differ in any one dimension never have the same key."""
    rng = random.Random(seed)
    words = ["", "a", "b", "ab", "ba", "a b"]
    dimensions = (
        "org",
        "project",
        "user",
        "session",
        "environment",
        "locale",
        "system",
        "tools",
        "model",
        "temperature",
    )

    def key(values: dict[str, str]) -> bytes:
        context = json.dumps([values["environment"], values["locale"]])
        request = ChatRequest(
            values["model"],
            (Message("system", (Text(values["system"]),)), Message("user", (Text("same"),))),
            tools=(Tool(values["tools"]),),
            temperature=words.index(values["temperature"]) / 10,
        )
        scope = Scope(values["org"], values["project"], values["user"], context, values["session"])
        return key_of(scope, fingerprint=fp.fingerprint(request), alias=values["model"])

    for _ in range(pairs):
        one = {name: rng.choice(words) for name in dimensions}
        other = dict(one)
        for name in rng.sample(dimensions, k=rng.randrange(1, 3)):
            other[name] = rng.choice(words)
        assert (key(one) == key(other)) == (one == other)


def test_no_two_identities_meet():
    assert_no_two_identities_meet(20_000, seed=3)


@pytest.mark.soak
def test_no_two_identities_meet_in_a_million():
    assert_no_two_identities_meet(1_000_000, seed=4)


def test_everything_beside_the_request_is_in_the_key():
    scope = Scope("o", "p", "u")
    made = [
        key_of(scope),
        key_of(scope, alias="b"),
        key_of(scope, route_digest=b"s" * 32),
        key_of(scope, generation="h"),
        key_of(scope, fingerprint=b"e" * 32),
    ]
    assert len(set(made)) == len(made)
    assert {len(one) for one in made} == {32}
    assert key_of(scope) == key_of(Scope("o", "p", "u"))


def test_every_part_is_in_the_generation():
    base = {"release": "r", "route_digest": b"d", "policy_version": "p", "epoch": "e"}
    others: list[dict[str, Any]] = [{**base, name: value * 2} for name, value in base.items()]
    moved = {"release": "rp", "route_digest": b"d", "policy_version": "", "epoch": "e"}
    made = [fp.generation(**one) for one in (base, *others, moved)]
    assert len(set(made)) == len(made)
    assert all(len(one) == 32 for one in made)


def test_embedding_keys_tell_inputs_apart():
    scope, other = Scope("o", "p"), Scope("o", "q")
    inputs: list[str | tuple[int, ...]] = ["1", "", (1,), (1, 2), (12,), ()]
    made = [
        fp.embedding_key(where, alias, b"r", "g", one, dimensions, extra)
        for where, alias, one, dimensions, extra in itertools.product(
            (scope, other), ("a", "b"), inputs, (None, 2), (None, {"x": 1}, {"x": 2})
        )
    ]
    assert len(set(made)) == len(made)
    assert fp.embedding_key(scope, "a", b"r", "g", "t", None, {"x": 1, "y": 2}) == fp.embedding_key(
        scope, "a", b"r", "g", "t", None, {"y": 2, "x": 1}
    )
    assert fp.embedding_key(scope, "a", b"r", "g", "t", None, None) != fp.key(
        scope, b"t", alias="a", route_digest=b"r", generation="g"
    )


def test_the_input_digest_is_of_what_was_said():
    said = (Message("user", (Text("hi"),)),)
    what = fp.said(ChatRequest("m", said))
    plain = fp.input_digest(what)
    assert plain == fp.input_digest(fp.said(ChatRequest("other", said, temperature=0.3, max_tokens=3)))
    assert plain != fp.input_digest(fp.said(ChatRequest("m", (Message("user", (Text("ho"),)),))))
    assert what != fp.said(ChatRequest("m", said, prompt={"variables": {"name": "Ada"}}))
    keyed = fp.input_digest(what, b"secret")
    assert keyed not in (plain, fp.input_digest(what, b"another"))
