"""Admission: what may be answered from cache, what may be kept, and for how long."""

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.access.model import Caller
from ostinato.cache import admission, schemas
from ostinato.cache.directives import Directives
from ostinato.cache.model import Policy, Scope
from ostinato.wire.model import (
    Answer,
    BlockStart,
    BlockStop,
    ChatRequest,
    Delta,
    Event,
    Finish,
    FinishReason,
    Opaque,
    Start,
    Tool,
    Usage,
)

CALLER = Caller(key_id="k", key_prefix="ost_", org="o", project="p")
SCOPE = Scope("o", "p")


class Summary(msgspec.Struct):
    finish: FinishReason | None = "stop"
    has_tool_use: bool = False
    has_refusal: bool = False
    empty: bool = False


def eligible(
    policy: Policy | None = None, scope: Scope | None = SCOPE, asked: Directives | None = None, **fields: Any
) -> str:
    caller = fields.pop("caller", CALLER)
    return admission.eligible(ChatRequest("m", (), **fields), policy or Policy(), caller, scope, asked or Directives())


def test_which_requests_the_cache_takes_part_in():
    assert eligible() == ""
    assert eligible(Policy(mode="off")) == "policy-off"
    assert eligible(asked=Directives(no_store=True)) == "no-store"
    assert eligible(asked=Directives(no_cache=True)) == ""
    assert eligible(scope=None, caller=msgspec.structs.replace(CALLER, end_user_required=True)) == "no-end-user"
    assert eligible(Policy(session_scope=True), scope=None) == "no-session"


@pytest.mark.parametrize(
    ("temperature", "limit", "reason"),
    [
        (None, 0.0, ""),
        (0.0, 0.0, ""),
        (1.0, 1.0, ""),
        (1, 1.0, ""),
        (1.01, 1.0, "temperature"),
        (0.1, 0.0, "temperature"),
    ],
)
def test_the_policys_temperature_limit(temperature: float | None, limit: float, reason: str):
    assert eligible(Policy(temperature_limit=limit), temperature=temperature) == reason


def test_several_answers_and_live_tools_bypass():
    assert eligible(extra={"openai.chat": {"n": 2}}) == "n"
    assert eligible(extra={"openai.chat": {"n": 1, "seed": 3}}) == ""
    assert eligible(extra={"openai.chat": {"web_search_options": {"size": 1}}}) == "live-tools"
    assert eligible(extra={"anthropic.messages": {"mcp_servers": [{"url": "x"}]}}) == "live-tools"
    hosted = Tool("", opaque=Opaque("anthropic.messages", {"type": "web_search_20250305"}))
    own = Tool("", opaque=Opaque("anthropic.messages", {"type": "bash_20250124"}))
    assert eligible(tools=(hosted,)) == "live-tools"
    assert eligible(tools=(own, Tool("weather"))) == ""


def admissible(summary: Summary | None = None, policy: Policy | None = None, **changes: Any) -> str:
    values: dict[str, Any] = {"is_fallback": False, "status": 200, "complete": True, "size": 100, **changes}
    return admission.admissible(summary or Summary(), policy=policy or Policy(), **values)


def test_which_answers_are_kept():
    assert admissible() == ""
    assert admissible(Summary(finish="stop_sequence")) == ""
    assert admissible(Summary(finish="tool_use", has_tool_use=True)) == ""
    assert admissible(status=500) == "error"
    assert admissible(status=201) == "error"
    assert admissible(complete=False) == "incomplete"
    assert admissible(Summary(finish=None)) == "incomplete"
    assert admissible(Summary(finish="pause")) == "incomplete"
    assert admissible(Summary(finish="length")) == "truncated"
    assert admissible(Summary(finish="content_filter")) == "content-filter"
    assert admissible(Summary(finish="other")) == "unknown-finish"
    assert admissible(Summary(empty=True)) == "empty"
    assert admissible(Summary(has_refusal=True)) == "refusal"
    assert admissible(Summary(finish="refusal")) == "refusal"
    assert admissible(Summary(finish="refusal"), Policy(store_refusals=True)) == ""
    assert admissible(Summary(finish="content_filter"), Policy(store_refusals=True)) == "content-filter"
    assert admissible(is_fallback=True) == "fallback"
    assert admissible(is_fallback=True, policy=Policy(store_fallback=True)) == ""
    assert admissible(size=1_048_577) == "too-large"
    assert admissible(size=1_048_576) == ""


