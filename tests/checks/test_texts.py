# ruff: noqa: RUF001 - the odd characters are what is tested
"""Redacting texts: what is planted is never found again, what is harmless stays, and nothing runs away."""

import random
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostinato import checks
from ostinato.checks import texts, views
from ostinato.checks.terms import Terms

SEPARATORS = [" ", "\n", ", ", ": ", " = ", "; ", '"', "'", "(", "<", "\t", " - ", "\u3002", "\u00a0"]
FILLERS = ["the invoice of", "12", "2024-05-06", "order 4711 of 3", "Grüße", "東京", "a@b", "+", "sk-", "1 2 3", "["]


def planted(rng: random.Random, canary: str) -> str:
    """A text with ``canary`` somewhere in it, apart from its neighbours by at least one separator."""
    before = "".join(rng.choice(FILLERS) + rng.choice(SEPARATORS) for _ in range(rng.randrange(4)))
    after = "".join(rng.choice(SEPARATORS) + rng.choice(FILLERS) for _ in range(rng.randrange(4)))
    return before + canary + after


@pytest.mark.parametrize("kind", ["secret", "personal"])
def test_no_planted_canary_is_found_after_redaction(canaries, kind: str) -> None:
    rng = random.Random(20251008)
    for _ in range(1_500):
        canary = getattr(canaries, kind)(rng)
        text = planted(rng, canary)
        clean = checks.redact(text)
        assert canary not in clean, f"left in {len(text)} characters"
        for piece in canary.split("\n"):
            assert len(piece) < 20 or piece not in clean
        assert "[" in clean
        assert checks.redact(clean) == clean


def test_a_password_after_its_name_goes_and_the_name_stays() -> None:
    value = "hunter2" + "!Xy"
    token = "hunter2" + "abcDEF." + "456"
    for form in (
        f"password={value}",
        f'"password": "{value}"',
        f"Password : {value}",
        f"db_passwd = '{value}'",
        f"API_KEY={value}",
        f"client_secret: {value}",
        f'{{\\"api_key\\": \\"{value}\\"}}',
        f"https://user:{value}@example.com/",
        f"Authorization: Bearer {token}",
    ):
        clean = checks.redact(form)
        assert value not in clean
        assert token not in clean
        assert "[SECRET]" in clean
        assert clean[:4] == form[:4]


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog.",
        "password: required",
        "my token is: unknown",
        "the secret of success: hard work",
        "task-list-of-things-to-do-today is a kebab-case slug",
        "order 4111111111111112 was refused",  # no valid checksum
        "1234567890123456 and 0000000000000000",
        "DE00 3704 0044 0532 0130 00",
        "version 1.2.3-45-6789",
        "call extension 12345",
        "2024-05-06 12:30:00 +0200",
        "follow @someone on social media",
        "a+b=c, 3+4=7, C++ and g++",
        "[EMAIL] [CARD] [SECRET]",
        "000-12-3456 and 912-34-5678 are no social security numbers",
        "",
    ],
)
def test_harmless_text_stays_as_it_is(text: str) -> None:
    assert checks.redact(text) is text or checks.redact(text) == text


def test_disguises_are_seen_through(canaries) -> None:
    card = canaries.luhn("4" + "2" * 14)
    wide = "".join(chr(ord(c) + 0xFEE0) for c in card)
    hidden = "\u200b".join(card)
    soft = "bob" + "\u00ad" + "@exam" + "\u2060" + "ple.com"
    for text in (f"é {wide} é", f"my {hidden}!", f"write to {soft} now"):
        clean = checks.redact(text)
        assert "[CARD]" in clean or "[EMAIL]" in clean
        assert len(clean) < len(text)
    assert checks.redact(f"é {wide} é") == "é [CARD] é"
    assert checks.redact(f"write to {soft} now") == "write to [EMAIL] now"


@given(st.text(max_size=300))
@example("\x00" * 10)
@example("[EMAIL]@[EMAIL].com")
@example("password=password=password=[SECRET]1234567")
@example("\ud800 a@b.co")
@settings(max_examples=300, deadline=None)
def test_any_text_is_taken_and_twice_is_as_once(text: str) -> None:
    clean = checks.redact(text)
    assert checks.redact(clean) == clean


SHARDS = st.sampled_from(
    ["sk-", "1", "4111", " ", "-", "@", ".", "com", "+", "DE", "eyJ", "password", "=", ":", "[", "]", "EMAIL", "a", "é",
     "\u0301", "\u200b", "４", "ß", "ı", "-----BEGIN ",
     "PRIVATE KEY-----", "\n", "://", "Bearer ", "%40", "123-45-6789"]
)  # fmt: skip


