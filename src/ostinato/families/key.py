"""The name of a request's family: the version of its prompt, else a digest of its instructions with the data masked."""

import re
from collections.abc import Iterable
from typing import cast

import msgspec
from blake3 import blake3

from ostinato.wire.model import ChatRequest, Message, Text

OTHER = "other"
"""Stands for all families that no room is for."""

_INSTRUCTING = frozenset({"system", "developer"})
_LONGEST = 16_384
"""Characters of one message that are looked at; what is behind them goes in as it is."""
_REMEMBERED = 1_024
_MONTHS = (
    "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|"
    "Sep(?:t(?:ember)?)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?"
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ADDRESS = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_DIGITS = re.compile(r"\d\w*")
_BEFORE = re.compile(rf"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\.?,?\s{{1,3}})?(?:(?:{_MONTHS})\.?\s{{1,3}})?\Z")
_AFTER = re.compile(rf"(?:\.?\s{{1,3}}(?:{_MONTHS})\b)?\.?(?:\s?[AaPp](?:\.[Mm]\.|[Mm]\b))?")
_RUN = re.compile(r"#(?:[\s.,:/+_-]{0,3}#)+")
_CONTEXT = 16
_WORD = 64

_encode = msgspec.json.Encoder(order="deterministic").encode
_memo: dict[bytes, str] = {}


def masked(text: str) -> str:
    """``text`` with addresses, dates, times, ids and numbers as ``#``: what stays is what the author wrote."""
    head, tail = text[:_LONGEST], text[_LONGEST:]
    if "@" in head:
        head = _ADDRESS.sub("#", head)
    for day in _DAYS:
        head = head.replace(day, "#")
    if _DIGITS.search(head) is not None:
        head = _without_numbers(head)
    return " ".join(_RUN.sub("#", head).split()) + tail


def _without_numbers(text: str) -> str:
    """Words with a digit in them as ``#``, with the names of months and days beside them.

    From digit to digit: instructions have few, and whoever puts retrieved text into them pays for every character.
    """
    parts: list[str] = []
    at = 0
    for found in _DIGITS.finditer(text):
        start, end = found.span()
        if start < at:
            continue
        least = max(at, start - _WORD)
        while start > least and (text[start - 1].isalnum() or text[start - 1] == "_"):
            start -= 1
        before = _BEFORE.search(text, max(at, start - _CONTEXT), start)
        if before is not None:
            start = before.start()
        after = _AFTER.match(text, end)
        if after is not None and after.end() > end and text[end : after.end()] != ".":
            end = after.end()
        parts.append(text[at:start])
        at = end
    return "#".join((*parts, text[at:]))


def key_of(request: ChatRequest, prompt: str = "", version: int = 0) -> str:
    """The family of a request: ``NAME@VERSION`` where a prompt is asked, else 16 hexadecimal digits.

    The digits digest the model that is named, the system and developer messages (masked: a date in them does not make
    a family of every day), the tools and the form of the answer. Pure; some microseconds, as instructions come again.
    """
    if prompt:
        return f"{prompt}@{version}"
    told = tuple(_texts(message) for message in request.messages if message.role in _INSTRUCTING)
    rest = (request.model, request.tools or None, request.response_format)
    exact = blake3(_encode((rest, told))).digest()
    found = _memo.get(exact)
    if found is None:
        clean = tuple(
            tuple(masked(part) if isinstance(part, str) else part for part in cast("Iterable[object]", texts))
            for texts in told
        )
        found = blake3(_encode((rest, clean))).hexdigest(8)
        if len(_memo) >= _REMEMBERED:
            _memo.clear()
        _memo[exact] = found
    return found


def _texts(message: Message) -> tuple[object, ...]:
    return tuple(block.text if isinstance(block, Text) else block for block in message.content)


def data_of(request: ChatRequest) -> str:
    """The data part: the text of the last message of the user's."""
    for message in reversed(request.messages):
        if message.role == "user":
            return "\n".join(block.text for block in message.content if isinstance(block, Text))
    return ""
