"""The ledger's rows of a window again, under another policy: what would have hit, cost and taken how long.

Rows hold no texts and need none: a fingerprint, an end user's digest, a time and a cost tell what a cache would have
done. Every request that came to a look-up is replayed twice, under the policies that hold now and under those with the
change over them; beside what really happened, the first shows how far such a replay can be trusted.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Literal

import msgspec

from ostinato.assessing.model import Share, Told
from ostinato.cache.model import Policy
from ostinato.cache.policy import Policies
from ostinato.core.errors import Invalid, OstinatoError
from ostinato.families.figures import share
from ostinato.intents import Intents
from ostinato.traces import Filter, Ledger, PriceBook, RequestEvent, Window
from ostinato.traces.rollup import CHAT, bucket_of, value_of
from ostinato.wire.model import Usage

_PAGE = 1_000
_FAR = 2**62
_HIGHEST = 2**40
_MOST_KEYS = 500_000
_LOOP = "loop"
"""The reason that stands on calls of our own."""
_HOTTEST = 2.0
_EARLIER = 60_000_000
"""Rows are written when a request ends; so much earlier the walk begins."""
_FINISHED = frozenset({"stop", "stop_sequence", "tool_use"})
_OFF = frozenset({"policy-off", "temperature"})
"""Why a request came to no look-up, where another policy may change that."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is other than now; ``None``: as it is."""

    mode: Literal["off", "exact"] | None = None
    ttl: float | None = None
    """Seconds."""
    scope: Literal["user", "project"] | None = None
    temperature_limit: float | None = None
    target: str = ""
    """``provider/model``: priced as if this one had answered, with the same tokens."""

    def check(self) -> None:
        """Raises ``Invalid`` for what no policy may say, and where nothing is other than now."""
        if not any((self.mode, self.ttl is not None, self.scope, self.temperature_limit is not None, self.target)):
            raise Invalid("Nothing is other than now.", code="invalid_what_if", hint="Name a mode, ttl, scope ...")
        if self.ttl is not None and not 0.001 <= self.ttl <= 10 * 365 * 86_400.0:
            raise Invalid("A ttl is from a thousandth of a second to ten years.", code="invalid_what_if", param="ttl")
        if self.temperature_limit is not None and not 0.0 <= self.temperature_limit <= _HOTTEST:
            raise Invalid("A limit is from 0 to 2.", code="invalid_what_if", param="temperature_limit")
        if self.target and not all(self.target.partition("/")):
            raise Invalid("A target is PROVIDER/MODEL.", code="invalid_what_if", param="target")

    def over(self, policy: Policy) -> Policy:
        """``policy`` with this change over it."""
        fields = {
            name: value
            for name in ("mode", "ttl", "scope", "temperature_limit")
            if (value := getattr(self, name)) is not None
        }
        return msgspec.structs.replace(policy, **fields)


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How the window went, or would have gone. Money is nano-dollars, times microseconds."""

    hits: int
    rate: Share
    """Of all requests."""
    cost: int
    saved: int
    p50_us: int | None
    """Half of the requests took no longer; of those that go another way than they did, as their like took."""


class WhatIf(msgspec.Struct, frozen=True, kw_only=True):
    """A window three times: as it was, replayed as things stand now, and replayed with the change."""

    since: int
    until: int
    requests: int
    actual: Course
    now: Course
    changed: Course
    coverage: float
    """Share of the replayed requests whose cost is known."""
    unknown: tuple[Told, ...]
    complete: bool
    """Whether all of the window was read; else ``until`` says how far."""


class _Sums(msgspec.Struct):
    hits: int = 0
    cost: int = 0
    saved: int = 0
    took: Counter[int] = msgspec.field(default_factory=Counter)
    """By bucket of the ledger's histograms."""

    def add(self, cost: int, us: int, *, hit: bool) -> None:
        if hit:
            self.hits += 1
            self.saved += cost
        else:
            self.cost += cost
        self.took[bucket_of(us)] += 1

    def course(self, requests: int) -> Course:
        return Course(
            hits=self.hits,
            rate=share(self.hits, requests),
            cost=self.cost,
            saved=self.saved,
            p50_us=_median(self.took),
        )


