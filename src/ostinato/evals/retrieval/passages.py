"""Passages of a file, searched by the nearness of their vectors: exact, every passage is looked at."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ostinato import templates
from ostinato.core import hashing
from ostinato.core.errors import Invalid
from ostinato.datasets.model import Passage
from ostinato.embeddings import Embedder

if TYPE_CHECKING:
    from ostinato.embeddings.model import Vectors

LARGEST_FILE: Final = 256 * 1024 * 1024
MOST_PASSAGES: Final = 100_000
LONGEST_TEXT: Final = 65_536
"""Characters of one passage."""


class Line(msgspec.Struct, frozen=True):
    """A passage, and what of it becomes its vector."""

    passage: Passage
    indexed: str


class Passages:
    """A ``Retriever``. Vectors are made with the first search, at some 100 passages a second."""

    def __init__(self, name: str, lines: Sequence[Line], embedder: Embedder) -> None:
        if not lines:
            raise Invalid(f"The retriever {name!r} has no passages.", code="no_passages")
        self._passages = tuple(line.passage for line in lines)
        self._indexed = tuple(line.indexed for line in lines)
        self._embedder = embedder
        self._vectors: Vectors | None = None
        self._making = asyncio.Lock()
        said = [[line.passage.id, line.passage.text, line.indexed] for line in lines]
        self._id = f"{name}@{hashing.digest_of(['passages', embedder.id]).hex()[:8]}"
        self._version = hashlib.sha256(hashing.canonical_json(said)).hexdigest()[:16]

    @property
    def id(self) -> str:
        return self._id

    @property
    def index_version(self) -> str:
        return self._version

    async def retrieve(self, query: str, k: int) -> tuple[Passage, ...]:
        """The ``k`` nearest; ties by place in the file."""
        async with self._making:
            if self._vectors is None:
                self._vectors = await self._embedder.embed(self._indexed)
        asked = await self._embedder.embed([query])
        places = await asyncio.to_thread(_nearest, self._vectors, asked[0], k)
        return tuple(self._passages[place] for place in places)


def _nearest(vectors: "Vectors", asked: "Vectors", k: int) -> list[int]:
    import numpy as np  # noqa: PLC0415 - with the extra only, and not at start

    cosines = vectors @ asked
    return [int(place) for place in np.argsort(-cosines, kind="stable")[:k]]


def read(path: Path, indexed: str = "{{text}}") -> tuple[Line, ...]:
    """The passages of a file of JSON lines. Blocking. Raises ``Invalid`` naming file and line."""
    template = templates.compile_template(indexed, "plain", {})
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise Invalid(f"{path.name} is larger than {LARGEST_FILE:,} bytes.", code="passages_too_large")
        data = path.read_bytes()
    except OSError as error:
        raise Invalid(f"The passages in {path.name} cannot be read: {error.strerror}.", code="no_passages") from None
    found: dict[str, Line] = {}
    for number, row in enumerate(data.splitlines(), 1):
        if not row.strip():
            continue
        where = f"{path.name}, line {number}"
        if len(found) >= MOST_PASSAGES:
            raise Invalid(f"{where}: more than {MOST_PASSAGES:,} passages.", code="passages_too_large")
        line = _line(row, where, template)
        if line.passage.id in found:
            raise Invalid(f"{where}: the id {line.passage.id[:80]!r} stands there twice.", code="passage_invalid")
        found[line.passage.id] = line
    return tuple(found.values())


def _line(row: bytes, where: str, template: templates.Template) -> Line:
    try:
        fields = msgspec.json.decode(row, type=dict[str, Any])
        passage = Passage(id=msgspec.convert(fields.get("id"), str), text=msgspec.convert(fields.get("text"), str))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise Invalid(
            f"{where} is no passage.", code="passage_invalid", hint='Write {"id": "...", "text": "..."} on each line.'
        ) from None
    if not 0 < len(passage.id) <= 200 or not 0 < len(passage.text) <= LONGEST_TEXT:
        raise Invalid(f"{where}: an id has 1 to 200 characters, a text 1 to {LONGEST_TEXT:,}.", code="passage_invalid")
    return Line(passage, template.render(fields))
