"""The response cache as a store: every tier, every generation, and what is rendered by raw body."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from ostinato.cache import ResponseCache, Selector
from ostinato.retention.model import Kind, Swept
from ostinato.retention.ruling import Ruling
from ostinato.retention.stores import Counted, Effort, Subject

_PAGE = 500
_MOST = 10_000


@runtime_checkable
class _Scrubbed(Protocol):
    async def scrub(self) -> None:
        """Leave nothing of records that are gone."""
        ...


class Cache:
    """Answers that were made for somebody. A hold keeps what is written down; a cached answer is a copy, and goes.

    Those of a named user carry the user's digest. Of a conversation or a single request they are found by the call that
    made them.
    """

    name = "cache"
    tables = ()
    kinds: tuple[Kind, ...] = ()

    def __init__(self, responses: Callable[[], ResponseCache]) -> None:
        self._responses = responses

    @property
    def _cache(self) -> ResponseCache:
        return self._responses()

    async def sweep(self, kind: Kind, ruling: Ruling, effort: Effort) -> Swept:
        """Entries end by their policy's ``ttl``."""
        return Swept(store=self.name, kind=kind)

    async def count(self, subject: Subject, ruling: Ruling) -> Counted:
        """Entries in all tiers."""
        found = 0
        if subject.user:
            found = (await self._cache.invalidate(_of_user(subject), dry_run=True)).total
        return Counted(found + len(await self._made(subject)))

    async def erase(self, subject: Subject, ruling: Ruling) -> None:
        """Withdrawn everywhere: in every process, on disk or on the server, and what is on its way."""
        if subject.user:
            await self._cache.invalidate(_of_user(subject), dry_run=False)
        for name in await self._made(subject):
            await self._cache.invalidate(Selector(subject.org, subject.project, entry=name), dry_run=False)
        self._cache.raw.tidy()
        shared = self._cache.shared
        if shared is not None and isinstance(shared.store, _Scrubbed):
            await shared.store.scrub()

    async def _made(self, subject: Subject) -> list[str]:
        """Names of entries that requests of theirs have made, without their being named."""
        found: list[str] = []
        for alias, target, generation in sorted(subject.places):
            place = Selector(subject.org, subject.project, alias=alias, target=target, generation=generation)
            for offset in range(0, _MOST, _PAGE):
                page = await self._cache.list(place, limit=min(_PAGE, _MOST - offset), offset=offset)
                found += [
                    one.entry
                    for one in page.items
                    if one.meta.origin in subject.requests
                    and not (subject.user and one.meta.user_digest == subject.digest)
                ]
                if not page.more:
                    break
        return found


def _of_user(subject: Subject) -> Selector:
    return Selector(subject.org, subject.project, user=subject.user)
