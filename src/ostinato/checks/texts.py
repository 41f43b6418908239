"""Finding and redacting in one text, by one or several detectors."""

from collections.abc import Iterable, Sequence

import msgspec

from ostinato.checks import detectors, views
from ostinato.checks.detectors import Detector, Span

_PASSES = 8
"""Redacting can bring two pieces together that look like something again; nearly always one pass is all."""


class Search(msgspec.Struct, frozen=True):
    """What one rule looks for."""

    detector: Detector
    normalized: bool = True
    """Whether the detector wants a view of the text; otherwise it makes its own."""
    reach: int = 0
    """Longest finding that may have spaces in it, in characters, where that is more than a few dozen."""

    def spans(self, text: str) -> list[Span]:
        """Where it is found, in positions of ``text``."""
        if not self.normalized:
            return list(self.detector(text))
        view = views.plain(text)
        return [(*view.span(start, end), label) for start, end, label in self.detector(view.text)]


SECRETS = Search(detectors.secrets)
PERSONAL = Search(detectors.personal)


def redacted(text: str, searches: Sequence[Search]) -> str:
    """``text`` with everything that is found replaced by its label in brackets: ``[EMAIL]``. Idempotent."""
    for _ in range(_PASSES):
        spans = [span for search in searches for span in search.spans(text)]
        if not spans:
            break
        text = replaced(text, spans)
    return text


def replaced(text: str, spans: Iterable[Span]) -> str:
    """``text`` with the spans replaced; of spans that overlap, the first, and of these the longest, gives the label."""
    parts: list[str] = []
    at = 0
    for start, end, label in merged(spans):
        parts.append(text[at:start])
        parts.append(f"[{label}]")
        at = end
    parts.append(text[at:])
    return "".join(parts)


def merged(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, those that overlap made one."""
    result: list[Span] = []
    for start, end, label in sorted(spans, key=lambda span: (span[0], -span[1])):
        if result and start < result[-1][1]:
            last = result[-1]
            result[-1] = (last[0], max(last[1], end), last[2])
        else:
            result.append((start, end, label))
    return result
