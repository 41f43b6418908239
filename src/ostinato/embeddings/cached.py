"""Vectors of texts that come again."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ostinato.core import hashing
from ostinato.embeddings.model import Embedder

if TYPE_CHECKING:
    from ostinato.embeddings.model import Vectors

_OVERHEAD: Final = 256
"""Bytes of an entry beside its numbers: two objects, a key, its place in the table."""


class Cached:
    """An ``Embedder`` that asks another one for nothing twice, as far as its memory goes.

    Texts are not kept: entries go by their digest. The one that has not been asked for longest goes first.
    """

    def __init__(self, embedder: Embedder, most_bytes: int) -> None:
        self.embedder = embedder
        self._most = most_bytes
        self._rows: OrderedDict[bytes, bytes] = OrderedDict()
        self.size = 0
        """Bytes in use."""
        self.hits = 0
        self.misses = 0

    @property
    def id(self) -> str:
        return self.embedder.id

    @property
    def dimensions(self) -> int:
        return self.embedder.dimensions

    async def embed(self, texts: Sequence[str]) -> "Vectors":
        """See ``Embedder``. Texts that stand in one call several times are asked for once."""
        import numpy as np  # noqa: PLC0415 - with the extra only, and not at start

        keys = [hashing.digest(text.encode("utf-8", "surrogatepass")) for text in texts]
        found = {key: self._take(key) for key in keys}
        wanted = {key: text for key, text in zip(keys, texts, strict=True) if found[key] is None}
        self.hits += len(keys) - len(wanted)
        self.misses += len(wanted)
        if wanted:
            fresh = await self.embedder.embed(list(wanted.values()))
            for key, row in zip(wanted, fresh, strict=True):
                data = row.tobytes()
                found[key] = data
                self._put(key, data)
        rows = b"".join([found[key] or b"" for key in keys])
        # A copy: what callers do to their vectors is theirs.
        return np.frombuffer(rows, np.float32).reshape(len(keys), -1 if keys else self.dimensions).copy()

    async def close(self) -> None:
        self._rows.clear()
        self.size = 0
        await self.embedder.close()

    def _take(self, key: bytes) -> bytes | None:
        row = self._rows.get(key)
        if row is not None:
            self._rows.move_to_end(key)
        return row

    def _put(self, key: bytes, row: bytes) -> None:
        if key in self._rows:
            return
        self._rows[key] = row
        self.size += len(row) + _OVERHEAD
        while self.size > self._most:
            _, gone = self._rows.popitem(last=False)
            self.size -= len(gone) + _OVERHEAD
