"""Each kind says what it should, case by case."""

import asyncio
from typing import Any

import pytest

from ostinato import scorers
from ostinato.core.clock import ManualClock
from ostinato.core.errors import Invalid
from ostinato.datasets.model import Passage
from ostinato.scorers import Context, Score, Spec, Subject
from ostinato.wire.model import Answer, BlockStart, BlockStop, Delta, Finish, Start, Usage

CONTEXT = Context(clock=ManualClock())


def told(kind: str, config: dict[str, Any], subject: Subject) -> Score:
    scorer = scorers.build(Spec(kind=kind, config=config), CONTEXT)
    (score,) = asyncio.run(scorers.score_all([scorer], subject))
    return score


def value(kind: str, config: dict[str, Any], output: str, reference: object = None, **more: Any) -> float | None:
    return told(kind, config, Subject(output=output, reference=reference, **more)).value


def passages(*pairs: tuple[str, float | None]) -> tuple[Passage, ...]:
    return tuple(Passage(name, f"text of {name}", relevance) for name, relevance in pairs)


@pytest.mark.parametrize(
    ("kind", "config", "output", "reference", "expected"),
    [
        ("exact", {}, " yes\n", "yes", 1.0),
        ("exact", {"strip": False}, " yes", "yes", 0.0),
        ("exact", {}, "Yes", "yes", 0.0),
        ("exact", {}, "b", ["a", "b"], 1.0),
        ("exact", {}, "4", 4, 1.0),
        ("exact", {}, "yes", None, None),
        ("normalized", {}, "The ANSWER,  is: 4!", "the answer is 4", 1.0),
        ("normalized", {}, "\uff39es", "yes", 1.0),
        ("normalized", {"punctuation": True}, "yes!", "yes", 0.0),
        ("normalized", {"articles": False}, "the cat", "a cat", 1.0),
        ("normalized", {}, "the cat", "a cat", 0.0),
        ("contains", {"terms": ["refund", "days"]}, "A refund.", None, 1.0),
        ("contains", {"terms": ["refund", "days"], "mode": "all"}, "A refund.", None, 0.0),
        ("contains", {"terms": ["refund", "days"], "mode": "share"}, "A Refund.", None, 0.5),
        ("contains", {"terms": ["refund"], "mode": "none"}, "A refund.", None, 0.0),
        ("contains", {"terms": ["refund"], "case_sensitive": True}, "A Refund.", None, 0.0),
        ("contains", {}, "It is Paris, of course.", "paris", 1.0),
        ("contains", {}, "anything", None, None),
        ("contains", {}, "anything", "", None),
        ("label", {"labels": ["positive", "negative"]}, "Sentiment: Positive.", "positive", 1.0),
        ("label", {"labels": ["positive", "negative"]}, "negative", "positive", 0.0),
        ("label", {"labels": ["positive", "negative"]}, "positive or negative", "positive", 0.0),
        ("label", {"labels": ["positive", "negative"]}, "nonpositive", "positive", 0.0),
        ("label", {"labels": ["positive", "negative"]}, "positive", "neutral", None),
        ("label", {"labels": ["pos", "neg"], "synonyms": {"pos": ["good"]}}, "It is good", "pos", 1.0),
        ("label", {"labels": ["card", "lost card"]}, "lost card", "lost card", 1.0),
        ("label", {"labels": ["card", "lost card"]}, "my lost card", "lost card", 1.0),
        ("label", {"labels": ["card", "lost card"], "where": "start"}, "lost card. not card", "lost card", 1.0),
        ("label", {"labels": ["a b", "c"], "where": "whole"}, "it is c", "c", 0.0),
        ("label", {"labels": ["lost_card", "c"]}, "lost card", "lost_card", 1.0),
        ("numeric", {}, "The total is 1,234.50 dollars", 1234.5, 1.0),
        ("numeric", {}, "first 3, then 4", "4", 1.0),
        ("numeric", {"which": "first"}, "first 3, then 4", "3", 1.0),
        ("numeric", {"which": "only"}, "first 3, then 4", "4", 0.0),
        ("numeric", {"absolute": 0.5}, "4.4", 4, 1.0),
        ("numeric", {"relative": 0.1}, "109", 100, 1.0),
        ("numeric", {"relative": 0.1}, "111", 100, 0.0),
        ("numeric", {}, "-3e2", -300, 1.0),
        ("numeric", {}, "none", 3, 0.0),
        ("numeric", {}, "3", "many", None),
        ("numeric", {}, "1", True, None),
        ("regex", {"pattern": r"\d{3}-\d{4}"}, "call 555-1234", None, 1.0),
        ("regex", {"pattern": r"\d{3}-\d{4}", "whole": True}, "call 555-1234", None, 0.0),
        ("regex", {"pattern": r"a|b", "whole": True}, "bc", None, 0.0),
        ("regex", {"pattern": "YES", "ignore_case": True}, "yes", None, 1.0),
        ("regex", {"pattern": "sorry", "present": False}, "sorry", None, 0.0),
        ("json-schema", {"schema": {"type": "object", "required": ["a"]}}, '{"a": 1}', None, 1.0),
        ("json-schema", {"schema": {"type": "object", "required": ["a"]}}, '```json\n{"a": 1}\n```', None, 1.0),
        ("json-schema", {"schema": {"type": "object"}, "fenced": False}, "```json\n{}\n```", None, 0.0),
        ("json-schema", {"schema": {"type": "object", "required": ["a"]}}, "{}", None, 0.0),
        ("json-schema", {"schema": {"type": "object"}}, "no json", None, 0.0),
        ("json-difference", {}, '{"a": 1, "b": 2}', {"b": 2, "a": 1}, 1.0),
        ("json-difference", {}, '{"a": 1, "b": 3}', {"a": 1, "b": 2}, 0.5),
        ("json-difference", {}, '{"a": 1, "x": 3}', {"a": 1}, 0.5),
        ("json-difference", {"extra": "ignore"}, '{"a": 1, "x": 3}', {"a": 1}, 1.0),
        ("json-difference", {"ignore": ["x"]}, '{"a": 1, "x": 3}', {"a": 1}, 1.0),
        ("json-difference", {}, "[1, 2, 3]", [1, 2], 2 / 3),
        ("json-difference", {}, "[]", [], 1.0),
        ("json-difference", {}, '{"a": {"b": 1, "c": 2}}', {"a": 5}, 0.0),
        ("json-difference", {}, '{"a": true}', {"a": 1}, 0.0),
        ("json-difference", {"relative": 0.01}, "100.5", 100, 1.0),
        ("json-difference", {"strings": "normalized"}, '"The End."', '"the end"', 1.0),
        ("json-difference", {}, "nothing", {"a": 1}, 0.0),
        ("json-difference", {}, "1", "not json", None),
        ("json-difference", {}, "1", None, None),
        ("length", {"good": 3}, "one two three", None, 1.0),
        ("length", {"good": 2}, "one two three", None, 0.5),
        ("length", {"good": 2}, "one two three four", None, 0.0),
        ("length", {"good": 5, "least": 2}, "one", None, 0.0),
        ("length", {"good": 5, "unit": "characters"}, "12345", None, 1.0),
        ("length", {"good": 5, "unit": "tokens"}, "12345", None, None),
        ("refusal", {}, "I\u2019m sorry, but I can\u2019t help with that.", None, 0.0),
        ("refusal", {}, "As an AI language model, I cannot say.", None, 0.0),
        ("refusal", {}, "Es tut mir leid, aber dabei kann ich nicht helfen.", None, 0.0),
        ("refusal", {}, "Je suis d\u00e9sol\u00e9, mais je ne peux pas.", None, 0.0),
        ("refusal", {}, "Sorry for the delay! Your parcel is here.", None, 1.0),
        ("refusal", {}, "He said: I cannot help you.", None, 1.0),
        ("refusal", {"expected": True}, "I cannot help with that.", None, 1.0),
        ("policy", {}, "All is well.", None, 1.0),
        ("policy", {}, "Write to jane.doe@example.com", None, 0.0),
        ("policy", {"forbid": ["secrets"]}, "Write to jane.doe@example.com", None, 1.0),
        ("policy", {"forbid": ["banned"], "terms": ["guarantee"]}, "We GUARANTEE it", None, 0.0),
    ],
)
def test_a_kind_says(kind: str, config: dict[str, Any], output: str, reference: object, expected: float | None) -> None:
    assert value(kind, config, output, reference) == pytest.approx(expected)


