"""What secrets and personal data look like: patterns with a check behind them, each in time linear in the text.

No expression here can run away: a search starts at a literal or at one class of characters, goes forward only, and
what was looked at and refused is skipped. Where there is a checksum (cards, IBAN) it must hold, so that a mere number
passes.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

Span: TypeAlias = tuple[int, int, str]
"""Start, end, label."""
Detector: TypeAlias = Callable[[str], Iterable[Span]]

LABELS = ("SECRET", "EMAIL", "PHONE", "IBAN", "CARD", "SSN", "BANNED")
PLACEHOLDER = re.compile(r"\[(?:" + "|".join(LABELS) + r")\]")


def secrets(text: str) -> Iterator[Span]:
    """Keys of well-known forms, private keys, tokens, passwords in URLs and after a telling name."""
    for needle, body, shortest in _KEYS:
        yield from _keys(text, needle, body, shortest)
    yield from _private_keys(text)
    yield from _web_tokens(text)
    yield from _url_passwords(text)
    yield from _assignments(text)


def personal(text: str) -> Iterator[Span]:
    """Mail addresses, telephone numbers in international form, IBANs, card numbers, US social security numbers."""
    yield from _emails(text)
    yield from _phones(text)
    if _DIGITS.search(text) is not None:
        yield from _ibans(text)
        for run in _RUN.finditer(text):
            yield from _social_security(text, *run.span())
            if run.end() - run.start() >= 13:
                yield from _cards(text, *run.span())


# --- secrets ----------------------------------------------------------------------------------------------------

_WORD = re.compile(r"[A-Za-z0-9_-]*")
_ALNUM = re.compile(r"[A-Za-z0-9]*")
_UPPER = re.compile(r"[A-Z0-9]*")
_KEYS: tuple[tuple[str, re.Pattern[str], int], ...] = (
    ("sk-", _WORD, 16),  # OpenAI, Anthropic, many others
    ("ost_", _WORD, 16),  # ours
    ("AKIA", _UPPER, 16),  # AWS
    ("ASIA", _UPPER, 16),
    ("gh", re.compile(r"(?:[opusr]_[A-Za-z0-9]*)?"), 22),  # GitHub
    ("github_pat_", _WORD, 20),
    ("glpat-", _WORD, 16),  # GitLab
    ("xox", re.compile(r"(?:[abeoprs]-[A-Za-z0-9-]*)?"), 12),  # Slack
    ("xapp-", _WORD, 10),
    ("AIza", _WORD, 30),  # Google
    ("ya29.", _WORD, 20),
    ("k_live_", _ALNUM, 16),  # Stripe: sk_live_, rk_live_, pk_live_
    ("k_test_", _ALNUM, 16),
    ("hf_", _ALNUM, 30),  # Hugging Face
    ("npm_", _ALNUM, 30),
    ("pypi-", _WORD, 40),
    ("gsk_", _ALNUM, 30),  # Groq
    ("xai-", _ALNUM, 30),
    ("SG.", re.compile(r"[A-Za-z0-9_.-]*"), 40),  # SendGrid
)
_HAS_DIGIT = re.compile(r"[0-9]")


def _keys(text: str, needle: str, body: re.Pattern[str], shortest: int) -> Iterator[Span]:
    at = text.find(needle)
    while at >= 0:
        found = body.match(text, at + len(needle))
        end = found.end() if found is not None else at + len(needle)
        # "task-list" and the like: a key begins a word, is long, and never without a digit.
        start = at - 1 if needle.startswith("k_") and text[at - 1 : at] in ("s", "r", "p") else at
        long = end - at - len(needle) >= shortest
        if long and _begins(text, start) and _HAS_DIGIT.search(text, at + len(needle), end):
            yield start, end, "SECRET"
        at = text.find(needle, max(end, at + 1))


_PEM = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?(?:-----)?")
_PEM_BODY = re.compile(r"[A-Za-z0-9+/=\s\\:,.-]*")
_PEM_LONGEST = 16_384


def _private_keys(text: str) -> Iterator[Span]:
    at = text.find("-----BEGIN ")
    while at >= 0:
        begin = _PEM.match(text, at)
        if begin is None:
            at = text.find("-----BEGIN ", at + 5)
            continue
        end = text.find("-----END ", begin.end(), begin.end() + _PEM_LONGEST)
        closing = _PEM_END.match(text, end) if end >= 0 else None
        if closing is not None:
            stop = closing.end()
        else:
            body = _PEM_BODY.match(text, begin.end(), begin.end() + _PEM_LONGEST)
            stop = body.end() if body is not None else begin.end()
        yield at, stop, "SECRET"
        at = text.find("-----BEGIN ", stop)


def _web_tokens(text: str) -> Iterator[Span]:
    """JSON Web Tokens: two or three runs of base64 with dots between, the first an object."""
    at = text.find("eyJ")
    while at >= 0:
        end = _end(_WORD, text, at)
        if end - at >= 8 and text[end : end + 1] == "." and _begins(text, at):
            stop = _end(_WORD, text, end + 1)
            if stop - end >= 8:
                if text[stop : stop + 1] == ".":
                    stop = _end(_WORD, text, stop + 1)
                yield at, stop, "SECRET"
                end = stop
        at = text.find("eyJ", max(end, at + 1))


_CREDENTIALS = re.compile(r"://[^\s/@:\[\]]{0,64}:([^\s/@\[\]]{1,128})@")


def _url_passwords(text: str) -> Iterator[Span]:
    at = text.find("://")
    while at >= 0:
        found = _CREDENTIALS.match(text, at)
        if found is not None:
            yield found.start(1), found.end(1), "SECRET"
        at = text.find("://", at + 3)


_NAMES = ("passw", "pwd", "secret", "token", "api_key", "api-key", "apikey", "access_key", "private_key", "bearer ")
_VALUE = r"[^\s\"'`,;<>\[\]{}()\\|]{8,200}"
_AFTER_NAME = re.compile(
    r"[A-Za-z_-]{0,24}[\"'\\]{0,2}\s{0,4}[:=]{1,2}\s{0,4}[\"'\\]{0,2}(?:[Bb]earer )?(" + _VALUE + ")"
)
_AFTER_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] {1,4}([A-Za-z0-9._~+/=-]{16,4096})")
_LEAST_ENTROPY = 2.5
"""Bits per character: a word of eight different letters has 3."""


def _assignments(text: str) -> Iterator[Span]:
    """``password=...``, ``"api_key": "..."``, ``Authorization: Bearer ...``: a value that no word would be."""
    lower = text.lower()
    if len(lower) != len(text):  # a letter such as U+0130 grows; then only ASCII is lowered
        lower = "".join(c.lower() if c.isascii() else c for c in text)
    for name in _NAMES:
        pattern, skipped = (_AFTER_BEARER, 0) if name == "bearer " else (_AFTER_NAME, len(name))
        at = lower.find(name)
        while at >= 0:
            found = pattern.match(text, at + skipped)
            end = at + 1
            if found is not None:
                end = found.start(1)
                if _is_random(found.group(1)):
                    yield found.start(1), found.end(1), "SECRET"
                    end = found.end(1)
            at = lower.find(name, end)


def _is_random(value: str) -> bool:
    """Whether it has a digit or a sign among its letters, and is not the same over and over."""
    if value.isalpha() or "://" in value:
        return False
    total = len(value)
    entropy = -sum(count / total * math.log2(count / total) for count in Counter(value).values())
    return entropy >= _LEAST_ENTROPY


# --- personal data ----------------------------------------------------------------------------------------------

_LOCAL_SIGNS = frozenset("._%+-'")
_DOMAIN = re.compile(r"(?:[\w-]{1,63}\.){1,10}[^\W\d_]{2,63}")
_LONGEST_LOCAL = 64


def _emails(text: str) -> Iterator[Span]:
    for sign in ("@", "%40"):
        at = text.find(sign)
        while at >= 0:
            start = at
            lowest = max(0, at - _LONGEST_LOCAL)
            while start > lowest and (text[start - 1].isalnum() or text[start - 1] in _LOCAL_SIGNS):
                start -= 1
            while start < at and not text[start].isalnum():
                start += 1
            after = at + len(sign)
            domain = _DOMAIN.match(text, after) if start < at else None
            if domain is not None:
                yield start, domain.end(), "EMAIL"
            at = text.find(sign, after)


_PHONE = re.compile(r"\+[1-9](?:[ ().\-/]{0,2}[0-9]){6,14}(?![0-9])")


def _phones(text: str) -> Iterator[Span]:
    at = text.find("+")
    while at >= 0:
        found = _PHONE.match(text, at) if _begins(text, at) else None
        if found is not None:
            yield at, found.end(), "PHONE"
        at = text.find("+", found.end() if found is not None else at + 1)


_DIGITS = re.compile(r"[0-9]")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}")
_IBAN_TABLE = (
    "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18"
    "FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21"
    "LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24"
    "SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30"
)
"""Country and length, four characters each; from the registry of SWIFT."""
_IBAN_LENGTHS = {_IBAN_TABLE[at : at + 2]: int(_IBAN_TABLE[at + 2 : at + 4]) for at in range(0, len(_IBAN_TABLE), 4)}


def _ibans(text: str) -> Iterator[Span]:
    found = _IBAN.search(text)
    while found is not None:
        at, end = found.start(), 0
        length = _IBAN_LENGTHS.get(text[at : at + 2])
        if length is not None and _begins(text, at):
            end = _iban_end(text, at, length)
        if end:
            yield at, end, "IBAN"
        found = _IBAN.search(text, max(end, at + 1))


def _iban_end(text: str, at: int, length: int) -> int:
    """Where an IBAN of ``length`` characters that begins at ``at`` ends, or 0; single gaps are allowed."""
    characters: list[str] = []
    place = at
    while len(characters) < length and place < len(text):
        character = text[place]
        if character.isascii() and character.isalnum():
            characters.append(character)
        elif character not in " -" or not text[place - 1].isalnum():
            return 0
        place += 1
    if len(characters) < length or text[place : place + 1].isalnum():
        return 0
    rotated = "".join(characters[4:] + characters[:4])
    return place if int("".join(str(int(c, 36)) for c in rotated)) % 97 == 1 else 0


_RUN = re.compile(r"[0-9][0-9 -]{9,}[0-9]")
"""Digits with spaces and hyphens between: what a card or a social security number is part of."""
_GROUP = re.compile(r"[0-9]+")
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def _cards(text: str, begin: int, finish: int) -> Iterator[Span]:
    """Groups of digits that together are a card number: one group, or several of three and more with single gaps."""
    groups = [group.span() for group in _GROUP.finditer(text, begin, finish)]
    digits = [int(c) for start, end in groups for c in text[start:end]]
    # Sums with the digits at even, and at odd, places doubled: the checksum of any part is then one subtraction.
    sums: tuple[list[int], list[int]] = ([0], [0])
    for place, digit in enumerate(digits):
        for parity in (0, 1):
            sums[parity].append(sums[parity][-1] + (_DOUBLED[digit] if place % 2 == parity else digit))
    offsets = [0]
    for start, end in groups:
        offsets.append(offsets[-1] + end - start)
    first = 0
    while first < len(groups):
        next_first = first + 1
        for last in range(first, len(groups)):
            start, end = groups[last]
            if last > first and (start - groups[last - 1][1] != 1 or min(end - start, _width(groups[first])) < 3):
                break
            low, high = offsets[first], offsets[last + 1]
            if high - low > 19:
                break
            doubled = sums[high % 2]
            if (doubled[high] - doubled[low]) % 10 == 0 and _is_issued(digits, low, high):
                yield groups[first][0], end, "CARD"
                next_first = last + 1
                break
        first = next_first


def _width(group: tuple[int, int]) -> int:
    return group[1] - group[0]


def _is_issued(digits: list[int], low: int, high: int) -> bool:
    """Whether a network gives out numbers with this beginning and length."""
    length = high - low
    if length < 13:
        return False
    first, two = digits[low], digits[low] * 10 + digits[low + 1]
    if first == 4:
        return length in (13, 16, 19)
    if first == 3:
        return (two in (34, 37) and length == 15) or (two in (30, 36, 38, 39) and length >= 14) or two == 35
    if first == 2:
        return 22 <= two <= 27 and length == 16
    return (51 <= two <= 55 and length == 16) or (first in (5, 6) and length >= 16)


_SSN = re.compile(r"[0-9]{3}-[0-9]{2}-[0-9]{4}")


def _social_security(text: str, begin: int, finish: int) -> Iterator[Span]:
    found = _SSN.search(text, begin, finish)
    while found is not None:
        number, end = found.group(), found.end()
        real = number[:3] not in ("000", "666") and number[0] != "9" and number[4:6] != "00" and number[7:] != "0000"
        if real and _begins(text, found.start()) and not text[end : end + 1].isdigit():
            yield found.start(), end, "SSN"
        else:
            end = found.start() + 1
        found = _SSN.search(text, end, finish)


# --- shared -----------------------------------------------------------------------------------------------------


def _begins(text: str, at: int) -> bool:
    """Whether no letter or digit stands right before ``at``."""
    return at == 0 or not text[at - 1].isalnum()


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found is not None else at
