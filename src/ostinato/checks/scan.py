"""One pass of some rules over the texts of one request or answer."""

from collections.abc import Sequence

import msgspec

from ostinato.checks.detectors import Span
from ostinato.checks.model import STRICTNESS, Action, Finding, Rule
from ostinato.checks.texts import Search, redacted, replaced


class Looking(msgspec.Struct, frozen=True):
    """One search, and the rules that want to know what it finds."""

    search: Search
    rules: tuple[Rule, ...]

    @property
    def redacts(self) -> bool:
        return any(rule.action == "redact" for rule in self.rules)


class Scan:
    """What was found so far. ``text`` is applied to every text; equal texts are read once."""

    def __init__(self, looking: Sequence[Looking], max_chars: int) -> None:
        self._looking = looking
        self._redacting = [one.search for one in looking if one.redacts]
        self._left = max_chars
        self._known: dict[str, str] = {}
        self._counts: dict[tuple[str, str, Action], int] = {}
        self.changed = False

    def text(self, text: str) -> str:
        """``text`` as it may go on: itself, or redacted."""
        known = self._known.get(text)
        if known is not None:
            # The very object where it is unchanged: that is how the caller sees that it is.
            return text if known == text else known
        if len(text) > self._left:
            self.unread()
            return text
        self._left -= len(text)
        result = self._read(text)
        self._known[text] = result
        # What comes out is clean: the same text in another place of the request need not be read again.
        self._known.setdefault(result, result)
        return result

    def _read(self, text: str) -> str:
        spans: list[Span] = []
        for one in self._looking:
            found = one.search.spans(text)
            if found:
                self.note(one.rules, found)
                if one.redacts:
                    spans += found
        if not spans:
            return text
        self.changed = True
        return redacted(replaced(text, spans), self._redacting)

    def note(self, rules: Sequence[Rule], spans: Sequence[Span]) -> None:
        """Count what was found."""
        for rule in rules:
            for _, _, label in spans:
                self._count(rule, label, rule.action)

    def unread(self) -> None:
        """More text than is read: what a rule would have let pass only after a look does not pass."""
        for one in self._looking:
            for rule in one.rules:
                if rule.action != "allow":
                    self._count(rule, "UNSCANNED", "no-store" if rule.action == "no-store" else "block")

    def _count(self, rule: Rule, label: str, action: Action) -> None:
        key = (rule.name, label, action)
        self._counts[key] = self._counts.get(key, 0) + 1

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(Finding(rule, label, action, count) for (rule, label, action), count in self._counts.items())

    @property
    def action(self) -> Action:
        """The strictest that any rule asks for."""
        strictest: Action = "allow"
        for _, _, action in self._counts:
            if STRICTNESS[action] > STRICTNESS[strictest]:
                strictest = action
        return strictest
