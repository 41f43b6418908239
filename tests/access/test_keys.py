"""The form of secrets."""

import re
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from ostinato.access import keys
from ostinato.core import hashing

LETTERS = string.ascii_letters + string.digits


def test_a_secret_has_its_form_and_its_digest():
    secret = keys.new()
    assert len(secret.text) == keys.LENGTH
    assert re.fullmatch(r"ost_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}", secret.text)
    assert secret.text.startswith(secret.prefix) and len(secret.prefix) == keys.PREFIX_LENGTH
    assert secret.digest == hashing.secret_digest(secret.text)
    assert keys.well_formed(secret.text)


def test_no_two_secrets_are_alike():
    made = [keys.new() for _ in range(2000)]
    assert len({secret.text for secret in made}) == len(made)
    assert len({secret.prefix for secret in made}) == len(made)


def test_every_place_of_the_random_part_takes_many_characters():
    columns = zip(*(keys.new().text[13:56] for _ in range(400)), strict=True)
    assert [len(set(column)) for column in columns if len(set(column)) < 30][1:] == []  # the first digit has fewer


@settings(deadline=None)
@given(st.integers(0, keys.LENGTH - 1), st.sampled_from(LETTERS + "_- é"))
def test_any_changed_character_is_noticed(place: int, character: str):
    text = keys.new().text
    changed = text[:place] + character + text[place + 1 :]
    assert keys.well_formed(changed) == (changed == text)


@settings(deadline=None)
@given(st.text(max_size=80))
def test_other_texts_are_not_keys(text: str):
    assert not keys.well_formed(text)
    assert not keys.well_formed("ost_" + text)


def test_cut_lengthened_and_padded_secrets_are_not_keys():
    text = keys.new().text
    for wrong in (text[:-1], text + "a", text + "\n", " " + text, text.lower(), text.replace("ost_", "sk-_")):
        assert not keys.well_formed(wrong)


def test_a_secret_hides_itself():
    secret = keys.new()
    for shown in (repr(secret), str(secret), f"{secret}", f"{[secret]}"):
        assert secret.text not in shown and secret.text[13:] not in shown
        assert secret.prefix in shown