@given(st.lists(SHARDS, max_size=60).map("".join))
@settings(max_examples=400, deadline=None)
def test_pieces_of_findings_in_any_order_are_taken_too(text: str) -> None:
    clean = checks.redact(text)
    assert checks.redact(clean) == clean


@given(st.lists(st.one_of(SHARDS, st.text(max_size=5)), max_size=40).map("".join))
@settings(max_examples=300, deadline=None)
def test_a_view_keeps_every_position(text: str) -> None:
    for make in (views.plain, views.folded):
        view = make(text)
        last = 0
        for place in range(len(view.text)):
            start, end = view.span(place, place + 1)
            assert 0 <= start < end <= len(text)
            assert start >= last
            last = start


def test_a_view_agrees_with_the_normalization_of_the_whole() -> None:
    import unicodedata

    for text in (
        "ｆｕｌｌ ＷＩＤＴＨ",
        "Straße",
        "İstanbul",
        "café",
        "cafe\u0301",
        "ﬁne",
        "각",
        "\u1100\u1161\u11a8",
        "一二三",
    ):
        assert views.plain(text).text == unicodedata.normalize("NFKC", text)
        folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
        assert views.folded(text).text == folded


ADVERSARIAL = {
    "letters": "a", "ats": "@", "mails": "a@", "tokens": "eyJ-", "groups": "444 ", "digits": "4", "single digits": "4 ",
    "accounts": "DE12 ", "names": "password=", "keys": "-----BEGIN " + "PRIVATE KEY-----", "pluses": "+1", "links": "://a:",
    "spaces": "1         ", "wide": "，é", "numbers": "123-45-", "key starts": "sk-a ", "accents": "a\u0301",
    "invisible": "a\u200b", "term starts": "foo ", "escapes": "a%40", "dots": "a@a.a.a.", "brackets": "[EMAIL] foo",
}  # fmt: skip


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_time_grows_no_faster_than_the_text(name: str) -> None:
    """Eight times the text may take at most forty times as long: a quadratic pattern takes sixty-four and more."""
    searches = (texts.SECRETS, texts.PERSONAL, texts.Search(Terms(("foo bar", "c++")).find, normalized=False))

    def seconds(size: int) -> float:
        piece = ADVERSARIAL[name]
        text = (piece * (size // len(piece) + 1))[:size]
        best = float("inf")
        for _ in range(3):
            begin = time.thread_time()
            for search in searches:
                search.spans(text)
            best = min(best, time.thread_time() - begin)
        return best

    small, large = seconds(2_000), seconds(16_000)
    assert large < 40 * max(small, 0.000_5)


class TestTerms:
    def test_words_are_bounded_and_case_does_not_matter(self) -> None:
        terms = Terms(("Moon Base", "C++", "ass"))
        assert [
            text
            for text in ("MOON   base!", "moon\nbase", "xmoon base", "moonbase", "pass", "assess")
            if terms.find(text)
        ] == [
            "MOON   base!",
            "moon\nbase",
        ]
        assert terms.find("I know c++ well")
        assert terms.find("what an ASS.")

    def test_scripts_without_spaces_are_found_inside(self) -> None:
        assert Terms(("東京",)).find("私は東京都に住む")

    def test_width_accents_and_invisible_signs_do_not_hide_a_term(self) -> None:
        terms = Terms(("geheim", "Café"))
        for text in ("ＧＥＨＥＩＭ", "ge\u200bheim", "g\u00adeheim", "cafe\u0301", "CAFÉ"):
            assert terms.find(text), text
            start, end, label = terms.find(f"x {text} y")[0]
            assert (start, end, label) == (2, 2 + len(text), "BANNED")

    def test_a_placeholder_is_no_term(self) -> None:
        assert not Terms(("email",)).find("to [EMAIL] now")
        assert Terms(("email",)).find("your email")

    def test_the_longer_term_wins(self) -> None:
        assert Terms(("moon", "moon base", "moon base alpha")).find("a moon base alpha b") == [(2, 17, "BANNED")]

    @given(
        st.lists(st.text("ab c+東é", min_size=1, max_size=8), min_size=1, max_size=12), st.text("ab c+東é", max_size=30)
    )
    @settings(max_examples=300, deadline=None)
    def test_one_expression_finds_what_each_term_alone_would(self, words: list[str], text: str) -> None:
        words = [word for word in words if word.strip()]
        alone = any(Terms((word,)).find(text) for word in words)
        assert bool(Terms(tuple(words)).find(text)) == alone