@given(
    st.sampled_from([None, "stop", "stop_sequence", "length", "tool_use", "content_filter", "refusal", "other"]),
    st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.sampled_from([200, 206, 429, 500]),
)  # fmt: skip
def test_only_whole_and_good_answers_are_kept(
    finish: Any, tools: bool, refusal: bool, empty: bool, complete: bool, status: int
):
    kept = admissible(Summary(finish, tools, refusal, empty), complete=complete, status=status) == ""
    good = finish in ("stop", "stop_sequence", "tool_use") and not refusal and not empty and complete and status == 200
    assert kept == good


def text_answer(*parts: str, kind: Any = "text") -> Answer:
    events: list[Event] = [Start("m"), BlockStart(0, kind)]
    events += [Delta(0, part) for part in parts]
    return Answer("openai.chat", (*events, BlockStop(0), Finish("stop"), Usage()))


def tool_answer(*arguments: str) -> Answer:
    events: list[Event] = [Start("m")]
    for index, text in enumerate(arguments):
        events += [
            BlockStart(index, "tool_use", f"c{index}", "f"),
            *(Delta(index, half) for half in (text[:2], text[2:])),
        ]
    return Answer("openai.chat", (*events, Finish("tool_use"), Usage()))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (['{"a": 1}'], ""),
        (["{}", '{"b": [1, 2]}'], ""),
        ([""], ""),
        ([" "], ""),
        (['{"a": 1'], "tool-arguments"),
        (["{}", "{'b': 1}"], "tool-arguments"),
        (["{} {}"], "tool-arguments"),
    ],
)
def test_tool_arguments_must_be_json(arguments: list[str], reason: str):
    summary = Summary(finish="tool_use", has_tool_use=True)
    assert admissible(summary, answer=tool_answer(*arguments)) == reason


SCHEMA = {
    "type": "object",
    "properties": {"intent": {"enum": ["a", "b"]}},
    "required": ["intent"],
    "additionalProperties": False,
}


def shaped(schema: Any, *parts: str) -> str:
    asked = ChatRequest(
        "m", (), response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    )
    return admissible(request=asked, answer=text_answer(*parts))


def test_an_answer_must_have_the_shape_asked_for():
    assert shaped(SCHEMA, '{"int', 'ent": "a"}') == ""
    assert shaped(SCHEMA, '{"intent": "c"}') == "schema"
    assert shaped(SCHEMA, '{"intent": "a", "more": 1}') == "schema"
    assert shaped(SCHEMA, "intent: a") == "schema"
    assert shaped(SCHEMA, '```json\n{"intent": "a"}\n```') == "schema"
    assert shaped(SCHEMA, "") == "schema"
    assert shaped(None, "[]") == ""
    assert shaped(True, "[]") == ""
    assert shaped(False, "[]") == "schema"


def test_json_mode_wants_an_object():
    asked = ChatRequest("m", (), response_format={"type": "json_object"})
    assert admissible(request=asked, answer=text_answer('{"a": 1}')) == ""
    assert admissible(request=asked, answer=text_answer("[1]")) == "schema"
    assert admissible(request=asked, answer=text_answer("{")) == "schema"
    free = ChatRequest("m", (), response_format={"type": "text"})
    assert admissible(request=free, answer=text_answer("{")) == ""


def test_only_text_counts_for_the_shape():
    events = (Start("m"), BlockStart(0, "thinking"), Delta(0, "hm"), BlockStart(1, "text"), Delta(1, '{"intent": "a"}'))
    asked = ChatRequest("m", (), response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}})
    assert admissible(request=asked, answer=Answer("w", (*events, Finish("stop")))) == ""


