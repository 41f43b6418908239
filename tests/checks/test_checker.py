"""Rules on requests, embeddings and answers."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato import checks
from ostinato.checks import Rule
from ostinato.core.errors import Invalid
from ostinato.wire.model import (
    Answer,
    BlockStart,
    BlockStop,
    ChatRequest,
    Delta,
    EmbeddingRequest,
    Finish,
    Image,
    Message,
    Opaque,
    Start,
    Text,
    Thinking,
    Tool,
    ToolResult,
    ToolUse,
    Usage,
)

REDACT = (Rule("keys", "secrets", "redact"), Rule("people", "pii", "redact"))


def checker(*rules: Rule, **limits: int) -> checks.Checker:
    made = checks.compile(rules or REDACT, checks.Settings(**limits))
    assert made is not None
    return made


def asked(text: str, **fields: object) -> ChatRequest:
    return ChatRequest("m", (Message("user", (Text(text),)),), **fields)


def answered(*parts: str, kind: str = "text") -> Answer:
    deltas = [Delta(0, part) for part in parts]
    events = (Start("m"), BlockStart(0, kind, "call_1", "tool"), *deltas, BlockStop(0), Finish("stop"), Usage(1))
    return Answer("openai.chat", events)


def everything(value: object) -> str:
    return msgspec.json.encode(value).decode()


def test_no_rules_cost_nothing() -> None:
    assert checks.compile([]) is None


@pytest.mark.parametrize(
    "rule",
    [
        Rule("a", "banned", "block"),
        Rule("a", "banned", "block", terms=(" ",)),
        Rule("a", "banned", "block", terms=("x" * 201,)),
        Rule("a", "pii", "block", terms=("x",)),
    ],
)
def test_a_rule_that_cannot_be_used_is_named(rule: Rule) -> None:
    with pytest.raises(Invalid, match="'a'") as caught:
        checks.compile([rule])
    assert caught.value.param == "checks.rules.a.terms"


def test_two_rules_of_one_name_are_refused() -> None:
    with pytest.raises(Invalid, match="twice"):
        checks.compile([REDACT[0], REDACT[0]])


def test_a_clean_request_is_handed_back_itself() -> None:
    request = asked("How do I reset my card?", original={"messages": [{"role": "user", "content": "How?"}]})
    verdict = checker().input(request)
    assert verdict.action == "allow"
    assert verdict.findings == ()
    assert verdict.request is request


def test_every_place_of_a_request_is_redacted_in_both_forms(canaries) -> None:
    rng = random.Random(1)
    mail, key = "bob.jones" + "@example.com", canaries.secret(rng)
    card = int(canaries.luhn("4" + "1" * 14))
    arguments = everything({"to": mail, "card": card, mail: 1, "deep": [{"key": key}]})
    messages = (
        Message("system", (Text(f"Key {key}", extra={"note": mail}),)),
        Message("user", (Text(f"I am {mail}"), Image(url="https://example.com/" + "a.png"))),
        Message("assistant", (Thinking(f"he is {mail}", "c2ln"), ToolUse("call_1", "send", arguments))),
        Message("tool", (ToolResult("call_1", (Text(key), Opaque("openai.chat", {"type": "x", "body": mail}))),)),
    )
    original = {
        "model": "m",
        "user": mail,
        "messages": [
            {"role": "system", "content": f"Key {key}"},
            {"role": "user", "content": [{"type": "text", "text": f"I am {mail}"}]},
            {
                "role": "assistant",
                "tool_calls": [{"id": "call_1", "function": {"name": "send", "arguments": arguments}}],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": key},
        ],
        "prediction": {"type": "content", "content": mail},
        "tools": [{"type": "function", "function": {"name": "send"}}],
    }
    request = ChatRequest(
        "m",
        messages,
        (Tool("send"),),
        original=original,
        user=mail,
        extra={"openai.chat": {"prediction": {"content": mail}}},
    )
    verdict = checker().input(request)
    assert verdict.action == "redact"
    cleaned = verdict.request
    for form in (cleaned.messages, cleaned.original and cleaned.original["messages"], cleaned.extra):
        text = everything(form)
        for canary in (mail, key.split("\n")[0], str(card)):
            assert canary not in text
    assert cleaned.original is not None
    assert cleaned.original["prediction"] == {"type": "content", "content": "[EMAIL]"}
    # Who asks decides whose entries are seen: it is not for a redactor to change.
    assert cleaned.user == mail
    assert cleaned.original["user"] == mail
    assert cleaned.tools == request.tools
    sent = cleaned.original["messages"][2]["tool_calls"][0]["function"]["arguments"]
    assert msgspec.json.decode(sent) == {"to": "[EMAIL]", "card": "[CARD]", "[EMAIL]": 1, "deep": [{"key": "[SECRET]"}]}
    assert everything(verdict.findings).find(mail) < 0
    again = checker().input(cleaned)
    assert again.action == "allow"
    assert again.request is cleaned


def test_base64_and_ids_are_passed_over() -> None:
    data = "sk-" + "A1" * 20
    original = {
        "messages": [
            {
                "role": "user",
                "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}],
            },
            {"role": "tool", "tool_call_id": data, "content": "a" + "@b.example.com"},
        ]
    }
    request = ChatRequest(
        "m",
        (
            Message("user", (Image(data=data, media_type="image/png"),)),
            Message("tool", (ToolResult(data, (Text("a" + "@b.example.com"),)),)),
        ),
        original=original,
    )
    cleaned = checker().input(request).request.original
    assert cleaned is not None
    assert cleaned["messages"][0] is original["messages"][0]
    assert cleaned["messages"][1] == {"role": "tool", "tool_call_id": data, "content": "[EMAIL]"}


def test_text_documents_are_read_though_they_are_data() -> None:
    mail = "bob" + "@example.com"
    value = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": f"from {mail}"}}
    request = ChatRequest("m", (Message("user", (Opaque("anthropic.messages", value),)),))
    assert mail not in everything(checker().input(request).request)


def test_the_strictest_rule_decides_and_redaction_happens_all_the_same() -> None:
    mail = "bob" + "@example.com"
    rules = (
        Rule("watch", "pii", "allow"),
        Rule("people", "pii", "redact"),
        Rule("words", "banned", "no-store", terms=("moonbase",)),
        Rule("never", "banned", "block", terms=("launch code",)),
    )
    made = checker(*rules)
    assert made.input(asked("hello")).action == "allow"
    seen = made.input(asked(f"{mail} at moonbase"))
    assert seen.action == "no-store"
    assert mail not in everything(seen.request)
    assert "moonbase" in everything(seen.request)
    assert {(finding.rule, finding.action) for finding in seen.findings} == {
        ("watch", "allow"),
        ("people", "redact"),
        ("words", "no-store"),
    }
    refused = made.input(asked(f"the Launch\nCODE, {mail}"))
    assert refused.action == "block"
    error = checks.refusal(refused.findings)
    assert "never (BANNED)" in error.message
    assert error.code == "content_blocked"
    assert mail not in error.sentence
    assert "launch" not in error.sentence.lower()


def test_a_rule_applies_where_it_says() -> None:
    text = "call " + "+49 170 1234567"
    one_way = checker(Rule("in", "pii", "block", applies="input"))
    assert one_way.input(asked(text)).action == "block"
    assert one_way.output(answered(text)).action == "allow"
    assert one_way.stream_filter() is None
    other = checker(Rule("out", "pii", "block", applies="output"))
    assert other.input(asked(text)).action == "allow"
    assert other.output(answered(text)).action == "block"


@pytest.mark.parametrize(
    ("action", "expected"), [("allow", "allow"), ("redact", "block"), ("block", "block"), ("no-store", "no-store")]
)
def test_text_too_long_to_read_does_not_pass_unread(action: str, expected: str) -> None:
    made = checker(Rule("people", "pii", action), max_chars=1_000)
    assert made.input(asked("x" * 1_000)).action == "allow"
    verdict = made.input(asked("x" * 1_001))
    assert verdict.action == expected
    if expected == "block":
        assert verdict.findings[0].label == "UNSCANNED"
        assert "max_chars" in checks.refusal(verdict.findings).hint


def test_the_inputs_of_an_embedding_are_checked() -> None:
    mail = "bob" + "@example.com"
    request = EmbeddingRequest("e", (f"from {mail}", (1, 2, 3), "plain"))
    verdict = checker().embedding(request)
    assert verdict.request.inputs == ("from [EMAIL]", (1, 2, 3), "plain")
    clean = EmbeddingRequest("e", ("plain",))
    assert checker().embedding(clean).request is clean


class TestAnswers:
    def test_a_finding_cut_into_fragments_is_found(self, canaries) -> None:
        key = canaries.secret(random.Random(3))
        parts = [key[i : i + 3] for i in range(0, len(key), 3)]
        verdict = checker().output(answered("Here: ", *parts, " - keep it"))
        assert verdict.action == "redact"
        texts = [event.text for event in verdict.answer.events if isinstance(event, Delta)]
        assert texts == ["Here: [SECRET] - keep it"]
        assert [type(event) for event in verdict.answer.events] == [Start, BlockStart, Delta, BlockStop, Finish, Usage]

    def test_a_clean_answer_is_handed_back_itself(self) -> None:
        answer = answered("Your card ", "is on its way.")
        assert checker().output(answer).answer is answer

    def test_arguments_stay_json(self) -> None:
        mail = "bob" + "@example.com"
        text = everything({"to": mail, "n": 3})
        verdict = checker().output(answered(text[:9], text[9:], kind="tool_use"))
        fresh = "".join(event.text for event in verdict.answer.events if isinstance(event, Delta))
        assert msgspec.json.decode(fresh) == {"to": "[EMAIL]", "n": 3}

    def test_copies_of_the_text_go_too_and_signatures_stay(self) -> None:
        mail = "bob" + "@example.com"
        events = (
            Start("m", {"top": {"note": mail}}),
            BlockStart(0, "thinking"),
            Delta(0, "bob", {"logprobs": [{"token": "bob"}]}),
            Delta(0, mail[3:], {"logprobs": [{"token": mail[3:]}]}),
            Delta(0, "", {"signature": "c2ln"}),
            BlockStop(0),
            Finish("stop", extra={"message": {"annotations": [{"text": mail}]}}),
        )
        answer = checker().output(Answer("openai.chat", events)).answer
        told = everything(answer.events)
        assert mail not in told
        assert mail[3:] not in told
        assert "logprobs" not in told
        assert "c2ln" in told

    @given(st.integers(), st.lists(st.integers(1, 12), max_size=40))
    @settings(max_examples=100, deadline=None)
    def test_however_it_is_cut_the_answer_comes_out_alike(self, canaries, seed: int, cuts: list[int]) -> None:
        rng = random.Random(seed)
        text = f"first {canaries.secret(rng)} then {canaries.personal(rng)}, end"
        parts, rest = [], text
        for cut in cuts:
            parts.append(rest[:cut])
            rest = rest[cut:]
        whole = checker().output(answered(text)).answer
        split = checker().output(answered(*parts, rest)).answer
        join = lambda answer: "".join(e.text for e in answer.events if isinstance(e, Delta))  # noqa: E731
        assert join(whole) == join(split) == checks.redact(text)
