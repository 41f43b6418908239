"""What a store owes: to be swept, and to forget somebody. Every table of ours is some store's, or exempt by name."""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from ostinato.retention.model import Kind, Swept
from ostinato.retention.ruling import Ruling


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Who is forgotten, and the requests that are known to be theirs. Lives in memory, never in a log."""

    org: str
    project: str
    user: str = ""
    """As callers name them."""
    digest: str = ""
    """As the gateway writes them down."""
    sessions: frozenset[str] = frozenset()
    requests: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    """Requests of theirs that a hold keeps."""
    places: frozenset[tuple[str, str, str]] = frozenset()
    """(Alias, target, generation) of their calls: where answers that were made for them may lie in the cache."""

    @property
    def names(self) -> tuple[str, ...]:
        """What stores may know the user by."""
        return tuple(one for one in (self.digest, self.user) if one)

    def __repr__(self) -> str:
        return f"Subject(project={self.project!r}, ...)"


class Counted(msgspec.Struct, frozen=True):
    """What of a subject is in a store."""

    found: int
    held: int = 0
    note: str = ""


class Effort(msgspec.Struct, frozen=True):
    """How gently a sweep goes about it."""

    batch: int
    batch_us: int
    dry_run: bool
    upto: Callable[[str, float], Awaitable[int]]
    """``upto(store, days)``: how far a store has been swept for one period."""
    mark: Callable[[str, float, int], Awaitable[None]]
    """``mark(store, days, at)``: that it has been, up to then."""
    renew: Callable[[], Awaitable[None]]
    """Says that the sweep lives."""
    project: str = ""
    """Only this one; empty: all that the ruling knows."""


class Store(Protocol):
    """One or more tables that are swept and searched together."""

    @property
    def name(self) -> str:
        """As reports and receipts call it."""
        ...

    @property
    def tables(self) -> tuple[str, ...]:
        """``DATABASE.TABLE`` of everything that it answers for."""
        ...

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What rules may say of it; empty: it is only searched for subjects."""
        ...

    async def sweep(self, kind: Kind, ruling: Ruling, effort: Effort) -> Swept:
        """Delete what has been kept long enough, or say what that is."""
        ...

    async def count(self, subject: Subject, ruling: Ruling) -> Counted:
        """How much there is of somebody."""
        ...

    async def erase(self, subject: Subject, ruling: Ruling) -> None:
        """Forget somebody but for what is held. Doing it twice is doing it once."""
        ...