class _World:
    """A cache under one set of policies. What is remembered is bounded: the oldest makes room."""

    def __init__(self, change: Change | None) -> None:
        self.change = change
        self.sums = _Sums()
        self.forgotten = 0
        self._made: dict[str, Policy] = {}
        self._fresh: dict[tuple[str, str, str], int] = {}

    def policy(self, base: Policy) -> Policy:
        if self.change is None:
            return base
        found = self._made.get(base.version)
        if found is None:
            found = self._made[base.version] = self.change.over(base)
        return found

    def ask(self, row: RequestEvent, policy: Policy, *, eligible: bool, keeps: bool) -> bool:
        """Whether this request hits."""
        if not eligible or policy.mode == "off":
            return False
        key = row.generation, row.fingerprint, row.user_digest if policy.scope == "user" else ""
        # Entries of one life spread their ends by the jitter: the middle of it stands for all.
        life = int(policy.ttl * (1 - policy.ttl_jitter / 2) * 1e6)
        fresh = self._fresh.get(key)
        if fresh is None and row.age_s is not None:
            fresh = row.at - row.age_s * 1_000_000 + life  # it was answered before the window began
            self._keep(key, fresh)
        if fresh is not None and row.at < fresh:
            return True
        if keeps:
            self._keep(key, row.at + life)
        return False

    def _keep(self, key: tuple[str, str, str], fresh: int) -> None:
        self._fresh.pop(key, None)
        self._fresh[key] = fresh
        if len(self._fresh) > _MOST_KEYS:
            del self._fresh[next(iter(self._fresh))]
            self.forgotten += 1


class _Replay:
    def __init__(self, policies: Policies, intents: Intents, prices: PriceBook, change: Change) -> None:
        self._policies = policies
        self._intents = intents
        self._prices = prices
        self._change = change
        self.actual = _Sums()
        self.now, self.changed = _World(None), _World(change)
        self.requests = self.priced = self.anonymous = self.hot = self.refused = self.users = 0
        self.last = 0
        self._hit_us, self._call_us = Counter[int](), Counter[int]()

    def take(self, rows: Sequence[RequestEvent]) -> None:
        """Rows in order of time."""
        for row in rows:
            if row.wire in CHAT and row.reason != _LOOP and row.fingerprint:
                self._take(row)

    def _take(self, row: RequestEvent) -> None:
        hit = row.cache in ("hit-exact", "stale")
        if not hit and row.status >= 400 and not row.attempts:
            self.refused += 1
            return
        self.requests += 1
        self.last = row.at
        self.users += bool(row.user_digest)
        was = row.saved if hit else row.cost
        self.priced += was is not None and (was > 0 or not hit)
        self.actual.add(was or 0, row.total_us, hit=hit)
        (self._hit_us if hit else self._call_us)[bucket_of(row.total_us)] += 1
        base = self._base(row)
        other = self._cost(row, was or 0)
        for world, cost in ((self.now, was or 0), (self.changed, other)):
            policy = world.policy(base)
            eligible, keeps = self._eligible(row, policy, hit=hit)
            found = world.ask(row, policy, eligible=eligible, keeps=keeps)
            self._count(world, row, cost, found=found, hit=hit)

    def _count(self, world: _World, row: RequestEvent, cost: int, *, found: bool, hit: bool) -> None:
        us = row.total_us
        if found != hit:
            like = self._hit_us if found else self._call_us
            us = _median(like) or (us if hit else 0)
        world.sums.add(cost, us, hit=found)

    def _base(self, row: RequestEvent) -> Policy:
        policy = self._policies.for_(row.project, row.alias)
        try:
            return self._intents.policy(row.project, row.intent, policy)
        except OstinatoError:  # the intent is gone since
            return policy

    def _eligible(self, row: RequestEvent, policy: Policy, *, hit: bool) -> tuple[bool, bool]:
        """Whether the cache takes part in it, and whether its answer is kept where it is asked for anew."""
        if hit:
            return True, True
        good = row.status == 200 and not row.error and row.finish in _FINISHED
        if row.cache == "bypass":
            if row.reason not in _OFF:
                return False, False
            hot = row.reason == "temperature"
            if hot and policy.temperature_limit < _HOTTEST:
                self.hot += policy is not self.now.policy(policy)
                return False, False
            return True, good
        return True, row.stored

    def _cost(self, row: RequestEvent, was: int) -> int:
        """What the call would have cost at the changed target; as it did where none is named."""
        target = self._change.target
        if not target:
            return was
        provider, _, model = target.partition("/")
        counted = (row.input, row.cache_read, row.cache_write, row.output, row.reasoning)
        usage = Usage(*(one or 0 for one in counted), raw=None)
        found = self._prices.price(provider, model, usage, row.at)
        return was if found is None else found


async def what_if(
    ledger: Ledger,
    window: Window,
    filters: Filter,
    change: Change,
    *,
    policies: Policies,
    intents: Intents,
    prices: PriceBook,
    most: int = 200_000,
) -> WhatIf:
    """The window's first ``most`` rows, replayed. Reads page by page; what is counted is counted in a thread.

    Raises ``Invalid`` for a change that cannot be, and for a target without a price.
    """
    change.check()
    if change.target:
        provider, _, model = change.target.partition("/")
        if prices.price(provider, model, Usage(input=1), window.until) is None:
            raise Invalid(
                f"{change.target} has no price.",
                code="price_unknown",
                param="target",
                hint="Declare it under [prices].",
            )
    replay = _Replay(policies, intents, prices, change)
    read = 0
    complete = True
    async for rows in _walk(ledger, window, filters):
        some = rows[: most - read]
        await asyncio.to_thread(replay.take, some)
        read += len(some)
        if len(some) < len(rows):
            complete = False
            break
    requests = replay.requests
    return WhatIf(
        since=window.since,
        until=window.until if complete else replay.last,
        requests=requests,
        actual=replay.actual.course(requests),
        now=replay.now.sums.course(requests),
        changed=replay.changed.sums.course(requests),
        coverage=replay.priced / requests if requests else 0.0,
        unknown=_unknown(replay, change),
        complete=complete,
    )


