"""Text as it looks to a reader: compatibility forms and invisible characters taken away, positions kept.

Full-width digits, ligatures, soft hyphens and zero-width spaces hide a card number from a pattern but not from a
person. A view is the normalized text with, for every character, where in the original it came from.
"""

import re
import unicodedata
from array import array
from functools import lru_cache

import msgspec

_ASCII_RUN = re.compile(r"[\x00-\x7f]+")


class View(msgspec.Struct, frozen=True):
    """``text`` to search in, and the way back. ``starts`` is empty where positions are the same."""

    text: str
    starts: "array[int]"
    ends: "array[int]"

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The part of the original that ``text[start:end]`` stands for. ``start < end``."""
        return (self.starts[start], self.ends[end - 1]) if self.starts else (start, end)


_SAME = array("Q")


def plain(text: str) -> View:
    """NFKC, without what is invisible."""
    if text.isascii() or (unicodedata.is_normalized("NFKC", text) and not _has_invisible(text)):
        return View(text, _SAME, _SAME)
    return _mapped(text, fold=False)


def folded(text: str) -> View:
    """The same, and without difference of case."""
    if text.isascii():
        return View(text.lower(), _SAME, _SAME)
    simple = text.casefold()
    # Folding never makes a character vanish, so equal length means that every one stayed in its place.
    if len(simple) == len(text) and unicodedata.is_normalized("NFKC", simple) and not _has_invisible(text):
        return View(simple, _SAME, _SAME)
    return _mapped(text, fold=True)


def _mapped(text: str, *, fold: bool) -> View:
    parts: list[str] = []
    starts, ends = array("Q"), array("Q")
    at, size = 0, len(text)
    while at < size:
        run = _ASCII_RUN.match(text, at)
        if run is not None and run.end() - 1 > at:
            # All but the last: an accent may follow that.
            stop = run.end() - 1
            parts.append(text[at:stop].lower() if fold else text[at:stop])
            starts.extend(range(at, stop))
            ends.extend(range(at + 1, stop + 1))
            at = stop
        stop = at + 1
        # A bound, or a letter with ten thousand accents would be one character.
        while stop < size and stop - at < 32 and _extends(text[stop]):
            stop += 1
        piece = _normal(text[at:stop], fold=fold)
        parts.append(piece)
        starts.extend([at] * len(piece))
        ends.extend([stop] * len(piece))
        at = stop
    return View("".join(parts), starts, ends)


@lru_cache(16_384)
def _normal(piece: str, *, fold: bool) -> str:
    piece = unicodedata.normalize("NFKC", "".join(c for c in piece if not _is_invisible(c)))
    return unicodedata.normalize("NFKC", piece.casefold()) if fold else piece


@lru_cache(16_384)
def _extends(character: str) -> bool:
    """Whether it may join with the character before it: a mark, a vowel or final of Hangul, or nothing to be seen."""
    if character.isascii():
        return False
    return (
        unicodedata.category(character) in ("Mn", "Mc", "Me")
        or 0x1160 <= ord(character) <= 0x11FF
        or _is_invisible(character)
    )


_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3\U000e0000-\U000e0fff]"
)


def _is_invisible(character: str) -> bool:
    return _INVISIBLE.match(character) is not None


def _has_invisible(text: str) -> bool:
    return _INVISIBLE.search(text) is not None
