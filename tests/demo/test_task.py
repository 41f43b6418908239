"""The scorer takes labels as models write them, and nothing else."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostinato.demo import task


@pytest.mark.parametrize("answer", ["refund", " refund", "Refund.", '"refund"', "REFUND\n", "`refund`"])
def test_a_label_is_known_in_every_spelling(answer: str):
    assert task.read(answer) == "request_refund"
    assert task.score(answer, "request_refund")
    assert not task.score(answer, "change_pin")


@pytest.mark.parametrize("answer", ["", "refund PIN", "a Refund", "I think: refund", "refunds", "none"])
def test_anything_else_is_wrong(answer: str):
    assert task.read(answer) is None
    assert not any(task.score(answer, intent) for intent in task.INTENTS)


@given(st.text())
def test_an_answer_names_at_most_one_intent(answer: str):
    assert sum(task.score(answer, intent) for intent in task.INTENTS) <= 1


def test_the_prompt_names_every_label_before_the_question():
    system, user = task.messages("Where is my card?")
    assert all(label in system["content"] for label in task.INTENTS.values())
    assert "Where is my card?" in user["content"] and "Where is my card?" not in system["content"]


def test_the_grammar_lets_every_label_through_and_nothing_else():
    grammar = task.decoding()["grammar"]
    assert [json.loads(text) for text in re.findall(r'"[^"]*"', grammar)] == [" ", *task.INTENTS.values()]


def test_no_label_is_cut():
    # A token is at least one byte, labels are short words: the bound must leave room for the end as well.
    assert max(len(label.split()) for label in task.INTENTS.values()) * 4 < task.MAX_TOKENS
