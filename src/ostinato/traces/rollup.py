"""Adding rows up: counts, tokens, money and histograms per ten seconds, minute, hour and day.

The writer adds every batch to the rollup in the transaction that writes its rows, so that the two never disagree.
A histogram has one bucket per 5 % of latency and is a sparse ``{bucket: count}``: any two can be merged by addition,
and a percentile read from one is right within 2.5 %.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec

from ostinato.traces.model import HIT_KINDS, CallRow, HitRow, Latency
from ostinato.traces.tables import SUMS

SECOND = 1_000_000
GRAINS = (10, 60, 3_600, 86_400)
"""Seconds: the finest for the last minutes, the day for months. Days are UTC's."""
FINEST = GRAINS[0] * SECOND

Histogram: TypeAlias = dict[int, int]
Dimensions: TypeAlias = tuple[str, str, str, str, str, str, str, str, str]
"""Organization, project, key id, alias, target, intent, prompt, release, arm: ``tables.DIMENSIONS``."""

Key = TypeVar("Key")

CHAT = frozenset({"openai.chat", "openai.responses", "anthropic.messages"})
"""Wires whose requests are questions: what an interaction is made of."""

ASIDES = frozenset({"anthropic.count_tokens", "models", "feedback", "held"})
"""What is asked beside answers and vectors: no request of any figure."""

REFRESH = "refresh"
"""``CallRow.reason`` of calls in the background, for an entry that was served past its time: nobody's request."""

ASKED = 16
"""Digits of a fingerprint that tell questions of one session apart."""

_REFUSING = {"refusal": "refusal", "content_filter": "content-filter"}
"""How an answer ended -> the reason that stands on a miss that ended so, and was not kept for it."""

_GAMMA = 1.05
_PER_LOG = 1 / math.log(_GAMMA)
_SMALL = [0, *(math.ceil(math.log(us) * _PER_LOG - 1e-9) for us in range(1, 8_192))]
_SERVED = ("hit-exact", "stale")
_CLASSES = 64
"""Most error classes and reasons told apart in one cell; the rest is ``other``."""


def bucket_of(us: int) -> int:
    """The histogram bucket of a duration in microseconds: bucket b holds what is above 1.05^(b-1), up to 1.05^b."""
    if us < 8_192:
        return _SMALL[us] if us > 0 else 0
    return math.ceil(math.log(us) * _PER_LOG - 1e-9)


def value_of(bucket: int) -> int:
    """The duration in microseconds that stands for a bucket, its geometric middle."""
    return round(_GAMMA ** (bucket - 0.5)) if bucket > 0 else 1


def percentiles(histogram: Histogram) -> Latency:
    """p50, p95 and p99 by nearest rank."""
    total = sum(histogram.values())
    if not total:
        return Latency(0, None, None, None)
    found: list[int] = []
    ranks = [math.ceil(total * share) for share in (0.5, 0.95, 0.99)]
    seen = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        while len(found) < len(ranks) and seen >= ranks[len(found)]:
            found.append(value_of(bucket))
    return Latency(total, *found)


class Detail(msgspec.Struct, array_like=True):
    """What of a cell is no plain sum. Kept as msgpack; a later version may append fields."""

    hit: Histogram = {}
    miss: Histogram = {}
    first_token: Histogram = {}
    upstream: Histogram = {}
    overhead: Histogram = {}
    errors: dict[str, int] = {}
    reasons: dict[str, int] = {}
    per_token: Histogram = {}
    """Microseconds per token behind the first, of streamed misses."""


HISTOGRAMS = ("hit", "miss", "first_token", "upstream", "overhead", "per_token")


class Cell(msgspec.Struct):
    """Sums of one bucket of time and one set of dimensions."""

    sums: list[int] = msgspec.field(default_factory=lambda: [0] * len(SUMS))
    """In the order of ``tables.SUMS``."""
    detail: Detail = msgspec.field(default_factory=Detail)

    def add(self, other: "Cell") -> None:
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]
        self.add_detail(other.detail)

    def add_detail(self, other: Detail) -> None:
        for name in (*HISTOGRAMS, "errors", "reasons"):
            merge(getattr(self.detail, name), getattr(other, name))

    def copy(self) -> "Cell":
        fresh = Cell()
        fresh.add(self)
        return fresh

    def __getitem__(self, name: str) -> int:
        return self.sums[_AT[name]]


