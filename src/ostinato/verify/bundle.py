"""Reading a bundle, line by line: each is judged as it comes."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, cast

from ostinato.verify.checkpoints import Checkpoint, Verifier, from_base64, read_note
from ostinato.verify.report import Report, leaves
from ostinato.verify.trees import Broken, Tree, leaf_hash

FORMAT = "ostinato-audit-1"
_LONGEST_LINE = 1 << 20


class Trusted(NamedTuple):
    """A checkpoint that did not come with the bundle, and where it came from."""

    source: str
    checkpoint: Checkpoint


class _Reading:
    """One pass over a bundle: each line is judged as it comes."""

    def __init__(self, trusted: Iterable[Trusted], key: Verifier | None) -> None:
        self.report = Report()
        self.report.own_key = key is None
        self._given = list(trusted)
        self._trusted: dict[int, list[Trusted]] = {}
        self._key = key
        self._keys: list[Verifier] = []
        self._tree: Tree | None = None
        self._sound = 0
        self._proven = 0
        self._last = -1
        self._lost = False
        self._leaves = self._checkpoints = self._receipts = 0
        self._digest = hashlib.sha256()
        self._state = "header"
        self.to = 0

    def line(self, line: bytes) -> None:
        """Judge one line. Raises ``Broken`` where it is none that a bundle has."""
        if self._state == "end":
            raise Broken("something follows the end of the bundle")
        if line.startswith(b'{"leaf":') and self._state == "leaves":
            self._leaf(line)
        else:
            self._other(line)
        self._digest.update(line)

    def _other(self, line: bytes) -> None:
        value = _read_line(line)
        kind = "header" if self._state == "header" else next(iter(value), "") if len(value) == 1 else ""
        if kind == "header":
            self._header(value)
        elif kind == "checkpoint" and self._state == "leaves":
            self._checkpoint(str(value[kind]))
        elif kind == "receipt":
            self._state = "receipts"
            self._receipts += 1
        elif kind == "end" and isinstance(value[kind], dict):
            self._end(value[kind])
        else:
            raise Broken(f"this line has no place here: {line[:60]!r}")

    def _header(self, value: dict[str, Any]) -> None:
        if value.pop("format", None) != FORMAT:
            raise Broken("this is no audit bundle in the format ostinato-audit-1")
        try:
            origin, start, to, size = value.pop("origin"), value.pop("from"), value.pop("to"), value.pop("size")
            if type(origin) is not str or any(type(one) is not int for one in (start, to, size)):
                raise TypeError("a number is none")
            self._keys = [Verifier.read(key) for key in value.pop("keys")]
            self._tree = Tree(start, [bytes.fromhex(one) for one in value.pop("frontier")])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Broken(f"the header lacks something ({error})") from None
        if value or not 0 <= start <= to <= size:
            raise Broken("the header contradicts itself")
        for one in self._given:
            if one.checkpoint.origin == origin:
                self._trusted.setdefault(one.checkpoint.size, []).append(one)
        self.to = to
        self._sound = self._proven = start
        report = self.report
        report.origin, report.first, report.end, report.size = origin, start, start, size
        self._state = "leaves"

    def _leaf(self, line: bytes) -> None:
        tree = self._tree
        assert tree is not None
        expected = self.report.end
        head = b'{"leaf":%d,"hash":"' % expected
        at = len(head) + 64
        claimed = line[len(head) : at]
        body: bytes | None = line[at + 9 : -2]
        if line.startswith(head) and line[at:] == b'"}\n':
            # A leaf of an organization that the bundle is not for: its hash is enough for the tree.
            self.report.withheld += 1
            body = None
        elif not line.startswith(head) or line[at : at + 9] != b'","body":' or line[-2:] != b"}\n":
            claimed, body, expected = self._misplaced(line, expected)
        if body is None:
            pass
        elif leaf_hash(body).hex().encode() != claimed:
            self.report.found(f"leaf {expected} was changed: it does not have the hash that is written beside it")
        elif not _has_index(body, expected):
            self.report.found(f"leaf {expected} does not say that it is number {expected}")
        self.report.end = expected + 1
        self._leaves += 1
        if self._lost:
            return
        digest = _digest(claimed)
        if digest is None:
            raise Broken(f"leaf {expected} has no hash")
        tree.add(digest)
        if tree.size in self._trusted:
            self._compare(tree)

    def _misplaced(self, line: bytes, expected: int) -> tuple[bytes, bytes | None, int]:
        """A line that is not the expected leaf: (hash, body, index) of what it is instead."""
        value = _read_line(line, exact=False)
        index, claimed = value.get("leaf"), value.get("hash")
        if type(index) is not int or type(claimed) is not str or len(claimed) != 64:
            raise Broken(f"where leaf {expected} should be, there is no leaf")
        head = b'{"leaf":%d,"hash":"%s"' % (index, claimed.encode())
        told = line[len(head) :]
        if not line.startswith(head) or not (told == b"}\n" or (told.startswith(b',"body":') and told[-2:] == b"}\n")):
            raise Broken(f"the line of leaf {index} is not written as a bundle's are")
        if index > expected:
            self.report.found(f"{leaves(expected, index)} missing: leaf {index} comes after leaf {expected - 1}")
        elif index < expected:
            self.report.found(f"leaf {index} stands where leaf {expected} should be: leaves were moved or repeated")
        self._lost = True
        return claimed.encode(), None if told == b"}\n" else told[8:-2], index

    def _checkpoint(self, note: str) -> None:
        checkpoint, tree, report = read_note(note), self._tree, self.report
        self._checkpoints += 1
        assert tree is not None
        name = f"the checkpoint of {checkpoint.size} leaves"
        if checkpoint.origin != report.origin:
            report.found(f"{name} is of another log, {checkpoint.origin}")
        voucher = next((key for key in ([self._key] if self._key else self._keys) if key.vouches(checkpoint)), None)
        if voucher is None:
            by = "the key you gave" if self._key else "a key of this bundle"
            report.found(f"{name} is not signed by {by}: it was changed or forged")
            return
        report.signed_by.add(f"{voucher.name}+{voucher.hash.hex()}")
        report.checkpoints += 1
        if checkpoint.size != report.end or checkpoint.size <= self._last:
            report.found(f"{name} stands after {report.end} leaves: lines were deleted, moved or repeated")
            return
        self._last = checkpoint.size
        if self._lost:
            return
        if tree.root() != checkpoint.root:
            report.found(
                f"{leaves(self._sound, checkpoint.size)}: something among them was changed, deleted or moved;"
                f" their root is not the one that {name} signs"
                if checkpoint.size > report.first
                else f"the frontier in the header is not that of {name}"
            )
            self._lost = True
            return
        self._sound = checkpoint.size
        if checkpoint.size == report.first and checkpoint.size in self._trusted:
            self._compare(tree)

    def _compare(self, tree: Tree) -> None:
        """Hold the tree against what was kept elsewhere."""
        root = tree.root()
        for one in self._trusted[tree.size]:
            if one.checkpoint.root != root:
                self.report.found(
                    f"{leaves(min(self._proven, tree.size - 1), tree.size)}: history was rewritten or split;"
                    f" {one.source} holds another root for {tree.size} leaves"
                )
                continue
            self._proven = self.report.anchored = tree.size
            if one.source not in self.report.anchors:
                self.report.anchors.append(one.source)

    def _end(self, told: dict[str, Any]) -> None:
        report, digest = self.report, self._digest.hexdigest()
        counts = {"leaves": self._leaves, "checkpoints": self._checkpoints, "receipts": self._receipts}
        if any(told.get(name) != count for name, count in counts.items()) or len(told) != 6:
            report.found("the end of the bundle counts other lines than there are")
        if told.get("sha256") != digest:
            report.found("the bundle as a whole was changed since it was written: its digest is another")
        key = next((key for key in self._keys if f"{key.name}+{key.hash.hex()}" == told.get("key")), None)
        text = f"ostinato audit bundle\n{report.origin}\n{told.get('sha256')}\n".encode()
        if key is None or not key.signed(text, from_base64(str(told.get("signature")), "the signature of the end")):
            report.found("the end of the bundle is not signed by a key of this bundle")
        self._state = "end"

    def finish(self, *, allow_older: bool) -> Report:
        """After the last line."""
        report = self.report
        if self._state != "end":
            report.found(f"the bundle has no end: it was cut off after {report.end} leaves")
        elif report.end != self.to:
            report.found(f"the bundle should go up to leaf {self.to - 1}, but ends after {report.end} leaves")
        elif self._last != report.end:
            report.found(f"{leaves(self._sound, report.end)}: no checkpoint covers them")
        newest = max((size for size in self._trusted), default=0)
        report.beyond = newest if newest > report.end else 0
        if newest > report.size and not allow_older:
            source = self._trusted[newest][0].source
            report.found(
                f"truncated: {source} holds a checkpoint of {newest} leaves, this log has {report.size}. Leaves were"
                " cut off, or the bundle is older than the anchor (export again, or --allow-older)"
            )
        return report


def _digest(claimed: bytes) -> bytes | None:
    """A hash from its one way of writing."""
    try:
        digest = bytes.fromhex(claimed.decode())
    except ValueError:
        return None
    return digest if digest.hex().encode() == claimed else None


def _has_index(body: bytes, index: int) -> bool:
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and cast("dict[str, Any]", value).get("index") == index


def _read_line(line: bytes, *, exact: bool = True) -> dict[str, Any]:
    """A line's object. Raises ``Broken`` unless it is one, in the one way in which a bundle writes it."""
    try:
        value: object = json.loads(line)
        written = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
    except (ValueError, RecursionError):
        raise Broken(f"this line is not JSON: {line[:60]!r}") from None
    if not isinstance(value, dict) or (exact and written != line):
        raise Broken(f"this line is not written as a bundle's are: {line[:60]!r}")
    return cast("dict[str, Any]", value)


def verify(
    bundle: Path, trusted: Iterable[Trusted] = (), key: Verifier | None = None, *, allow_older: bool = False
) -> Report:
    """Check a bundle, in one pass and little memory. What is wrong with it is in the report, never raised; ``OSError``
    passes where the file cannot be read at all."""
    trusted = list(trusted)
    reading = _Reading(trusted, key)
    at = 0
    with bundle.open("rb") as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        lines = gzip.GzipFile(fileobj=raw) if packed else raw
        try:
            while line := lines.readline(_LONGEST_LINE):
                at += 1
                reading.line(line)
        except Broken as error:
            reading.report.found(f"line {at}: {error}")
        except (gzip.BadGzipFile, EOFError, zlib.error):
            reading.report.found(f"the compressed file is damaged after line {at}")
    report = reading.finish(allow_older=allow_older)
    for source in {one.source for one in trusted}:
        if not any(one.checkpoint.origin == report.origin for one in trusted if one.source == source):
            report.found(f"{source} holds no checkpoint of {report.origin}")
    return report
