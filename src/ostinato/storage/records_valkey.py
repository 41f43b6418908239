"""The shared tier in Valkey (or Redis), for many processes; also in a cluster, without scripts.

What lies where is told in :mod:`ostinato.storage.records_valkey_shapes`.

A record that can be read can be found, hence withdrawn: it is listed before it is written and once more after, and a
removal deletes, unlists and deletes again. Whatever crashes or overlaps in between leaves at worst a listed key without
a record. Lists carry no time to live, so a server that evicts must do so by a ``volatile-...`` policy.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from ostinato.core.clock import Clock, SystemClock
from ostinato.core.errors import Unavailable
from ostinato.storage import records_valkey_shapes as shapes
from ostinato.storage import valkey
from ostinato.storage.records import Query, Record
from ostinato.storage.records_valkey_shapes import Command

_log = logging.getLogger(__name__)

T = TypeVar("T")

_PAGE = 500
_PAGE_BYTES = 8 * 1024 * 1024
_SCAN = b"5000"
_IDLE_FACET = 3_600_000_000
"""Microseconds that an empty facet is kept, so that sweeping never races with someone who fills it."""
_ANY_TIME = 1 << 62
_TOUCH_TTL = b"3600000"
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


class ValkeyRecordStore:
    """Records in the Valkey at ``url`` (see :mod:`ostinato.storage.valkey`), under names that begin with ``prefix``.

    While the server is away every call raises ``Unavailable`` at once and ``healthy`` is false; a call under way when
    it goes away takes a quarter of a second at most. It is used again within a second of its return.
    """

    shared = True

    def __init__(self, url: str, *, prefix: str = "ost", clock: Clock | None = None) -> None:
        self._url = url
        self._names = shapes.Names(prefix)
        self._clock = clock or SystemClock()
        self._client: valkey.Client | None = None
        self._up = False
        self._checked = False
        self._prober: asyncio.Task[None] | None = None
        valkey.Address(url)

    @property
    def healthy(self) -> bool:
        """Whether the server answered last time."""
        return self._up

    async def start(self) -> None:
        """Begin to connect, and give a server that is there a moment to answer."""
        if self._client is not None:
            return
        self._client = await valkey.connect(self._url, name="ostinato-cache")
        self._prober = asyncio.get_running_loop().create_task(self._probe(self._client))
        await asyncio.wait([self._prober], timeout=valkey.REQUEST_MS / 1000)

    async def close(self) -> None:
        """Let go; calls under way fail."""
        client, self._client = self._client, None
        self._up = False
        if self._prober is not None:
            self._prober.cancel()
        if client is not None:
            await client.close()

    async def get(self, key: bytes, scope: bytes) -> Record | None:
        """One GET of the name that scope and key make."""
        client = self._there()
        value = await self._asked(client.get(self._names.entry(scope, key)))
        return None if value is None else shapes.record(key, scope, value)

    async def put_many(self, records: Sequence[Record]) -> None:
        """Three batches for every few hundred: list, write, list again."""
        latest = {(record.key, record.scope): record for record in records}
        for page in _pages(list(latest.values())):
            writing = shapes.Writing(self._names, page, self._clock.now())
            answers = await self._batch(writing.beside + writing.listing)
            await self._batch(writing.entries)
            await self._batch(writing.listing + writing.moved(self._names, answers[: len(writing.beside)]))

    async def find(self, query: Query, limit: int = 100) -> list[Record]:
        """Those that expire last come first."""
        query.checked()
        if query.name:
            found = await self._named(query)
            return [found] if found is not None and limit > 0 else []
        now = b"%d" % self._clock.now()
        page = b"%d" % limit
        scored: list[tuple[float, bytes, bytes]] = []
        async for facet, scope, members in self._members(
            query, b"ZRANGE", b"+inf", now, b"BYSCORE", b"REV", b"LIMIT", b"0", page, b"WITHSCORES"
        ):
            del facet
            scored += [(score, scope, member) for member, score in shapes.scored(members)]
            scored = sorted(scored, key=lambda one: one[0], reverse=True)[:limit]
        return await self._fetched([(scope, key) for _, scope, key in scored])

    async def count(self, query: Query) -> int:
        """By the lists: a record that the server evicted still counts until it would have expired."""
        query.checked()
        if query.name:
            return int(await self._named(query) is not None)
        now = b"%d" % self._clock.now()
        return sum([n async for _, _, n in self._members(query, b"ZCOUNT", now, b"+inf")])

    async def remove(self, query: Query) -> list[bytes]:
        """Delete, unlist, delete again: see above."""
        query.checked()
        if query.name:
            found = await self._named(query)
            gone = [(shapes.facet_of(found), found.scope, [found.key])] if found is not None else []
        else:
            gone = [
                (facet, scope, members)
                async for facet, scope, members in self._members(query, b"ZRANGE", b"0", b"-1")
                if members
            ]
        for facet, scope, members in gone:
            for start in range(0, len(members), _PAGE):
                await self._withdraw(facet, scope, members[start : start + _PAGE])
        return [key for _, _, members in gone for key in members]

    async def remove_keys(self, keys: Sequence[bytes]) -> int:
        """By what the counters' hash knows of each key."""
        removed = 0
        unique = list(dict.fromkeys(keys))
        for start in range(0, len(unique), _PAGE):
            page = unique[start : start + _PAGE]
            known = await self._batch([(b"HGETALL", self._names.of(b"m", key)) for key in page])
            groups: dict[tuple[bytes, bytes], list[bytes]] = defaultdict(list)
            for key, fields in zip(page, known, strict=True):
                for field, facet in fields.items():
                    if field.startswith(b"s"):
                        groups[facet, field[1:]].append(key)
            for (facet, scope), members in groups.items():
                removed += await self._withdraw(facet, scope, members)
        return removed

    async def touch_many(self, touches: Sequence[tuple[bytes, int, int]]) -> None:
        """Only keys that are still there."""
        for start in range(0, len(touches), _PAGE):
            page = touches[start : start + _PAGE]
            there = await self._batch([(b"EXISTS", self._names.of(b"m", key)) for key, _, _ in page])
            commands: list[Command] = []
            for (key, hits, last), exists in zip(page, there, strict=True):
                if exists:
                    meta = self._names.of(b"m", key)
                    commands.append((b"HINCRBY", meta, b"h", b"%d" % hits))
                    commands.append((b"HSET", meta, b"u", b"%d" % last))
                    # Should it have expired in this very moment, it must not stay for ever.
                    commands.append((b"PEXPIRE", meta, _TOUCH_TTL, b"NX"))
            await self._batch(commands)

    async def sweep(self, now: int) -> int:
        """Clear the lists of what expired; the records themselves went by their time to live."""
        removed = 0
        async for page in self._facets_paged():
            commands = [(b"ZREMRANGEBYSCORE", self._names.of(b"f", facet), b"-inf", b"%d" % now) for facet in page]
            removed += sum(await self._batch(commands))
            sizes = await self._batch([(b"ZCARD", self._names.of(b"f", facet)) for facet in page])
            await self._forget([facet for facet, size in zip(page, sizes, strict=True) if not size], now)
        return removed

    async def scrub(self) -> None:
        """Leave no labels and tags of records that are gone: lists that are empty go now, and not in an hour.

        Who fills one at that moment finds it gone; so each that has been filled meanwhile is described again.
        """
        async for page in self._facets_paged():
            sizes = await self._batch([(b"ZCARD", self._names.of(b"f", facet)) for facet in page])
            empty = [facet for facet, size in zip(page, sizes, strict=True) if not size]
            known = await self._batch([(b"GET", self._names.of(b"F", facet)) for facet in empty])
            await self._forget(empty, _ANY_TIME)
            sizes = await self._batch([(b"ZCARD", self._names.of(b"f", facet)) for facet in empty])
            again: list[Command] = []
            for facet, body, size in zip(empty, known, sizes, strict=True):
                if size and body is not None:
                    _, scope, labels, tags = shapes.decode_facet(body)
                    again += [(b"SET", self._names.of(b"F", facet), body), (b"SADD", self._names.facets, facet)]
                    again += [
                        (b"SADD", self._names.of(b"l", pair), facet) for pair in shapes.label_names(scope, labels, tags)
                    ]
            await self._batch(again)

    async def key_prefixes(self) -> AsyncIterator[list[bytes]]:
        """List by list; a key that stands in two is given twice."""
        async for page in self._facets_paged():
            for facet in page:
                async for members in self._scanned(b"ZSCAN", self._names.of(b"f", facet)):
                    if members:
                        yield [member[:8] for member in members[::2]]

    async def acquire_lease(self, key: bytes, owner: str, seconds: float) -> bool:
        """SET NX; the holder renews by asking again."""
        client = self._there()
        name, ttl = self._names.of(b"s", key), b"%d" % max(1, int(seconds * 1000))
        if await self._asked(client.command(b"SET", name, owner, b"NX", b"PX", ttl)) is not None:
            return True
        if await self._asked(client.get(name)) != owner.encode():
            return False
        return bool(await self._asked(client.command(b"PEXPIRE", name, ttl)))

    async def release_lease(self, key: bytes, owner: str) -> None:
        """Compare and delete in one step where the server can (Valkey 9)."""
        client = self._there()
        name = self._names.of(b"s", key)
        try:
            await client.command(b"DELIFEQ", name, owner)
        except valkey.FAILURES as error:
            if valkey.is_down(error):
                raise self._lost(error) from error
            # An older server. Between look and deletion the lease may pass on: then one more call is made upstream.
            if await self._asked(client.get(name)) == owner.encode():
                await self._asked(client.command(b"UNLINK", name))

    async def _withdraw(self, facet: bytes, scope: bytes, keys: Sequence[bytes]) -> int:
        deletion: list[Command] = [(b"UNLINK", self._names.entry(scope, key)) for key in keys]
        removed = sum(await self._batch(deletion))
        unlisting: list[Command] = [(b"HDEL", self._names.of(b"m", key), b"s" + scope) for key in keys]
        await self._batch([*unlisting, (b"ZREM", self._names.of(b"f", facet), *keys)])
        return removed + sum(await self._batch(deletion))

    async def _named(self, query: Query) -> Record | None:
        """The one record of that name, if everything else fits too."""
        client = self._there()
        where = await self._asked(client.get(self._names.of(b"n", query.name.encode())))
        if where is None:
            return None
        found = await self._fetched([(where[: -shapes.KEY_BYTES], where[-shapes.KEY_BYTES :])])
        if not found:
            return None
        record = found[0]
        fits = (
            query.labels.items() <= record.labels.items()
            and (not query.tag or query.tag in record.tags)
            and (not query.scope or query.scope == record.scope)
        )
        return record if fits else None

    async def _fetched(self, places: Sequence[tuple[bytes, bytes]]) -> list[Record]:
        found: list[Record] = []
        for start in range(0, len(places), _PAGE):
            page = places[start : start + _PAGE]
            values = await self._batch([(b"GET", self._names.entry(scope, key)) for scope, key in page])
            metas = await self._batch([(b"HMGET", self._names.of(b"m", key), b"h", b"u") for _, key in page])
            for (scope, key), value, meta in zip(page, values, metas, strict=True):
                record = None if value is None else shapes.record(key, scope, value)
                if record is not None:
                    hits, used = (int(part or 0) for part in meta)
                    found.append(msgspec.structs.replace(record, hits=hits, last_hit=used))
        return found

    async def _members(
        self, query: Query, command: bytes, *arguments: bytes
    ) -> AsyncIterator[tuple[bytes, bytes, Any]]:
        """For every facet that fits: its digest, its scope, and what ``command`` says of its list."""
        async for page in self._fitting(query):
            bodies = await self._batch([(b"GET", self._names.of(b"F", facet)) for facet in page])
            answers = await self._batch([(command, self._names.of(b"f", facet), *arguments) for facet in page])
            for facet, body, answer in zip(page, bodies, answers, strict=True):
                if body is not None:
                    yield facet, shapes.decode_facet(body)[1], answer

    async def _fitting(self, query: Query) -> AsyncIterator[list[bytes]]:
        if not (query.labels or query.tag or query.scope):
            async for page in self._facets_paged():
                yield page
            return
        wanted = list(shapes.label_names(query.scope, query.labels, (query.tag,) if query.tag else ()))
        sets = await self._batch([(b"SMEMBERS", self._names.of(b"l", pair)) for pair in wanted])
        fitting = sorted(set[bytes].intersection(*(set(members) for members in sets)))
        for start in range(0, len(fitting), _PAGE):
            yield fitting[start : start + _PAGE]

    async def _facets_paged(self) -> AsyncIterator[list[bytes]]:
        async for members in self._scanned(b"SSCAN", self._names.facets):
            for start in range(0, len(members), _PAGE):
                yield members[start : start + _PAGE]

    async def _scanned(self, command: bytes, name: bytes) -> AsyncIterator[list[bytes]]:
        cursor = b"0"
        while True:
            cursor, members = await self._asked(self._there().command(command, name, cursor, b"COUNT", _SCAN))
            yield members
            if cursor in (b"0", "0"):
                return

    async def _forget(self, empty: Sequence[bytes], now: int) -> None:
        """Drop facets that list nothing and were last filled an hour ago."""
        bodies = await self._batch([(b"GET", self._names.of(b"F", facet)) for facet in empty])
        commands: list[Command] = []
        for facet, body in zip(empty, bodies, strict=True):
            if body is None:
                commands.append((b"SREM", self._names.facets, facet))
                continue
            filled, scope, labels, tags = shapes.decode_facet(body)
            if filled <= now - _IDLE_FACET:
                commands += [
                    (b"SREM", self._names.of(b"l", pair), facet) for pair in shapes.label_names(scope, labels, tags)
                ]
                commands += [(b"UNLINK", self._names.of(b"F", facet)), (b"SREM", self._names.facets, facet)]
        await self._batch(commands)

    async def _batch(self, commands: Sequence[Command]) -> list[Any]:
        return await self._asked(self._there().batch(commands)) if commands else []

    def _there(self) -> valkey.Client:
        if self._client is None:
            raise Unavailable("The shared cache is not started.", code="storage_closed")
        if not self._up:
            raise valkey.away(ConnectionError())
        return self._client

    async def _asked(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except valkey.FAILURES as error:
            raise self._lost(error) from error

    def _lost(self, error: BaseException) -> Unavailable:
        """Note that the server is away, and have it asked for until it is back; one answer closes the circuit again."""
        told = valkey.away(error)
        if valkey.is_down(error) and self._up and self._client is not None:
            self._up = False
            _log.warning("%s", told.sentence)
            self._prober = asyncio.get_running_loop().create_task(self._probe(self._client))
        return told

    async def _probe(self, client: valkey.Client) -> None:
        pause = _FIRST_PAUSE
        while self._client is client:
            try:
                await client.command(b"PING")
                if not self._checked:
                    self._checked = True
                    await self._check(client)
                else:
                    _log.warning("Valkey answers again.")
                self._up = True
                return
            except valkey.FAILURES as error:
                _log.debug("Valkey does not answer yet (%s).", type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _check(self, client: valkey.Client) -> None:
        """Say so where the server may evict lists: then a withdrawal would not find every record."""
        try:
            about = str(await client.command(b"INFO", b"memory"))
        except valkey.FAILURES:
            return
        if "maxmemory_policy:allkeys" in about:
            _log.warning(
                "Valkey evicts by an allkeys policy: invalidation may then miss entries. Set maxmemory-policy to "
                "volatile-lru or volatile-ttl."
            )


def _pages(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """At most 500 records and (but for one) 8 MiB at a time, so that no batch outlasts its time."""
    start = size = 0
    for end, record in enumerate(records):
        if end > start and (end - start >= _PAGE or size + len(record.blob) > _PAGE_BYTES):
            yield records[start:end]
            start, size = end, 0
        size += len(record.blob)
    yield records[start:]