async def _walk(ledger: Ledger, window: Window, filters: Filter) -> AsyncIterator[list[RequestEvent]]:
    """Rows of a window in order of time, hits and calls together: each table is read in its order of writing."""
    tables = [_Table(ledger, window, filters, number) for number in (0, 1)]
    for table in tables:
        await table.begin()
    while True:
        for table in tables:
            await table.fill()
        waiting = [table for table in tables if table.rows]
        if not waiting:
            return
        # Up to where both are known: what one of them has not read yet comes later.
        open_ends = [table.rows[-1].at for table in waiting if not table.ended]
        end = min(open_ends) if open_ends else max(table.rows[-1].at for table in waiting)
        found = [row for table in waiting for row in table.taken(end)]
        found.sort(key=lambda row: (row.at, row.request_id))
        yield found


class _Table:
    """Hits (0) or calls (1)."""

    def __init__(self, ledger: Ledger, window: Window, filters: Filter, number: int) -> None:
        self._ledger = ledger
        self._window = window
        self._filters = filters
        self._number = number
        self._after = 0
        self.rows: list[RequestEvent] = []
        self.ended = False

    async def begin(self) -> None:
        """Find the place in the order of writing at which the window begins, by halves."""
        low, high = 0, _HIGHEST
        while low < high:
            middle = (low + high) // 2
            page = await self._ledger.tail(self._cursor(middle), 1)
            if page.rows and page.rows[0].at < self._window.since - _EARLIER:
                low = middle + 1
            else:
                high = middle
        self._after = max(0, low - 1)

    async def fill(self) -> None:
        """Read on where nothing waits."""
        while not self.rows and not self.ended:
            page = await self._ledger.tail(self._cursor(self._after), _PAGE, self._filters)
            reached = int(page.after.split(".")[self._number])
            self.ended = reached <= self._after or (bool(page.rows) and page.rows[0].at > self._window.until + _EARLIER)
            self._after = reached
            self.rows = [row for row in page.rows if self._window.since <= row.at < self._window.until]

    def taken(self, end: int) -> list[RequestEvent]:
        """Those up to a moment, which wait no longer."""
        found = [row for row in self.rows if row.at <= end]
        self.rows = [row for row in self.rows if row.at > end]
        return found

    def _cursor(self, after: int) -> str:
        return f"{after}.{_FAR}" if self._number == 0 else f"{_FAR}.{after}"


def _median(took: Counter[int]) -> int | None:
    half, seen = took.total() / 2, 0
    for bucket in sorted(took):
        seen += took[bucket]
        if seen >= half:
            return value_of(bucket)
    return None


def _unknown(replay: _Replay, change: Change) -> tuple[Told, ...]:
    whole = replay.requests
    shared = change.scope == "user" and not replay.users
    candidates = [
        Told(
            "before", "Answers that were kept before the window began are known only where a request hit them.", whole
        ),
        Told(
            "users",
            "End users are not told apart in rows of a shared cache, or none is named: with entries of their own there "
            "would be fewer hits.",
            whole if shared else 0,
        ),
        Told(
            "temperature",
            "They were above the limit; by how much is not in the ledger. Under a limit below 2 they count as not "
            "cached.",
            replay.hot,
        ),
        Told(
            "lower-limit",
            "Whose temperature lies above a lower limit is not in the ledger: the hits are an upper bound.",
            whole if change.temperature_limit is not None and change.temperature_limit < 1.0 else 0,
        ),
        Told(
            "answers",
            "Whether answers that were not cached would have been kept is told by how they ended, and not by every "
            "rule.",
            whole if change.mode == "exact" else 0,
        ),
        Told(
            "target",
            "Another model counts other tokens, and answers otherwise: only its prices are taken.",
            whole if change.target else 0,
        ),
        Told("refused", "They were refused before anybody was asked, and are left out.", replay.refused),
        Told(
            "context",
            "Contexts, cache directives and withdrawn entries are not in the rows: 'replayed as it is now' beside "
            "'as it was' shows what that comes to.",
            whole,
        ),
        Told("room", "Different requests that made room for others.", replay.changed.forgotten),
    ]
    return tuple(one for one in candidates if one.n)
