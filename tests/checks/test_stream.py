"""Answers checked on their way: nothing that must not leave leaves, and everything else does."""

import random

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato import checks
from ostinato.checks import Rule, StreamFilter
from ostinato.wire.model import BlockStart, BlockStop, Delta, Event, Finish, Start, Usage

PROSE = "The quick brown fox (aged 12) jumps over 3 lazy dogs; see the manual, page 2024-05-06. "


def opened(*rules: Rule, **limits: int) -> StreamFilter:
    made = checks.compile(
        rules or (Rule("keys", "secrets", "redact"), Rule("people", "pii", "redact")), checks.Settings(**limits)
    )
    assert made is not None
    stream = made.stream_filter()
    assert stream is not None
    return stream


def fragments(text: str, rng: random.Random, longest: int = 9) -> list[str]:
    parts: list[str] = []
    while text:
        cut = rng.randrange(1, longest + 1)
        parts.append(text[:cut])
        text = text[cut:]
    return parts


def run(stream: StreamFilter, parts: list[str], kind: str = "text") -> list[Event]:
    sent = stream.feed([Start("m"), BlockStart(0, kind, "call_1", "tool")])
    for part in parts:
        sent += stream.feed([Delta(0, part)])
    return sent + stream.feed([BlockStop(0), Finish("stop"), Usage(1)]) + stream.close()


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta))


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_no_canary_leaves_however_it_is_cut(canaries, seed: int) -> None:
    rng = random.Random(seed)
    planted = [rng.choice([canaries.secret, canaries.personal])(rng) for _ in range(4)]
    text = "".join(PROSE * rng.randrange(8) + canary + rng.choice([" ", "\n", ", "]) for canary in planted) + PROSE
    stream = opened()
    sent = text_of(run(stream, fragments(text, rng, rng.choice([1, 9, 400]))))
    for canary in planted:
        assert canary not in sent
        assert all(len(line) < 20 or line not in sent for line in canary.split("\n"))
    assert sent == checks.redact(text)
    assert stream.action == "redact"
    assert sum(finding.count for finding in stream.findings) >= 4


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_harmless_text_passes_whole_and_in_order(seed: int) -> None:
    rng = random.Random(seed)
    text = PROSE * rng.randrange(30) + "supercalifragilistic" * rng.randrange(3)
    stream = opened()
    events = run(stream, fragments(text, rng))
    assert text_of(events) == text
    assert stream.findings == ()
    assert [type(event) for event in events if not isinstance(event, Delta)] == [
        Start,
        BlockStart,
        BlockStop,
        Finish,
        Usage,
    ]


def test_text_leaves_while_the_answer_is_still_growing() -> None:
    stream = opened(hold_chars=256)
    stream.feed([Start("m"), BlockStart(0, "text")])
    sent, most_held = 0, 0
    for count, part in enumerate(fragments(PROSE * 40, random.Random(0)), 1):
        sent += len(text_of(stream.feed([Delta(0, part)])))
        most_held = max(most_held, stream.held)
        assert count or sent
    assert sent > 2_000
    assert most_held < 256 + 64 + 64


def test_a_block_ends_the_stream_before_the_finding() -> None:
    stream = opened(Rule("never", "banned", "block", terms=("launch code",)))
    sent = run(stream, fragments(PROSE * 10 + "the launch\ncode is 1" + PROSE * 10, random.Random(1)))
    assert stream.blocked
    assert "launch" not in text_of(sent)
    assert not any(isinstance(event, Finish) for event in sent)
    assert stream.feed([Delta(0, "more " * 500)]) == []
    assert checks.refusal(stream.findings, "answer").code == "content_blocked"


def test_rules_that_only_keep_out_of_the_cache_need_no_filter() -> None:
    made = checks.compile([Rule("people", "pii", "no-store")])
    assert made is not None
    assert made.stream_filter() is None


def test_a_long_banned_phrase_is_held_whole() -> None:
    phrase = " ".join(["word"] * 39)
    stream = opened(Rule("never", "banned", "redact", terms=(phrase,)))
    sent = text_of(run(stream, fragments(PROSE * 5 + phrase.replace(" ", " \n ") + ". " + PROSE * 5, random.Random(2))))
    assert "word word" not in sent.replace("\n", "").replace("  ", " ")
    assert "[BANNED]" in sent


def test_a_key_that_never_ends_does_not_fill_the_memory() -> None:
    stream = opened()
    key = "sk-" + "a1B2" * 60_000
    stream.feed([Start("m"), BlockStart(0, "text")])
    sent, held = "", 0
    for at in range(0, len(key), 500):
        sent += text_of(stream.feed([Delta(0, "see " + key[:500] if at == 0 else key[at : at + 500])]))
        held = max(held, stream.held)
    sent += text_of(stream.feed([Delta(0, " and the rest"), BlockStop(0), Finish("stop")]))
    assert sent == "see [SECRET] and the rest"
    assert held < 70_000


def test_arguments_leave_whole_and_stay_json() -> None:
    mail = "bob" + "@example.com"
    text = msgspec.json.encode({"to": mail, "card": 1}).decode()
    events = run(opened(), fragments(text, random.Random(4)), "tool_use")
    assert [msgspec.json.decode(event.text) for event in events if isinstance(event, Delta)] == [
        {"to": "[EMAIL]", "card": 1}
    ]


def test_interleaved_calls_are_kept_apart() -> None:
    mail = "bob" + "@example.com"
    one, two = msgspec.json.encode({"to": mail}).decode(), msgspec.json.encode({"n": 1}).decode()
    stream = opened()
    sent = stream.feed([Start("m"), BlockStart(0, "tool_use", "a", "t"), Delta(0, one[:6]), BlockStop(0)])
    sent += stream.feed([BlockStart(1, "tool_use", "b", "t"), Delta(1, two), BlockStop(1), Delta(0, one[6:])])
    sent += stream.feed([Finish("tool_use"), Usage(1)])
    by_index = {index: "".join(e.text for e in sent if isinstance(e, Delta) and e.index == index) for index in (0, 1)}
    assert msgspec.json.decode(by_index[0]) == {"to": "[EMAIL]"}
    assert msgspec.json.decode(by_index[1]) == {"n": 1}


def test_signatures_pass_and_second_copies_do_not() -> None:
    mail = "bob" + "@example.com"
    stream = opened()
    sent = stream.feed([BlockStart(0, "thinking"), Delta(0, f"by {mail}", {"logprobs": [mail]})])
    sent += stream.feed([Delta(0, "", {"signature": "c2ln"}), BlockStop(0)])
    told = msgspec.json.encode(sent).decode()
    assert "c2ln" in told
    assert mail not in told


def test_an_answer_cut_short_gives_what_was_held() -> None:
    stream = opened()
    sent = stream.feed([BlockStart(0, "text"), Delta(0, "short")])
    assert text_of(sent) == ""
    assert text_of(stream.close()) == "short"
