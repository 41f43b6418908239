"""How the Valkey record store names and writes what it keeps; nothing here talks to a server.

Every key name stands alone, so a cluster may put it anywhere; only what must be found together lies in one value:

=====================  ======================================================================================
``ost:e:SCOPE:KEY``    a record, with a time to live. The scope is part of the name: that is how it is asked for
``ost:m:KEY``          hash: counters, and per scope the facet that lists the key; expires with the record
``ost:n:NAME``         scope and key behind an opaque name; expires with the record
``ost:f:FACET``        sorted set: the keys of one combination of scope, labels and tags, by expiry
``ost:F:FACET``        what that combination is
``ost:l:NAME=VALUE``   set: the facets that have a label, a tag or a scope
``ost:facets``         set: all facets
``ost:s:KEY``          a lease
=====================  ======================================================================================
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import msgspec

from ostinato.core import hashing
from ostinato.storage.records import Record

_log = logging.getLogger(__name__)

Command = tuple[bytes, ...]
Facet = tuple[int, bytes, dict[str, str], tuple[str, ...]]
"""When it was last filled (UTC microseconds), scope, labels, tags."""

KEY_BYTES = 32
_SCOPE = b"\0scope="
_TAG = b"\0tag="

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[str, dict[str, str], tuple[str, ...], int, bytes]).decode
decode_facet = msgspec.msgpack.Decoder(Facet).decode


class Names:
    """The names of keys under a prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix.encode()
        self._entry = self._prefix + b":e:"
        self.facets = self._prefix + b":facets"

    def entry(self, scope: bytes, key: bytes) -> bytes:
        """Of a record."""
        return self._entry + scope + b":" + key

    def of(self, kind: bytes, rest: bytes) -> bytes:
        """Of anything else: ``kind`` is one letter of the table above."""
        return self._prefix + b":" + kind + b":" + rest


class Writing:
    """The commands that store some records: those that list them, those beside, and the records themselves."""

    def __init__(self, names: Names, records: Sequence[Record], now: int) -> None:
        self.listing: list[Command] = []
        self.beside: list[Command] = []
        self.entries: list[Command] = []
        self.places: list[tuple[bytes, bytes]] = []
        facets: dict[bytes, list[Record]] = defaultdict(list)
        for record in records:
            facets[facet_of(record)].append(record)
        for facet, members in facets.items():
            self._list(names, facet, members, now)
            for record in members:
                self._write(names, facet, record, now)

    def moved(self, names: Names, answers: Sequence[Any]) -> list[Command]:
        """What unlists the records that stood under other labels before, from the answers to ``beside``."""
        before = answers[:: len(self.beside) // len(self.places)] if self.places else ()
        return [
            (b"ZREM", names.of(b"f", old), key)
            for (facet, key), old in zip(self.places, before, strict=True)
            if old is not None and old != facet
        ]

    def _list(self, names: Names, facet: bytes, members: Sequence[Record], now: int) -> None:
        scope, labels, tags = members[0].scope, _sorted(members[0].labels), _tags(members[0])
        scored = [part for record in members for part in (b"%d" % record.expires, record.key)]
        self.listing.append((b"SET", names.of(b"F", facet), _encode((now, scope, labels, tags))))
        self.listing.append((b"SADD", names.facets, facet))
        self.listing += [(b"SADD", names.of(b"l", label), facet) for label in label_names(scope, labels, tags)]
        self.listing.append((b"ZADD", names.of(b"f", facet), *scored))

    def _write(self, names: Names, facet: bytes, record: Record, now: int) -> None:
        ttl = b"%d" % max(1, (record.expires - now) // 1000)
        meta = names.of(b"m", record.key)
        self.places.append((facet, record.key))
        self.beside.append((b"HGET", meta, b"s" + record.scope))
        self.beside.append((b"HSET", meta, b"s" + record.scope, facet, b"h", b"0", b"u", b"0"))
        self.beside.append((b"PEXPIRE", meta, ttl))
        self.beside.append((b"SET", names.of(b"n", record.name.encode()), record.scope + record.key, b"PX", ttl))
        value = _encode((record.name, record.labels, record.tags, record.expires, record.blob))
        self.entries.append((b"SET", names.entry(record.scope, record.key), value, b"PX", ttl))


def record(key: bytes, scope: bytes, value: bytes) -> Record | None:
    """The record that ``value`` says; ``None`` where it says none."""
    try:
        name, labels, tags, expires, blob = _decode(value)
    except msgspec.MsgspecError:
        _log.warning("The shared cache holds something that is not a record; it is passed over.")
        return None
    return Record(key=key, scope=scope, name=name, labels=labels, tags=tags, expires=expires, blob=blob)


def facet_of(record: Record) -> bytes:
    """16 bytes that stand for scope, labels and tags."""
    return hashing.digest(record.scope, _encode((_sorted(record.labels), _tags(record))))[:16]


def label_names(scope: bytes, labels: dict[str, str], tags: Iterable[str]) -> Iterator[bytes]:
    """What follows ``ost:l:`` for labels, tags and (unless empty) the scope. A length keeps ``a=b``, ``c`` and ``a``,
    ``b=c`` apart."""
    for name, value in labels.items():
        yield b"%d:%s=%s" % (len(name), name.encode(), value.encode())
    for tag in tags:
        yield _TAG + tag.encode()
    if scope:
        yield _SCOPE + scope


def scored(answer: Any) -> list[tuple[bytes, float]]:
    """Members with scores, as RESP3 gives them (a map, or pairs)."""
    pairs = cast("Iterable[tuple[bytes, Any]]", answer.items() if isinstance(answer, dict) else answer or ())
    return [(member, float(score)) for member, score in pairs]


def _sorted(labels: dict[str, str]) -> dict[str, str]:
    return dict(sorted(labels.items()))


def _tags(record: Record) -> tuple[str, ...]:
    return tuple(sorted(set(record.tags)))
