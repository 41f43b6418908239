"""What names a family: instructions without their data; never the question."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato import families
from ostinato.wire.model import ChatRequest, Message, Text, Tool


def asked(system: str, question: str = "hi", **fields: object) -> ChatRequest:
    messages = (Message("system", (Text(system),)), Message("user", (Text(question),)))
    return ChatRequest(**{"model": "plain", "messages": messages, **fields})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Today is Monday, 23 November 2026, 10:15 PM. Be short.", "Today is Sunday, 2 March 2027, 4:05 AM. Be short."),
        ("Today is 2026-11-23T10:00:00Z.", "Today is 2025-01-02T23:59:59Z."),
        ("You help ann@example.org.", "You help bob.b@mail.example.com."),
        ("Request 8f3a1c22-77aa-4b7c-9f1e-001122334455.", "Request 01234567-89ab-4cde-8f01-23456789abcd."),
        ("Account 4711, balance 12.50.", "Account 9, balance 1,234.00."),
        ("It is Mon, Nov 2nd 2026.", "It is Tue, Dec 3rd 2026."),
    ],
)
def test_what_changes_by_the_day_makes_no_family_of_its_own(one: str, other: str) -> None:
    assert families.key_of(asked(one)) == families.key_of(asked(other))


@pytest.mark.parametrize(
    "other",
    [
        asked("You are a kind bot."),
        asked("You are a bot.", model="strong"),
        asked("You are a bot.", tools=(Tool("look", schema={"type": "object"}),)),
        asked("You are a bot.", response_format={"type": "json_object"}),
    ],
)
def test_other_instructions_are_another_family(other: ChatRequest) -> None:
    assert families.key_of(asked("You are a bot.")) != families.key_of(other)


@given(st.text(max_size=200), st.text(max_size=200))
def test_the_question_is_no_part_of_it(one: str, other: str) -> None:
    assert families.key_of(asked("You are a bot.", one)) == families.key_of(asked("You are a bot.", other))


def test_a_prompt_is_its_own_name() -> None:
    assert families.key_of(asked("whatever"), "support/answer", 3) == "support/answer@3"


@given(st.text(max_size=2_000))
def test_masking_is_the_same_twice_and_never_fails(text: str) -> None:
    once = families.masked(text)
    assert families.masked(text) == once


@pytest.mark.parametrize("piece", ["a", "a1", "@", "a@", "# ", "a.", "1 ", "Mon ", "Nov 1 ", "_1-"])
def test_no_text_makes_it_run_away(piece: str) -> None:
    began = time.process_time()
    families.masked(piece * (100_000 // len(piece)))
    assert time.process_time() - began < 2.0  # 20 ms in fact; a square would take minutes


def test_the_data_part_is_the_last_question() -> None:
    request = ChatRequest(
        model="plain",
        messages=(
            Message("user", (Text("first"),)),
            Message("assistant", (Text("well"),)),
            Message("user", (Text("second"),)),
        ),
    )
    assert families.data_of(request) == "second"