RELEVANT = passages(("a", 3), ("b", 1), ("c", 0))
FOUND = passages(("x", None), ("b", None), ("b", None), ("a", None))


@pytest.mark.parametrize(
    ("kind", "config", "expected"),
    [
        ("precision-at-k", {"k": 2}, 0.5),
        ("precision-at-k", {"k": 3}, 2 / 3),
        ("precision-at-k", {"k": 10}, 0.2),
        ("recall-at-k", {"k": 2}, 0.5),
        ("recall-at-k", {"k": 3}, 1.0),
        ("mrr", {"k": 5}, 0.5),
        ("mrr", {"k": 1}, 0.0),
        # By hand: gains 7 and 1; found at 3 and 2; the best order has them at 1 and 2.
        ("ndcg", {"k": 3}, (1 / 1.5849625 + 7 / 2) / (7 + 1 / 1.5849625)),
        ("ndcg", {"k": 3, "exponential": False}, (1 / 1.5849625 + 3 / 2) / (3 + 1 / 1.5849625)),
        ("recall-at-k", {"k": 5, "threshold": 1.0}, 1.0),
    ],
)
def test_what_was_retrieved_is_measured(kind: str, config: dict[str, Any], expected: float) -> None:
    assert value(kind, config, "", passages=RELEVANT, retrieved=FOUND) == pytest.approx(expected, rel=1e-6)


def test_nothing_relevant_is_unscored_and_nothing_found_is_zero() -> None:
    for kind in ("precision-at-k", "recall-at-k", "mrr", "ndcg"):
        assert value(kind, {}, "", retrieved=FOUND) is None
        assert value(kind, {}, "", passages=passages(("a", 0)), retrieved=FOUND) is None
        assert value(kind, {}, "", passages=passages(("a", None))) == 0.0


