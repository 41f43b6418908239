"""The fast path of reading: a chunk that equals the last one but for its text need not be decoded.

Sound because the bytes before the text end where a value must come, and the bytes between are one JSON string.
"""

import re
from typing import cast

from ostinato.wire.jsons import DECODE_ERRORS, decode_string
from ostinato.wire.model import BlockKind, Delta, Event, Json

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_VALUE = rb":\s*(" + _STRING.pattern + rb")"
_PADDING = re.compile(rb'"obfuscation"' + _VALUE, re.DOTALL)
_FIELDS = {
    kind: (field, re.compile(field + _VALUE, re.DOTALL))
    for kind, field in (("text", b'"content"'), ("thinking", b'"reasoning_content"'), ("tool_use", b'"arguments"'))
}
"""Where a fragment's text stands in the bytes of a chunk."""


class Shortcut:
    """Remembers the bytes around the last fragment's text. One per stream."""

    def __init__(self) -> None:
        self._block = 0
        self._head: bytes | None = None
        self._middle: bytes | None = None
        """Between the text and OpenAI's padding (``obfuscation``), where there is any."""
        self._tail = b""

    def forget(self) -> None:
        self._head = None

    def take(self, payload: bytes) -> Delta | None:
        """The fragment, or ``None`` where the chunk must be decoded."""
        head = self._head
        if head is None or not payload.startswith(head):
            return None
        begin = len(head)
        tail = self._tail
        padding: Json | None = None
        try:
            if self._middle is None:
                if not payload.endswith(tail):
                    return None
                text = decode_string(payload[begin : len(payload) - len(tail)])
            else:
                found = _STRING.match(payload, begin)
                if found is None or not payload.startswith(self._middle, found.end()):
                    return None
                padded = _STRING.match(payload, found.end() + len(self._middle))
                if padded is None or payload[padded.end() :] != tail:
                    return None
                text = decode_string(found[0])
                padding = {"obfuscation": decode_string(padded[0])}
        except DECODE_ERRORS:
            return None
        return Delta(self._block, text, padding)

    def learn(self, payload: bytes, event: Event, block: int, kind: BlockKind | None) -> None:
        """Remembers a decoded chunk that gave nothing but ``event``, a fragment of the open ``block``."""
        if type(event) is not Delta or event.index != block or kind not in _FIELDS:
            return
        extra = event.extra or {}
        if not extra.keys() <= {"shape", "obfuscation"}:
            return
        field, pattern = _FIELDS[cast(str, kind)]
        found = pattern.search(payload) if payload.count(field) == 1 else None
        if found is None or decode_string(found[1]) != event.text:
            return
        begin, end = found.span(1)
        if "obfuscation" in extra:
            padding = _PADDING.search(payload, end) if payload.count(b'"obfuscation"') == 1 else None
            if padding is None:
                return
            self._middle = payload[end : padding.start(1)]
            self._tail = payload[padding.end(1) :]
        else:
            self._middle = None
            self._tail = payload[end:]
        self._head = payload[:begin]
        self._block = block
