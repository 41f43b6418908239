"""Files as records: lines of JSON, one JSON document or list, or CSV; plain or gzip; UTF-8 or, by its mark, UTF-16.

A record is what one line, one element of the list or one row holds. What cannot be read is told by its place and does
not end the reading. Lines and documents are bounded; a list is read element by element, however long the file is.
"""

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from ostinato.assessing.model import Skipped
from ostinato.core.errors import Invalid

FORMATS = ("openai", "anthropic", "responses", "openai-batch", "langfuse", "otlp")
"""What ``--format`` may say."""

_LONGEST = 64 * 1_048_576
"""Of one line or element."""
_DOCUMENT = 256 * 1_048_576
_READ = 262_144
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))

Record = tuple[int, "dict[str, Any] | Skipped", int]
"""Its line or number, what it holds, and how many characters it has."""


class Source:
    """A file that is being read. ``done`` tells how far, in bytes on the disk of ``size``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except OSError as error:
            raise Invalid(f"{path} cannot be read: {error.strerror}.", code="unreadable_file") from None
        self.size = path.stat().st_size
        self.broken = ""
        """Why reading ended before the file did; empty: it did not."""

    @property
    def done(self) -> int:
        return self._file.tell() if not self._file.closed else self.size

    def close(self) -> None:
        self._file.close()

    def records(self) -> Iterator[Record]:
        """Everything that the file holds, in order."""
        head = self._file.peek(4)[:4]
        raw: IO[bytes] = self._file
        if head[:2] == b"\x1f\x8b":
            raw = cast("IO[bytes]", gzip.GzipFile(fileobj=self._file))
        elif head == b"\x28\xb5\x2f\xfd":
            raise Invalid(f"{self.path} is compressed by zstd.", hint="Unpack it first, or use gzip.")
        buffered = io.BufferedReader(cast("Any", raw), _READ)
        try:
            yield from self._read(buffered)
        except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError):
            self.broken = "The file is cut, or damaged: what could be unpacked was read."
        except OSError as error:
            self.broken = f"Reading ended: {error.strerror or 'the disk failed'}."

    def _read(self, file: "io.BufferedReader[Any]") -> Iterator[Record]:
        head = file.peek(_READ)[:_READ]
        encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
        start = codecs.getincrementaldecoder(encoding)("replace").decode(head).lstrip()
        if not start:
            return
        text = io.TextIOWrapper(file, encoding=encoding, errors="surrogateescape", newline="")
        if start[0] == "[":
            yield from _elements(text)
        elif start[0] == "{":
            first = start.split("\n", 1)
            whole = len(first) > 1 and not _is_json(first[0]) and _only_braces(first[0])
            yield from _document(text) if whole else _lines(text)
        elif _is_header(start.split("\n", 1)[0]):
            yield from _rows(text)
        else:
            yield from _lines(text)


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text.encode("utf-8", "replace"))
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _only_braces(line: str) -> bool:
    """Whether a document over several lines begins here: its first line ends where no line of JSON may."""
    return line.strip()[-1:] in "{[,"


def _is_header(line: str) -> bool:
    names = {name.strip().strip('"').lower() for name in line.split(",")}
    return len(names) > 1 and bool(names & {"input", "messages", "request", "prompt"})


def _lines(text: io.TextIOWrapper) -> Iterator[Record]:
    number = 0
    while line := text.readline(_LONGEST + 1):
        number += 1
        if len(line) > _LONGEST:
            while line and not line.endswith("\n"):
                line = text.readline(_LONGEST)
            yield number, Skipped(number, "it is longer than 64 MiB"), 0
        elif line.strip():
            yield number, _decoded(number, line), len(line)


def _decoded(number: int, line: str) -> dict[str, Any] | Skipped:
    try:
        found = msgspec.json.decode(line.encode("utf-8"))
    except UnicodeEncodeError:
        return Skipped(number, "it is not UTF-8")
    except RecursionError:
        return Skipped(number, "it is nested too deeply")
    except msgspec.DecodeError as error:
        return Skipped(number, "it is cut off" if "truncated" in str(error) else "it is not JSON")
    return cast("dict[str, Any]", found) if isinstance(found, dict) else Skipped(number, "it is no JSON object")


def _elements(text: io.TextIOWrapper) -> Iterator[Record]:
    """The elements of one JSON list, one after the other."""
    decoder = json.JSONDecoder()
    buffer = text.read(_READ).lstrip("\ufeff \t\r\n")[1:]
    number, wanted = 0, _READ
    while True:
        buffer = buffer.lstrip(" \t\r\n,")
        if buffer[:1] == "]":
            return
        try:
            found, end = decoder.raw_decode(buffer) if buffer else (None, 0)
        except (ValueError, RecursionError) as error:
            found, end = None, 0
            if isinstance(error, RecursionError) or len(buffer) > _LONGEST:
                yield number + 1, Skipped(number + 1, "it is longer than 64 MiB, or nested too deeply"), 0
                return
        if end and end < len(buffer):
            number += 1
            ours = cast("dict[str, Any]", found) if isinstance(found, dict) else Skipped(number, "it is no JSON object")
            yield number, ours, end
            buffer, wanted = buffer[end:], _READ
            continue
        more = text.read(wanted)
        wanted = min(wanted * 2, _LONGEST)  # a long element is not looked through again for every small piece
        if not more:
            if buffer:
                yield number + 1, Skipped(number + 1, "it is cut off, or not JSON; reading ended here"), 0
            return
        buffer += more


def _document(text: io.TextIOWrapper) -> Iterator[Record]:
    """One object over many lines."""
    whole = text.read(_DOCUMENT + 1)
    if len(whole) > _DOCUMENT:
        yield 1, Skipped(1, "one JSON document of more than 256 MiB; write an object per line"), 0
        return
    yield 1, _decoded(1, whole), len(whole)


def _rows(text: io.TextIOWrapper) -> Iterator[Record]:
    csv.field_size_limit(_LONGEST)
    reader = csv.reader(text)
    number = 1
    names: list[str] = []
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield reader.line_num, Skipped(reader.line_num, "it is no row of CSV"), 0
            continue
        if not names:
            names = [name.strip().lstrip("\ufeff") for name in row]
            continue
        number = reader.line_num
        if not any(row):
            continue
        if len(row) != len(names):
            yield number, Skipped(number, f"it has {len(row)} columns and the header {len(names)}"), 0
            continue
        yield number, {name: _cell(value) for name, value in zip(names, row, strict=True)}, sum(map(len, row))


def _cell(value: str) -> Any:
    """JSON where a cell holds an object, a list or a string of it; else the text."""
    if value[:1] in ("{", "[", '"'):
        try:
            return msgspec.json.decode(value.encode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError):
            return value
    return value
