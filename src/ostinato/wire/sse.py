"""Server-sent events, read incrementally (WHATWG HTML, section 9.2) and written."""

from ostinato.wire.errors import Malformed

MAX_EVENT = 4 * 1024 * 1024
"""Bytes of one event; a provider that sends more without a blank line is cut off."""

_BOM = b"\xef\xbb\xbf"


class Parser:
    """Feeds on any split of the byte stream and gives whole events. One per stream."""

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._pending: list[bytes] = []
        self._size = 0
        self._ends_line = False
        """Whether the pending bytes end with a line feed, so that one more makes a blank line."""
        self._skip_feed = False
        """Whether the last byte was a carriage return: a line feed that follows belongs to it."""
        self._first = True

    def feed(self, data: bytes) -> list[tuple[bytes, bytes]]:
        """The events completed by ``data`` as (name, data) pairs; the name is empty where none was given.

        Comments, ids, retry hints and events without data are left out. Raises ``Malformed`` on an event above the
        limit.
        """
        if not data:
            return []
        if self._skip_feed or b"\r" in data:
            data = self._unify(data)
        if b"\n\n" not in data and not (self._ends_line and data[:1] == b"\n"):
            self._keep(data)
            return []
        if self._pending:
            self._pending.append(data)
            data = b"".join(self._pending)
            self._pending = []
        parts = data.split(b"\n\n")
        rest = parts.pop()
        self._size = 0
        self._ends_line = False
        if rest:
            self._keep(rest)
        events: list[tuple[bytes, bytes]] = []
        for part in parts:
            if len(part) > self._limit:
                raise Malformed(f"The provider sent an event of more than {self._limit} bytes.")
            if self._first:
                self._first = False
                part = part.removeprefix(_BOM)  # noqa: PLW2901
                if part.lstrip()[:1] in (b"{", b"<"):
                    # No stream at all but a whole body: the reader says what it is.
                    events.append((b"", part))
                    continue
            if part.startswith(b"data: ") and b"\n" not in part:
                events.append((b"", part[6:]))
            else:
                _interpret(part, events)
        return events

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        self._pending.append(data)
        self._size += len(data)
        self._ends_line = data[-1] == 10
        if self._size > self._limit:
            raise Malformed(f"The provider sent an event of more than {self._limit} bytes.")

    def _unify(self, data: bytes) -> bytes:
        """CRLF and CR to LF, also where the pair was split."""
        if self._skip_feed and data[:1] == b"\n":
            data = data[1:]
            self._skip_feed = False
            if not data:
                return data
        self._skip_feed = data[-1] == 13
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    @property
    def pending(self) -> bytes:
        """The bytes of an event that is not complete yet."""
        return b"".join(self._pending)

    @property
    def untouched(self) -> bool:
        """Whether no event has been completed yet, so that this may be another kind of body altogether."""
        return self._first


def _interpret(part: bytes, events: list[tuple[bytes, bytes]]) -> None:
    name = b""
    lines: list[bytes] = []
    for line in part.split(b"\n"):
        field, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if field == b"data":
            lines.append(value)
        elif field == b"event":
            name = value
    if lines:
        events.append((name, lines[0] if len(lines) == 1 else b"\n".join(lines)))


def event(name: bytes, data: bytes) -> bytes:
    """One named event; ``data`` must hold no line feed (encoded JSON never does)."""
    return b"event: " + name + b"\ndata: " + data + b"\n\n"
