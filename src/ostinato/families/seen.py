"""What a batch of the ledger says of families: few numbers per batch, so that the writer's thread is soon done."""

import zlib
from collections.abc import Iterable, Mapping

import msgspec

from ostinato.traces import CallRow, HitRow
from ostinato.traces.rollup import CHAT, Origin, bucket_of

OWN = "loop"
"""The reason that stands on calls of our own: no traffic."""


class Seen(msgspec.Struct, gc=False):
    """Equal requests of one batch."""

    org: str
    project: str
    family: str
    print64: int
    alias: str
    intent: str
    times: int
    first: int
    last: int
    saved: int = 0
    """Of hits."""
    age: float | None = None
    """Seconds of the answer that a hit got; ``None``: a call."""
    cost: int | None = None
    tokens: int = 0
    bucket: int | None = None
    """Of the latency of a call that was answered."""
    failed: bool = False


def of_batch(hits: Iterable[HitRow], calls: Iterable[CallRow], origins: Mapping[str, Origin]) -> list[Seen]:
    """The batch by requests: hits of one entry are one, however many. Half a microsecond per hit."""
    found = [one for one in map(_call, calls) if one is not None]
    entries: dict[str, Seen | None] = {}
    for row in hits:
        name = row.origin
        try:
            one = entries[name]
        except KeyError:
            entries[name] = _hit(row, origins.get(name))
            continue
        if one is not None:
            one.times += 1
            one.saved += row.saved
            one.last = row.at
    found.extend(one for one in entries.values() if one is not None)
    return found


def print_of(fingerprint: str, user: str) -> int:
    """64 bits for a request of an end user: what the cache tells apart."""
    try:
        number = int(fingerprint[:16], 16)
        return number ^ int(user[:16], 16) if user else number
    except ValueError:
        return zlib.crc32(f"{fingerprint} {user}".encode())


def _hit(row: HitRow, origin: Origin | None) -> Seen | None:
    if origin is None or not origin.family:
        return None
    return Seen(
        origin.org,
        origin.project,
        origin.family,
        print_of(origin.asked, row.user_digest),
        origin.alias,
        origin.intent,
        1,
        row.at,
        row.at,
        saved=row.saved,
        age=float(row.age_s),
    )


def _call(row: CallRow) -> Seen | None:
    if not row.family or row.reason == OWN or row.wire not in CHAT or not row.fingerprint:
        return None
    asked = bool(row.attempts)
    if row.status >= 400 and not asked:
        return None  # refused before anybody was asked
    failed = row.status >= 400
    usage = row.usage
    return Seen(
        row.org,
        row.project,
        row.family,
        print_of(row.fingerprint, row.user_digest),
        row.alias,
        row.intent,
        1,
        row.at,
        row.at,
        cost=row.cost,
        tokens=usage.total if usage is not None else 0,
        bucket=bucket_of(row.upstream_us) if row.upstream_us and not failed else None,
        failed=failed,
    )
