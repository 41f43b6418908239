"""Whether two answers say the same: for measuring how stable a family's answers are."""

import unicodedata
from typing import Any

import msgspec

ALIKE = 0.8
"""Share of common runs of three words from which on two long answers agree."""
_LONG = 40
"""Words from which on an answer is compared by its runs of words."""


def agree(one: str, other: str) -> bool:
    """Whether two answers agree: equal as JSON, else equal but for case, space and punctuation, else (of forty words or
    more) with four fifths of their runs of three words in common."""
    if one == other:
        return True
    left, right = _json(one), _json(other)
    if left is not None and right is not None:
        return left == right
    first, second = _words(one), _words(other)
    if first == second:
        return True
    if min(len(first), len(second)) < _LONG:
        return False
    mine, theirs = _runs(first), _runs(second)
    return len(mine & theirs) / len(mine | theirs) >= ALIKE


def _json(text: str) -> Any:
    stripped = text.strip()
    if not stripped.startswith(("{", "[")):
        return None
    try:
        return msgspec.json.decode(stripped)
    except msgspec.DecodeError:
        return None


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(" " if unicodedata.category(c)[0] in "PS" else c for c in folded).split()


def _runs(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[at : at + 3]) for at in range(len(words) - 2)}
