"""The shared tier's store of cached answers: what every implementation does.

A record is an opaque ``blob`` under a 32-byte key *and* a scope; a look-up names both, so no key of one scope ever
opens another's record. Labels and tags say what a record belongs to, so that it can be found, counted and withdrawn
without knowing its key. A failing store is a miss for its callers: calls raise ``Unavailable``, fast, and ``healthy``
tells.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from ostinato.core.errors import Invalid


class Record(msgspec.Struct, frozen=True, gc=False):
    """One stored answer."""

    key: bytes
    """32 bytes."""
    scope: bytes
    """Whose it is; at most 64 bytes."""
    name: str
    """Opaque name that may be shown; unique in practice."""
    labels: dict[str, str]
    """Such as ``org project user target alias context generation``: the fewer distinct combinations, the cheaper."""
    tags: tuple[str, ...]
    expires: int
    """UTC microseconds after which it is of no use to anyone."""
    blob: bytes
    hits: int = 0
    """As counted by ``touch_many``; kept by the store, ignored in ``put_many``."""
    last_hit: int = 0
    """UTC microseconds; 0: never."""


class Query(msgspec.Struct, frozen=True, gc=False):
    """Which records: everything given must match. One that names nothing is refused, unless ``everything`` is said."""

    labels: dict[str, str] = {}
    tag: str = ""
    name: str = ""
    scope: bytes = b""
    everything: bool = False

    def checked(self) -> "Query":
        """This query, if it names something; else ``Invalid``: nobody withdraws a whole store by an empty form."""
        if not (self.labels or self.tag or self.name or self.scope or self.everything):
            raise Invalid("A query for records must name a label, a tag, a name or a scope.", code="empty_query")
        return self


class RecordStore(Protocol):
    """A store of records. Methods raise ``Unavailable`` when the store cannot answer now.

    ``SqliteRecordStore`` is one file of one process; ``ValkeyRecordStore`` is shared by many.
    """

    @property
    def healthy(self) -> bool:
        """Whether the last that was heard of the store was good."""
        ...

    @property
    def shared(self) -> bool:
        """Whether other processes use the same records, so that leases and removals reach further than this one."""
        ...

    async def start(self) -> None:
        """Open it. Does not fail because a server is away: it is used as soon as it answers."""
        ...

    async def close(self) -> None:
        """Finish what has begun and let go; may be called twice."""
        ...

    async def get(self, key: bytes, scope: bytes) -> Record | None:
        """The record of ``key`` in ``scope``. It may be past its ``expires``: the caller judges."""
        ...

    async def put_many(self, records: Sequence[Record]) -> None:
        """Store or replace; one call is one batch. When it fails, some of the batch may be stored."""
        ...

    async def find(self, query: Query, limit: int = 100) -> list[Record]:
        """At most ``limit`` matching records with their blobs, newest first where the store knows an order."""
        ...

    async def count(self, query: Query) -> int:
        """How many match."""
        ...

    async def remove(self, query: Query) -> list[bytes]:
        """Remove all that match; gives their keys, so that the tiers above drop them too."""
        ...

    async def remove_keys(self, keys: Sequence[bytes]) -> int:
        """Remove by key, in any scope; gives how many there were."""
        ...

    async def touch_many(self, touches: Sequence[tuple[bytes, int, int]]) -> None:
        """Add to the counters: (key, hits to add, UTC microseconds of the last). Unknown keys are skipped."""
        ...

    async def sweep(self, now: int) -> int:
        """Remove what expired before ``now`` (and, where the store is bounded, what was hit least recently)."""
        ...

    def key_prefixes(self) -> AsyncIterator[list[bytes]]:
        """The first 8 bytes of every key, in lists: what a filter is filled with at start."""
        ...

    async def acquire_lease(self, key: bytes, owner: str, seconds: float) -> bool:
        """Whether ``owner`` now holds the lease of ``key``, for at most ``seconds``; again for its holder renews it."""
        ...

    async def release_lease(self, key: bytes, owner: str) -> None:
        """Give the lease back, if ``owner`` still holds it."""
        ...