Cells: TypeAlias = dict[tuple[int, Dimensions], Cell]
"""By start of the bucket (UTC microseconds) and dimensions."""

_AT = {name: index for index, name in enumerate(SUMS)}
_REQUESTS = _AT["requests"]
_FIRST_KIND = _AT["hit_raw"]
_STALE = _AT["hit_stale"]
_UNATTRIBUTED, _MISSES, _BYPASSES = _AT["unattributed"], _AT["misses"], _AT["bypasses"]
_REFUSED, _ERRORS = _AT["refused"], _AT["errors"]
_INPUT = _AT["input"]
_AVOIDED, _PRICED, _COST = _AT["avoided"], _AT["priced"], _AT["cost"]
_SAVED, _COUNTERFACTUAL = _AT["saved"], _AT["counterfactual"]
_ASIDES, _SHORT = _AT["asides"], _AT["short"]

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Detail)


def encode(detail: Detail) -> bytes:
    return _ENCODER.encode(detail)


def decode(blob: bytes) -> Detail:
    return _DECODER.decode(blob)


class Origin(msgspec.Struct, frozen=True, gc=False):
    """What a hit needs to know of the call that it repeats."""

    org: str = ""
    project: str = ""
    alias: str = ""
    target: str = ""
    intent: str = ""
    wire: str = ""
    provider: str = ""
    model: str = ""
    input: int = 0
    """With what was read from and written to the provider's prefix cache."""
    output: int = 0
    """With reasoning."""
    priced: bool = False
    prompt: str = ""
    release: str = ""
    known: bool = True
    asked: str = ""
    """The beginning of its fingerprint: whether the same was asked again."""
    chat: bool = True
    family: str = ""


UNKNOWN = Origin(known=False)


def origin_of(row: CallRow) -> Origin:
    """What hits that repeat ``row`` will need."""
    usage = row.usage
    return Origin(
        row.org,
        row.project,
        row.alias,
        row.target,
        row.intent,
        row.wire,
        row.provider,
        row.model,
        usage.input + usage.cache_read + usage.cache_write if usage else 0,
        usage.output + usage.reasoning if usage else 0,
        row.cost is not None,
        row.prompt,
        row.release,
        asked=row.fingerprint[:ASKED],
        chat=row.wire in CHAT,
        family=row.family,
    )


def add_hits(cells: Cells, rows: Iterable[HitRow], origins: Mapping[str, Origin]) -> list[HitRow]:
    """Add hits to the finest cells; gives those that are no interaction of their own: of a session, or no question.

    Runs once per hit: every line here is paid for in the 12 microseconds.
    """
    small, last = _SMALL, len(HIT_KINDS) - 1
    apart: list[HitRow] = []
    for row in rows:
        origin = origins.get(row.origin, UNKNOWN)
        us = row.total_us
        end = row.at + us
        of_call = origin.alias, origin.target, origin.intent, origin.prompt, origin.release
        key = (end - end % FINEST, (origin.org, origin.project, row.key_id, *of_call, row.arm))
        cell = cells.get(key)
        if cell is None:
            cell = cells[key] = Cell()
        sums = cell.sums
        sums[_REQUESTS] += 1
        kind = row.kind
        sums[_FIRST_KIND + (kind if 0 <= kind <= last else last)] += 1
        if origin.known:
            tokens = origin.input + origin.output
            sums[_AVOIDED] += tokens
            if origin.priced or row.saved:
                sums[_PRICED] += tokens
        else:
            sums[_UNATTRIBUTED] += 1
        sums[_SAVED] += row.saved
        sums[_COUNTERFACTUAL] += row.saved
        histogram = cell.detail.hit
        bucket = small[us] if 0 <= us < 8_192 else bucket_of(us)
        histogram[bucket] = histogram.get(bucket, 0) + 1
        if row.session or not origin.chat:
            apart.append(row)
    return apart


def add_call(cells: Cells, row: CallRow) -> None:
    """Add one call to the finest cells."""
    end = row.at + row.total_us
    # A name that no target stands behind is the caller's free text: as a dimension it would have no bound.
    alias = row.alias if row.target or row.status < 400 else ""
    meant = alias, row.target, row.intent, row.prompt, row.release, row.arm
    key = (end - end % FINEST, (row.org, row.project, row.key_id, *meant))
    cell = cells.get(key)
    if cell is None:
        cell = cells[key] = Cell()
    add_to(cell, row)


