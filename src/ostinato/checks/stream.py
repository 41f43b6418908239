"""Checking an answer while it streams: a bounded tail is held back, so that nothing slips out between two chunks.

What has left cannot be called back, so text leaves only when it can no longer be the beginning of something: when the
tail behind it is long enough, at a space, and not inside a finding that may still grow. Arguments of a tool call are
JSON and leave whole.
"""

from collections.abc import Sequence

import msgspec

from ostinato.checks import answers, trees
from ostinato.checks.detectors import Span
from ostinato.checks.model import Action, Finding
from ostinato.checks.scan import Looking, Scan
from ostinato.checks.texts import merged, replaced
from ostinato.wire.model import BlockStart, BlockStop, Delta, Event, Finish, Json

_CONTEXT = 64
"""Characters already sent that are still looked at, for what must stand before a finding."""
_STEP = 64
"""Characters that must have come in before it is worth looking again."""
_LONGEST_WORD = 4_096
"""Text without a space is held back up to this length."""
_MOST_HELD = 65_536
_MOST_ARGUMENTS = 1_048_576


class _Block(msgspec.Struct):
    kind: str
    context: str = ""
    held: str = ""
    extras: list[Json] = []
    swallowing: bool = False
    """Inside a finding longer than can be held: it goes on to the next space."""


class StreamFilter:
    """Events in, safe events out. One per answer."""

    def __init__(self, looking: Sequence[Looking], *, hold_chars: int, max_chars: int) -> None:
        self._looking = looking
        self._hold = hold_chars
        self._max_chars = max_chars
        self._scan = Scan(looking, max_chars)
        self._blocks: dict[int, _Block] = {}
        self._stopping = [one for one in looking if any(rule.action == "block" for rule in one.rules)]

    @property
    def blocked(self) -> bool:
        """Whether a rule forbids the rest: send an error event, and nothing more of the answer."""
        return self._scan.action == "block"

    @property
    def action(self) -> Action:
        return self._scan.action

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self._scan.findings

    @property
    def held(self) -> int:
        """Characters held back at the moment."""
        return sum(len(block.held) for block in self._blocks.values())

    def feed(self, events: Sequence[Event]) -> list[Event]:
        """What may be sent now; nothing at all once ``blocked``."""
        safe: list[Event] = []
        for event in events:
            if isinstance(event, BlockStart):
                self._blocks[event.index] = _Block(event.kind, extras=[])
                safe.append(self._with_extra(event))
            elif isinstance(event, Delta):
                safe += self._delta(event)
            elif isinstance(event, BlockStop):
                # Where calls are interleaved, the end of the arguments may come after the end of their block.
                if not self._is_unfinished(event.index):
                    safe += self._finish(event.index)
                safe.append(self._with_extra(event))
            else:
                if isinstance(event, Finish):
                    safe += self.close()
                safe.append(answers.beside(event, self._scan.text))
        return [] if self.blocked else safe

    def close(self) -> list[Event]:
        """What is still held back, at the end of the stream; ``feed`` does it by itself at the ``Finish`` event."""
        safe = [event for index in list(self._blocks) for event in self._finish(index)]
        return [] if self.blocked else safe

    def _is_unfinished(self, index: int) -> bool:
        block = self._blocks.get(index)
        return block is not None and block.kind == "tool_use" and not trees.is_json(block.held)

    def _with_extra(self, event: BlockStart | BlockStop) -> Event:
        extra = event.extra and answers.extra_of(event.extra, self._scan.text, text_changed=False)
        return event if extra is event.extra else msgspec.structs.replace(event, extra=extra)

    def _delta(self, event: Delta) -> list[Event]:
        block = self._blocks.get(event.index)
        if block is None:
            block = self._blocks[event.index] = _Block("text", extras=[])
        if event.extra:
            # Text leaves in other pieces than it came: what was said of a piece no longer fits any.
            extra = answers.extra_of(event.extra, self._scan.text, text_changed=bool(event.text))
            if extra:
                block.extras.append(extra)
        block.held += event.text
        if block.kind == "tool_use":
            if len(block.held) > _MOST_ARGUMENTS:
                self._scan.unread()
            return []
        if block.swallowing:
            self._swallow(block)
        text = self._ripe(block) if len(block.held) >= self._hold + _STEP else ""
        return [Delta(event.index, text)] if text else []

    def _finish(self, index: int) -> list[Event]:
        block = self._blocks.pop(index, None)
        if block is None:
            return []
        if block.kind == "tool_use":
            text = trees.arguments(block.held, self._scan.text)
        else:
            full = block.context + block.held
            text = self._release(block, full, len(full), self._spans(full))
        events: list[Event] = [Delta(index, text)] if text else []
        return events + [Delta(index, "", extra) for extra in block.extras]

    def _spans(self, full: str) -> list[tuple[Looking, list[Span]]]:
        return [(one, found) for one in self._looking if (found := one.search.spans(full))]

    def _ripe(self, block: _Block) -> str:
        """Take off what can no longer be the beginning of anything."""
        full = block.context + block.held
        begin = len(block.context)
        found = self._spans(full)
        spans = merged(span for _, some in found for span in some)
        cut = _before(spans, len(full) - self._hold, len(full))
        space = max(full.rfind(" ", begin, cut), full.rfind("\n", begin, cut))
        if space >= 0:
            cut = _before(spans, space + 1, len(full))
        elif cut - begin < _LONGEST_WORD:
            cut = begin
        if cut > begin:
            return self._release(block, full, cut, found)
        if len(block.held) <= _MOST_HELD:
            return ""
        # Something has been growing for as long as can be held. It is what it seems to be.
        text = self._release(block, full, len(full), found)
        block.swallowing = True
        return text

    def _release(self, block: _Block, full: str, cut: int, found: list[tuple[Looking, list[Span]]]) -> str:
        begin = len(block.context)
        hidden: list[Span] = []
        for one, spans in found:
            ripe = [
                (max(start, begin) - begin, end - begin, label) for start, end, label in spans if begin < end <= cut
            ]
            if ripe:
                self._scan.note(one.rules, ripe)
                if one.redacts:
                    hidden += ripe
        block.context, block.held = full[:cut][-_CONTEXT:], full[cut:]
        return replaced(full[begin:cut], hidden)

    def _swallow(self, block: _Block) -> None:
        for place, character in enumerate(block.held):
            if character.isspace():
                block.held, block.context, block.swallowing = block.held[place:], "", False
                return
        block.held = ""


def _before(spans: list[Span], cut: int, size: int) -> int:
    """``cut``, or the beginning of a finding that it would divide or that may still grow at the end of the text."""
    for start, end, _ in reversed(spans):
        if start < cut and (end > cut or end >= size):
            cut = start
    return cut
