"""Banned words and phrases, as one expression over folded text."""

import re

from ostinato.checks import views
from ostinato.checks.detectors import PLACEHOLDER, Span

_SPACES = re.compile(r"\s+")
# Scripts that do not put spaces between words: there a term is looked for anywhere.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


class Terms:
    """Finds any of some terms in time that hardly depends on how many there are."""

    def __init__(self, terms: tuple[str, ...]) -> None:
        normal = {_SPACES.sub(" ", views.folded(term).text).strip() for term in terms}
        normal.discard("")
        self.longest = max((len(term) for term in normal), default=0)
        bounded = sorted(term for term in normal if _is_word(term[0]))
        free = sorted(normal - set(bounded))
        self._bounded = re.compile(_trie(bounded)) if bounded else None
        self._free = re.compile(_trie(free)) if free else None

    def find(self, text: str) -> list[Span]:
        """Where they are in ``text``. What stands for something redacted (``[EMAIL]``) is never a term."""
        view = views.folded(text)
        found = [match.span() for match in self._free.finditer(view.text)] if self._free else []
        if self._bounded:
            found += _words(self._bounded, view.text)
        spans = [(*view.span(start, end), "BANNED") for start, end in found]
        if not spans or "[" not in text:
            return spans
        kept = [match.span() for match in PLACEHOLDER.finditer(text)]
        return [span for span in spans if not any(start < span[1] and span[0] < end for start, end in kept)]


def _words(pattern: re.Pattern[str], text: str) -> list[tuple[int, int]]:
    """Matches that begin a word. A look-behind in the pattern would say it, and take ten times as long."""
    spans: list[tuple[int, int]] = []
    found = pattern.search(text)
    while found is not None:
        start, end = found.span()
        if start and _is_word(text[start - 1]):
            end = start + 1
        else:
            spans.append((start, end))
        found = pattern.search(text, end)
    return spans


def _is_word(character: str) -> bool:
    return (character.isalnum() or character == "_") and not _UNSPACED.match(character)


def _trie(terms: list[str]) -> str:
    """An expression for ``terms`` (sorted, none empty) that looks at every character of the text once per place."""
    return _branch(terms, 0)


def _branch(terms: list[str], depth: int) -> str:
    """``terms`` agree in their first ``depth`` characters."""
    first = terms[0]
    shared = depth
    while all(len(term) > shared and term[shared] == first[shared] for term in terms) and shared < len(first):
        shared += 1
    prefix = "".join(r"\s+" if c == " " else re.escape(c) for c in first[depth:shared])
    groups: dict[str, list[str]] = {}
    ends = False
    for term in terms:
        if len(term) == shared:
            ends = True
        else:
            groups.setdefault(term[shared], []).append(term)
    # The longer one is tried first, so that a phrase is found whole.
    choices = [_branch(group, shared) for group in groups.values()]
    if ends:
        choices.append(r"(?!\w)" if _is_word(first[shared - 1]) else "")
    if len(choices) == 1:
        return prefix + choices[0]
    return f"{prefix}(?:{'|'.join(choices)})"