def add_to(cell: Cell, row: CallRow) -> None:
    """Add one call to a cell."""
    sums, detail = cell.sums, cell.detail
    if row.reason == REFRESH:
        _count(detail.reasons, REFRESH)
        if row.status < 400 and row.upstream_us:
            _count(detail.upstream, bucket_of(row.upstream_us))
        _add_tokens(sums, row)
        return
    if row.wire in ASIDES:
        sums[_ASIDES] += 1
        if row.reason:
            _count(detail.reasons, row.reason)
        return
    sums[_REQUESTS] += 1
    if row.finish == "length":
        sums[_SHORT] += 1
    if row.cache == "hit-exact":
        sums[_FIRST_KIND + 1] += 1
    elif row.cache == "stale":
        sums[_STALE] += 1
    elif row.status >= 400 and not row.attempts:
        sums[_REFUSED] += 1
    elif row.cache == "bypass":
        sums[_BYPASSES] += 1
    else:
        sums[_MISSES] += 1
    if row.reason:
        _count(detail.reasons, row.reason)
    refusing = _REFUSING.get(row.finish, "")
    if refusing and row.cache not in _SERVED and row.reason not in _REFUSING.values():
        # A bypass, or a miss whose policy keeps refusals: the reason that stands on it is another one.
        _count(detail.reasons, refusing)
    if row.status >= 400 or row.error:
        sums[_ERRORS] += 1
        _count(detail.errors, row.error or str(row.status))
    _add_tokens(sums, row)
    _add_latency(detail, row)


def _add_tokens(sums: list[int], row: CallRow) -> None:
    usage = row.usage
    served = row.cache in _SERVED
    if usage is not None:
        if served:
            sums[_AVOIDED] += usage.total
        else:
            buckets = (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning)
            for offset, tokens in enumerate(buckets):
                sums[_INPUT + offset] += tokens
        if row.cost is not None:
            sums[_PRICED] += usage.total
    cost = row.cost or 0
    sums[_COST] += cost
    sums[_SAVED] += row.saved
    sums[_COUNTERFACTUAL] += row.counterfactual if row.counterfactual is not None else cost + row.saved


def _add_latency(detail: Detail, row: CallRow) -> None:
    if row.cache in _SERVED:
        _count(detail.hit, bucket_of(row.total_us))
        return
    if row.status >= 400 or not row.upstream_us:
        return
    _count(detail.miss, bucket_of(row.total_us))
    _count(detail.upstream, bucket_of(row.upstream_us))
    _count(detail.overhead, bucket_of(row.total_us - row.upstream_us))
    if row.stream and row.first_token_us:
        _count(detail.first_token, bucket_of(row.first_token_us))
        usage = row.usage
        if usage is not None and (later := usage.output + usage.reasoning - 1) > 0:
            _count(detail.per_token, bucket_of((row.total_us - row.first_token_us) // later))


def _count(counts: dict[Any, int], name: int | str) -> None:
    if isinstance(name, str) and name not in counts and len(counts) >= _CLASSES:
        name = "other"
    counts[name] = counts.get(name, 0) + 1


def merge(into: dict[Any, int], other: Mapping[Any, int]) -> None:
    """Add the counts of ``other``."""
    if not into:
        into.update(other)
        return
    known = into.get
    for name, count in other.items():
        into[name] = known(name, 0) + count


class Summed(Protocol):
    """Sums that can be added to each other: a cell of any rollup."""

    def add(self, other: Any) -> None: ...

    def add_detail(self, other: Any) -> None: ...

    def copy(self) -> Any: ...


S = TypeVar("S", bound=Summed)


def coarser(cells: Mapping[tuple[int, Key], S], grain: int) -> dict[tuple[int, Key], S]:
    """The same sums in buckets of ``grain`` seconds."""
    width = grain * SECOND
    result: dict[tuple[int, Key], S] = {}
    for (bucket, dimensions), cell in cells.items():
        add_cell(result, (bucket - bucket % width, dimensions), cell)
    return result


def add_cell(cells: dict[Key, S], key: Key, cell: S) -> None:
    """Add ``cell`` to the one of this key, which is made where there is none."""
    known = cells.get(key)
    if known is None:
        cells[key] = cell.copy()
    else:
        known.add(cell)
