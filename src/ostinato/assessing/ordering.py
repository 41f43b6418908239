"""Recorded requests in order of time, in bounded memory: sorted in chunks, spilled to files without a name, merged."""

import heapq
import struct
import tempfile
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import IO

import msgspec

from ostinato.assessing.model import Exchange

_CHUNK = 48 * 1_048_576
"""Characters of texts that are held in memory, about."""
_MOST_AT_ONCE = 200
_LENGTH = struct.Struct("<I")
_JSON_MARK = b"\xc1"
"""The one byte that MessagePack never uses."""

_pack = msgspec.msgpack.Encoder()
_unpack = msgspec.msgpack.Decoder(Exchange)
_json = msgspec.json.Encoder()
_unjson = msgspec.json.Decoder(Exchange)
_in_time = attrgetter("at", "number")


def in_time(exchanges: Iterable[tuple[Exchange, int]], chunk: int = _CHUNK) -> Iterator[Exchange]:
    """``exchanges`` (each with its size) by time, then by their place. What is spilled has no name on the disk."""
    runs: list[IO[bytes]] = []
    held: list[Exchange] = []
    size = 0
    try:
        for one, weight in exchanges:
            held.append(one)
            size += weight
            if size >= chunk:
                held.sort(key=_in_time)
                runs.append(_spilled(held))
                held, size = [], 0
                if len(runs) >= _MOST_AT_ONCE:
                    merged = _spilled(heapq.merge(*map(_read, runs), key=_in_time))
                    _close(runs)
                    runs = [merged]
        held.sort(key=_in_time)
        yield from heapq.merge(*map(_read, runs), held, key=_in_time) if runs else held
    finally:
        _close(runs)


def _spilled(exchanges: Iterable[Exchange]) -> IO[bytes]:
    file = tempfile.TemporaryFile(prefix="ostinato-assess-")  # noqa: SIM115 - whoever merges closes it
    for one in exchanges:
        try:
            data = _pack.encode(one)
        except OverflowError:  # integers beyond 64 bits, which MessagePack lacks
            data = _JSON_MARK + _json.encode(one)
        file.write(_LENGTH.pack(len(data)))
        file.write(data)
    file.seek(0)
    return file


def _read(file: IO[bytes]) -> Iterator[Exchange]:
    while head := file.read(_LENGTH.size):
        data = file.read(_LENGTH.unpack(head)[0])
        yield _unjson.decode(data[1:]) if data[:1] == _JSON_MARK else _unpack.decode(data)


def _close(files: Iterable[IO[bytes]]) -> None:
    for file in files:
        file.close()
