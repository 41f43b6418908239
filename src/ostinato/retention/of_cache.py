"""The response cache as a store: every tier, every generation, and what is rendered by raw body."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from ostinato.cache import Described, ResponseCache, Selector
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
    """Answers that were made for somebody. A hold keeps those of the requests that it keeps.

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
        found = held = 0
        if subject.user:
            found = (await self._cache.invalidate(_of_user(subject), dry_run=True)).total
            if _maybe_held(subject, ruling):
                # What is too far down to be looked at is held rather than not.
                held = max(0, found - len(await self._free(subject, ruling)))
        made, kept = await self._made(subject, ruling)
        return Counted(found + len(made) + len(kept), held + len(kept))

    async def erase(self, subject: Subject, ruling: Ruling) -> None:
        """Withdrawn everywhere: in every process, on disk or on the server, and what is on its way."""
        if subject.user and _maybe_held(subject, ruling):
            for name in await self._free(subject, ruling):
                await self._withdraw(subject, name)
        elif subject.user:
            await self._cache.invalidate(_of_user(subject), dry_run=False)
        for name in (await self._made(subject, ruling))[0]:
            await self._withdraw(subject, name)
        self._cache.raw.tidy()
        shared = self._cache.shared
        if shared is not None and isinstance(shared.store, _Scrubbed):
            await shared.store.scrub()

    async def _withdraw(self, subject: Subject, entry: str) -> None:
        await self._cache.invalidate(Selector(subject.org, subject.project, entry=entry), dry_run=False)

    async def _free(self, subject: Subject, ruling: Ruling) -> list[str]:
        """Names of the user's entries that no hold keeps."""
        return [one.entry for one in await self._listed(_of_user(subject)) if not _held(one, subject, ruling)]

    async def _made(self, subject: Subject, ruling: Ruling) -> tuple[list[str], list[str]]:
        """Names of entries that requests of theirs have made without their being named: (to withdraw, held)."""
        found: tuple[list[str], list[str]] = ([], [])
        for alias, target, generation in sorted(subject.places):
            place = Selector(subject.org, subject.project, alias=alias, target=target, generation=generation)
            for one in await self._listed(place):
                if one.meta.origin in subject.requests and not (
                    subject.user and one.meta.user_digest == subject.digest
                ):
                    found[_held(one, subject, ruling)].append(one.entry)
        return found

    async def _listed(self, place: Selector) -> list[Described]:
        found: list[Described] = []
        for offset in range(0, _MOST, _PAGE):
            page = await self._cache.list(place, limit=min(_PAGE, _MOST - offset), offset=offset)
            found += page.items
            if not page.more:
                break
        return found


def _maybe_held(subject: Subject, ruling: Ruling) -> bool:
    """Whether a hold may keep anything of theirs."""
    return bool(subject.held) or ruling.held(subject.project, subject=subject.digest or None)


def _held(one: Described, subject: Subject, ruling: Ruling) -> bool:
    """As the request that made it: where the ledger does not know that any more, by when it was made."""
    if one.meta.origin in subject.requests:
        return one.meta.origin in subject.held
    return ruling.held(subject.project, at=one.meta.created, subject=subject.digest or None)


def _of_user(subject: Subject) -> Selector:
    return Selector(subject.org, subject.project, user=subject.user)