def test_what_an_answer_took() -> None:
    subject = Subject(output="", latency_us=1_500_000, cost=2_000_000, usage=Usage(output=30))
    assert told("latency", {"good": 1, "bad": 2}, subject).value == 0.5
    assert told("latency", {"good": 1.5, "bad": 1.5}, subject).value == 1.0
    assert told("cost", {"good": 0.001, "bad": 0.003}, subject).value == pytest.approx(0.5)
    assert told("length", {"good": 20, "bad": 40, "unit": "tokens"}, subject).value == 0.5
    assert told("cost", {"good": 0.001, "bad": 0.003}, Subject(output="")).value is None
    assert told("latency", {"good": 1, "bad": 2}, Subject(output="")).value is None


def test_an_answer_rests_on_its_passages() -> None:
    source = (Passage("p", "The warranty of the X200 lasts 24 months and covers the battery."),)
    grounded = "The warranty lasts 24 months."
    invented = "It also covers water damage in swimming pools."
    wrong_number = "The warranty lasts 36 months."
    assert value("groundedness", {}, grounded, retrieved=source) == 1.0
    assert value("groundedness", {}, f"{grounded} {invented}", retrieved=source) == 0.5
    assert value("groundedness", {}, wrong_number, retrieved=source) == 0.0
    assert value("groundedness", {}, grounded) is None


def test_a_refusal_of_the_provider_counts_whatever_is_said() -> None:
    events = (Start("m"), BlockStart(0, "refusal"), Delta(0, "No."), BlockStop(0), Finish("refusal"))
    assert told("refusal", {}, Subject(output="", answer=Answer("openai.chat", events))).value == 0.0
    assert told("refusal", {}, Subject(output="Well", finish="content_filter")).value == 0.0


def test_policy_reads_the_arguments_of_tool_calls_too() -> None:
    events = (
        *(Start("m"), BlockStart(0, "tool_use", "c", "mail"), Delta(0, '{"to": "jane.doe@example.com"}')),
        *(BlockStop(0), Finish("tool_use")),
    )
    assert told("policy", {}, Subject(output="", answer=Answer("openai.chat", events))).value == 0.0


def test_too_long_a_text_is_unscored_never_clean() -> None:
    long = "word " * 100_000
    assert told("policy", {}, Subject(output=long)).value is None
    assert told("regex", {"pattern": "x", "present": False}, Subject(output=long)).value is None


def test_deep_and_huge_json_is_unscored_and_stops_nobody() -> None:
    deep = "[" * 90 + "]" * 90
    assert value("json-difference", {}, deep, deep) is None
    assert value("json-difference", {}, "[" * 5000 + "]" * 5000, {"a": 1}) == 0.0


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"(a|a)*b", r"^(\w+\s?)*$"])
def test_no_text_stalls_a_pattern(pattern: str) -> None:
    text = "a" * 200_000 + "!"
    assert value("regex", {"pattern": pattern}, text) in (0.0, 1.0)


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("regex", {"pattern": "("}),
        ("regex", {"pattern": ""}),
        ("regex", {"pattern": r"(?=x)"}),
        ("regex", {"pattern": r"(a)\1"}),
        ("regex", {"pattern": "x" * 1001}),
        ("regex", {"pattern": "((a{100}){100}){100}"}),
        ("json-schema", {"schema": {"type": "nothing"}}),
        ("json-schema", {"schema": {"$ref": "http://example.com/x"}}),
        ("label", {"labels": []}),
        ("label", {"labels": ["a", "A"]}),
        ("label", {"labels": ["a", "b"], "synonyms": {"c": ["d"]}}),
        ("label", {"labels": ["a", "..."]}),
        ("numeric", {"absolute": -1}),
        ("mrr", {"k": 0}),
        ("length", {"good": 5, "bad": 2}),
        ("length", {}),
        ("contains", {"terms": [""]}),
        ("policy", {"forbid": []}),
        ("policy", {"forbid": ["banned"]}),
        ("exact", {"stripped": True}),
        ("exact", {"strip": "yes"}),
        ("nothing", {}),
        ("judge", {"model": "m", "rubric": "r"}),
        ("similarity", {}),
        ("python", {"function": "os.system"}),
        ("http", {"hook": "http://169.254.169.254/"}),
        ("groundedness", {"share": 0}),
        ("groundedness", {"model": "m"}),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_declared(kind: str, config: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        scorers.build(Spec(kind=kind, config=config), CONTEXT)
    assert caught.value.code
    assert caught.value.message


def test_a_schema_that_doubles_is_refused() -> None:
    schema: dict[str, Any] = {"$defs": {"d0": {"type": "string"}}}
    for at in range(1, 40):
        schema["$defs"][f"d{at}"] = {"anyOf": [{"$ref": f"#/$defs/d{at - 1}"}] * 2}
    schema["$ref"] = "#/$defs/d39"
    with pytest.raises(Invalid):
        scorers.build(Spec(kind="json-schema", config={"schema": schema}), CONTEXT)