def test_a_tool_call_need_not_have_the_shape_of_the_text():
    asked = ChatRequest("m", (), response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}})
    summary = Summary(finish="tool_use", has_tool_use=True)
    assert admissible(summary, request=asked, answer=tool_answer("{}")) == ""


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://example.invalid/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/$defs/nowhere"},
        {"type": "no such type"},
        {"pattern": "(?=a)b"},
        {"pattern": "("},
        {"type": "object", "description": "x" * 70_000},
        [],
        "string",
        7,
        {"type": {"type": {}}},
    ],
    ids=lambda schema: json.dumps(schema)[:40],
)
def test_a_schema_that_cannot_be_judged_keeps_nothing(schema: Any):
    assert shaped(schema, '{"a": 1}') == "schema"


def test_a_schema_that_would_cause_endless_work_keeps_nothing():
    """Each definition refers to the next one twice: written out it has 2**28 nodes."""
    steps = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(28)}
    assert shaped({"$defs": {**steps, "a28": {"type": "object"}}, "$ref": "#/$defs/a0"}, "{}") == "schema"
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"properties": {"a": deep}}
    assert shaped(deep, "{}") == "schema"


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"allOf": [{"$ref": "#"}]}], ids=["self", "within"])
def test_a_schema_that_refers_to_itself_ends(schema: Any):
    assert shaped(schema, "{}") in ("", "schema")


def test_a_recursive_schema_is_judged():
    schema = {
        "$defs": {
            "node": {"type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}}
        },
        "$ref": "#/$defs/node",
    }
    assert shaped(schema, '{"next": {"next": {"next": null}}}') == ""
    assert shaped(schema, '{"next": {"next": {"next": 3}}}') == "schema"


def test_patterns_do_not_backtrack():
    schema = {"type": "string", "pattern": "^(a+)+$"}
    assert shaped(schema, json.dumps("a" * 5_000 + "b")) == "schema"
    assert shaped(schema, json.dumps("a" * 5_000)) == ""


@given(st.text(max_size=30))
def test_json_or_not_never_raises(text: str):
    try:
        expected = json.loads(text, parse_constant=lambda _: 1 / 0)
    except (ValueError, ZeroDivisionError):
        assert not schemas.is_json(text)
    else:
        assert schemas.is_json(text) or isinstance(expected, str | dict | list)  # lone surrogates are refused


NOW = 1_760_000_000_000_000


@given(
    st.floats(0.01, 1e6), st.floats(0, 0.9), st.floats(0, 1e4), st.floats(0, 1e4), st.integers(0, 1000), st.booleans()
)  # fmt: skip
def test_jitter_only_shortens(ttl: float, jitter: float, revalidate: float, error: float, seed: int, fallback: bool):
    policy = Policy(
        ttl=ttl, ttl_jitter=jitter, stale_while_revalidate=revalidate, stale_if_error=error, fallback_ttl=300.0
    )
    expires, until = admission.expiry(policy, NOW, random.Random(seed), is_fallback=fallback)
    longest = min(ttl, 300.0) if fallback else ttl
    assert longest * (1 - jitter) * 1e6 - 2 <= expires - NOW <= longest * 1e6 + 1
    assert abs(until - expires - max(revalidate, error) * 1e6) <= 1


def test_entries_made_together_do_not_expire_together():
    rng = random.Random(1)
    ends = {admission.expiry(Policy(), NOW, rng)[0] for _ in range(100)}
    assert len(ends) > 90
    assert max(ends) - min(ends) > 0.05 * 86_400 * 1e6


def test_what_is_stale_is_served_only_where_the_policy_says():
    policy = Policy(stale_while_revalidate=10, stale_if_error=100)
    assert admission.stale_use(policy, expires=NOW, now=NOW + 9_000_000) == (True, True)
    assert admission.stale_use(policy, expires=NOW, now=NOW + 10_000_000) == (False, True)
    assert admission.stale_use(policy, expires=NOW, now=NOW + 100_000_000) == (False, False)
    assert admission.stale_use(Policy(), expires=NOW, now=NOW) == (False, False)
    for asked in (Directives(max_age=1000), Directives(no_cache=True), Directives(no_store=True)):
        assert admission.stale_use(policy, expires=NOW, now=NOW + 1, directives=asked) == (False, False)
