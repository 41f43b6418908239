"""What retrievers found, for queries that come again."""

import asyncio
from collections import OrderedDict
from typing import Final

import msgspec

from ostinato.core import hashing
from ostinato.datasets.model import Passage
from ostinato.evals.retrieval.model import Retriever

MOST_BYTES: Final = 32 * 1024 * 1024
_OVERHEAD: Final = 512
"""Bytes of an entry, and of each of its passages, beside the texts."""


class Counts(msgspec.Struct, frozen=True):
    """What became of the searches so far."""

    hits: int
    joined: int
    """Searches that waited for an equal one under way."""
    misses: int
    entries: int
    size: int
    """Bytes, about."""


class RetrievalCache:
    """The retrieval cache: by query, retriever, version of its index, and number of passages.

    A retriever that knows no version of its index is asked every time, but for equal searches at the same moment. For
    one event loop.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._found: OrderedDict[bytes, tuple[Passage, ...]] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Task[tuple[Passage, ...]]] = {}
        self._size = 0
        self._hits = self._joined = self._misses = 0

    @property
    def counts(self) -> Counts:
        return Counts(self._hits, self._joined, self._misses, len(self._found), self._size)

    async def retrieve(self, retriever: Retriever, query: str, k: int) -> tuple[tuple[Passage, ...], bool]:
        """The passages, and whether the retriever was spared. Raises what the retriever raises; failures are not
        kept."""
        version = retriever.index_version
        key = hashing.digest(
            query.encode("utf-8", "surrogatepass"), retriever.id.encode(), version.encode(), str(k).encode()
        )
        known = self._found.get(key)
        if known is not None:
            self._found.move_to_end(key)
            self._hits += 1
            return known, True
        task = self._under_way.get(key)
        joined = task is not None
        if task is None:
            self._misses += 1
            task = self._under_way[key] = asyncio.create_task(retriever.retrieve(query, k))
            task.add_done_callback(lambda done: self._done(key, done, keep=bool(version)))
        else:
            self._joined += 1
        # The first asker's leaving must not fail the others.
        return await asyncio.shield(task), joined

    def _done(self, key: bytes, task: asyncio.Task[tuple[Passage, ...]], *, keep: bool) -> None:
        self._under_way.pop(key, None)
        # To ask for the failure also marks it as seen, where all that waited for it have left.
        if task.cancelled() or task.exception() is not None or not keep:
            return
        found = task.result()
        self._found[key] = found
        self._size += _size(found)
        while self._size > self._most:
            _, gone = self._found.popitem(last=False)
            self._size -= _size(gone)

    async def close(self) -> None:
        """Stop what is under way and forget the rest."""
        for task in list(self._under_way.values()):
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        self._found.clear()
        self._size = 0


def _size(found: tuple[Passage, ...]) -> int:
    return _OVERHEAD + sum(_OVERHEAD + len(one.id) + 2 * len(one.text) for one in found)
